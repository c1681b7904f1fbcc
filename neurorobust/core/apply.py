"""Application of deviations to parameters; no other function does it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from .._util.errors import shown, unknown
from .params import ABSOLUTE, DIGITAL, SIGNED, Params, kind_of
from .placement import NOWHERE, Placement, expand, unrolled


def apply(params: Mapping[str, Tensor], deviations: Mapping[str, Tensor], placement: Placement = NOWHERE) -> Params:
    """The parameters of one die: nominal values changed by its deviations.

    Signed kinds: θ + abs(θ)·δ. Absolute kinds: θ + δ. Positive kinds: θ·exp(δ). The result is differentiable in
    ``params`` and ``deviations``. With constant δ, the derivative of a signed kind with respect to θ is 1 + sign(θ)·δ,
    the Jacobian of arXiv 2106.05009.

    Args:
        params: nominal values by parameter name. A parameter may have one value per core; ``placement`` expands it.
        deviations: δ by parameter name, in the expanded shape. A parameter without an entry does not deviate. For a
            convolution, the shape is that of the kernel, or (n, n_in): then every synapse deviates independently.
        placement: expands parameters with one value per core to one value per neuron.

    Raises:
        ValueError: a deviation has an unknown name or a wrong shape, or its parameter is digital.

    Example:
        >>> deviated = nr.apply({"hidden.tau_mem": torch.tensor(0.02)}, {"hidden.tau_mem": torch.tensor(0.1)})
        >>> round(float(deviated["hidden.tau_mem"]), 5)  # 0.02 · exp(0.1): a positive kind
        0.0221
    """
    for name in deviations:
        if name not in params:
            raise unknown("deviations: parameter", name, params)
    result = expand(params, placement)
    for name, delta in deviations.items():
        value = result[name]
        if not isinstance(delta, Tensor):
            raise TypeError(f"deviations[{name!r}]: got {shown(delta)}; expected a tensor, one deviation per element.")
        if name in placement.convolutions and delta.shape[-value.ndim :] != value.shape:
            value = unrolled(value, placement.convolutions[name]())
        if delta.shape[-value.ndim :] != value.shape and value.ndim:
            raise ValueError(
                f"deviations[{name!r}]: got shape {tuple(delta.shape)}; expected {tuple(value.shape)}, "
                f"one deviation per element."
            )
        kind = kind_of(name)
        if kind in DIGITAL:
            raise ValueError(f"deviations[{name!r}]: a digital parameter does not deviate; remove this entry.")
        if kind in SIGNED:
            result[name] = value + value.abs() * delta
        elif kind in ABSOLUTE:
            result[name] = value + delta
        else:
            result[name] = value * delta.exp()
    return result
