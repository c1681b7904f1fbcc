"""x weightᵀ + bias and its gradients: by events, for few outputs by a product for each number, else by torch."""

from __future__ import annotations

import numpy as np

from .intrinsics import LANES, parallel_for
from .jit import jit, njit_no_nrt
from .records import CollectedEvents, RowEvents, SortSpace
from .rows import CHUNK, GROUP, add_collected, add_scaled_1, add_scaled_4, clear, copy, dots, events_of_row
from .targets import add_input, credit_input, gather_space, gather_targets, targets_of

STRETCH = 1024  # numbers of four rows that stay in the first cache while they are used for every output


@njit_no_nrt
def gather_rows(chip, from_chip, low, high, inputs, weight, targets, bias, out, spare):
    """:func:`gather` for one chip."""
    width = out.shape[2]
    for row in range(low, high):
        i, j = row // width, row % width
        result = out[chip, i, j]
        copy(result, bias)
        add_input(result, weight, targets, inputs.x[from_chip, i, j], inputs.lists, row, spare)


@jit
def gather(chip, low, high, inputs, weight, bias, out):
    """out = x weight + bias of rows ``low`` to ``high``: the rows of the weight (chips, n_in, n) where x is not 0, or
    their lists.

    Shapes: x (chips, p, q, n_in), bias (chips, n), out (chips, p, q, n).
    """
    x = inputs.x
    spare = RowEvents(np.empty(x.shape[3], np.int32), np.empty(x.shape[3], x.dtype))
    own, own_bias = weight.rows[min(chip, len(weight.rows) - 1)], bias[min(chip, len(bias) - 1)]
    targets = targets_of(weight.targets, chip)
    gather_rows(chip, min(chip, len(x) - 1), low, high, inputs, own, targets, own_bias, out, spare)


