"""From a network to a graph of NIR nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .._util.warn import warn
from ..core.noise import INPUT
from ..nn import Network, Neuron
from .cell import cell_of
from .hdf5 import Graph, Node
from .reader import Reader
from .stages import Shape, Stage, scaled, split, stages_of, with_bias


def graph_of(network: Network, reader: Reader, readout: bool) -> Graph:
    """The graph that ``reader`` turns into the spikes of a network.

    Raises:
        ValueError: with every layer that it cannot be written for, and the reasons.
    """
    layers = written_layers(network, readout)
    build = _Build(reader, _namer())
    errors = []
    build.name_of = {name: build.unique(name) for name in layers}
    build.shape_of[INPUT] = _input_shape(network, layers)
    build.name_of[INPUT] = build.unique("input")
    build.nodes[build.name_of[INPUT]] = Node("Input", {"shape": np.array(build.shape_of[INPUT])})
    end = build.unique("output")
    for name, layer in layers.items():
        try:
            build.layer(name, layer, network.inputs[name], network.dt)
        except ValueError as error:
            text = str(error)
            errors.append(text if text.startswith("layer ") else f"layer {name!r}: {text}")
            build.shape_of[name] = (layer.n,)
    if errors:
        raise ValueError("\n".join(errors))
    last = list(layers)[-1]
    build.nodes[end] = Node("Output", {"shape": np.array(build.shape_of[last])})
    build.edges.append((build.name_of[last], end))
    metadata: dict[str, Any] = {"dt": network.dt, "writer": "neurorobust"}
    metadata |= {} if reader.name == "nir" else {"reader": reader.name, "reader_version": reader.version}
    return Graph(build.nodes, tuple(build.edges), metadata)


def written_layers(network: Network, readout: bool) -> dict[str, Neuron]:
    """The layers of the file: without a read-out that no other layer hears, unless it is asked for."""
    layers = network.layers()
    last = network.names[-1]
    if readout or layers[last].spiking or len(layers) == 1:
        return layers
    sources = network.inputs[last]
    rest = {name: layer for name, layer in layers.items() if name != last}
    heard = {source for name in rest for source in network.inputs[name]}
    if list(dict.fromkeys(sources)) != [list(rest)[-1]] or any(n not in heard for n in list(rest)[:-1]):
        raise ValueError(
            f"layer {last!r}: the read-out hears {', '.join(map(repr, sources))}; a file without it has one output; "
            f"pass readout=True to write it too."
        )
    return rest


def _input_shape(network: Network, layers: Mapping[str, Neuron]) -> Shape:
    """(n,), or the shape of the image that a layer takes."""
    for name, layer in layers.items():
        if INPUT in network.inputs[name]:
            try:
                parts = split(stages_of(layer.input), _sizes(network, name))
            except ValueError:
                continue
            shape = parts[network.inputs[name].index(INPUT)][0].shape
            if len(shape) > 1:
                return shape
    return (network.n_in,)


def _sizes(network: Network, name: str) -> list[int]:
    layers = network.layers()
    return [network.n_in if source == INPUT else layers[source].n for source in network.inputs[name]]


def _namer() -> Callable[[str], str]:
    """A function that returns a name, or a new one where it was taken."""
    taken: set[str] = set()

    def unique(name: str) -> str:
        plain = "".join(letter if letter.isalnum() or letter == "_" else "_" for letter in name) or "node"
        found, i = plain, 0
        while found in taken:
            i += 1
            found = f"{plain}_{i}"
        taken.add(found)
        return found

    return unique


class _Build:
    """A graph in the making."""

    def __init__(self, reader: Reader, unique: Callable[[str], str]):
        self.reader, self.unique = reader, unique
        self.nodes: dict[str, Node | Graph] = {}
        self.edges: list[tuple[str, str]] = []
        self.shape_of: dict[str, Shape] = {}
        self.name_of: dict[str, str] = {}

    def layer(self, name: str, layer: Neuron, sources: tuple[str, ...], dt: float) -> None:
        cell = cell_of(name, layer, dt)
        written = self.reader.lowered(cell, dt)
        if written.node.metadata:
            warn(
                f"layer {name!r}: the reset {cell.reset} is in the metadata, which only this package reads. "
                f"All others reset the membrane to v_reset, so they compute other spikes. Train with reset=ToValue()."
            )
        sizes = [math.prod(self.shape_of[source]) for source in sources]
        paths = split(stages_of(layer.input), sizes)
        if len(paths) > 1 and not self.reader.sums:
            raise self.reader.refuse("does not add several inputs of a layer; use one input.")
        bias = getattr(layer.recurrent, "bias", None)
        if bias is not None:
            paths[0][-1] = with_bias(paths[0][-1], bias.detach().cpu().numpy())
        paths = [[*path[:-1], scaled(path[-1], written.rows)] for path in paths]
        ends = [self.path(name, source, path) for source, path in zip(sources, paths)]
        shape = paths[0][-1].out
        own = self.name_of[name]
        self.nodes[own] = self.neurons(written.node, written.rows, layer, shape)
        self.edges += [(end, own) for end in ends]
        self.shape_of[name] = shape

    def neurons(self, node: Node, rows: Any, layer: Neuron, shape: Shape) -> Node | Graph:
        """The node of a population, or the graph of it and its recurrence."""
        node = replace(node, fields={key: value.reshape(shape) for key, value in node.fields.items()})
        if len(shape) > 1 and not self.reader.spatial:
            raise self.reader.refuse("fails on neurons of a convolution; expected Linear layers.")
        matrix = layer.recurrent_matrix()
        if matrix is None:
            return node
        if not self.reader.recurrence:
            raise self.reader.refuse("runs no recurrent connection; expected layers without recurrence.")
        if len(shape) > 1:
            raise ValueError("neurons of a convolution with a recurrent connection; NIR cannot reshape their spikes.")
        weight = Node("Linear", {"weight": matrix.detach().cpu().numpy().copy()})
        recurrent = self.typed(scaled(Stage(weight, shape, shape), rows)).node
        place = {"shape": np.array(shape)}
        inside = {"input": Node("Input", place), "lif": node, "w_rec": recurrent, "output": Node("Output", place)}
        return Graph(inside, (("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")))

    def typed(self, stage: Stage) -> Stage:
        """The stage as a node that the reader takes."""
        node = stage.node
        if node.type == "Linear" and self.reader.affine:
            weight = node.fields["weight"]
            node = Node("Affine", {"weight": weight, "bias": np.zeros(len(weight), weight.dtype)})
        if node.type not in self.reader.connections:
            raise self.reader.refuse(
                f"reads no {node.type}; expected {', '.join(sorted(self.reader.connections - {'Flatten'}))}."
            )
        return replace(stage, node=node)

    def path(self, name: str, source: str, stages: list[Stage]) -> str:
        """Add the nodes from a source to a layer, and return the last one."""
        at, shape = self.name_of[source], self.shape_of[source]
        for stage in stages:
            if stage.node.type == "Delay":  # it takes any shape
                node = Node("Delay", {"delay": stage.node.fields["delay"].reshape(shape)})
                stage = Stage(node, shape, shape)
            elif shape != stage.shape and len(stage.shape) == 1:
                sizes = {"start_dim": np.array(-len(shape) if self.reader.flatten else 0), "end_dim": np.array(-1)}
                flat = Node("Flatten", sizes | {"input_type": np.array(shape)})
                at = self.add(f"{name}_flatten", self.typed(Stage(flat, shape, stage.shape)), at)
            elif shape != stage.shape:
                raise ValueError(
                    f"a {stage.node.type} reads neurons of shape {shape} as {stage.shape}, and NIR cannot reshape; "
                    f"give the layer {source!r} that shape with a convolution."
                )
            at = self.add(f"{name}_in", self.typed(stage), at)
            shape = stage.out
        return at

    def add(self, name: str, stage: Stage, source: str) -> str:
        own = self.unique(name)
        self.nodes[own] = stage.node
        self.edges.append((source, own))
        return own
