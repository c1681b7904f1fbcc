"""Functions of tensors as operators of torch, without ``torch.library.custom_op``, whose first call imports Dynamo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_LIBRARY = torch.library.Library("neurorobust", "FRAGMENT")


def operator(function: Callable[..., Any]) -> Any:
    """The operator ``neurorobust::NAME`` of a function NAME or NAME_op that changes none of its inputs; CPU only."""
    name = function.__name__.removesuffix("_op")
    _LIBRARY.define(name + torch.library.infer_schema(function, mutates_args=()))
    _LIBRARY.impl(name, function, "CPU")
    return getattr(torch.ops.neurorobust, name).default


def fake(overload: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers a function as what an operator does to shapes and types alone, for torch.compile."""
    return torch.library.register_fake(overload.name(), lib=_LIBRARY)
