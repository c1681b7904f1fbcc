"""Chip models, programming, and dies.

A :class:`ChipModel` describes one ASIC design. :meth:`ChipModel.program` turns trained parameters into what the chip
can hold, or refuses by name and number; :meth:`ChipModel.fabricate` makes dies, whose deviates are keyed by
(seed, serial, kind, site): die 17 of seed 0 is the same die whatever the fleet, the order, the device or the network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from . import sites
from .errors import check_count, check_number, unknown
from .laws import Law, LogNormal, Normal
from .params import (
    ABSOLUTE,
    DIGITAL,
    HOST,
    KINDS,
    SIGNED,
    Deviations,
    Params,
    Placement,
    check_values,
    expand,
    kind_of,
)
from .quantization import MaskCodebook, fit_masks

STATUSES = ("measured", "published", "coded", "assumed")


@dataclass(frozen=True)
class Fact:
    """A number about a chip, and how it is known.

    Attributes:
        value: the number, in SI units.
        status: measured, published, coded (in a public library) or assumed.
        source: paper, table or file.
    """

    value: float
    status: str
    source: str

    def __post_init__(self) -> None:
        _check_provenance(self.status, self.source)


@dataclass(frozen=True)
class Range:
    """The lowest and the highest value a chip reaches, in SI units, and how they are known; see :class:`Fact`."""

    low: float
    high: float
    status: str
    source: str

    def __post_init__(self) -> None:
        _check_provenance(self.status, self.source)
        if not self.low <= self.high:
            raise ValueError(f"low: got {self.low:g}; expected at most high, {self.high:g}.")


def _check_provenance(status: str, source: str) -> None:
    if status not in STATUSES:
        raise unknown("status", status, STATUSES)
    if not source:
        raise ValueError(f"source: a number of status {status!r} needs one; name the paper, table or file.")


@dataclass(frozen=True)
class KindModel:
    """What a chip does to one kind.

    Attributes:
        law: its variability over neurons or synapses.
        cv: the number behind the law, with its source.
        per_core: whether the chip can only set one value for all neurons of a core.
        range: lowest and highest value, SI, or None where nobody states one.
    """

    law: Law
    cv: Fact
    per_core: bool = False
    range: Range | None = None


@dataclass(frozen=True)
class WeightCodec:
    """Weights as masks over a few currents shared by all synapses into a core.

    Attributes:
        bits: how many currents. largest: the current, A, at which the largest of them is placed; this chooses the
            gain. range: currents the bias generator reaches, A.
    """

    bits: int
    largest: Fact
    range: Range


@dataclass(frozen=True)
class Limits:
    """What fits on the chip; None where there is no limit. ``fan_in`` counts all synapses of a neuron."""

    cores: int | None = None
    neurons_per_core: int | None = None
    fan_in: int | None = None
    tags: int | None = None
    source: str = ""


@dataclass(frozen=True, eq=False)
class Programmed:
    """A network as one chip holds it.

    Attributes:
        params: the values the codes mean, in network units; what is computed on the host is as it was.
        codes: signed integer codes of every quantized parameter.
        placement: where everything sits.
        report: one row for each core: gain, currents, quantization error, synapses that became 0.
    """

    params: Params
    codes: dict[str, Tensor]
    placement: Placement
    report: list[dict]


@dataclass(frozen=True)
class ChipModel:
    """One ASIC design; a new chip is one instance in one file of ``chipmodels``.

    Attributes:
        name: as :func:`chipmodels.load` knows it. title: for people.
        kinds: what it does to each kind; a network with another kind is refused.
        limits: what fits.
        codec: how weights are stored, or None for as they are.
        threshold: current, A, at which v_threshold is placed on each core, or None; chooses that gain.
        notes: declared approximations, one sentence each.
    """

    name: str
    title: str
    kinds: Mapping[str, KindModel]
    limits: Limits = Limits()
    codec: WeightCodec | None = None
    threshold: Fact | None = None
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in KINDS:
                raise unknown(f"kind of chip {self.name}", kind, KINDS)

    def program(self, params: Mapping[str, Tensor], placement: Placement) -> Programmed:
        """What the chip holds when it is programmed with these parameters.

        Raises:
            ValueError: a limit is broken, a kind is unknown to the chip, a value is outside its range or cannot be
                set where it is; with names and numbers.
        """
        analog = {name: value for name, value in params.items() if kind_of(name) not in DIGITAL}
        for name in analog:
            if kind_of(name) not in self.kinds:
                raise unknown(
                    f"chip {self.name}: parameter {name!r} is of a kind it does not describe;",
                    kind_of(name),
                    self.kinds,
                )
        check_values(params)
        expanded = expand(analog, placement)
        self._check_placed(analog, placement)
        self._check_limits(placement)
        for name, values in expanded.items():
            self._check_values(name, values, placement)
        self._check_per_core(expanded, placement)
        if self.codec is None:
            return Programmed(dict(params), {}, placement, [])
        return self._quantize(self.codec, params, expanded, placement)

    def fabricate(self, serials: Sequence[int], seed: int) -> Fleet:
        """The dies with these serial numbers, under this seed."""
        for number in (check_count("seed", seed, 0), *serials):
            if number >= 2**64:
                raise ValueError(f"seed and serials: got {number}; expected numbers below 2**64.")
        return Fleet(self, tuple(check_count("serial", serial, 0) for serial in serials), seed)

    def _check_placed(self, analog: Params, placement: Placement) -> None:
        """A chip with limits or quantization has to know where everything sits."""
        if self.limits == Limits() and self.codec is None:
            return
        for name in analog:
            core = placement.core(name)
            if core is None:
                raise ValueError(
                    f"{name}: sits on no core, and {self.name} has to know where; place() an snnTorch network, or take "
                    f"mismatch(level), which needs no placement."
                )
            if self.codec is not None and kind_of(name) == "weight" and bool((core != HOST).any()):
                mask = placement.masks.get(name)
                if mask is None or mask.shape != analog[name].shape:
                    raise ValueError(
                        f"{name}: has no place among the synapses of a neuron of {self.name}; give each neuron a "
                        f"weight of its own, or have it computed exactly (kinds 'digital')."
                    )

    def _check_limits(self, placement: Placement) -> None:
        limits, tags = self.limits, 0
        occupied: dict[int, int] = {}
        for layer, core in placement.cores.items():
            on_chip = core != HOST
            if not on_chip.any():
                continue
            cores, counts = core[on_chip].unique(return_counts=True)
            for number, count in zip(cores.tolist(), counts.tolist()):
                occupied[number] = occupied.get(number, 0) + count
            masks = []
            for name, mask in placement.masks.items():
                if placement.layer(name) == layer:
                    if len(mask) != len(core) and (limits.fan_in is not None or self.codec is not None):
                        raise ValueError(
                            f"{name}: {self.name} holds one weight for each synapse of a neuron; a kernel of shape "
                            f"{tuple(mask.shape)} is shared by {len(core)} neurons. Use a Linear layer with a mask."
                        )
                    masks.append(mask.reshape(len(mask), -1))
            fan_in = sum((mask.sum(1) for mask in masks if len(mask) == len(core)), torch.zeros_like(core))
            tags += int(on_chip.sum()) + (masks[0].shape[1] if masks and not tags else 0)
            if limits.fan_in is not None and fan_in.max() > limits.fan_in:
                worst = int(fan_in.argmax())
                raise ValueError(
                    f"fan_in (={int(fan_in[worst])}) of neuron {worst} of layer {layer!r} exceeds {self.name}'s "
                    f"{limits.fan_in} inputs a neuron; prune {int(fan_in[worst]) - limits.fan_in} of its inputs or "
                    f"split the layer."
                )
        if limits.cores is not None and occupied and max(occupied) >= limits.cores:
            raise ValueError(
                f"cores: the network uses core {max(occupied)}; {self.name} has cores 0 to {limits.cores - 1}."
            )
        for number, count in sorted(occupied.items()):
            if limits.neurons_per_core is not None and count > limits.neurons_per_core:
                raise ValueError(
                    f"neurons (={count}) on core {number} exceed {self.name}'s {limits.neurons_per_core} a core; "
                    f"use more cores or fewer neurons."
                )
        if limits.tags is not None and tags > limits.tags:
            raise ValueError(f"tags: {tags} inputs and neurons need one each; {self.name} has {limits.tags}.")

    def _check_values(self, name: str, values: Tensor, placement: Placement) -> None:
        model, core = self.kinds[kind_of(name)], placement.core(name)
        if core is None or not bool((core != HOST).any()):
            return
        if model.range is not None:
            low, high = model.range.low, model.range.high
            if values.min() < low or values.max() > high:
                raise ValueError(
                    f"{name}: values from {values.min().item():g} to {values.max().item():g}; {self.name} holds "
                    f"{low:g} to {high:g} ({model.range.source})."
                )

    def _check_per_core(self, expanded: Params, placement: Placement) -> None:
        """One value for each core, over all layers that share it."""
        found: dict[tuple[str, int], set[float]] = {}
        for name, values in expanded.items():
            kind, core = kind_of(name), placement.core(name)
            if core is None or not self.kinds[kind].per_core:
                continue
            for number in core[core != HOST].unique().tolist():
                here = found.setdefault((kind, number), set())
                here.update(values.reshape(-1)[core == number].tolist())
                if len(here) > 1:
                    hint = " Layers without biases (bias=False) need none." if kind == "bias" else ""
                    raise ValueError(
                        f"{name}: {len(here)} different values of {kind} on core {number}; {self.name} sets one for "
                        f"each core.{hint}"
                    )

    def _quantize(
        self, codec: WeightCodec, params: Mapping[str, Tensor], expanded: Params, placement: Placement
    ) -> Programmed:
        result, report = dict(params), []
        codes: dict[str, Tensor] = {}
        weights = {
            name: core for name in params if kind_of(name) == "weight" and (core := placement.core(name)) is not None
        }
        numbers = sorted({number for core in weights.values() for number in core.tolist() if number != HOST})
        for number in numbers:
            rows = {name: core == number for name, core in weights.items()}
            trained = {name: params[name][here] for name, here in rows.items() if here.any()}
            together = torch.cat([value[placement.masks[name][rows[name]]] for name, value in trained.items()])
            book = fit_masks(together, codec.bits)
            gain = codec.largest.value / max(book.currents)
            currents = [current * gain for current in book.currents]
            self._check_currents(codec, number, currents)
            programmed = torch.zeros(0, dtype=torch.float64)
            for name, value in trained.items():
                codes.setdefault(name, torch.zeros(params[name].shape, dtype=torch.long))[rows[name]] = book.encode(
                    value
                )
                result[name] = result[name].clone()
                result[name][rows[name]] = book.decode(codes[name][rows[name]]).to(value.dtype)
                held = result[name][rows[name]][placement.masks[name][rows[name]]].double()
                programmed = torch.cat([programmed, held])
            report.append(self._row(number, book, gain, (together.double(), programmed), expanded, placement))
        return Programmed(result, codes, placement, report)

    def _check_currents(self, codec: WeightCodec, number: int, currents: Sequence[float]) -> None:
        low, high = codec.range.low, codec.range.high
        for current in currents:
            if not low <= current <= high:
                raise ValueError(
                    f"weights into core {number}: need a current of {current:.3g} A; {self.name} reaches {low:g} to "
                    f"{high:g} A ({codec.range.source})."
                )

    def _row(
        self,
        number: int,
        book: MaskCodebook,
        gain: float,
        weights: tuple[Tensor, Tensor],
        expanded: Params,
        placement: Placement,
    ) -> dict:
        trained, programmed = weights
        row = {
            "core": number,
            "synapses": len(trained),
            "currents_A": [current * gain for current in book.currents],
            "gain_A_per_unit": gain,
            "rms_error": float((programmed - trained).square().mean().sqrt() / trained.square().mean().sqrt()),
            "largest_error": float((programmed - trained).abs().max()),
            "became_zero": int(((programmed == 0) & (trained != 0)).sum()),
        }
        if self.threshold is not None:
            for name, values in expanded.items():
                here = placement.core(name)
                if kind_of(name) == "v_threshold" and here is not None and (here == number).any():
                    at = float(values.reshape(-1)[here == number][0])
                    row["threshold_gain_A_per_unit"] = self.threshold.value / at
        return row


@dataclass(frozen=True)
class Chip:
    """One die: serial number k of a chip model under a seed. It never changes."""

    model: ChipModel
    serial: int
    seed: int

    def deviations(self, programmed: Programmed) -> Deviations:
        """How this die departs from what was programmed, for every parameter, expanded shapes."""
        expanded = expand(programmed.params, programmed.placement)
        normals = self.normals(programmed)
        return {
            name: self.model.kinds[kind_of(name)].law.deviate(kind_of(name), u.to(expanded[name].dtype), expanded[name])
            for name, u in normals.items()
        }

    def normals(self, programmed: Programmed) -> Deviations:
        """The die's standard-normal deviates u behind each element, float64; 0 where there is no synapse."""
        expanded = expand(programmed.params, programmed.placement)
        return sites.normals(expanded, programmed.placement, seed=self.seed, serial=self.serial)


