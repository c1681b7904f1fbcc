"""The compiled loops of neurons with a floor as custom operators of torch; as :mod:`.operators`.

``rules`` are the surrogate, whether its width follows the threshold, whether there is an adaptation, whether inhibition
only cancels excitation, and whether the membrane is kept. ``numbers`` are the width of the surrogate and the slope of
the floor. Weights have a sign, which says whether they excite or inhibit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .blocks import array, blocks_of, contiguous, room_for_sums, rows_together, run_blocks, total
from .events import events_of
from .numba_loops import floored, floored_backward
from .numba_loops.records import Inputs, Recurrent, Synapses, Targets, Weights, WeightSums
from .operators import NO_LISTS, chips_of, gathers, listed_backward, no_inputs, no_synapses, project, project_backward
from .registration import fake, operator
from .runtime.memory import empty
from .weights import by_sign, gradient_of, partial_sums, room_for_weight, signed_gradient, targets_of

LayerTensors = tuple[Tensor, Tensor, Tensor, Tensor]  # recurrent weight, coefficients, refractory steps, lists
Traces = tuple[Tensor, Tensor, Tensor, Tensor]  # spikes, u, exc, inh


def _run_floored(
    current: np.ndarray, synapses: Synapses, layer: LayerTensors, shape: tuple[int, ...], rules: Sequence[int]
) -> Traces:
    recurrent, coefficients, refractory, lists = layer
    traces = [empty(size, coefficients.dtype) for size in _kept(shape, rules)]
    own = array(coefficients), array(refractory), tuple(rules[2:4])
    blocks = blocks_of(shape[1], math.prod(shape[1:]))
    run_blocks(
        floored.floored_forward_blocks, shape[0], blocks, traces[0].numel(), current, synapses,
        _signed_weights(recurrent, lists, shape[3], shape[3]), own, tuple(trace.numpy() for trace in traces),
    )  # fmt: skip
    spikes, u, exc, inh = traces
    return spikes, u, exc, inh


def _kept(shape: tuple[int, ...], rules: Sequence[int]) -> list[tuple[int, ...]]:
    """The shapes of the traces."""
    cancels, keep = rules[3:]
    none = (0, *shape[1:])
    return [shape, *[shape if keep else none] * 2, shape if keep and cancels else none]


def _signed_weights(weight: Tensor, lists: Tensor, n_in: int, n: int) -> Weights:
    """A weight with a sign, for what arrives in two halves."""
    if not len(lists):
        return Weights(_by_source(weight).numpy(), targets_of(weight, lists, n_in))
    return Weights(np.empty((0, n_in, 2 * n), array(weight[:0]).dtype), by_sign(targets_of(weight, lists, n_in), n))


def _by_source(weight: Tensor) -> Tensor:
    """Excitation and inhibition side by side: (c, n, n_in) → (c, n_in, 2n)."""
    rows = contiguous(weight.detach().mT)
    both = rows.new_empty((*rows.shape[:-1], 2 * rows.shape[-1]))
    excitation, inhibition = both.chunk(2, -1)
    torch.sub(torch.clamp(rows, min=0, out=excitation), rows, out=inhibition)
    return both


def _run_floored_backward(
    g_spikes: Tensor,
    traces: Traces,
    inputs: Inputs,
    layer: LayerTensors,
    rules: Sequence[int],
    numbers: Sequence[float],
    weight: tuple[int, Targets],
) -> tuple[Tensor, Tensor, Tensor, WeightSums]:
    """Gradients of current, recurrent weight and coefficients, and of the sizes of the weight by block, each for every
    chip; as :func:`.operators._run_lif_backward`."""
    recurrent, coefficients, refractory, lists = layer
    n_in, input_targets = weight
    chips, batch, steps, n = traces[0].shape
    has_recurrent, dtype = recurrent.shape[0] > 0, g_spikes.dtype
    size = traces[0].numel()
    targets = by_sign(targets_of(recurrent, lists, n), n)
    of_recurrent = partial_sums(recurrent, lists, n * (n if has_recurrent else 1))
    of_weight = input_targets.values.shape[1] or 2 * n * n_in
    together = rows_together(batch, len(lists) > 0)
    blocks = blocks_of(batch, size // chips, of_recurrent + of_weight, together)
    g_current = empty((0 if n_in else chips, batch, steps, 2 * n), dtype)
    results = (
        g_current.numpy(),
        room_for_sums((chips, len(blocks), floored.COEFFICIENTS, n), dtype),
        room_for_weight((chips, len(blocks)), (n if has_recurrent else 0, n), targets, dtype),
        room_for_weight((chips, len(blocks)), (n_in, 2 * n), input_targets, dtype),
    )
    own = array(coefficients), array(refractory), tuple(rules[:3])
    by_source, by_target = (
        (np.empty((0, n, n), own[0].dtype),) * 2 if len(lists) else map(array, (recurrent.mT, recurrent))
    )
    run_blocks(
        floored_backward.floored_backward_blocks, chips, blocks, size, array(g_spikes), tuple(map(array, traces)),
        inputs, input_targets, Recurrent(by_source, by_target, targets), own,
        tuple(results[0].dtype.type(number) for number in numbers), results,
    )  # fmt: skip
    g_recurrent = gradient_of(results[2], targets) if has_recurrent else torch.zeros_like(recurrent)
    return (
        g_current,
        signed_gradient(recurrent, g_recurrent, g_recurrent) if len(lists) else g_recurrent,
        total(results[1]),
        results[3],
    )


@operator
def floored_op(
    current: Tensor, recurrent: Tensor, coefficients: Tensor, refractory: Tensor, lists: Tensor, rules: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Spikes and, if the last of the rules says so, the membrane before the floor, above v_leak, and excitation; and
    inhibition if it only cancels.

    Shapes: current (c, B, T, 2n); recurrent (c, n, n), (0, n, n) for none, or (c, k) with lists; coefficients
    (c, 13, n).
    """
    n = coefficients.shape[-1]
    shape = (chips_of(current, recurrent, coefficients, refractory), *current.shape[1:3], n)
    layer = recurrent, coefficients, refractory, lists
    return _run_floored(array(current), no_synapses(current), layer, shape, rules)


