"""Variance components with fiducial intervals, by mean squares.

x = mean + chip + core + field(neuron) + own, all normal and independent. Within cores the directions of a field give a
sum of squares where the field counts most, Q_A(h), and one elsewhere, Q_B(h). Both are weighted by the variance that a
share h of the field predicts. At the true h, Q_A/σ² and Q_B/σ² are independent χ²: Q_A/Q_B is a pivot for h (Harville
and Fenech 1985, Biometrics 41, 137) and Q_A + Q_B one for σ². The mean squares of core and chip means are χ² again
(exactly, if all cores and chips have equal numbers of neurons and cores). Draws of the χ² give draws of the components,
whose quantiles are the intervals (generalized confidence intervals: Weerahandi 1993, JASA 88, 899);
fields of other lengths with a similar likelihood have a part of the draws. Several
settings of the same neurons count as Σ1 / mean r² independent ones, r their correlation (Satterthwaite).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import chi2, qmc

from ..chip.spatial import SharedComponent, Surface
from .fields import SHARES, Energies, candidates, energies

DRAWS = 4096
LEVEL = 0.95


@dataclass(frozen=True)
class IntervalEstimate:
    """A number with its 95 % interval.

    Example:
        >>> sigma = nr.fitting.IntervalEstimate(0.2, 0.17, 0.24)
        >>> print(sigma)
        0.2 (0.17 to 0.24)
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g})"

    @classmethod
    def of(cls, values: np.ndarray) -> IntervalEstimate:
        """An estimate followed by its fiducial draws, whose quantiles are the interval."""
        low, high = np.quantile(values[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return cls(float(values[0]), float(low), float(high))


@dataclass(frozen=True, eq=False)
class Components:
    """Variances of standardized values, each as (1 + draws,): its estimate, then its draws. None where the table does
    not determine it.

    Attributes:
        own: of a single neuron. field: of the field over a core; None without a field.
        core: between cores of a chip. chip: between chips; it includes that of cores where no chip has two.
    """

    own: np.ndarray
    field: np.ndarray | None
    core: np.ndarray | None
    chip: np.ndarray | None

    def parts(self) -> dict[str, np.ndarray]:
        """The components that the table determines."""
        found = {"own": self.own, "field": self.field, "core": self.core, "chip": self.chip}
        return {name: values for name, values in found.items() if values is not None}

    def estimates(self) -> dict[str, IntervalEstimate]:
        """Standard deviations, total and within a core; the field's share of the variance within a core; the shares of
        cores and chips of the total variance."""
        total = np.sum(list(self.parts().values()), axis=0)
        within = self.own if self.field is None else self.own + self.field
        result = {"sigma": IntervalEstimate.of(np.sqrt(total)), "sigma_within": IntervalEstimate.of(np.sqrt(within))}
        shares = {"field": (self.field, within), "core": (self.core, total), "chip": (self.chip, total)}
        for name, (part, whole) in shares.items():
            if part is not None:
                result[f"{name}_share"] = IntervalEstimate.of(part / whole)
        return result

    def kept(self) -> Components:
        """Without components whose interval includes 0."""

        def seen(values: np.ndarray | None) -> np.ndarray | None:
            return values if values is not None and np.quantile(values[1:], (1 - LEVEL) / 2) > 0 else None

        return replace(self, field=seen(self.field), core=seen(self.core), chip=seen(self.chip))


def components(
    x: np.ndarray, chip: np.ndarray, fields: Mapping[SharedComponent, float], width: int, independent: float
) -> Components:
    """The components of standardized values.

    Args:
        x: (cores, neurons, settings), NaN where not measured. chip: number of the chip of each core, (cores,).
        fields: candidates, the best first, each with its fraction of the draws; neurons are numbered row by row,
            ``width`` per row. Empty for no field.
        independent: equivalent number of independent settings of their average.
    """
    q = qmc.Halton(5, scramble=False).random(DRAWS + 1)[1:]
    taken = np.searchsorted(np.cumsum([*fields.values()])[:-1], q[:, 4])
    for i, part in enumerate(fields or (None,)):
        seen, field_mean, each = energies(part, x, width, independent)
        own_i, field_i = _within(seen, q[:, 0], q[:, 1])
        mean_i = field_mean * field_i + each * own_i
        if i == 0:
            own, field, mean = own_i, field_i, mean_i
        else:
            here = np.concatenate([[False], taken == i])
            own, field, mean = (np.where(here, b, a) for a, b in ((own, own_i), (field, field_i), (mean, mean_i)))
    core, of_chip = _between(x, chip, mean, independent, q[:, 2:])
    return Components(own, field if fields else None, core, of_chip)


def plausible_fields(x: np.ndarray, grid: tuple[int, int], independent: float) -> dict[SharedComponent, float]:
    """Fields with their Akaike weights, the best first; none if a chip without field fits better. Weights below 1 % are
    left out."""
    gains = {}
    for part in candidates(grid):
        likelihood = energies(part, x, grid[1], independent)[0].likelihood(SHARES)
        gains[part] = float(likelihood.max() - likelihood[0]) - (1 if isinstance(part, Surface) else 2)
    best = max(gains.values())
    if best <= 0:
        return {}
    weights = {part: float(np.exp(gain - best)) for part, gain in gains.items() if gain > best - np.log(100)}
    ordered = sorted(weights, key=lambda part: -weights[part])
    return {part: weights[part] / sum(weights.values()) for part in ordered}


def _within(seen: Energies, qa: np.ndarray, qb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances of a neuron's own part and of the field."""
    most = seen.along > 1
    a, b = float(seen.count[most].sum()), float(seen.count[~most].sum())
    m = seen.independent
    below = chi2.ppf(qb, b * m) / m
    if not a:
        variance = np.concatenate([[seen.square.sum() / b], seen.square.sum() / below])
        return variance, np.zeros_like(variance)
    above = chi2.ppf(qa, a * m) / m
    on, off = seen.total(SHARES)
    ratio = np.log(on / off)  # falls with the share
    share = np.interp(-np.log(above / below), -ratio, SHARES)
    share = np.concatenate([[SHARES[seen.likelihood(SHARES).argmax()]], share])
    freedom = np.concatenate([[a + b], above + below])
    variance = np.interp(share, SHARES, on + off) / freedom
    return variance * (1 - share), variance * share


def _between(
    x: np.ndarray, chip: np.ndarray, mean: np.ndarray, independent: float, q: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Variances between cores of a chip and between chips; ``mean`` is that of a core's mean by its neurons."""
    centre = np.full((x.shape[0], x.shape[2]), np.nan)
    for d, s in np.ndindex(*centre.shape):
        if np.isfinite(x[d, :, s]).any():
            centre[d, s] = np.nanmean(x[d, :, s])
    squares, freedom, means, per_chip = 0.0, 0.0, [], []
    for s in range(x.shape[2]):
        of_setting = []
        for number in np.unique(chip):
            here = centre[(chip == number) & np.isfinite(centre[:, s]), s]
            if not len(here):
                continue
            squares += float(((here - here.mean()) ** 2).sum())
            freedom += len(here) - 1
            of_setting.append(here.mean())
            per_chip.append(1 / len(here))
        means.append(of_setting)
    settings = x.shape[2]
    core, total = None, mean
    if freedom:
        total = _mean_square(squares / freedom, freedom / settings, independent, q[:, 0])
        core = np.maximum(total - mean, 0)
    chips = sum(len(m) - 1 for m in means)
    if not chips:
        return core, None
    square = sum(float(((np.array(m) - np.mean(m)) ** 2).sum()) for m in means) / chips
    between = _mean_square(square, chips / settings, independent, q[:, 1])
    return core, np.maximum(between - total * (np.mean(per_chip) if freedom else 1.0), 0)


def _mean_square(value: float, freedom: float, independent: float, q: np.ndarray) -> np.ndarray:
    """A mean square and draws of its expectation."""
    m = freedom * independent
    return np.concatenate([[value], value * m / chi2.ppf(q, m)])
