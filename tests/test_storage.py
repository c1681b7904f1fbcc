"""Networks on disk: what comes back is what was saved, and every broken folder gives one clear error."""

from __future__ import annotations

import inspect
import itertools
import json
from pathlib import Path

import pytest
import torch
from conftest import DT, draw, events, tiny
from found import NEURONS, RESETS, SURROGATES
from hypothesis import given
from hypothesis import strategies as st
from placed import placed
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import neurorobust as nr
from neurorobust._util import digests, files
from neurorobust.dynamics import (
    AdaptiveThreshold,
    Ahp,
    CancelsExcitation,
    HardFloor,
    LeakyFloor,
    NoFloor,
    PullsDown,
)
from neurorobust.dynamics.surrogate import ArcTan, FastSigmoid, Triangle
from neurorobust.io import models, structure
from neurorobust.nn.connections import (
    AvgPool2d,
    Chain,
    Connection,
    Conv1d,
    Conv2d,
    Delayed,
    Linear,
    OneToOne,
    SumPool2d,
)
from neurorobust.nn.decoders import last_step, max_over_time, mean_over_time, per_step
from neurorobust.nn.neurons import AdaptiveLif, CubaLif, LeakyIntegrator, Lif
from neurorobust.nn.sparse_linear import SparseLinear


def single():
    """A network in float32 with another neuron, another surrogate and a resistance."""
    synapses = Linear(draw(0, 4, 3).float(), draw(1, 4).float())
    hidden = Lif(synapses, tau_mem=0.01, v_threshold=0.1, r=2.0, surrogate=Triangle(0.7))
    return nr.Network({"hidden": hidden, "readout": LeakyIntegrator(Linear(draw(2, 2, 4).float()), tau_mem=0.02)}, 2e-3)


@pytest.fixture
def saved(tmp_path):
    """The folder of a saved network."""
    return nr.save(placed([0, 0, 1, 1, 1]), tmp_path / "model", {"task": "tiny", "seed": 3})


@pytest.mark.parametrize("make", [tiny, lambda: placed([0, 0, 1]), single], ids=["tiny", "placed", "single"])
def test_a_network_comes_back(make, tmp_path):
    """save → load: every tensor, the placement, which parameters are trained, dt, info and the logits, bit for bit."""
    network, info = make(), {"task": "ecg", "nested": {"list": [1, None, 0.1, "ζ"]}}
    next(network.parameters()).requires_grad_(False)
    again, found = nr.load(nr.save(network, tmp_path / "a" / "b", info))
    assert found == info
    assert again.dt == network.dt
    assert list(again.state_dict()) == list(network.state_dict())
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in network.state_dict().items())
    assert all(value.dtype == again.state_dict()[name].dtype for name, value in network.state_dict().items())
    assert [p.requires_grad for p in again.parameters()] == [p.requires_grad for p in network.parameters()]
    x = events(0, 8).x.to(next(network.parameters()).dtype)
    assert torch.equal(nr.run(again, nr.nominal(again), x), nr.run(network, nr.nominal(network), x))
    slopes = [torch.autograd.grad(net(x)[0].square().sum(), list(net.parameters())[1]) for net in (network, again)]
    assert torch.equal(slopes[0][0], slopes[1][0])


def test_a_loaded_network_is_saved_the_same(saved, tmp_path):
    """save ∘ load changes no byte of either file."""
    network, info = nr.load(saved)
    again = nr.save(network, tmp_path / "again", info)
    for name in ("config.json", "model.safetensors"):
        assert (saved / name).read_bytes() == (again / name).read_bytes()


