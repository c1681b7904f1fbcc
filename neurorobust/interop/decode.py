"""Decoders from the output of a spiking network over time to logits; each takes (T, B, n), or (spikes, …, membrane)."""

from __future__ import annotations

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
    if not isinstance(output, Tensor | tuple | list):
        raise TypeError(f"decode: the network gives a {type(output).__name__}; expected spikes or a tuple of them.")
    return output if isinstance(output, Tensor) else output[0]


def _membrane(output: Output) -> Tensor:
    if isinstance(output, Tensor):
        raise ValueError(
            "decode: the network gives spikes alone; its last neuron needs output=True to give its membrane too, or "
            "decode with spike_count."
        )
    return output[-1]
