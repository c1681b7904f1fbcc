"""Current-based neurons with a floor, backward through time; the equations are in :mod:`.floored`.

As :mod:`.lif_backward`: rows in groups of four, gradients of matrices added up for some steps at once. ``grad_u`` is
the gradient of u, ``grad_z`` of the spikes. inh is what is left of u when the rest of its equation is taken off;
where inhibition only cancels, it was kept.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import ndarray

from .floored import (
    AHP,
    ALPHA,
    FLOOR,
    GAIN_EXC,
    GAIN_INH,
    LIFT,
    RAISED,
    RESET_VALUE,
    RHO,
    SURROGATE_SCALE,
    SYN_EXC,
    SYN_INH,
    THRESHOLD,
)
from .intrinsics import LANES, parallel_for
from .jit import jit, njit_inline, njit_no_nrt, njit_noalias
from .lif_backward import spike_derivative
from .records import CollectedEvents, GatherSpace, RowEvents, SortSpace, Targets
from .rows import (
    CHUNK,
    GROUP,
    add_collected,
    add_rows,
    clear,
    cleared,
    copy,
    count_set,
    fetch,
    positions,
    sort_collected,
)
from .signed import signed_dots, signed_products
from .targets import gather_space, gather_targets, targets_of, weight_events


class FlooredScratch(NamedTuple):
    """Room for a group of rows.

    Attributes:
        grad_u, grad_z, grad_b, at, dz_dv: (4, n), a row of numbers for each row of the batch; ``at`` is the distance
            from the threshold that the surrogate takes, ``grad_b`` also what the spikes of the step before get of b.
        drives: gradients of what arrives in some steps, (4 + 4 steps, 2n); of two where no matrix collects them.
        at_rest, free, threshold_now, inverse_scale, limited, left: (n,); the first two stay 0.
        unsigned: (2n,), gradients of a source's weights for both signs.
        places: (n,). b, held: of all steps, (4, steps, n), the second 1 in the refractory steps, else 0.
        spikes, inputs: events of these steps. spike_space, input_space: room to sort them. event, gather: room for
            lists of targets.
    """

    grad_u: ndarray
    grad_z: ndarray
    grad_b: ndarray
    at: ndarray
    dz_dv: ndarray
    drives: ndarray
    at_rest: ndarray
    free: ndarray
    threshold_now: ndarray
    inverse_scale: ndarray
    limited: ndarray
    left: ndarray
    unsigned: ndarray
    places: ndarray
    b: ndarray
    held: ndarray
    spikes: CollectedEvents
    inputs: CollectedEvents
    spike_space: SortSpace
    input_space: SortSpace
    event: RowEvents
    gather: GatherSpace


class FlooredChip(NamedTuple):
    """One chip's part of the arrays: those read, and the gradients.

    Attributes:
        own, inverse: coefficients (13, n), and one over gain_inh and surrogate scale (2, n). refractory: (n,).
        raises: whether the adaptation moves a threshold.
        by_source, by_target: the recurrent matrix, (n, n), or (n, 0) for none. targets, input_targets: the lists of
            recurrent and input weight.
        spikes, u, exc, inh, g_spikes: (batch, steps, n), inh only where inhibition only cancels. g_current: (batch,
            steps, 2n), or none. x: (batch, steps, n_in).
        sums, g_recurrent, g_targets, g_weight, g_input_targets: of this block.
    """

    own: ndarray
    inverse: ndarray
    refractory: ndarray
    raises: bool
    by_source: ndarray
    by_target: ndarray
    targets: Targets
    input_targets: Targets
    spikes: ndarray
    u: ndarray
    exc: ndarray
    inh: ndarray
    g_spikes: ndarray
    g_current: ndarray
    x: ndarray
    sums: ndarray
    g_recurrent: ndarray
    g_targets: ndarray
    g_weight: ndarray
    g_input_targets: ndarray


@njit_noalias
def limit(limited, u, floor):
    """limited = max(u, floor)."""
    for i in range(u.shape[0]):
        limited[i] = floor[i] if u[i] < floor[i] else u[i]


@njit_noalias
def raise_threshold(b, threshold, scale, raised, widens, threshold_now, inverse_scale):
    """The threshold at this adaptation, and one over the surrogate's scale there."""
    one = b.dtype.type(1)
    for i in range(b.shape[0]):
        gained = raised[i] * b[i]
        threshold_now[i] = threshold[i] + gained
        inverse_scale[i] = one / (scale[i] + widens * gained)


