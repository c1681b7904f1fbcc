"""Leaky integrate-and-fire neurons backward through time; the equations are in :mod:`.lif`.

Rows go in groups of four that share what they read of the recurrent matrix: few neurons whose surrogate derivative is
not 0 are worked out one by one, many as a small matrix product. The gradient of a matrix is added up for some steps at
once. ``grad_v`` is the gradient of v, ``grad_z`` of the spikes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy import ndarray

from .intrinsics import LANES, parallel_for
from .jit import jit, njit_inline, njit_no_nrt, njit_noalias
from .lif import ADAPTATION, ALPHA, GAIN, RESET_AMOUNT, RESET_VALUE, RHO, SURROGATE_SCALE, SYN, THRESHOLD
from .records import CollectedEvents, GatherSpace, RowEvents, SortSpace, Targets
from .rows import (
    CHUNK,
    GROUP,
    add_1,
    add_collected,
    cleared,
    copy,
    count_set,
    dots_of_listed,
    fetch,
    positions,
    products,
)
from .targets import gather_space, gather_targets, targets_of, weight_events


class Scratch(NamedTuple):
    """Room for a group of rows.

    Attributes:
        grad_v, grad_z_before, grad_z, grad_b, u, dz_dv, reset_now: (4, n), a row of numbers for each row of the batch;
            ``grad_z_before`` is what arrives at the spikes of the step before.
        drives: gradients of the currents of some steps, (4 + 4 steps, n); of two where no matrix collects them.
        at_rest, threshold_now, inverse_scale, s, unused: (n,); the first stays 0.
        places: (n,). b: the adaptation of all steps, (4, steps, n).
        spikes, inputs: events of these steps. spike_space, input_space: room to sort them. event, gather: room for
            lists of targets.
    """

    grad_v: ndarray
    grad_z_before: ndarray
    grad_z: ndarray
    grad_b: ndarray
    u: ndarray
    dz_dv: ndarray
    reset_now: ndarray
    drives: ndarray
    at_rest: ndarray
    threshold_now: ndarray
    inverse_scale: ndarray
    s: ndarray
    unused: ndarray
    places: ndarray
    b: ndarray
    spikes: CollectedEvents
    inputs: CollectedEvents
    spike_space: SortSpace
    input_space: SortSpace
    event: RowEvents
    gather: GatherSpace


class Chip(NamedTuple):
    """One chip's part of the arrays: those read, and the gradients.

    Attributes:
        own, inverse: coefficients (9, n), and one over gain and surrogate scale (2, n).
        refractory: (n,). longest: the largest of them.
        by_source, by_target: the recurrent matrix, (n, n), or (n, 0) for none. targets, input_targets: the lists of
            recurrent and input weight.
        spikes, v, g_spikes, g_v, g_current: (batch, steps, n); g_v, g_current and x may be empty. x: (batch, steps,
            n_in).
        sums, g_recurrent, g_targets, g_weight, g_input_targets, g_bias: of this block.
    """

    own: ndarray
    inverse: ndarray
    refractory: ndarray
    longest: int
    by_source: ndarray
    by_target: ndarray
    targets: Targets
    input_targets: Targets
    spikes: ndarray
    v: ndarray
    g_spikes: ndarray
    g_v: ndarray
    g_current: ndarray
    x: ndarray
    sums: ndarray
    g_recurrent: ndarray
    g_targets: ndarray
    g_weight: ndarray
    g_input_targets: ndarray
    g_bias: ndarray


@njit_noalias
def threshold_of(b, threshold, reset_amount, scale, adaptation, widens, threshold_now, inverse_scale, reset_now):
    """The threshold at this adaptation, one over the surrogate's scale there, and the amount of a reset."""
    one = b.dtype.type(1)
    for i in range(b.shape[0]):
        gained = adaptation[i] * b[i]
        threshold_now[i] = threshold[i] + gained
        inverse_scale[i] = one / (scale[i] + widens * gained)
        reset_now[i] = reset_amount[i] + gained


