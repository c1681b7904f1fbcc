"""Every network of the zoo on every chip: a deployment that passes its checks, or a refusal that names each limit; and
the table of the page."""

from __future__ import annotations

import importlib
import sys

import pytest
from pages import ROOT

import chipmodels
import neurorobust as nr

CHIPS = [name for name, model in chipmodels.models().items() if model.architecture is not None]


@pytest.fixture(scope="module")
def page():
    """The module that makes the table; it keeps what it deployed."""
    sys.path.insert(0, str(ROOT / "docs"))
    yield importlib.import_module("deployable")
    sys.path.remove(str(ROOT / "docs"))


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", nr.zoo.names())
def test_every_network_of_the_zoo_is_deployed_or_refused_by_name(name, chip, page):
    found = page.deployed(name, chip)
    if isinstance(found, nr.deploy.DeploymentError):
        assert all(each.limit and each.where and each.got and each.hint for each in found.violations)
        assert all(f"  {violation}" in str(found) for violation in found.violations)
        return
    assert not found.check()
    network = page.network(name)
    assert {layer: len(cores) for layer, cores in found.cores.items()} == {
        layer: network.layers()[layer].n for layer in found.cores
    }
    for used in found.report.usage:
        assert used.of is None or used.used <= used.of
    elsewhere = [
        name for name, layer in network.layers().items() if name not in found.cores and (layer.core >= 0).any()
    ]
    if found.report.moved or elsewhere:  # a read-out that nr.evaluate puts on the chip
        return
    model = page.chips()[chip]
    (die,), (params,) = model.fabricate([3], 1), found.dies([3])
    try:
        programmed = model.program(nr.nominal(network), network.placement())
    except ValueError:  # nr.evaluate knows one tile for a neuron
        return
    expected = nr.apply(programmed.params, die.deviations(programmed), programmed.placement)
    for full, value in nr.core.placement.expand(expected, programmed.placement).items():
        assert params[full].equal(value.expand_as(params[full])), full


def test_the_table_of_the_page_is_that_of_the_models(page):
    """``python docs/deployable.py --write`` mends what fails here."""
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.mended(text, page.table()) == text
