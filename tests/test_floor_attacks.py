"""Attacks on networks with floors: through the true and through a leaky gradient, and without one; the worst counts."""

from __future__ import annotations

import json
from importlib import import_module
from unittest import mock

import pytest
import torch
from conftest import DT, events, tiny
from pages import ROOT

import neurorobust as nr
from benchmarks import floor_gradients
from neurorobust.attacks import PGA, Ball, RandomSearch, Suite, quick
from neurorobust.core.run import nominal
from neurorobust.data import Data
from neurorobust.dynamics import FastSigmoid, HardFloor, LeakyFloor, NoFloor
from neurorobust.evaluation import STRONG, cost, strong_plan, strong_worst_case
from neurorobust.evaluation.floors import FLOORS, LEAK, TRUE, leaky_suite
from neurorobust.evaluation.worst_case import find_worst_case
from neurorobust.nn import LeakyIntegrator, Linear, LinearizedDpi, Network, floor_fractions, using_floor
from neurorobust.nn.floor import fraction_at_floor
from neurorobust.train.loop import selection_score

BALL, CLIMB = Ball(weight=0.1), PGA(10, objective="ce")


def masked(floor=HardFloor()):
    """Two channels that excite and inhibit one neuron; its inhibition is a little stronger than any excitation, and an
    event through the excitation alone makes it spike. So below the floor a few per cent decide, and the true gradient
    is 0 in class 0. A spike means class 1; the other neuron fires always, which means class 0."""
    weight = torch.tensor([[100.0, -103.0], [0.0, 0.0]]).double()
    hidden = LinearizedDpi(
        Linear(weight, torch.tensor([0.0, 5.0]).double()),
        tau_mem=0.01,
        tau_syn_exc=2e-3,
        tau_syn_inh=2e-3,
        v_threshold=0.1,
        floor=floor,
        surrogate=FastSigmoid(5.0, scaled=True),
    )
    readout = LeakyIntegrator(Linear(torch.tensor([[0.0, 1.0], [3.0, 0.0]]).double()), tau_mem=0.02)
    return Network({"hidden": hidden.double(), "readout": readout.double()}, DT)


