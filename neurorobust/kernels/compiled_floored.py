"""The compiled loops of neurons with a floor, behind the same functions as :mod:`.reference`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..dynamics.floors import LeakyFloor, NoFloor
from ..dynamics.inhibitions import CancelsExcitation
from . import floored_operators as operators
from .autograd import Operation, backward_of, over_chips, sum_shared
from .compiled import inside, number_and_width, numbers_and_lists, outside
from .layer import FlooredCoefficients, FlooredDynamics
from .sparse_weight import Weight

_backward = backward_of(operators.floored_backward_op, 8, range(5))
_layer_backward = backward_of(operators.floored_layer_backward_op, 10, range(5))


@over_chips(4)
class Floored(Operation):
    """The traces of :func:`.floored_operators.floored_op`; only the spikes have a gradient."""

    @staticmethod
    def forward(
        current: Tensor,
        recurrent: Tensor,
        coefficients: Tensor,
        refractory: Tensor,
        lists: Tensor,
        rules: Sequence[int],
        numbers: Sequence[float],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return operators.floored_op(current, recurrent, coefficients, refractory, lists, rules)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
        current, *layer, ctx.lists, ctx.rules, ctx.numbers = inputs
        ctx.chips = len(current)
        ctx.save_for_backward(*output, *layer)
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)  # those of the last three would be large

    @staticmethod
    def backward(ctx: Any, g_spikes: Tensor | None, *_: Any) -> tuple:
        spikes, u, exc, inh, *layer = ctx.saved_tensors
        g_spikes = torch.zeros_like(spikes) if g_spikes is None else g_spikes
        found = _backward.apply(g_spikes, spikes, u, exc, inh, *layer, ctx.lists, ctx.rules, ctx.numbers)
        chips = ctx.chips, len(layer[0]), len(layer[1])
        return (*map(sum_shared, found, chips), *(None,) * 4)


@over_chips(5)
class FlooredLayer(Operation):
    """:class:`Floored` with its synapses: :func:`.floored_operators.floored_layer_op`."""

    @staticmethod
    def forward(
        x: Tensor,
        weight: Tensor,
        recurrent: Tensor,
        coefficients: Tensor,
        refractory: Tensor,
        weight_lists: Tensor,
        lists: Tensor,
        rules: Sequence[int],
        numbers: Sequence[float],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return operators.floored_layer_op(x, weight, recurrent, coefficients, refractory, weight_lists, lists, rules)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor, Tensor, Tensor]) -> None:
        *tensors, weight_lists, lists, ctx.rules, ctx.numbers = inputs
        ctx.lists = weight_lists, lists
        ctx.save_for_backward(*output, *tensors)
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)  # those of the last three would be large

    @staticmethod
    def backward(ctx: Any, g_spikes: Tensor | None, *_: Any) -> tuple:
        spikes, u, exc, inh, x, weight, *layer = ctx.saved_tensors
        g_spikes = torch.zeros_like(spikes) if g_spikes is None else g_spikes
        needs = tuple(ctx.needs_input_grad[:2])
        found = _layer_backward.apply(
            g_spikes, spikes, u, exc, inh, x, weight, *layer, *ctx.lists, ctx.rules, ctx.numbers, needs
        )  # fmt: skip
        of_synapses = [
            sum_shared(gradient, len(tensor)) if needed else None
            for gradient, tensor, needed in zip(found, (x, weight), needs)
        ]
        return (*of_synapses, *map(sum_shared, found[2:], (len(layer[0]), len(layer[1]))), *(None,) * 5)


def layer_of(
    c: FlooredCoefficients, dynamics: FlooredDynamics, keep: bool
) -> tuple[tuple[Tensor, Tensor], tuple[Sequence[int], Sequence[float]]]:
    """A layer of one chip as the operators take it, its numbers and its rules; v is counted from v_leak."""
    none, scaled = torch.zeros_like(c.alpha), dynamics.surrogate.scaled

    def above_leak(value: Tensor) -> Tensor:
        return value if c.v_leak is None else value - c.v_leak

    floor = torch.full_like(none, -torch.inf) if isinstance(dynamics.floor, NoFloor) else above_leak(c.v_floor)
    rows = (
        c.alpha,
        c.gain_exc,
        c.gain_inh,
        c.syn_exc,
        c.syn_inh,
        c.lift,
        above_leak(c.v_threshold),
        c.v_threshold if scaled else torch.ones_like(none),
        floor,
        above_leak(none if c.v_reset is None else c.v_reset),
        none if c.rho is None else c.rho,
        none if c.ahp is None else c.ahp,
        none if c.raised is None else c.raised,
    )
    surrogate, width = number_and_width(dynamics.surrogate)
    cancels = isinstance(dynamics.inhibition, CancelsExcitation) and not isinstance(dynamics.floor, NoFloor)
    slope = dynamics.floor.slope if isinstance(dynamics.floor, LeakyFloor) else 0.0
    refractory = (none if c.refractory is None else c.refractory).detach().int()
    rules = surrogate, int(scaled), int(c.rho is not None), int(cancels), int(keep)
    return (torch.stack(rows).unsqueeze(0), refractory.unsqueeze(0)), (rules, (width, slope))


def floored(
    current: Tensor, recurrent: Weight | None, c: FlooredCoefficients, dynamics: FlooredDynamics
) -> tuple[Tensor, Tensor]:
    """Spikes, and the membrane above the floor; see :func:`neurorobust.kernels.floored`."""
    layer, rules = layer_of(c, dynamics, True)
    matrix, lists = numbers_and_lists(recurrent, c.alpha)
    spikes, u, *_ = Floored.apply(inside(current), matrix, *layer, lists, *rules)
    leak = 0 if c.v_leak is None else c.v_leak
    return outside(spikes), (outside(u) - (c.v_floor - leak)).detach()


def floored_layer(
    x: Tensor, weight: Weight, recurrent: Weight | None, c: FlooredCoefficients, dynamics: FlooredDynamics
) -> Tensor:
    """Spikes of a layer with its synapses; see :func:`neurorobust.kernels.floored_layer`."""
    layer, rules = layer_of(c, dynamics, torch.is_grad_enabled())
    numbers, weight_lists = numbers_and_lists(weight, c.alpha)
    matrix, lists = numbers_and_lists(recurrent, c.alpha)
    return outside(FlooredLayer.apply(inside(x), numbers, matrix, *layer, weight_lists, lists, *rules)[0])
