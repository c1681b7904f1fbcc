"""Contracts of every measurement of the experiments, over all that are found."""

from __future__ import annotations

import json
import math
from numbers import Real

import pytest
from conftest import tiny
from made_up import record
from mini_study import MINI

from benchmarks.robustness import Cell, all_measurements
from neurorobust.io.models import save

MEASUREMENTS = all_measurements()
every_measurement = pytest.mark.parametrize("measurement", list(MEASUREMENTS.values()), ids=list(MEASUREMENTS))


def numbers(values):
    """Every number in nested values; null stands for one that was refused."""
    if isinstance(values, Real):
        yield values
    elif isinstance(values, dict | list | tuple):
        for value in values.values() if isinstance(values, dict) else values:
            yield from numbers(value)


@pytest.fixture
def cell(tmp_path):
    """A cell of the miniature whose network is there and not measured yet."""
    cell = Cell(MINI, "adversarial", 0, tmp_path)
    save(tiny(), cell.folder, {})
    cell.write(record(cell, measurements={}))
    return cell


def test_the_walk_finds_what_there_is():
    """The measurements of issue 6 are among those found."""
    assert {"bits", "chips", "drift", "mismatch", "nominal", "strong", "ten_ce", "transfer"} <= set(MEASUREMENTS)


@every_measurement
def test_a_measurement_says_what_it_is(measurement, cell):
    """A title in one line, a stage, a cost; levels are words, each once, the same when asked again."""
    assert measurement.title and "\n" not in measurement.title
    assert measurement.stage in (0, 1, 2) and measurement.passes(MINI.budget) > 0
    levels = list(measurement.levels(cell))
    assert all(isinstance(level, str) and level for level in levels) and len(set(levels)) == len(levels)
    assert list(measurement.levels(cell)) == levels


@every_measurement
def test_a_measurement_gives_numbers_for_json(measurement, cell):
    """At its first level on the tiny network: finite numbers by name that JSON can hold, the one that tables show among
    them, or why it was refused; the network stays as it was."""
    network, before = tiny(), {name: value.clone() for name, value in tiny().state_dict().items()}
    for level in list(measurement.levels(cell))[:1]:
        values = measurement.measure(network, level, cell)
        json.dumps(values, allow_nan=False)
        assert values and all(math.isfinite(number) for number in numbers(values))
        assert values.get("refused") or not measurement.shown or measurement.shown in values
    assert all((value == network.state_dict()[name]).all() for name, value in before.items())
