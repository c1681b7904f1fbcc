"""Adversarial block coordinate descent."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from .._util.errors import check_count, check_number
from ..core.params import ABOVE_ZERO, kind_of
from .coordinates import shifted, trained, value_and_grad
from .regularizer import Criterion, Regularizer, Step, as_regularizer


class ABCD(Regularizer):
    """Gradient ascent in some coordinates, descent from there in the others; 2 · rounds passes.

    ::

        p ← clip(p + rate · m · ∇L(θ + p), ± radius · abs(θ))       m[i] = 1 with probability ``share``, else 0
        L_total = mean over the rounds of L(θ + p), differentiated in the coordinates with m = 0

    p starts at 0 and each round draws its own m, for every element of every trained parameter; a positive kind moves in
    its logarithm, by at most ``radius``. The rival of arXiv 2106.05009 (their rate: 0.001, their rounds: 2).

    Differences from the authors' code. Here p is discarded after the batch; there the ascent stays in θ. Here one step
    of the caller's optimizer uses the mean gradient of the rounds; there each round has its own Adam step. Here p is
    clipped about θ; there about itself, which has no effect.

    Args:
        inner: loss(logits, y) or another regularizer.
        rate: of the ascent. radius: limit of p, relative. rounds: L. share: of the coordinates that ascend, < 1.

    Raises:
        ValueError: ``rate`` or ``radius`` is negative, ``rounds`` below 1, or ``share`` outside 0 ≤ share < 1.

    Example:
        >>> layer = nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(layer.weight)
        >>> model, batch = nr.wrap(layer), (torch.tensor([[1.0, 0.8]]), torch.tensor([0]))
        >>> loss = nr.regularizers.ABCD(nn.functional.cross_entropy, rate=0.1)
        >>> params, generator = dict(model.named_parameters()), torch.Generator().manual_seed(0)
        >>> round(loss(model, params, batch, generator).item(), 3)  # plain: 0.598
        0.643
    """

    def __init__(
        self,
        inner: Criterion | Regularizer,
        rate: float = 1e-3,
        radius: float = 0.1,
        *,
        rounds: int = 2,
        share: float = 0.5,
    ):
        self.inner = as_regularizer(inner)
        self.rate = check_number("rate", rate)
        self.radius = check_number("radius", radius)
        self.rounds = check_count("rounds", rounds)
        share = check_number("share", share)
        if share >= 1:
            raise ValueError(f"share: got {share}; expected a fraction ≥ 0 and < 1.")
        self.share = float(share)

    @classmethod
    def example(cls, inner: Criterion | Regularizer, strength: float = 1.0) -> Self:
        return cls(inner, 1.0, share=0.5 * strength)

    def total(self, step: Step) -> Tensor:
        constant = {name: step.params[name].detach() for name in trained(step.params)}
        if not constant or not self.share:
            return self.inner.total(step)
        shift = {name: torch.zeros_like(value) for name, value in constant.items()}
        losses = []
        for _ in range(self.rounds):
            ascends = {
                name: (torch.rand(value.shape, generator=step.generator, dtype=torch.float32) < self.share).to(
                    value.device
                )
                for name, value in constant.items()
            }
            _, gradient = value_and_grad(self.inner, step, shift)
            for name, value in constant.items():
                end = self.radius * (torch.ones_like(value) if kind_of(name) in ABOVE_ZERO else value.abs())
                raised = torch.where(ascends[name], shift[name] + self.rate * gradient[name], shift[name])
                shift[name] = torch.clamp(raised, -end, end)
            here = shifted(step.params, shift)
            here |= {name: torch.where(up, here[name].detach(), here[name]) for name, up in ascends.items()}
            losses.append(self.inner.total(step.at(here)))
        return torch.stack(losses).mean()
