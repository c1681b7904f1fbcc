"""Variability laws against their closed forms, and drawn deviates against their distributions."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import draw
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from neurorobust.chip.spreads import FromCv, PolynomialSpread, PowerSpread, SpreadTable
from neurorobust.chip.variability import (
    Clipped,
    Empirical,
    Exact,
    Gamma,
    LogNormal,
    Normal,
    Offset,
    Outliers,
    SettingDecorrelation,
    Truncated,
)
from neurorobust.core.apply import apply
from neurorobust.core.params import ABSOLUTE, KINDS, POSITIVE, SIGNED

TURNED = SettingDecorrelation(LogNormal(0.1), 0.1, 1.0)
ALARM = 1e-6  # false-alarm rate of each distribution test here; the seeds are fixed, so it is paid once


def moved(law, kind, nominal, u):
    """The deviated value θ*, through :func:`apply`, of a nominal θ (number or tensor) at standard normals u."""
    nominal = torch.as_tensor(nominal, dtype=torch.float64).expand(u.shape)
    return apply({kind: nominal}, {kind: law.deviate(kind, (u,), nominal)})[kind]


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
    ("law", "accepts"), [(Normal(0.1), SIGNED), (LogNormal(0.1), SIGNED | POSITIVE), (Offset(0.1), ABSOLUTE | SIGNED)]
)
def test_kinds_a_law_would_ruin_are_refused(law, accepts):
    """Normal on a positive kind changes signs, LogNormal on a nominal of 0 does nothing, Offset may end below 0."""
    one = torch.ones(1)
    for kind in sorted(KINDS):
        if kind in accepts:
            assert law.deviate(kind, (one,), one).shape == (1,)
        else:
            with pytest.raises(ValueError, match=kind):
                law.deviate(kind, (one,), one)


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


# Spreads that depend on the operating point


def points(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_spreads_by_hand():
    """A power 0.1 (x/2)^−0.5 at most 0.3; 1 + 2r − 2r² of full scale 10, clipped; a table linear in log x."""
    assert PowerSpread(0.1, 2.0, -0.5, largest=0.3).at(points(2, -8, 0)).tolist() == pytest.approx([0.1, 0.05, 0.3])
    assert PolynomialSpread((1, 2, -2), 10.0).at(points(0, 5, -10, 20)).tolist() == pytest.approx([1, 1.5, 1, 1])
    table = SpreadTable(((1.0, 0.2), (10.0, 0.1), (100.0, 0.3)))
    assert table.at(points(0, 1, 10**0.5, -10, 10**1.5, 1e9)).tolist() == pytest.approx([0.2, 0.2, 0.15, 0.1, 0.2, 0.3])
    assert SpreadTable(((1.0, 0.2),)).at(points(0, 5)).tolist() == pytest.approx([0.2, 0.2])
    assert FromCv(table).at(points(1)).item() == pytest.approx(LogNormal.from_cv(0.2).sigma)


@given(x=st.floats(1e-3, 1e3), u=st.floats(-4, 4))
def test_a_device_keeps_its_u_when_it_is_programmed_otherwise(x, u):
    """log(θ*/θ) = σ(θ)·u with the u of before: a table of spreads scales one frozen deviate."""
    table = SpreadTable(((0.01, 0.3), (1.0, 0.1), (100.0, 0.05)))
    nominal, u = points(x), points(u)
    found = moved(LogNormal(table), "weight", nominal, u) / nominal
    torch.testing.assert_close(found.log(), table.at(nominal) * u)


@pytest.mark.parametrize(
    ("law", "kind"),
    [
        (LogNormal(SpreadTable(((0.2, 0.3), (1.0, 0.1), (3.0, 0.05)))), "weight"),
        (Normal(PowerSpread(0.1, 1.0, 0.7)), "weight"),
        (Clipped(Offset(PolynomialSpread((0.1, 0.2), 5.0))), "weight"),
        (Gamma(0.3), "tau_mem"),
        (Truncated(LogNormal(0.2), 2.5), "tau_mem"),
        (Outliers(LogNormal(0.1), 0.01, 1.3, 2.8), "tau_mem"),
        (Empirical((0.8, 0.95, 1.0, 1.1, 1.4)), "tau_mem"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value,
)
def test_new_laws_are_differentiable(law, kind):
    """Autograd against finite differences in u and in the nominal, away from kinks."""
    u, nominal = (0.5 * draw(2, 6)).requires_grad_(), (draw(3, 6).abs() + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda u, nominal: moved(law, kind, nominal, u), (u, nominal))


# Families


@pytest.mark.parametrize(
    ("law", "truth"),
    [
        (Gamma(0.3), stats.gamma(0.3**-2, scale=0.3**2)),
        (Gamma(1.5), stats.gamma(1.5**-2, scale=1.5**2)),
        (Truncated(LogNormal(0.5), 1.5), stats.truncnorm(-1.5, 1.5)),
        (Clipped(Normal(0.7)), None),
        (Outliers(LogNormal(0.1), 0.1, 2.0, 3.0), None),
    ],
    ids=lambda value: "" if value is None or hasattr(value, "ppf") else repr(value),
)
def test_families_follow_their_distribution(law, truth):
    """20 000 values against scipy's distribution (log θ*/σ for the truncated one; mixtures part by part), false alarm
    1e-6 each."""
    found = moved(law, "weight", 1.0, draw(1, 20_000))
    if isinstance(law, Truncated):
        found = found.log() / 0.5
    if isinstance(law, Clipped):
        at_zero = int((found == 0).sum())
        assert stats.binomtest(at_zero, 20_000, stats.norm.cdf(-1 / 0.7)).pvalue > ALARM
        below = stats.norm.cdf(-1 / 0.7)
        found, truth = found[found > 0], stats.truncnorm(-1 / 0.7, math.inf, 1, 0.7)
        assert 0.05 < below < 0.1
    if isinstance(law, Outliers):
        outliers = found[found > 1.9]
        assert stats.binomtest(len(outliers), 20_000, 0.1).pvalue > ALARM
        assert stats.kstest(outliers.log().numpy(), stats.uniform(math.log(2), math.log(1.5)).cdf).pvalue > ALARM
        found, truth = found[found < 1.9].log() / 0.1, stats.norm
    assert stats.kstest(found.numpy(), truth.cdf).pvalue > ALARM


@given(u=st.floats(-7, 7))
def test_gamma_is_the_quantile_in_both_tails(u):
    """Against scipy's own quantile and survival functions, to 1e-9."""
    truth = stats.gamma(4.0, scale=0.25)
    expected = truth.ppf(stats.norm.cdf(u)) if u < 0 else truth.isf(stats.norm.sf(u))
    assert moved(Gamma(0.5), "tau_mem", 1.0, points(u)).item() == pytest.approx(expected, rel=1e-9)


