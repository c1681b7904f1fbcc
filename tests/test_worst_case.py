"""The worst die of a network: its figures are its own, candidates, transfer, random search, and regressions."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import draw, tiny

from neurorobust.attacks import PGA, Ball, RandomSearch, restarted, thorough
from neurorobust.core import apply, nominal
from neurorobust.core.run import forward
from neurorobust.data import Data
from neurorobust.evaluation import balanced_accuracy, random_search, transfer, worst_case
from neurorobust.nn.network import placement_of


def test_worst_case_reports_the_die_it_found(network, data):
    """Its figures are those of its deviations run alone, which lie in the ball; the network is left as it was."""
    before = nominal(network)
    found = worst_case(network, data, Ball.uniform(0.3), restarted(PGA(steps=4), 2), seed=3)
    params, placement = nominal(network), placement_of(network)
    assert all(torch.equal(before[name], params[name]) for name in params)
    assert set(found.deviations) == set(params)
    assert all(delta.abs().max() <= 0.3 for delta in found.deviations.values())
    logits = forward(network, apply(params, found.deviations, placement), data.x)[0].detach()
    assert found.balanced_accuracy == balanced_accuracy(logits, data.y)
    assert found.accuracy == (logits.argmax(1) == data.y).double().mean()
    assert found.balanced_accuracy == pytest.approx(sum(found.recall) / 2)
    assert found.passes == 2 * 5


def test_random_search_makes_as_many_passes(network, data):
    """RandomSearch(10) and random_search(passes=11) look at 11 dies, as PGA(10) does."""
    ball = Ball.uniform(0.1)
    assert worst_case(network, data, ball, PGA(steps=10)).passes == 11
    assert worst_case(network, data, ball, RandomSearch(steps=10)).passes == 11
    assert random_search(network, data, ball, passes=11).passes == 11


def found_with(network, data, seed):
    return worst_case(network, data, Ball.uniform(0.3), RandomSearch(2), seed=seed).deviations["hidden.tau_mem"]


def test_same_seed_same_die(network, data):
    """The same seed gives the same bits, whatever the global generator holds."""
    torch.manual_seed(1)
    one = found_with(network, data, 5)
    torch.manual_seed(2)
    assert torch.equal(one, found_with(network, data, 5))


def test_another_seed_another_die(network, data):
    """Seeds 0 to 3 give four different dies (float64 uniforms: no chance of a tie)."""
    assert len({tuple(found_with(network, data, seed).tolist()) for seed in range(4)}) == 4


def test_random_search_of_one_pass(network, data):
    """passes=1 looks at one die."""
    assert random_search(network, data, Ball.uniform(0.1), passes=1).passes == 1


def test_candidates_are_looked_at(network, data):
    """A die found elsewhere counts, projected into the ball, in worst_case and alone; the figure is that die's own."""
    found = worst_case(network, data, Ball.uniform(0.3), restarted(PGA(steps=4, objective="ce"), 2), seed=3)
    assert found.score < balanced_accuracy(forward(network, nominal(network), data.x)[0].detach(), data.y)
    again = transfer(network, data, Ball.uniform(0.3), [{}, found.deviations])
    assert (again.score, again.accuracy, again.recall) == (found.score, found.accuracy, found.recall)
    assert again.attack == "candidate 1" and again.passes == 2
    assert all(torch.equal(delta, found.deviations[name]) for name, delta in again.deviations.items())
    small = transfer(network, data, Ball(tau_mem=0.1), [found.deviations])
    assert set(small.deviations) == {"hidden.tau_mem", "readout.tau_mem"}
    assert all(delta.abs().max() <= 0.1 for delta in small.deviations.values())
    helped = worst_case(network, data, Ball.uniform(0.3), RandomSearch(0), candidates=[found.deviations])
    assert helped.score <= found.score and helped.passes == 2


def test_transfer_between_networks(data):
    """A die found on one network is run on another of the same layers, whose own output it is then judged by."""
    one, two, ball = tiny(0), tiny(7), Ball.uniform(0.5)
    found = worst_case(one, data, ball, PGA(steps=4), seed=1).deviations
    moved = transfer(two, data, ball, [found])
    logits = forward(two, apply(nominal(two), found, placement_of(two)), data.x)[0].detach()
    clean = forward(two, nominal(two), data.x)[0].detach()
    assert moved.score == min(balanced_accuracy(logits, data.y), balanced_accuracy(clean, data.y))


def test_candidates_that_do_not_fit_are_refused(network, data):
    """Names and shapes of another network, NaN, and none at all."""
    ball = Ball.uniform(0.1)
    with pytest.raises(ValueError, match=r"candidates: parameter: 'hiden.tau_mem' does not exist.*Did you mean"):
        transfer(network, data, ball, [{"hiden.tau_mem": torch.zeros(6)}])
    with pytest.raises(ValueError, match=r"hidden.tau_mem has shape \(2,\); this network expected \(6,\)"):
        worst_case(network, data, ball, PGA(1), candidates=[{"hidden.tau_mem": torch.zeros(2)}])
    with pytest.raises(ValueError, match="NaN"):
        transfer(network, data, ball, [{"hidden.tau_mem": torch.full((6,), math.nan)}])
    with pytest.raises(ValueError, match="candidates: got none"):
        transfer(network, data, ball, [])


class Regressor(torch.nn.Module):
    """(B, 4) → (B, 3) outputs that are no logits, of inputs that are no sequence."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(draw(5, 3, 4))

    def forward(self, x):
        return torch.tanh(x @ self.weight.T), {}


def test_a_regression_is_attacked():
    """R² is what is minimised and reported; strong and random search run on mse, and KL says what to use instead."""
    network, x = Regressor(), draw(6, 20, 4)
    data = Data(x, network(x)[0].detach())
    found = worst_case(network, data, Ball(weight=0.2), thorough(4, 2, ("mse",)), seed=0)
    outputs = forward(network, apply(nominal(network), found.deviations), data.x)[0].detach()
    residual = (outputs - data.y).square().sum() / (data.y - data.y.mean()).square().sum()
    assert found.score == pytest.approx(1 - residual.item(), rel=1e-12) and found.score < 1
    assert math.isnan(found.balanced_accuracy) and math.isnan(found.accuracy) and found.recall == ()
    assert found.score <= random_search(network, data, Ball(weight=0.2), passes=found.passes).score
    with pytest.raises(ValueError, match="'kl' needs integer class labels"):
        worst_case(network, data, Ball(weight=0.2), PGA())


def test_worst_case_always_projects(network, data):
    """PGA(project=False) is for training: here it is the attack it would be with projection, to the bit."""
    ball = Ball.uniform(0.05)
    wild = worst_case(network, data, ball, PGA(4, init_std=1.0, project=False), seed=2)
    tame = worst_case(network, data, ball, PGA(4, init_std=1.0), seed=2)
    assert wild.score == tame.score
    assert all(torch.equal(delta, tame.deviations[name]) for name, delta in wild.deviations.items())