@fake(floored_op)
def _(
    current: Tensor, recurrent: Tensor, coefficients: Tensor, refractory: Tensor, lists: Tensor, rules: Sequence[int]
) -> tuple[Tensor, ...]:
    shape = (chips_of(current, recurrent, coefficients, refractory), *current.shape[1:3], coefficients.shape[-1])
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
    lists: Tensor,
    rules: Sequence[int],
    numbers: Sequence[float],
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of :func:`floored_op` in current, recurrent and coefficients, each for every chip."""
    layer, traces = (recurrent, coefficients, refractory, lists), (spikes, u, exc, inh)
    no_weight = 0, targets_of(spikes, NO_LISTS, 0)
    return _run_floored_backward(g_spikes, traces, no_inputs(spikes), layer, rules, numbers, no_weight)[:3]


def _shapes(spikes: Tensor, recurrent: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of the gradients of recurrent weight and coefficients."""
    chips, n = spikes.shape[0], spikes.shape[-1]
    return (chips if recurrent.shape[0] else 0, *recurrent.shape[1:]), (chips, floored.COEFFICIENTS, n)


@fake(floored_backward_op)
def _(*inputs: Any) -> tuple[Tensor, ...]:
    _, spikes, _, _, _, recurrent, *_ = inputs
    current = (*spikes.shape[:3], 2 * spikes.shape[-1])
    return tuple(spikes.new_empty(shape) for shape in (current, *_shapes(spikes, recurrent)))


