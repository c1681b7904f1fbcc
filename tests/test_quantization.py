"""Masks over four currents against brute force, and fitted currents against known ones."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from conftest import draw
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import optimize

from neurorobust.quantization import MaskCodebook, fit_masks

currents = st.lists(st.floats(1e-3, 10), min_size=1, max_size=5).map(lambda c: tuple(sorted(c)))
values = st.lists(st.floats(-30, 30), min_size=1, max_size=30).map(lambda w: torch.tensor(w, dtype=torch.float64))


def subset_sums(currents):
    """The sum of every subset, by definition."""
    return [sum(chosen) for n in range(len(currents) + 1) for chosen in itertools.combinations(currents, n)]


def error(book, weights):
    """Mean square error of weights held in a codebook."""
    return float((book.decode(book.encode(weights)) - weights).square().mean())


@given(currents)
def test_levels_are_the_subset_sums(currents):
    """The 2^n levels are the sums of all subsets; bit k of the code switches current k."""
    book = MaskCodebook(currents)
    assert sorted(book.levels()) == pytest.approx(sorted(subset_sums(currents)))
    assert book.levels()[[2**k for k in range(len(currents))]].tolist() == list(currents)


@given(currents, values)
def test_every_weight_gets_its_nearest_level(currents, weights):
    """No subset sum is nearer to |w| than the one chosen, by brute force."""
    book = MaskCodebook(currents)
    found = (book.decode(book.encode(weights)).abs() - weights.abs()).abs()
    nearest = [min(abs(level - abs(w)) for level in subset_sums(currents)) for w in weights.tolist()]
    np.testing.assert_allclose(found.numpy(), nearest, rtol=1e-9, atol=1e-12)


@given(currents, values)
def test_codes_stay_in_range_and_keep_the_sign(currents, weights):
    """|code| < 2^n; a level is + for AMPA, − for GABA, as the weight was, or 0."""
    book = MaskCodebook(currents)
    codes = book.encode(weights)
    assert codes.dtype == torch.long
    assert codes.abs().max() < 2 ** len(currents)
    assert (book.decode(codes) * weights >= 0).all()


@given(currents, values)
def test_what_is_on_a_level_stays_there(currents, weights):
    """decode ∘ encode is a projection: applied twice it is what it is once, bit for bit."""
    book = MaskCodebook(currents)
    held = book.decode(book.encode(weights))
    assert torch.equal(book.decode(book.encode(held)), held)


@pytest.mark.parametrize(
    "shape", [(1.0, 2.0, 4.0, 8.0), (1.0, 2.0, 4.0, 9.0), (1.0, 2.2, 3.9, 9.0), (1.0, 2.1, 4.3, 8.2)]
)
@pytest.mark.parametrize("scale", [1e-9, 0.037, 20.0])
def test_weights_made_of_four_currents_are_recovered(shape, scale):
    """± every subset sum of four known currents, in any unit: the fit finds the currents and holds every weight."""
    known = MaskCodebook(tuple(scale * current for current in shape))
    weights = known.decode(torch.arange(-15, 16))
    found = fit_masks(weights)
    assert found.currents == pytest.approx(known.currents, rel=1e-9)
    assert torch.allclose(found.decode(found.encode(weights)), weights, rtol=1e-9, atol=0)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=60), st.integers(1, 4))
def test_fit_is_no_worse_than_plain_binary_weights(weights, bits):
    """The error is at most that of currents 1 : 2 : 4 : 8 whose sum is the largest |w|."""
    weights = torch.tensor(weights, dtype=torch.float64)
    assume(weights.any())
    plain = 2.0 ** np.arange(bits)
    plain *= float(weights.abs().max()) / plain.sum()
    assert error(fit_masks(weights, bits), weights) <= error(MaskCodebook(tuple(plain)), weights) * (1 + 1e-9) + 1e-30


def test_fit_is_near_the_optimum_on_normals():
    """For normal weights, whose largest is rare: within 2 % of the best of 12 searches by Nelder and Mead."""
    weights = draw(0, 500)

    def cost(logs):
        return error(MaskCodebook(tuple(np.sort(np.exp(logs)))), weights)

    starts = np.log(fit_masks(weights).currents) + 0.3 * np.random.default_rng(0).standard_normal((12, 4))
    best = min(optimize.minimize(cost, start, method="Nelder-Mead").fun for start in starts)
    assert error(fit_masks(weights), weights) < 1.02 * best


def test_fit_scales_with_the_unit_and_ignores_order_and_sign():
    """Currents of 1024·w are 1024 times those of w, bit for bit; shuffled or negated weights have the same ones."""
    weights = draw(1, 500)
    currents = fit_masks(weights).currents
    assert fit_masks(1024 * weights).currents == pytest.approx([1024 * current for current in currents], rel=1e-12)
    assert fit_masks(-weights).currents == currents
    assert fit_masks(weights.flip(0)).currents == pytest.approx(currents, rel=1e-6)


def test_fit_is_deterministic_and_ascending():
    """The same weights give the same currents bit for bit, in ascending order, all ≥ 0."""
    weights = draw(2, 400)
    first, second = fit_masks(weights).currents, fit_masks(weights.clone()).currents
    assert first == second == tuple(sorted(first))
    assert min(first) >= 0


def test_nothing_to_fit_is_refused():
    """All weights 0: there are no currents, and the error says so."""
    with pytest.raises(ValueError, match="all are 0"):
        fit_masks(torch.zeros(3))
    with pytest.raises(ValueError, match="bits"):
        fit_masks(torch.ones(3), bits=0)
