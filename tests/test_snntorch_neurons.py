"""The LIF loops against snnTorch's own neurons: the same spikes, the same gradients, in float64.

snnTorch's surrogates return float32 spikes whatever comes in; the subclasses below change that and nothing else, so
that its gradients are float64 too.
"""

from __future__ import annotations

import math

import pytest
import snntorch
import torch
from conftest import DT, draw
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from snntorch import surrogate as twins

from neurorobust import kernels
from neurorobust.dynamics import DelayedSubtract, DelayedToValue, Dynamics, NoReset, SnntorchSubtract, Subtract, ToValue
from neurorobust.dynamics.surrogate import ArcTan, FastSigmoid
from neurorobust.kernels import LifCoefficients
from neurorobust.nn.connections import Linear
from neurorobust.nn.neurons import CubaLif, Lif


class DoubleATan(twins.ATan):
    """snnTorch's arctan surrogate with spikes of the membrane's type."""

    @staticmethod
    def forward(ctx, input_, alpha):
        return twins.ATan.forward(ctx, input_, alpha).to(input_.dtype)


class DoubleFastSigmoid(twins.FastSigmoid):
    """snnTorch's fast sigmoid surrogate with spikes of the membrane's type."""

    @staticmethod
    def forward(ctx, input_, slope):
        return twins.FastSigmoid.forward(ctx, input_, slope).to(input_.dtype)


SURROGATES = {
    "atan": (ArcTan(2.0), lambda u: DoubleATan.apply(u, 2.0)),
    "fast_sigmoid": (FastSigmoid(25), lambda u: DoubleFastSigmoid.apply(u, 25)),
    "slow_sigmoid": (FastSigmoid(3.0), lambda u: DoubleFastSigmoid.apply(u, 3.0)),
}
# Which of our resets each of snnTorch's is, by mechanism and reset_delay.
RESETS = {
    ("subtract", True): DelayedSubtract(detach=True),
    ("subtract", False): SnntorchSubtract(),
    ("zero", True): DelayedToValue(detach=True),
    ("zero", False): ToValue(),
    ("none", True): NoReset(),
    ("none", False): NoReset(),
}
LEAKY = [("Leaky", *key) for key in RESETS]
SYNAPTIC = [("Synaptic", mechanism, delay) for mechanism in ("subtract", "none") for delay in (True, False)]
RECURRENT = [("RLeaky", *key) for key in RESETS if key[0] != "zero"]
# RSynaptic with reset_delay=False resets by the spikes it was called with, the ones before: not a model of anything.
RECURRENT += [("RSynaptic", mechanism, True) for mechanism in ("subtract", "none")]


def leaves(seed, steps, batch, n, per_neuron):
    """A busy layer's inputs by name, ready for gradients; beta, alpha and threshold as numbers or per neuron."""
    shape = (n,) if per_neuron else ()
    tensors = {
        "current": 0.6 * draw(seed, steps, batch, n) + 0.4,
        "beta": 0.5 + 0.45 * torch.sigmoid(draw(seed + 1, *shape)),
        "alpha": 0.3 + 0.5 * torch.sigmoid(draw(seed + 2, *shape)),
        "threshold": 0.8 + torch.sigmoid(draw(seed + 3, *shape)),
        "recurrent": 0.5 * draw(seed + 4, n, n) / n**0.5,
        "bias": 0.1 * draw(seed + 5, n),
    }
    return {name: value.requires_grad_() for name, value in tensors.items()}


def by_snntorch(kind, mechanism, delay, p, spike_grad):
    """Spikes and membrane, with snnTorch's own modules and loop."""
    n = p["current"].shape[-1]
    settings = {"threshold": p["threshold"], "spike_grad": spike_grad, "reset_mechanism": mechanism}
    if kind.startswith("R"):
        settings["linear_features"] = n
    if kind.endswith("Synaptic"):
        settings["alpha"] = p["alpha"]
    twin = getattr(snntorch, kind)(beta=p["beta"], reset_delay=delay, **settings)
    state = [torch.zeros_like(p["current"][0]) for _ in range(kind.startswith("R") + kind.endswith("Synaptic") + 1)]

    def step(x, state):
        out = twin(x, *state)
        return out[0], list(out) if kind.startswith("R") else list(out[1:])

    if kind.startswith("R"):
        del twin.recurrent
        twin.recurrent = lambda z: z @ p["recurrent"].T + p["bias"]
    spikes, membrane = [], []
    for x in p["current"]:
        z, state = step(x, state)
        spikes.append(z)
        membrane.append(state[-1])
    return torch.stack(spikes), torch.stack(membrane)


def by_us(kind, mechanism, delay, p, surrogate):
    """Spikes and membrane, by the kernel."""
    n = p["current"].shape[-1]
    current = p["current"] + p["bias"] if kind.startswith("R") else p["current"]
    c = LifCoefficients(
        p["beta"].expand(n),
        torch.ones(n).double(),
        p["threshold"].expand(n),
        p["alpha"].expand(n) if kind.endswith("Synaptic") else None,
    )
    recurrent = p["recurrent"] if kind.startswith("R") else None
    return kernels.lif_trace(current, recurrent, c, Dynamics(surrogate, RESETS[mechanism, delay]))


