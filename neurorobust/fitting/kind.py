"""Analysis of one kind of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import beta

from ..chip.design import KindModel
from ..chip.sourced import SourcedValue
from ..chip.spatial import PerChip, PerCore, SharedComponent, Surface
from ..chip.spreads import PowerSpread, Spread
from ..chip.variability import Gamma, Law, LogNormal, Normal, Offset, Outliers, SettingDecorrelation
from ..core.params import ABSOLUTE, POSITIVE
from .across import Across, across
from .components import LEVEL, Components, IntervalEstimate, components, plausible_fields
from .families import FamilyChoice, family, gamma_cv
from .fields import residuals
from .table import Cube, filled

FAR = 5.0  # robust standard deviations of a core, beyond which a neuron is an outlier
FEW = 10  # smallest number of neurons of a core
Grid = tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class KindFit:
    """Result of the measurements of one kind.

    Attributes:
        family: comparison of the families; None where it is not possible. law: the law of the model.
        estimates: each with its 95 % interval. sigma and sigma_within (a core) are those of the law at the reference;
            field_share is of the variance within a core, core_share and chip_share of all; exponent is that of σ
            against the setting; rate and frozen are of the settings (:class:`Across`); outliers is a fraction of the
            neurons.
        reference: the setting at which sigma holds, the geometric mean of all; None where one is not above 0.
        part: the field that neighbours share, or None. median: value over setting, by setting; value − setting for
            absolute kinds. misfit: the largest deviation of a setting's σ from the law, as a fraction.
        counts: numbers of values by treatment. dropped: settings left out, with the reason.
        unidentified: quantities that the table does not determine, with reasons. model: its part of the chip model.
        own: by (chip, core), the own part of each neuron, averaged over settings, (neurons,), NaN where unknown, and
            the number of removed directions.

    Example:
        >>> import numpy as np
        >>> table = dict(chip=["a"] * 200, core=[0] * 200, neuron=list(range(200)), parameter=["tau_mem"] * 200)
        >>> values = 0.02 * np.exp(0.15 * np.random.default_rng(0).standard_normal(200))
        >>> found = nr.fitting.analyze(table | dict(setting=[0.02] * 200, value=values)).kinds["tau_mem"]
        >>> found.law, found.unit, found.counts["values"]
        ('lognormal', 's', 200)
    """

    kind: str
    unit: str
    family: FamilyChoice | None
    law: str
    estimates: dict[str, IntervalEstimate]
    reference: float | None
    part: SharedComponent | None
    median: dict[float, float]
    misfit: float
    counts: dict[str, int]
    dropped: dict[float, str]
    unidentified: tuple[str, ...]
    model: KindModel
    own: Mapping[tuple[Any, Any], tuple[np.ndarray, int]]


def fit_kind(cube: Cube, grid: Grid, source: str) -> KindFit:
    """Estimate all quantities of one kind; ``source`` names the table."""
    if grid is not None and cube.values.shape[1] > grid[0] * grid[1]:
        raise ValueError(
            f"grid: {grid[0]} × {grid[1]} has no place for neuron {cube.values.shape[1] - 1}; use that of a core."
        )
    logs = cube.kind not in ABSOLUTE and not (cube.values <= 0).any()
    scale: Callable[[np.ndarray], np.ndarray] = np.log if logs else np.asarray
    cube, far = _without_outliers(cube, logs)
    neurons = int(np.isfinite(cube.values).any(2).sum(1).max())
    if neurons < FEW:
        raise ValueError(f"measurements of {cube.kind}: no core has more than {neurons} neurons; expected {FEW}.")
    x = filled(scale(cube.values), cube.ends)
    if not (np.nanmax(x, 1) > np.nanmin(x, 1)).any():
        raise ValueError(f"measurements of {cube.kind}: all neurons of a core have the same value; nothing varies.")
    values = np.exp(x) if logs else x
    relative = values if cube.kind in ABSOLUTE else values / np.nanmean(values, (0, 1))
    choice, law = None, "normal"
    found = _structure(x if logs else relative, cube, grid)
    if logs:
        choice = _family(relative, cube, found, grid)
        law = choice.best if choice is not None and choice.decided else "lognormal"
        if (law == "normal" and cube.kind in POSITIVE) or (law == "gamma" and found.exponent):
            law = "lognormal"
        if law == "normal":
            found = _structure(relative, cube, grid)
    away = values - cube.settings if cube.kind in ABSOLUTE else values / cube.settings
    reference = float(np.exp(np.log(cube.settings).mean())) if (cube.settings > 0).all() else None
    return KindFit(
        kind=cube.kind,
        unit=cube.unit,
        family=choice,
        law="offset" if cube.kind in ABSOLUTE else law,
        estimates=_estimates(found, law) | ({"outliers": far.fraction} if far.number else {}),
        reference=reference,
        part=found.part,
        median={float(s): float(np.nanmedian(away[..., i])) for i, s in enumerate(cube.settings)},
        misfit=found.across.misfit if found.exponent else 0.0,
        counts=cube.counts,
        dropped=cube.dropped,
        unidentified=_unidentified(cube, found, grid),
        model=_model(cube, law, found, far, source),
        own=_own(found, cube),
    )


# ---- outliers


@dataclass(frozen=True)
class _Far:
    """Neurons far from all others: their number and fraction, and their factors."""

    number: int
    fraction: IntervalEstimate
    low: float
    high: float


def _without_outliers(cube: Cube, logs: bool) -> tuple[Cube, _Far]:
    """The cube without outliers: neurons far from the others on the linear scale and, where logarithms exist, on that
    scale too. A skew distribution alone gives no outliers."""
    x, far = cube.values, np.ones((*cube.values.shape[:2], 1), dtype=bool)
    for scale in (np.asarray, np.log) if logs else (np.asarray,):
        x = scale(cube.values)
        away = x - _median(x, 1)
        spread = 1.4826 * _median(np.abs(away), (0, 1))
        far &= np.abs(_median(np.divide(away, spread, out=np.zeros_like(away), where=spread > 0), 2)) > FAR
    n, k = int(np.isfinite(x).any(2).sum()), int(far.sum())
    low = float(beta.ppf((1 - LEVEL) / 2, k, n - k + 1)) if k else 0.0
    high = float(beta.ppf((1 + LEVEL) / 2, k + 1, n - k)) if k < n else 1.0
    factors = np.exp(_median(away, 2)[far]) if k and logs else np.ones(1)
    cube = replace(
        cube,
        values=np.where(far, np.nan, cube.values),
        ends=np.where(far, 0, cube.ends),
        counts=cube.counts | {"outlier neurons": k},
    )
    return cube, _Far(k, IntervalEstimate(k / n, low, high), float(factors.min()), float(factors.max()))


def _median(x: np.ndarray, axis: int | tuple[int, int]) -> np.ndarray:
    """The median of finite values, NaN if there are none."""
    masked = np.ma.median(np.ma.masked_invalid(x), axis=axis, keepdims=True)
    return np.ma.filled(masked, np.nan)


# ---- structure


@dataclass(frozen=True, eq=False)
class _Found:
    """The structure of the values of one kind on one scale; ``probe`` is a surface's share where no field was seen."""

    across: Across
    part: SharedComponent | None
    components: Components
    exponent: float
    residual: np.ndarray
    taken: np.ndarray
    probe: IntervalEstimate | None


