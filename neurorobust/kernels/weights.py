"""A weight as the loops take it: a matrix, or the targets of every source; and its gradient."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .blocks import array, contiguous, room_for_sums, total
from .numba_loops.records import Targets, Weights, WeightSums


def targets_of(weight: Tensor, lists: Tensor, n_in: int) -> Targets:
    """The lists of a sparse weight (c, k); empty ones of a matrix."""
    if not len(lists):
        nothing = np.empty((1, 0), array(weight[:0]).dtype)
        return Targets(np.empty(0, np.int32), np.empty((1, 0), np.int32), nothing)
    starts, places = lists.numpy()[: n_in + 1], lists.numpy()[n_in + 1 :]
    return Targets(starts, places[None], array(weight))


def weights_of(weight: Tensor, lists: Tensor, n_in: int, n_out: int) -> Weights:
    """A weight (c, n_out, n_in), or (c, k) with lists, by source."""
    rows = np.empty((0, n_in, n_out), array(weight[:0]).dtype) if len(lists) else array(weight.mT)
    return Weights(rows, targets_of(weight, lists, n_in))


def by_sign(targets: Targets, n_out: int) -> Targets:
    """The same for what arrives in two halves, excitation, then inhibition: sizes of weights, and places by sign."""
    if not len(targets.starts):
        return targets
    places = (targets.places + n_out * (targets.values < 0)).astype(np.int32)
    return Targets(targets.starts, places, np.abs(targets.values))


def partial_sums(weight: Tensor, lists: Tensor, whole: int) -> int:
    """How many numbers of a weight's gradient a block adds up: ``whole`` of a matrix."""
    return weight.shape[-1] if len(lists) else whole


def room_for_weight(
    blocks: tuple[int, int], shape: tuple[int, int], targets: Targets, dtype: torch.dtype
) -> WeightSums:
    """Room for the gradient of a weight with so many rows and columns, or of lists; none for no rows."""
    n_in, n_out = shape
    listed = len(targets.starts) > 0 and n_in > 0
    rows = (*blocks, n_in, n_out) if n_in and not listed else (1, 1, 0, n_out)
    values = (*blocks, targets.values.shape[1]) if listed else (1, 1, 0)
    return WeightSums(room_for_sums(rows, dtype), room_for_sums(values, dtype))


def gradient_of(sums: WeightSums, targets: Targets) -> Tensor:
    """The gradient of a weight (c, n_out, n_in), or (c, k) with lists."""
    return total(sums.values) if len(targets.starts) else contiguous(total(sums.rows).mT)


def signed_gradient(weight: Tensor, excitation: Tensor, inhibition: Tensor) -> Tensor:
    """The gradient of weights from those of their sizes: that of inhibition, negative, for a weight below 0.

    By bits: torch's ``where`` takes ten times as long where signs are in no order.
    """
    kind: np.dtype = np.dtype(np.int32 if excitation.dtype == torch.float32 else np.int64)
    below = -np.less(weight.detach().numpy(), 0).astype(kind)  # all bits or none
    of_positive, of_negative = (part.numpy().view(kind) for part in (excitation, inhibition.neg()))
    bits: np.ndarray = of_positive ^ ((of_positive ^ of_negative) & below)
    return torch.from_numpy(bits.view(excitation.numpy().dtype))
