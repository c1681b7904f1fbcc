"""Work spread over threads of our own: no threading layer to choose, nothing that a fork could lock.

After every parallel operation torch's OpenMP threads go on spinning for some ms and would keep the cores from ours, so
they are sent to rest before work is handed out; torch gets them back with its next operation (0.04 ms).
"""

from __future__ import annotations

import ctypes
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch

SMALL = 30_000  # numbers to compute below which handing work to another thread costs more than it saves
SOFT = 1  # omp_pause_soft
_PARENT = os.getpid()  # of whatever has forked since


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="neurorobust")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a child has none of its parent's threads


@cache
def _pause() -> Callable[[int], int] | None:
    """``omp_pause_resource_all`` (OpenMP 5.0) of the library that torch has loaded; None if there is none."""
    try:
        found: Any = ctypes.CDLL(torch._C.__file__).omp_pause_resource_all
    except (AttributeError, OSError):
        return None
    found.restype, found.argtypes = ctypes.c_int, (ctypes.c_int,)
    return found


def rests() -> bool:
    """Whether torch's threads can be sent to rest: not in a forked child, which would wait for its parent's."""
    return os.getpid() == _PARENT and _pause() is not None


def spread(work: Callable[[int], None], blocks: int, size: int) -> None:
    """work(0), …, work(blocks − 1) on as many threads as torch may use, in any order.

    Args:
        work: of one block; releases the interpreter's lock while it is busy.
        blocks: fixed by the caller, so that results do not depend on the number of threads.
        size: how many numbers are computed in all.
    """
    threads = min(torch.get_num_threads(), blocks) if size >= SMALL else 1
    numbers = itertools.count()

    def run() -> None:
        while (block := next(numbers)) < blocks:
            work(block)

    pause = _pause()
    if threads > 1 and pause is not None and rests():
        pause(SOFT)
    others = [_pool().submit(run) for _ in range(threads - 1)]
    try:
        run()
    finally:
        for other in others:
            other.result()
