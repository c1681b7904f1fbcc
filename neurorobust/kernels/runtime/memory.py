"""Memory of the loops' results, kept for the next result of the same size.

Large arrays that go back to the system come from it again in the next step, to be cleared page by page, which takes as
long as the loops that fill them.
"""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import psutil
import torch
from torch import Tensor

LINE = 64  # bytes of a line of a cache, at which a tensor of LEAST bytes or more begins
LEAST = 2**17  # bytes: what is smaller the allocator keeps by itself
KEPT = 2**28  # bytes that wait for their next use at most
_KINDS: dict[torch.dtype, np.dtype] = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}
CONTROL = Path("/sys/fs/cgroup")


class BufferPool:
    """Arrays of bytes that nobody uses; the oldest go first when they are too many."""

    def __init__(self) -> None:
        self.returned: deque[np.ndarray] = deque()  # by whoever ends an array, perhaps in the middle of take()
        self.idle: list[np.ndarray] = []
        self.lock = threading.Lock()

    def take(self, size: int) -> np.ndarray:
        """``size`` bytes with any content."""
        with self.lock:
            self._gather()
            for i in range(len(self.idle) - 1, -1, -1):
                if self.idle[i].nbytes == size:
                    return self.idle.pop(i)
        return np.empty(size, np.uint8)

    def _gather(self) -> None:
        while self.returned:
            self.idle.append(self.returned.popleft())
        while sum([one.nbytes for one in self.idle]) > KEPT:
            del self.idle[0]

    def give(self, memory: np.ndarray) -> None:
        """Back again; what would fill the pool alone goes back to the system."""
        if memory.nbytes <= KEPT:
            self.returned.append(memory)
        if not self.lock.locked():  # else whoever holds it, this thread perhaps, or the next gathers it
            with self.lock:  # no acquire(): a signal behind it would leave the lock closed for good
                self._gather()


_pool = BufferPool()


class _Lease(weakref.ref):
    """What gives the memory of an array back at its end; ``weakref.finalize`` takes twice as long to make."""

    __slots__ = ("memory", "pool")
    memory: np.ndarray
    pool: BufferPool  # by itself: at the end of the program globals go before the last array
    open: ClassVar[dict[int, _Lease]] = {}

    @classmethod
    def start(cls, array: np.ndarray, memory: np.ndarray) -> None:
        lease = cls(array, cls.end)
        lease.memory, lease.pool = memory, _pool
        cls.open[id(lease)] = lease

    def end(self) -> None:
        del self.open[id(self)]
        self.pool.give(self.memory)


def _unlock() -> None:
    """In a forked child, where nobody is left to open what another thread had locked."""
    _pool.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


def available() -> int:
    """Bytes that can be had without swapping, of the machine and of the container (cgroup, version 2)."""
    free = int(psutil.virtual_memory().available)
    try:
        most, used = (int((CONTROL / name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # there is none, or it has no limit ("max")
        return free
    return min(free, max(most - used, 0))


def empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A tensor with any content; its memory goes to the next that asks for as much once no tensor or array uses it.

    It is numpy's, which asks the system for huge pages, and so cannot be resized.
    """
    kind = _KINDS[dtype]
    size = math.prod(shape) * kind.itemsize
    if size < LEAST:
        return torch.from_numpy(np.empty(shape, kind))
    memory = _pool.take(size + LINE)
    array = np.ndarray(shape, kind, memory, -torch.from_numpy(memory).data_ptr() % LINE)
    _Lease.start(array, memory)
    return torch.from_numpy(array)
