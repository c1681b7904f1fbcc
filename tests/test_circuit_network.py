"""The circuit of a programmed network: its currents, and the network's own spikes where the two must agree."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import neurorobust as nr
from neurorobust.chip import Programmed
from neurorobust.chip.installed import chip_model
from neurorobust.circuit import Circuit, DendriteType, Events, circuit_of, simulate
from neurorobust.circuit.simulation import jumps
from neurorobust.core import HOST
from neurorobust.core.placement import placement_of
from neurorobust.dynamics import AdaptiveThreshold
from neurorobust.nn import LeakyIntegrator, Linear, LinearizedDpi, Network, OneToOne

AMPA, GABA = DendriteType.AMPA, DendriteType.GABA


def network(dt: float, *, signed: bool, seed: int = 0, **others: object) -> Network:
    """6 inputs, two layers of 8 and 4 neurons, a read-out on the host."""
    generator = torch.Generator().manual_seed(seed)

    def connection(n_in: int, n_out: int, size: float) -> Linear:
        weight = size * torch.randn(n_out, n_in, generator=generator, dtype=torch.float64)
        mask = torch.rand(n_out, n_in, generator=generator) < 0.7
        return Linear(weight if signed else weight.abs(), mask=mask)

    values = {
        "tau_mem": torch.tensor([0.02, 0.03]).double(),
        "tau_syn_exc": 0.005,
        "tau_syn_inh": 0.008,
        "v_threshold": 0.1,
        "t_ref": 0.002,
    } | others
    first = LinearizedDpi(connection(6, 8, 0.3), recurrent=connection(8, 8, 0.05), core=torch.arange(8) // 4, **values)
    second = LinearizedDpi(connection(8, 4, 0.3), core=torch.full((4,), 2), **values | {"tau_mem": 0.025})
    readout = LeakyIntegrator(Linear(torch.ones(2, 4).double()), core=torch.full((2,), HOST), tau_mem=0.1)
    return Network({"first": first, "second": second, "readout": readout}, dt=dt)


def programmed(net: Network, chip: str = "ideal") -> Programmed:
    return chip_model(chip).program(nr.nominal(net), placement_of(net))


def drive(steps: int, dt: float, rate: float = 60.0) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return (torch.rand(1, steps, 6, generator=generator, dtype=torch.float64) < rate * dt).double()


def test_an_excitatory_network_s_spikes_are_the_circuit_s():
    """Without inhibition and adaptation, for a large I_thr/I_gain and small steps: the same spikes, in a recurrent
    layer and in the one behind it. The times differ by some steps of the network, whose errors add up from spike to
    spike."""
    dt, steps = 2e-5, 10_000
    net = network(dt, signed=False)
    x = drive(steps, dt)
    with torch.no_grad():
        _, signals = net(x)
    circuit = circuit_of(net, programmed(net), ratio=1e6, delay=dt)
    found = simulate(circuit, Events.of_steps(x[0].numpy(), dt), steps * dt, tolerance=1e-6)
    spikes = torch.cat([signals["first"], signals["second"]], -1)[:, 0].numpy()
    assert spikes[:, :8].sum() > 100 and spikes[:, 8:].sum() > 50
    assert found.counts().tolist() == spikes.sum(0).astype(int).tolist()
    late = [found.times[found.neurons == i] - np.flatnonzero(spikes[:, i]) * dt for i in range(12)]
    off = np.abs(np.concatenate(late))
    assert np.median(off) < 6 * dt and off.max() < 60 * dt


def test_inhibition_is_weaker_in_the_circuit():
    """Below rest a network's synaptic sum can go, the circuit's cannot: it fires as much or more, and not the same."""
    dt, steps = 1e-4, 5000
    net = network(dt, signed=True)
    x = drive(steps, dt)
    with torch.no_grad():
        _, signals = net(x)
    found = simulate(circuit_of(net, programmed(net), ratio=1e6, delay=dt), Events.of_steps(x[0], dt), steps * dt)
    assert found.counts()[:8].sum() > signals["first"].sum().item() > 20


def test_currents_of_a_programmed_network():
    """dynapse2: I_thr and I_w are the chip's, τ follow from the leaks, an event jumps by w I_τ ρ r/v_threshold, and I_0
    cancels nothing: signs choose the filter, absent and zero weights are no synapse."""
    net = network(1e-3, signed=True, r=1.3).float()
    p = programmed(net, "dynapse2")
    circuit = circuit_of(net, p, ratio=50.0, delay=1e-3)
    c, s, t = circuit.neurons, circuit.synapses, circuit.technology
    np.testing.assert_allclose(c.i_thr, 100e-9, rtol=1e-6)
    np.testing.assert_allclose(c.i_thr / c.i_gain_mem, 50, rtol=1e-12)
    tau = torch.cat([p.expanded()[f"{name}.tau_mem"] for name in ("first", "second")]).double().numpy()
    np.testing.assert_allclose(t.tau(t.c_mem, c.i_tau_mem), tau, rtol=1e-6)
    np.testing.assert_allclose(t.charge_time(t.c_ref, c.i_ref), 2e-3, rtol=1e-6)
    weights = {name: p.params[name].double().numpy() for name in p.params if name.endswith("weight")}
    expected = {}
    for name, first_source, first_target in (
        ("first.input.weight", 0, 0),
        ("first.recurrent.weight", 6, 0),
        ("second.input.weight", 6, 8),
    ):
        for row, column in zip(*np.nonzero(weights[name])):
            expected[first_source + column, first_target + row] = weights[name][row, column]
    assert len(s.source) == len(expected) > 40
    unit = c.i_tau_mem * 50 * 1.3 / 0.1
    for k, jump in enumerate(jumps(circuit)):
        weight = expected[s.source[k], s.target[k]]
        assert s.dendrite[k] == (AMPA if weight > 0 else GABA)
        assert jump == pytest.approx(abs(weight) * unit[s.target[k]], rel=1e-5)
        assert s.delay[k] == (1e-3 if s.source[k] >= 6 else 0.0)
    row = p.report[0]
    here = s.target < 4
    np.testing.assert_allclose(
        s.weight[here].max(), max(abs(w) for (_, i), w in expected.items() if i < 4) * row["gain_A_per_unit"], rtol=1e-5
    )
    assert s.weight.max() < max(sum(each["currents_A"]) for each in p.report) * 1.01
    assert c.core.tolist() == [0] * 4 + [1] * 4 + [2] * 4 and c.number.tolist() == [0, 1, 2, 3] * 3


@pytest.mark.parametrize("chip", ["ideal", "dynapse1"])
def test_a_chip_without_amperes_gives_the_same_currents(chip):
    """The largest threshold is 100 nA and the largest weight 8 nA."""
    net = network(1e-3, signed=True).float()
    p = programmed(net, chip)
    circuit = circuit_of(net, p)
    assert circuit.neurons.i_thr.max() == pytest.approx(100e-9)
    assert circuit.synapses.weight.max() == pytest.approx(8e-9)


def test_adaptation_and_bias():
    """Each spike makes the current at which the neuron fires larger by adaptation, as in the network: in the circuit
    that is (1 + ρ) I_ahp. A bias is a direct current."""
    net = network(1e-3, signed=True, tau_adapt=0.2, adaptation=0.012)
    bias = torch.full((8,), 0.03, dtype=torch.float64)
    net.first.input = Linear(net.first.input.weight.detach(), bias, net.first.input.mask)
    circuit = circuit_of(net, programmed(net), ratio=100.0)
    c, t = circuit.neurons, circuit.technology
    np.testing.assert_allclose(t.tau(t.c_ahp, c.i_tau_ahp), 0.2, rtol=1e-12)
    jump = -np.expm1(-t.c_pulse * t.v_ref / c.i_pulse_ahp / 0.2) * c.i_gain_ahp / c.i_tau_ahp * c.i_w_ahp
    unit = c.i_tau_mem * 100 / 0.1
    np.testing.assert_allclose((1 + 100.0) * jump, 0.012 * unit, rtol=1e-9)
    np.testing.assert_allclose(c.i_dc, np.where(np.arange(12) < 8, 0.03 * unit, 0.0), rtol=1e-6)


def test_params_of_a_die_take_the_place_of_the_nominal_ones():
    net = network(1e-3, signed=True)
    p = programmed(net)
    moved = p.expanded()
    moved["first.tau_mem"] = moved["first.tau_mem"] * torch.linspace(1, 2, 8).double()
    nominal, die = circuit_of(net, p), circuit_of(net, p, params=moved)
    np.testing.assert_allclose(
        nominal.neurons.i_tau_mem[:8] / die.neurons.i_tau_mem[:8], np.linspace(1, 2, 8), rtol=1e-6
    )
    np.testing.assert_allclose(jumps(nominal)[0] / jumps(die)[0], 1.0 if nominal.synapses.target[0] == 0 else math.nan)


def of(net: Network) -> Circuit:
    return circuit_of(net, programmed(net))


def changed(**others: object) -> Network:
    return network(1e-3, signed=True, **others)


def one_to_one() -> Network:
    net = changed()
    net.first.recurrent = OneToOne(torch.ones(8).double())
    return net


def negative_bias() -> Network:
    net = changed()
    net.first.input = Linear(net.first.input.weight.detach(), -torch.ones(8).double(), net.first.input.mask)
    return net


def lif() -> Network:
    return Network({"only": nr.neurons.Lif(Linear(torch.ones(2, 3).double()), tau_mem=0.02, v_threshold=1.0)}, dt=1e-3)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lif, TypeError, "layer 'only': is Lif; expected LinearizedDpi"),
        (one_to_one, TypeError, "first.recurrent: is OneToOne; expected Linear"),
        (lambda: changed(v_leak=0.01), ValueError, "first.v_leak: got 0.01; expected 0 or none"),
        (lambda: changed(v_reset=-0.01), ValueError, "first.v_reset: got -0.01"),
        (
            lambda: changed(tau_adapt=0.2, adaptation=0.01, rule=AdaptiveThreshold()),
            TypeError,
            "first.rule: is AdaptiveThreshold\\(\\); expected Ahp\\(\\)",
        ),
        (negative_bias, ValueError, "layer 'first': the bias of neuron 0 is -1; expected ≥ 0"),
    ],
)
def test_what_the_circuit_does_not_have_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        of(make())
    net = changed()
    with pytest.raises(ValueError, match="ratio: got 0"):
        circuit_of(net, programmed(net), ratio=0)


def test_a_network_on_the_host_alone_has_no_circuit():
    readout = Network({"readout": LeakyIntegrator(Linear(torch.ones(2, 3).double()), tau_mem=0.02)}, dt=1e-3)
    chip = chip_model("ideal").with_host(exact=False)
    with pytest.raises(ValueError, match="no layer is on the chip, so there is no circuit"):
        circuit_of(readout, chip.program(nr.nominal(readout), readout.placement()))
