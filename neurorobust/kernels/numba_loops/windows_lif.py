"""A layer of leaky integrate-and-fire neurons behind a convolution, forward and backward: sample after sample, with
channels last; see :mod:`.windows` and :mod:`.lif`.

On the way back there are two loops. Where nobody asks for the gradients of coefficients, and spikes do no more than
subtract, one short loop takes each step through the neurons and the convolution. All else goes through the loop of
:mod:`.lif_backward`, a sample at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import ndarray

from .intrinsics import parallel_for
from .jit import jit, njit_no_nrt, njit_noalias
from .lif import ALPHA, GAIN, RESET_AMOUNT, RHO, SURROGATE_SCALE, THRESHOLD, step
from .lif_backward import Chip, lif_backward_group, scratch_for, spike_derivative, trace_adaptation
from .records import EventLists, Rules, Targets
from .rows import add_1, clear, cleared, copy, positions
from .windows import channels_last, convolve_frame, frame_back, frame_for, sum_places

PART = 512  # neurons that go one step back together: what is only needed in between stays in the first cache


class Numbers(NamedTuple):
    """A layer's numbers: weight, (chips, 1, numbers) as the convolution takes it or (chips, width, numbers of a window)
    as the way back does; the bias everywhere (chips, last), coefficients (chips, 9, last) and refractory steps (chips,
    last), with channels last; and its rules."""

    weight: ndarray
    base: ndarray
    coefficients: ndarray
    refractory: ndarray
    rules: Rules


class Room(NamedTuple):
    """Room for one sample on the way back.

    Attributes:
        current, spikes, g_spikes: (1, steps, last); of what arrives, its gradient. places: (last,).
        no_lists, no_targets: of an input and a weight that do not exist.
    """

    current: ndarray
    spikes: ndarray
    g_spikes: ndarray
    places: ndarray
    no_lists: EventLists
    no_targets: Targets


@njit_no_nrt
def move_spikes(out, spikes, places, order):
    """The same spikes in another order: out[order] = spikes."""
    clear(out)
    one = out.dtype.type(1)
    for k in range(positions(spikes, places)):
        out[order[places[k]]] = one


@jit
def of_chip(chip, numbers):
    """The numbers of one chip."""
    weight, base, coefficients, refractory, rules = numbers
    return Numbers(
        weight[min(chip, len(weight) - 1)],
        base[min(chip, len(base) - 1)],
        coefficients[min(chip, len(coefficients) - 1)],
        refractory[min(chip, len(refractory) - 1)],
        rules,
    )


@njit_no_nrt
def forward_sample(row, x, lists, numbers, geometry, scratch, frame, spikes, v):
    """One sample: every step through the convolution and the neurons."""
    weight, base, own, refractory, rules = numbers
    layout, reach, pooled, _ = geometry
    state, both, countdown, places, has_refractory = scratch
    steps = spikes.shape[0]
    for t in range(steps):
        drive, before, after = frame.out, both[t % 2], both[1 - t % 2]
        convolve_frame(drive, x[t], lists, row * steps + t, weight[0], base, reach, pooled, frame)
        step(drive, before, after, countdown, state, own, refractory, has_refractory, rules)
        move_spikes(spikes[t], after, places, layout.first)
        if v.shape[0] > 0:
            copy(v[t], state[0])


@jit
def convolve_lif(chip, low, high, inputs, numbers, geometry, traces):
    """Spikes of samples ``low`` to ``high``, (chips, batch, steps, n) with channels first, and the membrane above
    v_leak with channels last, (chips, batch, steps, last), where the traces have room for it."""
    x, own = inputs.x, of_chip(chip, numbers)
    last, keep, dtype = own.base.shape[0], traces.v.shape[0] > 0, x.dtype
    frame = frame_for(x.shape[3], geometry[2], last, 0, 0, dtype)
    state, both, countdown = cleared(5, last, dtype), cleared(2, last, dtype), np.empty(last, np.int32)
    scratch = state, both, countdown, np.empty(last, np.int32), own.refractory.max() > 0
    for row in range(low, high):
        state[:] = 0
        both[:] = 0
        countdown[:] = 0
        v = traces.v[chip, row] if keep else both[:0]
        from_x, spikes = x[min(chip, len(x) - 1), row], traces.spikes[chip, row]
        forward_sample(row, from_x, inputs.lists, own, geometry, scratch, frame, spikes, v)


@njit_noalias
def subtracted_step_back(grad_v, grad_z, dz_dv, grad_z_before, alpha, gain, reset_amount, reset_grad, drive):
    """One step back of neurons from which spikes subtract: grad_v becomes the gradient of v, grad_z_before what the
    spikes of the step before get of it, drive the gradient of what arrived."""
    for i in range(grad_v.shape[0]):
        now = alpha[i] * grad_v[i] + grad_z[i] * dz_dv[i]
        grad_v[i] = now
        grad_z_before[i] = -reset_grad * now * reset_amount[i]
        drive[i] = gain[i] * now


@njit_no_nrt
def short_sample_back(row, x, lists, numbers, geometry, frame, v, g_spikes, width, scratch, results):
    """Every step back through the neurons and the convolution, without gradients of coefficients."""
    rows, inverse_scale, own, _, rules = numbers
    arriving, grad_v, grad_z_before, grad_z, dz_dv, u = scratch
    g_x, g_weight, sums = results
    steps, last, drive = g_spikes.shape[0], grad_v.shape[0], frame.out
    reset_grad = grad_v.dtype.type(0 if rules.detach else 1)
    for t in range(steps - 1, -1, -1):
        channels_last(arriving, g_spikes[t], geometry[0])
        for a in range(0, last, PART):
            b = min(a + PART, last)
            part, at, threshold = b - a, v[t, a:b], own[THRESHOLD, a:b]
            spike_derivative(
                rules.surrogate, at, threshold, inverse_scale[a:b], width, arriving[a:b], grad_z_before[a:b],
                grad_z[:part], dz_dv[:part], u[:part],
            )  # fmt: skip
            subtracted_step_back(
                grad_v[a:b], grad_z[:part], dz_dv[:part], grad_z_before[a:b], own[ALPHA, a:b], own[GAIN, a:b],
                own[RESET_AMOUNT, a:b], reset_grad, drive[a:b],
            )  # fmt: skip
        add_1(sums, drive)
        to_x = g_x[t] if g_x.shape[0] > 0 else sums[:0]
        frame_back(drive, x[t], lists, row * steps + t, rows, g_weight, to_x, geometry, frame)


@njit_no_nrt
def sample_back(row, x, lists, numbers, geometry, room, scratch, frame, data, width, results):
    """Back through the neurons, then through the convolution."""
    rows, _, own, _, rules = numbers
    spikes, g_spikes, g_x, g_weight, sums = results
    steps = spikes.shape[0]
    for t in range(steps):
        move_spikes(room.spikes[0, t], spikes[t], room.places, geometry[0].last)
        channels_last(room.g_spikes[0, t], g_spikes[t], geometry[0])
    if rules.adaptive:
        trace_adaptation(scratch.b, room.spikes, 0, own[RHO])
    lif_backward_group(0, 1, data, room.no_lists, rules, width, scratch)
    for t in range(steps):
        add_1(sums, room.current[0, t])
        to_x = g_x[t] if g_x.shape[0] > 0 else sums[:0]
        frame_back(room.current[0, t], x[t], lists, row * steps + t, rows, g_weight, to_x, geometry, frame)


@jit
def short_back(chip, low, high, gradient, traces, inputs, own, geometry, frame, width, results):
    """:func:`convolve_lif_back` without gradients of coefficients."""
    g_x, g_weight, sums = results
    last, dtype, x = own.base.shape[0], sums.dtype, inputs.x
    inverse = cleared(1, last, dtype)[0]
    for i in range(last):
        inverse[i] = dtype.type(1) / own.coefficients[SURROGATE_SCALE, i]
    numbers = Numbers(own.weight, inverse, own.coefficients, own.refractory, own.rules)
    real, part = cleared(3, last, dtype), cleared(3, PART, dtype)
    scratch = real[0], real[1], real[2], part[0], part[1], part[2]
    for row in range(low, high):
        real[:] = 0
        own_g_x = g_x[chip, row] if len(g_x) else real[:0]
        parts = own_g_x, g_weight, sums
        from_x, v, arriving = x[min(chip, len(x) - 1), row], traces.v[chip, row], gradient[chip, row]
        short_sample_back(row, from_x, inputs.lists, numbers, geometry, frame, v, arriving, width, scratch, parts)


@jit
def room_for(steps, last, dtype):
    """Room for a sample."""
    nowhere, none = np.empty(0, np.int32), np.empty(0, dtype)
    return Room(
        cleared(steps, last, dtype).reshape(1, steps, last),
        cleared(steps, last, dtype).reshape(1, steps, last),
        cleared(steps, last, dtype).reshape(1, steps, last),
        np.empty(last, np.int32),
        EventLists(np.empty(0, np.int64), nowhere, none),
        Targets(nowhere, nowhere, none),
    )


@jit
def long_back(chip, low, high, gradient, traces, inputs, own, geometry, frame, width, results):
    """:func:`convolve_lif_back` with gradients of coefficients, ``sums_of``."""
    g_x, g_weight, sums, sums_of = results
    x, coefficients, rules = inputs.x, own.coefficients, own.rules
    steps, last, dtype = x.shape[2], own.base.shape[0], sums.dtype
    inverse = cleared(2, last, dtype)
    for i in range(last):
        inverse[0, i] = dtype.type(1) / coefficients[GAIN, i] if coefficients[GAIN, i] != 0 else 0
        inverse[1, i] = dtype.type(1) / coefficients[SURROGATE_SCALE, i]
    room = room_for(steps, last, dtype)
    scratch = scratch_for(last, (0, 0, 0, 0), 1, steps if rules.adaptive else 1, rules.adaptive, dtype)
    nothing, longest = room.current[0, :0], own.refractory.max()
    for row in range(low, high):
        scratch.grad_v[:] = 0
        scratch.grad_z_before[:] = 0
        scratch.grad_b[:] = 0
        scratch.drives[:] = 0
        data = Chip(
            coefficients, inverse, own.refractory, longest, nothing.reshape(last, 0), nothing.reshape(last, 0),
            room.no_targets, room.no_targets, room.spikes, traces.v[chip, row : row + 1], room.g_spikes,
            room.g_spikes[:0], room.current, room.g_spikes[:0], sums_of, nothing, sums[:0], nothing, sums[:0], sums,
        )  # fmt: skip
        own_g_x = g_x[chip, row] if len(g_x) else nothing
        parts = traces.spikes[chip, row], gradient[chip, row], own_g_x, g_weight, sums
        from_x = x[min(chip, len(x) - 1), row]
        sample_back(row, from_x, inputs.lists, own, geometry, room, scratch, frame, data, width, parts)


@jit
def convolve_lif_back(chip, block, low, high, gradient, traces, inputs, numbers, geometry, width, results):
    """Gradients of samples ``low`` to ``high`` of :func:`convolve_lif`: of x, (0, …) if it is not needed; of weight,
    (chips, blocks, 0) if it is not needed, bias and coefficients, summed into ``block``; those of coefficients
    (chips, blocks, 9, 0) if they are not needed and the short loop can do without."""
    g_x, g_weight, g_bias, g_coefficients = results
    x, back, own = inputs.x, geometry[3], of_chip(chip, numbers)
    last = own.base.shape[0]
    image = min(len(g_x), 1) * back.image_row * (1 + back.image.max() // back.image_row)
    frame, sums = (
        frame_for(x.shape[3], geometry[2], last, image, own.weight.shape[1], x.dtype),
        cleared(1, last, x.dtype),
    )
    g_weight[chip, block][:] = 0
    if g_coefficients.shape[3] == 0:
        found = g_x, g_weight[chip, block], sums[0]
        short_back(chip, low, high, gradient, traces, inputs, own, geometry, frame, width, found)
    else:
        g_coefficients[chip, block][:] = 0
        all_found = g_x, g_weight[chip, block], sums[0], g_coefficients[chip, block]
        long_back(chip, low, high, gradient, traces, inputs, own, geometry, frame, width, all_found)
    sum_places(g_bias[chip, block], sums[0])


_convolve_lif_parallel = parallel_for(convolve_lif, False)
_convolve_lif_back_parallel = parallel_for(convolve_lif_back, True)


@jit
def convolve_lif_blocks(team, chips, blocks, *rest):
    return _convolve_lif_parallel(team, chips, blocks, rest)


@jit
def convolve_lif_back_blocks(team, chips, blocks, *rest):
    return _convolve_lif_back_parallel(team, chips, blocks, rest)
