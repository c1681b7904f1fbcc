"""Defects a chip model declares: what is broken on a die for good, as deviations that stand in for the die's own.

A dead neuron is one whose threshold is out of reach, a bad synapse one whose weight is 0, a stuck device one whose
weight is what the other device leaves. Which sites are broken follows from normals of the die that are keyed like all
others, so a die keeps its defects, whatever network is placed there, and has more of the same where the fraction is
higher. What is computed on the host is never broken. Defects are sampled, never attacked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import sites
from ..core.params import Deviations, kind_of
from ..core.placement import HOST, Placement
from ..defects import Pattern, Scattered

if TYPE_CHECKING:
    from .die import Chip
    from .programming import Programmed

NEVER = 60.0
"""δ of a threshold that no membrane reaches: e^60 times as high, finite so that resets stay numbers."""


@dataclass(frozen=True)
class Defect(ABC):
    """One way in which sites are broken.

    Attributes:
        pattern: where, or the fraction of sites, each by itself.
        status, source: how the fraction is known; see :class:`neurorobust.chip.Fact`.
    """

    pattern: Pattern | float
    status: str = field(default="assumed", kw_only=True)
    source: str = field(default="the fraction asked for", kw_only=True)

    @property
    def where(self) -> Pattern:
        return Scattered(self.pattern) if isinstance(self.pattern, (int, float)) else self.pattern

    def __post_init__(self) -> None:
        if not hasattr(self.where, "hits"):
            raise TypeError(f"pattern: got {self.pattern!r}; expected a fraction, or a pattern such as Scattered(0.1).")

    @property
    def level(self) -> float:
        """The fraction of sites that are broken."""
        return float(self.where.fraction)

    @abstractmethod
    def broken(self, die: Chip, programmed: Programmed) -> Iterator[tuple[str, Tensor, Tensor]]:
        """(parameter, True where it is broken, δ it then has), in expanded shapes."""


@dataclass(frozen=True)
class DeadNeurons(Defect):
    """Neurons that never spike; one without a threshold hears nothing."""

    def broken(self, die: Chip, programmed: Programmed) -> Iterator[tuple[str, Tensor, Tensor]]:
        expanded, placement, found = programmed.expanded(), programmed.placement, False
        for name, value in expanded.items():
            if kind_of(name) == "v_threshold" and placement.layer(name) is None:
                found = True
                yield name, _neurons(self, die, {name: value}, placement)[name], torch.full_like(value, NEVER)
        for layer, core in placement.cores.items():
            if not bool((core != HOST).any()):
                continue
            found, n = True, len(core)
            name = f"{layer}.v_threshold"
            stand_in = {name: torch.ones(n)}
            dead = _neurons(self, die, stand_in, placement)[name]
            if name in expanded:
                value = expanded[name]
                if value.numel() != n:
                    raise ValueError(
                        f"{name}: the neurons of layer {layer!r} are computed digitally beside the array that holds "
                        f"its kernel once; take BadSynapses or StuckDevices."
                    )
                yield name, dead.reshape(value.shape), torch.full_like(value, NEVER)
                continue
            for name, value in expanded.items():
                if placement.layer(name) == layer and kind_of(name) in ("weight", "bias"):
                    if len(value) != n:
                        raise ValueError(
                            f"{name}: is shared by the {n} neurons of layer {layer!r}, which have no threshold, so "
                            f"none of them can be dead by itself; compute the layer on the host (core nr.HOST)."
                        )
                    rows = dead.reshape(-1, *[1] * (value.ndim - 1)).expand(value.shape)
                    yield name, rows & (value != 0), -value.sign()
        if not found:
            raise ValueError("DeadNeurons: the network has no threshold and no layer on a core; no neuron can be dead.")


@dataclass(frozen=True)
class BadSynapses(Defect):
    """Synapses that pass nothing."""

    def broken(self, die: Chip, programmed: Programmed) -> Iterator[tuple[str, Tensor, Tensor]]:
        for name, value, hits in _synapses(self, die, programmed, ""):
            yield name, hits, -value.sign()


@dataclass(frozen=True)
class StuckDevices(Defect):
    """Memory cells that stay where they are. A weight has two, G₊ − G₋, and each is stuck by itself.

    A weight whose own device is stuck has the magnitude of ``at``; if the idle one is, ``at`` is subtracted from it. A
    weight of exactly 0 is no pair of devices.

    Attributes:
        at: of the largest magnitude on the core, 0 to 1: 1 for stuck on, 0 for stuck off.
        pair: False where a weight is a single device.
    """

    at: float = 1.0
    pair: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.at <= 1:
            raise ValueError(f"at: got {self.at!r}; expected a fraction of the largest magnitude, 0 to 1.")

    def broken(self, die: Chip, programmed: Programmed) -> Iterator[tuple[str, Tensor, Tensor]]:
        idle = {name: hits for name, _, hits in _synapses(self, die, programmed, "idle")} if self.pair else {}
        for name, value, hits in _synapses(self, die, programmed, ""):
            size = torch.where(value == 0, 1.0, value.abs())
            stuck = self.at * _full(name, value, programmed)
            other = idle.get(name, torch.zeros_like(hits))
            magnitude = torch.where(hits, stuck, value.abs()) - torch.where(other, stuck, 0.0)
            yield name, hits | other, value.sign() * (magnitude / size - 1)


def _full(name: str, like: Tensor, programmed: Programmed) -> Tensor:
    """The largest magnitude of a weight on the core of each row."""
    core = programmed.placement.core(name)
    if core is None or len(core) != len(like):
        return like.abs().max()
    largest = torch.zeros(int(core.max()) + 1, dtype=like.dtype)
    for other, value in programmed.expanded().items():
        its = programmed.placement.core(other)
        if kind_of(other) == "weight" and its is not None and len(its) == len(value):
            on_chip = its != HOST
            rows = value.abs().flatten(1).amax(1) if value.ndim > 1 else value.abs()
            largest.scatter_reduce_(0, its[on_chip], rows[on_chip].to(largest), "amax")
    return largest[core.clamp(min=0)].reshape(-1, *[1] * (like.ndim - 1))


def _neurons(defect: Defect, die: Chip, values: Deviations, placement: Placement) -> dict[str, Tensor]:
    """True for the broken of the neurons whose parameters these are."""
    stream, where = f"!{type(defect).__name__}", defect.where
    if isinstance(where, Scattered):
        return {name: where.hits(u) for name, u in _normals(die, values, placement, stream).items()}
    result = {}
    for name, value in values.items():
        layer = placement.layer(name)
        if layer is None:
            raise ValueError(f"{name}: sits on no core, so {where!r} has no grid to lie on; use Scattered.")
        core, neuron = (torch.from_numpy(part) for part in sites._neurons(placement)[layer])
        n, width = _per_core(die, where), die.model.grid[1]
        rows = -(-n // width)
        every = torch.arange(int(core.max()) + 1).repeat_interleave(rows * width)
        u = _normals(die, {"die.v_threshold": torch.ones(len(every))}, Placement({"die": every}), stream)
        hits = where.hits(u["die.v_threshold"].reshape(-1, rows, width)).flatten(1)
        result[name] = hits[core, neuron].reshape(value.shape)
    return result


def _synapses(defect: Defect, die: Chip, programmed: Programmed, part: str) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(weight, values, True where a synapse on the chip is broken); of those that are not exactly 0."""
    placement, where = programmed.placement, defect.where
    values = {
        name: value
        for name, value in programmed.expanded().items()
        if kind_of(name) == "weight" and ((core := placement.core(name)) is None or bool((core != HOST).any()))
    }
    if not values:
        raise ValueError(f"{type(defect).__name__}: the network has no weight on the chip.")
    stream = f"!{type(defect).__name__}{part}"
    if isinstance(where, Scattered):
        for name, u in _normals(die, values, placement, stream).items():
            yield name, values[name], where.hits(u) & (values[name] != 0)
        return
    for name, value in values.items():
        layer = placement.layer(name)
        if layer is None or name not in placement.masks or len(value) != len(placement.cores[layer]):
            raise ValueError(f"{name}: has no place in an array of synapses for {where!r} to lie on; use Scattered.")
        core, neuron = (torch.from_numpy(part) for part in sites._neurons(placement)[layer])
        slots = torch.from_numpy(sites._slots(name, value, placement, layer))
        rows, columns = _per_core(die, where), die.model.limits.fan_in or int(slots.max()) + 1
        hits = torch.zeros(slots.shape, dtype=torch.bool)
        for number in core.unique().tolist():
            array = {"die.input.weight": torch.ones(rows, columns)}
            masks = {name: torch.ones(rows, columns, dtype=torch.bool) for name in array}
            at = Placement({"die": torch.full((rows,), number)}, masks=masks)
            field = where.hits(_normals(die, array, at, stream)["die.input.weight"])
            here = core == number
            hits[here] = field[neuron[here]].gather(1, slots[here].clamp(min=0)) & (slots[here] >= 0)
        yield name, value, hits.reshape(value.shape) & (value != 0)


def _normals(die: Chip, values: Deviations, placement: Placement, stream: str) -> Deviations:
    return sites.normals(values, placement, seed=die.seed, serial=die.serial, stream=stream)


def _per_core(die: Chip, where: Pattern) -> int:
    n = die.model.limits.neurons_per_core
    if n is None:
        raise ValueError(f"{die.model.name}: does not say how many neurons a core has, so {where!r} has no grid.")
    return n
