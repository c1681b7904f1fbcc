"""Leaky integrate-and-fire neurons forward through time, a few rows of a batch on one thread.

A layer's coefficients are (9, n); v is the membrane above v_leak::

    b[t] = rho b[t−1] + (1 − rho) z[t−1]
    s[t] = syn s[t−1] + current[t] + recurrent z[t−1]
    v[t] = alpha v′ + gain s[t] − z[t−1] (reset_amount + adaptation b[t])     v′ = v[t−1], or reset_value after a spike
    z[t] = 1 if v[t] > threshold + adaptation b[t] and the refractory steps are over

Each row goes by itself, and a spike adds a row of the recurrent matrix. Where more than half of the neurons spike, the
rows of the silent ones are taken from the sum of all rows, if no row stands out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import ndarray

from .intrinsics import parallel_for
from .jit import jit, njit_inline, njit_no_nrt, njit_noalias
from .records import RowEvents, Traces
from .rows import add_1, add_rows, clear, cleared, copy, positions
from .targets import add_input, send, targets_of

# The rows of the coefficients.
ALPHA, GAIN, SYN, THRESHOLD, SURROGATE_SCALE, RESET_AMOUNT, RESET_VALUE, RHO, ADAPTATION = range(9)
COEFFICIENTS = 9
OUTLIER = 64  # times the mean size of a neuron's other recurrent weights: if one is larger, no sum is taken apart


class SpikeRows(NamedTuple):
    """Room to add the rows of the recurrent matrix for all spikes of a step.

    Attributes:
        places: neurons that spike, or that do not. total, spare: the sum of all rows, and room for a row.
        state: (1,), whether the sum has not been worked out (0), may be used (1) or not (2).
    """

    places: ndarray
    total: ndarray
    spare: ndarray
    state: ndarray


@njit_noalias
def restart(v, before, reset_value):
    """v = reset_value after a spike."""
    zero = v.dtype.type(0)
    for i in range(v.shape[0]):
        v[i] = reset_value[i] if before[i] > zero else v[i]


@njit_noalias
def filter_drive(s, drive, syn):
    """s = syn s + drive, which becomes the drive."""
    for i in range(s.shape[0]):
        s[i] = syn[i] * s[i] + drive[i]
        drive[i] = s[i]


@njit_noalias
def adapt(b, before, rho, adaptation, threshold, reset_amount, threshold_now, reset_now):
    """b of this step, and the threshold and the amount of a reset that go with it."""
    one = b.dtype.type(1)
    for i in range(b.shape[0]):
        b[i] = rho[i] * b[i] + (one - rho[i]) * before[i]
        gained = adaptation[i] * b[i]
        threshold_now[i] = threshold[i] + gained
        reset_now[i] = reset_amount[i] + gained


@njit_noalias
def advance(v, drive, before, after, alpha, gain, threshold, reset_amount):
    """v and the spikes of this step."""
    for i in range(v.shape[0]):
        v[i] = alpha[i] * v[i] + gain[i] * drive[i] - before[i] * reset_amount[i]
        after[i] = v[i] > threshold[i]


@njit_noalias
def suppress(after, countdown, refractory):
    """Take back the spikes of neurons whose refractory steps are not over."""
    zero = after.dtype.type(0)
    for i in range(after.shape[0]):
        fires = (after[i] > zero) & (countdown[i] <= 0)
        countdown[i] = refractory[i] if fires else countdown[i] - 1
        after[i] = fires


@njit_inline
def step(drive, before, after, countdown, state, own, refractory, has_refractory, rules):
    """One step of one row of neurons: ``drive`` is the current, ``before`` and ``after`` are the spikes of the last
    step and of this one, ``state`` rows v, s, b, and room for two more; ``own`` the coefficients."""
    v, threshold, reset_amount = state[0], own[THRESHOLD], own[RESET_AMOUNT]
    if rules.to_value:
        restart(v, before, own[RESET_VALUE])
    if rules.has_syn:
        filter_drive(state[1], drive, own[SYN])
    if rules.adaptive:
        threshold, reset_amount = state[3], state[4]
        adapt(
            state[2], before, own[RHO], own[ADAPTATION], own[THRESHOLD], own[RESET_AMOUNT], threshold, reset_amount
        )  # fmt: skip
    advance(v, drive, before, after, own[ALPHA], own[GAIN], threshold, reset_amount)
    if has_refractory:
        suppress(after, countdown, refractory)


@njit_noalias
def invert(out, z):
    """out = 1 where z is 0, and 0 where it is 1."""
    one = z.dtype.type(1)
    for i in range(out.shape[0]):
        out[i] = one - z[i]


@njit_noalias
def add_difference(out, a, b):
    """out += a − b."""
    for i in range(out.shape[0]):
        out[i] += a[i] - b[i]


@njit_noalias
def add_sizes(total, largest, row):
    """total += abs(row), and the largest so far."""
    for i in range(row.shape[0]):
        size = abs(row[i])
        total[i] += size
        largest[i] = size if size > largest[i] else largest[i]


@njit_no_nrt
def sum_all_rows(rows, total, largest):
    """The sum of all rows; returns whether those of a few may be taken from it: all are finite, and none is so much
    larger than the others that they would drown in it. ``largest`` is room for a row."""
    n = rows.shape[0]
    others, limit = rows.dtype.type(n - 1), rows.dtype.type(OUTLIER)
    clear(total)
    clear(largest)
    for j in range(n):
        add_sizes(total, largest, rows[j])
    fits = True
    for i in range(total.shape[0]):
        fits &= largest[i] * others <= limit * (total[i] - largest[i])  # false of what is not finite
    clear(total)
    for j in range(n):
        add_1(total, rows[j])
    return fits


@njit_no_nrt
def list_spikes(z, rows, space):
    """List where z spikes or, if more than half of it does, where it does not; return how many, and whether it is so.
    The sum of all rows is worked out when it is first needed."""
    count = positions(z, space.places)
    if 2 * count <= z.shape[0]:
        return count, False
    if space.state[0] == 0:
        space.state[0] = 1 if sum_all_rows(rows, space.total, space.spare) else 2
    if space.state[0] == 2:
        return count, False
    silent = space.spare[: z.shape[0]]  # a row can be longer than there are neurons
    invert(silent, z)
    return positions(silent, space.places), True


@njit_no_nrt
def add_spikes(out, rows, z, space):
    """out += the rows of all spikes."""
    count, silent = list_spikes(z, rows, space)
    if silent:
        clear(space.spare)
        add_rows(space.spare, rows, space.places, count)
        add_difference(out, space.total, space.spare)
    else:
        add_rows(out, rows, space.places, count)


@njit_inline
def add_recurrent(out, recurrent, targets, z, space):
    """out += the weights of all spikes, from rows of a matrix or by lists of targets."""
    if len(targets.starts):
        send(out, targets, space.places, positions(z, space.places))
    elif recurrent.shape[1] > 0:
        add_spikes(out, recurrent, z, space)


@njit_no_nrt
def lif_forward_row(current, inputs, recurrent, own, refractory, rules, traces, scratch):
    """A row through time. ``inputs`` are x (steps, n_in), the lists of its events, the number of its first row in them,
    weight (rows, and lists of targets) and bias; without x, ``current`` is what arrives. ``recurrent``: rows of a
    matrix, row = source, and lists of targets."""
    x, lists, first, weight, weight_targets, bias = inputs
    matrix, targets = recurrent
    real, at_rest, countdown, spike_rows, spare, has_refractory = scratch
    drive, state, spikes = real[0], real[1:], traces.spikes
    keep, has_inputs = traces.v.shape[0] > 0, x.shape[1] > 0
    for t in range(spikes.shape[0]):
        copy(drive, bias if has_inputs else current[t])
        if has_inputs:
            add_input(drive, weight, weight_targets, x[t], lists, first + t, spare)
        before = spikes[t - 1] if t > 0 else at_rest
        if t > 0:
            add_recurrent(drive, matrix, targets, before, spike_rows)
        step(drive, before, spikes[t], countdown, state, own, refractory, has_refractory, rules)
        if keep:
            copy(traces.v[t], state[0])


@jit
def lif_forward(chip, low, high, current, synapses, recurrent, layer, traces):
    """Spikes of rows ``low`` to ``high``, and v where the traces have room for it.

    What arrives is ``current`` or, where the synapses have an input, worked out on the way.
    """
    spikes, x, weight, bias = traces.spikes, synapses.x, synapses.weight.rows, synapses.bias
    n, n_in = spikes.shape[3], x.shape[3]
    has_inputs, keep = n_in > 0, traces.v.shape[0] > 0
    own_current, own_x = current[min(chip, len(current) - 1)], x[min(chip, len(x) - 1)]
    own_weight, own_bias = weight[min(chip, len(weight) - 1)], bias[min(chip, len(bias) - 1)]
    own = layer.coefficients[min(chip, len(layer.coefficients) - 1)]
    refractory = layer.refractory[min(chip, len(layer.refractory) - 1)]
    rows = recurrent.rows
    matrix = rows[min(chip, len(rows) - 1)] if rows.shape[0] > 0 else rows.reshape(n, 0)
    own_recurrent = matrix, targets_of(recurrent.targets, chip)
    weight_targets = targets_of(synapses.weight.targets, chip)
    real = cleared(6, n, spikes.dtype)
    countdown, whole = np.empty(n, np.int32), cleared(2, n, spikes.dtype)
    spike_rows = SpikeRows(np.empty(n, np.int32), whole[0], whole[1], np.zeros(1, np.int32))
    spare = RowEvents(np.empty(n_in, np.int32), np.empty(n_in, spikes.dtype))
    scratch = real, np.zeros(n, spikes.dtype), countdown, spike_rows, spare, refractory.max() > 0
    for row in range(low, high):
        real[:] = 0
        countdown[:] = 0
        own_traces = Traces(spikes[chip, row], traces.v[chip, row] if keep else real[:0])
        arriving = own_current[0 if has_inputs else row]
        of_row = own_x[row if has_inputs else 0]
        inputs = of_row, synapses.lists, row * spikes.shape[2], own_weight, weight_targets, own_bias
        lif_forward_row(arriving, inputs, own_recurrent, own, refractory, layer.rules, own_traces, scratch)


_lif_forward_parallel = parallel_for(lif_forward, False)


@jit
def lif_forward_blocks(team, chips, blocks, *rest):
    return _lif_forward_parallel(team, chips, blocks, rest)
