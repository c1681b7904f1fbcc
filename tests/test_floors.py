"""Contracts of every floor and every adaptation, the record of how often floors act, and the exchange of gradients."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from conftest import DT, double, draw
from found import ADAPTATIONS, FLOORS, every_adaptation, every_floor

import neurorobust as nr
from neurorobust import kernels
from neurorobust.core.run import nominal, run
from neurorobust.dynamics import (
    Adaptation,
    CancelsExcitation,
    FastSigmoid,
    Floor,
    HardFloor,
    LeakyFloor,
    NoFloor,
    PullsDown,
    Triangle,
)
from neurorobust.kernels import FlooredDynamics
from neurorobust.nn import LeakyIntegrator, Lif, Linear, LinearizedDpi, Network, floor_fractions, using_floor


def layer(n=6, n_in=3, **options):
    """A recurrent layer that spikes and touches its floor."""
    values = {"tau_mem": 0.01, "tau_syn_exc": 0.003, "tau_syn_inh": 0.005, "v_threshold": 0.2, "t_ref": 2e-3}
    inputs, recurrent = Linear(draw(1, n, n_in), 0.05 * draw(2, n)), Linear(0.3 * draw(3, n, n))
    return LinearizedDpi(inputs, recurrent=recurrent, **values | options).double()


def inputs(seed=7, steps=60, batch=5, n_in=3):
    return (draw(seed, batch, steps, n_in) > 0.5).double()


def test_the_walk_finds_what_there_is():
    assert {"HardFloor", "LeakyFloor", "NoFloor"} <= set(FLOORS) and {"Ahp", "AdaptiveThreshold"} <= set(ADAPTATIONS)


@every_floor
def test_a_floor_is_stored_and_its_gradient_is_finite(floor, tmp_path):
    """Frozen and hashable; a layer with it comes back from a file, and has finite gradients."""
    assert hash(floor) == hash(type(floor).example()) and dataclasses.is_dataclass(floor)
    network = Network({"one": layer(floor=floor)}, DT)
    again = nr.load(nr.save(network, tmp_path / "model"))[0]
    assert again.layers()["one"].floor == floor
    x = inputs()
    assert torch.equal(run(again, nominal(again), x), run(network, nominal(network), x))
    network(x)[0].sum().backward()
    assert all(value.grad.isfinite().all() for value in network.parameters() if value.grad is not None)


@every_adaptation
def test_an_adaptation_makes_a_neuron_fire_less_and_is_stored(rule, tmp_path):
    adapted = Network({"one": layer(tau_adapt=0.05, adaptation=0.3, rule=rule)}, DT)
    again = nr.load(nr.save(adapted, tmp_path / "model"))[0]
    assert again.layers()["one"].rule == rule and hash(rule) == hash(type(rule).example())
    x = inputs()
    spikes = run(again, nominal(again), x, record=True)[1]["one"].sum()
    assert 0 < spikes < 0.8 * layer()(x.transpose(0, 1), DT).sum()


@pytest.mark.parametrize(("floor", "below"), [(HardFloor(), 0.0), (LeakyFloor(0.25), 0.25), (LeakyFloor(1.0), 1.0)])
def test_the_stated_gradient(floor, below):
    """max(v, v_floor); in v 1 above and at the floor and as stated below, in v_floor the rest: their sum is 1."""
    v, v_floor = double(-2.0, -1.0, 0.5).requires_grad_(), double(-1.0, -1.0, -1.0).requires_grad_()
    out = floor.limited(v, v_floor)
    assert out.tolist() == [-1.0, -1.0, 0.5]
    g_v, g_floor = torch.autograd.grad(out.sum(), (v, v_floor))
    assert g_v.tolist() == [below, 1.0, 1.0] and g_floor.tolist() == [1 - below, 0.0, 0.0]


@pytest.mark.parametrize("slope", [-0.1, 1.5, float("nan")])
def test_a_slope_outside_0_to_1_is_refused(slope):
    with pytest.raises(ValueError, match="slope: got"):
        LeakyFloor(slope)


class Mine(Floor):
    """Somebody else's floor: the gradient of a soft one."""

    def limited(self, v, v_floor):
        below = v < v_floor
        return torch.where(below, v_floor + 0.5 * (v - v.detach()), v)


def test_a_floor_of_somebody_else_takes_the_reference_loops():
    """It runs, its gradient is its own, and it is refused by name where compiled loops are demanded."""
    own, known, x = layer(floor=Mine()), layer(), inputs().transpose(0, 1)
    assert torch.equal(own(x, DT), known(x, DT)) and own(x, DT).sum() > 0
    gradients = [torch.autograd.grad(each(x, DT).sum(), each.input.weight)[0] for each in (own, known)]
    assert not torch.equal(*gradients)
    with kernels.using("compiled"), pytest.raises(ValueError, match="compiled loops"):
        own(x, DT)


def net(**options):
    hidden = {"a": layer(n=6, **options), "b": layer(n=4, n_in=6, **options)}
    readout = LeakyIntegrator(Linear(draw(5, 2, 4)), tau_mem=0.02).double()
    return Network({**hidden, "out": readout}, DT)


