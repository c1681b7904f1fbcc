"""Eight dies of one network with neurons that have a floor: a row of a batch goes through all layers, step by step.

All dies have the same synapses and the same input, so events and lists are read once for eight dies. Spikes differ: the
targets of a neuron get its weights on the dies where it spikes. Sums have the order, and steps the arithmetic, of the
layers one by one, so a die's output has the same bits.

A layer of n neurons has rows of 8 n numbers: neuron by neuron, each on eight dies.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import ndarray

from .fleet import BIAS, LEAK
from .floored import COEFFICIENTS as FLOORED_COEFFICIENTS
from .floored import floored_step
from .integrate import filter_step
from .intrinsics import parallel_for
from .jit import jit, njit_no_nrt
from .lanes import DIES, list_any, send_lanes, send_lanes_times, send_lanes_where
from .lif import ALPHA, GAIN, step
from .records import EventLists, Rules
from .rows import add_1, clear, cleared, copy, dots

# Columns of the table, one row per layer: which of the three kinds; neurons; what arrives for each (1, or 2: excitation
# and inhibition); inputs; its sources, from … to; where the lists of its weight and of its recurrent weight begin in
# ``starts`` (−1: none); where its matrix begins if it has one; where its coefficients begin; the number of its first
# neuron; whether there are refractory steps, an adaptation, and what else the kinds' rules say.
KIND, N, PARTS, N_IN, FIRST, END, LISTS, RECURRENT, MATRIX, NUMBERS, NEURON = range(11)
REFRACTORY, ADAPTIVE, CANCELS, TO_VALUE, HAS_SYN, HAS_LEAK = range(11, 17)
COLUMNS = 17
INTEGRATES, SPIKES, HAS_FLOOR = range(3)
STATES = 6


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
            ``starts[j + 1]``, (k,), and (k · 8,).
        matrices: (m,): of each layer (8, parts · n, n_in). coefficients, refractory: rows of all layers.
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
    how many of each layer; ``drive``, what arrives; room for the inputs and the sums of each die."""

    states: ndarray
    countdown: ndarray
    spikes: ndarray
    active: ndarray
    counts: ndarray
    drive: ndarray
    rows: ndarray
    sums: ndarray
    every: ndarray


@njit_no_nrt
def listed_lanes(drive, about, inputs, span, t, dies, state):
    """drive += what arrives from all sources by lists."""
    table, (begin, end), shift = dies.table, span, about[LISTS]
    for k in range(about[FIRST], about[END]):
        source = dies.sources[k]
        if source < 0:
            for m in range(begin, end):
                j = shift + inputs.lists.places[m]
                low, high = dies.starts[j], dies.starts[j + 1]
                if inputs.binary:
                    send_lanes(drive, dies.places, dies.values, low, high, drive, 0)
                else:
                    factors = state.sums[:DIES]
                    factors[:] = inputs.lists.values[m]
                    send_lanes_times(drive, dies.places, dies.values, low, high, factors, 0)
            shift += inputs.x.shape[2]
        else:
            spiking_lanes(drive, shift, source, state.spikes[t % 2], dies, state)
            shift += table[source, N]


@njit_no_nrt
def spiking_lanes(drive, shift, layer, spikes, dies, state):
    """drive += what arrives from the spikes of a layer."""
    first = dies.table[layer, NEURON]
    for m in range(state.counts[layer]):
        j = state.active[first + m]
        low, high = dies.starts[shift + j], dies.starts[shift + j + 1]
        send_lanes_where(drive, dies.places, dies.values, low, high, spikes, (first + j) * DIES)


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
def lanes_row(row, inputs, out, dies, state):
    """One row of eight dies through all layers, step by step; nothing is kept but the output of the last layer."""
    table, starts = dies.table, inputs.lists.starts
    last, steps = table.shape[0] - 1, out.shape[1]
    for t in range(steps):
        span = starts[row * steps + t], starts[row * steps + t + 1]
        for layer in range(last + 1):
            about = table[layer]
            kind, n, first = about[KIND], about[N], about[NEURON] * DIES
            width, rows = n * DIES, FLOORED_COEFFICIENTS if about[KIND] == HAS_FLOOR else BIAS + 1
            numbers = dies.coefficients[about[NUMBERS] : about[NUMBERS] + rows * width].reshape(rows, width)
            drive = state.drive[: about[PARTS] * width]
            if kind == HAS_FLOOR:
                clear(drive)
            else:
                copy(drive, numbers[BIAS])
            if about[LISTS] >= 0:
                listed_lanes(drive, about, inputs, span, t, dies, state)
            else:
                inputs_of_dies(about, inputs.x[row, t], state.spikes[t % 2], dies, state)
                matrix_lanes(drive, about, dies, state)
            own = state.states[STATES * first : STATES * (first + width)].reshape(STATES, width)
            before, after = state.spikes[1 - t % 2, first : first + width], state.spikes[t % 2, first : first + width]
            if about[RECURRENT] >= 0:
                spiking_lanes(drive, about[RECURRENT], layer, state.spikes[1 - t % 2], dies, state)
            if kind == INTEGRATES:
                filter_step(own[0], drive, numbers[ALPHA], numbers[GAIN], after)
                if about[HAS_LEAK]:
                    add_1(after, numbers[LEAK])
            else:
                countdown, steps_off = state.countdown[first : first + width], dies.refractory[first : first + width]
                resting = about[REFRACTORY] > 0
                if kind == HAS_FLOOR:
                    rules = about[ADAPTIVE], about[CANCELS]
                    floored_step(drive, before, after, countdown, own, numbers, steps_off, resting, rules)
                else:
                    rules_of_lif = Rules(0, about[TO_VALUE], 0, about[HAS_SYN], about[ADAPTIVE], 0)
                    step(drive, before, after, countdown, own, numbers, steps_off, resting, rules_of_lif)
                state.counts[layer] = list_any(after, n, state.active[about[NEURON] :])
            if layer == last:
                for r in range(out.shape[0]):
                    for i in range(n):
                        out[r, t, i] = after[i * DIES + r]


@jit
def fleet_lanes(chip, low, high, inputs, dies, out):
    """Output of the last layer for rows ``low`` to ``high``; out is (dies, batch, steps, n), at most eight dies."""
    table, dtype = dies.table, dies.coefficients.dtype
    total, most, most_in = table[:, N].sum(), (table[:, N] * table[:, PARTS]).max(), table[:, N_IN].max()
    state = LaneState(
        cleared(1, STATES * total * DIES, dtype)[0],
        np.empty(total * DIES, np.int32),
        cleared(2, total * DIES, dtype),
        np.empty(total + 1, np.int32),
        np.empty(len(table), np.int64),
        cleared(1, most * DIES, dtype)[0],
        np.empty((DIES, most_in), dtype),
        np.empty(max(most, DIES), dtype),
        np.arange(most).astype(np.int32),
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
