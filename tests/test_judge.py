"""Judging a deployment: scores of boards, and the causes of the gap, put in one after the other and alone."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from imaged import dpi_network
from placed import placed

import chipmodels
import neurorobust as nr
from neurorobust.chip.variability import LogNormal
from neurorobust.cli import main
from neurorobust.core.noise import Membrane
from neurorobust.data import Data
from neurorobust.deploy import (
    CircuitEngine,
    Deployment,
    EquationsEngine,
    Events,
    NetworkEngine,
    VirtualBoards,
    VirtualChip,
    causes,
)
from neurorobust.dynamics import Inhibition
from neurorobust.dynamics.resets import SnntorchSubtract, ToValue
from neurorobust.nn import CancelsExcitation, CubaLif, LeakyIntegrator, Lif, Linear, LinearizedDpi, PullsDown

CHIP = chipmodels.load("dynapse2")
STEPS = 40


def inputs(n_in: int, n: int = 8, seed: int = 0) -> torch.Tensor:
    return (torch.rand(n, STEPS, n_in, generator=torch.Generator().manual_seed(seed)) < 0.4).double()


def told_apart(network: nr.Network) -> nr.Network:
    """The network with a read-out whose two classes are equally frequent."""
    layers, name, last = network.layers(), network.names[-1], network.names[-2]
    weight = torch.randn(layers[last].n, generator=torch.Generator().manual_seed(1)).to(next(network.parameters()))

    def reading(weight: torch.Tensor, bias: float) -> nr.Network:
        offset = bias * torch.tensor([1.0, -1.0]).to(weight)
        connection = Linear(torch.stack([weight, -weight]), offset)
        readout = LeakyIntegrator(connection, core=torch.full((2,), nr.HOST), tau_mem=0.02)
        return nr.Network(layers | {name: readout}, network.dt)

    x = inputs(network.n_in, 40).to(weight)
    found, lifted = (one(x)[0][:, 0].detach() for one in (reading(weight, 0.0), reading(0 * weight, 1.0)))
    return reading(weight, float(-found.median() / lifted[0]))


DPI = told_apart(dpi_network(((0, 0, 1, 1, 2), (1, 3, 3)), v_threshold=0.02))
ADAPTIVE = told_apart(placed([0, 0, 1, 2]))


def lif(neuron: type, **values) -> nr.Network:
    """Two layers of one kind of neuron, the first recurrent, in float64; weights that the chip holds exactly."""
    generator = torch.Generator().manual_seed(3)

    def signs(n_out: int, n_in: int) -> Linear:
        return Linear(torch.where(torch.rand(n_out, n_in, generator=generator) < 0.6, 0.6, -0.6).double())

    first = neuron(signs(6, 4), recurrent=signs(6, 6), tau_mem=0.01, v_threshold=0.1, **values)
    second = neuron(signs(4, 6), tau_mem=0.01, v_threshold=0.1, **values)
    readout = LeakyIntegrator(Linear(torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 1]]).double()), tau_mem=0.02)
    return nr.Network({"first": first, "second": second, "readout": readout}, dt=1e-3)


def data_of(network: nr.Network, n: int = 8) -> Data:
    """Inputs with the classes that the network itself finds."""
    x = inputs(network.n_in, n).to(next(network.parameters()))
    y = nr.run(network, nr.nominal(network), x).argmax(1)
    assert 0 < y.sum() < n
    return Data(x, y)


def spikes(deployment: Deployment, engine, x: torch.Tensor, serial: int = 3) -> list[tuple[np.ndarray, np.ndarray]]:
    """Times and neurons of every sample on one board."""
    dt = deployment.network.dt
    with VirtualChip(deployment.chip, serial, engine=engine).open() as session:
        session.program(deployment)
        found = session.run_many([Events.of_steps(each, dt) for each in x], x.shape[1] * dt)
    return [(each.times, each.neurons) for each in found]


def same(first, second) -> bool:
    return all(np.array_equal(a[0], b[0]) and np.array_equal(a[1], b[1]) for a, b in zip(first, second, strict=True))


def total(found) -> int:
    return sum(len(times) for times, _ in found)


# ---- the equations that are put in


def deployed(network: nr.Network) -> Deployment:
    """On DYNAP-SE2; on BrainScaleS-2 where it has a leak, which the other has not."""
    return nr.deploy.onto(
        network, chipmodels.load("brainscales2") if "leak" in repr(network.state_dict().keys()) else CHIP
    )


def inhibited(inhibition: Inhibition) -> nr.Network:
    """Neurons of a DPI chip, half of whose synapses inhibit, in float64; weights that the chip holds exactly."""
    weight = torch.where(torch.rand(8, 4, generator=torch.Generator().manual_seed(5)) < 0.5, 0.6, -0.6).double()
    taus = {"tau_mem": 0.01, "tau_syn_exc": 0.005, "tau_syn_inh": 0.005}
    hidden = LinearizedDpi(Linear(weight), v_threshold=0.1, inhibition=inhibition, **taus)
    readout = LeakyIntegrator(Linear(torch.ones(2, 8).double()), tau_mem=0.02)
    return nr.Network({"hidden": hidden, "readout": readout}, dt=1e-3)


NETWORKS = {
    "dpi": DPI,
    "dpi, inhibition up to the excitation": inhibited(CancelsExcitation()),
    "adaptive": ADAPTIVE,
    "lif": lif(Lif),
    "lif, reset to a value": lif(Lif, reset=ToValue(), t_ref=0.002),
    "lif, subtract": lif(Lif, reset=SnntorchSubtract()),
    "lif, leak": lif(Lif, v_reset=-0.02, v_leak=0.01, t_ref=0.002),
    "cuba": lif(CubaLif, tau_syn=0.004),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_without_a_change_the_spikes_are_those_of_the_network(name):
    """Else the gap of every cause would have an error of the simulation in it."""
    network = NETWORKS[name]
    deployment = deployed(network)
    x = inputs(network.n_in)
    expected = spikes(deployment, NetworkEngine(), x)
    assert total(expected) > 50
    assert same(spikes(deployment, EquationsEngine(), x), expected)


def test_the_inhibition_of_a_dpi_neuron_acts():
    """With the other inhibition the spikes above are others."""
    first, second = (deployed(inhibited(each)) for each in (CancelsExcitation(), PullsDown()))
    x = inputs(4)
    assert not same(spikes(first, NetworkEngine(), x), spikes(second, NetworkEngine(), x))


@pytest.mark.parametrize("name", ["adaptive", "lif"])
def test_floor_reset_and_synapse_together_are_with_floor(name):
    """Two implementations: the equations put in one by one, and nr.nn.with_floor, on the values of the chip."""
    network = NETWORKS[name]
    deployment = nr.deploy.onto(network, CHIP)
    x = inputs(network.n_in)
    floored = nr.nn.with_floor(deployment.network, tau_syn=2e-3)
    _, signals = nr.run(floored, nr.nominal(floored), x, record=True)
    engine = EquationsEngine(floor=True, reset=True, tau_syn=2e-3)
    ideal = _on_ideal_die(deployment, engine, x)
    expected = torch.cat([signals[each] for each in deployment.cores], -1)
    for sample, (times, neurons) in zip(expected, ideal, strict=True):
        steps, who = sample.nonzero(as_tuple=True)
        assert np.array_equal(np.rint(times / network.dt), steps.numpy()) and np.array_equal(neurons, who.numpy())
    assert total(ideal) > 50 and not same(ideal, _on_ideal_die(deployment, EquationsEngine(), x))


def _on_ideal_die(deployment: Deployment, engine: EquationsEngine, x: torch.Tensor):
    """The spikes with the programmed values themselves."""
    (die,) = CHIP.fabricate([0], 1)
    configured = engine.configure(deployment, die)
    configured._params = {f"network.{name}": value for name, value in deployment.programmed.expanded().items()}
    dt = deployment.network.dt
    found = configured.run([Events.of_steps(each, dt) for each in x], x.shape[1] * dt, (), 0)
    return [(each.times, each.neurons) for each in found]


def single(weight: float, **values) -> nr.Network:
    """One LIF neuron with one input; tau_mem is 100 steps."""
    neuron = Lif(Linear(torch.full((1, 1), weight).double()), tau_mem=0.1, v_threshold=0.1, **values)
    return nr.Network(
        {"one": neuron, "readout": LeakyIntegrator(Linear(torch.ones(1, 1).double()), tau_mem=0.02)}, 1e-3
    )


def test_small_steps_of_a_neuron_without_reset_agree_with_the_closed_form():
    """A current I that begins at 0 lifts the membrane to I (1 − exp(−t/tau)): it crosses at −tau ln(1 − ϑ/I). Training
    sees that at the end of the step; small steps within a twentieth of it."""
    network = single(1.0)
    deployment = nr.deploy.onto(network, CHIP)
    x = torch.ones(1, 40, 1).double()
    (programmed,) = _on_ideal_die(deployment, EquationsEngine(substeps=20), x)
    values = deployment.programmed.params
    drive, threshold = float(values["one.input.weight"]), float(values["one.v_threshold"])
    crossing = -float(values["one.tau_mem"]) * np.log(1 - threshold / drive)
    first = programmed[0][0] + network.dt / 20  # a spike is stamped with the beginning of its step
    assert 0 <= first - crossing <= network.dt / 20


def test_a_spike_that_does_not_wait_arrives_earlier():
    """Two LIF neurons in one recurrent layer: 0 drives 1, which has no other input. With the wait its events begin with
    the next step of dt; without it, one substep after the spike."""
    recurrent = torch.tensor([[0.0, 0.0], [8.0, 0.0]]).double()
    layer = Lif(
        Linear(torch.tensor([[1.0], [0.0]]).double()),
        recurrent=Linear(recurrent),
        tau_mem=0.1,
        v_threshold=0.05,
        t_ref=0.5,
    )
    network = nr.Network(
        {"two": layer, "readout": LeakyIntegrator(Linear(torch.ones(1, 2).double()), tau_mem=0.02)}, 0.01
    )
    deployment = nr.deploy.onto(network, CHIP)
    x = torch.ones(1, 10, 1).double()
    found = {}
    for waits in (True, False):
        ((times, neurons),) = _on_ideal_die(deployment, EquationsEngine(substeps=20, waits=waits), x)
        found[waits] = times[neurons == 0][0], times[neurons == 1][0]
    assert found[True][0] == found[False][0]
    step = np.ceil(found[True][0] / network.dt + 1e-9) * network.dt
    late, early = (found[waits][1] for waits in (True, False))
    assert late >= step and late - early == pytest.approx(step - found[True][0] - network.dt / 20)


def test_events_through_a_synapse_carry_the_same_charge():
    """A neuron that hardly leaks has the same membrane after an event, with tau_syn or without: so as many events fire
    it, later."""
    neuron = Lif(Linear(torch.full((1, 1), 10.0).double()), tau_mem=0.3, v_threshold=0.1)
    network = nr.Network(
        {"one": neuron, "readout": LeakyIntegrator(Linear(torch.ones(1, 1).double()), tau_mem=0.02)}, 1e-3
    )
    deployment = nr.deploy.onto(network, CHIP)
    x = torch.zeros(1, 400, 1).double()
    x[0, ::10] = 1
    plain, filtered = (
        _on_ideal_die(deployment, engine, x)[0][0] for engine in (EquationsEngine(), EquationsEngine(tau_syn=2e-3))
    )
    assert len(plain) > 3 and abs(len(filtered) - len(plain)) <= 1
    assert (filtered[0] - plain[0]) >= 0
    late = _on_ideal_die(deployment, EquationsEngine(tau_syn=20e-3), x)[0][0]
    assert late[0] > filtered[0]


# ---- judging


def test_the_scores_are_those_of_evaluate():
    data = data_of(DPI, 12)
    deployment = nr.deploy.onto(DPI, CHIP)
    fleet, boards = nr.evaluate(deployment.network, data, CHIP, n_dies=4, seed=3), VirtualBoards(seed=3)
    judged = nr.deploy.judge(deployment, data, range(4), boards=boards, causes=(causes.floor,))
    assert np.array_equal(judged.score, fleet.score) and len(set(fleet.score)) > 1
    assert np.array_equal(judged.gap[2].score, fleet.score)
    assert judged.gap[1].mean == fleet.programmed
    assert judged.yield_at(0.5) == fleet.yield_at(0.5) and judged.min == fleet.min and judged.ci95 == fleet.ci95
    some = nr.deploy.judge(deployment, data, [2, 0], boards=boards, causes=())
    assert some.score.tolist() == [fleet.score[2], fleet.score[0]] and some.gap == ()


def test_a_network_that_lives_below_rest_loses_by_the_floor_alone():
    """The row of the floor is that of boards with a floor; alone and in order it is the same, as it is the first."""
    deployment, data = nr.deploy.onto(ADAPTIVE, CHIP), data_of(ADAPTIVE, 40)
    judged = nr.deploy.judge(deployment, data, range(3), causes=causes.CAUSES[:3], trained=ADAPTIVE)
    rows = {row.name: row for row in judged.gap}
    assert list(rows) == ["training", "programmed", "die", "floor", "reset", "synapse"]
    floored = nr.deploy.judge(deployment, data, range(3), boards=VirtualBoards(EquationsEngine(floor=True)), causes=())
    assert np.array_equal(rows["floor"].score, floored.score)
    assert not np.array_equal(rows["floor"].score, rows["die"].score)
    assert rows["floor"].change == rows["floor"].alone
    assert rows["floor"].change.estimate == pytest.approx(floored.mean - rows["die"].mean)
    everything = EquationsEngine(floor=True, reset=True, tau_syn=ADAPTIVE.dt)
    last = nr.deploy.judge(deployment, data, range(3), boards=VirtualBoards(everything), causes=())
    assert np.array_equal(rows["synapse"].score, last.score)
    alone = nr.deploy.judge(deployment, data, range(3), boards=VirtualBoards(EquationsEngine(reset=True)), causes=())
    assert rows["reset"].alone.estimate == pytest.approx(alone.mean - rows["die"].mean)
    start, *changes = [rows["training"].mean, *(row.change.estimate for row in judged.gap[1:])]
    assert start + sum(changes) == pytest.approx(rows["synapse"].mean)


def test_the_delay_is_compared_with_small_steps():
    deployment, data = nr.deploy.onto(ADAPTIVE, CHIP), data_of(ADAPTIVE, 12)
    judged = nr.deploy.judge(deployment, data, range(2), causes=(causes.continuous_time, causes.delay))
    *_, fine, at_once = judged.gap
    assert fine.name == "continuous time" and at_once.name == "delay"
    assert at_once.alone == at_once.change and "not with the next step" in at_once.what
    only = nr.deploy.judge(deployment, data, range(2), causes=(partial(causes.delay),))
    assert only.gap[-1].change is None and "cannot arrive sooner than one step later" in only.gap[-1].why
    assert only.gap[-1].alone == at_once.alone


def test_what_a_network_has_already_gets_no_number():
    deployment, data = nr.deploy.onto(DPI, CHIP), data_of(DPI)
    judged = nr.deploy.judge(deployment, data, range(2), trained=DPI)
    rows = {row.name: row for row in judged.gap}
    assert list(rows)[3:] == ["floor", "reset", "synapse", "continuous time", "delay", "circuit"]
    for name, words in (("floor", "floor at rest"), ("reset", "reset to rest"), ("synapse", "by sign")):
        row = rows[name]
        assert row.why.startswith("the network has it already") and words in row.why
        assert row.mean is row.score is row.change is row.alone is None
    whole = rows["circuit"]
    assert whole.alone.estimate == pytest.approx(whole.mean - rows["die"].mean)
    board = nr.deploy.judge(deployment, data, range(2), boards=VirtualBoards(CircuitEngine()), causes=())
    assert np.array_equal(board.score, whole.score)


def test_what_cannot_be_computed_is_said():
    data = data_of(ADAPTIVE)
    judged = nr.deploy.judge(nr.deploy.onto(ADAPTIVE, CHIP), data, range(1), causes=(causes.circuit,))
    assert judged.gap[0].why == "pass trained=network" and judged.gap[0].mean is None
    assert "has neurons AdaptiveLif, whose bias currents are not known" in judged.gap[-1].why
    noisy = nr.deploy.onto(ADAPTIVE, CHIP.with_noise(Membrane(0.1)))
    assert "has noise in time" in nr.deploy.judge(noisy, data, range(1), causes=(causes.floor,)).gap[-1].why
    pcm = nr.deploy.judge(nr.deploy.onto(ADAPTIVE, chipmodels.load("pcm")), data, range(1))
    assert "pcm has no neurons of its own" in pcm.gap[3].why
    assert pcm.gap[6].why == pcm.gap[7].why == "pcm is clocked, as the network is"
    entry = json.loads(json.dumps(judged.entry(), allow_nan=False))
    assert entry["gap"][-1]["why"] == judged.gap[-1].why and entry["ci95"] is None


def test_on_exact_dies_the_die_costs_nothing():
    """Without mismatch every board has the score of the programmed network, and every interval is a point."""
    still = {
        kind: replace(model, law=LogNormal(0.0), cv=replace(model.cv, value=0.0)) for kind, model in CHIP.kinds.items()
    }
    deployment, data = nr.deploy.onto(DPI, replace(CHIP, kinds=still)), data_of(DPI)
    judged = nr.deploy.judge(deployment, data, range(3), trained=DPI)
    rows = {row.name: row for row in judged.gap}
    assert rows["die"].change.estimate == rows["die"].change.low == rows["die"].change.high == 0
    assert (judged.score == rows["programmed"].mean).all()
    for name in ("continuous time", "delay", "circuit"):
        assert np.ptp(rows[name].score) == 0


def test_a_cause_of_ones_own_is_a_function():
    def slow_synapses(deployment, engine):
        """Synapses of 5 ms."""
        return causes.synapse(deployment, engine, tau_syn=5e-3)

    deployment, data = nr.deploy.onto(ADAPTIVE, CHIP), data_of(ADAPTIVE, 12)
    judged = nr.deploy.judge(
        deployment, data, range(2), causes=(slow_synapses, partial(causes.synapse, tau_syn=5e-3), causes.circuit)
    )
    own, usual = judged.gap[3:5]
    assert (own.name, own.what) == ("slow synapses", "Synapses of 5 ms.") and usual.name == "synapse"
    assert np.array_equal(own.score, usual.score) and usual.change.estimate == 0
    assert own.change.estimate == own.alone.estimate


def test_boards_that_change_side_are_counted():
    deployment, data = nr.deploy.onto(DPI, CHIP), data_of(DPI, 12)
    first = nr.deploy.judge(deployment, data, range(4), causes=())
    second = nr.deploy.judge(deployment, data, range(4), boards=VirtualBoards(CircuitEngine()), causes=())
    spec = float(np.median(first.score))
    found = first.crossing(second, spec)
    assert found.lost == ((first.score >= spec) & (second.score < spec)).sum() and found.n == 4
    assert found.gained == ((first.score < spec) & (second.score >= spec)).sum()
    assert first.difference(second).estimate == pytest.approx(second.mean - first.mean)
    other = nr.deploy.judge(deployment, data, [5, 6, 7, 8], causes=())
    with pytest.raises(ValueError, match=r"other: has boards 5 to 8 of dynapse2, seed 1, with 12 .*the same, boards 0"):
        first.crossing(other, spec)
    elsewhere = nr.deploy.judge(nr.deploy.onto(DPI, chipmodels.load("pcm")), data, range(4), causes=())
    fewer = nr.deploy.judge(deployment, data.first(11), range(4), causes=())
    scattered = nr.deploy.judge(deployment, data, [0, 2, 1, 3], causes=())
    swapped = nr.deploy.judge(deployment, Data(data.x.flip(0), data.y), range(4), causes=())
    named = replace(first, model=replace(CHIP, grid=(8, 32)))
    for another, words in (
        (elsewhere, r"has boards 0 to 3 of pcm"), (fewer, "with 11 samples; expected"),
        (scattered, "boards 0, 2, 1, 3"),
        (swapped, "is of other samples or labels"), (named, "the name of two chip models"),
    ):  # fmt: skip
        for compare in (first.difference, lambda another: first.crossing(another, spec)):
            with pytest.raises(ValueError, match=words):
                compare(another)
    with pytest.raises(ValueError, match=r"spec: got 90; expected a score from 0 to 1"):
        first.yield_at(90)


def test_the_result_is_printed_as_a_table():
    deployment, data = nr.deploy.onto(ADAPTIVE, CHIP), data_of(ADAPTIVE)
    lines = str(nr.deploy.judge(deployment, data, range(2), causes=(causes.floor, causes.circuit))).split("\n")
    assert lines[0].startswith(
        "2 virtual boards of dynapse2 (a simulation, NetworkEngine(), seed 1), 8 samples: mean 0."
    )
    rows = [line.split("  ")[0] for line in lines[2:] if not line.startswith(" ")]  # a long reason goes on below
    assert rows == ["training", "programmed", "die", "floor", "circuit"]


def test_bad_arguments_are_refused_before_anything_runs():
    deployment, data = nr.deploy.onto(DPI, CHIP), data_of(DPI)
    for arguments, others, error, words in (
        ((DPI, data), {}, TypeError, r"deployment: got a Network; expected a Deployment"),
        ((deployment, data.x), {}, TypeError, r"data: got a Tensor; expected"),
        (
            (deployment, Data(data.x[..., :2], data.y)),
            {},
            ValueError,
            r"data: x has shape \(8, 40, 2\); expected \(samp",
        ),
        ((deployment, Data(data.x / 2, data.y)), {}, ValueError, r"x: values that are not counts"),
        ((deployment, data, 5), {}, TypeError, r"serials: got 5; expected several, such as range\(200\)"),
        ((deployment, data, []), {}, ValueError, r"serials: got none; expected several"),
        ((deployment, data, [1, 1]), {}, ValueError, r"serials: got 2, 1 of them different"),
        ((deployment, data, [-1]), {}, ValueError, r"serials: got -1"),
        (
            (deployment, data),
            {"boards": VirtualBoards("circuit")},
            TypeError,
            r"engine: got 'circuit'; expected an Engine",
        ),
        (
            (deployment, data),
            {"boards": range(3)},
            TypeError,
            r"boards: got range\(0, 3\); expected nr.deploy.VirtualBoa",
        ),
        ((deployment, data), {"engine": CircuitEngine()}, TypeError, r"unexpected keyword argument 'engine'"),
        ((deployment, data), {"causes": ("floor",)}, TypeError, r"causes: got 'floor'; expected functions, such as nr"),
        (
            (deployment, data),
            {"causes": (lambda *_: None,)},
            TypeError,
            r"returned a NoneType; expected an Engine, or w",
        ),
        ((deployment, data), {"trained": ADAPTIVE}, ValueError, r"trained: is another network than the one that was"),
        ((deployment, data), {"trained": torch.nn.Linear(1, 1)}, TypeError, r"trained: got a Linear; expected the Net"),
    ):
        with pytest.raises(error, match=words):
            nr.deploy.judge(*arguments, **others)
    for values, words in (({"substeps": 0}, "substeps: got 0"), ({"tau_syn": 0.0}, "tau_syn: got 0")):
        with pytest.raises(ValueError, match=words):
            EquationsEngine(**values)


# ---- from a shell


def test_the_command_prints_what_judge_returns(tmp_path, monkeypatch, capsys):
    network, _ = nr.zoo.load("ecg_dpi/adversarial")
    chip = chipmodels.load("dynapse2")
    path = nr.deploy.onto(network, chip).save(tmp_path / "net.json")
    nr.save(network, tmp_path / "model")

    def call(*arguments) -> tuple[int, str, str]:
        command = ["neurorobust", "board", "judge", str(path), "--task", "ecg", *map(str, arguments)]
        monkeypatch.setattr("sys.argv", command)
        with pytest.raises(SystemExit) as caught:
            main()
        said = capsys.readouterr()
        return caught.value.code or 0, said.out, said.err

    code, said, _ = call("--serials", 2, "--samples", 4, "--json")
    found = json.loads(said)
    deployment = nr.deploy.load(path, chip)
    judged = nr.deploy.judge(deployment, nr.tasks.ecg().test.balanced(4), range(2), causes=())
    assert code == 0 and found["score"] == judged.score.tolist() and found["gap"] == [] and found["task"] == "ecg"
    assert found["yield"]["spec"] == 0.9
    code, said, _ = call("--serials", 1, "--samples", 4, "--gap", "--trained", tmp_path / "model")
    assert code == 0 and "yield at 0.9" in said and "the network has it already: floor at rest" in said
    code, said, told = call("--serials", 1, "--trained", tmp_path / "model")
    assert code == 2 and not said and "trained: is for the first row of the gap; add --gap" in told
