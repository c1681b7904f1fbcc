"""Memory of the loops' results, kept for the next one of its size.

Large arrays that go back to the system come from it again in the next step, to be cleared page by page, which takes as
long as the loops that fill them.
"""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections.abc import Sequence

import numpy as np
import psutil
import torch
from torch import Tensor

LINE = 64  # bytes of a line of a cache, at which every tensor begins
LEAST = 2**17  # bytes: what is smaller the allocator keeps by itself
KEPT = 2**28  # bytes that wait for their next use at most


class Store:
    """Arrays of bytes that nobody uses; the one that has waited longest goes first when they are too many."""

    def __init__(self) -> None:
        self.idle: list[np.ndarray] = []
        self.lock = threading.RLock()  # taken again by an array that the garbage collector ends while it is held

    def take(self, size: int) -> np.ndarray:
        """``size`` bytes with any content."""
        with self.lock:
            for i in range(len(self.idle) - 1, -1, -1):
                if self.idle[i].nbytes == size:
                    return self.idle.pop(i)
        return np.empty(size, np.uint8)

    def give(self, memory: np.ndarray) -> None:
        """Back again."""
        with self.lock:
            self.idle.append(memory)
            while sum(one.nbytes for one in self.idle) > KEPT:
                del self.idle[0]


_store = Store()


def _unlock() -> None:
    """In a forked child, where nobody is left to open what another thread had locked."""
    _store.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


def available() -> int:
    """Bytes that can be had without swapping."""
    return int(psutil.virtual_memory().available)


def empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A tensor with any content; its memory goes to the next that asks for as much once no tensor or array sees it.

    It is numpy's, which asks the system for huge pages.
    """
    kind = np.dtype(np.float32 if dtype == torch.float32 else np.float64)
    size = math.prod(shape) * kind.itemsize
    if size < LEAST:
        return torch.from_numpy(np.empty(tuple(shape), kind))
    memory = _store.take(size + LINE)
    start = -memory.ctypes.data % LINE
    array = memory[start : start + size].view(kind).reshape(tuple(shape))
    weakref.finalize(array, _store.give, memory).atexit = False
    return torch.from_numpy(array)
