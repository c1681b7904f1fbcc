"""Searches that go on side by side find what they find alone, whatever shares a pass with what."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from conftest import draw, events, tiny

from neurorobust import kernels, network
from neurorobust.attacks import APGD, PGA, SPSA, Attack, Ball, RandomSearch, Suite, kl
from neurorobust.attacks import attack as attacking
from neurorobust.evaluation import frozen_worst_case, worst_case
from neurorobust.evaluation.worst_case import Witness

EVERYTHING = Suite(((PGA(3), 2), (RandomSearch(20), 1), (APGD(4, float("inf"), "margin"), 3), (SPSA(2, 3), 1)))


def same(one, other):
    """The same die, found by the same search, bit for bit."""
    assert one.score == other.score and one.attack == other.attack and one.passes == other.passes
    assert one.recall == other.recall and one.deviations.keys() == other.deviations.keys()
    assert all(torch.equal(delta, other.deviations[name]) for name, delta in one.deviations.items())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_side_by_side_as_one_by_one(monkeypatch, seed):
    """One die in a pass and one search at a time, or several: the same bits."""
    net, data, ball = tiny(seed), events(seed, 24), Ball.uniform(0.2)
    shared = worst_case(net, data, ball, EVERYTHING, seed=seed)
    monkeypatch.setattr(network, "SIDE_BY_SIDE", 1)
    monkeypatch.setattr(attacking, "ABREAST", 1)
    monkeypatch.setattr(attacking, "LOOKS", 1)
    same(shared, worst_case(net, data, ball, EVERYTHING, seed=seed))


def test_passes_are_shared(monkeypatch):
    """Six restarts of three steps on a network with compiled loops: two passes a step with a slope, not six."""
    net, data = tiny(0), events(0, 24)
    together, single = [], Witness._together

    def counting(self, leaves):
        together.append(len(leaves["hidden.tau_mem"]))
        return single(self, leaves)

    monkeypatch.setattr(Witness, "_together", counting)
    worst_case(net, data, Ball.uniform(0.1), PGA(3), restarts=6)
    assert together == [4, 2] * 3
    together.clear()
    with kernels.using("reference"):
        worst_case(net, data, Ball.uniform(0.1), PGA(3), restarts=2)
    assert together == [1] * 6


def test_memory_bounds_what_shares_a_pass(monkeypatch):
    """No more dies side by side than the memory that is kept has room for."""
    net, x = tiny(0), events(0, 24).x
    assert network.side_by_side(net, x) == network.SIDE_BY_SIDE
    sequence = x.element_size() * x.shape[0] * x.shape[1] * sum(layer.n for layer in net.layers().values())
    monkeypatch.setattr(network.memory, "KEPT", 2 * network.SEQUENCES * sequence)
    assert network.side_by_side(net, x) == 2
    monkeypatch.setattr(network.memory, "KEPT", 0)
    assert network.side_by_side(net, x) == 1


def test_of_equal_dies_the_first_in_the_suite_counts():
    """Where nothing lowers the score it is the nominal network; of one candidate shown twice the first."""
    net, data = tiny(0), events(0, 24)
    assert worst_case(net, data, Ball.uniform(0.0), EVERYTHING).attack == "the nominal parameters"
    found = worst_case(net, data, Ball.uniform(0.5), RandomSearch(30)).deviations
    again = worst_case(net, data, Ball.uniform(0.5), PGA(1), candidates=[found, found])
    assert again.attack in ("candidate 0", repr(PGA(1)))
    assert again.passes == 2 + PGA(1).passes


def test_more_searches_than_go_abreast(monkeypatch):
    """Where one ends the next begins; all make their passes."""
    monkeypatch.setattr(attacking, "ABREAST", 2)
    net, data = tiny(0), events(0, 24)
    found = worst_case(net, data, Ball.uniform(0.2), EVERYTHING, seed=1)
    assert found.passes == EVERYTHING.passes
    monkeypatch.setattr(attacking, "ABREAST", 16)
    same(found, worst_case(net, data, Ball.uniform(0.2), EVERYTHING, seed=1))


def test_the_frozen_suite_shares_passes_too(monkeypatch):
    """Through other surrogates as well: the same bits alone and side by side."""
    net, data, ball = tiny(1), events(1, 16), Ball.uniform(0.1)
    shared = frozen_worst_case(net, data, ball, seed=1)
    monkeypatch.setattr(network, "SIDE_BY_SIDE", 1)
    same(shared, frozen_worst_case(net, data, ball, seed=1))


@dataclass(frozen=True)
class Impatient(Attack):
    """Does not wait for the answer."""

    passes = 1
    objectives = (kl,)

    def explore(self, search):
        search.look([search.center])


def test_an_attack_that_does_not_wait_is_refused():
    """The error names the attack and says what to write."""
    with pytest.raises(TypeError, match=r"Impatient\.explore: got None; expected a generator: write 'yield from'"):
        worst_case(tiny(0), events(0, 8), Ball.uniform(0.1), Impatient())
    with pytest.raises(TypeError, match="Impatient"):
        Impatient().search(lambda d: d["a"].sum(), {"a": draw(0, 2)}, Ball(weight=0.1), torch.Generator())


def test_searches_that_ask_nothing_do_not_end_the_others(monkeypatch):
    """As many as go abreast may have no question at all: those behind them have their turn."""

    class Idle(Impatient):
        def explore(self, search):
            yield from ()

    monkeypatch.setattr(attacking, "ABREAST", 2)
    suite = Suite(((Idle(), 3), (RandomSearch(4), 1)))
    assert worst_case(tiny(0), events(0, 8), Ball.uniform(0.1), suite).passes == 5


def test_values_come_back_in_order():
    """A search that looks at many dies gets one loss for each, the loss of that die."""
    seen = []

    class Looking(Impatient):
        def explore(self, search):
            dies = [{"w.weight": torch.full((2,), 0.001 * k)} for k in range(40)]
            seen.extend((yield from search.look(iter(dies))))

    worst = Looking().search(
        lambda d: d["w.weight"].sum(), {"w.weight": torch.zeros(2)}, Ball(weight=1.0), torch.Generator()
    )
    assert seen == pytest.approx([0.002 * k for k in range(40)])
    assert worst["w.weight"].tolist() == pytest.approx([0.039, 0.039])


def test_no_grad_of_a_look_stays_there():
    """Searches that look and searches that ask for a slope may wait for one another."""
    net, data = tiny(0), events(0, 24)
    mixed = Suite(((RandomSearch(30), 1), (PGA(4), 2), (SPSA(2, 2), 1)))
    assert worst_case(net, data, Ball.uniform(0.1), mixed).passes == mixed.passes
    assert torch.is_grad_enabled()
