"""One pass over a source, to learn its labels and its size, and to keep its samples where they fit into memory."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._util.errors import check_finite
from ..kernels.runtime import memory
from .sources import Arrays, BatchSource, once

SHARE = 4
"""Without a word from the user, samples are kept in memory if they take at most this part of what is free: 1/4."""


class Scanned(NamedTuple):
    """What one pass over a source saw; x only if it is kept."""

    x: Tensor | None
    y: Tensor
    lengths: Tensor | None
    shape: tuple[int, ...]
    dtype: torch.dtype


def scan(source: BatchSource, name: str, keep: bool | None, single: bool) -> Scanned:
    """One pass over a source: its labels, and its samples if these are to be kept; ``single``: there is no other."""
    if isinstance(source, Arrays):
        x, y, steps = source.batch
        _check_batch(name, x, [], y)
        return Scanned(None if keep is False else x, y, steps, tuple(x.shape), x.dtype)
    if single and keep is False:
        raise ValueError(once(name))
    room = math.inf if keep else 0 if keep is False else memory.available() // SHARE
    kept: list[Tensor] | None = None if keep is False else []
    labels: list[Tensor] = []
    lengths: list[Tensor] = []
    shape: tuple[int, ...] = ()
    held = 0
    for x, y, steps in source.read():
        padded = steps is not None
        if labels and (tuple(x.shape[2 if padded else 1 :]) != shape[1 if padded else 0 :]):
            raise ValueError(
                f"{name}: samples of shapes {shape} and {tuple(x.shape[1:])}; expected one shape, or the steps of each "
                f"sample as lengths, keys=(0, 1, 2)."
            )
        shape = tuple(max(pair) for pair in zip(x.shape[1:], shape)) if labels else tuple(x.shape[1:])
        _check_batch(name, x, labels, y)
        labels.append(y)
        lengths += [steps] if steps is not None else []
        size, held = x.nbytes // max(1, len(x)), held + x.nbytes
        if kept is not None and max(held, size * (source.n or 0)) > room:
            if single:
                raise ValueError(once(name))
            kept = None
        if kept is not None:
            kept.append(x)
        dtype = x.dtype
    if not labels:
        raise ValueError(f"{name}: got no samples; expected at least one.")
    y, n = torch.cat(labels), sum(map(len, labels))
    own = whole_numbers("lengths", torch.cat(lengths), n) if lengths else None
    return Scanned(None if kept is None else _filled(kept, n, shape), y, own, (n, *shape), dtype)


def _check_batch(name: str, x: Tensor, before: list[Tensor], y: Tensor) -> None:
    if before and (y.shape[1:] != before[0].shape[1:] or y.dtype != before[0].dtype):
        raise ValueError(
            f"{name}: labels of shape {tuple(y.shape[1:])} and type {y.dtype} after {tuple(before[0].shape[1:])} and "
            f"{before[0].dtype}; expected one kind."
        )
    if (x.is_floating_point() or x.is_complex()) and not bool(x.sum().isfinite()):  # or the sum alone is too large
        check_finite({f"{name}: samples": x})


def _filled(parts: list[Tensor], n: int, shape: tuple[int, ...]) -> Tensor:
    """All parts in one tensor, padded with 0 at the end of the steps; each is freed when it was copied."""
    if len(parts) == 1 and tuple(parts[0].shape[1:]) == shape:
        return parts[0]
    whole, start = parts[0].new_zeros(n, *shape), 0
    parts.reverse()
    while parts:
        part = parts.pop()
        whole[start : start + len(part), : part.shape[1]] = part
        start += len(part)
    return whole


def repeats(source: BatchSource) -> bool:
    """Whether the first samples are the same in two passes, each with another seed."""
    if isinstance(source, Arrays):
        return True
    order = [range(min(8, source.n or 8))] if source.indexed else None
    first, again = (next(source.read(order, seed), None) for seed in (0, 1))
    if first is None or again is None:
        raise ValueError(once("data"))
    return first.x.shape == again.x.shape and torch.equal(first.x, again.x) and torch.equal(first.y, again.y)


def whole_numbers(name: str, values: Any, n: int) -> Tensor:
    """Integers, one per sample, int64."""
    found = torch.as_tensor(values)
    if found.is_floating_point() or found.is_complex() or found.dtype == torch.bool or tuple(found.shape) != (n,):
        raise ValueError(
            f"{name}: got {found.dtype} of shape {tuple(found.shape)}; expected an integer for each of {n} samples."
        )
    return found.long().cpu()
