"""The strong suite: its guarantees; another surrogate changes only gradients."""

from __future__ import annotations

import pytest
import snntorch as snn
import torch
from conftest import events, tiny
from torch import nn

import neurorobust as nr
from neurorobust.attacks import PGA
from neurorobust.core.run import forward, nominal
from neurorobust.data import Data
from neurorobust.dynamics.surrogate import ArcTan, FastSigmoid, Triangle
from neurorobust.evaluation import STRONG, strong_plan, strong_worst_case
from neurorobust.evaluation.parts import has_surrogates, using_surrogate
from neurorobust.evaluation.strong import SURROGATES


def slope(network, data):
    """Logits, and the gradient of their sum in the recurrent weight or the first there is."""
    params = {name: value.requires_grad_() for name, value in nominal(network).items()}
    logits = forward(network, params, data.x)[0]
    weight = next(value for name, value in params.items() if name.endswith("weight"))
    return logits.detach(), torch.autograd.grad(logits.square().sum(), weight)[0]


def theirs():
    """A small snnTorch network, thresholds of 1."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(3, 5), snn.Leaky(beta=0.8, init_hidden=True), nn.Linear(5, 2), snn.Leaky(beta=0.9, output=True)
    )
    net[3].init_hidden = True
    return nr.from_snntorch(net.double(), dt=1e-3)


@pytest.mark.parametrize("make", [tiny, theirs])
@pytest.mark.parametrize("surrogate", SURROGATES, ids=repr)
def test_another_surrogate_changes_only_gradients(make, surrogate):
    """The same logits, another gradient, and everything as it was afterwards, after an error too."""
    with torch.random.fork_rng():
        network, data = make(), events(0, 6)
    logits, own = slope(network, data)
    assert has_surrogates(network)
    with using_surrogate(network, surrogate):
        there, other = slope(network, data)
    assert torch.equal(there, logits) and not torch.allclose(other, own)
    with pytest.raises(KeyError), using_surrogate(network, surrogate):
        raise KeyError
    assert torch.equal(slope(network, data)[1], own)


def test_the_gradient_equals_that_of_a_network_made_with_the_surrogate():
    """Through ArcTan equals a network whose layers have ArcTan."""
    network, made, data = tiny(), tiny(), events(0, 6)
    made.hidden.surrogate = ArcTan(3.0)
    with using_surrogate(network, ArcTan(3.0)):
        assert torch.equal(slope(network, data)[1], slope(made, data)[1])


def test_version_one_is_what_it_was():
    """strong-1, member by member: a change needs another version."""
    plan = strong_plan(tiny(), events(0, 6))
    assert STRONG == "strong-1"
    wide = (Triangle(1.0), FastSigmoid(5.0, scaled=True), ArcTan(5.0, scaled=True))
    assert [part.surrogate for part in plan] == [None, *wide, None]
    assert [[(repr(member), n) for member, n in part.suite.members] for part in plan] == EXPECTED
    assert sum(part.suite.passes for part in plan) == PASSES


CLIMBS = [
    ("APGD(steps=40, init_std=0.001, objective='margin')", 1),
    ("APGD(steps=40, init_std=inf, objective='margin')", 1),
    ("APGD(steps=40, init_std=0.001, objective='ce')", 1),
]
PUBLISHED = [
    ("PGA(steps=10, init_std=0.001, objective='kl', stride=1.0, project=True)", 1),
    ("PGA(steps=10, init_std=0.001, objective='ce', stride=1.0, project=True)", 1),
]
WITHOUT = [
    ("RandomSearch(steps=390, objective='ce')", 1),
    ("SPSA(steps=10, samples=4, probe=0.1, memory=0.9, objective='margin', stride=2.5)", 1),
]
EXPECTED = [PUBLISHED, CLIMBS, CLIMBS, CLIMBS, WITHOUT]
PASSES = 9 * 41 + 2 * 11 + 391 + 81


def small(monkeypatch):
    """The suite with climbs of two steps, so that a test is quick."""
    monkeypatch.setattr("neurorobust.evaluation.strong.STEPS", 2)


def test_what_does_not_spike_runs_once(monkeypatch):
    """A smooth module: six starts on the margin through one gradient, random search at as many passes as have one."""
    module = nr.wrap(nn.Sequential(nn.Flatten(), nn.Linear(60, 2)).double())
    plan = strong_plan(module, events(0, 6))
    assert [part.surrogate for part in plan] == [None] * 3
    assert [n for _, n in plan[1].suite.members] == [1, 5, 1]
    assert plan[2].suite.members[0][0].passes == plan[0].suite.passes + plan[1].suite.passes == 7 * 41 + 22
    small(monkeypatch)
    found = strong_worst_case(module, events(0, 6), nr.Ball.uniform(0.3))
    assert found.passes == sum(part.suite.passes for part in strong_plan(module, events(0, 6)))


def test_the_minimum_counts(monkeypatch):
    """Never above the ten-step attacks, a candidate or the network; in the ball; repeatable; passes as planned."""
    small(monkeypatch)
    network, data, ball = tiny(), events(0, 12), nr.Ball.uniform(0.3)
    candidate = nr.worst_case(network, data, nr.Ball.uniform(0.3), PGA(30, objective="margin"), seed=3)
    found = strong_worst_case(network, data, ball, candidates=[candidate.deviations])
    assert found.score <= candidate.score
    assert found.passes == sum(part.suite.passes for part in strong_plan(network, data)) + 1
    assert all(bool((delta.abs() <= 0.3).all()) for delta in found.deviations.values())
    known = strong_worst_case(network, data, ball, candidates=[found.deviations], seed=7)
    assert known.score < found.score or known.attack == "candidate 0"
    again = strong_worst_case(network, data, ball, candidates=[candidate.deviations])
    assert again.score == found.score and again.attack == found.attack
    measured = nr.transfer(network, data, ball, [found.deviations])
    assert measured.score == found.score


def test_a_regression(monkeypatch):
    """Targets in floating point: every loss is the squared error."""
    small(monkeypatch)
    module = nr.wrap(nn.Linear(3, 1).double())
    x = torch.linspace(-1, 1, 24, dtype=torch.float64).reshape(8, 3)
    found = strong_worst_case(module, Data(x, x.sum(1, keepdim=True)), nr.Ball.uniform(0.1))
    assert found.score < 1 and found.attack
