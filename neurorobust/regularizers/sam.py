"""Sharpness-aware minimisation."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from .._util.errors import check_number
from .coordinates import shifted, trained, value_and_grad
from .regularizer import Criterion, Regularizer, Step, as_regularizer


class SAM(Regularizer):
    """The inner loss at the nearby point where it is highest to first order; two passes.

    ::

        L(θ + ε),    ε = radius · g / ‖g‖₂,    g = ∇L(θ) over all trained parameters together, ε held constant

    Foret et al. 2021, arXiv 2010.01412, with p = 2. Positive kinds move in their logarithm. Batch norms count the pass
    at θ.

    Args:
        inner: loss(logits, y) or another regularizer.
        radius: ρ, ≥ 0, absolute.

    Raises:
        ValueError: ``radius`` is negative or not finite.

    Example:
        >>> layer = nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(layer.weight)
        >>> model, batch = nr.wrap(layer), (torch.tensor([[1.0, 0.8]]), torch.tensor([0]))
        >>> loss = nr.regularizers.SAM(nn.functional.cross_entropy, radius=0.1)
        >>> params, generator = dict(model.named_parameters()), torch.Generator().manual_seed(0)
        >>> round(loss(model, params, batch, generator).item(), 3)  # plain: 0.598
        0.684
    """

    def __init__(self, inner: Criterion | Regularizer, radius: float = 0.05):
        self.inner = as_regularizer(inner)
        self.radius = check_number("radius", radius)

    @classmethod
    def example(cls, inner: Criterion | Regularizer, strength: float = 1.0) -> Self:
        return cls(inner, 0.05 * strength)

    def total(self, step: Step) -> Tensor:
        if not self.radius or not trained(step.params):
            return self.inner.total(step)
        _, gradient = value_and_grad(self.inner, step, {})
        norm = torch.stack([value.square().sum() for value in gradient.values()]).sum().sqrt()
        norm = norm.clamp(min=torch.finfo(norm.dtype).tiny)
        shift = {name: self.radius / norm * value for name, value in gradient.items()}
        return self.inner.total(step.at(shifted(step.params, shift)))
