"""Positions of defects against the stated fractions and correlations, and the effect of broken sites."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import draw
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from neurorobust.chip.defects import Clustered, Scattered

SIGMAS = 5.0  # every bound below; the false alarm of one figure is 6e-7


@pytest.mark.parametrize("fraction", [0.0, 0.02, 0.5, 1.0])
def test_scattered_defects_have_their_fraction(fraction):
    """Of 20 000 sites: a binomial, 5 σ; 0 and 1 are exact."""
    hits = Scattered(fraction).hits(draw(0, 20_000))
    assert abs(hits.double().mean().item() - fraction) <= SIGMAS * math.sqrt(fraction * (1 - fraction) / 20_000)


@given(st.integers(0, 2**16), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_fraction_breaks_more_of_the_same_sites(seed, one, other):
    """Sites broken at a small fraction are broken at a larger one: a die keeps its defects, in both patterns."""
    u, few, many = draw(seed, 8, 8), min(one, other), max(one, other)
    for pattern in (Scattered, lambda fraction: Clustered(fraction, 1.5)):
        assert not (pattern(few).hits(u) & ~pattern(many).hits(u)).any()


@pytest.mark.parametrize("length", [0.1, 1.0, 3.0])
def test_the_field_is_standard_normal_everywhere(length):
    """Variance 1 and the stated correlation at the middle, an edge and a corner of 16 × 12 sites: 6 figures over 20 000
    dies, 5 standard errors each. A length far below 1 is no smoothing at all."""
    u = draw(1, 20_000, 16, 12)
    field = Clustered(0.1, length).field(u)
    for row, column in ((8, 6), (0, 6), (0, 0)):
        assert abs(field[:, row, column].var().item() - 1) <= SIGMAS * math.sqrt(2 / 20_000)
    if length == 0.1:
        torch.testing.assert_close(field, u, rtol=0, atol=1e-12)
    expected = math.exp(-1 / (4 * length**2))
    if length < 3:  # the edges are far
        found = torch.corrcoef(field[:, 8, [6, 7]].T)[0, 1].item()
        assert abs(found - expected) <= SIGMAS * (1 - expected**2) / math.sqrt(20_000) + 1e-3


def test_clustered_defects_lie_together():
    """Fraction 0.2 and length 1.5 on 4000 dies of 9 × 9: at the middle and its neighbour, each alone with 0.2 and both
    with the bivariate normal's probability, where scattered ones have 0.04; binomials, 5 σ."""
    hits = Clustered(0.2, 1.5).hits(draw(2, 4000, 9, 9))
    middle, neighbour = hits[:, 4, 4], hits[:, 4, 5]
    kernel = torch.exp(-((torch.arange(9.0)[:, None] - torch.arange(9.0)) / 1.5).square() / 2).double()
    kernel /= kernel.norm(dim=1, keepdim=True)
    correlation = (kernel[4] @ kernel[5]).item()
    both = multivariate_normal.cdf([-0.8416212335729143] * 2, cov=[[1, correlation], [correlation, 1]])
    assert both > 0.12
    for found, p in ((middle, 0.2), (neighbour, 0.2), (middle & neighbour, both)):
        assert abs(found.double().mean().item() - p) <= SIGMAS * math.sqrt(p * (1 - p) / 4000)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Scattered(1.5), "fraction: got 1.5"),
        (lambda: Scattered(math.nan), "fraction: got nan"),
        (lambda: Clustered(-0.1, 1.0), "fraction: got -0.1"),
        (lambda: Clustered(0.1, 0.0), "length: got 0.0"),
        (lambda: Clustered(0.1, 1.0).hits(torch.zeros(4)), r"u: got shape \(4,\)"),
    ],
)
def test_what_no_defect_can_be_is_refused(wrong, message):
    """A wrong argument is named, with what came."""
    with pytest.raises(ValueError, match=message):
        wrong()