def test_an_empirical_law_gives_back_its_sample():
    """At the quantiles (i − ½)/n the factors themselves, and never more than the largest or less than the smallest."""
    factors = (1.4, 0.8, 1.0, 1.1, 0.95)
    u = points(*stats.norm.ppf((torch.arange(5) + 0.5) / 5))
    assert moved(Empirical(factors), "tau_mem", 1.0, u).tolist() == pytest.approx(sorted(factors))
    assert moved(Empirical(factors), "weight", -2.0, points(-9, 9)).tolist() == pytest.approx([-1.6, -2.8])


def test_clipped_keeps_the_sign_of_both():
    """A magnitude ends at 0, for positive and negative weights alike."""
    found = moved(Clipped(Normal(1.0)), "weight", points(2.0, 2.0, -2.0, -2.0), points(-3, 3, 3, -3))
    assert found.tolist() == [0, 8, 0, -8]


def test_offset_on_a_weight_is_absolute():
    """θ + σu for weights of any size, 0 stays 0."""
    assert moved(Offset(0.1), "weight", points(-2.0, 0.5, 0.0), points(1, 1, 1)).tolist() == pytest.approx(
        [-1.9, 0.6, 0]
    )


def test_turning_correlates_settings_as_it_says():
    """Two settings an e-fold apart: log deviations correlate by cos(0.4), their spread is the law's; 1e5 devices."""
    law, u = SettingDecorrelation(LogNormal(0.1), 0.4, 1.0), (draw(5, 100_000), draw(6, 100_000))
    here, there = (law.deviate("tau_mem", u, torch.full_like(u[0], x)) for x in (2.0, 2.0 * math.e))
    r = float(torch.corrcoef(torch.stack([here, there]))[0, 1])
    assert r == pytest.approx(math.cos(0.4), abs=6 * (1 - math.cos(0.4) ** 2) / math.sqrt(100_000))
    assert float(here.std()) == pytest.approx(0.1, rel=6 / math.sqrt(200_000))
    assert torch.equal(law.deviate("tau_mem", u, torch.ones_like(u[0])), LogNormal(0.1).deviate("tau_mem", u[:1], u[0]))


