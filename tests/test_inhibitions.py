"""Inhibition that pulls and that only cancels: closed forms, gradients, attacks, storage, and the circuit."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
import torch
from conftest import DT, double, draw
from found import INHIBITIONS, every_inhibition
from test_circuit_network import drive, network, programmed

import neurorobust as nr
from neurorobust import kernels
from neurorobust.attacks import PGA, Ball
from neurorobust.circuit import Events, circuit_of, simulate
from neurorobust.core.noise import Noise
from neurorobust.core.run import nominal, run
from neurorobust.data import Data
from neurorobust.deploy.structure import structure_entry
from neurorobust.dynamics import CancelsExcitation, FastSigmoid, HardFloor, Inhibition, LeakyFloor, PullsDown
from neurorobust.evaluation.worst_case import find_worst_case
from neurorobust.io.structure import layer_of
from neurorobust.nn import (
    LeakyIntegrator,
    Lif,
    Linear,
    LinearizedDpi,
    Network,
    floor_fractions,
    using_floor,
    with_floor,
)
from neurorobust.nn.installed import neuron_classes

KERNELS = ["reference", "compiled"]
ALPHA, SIGMA = math.exp(-DT / 0.01), math.exp(-DT / 0.004)
MEAN = (1 - SIGMA) * 0.004 / DT


def layer(weight, bias=None, **options):
    """Neurons that do not fire, unless another threshold is given."""
    values = {"tau_mem": 0.01, "tau_syn_exc": 0.004, "tau_syn_inh": 0.004, "v_threshold": 1e6}
    return LinearizedDpi(Linear(weight, bias), **values | {"inhibition": CancelsExcitation()} | options).double()


def membrane(one, x):
    """v above the floor, before it acts."""
    with torch.no_grad():
        return kernels.floored(
            one.currents(x, DT), one.recurrent_matrix(), one.floored_coefficients(DT), one.floored_dynamics()
        )[1]


def test_the_walk_finds_what_there_is():
    assert {"PullsDown", "CancelsExcitation"} <= set(INHIBITIONS)
    with pytest.raises(TypeError):
        Inhibition()


# ---- closed forms


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_membrane_falls_as_fast_as_its_leak_whatever_inhibits_it(kernel):
    """Excited for 10 steps, then inhibited without excitation to speak of: v α^t; pulled, it is at the floor at
    once."""
    weight = double([1.0, -500.0])
    x = torch.zeros(30, 1, 2).double()
    x[:10, 0, 0] = 1
    x[10:, 0, 1] = 1
    with kernels.using(kernel):
        cancelled, pulled = (membrane(layer(weight, inhibition=each), x)[:, 0, 0] for each in INHIBITIONS.values())
    torch.testing.assert_close(cancelled[10:], cancelled[9] * ALPHA ** torch.arange(1, 21).double())
    torch.testing.assert_close(cancelled[:10], pulled[:10])
    assert cancelled[9] > 0.3 and (pulled[10:] < 0).all()


@pytest.mark.parametrize("kernel", KERNELS)
def test_weaker_inhibition_is_subtracted(kernel):
    """An event through 0.5 and one through −0.2 at the same time are one through 0.3, for equal time constants; and so
    is a direct current: 0.5 − 0.7 + 0.4 is 0.2, and −0.2 without it is 0."""
    x = torch.zeros(40, 1, 3).double()
    x[3:6, 0] = 1
    weight = double([0.5, -0.2, 0.0], [0.5, -0.7, 0.0], [0.5, -0.7, 0.0])
    with kernels.using(kernel):
        v = membrane(layer(weight, double(0.0, 0.4, 0.0)), x)[:, 0]
    current, expected = torch.zeros(3).double(), torch.zeros(3).double()
    for t in range(40):
        current = SIGMA * current + (double(0.3, -0.2, -0.2) if 3 <= t < 6 else 0.0)
        expected = ALPHA * expected + (1 - ALPHA) * (MEAN * current + double(0.0, 0.4, 0.0)).clamp(min=0)
        torch.testing.assert_close(v[t], expected)
    assert v[:, 0].max() > 0.1 and v[:, 1].max() > 0.1 and (v[:, 2] == 0).all()


@pytest.mark.parametrize("kernel", KERNELS)
def test_adaptation_is_subtracted_past_the_maximum(kernel):
    """Of a neuron that an event made fire, the adaptation pulls the membrane below rest, to its floor."""
    one = layer(double([500.0]), v_threshold=0.1, tau_adapt=0.05, adaptation=0.02, v_floor=-0.001, tau_syn_exc=1e-5)
    x = torch.zeros(20, 1, 1).double()
    x[2] = 1
    with kernels.using(kernel):
        trace = one.trace(x, DT)
    assert trace.spikes[:, 0, 0].nonzero().flatten().tolist() == [2] and trace.at_floor[4:].all()
    assert not trace.cut.any()


# ---- gradients


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize(("floor", "passed"), [(HardFloor(), 0.0), (LeakyFloor(0.3), 0.3), (LeakyFloor(1.0), 1.0)])
def test_the_gradient_through_the_maximum_is_that_of_the_floor(kernel, floor, passed):
    """One step, one event each: where inhibition is stronger, ∂v/∂w is ``passed`` times what it is where excitation is;
    where both are equal it is whole."""
    weight = double([0.5, -0.4], [0.4, -0.5], [0.5, -0.5])
    one = layer(weight, floor=floor, v_threshold=1.0, surrogate=FastSigmoid(1.0))
    with kernels.using(kernel):
        z = one(torch.ones(1, 1, 2).double(), DT)
        found = torch.autograd.grad(z.sum(), one.input.weight)[0]
    whole = (1 - ALPHA) * MEAN
    below = 1 - double([0.1 * whole], [0.0], [0.0])  # from the membrane to the threshold
    torch.testing.assert_close(found, whole / (1 + below) ** 2 * double([1.0, 1.0], [passed, passed], [1.0, 1.0]))


class Mine(PullsDown):
    """Somebody else's inhibition: half as strong."""

    def driven(self, v, excitation, inhibition, direct, floor):
        return v + excitation - 0.5 * inhibition + direct


