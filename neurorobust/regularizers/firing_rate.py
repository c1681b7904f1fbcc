"""A penalty on firing rates far from a target."""

from __future__ import annotations

from typing import Self

from torch import Tensor

from .._util.errors import check_number, unknown
from .regularizer import Criterion, Regularizer, Step, as_regularizer


class FiringRate(Regularizer):
    """L = inner + strength · Σ_samples Σ_neurons (rate − target)², rates in spikes per step of one sample.

    The sum over samples is the paper's (arXiv 2106.05009: strength 0.001, target 10/1000).

    Args:
        inner: loss(logits, y) or another regularizer.
        layer: the layer whose spikes count.
        target: spikes per step and neuron.
        strength: weight of the term, ≥ 0.

    Raises:
        ValueError: ``target`` or ``strength`` is negative or not finite.

    Example:
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> batch = torch.zeros(2, 20, 32), torch.tensor([0, 1])  # no input, no spikes: every rate misses its target
        >>> loss = nr.regularizers.FiringRate(lambda logits, y: logits.sum() * 0, "hidden", target=0.01, strength=1.0)
        >>> value = loss(network, dict(network.named_parameters()), batch, torch.Generator())
        >>> round(value.item(), 4)  # 2 samples · 128 neurons · 0.01²
        0.0256
    """

    def __init__(self, inner: Criterion | Regularizer, layer: str, target: float = 0.01, strength: float = 1e-3):
        self.inner = as_regularizer(inner)
        self.layer = layer
        self.target = check_number("target", target)
        self.strength = check_number("strength", strength)

    @classmethod
    def example(cls, inner: Criterion | Regularizer, strength: float = 1.0) -> Self:
        return cls(inner, "hidden", 0.1, strength)

    def total(self, step: Step) -> Tensor:
        if self.layer not in step.clean[1]:
            raise unknown("layer", self.layer, step.clean[1])
        rates = step.clean[1][self.layer].mean(0)
        return self.inner.total(step) + self.strength * (rates - self.target).square().sum()