@njit_noalias
def triangle(v, threshold, inverse_scale, width, arriving, grad_z_before, grad_z, dz_dv, u):
    """The gradient of the spikes, ``arriving`` from outside and ``grad_z_before`` by way of the step after;
    u = (v − threshold) · inverse_scale, and the derivative of the spike in v there."""
    one = v.dtype.type(1)
    half_width = width * v.dtype.type(0.5)
    for i in range(v.shape[0]):
        at = (v[i] - threshold[i]) * inverse_scale[i]
        inside = one - abs(at)
        dz_dv[i] = half_width * (inside + abs(inside)) * inverse_scale[i]
        u[i] = at
        grad_z[i] = arriving[i] + grad_z_before[i]


@njit_noalias
def fast_sigmoid(v, threshold, inverse_scale, width, arriving, grad_z_before, grad_z, dz_dv, u):
    """As :func:`triangle`."""
    one = v.dtype.type(1)
    for i in range(v.shape[0]):
        at = (v[i] - threshold[i]) * inverse_scale[i]
        outside = one + width * abs(at)
        dz_dv[i] = inverse_scale[i] / (outside * outside)
        u[i] = at
        grad_z[i] = arriving[i] + grad_z_before[i]


@njit_noalias
def arctan(v, threshold, inverse_scale, width, arriving, grad_z_before, grad_z, dz_dv, u):
    """As :func:`triangle`."""
    one = v.dtype.type(1)
    scale = v.dtype.type(1 / math.pi) * width
    for i in range(v.shape[0]):
        at = (v[i] - threshold[i]) * inverse_scale[i]
        dz_dv[i] = scale * inverse_scale[i] / (one + width * width * at * at)
        u[i] = at
        grad_z[i] = arriving[i] + grad_z_before[i]


@njit_inline
def spike_derivative(rule, v, threshold, inverse_scale, width, arriving, grad_z_before, grad_z, dz_dv, u):
    """That of the surrogate with this number; as :func:`triangle`."""
    if rule == 0:
        triangle(v, threshold, inverse_scale, width, arriving, grad_z_before, grad_z, dz_dv, u)
    elif rule == 1:
        fast_sigmoid(v, threshold, inverse_scale, width, arriving, grad_z_before, grad_z, dz_dv, u)
    else:
        arctan(v, threshold, inverse_scale, width, arriving, grad_z_before, grad_z, dz_dv, u)


@njit_noalias
def suppress_gradient(dz_dv, earlier, refractory, back):
    """No derivative for neurons that spiked ``back`` steps ago and are still in their refractory steps."""
    zero = dz_dv.dtype.type(0)
    for i in range(dz_dv.shape[0]):
        dz_dv[i] = dz_dv[i] if back > refractory[i] or earlier[i] == zero else zero


@njit_noalias
def step_back(
    grad_v, grad_z, dz_dv, u, s, grad_z_before, v, v_before, z_before, reset_now, numbers, g_v, sums, reset_grad
):
    """One step back of a neuron from which spikes subtract: grad_v becomes the gradient of v, grad_z what passed the
    surrogate, s the current that had arrived, and grad_z_before what the spikes of the step before get of it."""
    alpha, inverse_gain = numbers
    to_alpha, to_gain, to_threshold, to_scale, to_reset = sums
    for i in range(grad_v.shape[0]):
        arrived = (v[i] - alpha[i] * v_before[i] + z_before[i] * reset_now[i]) * inverse_gain[i]
        through = grad_z[i] * dz_dv[i]
        now = alpha[i] * grad_v[i] + through + g_v[i]
        s[i] = arrived
        grad_z[i] = through
        grad_v[i] = now
        to_threshold[i] -= through
        to_scale[i] -= through * u[i]
        to_gain[i] += now * arrived
        to_alpha[i] += now * v_before[i]
        to_reset[i] -= now * z_before[i]
        grad_z_before[i] = -reset_grad * now * reset_now[i]


