"""From a graph of NIR nodes, which anybody may have written, to a network."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..core.noise import INPUT
from ..nn import Network, Neuron
from .cell import Array, layer_of
from .connecting import connection_of, recurrent_of
from .hdf5 import Graph, Node, Sizes
from .reader import Reader
from .stages import Shape, Stage
from .transforms import transformed
from .untrusted import MOST, NETWORK

FIELDS = {
    "LIF": ("tau", "r", "v_leak", "v_threshold"),
    "CubaLIF": ("tau_mem", "tau_syn", "r", "v_leak", "v_threshold"),
    "LI": ("tau", "r", "v_leak"),
    "CubaLI": ("tau_mem", "tau_syn", "r", "v_leak"),
}
OPTIONAL = ("v_reset", "w_in")
WITHOUT = {
    "IF": "has no leak, and every neuron here has one; give it a long tau (LIF)",
    "I": "has no leak, and every neuron here has one; give it a long tau (LI)",
    "Threshold": "has no membrane; use LIF",
}
COPIES = 3
"""Of the values of a connection, while it is made."""
LONGEST = 100
"""Nodes without neurons in a row."""


@dataclass(frozen=True)
class Path:
    """Nodes from a source to a population."""

    source: str
    stages: tuple[Stage, ...]


class Budget:
    """The values of 8 bytes that a network may still have, whatever type they have in the file."""

    def __init__(self, sizes: Sizes):
        self.left, self.sizes = max(0, MOST * sizes.file + NETWORK - sizes.arrays) // 8, sizes

    def take(self, where: str, count: int) -> None:
        """Take values, before they are made. Raises ValueError if there are too few."""
        if count > self.left:
            raise ValueError(
                f"node {where!r}: asks for {count} values of 8 bytes, and {self.left} are left; arrays and network of "
                f"a file of {self.sizes.file} bytes may take {MOST} times its size and {NETWORK} bytes."
            )
        self.left -= count


def network_of(graph: Graph, reader: Reader, dt: float, budget: Budget) -> Network:
    """The network that ``reader`` makes of a graph.

    Raises:
        ValueError: a node or an edge that no network of this package can have, by name.
    """
    flat = _inlined(graph)
    _check_edges(flat)
    begin, end = (_only(flat, kind) for kind in ("Input", "Output"))
    walk = _Walk(flat, begin, reader, dt, budget)
    order = walk.order(end)
    names = _names(order, flat.nodes)
    layers: dict[str, Neuron] = {}
    inputs: dict[str, tuple[str, ...]] = {}
    for node in order:
        layer, sources = walk.layer(node)
        layers[names[node]] = layer
        inputs[names[node]] = tuple(INPUT if source == begin else names[source] for source in sources)
    return Network(layers, dt, inputs)


def _names(order: Sequence[str], nodes: Mapping[str, Any]) -> dict[str, str]:
    """Layer names: of a graph around one population, that of the graph."""
    found: dict[str, str] = {}
    for node in order:
        parts = node.split("/")
        alone = len(parts) > 1 and sum(other.startswith(f"{parts[0]}/") for other in order) == 1
        name = (parts[0] if alone else "_".join(parts)).replace(".", "_")
        while name in found.values() or name in ("", INPUT) or hasattr(torch.nn.Module, name):
            name += "_"
        found[node] = name
    return found


def _inlined(graph: Graph, prefix: str = "") -> Graph:
    """The graph with all nodes of inner graphs; an inner Input or Output passes its signal on."""
    nodes: dict[str, Node | Graph] = {}
    edges: list[tuple[str, str]] = []
    ports: dict[str, tuple[str, str]] = {}
    for name, node in graph.nodes.items():
        full = f"{prefix}{name}"
        if isinstance(node, Node):
            nodes[full] = node
            ports[name] = full, full
            continue
        inner = _inlined(node, f"{full}/")
        inside = {kind: [n for n in node.nodes if _is(node.nodes[n], kind)] for kind in ("Input", "Output")}
        if any(len(found) != 1 for found in inside.values()):
            raise ValueError(f"graph {full!r}: expected one Input and one Output.")
        nodes |= {
            n: replace(each, type="Pass") if n in _ports(full, inside) else each
            for n, each in inner.nodes.items()
            if isinstance(each, Node)
        }
        edges += inner.edges
        ports[name] = f"{full}/{inside['Input'][0]}", f"{full}/{inside['Output'][0]}"
    for source, target in graph.edges:
        for end in (source, target):
            if end not in ports:
                raise ValueError(f"edges: {prefix}{end[:60]!r} is no node.")
        edges.append((ports[source][1], ports[target][0]))
    return Graph(nodes, tuple(edges))


def _ports(full: str, inside: Mapping[str, Sequence[str]]) -> set[str]:
    return {f"{full}/{names[0]}" for names in inside.values()}


def _is(node: Node | Graph, kind: str) -> bool:
    return isinstance(node, Node) and node.type == kind


def _check_edges(graph: Graph) -> None:
    if len(set(graph.edges)) != len(graph.edges):
        twice = next(edge for i, edge in enumerate(graph.edges) if edge in graph.edges[:i])
        raise ValueError(f"edges: {twice[0]!r} → {twice[1]!r} is there twice.")


def _only(graph: Graph, kind: str) -> str:
    found = [name for name, node in graph.nodes.items() if _is(node, kind)]
    if len(found) != 1:
        raise ValueError(f"got {len(found)} nodes of type {kind}; expected one.")
    return found[0]


class _Walk:
    """From the populations of a graph back to what they hear."""

    def __init__(self, graph: Graph, begin: str, reader: Reader, dt: float, budget: Budget):
        self.nodes: dict[str, Node] = {name: node for name, node in graph.nodes.items() if isinstance(node, Node)}
        self.begin, self.reader, self.dt, self.budget = begin, reader, dt, budget
        self.before: dict[str, list[str]] = {name: [] for name in self.nodes}
        for source, target in graph.edges:
            self.before[target].append(source)
        self.shape_of: dict[str, Shape] = {begin: self._input_shape(begin)}
        self.dtype = _dtype(self.nodes.values()) if reader.keeps_dtype else torch.float64

    def _input_shape(self, name: str) -> Shape:
        shape = np.asarray(self.nodes[name].fields.get("shape", ())).ravel()
        if not len(shape) or shape.dtype.kind not in "iu" or (shape < 1).any() or len(shape) > 4:
            raise ValueError(f"node {name!r}: shape: got {shape[:8].tolist()}; expected sizes of at least 1.")
        sizes = tuple(int(size) for size in shape)
        self.budget.take(name, math.prod(sizes))
        return sizes

    def order(self, end: str) -> list[str]:
        """The populations, each after all that it hears but itself."""
        last = self._heard(end)
        if len(last) != 1 or last[0][1] or last[0][0] == self.begin:
            nodes = ", ".join(repr(name) for name in self.before[end]) or "nothing"
            raise ValueError(f"node {end!r}: the output comes from {nodes}; expected one population of neurons.")
        sources = {name: self._sources(name) for name, node in self.nodes.items() if node.type in FIELDS}
        done = _in_order(list(sources), sources)
        heard = {source for name in done for source in sources[name]} | {last[0][0]}
        if left := [name for name in done if name not in heard]:
            raise ValueError(f"node {left[0]!r}: leads to no output; remove it.")
        if done[-1] != last[0][0]:
            done.remove(last[0][0])
            done.append(last[0][0])
        known = {*FIELDS, *self.reader.connections, "Input", "Output", "Pass", "Scale", "Linear", "Affine"}
        for name, node in self.nodes.items():
            if node.type not in known:
                raise self._unknown(name, node)
        return done

    def _unknown(self, name: str, node: Node) -> ValueError:
        reason = WITHOUT.get(node.type, "is no node that a network of this package or this reader can have")
        return ValueError(f"node {name!r}: {node.type[:60]} {reason}.")

    def _sources(self, name: str) -> list[str]:
        return [source for source, _ in self._heard(name) if source not in (name, self.begin)]

    def _heard(self, name: str) -> list[tuple[str, tuple[str, ...]]]:
        """The sources of a node, and the nodes without neurons from each to it."""
        found: list[tuple[str, tuple[str, ...]]] = []
        open_: list[tuple[str, tuple[str, ...]]] = [(above, ()) for above in reversed(self.before[name])]
        while open_:
            above, path = open_.pop()
            node, sources = self.nodes[above], self.before[above]
            if node.type in FIELDS or above == self.begin:
                found.append((above, tuple(each for each in path if self.nodes[each].type != "Pass")))
                continue
            if node.type in WITHOUT or node.type == "Output":
                raise self._unknown(above, node)
            if above in path:
                raise ValueError(f"node {above!r}: a cycle without neurons.")
            if not sources or len(path) > LONGEST or len(found) + len(open_) > len(self.nodes):
                raise ValueError(
                    f"node {above!r}: hears nothing, or leads to {name!r} in too many ways; expected at most {LONGEST} "
                    f"nodes without neurons in a row, and one way for each source."
                )
            if len(sources) > 1 and any(self.nodes[each].type != "Pass" for each in (above, *path)):
                raise ValueError(
                    f"node {above!r}: a {node.type} with {len(sources)} inputs; expected one: only neurons add their "
                    f"inputs."
                )
            open_ += [(source, (above, *path)) for source in reversed(sources)]
        return found

    def layer(self, name: str) -> tuple[Neuron, list[str]]:
        """The layer of a population, and its sources."""
        try:
            return self._layer(name)
        except (ValueError, TypeError) as error:
            text = str(error)
            raise ValueError(text if text.startswith("node ") else f"node {name!r}: {text}") from error

    def _layer(self, name: str) -> tuple[Neuron, list[str]]:
        heard = self._heard(name)
        paths = [Path(source, tuple(self._stages(source, nodes))) for source, nodes in heard if source != name]
        back = [nodes for source, nodes in heard if source == name]
        if not paths:
            raise ValueError("has no input; expected at least one.")
        shapes = {path.stages[-1].out if path.stages else self.shape_of[path.source] for path in paths}
        if len(shapes) != 1:
            raise ValueError(f"its inputs have different shapes, {sorted(shapes)}.")
        shape = self.shape_of[name] = shapes.pop()
        self.budget.take(name, 4 * math.prod(shape) * (1 + len(paths)))
        node = self._broadcast(self.nodes[name], math.prod(shape))
        cell = self.reader.raised(node, self.dt)
        if len(back) > 1 or (back and cell.v_threshold is None):
            raise ValueError("more than one recurrent connection, or one of neurons without spikes.")
        recurrent = None
        if back:
            n = math.prod(shape)
            recurrent = recurrent_of(list(self._stages(name, back[0])), n, self.dtype)
        sizes = [math.prod(self.shape_of[path.source]) for path in paths]
        connection = connection_of([list(path.stages) for path in paths], sizes, self.dtype)
        if connection.n_out != cell.n:
            raise ValueError(f"{cell.n} neurons with {connection.n_out} inputs; expected one for each.")
        return layer_of(cell, connection, recurrent, self.dtype), [path.source for path in paths]

    def _stages(self, source: str, nodes: Sequence[str]) -> Iterator[Stage]:
        shape = self.shape_of[source]
        for name in nodes:
            node = self.nodes[name]
            if node.type not in self.reader.connections and node.type not in ("Linear", "Affine", "Scale"):
                raise self._unknown(name, node)
            self.budget.take(name, COPIES * sum(np.size(value) for value in node.fields.values()))
            try:
                stage = transformed(node, shape, self.reader.flatten)
            except (ValueError, TypeError, KeyError, OverflowError) as error:
                reason = f"has no {error}" if isinstance(error, KeyError) else str(error)
                raise ValueError(f"node {name!r}: {node.type}: {reason}") from error
            self.budget.take(name, math.prod(stage.out))
            shape = stage.out
            yield stage

    def _broadcast(self, node: Node, n: int) -> Node:
        """The fields of a population, each (n,)."""
        found: dict[str, Array] = {}
        for key in (*FIELDS[node.type], *OPTIONAL):
            value = node.fields.get(key)
            if value is None and key in OPTIONAL:
                continue
            if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
                raise ValueError(f"{key}: expected numbers, one for each neuron.")
            if value.size not in (1, n):
                raise ValueError(f"{key}: got shape {value.shape}; expected {n} values, one for each neuron.")
            value = np.ascontiguousarray(np.broadcast_to(value.ravel(), (n,)), np.float64)
            if not np.isfinite(value).all():
                raise ValueError(f"{key}: {int((~np.isfinite(value)).sum())} values are NaN or infinite.")
            if key.startswith("tau") and (value <= 0).any():
                raise ValueError(f"{key}: smallest value is {value.min():g} s; expected values > 0.")
            found[key] = value
        return replace(node, fields=found)


def _dtype(nodes: Iterable[Node]) -> torch.dtype:
    """The type of float of the numbers of a file."""
    arrays = [value for node in nodes for name, value in node.fields.items() if name != "delay"]
    floats = {value.dtype for value in arrays if isinstance(value, np.ndarray) and value.dtype.kind == "f"}
    return torch.float32 if floats and all(dtype.itemsize <= 4 for dtype in floats) else torch.float64


def _in_order(names: Sequence[str], sources: Mapping[str, Sequence[str]]) -> list[str]:
    """The names in their order, but each after its sources."""
    place = {name: i for i, name in enumerate(names)}
    missing = {name: len(set(sources[name])) for name in names}
    after: dict[str, list[str]] = {name: [] for name in names}
    for name in names:
        for source in set(sources[name]):
            after[source].append(name)
    ready = [place[name] for name in names if not missing[name]]
    done: list[str] = []
    while ready:
        done.append(names[heapq.heappop(ready)])
        for name in after[done[-1]]:
            missing[name] -= 1
            if not missing[name]:
                heapq.heappush(ready, place[name])
    if len(done) < len(names):
        left = next(name for name in names if name not in set(done))
        raise ValueError(f"node {left!r}: in a cycle of several populations; one may only feed itself and later ones.")
    return done
