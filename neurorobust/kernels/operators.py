"""The compiled loops as custom operators of torch, which torch.compile does not look into.

Tensors have a leading chip axis, of length 1 where all chips share one. Sequences are batch first, (chips, B, T, n), so
that each thread reads and writes memory in one stretch. ``rules`` are :class:`~.numba_loops.records.Rules` and whether
the membrane is kept. A weight is a matrix, or it is sparse, (c, k), and has ``lists``: where the synapses of each
source begin, then their targets, as :class:`~neurorobust.core.pattern.Pattern` has them; else these are empty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .blocks import array, blocks_of, contiguous, room_for_sums, rows_together, run_blocks, total
from .events import InputEvents, events_of
from .layer import SKINNY
from .numba_loops import integrate, lif, lif_backward
from .numba_loops import project as loops
from .numba_loops.intrinsics import LANES
from .numba_loops.records import Inputs, LifGradients, LifLayer, Recurrent, Rules, Synapses, Targets, Traces, Weights
from .registration import fake, operator
from .runtime.memory import empty
from .weights import gradient_of, partial_sums, room_for_weight, targets_of, weights_of

LayerTensors = tuple[Tensor, Tensor, Tensor, Tensor]  # recurrent weight, coefficients, refractory steps, lists


NO_LISTS = torch.empty(0, dtype=torch.int32)


def chips_of(*tensors: Tensor) -> int:
    return max(tensor.shape[0] for tensor in tensors)


def no_inputs(like: Tensor) -> Inputs:
    return InputEvents(like.new_empty((1, 1, 0, 0))).arrays


def _run_lif(
    current: np.ndarray, synapses: Synapses, layer: LayerTensors, shape: tuple[int, ...], rules: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Spikes and the membrane above v_leak."""
    recurrent, coefficients, refractory, lists = layer
    *numbers, keep = rules
    spikes, v = empty(shape, coefficients.dtype), empty(shape if keep else (0, *shape[1:]), coefficients.dtype)
    matrix = weights_of(recurrent, lists, shape[3], shape[3])
    own = LifLayer(array(coefficients), array(refractory), Rules(*numbers))
    traces, blocks = Traces(spikes.numpy(), v.numpy()), blocks_of(shape[1], math.prod(shape[1:]))
    run_blocks(lif.lif_forward_blocks, shape[0], blocks, spikes.numel(), current, synapses, matrix, own, traces)
    return spikes, v


def recurrent_of(recurrent: Tensor, lists: Tensor, n: int) -> Recurrent:
    """A recurrent weight as the loops back through time take it."""
    rows, targets = weights_of(recurrent, lists, n, n)
    return Recurrent(rows, rows if len(lists) else array(recurrent), targets)


def no_synapses(like: Tensor) -> Synapses:
    """For a layer whose current is given."""
    weight = Weights(like.new_empty((1, 0, 0)).numpy(), targets_of(like, NO_LISTS, 0))
    return Synapses(*no_inputs(like), weight, like.new_empty((1, 0)).numpy())


