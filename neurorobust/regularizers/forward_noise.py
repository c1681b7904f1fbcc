"""Training under random mismatch."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from .._util.errors import check_number
from ..core.apply import apply
from ..core.params import ABSOLUTE, KINDS, kind_of
from ..core.placement import expand
from .regularizer import Criterion, Regularizer, Step, as_regularizer


class ForwardNoise(Regularizer):
    """The inner loss at apply(θ, δ), δ = level · N(0, 1) fresh for every batch and every neuron and synapse.

    On signed kinds this is the forward noise θ + abs(θ)·level·R of arXiv 2106.05009, except that the gradient also
    flows through abs(θ), as for every other deviation here. Absolute kinds do not deviate: a relative level is not
    defined for them.

    Raises:
        ValueError: ``level`` is negative or not finite.

    Example:
        >>> layer = nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(layer.weight)
        >>> model, batch = nr.wrap(layer), (torch.tensor([[1.0, 0.8]]), torch.tensor([0]))
        >>> loss = nr.regularizers.ForwardNoise(nn.functional.cross_entropy, level=0.3)
        >>> params, generator = dict(model.named_parameters()), torch.Generator().manual_seed(0)
        >>> [round(loss(model, params, batch, generator).item(), 2) for _ in range(3)]  # new errors each time
        [0.46, 0.87, 0.72]
    """

    def __init__(self, inner: Criterion | Regularizer, level: float):
        self.inner = as_regularizer(inner)
        self.level = check_number("level", level)

    @classmethod
    def example(cls, inner: Criterion | Regularizer, strength: float = 1.0) -> Self:
        return cls(inner, 0.3 * strength)

    def total(self, step: Step) -> Tensor:
        deviations = {
            name: self.level * torch.randn(value.shape, generator=step.generator, dtype=value.dtype).to(value.device)
            for name, value in expand(step.params, step.placement).items()
            if kind_of(name) in KINDS - ABSOLUTE
        }
        return self.inner.total(step.at(apply(step.params, deviations, step.placement)))
