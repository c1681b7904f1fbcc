"""The simulator of circuits against Brian 2 and DynapSim, where `make oracles` has built their environment."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.circuit_oracles import PYTHON, SHUNT_PART, against_brian, against_dynapsim

pytestmark = pytest.mark.skipif(
    not (PYTHON.parent.parent / ".complete").exists(), reason="no .venv-oracles with Brian 2 and rockpool: make oracles"
)


@pytest.mark.parametrize("feedback", [False, True], ids=["threshold", "exponential"])
def test_rates_are_those_of_brian(feedback):
    """Inhibition, recurrence and adaptation, six input rates: every mean rate within 5 %."""
    ours, theirs = against_brian(feedback, 0.5)
    assert theirs.min() > 100
    np.testing.assert_allclose(ours, theirs, rtol=0.05)


@pytest.mark.parametrize("script", ["brian_dpi", "brian_teili"])
def test_rates_with_shunt_are_those_of_brian(script):
    """GABA, SHUNT and adaptation, six input rates, also in the equations of teili: every mean rate within 5 %."""
    ours, theirs = against_brian(False, 0.5, script, SHUNT_PART)
    assert theirs.min() > 100
    np.testing.assert_allclose(ours, theirs, rtol=0.05)


def test_spikes_are_nearly_dynapsim_s():
    """20 excitatory networks: totals within 2 %, and in most networks the same number of spikes in every neuron.

    DynapSim takes Euler's steps, so not all are the same.
    """
    ours, theirs, same, _ = against_dynapsim(0.1)
    assert ours == pytest.approx(theirs, rel=0.02) and ours > 300
    assert same >= 10
