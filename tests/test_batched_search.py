"""Searches that go on side by side find what they find alone, whatever shares a pass with what."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import pytest
import torch
from conftest import DT, draw, events, tiny

import neurorobust as nr
from neurorobust import kernels
from neurorobust.attacks import APGD, PGA, SPSA, Attack, Ball, L2Ball, RandomSearch, Suite, restarted
from neurorobust.attacks import attack as attack_module
from neurorobust.core.apply import apply
from neurorobust.core.run import forward, nominal
from neurorobust.evaluation import balanced_accuracy, strong_worst_case, worst_case
from neurorobust.evaluation.batched_search import WorstCaseSearch
from neurorobust.nn import fleet_run
from neurorobust.nn.connections import Linear
from neurorobust.nn.decoders import last_step
from neurorobust.nn.neurons import LeakyIntegrator, Lif

batched_search = sys.modules["neurorobust.evaluation.batched_search"]

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
    monkeypatch.setattr(fleet_run, "SIDE_BY_SIDE", 1)
    monkeypatch.setattr(batched_search, "SEARCHES_AT_ONCE", 1)
    monkeypatch.setattr(attack_module, "DIES_PER_REQUEST", 1)
    same(shared, worst_case(net, data, ball, EVERYTHING, seed=seed))


def test_passes_are_shared(monkeypatch):
    """Six restarts of three steps on a network with compiled loops: two passes with a gradient per step, not six."""
    net, data = tiny(0), events(0, 24)
    together, single = [], WorstCaseSearch._differentiable_outputs

    def counting(self, leaves):
        together.append(len(leaves["hidden.tau_mem"]))
        return single(self, leaves)

    monkeypatch.setattr(WorstCaseSearch, "_differentiable_outputs", counting)
    worst_case(net, data, Ball.uniform(0.1), restarted(PGA(3), 6))
    assert together == [4, 2] * 3
    together.clear()
    with kernels.using("reference"):
        worst_case(net, data, Ball.uniform(0.1), restarted(PGA(3), 2))
    assert together == [1] * 6


def test_memory_bounds_what_shares_a_pass(monkeypatch):
    """No more dies side by side than the memory that is kept has room for."""
    net, x = tiny(0), events(0, 24).x
    assert fleet_run.side_by_side(net, x) == fleet_run.SIDE_BY_SIDE
    sequence = x.element_size() * x.shape[0] * x.shape[1] * sum(layer.n for layer in net.layers().values())
    monkeypatch.setattr(fleet_run.memory, "KEPT", 2 * fleet_run.SEQUENCES * sequence)
    assert fleet_run.side_by_side(net, x) == 2
    monkeypatch.setattr(fleet_run.memory, "KEPT", 0)
    assert fleet_run.side_by_side(net, x) == 1


def test_of_equal_dies_the_first_in_the_suite_counts():
    """Where nothing lowers the score it is the nominal network; of one candidate shown twice the first."""
    net, data = tiny(0), events(0, 24)
    assert worst_case(net, data, Ball.uniform(0.0), EVERYTHING).attack == "the nominal parameters"
    found = worst_case(net, data, Ball.uniform(0.5), RandomSearch(30)).deviations
    again = worst_case(net, data, Ball.uniform(0.5), PGA(1), candidates=[found, found])
    assert again.attack in ("candidate 0", repr(PGA(1)))
    assert again.passes == 2 + PGA(1).passes


def test_more_searches_than_run_at_once(monkeypatch):
    """Where one ends the next begins; all make their passes."""
    monkeypatch.setattr(batched_search, "SEARCHES_AT_ONCE", 2)
    net, data = tiny(0), events(0, 24)
    found = worst_case(net, data, Ball.uniform(0.2), EVERYTHING, seed=1)
    assert found.passes == EVERYTHING.passes
    monkeypatch.setattr(batched_search, "SEARCHES_AT_ONCE", 16)
    same(found, worst_case(net, data, Ball.uniform(0.2), EVERYTHING, seed=1))


def test_the_strong_suite_shares_passes_too(monkeypatch):
    """Through other surrogates as well: the same bits alone and side by side."""
    net, data, ball = tiny(1), events(1, 16), Ball.uniform(0.1)
    shared = strong_worst_case(net, data, ball, seed=1)
    monkeypatch.setattr(fleet_run, "SIDE_BY_SIDE", 1)
    same(shared, strong_worst_case(net, data, ball, seed=1))


@dataclass(frozen=True)
class Impatient(Attack):
    """Does not wait for the answer."""

    passes = 1
    objective = "kl"

    def explore(self, search):
        search.evaluate([search.center])


class ForgetsOne(Impatient):
    def explore(self, search):
        search.evaluate([search.center])
        yield from search.evaluate([search.center])


class YieldsTheQuestion(Impatient):
    def explore(self, search):
        yield search.evaluate([search.center])


class LooksAtOne(Impatient):
    def explore(self, search):
        yield from search.evaluate(search.center)


class ClimbsSeveral(Impatient):
    def explore(self, search):
        yield from search.value_and_grad([search.center])


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        (Impatient(), "Impatient.explore: got None; expected a generator .* write 'yield from'"),
        (ForgetsOne(), "ForgetsOne.explore: got '?1 requests that it did not wait for.*'yield from'"),
        (YieldsTheQuestion(), "YieldsTheQuestion.explore: got <generator .*'yield from'"),
        (LooksAtOne(), r"search.evaluate: got one die; expected several: yield from search.evaluate\(\[die\]\)"),
        (ClimbsSeveral(), "search.value_and_grad: got a list; expected one die"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_attack_with_a_wrong_request_gets_a_clear_error(attack, words):
    """The error names the attack and says what to write, in worst_case and in training."""
    with pytest.raises(TypeError, match=words):
        worst_case(tiny(0), events(0, 8), Ball.uniform(0.1), attack)
    with pytest.raises(TypeError, match=words):
        attack.search(lambda d: d["w.weight"].sum(), {"w.weight": draw(0, 2)}, Ball(weight=0.1), torch.Generator())


class HoldsOpen(Impatient):
    passes = 3

    def explore(self, search):
        with torch.no_grad(), kernels.using("reference"):
            for _ in range(3):
                yield from search.evaluate([search.center])
                assert not torch.is_grad_enabled() and kernels.chosen() == "reference"


@pytest.mark.parametrize("fails", [False, True])
def test_what_an_attack_holds_open_is_its_own(monkeypatch, fails):
    """Neither its neighbours nor the caller find it, at the end or after an error."""
    suite = Suite(((HoldsOpen(), 3), (PGA(2), 2)))
    if fails:
        monkeypatch.setattr(WorstCaseSearch, "_differentiable_outputs", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            worst_case(tiny(0), events(0, 8), Ball.uniform(0.1), suite)
    else:
        assert worst_case(tiny(0), events(0, 8), Ball.uniform(0.1), suite).passes == suite.passes
    assert torch.is_grad_enabled() and kernels.chosen() == "auto"


def test_a_die_changed_after_the_request_is_evaluated_as_requested():
    """A search keeps copies: of what a generator yields again changed, too."""

    class Reuses(Impatient):
        def explore(self, search):
            die = {"w.weight": torch.zeros(1)}

            def growing():
                for _ in range(4):
                    die["w.weight"] += 0.01
                    yield die

            seen.extend((yield from search.evaluate(growing())))

    seen = []
    center = {"w.weight": torch.zeros(1)}
    Reuses().search(lambda d: d["w.weight"].sum(), center, L2Ball(weight=1.0), torch.Generator())
    assert seen == pytest.approx([0.01, 0.02, 0.03, 0.04])


def odd(output):
    """A decoder that reads numbers, which vmap cannot."""
    return output.mean(0) if float(output.detach().max()) > -9 else -output.mean(0)


class Reversed(nr.Network):
    def forward(self, x, noise=None):
        logits, signals = super().forward(x, noise)
        return -logits, signals


def layers(n_hidden=(6,), n_in=3):
    """LIF layers and a read-out."""
    made, sizes = {}, (n_in, *n_hidden)
    for i, n in enumerate(n_hidden):
        made[f"hidden{i}"] = Lif(Linear(draw(i, n, sizes[i]) * 3), tau_mem=20e-3, v_threshold=1.0)
    made["readout"] = LeakyIntegrator(Linear(draw(9, 2, sizes[-1])), tau_mem=20e-3)
    return made


@pytest.mark.parametrize("kind", ["decoder", "forward", "hook", "hook of a layer"])
def test_what_is_special_about_a_network_counts(kind):
    """A decoder or a forward pass of somebody's own, and hooks: what is reported is what the network puts out."""
    made, data = layers(), events(0, 24)
    net = (
        Reversed(made, DT)
        if kind == "forward"
        else nr.Network(made, DT, decode=odd if kind == "decoder" else last_step)
    )
    if kind == "hook":
        net.register_forward_hook(lambda module, given, out: (-out[0], out[1]))
    elif kind == "hook of a layer":
        made["hidden0"].register_forward_hook(lambda module, given, out: 1 - out)
    for attack in (RandomSearch(20), PGA(3)):
        found = worst_case(net, data, Ball.uniform(0.3), restarted(attack, 3))
        params = apply(nominal(net), found.deviations, net.placement())
        logits = forward(net, params, data.x)[0].detach()
        assert found.score == balanced_accuracy(logits, data.y)


