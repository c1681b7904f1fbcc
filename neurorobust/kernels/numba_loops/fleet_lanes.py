"""Eight dies of one network with neurons that have a floor: a row of a batch goes through all layers, step by step.

All dies have the same synapses and the same input, so events and lists are read once for eight dies. Spikes differ:
the targets of a neuron get its weights on the dies where it spikes. A matrix of few rows has partial sums for each die.
Sums have the order, and steps the arithmetic, of the layers one by one, so a die's output has the same bits.

A layer's neurons go through a step in tiles of 32, whose numbers stay in the nearest cache. A tile of n neurons has
rows of 8 n numbers: neuron by neuron, each on eight dies. What arrives for its neurons has one or two such rows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import ndarray

from .dot import BYTES, dots, in_lines
from .fleet import BIAS, LEAK
from .floored import COEFFICIENTS as FLOORED_COEFFICIENTS
from .floored import floored_step
from .integrate import filter_step
from .intrinsics import parallel_for
from .jit import jit, njit_inline, njit_no_nrt
from .lanes import DIES, ROWS, add_pairs, fold, list_any, list_pairs, send_all
from .lif import ALPHA, GAIN, step
from .records import EventLists, Rules
from .rows import add_1, clear, cleared, copy

# Columns of the table, one row per layer: which of the three kinds; neurons; what arrives for each (1, or 2: excitation
# and inhibition); inputs; its sources, from … to; where the lists of its weight and of its recurrent weight begin in
# ``starts`` (−1: none); where its matrix begins if it has one; where its coefficients begin; the number of its first
# neuron; whether there are refractory steps, an adaptation, and what else the kinds' rules say.
KIND, N, PARTS, N_IN, FIRST, END, LISTS, RECURRENT, MATRIX, NUMBERS, NEURON = range(11)
REFRACTORY, ADAPTIVE, CANCELS, TO_VALUE, HAS_SYN, HAS_LEAK = range(11, 17)
COLUMNS = 17
INTEGRATES, SPIKES, HAS_FLOOR = range(3)
STATES = 6
NEURONS = 32  # of a tile


class LaneInputs(NamedTuple):
    """The input (batch, steps, n_in), the lists of its events, and whether all of them are 1."""

    x: ndarray
    lists: EventLists
    binary: int


class Lanes(NamedTuple):
    """The numbers of eight dies.

    Attributes:
        table: (layers, 17). sources: of all layers, one after the other.
        starts, places, values: all lists, one behind the other: source j has the synapses from ``starts[j]`` to
            ``starts[j + 1]``; places (k,), values (k · 8,).
        matrices: (m,): of each layer (n_in, 8, 16), which ends with zeros; (8, parts · n, n_in) if the order of the
            sums of its products is not known.
        coefficients, refractory: rows of all tiles.
    """

    table: ndarray
    sources: ndarray
    starts: ndarray
    places: ndarray
    values: ndarray
    matrices: ndarray
    coefficients: ndarray
    refractory: ndarray


class LaneState(NamedTuple):
    """The state of one row; ``spikes`` of the last step and of this one; ``active``: neurons that spike on any die, and
    how many of each layer; ``drive``, what arrives; partial ``sums`` of a matrix; ``factors``: the input on each die;
    room for the places of those that are not 0, as pairs, and for the inputs of each die."""

    states: ndarray
    countdown: ndarray
    spikes: ndarray
    active: ndarray
    counts: ndarray
    drive: ndarray
    sums: ndarray
    factors: ndarray
    pairs: ndarray
    rows: ndarray
    every: ndarray


@njit_no_nrt
def fill_factors(inputs, span, state):
    """The input of a step on each die, which is 1 where all inputs are."""
    for m in range(span[0], span[1]):
        at = inputs.lists.places[m] * DIES
        state.factors[at : at + DIES] = 1 if inputs.binary else inputs.lists.values[m]


@njit_no_nrt
def add_sources(out, about, inputs, span, spikes, dies, state):
    """out += what arrives from all sources of a layer by lists."""
    table, shift = dies.table, about[LISTS]
    for k in range(about[FIRST], about[END]):
        source = dies.sources[k]
        if source >= 0:
            add_spikes(out, shift, source, spikes, dies, state)
            shift += table[source, N]
        else:
            lists = dies.starts[shift:], dies.places, dies.values
            send_all(out, lists, inputs.lists.places, span[0], span[1], state.factors, 0, inputs.binary)
            shift += inputs.x.shape[2]


@njit_no_nrt
def add_products(out, about, inputs, span, spikes, dies, state):
    """out += what arrives from all sources of a layer by a matrix: the sums of :func:`.dot.dots`, in the same order."""
    table, shift, sums, pairs = dies.table, 0, state.sums, state.pairs
    clear(sums)
    for k in range(about[FIRST], about[END]):
        source = dies.sources[k]
        rows = dies.matrices[about[MATRIX] + shift * DIES * ROWS :]
        if source >= 0:
            first = table[source, NEURON]
            active, of, begin, end = state.active[first:], spikes[first * DIES :], 0, state.counts[source]
        else:
            active, of, begin, end = inputs.lists.places, state.factors, span[0], span[1]
        count = list_pairs(pairs, active, begin, end, of)
        add_pairs(sums, rows, pairs, count, of, shift * DIES)
        shift += table[source, N] if source >= 0 else inputs.x.shape[2]
    fold(sums, DIES * ROWS)
    for i in range(about[PARTS] * about[N]):
        for r in range(DIES):
            out[i * DIES + r] += sums[r * ROWS + i]


@njit_no_nrt
def inputs_of_dies(about, x, spikes, dies, state):
    """The inputs of a layer with a matrix, on every die."""
    table, rows = dies.table, state.rows
    for r in range(DIES):
        clear(rows[r])
    shift = 0
    for k in range(about[FIRST], about[END]):
        source = dies.sources[k]
        if source < 0:
            for r in range(DIES):
                copy(rows[r, shift : shift + x.shape[0]], x)
            shift += x.shape[0]
        else:
            first = table[source, NEURON]
            for m in range(state.counts[source]):
                j = state.active[first + m]
                for r in range(DIES):
                    rows[r, shift + j] = spikes[(first + j) * DIES + r]
            shift += table[source, N]


@njit_no_nrt
def matrix_lanes(drive, about, dies, state):
    """drive += what arrives at few neurons, a dot product for each, as :func:`.project.skinny` has them."""
    n_in, n_out = about[N_IN], about[PARTS] * about[N]
    size, totals = n_in * n_out, state.sums[:n_out]
    for r in range(DIES):
        at = about[MATRIX] + r * size
        for i in range(n_out):
            totals[i] = drive[i * DIES + r]
        matrix = dies.matrices[at : at + size].reshape(n_out, n_in)
        dots(totals, matrix, state.rows[r, :n_in], state.every, n_out)
        for i in range(n_out):
            drive[i * DIES + r] = totals[i]


@njit_no_nrt
def add_spikes(out, shift, layer, spikes, dies, state):
    """out += what arrives from the spikes of a layer."""
    first = dies.table[layer, NEURON]
    lists = dies.starts[shift:], dies.places, dies.values
    send_all(out, lists, state.active[first:], 0, state.counts[layer], spikes, first * DIES, True)


@njit_inline
def lanes_step(about, begin, t, dies, state):
    """One step of the tile of neurons that begins with neuron ``begin``."""
    kind, parts, low = about[KIND], about[PARTS], about[NEURON] * DIES + begin * DIES
    width, rows = min(NEURONS, about[N] - begin) * DIES, FLOORED_COEFFICIENTS if kind == HAS_FLOOR else BIAS + 1
    first = about[NUMBERS] + rows * begin * DIES
    numbers = dies.coefficients[first : first + rows * width].reshape(rows, width)
    own = state.states[STATES * low : STATES * (low + width)].reshape(STATES, width)
    drive = state.drive[parts * begin * DIES : parts * (begin * DIES + width)]
    before, after = state.spikes[1 - t % 2, low : low + width], state.spikes[t % 2, low : low + width]
    if kind == INTEGRATES:
        filter_step(own[0], drive, numbers[ALPHA], numbers[GAIN], after)
        if about[HAS_LEAK]:
            add_1(after, numbers[LEAK])
        return
    countdown, steps_off = state.countdown[low : low + width], dies.refractory[low : low + width]
    resting = about[REFRACTORY] > 0
    if kind == HAS_FLOOR:
        rules = about[ADAPTIVE], about[CANCELS]
        floored_step(drive, before, after, countdown, own, numbers, steps_off, resting, rules)
    else:
        rules_of_lif = Rules(0, about[TO_VALUE], 0, about[HAS_SYN], about[ADAPTIVE], 0)
        step(drive, before, after, countdown, own, numbers, steps_off, resting, rules_of_lif)


@njit_no_nrt
def begin_drive(about, drive, dies):
    """What arrives without any source: nothing, or the bias."""
    if about[KIND] == HAS_FLOOR:
        clear(drive)
        return
    for begin in range(0, len(drive), NEURONS * DIES):
        width = min(NEURONS * DIES, len(drive) - begin)
        at = about[NUMBERS] + (BIAS + 1) * begin + BIAS * width
        copy(drive[begin : begin + width], dies.coefficients[at : at + width])


@njit_no_nrt
def lanes_row(row, inputs, out, dies, state):
    """One row of eight dies through all layers, step by step; nothing is kept but the output of the last layer."""
    table, starts = dies.table, inputs.lists.starts
    last, steps = table.shape[0] - 1, out.shape[1]
    for t in range(steps):
        span = starts[row * steps + t], starts[row * steps + t + 1]
        before, after = state.spikes[1 - t % 2], state.spikes[t % 2]
        fill_factors(inputs, span, state)
        for layer in range(last + 1):
            about = table[layer]
            n, first = about[N], about[NEURON]
            width = about[PARTS] * n * DIES
            begin_drive(about, state.drive[:width], dies)
            if about[LISTS] >= 0:
                add_sources(state.drive, about, inputs, span, after, dies, state)
            elif not in_lines(about[N_IN], state.sums.itemsize):
                inputs_of_dies(about, inputs.x[row, t], after, dies, state)
                matrix_lanes(state.drive, about, dies, state)
            else:
                add_products(state.drive, about, inputs, span, after, dies, state)
            if about[RECURRENT] >= 0:
                add_spikes(state.drive, about[RECURRENT], layer, before, dies, state)
            for begin in range(0, n, NEURONS):
                lanes_step(about, begin, t, dies, state)
            if about[KIND] != INTEGRATES:
                state.counts[layer] = list_any(after[first * DIES :], n, state.active[first:])
            if layer == last:
                for r in range(out.shape[0]):
                    for i in range(n):
                        out[r, t, i] = after[(first + i) * DIES + r]


@jit
def fleet_lanes(chip, low, high, inputs, dies, out):
    """Output of the last layer for rows ``low`` to ``high``; out is (dies, batch, steps, n), at most eight dies."""
    table, dtype = dies.table, dies.coefficients.dtype
    total, most = table[:, N].sum(), (table[:, N] * table[:, PARTS]).max()
    sums = BYTES // dies.matrices.itemsize * DIES * ROWS
    state = LaneState(
        cleared(1, STATES * total * DIES, dtype)[0],
        np.empty(total * DIES, np.int32),
        cleared(2, total * DIES, dtype),
        np.empty(total + 1, np.int32),
        np.empty(len(table), np.int64),
        cleared(1, most * DIES, dtype)[0],
        cleared(1, sums, dtype)[0],
        np.empty(inputs.x.shape[2] * DIES, dtype),
        np.empty(table[:, N_IN].max() * DIES + 1, np.int32),
        np.empty((DIES, table[:, N_IN].max()), dtype),
        np.arange(ROWS).astype(np.int32),
    )
    for row in range(low, high):
        state.states[:] = 0
        state.countdown[:] = 0
        state.spikes[:] = 0
        state.counts[:] = 0
        lanes_row(row, inputs, out[:, row], dies, state)


_fleet_lanes_parallel = parallel_for(fleet_lanes, False)


@jit
def fleet_lanes_blocks(team, chips, blocks, *rest):
    return _fleet_lanes_parallel(team, chips, blocks, rest)