@njit_no_nrt
def scatter_rows(from_chip, low, high, inputs, gradient, target, collected, space):
    """:func:`scatter` for one chip."""
    width = gradient.shape[1]
    flat = gradient.reshape(-1, gradient.shape[2])
    begin, binary = low, True
    for row in range(low, high):
        m = row - begin
        values = inputs.x[from_chip, row // width, row % width]
        places, found = collected.places[m], collected.values[m]
        collected.counts[m], ones = events_of_row(values, inputs.lists, row, places, found)
        binary &= ones
        if m + 1 == len(collected.places) or row + 1 == high:
            add_collected(target, flat[begin:], collected, m + 1, space, not binary)
            begin, binary = row + 1, True


@jit
def scatter(chip, block, low, high, inputs, gradient, g_weight):
    """g_weight[block] = xᵀ gradient over rows ``low`` to ``high``; shapes as in :func:`gather`."""
    x = inputs.x
    n_in, rows = x.shape[3], min(CHUNK * GROUP, high - low)
    collected = CollectedEvents(
        np.empty((rows, n_in), np.int32), np.empty((rows, n_in), x.dtype), np.empty(rows, np.int64)
    )
    space = SortSpace(np.empty(n_in + 1, np.int64), np.empty(rows * n_in, np.int32), np.empty(rows * n_in, x.dtype))
    target = g_weight[chip, block]
    target[:] = 0
    scatter_rows(min(chip, len(x) - 1), low, high, inputs, gradient[chip], target, collected, space)


@njit_no_nrt
def credit_rows(from_chip, low, high, inputs, targets, gradient, result, spare):
    """:func:`credit_synapses` for one chip."""
    width = gradient.shape[1]
    for row in range(low, high):
        i, j = row // width, row % width
        credit_input(result, targets, gradient[i, j], inputs.x[from_chip, i, j], inputs.lists, row, spare)


@jit
def credit_synapses(chip, block, low, high, inputs, weight, gradient, g_values):
    """g_values[block] = the gradient of a weight by its lists over rows ``low`` to ``high``; as :func:`scatter`."""
    x, result = inputs.x, g_values[chip, block]
    result[:] = 0
    spare = RowEvents(np.empty(x.shape[3], np.int32), np.empty(x.shape[3], x.dtype))
    targets = targets_of(weight.targets, chip)
    credit_rows(min(chip, len(x) - 1), low, high, inputs, targets, gradient[chip], result, spare)


@njit_no_nrt
def credit_rows_x(low, high, targets, gradient, g_x, every, space):
    """:func:`credit_x` for one chip."""
    for first in range(low, high, LANES):
        group = min(LANES, high - first)
        for r in range(group):
            clear(g_x[first + r])
        gather_targets(g_x[first:], every, targets, gradient[first:], group, space)


@jit
def credit_x(chip, low, high, weight, gradient, g_x):
    """g_x = the gradient of x in rows ``low`` to ``high`` of :func:`gather` by lists."""
    n_in, n, dtype = g_x.shape[3], gradient.shape[3], g_x.dtype
    targets, every = targets_of(weight.targets, chip), np.ones((LANES, n_in), dtype)
    rows, result = gradient[chip].reshape(-1, n), g_x[chip].reshape(-1, n_in)
    credit_rows_x(low, high, targets, rows, result, every, gather_space(n_in, n, dtype))


@njit_no_nrt
def skinny_rows(low, high, x, weight, bias, out, every):
    """:func:`skinny` for one chip."""
    width = out.shape[1]
    for row in range(low, high):
        result = out[row // width, row % width]
        copy(result, bias)
        dots(result, weight, x[row // width, row % width], every, result.shape[0])


@jit
def skinny(chip, low, high, x, weight, bias, out):
    """out = x weightᵀ + bias of rows ``low`` to ``high``, for few outputs: a dot product for each number.

    x is (chips, p, q, n_in), weight (chips, n_out, n_in), bias (chips, n_out), out (chips, p, q, n_out).
    """
    own, offset = weight[min(chip, len(weight) - 1)], bias[min(chip, len(bias) - 1)]
    every = np.arange(out.shape[3]).astype(np.int32)
    skinny_rows(low, high, x[min(chip, len(x) - 1)], own, offset, out[chip], every)


@njit_no_nrt
def skinny_back_row(g_x, gradient, weight):
    """g_x = weightᵀ gradient, for few outputs."""
    clear(g_x)
    k = 0
    while k + 4 <= gradient.shape[0]:
        p, q, r, s = gradient[k], gradient[k + 1], gradient[k + 2], gradient[k + 3]
        add_scaled_4(g_x, weight[k], weight[k + 1], weight[k + 2], weight[k + 3], p, q, r, s)
        k += 4
    while k < gradient.shape[0]:
        add_scaled_1(g_x, weight[k], gradient[k])
        k += 1


@njit_no_nrt
def skinny_rows_back(low, high, gradient, weight, g_x):
    """:func:`skinny_back` for one chip."""
    width = g_x.shape[1]
    for row in range(low, high):
        skinny_back_row(g_x[row // width, row % width], gradient[row // width, row % width], weight)


@jit
def skinny_back(chip, low, high, gradient, weight, g_x):
    """The gradient of x in rows ``low`` to ``high`` of :func:`skinny`."""
    skinny_rows_back(low, high, gradient[chip], weight[min(chip, len(weight) - 1)], g_x[chip])


@njit_no_nrt
def skinny_rows_scatter(low, high, x, gradient, target):
    """:func:`skinny_scatter` for one chip."""
    row, n = low, x.shape[1]
    while row + 4 <= high:
        p, q, r, s = gradient[row], gradient[row + 1], gradient[row + 2], gradient[row + 3]
        for i in range(0, n, STRETCH):
            j = min(i + STRETCH, n)
            a, b, c, d = x[row, i:j], x[row + 1, i:j], x[row + 2, i:j], x[row + 3, i:j]
            for k in range(target.shape[0]):
                add_scaled_4(target[k, i:j], a, b, c, d, p[k], q[k], r[k], s[k])
        row += 4
    while row < high:
        for k in range(target.shape[0]):
            add_scaled_1(target[k], x[row], gradient[row, k])
        row += 1


@jit
def skinny_scatter(chip, block, low, high, x, gradient, g_weight):
    """The gradient of the weight from rows ``low`` to ``high`` of :func:`skinny`, into ``g_weight[chip, block]``."""
    own_x = x[min(chip, len(x) - 1)].reshape(-1, x.shape[3])
    g_weight[chip, block][:] = 0
    skinny_rows_scatter(low, high, own_x, gradient[chip].reshape(-1, gradient.shape[3]), g_weight[chip, block])


_gather_parallel = parallel_for(gather, False)
_scatter_parallel = parallel_for(scatter, True)
_credit_synapses_parallel = parallel_for(credit_synapses, True)
_credit_x_parallel = parallel_for(credit_x, False)
_skinny_parallel = parallel_for(skinny, False)
_skinny_back_parallel = parallel_for(skinny_back, False)
_skinny_scatter_parallel = parallel_for(skinny_scatter, True)


@jit
def gather_blocks(team, chips, blocks, *rest):
    return _gather_parallel(team, chips, blocks, rest)


@jit
def scatter_blocks(team, chips, blocks, *rest):
    return _scatter_parallel(team, chips, blocks, rest)


@jit
def credit_synapses_blocks(team, chips, blocks, *rest):
    return _credit_synapses_parallel(team, chips, blocks, rest)


@jit
def credit_x_blocks(team, chips, blocks, *rest):
    return _credit_x_parallel(team, chips, blocks, rest)


@jit
def skinny_blocks(team, chips, blocks, *rest):
    return _skinny_parallel(team, chips, blocks, rest)


@jit
def skinny_back_blocks(team, chips, blocks, *rest):
    return _skinny_back_parallel(team, chips, blocks, rest)


@jit
def skinny_scatter_blocks(team, chips, blocks, *rest):
    return _skinny_scatter_parallel(team, chips, blocks, rest)