def test_the_first_normal_alone_is_the_law_at_the_reference():
    """A decorrelated law by its first normal is the inner law at any setting; without outliers it still turns."""
    law = SettingDecorrelation(Outliers(LogNormal(0.1), 0.02, 1.5, 2.0), 0.3, 2.0)
    u, nominal = draw(0, 50), torch.linspace(0.5, 4.0, 50, dtype=torch.float64)
    plain = law.without_outliers.of_first_normal
    torch.testing.assert_close(plain.deviate("tau_mem", (u,), nominal), 0.1 * u)
    assert plain.n_extra_normals == 0 and law.without_outliers == SettingDecorrelation(LogNormal(0.1), 0.3, 2.0)


def test_exact_does_not_deviate():
    """A digital number has δ = 0 whatever u."""
    assert not Exact().deviate("tau_mem", (points(3.0),), points(1.0)).any()


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: SpreadTable(()), "the table is empty"),
        (lambda: SpreadTable(((2.0, 0.1), (1.0, 0.1))), "x = 1 does not follow 2"),
        (lambda: SpreadTable(((1.0, -0.1),)), "points: sigma"),
        (lambda: PowerSpread(-0.1, 1.0, 1.0), "value: got -0.1"),
        (lambda: PowerSpread(0.1, 1.0, -1.0), "largest: got None"),
        (lambda: PolynomialSpread((1.0, -2.0), 1.0), "smallest sigma"),
        (lambda: PolynomialSpread((), 1.0), "coefficients: got none"),
        (lambda: Empirical((1.0,)), "at least two"),
        (lambda: Empirical((1.0, -1.0)), "factors"),
        (lambda: Outliers(LogNormal(0.1), 1.0, 1.0, 2.0), "less than 1"),
        (lambda: Outliers(LogNormal(0.1), 0.1, 2.0, 1.0), "at least low"),
        (lambda: Truncated(LogNormal(0.1), 0.0), "sigmas"),
        (lambda: Gamma(0.0), "cv"),
        (lambda: Outliers(TURNED, 0.1, 1.0, 2.0), "Outliers: got law SettingDecorrelation.*2 normals"),
        (lambda: SettingDecorrelation(TURNED, 0.1, 1.0), "SettingDecorrelation: got law .*expected a law of one"),
        (lambda: Clipped(LogNormal(0.1)).deviate("tau_mem", (points(1),), points(1)), "Clipped: got kind 'tau_mem'"),
    ],
)
def test_impossible_laws_are_refused(build, words):
    """Empty or unordered tables, negative spreads, impossible fractions: one error that says which."""
    with pytest.raises(ValueError, match=words):
        build()
