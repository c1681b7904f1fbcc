"""The simulator of circuits against Brian 2 and DynapSim, where `make oracles` has built their environment."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.circuit_oracles import (
    DYNAPSIM_DT,
    PYTHON,
    SHUNT_PART,
    against_brian,
    against_dynapsim,
    excitatory,
    oracle,
)
from benchmarks.dynapsim_steps import in_steps, same
from neurorobust.circuit import simulate

needs_oracles = pytest.mark.skipif(
    not (PYTHON.parent.parent / ".complete").exists(), reason="no .venv-oracles with Brian 2 and rockpool: make oracles"
)


@needs_oracles
@pytest.mark.parametrize("feedback", [False, True], ids=["threshold", "exponential"])
def test_rates_are_those_of_brian(feedback):
    """Inhibition, recurrence and adaptation, six input rates: every mean rate within 5 %."""
    ours, theirs = against_brian(feedback, 0.5)
    assert theirs.min() > 100
    np.testing.assert_allclose(ours, theirs, rtol=0.05)


@needs_oracles
@pytest.mark.parametrize("script", ["brian_dpi", "brian_teili"])
def test_rates_with_shunt_are_those_of_brian(script):
    """GABA, SHUNT and adaptation, six input rates, also in the equations of teili: every mean rate within 5 %."""
    ours, theirs = against_brian(False, 0.5, script, SHUNT_PART)
    assert theirs.min() > 100
    np.testing.assert_allclose(ours, theirs, rtol=0.05)


@needs_oracles
def test_spikes_are_nearly_dynapsim_s():
    """20 excitatory networks: totals within 2 %, and in most networks the same number of spikes in every neuron.

    DynapSim takes Euler's steps, so not all are the same.
    """
    ours, theirs, same, _ = against_dynapsim(0.1)
    assert ours == pytest.approx(theirs, rel=0.02) and ours > 300
    assert same >= 10


@needs_oracles
def test_in_its_own_steps_the_spikes_are_dynapsim_s():
    """Its equations in Euler's steps of its size: the same number of spikes in every neuron of all 20 networks."""
    _, _, given = excitatory(0.1)
    answer = oracle("dynapsim", given)
    theirs = np.array(answer["steps"]) * DYNAPSIM_DT, np.array(answer["neurons"])
    networks, off = same(in_steps(given), theirs)
    assert networks == 20 and off < 1e-4 and len(theirs[0]) > 300


def test_in_small_steps_the_spikes_are_those_of_continuous_time():
    """The same equations in steps of a quarter: all 20 networks as the circuit, and nearer than in whole steps."""
    circuit, events, given = excitatory(0.1)
    found = simulate(circuit, events, 0.1, tolerance=1e-8)
    exact = found.times, found.neurons
    whole, quarter = (same(in_steps(given, parts), exact) for parts in (1, 4))
    assert quarter[0] == 20 and quarter[1] < 5e-4
    assert whole[0] < 20 or quarter[1] < 0.5 * whole[1]
