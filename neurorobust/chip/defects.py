"""Defects: permanently broken sites of a die, as deviations that replace those of the die.

A dead neuron has a threshold out of reach, a bad synapse has weight 0, a stuck device leaves the weight of the other
device of its pair. The broken sites follow from normals of the die, keyed like all others: a die
keeps its defects for every network, and a higher fraction adds defects to them. Computation on the host has no
defects. Defects are sampled, never attacked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from .._util.errors import check_number, plain_fields
from ..core.params import Deviations, kind_of
from ..core.placement import HOST, Placement
from . import die_random
from .programming import Programmed

NEVER = 60.0
"""δ of a threshold that no membrane reaches: e^60 times as high, finite so that resets stay numbers."""


@dataclass(frozen=True)
class DieKey:
    """The data of a die that defects need: the key of its normals and the grid of its sites.

    Attributes:
        chip: name of the chip model, for errors. seed, serial: of the die.
        neurons_per_core, fan_in: limits of the chip, None where unknown. width: of a core's grid, in neurons.
    """

    chip: str
    seed: int
    serial: int
    neurons_per_core: int | None
    fan_in: int | None
    width: int


# ---- patterns


class Pattern(Protocol):
    """Places of the defects of a die."""

    @property
    def fraction(self) -> float:
        """The probability that a site is broken."""

    def hits(self, u: Tensor) -> Tensor:
        """True at the broken sites, from a standard normal per site of the die."""


@dataclass(frozen=True)
class Scattered:
    """Every site is broken independently with the same probability.

    Attributes:
        fraction: 0 to 1.

    Raises:
        ValueError: ``fraction`` is outside 0 to 1.

    Example:
        >>> u = torch.randn(1000, 100, generator=torch.Generator().manual_seed(0))
        >>> round(nr.chip.defects.Scattered(0.1).hits(u).float().mean().item(), 3)
        0.101
    """

    fraction: float

    def __post_init__(self) -> None:
        plain_fields(self)
        _check_fraction(self.fraction)

    def hits(self, u: Tensor) -> Tensor:
        """True at the broken sites; u of any shape."""
        return u < _quantile(self.fraction)


@dataclass(frozen=True)
class Clustered:
    """Broken sites lie together: where a smooth Gaussian field over the die is low.

    ::

        field = A_H u A_Wᵀ,    A[i, j] ∝ exp(−(i − j)²/(2 length²)), rows of norm 1
        broken where field < Φ⁻¹(fraction)

    The field is N(0, 1) at every site, at the edges too, so every site is broken with probability ``fraction``; far
    from them, sites d apart are correlated by exp(−d²/(4 length²)).

    Attributes:
        fraction: 0 to 1. length: in sites, > 0.

    Raises:
        ValueError: ``fraction`` is outside 0 to 1, or ``length`` not above 0.

    Example:
        >>> from neurorobust.chip.defects import Clustered
        >>> broken = Clustered(0.1, length=4.0).hits(torch.randn(200, 200, generator=torch.Generator().manual_seed(0)))
        >>> both = broken[:, 1:] & broken[:, :-1]
        >>> round((both.sum() / broken[:, 1:].sum()).item(), 2)  # the left neighbour of a broken site is broken, too
        0.89
    """

    fraction: float
    length: float

    def __post_init__(self) -> None:
        plain_fields(self)
        _check_fraction(self.fraction)
        check_number("length", self.length, strict=True)

    def field(self, u: Tensor) -> Tensor:
        """The smooth field from standard normals of shape (…, H, W), the grid of sites last."""
        if u.ndim < 2:
            raise ValueError(f"u: got shape {tuple(u.shape)}; expected (…, height, width), the grid of sites last.")
        return self._smooth(u.shape[-2], u) @ u @ self._smooth(u.shape[-1], u).T

    def hits(self, u: Tensor) -> Tensor:
        """True at the broken sites; u of shape (…, H, W), the grid of sites last."""
        return self.field(u) < _quantile(self.fraction)

    def _smooth(self, n: int, like: Tensor) -> Tensor:
        site = torch.arange(n, dtype=like.dtype, device=like.device)
        kernel = torch.exp(-((site[:, None] - site) / self.length).square() / 2)
        return kernel / kernel.norm(dim=1, keepdim=True)


def _check_fraction(fraction: float) -> None:
    fraction = check_number("fraction", fraction)
    if fraction > 1:
        raise ValueError(f"fraction: got {fraction!r}; expected 0 to 1.")


def _quantile(fraction: float) -> float:
    return float(torch.special.ndtri(torch.tensor(fraction, dtype=torch.float64)))


# ---- defects


@dataclass(frozen=True)
class Defect(ABC):
    """One way in which sites are broken.

    Attributes:
        pattern: the pattern, or the fraction of sites, each independently.
        status, source: how the fraction is known; see :class:`neurorobust.chip.SourcedValue`.

    Raises:
        TypeError: ``pattern`` is neither a fraction nor a pattern. ValueError: a fraction outside 0 to 1.
    """

    pattern: Pattern | float
    status: str = field(default="assumed", kw_only=True)
    source: str = field(default="the fraction asked for", kw_only=True)

    @property
    def where(self) -> Pattern:
        return Scattered(self.pattern) if isinstance(self.pattern, (int, float)) else self.pattern

    def __post_init__(self) -> None:
        plain_fields(self)
        if not hasattr(self.where, "hits"):
            raise TypeError(f"pattern: got {self.pattern!r}; expected a fraction, or a pattern such as Scattered(0.1).")

    @property
    def level(self) -> float:
        """The fraction of sites that are broken."""
        return float(self.where.fraction)

    @abstractmethod
    def broken(self, die: DieKey, programmed: Programmed) -> Iterator[tuple[str, Tensor, Tensor]]:
        """(parameter, True where it is broken, δ it then has), in expanded shapes."""


@dataclass(frozen=True)
class DeadNeurons(Defect):
    """Neurons that never spike; a dead neuron without threshold gets no input.

    Example:
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> chip = nr.mismatch(0.1).with_defects(nr.chip.DeadNeurons(0.05))
        >>> held = chip.program(nr.nominal(network), network.placement())
        >>> broken = chip.fabricate([0], seed=0)[0].broken(held)
        >>> {name: int(where.sum()) for name, where in broken.items()}
        {'hidden.v_threshold': 4}
    """

    def broken(self, die: DieKey, programmed: Programmed) -> Iterator[tuple[str, Tensor, Tensor]]:
        expanded, placement, found = programmed.expanded(), programmed.placement, False
        for name, value in expanded.items():
            if kind_of(name) == "v_threshold" and placement.layer(name) is None:
                found = True
                yield name, _neurons(self, die, {name: value}, placement)[name], torch.full_like(value, NEVER)
        for layer, sites in placement.numbering.items():
            if not bool((sites.core != HOST).any()):
                continue
            found, name = True, f"{layer}.v_threshold"
            dead = _neurons(self, die, {name: torch.ones(len(sites.core))}, placement)[name]
            if name not in expanded:
                yield from _silenced(layer, dead, programmed)
                continue
            value = expanded[name]
            if value.numel() != len(dead):
                raise ValueError(
                    f"{name}: the neurons of layer {layer!r} are computed digitally beside the array that holds "
                    f"its kernel once; take BadSynapses or StuckDevices."
                )
            yield name, dead.reshape(value.shape), torch.full_like(value, NEVER)
        if not found:
            raise ValueError("DeadNeurons: the network has no threshold and no layer on a core; no neuron can be dead.")


def _silenced(layer: str, dead: Tensor, programmed: Programmed) -> Iterator[tuple[str, Tensor, Tensor]]:
    """All synapses and biases of the dead neurons of a layer without threshold, at 0."""
    for name, value in programmed.expanded().items():
        if programmed.placement.layer(name) == layer and kind_of(name) in ("weight", "bias"):
            if programmed.placement.rows(name, value) != len(dead):
                raise ValueError(
                    f"{name}: is shared by the {len(dead)} neurons of layer {layer!r}, which have no threshold, so "
                    f"none of them can be dead alone; compute the layer on the host (core nr.HOST)."
                )
            rows = programmed.placement.by_neuron(name, dead, value).expand(value.shape)
            yield name, rows & (value != 0), -value.sign()


@dataclass(frozen=True)
class BadSynapses(Defect):
    """Synapses that transmit nothing.

    Example:
        >>> chip, model = nr.mismatch(0.1).with_defects(nr.chip.BadSynapses(0.2)), nr.wrap(nn.Linear(1000, 1))
        >>> held = chip.program(nr.nominal(model), model.placement())
        >>> weights = chip.fabricate([0], seed=0)[0].params(held)["weight"]
        >>> round((weights == 0).float().mean().item(), 3)
        0.215
    """

    def broken(self, die: DieKey, programmed: Programmed) -> Iterator[tuple[str, Tensor, Tensor]]:
        for name, value, hits in _synapses(self, die, programmed, ""):
            yield name, hits, -value.sign()


@dataclass(frozen=True)
class StuckDevices(Defect):
    """Memory cells with a fixed conductance. A weight has two, G₊ − G₋, and each is stuck independently.

    A weight whose own device is stuck has the magnitude of ``at``; if the idle one is, ``at`` is subtracted from it. A
    weight of exactly 0 is no pair of devices.

    Attributes:
        at: of the largest magnitude on the core, 0 to 1: 1 for stuck on, 0 for stuck off.
        pair: False where a weight is a single device.

    Raises:
        ValueError: ``at`` or the fraction is outside 0 to 1.

    Example:
        >>> defect, model = nr.chip.StuckDevices(0.1, at=0.0), nr.wrap(nn.Linear(1000, 1))  # stuck at "off"
        >>> chip = nr.mismatch(0.1).with_defects(defect)
        >>> held = chip.program(nr.nominal(model), model.placement())
        >>> weights = chip.fabricate([0], seed=0)[0].params(held)["weight"]
        >>> round((weights == 0).float().mean().item(), 3)
        0.094
    """

    at: float = 1.0
    pair: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.at <= 1:
            raise ValueError(f"at: got {self.at!r}; expected a fraction of the largest magnitude, 0 to 1.")

    def broken(self, die: DieKey, programmed: Programmed) -> Iterator[tuple[str, Tensor, Tensor]]:
        idle = {name: hits for name, _, hits in _synapses(self, die, programmed, "idle")} if self.pair else {}
        for name, value, hits in _synapses(self, die, programmed, ""):
            size = torch.where(value == 0, 1.0, value.abs())
            stuck = self.at * _full(name, value, programmed)
            other = idle.get(name, torch.zeros_like(hits))
            magnitude = torch.where(hits, stuck, value.abs()) - torch.where(other, stuck, 0.0)
            yield name, hits | other, value.sign() * (magnitude / size - 1)


def _full(name: str, like: Tensor, programmed: Programmed) -> Tensor:
    """The largest magnitude of a weight on the core of each row."""
    placement = programmed.placement
    sites = placement.sites(name, like)
    if sites is None:
        return like.abs().max() if like.numel() else like.new_zeros(())
    largest = torch.zeros(1 + max(placement.occupied(), default=0), dtype=like.dtype)
    for other, value in programmed.expanded().items():
        if kind_of(other) == "weight" and (its := placement.sites(other, value)) is not None:
            on_chip = its.core != HOST
            rows = value.abs().flatten(1).amax(1) if value.ndim > 1 else value.abs()
            largest.scatter_reduce_(0, its.core[on_chip], rows[on_chip].to(largest), "amax")
    return largest[sites.core.clamp(min=0)].reshape(-1, *[1] * (like.ndim - 1))


def _neurons(defect: Defect, die: DieKey, values: Deviations, placement: Placement) -> dict[str, Tensor]:
    """True for the broken of the neurons whose parameters these are."""
    stream, where = f"!{type(defect).__name__}", defect.where
    if isinstance(where, Scattered):
        return {name: where.hits(u) for name, u in _normals(die, values, placement, stream).items()}
    result = {}
    for name, value in values.items():
        sites = placement.sites(name, value)
        if sites is None:
            raise ValueError(f"{name}: sits on no core, so {where!r} has no grid to lie on; use Scattered.")
        n, width = _per_core(die, where), die.width
        rows = -(-n // width)
        every = torch.arange(int(sites.core.max()) + 1).repeat_interleave(rows * width)
        u = _normals(die, {"die.v_threshold": torch.ones(len(every))}, Placement({"die": every}), stream)
        hits = where.hits(u["die.v_threshold"].reshape(-1, rows, width)).flatten(1)
        result[name] = hits[sites.core, sites.number].reshape(value.shape)
    return result


def _synapses(defect: Defect, die: DieKey, programmed: Programmed, part: str) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(weight, values, True where a synapse on the chip is broken); of those that are not exactly 0."""
    placement, where = programmed.placement, defect.where
    values = {
        name: value
        for name, value in programmed.expanded().items()
        if kind_of(name) == "weight" and (placement.layer(name) is None or placement.on_chip(name))
    }
    if not values:
        raise ValueError(f"{type(defect).__name__}: the network has no weight on the chip.")
    stream = f"!{type(defect).__name__}{part}"
    if isinstance(where, Scattered):
        for name, u in _normals(die, values, placement, stream).items():
            yield name, values[name], where.hits(u) & (values[name] != 0)
        return
    for name, value in values.items():
        sites = placement.sites(name, value)
        if sites is None or name not in placement.masks:
            raise ValueError(f"{name}: has no place in an array of synapses for {where!r} to lie on; use Scattered.")
        slots = placement.slots(name, value)
        rows, columns = _per_core(die, where), die.fan_in or int(slots.max()) + 1
        hits = torch.zeros(slots.shape, dtype=torch.bool)
        for number in sites.core.unique().tolist():
            array = {"die.input.weight": torch.ones(rows, columns)}
            masks = {name: torch.ones(rows, columns, dtype=torch.bool) for name in array}
            at = Placement({"die": torch.full((rows,), number)}, masks=masks)
            field = where.hits(_normals(die, array, at, stream)["die.input.weight"])
            here = sites.core == number
            hits[here] = field[sites.number[here][:, None], slots[here].clamp(min=0)] & (slots[here] >= 0)
        yield name, value, hits.reshape(value.shape) & (value != 0)


def _normals(die: DieKey, values: Deviations, placement: Placement, stream: str) -> Deviations:
    return die_random.normals(values, placement, seed=die.seed, serial=die.serial, stream=stream)


def _per_core(die: DieKey, where: Pattern) -> int:
    n = die.neurons_per_core
    if n is None:
        raise ValueError(f"{die.chip}: does not say how many neurons a core has, so {where!r} has no grid.")
    return n
