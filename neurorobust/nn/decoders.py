"""Decoders: from the last layer's output over time (T, B, n) to logits."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..core.noise import INPUT as INPUT

Decode = Callable[[Tensor], Tensor]


def mean_over_time(output: Tensor) -> Tensor:
    """(T, B, n) → (B, n): the mean over the steps."""
    return output.mean(0)


def sum_over_time(output: Tensor) -> Tensor:
    """(T, B, n) → (B, n): the sum over the steps; of a spiking layer, its spike counts."""
    return output.sum(0)


def max_over_time(output: Tensor) -> Tensor:
    """(T, B, n) → (B, n): the largest value of each read-out over the steps."""
    return output.amax(0)


def last_step(output: Tensor) -> Tensor:
    """(T, B, n) → (B, n): the last step alone."""
    return output[-1]


def per_step(output: Tensor) -> Tensor:
    """(T, B, n) → (B, T, n): every step, for sequence tasks."""
    return output.transpose(0, 1)


DECODERS = (mean_over_time, sum_over_time, max_over_time, last_step, per_step)
