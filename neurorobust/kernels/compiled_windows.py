"""The compiled loops of :mod:`.convolution`."""

from __future__ import annotations

import torch
from torch import Tensor

from ..dynamics.resets import Dynamics
from . import window_autograd
from .compiled import inside, layer_of, outside
from .layer import LifCoefficients
from .windows import Convolution


def _offset(x: Tensor, convolution: Convolution, bias: Tensor | None) -> Tensor:
    return x.new_empty((0, convolution.channels)) if bias is None else bias.unsqueeze(0)


def pool(x: Tensor, pooling: Convolution) -> Tensor:
    """See :func:`neurorobust.kernels.convolution.pool`."""
    return outside(window_autograd.Pool.apply(inside(x), pooling.numbers()))


def convolve(x: Tensor, convolution: Convolution, weight: Tensor, bias: Tensor | None) -> Tensor:
    """See :func:`neurorobust.kernels.convolution.convolve`."""
    offset = _offset(x, convolution, bias)
    return outside(window_autograd.Convolve.apply(inside(x), weight.unsqueeze(0), offset, convolution.numbers()))


def convolve_lif(
    x: Tensor,
    convolution: Convolution,
    synapses: tuple[Tensor, Tensor | None],
    c: LifCoefficients,
    dynamics: Dynamics,
) -> Tensor:
    """See :func:`neurorobust.kernels.convolution.convolve_lif`."""
    layer, rules = layer_of(c, dynamics, torch.is_grad_enabled())
    weight, offset = synapses[0].unsqueeze(0), _offset(x, convolution, synapses[1])
    numbers = convolution.numbers()
    return outside(window_autograd.ConvolveLif.apply(inside(x), weight, offset, *layer, numbers, *rules)[0])
