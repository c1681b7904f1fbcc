"""The script that compares LinearizedDpi with the circuit's equations: its two sides against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks import dpi_circuit
from benchmarks.dpi_circuit import I_0, T_REF, Circuit, linear_membrane, linear_rate, rate_error


@pytest.mark.parametrize("tau", [5e-3, 20e-3])
def test_the_solver_gives_the_circuit_s_closed_form(tau):
    """Without feedback the time to the threshold is τ [(1 + I_gain/I_∞) ln(…) + I_gain/I_∞ ln(I_thr/I_0)]."""
    circuit = Circuit(tau, False)
    for drive in (1.05, 2.0, 8.0):
        exact = circuit.closed_time_to_spike(drive * circuit.i_thr)
        assert circuit.time_to_spike(drive * circuit.i_thr) == pytest.approx(exact, rel=1e-6)
    assert circuit.time_to_spike(0.9 * circuit.i_thr) == math.inf
    faster = Circuit(tau, True).time_to_spike(1.2 * circuit.i_thr)
    assert faster < circuit.closed_time_to_spike(1.2 * circuit.i_thr)


def test_the_package_s_side_is_its_closed_form():
    """A rate of 1/(t_ref + τ ln((I_∞ − I_0)/(I_∞ − I_thr))) within two steps, and an exponential membrane."""
    circuit = Circuit(20e-3, False)
    i_infinity = 2 * circuit.i_thr
    period = T_REF + circuit.tau * math.log((i_infinity - I_0) / (i_infinity - circuit.i_thr))
    assert linear_rate(circuit, i_infinity) == pytest.approx(1 / period, rel=2e-3)
    times = np.linspace(0, 0.1, 401)
    expected = i_infinity + (5 * I_0 - i_infinity) * np.exp(-times / circuit.tau)
    np.testing.assert_allclose(linear_membrane(circuit, i_infinity, 5 * I_0, times), expected, rtol=1e-9)


def test_the_linearisation_is_the_limit_of_a_small_gain_current(monkeypatch):
    """With I_gain 1 % of I_τ and no feedback the error of the rate is below 1 %; with 4 I_τ it is that of the page."""
    circuit = Circuit(20e-3, False)
    assert rate_error(circuit, 2.0)[1] == pytest.approx(1.01, abs=0.01)
    monkeypatch.setattr(dpi_circuit, "GAIN", 0.01)
    assert abs(rate_error(circuit, 2.0)[1]) < 0.01