@dataclass(frozen=True)
class Fleet:
    """Dies of one model: a sequence of :class:`Chip`."""

    model: ChipModel
    serials: tuple[int, ...]
    seed: int

    def __len__(self) -> int:
        return len(self.serials)

    def __getitem__(self, i: int) -> Chip:
        return Chip(self.model, self.serials[i], self.seed)

    def __iter__(self) -> Iterator[Chip]:
        return (self[i] for i in range(len(self)))

    def deviations(self, programmed: Programmed) -> Deviations:
        """The dies' deviations with a leading chip axis; :meth:`Chip.deviations`, die by die, needs less memory."""
        dies = [chip.deviations(programmed) for chip in self]
        return {name: torch.stack([die[name] for die in dies]) for name in dies[0]}


def mismatch(level: float) -> ChipModel:
    """A chip of which only this is known: δ = level·N(0, 1) on every neuron and synapse, nothing quantized.

    Signed kinds θ + abs(θ)δ, positive kinds θ·exp(δ); v_leak and v_reset are refused, a relative level says nothing
    about them.
    """
    if check_number("mismatch level", level) > 3:
        raise ValueError(f"mismatch level: got {level:g}; expected a fraction, 0.3 for 30 %, at most 3.")
    fact = Fact(level, "assumed", "the level asked for")
    kinds = {
        kind: KindModel(Normal(level) if kind in SIGNED else LogNormal(level), fact)
        for kind in sorted(KINDS - ABSOLUTE)
    }
    return ChipModel(f"mismatch {level:g}", f"mismatch {level:g} on every kind", kinds)