def _run_lif_backward(
    gradients: tuple[Tensor, Tensor],
    traces: tuple[Tensor, Tensor],
    inputs: Inputs,
    layer: LayerTensors,
    rules: Sequence[int],
    width: float,
    weight: tuple[int, Targets],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of current, recurrent weight, coefficients, weight and bias, each for every chip.

    Those of weight and bias need the number of inputs, and the weight's lists if it has them; with 0 inputs, those of
    the current are worked out instead.
    """
    recurrent, coefficients, refractory, lists = layer
    n_in, input_targets = weight
    spikes, v = traces
    chips, batch, _, n = spikes.shape
    has_recurrent = recurrent.shape[0] > 0
    of_recurrent = partial_sums(recurrent, lists, n * (n if has_recurrent else 1))
    of_weight = input_targets.values.shape[1] or n * n_in
    together = rows_together(batch, len(lists) > 0)
    blocks = blocks_of(batch, spikes.numel() // chips, of_recurrent + of_weight, together)
    targets = targets_of(recurrent, lists, n)
    n_blocks, dtype = len(blocks), spikes.dtype
    g_current = empty((0 if n_in else chips, *spikes.shape[1:]), dtype)
    sums = LifGradients(
        g_current.numpy(),
        room_for_sums((chips, n_blocks, lif.COEFFICIENTS, n), dtype),
        room_for_weight((chips, n_blocks), (n if has_recurrent else 0, n), targets, dtype),
        room_for_weight((chips, n_blocks), (n_in, n), input_targets, dtype),
        room_for_sums((chips, n_blocks, n) if n_in else (1, 1, n), dtype),
    )
    run_blocks(
        lif_backward.lif_backward_blocks,
        chips,
        blocks,
        spikes.numel(),
        Traces(*map(array, gradients)),
        Traces(array(spikes), array(v)),
        inputs,
        input_targets,
        recurrent_of(recurrent, lists, n),
        LifLayer(array(coefficients), array(refractory), Rules(*rules)),
        spikes.numpy().dtype.type(width),
        sums,
    )
    return (
        g_current,
        gradient_of(sums.recurrent, targets) if has_recurrent else torch.zeros_like(recurrent),
        total(sums.coefficients),
        gradient_of(sums.weight, input_targets),
        total(sums.bias),
    )


@operator
def lif_op(
    current: Tensor, recurrent: Tensor, coefficients: Tensor, refractory: Tensor, lists: Tensor, rules: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Spikes and, if the last of the rules says so, the membrane above v_leak.

    Shapes: current (c, B, T, n); recurrent (c, n, n), row = target, (0, n, n) for none, or (c, k) with lists;
    coefficients (c, 9, n).
    """
    shape = (chips_of(current, recurrent, coefficients, refractory), *current.shape[1:])
    return _run_lif(array(current), no_synapses(current), (recurrent, coefficients, refractory, lists), shape, rules)


@fake(lif_op)
def _(
    current: Tensor, recurrent: Tensor, coefficients: Tensor, refractory: Tensor, lists: Tensor, rules: Sequence[int]
) -> tuple[Tensor, Tensor]:
    shape = (chips_of(current, recurrent, coefficients, refractory), *current.shape[1:])
    return current.new_empty(shape), current.new_empty(shape if rules[-1] else (0, *shape[1:]))


@operator
def lif_backward_op(
    g_spikes: Tensor,
    g_v: Tensor,
    spikes: Tensor,
    v: Tensor,
    recurrent: Tensor,
    coefficients: Tensor,
    refractory: Tensor,
    lists: Tensor,
    rules: Sequence[int],
    width: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of :func:`lif_op` in current, recurrent and coefficients, each for every chip; g_v may be empty."""
    layer, no_weight = (recurrent, coefficients, refractory, lists), (0, targets_of(spikes, NO_LISTS, 0))
    return _run_lif_backward((g_spikes, g_v), (spikes, v), no_inputs(spikes), layer, rules[:-1], width, no_weight)[:3]


@fake(lif_backward_op)
def _(g_spikes: Tensor, g_v: Tensor, spikes: Tensor, v: Tensor, recurrent: Tensor, *_: Any) -> tuple[Tensor, ...]:
    chips, n = spikes.shape[0], spikes.shape[-1]
    return (
        spikes.new_empty(spikes.shape),
        spikes.new_empty((chips if recurrent.shape[0] else 0, *recurrent.shape[1:])),
        spikes.new_empty((chips, lif.COEFFICIENTS, n)),
    )


@operator
def layer_op(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    recurrent: Tensor,
    coefficients: Tensor,
    refractory: Tensor,
    weight_lists: Tensor,
    lists: Tensor,
    rules: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """:func:`lif_op` of the current that :func:`project_op` makes, which is never kept where the input is sparse."""
    layer, events, n = (recurrent, coefficients, refractory, lists), events_of(x), bias.shape[1]
    if not len(weight_lists) and not gathers(events, n):
        return lif_op(project(events, weight, bias, weight_lists, False), *layer, rules)
    shape = _projected(x, n, chips_of(x, weight, bias, *layer[:3]))
    offset = bias if bias.shape[0] else weight.new_zeros((1, n))
    synapses = Synapses(*events.arrays, weights_of(weight, weight_lists, x.shape[3], n), array(offset))
    return _run_lif(weight.new_empty((1, 1, 0, 0)).numpy(), synapses, layer, shape, rules)


@fake(layer_op)
def _(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    recurrent: Tensor,
    coefficients: Tensor,
    refractory: Tensor,
    weight_lists: Tensor,
    lists: Tensor,
    rules: Sequence[int],
) -> tuple[Tensor, Tensor]:
    shape = _projected(x, bias.shape[1], chips_of(x, weight, bias, recurrent, coefficients, refractory))
    return x.new_empty(shape), x.new_empty(shape if rules[-1] else (0, *shape[1:]))


@operator
def layer_backward_op(
    g_spikes: Tensor,
    g_v: Tensor,
    spikes: Tensor,
    v: Tensor,
    x: Tensor,
    weight: Tensor,
    recurrent: Tensor,
    coefficients: Tensor,
    refractory: Tensor,
    weight_lists: Tensor,
    lists: Tensor,
    rules: Sequence[int],
    width: float,
    needs: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of :func:`layer_op` in x, weight, bias, recurrent and coefficients, each for every chip.

    ``needs`` says whether those in x, weight and bias are needed; where not, they are empty.
    """
    layer, traces, gradients = (recurrent, coefficients, refractory, lists), (spikes, v), (g_spikes, g_v)
    events, n_in = events_of(x), x.shape[3]
    by_events = needs[1] and (len(weight_lists) > 0 or gathers(events, spikes.shape[3]))
    if by_events and not needs[0]:
        _, g_recurrent, g_coefficients, g_weight, g_bias = _run_lif_backward(
            gradients, traces, events.arrays, layer, rules[:-1], width, (n_in, targets_of(weight, weight_lists, n_in))
        )
        return (
            x.new_empty((0, *x.shape[1:])),
            g_weight,
            g_bias if needs[2] else g_bias[:0].clone(),
            g_recurrent,
            g_coefficients,
        )
    g_current, g_recurrent, g_coefficients = lif_backward_op(*gradients, *traces, *layer, rules, width)
    g_x, g_weight = project_backward(g_current, events, weight, weight_lists, needs[:2], by_events)
    g_bias = g_current.sum((1, 2)) if needs[2] else g_current.new_empty((0, g_current.shape[-1]))
    return g_x, g_weight, g_bias, g_recurrent, g_coefficients


@fake(layer_backward_op)
def _(*inputs: Any) -> tuple[Tensor, ...]:
    _, _, spikes, _, x, weight, recurrent, *_, needs = inputs
    chips, n = spikes.shape[0], spikes.shape[-1]
    return (
        spikes.new_empty((chips if needs[0] else 0, *x.shape[1:])),
        spikes.new_empty((chips if needs[1] else 0, *weight.shape[1:])),
        spikes.new_empty((chips if needs[2] else 0, n)),
        spikes.new_empty((chips if recurrent.shape[0] else 0, *recurrent.shape[1:])),
        spikes.new_empty((chips, lif.COEFFICIENTS, n)),
    )


@operator
def integrate_op(current: Tensor, alpha: Tensor, gain: Tensor) -> Tensor:
    """v[t] = alpha v[t−1] + gain current[t]; current (c, B, T, n), alpha and gain (c, n)."""
    shape = (chips_of(current, alpha, gain), *current.shape[1:])
    v, blocks = empty(shape, current.dtype), blocks_of(shape[1], math.prod(shape[1:]))
    arrays = array(current), array(alpha), array(gain), v.numpy()
    run_blocks(integrate.filter_forward_blocks, shape[0], blocks, v.numel(), *arrays)
    return v


@fake(integrate_op)
def _(current: Tensor, alpha: Tensor, gain: Tensor) -> Tensor:
    return current.new_empty((chips_of(current, alpha, gain), *current.shape[1:]))


@operator
def integrate_backward_op(
    gradient: Tensor, current: Tensor, v: Tensor, alpha: Tensor, gain: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of :func:`integrate_op` in current, alpha and gain, each for every chip."""
    chips, batch, _, n = v.shape
    blocks = blocks_of(batch, v.numel() // chips, n)
    g_current = empty(v.shape, v.dtype)
    sums = room_for_sums((chips, len(blocks), 2, n), v.dtype)
    arrays = map(array, (gradient, current, v, alpha, gain))
    run_blocks(integrate.filter_backward_blocks, chips, blocks, v.numel(), *arrays, (g_current.numpy(), sums))
    found = total(sums)
    return g_current, found[:, 0].clone(), found[:, 1].clone()


@fake(integrate_backward_op)
def _(gradient: Tensor, current: Tensor, v: Tensor, alpha: Tensor, gain: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    small = (v.shape[0], v.shape[-1])
    return v.new_empty(v.shape), v.new_empty(small), v.new_empty(small)


def gathers(events: InputEvents, n_out: int) -> bool:
    """Whether the rows of a weight where x is not 0 are added up: not for few outputs, where neither that nor torch's
    product pays, and only where it will take less time than the matrix product.

    The prices were measured on one core of a server with AVX-512, in ns per number of x.
    """
    return n_out > SKINNY and 0.6 + events.rate * (2 + 0.062 * n_out) < 0.038 * n_out


def _product(x: Tensor, weight: Tensor, out: Tensor) -> None:
    """out = x weightᵀ: (c, p, q, n_in) → (c, p, q, n_out)."""
    for chip in range(len(out)):
        own, w = x[chip if len(x) > 1 else 0], weight[chip if len(weight) > 1 else 0].T
        torch.mm(own.reshape(-1, own.shape[-1]), w, out=out[chip].view(-1, w.shape[1]))


def _projected(x: Tensor, n_out: int, chips: int) -> tuple[int, ...]:
    return (chips, *x.shape[1:3], n_out)


@operator
def project_op(x: Tensor, weight: Tensor, bias: Tensor, lists: Tensor) -> Tensor:
    """x weightᵀ + bias.

    Shapes: x (c, p, q, n_in); weight (c, n_out, n_in), or (c, k) with lists; bias (c, n_out) or (0, n_out) for none;
    (c, p, q, n_out).
    """
    events = events_of(x)
    return project(events, weight, bias, lists, len(lists) > 0 or gathers(events, bias.shape[1]))


def project(events: InputEvents, weight: Tensor, bias: Tensor, lists: Tensor, by_events: bool) -> Tensor:
    """:func:`project_op` in the way that was chosen."""
    x, n_out = events.x, bias.shape[1]
    out = empty(_projected(x, n_out, chips_of(x, weight, bias)), x.dtype)
    if n_out > SKINNY and not by_events:
        _product(x, weight, out)
        return out.add_(bias[:, None, None]) if bias.shape[0] else out
    offset = array(bias if bias.shape[0] else x.new_zeros((1, n_out)))
    blocks = blocks_of(out.shape[1] * out.shape[2], max(x.numel() // len(x), out.numel() // len(out)))
    size = x.numel() + out.numel()
    if by_events:
        arrays = events.arrays, weights_of(weight, lists, x.shape[3], n_out), offset, out.numpy()
        run_blocks(loops.gather_blocks, len(out), blocks, size, *arrays)
    else:
        run_blocks(loops.skinny_blocks, len(out), blocks, size, x.numpy(), array(weight), offset, out.numpy())
    return out


@fake(project_op)
def _(x: Tensor, weight: Tensor, bias: Tensor, lists: Tensor) -> Tensor:
    return x.new_empty(_projected(x, bias.shape[1], chips_of(x, weight, bias)))


@operator
def project_backward_op(
    gradient: Tensor, x: Tensor, weight: Tensor, lists: Tensor, needs: Sequence[bool]
) -> tuple[Tensor, Tensor]:
    """Gradients of :func:`project_op` in x and weight, each for every chip; empty where it is not needed."""
    events = events_of(x)
    by_events = needs[1] and (len(lists) > 0 or gathers(events, gradient.shape[3]))
    return project_backward(gradient, events, weight, lists, needs, by_events)


def project_backward(
    gradient: Tensor, events: InputEvents, weight: Tensor, lists: Tensor, needs: Sequence[bool], by_events: bool
) -> tuple[Tensor, Tensor]:
    """:func:`project_backward_op` in the way that was chosen."""
    gradient, x = contiguous(gradient), events.x
    if len(lists):
        return listed_backward(gradient, events, weights_of(weight, lists, x.shape[3], gradient.shape[3]), needs)
    chips, p, q, n_out = gradient.shape
    n_in = x.shape[3]
    g_x = empty((chips if needs[0] else 0, *x.shape[1:]), x.dtype)
    if needs[0] and n_out <= SKINNY:
        blocks = blocks_of(p * q, g_x.numel() // chips)
        arrays = array(gradient), array(weight), g_x.numpy()
        run_blocks(loops.skinny_back_blocks, chips, blocks, g_x.numel(), *arrays)
    elif needs[0]:
        _product(gradient, weight.mT, g_x)
    if not needs[1]:
        return g_x, x.new_empty((0, n_out, n_in))
    if n_out > SKINNY and not by_events:
        return g_x, gradient.reshape(chips, p * q, n_out).mT @ x.reshape(len(x), p * q, n_in)
    blocks = blocks_of(p * q, p * q * n_in, n_in * n_out)
    if by_events:
        sums = room_for_sums((chips, len(blocks), n_in, n_out), g_x.dtype)
        run_blocks(loops.scatter_blocks, chips, blocks, x.numel(), events.arrays, array(gradient), sums)
        return g_x, contiguous(total(sums).mT)
    sums = room_for_sums((chips, len(blocks), n_out, n_in), g_x.dtype)
    run_blocks(loops.skinny_scatter_blocks, chips, blocks, x.numel(), x.numpy(), array(gradient), sums)
    return g_x, total(sums)


def listed_backward(
    gradient: Tensor, events: InputEvents, weight: Weights, needs: Sequence[bool]
) -> tuple[Tensor, Tensor]:
    """:func:`project_backward_op` of a sparse weight; of the size of a weight where inhibition is apart."""
    x, synapses = events.x, weight.targets.values.shape[1]
    chips, p, q, _ = gradient.shape
    g_x = empty((chips if needs[0] else 0, *x.shape[1:]), x.dtype)
    if needs[0]:
        blocks = blocks_of(p * q, g_x.numel() // chips, group=LANES)
        run_blocks(loops.credit_x_blocks, chips, blocks, g_x.numel(), weight, array(gradient), g_x.numpy())
    if not needs[1]:
        return g_x, x.new_empty((0, synapses))
    blocks = blocks_of(p * q, p * q * x.shape[3], synapses)
    sums = room_for_sums((chips, len(blocks), synapses), x.dtype)
    run_blocks(
        loops.credit_synapses_blocks, chips, blocks, x.numel(), events.arrays, weight, array(gradient), sums
    )  # fmt: skip
    return g_x, total(sums)


@fake(project_backward_op)
def _(gradient: Tensor, x: Tensor, weight: Tensor, lists: Tensor, needs: Sequence[bool]) -> tuple[Tensor, Tensor]:
    chips = gradient.shape[0]
    wanted = (chips if needs[0] else 0, *x.shape[1:]), (chips if needs[1] else 0, *weight.shape[1:])
    return x.new_empty(wanted[0]), x.new_empty(wanted[1])