@operator
def floored_layer_op(
    x: Tensor,
    weight: Tensor,
    recurrent: Tensor,
    coefficients: Tensor,
    refractory: Tensor,
    weight_lists: Tensor,
    lists: Tensor,
    rules: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """:func:`floored_op` of the current that x makes; weight (c, n, n_in), or (c, k) with lists. The current is
    never kept where the input or the weight is sparse."""
    layer, events, n = (recurrent, coefficients, refractory, lists), events_of(x), coefficients.shape[-1]
    if not len(weight_lists) and not gathers(events, 2 * n):
        current = project(events, _parts(weight), weight.new_empty((0, 2 * n)), weight_lists, False)
        return floored_op(current, *layer, rules)
    shape = (chips_of(x, weight, *layer[:3]), *x.shape[1:3], n)
    weights = _signed_weights(weight, weight_lists, x.shape[3], n)
    synapses = Synapses(*events.arrays, weights, np.empty((1, 0), array(weight[:0]).dtype))
    return _run_floored(weight.new_empty((1, 1, 0, 0)).numpy(), synapses, layer, shape, rules)


@fake(floored_layer_op)
def _(
    x: Tensor,
    weight: Tensor,
    recurrent: Tensor,
    coefficients: Tensor,
    refractory: Tensor,
    weight_lists: Tensor,
    lists: Tensor,
    rules: Sequence[int],
) -> tuple[Tensor, ...]:
    shape = (chips_of(x, weight, recurrent, coefficients, refractory), *x.shape[1:3], coefficients.shape[-1])
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
    weight_lists: Tensor,
    lists: Tensor,
    rules: Sequence[int],
    numbers: Sequence[float],
    needs: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of :func:`floored_layer_op` in x, weight, recurrent and coefficients, each for every chip; ``needs``
    says whether those in x and weight are needed; where not, they are empty."""
    layer, traces, events = (recurrent, coefficients, refractory, lists), (spikes, u, exc, inh), events_of(x)
    n, n_in, listed = spikes.shape[3], x.shape[3], len(weight_lists) > 0
    by_events = needs[1] and (listed or gathers(events, 2 * n))
    weights = _signed_weights(weight, weight_lists, n_in, n) if listed else None
    if by_events and not needs[0]:
        targets = targets_of(weight, weight_lists, n_in) if weights is None else weights.targets
        _, g_recurrent, g_coefficients, sums = _run_floored_backward(
            g_spikes, traces, events.arrays, layer, rules, numbers, (n_in, targets)
        )
        g_x, g_weight = x.new_empty((0, *x.shape[1:])), total(sums.values) if listed else total(sums.rows).mT
    else:
        g_current, g_recurrent, g_coefficients = floored_backward_op(g_spikes, *traces, *layer, rules, numbers)
        if weights is None:
            g_x, g_weight = project_backward(g_current, events, _parts(weight), weight_lists, needs, by_events)
        else:
            g_x, g_weight = listed_backward(g_current, events, weights, needs)
    if listed and needs[1]:
        g_weight = signed_gradient(weight, g_weight, g_weight)
    elif needs[1]:
        excitation, inhibition = g_weight.chunk(2, 1)
        g_weight = contiguous(signed_gradient(weight, excitation, inhibition))
    else:
        g_weight = weight.new_empty((0, *weight.shape[1:]))
    return g_x, g_weight, g_recurrent, g_coefficients


def _parts(weight: Tensor) -> Tensor:
    """Excitation above inhibition: (c, n, n_in) → (c, 2n, n_in)."""
    positive = weight.clamp(min=0)
    return torch.cat([positive, positive - weight], 1)


@fake(floored_layer_backward_op)
def _(*inputs: Any) -> tuple[Tensor, ...]:
    _, spikes, _, _, _, x, weight, recurrent, *_, needs = inputs
    chips = spikes.shape[0]
    g_x, g_weight = (chips if needs[0] else 0, *x.shape[1:]), (chips if needs[1] else 0, *weight.shape[1:])
    return tuple(spikes.new_empty(shape) for shape in (g_x, g_weight, *_shapes(spikes, recurrent)))
