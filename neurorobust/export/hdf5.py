"""NIR graphs in HDF5 files, in the layout of ``nir.write``: read with care, because anybody may have written them."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .._util import files

INSTALL = 'pip install "neurorobust[nir]"'
VERSION = "1.0.4"
"""The oldest version of nir that reads the files."""
DEEPEST = 8
"""Graphs inside graphs, and texts inside metadata."""
SMALLEST = 40
"""An object takes at least as many bytes in a file: the entry of its name."""
MOST = 10
"""The arrays of a file may take this many times its bytes, and so may a network those of the arrays."""
FREE = 2**20
"""Bytes that any file may ask for."""
LONGEST = 1000
"""Characters of a text."""


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


def read(path: Path) -> tuple[Graph, int]:
    """The graph of a file, and the bytes of its arrays.

    Type and shape of an array are read before its values. All arrays together may have ten times the size of the file,
    which gzip reaches with constant values only.

    Raises:
        FileNotFoundError: no such file. ValueError: not a NIR graph, or anything that ``nir.write`` does not write:
            links to other files, other compression than gzip, objects with two names.
    """
    h5py = _h5py()
    if not path.is_file():
        raise FileNotFoundError(f"path: no file {str(path)!r}; expected a file that nir.write or nr.to_nir wrote.")
    size = os.path.getsize(path)
    try:
        with h5py.File(path, "r") as file:
            reading = _Reading(h5py, size)
            found = reading.group(_child(h5py, file, "node", ""), "", 0)
    except (_Refused, ModuleNotFoundError) as error:
        raise ValueError(f"NIR file {str(path)!r}: {error}") from error
    except Exception as error:  # a damaged file makes the library raise more than it documents
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ValueError(f"NIR file {str(path)!r}: damaged, or not HDF5 ({reason}).") from error
    try:
        return _graph(found, "", 0), max(reading.read, size)
    except _Refused as error:
        raise ValueError(f"NIR file {str(path)!r}: {error}") from error


class _Refused(Exception):
    """A reason to refuse a file."""


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


def _child(h5py: Any, group: Any, name: str, where: str) -> Any:
    link = group.get(name, getlink=True)
    if link is None:
        raise _Refused(f"has no {where}{name!r}; expected a file that nir.write or nr.to_nir wrote.")
    if not isinstance(link, h5py.HardLink):
        raise _Refused(f"{where}{name} is a link to another place; expected everything inside the file.")
    return group[name]


class _Reading:
    """One file: what was met so far, and the bytes of its arrays."""

    def __init__(self, h5py: Any, size: int):
        self.h5py, self.size = h5py, size
        self.read = 0
        self.met: set[int] = set()

    def group(self, group: Any, where: str, depth: int) -> dict[str, Any]:
        if not isinstance(group, self.h5py.Group):
            raise _Refused(f"{where or 'node'} is no group; expected a NIR node.")
        if depth > 3 * DEEPEST:
            raise _Refused(f"{where[:60]}…: nested too deeply; expected at most {DEEPEST} graphs inside each other.")
        self._meet(group, where)
        if len(group) > self.size // SMALLEST:
            raise _Refused(f"{where} names {len(group)} objects, more than a file of {self.size} bytes can hold.")
        found = {}
        for name in group:
            child = _child(self.h5py, group, name, where)
            if isinstance(child, self.h5py.Dataset):
                found[name] = self.array(child, f"{where}{name}")
            else:
                found[name] = self.group(child, f"{where}{name}/", depth + 1)
        return found

    def _meet(self, thing: Any, where: str) -> None:
        address = self.h5py.h5o.get_info(thing.id).addr
        if address in self.met:
            raise _Refused(f"{where} has two names; expected a tree, as nir.write writes it.")
        self.met.add(address)

    def array(self, data: Any, where: str) -> Any:
        self._meet(data, where)
        made = data.id.get_create_plist()
        layout, h5d = made.get_layout(), self.h5py.h5d
        if made.get_external_count() or layout not in (h5d.CONTIGUOUS, h5d.COMPACT, h5d.CHUNKED):
            raise _Refused(f"{where}: its values are in another file; expected them in this one.")
        filters = {made.get_filter(i)[0] for i in range(made.get_nfilters())}
        if filters - {self.h5py.h5z.FILTER_DEFLATE, self.h5py.h5z.FILTER_SHUFFLE}:
            raise _Refused(f"{where} has a filter of another library; expected plain arrays, or gzip.")
        if data.shape is None:
            raise _Refused(f"{where} is empty; expected numbers or a text.")
        text = self.h5py.check_string_dtype(data.dtype)
        if text is None and data.dtype.kind not in "fiub":
            raise _Refused(f"{where}: holds values of type {data.dtype}; expected numbers or texts.")
        needed = math.prod(data.shape) * (16 if text is not None else data.dtype.itemsize)
        if self.read + needed > MOST * self.size + FREE:
            raise _Refused(
                f"{where}: an array of shape {data.shape} makes {self.read + needed} bytes; a file of {self.size} bytes "
                f"may hold {MOST} times its size. Write it again without compression if it is right."
            )
        self.read += needed
        value = data[()]
        return _texts(value, where) if text is not None else np.asarray(value)


def _texts(value: Any, where: str) -> Any:
    flat = [value] if isinstance(value, (bytes, str)) else list(np.asarray(value, dtype=object).ravel())
    if any(not isinstance(each, (bytes, str)) or len(each) > LONGEST for each in flat):
        raise _Refused(f"{where}: expected texts of at most {LONGEST} characters.")
    try:
        plain = [each.decode("utf8") if isinstance(each, bytes) else each for each in flat]
    except UnicodeDecodeError as error:
        raise _Refused(f"{where}: not a text in UTF-8.") from error
    if isinstance(value, (bytes, str)):
        return plain[0]
    return np.array(plain, dtype=object).reshape(np.asarray(value, dtype=object).shape)


def _graph(content: Mapping[str, Any], where: str, depth: int) -> Graph:
    """The graph that the groups and arrays of a file describe."""
    found = _node(content, where, depth)
    if not isinstance(found, Graph):
        raise _Refused(f"{where or 'node'}: got a {found.type}; expected a NIRGraph.")
    return found


def _node(content: Any, where: str, depth: int) -> Node | Graph:
    if not isinstance(content, dict) or not isinstance(content.get("type"), str):
        raise _Refused(f"node {where!r}: has no type; expected a NIR node.")
    metadata = content.get("metadata", {})
    if not isinstance(metadata, dict):
        raise _Refused(f"node {where!r}: metadata: expected a group.")
    if content["type"] != "NIRGraph":
        own = {name: value for name, value in content.items() if name not in ("type", "metadata")}
        if nested := next((name for name, value in own.items() if isinstance(value, dict)), None):
            raise _Refused(f"node {where!r}: {nested}: got a group; expected an array.")
        return Node(content["type"], own, metadata)
    if depth >= DEEPEST:
        raise _Refused(f"node {where!r}: more than {DEEPEST} graphs inside each other.")
    nodes, edges = content.get("nodes"), content.get("edges")
    if not isinstance(nodes, dict):
        raise _Refused(f"graph {where!r}: has no nodes.")
    pairs = np.asarray(edges)
    if pairs.size and (pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype != object):
        raise _Refused(f"graph {where!r}: edges: expected pairs of names.")
    return Graph(
        {name: _node(node, f"{where}/{name}" if where else name, depth + 1) for name, node in nodes.items()},
        tuple((str(a), str(b)) for a, b in pairs) if pairs.size else (),
        metadata,
    )