@njit_noalias
def step_back_to_value(
    grad_v, grad_z, dz_dv, u, s, grad_z_before, v, v_before, z_before, spikes, numbers, g_v, sums, reset_grad
):
    """One step back of a neuron that starts again from ``reset_value`` after a spike; as :func:`step_back`."""
    alpha, inverse_gain, reset_value = numbers
    to_alpha, to_gain, to_threshold, to_scale, to_value = sums
    one = grad_v.dtype.type(1)
    for i in range(grad_v.shape[0]):
        missing = reset_value[i] - v_before[i]
        began = v_before[i] + z_before[i] * missing
        arrived = (v[i] - alpha[i] * began) * inverse_gain[i]
        through = grad_z[i] * dz_dv[i]
        now = alpha[i] * grad_v[i] * (one - spikes[i]) + through + g_v[i]
        s[i] = arrived
        grad_z[i] = through
        grad_v[i] = now
        to_threshold[i] -= through
        to_scale[i] -= through * u[i]
        to_gain[i] += now * arrived
        to_alpha[i] += now * began
        to_value[i] += now * z_before[i] * alpha[i]
        grad_z_before[i] = reset_grad * now * alpha[i] * missing


@njit_noalias
def drive_gradient(drive, grad_v, gain, out):
    """The gradient of what arrived."""
    for i in range(grad_v.shape[0]):
        drive[i] = gain[i] * grad_v[i]
        out[i] = gain[i] * grad_v[i]


@njit_noalias
def filtered_drive_gradient(drive, later, grad_v, gain, syn, s, to_syn, out):
    """:func:`drive_gradient` through a synapse, ``later`` being that of the step after."""
    for i in range(grad_v.shape[0]):
        to_syn[i] += later[i] * s[i]
        now = gain[i] * grad_v[i] + syn[i] * later[i]
        drive[i] = now
        out[i] = now


@njit_noalias
def adaptation_back(
    grad_b, grad_v, grad_z, u, grad_z_before, b, b_before, z_before, rho, adaptation, widens, to_rho, to_adaptation
):
    """One step back of the adaptation."""
    one = grad_v.dtype.type(1)
    for i in range(grad_v.shape[0]):
        gained = -grad_z[i] * (one + widens * u[i]) - grad_v[i] * z_before[i]  # dL/d(adaptation · b)
        now = rho[i] * grad_b[i] + adaptation[i] * gained
        grad_b[i] = now
        to_adaptation[i] += gained * b[i]
        to_rho[i] += now * (b_before[i] - z_before[i])
        grad_z_before[i] += (one - rho[i]) * now


@njit_noalias
def decay_towards(now, before, z, rho):
    """now = rho before + (1 − rho) z."""
    one = rho.dtype.type(1)
    for i in range(now.shape[0]):
        now[i] = rho[i] * before[i] + (one - rho[i]) * z[i]


@njit_no_nrt
def trace_adaptation(b, spikes, first, rho):
    """b[t] = rho b[t−1] + (1 − rho) z[t−1] of the group of rows from ``first`` on."""
    for r in range(b.shape[0]):
        for t in range(1, b.shape[1]):
            decay_towards(b[r, t], b[r, t - 1], spikes[first + r, t - 1], rho)


