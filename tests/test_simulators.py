"""W5's neurons in ours and in simulators: the same equations, and the same spikes where they are installed."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.speed import program, simulators
from benchmarks.speed.workloads import DT, TAU_MEM, TAU_SYN, WORKLOADS

WORK = replace(WORKLOADS["W5"], sizes=(16, 60, 3), steps=60, batch=4, fan_in=8)
needs_oracles = pytest.mark.skipif(
    not (simulators.PYTHON.parent.parent / ".complete").exists(), reason="no .venv-oracles with Brian 2 and NEST"
)


def by_hand(delay):
    """Spikes (T, B, n) in float64 of currents and membranes solved over a step by their closed form; recurrent spikes
    arrive after so many steps."""
    x = WORK.x.double().numpy()
    of_input, of_recurrent = (WORK.params[name].double().numpy() for name in simulators.NAMES.values())
    v, s = np.zeros((2, WORK.batch, WORK.sizes[1]))
    spikes = []
    for t in range(WORK.steps):
        arriving = spikes[t - delay] if t >= delay else np.zeros_like(v)
        s = s * np.exp(-DT / TAU_SYN) + x[:, t] @ of_input.T + arriving @ of_recurrent.T
        # v(t) of tau_mem v' = r s exp(−t/tau_syn) − v
        part = simulators.R * s * TAU_SYN / (TAU_SYN - TAU_MEM)
        v = part * np.exp(-DT / TAU_SYN) + (v - part) * np.exp(-DT / TAU_MEM)
        spikes.append((v > 1).astype(float))
        v = np.where(v > 1, 0.0, v)
    return np.stack(spikes)


def test_ours_solves_the_continuous_equations():
    """In float64 every spike is that of the closed form."""
    spikes = simulators.network(WORK).double()(WORK.x.double())[1]["hidden"].detach().numpy()
    assert 0.01 < spikes.mean() < 0.3
    np.testing.assert_array_equal(spikes, by_hand(1))


@needs_oracles
@pytest.mark.parametrize("at_once", [1, 4])
@pytest.mark.parametrize("name, delay", [("Brian 2, numpy", 1), ("NEST", 2)])
def test_simulators_have_the_same_spikes(name, delay, at_once):
    """As many as the closed form, in every run, with the delay that each has."""
    with closing(simulators.Simulator(*simulators.SIMULATORS[name])) as simulator:
        assert simulator.ask(json.dumps(simulators.description(WORK, at_once)))["built"] > 0
        for _ in range(2):
            answer = simulator.ask("")
            assert answer["spikes"] == by_hand(delay).sum() and answer["seconds"] > 0


def test_a_missing_environment_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(simulators, "PYTHON", tmp_path / "python")
    monkeypatch.setattr("benchmarks.speed.machine.bind", lambda threads: None)
    assert program.main(["--simulators", "--runs", "1"]) == 2
    assert "make oracles" in capsys.readouterr().err