def test_layers_that_choose_by_the_rate_keep_to_themselves():
    """Behind another a large layer chooses its way by what all dies put out, so dies do not share a pass there."""
    x = draw(0, 4, 20, 12).abs()
    assert fleet_run.side_by_side(nr.Network(layers((40,), 12), DT), x) == fleet_run.SIDE_BY_SIDE
    assert fleet_run.side_by_side(nr.Network(layers((40, 16), 12), DT), x) == fleet_run.SIDE_BY_SIDE
    assert fleet_run.side_by_side(nr.Network(layers((40, 17), 12), DT), x) == 1


def test_few_large_dies_are_held_at_once(monkeypatch):
    """Of dies with many numbers fewer searches go on at once, and each evaluates fewer dies at a time."""
    center = Ball.uniform(0.1).center(nominal(tiny(0)), tiny(0).placement())
    size = sum(zero.numel() for zero in center.values())
    asked, answer = [], WorstCaseSearch.answer

    def watching(self, requests):
        asked.append((len(requests), max(len(request.dies) for _, request in requests)))
        return answer(self, requests)

    monkeypatch.setattr(WorstCaseSearch, "answer", watching)
    for held, most in ((3 * size, 3), (1, 1), (2**30, 16)):
        asked.clear()
        monkeypatch.setattr(attack_module, "MAX_ELEMENTS", held)
        worst_case(tiny(0), events(0, 8), Ball.uniform(0.1), restarted(RandomSearch(40), 20))
        assert max(searches for searches, _ in asked) == max(dies for _, dies in asked) == most


