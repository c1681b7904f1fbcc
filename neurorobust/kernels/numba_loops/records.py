"""The records of arrays that the loops take and hand on.

Shapes: sequences are (chips, batch, steps, n). An array that is the same for all chips has a chip axis of length 1.
"""

from __future__ import annotations

from typing import NamedTuple

from numpy import ndarray


class EventLists(NamedTuple):
    """The events of all rows of an input: row r has those from ``starts[r]`` to ``starts[r + 1]``.

    Attributes:
        starts: (rows + 1,), empty where no list is kept and the events have to be looked for.
        places: the positions of events. values: their values; empty where all are 1.
    """

    starts: ndarray
    places: ndarray
    values: ndarray


class Inputs(NamedTuple):
    """An input (chips, batch, steps, n_in), and the lists of its events."""

    x: ndarray
    lists: EventLists


class Targets(NamedTuple):
    """A sparse weight: source j has the synapses from ``starts[j]`` to ``starts[j + 1]``.

    Attributes:
        starts: (sources + 1,), empty where the weight is a matrix.
        places: where each synapse arrives. values: its weight. Both (chips, synapses).
    """

    starts: ndarray
    places: ndarray
    values: ndarray


class Weights(NamedTuple):
    """A weight as a matrix (chips, sources, n), row = source, or as lists of targets; the other one is empty."""

    rows: ndarray
    targets: Targets


class Synapses(NamedTuple):
    """An input, and the weights and bias (chips, n) by which it becomes a current."""

    x: ndarray
    lists: EventLists
    weight: Weights
    bias: ndarray


class Rules(NamedTuple):
    """The form of a neuron's equations, in whole numbers.

    Attributes:
        surrogate: 0 triangle, 1 fast sigmoid, 2 arctan. scaled: whether its width follows the threshold.
        to_value: whether a spike resets to a value, not by an amount. detach: whether the reset has no gradient.
        has_syn, adaptive: whether there is a synaptic current, and an adaptation.
    """

    surrogate: int
    to_value: int
    detach: int
    has_syn: int
    adaptive: int
    scaled: int


class LifLayer(NamedTuple):
    """The numbers of a layer: coefficients (chips, 9, n), refractory steps (chips, n), and rules."""

    coefficients: ndarray
    refractory: ndarray
    rules: Rules


class Traces(NamedTuple):
    """Spikes and membrane above v_leak; the membrane is empty where nobody asks for it. Or the gradients of both."""

    spikes: ndarray
    v: ndarray


class Recurrent(NamedTuple):
    """A recurrent matrix twice: row = source, and row = target; (chips, n, n), or (0, n, n) for none. Or its lists."""

    by_source: ndarray
    by_target: ndarray
    targets: Targets


class WeightSums(NamedTuple):
    """Gradients of a weight, as a matrix (chips, blocks, sources, n) or of its lists (chips, blocks, synapses)."""

    rows: ndarray
    values: ndarray


class LifGradients(NamedTuple):
    """The results of the backward loop: of the current, (0, …) if not needed; of the rest, (chips, blocks, …)."""

    current: ndarray
    coefficients: ndarray
    recurrent: WeightSums
    weight: WeightSums
    bias: ndarray


class CollectedEvents(NamedTuple):
    """Events of some steps: places (steps, n), values (steps, n) where they matter, and how many each step has."""

    places: ndarray
    values: ndarray
    counts: ndarray


class SortSpace(NamedTuple):
    """Room to sort collected events by place: ends (n + 1,), and steps and values of as many as there can be."""

    ends: ndarray
    steps: ndarray
    values: ndarray


class GatherSpace(NamedTuple):
    """Room to gather from targets: marks of sources (n,), what is gathered, 16 rows side by side (places, 16), and the
    sums of 16 sources (16, 16)."""

    marks: ndarray
    table: ndarray
    sums: ndarray


class RowEvents(NamedTuple):
    """Room for the events of one row: places and values."""

    places: ndarray
    values: ndarray
