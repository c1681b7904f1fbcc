"""Spike functions: an exact step forward, a named surrogate derivative backward."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from .errors import check_number


class Surrogate(Protocol):
    """The derivative that stands in for that of the step, at the scaled voltage u = (v − ϑ)/ϑ."""

    def derivative(self, u: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Triangle:
    """dz/du = scale · max(0, 1 − abs(u)); the paper's, with scale 0.3 (arXiv 2106.05009; Bellec et al. 2018)."""

    scale: float = 0.3

    def __post_init__(self) -> None:
        check_number("scale", self.scale, strict=True)

    def derivative(self, u: Tensor) -> Tensor:
        return self.scale * (1 - u.abs()).clamp(min=0)


class _Step(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(u: Tensor, surrogate: Surrogate) -> Tensor:
        return (u > 0).to(u.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        u, ctx.surrogate = inputs
        ctx.save_for_backward(u)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (u,) = ctx.saved_tensors
        return gradient * ctx.surrogate.derivative(u), None


def spike(v: Tensor, threshold: Tensor, surrogate: Surrogate) -> Tensor:
    """z = 1 where v > threshold, else 0; its gradient is the surrogate's at u = (v − threshold)/threshold.

    Shapes: v and threshold broadcast; threshold > 0. The chain rule through u reaches both v and the threshold.
    """
    return _Step.apply((v - threshold) / threshold, surrogate)