def _structure(x: np.ndarray, cube: Cube, grid: Grid) -> _Found:
    width = 1 if grid is None else grid[1]
    if grid is not None and x.shape[1] < grid[0] * grid[1]:
        x = np.pad(x, ((0, 0), (0, grid[0] * grid[1] - x.shape[1]), (0, 0)), constant_values=np.nan)
    known = 1 - float((cube.ends != 0).sum() / np.isfinite(cube.values).sum())  # fraction of uncensored values
    fields: dict[SharedComponent, float] = {}
    part: SharedComponent | None = None
    for last in (False, True):
        residual, taken = residuals(part, _complete(x), width)
        settings = across(residual, taken, cube.settings)
        slope = settings.exponent
        exponent = slope.value if slope is not None and not slope.low <= 0 <= slope.high else 0.0
        unit = (cube.settings / np.exp(np.log(cube.settings).mean())) ** exponent if exponent else 1.0
        independent = known * settings.independent
        if grid is not None and not last:
            fields = plausible_fields(x / unit, grid, independent)
            part = next(iter(fields), None)
    found = components(x / unit, cube.chip, fields, width, independent)
    probe = None
    if grid is not None and part is None:
        surface = Surface(1.0, "field", size=grid[0] * grid[1])
        probe = components(x / unit, cube.chip, {surface: 1.0}, width, independent).estimates()["field_share"]
    return _Found(settings, part, found, exponent, residual[:, : cube.values.shape[1]], taken, probe)


def _own(found: _Found, cube: Cube) -> dict[tuple[Any, Any], tuple[np.ndarray, int]]:
    """Each neuron's own part by core: its standardized residual, averaged over the settings it was measured at."""
    result = {}
    for core, x, taken in zip(cube.cores, found.residual, found.taken):
        seen = np.isfinite(x)
        size = np.sqrt((np.where(seen, x, 0.0) ** 2).sum(0) / np.maximum(seen.sum(0), 1))
        total = np.where(seen, x / np.where(size > 0, size, 1.0), 0.0).sum(1)
        result[core] = np.where(seen.any(1), total / np.maximum(seen.sum(1), 1), np.nan), int(taken.max())
    return result


