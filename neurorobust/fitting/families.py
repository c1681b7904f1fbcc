"""The family of a distribution by likelihood: normal, lognormal or gamma."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma, gammaln, polygamma
from scipy.stats import norm

NAMES = ("normal", "lognormal", "gamma")


@dataclass(frozen=True)
class FamilyChoice:
    """The best family, compared with the others.

    Attributes:
        best: the family with the highest likelihood. behind: for each other family, the difference of its log
            likelihood, and that difference in standard errors (Vuong 1989, Econometrica 57, 307).
        decided: True if all these differences are significant, one-sided at 2.5 %.

    Example:
        >>> import numpy as np
        >>> table = dict(chip=["a"] * 200, core=[0] * 200, neuron=list(range(200)), parameter=["tau_mem"] * 200)
        >>> values = 0.02 * np.exp(0.6 * np.random.default_rng(0).standard_normal(200))
        >>> found = nr.fitting.analyze(table | dict(setting=[0.02] * 200, value=values)).kinds["tau_mem"].family
        >>> found.best, found.decided, sorted(found.behind)
        ('lognormal', False, ['gamma', 'normal'])
    """

    best: str
    behind: dict[str, tuple[float, float]]
    decided: bool

    def __str__(self) -> str:
        others = ", ".join(f"{name} −{lost:.1f} ({z:.1f} standard errors)" for name, (lost, z) in self.behind.items())
        return f"{self.best}, {'decided' if self.decided else 'undecided'}: log likelihood of {others}"


def family(ratio: np.ndarray, log: np.ndarray, linear: np.ndarray) -> FamilyChoice:
    """Compare the families on neurons' own values; settings of a neuron are averaged, neurons are independent.

    Args:
        ratio: (cores, neurons, settings) values over their setting's mean, > 0, NaN where not measured.
        log, linear: residuals of log(ratio) and of ratio, without the parts that neurons share.
    """
    seen = np.isfinite(log) & np.isfinite(linear)
    density = {name: np.full(ratio.shape, np.nan) for name in NAMES}
    for s in range(ratio.shape[2]):
        at = seen[..., s]
        if at.sum() < 2:
            continue
        e, f, x = log[at, s], linear[at, s], np.log(ratio[at, s])
        density["lognormal"][at, s] = norm.logpdf(e, scale=np.sqrt((e**2).mean())) - x
        density["normal"][at, s] = norm.logpdf(f, scale=np.sqrt((f**2).mean()))
        k, mean = _gamma(np.exp(e))
        g = np.exp(e) / mean
        density["gamma"][at, s] = k * np.log(k) + k * np.log(g) - k * g - gammaln(k) - x
    used = seen.any(2)
    each = {name: np.nanmean(values[used], 1) for name, values in density.items()}
    best = max(NAMES, key=lambda name: each[name].sum())
    behind = {}
    for name in NAMES:
        if name != best:
            lost = each[best] - each[name]
            behind[name] = float(lost.sum()), float(lost.sum() / max(np.sqrt(len(lost)) * lost.std(), 1e-300))
    return FamilyChoice(best, behind, all(z > norm.ppf(0.975) for _, z in behind.values()))


def _gamma(x: np.ndarray) -> tuple[float, float]:
    """Shape and mean of highest likelihood."""
    mean = float(x.mean())
    gap = max(np.log(mean) - float(np.log(x).mean()), 1e-14)
    return float(brentq(lambda k: np.log(k) - digamma(k) - gap, 1e-3 / gap, 1e3 / gap)), mean


def gamma_cv(sigma: float) -> float:
    """The CV of a gamma distribution whose logarithm has the standard deviation σ: ψ′(1/cv²) = σ²."""
    if sigma <= 0:
        return 0.0
    return float(brentq(lambda k: polygamma(1, k) - sigma**2, 0.1 / sigma**2, 10 / sigma**2 + 10)) ** -0.5
