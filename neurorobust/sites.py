"""The standard normals behind a die, keyed by the physical site they belong to.

Each stream of normals is Philox keyed by (seed, serial), its counter by (kind, core, neuron), so a deviate depends
on nothing else: not on the fleet, the order, the device, or the network that is placed there.

What neighbours, cores or kinds have in common is mixed into the sites' own normals; u stays normal with mean 0 and
variance 1 (for a surface, whose edges vary more than its middle, on average over the core):
u = √(1 − Σ shareᵢ) · own + Σ √shareᵢ · commonᵢ, each common part a stream of its own.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from ._util.errors import check_count, check_number, unknown
from .core.params import DIGITAL, KINDS, Deviations, kind_of
from .core.placement import HOST, Placement

# ---- what sites have in common


@dataclass(frozen=True)
class Common(ABC):
    """A share of the variance that the sites of a core or a chip have in common.

    Attributes:
        share: of the variance, 0 to 1.
        name: kinds whose parts have the same name and class share the part itself.
    """

    share: float
    name: str

    def __post_init__(self) -> None:
        if check_number("share", self.share) > 1:
            raise ValueError(f"share: got {self.share:g}; expected a fraction of the variance, at most 1.")
        if not self.name:
            raise ValueError("name: a common part needs one; kinds that name the same part share it.")

    def named(self, suffix: str) -> Common:
        """The same part under another name: another draw."""
        return replace(self, name=self.name + suffix)

    @abstractmethod
    def draw(self, key: np.ndarray, core: int, width: int, neuron: np.ndarray) -> np.ndarray:
        """The standard normal part of some neurons of one core, which stand row by row in a grid ``width`` wide."""

    def stream(self, key: np.ndarray, core: int, n: int) -> np.ndarray:
        """n normals of this part."""
        return _stream(key, f"{type(self).__name__}:{self.name}", core, 0, n)


@dataclass(frozen=True)
class PerChip(Common):
    """One number for the whole chip: a process corner beside the local mismatch."""

    def draw(self, key: np.ndarray, core: int, width: int, neuron: np.ndarray) -> np.ndarray:
        return np.full(len(neuron), self.stream(key, 0, 1)[0])


@dataclass(frozen=True)
class PerCore(Common):
    """One number for each core."""

    def draw(self, key: np.ndarray, core: int, width: int, neuron: np.ndarray) -> np.ndarray:
        return np.full(len(neuron), self.stream(key, core, 1)[0])


@dataclass(frozen=True)
class PerNeuron(Common):
    """One number for each neuron, common to all its synapses."""

    def draw(self, key: np.ndarray, core: int, width: int, neuron: np.ndarray) -> np.ndarray:
        return self.stream(key, core, int(neuron.max()) + 1)[neuron]


@dataclass(frozen=True)
class Surface(Common):
    """A quadratic surface in row and column over each core's square grid of ``size`` neurons: five normals a core.

    The five terms are orthonormal over the grid, so the variance over dies and neurons together is 1.
    """

    size: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("size", self.size)

    def draw(self, key: np.ndarray, core: int, width: int, neuron: np.ndarray) -> np.ndarray:
        if neuron.max() >= self.size:
            raise ValueError(f"neuron {neuron.max()} of core {core}: the surface {self.name!r} has {self.size} places.")
        terms = quadratic(self.size, width)
        return terms[neuron] @ self.stream(key, core, terms.shape[1]) / np.sqrt(terms.shape[1])


@dataclass(frozen=True)
class Smooth(Common):
    """A stationary Gaussian field over each core's grid, correlation near exp(−d²/2·length²) at distance d.

    128 waves, their frequencies fixed low-discrepancy points of the kernel's spectrum: :meth:`correlation` is exact.

    Attributes:
        length: correlation length, in neurons.
    """

    length: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("length", self.length, strict=True)

    def _waves(self) -> np.ndarray:
        return _low_discrepancy() / self.length

    def draw(self, key: np.ndarray, core: int, width: int, neuron: np.ndarray) -> np.ndarray:
        waves = self._waves()
        phase = np.stack(np.divmod(neuron, width), 1) @ waves.T
        a, b = self.stream(key, core, 2 * len(waves)).reshape(2, -1)
        return (np.cos(phase) @ a + np.sin(phase) @ b) / np.sqrt(len(waves))

    def correlation(self, rows: float, columns: float) -> float:
        """Between two neurons that lie so far apart."""
        return float(np.cos(self._waves() @ np.array([rows, columns])).mean())


@cache
def _low_discrepancy() -> np.ndarray:
    """128 points of the standard normal plane; the first of the sequence, 0, is left out."""
    from scipy.stats import qmc  # slow to import

    return ndtri(qmc.Halton(2, scramble=False).random(129)[1:])


@cache
def quadratic(size: int, width: int) -> np.ndarray:
    """Row, column, their squares and their product over a grid, orthonormal to each other and to 1; (size, ≤ 5)."""
    row, column = np.divmod(np.arange(size, dtype=float), width)
    row, column = row - row.mean(), column - column.mean()
    terms = np.stack([np.ones(size), row, column, row**2, row * column, column**2], 1)
    q, r = np.linalg.qr(terms / np.abs(terms).max(0).clip(1e-300))
    kept = np.abs(np.diag(r)) > 1e-9
    return (q * np.sign(np.diag(r)))[:, kept][:, 1:] * np.sqrt(size)


@dataclass(frozen=True)
class Correlation:
    """Kinds of one neuron that vary together.

    Attributes:
        kinds: with one value a neuron. matrix: the correlations of their own parts, positive definite.
    """

    kinds: tuple[str, ...]
    matrix: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in KINDS - {"weight"}:
                raise unknown("correlation: kind with one value a neuron", kind, KINDS - {"weight"})
        rho, n = np.array(self.matrix, dtype=float), len(self.kinds)
        if len(set(self.kinds)) != n or rho.shape != (n, n):
            raise ValueError(f"correlation: got a matrix of shape {rho.shape}; expected ({n}, {n}), each kind once.")
        if not (rho == rho.T).all() or not (np.diag(rho) == 1).all():
            raise ValueError("correlation: expected a symmetric matrix with ones on the diagonal.")
        lowest = float(np.linalg.eigvalsh(rho)[0])
        if lowest <= 1e-12:
            raise ValueError(
                f"correlation: not positive definite (smallest eigenvalue {lowest:.3g}); no devices can be correlated "
                f"so. Make the entries smaller."
            )

    def factors(self, kind: str) -> dict[str, float]:
        """The kinds whose normals make up this one, each with its factor; itself alone where it is not named."""
        if kind not in self.kinds:
            return {kind: 1.0}
        row = np.linalg.cholesky(np.array(self.matrix))[self.kinds.index(kind)]
        return {other: float(factor) for other, factor in zip(self.kinds, row) if factor}


@dataclass(frozen=True)
class Structure:
    """How the normals of a die hang together; nothing does by default.

    Attributes:
        common: the common parts of each kind. follows: the kind whose normals another one takes (gain ← tau_mem).
        correlation: between kinds, or None. width: of a core's grid, in neurons.
    """

    common: Mapping[str, Sequence[Common]] = field(default_factory=dict)
    follows: Mapping[str, str] = field(default_factory=dict)
    correlation: Correlation | None = None
    width: int = 16

    def __post_init__(self) -> None:
        check_count("width", self.width)
        for kind, parts in self.common.items():
            if (total := sum(part.share for part in parts)) > 1:
                raise ValueError(f"{kind}: the shares of its common parts add up to {total:g}; expected at most 1.")


PLAIN = Structure()

# ---- the normals of a die


def normals(
    params: Mapping[str, Tensor],
    placement: Placement,
    *,
    seed: int,
    serial: int,
    structure: Structure = PLAIN,
    which: int = 0,
    stream: str = "",
) -> Deviations:
    """A standard normal u for every element of every parameter of one die, float64; 0 where there is no synapse.

    A value per neuron takes the normal of (kind, core, neuron), a weight that of (kind, core, neuron, synapse). Neurons
    are numbered on their core in the order of the layers, synapses of a neuron with its input synapses first. Where a
    layer is not placed, the parameter's whole name stands for the kind, so no two of them share a deviate. Digital
    numbers have none. What is not placed on a core of the chip has no common parts.

    Args:
        params: expanded values; only their shapes count. placement: where they sit.
        seed, serial: of the die. structure: what neighbours and kinds have in common.
        which: 0 for u, 1 … for the further normals of devices that have more than one.
        stream: what else they are for, such as a defect; normals of another stream are others.
    """
    check_count("which", which, 0)
    key, suffix = np.array([seed, serial], dtype=np.uint64), stream + (f"+{which}" if which else "")
    result = {}
    neurons = _neurons(placement)
    seen: Counter[tuple[str | None, str]] = Counter()
    for name, values in params.items():
        kind = kind_of(name)
        if kind in DIGITAL:
            continue
        layer = placement.layer(name)
        n = 0 if layer is None else len(placement.cores[layer])
        grid = kind != "weight" and values.numel() == n  # neurons on a grid, (C, H, W)
        if layer is not None and values.ndim and len(values) != n and not grid:
            layer = None  # a kernel shared by many neurons sits at none of them
        core, neuron = _unplaced(values) if layer is None else neurons[layer]
        source = structure.follows.get(kind, kind)
        if layer is None or (kind == "weight" and name not in placement.masks):  # no synapse among a neuron's
            purpose = name.removesuffix(kind) + source
        elif kind == "weight":
            purpose = kind
        else:  # two biases of one neuron are two sites
            purpose = f"{source}{seen[layer, kind] or ''}"
            seen[layer, kind] += 1
        if (values.ndim <= 1 or grid) and kind != "weight":
            factors = {purpose: 1.0} if structure.correlation is None else structure.correlation.factors(purpose)
            u = np.sum([f * _per_neuron(key, other + suffix, core, neuron) for other, f in factors.items()], axis=0)
            present = np.ones(u.shape, dtype=bool)
        else:
            slots = _slots(name, values, placement, layer)
            u, present = _per_synapse(key, purpose + suffix, (core, neuron), slots), slots >= 0
        if layer is not None and (parts := structure.common.get(source)):
            u = np.where(
                present, _mixed(u, [part.named(suffix) for part in parts], key, structure.width, (core, neuron)), 0.0
            )
        result[name] = torch.from_numpy(u).reshape(values.shape)
    return result


def _mixed(
    own: np.ndarray, parts: Sequence[Common], key: np.ndarray, width: int, site: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """The sites' own normals, by row, with what they have in common; as they are on the host."""
    core, neuron = site
    mixed = own.copy()
    for number in np.unique(core[core != HOST]).tolist():
        here = core == number
        mixed[here] *= np.sqrt(max(0.0, 1 - sum(part.share for part in parts)))
        for part in parts:
            common = np.sqrt(part.share) * part.draw(key, number, width, neuron[here])
            mixed[here] += common.reshape(-1, *[1] * (own.ndim - 1))
    return mixed


