"""Many dies of one network: a row of a batch goes through all layers of a die, step by step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import ndarray

from .intrinsics import parallel_for
from .jit import jit, njit_inline, njit_no_nrt, njit_noalias
from .lif import ALPHA, COEFFICIENTS, GAIN, RESET_VALUE, SYN, filter_drive, step
from .records import EventLists, Rules, Targets
from .rows import add_weighted, cleared, copy, positions, sum_rows
from .targets import send, send_weighted

# Columns of a fleet's table, one row per layer: neurons, and neurons with those that only fill up a vector; where its
# weight (n_in, n) and recurrent weight (−1 for none) begin in the chip's numbers; whether it spikes, and has refractory
# steps; the rules; its sources, from … to; where the lists of targets of the weight and of the recurrent weight begin
# (−1 for a matrix), and how many sources each has.
N, WIDTH, WEIGHT, RECURRENT, SPIKES, REFRACTORY, TO_VALUE, HAS_SYN, ADAPTIVE, FIRST, END = range(11)
LISTS, RECURRENT_LISTS, N_IN = range(11, 14)
COLUMNS = 14
STATES = 8  # of a neuron: what arrives, five states, spikes of the last step and of this one
BIAS = COEFFICIENTS  # the row below the coefficients
LEAK = RESET_VALUE  # of a layer that does not spike: the row of a reset's value is free to hold v_leak


class FleetInputs(NamedTuple):
    """The events of the input, whether all of them are 1, and the number of inputs."""

    lists: EventLists
    binary: int
    n_in: int


class Dies(NamedTuple):
    """Numbers (chips, all weights of a chip), coefficients and bias (chips, layers, 10, most neurons of a layer), and
    refractory steps (chips, layers, most)."""

    numbers: ndarray
    coefficients: ndarray
    refractory: ndarray


class Structure(NamedTuple):
    """Numbers that all dies share: a table (layers, 14), the sources of all layers, one after the other, and the lists
    of targets of all sparse weights, as :class:`neurorobust.core.pattern.Pattern` has them."""

    table: ndarray
    sources: ndarray
    lists: ndarray


class Scratch(NamedTuple):
    """The state of one row: (layers, 8, most), and (layers, most); places and counts of the spikes of each layer."""

    states: ndarray
    countdown: ndarray
    places: ndarray
    counts: ndarray


@njit_noalias
def integrate(out, v, drive, alpha, gain, leak):
    """A step of neurons that do not spike."""
    for i in range(out.shape[0]):
        v[i] = alpha[i] * v[i] + gain[i] * drive[i]
        out[i] = v[i] + leak[i]


@njit_no_nrt
def input_of(drive, base, k, about, inputs, span, die, structure, scratch, at):
    """drive = base + what arrives from source number ``k`` of a layer whose weight is a matrix, at ``at`` in the die's
    numbers; ``span``: the events of this step. Returns where the weight of the next source begins."""
    (_, places, values), binary, n_in = inputs
    source, width, (begin, end) = structure.sources[k], about[WIDTH], span
    if source >= 0:
        sum_rows(drive, base, die.numbers, at, scratch.places[source], 0, scratch.counts[source])
        return at + width * structure.table[source, N]
    if binary:
        sum_rows(drive, base, die.numbers, at, places, begin, end - begin)
    else:
        if k == about[FIRST]:
            copy(drive, base)
        weight = die.numbers[at : at + n_in * width].reshape(n_in, width)
        add_weighted(drive, weight, values[begin:], places[begin:], end - begin)
    return at + width * n_in


@njit_no_nrt
def listed_input(drive, about, inputs, span, die, structure, scratch):
    """drive += what arrives from all sources of a layer with a sparse weight."""
    (_, places, values), binary, n_in = inputs
    begin, end = span
    weights, shift = die.numbers[about[WEIGHT] :], about[LISTS]
    targets = structure.lists[shift + about[N_IN] + 1 :]
    for k in range(about[FIRST], about[END]):
        source, own = structure.sources[k], Targets(structure.lists[shift:], targets, weights)
        if source >= 0:
            send(drive, own, scratch.places[source], scratch.counts[source])
        elif binary:
            send(drive, own, places[begin:], end - begin)
        else:
            send_weighted(drive, own, values[begin:], places[begin:], end - begin)
        shift += n_in if source < 0 else structure.table[source, N]


@njit_no_nrt
def recurrent_input(drive, base, layer, die, structure, scratch):
    """drive = base + what arrives from the spikes of the layer itself."""
    about, lists = structure.table[layer], structure.lists
    at, begin, n = about[RECURRENT], about[RECURRENT_LISTS], about[N]
    if begin < 0:
        sum_rows(drive, base, die.numbers, at, scratch.places[layer], 0, scratch.counts[layer])
    else:
        own = Targets(lists[begin:], lists[begin + n + 1 :], die.numbers[at:])
        send(drive, own, scratch.places[layer], scratch.counts[layer])


@njit_inline
def fleet_step(t, layer, inputs, span, out, die, structure, scratch):
    """Step t of one layer of one row of one chip; the output of the last layer goes to ``out``."""
    table = structure.table
    _, coefficients, refractory = die
    states, countdown, active, counts = scratch
    about, own, rows = table[layer], coefficients[layer], states[layer]
    width, base, last = about[WIDTH], own[BIAS], table.shape[0] - 1
    drive, v = rows[0][:width], rows[1][:width]
    if about[LISTS] >= 0:
        copy(drive, base)
        listed_input(drive, about, inputs, span, die, structure, scratch)
    else:
        at = about[WEIGHT]
        for k in range(about[FIRST], about[END]):
            at = input_of(drive, base, k, about, inputs, span, die, structure, scratch, at)
            base = drive
    if about[RECURRENT] >= 0:
        recurrent_input(drive, drive, layer, die, structure, scratch)
    s = rows[2][:width]
    if about[SPIKES]:
        state = v, s, rows[3][:width], rows[4], rows[5]
        before, after = rows[6 + t % 2], rows[7 - t % 2][:width]
        rules = Rules(0, about[TO_VALUE], 0, about[HAS_SYN], about[ADAPTIVE], 0)
        has_refractory = about[REFRACTORY] > 0
        step(drive, before, after, countdown[layer], state, own, refractory[layer], has_refractory, rules)
        counts[layer] = positions(after, active[layer])
        if layer == last:
            copy(out[t], after)
    else:
        if about[HAS_SYN]:
            filter_drive(s, drive, own[SYN])
        integrate(out[t], v, drive, own[ALPHA], own[GAIN], own[LEAK])


@njit_no_nrt
def fleet_row(row, inputs, out, die, structure, scratch):
    """One row of one chip through all layers, step by step; nothing is kept but the output of the last layer."""
    starts, steps = inputs.lists.starts, out.shape[0]
    for t in range(steps):
        span = starts[row * steps + t], starts[row * steps + t + 1]
        for layer in range(structure.table.shape[0]):
            fleet_step(t, layer, inputs, span, out, die, structure, scratch)


@jit
def fleet(chip, low, high, inputs, dies, structure, out):
    """Output of the last layer for rows ``low`` to ``high`` of one chip; out is (chips, batch, steps, n)."""
    _, layers, most = dies.refractory.shape
    states = cleared(layers * STATES, most, dies.numbers.dtype).reshape(layers, STATES, most)
    scratch = Scratch(
        states, np.empty((layers, most), np.int32), np.empty((layers, most), np.int32), np.empty(layers, np.int64)
    )
    die = Dies(dies.numbers[chip], dies.coefficients[chip], dies.refractory[chip])
    for row in range(low, high):
        states[:] = 0
        scratch.countdown[:] = 0
        scratch.counts[:] = 0
        fleet_row(row, inputs, out[chip, row], die, structure, scratch)


_fleet_parallel = parallel_for(fleet, False)


@jit
def fleet_blocks(team, chips, blocks, *rest):
    return _fleet_parallel(team, chips, blocks, rest)
