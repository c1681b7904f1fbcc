"""AWP, SAM, ABCD and Entropy-SGD where a step is known in closed form: quadratics and a linear classifier, float64."""

from __future__ import annotations

import math

import numpy as np
import oracle
import pytest
import torch
from conftest import DT, double, draw, events, tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from test_regularizers import Spy, fold, gradients, leaves_of
from torch import nn
from torch.nn import functional

from neurorobust.attacks import PGA, Ball
from neurorobust.core.run import nominal
from neurorobust.nn.network import placement_of
from neurorobust.regularizers import ABCD, AWP, SAM, EntropySGD

CURVES = double(0.5, 1.0, 3.0, 2.0)
ZERO = torch.zeros(1)


class Bowl(nn.Module):
    """Four weights and two time constants as outputs: :func:`height` is a quadratic of θ and log τ."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(double(0.7, -0.4, 0.2, -1.5))
        self.tau_mem = nn.Parameter(double(0.5, 3.0))

    def forward(self, x):
        return torch.cat([self.weight, self.tau_mem.log()])[None], {}


def height(outputs, _):
    """½ Σ a θ² + ½ Σ (log τ)²."""
    return 0.5 * (CURVES * outputs[0, :4].square()).sum() + 0.5 * outputs[0, 4:].square().sum()


def coordinates(leaves):
    """(θ, log τ) as one vector, and the curvature of each."""
    return torch.cat([leaves["weight"], leaves["tau_mem"].log()]).detach(), torch.cat([CURVES, double(1.0, 1.0)])


def step(loss, seed: int = 0, network=None):
    """The loss's value and its gradient in (θ, log τ): that of log τ is τ times that of τ."""
    leaves = leaves_of(Bowl() if network is None else network)
    value = loss(Bowl(), leaves, (ZERO, None), torch.Generator().manual_seed(seed))
    found = gradients(value, leaves)
    return value.item(), torch.cat([found["weight"], found["tau_mem"] * leaves["tau_mem"].detach()]), leaves


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("radius", [0.05, 2.0])
def test_sam_on_a_quadratic(radius):
    """∇ at z + ρ az/‖az‖ is a(z + ρ az/‖az‖), one norm over weights and log time constants; the value is that there."""
    value, found, leaves = step(SAM(height, radius))
    z, a = coordinates(leaves)
    there = z + radius * a * z / (a * z).square().sum().sqrt()
    close(found, a * there)
    assert value == pytest.approx(float(0.5 * (a * there.square()).sum()), rel=1e-12)


def test_sam_moves_what_is_trained_alone():
    """Frozen time constants neither move nor count in the norm; at a point without gradient nothing moves."""
    leaves = leaves_of(Bowl())
    leaves["tau_mem"] = leaves["tau_mem"].detach()
    found = torch.autograd.grad(SAM(height, 0.3)(Bowl(), leaves, (ZERO, None)), leaves["weight"])[0]
    z = leaves["weight"].detach()
    close(found, CURVES * (z + 0.3 * CURVES * z / (CURVES * z).norm()))
    flat = {"weight": torch.zeros(4).double().requires_grad_(), "tau_mem": torch.ones(2).double()}
    assert SAM(height, 0.3)(Bowl(), flat, (ZERO, None)).item() == 0


@pytest.mark.parametrize("rounds", [1, 2, 3])
@given(seed=st.integers(0, 2**16), rate=st.sampled_from([1e-3, 0.1, 2.0]))
@settings(max_examples=5)
def test_abcd_on_a_quadratic(rounds, seed, rate):
    """p ← clip(p + rate m a(z + p)), the gradient the mean of (1 − m) a (z + p), with the masks taken by hand."""
    _, found, leaves = step(ABCD(height, rate, 0.1, rounds=rounds), seed)
    z, a = coordinates(leaves)
    end = 0.1 * torch.cat([z[:4].abs(), double(1.0, 1.0)])
    replay, p, expected = torch.Generator().manual_seed(seed), torch.zeros(6).double(), torch.zeros(6).double()
    for _ in range(rounds):
        m = torch.cat([torch.rand(4, generator=replay), torch.rand(2, generator=replay)]) < 0.5
        p = (p + m * (rate * a * (z + p))).clamp(-end, end)
        expected += ~m * a * (z + p) / rounds
    close(found, expected)


