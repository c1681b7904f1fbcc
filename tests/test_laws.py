"""Variability laws against their closed forms, and drawn deviates against their distributions."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import draw
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from neurorobust.laws import LogNormal, Normal, Offset
from neurorobust.params import ABSOLUTE, KINDS, POSITIVE, SIGNED, apply

ALARM = 1e-6  # false-alarm rate of each distribution test here; the seeds are fixed, so it is paid once


def moved(law, kind, nominal, u):
    """The deviated value θ*, through :func:`apply`, of a nominal θ (number or tensor) at standard normals u."""
    nominal = torch.as_tensor(nominal, dtype=torch.float64).expand(u.shape)
    return apply({kind: nominal}, {kind: law.deviate(kind, u, nominal)})[kind]


@given(cv=st.floats(0, 3))
def test_lognormal_of_a_cv_has_that_cv(cv):
    """Closed form: exp(σu) has CV √(exp(σ²) − 1), so σ = √ln(1 + cv²)."""
    law = LogNormal.from_cv(cv)
    assert law.sigma == pytest.approx(math.sqrt(math.log(1 + cv**2)), rel=1e-9, abs=1e-9)
    assert math.sqrt(math.exp(law.sigma**2) - 1) == pytest.approx(cv, rel=1e-6, abs=1e-7)
    assert law.cv == pytest.approx(cv, rel=1e-9, abs=1e-12)


def test_lognormal_known_values():
    """By hand: cv 0.1 → σ = 0.0997513, cv 1 → σ = √ln 2."""
    assert LogNormal.from_cv(0.1).sigma == pytest.approx(0.09975134511, rel=1e-9)
    assert LogNormal.from_cv(1.0).sigma == pytest.approx(math.sqrt(math.log(2)))


@pytest.mark.parametrize(("kind", "nominal"), [("tau_mem", 0.02), ("weight", -0.7), ("bias", 3.0)])
def test_lognormal_keeps_the_median(kind, nominal):
    """u = 0, the median of u, gives θ itself, and u = ±1 gives θ·exp(±σ): the median is kept, not the mean."""
    law = LogNormal(0.4)
    found = moved(law, kind, nominal, torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64))
    assert found.tolist() == pytest.approx([nominal * math.exp(-0.4), nominal, nominal * math.exp(0.4)])
    mean = float(moved(law, kind, nominal, draw(0, 10**6)).mean()) / nominal
    assert mean == pytest.approx(math.exp(0.4**2 / 2), abs=6 * math.sqrt(math.expm1(0.16)) * math.exp(0.08) / 1000)


@pytest.mark.parametrize(
    ("law", "kind", "nominal", "truth"),
    [
        (LogNormal.from_cv(0.3), "tau_mem", 0.02, stats.lognorm(LogNormal.from_cv(0.3).sigma, scale=0.02)),
        (LogNormal.from_cv(0.3), "weight", 0.5, stats.lognorm(LogNormal.from_cv(0.3).sigma, scale=0.5)),
        (Normal(0.3), "weight", -0.5, stats.norm(-0.5, 0.15)),
        (Normal(0.3), "bias", 2.0, stats.norm(2.0, 0.6)),
        (Offset(0.01), "v_leak", 0.0, stats.norm(0.0, 0.01)),
    ],
)
def test_deviated_values_follow_the_law(law, kind, nominal, truth):
    """20 000 values against scipy's distribution, Kolmogorov–Smirnov, false-alarm rate 1e-6."""
    found = moved(law, kind, nominal, draw(1, 20_000))
    assert stats.kstest(found.numpy(), truth.cdf).pvalue > ALARM


@given(u=st.floats(-8, 8), nominal=st.floats(-5, 5), sigma=st.floats(0, 1))
def test_lognormal_never_changes_a_sign(u, nominal, sigma):
    """θ·exp(σu) has the sign of θ, an excitatory synapse stays one; 0 stays 0."""
    found = moved(LogNormal(sigma), "weight", nominal, torch.tensor(u, dtype=torch.float64))
    assert found.sign() == torch.tensor(nominal, dtype=torch.float64).sign()


@pytest.mark.parametrize(
    ("law", "accepts"), [(Normal(0.1), SIGNED), (LogNormal(0.1), SIGNED | POSITIVE), (Offset(0.1), ABSOLUTE)]
)
def test_kinds_a_law_would_ruin_are_refused(law, accepts):
    """Normal on a positive kind changes signs, LogNormal on a nominal of 0 does nothing, Offset has a unit."""
    one = torch.ones(1)
    for kind in sorted(KINDS):
        if kind in accepts:
            assert law.deviate(kind, one, one).shape == (1,)
        else:
            with pytest.raises(ValueError, match=kind):
                law.deviate(kind, one, one)


@pytest.mark.parametrize("make", [Normal, LogNormal, LogNormal.from_cv, Offset])
@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf])
def test_impossible_spreads_are_refused(make, bad):
    """A spread is a finite number ≥ 0."""
    with pytest.raises(ValueError, match="expected a finite number"):
        make(bad)


@pytest.mark.parametrize(
    ("law", "kind"),
    [(Normal(0.2), "weight"), (LogNormal(0.2), "weight"), (LogNormal(0.2), "tau_mem"), (Offset(0.2), "v_leak")],
)
def test_differentiable_in_deviate_and_nominal(law, kind):
    """Autograd against finite differences of u → θ* and θ → θ*."""
    u, nominal = draw(2, 5).requires_grad_(), (draw(3, 5).abs() + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda u, nominal: moved(law, kind, nominal, u), (u, nominal))
    (slope,) = torch.autograd.grad(moved(law, kind, nominal, u).sum(), u)
    assert (slope.abs() > 0).all()
