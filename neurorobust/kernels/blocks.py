"""Loops over blocks of rows, on several threads, and sums over what each block added up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .numba_loops import rows as row_loops
from .numba_loops.intrinsics import LANES
from .runtime.memory import empty
from .runtime.threads import SMALL, on_planned_threads, run_parallel

BLOCKS = 16
SMALLEST = 2**15  # numbers a block computes, below which starting it takes longer
PARTIAL_SUMS = 2**22  # the most numbers that blocks may add up apart from each other


def array(tensor: Tensor) -> np.ndarray:
    """The numbers of a tensor, contiguous."""
    return contiguous(tensor.detach() if tensor.requires_grad else tensor).numpy()


def contiguous(tensor: Tensor) -> Tensor:
    """``tensor.contiguous()``; a copy is made on as many threads as loops run on."""
    if tensor.is_contiguous():
        return tensor
    with on_planned_threads():
        return tensor.contiguous()


def blocks_of(rows: int, size: int, partial: int = 0, group: int = 1) -> np.ndarray:
    """Rows cut into blocks of whole groups: first row and end of each, (blocks, 2).

    ``size`` numbers are computed in all, and each block adds up ``partial`` numbers of its own. The cut depends on
    nothing but these, so results do not depend on the number of threads.
    """
    groups = -(-rows // group)
    return _cut(rows, groups, group, max(1, min(BLOCKS, groups, size // SMALLEST, PARTIAL_SUMS // max(partial, 1))))


def evenly(rows: int, most: int) -> int:
    """As many rows to a group, at most so many, that the groups are few and alike: 13 of 25 where 16 are the most."""
    return -(-rows // max(-(-rows // most), 1))


def rows_together(batch: int, listed: bool) -> int:
    """Rows of a batch that go back through time together: a vector of them by lists, four by a matrix."""
    return evenly(batch, LANES) if listed else row_loops.GROUP


@lru_cache(1024)
def _cut(rows: int, groups: int, group: int, blocks: int) -> np.ndarray:
    bounds = np.arange(blocks + 1, dtype=np.int64) * groups // blocks * group
    return np.minimum(np.stack([bounds[:-1], bounds[1:]], 1), rows)


def run_blocks(loop: Callable[..., bool], chips: int, blocks: np.ndarray, size: int, *rest: Any) -> None:
    """A loop over all chips and blocks of rows; ``size`` numbers are computed in all."""
    run_parallel(lambda team: loop(team, chips, blocks, *rest), chips * len(blocks), size)


def room_for_sums(shape: Sequence[int], dtype: torch.dtype) -> np.ndarray:
    """Room for the sums of each block, which the block clears itself: (chips, blocks, …)."""
    return empty(shape, dtype).numpy()


def total(sums: np.ndarray) -> Tensor:
    """The sum over the second axis, that of the blocks."""
    chips, n_blocks, *shape = sums.shape
    if n_blocks == 1:
        return torch.from_numpy(sums.reshape(chips, *shape))
    if sums.size < SMALL:
        return torch.from_numpy(sums.sum(1))
    out = empty((chips, *shape), torch.from_numpy(sums).dtype)
    flat, whole = sums.reshape(chips, n_blocks, -1), out.numpy().reshape(chips, -1)
    blocks = blocks_of(flat.shape[2], sums.size // max(chips, 1), group=row_loops.LINE)
    run_blocks(row_loops.total_blocks, chips, blocks, sums.size, flat, whole)
    return out
