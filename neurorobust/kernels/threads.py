"""Work spread over threads of our own: no OpenMP, no threading layer to choose, nothing that a fork could lock."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

SMALL = 30_000  # numbers to compute below which handing work to another thread costs more than it saves


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="neurorobust")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a child has none of its parent's threads


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

    others = [_pool().submit(run) for _ in range(threads - 1)]
    try:
        run()
    finally:
        for other in others:
            other.result()
