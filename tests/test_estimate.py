"""The estimates printed before long runs."""

from __future__ import annotations

import time

import pytest
import torch

import neurorobust as nr
from neurorobust.attacks import APGD, PGA, SPSA, RandomSearch, Suite, restarted, thorough
from neurorobust.data import Data
from neurorobust.evaluation import cost, estimate_evaluate, estimate_worst_case
from neurorobust.train import loop


def test_estimate_counts_steps_and_validations(network, task, monkeypatch):
    """epochs · ⌈24/10⌉ steps and ⌈7/3⌉ evaluations of 10/10 of the validation data, each as long as its second run."""
    clock = iter([0.0, 5.0, 5.0, 9.0, 9.0, 11.0, 11.0, 14.0])  # a slow first step and evaluation, then 2 s and 3 s
    monkeypatch.setattr(loop.time, "perf_counter", lambda: next(clock))
    seconds = loop.estimate(network, task, task.loss, epochs=7, schedule=nr.Schedule(batch_size=10, select_every=3))
    assert seconds == pytest.approx(7 * 3 * 2.0 + 3 * 1 * 3.0)


def test_estimate_leaves_the_network(network, task):
    """Parameters, gradients and torch's own generator are as they were."""
    before, state = nr.nominal(network), torch.get_rng_state()
    started = time.perf_counter()
    assert 0 < loop.estimate(network, task, task.loss, epochs=1) < 60 * (time.perf_counter() - started)
    assert all(torch.equal(value, before[name]) for name, value in network.named_parameters())
    assert all(value.grad is None for value in network.parameters()) and torch.equal(state, torch.get_rng_state())


def many(data: Data, n: int) -> Data:
    """The samples over and over, n of them."""
    return Data(data.x.repeat(-(-n // len(data)), 1, 1)[:n], data.y.repeat(-(-n // len(data)))[:n])


@pytest.mark.parametrize(
    ("n", "slope"), [(250, 5.0), (2500, 5.0 + 2.0)], ids=["one block", "blocks, run again in the backward pass"]
)
def test_time_of_an_attack_is_that_of_its_gradients_and_evaluations(network, data, monkeypatch, n, slope):
    """2 · 4 gradients, 2 evaluations and the nominal pass, timed on 250 samples: 2 s each, 5 s per gradient, after a
    slow first pass of each that compiles."""
    clock = iter([0.0, 50.0, 50.0, 90.0, 90.0, 92.0, 92.0, 97.0])
    monkeypatch.setattr(cost.time, "perf_counter", lambda: next(clock))
    seconds = estimate_worst_case(network, many(data, n), nr.Ball.uniform(0.1), restarted(PGA(4), 2))
    assert seconds == pytest.approx((8 * slope + 3 * 2.0) * n / 250)


def test_a_fleet_is_its_dies(network, data, monkeypatch):
    """1 s of programming, 7 dies and 2 passes of 3 s for 250 of 500 samples, and half a second of deviations a die; of
    two timings the shorter counts."""
    clock = iter([0.0, 1.0, 1.0, 41.0, 41.0, 44.0, 44.0, 44.5, 44.5, 45.5])
    monkeypatch.setattr(cost.time, "perf_counter", lambda: next(clock))
    seconds = estimate_evaluate(network, many(data, 500), nr.mismatch(0.1), n_dies=7)
    assert seconds == pytest.approx(1.0 + 9 * 3.0 * 2 + 7 * 0.5)


@pytest.mark.parametrize(
    ("attack", "slopes", "looks"),
    [(PGA(10), 10, 1), (APGD(7), 7, 1), (RandomSearch(4), 0, 5), (SPSA(3, 2), 0, 13)],
    ids=lambda value: type(value).__name__,
)
def test_passes_are_counted(attack, slopes, looks):
    """With and without a gradient, for every restart and objective; all passes of the suite are among them."""
    assert cost.count_passes(Suite(((attack, 1),))) == (slopes, looks)
    assert cost.count_passes(Suite(((attack, 3), (PGA(1), 1)))) == (3 * slopes + 1, 3 * looks + 1)
    assert sum(cost.count_passes(thorough())) == thorough().passes


def test_estimates_leave_the_network(network, data):
    """Parameters, gradients, modes and torch's own generator are as they were, and both are positive."""
    before, state = nr.nominal(network), torch.get_rng_state()
    assert estimate_evaluate(network, data, nr.mismatch(0.1)) > 0
    assert estimate_worst_case(network, data, nr.Ball.uniform(0.1), thorough()) > 0
    assert all(torch.equal(value, before[name]) for name, value in network.named_parameters())
    assert all(value.grad is None for value in network.parameters()) and torch.equal(state, torch.get_rng_state())
    assert network.training


def test_what_cannot_be_run_is_not_estimated(network, data):
    """No dies, no attack: the words of `evaluate` and `worst_case`."""
    with pytest.raises(ValueError, match="n_dies: got 0"):
        estimate_evaluate(network, data, nr.mismatch(0.1), n_dies=0)
    with pytest.raises(TypeError, match="attack: got 3; expected one such as"):
        estimate_worst_case(network, data, nr.Ball.uniform(0.1), 3)
    with pytest.raises(TypeError, match=r"'strong-1'; expected .*: strong_worst_case and estimate_strong_worst_case"):
        estimate_worst_case(network, data, nr.Ball.uniform(0.1), "strong-1")
