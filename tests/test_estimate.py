"""The estimate printed before a long run."""

from __future__ import annotations

import time

import pytest
import torch

import neurorobust as nr
from neurorobust import training


def test_estimate_counts_steps_and_looks(network, task, monkeypatch):
    """epochs · ⌈24/10⌉ steps and ⌈7/3⌉ looks at 10/10 of the validation part, each as long as its second run took."""
    clock = iter([0.0, 5.0, 5.0, 9.0, 9.0, 11.0, 11.0, 14.0])  # a slow first step and look, then 2 s and 3 s
    monkeypatch.setattr(training.time, "perf_counter", lambda: next(clock))
    seconds = training.estimate(network, task, task.loss, epochs=7, schedule=nr.Schedule(batch_size=10, select_every=3))
    assert seconds == pytest.approx(7 * 3 * 2.0 + 3 * 1 * 3.0)


def test_estimate_leaves_the_network(network, task):
    """Parameters, gradients and torch's own generator are as they were."""
    before, state = nr.nominal(network), torch.get_rng_state()
    started = time.perf_counter()
    assert 0 < training.estimate(network, task, task.loss, epochs=1) < 60 * (time.perf_counter() - started)
    assert all(torch.equal(value, before[name]) for name, value in network.named_parameters())
    assert all(value.grad is None for value in network.parameters()) and torch.equal(state, torch.get_rng_state())
