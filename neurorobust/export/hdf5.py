"""NIR graphs in HDF5 files, in the layout of ``nir.write``: read with care, because anybody may have written them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._util import files, limited
from .._util.errors import shown
from . import untrusted
from .untrusted import DEEPEST, Refused, contents, refusing

INSTALL = "pip install h5py"
VERSION = "1.0.4"
"""The oldest version of nir that reads the files."""


@dataclass(frozen=True)
class Node:
    """One node: its type in NIR and its fields, arrays or texts; ``metadata`` as NIR has it."""

    type: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """Nodes by name, and edges (source, target). A node may be a graph, with an Input and an Output of its own."""

    nodes: Mapping[str, Node | Graph]
    edges: tuple[tuple[str, str], ...]
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Sizes(NamedTuple):
    """The bytes of a file and of its arrays."""

    file: int
    arrays: int


def write(path: Path, graph: Graph) -> Path:
    """Write a graph; the file is whole or absent."""
    h5py = _h5py()
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()  # HDF5 locks a file of its own, and the temporary one is locked already
    with h5py.File(content, "w") as file:
        file.create_dataset("version", data=VERSION)
        _write_dict(file.create_group("node"), _as_dict(graph), h5py)
    with files.replacing(path) as temporary:
        temporary.write_bytes(content.getvalue())
    return path


def read(path: Path) -> tuple[Graph, Sizes]:
    """The graph of a file, and its bytes and those of its arrays.

    Type and shape of an array are read before its values. All arrays together may have ten times the size of the file,
    which gzip reaches with constant values only.

    Raises:
        FileNotFoundError: no such file. ValueError: not a NIR graph, or anything that ``nir.write`` does not write:
            links to other files, other compression than gzip, objects with two names.
    """
    _h5py()
    if not path.is_file():
        raise FileNotFoundError(f"path: no file {str(path)!r}; expected a file that nir.write or nr.to_nir wrote.")
    data = path.read_bytes()
    try:
        limits = limited.Limits(untrusted.memory_of(len(data)), untrusted.seconds_of(len(data)))
        limited.tried(untrusted.__file__, io.BytesIO(data), limits)
        with refusing():
            found, size = contents(data)
        return _graph(found, "", 0), Sizes(len(data), size)
    except ValueError as error:
        raise ValueError(f"NIR file {str(path)!r}: {error}") from error


def _h5py() -> Any:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"NIR files need h5py; install it with: {INSTALL}") from error
    return h5py


def _as_dict(graph: Node | Graph) -> dict[str, Any]:
    if isinstance(graph, Node):
        own: dict[str, Any] = {"type": graph.type, **graph.fields}
    else:
        edges = np.array(graph.edges, dtype=object).reshape(-1, 2)
        own = {"type": "NIRGraph", "edges": edges, "nodes": {n: _as_dict(node) for n, node in graph.nodes.items()}}
    return own | ({"metadata": dict(graph.metadata)} if graph.metadata else {})


def _write_dict(group: Any, content: Mapping[str, Any], h5py: Any) -> None:
    for name, value in content.items():
        if isinstance(value, dict):
            # In the order of the signal: nirtorch takes nodes in the order of the file, and graphs in graphs only once.
            _write_dict(group.create_group(name, track_order=name == "nodes"), value, h5py)
        elif isinstance(value, str) or getattr(getattr(value, "dtype", None), "kind", "") == "O":
            group.create_dataset(name, data=value, dtype=h5py.string_dtype())
        else:
            group.create_dataset(name, data=value)


def _graph(content: Mapping[str, Any], where: str, depth: int) -> Graph:
    """The graph that the groups and arrays of a file describe."""
    found = _node(content, where, depth)
    if not isinstance(found, Graph):
        raise Refused(f"{where or 'node'}: got a {found.type}; expected a NIRGraph.")
    return found


def _node(content: Any, where: str, depth: int) -> Node | Graph:
    if not isinstance(content, dict) or not isinstance(content.get("type"), str):
        raise Refused(f"node {where!r}: has no type; expected a NIR node.")
    if not content["type"].isidentifier():
        raise Refused(f"node {where!r}: type: got {shown(content['type'])}; expected the name of a NIR node.")
    metadata = content.get("metadata", {})
    if not isinstance(metadata, dict):
        raise Refused(f"node {where!r}: metadata: expected a group.")
    if content["type"] != "NIRGraph":
        own = {name: value for name, value in content.items() if name not in ("type", "metadata")}
        if nested := next((name for name, value in own.items() if isinstance(value, dict)), None):
            raise Refused(f"node {where!r}: {nested}: got a group; expected an array.")
        return Node(content["type"], own, metadata)
    if depth >= DEEPEST:
        raise Refused(f"node {where!r}: more than {DEEPEST} graphs inside each other.")
    nodes, edges = content.get("nodes"), content.get("edges")
    if not isinstance(nodes, dict):
        raise Refused(f"graph {where!r}: has no nodes.")
    pairs = np.asarray(edges)
    if pairs.size and (pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype != object):
        raise Refused(f"graph {where!r}: edges: expected pairs of names.")
    return Graph(
        {name: _node(node, f"{where}/{name}" if where else name, depth + 1) for name, node in nodes.items()},
        tuple((str(a), str(b)) for a, b in pairs) if pairs.size else (),
        metadata,
    )
