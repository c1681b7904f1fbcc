"""Structure of a network as JSON values: classes and options of its layers, without their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from .._util import discovery
from .._util.errors import unknown
from ..core.params import kind_of
from ..dynamics import adaptations, floors, inhibitions, resets, surrogate
from ..nn import connections, sparse_linear
from ..nn.connections import Connection
from ..nn.decoders import DECODERS
from ..nn.neurons import Neuron


def decoders() -> dict[str, Any]:
    """The decoders of networks, by name."""
    return {decode.__name__: decode for decode in DECODERS}


def named(argument: str, name: Any, known: Mapping[str, Any]) -> Any:
    if not isinstance(name, str) or name not in known:
        raise unknown(argument, name, known)
    return known[name]


def name_of(argument: str, value: Any, known: Mapping[str, Any]) -> str:
    """The name of an installed class or function."""
    name = getattr(value, "__name__", type(value).__name__)
    if known.get(name) is not value:
        raise unknown(f"network: {argument}", name, known)
    return name


def _options() -> dict[str, dict[str, Any]]:
    """The possible classes of each option of a neuron, by option and name."""
    return {
        "surrogate": discovery.classes(surrogate, surrogate.Surrogate),
        "reset": discovery.classes(resets, resets.Reset),
        "floor": discovery.classes(floors, floors.Floor),
        "inhibition": discovery.classes(inhibitions, inhibitions.Inhibition),
        "rule": discovery.classes(adaptations, adaptations.Adaptation),
    }


def _connections() -> dict[str, Any]:
    return discovery.classes(connections, Connection) | discovery.classes(sparse_linear, Connection)


def layer_entry(name: str, layer: Neuron, known: Mapping[str, type[Neuron]]) -> dict[str, Any]:
    """The classes and options of one layer. Raises ValueError for a class that is not installed."""
    neuron = name_of(f"neuron of layer {name!r}", type(layer), known)
    entry: dict[str, Any] = {"name": name, "neuron": neuron}
    for part, connection in layer.connections().items():
        entry[part] = _connection_entry(f"{part} of layer {name!r}", connection)
    for part, choices in _options().items():
        option = getattr(layer, part, None)
        if option is not None:
            kind = name_of(f"{part} of layer {name!r}", type(option), choices)
            entry[part] = {"type": kind, **asdict(option)}
    return entry


def _connection_entry(where: str, connection: Connection) -> dict[str, Any]:
    entry = {"type": name_of(where, type(connection), _connections()), **connection.settings()}
    parts = {
        name: _connection_entry(where, part)
        for name, part in connection.named_children()
        if isinstance(part, Connection)
    }
    return entry | ({"parts": parts} if parts else {})


def layer_of(entry: dict, tensors: Mapping[str, Tensor], known: Mapping[str, type[Neuron]]) -> Neuron:
    """One layer, from its entry in the configuration and its tensors."""
    neuron = named("neuron", entry["neuron"], known)
    own = below(entry["name"], tensors)
    parameters = {
        name: value
        for name, value in own.items()
        if name != "core" and name.split(".")[0] not in ("input", "recurrent")
    }
    for name in parameters:
        kind_of(name)
    arguments: dict[str, Any] = {_argument(name): value for name, value in parameters.items()}
    for part, choices in _options().items():
        if part in entry:
            settings = dict(entry[part])
            arguments[part] = named(part, settings.pop("type"), choices)(**settings)
    if "recurrent" in entry:
        arguments["recurrent"] = connection_of(entry["recurrent"], below("recurrent", own))
    return neuron(connection_of(entry["input"], below("input", own)), core=own.get("core"), **arguments)


def _argument(name: str) -> str:
    """The constructor's argument for a parameter: ``exc.tau_syn`` → ``tau_syn_exc``."""
    part, _, kind = name.rpartition(".")
    return f"{kind}_{part}" if part else kind


def connection_of(entry: dict, own: Mapping[str, Tensor]) -> Connection:
    settings = dict(entry)
    kind = named("connection", settings.pop("type"), _connections())
    inner = settings.pop("parts", {})
    if not isinstance(inner, dict):
        raise TypeError(f"parts: got {inner!r}; expected connections by name")
    parts = {name: connection_of(part, below(name, own)) for name, part in inner.items()}
    settings |= {name: value for name, value in own.items() if "." not in name}
    return kind(*parts.values(), **settings) if kind is connections.Chain else kind(**parts, **settings)


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names start with a prefix and a dot; the names without these."""
    return {name.removeprefix(f"{prefix}."): value for name, value in tensors.items() if name.startswith(f"{prefix}.")}
