"""Decoders: from the last layer's output over time (T, B, n) to logits."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..core.noise import INPUT as INPUT

Decode = Callable[[Tensor], Tensor]


def mean_over_time(output: Tensor) -> Tensor:
    """(T, B, n) → (B, n): the mean over the steps.

    Example:
        >>> output = torch.tensor([[[1.0]], [[5.0]], [[3.0]]])  # three steps, one sample, one read-out
        >>> nr.nn.mean_over_time(output).tolist()
        [[3.0]]
    """
    return output.mean(0)


def sum_over_time(output: Tensor) -> Tensor:
    """(T, B, n) → (B, n): the sum over the steps; of a spiking layer, its spike counts.

    Example:
        >>> output = torch.tensor([[[1.0]], [[5.0]], [[3.0]]])  # three steps, one sample, one read-out
        >>> nr.nn.sum_over_time(output).tolist()
        [[9.0]]
    """
    return output.sum(0)


def max_over_time(output: Tensor) -> Tensor:
    """(T, B, n) → (B, n): the largest value of each read-out over the steps.

    Example:
        >>> output = torch.tensor([[[1.0]], [[5.0]], [[3.0]]])  # three steps, one sample, one read-out
        >>> nr.nn.max_over_time(output).tolist()
        [[5.0]]
    """
    return output.amax(0)


def last_step(output: Tensor) -> Tensor:
    """(T, B, n) → (B, n): the last step alone.

    Example:
        >>> output = torch.tensor([[[1.0]], [[5.0]], [[3.0]]])  # three steps, one sample, one read-out
        >>> nr.nn.last_step(output).tolist()
        [[3.0]]
    """
    return output[-1]


def per_step(output: Tensor) -> Tensor:
    """(T, B, n) → (B, T, n): every step, for sequence tasks.

    Example:
        >>> output = torch.tensor([[[1.0]], [[5.0]], [[3.0]]])  # three steps, one sample, one read-out
        >>> nr.nn.per_step(output).tolist()
        [[[1.0], [5.0], [3.0]]]
    """
    return output.transpose(0, 1)


DECODERS = (mean_over_time, sum_over_time, max_over_time, last_step, per_step)
