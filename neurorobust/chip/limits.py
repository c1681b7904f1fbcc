"""Checks of the limits of a chip: each raises ValueError with names and numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from torch import Tensor

from ..core.params import SIGNED, Params, kind_of
from ..core.placement import HOST, Placement
from ..core.placing import suggested, written
from .architectures import Tiles
from .design import ChipDesign
from .encodings.encoding import Scaled

_WITHOUT_BIAS = (
    "Train without biases (bias=False), or let nr.deploy.adapt remove those of a trained network and train on."
)


def check_placed(chip: ChipDesign, analog: Params, placement: Placement) -> None:
    """Raise ValueError unless everything has a core, where the chip has limits or quantization."""
    if not chip.needs_placement:
        return
    for name in analog:
        if placement.layer(name) is None and not chip.kinds[kind_of(name)].digital:
            raise ValueError(f"{name}: sits on no core, but {chip.name} needs one; {_way_out(chip, placement)}")
        if chip.encodes_weights and kind_of(name) == "weight" and placement.on_chip(name):
            mask = placement.masks.get(name)
            if mask is None or mask.shape != analog[name].shape:
                raise ValueError(
                    f"{name}: has no place among the synapses of a neuron of {chip.name}; give each neuron a "
                    f"separate weight, or have it computed exactly (kinds 'digital')."
                )


def _way_out(chip: ChipDesign, placement: Placement) -> str:
    """What to do with a network that has no cores."""
    without = "nr.mismatch(level) needs no cores"
    if chip.shares_kernels:
        return f"a crossbar knows nn.Linear, nn.Conv1d and nn.Conv2d (groups=1). {without}."
    if placement.unplaced:
        call = written(suggested(placement, chip.limits.cores, chip.limits.neurons_per_core))
        return f"say where each layer is, as in {call}. {without}."
    return (
        f"a wrapped module has no neurons that could have one: use nr.from_snntorch, nr.Network, or a crossbar such as "
        f"pcm. {without}."
    )


def check_host(chip: ChipDesign, analog: Params, placement: Placement) -> None:
    """Raise ValueError if the host is exact and leaves nothing to the chip, or if a layer is on both."""
    if not chip.exact_host:
        return
    for layer, core in placement.cores.items():
        on_host = core == HOST
        if bool(on_host.any()) and not bool(on_host.all()):
            raise ValueError(
                f"layer {layer!r}: has {int(on_host.sum())} of its {len(core)} neurons on the host and the others on "
                f"{chip.name}; split it into two layers."
            )
    if analog and all(placement.on_host(name) for name in analog):
        raise ValueError(
            f"network: every layer is on the host, so {chip.name} holds nothing and no die differs; give a layer a "
            f"core: core=torch.zeros(n, dtype=torch.long)."
        )


def check_limits(chip: ChipDesign, placement: Placement) -> None:
    """Cores, neurons per core, inputs per neuron or tiles, tags."""
    limits, tags, tiles = chip.limits, 0, isinstance(chip.architecture, Tiles)
    check_cores(chip, placement)
    if isinstance(chip.architecture, Tiles):
        _check_tiles(chip.name, chip.architecture, placement)
    for layer, core in placement.cores.items():
        on_chip = core != HOST
        if not on_chip.any():
            continue
        fan_in = placement.fan_in(layer)
        tags += int(on_chip.sum()) + (0 if tags else placement.n_in(layer))
        if limits.fan_in is not None and not tiles and fan_in.max() > limits.fan_in:
            worst = int(fan_in.argmax())
            raise ValueError(
                f"fan_in (={int(fan_in[worst])}) of neuron {worst} of layer {layer!r} exceeds {chip.name}'s "
                f"{limits.fan_in} inputs per neuron; prune {int(fan_in[worst]) - limits.fan_in} of its inputs or "
                f"split the layer."
            )
    if limits.tags is not None and tags > limits.tags:
        raise ValueError(f"tags: {tags} inputs and neurons need one each; {chip.name} has {limits.tags}.")


def _check_tiles(chip: str, architecture: Tiles, placement: Placement) -> None:
    """A group of neurons with more inputs than a tile has rows takes several tiles, with digital sums."""
    rows: Counter[int] = Counter()
    for layer, core in placement.cores.items():
        for number in core[core != HOST].unique().tolist():
            inputs = [mask[(core == number).to(mask.device)] for _, mask in placement.synapses(layer, len(core))]
            rows[number] += sum(int(part.any(0).sum()) for part in inputs)
    taken = sum(max(1, -(-count // architecture.rows)) for count in rows.values())
    if taken > architecture.cores:
        raise ValueError(
            f"tiles: the network takes {taken} tiles of {architecture.rows} rows; {chip} has {architecture.cores}."
        )


def check_cores(chip: ChipDesign, placement: Placement) -> None:
    """Cores, and neurons on each of them."""
    limits, occupied = chip.limits, placement.occupied()
    if limits.cores is not None and occupied and max(occupied) >= limits.cores:
        raise ValueError(
            f"cores: the network uses core {max(occupied)}; {chip.name} has cores 0 to {limits.cores - 1}."
        )
    for number, count in occupied.items():
        if limits.neurons_per_core is not None and count > limits.neurons_per_core:
            raise ValueError(
                f"neurons (={count}) on core {number} exceed {chip.name}'s {limits.neurons_per_core} per core; "
                f"use more cores or fewer neurons."
            )


def check_ranges(chip: ChipDesign, held: Mapping[str, Tensor], placement: Placement) -> None:
    """Every value on the chip inside its kind's range; ``held`` in chip units, expanded."""
    for name, values in held.items():
        bounds, encoding = chip.kinds[kind_of(name)].range, chip.kinds[kind_of(name)].encoding
        if not placement.on_chip(name):
            continue
        if (
            isinstance(encoding, Scaled)
            and encoding.codec is None
            and values.abs().max() > 1.00001 * encoding.full.value
        ):
            raise ValueError(
                f"{name}: the largest magnitude is {values.abs().max().item():g} {encoding.unit}; {chip.name} holds "
                f"{encoding.full.value:g} ({encoding.full.source})."
            )
        if bounds is None:
            continue
        if values.min() < bounds.low or values.max() > bounds.high:
            clock = "" if chip.speed(kind_of(name)) == 1 else f" in {chip.time_base.clock}"
            raise ValueError(
                f"{name}: values from {values.min().item():g} to {values.max().item():g}{clock}; {chip.name} holds "
                f"{bounds.low:g} to {bounds.high:g} ({bounds.source})."
            )


def check_per_core(chip: ChipDesign, expanded: Params, placement: Placement) -> None:
    """One value per core, over all layers that share it."""
    found: dict[tuple[str, int], set[float]] = {}  # two parameters of one kind in a neuron have a circuit each
    for name, values in expanded.items():
        kind, core = kind_of(name), placement.core(name)
        if core is None or not chip.kinds[kind].per_core:
            continue
        for number in core[core != HOST].unique().tolist():
            own = kind if kind in SIGNED else name.removeprefix(f"{placement.layer(name)}.")
            here = found.setdefault((own, number), set())
            here.update(values[placement.on_core(name, values, number)].tolist())
            if len(here) > 1:
                hint = f" {_WITHOUT_BIAS}" if kind == "bias" else ""
                raise ValueError(
                    f"{name}: {len(here)} different values of {kind} on core {number}; {chip.name} sets one per "
                    f"core.{hint}"
                )