@njit_inline
def spike_gradient(t, first, group, chip, rules, width, widens, scratch):
    """Gradient at the spikes of step t (from outside, and through the next step), and their derivative in v."""
    own, u, grad_z, dz_dv, grad_z_before = chip.own, scratch.u, scratch.grad_z, scratch.dz_dv, scratch.grad_z_before
    for r in range(group):
        row = first + r
        v, arriving = chip.v[row, t], chip.g_spikes[row, t]
        if t > 1:  # backwards in time is no order that a processor foresees
            fetch(chip.v[row, t - 2])
            fetch(chip.spikes[row, t - 2])
            fetch(chip.g_spikes[row, t - 1])
        threshold, inverse_scale = own[THRESHOLD], chip.inverse[1]
        if rules.adaptive:
            threshold, inverse_scale = scratch.threshold_now, scratch.inverse_scale
            threshold_of(
                scratch.b[r, t], own[THRESHOLD], own[RESET_AMOUNT], own[SURROGATE_SCALE], own[ADAPTATION], widens,
                threshold, inverse_scale, scratch.reset_now[r],
            )  # fmt: skip
        spike_derivative(
            rules.surrogate, v, threshold, inverse_scale, width, arriving, grad_z_before[r], grad_z[r], dz_dv[r], u[r]
        )
        for back in range(1, min(chip.longest, t) + 1):
            suppress_gradient(dz_dv[r], chip.spikes[row, t - back], chip.refractory, back)


@njit_inline
def recurrent_gradient(group, chip, later, scratch):
    """Add what the spikes get by way of the recurrent weight, from the drives of the step after."""
    if len(chip.targets.starts):
        gather_targets(scratch.grad_z, scratch.dz_dv, chip.targets, later, group, scratch.gather)
        return
    active = 0
    for r in range(group):
        active += count_set(scratch.dz_dv[r])
    # Four rows at once cost about as much for all neurons as one by one for a third of them.
    if 3 * active > GROUP * chip.spikes.shape[2]:
        products(scratch.grad_z, chip.by_target, later)
    else:
        for r in range(group):
            count = positions(scratch.dz_dv[r], scratch.places)
            dots_of_listed(scratch.grad_z[r], chip.by_source, later[r], scratch.places, count)


@njit_inline
def membrane_gradient(t, r, row, chip, rules, widens, reset_grad, now, later, scratch):
    """One step back of row r of the group: of the membrane, of the adaptation, and of what arrived."""
    own, inverse, sums = chip.own, chip.inverse, chip.sums
    u, grad_v, grad_z, dz_dv = scratch.u[r], scratch.grad_v[r], scratch.grad_z[r], scratch.dz_dv[r]
    grad_z_before, s, at_rest = scratch.grad_z_before[r], scratch.s, scratch.at_rest
    v, z_before = chip.v[row, t], chip.spikes[row, t - 1] if t > 0 else at_rest
    v_before = chip.v[row, t - 1] if t > 0 else at_rest
    g_v = chip.g_v[row, t] if chip.g_v.shape[0] > 0 else at_rest
    # s is what is left of v when the rest of its equation is taken off, so it need not be kept.
    if rules.to_value:
        step_back_to_value(
            grad_v, grad_z, dz_dv, u, s, grad_z_before, v, v_before, z_before, chip.spikes[row, t],
            (own[ALPHA], inverse[0], own[RESET_VALUE]), g_v,
            (sums[ALPHA], sums[GAIN], sums[THRESHOLD], sums[SURROGATE_SCALE], sums[RESET_VALUE]), reset_grad,
        )  # fmt: skip
    else:
        reset_now = scratch.reset_now[r] if rules.adaptive else own[RESET_AMOUNT]
        step_back(
            grad_v, grad_z, dz_dv, u, s, grad_z_before, v, v_before, z_before, reset_now, (own[ALPHA], inverse[0]), g_v,
            (sums[ALPHA], sums[GAIN], sums[THRESHOLD], sums[SURROGATE_SCALE], sums[RESET_AMOUNT]), reset_grad,
        )  # fmt: skip
    out = chip.g_current[row, t] if chip.g_current.shape[0] > 0 else scratch.unused
    if rules.has_syn:
        filtered_drive_gradient(now, later, grad_v, own[GAIN], own[SYN], s, sums[SYN], out)
    else:
        drive_gradient(now, grad_v, own[GAIN], out)
    if rules.adaptive:
        b, b_before = scratch.b[r, t], scratch.b[r, t - 1] if t > 0 else at_rest
        adaptation_back(
            scratch.grad_b[r], grad_v, grad_z, u, grad_z_before, b, b_before, z_before, own[RHO], own[ADAPTATION],
            widens, sums[RHO], sums[ADAPTATION],
        )  # fmt: skip