@njit_noalias
def reset_gradient(grad_z, dz_dv, grad_u, alpha, limited, reset_value, held):
    """Gradient at the spikes that comes through the reset; no derivative in the refractory steps."""
    zero = grad_z.dtype.type(0)
    for i in range(grad_z.shape[0]):
        grad_z[i] -= alpha[i] * grad_u[i] * (limited[i] - reset_value[i])
        dz_dv[i] = zero if held[i] else dz_dv[i]


@njit_inline
def through_floor(gradient, u, floor, slope):
    """The gradients of u and of the floor from that of the larger of both."""
    one = type(gradient)(1)
    kept = slope if u < floor else one
    return gradient * kept, gradient * (one - kept)


@njit_inline
def started_from(u_before, restarts, floor, reset_value):
    """The membrane at the end of the step before."""
    limited = floor if u_before < floor else u_before
    return reset_value if restarts else limited


@njit_noalias
def step_back(drive_exc, drive_inh, later_exc, later_inh, grad_u, grad_z, dz_dv, at, now, before, numbers, slope, sums):
    """One step back of a neuron: grad_u becomes the gradient of u, grad_z what passed the surrogate, ``drive`` the
    gradients of what arrived at both synapses, ``later`` being those of the step after."""
    (u, z, held, exc, b), (u_before, z_before, held_before, start_floor) = now, before
    alpha, gain_exc, gain_inh, syn_exc, syn_inh, lift, floor, reset_value, ahp, inverse_gain = numbers
    to_alpha, to_gain_exc, to_gain_inh, to_syn_exc, to_syn_inh, to_lift, to_threshold, to_scale, to_floor, to_reset = (
        sums
    )
    zero = grad_u.dtype.type(0)
    for i in range(grad_u.shape[0]):
        carried, through = alpha[i] * grad_u[i], grad_z[i] * dz_dv[i]
        ends, restarts = (z[i] > zero) | (held[i] != 0), (z_before[i] > zero) | (held_before[i] != 0)
        g, at_floor = through_floor((zero if ends else carried) + through, u[i], floor[i], slope)
        start = started_from(u_before[i], restarts, start_floor[i], reset_value[i])
        inh = (alpha[i] * start + gain_exc[i] * exc[i] + lift[i] - ahp[i] * b[i] - u[i]) * inverse_gain[i]
        grad_z[i] = through
        grad_u[i] = g
        to_threshold[i] -= through
        to_scale[i] -= through * at[i]
        to_floor[i] += at_floor
        to_reset[i] += carried if ends else zero
        to_lift[i] += g
        to_alpha[i] += g * start
        to_gain_exc[i] += g * exc[i]
        to_gain_inh[i] -= g * inh
        to_syn_exc[i] += later_exc[i] * exc[i]
        to_syn_inh[i] += later_inh[i] * inh
        drive_exc[i] = gain_exc[i] * g + syn_exc[i] * later_exc[i]
        drive_inh[i] = syn_inh[i] * later_inh[i] - gain_inh[i] * g