def test_abcd_masks_half():
    """The gradient of Σ θ over 10 000 weights is 0 where they climb: a half ± 5 σ (false alarm 6e-7)."""
    weight = torch.ones(10_000).double().requires_grad_()
    loss = ABCD(lambda outputs, _: outputs.sum(), 1.0, rounds=1)

    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(weight.detach())

        def forward(self, x):
            return self.weight[None], {}

    found = torch.autograd.grad(loss(Sum(), {"weight": weight}, (ZERO, None)), weight)[0]
    assert set(found.unique().tolist()) == {0.0, 1.0}
    assert abs(found.sum() - 5000) <= 5 * 50


def walked(a, z, steps, rate, gamma, slope=None):
    """θ − μ after Langevin steps without noise: powers of the matrix that moves (θ′ − θ, v, 1), by numpy."""
    matrix = np.array([[1 - rate * (1.9 * a + gamma), -rate * 0.81, -rate * 1.9 * a * z], [a, 0.9, a * z], [0, 0, 1]])
    if slope is not None:
        matrix = np.array([[1 - rate * gamma, -rate * 0.81, -rate * 1.9 * slope], [0, 0.9, slope], [0, 0, 1]])
    far = [np.linalg.matrix_power(matrix, k)[0, 2] for k in range(1, steps + 1)]
    return -sum(0.25 * 0.75 ** (steps - 1 - k) * value for k, value in enumerate(far))


@pytest.mark.parametrize(("steps", "rate", "scope"), [(1, 0.1, 0.0), (10, 0.1, 1e-2), (7, 0.05, 3.0)])
def test_entropy_sgd_on_a_quadratic(steps, rate, scope):
    """(z − μ)/c with Nesterov's 0.9 and the average's 0.75, by matrix powers; the value is the loss at z."""
    value, found, leaves = step(EntropySGD(height, steps, rate, scope=scope, noise=0.0))
    z, a = coordinates(leaves)
    c = walked(0, 0, steps, rate, scope, slope=1.0)
    expected = [walked(float(a[i]), float(z[i]), steps, rate, scope) / c for i in range(6)]
    close(found, double(*expected))
    assert value == pytest.approx(float(0.5 * (a * z.square()).sum()), rel=1e-12)


def test_entropy_sgd_descends_the_local_entropy():
    """After many steps, noise off, its gradient is that of the quadratic's Moreau envelope, ½ ag/(a + g) z², g = γ/10:
    momentum multiplies the gradient by 1/(1 − 0.9), and not the pull to the centre."""
    _, found, leaves = step(EntropySGD(height, 900, 0.02, scope=2.0, noise=0.0))
    z, a = coordinates(leaves)
    torch.testing.assert_close(found, 0.2 * a / (a + 0.2) * z, rtol=1e-6, atol=0)


def test_entropy_sgd_noise():
    """One step with noise adds −0.25 · √(2 rate) · noise · N(0, 1)/c to the gradient, the normals taken by hand."""
    _, found, leaves = step(EntropySGD(height, 1, 0.1, noise=1e-2), seed=5)
    z, a = coordinates(leaves)
    replay = torch.Generator().manual_seed(5)
    normals = torch.cat([torch.randn(n, generator=replay, dtype=torch.float64) for n in (4, 2)])
    close(found, a * z - math.sqrt(0.2) * 1e-2 * normals / (0.1 * 1.9))


def test_entropy_sgd_scope_grows():
    """γ of batch t is scope · (1 + growth)^t, at most 1/rate; the count is all it carries."""
    loss = EntropySGD(height, 6, 0.1, scope=0.5, growth=0.5, noise=0.0)
    for batch, gamma in enumerate([0.5, 0.75, 1.125]):
        _, found, leaves = step(loss)
        z, a = coordinates(leaves)
        c = walked(0, 0, 6, 0.1, gamma, slope=1.0)
        close(found, double(*(walked(float(a[i]), float(z[i]), 6, 0.1, gamma) / c for i in range(6))))
        assert {name: int(value) for name, value in loss.state().items()} == {"batches": batch + 1}
    loss.restore({"batches": torch.tensor(5000)})
    _, found, _ = step(loss)
    c = walked(0, 0, 6, 0.1, 10.0, slope=1.0)
    close(found, double(*(walked(float(a[i]), float(z[i]), 6, 0.1, 10.0) / c for i in range(6))))


