"""Fit of a chip model to measurements, with an interval for every number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .._util.errors import check_count
from .._util.printed import Printed
from ..chip.model import ChipModel
from .between import between, significant
from .components import IntervalEstimate
from .kind import KindFit, fit_kind
from .table import Recording, checked, cube, read_table


@dataclass(frozen=True, eq=False, repr=False)
class FitResult(Printed):
    """Result of a fit, by kind; :meth:`model` makes a chip model of it.

    Attributes:
        correlations: of neurons' own parts, for every two kinds with one value per neuron that can be compared.

    Example:
        >>> import numpy as np
        >>> table = dict(chip=["a"] * 200, core=[0] * 200, neuron=list(range(200)), parameter=["tau_mem"] * 200)
        >>> values = 0.02 * np.exp(0.15 * np.random.default_rng(0).standard_normal(200))
        >>> found = nr.fitting.analyze(table | dict(setting=[0.02] * 200, value=values), name="mine")
        >>> list(found.kinds), found.model().name
        (['tau_mem'], 'mine')
    """

    name: str
    kinds: Mapping[str, KindFit]
    grid: tuple[int, int] | None
    correlations: Mapping[tuple[str, str], IntervalEstimate] = field(default_factory=dict)

    def model(self, base: ChipModel | None = None) -> ChipModel:
        """The chip model. Kinds that were not measured, ranges, codes and limits are those of ``base``, if given."""
        notes = tuple(f"Not identified for {kind}: {said}." for kind, fit in self.kinds.items() for said in _said(fit))
        notes += ("Each kind has a separate field: shared fields were not fitted.",)
        correlation = significant(self.correlations)
        if base is None:
            title = f"fitted to measurements of {', '.join(self.kinds)}"
            kinds = {kind: fit.model for kind, fit in self.kinds.items()}
            grid = self.grid or (16, 16)
            return ChipModel(self.name, title, kinds, notes=notes, grid=grid, correlation=correlation)
        held = dict(base.kinds)
        for kind, fit in self.kinds.items():
            model = fit.model
            if kind in held:
                model = replace(held[kind], law=model.law, cv=model.cv, shared=model.shared, shares_deviate_of=None)
            held[kind] = model
        if correlation is None and not set(self.kinds) & set(base.correlation.kinds if base.correlation else ()):
            correlation = base.correlation
        grid = self.grid or base.grid
        return replace(base, name=self.name, kinds=held, notes=base.notes + notes, grid=grid, correlation=correlation)

    def card(self) -> dict[str, Any]:
        """All results as JSON values."""
        return {
            "name": self.name,
            "parameters": {kind: _card(fit) for kind, fit in self.kinds.items()},
            "correlations": [
                {"kinds": [a, b], "value": e.value, "low": e.low, "high": e.high}
                for (a, b), e in self.correlations.items()
            ],
        }

    def rows(self) -> list[tuple[str, str, str, str]]:
        """(kind, name, number, interval or remark), as text."""
        rows = [(kind, *row) for kind, fit in self.kinds.items() for row in _rows(fit)]
        return rows + [
            (a, f"correlation with {b}", f"{e.value:.3g}", f"{e.low:.3g} to {e.high:.3g}")
            for (a, b), e in self.correlations.items()
        ]


def analyze(
    measurements: Any,
    *,
    name: str = "fitted",
    grid: tuple[int, int] | None = None,
    recording: Recording = Recording(),  # noqa: B008  frozen
) -> FitResult:
    """Estimates of every kind in a table of measurements, each number with a 95 % interval.

    log θ* (θ* for normal and absolute kinds) = median(setting) + σ(setting) · (chip + core + field(neuron) + own), σ
    constant or a power of the setting; see :mod:`neurorobust.fitting`.

    Args:
        measurements: the path of a CSV file, or any argument of :class:`pandas.DataFrame`; one row per measurement,
            columns chip, core, neuron, parameter (a kind), setting (as programmed), value, optional unit; SI units.
        name: of the model. grid: rows and columns of the neurons of a core, numbered row by row; without it
            no field is fitted.
        recording: the limits of the recording.

    Raises:
        ValueError: an empty table, an unknown column, parameter or unit, too few values.

    Example:
        >>> import numpy as np
        >>> table = dict(chip=["a"] * 200, core=[0] * 200, neuron=list(range(200)), parameter=["tau_mem"] * 200)
        >>> values = 0.02 * np.exp(0.15 * np.random.default_rng(0).standard_normal(200))  # s; a spread of 15 %
        >>> found = nr.fitting.analyze(table | dict(setting=[0.02] * 200, value=values))
        >>> sigma = found.kinds["tau_mem"].estimates["sigma"]
        >>> sigma.low < 0.15 < sigma.high
        True
    """
    if grid is not None:
        if len(grid) != 2:
            raise ValueError(f"grid: got {grid!r}; expected (rows, columns).")
        grid = check_count("grid", grid[0]), check_count("grid", grid[1])
    path = isinstance(measurements, (str, Path))
    table = read_table(measurements) if path else checked(measurements)
    source = f"fitted to {Path(measurements).name}" if path else "fitted to measurements"
    kinds = sorted(table["parameter"].unique())
    fits = {kind: fit_kind(cube(table, kind, recording), grid, source) for kind in kinds}
    return FitResult(name, fits, grid, between(fits))


def fit_chip(
    measurements: Any,
    *,
    name: str = "fitted",
    grid: tuple[int, int] | None = None,
    recording: Recording = Recording(),  # noqa: B008  frozen
    base: ChipModel | None = None,
) -> ChipModel:
    """The chip model of measured dies. Arguments as for :func:`analyze`, which also returns the intervals.

    Args:
        base: a model of the same chip, for kinds that were not measured.

    Example:
        >>> import numpy as np
        >>> table = dict(chip=["a"] * 200, core=[0] * 200, neuron=list(range(200)), parameter=["tau_mem"] * 200)
        >>> values = 0.02 * np.exp(0.15 * np.random.default_rng(0).standard_normal(200))  # s; a spread of 15 %
        >>> chip = nr.fitting.fit_chip(table | dict(setting=[0.02] * 200, value=values), name="mine")
        >>> round(chip.kinds["tau_mem"].cv.value, 2), chip.kinds["tau_mem"].cv.status
        (0.15, 'measured')
    """
    return analyze(measurements, name=name, grid=grid, recording=recording).model(base)


def _said(fit: KindFit) -> list[str]:
    said = list(fit.unidentified)
    if fit.family is None:
        said.append("family: values of both signs, absolute, or cut off by the recording at every setting")
    elif not fit.family.decided:
        said.append(f"family ({fit.family}); the law is {fit.law}")
    elif fit.family.best != fit.law:
        said.append(f"a law for the likeliest family, {fit.family.best}, on this kind; the law is {fit.law}")
    return said


def _rows(fit: KindFit) -> list[tuple[str, str, str]]:
    at = "" if fit.reference is None else f" at {fit.reference:.3g}{' ' * bool(fit.unit)}{fit.unit}"
    rows = [("law", fit.law, "" if fit.family is None else str(fit.family))]
    if fit.part is not None:
        rows.append(
            ("field", type(fit.part).__name__, "" if _length(fit) is None else f"{_length(fit):g} neurons long")
        )
    for name, e in fit.estimates.items():
        rows.append((name + at if name.startswith("sigma") else name, f"{e.value:.3g}", f"{e.low:.3g} to {e.high:.3g}"))
    rows += [(what, str(count), "") for what, count in fit.counts.items() if count]
    rows += [("left out", f"setting {s:.3g}", reason) for s, reason in fit.dropped.items()]
    return rows + [("not identified", "", said) for said in _said(fit)]


def _card(fit: KindFit) -> dict[str, Any]:
    return {
        "law": fit.law,
        "unit": fit.unit,
        "family": None
        if fit.family is None
        else {
            "best": fit.family.best,
            "decided": fit.family.decided,
            "behind": {name: {"log_likelihood": a, "standard_errors": b} for name, (a, b) in fit.family.behind.items()},
        },
        "field": None if fit.part is None else {"class": type(fit.part).__name__, "length": _length(fit)},
        "reference": fit.reference,
        "estimates": {
            name: {"value": e.value, "low": e.low, "high": e.high if math.isfinite(e.high) else None}
            for name, e in fit.estimates.items()
        },
        "misfit": fit.misfit,
        "median": [{"setting": s, "median": m} for s, m in fit.median.items()],
        "counts": fit.counts,
        "dropped": [{"setting": s, "reason": reason} for s, reason in fit.dropped.items()],
        "unidentified": _said(fit),
    }


def _length(fit: KindFit) -> float | None:
    return getattr(fit.part, "length", None)