@njit_noalias
def cut_step_back(
    drive_exc, drive_inh, later_exc, later_inh, grad_u, grad_z, dz_dv, at, now, before, numbers, slope, sums
):
    """:func:`step_back` where inhibition only cancels; ``slope`` is also the derivative of what is cut."""
    (u, z, held, exc, inh), (u_before, z_before, held_before, start_floor) = now, before
    alpha, gain_exc, gain_inh, syn_exc, syn_inh, lift, floor, reset_value = numbers
    to_alpha, to_gain_exc, to_gain_inh, to_syn_exc, to_syn_inh, to_lift, to_threshold, to_scale, to_floor, to_reset = (
        sums
    )
    zero = grad_u.dtype.type(0)
    for i in range(grad_u.shape[0]):
        carried, through = alpha[i] * grad_u[i], grad_z[i] * dz_dv[i]
        ends, restarts = (z[i] > zero) | (held[i] != 0), (z_before[i] > zero) | (held_before[i] != 0)
        g, at_floor = through_floor((zero if ends else carried) + through, u[i], floor[i], slope)
        start = started_from(u_before[i], restarts, start_floor[i], reset_value[i])
        drive = gain_exc[i] * exc[i] - gain_inh[i] * inh[i] + lift[i]
        driven = slope * g if drive < zero else g
        grad_z[i] = through
        grad_u[i] = g
        to_threshold[i] -= through
        to_scale[i] -= through * at[i]
        to_floor[i] += at_floor
        to_reset[i] += carried if ends else zero
        to_lift[i] += driven
        to_alpha[i] += g * start
        to_gain_exc[i] += driven * exc[i]
        to_gain_inh[i] -= driven * inh[i]
        to_syn_exc[i] += later_exc[i] * exc[i]
        to_syn_inh[i] += later_inh[i] * inh[i]
        drive_exc[i] = gain_exc[i] * driven + syn_exc[i] * later_exc[i]
        drive_inh[i] = syn_inh[i] * later_inh[i] - gain_inh[i] * driven


@njit_noalias
def count_back(grad_b, grad_u, grad_z, at, b, b_before, numbers, widens, sums):
    """One step back of the adaptation."""
    rho, ahp, raised = numbers
    to_rho, to_ahp, to_raised = sums
    one = grad_u.dtype.type(1)
    for i in range(grad_u.shape[0]):
        at_threshold = -grad_z[i] * (one + widens * at[i])
        now = rho[i] * grad_b[i] + raised[i] * at_threshold - ahp[i] * grad_u[i]
        grad_b[i] = now
        to_ahp[i] -= grad_u[i] * b[i]
        to_raised[i] += at_threshold * b[i]
        to_rho[i] += now * b_before[i]


@njit_noalias
def counted(now, before, z, rho):
    """now = rho before + z."""
    for i in range(now.shape[0]):
        now[i] = rho[i] * before[i] + z[i]


@njit_noalias
def hold(held, left, z, refractory):
    """held = 1 where refractory steps are left, of which one passes; z starts them."""
    zero, one = left.dtype.type(0), left.dtype.type(1)
    for i in range(held.shape[0]):
        held[i] = left[i] > zero
        left[i] = refractory[i] if z[i] > zero else left[i] - one


@njit_no_nrt
def trace_states(first, group, chip, scratch):
    """b and the refractory steps of a group of rows, forward through time."""
    b, held, spikes = scratch.b, scratch.held, chip.spikes
    for r in range(group):
        for t in range(1, b.shape[1] if len(b) else 0):
            counted(b[r, t], b[r, t - 1], spikes[first + r, t - 1], chip.own[RHO])
        if len(held):
            clear(scratch.left)
            for t in range(held.shape[1]):
                hold(held[r, t], scratch.left, spikes[first + r, t], chip.refractory)


@njit_inline
def floored_spike_gradient(t, first, group, chip, rules, width, widens, scratch):
    """Gradient at the spikes of step t (from outside, through b, through the reset), and their derivative in v."""
    own = chip.own
    for r in range(group):
        row = first + r
        u, arriving = chip.u[row, t], chip.g_spikes[row, t]
        at, grad_z, dz_dv, grad_b = scratch.at[r], scratch.grad_z[r], scratch.dz_dv[r], scratch.grad_b[r]
        if t > 1:
            fetch(chip.u[row, t - 2])
            fetch(chip.exc[row, t - 1])
            if len(chip.inh):
                fetch(chip.inh[row, t - 1])
            fetch(chip.spikes[row, t - 2])
            fetch(chip.g_spikes[row, t - 1])
        threshold, inverse_scale, limited = own[THRESHOLD], chip.inverse[1], scratch.limited
        if chip.raises:
            threshold, inverse_scale = scratch.threshold_now, scratch.inverse_scale
            raise_threshold(
                scratch.b[r, t], own[THRESHOLD], own[SURROGATE_SCALE], own[RAISED], widens, threshold, inverse_scale
            )  # fmt: skip
        limit(limited, u, own[FLOOR])
        spike_derivative(rules[0], limited, threshold, inverse_scale, width, arriving, grad_b, grad_z, dz_dv, at)
        held = scratch.held[r, t] if len(scratch.held) else scratch.free
        reset_gradient(grad_z, dz_dv, scratch.grad_u[r], own[ALPHA], limited, own[RESET_VALUE], held)


