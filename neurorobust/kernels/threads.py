"""Which threads the loops run on: torch's own OpenMP threads, called by compiled code.

After every operation of torch they go on spinning for some ms, so that threads of our own would find the cores taken;
and they never need the interpreter's lock, for which threads wait on each other's cores. Where OpenMP is not to be had,
and in a forked child, in which it would wait for its parent's threads for ever, threads of our own do the same work.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache

import numpy as np
import torch

SMALL = 30_000  # numbers to compute below which handing work to another thread costs more than it saves
# Of whatever has forked since; a child of multiprocessing's fork may be what imports this first.
_PARENT = -1 if type(multiprocessing.current_process()).__name__ == "ForkProcess" else os.getpid()
Crew = tuple[int, int, int, int, np.ndarray]


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


def spread(run: Callable[[Crew], bool], blocks: int, size: int) -> None:
    """Run compiled code on as many threads as torch may use.

    Args:
        run: is told the addresses of :func:`openmp`, or (0, 0), how many threads to start, the number of a thread of
            ours, and counters of the blocks that are taken; takes blocks until there is none; whether all went well.
            Releases the interpreter's lock.
        blocks: how many there are, fixed by the caller, so that results do not depend on the number of threads.
        size: how many numbers are computed in all.

    Raises:
        MemoryError: a block could not be done.
    """
    team = torch.get_num_threads()  # always all of them: a team of another size costs OpenMP its threads
    threads = min(team, blocks) if size >= SMALL else 1
    counters, addresses = np.zeros(threads, np.int64), openmp() if threads > 1 else (0, 0)
    crews = [(*addresses, team, index, counters) for index in range(1 if any(addresses) else threads)]
    others = [_pool().submit(run, crew) for crew in crews[1:]]
    try:
        well = [run(crews[0])]
    finally:
        wait(others)
    if not all([*well, *(other.result() for other in others)]):
        raise MemoryError(f"a loop over {size} numbers found no memory for what it needs besides its results.")