def test_floor_fractions_are_those_of_the_reference_loops():
    """By a loop written here from the layer's equation, at other parameters than the network's own, in blocks."""
    network, x = net(), inputs(batch=7)
    params = {name: 1.1 * value for name, value in nominal(network).items()}
    found = floor_fractions(network, params, x)
    assert set(found) == {"a", "b"} and found["a"].shape == (6,) and found["b"].shape == (4,)
    weight, bias = params["a.input.weight"], params["a.input.bias"]
    recurrent, signal = params["a.recurrent.weight"], x.transpose(0, 1)
    alpha = torch.exp(-DT / params["a.tau_mem"])
    taus = params["a.exc.tau_syn"], params["a.inh.tau_syn"]
    synapses = [(torch.exp(-DT / tau), (1 - torch.exp(-DT / tau)) * tau / DT, w) for tau, w in zip(taus, (1, -1))]
    v = z = torch.zeros(7, 6).double()
    current, left, below = [torch.zeros(7, 6).double()] * 2, torch.zeros(7, 6), 0.0
    for now in signal:
        for k, (sigma, _, sign) in enumerate(synapses):
            current[k] = (
                sigma * current[k] + now @ (sign * weight).clamp(min=0).T + z @ (sign * recurrent).clamp(min=0).T
            )
        drive = synapses[0][1] * current[0] - synapses[1][1] * current[1] + bias
        v = alpha * v + (1 - alpha) * drive
        held = left > 0
        below = below + ((v < 0) & ~held).double().mean(0) / len(signal)
        v = torch.where(held, 0.0, v.clamp(min=0))
        z = ((v > params["a.v_threshold"]) & ~held).double()
        left = torch.where(z > 0, (params["a.t_ref"] / DT).round(), left - 1)
        v = v * (1 - z)
    torch.testing.assert_close(found["a"], below)
    assert 0.05 < found["a"].mean() < 0.95 and 0 < found["b"].mean() < 1


def test_floor_fractions_do_not_depend_on_blocks_and_are_0_without_a_floor(monkeypatch):
    network, x = net(), inputs(batch=7)
    whole = floor_fractions(network, nominal(network), x)
    monkeypatch.setattr("neurorobust.nn.floor.SAMPLES", 3)
    for name, value in floor_fractions(network, nominal(network), x).items():
        torch.testing.assert_close(value, whole[name])
    free = net(floor=NoFloor())
    assert all(value.sum() == 0 for value in floor_fractions(free, nominal(free), x).values())
    plain = Network({"a": Lif(Linear(draw(1, 3, 3)), tau_mem=0.01, v_threshold=0.1).double()}, DT)
    assert floor_fractions(plain, nominal(plain), x) == {}


def test_using_floor_changes_gradients_and_nothing_else():
    """In the block gradients are the other floor's, spikes stay; afterwards all is as before, after an error too."""
    network, x = net(), inputs()
    network.layers()["b"].floor = LeakyFloor(0.5)

    def result():
        logits = network(x)[0]
        return logits.detach(), torch.autograd.grad(logits.sum(), network.layers()["a"].input.weight)[0]

    logits, gradient = result()
    with using_floor(network, LeakyFloor(1.0)):
        other_logits, other = result()
    assert torch.equal(logits, other_logits) and not torch.allclose(gradient, other)
    with pytest.raises(KeyError), using_floor(network, HardFloor()):
        raise KeyError
    assert [each.floor for each in list(network.layers().values())[:2]] == [HardFloor(), LeakyFloor(0.5)]
    assert torch.equal(result()[1], gradient)
    for wrong in (NoFloor(), "leaky"):
        with pytest.raises(TypeError, match="floor: got"), using_floor(network, wrong):
            pass


def test_the_base_classes_are_abstract():
    for base in (Floor, Adaptation):
        with pytest.raises(TypeError):
            base()
    assert FlooredDynamics(Triangle(), HardFloor()).floor == HardFloor()


@pytest.mark.parametrize("n", [48, 37])
@pytest.mark.parametrize("surrogate", [Triangle(), FastSigmoid()], ids=["few", "all"])
@pytest.mark.parametrize("inhibition", [PullsDown(), CancelsExcitation()], ids=["pulls", "cancels"])
def test_gradients_of_many_neurons_are_those_of_the_reference_loops(n, surrogate, inhibition):
    """Whole vectors of neurons and a rest; with derivatives of few neurons and of all; through refractory steps; a last
    group of one row of the batch; more steps than the gradient of the recurrent weight is added up for at once."""
    options = {"tau_adapt": 0.05, "adaptation": 0.1, "surrogate": surrogate, "inhibition": inhibition}
    one, x, found = layer(n, floor=LeakyFloor(0.25), **options), inputs(steps=80).transpose(0, 1), []
    for choice in ("reference", "compiled"):
        one.zero_grad()
        with kernels.using(choice):
            spikes = one(x, DT)
            (spikes * draw(8, *spikes.shape).double()).sum().backward()
        found.append({name: value.grad for name, value in one.named_parameters() if value.grad is not None})
    assert 0.01 < spikes.mean() < 0.5 and (spikes.sum(0) > 1).any()
    for name, expected in found[0].items():
        torch.testing.assert_close(
            found[1][name], expected, rtol=1e-10, atol=1e-10 * expected.abs().max().item(), msg=name
        )