@njit_inline
def floored_recurrent_gradient(group, chip, later, scratch):
    """Add what the spikes get by way of the recurrent weight, from the drives of the step after."""
    if len(chip.targets.starts):
        gather_targets(scratch.grad_z, scratch.dz_dv, chip.targets, later, group, scratch.gather)
        return
    active = 0
    for r in range(group):
        active += count_set(scratch.dz_dv[r])
    if 4 * active > GROUP * chip.spikes.shape[2]:
        signed_products(scratch.grad_z, chip.by_target, later)
    else:
        for r in range(group):
            count = positions(scratch.dz_dv[r], scratch.places)
            signed_dots(scratch.grad_z[r], chip.by_source, later[r], scratch.places, count)


@njit_inline
def floored_membrane_gradient(t, r, row, chip, slope, widens, now, later, scratch):
    """One step back of row r of the group."""
    own, sums, at_rest, n = chip.own, chip.sums, scratch.at_rest, chip.own.shape[1]
    grad_u, grad_z, dz_dv, at = scratch.grad_u[r], scratch.grad_z[r], scratch.dz_dv[r], scratch.at[r]
    has_held, adaptive = len(scratch.held) > 0, len(scratch.b) > 0
    b = scratch.b[r, t] if adaptive else at_rest
    state = chip.u[row, t], chip.spikes[row, t], scratch.held[r, t] if has_held else scratch.free, chip.exc[row, t]
    before = (
        chip.u[row, t - 1] if t > 0 else at_rest,
        chip.spikes[row, t - 1] if t > 0 else at_rest,
        scratch.held[r, t - 1] if has_held and t > 0 else scratch.free,
        own[FLOOR] if t > 0 else at_rest,
    )
    numbers = (
        own[ALPHA], own[GAIN_EXC], own[GAIN_INH], own[SYN_EXC], own[SYN_INH], own[LIFT], own[FLOOR], own[RESET_VALUE]
    )  # fmt: skip
    to = (
        sums[ALPHA], sums[GAIN_EXC], sums[GAIN_INH], sums[SYN_EXC], sums[SYN_INH], sums[LIFT], sums[THRESHOLD],
        sums[SURROGATE_SCALE], sums[FLOOR], sums[RESET_VALUE],
    )  # fmt: skip
    if len(chip.inh):
        cut_step_back(
            now[:n], now[n:], later[:n], later[n:], grad_u, grad_z, dz_dv, at, (*state, chip.inh[row, t]), before,
            numbers, slope, to,
        )  # fmt: skip
    else:
        step_back(
            now[:n], now[n:], later[:n], later[n:], grad_u, grad_z, dz_dv, at, (*state, b), before,
            (*numbers, own[AHP], chip.inverse[0]), slope, to,
        )  # fmt: skip
    if chip.g_current.shape[0] > 0:
        copy(chip.g_current[row, t], now)
    if adaptive:
        b_before = scratch.b[r, t - 1] if t > 0 else at_rest
        count_back(
            scratch.grad_b[r], grad_u, grad_z, at, b, b_before, (own[RHO], own[AHP], own[RAISED]), widens,
            (sums[RHO], sums[AHP], sums[RAISED]),
        )  # fmt: skip


