"""Sparse weights: each source lists its targets. Spikes are sent to targets, gradients are gathered from them.

A target is a place in a row of what arrives, (n,) or, with inhibition apart, (2n,). The lists of one chip are
``starts`` (sources + 1,), ``places`` and ``values`` (synapses,); source j has those from ``starts[j]`` to
``starts[j + 1]``. Lists by source are all that is needed: forward, a spike goes to its targets; backward, a source
gathers from them; and its weights get their gradients side by side. Places are never negative, which unsigned numbers
tell the compiler: else it would look at each whether it counts from the end.
"""

from __future__ import annotations

import numpy as np

from .intrinsics import COMPRESSES, LANES, add_targets, add_transposed, interleave_block, sum_of_targets
from .jit import jit, njit_inline, njit_no_nrt, njit_noalias
from .records import GatherSpace, Targets
from .rows import add_events, clear, cleared, events_of_row, positions


@jit
def targets_of(targets, chip):
    """The lists of one chip."""
    places, values = targets.places, targets.values
    return Targets(targets.starts, places[min(chip, len(places) - 1)], values[min(chip, len(values) - 1)])


@njit_no_nrt
def send(out, targets, sources, count):
    """out += the weights of the sources that are the first ``count`` of ``sources``."""
    starts, places, values = targets
    for m in range(count):
        j = sources[m]
        for k in range(np.uint32(starts[j]), np.uint32(starts[j + 1])):
            out[np.uint32(places[k])] += values[k]


@njit_no_nrt
def send_weighted(out, targets, factors, sources, count):
    """:func:`send`, source m times ``factors[m]``."""
    starts, places, values = targets
    for m in range(count):
        j, factor = sources[m], factors[m]
        for k in range(np.uint32(starts[j]), np.uint32(starts[j + 1])):
            out[np.uint32(places[k])] += factor * values[k]


@njit_no_nrt
def add_input(out, weight, targets, values, lists, row, spare):
    """out += weightᵀ values, at the price of the values that are not 0, from rows of a matrix or by lists."""
    if len(targets.starts) == 0:
        add_events(out, weight, values, lists, row, spare)
        return
    count, binary = events_of_row(values, lists, row, spare.places, spare.values)
    if binary:
        send(out, targets, spare.places, count)
    else:
        send_weighted(out, targets, spare.values, spare.places, count)


@njit_no_nrt
def credit(gradient, targets, drive, sources, count):
    """gradient[k] += drive at the target of k, for all synapses k of these sources."""
    starts, places, _ = targets
    for m in range(count):
        j = sources[m]
        if COMPRESSES:
            add_targets(gradient, drive, places, starts[j], starts[j + 1])
        else:
            for k in range(np.uint32(starts[j]), np.uint32(starts[j + 1])):
                gradient[k] += drive[np.uint32(places[k])]


@njit_no_nrt
def credit_weighted(gradient, targets, drive, factors, sources, count):
    """:func:`credit`, source m times ``factors[m]``."""
    starts, places, _ = targets
    for m in range(count):
        j, factor = sources[m], factors[m]
        for k in range(np.uint32(starts[j]), np.uint32(starts[j + 1])):
            gradient[k] += factor * drive[np.uint32(places[k])]


@njit_inline
def credit_input(gradient, targets, drive, values, lists, row, spare):
    """The gradient of :func:`add_input` in the weights, by lists."""
    count, binary = events_of_row(values, lists, row, spare.places, spare.values)
    if binary:
        credit(gradient, targets, drive, spare.places, count)
    else:
        credit_weighted(gradient, targets, drive, spare.values, spare.places, count)


@njit_inline
def weight_events(t, row, m, chip, now, lists, scratch):
    """Add what step t of a row gives to the gradients of sparse weights; for those of matrices, collect its events as
    number ``m``. Returns whether all inputs that are collected are 1."""
    z_before = chip.spikes[row, t - 1] if t > 0 else scratch.at_rest
    here, binary = row * chip.spikes.shape[1] + t, True
    if len(chip.targets.starts):
        credit(chip.g_targets, chip.targets, now, scratch.places, positions(z_before, scratch.places))
    elif chip.by_source.shape[1] > 0:
        scratch.spikes.counts[m] = positions(z_before, scratch.spikes.places[m])
    if len(chip.input_targets.starts):
        credit_input(chip.g_input_targets, chip.input_targets, now, chip.x[row, t], lists, here, scratch.event)
    elif chip.g_weight.shape[0] > 0:
        places, values = scratch.inputs.places[m], scratch.inputs.values[m]
        scratch.inputs.counts[m], binary = events_of_row(chip.x[row, t], lists, here, places, values)
    return binary


@njit_no_nrt
def interleave(rows, group, table):
    """table[i, r] = rows[r, i] for the first ``group`` rows. The others do not matter."""
    start, n = 0, table.shape[0]
    if rows.shape[0] >= LANES:
        while start + LANES <= n:
            interleave_block(table, rows, start, start)
            start += LANES
    for i in range(start, n):
        for r in range(group):
            table[i, r] = rows[r, i]


@njit_noalias
def mark(marks, row):
    """marks is not 0 where the row is not 0 either."""
    zero = row.dtype.type(0)
    for i in range(marks.shape[0]):
        marks[i] += row[i] != zero


@njit_no_nrt
def gather_targets(out, asked, targets, rows, group, space):
    """out[r, j] += Σ_k value · rows[r, place] over the targets of j, for the first ``group`` rows r and the sources j
    where ``asked`` is not 0 in any of them; one load brings all rows of a target."""
    starts, places, values = targets
    marks, table, sums = space
    interleave(rows, group, table)
    clear(marks)
    for r in range(group):
        mark(marks, asked[r])
    for first in range(0, marks.shape[0], LANES):
        some = min(LANES, marks.shape[0] - first)
        for i in range(some):
            j = first + i
            end = starts[j + 1] if marks[j] else starts[j]
            sum_of_targets(sums[i], table, places, values, starts[j], end)
        if some == LANES and out.shape[0] >= LANES:
            add_transposed(out, sums, first, 0)
        else:
            for i in range(some):
                for r in range(group):
                    out[r, first + i] += sums[i, r]


@jit
def gather_space(n_sources, n_places, dtype):
    """Room for :func:`gather_targets`."""
    table = cleared(n_places, LANES, dtype)
    return GatherSpace(cleared(1, n_sources, dtype)[0], table, cleared(LANES, LANES, dtype))
