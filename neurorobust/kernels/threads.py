"""Work spread over the threads that torch runs on.

After every operation of torch its OpenMP threads go on spinning for some ms, so that threads of our own would find the
cores taken. Where OpenMP is not to be had, and in a forked child, in which it would wait for its parent's threads for
ever, threads of our own do the work.
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
_Body = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_PARENT = os.getpid()  # of whatever has forked since


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="neurorobust")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a child has none of its parent's threads


@cache
def _parallel() -> Callable[..., None] | None:
    """``GOMP_parallel(body, data, threads, flags)``, which runs ``body(data)`` on each of so many threads, of the
    library that torch has loaded; None if there is none."""
    try:
        found: Any = ctypes.CDLL(torch._C.__file__).GOMP_parallel
    except (AttributeError, OSError):
        return None
    found.restype, found.argtypes = None, (_Body, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)
    return found


def kind() -> str:
    """Whose threads they are, for people."""
    return "torch's OpenMP threads" if _parallel() and os.getpid() == _PARENT else "own threads, no OpenMP"


def spread(work: Callable[[int], None], blocks: int, size: int) -> None:
    """work(0), …, work(blocks − 1) on as many threads as torch may use, in any order.

    Args:
        work: of one block; releases the interpreter's lock while it is busy.
        blocks: fixed by the caller, so that results do not depend on the number of threads.
        size: how many numbers are computed in all.
    """
    threads = min(torch.get_num_threads(), blocks) if size >= SMALL else 1
    numbers = itertools.count()
    failed: list[BaseException] = []

    def run(_: object = None) -> None:
        try:
            while not failed and (block := next(numbers)) < blocks:
                work(block)
        except BaseException as error:  # nothing may leave a function that C calls
            failed.append(error)

    _run(run, threads)
    if failed:
        raise failed[0]


def _run(run: Callable[..., None], threads: int) -> None:
    """run() on so many threads at once, the caller's among them."""
    parallel = _parallel() if threads > 1 and os.getpid() == _PARENT else None
    if parallel is not None:
        parallel(_Body(run), None, threads, 0)
        return
    others = [_pool().submit(run) for _ in range(threads - 1)]
    run()
    for other in others:
        other.result()
