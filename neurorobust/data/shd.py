"""HDF5 in the layout of Spiking Heidelberg Digits, as arrays. This file imports nothing of the package.

A damaged file may make HDF5's library crash or loop, so a file is read first in a process of its own, which runs
:func:`trial`. What a file asks for is compared with its size before anything is read.
"""

from __future__ import annotations

import math
import os
from typing import Any, BinaryIO

import numpy as np

REFERENCE = 16
"""Bytes of a file for the reference to one recording's times, or to its channels."""
MOST = 10
"""The values of a file may take this many times its bytes."""
FREE = 2**16
"""Bytes that any file may ask for."""
BLOCK = 256
"""Recordings that are read at once."""
Arrays = tuple[list[np.ndarray], list[np.ndarray], np.ndarray]


def trial(stream: BinaryIO) -> None:
    """Read a file; ``_util/limited.py`` does so in a process of its own."""
    arrays(stream)


def arrays(stream: BinaryIO) -> Arrays:
    """Times and channels of each recording, and the labels.

    Raises:
        ValueError: the file asks for more than it can hold, or is in another layout. OSError, KeyError, TypeError, and
            others of the library: damage.
    """
    import h5py

    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    with h5py.File(stream, "r") as file:
        room = MOST * size + FREE
        found = []
        for name in ("spikes/times", "spikes/units"):
            rows, room = _rows(h5py, file[name], name, (size, room))
            found.append(rows)
        labels = file["labels"]
        _check(h5py, labels, "labels")
        if math.prod(labels.shape) * labels.dtype.itemsize > room:
            raise ValueError(f"labels: has shape {labels.shape}; a file of {size} bytes cannot hold that.")
        return found[0], found[1], np.asarray(labels)


def _check(h5py: Any, data: Any, name: str) -> None:
    if not isinstance(data, h5py.Dataset) or not data.shape:
        raise ValueError(f"{name}: is no array; expected one value for each recording.")
    if data.id.get_create_plist().get_external_count() or data.is_virtual:
        raise ValueError(f"{name}: its values are in another file; expected them in this one.")


def _rows(h5py: Any, data: Any, name: str, sizes: tuple[int, int]) -> tuple[list[np.ndarray], int]:
    """The recordings of an array, and the bytes that are left."""
    _check(h5py, data, name)
    (size, room), n = sizes, len(data)
    if n > (size + FREE) // (2 * REFERENCE) or math.prod(data.shape) * data.dtype.itemsize > MOST * size + FREE:
        raise ValueError(
            f"{name}: has shape {data.shape}; a file of {size} bytes holds at most "
            f"{(size + FREE) // (2 * REFERENCE)} recordings, and {MOST} times its size in values."
        )
    rows: list[np.ndarray] = []
    for start in range(0, n, BLOCK):
        block = list(data[start : start + BLOCK])
        room -= sum(np.asarray(row).nbytes for row in block)
        if room < 0:
            raise ValueError(f"{name}: has more than {MOST} times the {size} bytes of the file in values.")
        rows += block
    return rows, room
