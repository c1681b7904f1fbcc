"""From a network to what a chip gets: flat synapses, one value per neuron, and what the layers ask of the chip."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from inspect import isroutine

import torch
from torch import Tensor, nn

from ..chip import ChipModel, Violation
from ..chip.architectures import Architecture, Demand, LayerDemand, Synapses
from ..core.noise import INPUT
from ..core.params import check_values, kind_of
from ..core.placement import HOST
from ..core.run import nominal
from ..io.structure import decoders, layer_entry
from ..nn.connections import AvgPool2d, Chain, Connection, Conv1d, Conv2d, Delayed, Linear, OneToOne
from ..nn.installed import neuron_classes
from ..nn.network import Network
from ..nn.neurons import Neuron


@dataclass(frozen=True, eq=False)
class Lowered:
    """A network as a chip gets it, before its neurons have places.

    Attributes:
        layers: of the network, in order; those on the chip with flat synapses and one value per neuron.
        wish: the cores that the network asked for, by layer on the chip.
        left_out: synapses of weight 0 that were removed where a neuron had too many, by layer.
        violations: what the chip cannot hold, wherever it is.
    """

    layers: dict[str, Neuron]
    wish: dict[str, Tensor]
    left_out: dict[str, int]
    violations: tuple[Violation, ...]


def check_chip(chip: ChipModel) -> Architecture:
    """The architecture of a chip that networks can be deployed onto. Raises ValueError for any other chip."""
    if chip.architecture is None:
        raise ValueError(
            f"chip: {chip.name} states no architecture, so nothing can be placed on it; choose another chip, or give "
            f"it one, such as neurorobust.chip.Cam."
        )
    if not chip.exact_host:
        raise ValueError(
            f"chip: the host of {chip.name} deviates, and a real one does not; use chip.with_host(exact=True)."
        )
    return chip.architecture


def on_chip(network: Network) -> dict[str, Neuron]:
    """The layers that :func:`neurorobust.deploy.onto` puts on a chip: those with spikes, and with a core."""
    return {
        name: layer
        for name, layer in network.layers().items()
        if layer.spiking and not bool((layer.core == HOST).all())
    }


def lower(network: Network, chip: ChipModel) -> Lowered:
    """Prepare a network for a chip; its own tensors do not change.

    Layers without spikes, and layers that the network puts on the host, stay there.
    """
    check_values(nominal(network))
    layers, wish, left_out = {}, {}, {}
    names = tuple(on_chip(network))
    found = list(structure_violations(network, chip, names))
    found += (large := list(_too_large(network, chip, names)))
    with torch.no_grad():
        for name, layer in network.layers().items():
            layers[name] = copy.deepcopy(layer).cpu()
            if name not in names:
                set_cores(layers[name], torch.full_like(layer.core, HOST))
                continue
            wish[name] = layer.core.cpu().clone()
            broken = [] if large and _kernels(layer) else list(_flatten(name, layers[name], network.dt, chip))
            if broken or (large and _kernels(layer)):
                found += broken
                del layers[name]
            else:
                left_out[name] = _without_zeros(layers[name], chip)
    found += value_violations(layers, names, chip, network.dt)
    return Lowered(layers, wish, left_out, tuple(found))


def rebuilt(layers: Mapping[str, Neuron], network: Network, cores: Mapping[str, Tensor]) -> Network:
    """A network of lowered layers, with their neurons on these cores."""
    for name, places in cores.items():
        set_cores(layers[name], places)
    return Network(layers, network.dt, network.inputs, network.decode).eval()


def set_cores(layer: Neuron, cores: Tensor) -> None:
    """Put the neurons of a layer with one value per neuron on cores."""
    layer.core = cores.clone()
    layer.n_cores = max(int(cores.max()) + 1, 1)


def demand_of(layers: Mapping[str, Neuron], inputs: Mapping[str, tuple[str, ...]], chip: ChipModel) -> Demand:
    """Demand of lowered layers on the chip; ``inputs`` are all sources of each layer of the network."""
    sizes = {name: layer.n for name, layer in layers.items()}
    result = {}
    for name, layer in layers.items():
        if bool((layer.core == HOST).all()) or any(source not in sizes for source in inputs[name] if source != INPUT):
            continue
        kernel = _kernel(layer)
        present = (
            torch.ones(1, layer.input.n_in, dtype=torch.bool).expand(layer.n, -1) if kernel else _matrix(layer.input)
        )
        n_x = layer.input.n_in - sum(sizes[source] for source in inputs[name] if source != INPUT)
        widths = [n_x // inputs[name].count(INPUT) if source == INPUT else sizes[source] for source in inputs[name]]
        parts = [Synapses(source, part) for source, part in zip(inputs[name], present.split(widths, 1))]
        if layer.recurrent is not None:
            parts.append(Synapses(name, _matrix(layer.recurrent)))
        result[name] = LayerDemand(layer.n, tuple(parts), _settings(layer, chip), kernel)
    return result


def structure_violations(network: Network, chip: ChipModel, on_chip: tuple[str, ...]) -> Iterator[Violation]:
    """Properties of a network that a deployment cannot express, whatever the values are."""
    known = neuron_classes()
    if changed := _changed(network):
        hint = "use a Network of installed neurons without hooks"
        yield Violation("forward", changed, "a forward pass of its own", "a chip computes that of nr.Network", hint)
    if decoders().get(getattr(network.decode, "__name__", "")) is not network.decode:
        yield Violation("decoder", "the network", repr(network.decode), f"known: {', '.join(decoders())}", "use one")
    if (types := {value.dtype for value in network.parameters()}) not in ({torch.float32}, {torch.float64}):
        got = ", ".join(sorted(map(str, types)))
        yield Violation("type", "the network", got, "expected torch.float32 or torch.float64", "convert it with .to(…)")
    if not on_chip:
        yield Violation("layers", "the network", "none with spikes", "a chip needs one", "give a layer a core")
    for name, layer in network.layers().items():
        try:
            layer_entry(name, layer, known)
        except ValueError as error:
            hint = "use installed classes"
            yield Violation("structure", f"layer {name!r}", str(error).rstrip("."), "", hint)
        yield from _core_violations(name, layer)
        if name in on_chip and (
            behind := [each for each in network.inputs[name] if each in network.names and each not in on_chip]
        ):
            got = f"inputs from {', '.join(map(repr, behind))} on the host"
            yield Violation(
                "inputs", f"layer {name!r}", got, "a chip takes events", "put them on the chip, or at the end"
            )
        for part, _ in layer.named_parameters(prefix=name) if name in on_chip else ():
            if (kind := kind_of(part)) not in chip.kinds:
                allowed = f"{chip.name} has {', '.join(sorted(chip.kinds))}"
                yield Violation("kind", part, kind, allowed, "use a neuron without it")


def _core_violations(name: str, layer: Neuron) -> Iterator[Violation]:
    """Cores that no chip has, whatever its size: ``core`` is a buffer that anybody can write."""
    core, on_host = layer.core, layer.core == HOST
    if core.shape != (layer.n,) or core.dtype != torch.long:
        got, allowed = f"{core.dtype} of shape {tuple(core.shape)}", f"one integer for each neuron, ({layer.n},)"
        yield Violation("core", f"layer {name!r}", got, allowed, "set layer.core to a tensor of torch.long")
    elif bool(on_host.any()) and not bool(on_host.all()):
        got, allowed = f"{int(on_host.sum())} of {layer.n} neurons on the host", "a layer is on the chip or on the host"
        yield Violation("core", f"layer {name!r}", got, allowed, "split it into two layers")


def _changed(network: Network) -> str:
    """A module of the network that may compute something else than its class says; empty if there is none."""
    if type(network) is not Network:
        return type(network).__name__
    for name, module in network.named_modules():
        own = [key for key, value in vars(module).items() if key != "decode" and isroutine(value)]
        if module._forward_hooks or module._forward_pre_hooks or any(hasattr(type(module), key) for key in own):
            return repr(name) if name else "the network"
    return ""


def value_violations(
    layers: Mapping[str, Neuron], on_chip: tuple[str, ...], chip: ChipModel, dt: float
) -> Iterator[Violation]:
    """Values out of the range of their kind, a clock of another step, and biases that a chip cannot tell apart."""
    steps = {getattr(getattr(model.encoding, "codec", None), "dt", dt) for model in chip.kinds.values()}
    for step in sorted(steps - {dt}):
        hint = f"take the chip model at the step of the network: chipmodels.{chip.name}.at(dt)"
        yield Violation("dt", "the network", f"steps of {dt:g} s", f"{chip.name} is clocked at {step:g} s", hint)
    for name, layer in layers.items():
        held_there = layer.named_parameters() if name in on_chip else ()
        for part, value in ((part, value) for part, value in held_there if kind_of(part) in chip.kinds):
            model, speed = chip.kinds[kind_of(part)], chip.speed(kind_of(part))
            held = value.detach().double() * speed
            if model.encoding.unit != "SI":
                continue
            low, high = (-float("inf"), float("inf")) if model.range is None else (model.range.low, model.range.high)
            codec = getattr(model.encoding, "codec", None)
            if codec is not None:
                low, high = max(low, float(codec.held().min())), min(high, float(codec.held().max()))
                outside = codec.outside(held)
            else:
                outside = (held < low) | (held > high)
            if bool(outside.any()):
                clock = "" if speed == 1 else f" in {chip.time_base.clock}"
                got = f"{float(held.min()):g} to {float(held.max()):g}{clock}"
                hint = f"change {int(outside.sum())} of {held.numel()} values"
                yield Violation("range", f"{name}.{part}", got, f"{chip.name} holds {low:g} to {high:g}", hint)
        shared = name in on_chip and "bias" in chip.kinds and chip.kinds["bias"].per_core
        if shared and len(_biases(layer)) > 1:
            hint = "put all of it into the bias of the input"
            yield Violation("bias", f"layer {name!r}", "two biases", "a core has one", hint)


def _too_large(network: Network, chip: ChipModel, on_chip: tuple[str, ...]) -> Iterator[Violation]:
    """Limits that are broken before convolutions are unrolled: a matrix of all their synapses may not fit in memory."""
    architecture, layers = chip.architecture, network.layers()
    convolutions = {name: size for name in on_chip if (size := _kernels(layers[name]))}
    if architecture is None or chip.shares_kernels or not convolutions:
        return
    found = list(architecture.too_many(sum(layers[name].n for name in on_chip)))
    yield from found
    most = architecture.limits().get("fan_in")
    if not found or most is None:
        return
    for name, size in convolutions.items():
        if size > most:
            yield Violation(
                "fan_in", f"layer {name!r}", f"kernels of {size} inputs", f"a neuron has {most}", "prune it"
            )


def _kernels(layer: Neuron) -> int:
    """The number of inputs of the largest kernel of a layer; 0 without convolutions."""
    sizes = [int(part.mask[0].sum()) for part in layer.modules() if isinstance(part, (Conv1d, Conv2d))]
    return max(sizes, default=0)


def _flatten(name: str, layer: Neuron, dt: float, chip: ChipModel) -> Iterator[Violation]:
    """Flat synapses, and one value of every parameter for each neuron, in place; or what makes this impossible."""
    for part, connection in layer.connections().items():
        try:
            setattr(layer, part, _flat(connection, dt, chip.shares_kernels))
        except ValueError as error:
            allowed, hint = "a chip holds a matrix of synapses", "use Linear or OneToOne, and a stride for pooling"
            yield Violation("connection", f"layer {name!r}", str(error), allowed, hint)
            return
    if _kernel(layer) is not None and layer.recurrent is not None:
        got, allowed = "a kernel and a recurrent weight", f"{chip.name} holds one array for a layer"
        yield Violation("kernel", f"layer {name!r}", got, allowed, "give the recurrence a layer of its own")
    for full in layer.population_parameters():
        owner, _, kind = full.rpartition(".")
        old = layer.get_parameter(full)
        value = nn.Parameter(layer.per_neuron(full).detach().clone(), requires_grad=old.requires_grad)
        layer.get_submodule(owner).register_parameter(kind, value)


def _flat(connection: Connection, dt: float, kernels: bool) -> Connection:
    """The connection as Linear or OneToOne; a convolution as it is where the chip holds a kernel once."""
    if isinstance(connection, Delayed):
        if bool(((connection.delay / dt).round() != 0).any()):
            raise ValueError("delays, which no chip model here describes")
        return _flat(connection.connection, dt, kernels)
    if isinstance(connection, Chain):
        *before, last = connection.parts()
        if not before:
            return _flat(last, dt, kernels)
        convolved = kernels and type(last) in (Conv1d, Conv2d)
        if any(next(part.parameters(), None) is not None for part in before) or not convolved:
            pooled = any(isinstance(part, AvgPool2d) for part in before)
            what = "pooling before its weights, which is no synapse" if pooled else "a Chain, which is no single matrix"
            raise ValueError(what)
        return connection
    if type(connection) in (Linear, OneToOne):
        return connection
    if type(connection) not in (Conv1d, Conv2d):
        raise ValueError(f"{type(connection).__name__}, which has no synapses of its own")
    if kernels:
        return connection
    index = connection.convolutions()["weight"]()
    assert isinstance(connection, (Conv1d, Conv2d))
    weight = connection.masked().detach().reshape(-1)[index.clamp(min=0)] * (index >= 0)
    bias = connection.offset(dt)
    return Linear(weight, None if bias is None else bias.detach(), index >= 0)


def _without_zeros(layer: Neuron, chip: ChipModel) -> int:
    """Remove synapses of weight 0 from neurons that have more synapses than the chip; the number removed."""
    limit = None if chip.architecture is None or chip.shares_kernels else chip.architecture.limits().get("fan_in")
    if limit is None:
        return 0
    parts = [connection for connection in layer.connections().values() if isinstance(connection, (Linear, OneToOne))]
    fan_in = sum((part.mask.reshape(layer.n, -1).sum(1) for part in parts), torch.zeros(layer.n, dtype=torch.long))
    removed = 0
    for part in parts:
        rows = (fan_in > limit).reshape(-1, *[1] * (part.mask.ndim - 1))
        absent = part.mask & rows & (part.weight == 0)
        part.mask = part.mask & ~absent
        removed += int(absent.sum())
    return removed


def _kernel(layer: Neuron) -> tuple[int, int] | None:
    """(output channels, rows) of a convolution that is not unrolled."""
    last = layer.input.parts()[-1] if isinstance(layer.input, Chain) else layer.input
    return (len(last.weight), last.weight[0].numel()) if isinstance(last, (Conv1d, Conv2d)) else None


def _matrix(connection: Connection) -> Tensor:
    """True where a synapse exists, (n, n_in)."""
    mask = next(iter(connection.masks().values()))
    return torch.diag(mask) if mask.ndim == 1 else mask


def _biases(layer: Neuron) -> list[Tensor]:
    return [value.detach() for name, value in layer.named_parameters() if kind_of(name) == "bias"]


def _settings(layer: Neuron, chip: ChipModel) -> dict[str, Tensor]:
    """Parameters that the chip sets once per core, one value per neuron, by name inside the layer."""
    shared = {kind for kind, model in chip.kinds.items() if model.per_core}
    found = {full: layer.per_neuron(full).detach() for full in layer.population_parameters() if kind_of(full) in shared}
    biases = _biases(layer) if "bias" in shared else []
    return found | ({"bias": biases[0]} if biases else {})


def with_settings(layer: Neuron, name: str, values: Tensor) -> None:
    """Write one setting of a lowered layer, in place."""
    with torch.no_grad():
        layer.get_parameter(name).copy_(values)
