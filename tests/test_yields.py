"""The yields of two networks on the same dies."""

from __future__ import annotations

from dataclasses import replace
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurorobust.evaluation import FleetResult, compare_yields
from neurorobust.evaluation.fleet import Yield


def fleet(scores: list[float] | np.ndarray, seed: int = 1) -> FleetResult:
    score = np.asarray(scores, dtype=float)
    return FleetResult("chip", seed, tuple(range(len(score))), 1.0, 1.0, score, score, None, [])


def exact(b: int, c: int) -> float:
    """McNemar's exact two-sided p-value, from its definition."""
    n = b + c
    tail = sum(comb(n, k) for k in range(min(b, c) + 1)) / 2**n
    return min(1.0, 2 * tail)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_counts_and_p_value_follow_the_definition(pairs: list[tuple[bool, bool]]) -> None:
    first, second = (fleet([0.95 if pair[i] else 0.6 for pair in pairs]) for i in (0, 1))
    found = compare_yields(first, second, 0.9)
    b, c = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
    assert (found.only_first, found.only_second) == (b, c)
    assert found.p_value == pytest.approx(exact(b, c))
    for network, count in ((first, found.first), (second, found.second)):
        of_one: Yield = network.yield_at(0.9)
        assert count / found.n == of_one.fraction
    assert found.minima == (first.min, second.min)
    assert found.p_value == compare_yields(second, first, 0.9).p_value


def test_false_alarms() -> None:
    """Two networks of one yield: the test rejects at most 5 % of the time.

    2000 pairs of fleets of 100 dies. The exact test is conservative: its rate is at most .05, and 140 or more of 2000
    rejections at a rate of .05 have probability 4e-5.
    """
    draw = np.random.default_rng(5)
    rejections = 0
    for _ in range(2000):
        one, two = (fleet(np.where(draw.random(100) < 0.8, 0.95, 0.5)) for _ in range(2))
        rejections += compare_yields(one, two, 0.9).p_value <= 0.05
    assert 10 < rejections < 140


def test_repr_says_everything_in_words() -> None:
    text = repr(compare_yields(fleet([0.95] * 10), fleet([0.95] * 4 + [0.7] * 6), 0.9))
    assert "10 and 4 of 10 dies reach 0.9; 6 only with the first network, 0 only with the second" in text
    assert "p = 0.031; worst dies 0.950 and 0.700" in text


def test_bad_input() -> None:
    one = fleet([0.9, 0.8])
    with pytest.raises(ValueError, match="expected the same dies"):
        compare_yields(one, replace(one, seed=2), 0.9)
    with pytest.raises(ValueError, match=r"spec: got 90; expected a score from 0 to 1"):
        compare_yields(one, one, 90)
