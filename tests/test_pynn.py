"""Networks for PyNN: the script with a stand-in of a back end, and with PyNN on NEST where `make oracles` built it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from recording_sim import Sim, pynn_parameters
from torch import Tensor
from typer.testing import CliRunner

import chipmodels
import neurorobust as nr
from benchmarks import pynn_nest
from benchmarks.circuit_oracles import PYTHON
from neurorobust import nn
from neurorobust.cli import app
from neurorobust.dynamics import DelayedSubtract, DelayedToValue, Subtract, ToValue
from neurorobust.export import backends
from neurorobust.export.backends import nest as nest_backend

DT = 1e-3
KEY = torch.Generator().manual_seed(5)
on_nest = pytest.mark.skipif(
    not (PYTHON.parent.parent / ".complete").exists(), reason="no .venv-oracles with NEST and PyNN: make oracles"
)


@pytest.fixture(autouse=True)
def same_networks() -> None:
    """Each test has the same networks, in any order of the tests."""
    KEY.manual_seed(5)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=KEY, dtype=torch.float64)


def lif(connection: nn.Connection, recurrent: nn.Connection | None = None, **more: Any) -> nn.Lif:
    own = {"tau_mem": 0.008, "v_threshold": 0.15, "reset": ToValue()} | more
    return nn.Lif(connection, recurrent=recurrent, **own)


def skipping() -> nr.Network:
    layers = {
        "a": lif(nn.Linear(normal(6, 10), 0.1 * normal(6)), nn.Linear(normal(6, 6), 0.1 * normal(6))),
        "b": lif(nn.Linear(normal(5, 10))),
        "both": lif(nn.Linear(normal(4, 21), 0.2 * normal(4)), nn.Linear(normal(4, 4))),
        "out": nn.LeakyIntegrator(nn.Linear(normal(2, 4)), tau_mem=0.02),
    }
    return nr.Network(layers, DT, {"b": "x", "both": ["a", "x", "b"]}).double()


def delayed() -> nr.Network:
    first = nn.Delayed(nn.Linear(normal(6, 10)), torch.arange(10) * DT)
    second = lif(nn.Delayed(nn.Linear(normal(3, 16)), torch.arange(16) * DT), v_reset=-0.1, v_leak=0.05)
    return nr.Network({"a": lif(first, nn.OneToOne(normal(6))), "b": second}, DT, {"b": ["a", "x"]}).double()


def convolutional() -> nr.Network:
    conv = nn.Conv1d(normal(3, 2, 3), (2, 5), 0.1 * normal(3), padding=1)
    dense = nn.Chain(nn.Linear(normal(6, 15)), nn.OneToOne(normal(6)))
    return nr.Network({"a": lif(conv), "b": lif(dense, reset=DelayedToValue())}, DT).double()


def loaded(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location("network", folder / "network.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def played(folder: Path, x: Tensor) -> dict[str, Tensor]:
    """The spikes of a script in the stand-in, by layer, (T, n)."""
    script, sim = loaded(folder), Sim("IF_curr_delta")
    data = script.load()
    sim.setup(**script.settings(data))
    populations = script.build(sim, data)
    with pynn_parameters():
        script.stimulate(populations, data, x.numpy())
    trains = sim.run(script.duration(data, len(x)))
    return {
        name: torch.from_numpy(script.steps(data, name, trains[name], len(x))).double()
        for name in script.names(data)[1:]
    }


def differing(found: dict[str, Tensor], net: nr.Network, x: Tensor) -> int:
    expected = pynn_nest.spikes(net, x)
    assert all(expected[name].sum() > 5 for name in found)
    return sum(int((value != expected[name]).sum()) for name, value in found.items())


NETWORKS = [lambda: pynn_nest.network(0), lambda: pynn_nest.network(1), skipping, delayed, convolutional]


@pytest.mark.parametrize("build", NETWORKS)
def test_the_script_has_the_same_spikes_in_a_stand_in(build: Any, tmp_path: Path) -> None:
    net, x = build(), pynn_nest.events(0)
    folder = nr.to_pynn(net, tmp_path / "net")
    assert differing(played(folder, x), net, x) == 0


@pytest.mark.parametrize(
    "names",
    [("setup", "projections", "projection0"), ("populations", "population0", "backend"), ("a", "a/parameter", "step")],
)
def test_a_layer_may_have_any_name(names: tuple[str, ...], tmp_path: Path) -> None:
    """Names of the data file and of PyNN are no harm: the settings are the same, and so are the spikes."""
    net, x = skipping(), pynn_nest.events(0)
    renamed = dict(zip(("a", "b", "both"), names)) | {"x": "x"}
    layers = {renamed.get(name, name): layer for name, layer in net.layers().items()}
    inputs = {
        renamed.get(name, name): [renamed[each] for each in of] for name, of in net.inputs.items() if name != "out"
    }
    other = nr.Network(layers, DT, inputs).double()
    folders = [nr.to_pynn(each, tmp_path / str(k)) for k, each in enumerate((net, other))]
    scripts = [loaded(folder) for folder in folders]
    assert scripts[0].settings(scripts[0].load()) == scripts[1].settings(scripts[1].load())
    assert scripts[1].names(scripts[1].load()) == ["x", *names]
    assert differing(played(folders[1], x), other, x) == 0


@on_nest
def test_twenty_networks_have_the_same_spikes_on_nest() -> None:
    found = pynn_nest.delta()
    assert found["spikes"] > 10_000 and found["differing"] == 0


@on_nest
def test_twenty_layers_written_to_nest_directly_have_the_same_spikes() -> None:
    found = pynn_nest.direct()
    assert found["spikes"] > 10_000 and found["differing"] == 0


@on_nest
def test_other_networks_have_the_same_spikes_on_nest() -> None:
    networks, x = [skipping(), delayed(), convolutional()], pynn_nest.events(0)
    for net, found in zip(networks, pynn_nest.in_pynn(networks, [x] * 3)):
        assert differing(found, net, x) == 0


@on_nest
def test_one_die_runs_on_nest() -> None:
    net, x = skipping(), pynn_nest.events(3)
    die = nr.mismatch(0.2).fabricate(range(1), seed=1)[0]
    found = pynn_nest.in_pynn([net], [x], die=die)[0]
    params = die.params(die.model.program(nr.nominal(net), nn.placement_of(net)))
    assert differing(found, net, x) > 0
    for name, value in params.items():
        owner, _, own = name.rpartition(".")
        net.get_submodule(owner).register_parameter(own, torch.nn.Parameter(value))
    assert differing(found, net, x) == 0


@on_nest
def test_a_refused_reset_goes_wrong_on_nest(monkeypatch: pytest.MonkeyPatch) -> None:
    """When this fails, the cell type has another reset: the refusal can go."""
    net, x = pynn_nest.network(0), pynn_nest.events(0)
    for layer in net.layers().values():
        layer.reset = Subtract()
    with pytest.raises(ValueError, match="nest resets the membrane to v_reset; the reset Subtract would be lost"):
        nr.to_pynn(net, "never")
    original = nest_backend.resetting
    monkeypatch.setattr(nest_backend, "resetting", lambda self, cell: original(self, replace(cell, reset="ToValue")))
    assert differing(pynn_nest.in_pynn([net], [x])[0], net, x) > 0


def test_the_file_holds_numbers_and_the_script_needs_no_package_of_ours(tmp_path: Path) -> None:
    folder = nr.to_pynn(pynn_nest.network(0), tmp_path / "net")
    assert sorted(path.name for path in folder.iterdir()) == ["data.npz", "network.py"]
    assert all(name.endswith(".npy") for name in zipfile.ZipFile(folder / "data.npz").namelist())
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import network; network.load(); "
    code += "assert not any(name.startswith(('neurorobust', 'torch')) for name in sys.modules)"
    subprocess.run([sys.executable, "-I", "-c", code], check=True)
    before = (folder / "data.npz").read_bytes()
    assert (nr.to_pynn(pynn_nest.network(0), folder) / "data.npz").read_bytes() == before


def test_the_script_refuses_what_would_be_other_spikes(tmp_path: Path) -> None:
    script = loaded(nr.to_pynn(pynn_nest.network(0), tmp_path / "net"))
    data, sim = script.load(), Sim("IF_curr_delta")
    with pytest.raises(ValueError, match=r"timestep: got 0\.1 ms.*sim\.setup"):
        script.build(sim, data)
    sim.setup(timestep=1.0)
    sim.simulator = type("simulator", (), {"state": type("state", (), {"spike_precision": "off_grid"})})
    with pytest.raises(ValueError, match="spike_precision: got 'off_grid'"):
        script.build(sim, data)
    with pytest.raises(ValueError, match="sim: has no IF_curr_delta"):
        other = Sim("IF_cond_exp")
        other.setup(timestep=1.0)
        script.build(other, data)
    with pytest.raises(ValueError, match=r"x: got shape \(5, 3\); expected \(T, 10\)"):
        script.spike_times(data, np.zeros((5, 3)))
    with pytest.raises(ValueError, match="x: expected whole numbers of events"):
        script.spike_times(data, np.full((5, 10), 0.5))
    assert script.spike_times(data, np.eye(10) * 2)[3].tolist() == [5.0, 5.0]


def one(kind: type = nn.Lif, dt: float = DT, **more: Any) -> nr.Network:
    own = {"tau_mem": 0.01, "v_threshold": 0.1} | ({} if kind is nn.AdaptiveLif else {"reset": ToValue()}) | more
    bias = own.pop("bias", None)
    return nr.Network({"a": kind(nn.Linear(torch.ones(2, 3), bias), **own)}, dt)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: one(reset=DelayedSubtract()), "layer 'a': nest resets the membrane to v_reset; the reset Delayed"),
        (lambda: one(t_ref=0.003), r"layer 'a': t_ref up to 0\.003 s: the membrane integrates on"),
        (lambda: one(nn.AdaptiveLif, adaptation=0.1, tau_adapt=0.1), "layer 'a': AdaptiveLif: .* adaptive threshold"),
        (lambda: one(v_reset=0.2), "needs a v_threshold above v_reset"),
        (lambda: one(dt=1.2345e-4, bias=None), r"nest counts time in µs; got dt = 123\.45 µs"),
        (
            lambda: one(tau_mem=0.0005, bias=torch.tensor([0.0, -0.5])),
            "the bias of neuron 1 would need a membrane above",
        ),
        (
            lambda: nr.Network({"r": nn.LeakyIntegrator(nn.Linear(torch.ones(2, 3)), tau_mem=0.01)}, DT),
            "layer 'r': nest gets no neurons without spikes",
        ),
        (
            lambda: nr.Network(
                {"a": lif(nn.Chain(nn.Linear(torch.ones(2, 3)), nn.Delayed(nn.Linear(torch.ones(2, 2)), DT)))}, DT
            ),
            "a delay inside a chain",
        ),
    ],
)
def test_what_no_cell_type_has_is_refused(build: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        nr.to_pynn(build(), tmp_path / "net")
    assert not (tmp_path / "net").exists()


def test_arguments_are_checked(tmp_path: Path) -> None:
    net = pynn_nest.network(0)
    with pytest.raises(ValueError, match="backend"):
        nr.to_pynn(net, tmp_path, backend="brian3")
    with pytest.raises(TypeError, match="network: got a Linear"):
        nr.to_pynn(torch.nn.Linear(2, 2), tmp_path)
    with pytest.raises(TypeError, match="network: got a network; brainscales2 takes integer weights"):
        nr.to_pynn(net, tmp_path, backend="brainscales2")
    assert set(backends()) == {"brainscales2", "nest"}


# --- IF_curr_exp


def test_cuba_lif_becomes_if_curr_exp(tmp_path: Path) -> None:
    """An event has the charge w dt; the membrane has 1 mV per nA."""
    net = pynn_nest.network(0, nn.CubaLif)
    script = loaded(nr.to_pynn(net, tmp_path / "net"))
    data, sim = script.load(), Sim("IF_curr_exp")
    sim.setup(**script.settings(data))
    hidden = script.build(sim, data)["hidden"]
    layer = net.layers()["hidden"]
    assert np.allclose(hidden.values("tau_syn_E"), 1e3 * layer.per_neuron("tau_syn").detach())
    charge = np.zeros((20, 10))
    for each in sim.projections[:2]:
        for source, target, weight, delay in each.connections:
            assert delay == 1.0
            charge[int(target), int(source)] = weight * hidden.values("tau_syn_E")[int(target)]
    expected = 1e3 * layer.per_neuron("r")[:, None] * layer.input.weight * 1.0
    assert np.allclose(charge, expected.detach())


@on_nest
def test_rates_of_if_curr_exp_are_within_two_percent_and_come_closer_with_small_steps() -> None:
    coarse, fine = (pynn_nest.rates(parts, 6) for parts in (1, 4))
    assert max(abs(coarse["difference"]), abs(fine["difference"])) < 0.02
    assert fine["mean_difference_of_a_network"] < coarse["mean_difference_of_a_network"] < 0.02


# --- BrainScaleS-2


def cuba(**more: Any) -> nr.Network:
    own = {"tau_mem": 0.01, "tau_syn": 0.005, "v_threshold": 0.3, "v_reset": -0.06, "reset": ToValue()} | more
    bias = own.pop("bias", 0.05 * torch.arange(6.0))
    key = torch.Generator().manual_seed(2)
    hidden = nn.CubaLif(
        nn.Linear(torch.randn(6, 4, generator=key), bias), recurrent=nn.Linear(torch.randn(6, 6, generator=key)), **own
    )
    readout = nn.LeakyIntegrator(nn.Linear(torch.randn(2, 6, generator=key)), tau_mem=0.02)
    return nr.Network({"hidden": hidden, "out": readout}, DT)


def deployed(net: nr.Network) -> nr.deploy.Deployment:
    return nr.deploy.onto(net, chipmodels.load("brainscales2"))


def test_brainscales2_gets_its_table_and_integer_weights(tmp_path: Path) -> None:
    deployment = deployed(cuba())
    script = loaded(nr.to_pynn(deployment, tmp_path / "net", backend="brainscales2"))
    data, sim = script.load(), Sim("CalibHXNeuronCuba", apart=True)
    assert script.names(data) == ["x", "hidden"] and script.settings(data) == {}
    populations = script.build(sim, data)
    cell = populations["hidden"].cell
    assert cell.model == "CalibHXNeuronCuba"
    gain = deployment.programmed.gains["hidden.v_threshold"][0].item()
    for name, v in {"v_thresh": 0.3 + torch.zeros(6), "v_reset": -0.06 + torch.zeros(6)}.items():
        assert np.array_equal(cell.parameters[name], np.rint(80 + gain * v.numpy())), name
    assert np.array_equal(cell.parameters["v_rest"], np.rint(80 + gain * 0.05 * np.arange(6)))
    assert np.allclose(cell.parameters["tau_m"], 10) and np.allclose(cell.parameters["tau_syn_E"], 5)
    codes = {"x": np.zeros((6, 4)), "hidden": np.zeros((6, 6))}
    for each in sim.projections:
        assert each.columns == ["weight"]
        for source, target, weight in each.connections:
            assert weight == int(weight) and abs(weight) <= 63
            codes[each.pre.label][int(target), int(source)] = weight
    assert np.array_equal(codes["x"], deployment.programmed.codes["hidden.input.weight"])
    assert np.array_equal(codes["hidden"], deployment.programmed.codes["hidden.recurrent.weight"])
    assert len(sim.projections) == 4
    x = np.zeros((5, 4))
    x[1, 2] = 1
    assert np.allclose(script.spike_times(data, x)[2], 3e-3)  # step 3 of 1 ms, a thousand times faster
    micro = 1e3 * 0.001 / (deployment.programmed.gains["hidden.input.weight"][0].item() * 10 * 5)
    assert np.isclose(data["event"], gain * micro)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: cuba(tau_syn=torch.linspace(0.004, 0.006, 6)), "has one strength of synapses"),
        (lambda: cuba(v_reset=-0.5), "calibrates v_reset from 50 to 160 LSB"),
        (lambda: cuba(bias=torch.full((6,), 1.0)), "calibrates v_rest from 50 to 160 LSB"),
        (lambda: cuba(reset=Subtract(), v_reset=None), "the reset Subtract would be lost"),
    ],
)
def test_what_brainscales2_cannot_calibrate_is_refused(build: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        nr.to_pynn(deployed(build()), tmp_path / "net", backend="brainscales2")


def test_brainscales2_has_no_lif_and_no_delays(tmp_path: Path) -> None:
    own = {"tau_mem": 0.01, "v_threshold": 0.3, "reset": ToValue()}
    plain = nr.Network({"a": nn.Lif(nn.Linear(torch.ones(2, 3)), **own)}, DT)
    with pytest.raises(ValueError, match=r"synaptic current of 0\.3 µs at least"):
        nr.to_pynn(deployed(plain), tmp_path / "net", backend="brainscales2")
    die = chipmodels.load("brainscales2").fabricate(range(1), seed=1)[0]
    with pytest.raises(ValueError, match="die: brainscales2 is the chip itself"):
        nr.to_pynn(deployed(cuba()), tmp_path / "net", backend="brainscales2", die=die)


# --- command


def test_the_command_writes_both(tmp_path: Path) -> None:
    nr.save(pynn_nest.network(0), tmp_path / "mine")
    arguments = ["export", "pynn", str(tmp_path / "mine"), "--out", str(tmp_path / "net"), "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["backend"] == "nest" and Path(said["script"]).exists() and Path(said["data"]).exists()
    deployed(cuba()).save(tmp_path / "chip.json")
    arguments = [
        "export",
        "pynn",
        str(tmp_path / "chip.json"),
        "--backend",
        "brainscales2",
        "--out",
        str(tmp_path / "b"),
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0 and "unverified" in done.output
