"""Leaky integrate-and-fire neurons forward through time, a few rows of a batch on one thread.

A layer's coefficients are (9, n); v is the membrane above v_leak::

    b[t] = rho b[t−1] + (1 − rho) z[t−1]
    s[t] = syn s[t−1] + current[t] + recurrent z[t−1]
    v[t] = alpha v′ + gain s[t] − z[t−1] (reset_amount + adaptation b[t])     v′ = v[t−1], or reset_value after a spike
    z[t] = 1 if v[t] > threshold + adaptation b[t] and the refractory steps are over

Each row goes by itself, and a spike adds a row of the recurrent matrix.
"""

from __future__ import annotations

import numpy as np

from .intrinsics import parallel_for
from .jit import jit, njit_inline, njit_no_nrt, njit_noalias
from .records import RowEvents, Traces
from .rows import add_events, add_rows, cleared, copy, positions

# The rows of the coefficients.
ALPHA, GAIN, SYN, THRESHOLD, SURROGATE_SCALE, RESET_AMOUNT, RESET_VALUE, RHO, ADAPTATION = range(9)
COEFFICIENTS = 9


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


@njit_no_nrt
def lif_forward_row(current, inputs, recurrent, own, refractory, rules, traces, scratch):
    """A row through time; ``recurrent`` has row = source. ``inputs`` are x (steps, n_in), the lists of its events, the
    number of its first row in them, weight and bias; without x, ``current`` is what arrives."""
    x, lists, first, weight, bias = inputs
    real, at_rest, countdown, places, spare, has_refractory = scratch
    drive, state, spikes = real[0], real[1:], traces.spikes
    keep, has_inputs, has_recurrent = traces.v.shape[0] > 0, x.shape[1] > 0, recurrent.shape[1] > 0
    for t in range(spikes.shape[0]):
        copy(drive, bias if has_inputs else current[t])
        if has_inputs:
            add_events(drive, weight, x[t], lists, first + t, spare)
        before = spikes[t - 1] if t > 0 else at_rest
        if has_recurrent and t > 0:
            add_rows(drive, recurrent, places, positions(before, places))
        step(drive, before, spikes[t], countdown, state, own, refractory, has_refractory, rules)
        if keep:
            copy(traces.v[t], state[0])


@jit
def lif_forward(chip, low, high, current, synapses, recurrent, layer, traces):
    """Spikes of rows ``low`` to ``high``, and v where the traces have room for it.

    What arrives is ``current`` or, where the synapses have an input, worked out on the way; ``recurrent`` has
    row = source.
    """
    spikes, x, weight, bias = traces.spikes, synapses.x, synapses.weight, synapses.bias
    n, n_in = spikes.shape[3], x.shape[3]
    has_inputs, keep = n_in > 0, traces.v.shape[0] > 0
    own_current, own_x = current[min(chip, len(current) - 1)], x[min(chip, len(x) - 1)]
    own_weight, own_bias = weight[min(chip, len(weight) - 1)], bias[min(chip, len(bias) - 1)]
    own = layer.coefficients[min(chip, len(layer.coefficients) - 1)]
    refractory = layer.refractory[min(chip, len(layer.refractory) - 1)]
    matrix = recurrent[min(chip, len(recurrent) - 1)] if recurrent.shape[0] > 0 else recurrent.reshape(n, 0)
    real = cleared(6, n, spikes.dtype)
    countdown, places = np.empty(n, np.int32), np.empty(n, np.int32)
    spare = RowEvents(np.empty(n_in, np.int32), np.empty(n_in, spikes.dtype))
    scratch = real, np.zeros(n, spikes.dtype), countdown, places, spare, refractory.max() > 0
    for row in range(low, high):
        real[:] = 0
        countdown[:] = 0
        own_traces = Traces(spikes[chip, row], traces.v[chip, row] if keep else real[:0])
        arriving = own_current[0 if has_inputs else row]
        inputs = own_x[row if has_inputs else 0], synapses.lists, row * spikes.shape[2], own_weight, own_bias
        lif_forward_row(arriving, inputs, matrix, own, refractory, layer.rules, own_traces, scratch)


_lif_forward_parallel = parallel_for(lif_forward, False)


@jit
def lif_forward_blocks(team, chips, blocks, *rest):
    return _lif_forward_parallel(team, chips, blocks, rest)
