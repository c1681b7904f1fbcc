"""Functions of tensors as operators of torch, without ``torch.library.custom_op``, whose first call imports Dynamo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

_LIBRARY = torch.library.Library("neurorobust", "FRAGMENT")
_PLAIN = frozenset({Tensor, nn.Parameter, tuple, list, int, float, bool})


def operator(function: Callable[..., Any]) -> Any:
    """The operator ``neurorobust::NAME`` of a function NAME or NAME_op that changes none of its inputs; CPU only.

    Where nobody watches torch's operators the function is called itself, in a part of the time; ``overload`` is what
    torch knows.
    """
    name = function.__name__.removesuffix("_op")
    _LIBRARY.define(name + torch.library.infer_schema(function, mutates_args=()))
    _LIBRARY.impl(name, function, "CPU")
    overload = getattr(torch.ops.neurorobust, name).default

    @wraps(function)
    def call(*inputs: Any) -> Any:
        return overload(*inputs) if _watched(inputs) else function(*inputs)

    call.overload = overload  # type: ignore[attr-defined]
    return call


def _watched(inputs: Sequence[Any]) -> bool:
    """Whether a transform, a mode, torch.compile or an input of another class has to see an operator."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return True
    return torch._C._len_torch_dispatch_stack() > 0 or not _PLAIN.issuperset(map(type, inputs))


def fake(function: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a function as what an operator does to shapes and types alone, for torch.compile."""
    return torch.library.register_fake(function.overload.name(), lib=_LIBRARY)
