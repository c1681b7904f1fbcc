"""Fabricated dies against the statistics of measured silicon, and wrong models that these have to notice."""

from __future__ import annotations

import json

import pytest
import silicon

import chipmodels

TABLE = json.loads(silicon.FILE.read_text(encoding="utf-8"))
DIES = 24
NOTICING = [(wrong, statistic) for wrong, (_, _, noticing) in silicon.WRONG.items() for statistic in noticing]


@pytest.fixture(scope="module")
def fabricated():
    """Every statistic of some dies of each chip."""
    return {
        name: values
        for chip in silicon.TAKE
        for name, values in silicon.fleet(chipmodels.load(chip), DIES, seed=1).items()
    }


@pytest.mark.parametrize("statistic", TABLE["statistics"])
def test_dies_reproduce_what_was_measured(fabricated, statistic):
    """Measured numbers lie where the model's dies lie, 99 times in 100 for as many dies as were measured."""
    assert silicon.accepts(fabricated[statistic], TABLE["statistics"][statistic])


@pytest.mark.parametrize("wrong", silicon.WRONG)
def test_a_wrong_model_is_noticed(wrong):
    """Each named wrong model is rejected by each statistic that has to notice it, with power ≥ 0.9 (silicon.json)."""
    model, how, noticing = silicon.WRONG[wrong]
    values = silicon.fleet(model, 6 if how == "fresh" else DIES, 2, how)
    for statistic in noticing:
        assert not silicon.accepts(values[statistic], TABLE["statistics"][statistic])
        assert TABLE["power"][f"{wrong} / {statistic}"] >= 0.9


def test_the_table_has_its_provenance():
    """Every statistic has a value, a known source and a number of dies, and is one that the dies are asked for."""
    for entry in TABLE["statistics"].values():
        assert entry["source"] in TABLE["sources"]
        assert entry["dies"] >= 1
    weak = {f"{wrong} / {each}" for wrong, (_, _, noticing) in silicon.WEAK.items() for each in noticing}
    assert set(TABLE["power"]) == {f"{wrong} / {statistic}" for wrong, statistic in NOTICING} | weak
    assert all(TABLE["power"][name] < 0.9 for name in weak)
    implied = TABLE["statistics"]["weights: correlation of their surfaces, z"]["value"]
    assert implied == pytest.approx(silicon.surfaces(0.35, 0.09, 0.36, 0.27), abs=1e-3)
