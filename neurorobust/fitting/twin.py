"""A twin of a real die: the measured values, and elsewhere a draw from the model conditional on the measurements."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.linalg import cho_factor, cho_solve
from torch import Tensor

from .._util.errors import check_count, shown, unknown
from .._util.warn import warn
from ..chip.die import Die
from ..chip.measured import MeasuredNormals
from ..chip.model import ChipModel
from ..chip.spatial import GaussianField, PerChip, PerCore, PerNeuron, SharedComponent, Surface
from ..chip.variability import Law, SettingDecorrelation
from ..core.params import ABSOLUTE, POSITIVE
from ..core.placement import Placement
from .cells import label
from .fields import field_matrix
from .table import Cube, Recording, check_places, checked, cube, read_table

FARTHEST = 8.0  # standard normals; larger values are set to it


def twin(
    measurements: Any,
    model: ChipModel,
    *,
    chip: Any = None,
    seed: int = 0,
    recording: Recording = Recording(),  # noqa: B008  frozen
) -> Die:
    """A die that has the measured values at the measured neurons and settings.

    Each value becomes the normal u for which the model's law gives it; several settings of a neuron are averaged, or
    give both normals of a :class:`neurorobust.chip.variability.SettingDecorrelation` law. Everything else is
    drawn from the model conditional on the measurements, so neighbours, cores, the chip and correlated kinds follow. A
    weight is that of a neuron's first synapse. A value at an end of the recording counts as not measured.

    Args:
        measurements: as for :func:`neurorobust.fitting.analyze`; settings in the model's units.
        model: of the chip. chip: the chip of the table, if it has several.
        seed: of values that were not measured. recording: the limits of the recording.

    Raises:
        ValueError: a bad table, several chips and no choice, a kind or a site that the model does not have, a kind
            that does not vary.

    Example:
        >>> import chipmodels
        >>> chip = chipmodels.load("dynapse2")
        >>> table = dict(chip=["a"], core=[0], neuron=[5], parameter=["tau_mem"], setting=[0.02], value=[0.025])
        >>> die = chipmodels.twin(table, chip)  # one measured neuron; all else is drawn from the model
        >>> round(die.map("tau_mem")[0].flatten()[5].item(), 2)  # u of that neuron: 25 % above its setting
        2.0
    """
    path = isinstance(measurements, str) or hasattr(measurements, "__fspath__")
    table = read_table(measurements) if path else checked(measurements)
    labels = list(table["chip"].unique())
    if chip is None and len(labels) > 1:
        raise ValueError(f"chip: the table holds {shown(labels)}; choose one with chip=….")
    chosen = labels[0] if chip is None else label(chip)
    if chosen not in labels:
        raise unknown("chip", chip, map(str, labels))
    table = table[table["chip"] == chosen]
    cubes = {}
    for kind in table["parameter"].unique():
        if kind not in model.kinds:
            raise unknown(f"measurements: kind of chip {model.name}", kind, model.kinds)
        source = model.kinds[kind].shares_deviate_of or kind
        if source == kind or source not in set(table["parameter"]):
            cubes[source] = cube(table, kind, recording)
    cores = _at_least("cores", model.limits.cores, [core for c in cubes.values() for _, core in c.cores], model)
    neurons = _at_least(
        "neurons_per_core", model.limits.neurons_per_core, [c.values.shape[1] - 1 for c in cubes.values()], model
    )
    if None in (model.limits.cores, model.limits.neurons_per_core):  # the table says how large the chip is
        for kind, c in cubes.items():
            check_places(kind, (cores, neurons, len(c.settings)), len(table))
    die = Die(model, 0, check_count("seed", seed, 0))
    sites = _Sites(die, cores, neurons)
    measured = {source: _measured(c, sites, source) for source, c in cubes.items()}
    return replace(die, measured=_measured_normals(measured, sites))


def _at_least(name: str, limit: int | None, numbers: list[int], model: ChipModel) -> int:
    highest = max(numbers) + 1
    if limit is not None and highest > limit:
        raise ValueError(f"measurements: number {highest - 1} exceeds {model.name}'s {limit} {name}, counted from 0.")
    return limit or highest


@dataclass(frozen=True, eq=False)
class _Sites:
    """All sites of a die, core by core, with their dependence."""

    die: Die
    cores: int
    neurons: int

    @property
    def core(self) -> np.ndarray:
        return np.repeat(np.arange(self.cores), self.neurons)

    def drawn(self, kind: str, which: int) -> np.ndarray:
        """The drawn normals of a kind, of each neuron's first synapse for a weight; (places,)."""
        weight = kind == "weight"
        name = "die.input.weight" if weight else f"die.{kind}"
        values: Tensor = torch.ones(self.cores * self.neurons, *([1] if weight else []))
        masks = {name: torch.ones_like(values, dtype=torch.bool)} if weight else {}
        placement = Placement({"die": torch.from_numpy(self.core)}, masks=masks)
        return self.die.site_normals({name: values}, placement, which)[name].reshape(-1).numpy()

    def own(self, a: str, b: str) -> float:
        """The covariance of two kinds' own parts at one place."""
        structure = self.die.model.structure
        left = [1 - sum(part.share for part in structure.shared.get(kind, ())) for kind in (a, b)]
        if a == b:
            return max(0.0, left[0])
        correlation = structure.correlation
        if correlation is None or not {a, b} <= set(correlation.kinds):
            return 0.0
        rho = correlation.matrix[correlation.kinds.index(a)][correlation.kinds.index(b)]
        return rho * float(np.sqrt(max(0.0, left[0]) * max(0.0, left[1])))

    def common(self, a: str, at: np.ndarray, b: str, to: np.ndarray) -> np.ndarray:
        """The covariance of two kinds' common parts between places."""
        structure, result = self.die.model.structure, np.zeros((len(at), len(to)))
        for part in structure.shared.get(a, ()):
            for other in structure.shared.get(b, ()):
                if replace(part, share=other.share) == other:
                    result += np.sqrt(part.share * other.share) * self._correlation(part, at, to)
        return result

    def _correlation(self, part: SharedComponent, at: np.ndarray, to: np.ndarray) -> np.ndarray:
        (core, neuron), (other, its) = np.divmod(at, self.neurons), np.divmod(to, self.neurons)
        same = core[:, None] == other
        if isinstance(part, PerChip):
            return np.ones(same.shape)
        if isinstance(part, PerCore):
            return same.astype(float)
        if isinstance(part, PerNeuron):
            return (at[:, None] == to).astype(float)
        if isinstance(part, (Surface, GaussianField)):
            width = self.die.model.structure.width
            return same * (field_matrix(part, neuron, width) @ field_matrix(part, its, width).T)
        raise TypeError(f"{part!r}: got a {type(part).__name__}; a twin supports no such component.")