def _complete(x: np.ndarray) -> np.ndarray:
    """Only neurons measured at all settings, if these are most: gaps would bias the shared components."""
    seen = np.isfinite(x)
    complete = seen.all(2, keepdims=True)
    return np.where(complete, x, np.nan) if complete.sum() >= 0.8 * seen.any(2).sum() else x


def _family(relative: np.ndarray, cube: Cube, found: _Found, grid: Grid) -> FamilyChoice | None:
    """The families of neurons' own parts, at the settings without censored values."""
    clean = ~(cube.ends != 0).any((0, 1))
    if not clean.any():
        return None
    linear = residuals(None, relative, 1)[0]
    if found.part is not None and grid is not None:
        padded = np.pad(relative, ((0, 0), (0, grid[0] * grid[1] - relative.shape[1]), (0, 0)), constant_values=np.nan)
        linear = residuals(found.part, padded, grid[1])[0][:, : relative.shape[1]]
    return family(relative[..., clean], found.residual[..., clean], linear[..., clean])


def _estimates(found: _Found, law: str) -> dict[str, IntervalEstimate]:
    result = found.components.estimates()
    if law == "gamma":
        for name in ("sigma", "sigma_within"):
            e = result[name]
            result[name] = IntervalEstimate(gamma_cv(e.value), gamma_cv(e.low), gamma_cv(e.high))
    more = {"exponent": found.across.exponent, "rate": found.across.rate, "frozen": found.across.frozen}
    if found.part is None:
        more["field_share"] = found.probe
    return result | {name: value for name, value in more.items() if value is not None}


def _unidentified(cube: Cube, found: _Found, grid: Grid) -> tuple[str, ...]:
    chips, said = len(set(cube.chip.tolist())), []
    if found.components.core is None:
        said.append("spread from core to core: no chip has two measured cores")
    if found.components.chip is None:
        said.append("spread from chip to chip: one chip was measured")
    elif found.components.core is None:
        said.append(f"core and chip apart: {chips} chips with one core each; chip_share holds both")
    if grid is None:
        said.append("share of a field over the core: no grid gives the places of neurons")
    if found.across.exponent is None:
        said.append("spread against the setting: one setting, or one of 0")
    if found.across.rate is None:
        said.append("correlation of a neuron between settings: too few neurons at two settings")
    if not cube.counts["repeats averaged"]:
        said.append("read noise: nothing was measured twice; it counts as mismatch")
    elif cube.counts["repeats averaged"] == cube.counts["repeats with the same value"]:
        said.append("read noise: all repeats are equal, copies perhaps; it counts as mismatch")
    return tuple(said)


# ---- the chip model


def _model(cube: Cube, law: str, found: _Found, far: _Far, source: str) -> KindModel:
    kept = found.components.kept()
    parts = kept.parts()
    total = float(sum(values[0] for values in parts.values()))
    sigma = float(np.sqrt(total))
    chips, cores = len(set(cube.chip.tolist())), len(cube.chip)
    n = int(np.isfinite(cube.values).any(2).sum())
    said = f"{source}: {n} neurons, {cores} cores, {chips} chips; interval {_estimates(found, law)['sigma']}"
    cv = float(np.sqrt(np.expm1(total))) if law == "lognormal" else gamma_cv(sigma) if law == "gamma" else sigma
    positive = bool((cube.settings > 0).all())
    at = float(np.exp(np.log(cube.settings).mean())) if positive else None
    shares = {name: float(values[0]) / total for name, values in parts.items()}
    shared: list[SharedComponent] = []
    if found.part is not None and "field" in shares:
        shared.append(replace(found.part, share=shares["field"], name=f"{cube.kind} field"))
    if "core" in shares:
        shared.append(PerCore(shares["core"], f"{cube.kind} core"))
    if "chip" in shares:
        shared.append(PerChip(shares["chip"], f"{cube.kind} chip"))
    rate = found.across.rate
    of = _law(cube, law, sigma, found.exponent)
    if far.number and cube.kind not in ABSOLUTE and (far.low > 1 or far.high < 1):
        of = Outliers(of, far.fraction.value, far.low, far.high)
    if rate is not None and rate.low > 0 and at is not None:
        of = SettingDecorrelation(of, rate.value, at)
    return KindModel(of, SourcedValue(cv, "measured", said, at=at if found.exponent else None), shared=tuple(shared))


def _law(cube: Cube, law: str, sigma: float, exponent: float) -> Law:
    spread: float | Spread = sigma
    if exponent:
        reference = float(np.exp(np.log(cube.settings).mean()))
        largest = float((sigma * (cube.settings / reference) ** exponent).max())
        spread = PowerSpread(sigma, reference, exponent, largest)
    if cube.kind in ABSOLUTE:
        return Offset(spread)
    if law == "gamma":
        return Gamma(gamma_cv(sigma))
    return Normal(spread) if law == "normal" else LogNormal(spread)
