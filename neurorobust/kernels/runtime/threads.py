"""The threads that the loops run on: torch's own OpenMP threads, called by compiled code.

torch's threads spin for some ms after every operation, so threads of our own would find the cores taken; and they never
need the interpreter's lock. Threads of our own do the same work where there is no OpenMP, and in a forked child, where
OpenMP would wait for ever for the threads of its parent.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from typing import NamedTuple

import numpy as np
import torch

SMALL = 30_000  # numbers to compute below which handing work to another thread costs more than it saves
# Of whatever has forked since; a child of multiprocessing's fork may be what imports this first.
_PARENT = -1 if type(multiprocessing.current_process()).__name__ == "ForkProcess" else os.getpid()


class Team(NamedTuple):
    """The data that one thread gets before it takes blocks; see
    :func:`~neurorobust.kernels.numba_loops.intrinsics.parallel_for`.

    Attributes:
        start, thread_number: addresses of OpenMP's ``GOMP_parallel`` and ``omp_get_thread_num``; both 0 to run on the
            calling thread alone.
        n_threads: how many threads OpenMP starts. number: that of this thread where it runs alone.
        counters: how many blocks of each thread's stretch are taken.
    """

    start: int
    thread_number: int
    n_threads: int
    number: int
    counters: np.ndarray


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="neurorobust")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a child has none of its parent's threads


@cache
def _found() -> tuple[int, int]:
    """Where ``GOMP_parallel(body, data, threads, flags)``, which runs ``body(data)`` on so many threads, and
    ``omp_get_thread_num()`` are in the OpenMP library that torch has loaded; (0, 0) if there is none."""
    try:
        library = ctypes.CDLL(torch._C.__file__)
        functions = library.GOMP_parallel, library.omp_get_thread_num
    except (AttributeError, OSError):
        return 0, 0
    start, who = (ctypes.cast(function, ctypes.c_void_p).value or 0 for function in functions)
    return start, who


def openmp() -> tuple[int, int]:
    """The addresses to call, or (0, 0) if threads of our own have to do it."""
    return _found() if os.getpid() == _PARENT else (0, 0)


def run_parallel(run: Callable[[Team], bool], blocks: int, size: int) -> None:
    """Run compiled code on as many threads as torch may use.

    Args:
        run: takes blocks until none is left; returns whether all went well. Releases the interpreter's lock.
        blocks: how many there are, fixed by the caller, so that results do not depend on the number of threads.
        size: how many numbers are computed in all.

    Raises:
        MemoryError: a block could not be done.
    """
    n_threads = torch.get_num_threads()  # always all of them: another number costs OpenMP its threads
    used = min(n_threads, blocks) if size >= SMALL else 1
    counters, addresses = np.zeros(used, np.int64), openmp() if used > 1 else (0, 0)
    teams = [Team(*addresses, n_threads, number, counters) for number in range(1 if any(addresses) else used)]
    others = [_pool().submit(run, team) for team in teams[1:]]
    try:
        done = [run(teams[0])]
    finally:
        wait(others)
    if not all([*done, *(other.result() for other in others)]):
        raise MemoryError(f"a loop over {size} numbers found no memory for what it needs besides its results.")
