"""Leaky integrators, which do not spike, forward and backward through time."""

from __future__ import annotations

import numpy as np

from .intrinsics import parallel_for
from .jit import jit, njit_no_nrt, njit_noalias
from .rows import clear


@njit_noalias
def filter_step(v, current, alpha, gain, out):
    """v = alpha v + gain current."""
    for i in range(v.shape[0]):
        v[i] = alpha[i] * v[i] + gain[i] * current[i]
        out[i] = v[i]


@njit_no_nrt
def filter_rows(low, high, current, alpha, gain, trace, v):
    """:func:`filter_forward` for one chip."""
    for row in range(low, high):
        clear(v)
        for t in range(current.shape[1]):
            filter_step(v, current[row, t], alpha, gain, trace[row, t])


@jit
def filter_forward(chip, low, high, current, alpha, gain, trace):
    """v[t] = alpha v[t−1] + gain current[t] of rows ``low`` to ``high``."""
    a, g = alpha[min(chip, len(alpha) - 1)], gain[min(chip, len(gain) - 1)]
    v = np.empty(current.shape[3], current.dtype)
    filter_rows(low, high, current[min(chip, len(current) - 1)], a, g, trace[chip], v)


@njit_noalias
def filter_step_back(grad_v, g_row, arriving, before, alpha, gain, out, to_alpha, to_gain):
    """One step back through :func:`filter_step`."""
    for i in range(grad_v.shape[0]):
        now = alpha[i] * grad_v[i] + g_row[i]
        grad_v[i] = now
        out[i] = gain[i] * now
        to_alpha[i] += now * before[i]
        to_gain[i] += now * arriving[i]


@njit_no_nrt
def filter_rows_back(low, high, arrays, own, grads, scratch):
    """:func:`filter_backward` for one chip."""
    gradient, current, trace = arrays
    alpha, gain = own
    g_current, to_alpha, to_gain = grads
    grad_v, at_rest = scratch
    clear(to_alpha)
    clear(to_gain)
    for row in range(low, high):
        clear(grad_v)
        for t in range(trace.shape[1] - 1, -1, -1):
            before = trace[row, t - 1] if t > 0 else at_rest
            out = g_current[row, t]
            filter_step_back(grad_v, gradient[row, t], current[row, t], before, alpha, gain, out, to_alpha, to_gain)


@jit
def filter_backward(chip, block, low, high, gradient, current, trace, alpha, gain, grads):
    """Gradients of rows ``low`` to ``high``: of the current as they are, of alpha and gain summed into ``block``."""
    g_current, g_coefficients = grads
    own = alpha[min(chip, len(alpha) - 1)], gain[min(chip, len(gain) - 1)]
    arrays = gradient[chip], current[min(chip, len(current) - 1)], trace[chip]
    sums = g_coefficients[chip, block]
    scratch = np.empty(trace.shape[3], trace.dtype), np.zeros(trace.shape[3], trace.dtype)
    filter_rows_back(low, high, arrays, own, (g_current[chip], sums[0], sums[1]), scratch)


_filter_forward_parallel = parallel_for(filter_forward, False)
_filter_backward_parallel = parallel_for(filter_backward, True)


@jit
def filter_forward_blocks(team, chips, blocks, *rest):
    return _filter_forward_parallel(team, chips, blocks, rest)


@jit
def filter_backward_blocks(team, chips, blocks, *rest):
    return _filter_backward_parallel(team, chips, blocks, rest)
