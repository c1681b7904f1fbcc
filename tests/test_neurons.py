"""Each neuron against closed forms and its snnTorch twin."""

from __future__ import annotations

import math

import pytest
import snntorch
import torch
from conftest import DT, double, draw
from hypothesis import assume, given
from hypothesis import strategies as st

from neurorobust import kernels
from neurorobust.dynamics import (
    DelayedSubtract,
    DelayedToValue,
    Dynamics,
    NoReset,
    SnntorchSubtract,
    Subtract,
    ToValue,
)
from neurorobust.dynamics.surrogate import Triangle
from neurorobust.nn.connections import Linear
from neurorobust.nn.neurons import AdaptiveLif, CubaLeakyIntegrator, LeakyIntegrator, Lif


def one(weight=1.0, n=1):
    """One input fanned out to n neurons, float64."""
    return Linear(torch.full((n, 1), weight, dtype=torch.float64))


def powers(a, steps):
    """The lower triangle of a^(t−s)."""
    lag = torch.arange(steps, dtype=torch.float64)
    lag = lag[:, None] - lag
    return torch.where(lag >= 0, a ** lag.clamp(min=0), 0.0)


@pytest.mark.parametrize("tau", [1e-3, 2e-2, 1.0])
def test_integrator_under_constant_current(tau):
    """v(t) = I (1 − a^t) after t steps of a constant current I, a = exp(−dt/tau): exact for any dt."""
    v = LeakyIntegrator(one(0.7), tau_mem=tau)(torch.full((50, 1, 1), 2.0).double(), DT)[:, 0, 0]
    t = torch.arange(1, 51).double()
    torch.testing.assert_close(v, 1.4 * (1 - torch.exp(-DT / tau * t)), rtol=1e-12, atol=0)


def test_integrator_impulse_response():
    """An impulse at step 3 gives 0 before and (1 − a) a^(t−3) from then on."""
    x = torch.zeros(20, 1, 1).double()
    x[3] = 1
    v = LeakyIntegrator(one(), tau_mem=0.004)(x, DT)[:, 0, 0]
    a = math.exp(-DT / 0.004)
    torch.testing.assert_close(v, double(*[0.0] * 3, *[(1 - a) * a**k for k in range(17)]))


@given(tau=st.floats(2e-3, 0.1), r=st.floats(0.2, 20), drive=st.floats(1.05, 30), threshold=st.floats(0.01, 5))
def test_first_spike_of_lif(tau, r, drive, threshold):
    """Under I = drive · ϑ/r the first spike is at the smallest t with rI (1 − a^t) > ϑ: ⌊ln(1 − 1/drive)/ln a⌋ + 1."""
    exact = math.log(1 - 1 / drive) / (-DT / tau)
    steps = math.floor(exact) + 2
    assume(abs(exact - round(exact)) > 1e-6)
    current = torch.full((steps, 1, 1), drive * threshold / r).double()
    spikes = Lif(one(), tau_mem=tau, v_threshold=threshold, r=r)(current, DT)[:, 0, 0]
    assert spikes.argmax().item() + 1 == math.floor(exact) + 1 and spikes.max() == 1


def test_lif_below_threshold_is_silent():
    """A constant rI of 0.999 ϑ never fires, 1.001 ϑ does (closed form: after τ ln(1001) ≈ 139 steps)."""
    lif = Lif(one(), tau_mem=0.02, v_threshold=0.5)
    assert lif(torch.full((1000, 1, 1), 0.999 * 0.5).double(), DT).sum() == 0
    first = lif(torch.full((1000, 1, 1), 1.001 * 0.5).double(), DT).squeeze().argmax().item() + 1
    assert first == math.floor(20 * math.log(1001)) + 1


