"""Convolutions and poolings of sequences of images, each (C, H, W), flat: (T, B, C · H · W)."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

from ..dynamics.resets import Dynamics
from . import reference
from .choice import implementation, known
from .layer import LifCoefficients
from .windows import Convolution, Window


def _check(x: Tensor, convolution: Convolution, weight: Tensor, bias: Tensor | None) -> None:
    """Raise for arrays that the loops, which do not check, must not get."""
    window, channels = convolution.window, convolution.channels
    shape = (channels, window.shape[0], *window.kernel)
    if weight.shape != shape or weight.dtype != x.dtype:
        raise ValueError(
            f"weight: got shape {tuple(weight.shape)} of {weight.dtype}; expected {shape} of {x.dtype}, as the input "
            f"has it."
        )
    if bias is not None and (bias.shape != (channels,) or bias.dtype != x.dtype):
        raise ValueError(
            f"bias: got shape {tuple(bias.shape)} of {bias.dtype}; expected ({channels},) of {x.dtype}, as the input "
            f"has it."
        )
    _check_images(x, convolution.n_in)


def _check_images(x: Tensor, n_in: int) -> None:
    if x.ndim != 3 or x.shape[-1] != n_in:
        raise ValueError(f"x: got shape {tuple(x.shape)}; expected (T, B, {n_in}).")


def pool(x: Tensor, window: Window, divisor: int) -> Tensor:
    """The sum over each place of the window, divided: (T, B, n_in) → (T, B, channels · places)."""
    pooling = Convolution(window, 1, window, divisor)
    _check_images(x, pooling.n_in)
    if implementation("x", x) is reference:
        image = x.reshape(-1, *window.shape)
        pooled = functional.avg_pool2d(image, window.kernel, window.stride, divisor_override=divisor)
        return pooled.reshape(*x.shape[:2], window.shape[0] * math.prod(window.places))
    from . import compiled_windows

    return compiled_windows.pool(x, pooling)


def convolve(x: Tensor, convolution: Convolution, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The convolution of what the pooling leaves, if there is one: (T, B, n_in) → (T, B, n_out); zeros cost little.

    Shapes: weight (C_out, C, kH, kW), bias (C_out,) or None.
    """
    _check(x, convolution, weight, bias)
    if implementation("x", x) is reference:
        window = convolution.window
        x = x if convolution.pool is None else pool(x, convolution.pool, convolution.divisor)
        image = x.reshape(-1, *window.shape)
        current = functional.conv2d(image, weight, bias, window.stride, window.padding)
        return current.reshape(*x.shape[:2], convolution.n_out)
    from . import compiled_windows

    return compiled_windows.convolve(x, convolution, weight, bias)


def convolve_lif(
    x: Tensor,
    convolution: Convolution,
    synapses: tuple[Tensor, Tensor | None],
    c: LifCoefficients,
    dynamics: Dynamics,
) -> Tensor:
    """:func:`neurorobust.kernels.lif`, without recurrence, of the current that :func:`convolve` makes of x with
    ``synapses``, a weight and a bias."""
    _check(x, convolution, *synapses)
    for name, value in c._asdict().items():
        if value is not None and (value.shape != (convolution.n_out,) or value.dtype != x.dtype):
            raise ValueError(
                f"{name}: got shape {tuple(value.shape)} of {value.dtype}; expected ({convolution.n_out},) of "
                f"{x.dtype}, as the input has it."
            )
    if implementation("x", x, known(dynamics)) is reference:
        return reference.lif(convolve(x, convolution, *synapses), None, c, dynamics, False)[0]
    from . import compiled_windows

    return compiled_windows.convolve_lif(x, convolution, synapses, c, dynamics)
