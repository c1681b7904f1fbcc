"""Contracts of every neuron, every surrogate and every reset, over all that are found."""

from __future__ import annotations

import pytest
import torch
from conftest import DT, draw
from found import NEURONS, RESETS, SURROGATES, every_neuron, every_reset, every_surrogate, neuron_example

import neurorobust as nr
from neurorobust import kernels
from neurorobust.core.apply import apply
from neurorobust.core.placement import expand
from neurorobust.core.run import forward, nominal, run
from neurorobust.dynamics import DelayedSubtract, Dynamics, Triangle
from neurorobust.nn.connections import Linear
from neurorobust.nn.network import Network
from neurorobust.nn.neurons import Lif

STEPS, BATCH, N = 30, 3, 5


def test_the_walk_finds_what_there_is():
    """The neurons, surrogates and resets of issues 1 and 5 are among those found."""
    assert {"AdaptiveLif", "CubaLeakyIntegrator", "CubaLif", "LeakyIntegrator", "Lif"} <= set(NEURONS)
    assert {"ArcTan", "FastSigmoid", "Triangle"} <= set(SURROGATES)
    assert {"DelayedSubtract", "DelayedToValue", "NoReset", "SnntorchSubtract", "Subtract", "ToValue"} <= set(RESETS)


@every_neuron
@pytest.mark.parametrize("per_neuron", [True, False], ids=["per neuron", "scalar"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", [(20, 4, 5), (1, 4, 5), (20, 1, 5), (20, 4, 1)], ids=["all", "T=1", "B=1", "N=1"])
def test_every_shape_and_type(model, per_neuron, dtype, size):
    """Any T, B, N, in float32 and float64, scalar or per neuron: (T, B, N) of the input's type, and a second call
    gives the bits of the first."""
    steps, batch, n = size
    layer = neuron_example(model, n, per_neuron=per_neuron).to(dtype)
    x = draw(7, steps, batch, 3).to(dtype)
    out = layer(x, DT)
    assert out.shape == size and out.dtype == dtype
    assert torch.equal(out, layer(x, DT))


@every_neuron
@pytest.mark.parametrize("per_neuron", [True, False], ids=["per neuron", "scalar"])
def test_no_parameter_is_lost(model, per_neuron):
    """Driven, every parameter but t_ref has a gradient that is not zero; t_ref has none."""
    layer = neuron_example(model, per_neuron=per_neuron)
    loss = (draw(8, 40, 4, 5) * layer(0.8 * draw(7, 40, 4, 3) + 0.5, DT)).sum()
    names = [name for name, _ in layer.named_parameters()]
    slopes = dict(zip(names, torch.autograd.grad(loss, list(layer.parameters()), allow_unused=True)))
    assert slopes.pop("t_ref", None) is None
    assert [name for name, slope in slopes.items() if slope is None or slope.abs().max() == 0] == []


@every_neuron
def test_deviations_of_a_layer(model):
    """Zero deviations change no bit; a kind that is not named keeps its values; one that is reaches the output."""
    network = Network({"one": neuron_example(model)}, DT)
    x, params = draw(7, 16, 60, 3) + 0.5, nominal(Network({"one": neuron_example(model)}, DT))
    placement = network.placement()
    expected = run(network, params, x)
    zeros = {name: torch.zeros_like(value) for name, value in expand(params, placement).items()}
    assert torch.equal(run(network, apply(params, zeros, placement), x), expected)
    for name in params:
        moved = apply(params, {name: torch.full_like(zeros[name], 0.6)}, placement)
        assert all(torch.equal(moved[other], params[other]) for other in params if other != name)
        assert not torch.equal(run(network, moved, x), expected), name


@every_neuron
def test_vmap_over_dies_equals_the_loop(model):
    """torch.func.vmap over stacked parameters gives the outputs and gradients of one die after the other."""
    network, x = Network({"one": neuron_example(model)}, DT), draw(7, 3, 25, 3) + 0.4
    params, placement = nominal(network), network.placement()
    dies = [
        apply(params, {name: 0.2 * draw(9 + die, *value.shape) for name, value in params.items()}, placement)
        for die in range(3)
    ]
    stacked = {name: torch.stack([die[name] for die in dies]) for name in params}

    weights = draw(5, 3, 5)

    def logits(p):
        return forward(network, p, x)[0]

    def loss(p):
        return (weights * logits(p)).sum()

    together, slopes = torch.func.vmap(logits)(stacked), torch.func.vmap(torch.func.grad(loss))(stacked)
    for i, die in enumerate(dies):
        torch.testing.assert_close(together[i], logits(die), rtol=1e-12, atol=1e-12)
        one = {name: value.clone().requires_grad_() for name, value in die.items()}
        alone = torch.autograd.grad(loss(one), list(one.values()), allow_unused=True, materialize_grads=True)
        for name, slope in zip(one, alone):
            torch.testing.assert_close(slopes[name][i], slope, rtol=1e-9, atol=1e-11, msg=name)


@every_neuron
def test_a_neuron_comes_back_from_a_file(model, tmp_path):
    """Saved and loaded: the same class, parameters and output, bit for bit."""
    network, x = Network({"one": neuron_example(model)}, DT), draw(7, 4, 40, 3) + 0.5
    again, _ = nr.load(nr.save(network, tmp_path / "model"))
    assert type(again.layers()["one"]) is model
    assert torch.equal(run(again, nominal(again), x), run(network, nominal(network), x))


# Surrogates and resets


def lif_run(dynamics, kernel):
    """Spikes and membrane of a recurrent layer in some loops, and the gradients of a sum over both."""
    shapes = {"current": (STEPS, BATCH, N), "recurrent": (N, N), "alpha": (N,), "gain": (N,), "v_threshold": (N,)}
    leaves = {name: draw(place, *shape) for place, (name, shape) in enumerate(shapes.items())}
    leaves = {"v_reset": 0.1 * draw(9, N)} | leaves
    for name in ("alpha", "gain", "v_threshold"):
        leaves[name] = 0.5 + 0.3 * leaves[name].sigmoid()
    leaves = {name: value.requires_grad_() for name, value in leaves.items()}
    current, recurrent, *_ = leaves["current"] + 0.5, 0.3 * leaves["recurrent"]
    c = kernels.LifCoefficients(*(leaves[name] for name in ("alpha", "gain", "v_threshold")), v_reset=leaves["v_reset"])
    with kernels.using(kernel):
        spikes, membrane = kernels.lif_trace(current, recurrent, c, dynamics)
        loss = (draw(20, STEPS, BATCH, N) * spikes).sum() + (draw(21, STEPS, BATCH, N) * membrane).sum()
        gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return spikes.detach(), membrane.detach(), dict(zip(leaves, gradients))


def check_dynamics(dynamics):
    """Some spikes and finite gradients on the reference loops; where compiled loops run it, the same from them."""
    spikes, membrane, gradients = lif_run(dynamics, "reference")
    assert 0 < spikes.mean() < 1 and membrane.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    assert gradients["current"].abs().max() > 0
    if not kernels.compiles(membrane, dynamics):
        with pytest.raises(ValueError, match="no surrogate and reset that have compiled loops"):
            lif_run(dynamics, "compiled")
        return
    fast_spikes, fast_membrane, fast = lif_run(dynamics, "compiled")
    assert torch.equal(fast_spikes, spikes)
    torch.testing.assert_close(fast_membrane, membrane, rtol=1e-10, atol=1e-12)
    for name, gradient in gradients.items():
        torch.testing.assert_close(fast[name], gradient, rtol=1e-9, atol=1e-11, msg=name)


def comes_back(surrogate, reset, folder):
    """Whether a layer that spikes like this is saved and loaded as it is, and runs."""
    options = {"reset": reset} | ({"v_reset": -0.1} if "Value" in type(reset).__name__ else {})
    layer = Lif(Linear(draw(0, 4, 3)), tau_mem=0.01, v_threshold=0.2, surrogate=surrogate, **options)
    network, x = Network({"one": layer}, DT), draw(1, 2, 20, 3) + 0.5
    again = nr.load(nr.save(network, folder))[0]
    loaded = again.layers()["one"]
    assert (loaded.surrogate, loaded.reset) == (surrogate, reset)
    assert torch.equal(run(again, nominal(again), x), run(network, nominal(network), x))


@every_surrogate
def test_a_surrogate_is_a_finite_even_hill(surrogate):
    """dz/du ≥ 0, finite at any distance, the same on both sides, nowhere higher than at the threshold."""
    u = torch.linspace(-50, 50, 2001, dtype=torch.float64)
    value = surrogate.derivative(u)
    assert value.shape == u.shape and value.dtype == u.dtype and value.isfinite().all() and (value >= 0).all()
    torch.testing.assert_close(value, value.flip(0))
    assert value.argmax() == 1000 and value[1000] > 0


@every_surrogate
def test_a_surrogate_runs_and_is_stored(surrogate, tmp_path):
    """On the reference loops and, where it has them, compiled ones; it is hashable and comes back from a file."""
    check_dynamics(Dynamics(surrogate, DelayedSubtract()))
    assert hash(surrogate) == hash(type(surrogate).example()) and isinstance(surrogate.scaled, bool)
    comes_back(surrogate, DelayedSubtract(), tmp_path / "model")


@every_reset
def test_a_reset_runs_and_is_stored(reset, tmp_path):
    """On the reference loops and, where it has them, compiled ones; it is hashable and comes back from a file."""
    check_dynamics(Dynamics(Triangle(), reset))
    assert hash(reset) == hash(type(reset).example()) and isinstance(reset.detach, bool)
    comes_back(Triangle(), reset, tmp_path / "model")


@every_reset
def test_a_reset_acts_on_those_that_spiked_alone(reset):
    """Where there was no spike, one step leaves α v, and the recorded membrane is v itself."""
    v, z = draw(0, N), torch.zeros(N, dtype=torch.float64)
    c = kernels.LifCoefficients(torch.full_like(v, 0.9), torch.ones_like(v), torch.ones_like(v), v_reset=0.3 + 0 * v)
    torch.testing.assert_close(reset.decayed(v, z, c), 0.9 * v)
    assert torch.equal(reset.membrane(v, z, c), v)
