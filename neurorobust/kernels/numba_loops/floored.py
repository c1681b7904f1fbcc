"""Current-based neurons with a floor, forward through time.

A layer's coefficients are (13, n); u and v are membranes above v_leak, u before the floor acts::

    exc[t] = syn_exc exc[t−1] + excitation        inh[t] = syn_inh inh[t−1] + inhibition
    b[t] = rho b[t−1] + z[t−1]
    u[t] = alpha v[t−1] + gain_exc exc[t] − gain_inh inh[t] + lift − ahp b[t]
    v[t] = reset_value while the refractory steps last, else max(u[t], floor)
    z[t] = 1 if v[t] > threshold + raised b[t] and the refractory steps are over; then v[t] = reset_value

Where inhibition only cancels, what excitation, inhibition and lift add to u is cut at 0.
Whatever arrives is (2n,): excitation, then inhibition; so is every row of a weight, (n_in, 2n).
"""

from __future__ import annotations

import numpy as np

from .intrinsics import parallel_for
from .jit import jit, njit_inline, njit_no_nrt, njit_noalias
from .lif import SpikeRows, add_recurrent
from .records import RowEvents
from .rows import clear, cleared, copy
from .targets import add_input, targets_of

# The rows of the coefficients.
ALPHA, GAIN_EXC, GAIN_INH, SYN_EXC, SYN_INH, LIFT, THRESHOLD, SURROGATE_SCALE, FLOOR, RESET_VALUE = range(10)
RHO, AHP, RAISED = range(10, 13)
COEFFICIENTS = 13


@njit_noalias
def filter_synapses(exc, inh, excitation, inhibition, syn_exc, syn_inh):
    """The synaptic currents of this step."""
    for i in range(exc.shape[0]):
        exc[i] = syn_exc[i] * exc[i] + excitation[i]
        inh[i] = syn_inh[i] * inh[i] + inhibition[i]


@njit_noalias
def drive_membrane(u, v, exc, inh, alpha, gain_exc, gain_inh, lift):
    """The membrane before the floor acts."""
    for i in range(u.shape[0]):
        u[i] = alpha[i] * v[i] + gain_exc[i] * exc[i] - gain_inh[i] * inh[i] + lift[i]


@njit_noalias
def drive_membrane_up(u, v, exc, inh, alpha, gain_exc, gain_inh, lift):
    """:func:`drive_membrane` where inhibition only cancels."""
    zero = u.dtype.type(0)
    for i in range(u.shape[0]):
        drive = gain_exc[i] * exc[i] - gain_inh[i] * inh[i] + lift[i]
        u[i] = alpha[i] * v[i] + (zero if drive < zero else drive)


@njit_noalias
def count_spikes(b, before, rho):
    """b of this step."""
    for i in range(b.shape[0]):
        b[i] = rho[i] * b[i] + before[i]


@njit_noalias
def adapt_floored(u, threshold_now, b, threshold, ahp, raised):
    """The membrane and the threshold at this adaptation."""
    for i in range(u.shape[0]):
        u[i] -= ahp[i] * b[i]
        threshold_now[i] = threshold[i] + raised[i] * b[i]


@njit_noalias
def fire(v, after, u, threshold, floor, reset_value):
    """Spikes of this step, and the membrane after the reset."""
    for i in range(u.shape[0]):
        limited = floor[i] if u[i] < floor[i] else u[i]
        fires = limited > threshold[i]
        after[i] = fires
        v[i] = reset_value[i] if fires else limited


@njit_noalias
def fire_or_rest(v, after, countdown, u, threshold, floor, reset_value, refractory):
    """:func:`fire` of neurons with refractory steps."""
    for i in range(u.shape[0]):
        limited = floor[i] if u[i] < floor[i] else u[i]
        free = countdown[i] <= 0
        fires = free & (limited > threshold[i])
        after[i] = fires
        v[i] = limited if free & (not fires) else reset_value[i]
        countdown[i] = refractory[i] if fires else countdown[i] - 1