def test_an_inhibition_of_somebody_else_takes_the_reference_loops():
    weight, x = double([1.0, -0.5]), (draw(1, 30, 4, 2) > 0).double()
    half = layer(double([1.0, -0.25]), v_threshold=0.2, inhibition=PullsDown())
    own = layer(weight, v_threshold=0.2, inhibition=Mine())
    assert torch.equal(own(x, DT), half(x, DT)) and own(x, DT).sum() > 0
    with kernels.using("compiled"), pytest.raises(ValueError, match="compiled loops"):
        own(x, DT)


# ---- as part of the package


def small(**options):
    """Two classes from three channels, 8 hidden neurons."""
    values = {"tau_mem": 0.01, "tau_syn_exc": 0.004, "tau_syn_inh": 0.006, "v_threshold": 0.1}
    hidden = LinearizedDpi(
        Linear(draw(2, 8, 3)),
        recurrent=Linear(0.3 * draw(3, 8, 8)),
        **values | {"inhibition": CancelsExcitation()} | options,
    )
    return Network({"hidden": hidden, "readout": LeakyIntegrator(Linear(draw(4, 2, 8)), tau_mem=0.01)}, DT).double()


def inputs():
    return (draw(7, 6, 50, 3) > 0.5).double()


@every_inhibition
def test_an_inhibition_is_stored_and_deployed_with_its_name(inhibition, tmp_path):
    """Frozen and hashable; a layer with it comes back from a file with the same output, and states its word."""
    assert hash(inhibition) == hash(type(inhibition).example()) and dataclasses.is_dataclass(inhibition)
    network, x = small(inhibition=inhibition), inputs()
    again = nr.load(nr.save(network, tmp_path / "model"))[0]
    assert again.layers()["hidden"].inhibition == inhibition
    assert torch.equal(run(again, nominal(again), x), run(network, nominal(network), x))
    assert structure_entry(network)["layers"][0]["inhibition"] == {"type": type(inhibition).__name__}
    assert network.layers()["hidden"].equations().inhibition == inhibition.word


def test_a_folder_that_names_no_inhibition_has_the_one_that_pulls():
    """As versions before this option wrote it."""
    network = small(inhibition=PullsDown())
    entry = structure_entry(network)["layers"][0]
    del entry["inhibition"]
    again = layer_of(json.loads(json.dumps(entry)), network.state_dict(), neuron_classes())
    assert again.inhibition == PullsDown()


