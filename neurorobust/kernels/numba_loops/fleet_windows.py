"""Dies of one network with convolutions, side by side: a row of a batch goes through all layers, step by step.

A convolution of the network's input sees the same events on every die. So the channels of all dies are those of one
convolution there, and an event is looked up once for all. A convolution of spikes goes die by die, and so do all other
layers, as in :mod:`.fleet`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import ndarray

from .fleet import (
    ADAPTIVE,
    BIAS,
    FIRST,
    HAS_SYN,
    LEAK,
    REFRACTORY,
    SPIKES,
    STATES,
    TO_VALUE,
    Dies,
    N,
    Scratch,
    fleet_step,
    integrate,
)
from .intrinsics import LANES, parallel_for
from .jit import jit, njit_inline, njit_no_nrt
from .lif import ALPHA, GAIN, SYN, filter_drive, step
from .records import RowEvents, Rules
from .rows import cleared, copy, positions
from .windows import Pooled, Reach, pool_events, send_windows
from .windows_lif import move_spikes

# Columns of the table of convolutions, one row per layer: how many copies there are, 0 for a layer without a
# convolution, 1 for all dies at once, or one per die; neurons of a copy, with those that only fill up vectors, and its
# weights; where its weights, its other numbers and its neurons begin among those of all; where the order of its neurons
# begins in the tables; the same and the rows of Reach.table, then the rest of a Reach; of Pooled.table and Pooled.place
# where they begin and their rows, then the rest of a Pooled.
COPIES, LAST, WEIGHTS, WEIGHT, NUMBERS, NEURONS, ORDER = range(7)
REACH, REACHED, WEIGHT_ROW, PLACE_ROW, POOL, POOL_ROWS, PLACE, PLACES, POOL_ROW, POOLED, DIVISOR = range(7, 18)
COLUMNS = 18


class Windows(NamedTuple):
    """The convolutions of a few dies.

    Attributes:
        table: (layers, 18). tables: of all layers, one behind the other, and where each neuron of a copy is where
            channels come first.
        weights: of all copies. numbers: coefficients and bias (copies, 10, last). refractory: steps (copies, last).
    """

    table: ndarray
    tables: ndarray
    weights: ndarray
    numbers: ndarray
    refractory: ndarray


class Room(NamedTuple):
    """Room for one row.

    Attributes:
        states: (8, last) of each copy. countdown: of each neuron.
        events: of one image. pooled: what is pooled of it. results: of a step, channels first. places: of spikes.
    """

    states: ndarray
    countdown: ndarray
    events: RowEvents
    pooled: ndarray
    results: ndarray
    places: ndarray


@njit_no_nrt
def input_events(events, inputs, span):
    """List the events of a step of the network's input; return how many."""
    (_, places, values), binary, _ = inputs
    begin, end = span
    for k in range(begin, end):
        events.places[k - begin] = places[k]
        events.values[k - begin] = 1 if binary else values[k]
    return end - begin


@njit_no_nrt
def spike_events(events, places, count):
    """List spikes as events; return how many."""
    for k in range(count):
        events.places[k] = places[k]
        events.values[k] = 1
    return count


@njit_no_nrt
def in_order(out, numbers, order):
    """out[order] = numbers, but for those that only fill up."""
    for i in range(numbers.shape[0]):
        if order[i] >= 0:
            out[order[i]] = numbers[i]


@njit_inline
def copy_step(t, drive, rows, countdown, numbers, refractory, shared, result, places, order):
    """Step t of the neurons of one copy: ``rows`` of its states, in the order of :func:`.fleet.fleet_step`. The result,
    channels first, are their spikes, or the membranes of neurons that do not spike."""
    after = rows[7 - t % 2]
    if shared[SPIKES]:
        rules = Rules(0, shared[TO_VALUE], 0, shared[HAS_SYN], shared[ADAPTIVE], 0)
        state, has_refractory = (rows[1], rows[2], rows[3], rows[4], rows[5]), shared[REFRACTORY] > 0
        step(drive, rows[6 + t % 2], after, countdown, state, numbers, refractory, has_refractory, rules)
        move_spikes(result, after, places, order)
    else:
        if shared[HAS_SYN]:
            filter_drive(rows[2], drive, numbers[SYN])
        integrate(after, rows[1], drive, numbers[ALPHA], numbers[GAIN], numbers[LEAK])
        in_order(result, after, order)