def test_entropy_sgd_leaves_absent_synapses_alone():
    """Where there is no synapse the gradient is 0, noise or not."""
    network, data = tiny(), events(0, 6)
    leaves = leaves_of(network)
    found = gradients(EntropySGD(functional.cross_entropy, 2, noise=1.0)(network, leaves, (data.x, data.y)), leaves)
    absent = ~placement_of(network).masks["hidden.recurrent.weight"]
    assert (found["hidden.recurrent.weight"][absent] == 0).all() and absent.any()
    assert (found["hidden.recurrent.weight"][~absent] != 0).all()


@pytest.mark.parametrize("gamma", [0.1, 1.0])
def test_awp_on_a_linear_classifier(gamma):
    """With one sample the gradient in W is (p − y) xᵀ, of one sign in the whole attack: θ* = W + ζ|W| sign((p − y) xᵀ);
    the gradient is (p′ − y) xᵀ with p′ at W + γ(θ* − W), by hand."""
    network, x = nn.Linear(5, 3, bias=False).double(), draw(2, 1, 5)
    wrapped = nn.Module()
    weight, y = draw(3, 3, 5), torch.tensor([1])
    network.weight.data.copy_(weight)

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.dense = network

        def forward(self, x):
            return self.dense(x), {}

    wrapped = Wrapped()
    leaves = {"dense.weight": weight.clone().requires_grad_()}
    loss = AWP(functional.cross_entropy, PGA(4, 1e-9, "ce"), Ball.uniform(0.1), gamma)
    found = torch.autograd.grad(loss(wrapped, leaves, (x, y)), leaves["dense.weight"])[0]
    target = double(0.0, 1.0, 0.0)
    sign = ((torch.softmax(weight @ x[0], 0) - target)[:, None] * x).sign()
    there = weight + gamma * 0.1 * weight.abs() * sign
    expected = (torch.softmax(there @ x[0], 0) - target)[:, None] * x
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


def test_awp_on_the_spiking_network():
    """∇ at θ + γ(θ* − θ) with Jacobian 1 in every kind, on the oracle, folded to what is set once a core."""
    network, data = tiny(3), events(3, 8)
    leaves = leaves_of(network)
    loss = AWP(functional.cross_entropy, Spy(3, objective="ce"), Ball.uniform(0.2), 0.5)
    found = gradients(loss(network, leaves, (data.x, data.y)), leaves)
    theta = oracle.expand(nominal(network))
    star = oracle.deviate(theta, Spy.found)
    there = {name: (theta[name] + 0.5 * (star[name] - theta[name])).requires_grad_() for name in theta}
    logits = oracle.network(there, data.x, DT, placement_of(network).masks)[0]
    expected = fold(gradients(functional.cross_entropy(logits, data.y), there), network)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-9, atol=1e-12, msg=name)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: AWP(height, PGA(), Ball.uniform(0.1), 1.5), "gamma: got 1.5; expected a fraction from 0 to 1"),
        (lambda: AWP(height, PGA(), 0.1), "ball: got 0.1; expected a Ball"),
        (lambda: AWP(height, None, Ball.uniform(0.1)), "attack: got None"),
        (lambda: SAM(height, -1.0), "radius: got -1"),
        (lambda: ABCD(height, share=1.0), "share: got 1.0; expected a fraction"),
        (lambda: ABCD(height, rounds=0), "rounds: got 0"),
        (lambda: EntropySGD(height, 0), "steps: got 0"),
        (lambda: EntropySGD(height, rate=0.0), "rate: got 0"),
    ],
)
def test_bad_settings_are_refused(build, message):
    """Errors name a value that is out of range."""
    with pytest.raises((ValueError, TypeError), match=message):
        build()
