"""The package's own plugin, on its own zoo and its own chip models.

``pytest tests/test_testing_zoo.py --neurorobust-update`` writes the files in ``tests/data/robustness`` again.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from demo_run import beats

import chipmodels
import neurorobust as nr
from neurorobust.testing import session

FOLDER = "data/robustness"


@pytest.fixture(scope="module")
def network():
    return nr.zoo.load("ecg/adversarial")[0]


@pytest.fixture(scope="module")
def data():
    return beats().test.balanced(60)


def test_most_dies_of_dynapse2_work(network, data):
    """26 dies at least: fewer cannot tell .9 from .8."""
    assert len(nr.testing.assert_yield(network, data, "dynapse2", spec=0.9, at_least=0.9).scores) < 60


def test_no_worse_than_the_stored_scores(network, data):
    """Mismatch .3 spreads the dies, so a change of the network or of a die would be seen."""
    found = nr.testing.assert_not_worse(network, data, nr.mismatch(0.3), baseline=f"{FOLDER}/ecg.json", n_dies=40)
    assert found.power > 0.9


def test_a_network_that_is_not_robust_is_worse(data):
    """The guard works: the standard network of the zoo in the place of the robust one."""
    path = Path(__file__).parent / FOLDER / "ecg.json"
    with session.running(session.OUTSIDE):  # no update in this test
        found = nr.testing.check_baseline(nr.zoo.load("ecg/standard")[0], data, nr.mismatch(0.3), baseline=path)
    assert not found.passed and found.differences.mean() < -0.02


def test_a_floor_under_the_quick_attack(network, data):
    nr.testing.assert_robust(network, data, nr.Ball.uniform(0.1), floor=0.75, attack=nr.attacks.quick())


@pytest.mark.neurorobust("dynapse2", dies=12, seed=2)
def test_the_worst_of_twelve_dies_is_the_worst(worst_die, network, data):
    assert worst_die.serial == int(nr.evaluate(network, data, worst_die.model, n_dies=12, seed=2).score.argmin())


@pytest.mark.parametrize("name", chipmodels.models())
def test_no_number_of_a_chip_changes_within_a_version(name):
    """Every stated number, law and statistic of devices; first_dies.py keeps the dies themselves."""
    nr.testing.assert_chip_unchanged(name, snapshot=f"{FOLDER}/chips/{name}.json")