def _measured(c: Cube, sites: _Sites, source: str) -> np.ndarray:
    """The normals of a measured kind, (normals of a device, places), NaN where nothing was measured."""
    law = sites.die.model.kinds[c.kind].law
    values = np.where(c.ends == 0, c.values, np.nan)
    grid = np.full((sites.cores, sites.neurons, len(c.settings)), np.nan)
    for row, (_, core) in enumerate(c.cores):
        for s, setting in enumerate(c.settings):
            here = np.flatnonzero(np.isfinite(values[row, :, s]))
            grid[core, here, s] = _score(
                law.of_first_normal, c.kind, c.sign * values[row, here, s], c.sign * float(setting)
            )
    scores = grid.reshape(-1, len(c.settings))
    seen = np.isfinite(scores)
    far = int((np.abs(scores[seen]) > FARTHEST - 1e-6).sum())
    if far:
        warn(
            f"measurements of {c.kind}: {far} of {int(seen.sum())} values lie {FARTHEST:g} standard normals or more "
            f"from the median of model {sites.die.model.name}, and are that far in the twin; compare the units of "
            f"setting and value, or fit a model to the table."
        )
    if not isinstance(law, SettingDecorrelation):
        count = seen.sum(1)
        return np.where(count, np.where(seen, scores, 0).sum(1) / np.maximum(count, 1), np.nan)[None]
    angle = law.rate * np.log(c.settings / law.reference).clip(-np.pi, np.pi)
    turn = np.stack([np.cos(angle), np.sin(angle)], 1)
    drawn = np.stack([sites.drawn(source, which) for which in (0, 1)], 1)
    found = np.full(drawn.shape, np.nan)
    for pattern in np.unique(seen[seen.any(1)], axis=0):
        at = np.flatnonzero((seen == pattern).all(1))
        inverse = np.linalg.pinv(turn[pattern], rcond=1e-2)
        found[at] = drawn[at] + (scores[at][:, pattern] - drawn[at] @ turn[pattern].T) @ inverse.T
    return found.T