def test_more_samples_than_a_block(monkeypatch):
    """Evaluations run block by block, with the same results as in one block."""
    net, data = tiny(0), events(0, 40)
    whole = worst_case(net, data, Ball.uniform(0.3), RandomSearch(20), seed=2)
    monkeypatch.setattr(batched_search, "ATTACK_BATCH", 13)
    same(whole, worst_case(net, data, Ball.uniform(0.3), RandomSearch(20), seed=2))


def test_searches_that_ask_nothing_do_not_end_the_others(monkeypatch):
    """All searches that run at once may have no request; the ones behind them still run."""

    class Idle(Impatient):
        def explore(self, search):
            yield from ()

    monkeypatch.setattr(batched_search, "SEARCHES_AT_ONCE", 2)
    suite = Suite(((Idle(), 3), (RandomSearch(4), 1)))
    assert worst_case(tiny(0), events(0, 8), Ball.uniform(0.1), suite).passes == 5


def test_values_come_back_in_order():
    """A search that evaluates many dies gets one loss for each, the loss of that die."""
    seen = []

    class Looking(Impatient):
        def explore(self, search):
            dies = [{"w.weight": torch.full((2,), 0.001 * k)} for k in range(40)]
            seen.extend((yield from search.evaluate(iter(dies))))

    worst = Looking().search(
        lambda d: d["w.weight"].sum(), {"w.weight": torch.zeros(2)}, Ball(weight=1.0), torch.Generator()
    )
    assert seen == pytest.approx([0.002 * k for k in range(40)])
    assert worst["w.weight"].tolist() == pytest.approx([0.039, 0.039])


def test_no_grad_of_an_evaluation_stays_there():
    """Searches that evaluate and searches that need a gradient may wait for one another."""
    net, data = tiny(0), events(0, 24)
    mixed = Suite(((RandomSearch(30), 1), (PGA(4), 2), (SPSA(2, 2), 1)))
    assert worst_case(net, data, Ball.uniform(0.1), mixed).passes == mixed.passes
    assert torch.is_grad_enabled()