@njit_noalias
def add_by_sign(out, weight, excitation, inhibition):
    """out += the gradient of a weight: of its size where it is negative, with the sign turned."""
    zero = weight.dtype.type(0)
    for i in range(out.shape[0]):
        out[i] += -inhibition[i] if weight[i] < zero else excitation[i]


@njit_no_nrt
def add_recurrent_gradient(chip, drives, collected, steps, space, both):
    """The gradient of the recurrent weight from the spikes of some steps; as :func:`.rows.add_collected`."""
    n = chip.by_source.shape[0]
    sort_collected(collected, steps, space, n, False)
    begin = 0
    for j in range(n):
        count = space.ends[j] - begin
        if count:
            clear(both)
            add_rows(both, drives, space.steps[begin:], count)
            add_by_sign(chip.g_recurrent[j], chip.by_source[j], both[:n], both[n:])
        begin = space.ends[j]


@njit_no_nrt
def floored_backward_group(first, group, chip, lists, rules, numbers, scratch):
    """Back through time with as many rows from ``first`` on as the scratch has room for."""
    width, slope = numbers
    drives, most = scratch.drives, scratch.grad_u.shape[0]
    steps, dtype = chip.spikes.shape[1], chip.spikes.dtype
    widens = dtype.type(rules[1])
    has_recurrent, has_weight = chip.by_source.shape[1] > 0, chip.g_weight.shape[0] > 0
    sends = has_recurrent or len(chip.targets.starts) > 0
    collects = has_recurrent or has_weight  # else two steps are enough, in turns
    binary = True
    slot = 0
    for t in range(steps - 1, -1, -1):
        here = slot + most if collects else most - slot
        later, now = drives[slot : slot + most], drives[here : here + most]
        floored_spike_gradient(t, first, group, chip, rules, width, widens, scratch)
        if sends and t + 1 < steps:
            floored_recurrent_gradient(group, chip, later, scratch)
        for r in range(group):
            row, m = first + r, slot + r
            floored_membrane_gradient(t, r, row, chip, slope, widens, now[r], later[r], scratch)
            binary &= weight_events(t, row, m, chip, now[r], lists, scratch)
        slot = here
        if collects and (slot + most == drives.shape[0] or t == 0):
            if has_recurrent:
                add_recurrent_gradient(chip, drives[most:], scratch.spikes, slot, scratch.spike_space, scratch.unsigned)
            if has_weight:
                add_collected(chip.g_weight, drives[most:], scratch.inputs, slot, scratch.input_space, not binary)
            for r in range(most):
                copy(drives[r], drives[slot + r])
            slot, binary = 0, True


