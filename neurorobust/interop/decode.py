"""Decoders from the output of a spiking network over time to logits; each takes (T, B, n), or (spikes, …, membrane)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

Output = Tensor | tuple[Tensor, ...]


def spike_count(output: Output) -> Tensor:
    """Spikes of each output neuron, summed over time: (B, n); as in ``snntorch.functional.ce_count_loss``."""
    return _first(output).sum(0)


def spike_rate(output: Output) -> Tensor:
    """Spikes of each output neuron per step: (B, n)."""
    return _first(output).mean(0)


def mean_membrane(output: Output) -> Tensor:
    """Membrane of each output neuron, averaged over time: (B, n)."""
    return _membrane(output).mean(0)


def max_membrane(output: Output) -> Tensor:
    """The highest membrane of each output neuron: (B, n)."""
    return _membrane(output).amax(0)


def last_membrane(output: Output) -> Tensor:
    """The membrane of each output neuron after the last step: (B, n)."""
    return _membrane(output)[-1]


def every_step(output: Output) -> Tensor:
    """The output of every step, batch first: (B, T, n), for labels or targets per step."""
    return _first(output).transpose(0, 1)


def _first(output: Output) -> Tensor:
    return _part(output, 0) if isinstance(output, tuple) else _over_time(output)


def _membrane(output: Output) -> Tensor:
    if isinstance(output, Tensor):
        raise ValueError(
            "decode: the network gives spikes alone; its last neuron needs output=True to give its membrane too, or "
            "decode with spike_count."
        )
    return _part(output, -1) if isinstance(output, tuple) else _over_time(output)


def _part(output: tuple, position: int) -> Tensor:
    """One of the network's outputs, of which each is a tensor over time or a list with an entry for each step."""
    part = output[position] if output else None
    return torch.stack(part) if isinstance(part, list) and _are_steps(part) else _over_time(part)


def _over_time(output: Any) -> Tensor:
    if isinstance(output, Tensor) and output.ndim > 2:
        return output
    got = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
    raise TypeError(
        f"decode: the network gives {got}; expected spikes over time (T, B, …), or a tuple of spikes and membranes. "
        f"torch.stack makes one tensor of a list; decode=lambda output: output takes logits as they are."
    )


def _are_steps(part: list) -> bool:
    return len(part) > 0 and all(isinstance(step, Tensor) and step.shape == part[0].shape for step in part)