def _score(law: Law, kind: str, values: np.ndarray, setting: float) -> np.ndarray:
    """The u at which a law, monotonic in it, gives these values: by bisection, ±8 for values beyond."""
    if kind in ABSOLUTE:
        delta = values - setting
    else:
        delta = np.log(values / setting) if kind in POSITIVE else (values - setting) / abs(setting)
    target = torch.from_numpy(delta)
    nominal = torch.full_like(target, setting)
    low, high = torch.full_like(target, -FARTHEST), torch.full_like(target, FARTHEST)
    span = law.deviate(kind, (high[:1],), nominal[:1]) - law.deviate(kind, (low[:1],), nominal[:1])
    rise = float(span.sign()) if len(span) else 1.0
    if not rise:
        raise ValueError(f"measurements of {kind}: the model says it does not vary; leave it out, or fit a model.")
    for _ in range(60):
        middle = (low + high) / 2
        above = rise * law.deviate(kind, (middle,), nominal) > rise * target
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return ((low + high) / 2).numpy()


def _measured_normals(measured: dict[str, np.ndarray], sites: _Sites) -> MeasuredNormals:
    """Kriging of the difference between measured and drawn normals: a conditional draw, linear in the drawn one."""
    model = sites.die.model
    targets = {model.kinds[kind].shares_deviate_of or kind for kind in model.kinds}
    shape = sites.cores, sites.neurons
    depth = {kind: 1 + model.kinds[kind].law.n_extra_normals for kind in targets}
    common = {kind: np.zeros((depth[kind], *shape)) for kind in targets}
    own = {kind: np.zeros((depth[kind], *shape)) for kind in targets}
    core = sites.core
    wide = any(isinstance(part, PerChip) for parts in model.structure.shared.values() for part in parts)
    for which in range(max(len(u) for u in measured.values())):
        off = {kind: u[which] - sites.drawn(kind, which) for kind, u in measured.items() if which < len(u)}
        for group in [core >= 0] if wide else [core == number for number in range(sites.cores)]:
            seen = {kind: np.flatnonzero(np.isfinite(gap) & group) for kind, gap in off.items()}
            seen = {kind: at for kind, at in seen.items() if len(at)}
            if not seen:
                continue
            covariance = np.block([[_covariance(sites, a, i, b, j) for b, j in seen.items()] for a, i in seen.items()])
            gaps = np.concatenate([off[kind][at] for kind, at in seen.items()])
            covariance[np.diag_indices_from(covariance)] += 1e-10
            weights = np.split(
                cho_solve(cho_factor(covariance), gaps), np.cumsum([len(at) for at in seen.values()])[:-1]
            )
            places = np.flatnonzero(group)
            for kind in targets:
                if which >= depth[kind]:
                    continue
                for (other, at), weight in zip(seen.items(), weights):
                    common[kind][which].reshape(-1)[places] += sites.common(kind, places, other, at) @ weight
                    own[kind][which].reshape(-1)[at] += sites.own(kind, other) * weight
    return MeasuredNormals(_moving(common, common, own), _moving(own, common, own))


def _covariance(sites: _Sites, a: str, i: np.ndarray, b: str, j: np.ndarray) -> np.ndarray:
    return sites.common(a, i, b, j) + sites.own(a, b) * (i[:, None] == j)


def _moving(
    values: dict[str, np.ndarray], common: dict[str, np.ndarray], own: dict[str, np.ndarray]
) -> dict[str, Tensor]:
    """The kinds that measurements change, as tensors."""
    return {kind: torch.from_numpy(v) for kind, v in values.items() if common[kind].any() or own[kind].any()}
