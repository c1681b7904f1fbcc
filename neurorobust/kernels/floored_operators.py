"""The compiled loops of neurons with a floor as custom operators of torch; as :mod:`.operators`.

``rules`` are the surrogate, whether its width follows the threshold, whether there is an adaptation, whether inhibition
only cancels excitation, and whether the membrane is kept. ``numbers`` are the width of the surrogate and the slope of
the floor. The weight of an input has 2n rows, excitation, then inhibition; the recurrent one (n, n) has a sign.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .blocks import array, blocks_of, room_for_sums, run_blocks, total
from .events import events_of
from .numba_loops import floored, floored_backward, rows
from .numba_loops.records import Inputs, Recurrent, Synapses
from .operators import _chips, _no_inputs, _project, _project_backward, gathers
from .registration import fake, operator
from .runtime.memory import empty

LayerTensors = tuple[Tensor, Tensor, Tensor]  # recurrent weight, coefficients, refractory steps
Traces = tuple[Tensor, Tensor, Tensor, Tensor]  # spikes, u, exc, inh


def _run_floored(
    current: np.ndarray, synapses: Synapses, layer: LayerTensors, shape: tuple[int, ...], rules: Sequence[int]
) -> Traces:
    recurrent, coefficients, refractory = layer
    traces = [empty(size, coefficients.dtype) for size in _kept(shape, rules)]
    own = array(coefficients), array(refractory), tuple(rules[2:4])
    blocks = blocks_of(shape[1], math.prod(shape[1:]))
    run_blocks(
        floored.floored_forward_blocks, shape[0], blocks, traces[0].numel(), current, synapses,
        array(_split(recurrent.mT)), own, tuple(trace.numpy() for trace in traces),
    )  # fmt: skip
    spikes, u, exc, inh = traces
    return spikes, u, exc, inh


def _kept(shape: tuple[int, ...], rules: Sequence[int]) -> list[tuple[int, ...]]:
    """The shapes of the traces."""
    cancels, keep = rules[3:]
    none = (0, *shape[1:])
    return [shape, *[shape if keep else none] * 2, shape if keep and cancels else none]


def _split(rows: Tensor) -> Tensor:
    """Excitation and inhibition side by side: (c, n, n) → (c, n, 2n)."""
    positive = rows.clamp(min=0)
    return torch.cat([positive, positive - rows], -1)


def _joined(recurrent: Tensor, gradient: Tensor) -> Tensor:
    """The gradient (c, n, n) of weights with a sign from that of both their parts, (c, 2n, n)."""
    excitation, inhibition = gradient.chunk(2, 1)
    return torch.where(recurrent < 0, -inhibition, excitation).contiguous()


def _run_floored_backward(
    g_spikes: Tensor,
    traces: Traces,
    inputs: Inputs,
    layer: LayerTensors,
    rules: Sequence[int],
    numbers: Sequence[float],
    n_in: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of current, recurrent weight, coefficients and weight (n_in, 2n), each for every chip; that of the
    weight needs ``n_in``; with 0, that of the current is worked out instead."""
    recurrent, coefficients, refractory = layer
    chips, batch, steps, n = traces[0].shape
    has_recurrent, dtype = recurrent.shape[0] > 0, g_spikes.dtype
    size = traces[0].numel()
    blocks = blocks_of(batch, size // chips, 2 * n * (n if has_recurrent else 1) + 2 * n * n_in, rows.GROUP)
    g_current = empty((0 if n_in else chips, batch, steps, 2 * n), dtype)
    results = (
        g_current.numpy(),
        room_for_sums((chips, len(blocks), floored.COEFFICIENTS, n), dtype),
        room_for_sums((chips, len(blocks), n, 2 * n) if has_recurrent else (0, 0, n, 2 * n), dtype),
        room_for_sums((chips, len(blocks), n_in, 2 * n) if n_in else (1, 1, 0, 2 * n), dtype),
    )
    own = array(coefficients), array(refractory), tuple(rules[:3])
    run_blocks(
        floored_backward.floored_backward_blocks, chips, blocks, size, array(g_spikes), tuple(map(array, traces)),
        inputs, Recurrent(array(recurrent.mT), array(recurrent)), own,
        tuple(results[0].dtype.type(number) for number in numbers), results,
    )  # fmt: skip
    return (
        g_current,
        _joined(recurrent, total(results[2]).mT) if has_recurrent else torch.zeros_like(recurrent),
        total(results[1]),
        total(results[3]),
    )


@operator
def floored_op(
    current: Tensor, recurrent: Tensor, coefficients: Tensor, refractory: Tensor, rules: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Spikes and, if the last of the rules says so, the membrane before the floor, above v_leak, and excitation; and
    inhibition if it only cancels.

    Shapes: current (c, B, T, 2n); recurrent (c, n, n), or (0, n, n) for none; coefficients (c, 13, n).
    """
    n = coefficients.shape[-1]
    shape = (_chips(current, recurrent, coefficients, refractory), *current.shape[1:3], n)
    nothing = current.new_empty((1, 0, 0))
    synapses = Synapses(*_no_inputs(current), nothing.numpy(), nothing[0].numpy())
    return _run_floored(array(current), synapses, (recurrent, coefficients, refractory), shape, rules)


@fake(floored_op)
def _(
    current: Tensor, recurrent: Tensor, coefficients: Tensor, refractory: Tensor, rules: Sequence[int]
) -> tuple[Tensor, ...]:
    shape = (_chips(current, recurrent, coefficients, refractory), *current.shape[1:3], coefficients.shape[-1])
    return tuple(current.new_empty(size) for size in _kept(shape, rules))


@operator
def floored_backward_op(
    g_spikes: Tensor,
    spikes: Tensor,
    u: Tensor,
    exc: Tensor,
    inh: Tensor,
    recurrent: Tensor,
    coefficients: Tensor,
    refractory: Tensor,
    rules: Sequence[int],
    numbers: Sequence[float],
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of :func:`floored_op` in current, recurrent and coefficients, each for every chip."""
    layer = recurrent, coefficients, refractory
    return _run_floored_backward(g_spikes, (spikes, u, exc, inh), _no_inputs(spikes), layer, rules, numbers, 0)[:3]


def _shapes(spikes: Tensor, recurrent: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of the gradients of recurrent weight and coefficients."""
    chips, n = spikes.shape[0], spikes.shape[-1]
    return (chips if recurrent.shape[0] else 0, n, n), (chips, floored.COEFFICIENTS, n)


@fake(floored_backward_op)
def _(*inputs: Any) -> tuple[Tensor, ...]:
    _, spikes, _, _, _, recurrent, *_ = inputs
    current = (*spikes.shape[:3], 2 * spikes.shape[-1])
    return tuple(spikes.new_empty(shape) for shape in (current, *_shapes(spikes, recurrent)))


@operator
def floored_layer_op(
    x: Tensor, weight: Tensor, recurrent: Tensor, coefficients: Tensor, refractory: Tensor, rules: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """:func:`floored_op` of the current that x makes, which is never kept where the input is sparse."""
    layer, events = (recurrent, coefficients, refractory), events_of(x)
    if not gathers(events, weight.shape[1]):
        return floored_op(_project(events, weight, weight.new_empty((0, weight.shape[1])), False), *layer, rules)
    shape = (_chips(x, weight, *layer), *x.shape[1:3], coefficients.shape[-1])
    synapses = Synapses(*events.arrays, array(weight.mT), np.empty((1, 0), array(weight).dtype))
    return _run_floored(weight.new_empty((1, 1, 0, 0)).numpy(), synapses, layer, shape, rules)


@fake(floored_layer_op)
def _(
    x: Tensor, weight: Tensor, recurrent: Tensor, coefficients: Tensor, refractory: Tensor, rules: Sequence[int]
) -> tuple[Tensor, ...]:
    shape = (_chips(x, weight, recurrent, coefficients, refractory), *x.shape[1:3], coefficients.shape[-1])
    return tuple(x.new_empty(size) for size in _kept(shape, rules))


@operator
def floored_layer_backward_op(
    g_spikes: Tensor,
    spikes: Tensor,
    u: Tensor,
    exc: Tensor,
    inh: Tensor,
    x: Tensor,
    weight: Tensor,
    recurrent: Tensor,
    coefficients: Tensor,
    refractory: Tensor,
    rules: Sequence[int],
    numbers: Sequence[float],
    needs: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of :func:`floored_layer_op` in x, weight, recurrent and coefficients, each for every chip; ``needs``
    says whether those in x and weight are needed; where not, they are empty."""
    layer, traces, events = (recurrent, coefficients, refractory), (spikes, u, exc, inh), events_of(x)
    by_events = needs[1] and gathers(events, weight.shape[1])
    if by_events and not needs[0]:
        _, g_recurrent, g_coefficients, g_weight = _run_floored_backward(
            g_spikes, traces, events.arrays, layer, rules, numbers, x.shape[3]
        )
        return x.new_empty((0, *x.shape[1:])), g_weight.mT.contiguous(), g_recurrent, g_coefficients
    g_current, g_recurrent, g_coefficients = floored_backward_op(g_spikes, *traces, *layer, rules, numbers)
    g_x, g_weight = _project_backward(g_current, events, weight, needs, by_events)
    return g_x, g_weight, g_recurrent, g_coefficients


@fake(floored_layer_backward_op)
def _(*inputs: Any) -> tuple[Tensor, ...]:
    _, spikes, _, _, _, x, weight, recurrent, *_, needs = inputs
    chips = spikes.shape[0]
    g_x, g_weight = (chips if needs[0] else 0, *x.shape[1:]), (chips if needs[1] else 0, *weight.shape[1:])
    return tuple(spikes.new_empty(shape) for shape in (g_x, g_weight, *_shapes(spikes, recurrent)))
