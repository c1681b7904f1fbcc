"""SHA-256 of samples and labels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from .._util import digests
from .samples import Samples


def data_sha256(data: Samples) -> str:
    """SHA-256 of samples and labels: for x, then y, the name, shape and type, and the bytes."""
    digest = hashlib.sha256()
    feed(digest.update, data, named=True)
    return digest.hexdigest()


def feed(update: Callable[[bytes | memoryview], object], data: Samples, *, named: bool) -> None:
    """Give x, then y to the update of a hash: shape and type, after the name if they are named, and the bytes."""
    for name, (shape, dtype, pieces) in data.tensors().items():
        update(f"{name} {shape} {dtype}".encode() if named else f"{shape} {dtype}".encode())
        for piece in pieces:
            update(digests.bytes_of(piece))