@given(seed=st.integers(0, 2**20))
def test_lif_membrane_is_a_sum_of_responses(seed):
    """Spikes are where v > ϑ with v(t) = Σ_s a^(t−s) (1−a) r I(s) − ϑ Σ_(s<t) a^(t−1−s) z(s): no recursion."""
    steps, r, threshold, tau = 60, 3.0, 0.8, 0.01
    x = draw(seed, steps, 4, 1) + 0.6
    z = Lif(one(), tau_mem=tau, v_threshold=threshold, r=r)(x, DT)[..., 0]
    a = math.exp(-DT / tau)
    response = powers(a, steps)
    v = (1 - a) * r * response @ x[..., 0]
    v[1:] -= threshold * response[:-1, :-1] @ z[:-1]
    assert (v - threshold).abs().min() > 1e-9
    assert torch.equal(z, (v > threshold).double())
    assert 0.02 < z.mean() < 0.9


@given(seed=st.integers(0, 2**20))
def test_adaptive_membrane_is_a_sum_of_responses(seed):
    """Spikes are where v > ϑ and z(t−1) = 0, with b, ϑ and v as sums over past inputs and spikes: no recursion."""
    steps, threshold, beta, tau, tau_adapt = 80, 0.1, 1.8, 0.02, 0.098
    x = draw(seed, steps, 4, 1) + 0.5
    neuron = AdaptiveLif(one(), tau_mem=tau, tau_adapt=tau_adapt, adaptation=beta, v_threshold=threshold)
    z = neuron(x, DT)[..., 0]
    a, rho = math.exp(-DT / tau), math.exp(-DT / tau_adapt)
    b = torch.zeros(steps, 4).double()
    b[1:] = (1 - rho) * powers(rho, steps)[:-1, :-1] @ z[:-1]
    bound = threshold + beta * b
    response = powers(a, steps)
    v = (1 - a) * response @ x[..., 0]
    v[1:] -= response[:-1, :-1] @ (z[:-1] * bound[1:])
    rested = torch.cat([torch.ones(1, 4, dtype=torch.bool), z[:-1] == 0])
    assert (v - bound).abs().min() > 1e-9
    assert torch.equal(z, ((v > bound) & rested).double())
    assert 0.02 < z.mean() < 0.5 and (bound > 1.5 * threshold).any()


def test_adaptive_shortest_interval_is_two_steps():
    """A current far above threshold fires every second step, from the first."""
    neuron = AdaptiveLif(one(), tau_mem=0.02, tau_adapt=0.1, adaptation=0.0, v_threshold=0.01)
    assert neuron(torch.full((8, 1, 1), 100.0).double(), DT).flatten().tolist() == [1, 0] * 4


@given(seed=st.integers(0, 2**20), beta=st.floats(0.3, 0.98), threshold=st.floats(0.2, 3))
def test_lif_equals_snntorch_leaky(seed, beta, threshold):
    """Spike for spike snntorch.Leaky (subtract, delayed), r = 1/(1 − beta), float64, no |v − ϑ| < 1e-9 (asserted)."""
    x = draw(seed, 50, 3, 4) + 0.5
    twin = snntorch.Leaky(beta=double(beta)[0], threshold=double(threshold)[0], reset_mechanism="subtract")
    mem, expected, gaps = torch.zeros(3, 4).double(), [], []
    for step in x:
        spikes, mem = twin(step, mem)
        expected.append(spikes)
        gaps.append((mem - threshold).abs().min())
    assert min(gaps) > 1e-9
    layer = Lif(Linear(torch.eye(4).double()), tau_mem=-DT / math.log(beta), v_threshold=threshold, r=1 / (1 - beta))
    assert torch.equal(layer(x, DT), torch.stack(expected).detach())
    assert torch.stack(expected).sum() > 0


def test_no_state_between_calls():
    """A second call starts from rest: it gives the bits of the first."""
    neuron = AdaptiveLif(
        one(n=3), recurrent=Linear(0.3 * draw(0, 3, 3)), tau_mem=0.02, tau_adapt=0.1, adaptation=1.0, v_threshold=0.1
    )
    x = draw(1, 30, 2, 1) + 0.5
    assert torch.equal(neuron(x, DT), neuron(x, DT))