def _stream(key: np.ndarray, kind: str, core: int, neuron: int, n: int) -> np.ndarray:
    """The first n normals of one site."""
    counter = np.array([0, neuron, core & 0xFFFFFFFF, zlib.crc32(kind.encode())], dtype=np.uint64)
    raw = np.random.Philox(key=key, counter=counter).random_raw(n)
    return ndtri(((raw >> np.uint64(11)) + 0.5) * 2.0**-53)


def _per_neuron(key: np.ndarray, kind: str, core: np.ndarray, neuron: np.ndarray) -> np.ndarray:
    u = np.empty(len(core))
    for number in np.unique(core):
        here = core == number
        u[here] = _stream(key, kind, int(number), 0, int(neuron[here].max()) + 1)[neuron[here]]
    return u


def _per_synapse(key: np.ndarray, kind: str, site: tuple[np.ndarray, np.ndarray], slots: np.ndarray) -> np.ndarray:
    u = np.zeros(slots.shape)
    for row, (core, neuron) in enumerate(zip(*site)):
        present = slots[row] >= 0
        if present.any():
            stream = _stream(key, kind, int(core), int(neuron) + 1, int(slots[row].max()) + 1)
            u[row, present] = stream[slots[row, present]]
    return u


def _neurons(placement: Placement) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Core of every neuron, and its number on that core, by layer; layers fill a core one after the other."""
    taken: dict[int, int] = {}
    result = {}
    for layer, tensor in placement.cores.items():
        core = tensor.cpu().numpy()
        neuron = np.empty_like(core)
        for number in np.unique(core).tolist():
            here = core == number
            first = taken.get(number, 0)
            neuron[here] = first + np.arange(here.sum())
            taken[number] = first + int(here.sum())
        result[layer] = core, neuron
    return result


def _unplaced(values: Tensor) -> tuple[np.ndarray, np.ndarray]:
    rows = values.shape[0] if values.ndim else 1
    return np.full(rows, HOST), np.arange(rows)


def _slots(name: str, values: Tensor, placement: Placement, layer: str | None) -> np.ndarray:
    """The synapse number of every weight among its neuron's, input synapses first; −1 where there is none."""
    rows = values.shape[0] if values.ndim else 1
    if layer is None or name not in placement.masks:
        slots = np.arange(values.numel() // max(rows, 1))[None].repeat(rows, 0)
        mask = placement.masks.get(name)
        return slots if mask is None else np.where(mask.cpu().numpy().reshape(rows, -1), slots, -1)
    before = np.zeros((rows, 1), dtype=np.int64)
    for other, mask in placement.masks.items():
        present = mask.cpu().numpy().reshape(len(mask), -1)
        if other == name:
            return np.where(present, before + np.cumsum(present, 1) - 1, -1)
        if placement.layer(other) == layer and len(mask) == rows:
            before = before + present.sum(1, keepdims=True)
    raise AssertionError(name)
