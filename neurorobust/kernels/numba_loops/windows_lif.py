"""A layer of leaky integrate-and-fire neurons behind a convolution, forward and backward: sample after sample, with
channels last; see :mod:`.windows` and :mod:`.lif`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import ndarray

from .intrinsics import parallel_for
from .jit import jit, njit_no_nrt
from .lif import GAIN, RHO, SURROGATE_SCALE, SpikeRows, lif_forward_row
from .lif_backward import Chip, lif_backward_group, scratch_for, trace_adaptation
from .records import EventLists, RowEvents, Targets, Traces
from .rows import add_1, clear, cleared, positions
from .windows import channels_last, convolve_frame, frame_back, frame_for, sum_places


class Numbers(NamedTuple):
    """A layer's numbers: weight (chips, numbers), bias (chips, width), coefficients (chips, 9, last) and refractory
    steps (chips, last), all with channels last, and its rules."""

    weight: ndarray
    bias: ndarray
    coefficients: ndarray
    refractory: ndarray
    rules: tuple


@njit_no_nrt
def spikes_first(out, last, places, channels, width):
    """The same spikes with channels first."""
    clear(out)
    size, one = out.shape[0] // channels, out.dtype.type(1)
    for k in range(positions(last, places)):
        out[places[k] % width * size + places[k] // width] = one


@njit_no_nrt
def spikes_last(out, first, places, channels, width):
    """The reverse of :func:`spikes_first`."""
    clear(out)
    size, one = first.shape[0] // channels, out.dtype.type(1)
    for k in range(positions(first, places)):
        out[places[k] % size * width + places[k] // size] = one


class Room(NamedTuple):
    """Room for one sample of a chip.

    Attributes:
        current, spikes, g_spikes: (1, steps, last); what arrives and its gradient share one. places: (last,).
        nothing: (steps, 0), and lists of no events. no_targets: of a weight that does not exist.
    """

    current: ndarray
    spikes: ndarray
    g_spikes: ndarray
    places: ndarray
    nothing: ndarray
    no_lists: EventLists
    no_targets: Targets


@jit
def room_for(steps, last, backward, dtype):
    """Room for a sample."""
    nowhere, none = np.empty(0, np.int32), np.empty(0, dtype)
    return Room(
        cleared(steps, last, dtype).reshape(1, steps, last),
        cleared(steps, last, dtype).reshape(1, steps, last),
        cleared(steps * backward, last, dtype).reshape(1, steps * backward, last),
        np.empty(last, np.int32),
        np.empty((steps, 0), dtype),
        EventLists(np.empty(0, np.int64), nowhere, none),
        Targets(nowhere, nowhere, none),
    )


@njit_no_nrt
def forward_sample(row, x, lists, numbers, geometry, room, scratch, frame, spikes, v):
    """One sample through the convolution, then through the neurons."""
    weight, bias, own, refractory, rules = numbers
    (channels, width), reach, pooled = geometry
    current, own_spikes = room.current[0], room.spikes[0]
    steps = current.shape[0]
    for t in range(steps):
        convolve_frame(current[t], x[t], lists, row * steps + t, weight, bias, reach, pooled, frame)
    inputs = room.nothing, room.no_lists, 0, room.nothing, room.no_targets, bias
    recurrent = room.nothing, room.no_targets
    lif_forward_row(current, inputs, recurrent, own, refractory, rules, Traces(own_spikes, v), scratch)
    for t in range(steps):
        spikes_first(spikes[t], own_spikes[t], room.places, channels, width)


@jit
def of_chip(chip, numbers):
    """The numbers of one chip."""
    weight, bias, coefficients, refractory, rules = numbers
    return (
        weight[min(chip, len(weight) - 1)],
        bias[min(chip, len(bias) - 1)],
        coefficients[min(chip, len(coefficients) - 1)],
        refractory[min(chip, len(refractory) - 1)],
        rules,
    )


@jit
def convolve_lif(chip, low, high, inputs, numbers, geometry, traces):
    """Spikes of samples ``low`` to ``high``, (chips, batch, steps, n) with channels first, and the membrane above
    v_leak with channels last, (chips, batch, steps, last), where the traces have room for it."""
    x = inputs.x
    steps, dtype, pooled = x.shape[2], x.dtype, geometry[2]
    own = of_chip(chip, numbers)
    last, keep = own[2].shape[1], traces.v.shape[0] > 0
    real, countdown, nowhere = cleared(6, last, dtype), np.empty(last, np.int32), np.empty(0, np.int32)
    room, frame = room_for(steps, last, 0, dtype), frame_for(x.shape[3], pooled, 0, dtype)
    spike_rows = SpikeRows(nowhere, real[0], real[0], np.zeros(1, np.int32))
    scratch = (
        real, np.zeros(last, dtype), countdown, spike_rows, RowEvents(nowhere, real[0]), own[3].max() > 0
    )  # fmt: skip
    for row in range(low, high):
        real[:] = 0
        countdown[:] = 0
        v = traces.v[chip, row] if keep else room.spikes[0, :0]
        from_x, spikes = x[min(chip, len(x) - 1), row], traces.spikes[chip, row]
        forward_sample(row, from_x, inputs.lists, own, geometry, room, scratch, frame, spikes, v)


@njit_no_nrt
def backward_sample(row, x, lists, numbers, geometry, room, scratch, frame, data, width_of_surrogate, results):
    """Back through the neurons, then through the convolution."""
    weight, _, own, _, rules = numbers
    (channels, width), reach, pooled = geometry
    spikes, g_spikes, g_x, g_weight, sums = results
    steps = spikes.shape[0]
    for t in range(steps):
        spikes_last(room.spikes[0, t], spikes[t], room.places, channels, width)
        channels_last(room.g_spikes[0, t], g_spikes[t], channels, width)
    if rules.adaptive:
        trace_adaptation(scratch.b, room.spikes, 0, own[RHO])
    lif_backward_group(0, 1, data, room.no_lists, rules, width_of_surrogate, scratch)
    for t in range(steps):
        gradient = room.current[0, t]
        add_1(sums, gradient)
        to_x = g_x[t] if g_x.shape[0] > 0 else sums[:0]
        frame_back(gradient, x[t], lists, row * steps + t, weight, g_weight, to_x, reach, pooled, frame)


@jit
def convolve_lif_back(chip, block, low, high, gradient, traces, inputs, numbers, geometry, width, results):
    """Gradients of samples ``low`` to ``high`` of :func:`convolve_lif`: of x, (0, …) if it is not needed; of weight,
    (chips, blocks, 0) if it is not needed, bias and coefficients, summed into ``block``."""
    g_x, g_weight, g_bias, g_coefficients = results
    x = inputs.x
    steps, dtype, pooled = x.shape[2], x.dtype, geometry[2]
    own = of_chip(chip, numbers)
    coefficients, refractory, rules = own[2], own[3], numbers.rules
    last = coefficients.shape[1]
    inverse = cleared(2, last, dtype)
    for i in range(last):
        inverse[0, i] = dtype.type(1) / coefficients[GAIN, i] if coefficients[GAIN, i] != 0 else 0
        inverse[1, i] = dtype.type(1) / coefficients[SURROGATE_SCALE, i]
    room, frame = room_for(steps, last, 1, dtype), frame_for(x.shape[3], pooled, 0, dtype)
    scratch = scratch_for(last, (0, 0, 0, 0), 1, steps if rules.adaptive else 1, rules.adaptive, dtype)
    sums, matrix = cleared(1, last, dtype)[0], room.current[0, :0]
    g_coefficients[chip, block][:] = 0
    g_weight[chip, block][:] = 0
    for row in range(low, high):
        scratch.grad_v[:] = 0
        scratch.grad_z_before[:] = 0
        scratch.grad_b[:] = 0
        scratch.drives[:] = 0
        data = Chip(
            coefficients, inverse, refractory, refractory.max(), matrix.reshape(last, 0), matrix.reshape(last, 0),
            room.no_targets, room.no_targets, room.spikes, traces.v[chip, row : row + 1], room.g_spikes,
            room.g_spikes[:0], room.current, room.g_spikes[:0], g_coefficients[chip, block], matrix,
            sums[:0], matrix, sums[:0], sums,
        )  # fmt: skip
        own_g_x = g_x[chip, row] if g_x.shape[0] > 0 else g_x[0:0].reshape(0, x.shape[3])
        parts = traces.spikes[chip, row], gradient[chip, row], own_g_x, g_weight[chip, block], sums
        from_x = x[min(chip, len(x) - 1), row]
        backward_sample(row, from_x, inputs.lists, own, geometry, room, scratch, frame, data, width, parts)
    sum_places(g_bias[chip, block], sums)


_convolve_lif_parallel = parallel_for(convolve_lif, False)
_convolve_lif_back_parallel = parallel_for(convolve_lif_back, True)


@jit
def convolve_lif_blocks(team, chips, blocks, *rest):
    return _convolve_lif_parallel(team, chips, blocks, rest)


@jit
def convolve_lif_back_blocks(team, chips, blocks, *rest):
    return _convolve_lif_back_parallel(team, chips, blocks, rest)