def test_samples_do_not_mix():
    """Each sample of a batch gives the spikes it gives alone."""
    neuron = Lif(one(n=3), recurrent=Linear(0.3 * draw(0, 3, 3)), tau_mem=0.02, v_threshold=0.05)
    x = draw(1, 30, 4, 1) + 0.5
    together = neuron(x, DT)
    for sample in range(4):
        assert torch.equal(together[:, sample], neuron(x[:, sample : sample + 1], DT)[:, 0])


def test_value_per_core_equals_value_per_neuron():
    """tau_mem set on cores (0, 1) acts as the same numbers set on neurons."""
    core, x = torch.tensor([0, 1, 1]), draw(1, 40, 2, 1) + 0.5
    by_core = Lif(one(n=3), core=core, tau_mem=torch.tensor([0.005, 0.03]), v_threshold=0.1)
    by_neuron = Lif(one(n=3), core=core, tau_mem=torch.tensor([0.005, 0.03, 0.03]), v_threshold=0.1)
    assert torch.equal(by_core(x, DT), by_neuron(x, DT))
    assert by_core.index("tau_mem").tolist() == [0, 1, 1] and by_neuron.index("tau_mem") is None
    assert by_core.index("v_threshold").tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tau_mem": 0.0}, "tau_mem: smallest value is 0; expected values > 0"),
        ({"tau_mem": -0.01}, "tau_mem: smallest value is -0.01"),
        ({"v_threshold": math.nan}, "v_threshold: 1 of 1 values are NaN"),
        (
            {"tau_mem": torch.ones(5)},
            r"tau_mem: got shape \(5,\); expected .* per core \(2,\) or one per neuron \(3,\)",
        ),
        ({"r": -1.0}, "r: smallest value is -1"),
    ],
)
def test_bad_values_are_refused(values, message):
    """Non-positive, NaN and misshapen values name the parameter and what was expected."""
    with pytest.raises(ValueError, match=message):
        Lif(one(n=3), core=torch.tensor([0, 1, 1]), **({"tau_mem": 0.02, "v_threshold": 1.0} | values))


def test_adaptation_may_be_zero_but_not_negative():
    """adaptation = 0 is a plain LIF with one silent step; a negative one is refused."""
    settings = {"tau_mem": 0.02, "tau_adapt": 0.1, "v_threshold": 0.1}
    AdaptiveLif(one(), adaptation=0.0, **settings)
    with pytest.raises(ValueError, match=r"adaptation: smallest value is -0.1; expected values ≥ 0"):
        AdaptiveLif(one(), adaptation=-0.1, **settings)


def test_misshapen_connections_are_refused():
    """Weights, masks, biases and recurrent matrices of the wrong shape, and NaN in them."""
    with pytest.raises(ValueError, match=r"weight: got shape \(3,\)"):
        Linear(torch.ones(3))
    with pytest.raises(ValueError, match=r"mask: got shape \(2, 3\); expected the weight's, \(3, 2\)"):
        Linear(torch.ones(3, 2), mask=torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"bias: got shape \(2,\); expected \(3,\)"):
        Linear(torch.ones(3, 2), torch.ones(2))
    with pytest.raises(ValueError, match="weight: 1 of 2 values are NaN"):
        Linear(torch.tensor([[1.0, math.nan]]))
    with pytest.raises(ValueError, match=r"recurrent: got weight of shape \(2, 3\); expected \(3, 3\)"):
        Lif(one(n=3), recurrent=Linear(torch.ones(2, 3)), tau_mem=0.02, v_threshold=1.0)
    with pytest.raises(ValueError, match=r"core: got shape \(2,\)"):
        Lif(one(n=3), core=torch.zeros(2), tau_mem=0.02, v_threshold=1.0)


RESETS = [NoReset(), DelayedSubtract(), Subtract(), SnntorchSubtract(), ToValue(), DelayedToValue()]


