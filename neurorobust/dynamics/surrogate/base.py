"""Spike function: an exact step forward, a named surrogate derivative backward."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import Any, Self

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ..._util.errors import plain_fields


class Surrogate(ABC):
    """The derivative that replaces that of the step, at the distance u of the membrane from its threshold.

    A subclass is a frozen dataclass with a field ``scaled``: True for u = (v − ϑ)/ϑ, so that one width fits every
    threshold; False for u = v − ϑ, V, as in snnTorch. A surrogate without compiled loops runs on the reference loops.

    Raises:
        TypeError: ``scaled`` is neither True nor False.
    """

    scaled: bool

    def __post_init__(self) -> None:
        plain_fields(self)
        if not isinstance(self.scaled, bool):
            raise TypeError(f"scaled: got {self.scaled!r}; expected True for u = (v − ϑ)/ϑ or False for u = v − ϑ.")

    @abstractmethod
    def derivative(self, u: Tensor) -> Tensor:
        """dz/du, shape of u."""

    @classmethod
    def example(cls) -> Self:
        """An instance for the contract tests; override it where an argument has no default."""
        return cls()


class _Step(torch.autograd.Function):
    """For ``torch.func``: its transforms need a function whose forward pass has no context."""

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


# torch asks for the signature at every call; it is looked up faster than worked out.
_Step.forward.__signature__ = inspect.signature(_Step.forward)  # type: ignore[attr-defined]


class _PlainStep(torch.autograd.Function):
    """The same without ``torch.func``, at a third of the price per call."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.surrogate = surrogate
        ctx.save_for_backward(u)
        return (u > 0).to(u.dtype)

    backward = _Step.backward


def _transformed() -> bool:
    """True inside a transform of ``torch.func``, or where forward derivatives are computed."""
    return torch._C._functorch.peek_interpreter_stack() is not None or forward_ad._current_level >= 0  # noqa: SLF001


def step(u: Tensor, surrogate: Surrogate) -> Tensor:
    """z = 1 where u > 0, else 0; its gradient is the surrogate's at u. z has the shape of u.

    Example:
        >>> u = torch.tensor([-0.5, 0.5, 2.0], requires_grad=True)
        >>> z = nr.dynamics.surrogate.step(u, nr.nn.Triangle(scale=1.0))
        >>> z.tolist(), torch.autograd.grad(z.sum(), u)[0].tolist()
        ([0.0, 1.0, 1.0], [0.5, 0.5, 0.0])
    """
    if _transformed():
        return _Step.apply(u, surrogate)
    if u.requires_grad and torch.is_grad_enabled():
        return _PlainStep.apply(u, surrogate)
    return (u > 0).to(u.dtype)


def spike(v: Tensor, threshold: Tensor, surrogate: Surrogate) -> Tensor:
    """z = 1 where v > threshold, else 0; its gradient is the surrogate's at u.

    Shapes: v and threshold broadcast; threshold > 0. The chain rule through u reaches both v and the threshold.

    Example:
        >>> v = torch.tensor([0.5, 1.5], requires_grad=True)
        >>> z = nr.dynamics.surrogate.spike(v, torch.tensor(1.0), nr.nn.Triangle(scale=0.5))
        >>> z.tolist(), torch.autograd.grad(z.sum(), v)[0].tolist()
        ([0.0, 1.0], [0.25, 0.25])
    """
    u = v - threshold
    return step(u / threshold if surrogate.scaled else u, surrogate)
