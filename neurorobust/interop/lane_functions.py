"""Functions without a state, for all steps at once: from the function of one step to that of (T, …)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Whole = Callable[[Any], Tensor | None]
"""From a value of one step to that of all steps; None for what is the same in all steps."""


class Unknown(Exception):
    """These arguments have no form for all steps at once."""


def _settled(whole: Whole, rest: Any) -> None:
    """Raise Unknown where an argument beside the first depends on the step."""
    if any(whole(value) is not None for value in rest):
        raise Unknown


def _input(whole: Whole, args: tuple, kwargs: dict) -> Tensor:
    sequence = whole(args[0]) if args else None
    if sequence is None:
        raise Unknown
    _settled(whole, [*args[1:], *kwargs.values()])
    return sequence


def each_step(layer: Callable[[Tensor], Tensor], sequence: Tensor) -> Tensor:
    """A layer that computes each sample by itself on every step (T, B, …); once if one input is repeated."""
    if len(sequence) > 1 and sequence.stride(0) == 0:
        result = layer(sequence[0])
        return result.expand(len(sequence), *result.shape)
    return layer(sequence.flatten(0, 1)).unflatten(0, sequence.shape[:2])


def linear(function: Any, whole: Whole, args: tuple, kwargs: dict) -> Tensor:
    """x weightᵀ + bias, of any number of dimensions."""
    sequence = _input(whole, args, kwargs)
    if args[0].ndim < 2:
        raise Unknown
    return each_step(lambda x: function(x, *args[1:], **kwargs), sequence)


def _samplewise(ndim: int) -> Callable[..., Tensor]:
    """A function of a batch of samples (B, C, …) of so many dimensions, each computed by itself."""

    def mapped(function: Any, whole: Whole, args: tuple, kwargs: dict) -> Tensor:
        sequence = _input(whole, args, kwargs)
        if args[0].ndim != ndim or kwargs.get("return_indices"):
            raise Unknown
        return each_step(lambda x: function(x, *args[1:], **kwargs), sequence)

    return mapped


def batch_norm(function: Any, whole: Whole, args: tuple, kwargs: dict) -> Tensor:
    """A norm with its running means."""
    sequence = _input(whole, args, kwargs)
    training = args[5] if len(args) > 5 else kwargs.get("training", False)
    if training or args[0].ndim < 2:
        raise Unknown
    return each_step(lambda x: function(x, *args[1:], **kwargs), sequence)


def dropout(function: Any, whole: Whole, args: tuple, kwargs: dict) -> Tensor:
    """Nothing, outside of training."""
    sequence = _input(whole, args, kwargs)
    if len(args) > 1 or kwargs.get("training", True) or kwargs.get("inplace"):
        raise Unknown
    return sequence.view_as(sequence)


def reshaped(function: Any, whole: Whole, args: tuple, kwargs: dict) -> Tensor:
    """The numbers of each step in their order, in another shape."""
    sequence = _input(whole, args, kwargs)
    if any(isinstance(value, torch.dtype) for value in (*args, *kwargs.values())):
        raise Unknown
    return sequence.reshape(len(sequence), *function(*args, **kwargs).shape)


def pointwise(function: Any, whole: Whole, args: tuple, kwargs: dict) -> Tensor:
    """A function of each number by itself; of several steps of equal ndim, and of what is the same in all steps."""
    if kwargs.get("inplace") or "out" in kwargs or any(value is True for value in args):  # True: inplace, by position
        raise Unknown
    tensors = [value for value in args if isinstance(value, Tensor)]
    ndim = max(value.ndim for value in tensors if whole(value) is not None)
    if any(value.ndim != ndim if whole(value) is not None else value.ndim > ndim for value in tensors):
        raise Unknown
    _settled(whole, kwargs.values())
    values = [whole(value) for value in args]
    return function(*(value if found is None else found for value, found in zip(args, values)), **kwargs)


def joined(function: Any, whole: Whole, args: tuple, kwargs: dict) -> Tensor:
    """torch.cat of steps along a dimension."""
    dim = args[1] if len(args) > 1 else kwargs.get("dim", 0)
    parts = [whole(value) for value in args[0]]
    if len(args) > 2 or set(kwargs) - {"dim"} or any(part is None for part in parts):
        raise Unknown
    return torch.cat([part for part in parts if part is not None], dim + 1 if dim >= 0 else dim)


_CONVOLUTIONS = {3: "1d", 4: "2d", 5: "3d"}
_SHAPES = (
    torch.flatten, Tensor.flatten, Tensor.view, Tensor.reshape, torch.reshape, Tensor.unsqueeze, torch.unsqueeze,
    Tensor.squeeze, torch.squeeze, torch.unflatten, Tensor.unflatten,
)  # fmt: skip
_POINTWISE = (
    functional.relu, torch.relu, Tensor.relu, torch.sigmoid, Tensor.sigmoid, torch.tanh, Tensor.tanh, Tensor.add,
    torch.add, Tensor.__add__, Tensor.__radd__, Tensor.sub, torch.sub, Tensor.__sub__, Tensor.__rsub__, Tensor.mul,
    torch.mul, Tensor.__mul__, Tensor.__rmul__, Tensor.div, torch.div, Tensor.__truediv__, Tensor.neg, torch.neg,
    Tensor.__neg__, Tensor.abs, torch.abs, Tensor.clamp, torch.clamp, Tensor.detach, functional.leaky_relu,
)  # fmt: skip
_HEAVY: dict[Any, Callable[..., Tensor]] = {functional.linear: linear, functional.batch_norm: batch_norm}
for _ndim, _name in _CONVOLUTIONS.items():
    for _kind in ("conv", "conv_transpose", "max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool"):
        for _place in (functional, torch):
            if hasattr(_place, _kind + _name):
                _HEAVY[getattr(_place, _kind + _name)] = _samplewise(_ndim)
MAPS: dict[Any, Callable[..., Tensor]] = {
    **_HEAVY,
    functional.dropout: dropout,
    torch.cat: joined,
    **dict.fromkeys(_SHAPES, reshaped),
    **dict.fromkeys(_POINTWISE, pointwise),
}
"""By function: (function, whole, args, kwargs) → its result for all steps, (T, …)."""
REPEATED = frozenset({*_HEAVY, *_SHAPES, functional.relu, torch.relu})
"""Functions whose result is kept, for a loop that calls them with the same values in every step."""
_DATA: Any = Tensor.data
REFUSED = frozenset({_DATA.__get__, _DATA.__set__, torch.autograd.grad, Tensor.backward})
"""What reaches the numbers of any tensor past its version, or asks for gradients between two steps of the loop."""
PAST = frozenset({Tensor.requires_grad_, Tensor.register_hook, Tensor.retain_grad})
"""What reaches a step past its graph: of a step that was run ahead, it would reach a view alone."""