def test_saving_over_a_model_replaces_it(saved):
    """The second network is the one that is loaded, also when it has other layers; no temporary file stays."""
    nr.save(single(), saved, {"seed": 4})
    network, info = nr.load(saved)
    assert info == {"seed": 4}
    assert isinstance(network.hidden, Lif)
    assert sorted(path.name for path in saved.iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError("no space left on device")], ids=["Ctrl-C", "disk full"]
)
@pytest.mark.parametrize("moment", ["writing", "first rename", "second rename"])
def test_a_crash_while_saving_leaves_one_whole_model(moment, error, saved, monkeypatch):
    """Stopped at any moment of a save over another model: the old network or the new one, never a mixture of both."""
    calls = {"first rename": 1, "second rename": 2}.get(moment, 0)
    replace = Path.replace

    def crash(*args, **more):
        nonlocal calls
        calls -= 1
        if calls <= 0:
            raise error
        return replace(*args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(*((models.safetensors, "save_file") if moment == "writing" else (Path, "replace")), crash)
        with pytest.raises(type(error)):
            nr.save(single(), saved, {"seed": 4})
    network, info = nr.load(saved)
    assert info["seed"] == {AdaptiveLif: 3, Lif: 4}[type(network.hidden)]
    assert sorted(path.name for path in saved.iterdir()) == ["config.json", "model.safetensors"]


@given(st.data())
def test_any_truncated_file_gives_one_clear_error(saved_once, data):
    """Cut anywhere, either file is refused by a ValueError that names the folder."""
    name = data.draw(st.sampled_from(["config.json", "model.safetensors"]))
    whole = (saved_once / name).read_bytes()
    try:
        (saved_once / name).write_bytes(whole[: data.draw(st.integers(0, len(whole.rstrip()) - 1))])
        with pytest.raises(ValueError, match=r"model folder .*truncated or foreign"):
            nr.load(saved_once)
    finally:
        (saved_once / name).write_bytes(whole)


@pytest.fixture(scope="module")
def saved_once(tmp_path_factory):
    """A saved network that several examples break and mend."""
    return nr.save(placed([0, 0, 1, 1, 1]), tmp_path_factory.mktemp("once") / "model", {"task": "tiny"})


def places(value, path=()):
    """The path of every node of a JSON value but its root."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield (*path, key)
        yield from places(part, (*path, key))


def outcome(folder, x):
    """The error of loading a folder that may be broken; None if it is a network or one clear error."""
    try:
        network, info = nr.load(folder)
        nr.run(network, nr.nominal(network), x)
        return None if isinstance(info, dict) else f"loads with info {info!r}"
    except ValueError as error:
        return f"{len(str(error).splitlines())} lines" if "\n" in str(error) else None
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def nested():
    """A network whose layers hold connections inside connections, a surrogate and a reset."""
    pooled = Chain(AvgPool2d((1, 4, 4), 2), Conv2d(draw(0, 2, 1, 2, 2), (1, 2, 2), padding=1))
    hidden = CubaLif(pooled, recurrent=OneToOne(draw(1, 18)), tau_mem=0.01, tau_syn=0.01, v_threshold=1.0, v_reset=0.1)
    readout = LeakyIntegrator(Delayed(Linear(draw(2, 2, 18)), 0.002), tau_mem=0.01)
    return nr.Network({"hidden": hidden, "readout": readout}, DT, {"readout": "hidden"}, last_step).double()


@pytest.mark.parametrize("make", [lambda: placed([0, 0, 1, 1, 1]), nested], ids=["placed", "nested"])
def test_any_foreign_value_gives_one_clear_error(make, tmp_path):
    """Each value of config.json in turn removed or replaced: still a network, or one line says why not."""
    network, wrong = make(), []
    saved = nr.save(network, tmp_path / "model")
    whole, x = json.dumps(configuration(saved)), draw(3, 2, 5, network.n_in)
    for path in places(json.loads(whole)):
        for other in ("removed", None, True, -1, 0.5, "x", [], {}, ["x"], {"x": 1}):
            config = inside = json.loads(whole)
            for key in path[:-1]:
                inside = inside[key]
            if other == "removed":
                del inside[path[-1]]
            else:
                inside[path[-1]] = other
            reconfigure(saved, config)
            wrong.append((path, other, outcome(saved, x)))
    assert [problem for problem in wrong if problem[-1]] == []


@pytest.mark.parametrize("foreign", ["[]", "3", "{}", '{"format": "torch"}', "null", "not json", "\xff", '{"a": NaN}'])
def test_a_foreign_json_is_refused(foreign, saved):
    """A config.json that somebody else wrote, or no JSON at all, names the folder."""
    (saved / "config.json").write_text(foreign, encoding="latin-1")
    with pytest.raises(ValueError, match=r"model folder .*(truncated or foreign|not of format)"):
        nr.load(saved)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(name, saved):
    """Either file gone, or the whole folder."""
    (saved / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"no {name}"):
        nr.load(saved)
    with pytest.raises(FileNotFoundError, match=r"model folder .*nowhere"):
        nr.load(saved / "nowhere")


def change(folder, name, value):
    """Save other tensors with the same configuration: one replaced, added or removed."""
    tensors = load_file(folder / "model.safetensors")
    tensors.pop(name, None)
    models._write(folder, configuration(folder), tensors | ({} if value is None else {name: value}))


def configuration(folder):
    """The content of config.json, without its digests."""
    return {
        key: value
        for key, value in json.loads((folder / "config.json").read_text()).items()
        if key not in ("sha256", "digest")
    }


def reconfigure(folder, config):
    """Save the same tensors with another configuration, in both files."""
    models._write(folder, config, load_file(folder / "model.safetensors"))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("hidden.input.weight", torch.full((5, 3), torch.nan), r"hidden\.input\.weight: 15 of 15 values are NaN"),
        ("readout.input.bias", torch.tensor([0.0, torch.inf]), r"readout\.input\.bias: 1 of 2"),
        ("hidden.tau_mem", torch.tensor([0.01, 0.0]), r"tau_mem: smallest value is 0"),
        ("hidden.tau_mem", None, "do not fit"),
        ("hidden.recurrent.mask", torch.ones(2, 2, dtype=torch.bool), "mask"),
        ("hidden.recurrent.weight", torch.zeros(2, 2), "weight"),
        ("hidden.core", torch.zeros(9, dtype=torch.long), "core"),
        ("readout.input.weight", torch.zeros(2, 9), r"\(2, 9\)"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(name, value, words, saved):
    """NaN, a time constant of 0, a missing tensor and wrong shapes: the error names the tensor."""
    change(saved, name, value)
    with pytest.raises(ValueError, match=words):
        nr.load(saved)


@pytest.mark.parametrize("name", ["hidden.colour", "hidden.input.colour", "ghost.input.colour"])
def test_an_extra_tensor_is_refused(name, saved):
    """A tensor that no layer uses is a sign of another model."""
    change(saved, name, torch.zeros(2))
    with pytest.raises(ValueError, match="colour"):
        nr.load(saved)


def test_an_unknown_neuron_names_the_known_ones(saved):
    """A model of a later version, or of somebody's own neuron."""
    config = configuration(saved)
    config["layers"][0]["neuron"] = "AdaptiveLiff"
    reconfigure(saved, config)
    with pytest.raises(ValueError, match=r"'AdaptiveLiff' does not exist.*Lif.*Did you mean 'AdaptiveLif'"):
        nr.load(saved)


def test_what_cannot_be_loaded_again_is_not_saved(tmp_path):
    """A neuron or surrogate of the user's own is refused before anything is written."""

    class Mine(LeakyIntegrator):
        """Somebody's own neuron."""

    network = nr.Network({"mine": Mine(Linear(draw(0, 2, 3)), tau_mem=0.01)}, DT)
    with pytest.raises(ValueError, match="'Mine' does not exist"):
        nr.save(network, tmp_path / "model")
    assert not list(tmp_path.glob("model/*"))


def test_an_unwritable_folder_is_named(tmp_path):
    """A path below a regular file cannot be made, by anybody; the file stays as it is."""
    (tmp_path / "file").write_text("precious")
    for path in (tmp_path / "file" / "model", tmp_path / "file"):
        with pytest.raises(OSError, match=r"out: cannot write to folder .*choose another"):
            nr.save(tiny(), path)
    assert (tmp_path / "file").read_text() == "precious"


def test_a_file_is_whole_or_not_there(tmp_path):
    """`replacing`: an error inside keeps the old content and leaves nothing else; a good end replaces it."""
    path = tmp_path / "a.txt"
    for text in ("first", "second"):
        with pytest.raises(KeyboardInterrupt), files.replacing(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt
        files.write_text(path, text)
        assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
        assert path.read_text() == text


def everything():
    """A network of every neuron, reset, surrogate and connection of the package, and its parts by class name."""
    values = {
        "tau_mem": 0.008, "tau_syn": 0.004, "tau_adapt": 0.03, "adaptation": 0.4, "v_threshold": 0.3, "v_leak": 0.05,
        "r": 1.4, "t_ref": 0.002, "tau_syn_exc": 0.004, "tau_syn_inh": 0.006,
    }  # fmt: skip
    synapses = [
        lambda: Conv2d(draw(0, 2, 1, 3, 2), (1, 6, 5), draw(1, 2), draw(2, 2, 1, 3, 2) > -1, (1, 2), (0, 1)),
        lambda: SumPool2d((2, 4, 3), (2, 1)),
        lambda: AvgPool2d((2, 2, 3), 1),
        lambda: Delayed(Conv1d(draw(3, 2, 2, 3), (2, 6), padding=1), 0.003),
        lambda: Chain(AvgPool2d((2, 2, 3), (2, 1)), Delayed(Linear(draw(4, 6, 6)), DT * torch.arange(6))),
        lambda: OneToOne(draw(5, 6), draw(6, 6)),
        lambda: SparseLinear.of(Linear(draw(10, 6, 6), draw(11, 6), draw(12, 6, 6) > 0)),
    ]
    spiking = [name for name, model in NEURONS.items() if "surrogate" in inspect.signature(model).parameters]
    kinds = itertools.cycle(name for name in spiking if name != "LinearizedDpi")  # its synapses need a sign
    resets = itertools.cycle([type(reset) for reset in RESETS.values()])
    chosen = [FastSigmoid(7.0), ArcTan(3.0, scaled=True), Triangle(0.4, scaled=False), *SURROGATES.values()]
    surrogates = itertools.cycle(chosen)
    layers = {}

    def add(name, connection):
        takes = inspect.signature(NEURONS[name]).parameters
        given = {kind: torch.tensor(value).double() for kind, value in values.items() if kind in takes}
        if "reset" in takes:
            given["reset"] = next(resets)(True)
            if type(given["reset"]).__name__.endswith("ToValue"):
                given["v_reset"] = torch.tensor(-0.1).double()
        if "floor" in takes:
            given |= {"floor": next(floors), "rule": next(rules), "inhibition": next(inhibitions)}
        if "surrogate" in takes:
            given["surrogate"] = next(surrogates)
            n = connection.n_out
            given["recurrent"] = OneToOne(draw(7, n)) if len(layers) % 2 else Linear(draw(7, n, n), draw(8, n))
        layers[f"layer{len(layers)}"] = NEURONS[name](connection, **given)

    for make in synapses:
        add(next(kinds), make())
    for _ in range(12):
        add(next(kinds), Linear(draw(9, 6, 6)))
    floors, rules, inhibitions = (
        itertools.cycle([LeakyFloor(0.2), NoFloor(), HardFloor()]),
        itertools.cycle([AdaptiveThreshold(), Ahp()]),
        itertools.cycle([CancelsExcitation(), PullsDown(), CancelsExcitation()]),
    )
    for _ in range(3):
        add("LinearizedDpi", Delayed(Linear(draw(9, 6, 6)), 0.002))
    add("CubaLeakyIntegrator", Linear(draw(10, 6, 6)))
    add("LeakyIntegrator", Linear(draw(11, 2, 6 + 6 + 6)))
    last = f"layer{len(layers) - 1}"
    return nr.Network(layers, DT, {last: (f"layer{len(layers) - 2}", "layer5", "layer4")}, per_step)


def test_everything_comes_back(tmp_path):
    """Every neuron, reset, surrogate and connection, the graph and the decoder: the same objects, logits and bytes."""
    network = everything()
    again, _ = nr.load(nr.save(network, tmp_path / "a"))
    assert {type(layer).__name__ for layer in network.layers().values()} == set(NEURONS)
    assert {type(getattr(layer, "reset", None)).__name__ for layer in network.layers().values()} >= set(RESETS)
    connection_types = {type(module).__name__ for module in network.modules() if isinstance(module, Connection)}
    assert connection_types == set(structure._connections())
    for name, layer in network.layers().items():
        for option in ("surrogate", "reset", "floor", "rule"):
            assert getattr(again.layers()[name], option, None) == getattr(layer, option, None)
    assert again.inputs == network.inputs and again.decode is network.decode
    x = (draw(12, 2, 9, 30) + 1).double()
    assert torch.equal(again(x)[0], network(x)[0])
    nr.save(again, tmp_path / "b")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("decode", [mean_over_time, max_over_time, last_step, per_step])
def test_decoders_come_back(decode, tmp_path):
    """Each decoder of the package is found again by its name; one of the user's own is refused."""
    layer = {"a": LeakyIntegrator(Linear(draw(0, 2, 3)), tau_mem=0.01)}
    again, _ = nr.load(nr.save(nr.Network(layer, DT, decode=decode), tmp_path / "model"))
    assert again.decode is decode
    with pytest.raises(ValueError, match=r"network: decode: .* does not exist; choose one of .*last_step"):
        nr.save(nr.Network(layer, DT, decode=lambda v: v[0]), tmp_path / "other")


def test_a_file_of_the_first_format_still_loads(tmp_path):
    """A folder as version 0.1 wrote it: Linear connections in a row, a triangle; the same network as saved today."""
    network = placed([0, 0, 1, 1, 1])
    folder = nr.save(network, tmp_path / "model", {"seed": 1})
    config = json.loads((folder / "config.json").read_text())
    old = {key: config[key] for key in ("dt", "trained", "info")} | {"format": "neurorobust-network/1"}
    old["layers"] = [
        {"name": "hidden", "neuron": "AdaptiveLif", "recurrent": True, "triangle": {"scale": 0.3}},
        {"name": "readout", "neuron": "LeakyIntegrator", "recurrent": False},
    ]
    save_file(network.state_dict(), folder / "model.safetensors", metadata={"config": json.dumps(old)})
    old["sha256"] = digests.of_file(folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(old))
    again, info = nr.load(folder)
    x = events(0, 4).x
    assert info == {"seed": 1} and torch.equal(again(x)[0], network(x)[0])
    assert again.hidden.surrogate == Triangle(0.3)


def test_a_packed_network_comes_back(network, tmp_path):
    """Without absent synapses and with masks as bits a file holds the same tensors; wrong shapes are refused."""
    nr.save(network, tmp_path / "packed", packed=True)
    nr.save(network, tmp_path / "plain")
    loaded, _ = nr.load(tmp_path / "packed")
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value) and loaded.state_dict()[name].dtype == value.dtype
    with safe_open(tmp_path / "packed" / "model.safetensors", framework="pt") as file:
        present = int(network.hidden.recurrent.mask.sum())
        assert file.get_tensor("hidden.recurrent.weight").shape == (present,)
        assert file.get_tensor("hidden.recurrent.mask").shape == (5,)  # 36 bits
    config = configuration(tmp_path / "packed")
    for wrong in ({"hidden.recurrent.weight": [6, 7]}, {"missing": [1]}, [1]):
        reconfigure(tmp_path / "packed", config | {"packed": wrong})
        with pytest.raises(ValueError, match=r"do not fit: packed|got shape"):
            nr.load(tmp_path / "packed")