def test_the_two_differ_and_dies_gradients_and_noise_run(data):
    """Other spikes; a fleet, a gradient of every kind, and noise of 0 that changes nothing."""
    cancels, pulls, x = small(), small(inhibition=PullsDown()), inputs()
    spikes = [run(each, nominal(each), x, record=True)[1]["hidden"] for each in (cancels, pulls)]
    assert spikes[0].sum() > spikes[1].sum() > 0
    cancels(x)[0][:, 0].sum().backward()
    assert all(value.grad.abs().max() > 0 for value in cancels.parameters())
    assert len(nr.evaluate(cancels, data, nr.mismatch(0.3), n_dies=3, seed=1).serials) == 3
    none = Noise(added={"hidden": torch.zeros(50, 6, 8)})
    assert torch.equal(run(cancels, nominal(cancels), x, noise=none), run(cancels, nominal(cancels), x))


def test_with_floor_takes_it():
    old = Network({"one": Lif(Linear(draw(1, 3, 3)), tau_mem=0.01, v_threshold=0.1).double()}, DT)
    assert with_floor(old, inhibition=CancelsExcitation()).layers()["one"].inhibition == CancelsExcitation()
    assert with_floor(old).layers()["one"].inhibition == PullsDown()


def test_fractions_count_where_the_input_is_cut():
    """By the closed form: excitation and inhibition of one step, in each of 3 of 4 neurons' states."""
    one = layer(double([0.5, -0.4], [0.4, -0.5], [0.5, -0.5], [0.0, -1.0]))
    x = torch.zeros(1, 10, 2).double()
    x[0, 4] = 1
    network = Network({"one": one}, DT)
    assert floor_fractions(network, nominal(network), x)["one"].tolist() == [0.0, 0.6, 0.0, 0.6]
    held = Network({"one": layer(double([0.0, -1.2]), double(0.6), v_threshold=0.01, t_ref=5 * DT)}, DT)
    trace = held.layers()["one"].trace(x.transpose(0, 1), DT)
    assert trace.spikes[0].sum() == 1 and trace.cut[:, 0, 0].nonzero().flatten().tolist() == [6]


def cut():
    """Inhibition that is a little stronger than excitation, so that the true gradient of one neuron is 0 in class 0; an
    event through the excitation alone makes it spike, which means class 1. The other neuron fires always."""
    weight = double([100.0, -103.0], [0.0, 0.0])
    hidden = layer(
        weight, double(0.0, 5.0), v_threshold=0.1, tau_syn_exc=2e-3, tau_syn_inh=2e-3,
        surrogate=FastSigmoid(5.0, scaled=True),
    )  # fmt: skip
    readout = LeakyIntegrator(Linear(double([0.0, 1.0], [3.0, 0.0])), tau_mem=0.02)
    return Network({"hidden": hidden, "readout": readout.double()}, DT)


def test_where_the_true_gradient_is_0_the_leaky_one_finds_the_die():
    """A search through the true gradient of the maximum finds nothing; the worst case takes both, and says how often
    the input is cut."""
    x = torch.zeros(8, 30, 2).double()
    x[:, 5:25, 0] = 1
    x[:4, 5:25, 1] = 1
    network, data, climb = cut(), Data(x, (torch.arange(8) >= 4).long()), PGA(10, objective="ce")
    hard = find_worst_case(network, data, Ball(weight=0.1), climb, seed=0)
    assert hard.score == hard.nominal == 1.0
    with using_floor(network, LeakyFloor(0.3)):
        assert find_worst_case(network, data, Ball(weight=0.1), climb, seed=0).score <= 0.5
    found = nr.worst_case(network, data, Ball(weight=0.1), climb, seed=0)
    assert found.score <= 0.5 and found.attack.endswith("through LeakyFloor(slope=0.3)") and found.at_floor > 0.1


# ---- the circuit


def test_the_circuit_has_the_inhibition_that_only_cancels():
    """Of a recurrent network with a large I_thr/I_gain and small steps: per neuron the same spikes but for a few, where
    inhibition that pulls is far off."""
    dt, steps = 1e-4, 5000
    x = drive(steps, dt, 150.0)
    missing = {}
    for inhibition in INHIBITIONS.values():
        net = network(dt, signed=True, inhibition=inhibition)
        with torch.no_grad():
            own = net(x)[1]["first"].sum((0, 1))
        circuit = circuit_of(net, programmed(net), ratio=1e6, delay=dt)
        counts = torch.from_numpy(simulate(circuit, Events.of_steps(x[0], dt), steps * dt).counts()[:8])
        missing[inhibition] = float((own - counts).abs().sum() / counts.sum())
    assert counts.sum() > 50
    assert missing[CancelsExcitation()] < 0.02 < 0.1 < missing[PullsDown()]