@njit_no_nrt
def lif_backward_group(first, group, chip, lists, rules, width, scratch):
    """Back through time with as many rows from ``first`` on as the scratch has room for."""
    drives, most = scratch.drives, scratch.grad_v.shape[0]
    steps, dtype = chip.spikes.shape[1], chip.spikes.dtype
    widens, reset_grad = dtype.type(rules.scaled), dtype.type(0 if rules.detach else 1)
    has_recurrent, has_weight = chip.by_source.shape[1] > 0, chip.g_weight.shape[0] > 0
    sends, has_bias = has_recurrent or len(chip.targets.starts) > 0, has_weight or len(chip.input_targets.starts) > 0
    collects = has_recurrent or has_weight  # else two steps are enough, in turns
    binary = True
    slot = 0  # the drives of the step after this one; those collected begin with the next
    for t in range(steps - 1, -1, -1):
        here = slot + most if collects else most - slot
        later, now = drives[slot : slot + most], drives[here : here + most]
        spike_gradient(t, first, group, chip, rules, width, widens, scratch)
        if sends and t + 1 < steps:
            recurrent_gradient(group, chip, later, scratch)
        for r in range(group):
            row, m = first + r, slot + r
            membrane_gradient(t, r, row, chip, rules, widens, reset_grad, now[r], later[r], scratch)
            binary &= weight_events(t, row, m, chip, now[r], lists, scratch)
            if has_bias:
                add_1(chip.g_bias, now[r])
        slot = here
        if collects and (slot + most == drives.shape[0] or t == 0):
            if has_recurrent:
                add_collected(chip.g_recurrent, drives[most:], scratch.spikes, slot, scratch.spike_space, False)
            if has_weight:
                add_collected(chip.g_weight, drives[most:], scratch.inputs, slot, scratch.input_space, not binary)
            for r in range(most):
                copy(drives[r], drives[slot + r])
            slot, binary = 0, True


