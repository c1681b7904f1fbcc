"""The one function that applies deviations to parameters."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from .._util.errors import unknown
from .params import ABSOLUTE, DIGITAL, SIGNED, Params, kind_of
from .placement import NOWHERE, Placement, expand, unrolled


def apply(params: Mapping[str, Tensor], deviations: Mapping[str, Tensor], placement: Placement = NOWHERE) -> Params:
    """The parameters of one die: nominal values moved by its deviations.

    Signed kinds θ + abs(θ)·δ, absolute kinds θ + δ, positive kinds θ·exp(δ). Differentiable in both arguments;
    with δ held constant the derivative in θ is the paper's Jacobian 1 + sign(θ)·δ (arXiv 2106.05009).

    Args:
        params: nominal values, shape of the parameter (or one per core where the placement says so).
        deviations: by parameter name, expanded shape; a parameter without an entry does not deviate. A kernel deviates
            as one, or, where they are of the shape (n, n_in), every synapse of its neurons by itself.
        placement: expands what is set once per core.

    Raises:
        ValueError: a deviation names no parameter, or has the wrong shape.
    """
    for name in deviations:
        if name not in params:
            raise unknown("deviations: parameter", name, params)
    result = expand(params, placement)
    for name, delta in deviations.items():
        value = result[name]
        if name in placement.convolutions and delta.shape[-value.ndim :] != value.shape:
            value = unrolled(value, placement.convolutions[name]())
        if delta.shape[-value.ndim :] != value.shape and value.ndim:
            raise ValueError(
                f"deviations[{name!r}]: got shape {tuple(delta.shape)}; expected {tuple(value.shape)}, "
                f"one deviation for every element."
            )
        kind = kind_of(name)
        if kind in DIGITAL:
            raise ValueError(f"deviations[{name!r}]: a digital number does not deviate; leave it out.")
        if kind in SIGNED:
            result[name] = value + value.abs() * delta
        elif kind in ABSOLUTE:
            result[name] = value + delta
        else:
            result[name] = value * delta.exp()
    return result
