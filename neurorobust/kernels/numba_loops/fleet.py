"""Many dies of one network: a row of a batch goes through all layers of a die, step by step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import ndarray

from .intrinsics import parallel_for
from .jit import jit, njit_no_nrt, njit_noalias
from .lif import ALPHA, COEFFICIENTS, GAIN, RESET_VALUE, SYN, filter_drive, step
from .records import EventLists, Rules
from .rows import add_weighted, cleared, copy, positions, sum_rows

# Columns of a fleet's table, one row per layer: neurons, and neurons with those that only fill up a vector; where its
# weight (n_in, n) and recurrent weight (−1 for none) begin in the chip's numbers; whether it spikes, and has refractory
# steps; the rules; its sources, from … to.
N, WIDTH, WEIGHT, RECURRENT, SPIKES, REFRACTORY, TO_VALUE, HAS_SYN, ADAPTIVE, FIRST, END = range(11)
COLUMNS = 11
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
    """Numbers that all dies share: a table (layers, 11), and the sources of all layers, one after the other."""

    table: ndarray
    sources: ndarray


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
def fleet_row(row, inputs, out, die, structure, scratch):
    """One row of one chip through all layers, step by step; nothing is kept but the output of the last layer."""
    table, sources = structure
    numbers, coefficients, refractory = die
    states, countdown, active, counts = scratch
    (starts, places, values), binary, n_in = inputs
    last, steps = table.shape[0] - 1, out.shape[0]
    for t in range(steps):
        begin, end = starts[row * steps + t], starts[row * steps + t + 1]
        for layer in range(last + 1):
            about, own, rows = table[layer], coefficients[layer], states[layer]
            width, at, base = about[WIDTH], about[WEIGHT], own[BIAS]
            drive, v = rows[0][:width], rows[1][:width]
            for k in range(about[FIRST], about[END]):
                source = sources[k]
                if source >= 0:
                    sum_rows(drive, base, numbers, at, active[source], 0, counts[source])
                elif binary:
                    sum_rows(drive, base, numbers, at, places, begin, end - begin)
                else:
                    if k == about[FIRST]:
                        copy(drive, base)
                    weight = numbers[at : at + n_in * width].reshape(n_in, width)
                    add_weighted(drive, weight, values[begin:], places[begin:], end - begin)
                at += width * (n_in if source < 0 else table[source, N])
                base = drive
            if about[RECURRENT] >= 0:
                sum_rows(drive, base, numbers, about[RECURRENT], active[layer], 0, counts[layer])
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


@jit
def fleet(chip, low, high, inputs, dies, structure, out):
    """Output of the last layer for rows ``low`` to ``high`` of one chip; out is (chips, batch, steps, n)."""
    _, layers, most = dies.refractory.shape
    states = cleared(layers * STATES, most, dies.numbers.dtype).reshape(layers, STATES, most)
    scratch = Scratch(
        states, np.empty((layers, most), np.int32), np.empty((layers, most), np.int32), np.empty(layers, np.int64)
    )
    die = dies.numbers[chip], dies.coefficients[chip], dies.refractory[chip]
    for row in range(low, high):
        states[:] = 0
        scratch.countdown[:] = 0
        scratch.counts[:] = 0
        fleet_row(row, inputs, out[chip, row], die, structure, scratch)


_fleet_parallel = parallel_for(fleet, False)


@jit
def fleet_blocks(team, chips, blocks, *rest):
    return _fleet_parallel(team, chips, blocks, rest)