@jit
def floored_scratch(n, sizes, most, steps, adaptive, rests, dtype):
    """Room for a group of rows; as :func:`.lif_backward.scratch_for`."""
    n_in, listed, spiking, sending = sizes
    real, spare = cleared(5 * most, n, dtype).reshape(5, most, n), cleared(5, n, dtype)
    collected = min(CHUNK * GROUP // most, steps) * most if n_in + spiking > 0 else most
    spikes = CollectedEvents(
        np.empty((collected, spiking), np.int32), np.empty((1, 0), dtype), np.zeros(collected, np.int64)
    )
    inputs = CollectedEvents(
        np.empty((collected, n_in), np.int32), np.empty((collected, n_in), dtype), np.zeros(collected, np.int64)
    )
    return FlooredScratch(
        real[0], real[1], real[2], real[3], real[4],
        cleared(collected + most, 2 * n, dtype),
        spare[0], np.zeros(n, np.int8), spare[1], spare[2], spare[3], spare[4],
        cleared(1, 2 * n, dtype)[0],
        np.empty(n, np.int32),
        np.zeros((most if adaptive else 0, steps, n), dtype),
        np.zeros((most if rests else 0, steps, n), np.int8),
        spikes,
        inputs,
        SortSpace(np.empty(spiking + 1, np.int64), np.empty(collected * spiking, np.int32), np.empty(0, dtype)),
        SortSpace(
            np.empty(n_in + 1, np.int64), np.empty(collected * n_in, np.int32), np.empty(collected * n_in, dtype)
        ),
        RowEvents(np.empty(listed, np.int32), np.empty(listed, dtype)),
        gather_space(sending, 2 * n if sending else 0, dtype),
    )  # fmt: skip


@jit
def floored_backward(
    chip, block, low, high, g_spikes, traces, inputs, input_targets, recurrent, layer, numbers, results
):
    """Gradients of rows ``low`` to ``high``; as :func:`.lif_backward.lif_backward`. ``layer``: coefficients, refractory
    steps, and (surrogate, scaled, adaptive); ``numbers``: width of the surrogate and slope of the floor."""
    spikes, u, exc, inh = traces
    coefficients, all_refractory, rules = layer
    g_current, g_coefficients, g_recurrent, g_weight = results
    x = inputs.x
    n, n_in, dtype = spikes.shape[3], x.shape[3], spikes.dtype
    own = coefficients[min(chip, len(coefficients) - 1)]
    refractory = all_refractory[min(chip, len(all_refractory) - 1)]
    by_source, by_target = recurrent.by_source, recurrent.by_target
    has_recurrent, has_weight = by_source.shape[0] > 0, g_weight.rows.shape[2] > 0
    lists_recurrent, lists_inputs = len(recurrent.targets.starts) > 0, len(input_targets.starts) > 0
    inverse = cleared(2, n, dtype)
    for i in range(n):
        inverse[0, i] = dtype.type(1) / own[GAIN_INH, i] if own[GAIN_INH, i] != 0 else 0
        inverse[1, i] = dtype.type(1) / own[SURROGATE_SCALE, i]
    adaptive, rests = rules[2] > 0, refractory.max() > 0
    most = LANES if lists_recurrent else GROUP
    sizes = n_in if has_weight else 0, n_in if lists_inputs else 0, n if has_recurrent else 0, n * lists_recurrent
    scratch = floored_scratch(n, sizes, most, spikes.shape[2], adaptive, rests, dtype)
    place = (chip, block) if has_weight else (0, 0)
    data = FlooredChip(
        own,
        inverse,
        refractory,
        adaptive and count_set(own[RAISED]) > 0,
        by_source[min(chip, len(by_source) - 1)] if has_recurrent else by_source.reshape(n, 0),
        by_target[min(chip, len(by_target) - 1)] if has_recurrent else by_target.reshape(n, 0),
        targets_of(recurrent.targets, chip),
        targets_of(input_targets, chip),
        spikes[chip],
        u[chip],
        exc[chip],
        inh[chip] if inh.shape[0] > 0 else spikes[chip][:0],
        g_spikes[chip],
        g_current[chip] if g_current.shape[0] > 0 else spikes[chip][:0],
        x[min(chip, len(x) - 1)],
        g_coefficients[chip, block],
        g_recurrent.rows[chip, block] if has_recurrent else by_source.reshape(n, 0),
        g_recurrent.values[(chip, block) if lists_recurrent else (0, 0)],
        g_weight.rows[place],
        g_weight.values[(chip, block) if lists_inputs else (0, 0)],
    )
    data.sums[:] = 0
    if has_recurrent:
        data.g_recurrent[:] = 0
    if has_weight:
        data.g_weight[:] = 0
    data.g_targets[:] = 0
    data.g_input_targets[:] = 0
    for first in range(low, high, most):
        group = min(most, high - first)
        scratch.grad_u[:] = 0
        scratch.grad_z[:] = 0
        scratch.grad_b[:] = 0
        scratch.at[:] = 0
        scratch.dz_dv[:] = 0
        scratch.drives[:] = 0
        scratch.spikes.counts[:] = 0
        scratch.inputs.counts[:] = 0
        trace_states(first, group, data, scratch)
        floored_backward_group(first, group, data, inputs.lists, rules, numbers, scratch)


_floored_backward_parallel = parallel_for(floored_backward, True)


@jit
def floored_backward_blocks(team, chips, blocks, *rest):
    return _floored_backward_parallel(team, chips, blocks, rest)