def compared(result, p, weights):
    """Value of Σ weights · (spikes, membrane), and its gradients by name."""
    value = sum((w * part).sum() for w, part in zip(weights, result))
    found = torch.autograd.grad(value, list(p.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(p, found))


@pytest.mark.parametrize("kernel", ["reference", "auto"])
@pytest.mark.parametrize(("kind", "mechanism", "delay"), [*LEAKY, *SYNAPTIC, *RECURRENT])
@hypothesis_settings(max_examples=10)
@given(
    seed=st.integers(0, 2**20),
    size=st.tuples(st.integers(1, 25), st.integers(1, 4), st.integers(1, 6)),
    per_neuron=st.booleans(),
    surrogate=st.sampled_from(sorted(SURROGATES)),
)
def test_equals_snntorch(kernel, kind, mechanism, delay, seed, size, per_neuron, surrogate):
    """Spikes exactly, membrane to 1e-12, gradients of current, weights, bias, beta, alpha and threshold to 1e-10."""
    p = leaves(seed, *size, per_neuron)
    ours, theirs = SURROGATES[surrogate]
    weights = draw(seed + 6, *size), draw(seed + 7, *size)
    spikes, membrane = by_snntorch(kind, mechanism, delay, p, theirs)
    expected = compared((spikes, membrane), p, weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEUROROBUST_KERNEL", kernel)
        found_spikes, found_membrane = by_us(kind, mechanism, delay, p, ours)
        found = compared((found_spikes, found_membrane), p, weights)
    assert (membrane - p["threshold"]).abs().min() > 1e-9
    assert torch.equal(found_spikes, spikes)
    torch.testing.assert_close(found_membrane, membrane, rtol=1e-12, atol=1e-12)
    for name, gradient in expected.items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-10 * scale + 1e-13, msg=name)


@pytest.mark.parametrize(("kind", "mechanism", "delay"), [*LEAKY, *SYNAPTIC, *RECURRENT])
def test_the_comparison_is_of_something(kind, mechanism, delay):
    """The layers above spike 2 to 90 % of the time, and every gradient that can be there is not zero."""
    p = leaves(1, 25, 4, 6, True)
    spikes, membrane = by_snntorch(kind, mechanism, delay, p, SURROGATES["atan"][1])
    assert 0.02 < spikes.mean() < 0.9
    gradients = compared((spikes, membrane), p, (draw(2, 25, 4, 6), draw(3, 25, 4, 6)))
    silent = {"alpha"} - ({"alpha"} if kind.endswith("Synaptic") else set())
    silent |= set() if kind.startswith("R") else {"recurrent", "bias"}
    assert {name for name, gradient in gradients.items() if gradient.abs().max() == 0} == silent


def test_above_twice_the_threshold_snntorch_waits():
    """Its undelayed subtraction: with v = 2.5 ϑ after a jump and no leak, it spikes once, then needs 2 ϑ; a plain one
    spikes twice."""
    current = torch.zeros(4, 1, 1).double()
    current[0] = 2.5
    c = LifCoefficients(*(torch.ones(1).double() for _ in range(3)))
    plain, _ = kernels.lif_trace(current, None, c, Dynamics(ArcTan(), Subtract()))
    held, _ = kernels.lif_trace(current, None, c, Dynamics(ArcTan(), SnntorchSubtract()))
    twin, mem, spikes = snntorch.Leaky(beta=1.0, reset_delay=False), torch.zeros(1, 1).double(), []
    for x in current:
        z, mem = twin(x, mem)
        spikes.append(float(z))
    assert plain.flatten().tolist() == [1, 1, 0, 0]
    assert held.flatten().tolist() == spikes == [1, 0, 0, 0]


@given(seed=st.integers(0, 2**20), beta=st.floats(0.4, 0.95), alpha=st.floats(0.2, 0.9), recurrent=st.booleans())
def test_layers_equal_their_twins(seed, beta, alpha, recurrent):
    """Lif is (R)Leaky for r = 1/(1 − β) and CubaLif is (R)Synaptic for r = 1/((1 − α)(1 − β)), with recurrent bias."""
    x, w, b = 0.6 * draw(seed, 30, 2, 4) + 0.4, 0.3 * draw(seed + 1, 4, 4), 0.1 * draw(seed + 2, 4)
    p = {
        "current": x, "beta": torch.tensor(beta).double(), "alpha": torch.tensor(alpha).double(),
        "threshold": torch.tensor(1.3).double(), "recurrent": w, "bias": b,
    }  # fmt: skip
    synapses = {"input": Linear(torch.eye(4).double()), "recurrent": Linear(w, b) if recurrent else None}
    tau_mem, tau_syn = -DT / math.log(p["beta"]), -DT / math.log(p["alpha"])
    gain = 1 / (1 - p["beta"])
    layers = {
        "Leaky": Lif(**synapses, tau_mem=tau_mem, v_threshold=1.3, r=gain),
        "Synaptic": CubaLif(**synapses, tau_mem=tau_mem, tau_syn=tau_syn, v_threshold=1.3, r=gain / (1 - p["alpha"])),
    }
    for name, layer in layers.items():
        kind = f"R{name}" if recurrent else name
        p["threshold"] = layer.v_threshold.detach()
        spikes, membrane = by_snntorch(kind, "subtract", True, p, SURROGATES["atan"][1])
        assert (membrane - 1.3).abs().min() > 1e-9
        assert torch.equal(layer(x, DT), spikes)
