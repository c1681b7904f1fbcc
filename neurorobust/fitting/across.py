"""One neuron at several settings: its spread at each setting, and the correlation of its deviates between settings.

Both come from the residuals of neurons. Their intervals are a jackknife over groups of neurons. A group contains all
settings of its neurons, so no dependence between settings is assumed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import t as student

from .._util.intervals import ANYTHING, FRACTION, Bounds, kept_within
from .components import LEVEL, IntervalEstimate

GROUPS = 40
MANY = 20  # neurons that a correlation needs


@dataclass(frozen=True)
class Across:
    """Result of all settings together.

    Attributes:
        exponent: of σ ~ setting^exponent; None for a single setting. misfit: the largest deviation of a setting's σ
            from that law, as a fraction.
        rate: of :class:`neurorobust.chip.variability.SettingDecorrelation`, radians per e-fold.
        frozen: share of the log variance that is one deviate per neuron for all settings. None where no neurons were
            measured at two settings.
        independent: equivalent number of independent settings of their average.
    """

    exponent: IntervalEstimate | None
    misfit: float
    rate: IntervalEstimate | None
    frozen: IntervalEstimate | None
    independent: float


def across(residual: np.ndarray, taken: np.ndarray, settings: np.ndarray) -> Across:
    """The law of the settings.

    Args:
        residual: (cores, neurons, settings), without the components that neighbours share; NaN where not measured.
        taken: number of directions removed from each, (cores, settings). settings: nominal values; a single
            setting, or one ≤ 0, gives no result.
    """
    d, n, s = residual.shape
    seen = np.isfinite(residual)
    here = np.where(seen, residual, 0.0).reshape(d * n, s)
    counted = (seen * (1 - taken[:, None] / np.maximum(seen.sum(1, keepdims=True), 1))).reshape(d * n, s)
    both = seen.reshape(d * n, s)
    group = np.random.default_rng(0).permutation(d * n) % GROUPS
    sums = np.zeros((GROUPS, 4, s, s))  # squares, degrees of freedom, products, squares where both were measured
    for g in range(GROUPS):
        e, w, b = here[group == g], counted[group == g], both[group == g].astype(float)
        sums[g] = np.diag((e**2).sum(0)), np.diag(w.sum(0)), e.T @ e, (e**2).T @ b
    total = sums.sum(0)
    pairs = both.T.astype(int) @ both
    r = _correlation(total)
    known = pairs >= MANY
    squares = float((np.where(known, r, 0.0) ** 2).sum())
    independent = s * s / squares if squares > 0 else float(s)  # no pair of settings was measured often enough
    if s < 2 or (settings <= 0).any():
        return Across(None, 0.0, None, None, independent)
    logs = np.log(settings)

    def slope(sums: np.ndarray) -> float:
        return round(float(np.polyfit(logs, _log_sigma(sums), 1)[0]), 9)

    exponent = _jackknife(slope, sums)  # of frozen deviates it is exact, up to rounding
    fitted = np.polyval(np.polyfit(logs, _log_sigma(total), 1), logs)
    misfit = float(np.expm1(np.abs(_log_sigma(total) - fitted)).max())
    i, j = np.nonzero(np.triu(known, 1))
    apart = np.abs(logs[i] - logs[j])
    if not len(i):
        return Across(exponent, misfit, None, None, independent)

    def turned(sums: np.ndarray) -> float:
        return _rate(_correlation(sums)[i, j], apart) ** 2

    def frozen(sums: np.ndarray) -> float:
        return float(np.linalg.eigvalsh(np.where(known, _correlation(sums), 0.0))[-1]) / s

    square = _jackknife(turned, sums)
    root = IntervalEstimate(*(float(np.sqrt(max(0.0, value))) for value in (square.value, square.low, square.high)))
    return Across(exponent, misfit, root, _jackknife(frozen, sums, FRACTION), independent)


def _log_sigma(sums: np.ndarray) -> np.ndarray:
    return 0.5 * np.log(np.diag(sums[0]) / np.diag(sums[1]))


def _correlation(sums: np.ndarray) -> np.ndarray:
    square = np.maximum(sums[3] * sums[3].T, 1e-300)
    return np.clip(sums[2] / np.sqrt(square), -1, 1)


def _rate(r: np.ndarray, apart: np.ndarray) -> float:
    """The rate of r = a cos(rate · apart), a ≤ 1, by least squares; a is 1 where only one distance was measured."""
    several = len(np.unique(apart.round(9))) > 1

    def lost(rate: float) -> float:
        c = np.cos(rate * apart)
        a = min(1.0, float(r @ c / (c @ c))) if several else 1.0
        return float(((r - a * c) ** 2).sum())

    top = np.pi / apart.max()
    grid = np.linspace(0, top, 64)
    at = int(np.argmin([lost(rate) for rate in grid]))
    ends = grid[max(0, at - 1)], grid[min(63, at + 1)]
    rate = float(minimize_scalar(lost, bounds=ends, method="bounded", options={"xatol": 1e-7}).x)
    return rate if rate > 1e-6 else 0.0


def _jackknife(value: Callable[[np.ndarray], float], sums: np.ndarray, bounds: Bounds = ANYTHING) -> IntervalEstimate:
    """A function of sums over all groups, with Student's interval from leaving out each group, kept inside bounds."""
    total = sums.sum(0)
    without = np.array([value(total - one) for one in sums])
    error = np.sqrt((GROUPS - 1) / GROUPS * ((without - without.mean()) ** 2).sum())
    here, reach = value(total), student.ppf((1 + LEVEL) / 2, GROUPS - 1) * error
    return IntervalEstimate(here, *kept_within(here, float(reach), bounds))