@njit_no_nrt
def window_step(t, layer, inputs, span, out, structure, windows, scratch, room):
    """Step t of one layer behind a convolution on all dies, of one row; the output of the last layer goes to
    ``out``."""
    about, shared, tables = windows.table[layer], structure.table[layer], windows.tables
    active, counts, last = scratch.places, scratch.counts, windows.table[layer, LAST]
    source, copies, n, n_dies = structure.sources[shared[FIRST]], about[COPIES], shared[N], active.shape[0]
    reached = tables[about[REACH] :][: 4 * about[REACHED]].reshape(about[REACHED], 4)
    reach = Reach(reached, about[WEIGHT_ROW], about[PLACE_ROW])
    pool = tables[about[POOL] :][: 4 * about[POOL_ROWS]].reshape(about[POOL_ROWS], 4)
    place, order = tables[about[PLACE] :][: about[PLACES]], tables[about[ORDER] :][:last]
    pooled = Pooled(pool, place, about[POOL_ROW], about[POOLED], about[DIVISOR])
    for k in range(copies):
        if source < 0:
            count = input_events(room.events, inputs, span)
        else:
            count = spike_events(room.events, active[k, source], counts[k, source])
        if pooled.n > 0:
            count = pool_events(room.events, count, pooled, room.pooled[: pooled.n + 1])
        first = about[NEURONS] + k * last
        numbers = windows.numbers[(BIAS + 1) * first :][: (BIAS + 1) * last].reshape(BIAS + 1, last)
        rows = room.states[STATES * first :][: STATES * last].reshape(STATES, last)
        drive, result = rows[0], room.results[: n_dies // copies * n]
        copy(drive, numbers[BIAS])
        weight = windows.weights[about[WEIGHT] + k * about[WEIGHTS] :]
        send_windows(drive, weight, room.events.places, room.events.values, count, reach)
        countdown, refractory = room.countdown[first : first + last], windows.refractory[first : first + last]
        copy_step(t, drive, rows, countdown, numbers, refractory, shared, result, room.places, order)
        for i in range(n_dies // copies):
            own = result[i * n : (i + 1) * n]
            if layer == len(windows.table) - 1:
                copy(out[k + i, t], own)
            else:
                counts[k + i, layer] = positions(own, active[k + i, layer])


@njit_no_nrt
def row_of_dies(row, inputs, out, dies, structure, windows, scratch, room):
    """One row through all layers of all dies."""
    starts, steps, n_dies = inputs.lists.starts, out.shape[2], out.shape[0]
    states, countdown, active, counts = scratch
    for t in range(steps):
        span = starts[row * steps + t], starts[row * steps + t + 1]
        for layer in range(len(windows.table)):
            if windows.table[layer, COPIES] > 0:
                window_step(t, layer, inputs, span, out[:, row], structure, windows, scratch, room)
                continue
            for k in range(n_dies):
                die = Dies(dies.numbers[k], dies.coefficients[k], dies.refractory[k])
                own = Scratch(states[k], countdown[k], active[k], counts[k])
                fleet_step(t, layer, inputs, span, out[k, row], die, structure, own)


@jit
def fleet_windows(chip, low, high, inputs, dies, structure, windows, sizes, out):
    """Output of the last layer for rows ``low`` to ``high`` of all dies; out is (dies, batch, steps, n). ``sizes``: the
    most inputs of a convolution, or of what it pools, and the most neurons of a layer."""
    n_dies, layers, most = dies.refractory.shape
    dtype, (images, neurons), of_windows = out.dtype, sizes, windows.refractory.shape[0]
    states = cleared(n_dies * layers * STATES, most, dtype).reshape(n_dies, layers, STATES, most)
    scratch = Scratch(
        states,
        np.empty((n_dies, layers, most), np.int32),
        np.empty((n_dies, layers, neurons + LANES), np.int32),
        np.empty((n_dies, layers), np.int64),
    )
    room = Room(
        cleared(1, STATES * of_windows, dtype)[0],
        np.empty(of_windows, np.int32),
        RowEvents(np.empty(images + LANES, np.int32), np.empty(images + LANES, dtype)),
        np.empty(images + 1, dtype),
        cleared(1, n_dies * neurons, dtype)[0],
        np.empty(of_windows + LANES, np.int32),
    )
    for row in range(low, high):
        states[:] = 0
        scratch.countdown[:] = 0
        scratch.counts[:] = 0
        room.states[:] = 0
        room.countdown[:] = 0
        row_of_dies(row, inputs, out, dies, structure, windows, scratch, room)


_fleet_windows_parallel = parallel_for(fleet_windows, False)


@jit
def fleet_windows_blocks(team, chips, blocks, *rest):
    return _fleet_windows_parallel(team, chips, blocks, rest)