@jit
def scratch_for(n, sizes, most, steps, adaptive, dtype):
    """Room for a group of ``most`` rows with so many neurons; ``sizes``: how many inputs need the gradient of a matrix
    and of lists, and how many neurons spike through a matrix and through lists."""
    n_in, listed, spiking, sending = sizes
    real, spare = cleared(7 * most, n, dtype).reshape(7, most, n), cleared(5, n, dtype)
    collected = min(CHUNK * GROUP // most, steps) * most if n_in + spiking > 0 else most
    spikes = CollectedEvents(
        np.empty((collected, spiking), np.int32), np.empty((1, 0), dtype), np.zeros(collected, np.int64)
    )
    inputs = CollectedEvents(
        np.empty((collected, n_in), np.int32), np.empty((collected, n_in), dtype), np.zeros(collected, np.int64)
    )
    return Scratch(
        real[0], real[1], real[2], real[3], real[4], real[5], real[6],
        cleared(collected + most, n, dtype),
        spare[0], spare[1], spare[2], spare[3], spare[4],
        np.empty(n, np.int32),
        np.zeros((most if adaptive else 0, steps, n), dtype),
        spikes,
        inputs,
        SortSpace(np.empty(spiking + 1, np.int64), np.empty(collected * spiking, np.int32), np.empty(0, dtype)),
        SortSpace(
            np.empty(n_in + 1, np.int64), np.empty(collected * n_in, np.int32), np.empty(collected * n_in, dtype)
        ),
        RowEvents(np.empty(listed, np.int32), np.empty(listed, dtype)),
        gather_space(sending, n if sending else 0, dtype),
    )  # fmt: skip


@jit
def lif_backward(chip, block, low, high, gradients, traces, inputs, input_targets, recurrent, layer, width, results):
    """Gradients of rows ``low`` to ``high``: of the current, if there is room for it, as they are, of the rest summed
    into ``block``; of weight and bias if there is room for them, from the inputs of :func:`.lif.lif_forward`."""
    spikes, x, rules = traces.spikes, inputs.x, layer.rules
    n, n_in, dtype = spikes.shape[3], x.shape[3], spikes.dtype
    own = layer.coefficients[min(chip, len(layer.coefficients) - 1)]
    refractory = layer.refractory[min(chip, len(layer.refractory) - 1)]
    by_source, by_target = recurrent.by_source, recurrent.by_target
    has_recurrent, has_weight = by_source.shape[0] > 0, results.weight.rows.shape[2] > 0
    lists_recurrent, lists_inputs = len(recurrent.targets.starts) > 0, len(input_targets.starts) > 0
    inverse = cleared(2, n, dtype)
    for i in range(n):
        inverse[0, i] = dtype.type(1) / own[GAIN, i] if own[GAIN, i] != 0 else 0
        inverse[1, i] = dtype.type(1) / own[SURROGATE_SCALE, i]
    most = LANES if lists_recurrent else GROUP
    sizes = n_in if has_weight else 0, n_in if lists_inputs else 0, n if has_recurrent else 0, n * lists_recurrent
    scratch = scratch_for(n, sizes, most, spikes.shape[2], rules.adaptive, dtype)
    place = (chip, block) if has_weight else (0, 0)
    data = Chip(
        own,
        inverse,
        refractory,
        refractory.max(),
        by_source[min(chip, len(by_source) - 1)] if has_recurrent else by_source.reshape(n, 0),
        by_target[min(chip, len(by_target) - 1)] if has_recurrent else by_target.reshape(n, 0),
        targets_of(recurrent.targets, chip),
        targets_of(input_targets, chip),
        spikes[chip],
        traces.v[chip],
        gradients.spikes[chip],
        gradients.v[chip] if gradients.v.shape[0] > 0 else gradients.spikes[chip][:0],
        results.current[chip] if results.current.shape[0] > 0 else spikes[chip][:0],
        x[min(chip, len(x) - 1)],
        results.coefficients[chip, block],
        results.recurrent.rows[chip, block] if has_recurrent else by_source.reshape(n, 0),
        results.recurrent.values[(chip, block) if lists_recurrent else (0, 0)],
        results.weight.rows[place],
        results.weight.values[(chip, block) if lists_inputs else (0, 0)],
        results.bias[(chip, block) if has_weight or lists_inputs else (0, 0)],
    )
    data.sums[:] = 0
    if has_recurrent:
        data.g_recurrent[:] = 0
    if has_weight:
        data.g_weight[:] = 0
    data.g_targets[:] = 0
    data.g_input_targets[:] = 0
    if has_weight or lists_inputs:
        data.g_bias[:] = 0
    for first in range(low, high, most):
        group = min(most, high - first)
        scratch.grad_v[:] = 0
        scratch.grad_z_before[:] = 0
        scratch.grad_z[:] = 0
        scratch.grad_b[:] = 0
        scratch.u[:] = 0
        scratch.dz_dv[:] = 0
        scratch.reset_now[:] = 0
        scratch.drives[:] = 0
        scratch.spikes.counts[:] = 0
        scratch.inputs.counts[:] = 0
        if rules.adaptive:
            trace_adaptation(scratch.b[:group], data.spikes, first, own[RHO])
        lif_backward_group(first, group, data, inputs.lists, rules, width, scratch)


_lif_backward_parallel = parallel_for(lif_backward, True)


@jit
def lif_backward_blocks(team, chips, blocks, *rest):
    return _lif_backward_parallel(team, chips, blocks, rest)
