"""The operators of convolutions and poolings as functions that torch can differentiate and batch; see
:mod:`.autograd`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from . import window_operators as operators
from .autograd import Operation, backward_of, over_chips, sum_shared

_convolve_backward = backward_of(operators.convolve_backward_op, 3, (0,))
_pool_backward = backward_of(operators.pool_backward_op, 1, (0,))
_convolve_lif_backward = backward_of(operators.convolve_lif_backward_op, 7, range(3))


def _needed(ctx: Any, bias: Tensor) -> tuple[bool, bool, bool]:
    """Whether the gradients of x, weight and bias are needed."""
    x, weight, offset, *_ = ctx.needs_input_grad
    return x, weight, offset and bias.shape[0] > 0


def _summed(found: Sequence[Tensor], tensors: Sequence[Tensor], needs: Sequence[bool]) -> list[Tensor | None]:
    """The gradients that are needed, each summed over the chips that share its tensor."""
    return [sum_shared(g, len(tensor)) if needed else None for g, tensor, needed in zip(found, tensors, needs)]


@over_chips(3)
class Convolve(Operation):
    """The convolution of :func:`.window_operators.convolve_op`."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor, geometry: Sequence[int]) -> Tensor:
        return operators.convolve_op(x, weight, bias, geometry)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        *tensors, ctx.geometry = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        x, weight, bias = ctx.saved_tensors
        needs = _needed(ctx, bias)
        found = _convolve_backward.apply(gradient, x, weight, ctx.geometry, needs)
        return *_summed(found, (x, weight, bias), needs), None


@over_chips(1)
class Pool(Operation):
    """The pooling of :func:`.window_operators.pool_op`."""

    @staticmethod
    def forward(x: Tensor, geometry: Sequence[int]) -> Tensor:
        return operators.pool_op(x, geometry)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.geometry = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        return _pool_backward.apply(gradient, ctx.geometry), None


@over_chips(5)
class ConvolveLif(Operation):
    """Spikes, and what the way back needs, of :func:`.window_operators.convolve_lif_op`."""

    @staticmethod
    def forward(
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        coefficients: Tensor,
        refractory: Tensor,
        geometry: Sequence[int],
        rules: Sequence[int],
        width: float,
    ) -> tuple[Tensor, Tensor]:
        return operators.convolve_lif_op(x, weight, bias, coefficients, refractory, geometry, rules)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        *tensors, ctx.geometry, ctx.rules, ctx.width = inputs
        ctx.save_for_backward(*output, *tensors)
        ctx.set_materialize_grads(False)  # v has none

    @staticmethod
    def backward(ctx: Any, g_spikes: Tensor | None, _: Tensor | None) -> tuple:
        if g_spikes is None:
            return (None,) * 8
        spikes, v, x, weight, bias, coefficients, refractory = ctx.saved_tensors
        needs = *_needed(ctx, bias), ctx.needs_input_grad[3]
        found = _convolve_lif_backward.apply(
            g_spikes, spikes, v, x, weight, coefficients, refractory, ctx.geometry, ctx.rules, ctx.width, needs
        )
        return *_summed(found, (x, weight, bias, coefficients), needs), *(None,) * 4