@pytest.mark.parametrize("kernel", ["reference", "auto"])
@pytest.mark.parametrize("reset", RESETS, ids=repr)
def test_resets_of_a_perfect_integrator(kernel, reset, monkeypatch):
    """Without leak, under 0.75 a step and ϑ = 1: spikes and membranes by hand."""
    monkeypatch.setenv("NEUROROBUST_KERNEL", kernel)
    one, current = torch.ones(1).double(), torch.full((5, 1, 1), 0.75).double()
    c = kernels.LifCoefficients(one, one, one, v_reset=one / 8 if "Value" in repr(reset) else None)
    spikes, membrane = kernels.lif_trace(current, None, c, Dynamics(Triangle(), reset))
    expected = {
        NoReset: ([0, 1, 1, 1, 1], [0.75, 1.5, 2.25, 3, 3.75]),
        DelayedSubtract: ([0, 1, 1, 0, 1], [0.75, 1.5, 1.25, 1, 1.75]),
        Subtract: ([0, 1, 1, 0, 1], [0.75, 0.5, 0.25, 1, 0.75]),
        SnntorchSubtract: ([0, 1, 1, 0, 1], [0.75, 0.5, 0.25, 1, 0.75]),
        ToValue: ([0, 1, 0, 1, 0], [0.75, 0.125, 0.875, 0.125, 0.875]),
        DelayedToValue: ([0, 1, 0, 1, 0], [0.75, 1.5, 0.875, 1.625, 0.875]),
    }[type(reset)]
    assert (spikes.flatten().tolist(), membrane.flatten().tolist()) == expected


@pytest.mark.parametrize(("t_ref", "silent"), [(0.4e-3, 0), (0.6e-3, 1), (2e-3, 2), (3.4e-3, 3)])
def test_t_ref_in_whole_steps(t_ref, silent):
    """A neuron driven far above threshold spikes every ``silent + 1`` steps, t_ref/dt rounded to the nearest."""
    layer = Lif(one(), tau_mem=0.02, v_threshold=0.01, v_reset=0.0, t_ref=t_ref)
    spikes = layer(torch.full((12, 1, 1), 10.0).double(), DT).flatten()
    assert spikes.nonzero().flatten().tolist() == list(range(0, 12, silent + 1))


@pytest.mark.parametrize("tau_syn", [3e-3, 0.02])
def test_current_based_integrator_follows_its_two_filters(tau_syn):
    """A step of current: i = I (1 − σ^t) and v = Σ (1 − α) α^(t−s) (v_leak + r i(s)) + α^t v_leak."""
    layer = CubaLeakyIntegrator(one(), tau_syn=tau_syn, tau_mem=0.01, r=3.0, v_leak=0.4)
    v = layer(torch.full((60, 1, 1), 2.0).double(), DT)[:, 0, 0]
    t = torch.arange(1, 61).double()
    alpha = math.exp(-DT / 0.01)
    i = 2 * (1 - torch.exp(-DT / tau_syn * t))
    expected = (1 - alpha) * powers(alpha, 60) @ (0.4 + 3 * i) + alpha**t * 0.4
    torch.testing.assert_close(v, expected, rtol=1e-12, atol=1e-12)


def test_neurons_start_at_rest():
    """Without input, membranes stay at v_leak, and a neuron whose v_leak is above threshold spikes at once."""
    silence = torch.zeros(5, 1, 1).double()
    assert LeakyIntegrator(one(), tau_mem=0.01, v_leak=-0.3)(silence, DT).flatten().tolist() == [-0.3] * 5
    assert Lif(one(), tau_mem=0.01, v_threshold=0.5, v_leak=0.6)(silence, DT)[0] == 1
    assert Lif(one(), tau_mem=0.01, v_threshold=0.5, v_leak=0.4)(silence, DT).sum() == 0


def test_a_value_nobody_resets_to_is_refused():
    """v_reset with a reset that does not use it; a reset that is none."""
    with pytest.raises(ValueError, match=r"v_reset: Subtract\(detach=False\) does not use it; pass reset=ToValue"):
        Lif(one(), tau_mem=0.01, v_threshold=1.0, v_reset=0.1, reset=Subtract())
    with pytest.raises(TypeError, match="reset: got 'zero'"):
        Lif(one(), tau_mem=0.01, v_threshold=1.0, reset="zero")