def both_on(n=8):
    """Class 0: both channels are active, with a few events more or less. Class 1: the excitation alone."""
    x = torch.zeros(n, 30, 2).double()
    x[:, 5:25, 0] = 1
    x[: n // 2, 5:25, 1] = 1
    return Data(x, (torch.arange(n) >= n // 2).long())


def test_where_the_true_gradient_is_0_the_leaky_one_finds_the_die():
    """Ten steps through the hard floor find nothing; through the leaky one, chance; `worst_case` reports that."""
    network, data = masked(), both_on()
    hard = find_worst_case(network, data, BALL, CLIMB, seed=0)
    assert hard.score == hard.nominal == 1.0
    found = nr.worst_case(network, data, BALL, CLIMB, seed=0)
    assert found.score <= 0.5 and found.attack.endswith("through LeakyFloor(slope=0.3)")
    assert found.passes == 2 * CLIMB.passes and found.suite is None
    assert network.layers()["hidden"].floor == HardFloor()


def test_the_default_suite_says_that_it_ran_through_floors_and_how_often_they_act():
    """33 passes through each gradient; the minimum counts; the fraction is that of `floor_fractions`, in one line."""
    network, data = masked(), both_on()
    found = nr.worst_case(network, data, BALL, seed=2)
    assert (found.suite, found.passes) == ("quick-1+floor-1", 66) and FLOORS == "floor-1"
    alone = []
    for floor in (TRUE, LEAK):
        with using_floor(network, floor):
            alone.append(find_worst_case(network, data, BALL, quick(), seed=2).score)
    assert found.score == min(alone)
    fraction = float(floor_fractions(network, nominal(network), data.x)["hidden"].mean())
    assert 0 < found.at_floor < 1 and found.at_floor == pytest.approx(fraction)
    assert f"; {fraction:.0%} of all neuron-steps at the floor" in repr(found) and "\n" not in repr(found)


@pytest.mark.parametrize("find, times", [(nr.worst_case, 1), (strong_worst_case, 1), (selection_score, 0)])
def test_the_fraction_is_counted_once_per_result(find, times, monkeypatch):
    """One count for all parts of a suite, and none when `fit` chooses an epoch, which shows no fraction."""
    monkeypatch.setattr("neurorobust.evaluation.strong.STEPS", 2)
    count = mock.Mock(wraps=fraction_at_floor)
    monkeypatch.setattr(import_module("neurorobust.evaluation.worst_case"), "fraction_at_floor", count)
    find(masked(), both_on(), *([0] if find is selection_score else [BALL]))
    assert count.call_count == times


def test_dies_of_other_networks_have_the_fraction_too():
    """`transfer` runs no attack, and its result carries the fraction of this network."""
    network, data = masked(), both_on()
    found = nr.worst_case(network, data, BALL, seed=2)
    assert nr.evaluation.transfer(network, data, BALL, [found.deviations]).at_floor == found.at_floor > 0


def test_the_gradients_do_not_depend_on_the_floor_of_the_network():
    """A network trained through a leaky floor is attacked as its twin with a hard one."""
    one, other = (nr.worst_case(masked(floor), both_on(), BALL, seed=1) for floor in (HardFloor(), LeakyFloor(1.0)))
    assert (one.score, one.attack, one.at_floor) == (other.score, other.attack, other.at_floor)
    assert all(torch.equal(delta, other.deviations[name]) for name, delta in one.deviations.items())


@pytest.mark.parametrize("make", [tiny, lambda: masked(NoFloor())], ids=["Lif", "NoFloor"])
def test_nothing_changes_without_floors(make):
    """The result of one run of the suite, bit for bit; its version and no fraction."""
    network = make()
    data = both_on() if network.n_in == 2 else events(0, 12)
    found, alone = (
        nr.worst_case(network, data, Ball.uniform(0.3)),
        find_worst_case(network, data, Ball.uniform(0.3), quick()),
    )
    assert (found.score, found.attack, found.passes) == (alone.score, alone.attack, 33)
    assert all(torch.equal(delta, alone.deviations[name]) for name, delta in found.deviations.items())
    assert found.suite == "quick-1" and found.at_floor is None and "floor" not in repr(found)


def test_a_suite_without_a_gradient_runs_once():
    """Random dies do not depend on gradients; with others only those with a gradient run again."""
    network = masked()
    found = nr.worst_case(network, both_on(), BALL, RandomSearch(3))
    assert found.passes == 4 and found.at_floor > 0
    assert leaky_suite(network, Suite(((RandomSearch(3), 2), (PGA(2), 5)))) == Suite(((PGA(2), 5),))


def test_the_strong_suite_contains_strong_1_with_the_same_seeds(monkeypatch):
    """strong-1 first, then all its searches with a gradient through the leaky floor, and as many random dies more."""
    own, free = strong_plan(masked(), both_on()), strong_plan(masked(NoFloor()), both_on())
    assert [(part.suite, part.surrogate, part.floor) for part in own[:4]] == [(*part[:2], TRUE) for part in free[:4]]
    assert own[4].suite.members[1] == free[4].suite.members[1]
    assert own[4].suite.members[0][0] == RandomSearch(2 * 391 - 1, "ce")
    assert own[5:] == tuple(part._replace(floor=LEAK) for part in free[:4])
    assert sum(part.suite.passes for part in own) == 863 + 2 * 391
    monkeypatch.setattr("neurorobust.evaluation.strong.STEPS", 2)
    network, data = masked(), both_on()
    found = strong_worst_case(network, data, BALL, seed=4)
    assert (found.suite, found.inconclusive) == ("strong-1+floor-1", False) and STRONG == "strong-1"
    assert found.score <= 0.5 and found.at_floor > 0
    assert found.passes == sum(part.suite.passes for part in strong_plan(network, data))
    monkeypatch.setattr("neurorobust.evaluation.strong.has_floors", lambda _: False)
    alone = strong_worst_case(network, data, BALL, seed=4)
    assert found.score <= alone.score and alone.passes < found.passes


def test_estimates_and_sensitivity_count_the_leaky_searches(monkeypatch):
    """One second a pass of either kind: PGA(4) has 4 gradients and 1 evaluation through each floor; and the nominal."""
    monkeypatch.setattr(cost, "_time_passes", lambda *_: (1.0, 1.0))
    data = Data(both_on().x.repeat(50, 1, 1)[:250], both_on().y.repeat(50)[:250])
    assert cost.estimate_worst_case(masked(), data, BALL, PGA(4)) == pytest.approx(8 + 2 + 1)
    table = nr.sensitivity(masked(), both_on(), n_dies=1).table()
    weights = table[(table["level"] == "kind") & (table["kind"] == "weight")].iloc[0]
    assert weights["attack"] == "quick-1+floor-1" and weights["attacked"] <= 0.5


def test_the_tables_of_the_page_are_those_of_the_measurement():
    """docs/physics.md holds what the committed results give; the slope of the suites ties for the lowest mean."""
    networks = json.loads(floor_gradients.RESULTS.read_text(encoding="utf-8"))["networks"]
    page = (ROOT / "docs/physics.md").read_text(encoding="utf-8")
    tables = floor_gradients.summary(networks).strip().split("\n\n")
    assert len(tables) == 2 and all(table in page for table in tables)
    worst = {
        slope: sum(
            min(own["slopes"][f"{label} 0"], own["slopes"][f"{label} {slope:g}"])
            for own in networks.values()
            for label in ("own", "wide")
        )
        for slope in floor_gradients.SLOPES[1:]
    }
    assert worst[LEAK.slope] == pytest.approx(min(worst.values()))


def test_the_offset_of_a_converted_network_is_the_best_one():
    """A read-out that says class 0 to everything is repaired by one offset."""
    network, data = masked(), both_on()
    network.layers()["readout"].input.bias = torch.nn.Parameter(torch.tensor([9.0, 0.0]).double())
    assert nr.worst_case(network, data, BALL, RandomSearch(1)).nominal == 0.5
    floor_gradients.fit_offset(network, data)
    assert nr.worst_case(network, data, BALL, RandomSearch(1)).nominal == 1.0


@pytest.mark.parametrize("make", [lambda: masked(NoFloor()), masked], ids=["without floors", "with floors"])
def test_the_strong_suite_is_estimated_by_its_passes(make, monkeypatch):
    """With 1 s per pass without a gradient and 2 s with one: the passes of the whole plan, those through a leaky floor
    included, and one for the centre."""
    network, data = make(), both_on()
    monkeypatch.setattr(cost, "_time_passes", lambda *_: (1.0, 2.0))
    plan = strong_plan(network, data)
    counted = [cost.count_passes(part.suite) for part in plan]
    expected = sum(2 * n_with + n_without for n_with, n_without in counted) + 1
    found = cost.estimate_strong_worst_case(network, data, BALL)
    assert found == pytest.approx(expected)
