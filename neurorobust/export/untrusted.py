"""HDF5 that anybody may have written, as plain dictionaries. This file imports nothing of the package.

HDF5's library may crash, loop or ask for any memory on a damaged file. So a file is read first in a process of its own
with limits, which runs :func:`trial`; only a file that it read is read again in this process.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

DEEPEST = 8
"""Graphs inside graphs, and texts inside metadata."""
SMALLEST = 40
"""An object takes at least as many bytes in a file: the entry of its name."""
MOST = 10
"""The arrays of a file may take this many times its bytes, and so may the arrays and the network together."""
FREE = 2**20
"""Bytes that any file may ask for."""
NETWORK = 2**28
"""Bytes that any network may take besides."""
LONGEST = 1000
"""Characters of a text."""
SECONDS = 4.0
BYTES_PER_SECOND = 1e7
"""The time that a file may take, and what it may take longer for its size."""


class Refused(ValueError):
    """A reason to refuse a file."""


def memory_of(size: int) -> int:
    """Bytes that reading a file of a size may ask for."""
    return 3 * MOST * (size + FREE)


def seconds_of(size: int) -> float:
    """Seconds of computing that reading a file of a size may take."""
    return SECONDS + size / BYTES_PER_SECOND


def trial(stream: BinaryIO) -> None:
    """Read a file; ``_util/limited.py`` does so in a process of its own.

    Raises:
        Refused: the file is refused.
    """
    import h5py  # noqa: F401

    with refusing():
        contents(stream.read())


def contents(data: bytes) -> tuple[dict[str, Any], int]:
    """The groups and arrays under ``node``, and the bytes of the arrays.

    Raises:
        Refused: anything that ``nir.write`` does not write. Any exception of the library: damage.
    """
    import h5py

    with h5py.File(io.BytesIO(data), "r") as file:
        reading = _Reading(h5py, len(data))
        return reading.group(_child(h5py, file, "node", ""), "", 0), reading.read


@contextmanager
def refusing() -> Iterator[None]:
    """A context in which every exception of the library is a :class:`Refused`."""
    try:
        yield
    except Refused:
        raise
    except Exception as error:  # a damaged file makes the library raise more than it documents
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise Refused(f"damaged, or not HDF5 ({reason}).") from error


def _child(h5py: Any, group: Any, name: str, where: str) -> Any:
    link = group.get(name, getlink=True)
    if link is None:
        raise Refused(f"has no {where}{name!r}; expected a file that nir.write or nr.to_nir wrote.")
    if not isinstance(link, h5py.HardLink):
        raise Refused(f"{where}{name} is a link to another place; expected everything inside the file.")
    return group[name]


class _Reading:
    """One file: what was met so far, and the bytes of its arrays."""

    def __init__(self, h5py: Any, size: int):
        self.h5py, self.size = h5py, size
        self.read = 0
        self.met: set[int] = set()

    def group(self, group: Any, where: str, depth: int) -> dict[str, Any]:
        if not isinstance(group, self.h5py.Group):
            raise Refused(f"{where or 'node'} is no group; expected a NIR node.")
        if depth > 3 * DEEPEST:
            raise Refused(f"{where[:60]}…: nested too deeply; expected at most {DEEPEST} graphs inside each other.")
        self._meet(group, where)
        if len(group) > self.size // SMALLEST:
            raise Refused(f"{where} names {len(group)} objects, more than a file of {self.size} bytes can hold.")
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
            raise Refused(f"{where} has two names; expected a tree, as nir.write writes it.")
        self.met.add(address)

    def array(self, data: Any, where: str) -> Any:
        self._meet(data, where)
        made = data.id.get_create_plist()
        layout, h5d = made.get_layout(), self.h5py.h5d
        if made.get_external_count() or layout not in (h5d.CONTIGUOUS, h5d.COMPACT, h5d.CHUNKED):
            raise Refused(f"{where}: its values are in another file; expected them in this one.")
        filters = {made.get_filter(i)[0] for i in range(made.get_nfilters())}
        if filters - {self.h5py.h5z.FILTER_DEFLATE, self.h5py.h5z.FILTER_SHUFFLE}:
            raise Refused(f"{where} has a filter of another library; expected plain arrays, or gzip.")
        if data.shape is None:
            raise Refused(f"{where} is empty; expected numbers or a text.")
        text = self.h5py.check_string_dtype(data.dtype)
        if text is None and data.dtype.kind not in "fiub":
            raise Refused(f"{where}: holds values of type {data.dtype}; expected numbers or texts.")
        needed = math.prod(data.shape) * (16 if text is not None else data.dtype.itemsize)
        if self.read + needed > MOST * self.size + FREE:
            raise Refused(
                f"{where}: an array of shape {data.shape} makes {self.read + needed} bytes; {self.size} bytes "
                f"may hold {MOST} times its size. Write it again without compression if it is right."
            )
        self.read += needed
        value = data[()]
        return _texts(value, where) if text is not None else np.asarray(value)


def _texts(value: Any, where: str) -> Any:
    flat = [value] if isinstance(value, (bytes, str)) else list(np.asarray(value, dtype=object).ravel())
    if any(not isinstance(each, (bytes, str)) or len(each) > LONGEST for each in flat):
        raise Refused(f"{where}: expected texts of at most {LONGEST} characters.")
    try:
        plain = [each.decode("utf8") if isinstance(each, bytes) else each for each in flat]
    except UnicodeDecodeError as error:
        raise Refused(f"{where}: not a text in UTF-8.") from error
    if isinstance(value, (bytes, str)):
        return plain[0]
    return np.array(plain, dtype=object).reshape(np.asarray(value, dtype=object).shape)
