"""Decoders from the output of a spiking network over time to logits; each takes (T, B, n), or (spikes, …, membrane)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .._util.errors import check_count

Output = Tensor | tuple[Tensor, ...]


def spike_count(output: Output) -> Tensor:
    """Spikes of each output neuron, summed over time: (B, n); as in ``snntorch.functional.ce_count_loss``.

    Example:
        >>> spikes = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]]])  # three steps, one sample, two neurons
        >>> nr.interop.decode.spike_count((spikes, spikes)).tolist()  # (spikes, membranes), as snnTorch returns them
        [[2.0, 1.0]]
    """
    return _first(output).sum(0)


def spike_rate(output: Output) -> Tensor:
    """Spikes of each output neuron per step: (B, n).

    Example:
        >>> spikes = torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 0.0]]])  # four steps
        >>> nr.interop.decode.spike_rate((spikes, spikes)).tolist()
        [[0.5, 0.25]]
    """
    return _first(output).mean(0)


def mean_membrane(output: Output) -> Tensor:
    """Membrane of each output neuron, averaged over time: (B, n).

    Example:
        >>> membranes = torch.tensor([[[0.0, 1.0]], [[0.5, 0.5]], [[1.0, 0.0]]])  # three steps, one sample, two neurons
        >>> nr.interop.decode.mean_membrane((torch.zeros(3, 1, 2), membranes)).tolist()
        [[0.5, 0.5]]
    """
    return _membrane(output).mean(0)


def max_membrane(output: Output) -> Tensor:
    """The highest membrane of each output neuron: (B, n).

    Example:
        >>> membranes = torch.tensor([[[0.0, 1.0]], [[0.5, 0.5]], [[1.0, 0.0]]])  # three steps, one sample, two neurons
        >>> nr.interop.decode.max_membrane((torch.zeros(3, 1, 2), membranes)).tolist()
        [[1.0, 1.0]]
    """
    return _membrane(output).amax(0)


def last_membrane(output: Output) -> Tensor:
    """The membrane of each output neuron after the last step: (B, n).

    Example:
        >>> membranes = torch.tensor([[[0.0, 1.0]], [[0.5, 0.5]], [[1.0, 0.0]]])  # three steps, one sample, two neurons
        >>> nr.interop.decode.last_membrane((torch.zeros(3, 1, 2), membranes)).tolist()
        [[1.0, 0.0]]
    """
    return _membrane(output)[-1]


def every_step(output: Output) -> Tensor:
    """The output of every step, batch first: (B, T, n), for labels or targets per step.

    Example:
        >>> output = torch.tensor([[[0.0, 1.0]], [[0.5, 0.5]], [[1.0, 0.0]]])  # three steps, one sample, two neurons
        >>> nr.interop.decode.every_step(output).shape
        torch.Size([1, 3, 2])
    """
    return _first(output).transpose(0, 1)


def logits(output: Output) -> Tensor:
    """The output as it is, or the first of several, of networks that give logits (B, n) themselves.

    Example:
        >>> nr.interop.decode.logits((torch.tensor([[2.0, 1.0]]), None)).tolist()
        [[2.0, 1.0]]
    """
    return as_tuple(output)[0] if isinstance(output, tuple | Mapping) else output


@dataclass(frozen=True)
class Population:
    """Each class is the sum of its own output neurons: as ``population_code=True`` in ``snntorch.functional``.

    Neurons 0 … k − 1 belong to class 0, the next k to class 1: (B, n_classes · k) → (B, n_classes).

    Args:
        n_classes: number of classes. decode: from the output to a value per neuron; :func:`spike_count` by default.

    Raises:
        ValueError: ``n_classes`` is below 1, or does not divide the number of neurons.

    Example:
        >>> spikes = torch.ones(3, 1, 6)  # three steps, one sample, six neurons: three for each class
        >>> nr.interop.decode.Population(2)((spikes, spikes)).tolist()
        [[9.0, 9.0]]
    """

    n_classes: int
    decode: Callable[[Output], Tensor] = spike_count

    def __post_init__(self) -> None:
        check_count("n_classes", self.n_classes)

    def __call__(self, output: Output) -> Tensor:
        values = self.decode(output)
        if values.shape[-1] % self.n_classes:
            raise ValueError(
                f"decode: {values.shape[-1]} output neurons; expected a multiple of n_classes (={self.n_classes})."
            )
        return values.unflatten(-1, (self.n_classes, -1)).sum(-1)


def as_tuple(output: Any) -> tuple[Any, ...]:
    """The parts of an output: a tuple, a list of several outputs, a dictionary's values, or one; lists with an entry
    per step are stacked."""
    if isinstance(output, Mapping):
        output = tuple(output.values())
    if isinstance(output, list) and not (_are_steps(output) and output[0].ndim == 2):
        output = tuple(output)
    parts = output if isinstance(output, tuple) else (output,)
    return tuple(torch.stack(part) if isinstance(part, list) and _are_steps(part) else part for part in parts)


MEMBRANES = (mean_membrane, max_membrane, last_membrane)


def _first(output: Output) -> Tensor:
    return _over_time(as_tuple(output)[0])


def _membrane(output: Output) -> Tensor:
    return _over_time(as_tuple(output)[-1])


def _over_time(output: Any) -> Tensor:
    if isinstance(output, Tensor) and output.ndim > 2:
        return output
    got = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
    raise TypeError(
        f"decode: the network gives {got}; expected spikes over time (T, B, …), or a tuple of spikes and membranes. "
        f"decode=nr.interop.decode.logits takes logits as they are."
    )


def _are_steps(part: list) -> bool:
    return len(part) > 0 and all(isinstance(step, Tensor) and step.shape == part[0].shape for step in part)
