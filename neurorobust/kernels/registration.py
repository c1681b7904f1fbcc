"""Functions of tensors as operators of torch, without ``torch.library.custom_op``, whose first call imports Dynamo."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch

from .._util.watched import watched

_LIBRARY = torch.library.Library("neurorobust", "FRAGMENT")


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
        return overload(*inputs) if watched(inputs) else function(*inputs)

    call.overload = overload  # type: ignore[attr-defined]
    return call


def fake(function: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a function as what an operator does to shapes and types alone, for torch.compile."""
    return torch.library.register_fake(function.overload.name(), lib=_LIBRARY)