@njit_inline
def floored_step(drive, before, after, countdown, state, own, refractory, has_refractory, rules):
    """One step of one row of neurons: ``drive`` (2n,) is what arrives; ``state`` rows v, u, exc, inh, b, and room for
    the threshold; ``rules`` are whether there is an adaptation, and whether inhibition only cancels."""
    adaptive, cancels = rules
    n = after.shape[0]
    v, u, exc, inh, threshold = state[0], state[1], state[2], state[3], own[THRESHOLD]
    filter_synapses(exc, inh, drive[:n], drive[n:], own[SYN_EXC], own[SYN_INH])
    if cancels:
        drive_membrane_up(u, v, exc, inh, own[ALPHA], own[GAIN_EXC], own[GAIN_INH], own[LIFT])
    else:
        drive_membrane(u, v, exc, inh, own[ALPHA], own[GAIN_EXC], own[GAIN_INH], own[LIFT])
    if adaptive:
        count_spikes(state[4], before, own[RHO])
        threshold = state[5]
        adapt_floored(u, threshold, state[4], own[THRESHOLD], own[AHP], own[RAISED])
    if has_refractory:
        fire_or_rest(v, after, countdown, u, threshold, own[FLOOR], own[RESET_VALUE], refractory)
    else:
        fire(v, after, u, threshold, own[FLOOR], own[RESET_VALUE])


@njit_no_nrt
def floored_forward_row(current, inputs, recurrent, own, refractory, rules, traces, scratch):
    """A row through time; as :func:`.lif.lif_forward_row`, with traces of spikes, u, exc and inh."""
    x, lists, first, weight, weight_targets = inputs
    matrix, targets = recurrent
    drive, state, at_rest, countdown, spike_rows, spare, has_refractory = scratch
    spikes, membrane, excited, inhibited = traces
    keep, has_inputs = membrane.shape[0] > 0, x.shape[1] > 0
    for t in range(spikes.shape[0]):
        if has_inputs:
            clear(drive)
            add_input(drive, weight, weight_targets, x[t], lists, first + t, spare)
        else:
            copy(drive, current[t])
        before = spikes[t - 1] if t > 0 else at_rest
        if t > 0:
            add_recurrent(drive, matrix, targets, before, spike_rows)
        floored_step(drive, before, spikes[t], countdown, state, own, refractory, has_refractory, rules)
        if keep:
            copy(membrane[t], state[1])
            copy(excited[t], state[2])
            if rules[1]:
                copy(inhibited[t], state[3])


@jit
def floored_forward(chip, low, high, current, synapses, recurrent, layer, traces):
    """Spikes of rows ``low`` to ``high``, and u and exc where the traces have room for them, and inh where inhibition
    only cancels; as :func:`.lif.lif_forward`."""
    spikes, membrane, excited, inhibited = traces
    coefficients, all_refractory, rules = layer
    x, weight, rows = synapses.x, synapses.weight.rows, recurrent.rows
    n, n_in, dtype = spikes.shape[3], x.shape[3], spikes.dtype
    has_inputs, keep = n_in > 0, membrane.shape[0] > 0
    own_current, own_x = current[min(chip, len(current) - 1)], x[min(chip, len(x) - 1)]
    own_weight, own = weight[min(chip, len(weight) - 1)], coefficients[min(chip, len(coefficients) - 1)]
    refractory = all_refractory[min(chip, len(all_refractory) - 1)]
    matrix = rows[min(chip, len(rows) - 1)] if rows.shape[0] > 0 else rows.reshape(n, 0)
    own_recurrent = matrix, targets_of(recurrent.targets, chip)
    weight_targets = targets_of(synapses.weight.targets, chip)
    drive, state, whole = cleared(1, 2 * n, dtype), cleared(6, n, dtype), cleared(2, 2 * n, dtype)
    countdown = np.empty(n, np.int32)
    spike_rows = SpikeRows(np.empty(n, np.int32), whole[0], whole[1], np.zeros(1, np.int32))
    spare = RowEvents(np.empty(n_in, np.int32), np.empty(n_in, dtype))
    scratch = drive[0], state, np.zeros(n, dtype), countdown, spike_rows, spare, refractory.max() > 0
    for row in range(low, high):
        state[:] = 0
        countdown[:] = 0
        nothing = state[:0]
        own_traces = (
            spikes[chip, row],
            membrane[chip, row] if keep else nothing,
            excited[chip, row] if keep else nothing,
            inhibited[chip, row] if inhibited.shape[0] > 0 else nothing,
        )
        arriving = own_current[0 if has_inputs else row]
        inputs = own_x[row if has_inputs else 0], synapses.lists, row * spikes.shape[2], own_weight, weight_targets
        floored_forward_row(arriving, inputs, own_recurrent, own, refractory, rules, own_traces, scratch)


_floored_forward_parallel = parallel_for(floored_forward, False)


@jit
def floored_forward_blocks(team, chips, blocks, *rest):
    return _floored_forward_parallel(team, chips, blocks, rest)
