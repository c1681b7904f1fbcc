"""The coordinates in which :func:`neurorobust.fit` trains parameters: shifts and gradients in them.

A signed or absolute parameter is its own coordinate; a positive kind's is its logarithm, so it stays positive.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..core.params import ABOVE_ZERO, Params, kind_of
from .regularizer import Regularizer, Step


def trained(params: Mapping[str, Tensor]) -> list[str]:
    """Names of the parameters that take a gradient."""
    return [name for name, value in params.items() if value.requires_grad]


def coordinate(name: str, value: Tensor) -> Tensor:
    """θ, or log θ of a positive kind; adaptation, which may be 0, is its own coordinate."""
    return value.log() if kind_of(name) in ABOVE_ZERO else value


def shifted(params: Mapping[str, Tensor], shift: Mapping[str, Tensor]) -> Params:
    """The parameters with some of their coordinates shifted, differentiable; adaptation ends at 0."""
    result = dict(params)
    for name, by in shift.items():
        value = result[name]
        result[name] = value * by.exp() if kind_of(name) in ABOVE_ZERO else value + by
        if kind_of(name) == "adaptation":
            result[name] = result[name].clamp(min=0)
    return result


def value_and_grad(inner: Regularizer, step: Step, shift: Mapping[str, Tensor]) -> tuple[Tensor, Params]:
    """The inner loss at shifted coordinates of the trained parameters, and its gradient in these coordinates, 0 for
    absent synapses; no gradient flows through either."""
    params = shifted({name: value.detach() for name, value in step.params.items()}, shift)
    names = trained(step.params)
    with torch.enable_grad():
        leaves = params | {name: params[name].detach().requires_grad_() for name in names}
        value = inner.total(step.at(leaves))
        gradients = torch.autograd.grad(
            value, [leaves[name] for name in names], allow_unused=True, materialize_grads=True
        )
    masks = step.placement.masks
    return value.detach(), {
        name: gradient * params[name]
        if kind_of(name) in ABOVE_ZERO
        else gradient * masks[name]
        if name in masks
        else gradient
        for name, gradient in zip(names, gradients)
    }
