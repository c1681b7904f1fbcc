"""Placement of snnTorch networks: which weights end on which neurons, the calls in messages, and saved placements."""

from __future__ import annotations

import json
import re
import warnings

import pytest
import snntorch as snn
import torch
from conftest import draw
from plain_networks import Both, Convolution, Dictionary, Net, Recurrent, row, x_of
from torch import nn
from wired_networks import Wired

import chipmodels
import neurorobust as nr
from neurorobust.core.placement import Placement, placement_of
from neurorobust.core.placing import suggested, written
from neurorobust.data import Data
from neurorobust.interop.snntorch_network import SnnTorchNetwork

DT = 1e-3
CHIP = chipmodels.load("dynapse2")


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def converted(net, decode=None):
    """The result of from_snntorch, without its long look, which the first measurement takes."""
    model = SnnTorchNetwork(net, DT, {})
    model.measure(x_of(5, 7, 3), None, decode)
    return model


def ends_of(model):
    return {module: sorted(ends) for module, ends in model._wiring.ends.items()}


def data_of(*shape):
    x = x_of(*shape or (6, 7, 3))
    return Data(x, torch.arange(len(x)) % 2)


class Spiking(Net):
    """Without biases, and with a membrane as output: a chip takes it."""

    def __init__(self, **options):
        super().__init__(last="none", **options)
        self.fc1.bias = self.fc2.bias = None

    def forward(self, x):
        return torch.stack(self.loop(x)[1])


# --- which weights end on which neurons


@pytest.mark.parametrize("seed", range(10))
def test_random_wiring_is_found(seed):
    """Every layer of weights is followed to the neurons on which it acts, whatever the order in the class."""
    net = Wired(seed).double()
    for neuron in net.modules():
        if isinstance(neuron, snn.Leaky):
            neuron.threshold.data = neuron.threshold.data.double()
    model = converted(net)
    assert ends_of(model) == {module: [end] for module, end in net.truth.items()}
    model.place({name: k for k, name in enumerate(model._shapes)})
    for module, end in net.truth.items():
        core = placement_of(model).core(f"{module}.weight")
        assert core.tolist() == ([nr.HOST] * len(core) if not end else [list(model._shapes).index(end)] * len(core))


def synaptic():
    return Net(cls=snn.Synaptic, alpha=0.7)


def recurrent():
    return Net(cls=snn.RLeaky)


@pytest.mark.parametrize("make", [Net, Both, Dictionary, recurrent, synaptic])
def test_a_loop_needs_no_feeds(make):
    """The documented form of snnTorch: two layers, two connections."""
    model = converted(make())
    assert ends_of(model) == {"fc1": ["lif1"], "fc2": ["lif2"]}
    model.place({"lif1": 0, "lif2": nr.HOST})
    assert placement_of(model).feeds == {"fc1": "lif1", "fc2": "lif2"}


def test_a_placed_loop_has_the_dies_of_a_row():
    """A row and the same layers in a loop are placed alike, so dies give them the same scores."""
    loop = Spiking()
    layers = [loop.fc1, snn.Leaky(beta=0.8, threshold=0.3, init_hidden=True), loop.fc2]
    last = snn.Leaky(beta=0.8, threshold=0.3, init_hidden=True, output=True, reset_mechanism="none")
    twin = nn.Sequential(*layers, last).double()
    decode = nr.interop.decode.mean_membrane
    ours, theirs = converted(loop, decode=decode), converted(twin, decode=decode)
    ours.place({"lif1": [0, 0, 1, 1, 2, 2], "lif2": nr.HOST})
    theirs.place({"1": [0, 0, 1, 1, 2, 2], "3": nr.HOST})
    data = data_of(40, 7, 3)
    found = [nr.evaluate(model, data, CHIP, n_dies=4, seed=3) for model in (ours, theirs)]
    assert found[0].score.tolist() == found[1].score.tolist()


class TwoEnds(Net):
    def __init__(self):
        super().__init__()
        self.lif3 = snn.Leaky(beta=0.7, threshold=0.3)
        self.lif3.threshold.data = self.lif3.threshold.data.double()

    def loop(self, x):
        m1, m2, m3, spikes = self.lif1.reset_mem(), self.lif2.reset_mem(), self.lif3.reset_mem(), []
        for step in x:
            current = self.fc1(step)
            s1, m1 = self.lif1(current, m1)
            s3, m3 = self.lif3(current, m3)
            s2, m2 = self.lif2(self.fc2(s1 + s3), m2)
            spikes.append(s2)
        return spikes, []


class HalfHidden(TwoEnds):
    """The second way is cut from the gradient."""

    def loop(self, x):
        m1, m2, m3, spikes = self.lif1.reset_mem(), self.lif2.reset_mem(), self.lif3.reset_mem(), []
        for step in x:
            current = self.fc1(step)
            s1, m1 = self.lif1(current, m1)
            s3, m3 = self.lif3(current.detach(), m3)
            s2, m2 = self.lif2(self.fc2(s1 + s3), m2)
            spikes.append(s2)
        return spikes, []


@pytest.mark.parametrize("make", [TwoEnds, HalfHidden])
def test_two_answers_are_refused_with_the_call(make):
    model = converted(make())
    assert ends_of(model)["fc1"] == ["lif1", "lif3"]
    cores = {"lif1": 0, "lif2": nr.HOST, "lif3": 1}
    with pytest.raises(ValueError, match=r"feeds: 'fc1': its weights act on 'lif3' and 'lif1'") as refused:
        model.place(cores)
    assert placement_of(model).unplaced
    run_call(refused.value, model)
    assert placement_of(model).feeds == {"fc1": "lif1", "fc2": "lif2"}
    model.place(cores, {"fc1": "lif3"})
    assert placement_of(model).feeds["fc1"] == "lif3"
    with pytest.raises(ValueError, match=r"feeds\['fc1'\]: got 'lif2'; but in a pass the synapses of 'fc1' end on"):
        model.place(cores, {"fc1": "lif2"})


class Unused(Net):
    def __init__(self):
        super().__init__()
        self.left = nn.Linear(2, 2).double()


def test_weights_that_end_nowhere_are_refused_with_the_call():
    model = converted(Unused())
    with pytest.raises(ValueError, match=r"feeds: 'left': no pass shows a way from it") as refused:
        model.place({"lif1": 0, "lif2": nr.HOST})
    run_call(refused.value, model)
    assert bool(placement_of(model).on_host("left.weight"))


def run_call(error, model):
    """Run the call that a message shows, as it stands there."""
    (call,) = re.findall(r"model\.place\(.*\)(?=[.,;])", str(error))
    exec(call, {"model": model, "nr": nr, "torch": torch})


@pytest.mark.parametrize(
    ("feeds", "words"),
    [
        ({"fc1": "lif2"}, r"feeds\['fc1'\]: got 'lif2'; but in a pass the synapses of 'fc1' end on 'lif1'"),
        ({"fc1": nr.HOST}, r"feeds\['fc1'\]: got nr\.HOST; but .* end on 'lif1'"),
        ({"lif1": "lif2"}, r"feeds: module: 'lif1' does not exist"),
        ({"fc1": "fc2"}, r"feeds\['fc1'\]: layer of neurons: 'fc2' does not exist"),
    ],
)
def test_feeds_that_are_not_true_are_refused(feeds, words):
    model = converted(Net())
    with pytest.raises(ValueError, match=words):
        model.place({"lif1": 0, "lif2": nr.HOST}, feeds)
    assert not placement_of(model).cores


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.lif = snn.Leaky(beta=0.8, threshold=0.3, init_hidden=True)  # before the layer that feeds it
        self.fc = nn.Linear(3, 6)

    def forward(self, x):
        return self.lif(self.fc(x))


def test_the_order_in_a_block_of_a_row_does_not_count():
    net = nn.Sequential(Block(), nn.Linear(6, 2), snn.Leaky(beta=0.8, init_hidden=True, output=True))
    model = nr.from_snntorch(net, DT, sample=x_of(5, 7, 3).float())
    model.place({"0.lif": 0, "2": nr.HOST})
    assert placement_of(model).feeds == {"0.fc": "0.lif", "1": "2"}


def test_following_the_weights_changes_nothing():
    """The look leaves the user's network, its gradients' flags, and the random generators as they were."""
    net = Net()
    net.fc1.weight.requires_grad_(False)
    before, state = {k: v.clone() for k, v in net.state_dict().items()}, torch.get_rng_state()
    model = converted(net)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not net.fc1.weight.requires_grad and not dict(model.named_parameters())["fc1.weight"].requires_grad
    assert all(value.grad is None for value in model.parameters())


def test_several_layers_in_a_row_end_on_one_neuron():
    model = nr.from_snntorch(Convolution(), DT, sample=x_of(5, 1, 6, 6))
    assert ends_of(model) == {"fc1": ["lif1"], "fc2": ["lif2"], "conv": ["lif1"]}


def test_one_call_per_step_is_followed():
    model = converted(Recurrent())
    assert model._wiring.ends and all(len(ends) == 1 for ends in model._wiring.ends.values()), ends_of(model)


# --- the call in messages


@pytest.mark.parametrize("make", [Spiking, lambda: row("none")])
def test_a_network_without_cores_gets_the_call(make):
    """The error before place() shows the call with the layers of this network; copied, it works."""
    net = make()
    for part in net.modules():
        if isinstance(part, nn.Linear):
            part.bias = None
    model, data = converted(net), data_of()
    with pytest.raises(ValueError, match=r"sits on no core, but dynapse2 needs one; say where each layer is") as error:
        nr.evaluate(model, data, CHIP, n_dies=2)
    assert "\n" not in str(error.value)
    run_call(error.value, model)
    assert nr.evaluate(model, data, CHIP, n_dies=2).score.shape == (2,)


def test_a_missing_layer_gets_the_call():
    model = converted(Spiking())
    with pytest.raises(ValueError, match=r"cores: lif2 missing") as error:
        model.place({"lif1": [0, 0, 0, 1, 1, 1]})
    run_call(error.value, model)
    assert placement_of(model).cores["lif1"].tolist() == [0, 0, 0, 1, 1, 1]
    with pytest.raises(ValueError, match=r"cores\['lif1'\]: got 2147483648; expected a core from 0 to 2³¹ − 1"):
        model.place({"lif1": 2**31, "lif2": 0})  # which a saved placement may not hold


@pytest.mark.parametrize(
    ("sizes", "cores", "neurons", "expected"),
    [
        ({"a": 10, "b": 20}, 4, 256, {"a": 0, "b": 1}),
        ({"a": 300, "b": 20}, 4, 256, {"a": [0] * 256 + [1] * 44, "b": 2}),
        ({"a": 3, "b": 2, "c": 1}, 2, 4, {"a": [0, 0, 0], "b": [0, 1], "c": [1]}),
        ({"a": 1000}, None, None, {"a": 0}),
    ],
)
def test_suggested_cores_have_room(sizes, cores, neurons, expected):
    """One core after the other for each layer; one core filled after the other where there are too few."""
    found = suggested(Placement(unplaced=sizes), cores, neurons)
    assert {name: torch.as_tensor(core).tolist() for name, core in found.items()} == expected


def test_the_call_is_code():
    """Short lists are written out, long ones by their runs; each is what was meant."""
    cores = {
        "a": torch.tensor(3),
        "b": torch.arange(6) // 2,
        "c": torch.arange(600) // 256,
        "d": torch.tensor([-1, -1]),
    }
    call = written(cores, {"x": "a", "y": nr.HOST})
    assert call == (
        'model.place({"a": 3, "b": [0, 0, 1, 1, 2, 2], "c": [0] * 256 + [1] * 256 + [2] * 88, "d": nr.HOST}, '
        'feeds={"x": "a", "y": nr.HOST})'
    )
    assert cores["c"].tolist() == [0] * 256 + [1] * 256 + [2] * 88


def test_a_wrapped_module_is_told_that_it_has_no_neurons():
    model = nr.wrap(nn.Sequential(nn.Flatten(), nn.Linear(21, 2)).double())
    with pytest.raises(ValueError, match=r"a wrapped module has no neurons that could have one: use nr\.from_snntorch"):
        nr.evaluate(model, data_of(), CHIP, n_dies=2)


@pytest.mark.parametrize("core", [None, "0", [0.5] * 6, 10**30, [[0]] * 6, float("nan"), True, -2])
def test_cores_that_are_none_are_refused(core):
    model = converted(Net())
    with pytest.raises(ValueError, match=r"cores\['lif1'\]: got"):
        model.place({"lif1": core, "lif2": nr.HOST})
    with pytest.raises(TypeError, match=r"cores: got .*; expected cores by layer: model\.place\("):
        model.place(core)


def test_print_shows_the_cores():
    model = converted(Spiking())
    assert "core" not in str(model)
    model.place({"lif1": [0, 0, 0, 1, 1, 2], "lif2": nr.HOST})
    lines = str(model).splitlines()
    assert "cores 0 to 2" in lines[2] and "on the host" in lines[3]


# --- the placement in the folder of a model


def placed(**cores):
    model = converted(Spiking())
    if cores:
        model.place(cores)
    return model


def test_a_placement_comes_back(tmp_path):
    """Saved and loaded, a network has the cores, the feeds and the dies that it had."""
    first, second = placed(lif1=[0, 0, 1, 1, 2, 2], lif2=nr.HOST), placed()
    nr.save(first, tmp_path)
    with torch.no_grad():
        second.get_parameter("fc1.weight").zero_()
    nr.load(tmp_path, into=second)
    for part in ("cores", "feeds"):
        ours, theirs = (getattr(placement_of(model), part) for model in (first, second))
        assert str(ours) == str(theirs)
    data = data_of(20, 7, 3)
    scores = [nr.evaluate(model, data, CHIP, n_dies=3).score.tolist() for model in (first, second)]
    assert scores[0] == scores[1]
    again = tmp_path / "again"
    nr.save(second, again)
    assert (again / "config.json").read_bytes() == (tmp_path / "config.json").read_bytes()


def test_onto_takes_the_saved_places(tmp_path):
    nr.save(placed(lif1=[0, 0, 1, 1, 2, 2], lif2=nr.HOST), tmp_path)
    model, _ = nr.load(tmp_path, into=placed())
    assert nr.deploy.onto(model, CHIP).cores["lif1"].tolist() == [0, 0, 1, 1, 2, 2]


def test_another_placement_is_refused_by_name(tmp_path):
    """The message names the layer and both places, shows the call, and nothing was changed."""
    nr.save(placed(lif1=[0, 0, 1, 1, 2, 2], lif2=nr.HOST), tmp_path)
    other = placed(lif1=0, lif2=nr.HOST)
    with torch.no_grad():
        other.get_parameter("fc1.weight").fill_(0.5)
    with pytest.raises(
        ValueError, match=r"into: 'lif1' is on core 0 in this network, and \[0, 0, 1.*\] in "
    ) as refused:
        nr.load(tmp_path, into=other)
    assert bool((other.get_parameter("fc1.weight") == 0.5).all())
    run_call(refused.value, other)
    nr.load(tmp_path, into=other)


def test_a_folder_without_a_placement_still_loads(tmp_path):
    """It leaves the placement of the network as it is: none, or its own. Older versions wrote such folders."""
    nr.save(placed(), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["format"] == "neurorobust-network/2"
    model, _ = nr.load(tmp_path, into=placed())
    assert not placement_of(model).cores
    model, _ = nr.load(tmp_path, into=placed(lif1=3, lif2=nr.HOST))
    assert placement_of(model).cores["lif1"].unique().tolist() == [3]


def test_older_readers_refuse_a_placement(tmp_path):
    """They would drop it: the format says so."""
    nr.save(placed(lif1=1, lif2=nr.HOST), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["format"] == "neurorobust-network/3"
    assert config["placement"] == {"cores": {"lif1": 1, "lif2": -1}, "feeds": {"fc1": "lif1", "fc2": "lif2"}}


FORGED = [
    None,
    [],
    {},
    {"cores": {"lif1": 0, "lif2": -1}},
    {"cores": {}, "feeds": {}},
    {"cores": {"lif1": 0}, "feeds": {}},
    {"cores": {"lif1": 0, "lif2": -1, "lif3": 0}, "feeds": {}},
    {"cores": {"lif1": 0.0, "lif2": -1}, "feeds": {}},
    {"cores": {"lif1": True, "lif2": -1}, "feeds": {}},
    {"cores": {"lif1": "0", "lif2": -1}, "feeds": {}},
    {"cores": {"lif1": [0, 0, 0, 0, 0], "lif2": -1}, "feeds": {}},
    {"cores": {"lif1": [0, [0], 0, 0, 0, 0], "lif2": -1}, "feeds": {}},
    {"cores": {"lif1": [], "lif2": -1}, "feeds": {}},
    {"cores": {"lif1": -2, "lif2": -1}, "feeds": {}},
    {"cores": {"lif1": [0, 0, 0, 0, 0, -1], "lif2": -1}, "feeds": {}},
    {"cores": {"lif1": 2**31, "lif2": -1}, "feeds": {}},
    {"cores": {"lif1": 10**40, "lif2": -1}, "feeds": {}},
    {"cores": {"lif1": 0, "lif2": -1}, "feeds": {"fc1": "lif2"}},
    {"cores": {"lif1": 0, "lif2": -1}, "feeds": {"fc1": 0}},
    {"cores": {"lif1": 0, "lif2": -1}, "feeds": {"fc9": "lif1"}},
    {"cores": {"lif1": 0, "lif2": -1}, "feeds": {"fc1": ["lif1"]}},
    {"cores": {"lif1": 0, "lif2": -1}, "feeds": {}, "more": 1},
]


@pytest.mark.parametrize("forged", FORGED, ids=[str(k) for k in range(len(FORGED))])
def test_a_forged_placement_gives_one_clear_error(forged, tmp_path, monkeypatch):
    """With all digests made anew: refused in one line, and the network stays as it was."""
    model = placed(lif1=0, lif2=nr.HOST)
    monkeypatch.setattr("neurorobust.io.models.placement_entry", lambda network: {"forged": 0})
    monkeypatch.setattr("neurorobust.io.models.json.dumps", _forging(json.dumps, forged))
    nr.save(model, tmp_path)
    monkeypatch.undo()
    target = placed()
    with torch.no_grad():
        target.get_parameter("fc1.weight").fill_(0.5)
    with pytest.raises(ValueError, match=r"placement") as refused:
        nr.load(tmp_path, into=target)
    assert "\n" not in str(refused.value)
    assert bool((target.get_parameter("fc1.weight") == 0.5).all()) and not placement_of(target).cores


def _forging(dumps, forged):
    return lambda value, **options: dumps(
        value | {"placement": forged} if isinstance(value, dict) and "placement" in value else value, **options
    )


def test_a_placement_needs_a_network_that_can_be_placed(tmp_path):
    nr.save(placed(lif1=0, lif2=nr.HOST), tmp_path)
    with pytest.raises(ValueError, match="into: "):
        nr.load(tmp_path, into=nr.wrap(nn.Linear(3, 2).double()))


# --- biases


def biased(beta=0.8):
    first = snn.Leaky(beta=beta, threshold=0.3, init_hidden=True)
    last = snn.Leaky(beta=0.8, init_hidden=True, output=True, reset_mechanism="none")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 6), first, nn.Linear(6, 2), last)
    return nr.from_snntorch(net, DT, decode=nr.interop.decode.mean_membrane)


def test_biases_are_refused_with_what_helps():
    """onto and evaluate say what helps against biases; fewer neurons do not. Each way out works."""
    model = biased()
    with pytest.raises(nr.deploy.DeploymentError) as refused:
        nr.deploy.onto(model, CHIP)
    (violation,) = refused.value.violations
    assert "bias=False" in violation.hint and "nr.deploy.adapt" in violation.hint and "fewer" not in violation.hint
    model.place({"1": 0, "3": nr.HOST})
    data = Data(data_of(20, 7, 3).x.float(), torch.arange(20) % 2)
    with pytest.raises(ValueError, match=r"biases \(bias=False\), or let nr\.deploy\.adapt remove"):
        nr.evaluate(model, data, CHIP, n_dies=2)
    task = nr.data.Task("t", ("a", "b"), data, data, data, nn.functional.cross_entropy)
    adapted = nr.deploy.adapt(model, CHIP, task, loss=task.loss, epochs=0)
    assert any("6 biases of input removed" in change for change in adapted.changes)
    assert nr.deploy.onto(adapted.network, CHIP).cores["1"].shape == (6,)


def test_biases_go_also_where_the_equations_are_the_chips_own():
    """adapt removes biases that differ on a core from a network that needs no other equations, too."""
    weights = nr.nn.Linear(draw(0, 6, 3).abs(), 0.1 * draw(1, 6))
    hidden = nr.neurons.LinearizedDpi(weights, tau_mem=0.02, tau_syn_exc=0.005, tau_syn_inh=0.005, v_threshold=0.1)
    readout = nr.neurons.LeakyIntegrator(nr.nn.Linear(draw(2, 2, 6)), tau_mem=0.02)
    network = nr.Network({"hidden": hidden, "readout": readout}, DT)
    data = data_of(12, 7, 3)
    task = nr.data.Task("t", ("a", "b"), data, data, data, nn.functional.cross_entropy)
    adapted = nr.deploy.adapt(network, CHIP, task, loss=task.loss, epochs=0)
    assert adapted.network.layers()["hidden"].input.bias is None, adapted.changes
    nr.deploy.onto(adapted.network, CHIP)


def test_other_settings_are_refused_with_what_helps():
    with pytest.raises(nr.deploy.DeploymentError) as refused:
        nr.deploy.onto(biased(torch.linspace(0.7, 0.9, 6)), CHIP)
    (violation,) = refused.value.violations
    assert "give the neurons of a layer one value of tau_mem" in violation.hint


# --- any order in the class


class WeightsFirst(nn.Module):
    """All weights, then all neurons, as many classes are written; or the last layer first."""

    def __init__(self, names):
        super().__init__()
        torch.manual_seed(0)
        parts = {
            "fc1": nn.Linear(3, 6, bias=False),
            "lif1": snn.Leaky(beta=0.8, threshold=0.3),
            "fc2": nn.Linear(6, 2, bias=False),
            "lif2": snn.Leaky(beta=0.8, threshold=0.3, reset_mechanism="none"),
        }
        for name in names:
            self.add_module(name, parts[name])
        self.double()

    forward = Spiking.forward
    loop, steps = Net.loop, Net.steps


@pytest.mark.parametrize("names", [("fc1", "fc2", "lif1", "lif2"), ("lif2", "fc2", "lif1", "fc1")])
def test_the_order_in_the_class_does_not_count_on_a_chip(names):
    """A deployment has the layers in the order of a pass, with the same spikes and codes."""
    models = [converted(WeightsFirst(each)) for each in (names, ("fc1", "lif1", "fc2", "lif2"))]
    for model in models:
        model.place({"lif1": [0, 0, 1, 1, 2, 2], "lif2": nr.HOST})
    x = x_of(4, 7, 3)
    ours, theirs = (nr.deploy.translated(model) for model in models)
    assert torch.equal(nr.run(ours, nr.nominal(ours), x), nr.run(theirs, nr.nominal(theirs), x))
    found = [nr.deploy.onto(model, CHIP).network.state_dict() for model in models]
    assert found[0].keys() == found[1].keys()
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


class LastLayer(Net):
    """The read-out is a layer of weights; ``whole`` gives its output in every step."""

    def __init__(self, whole=True):
        super().__init__()
        self.whole, self.fc1.bias = whole, None
        del self.lif2

    def forward(self, x):
        mem, out = self.lif1.reset_mem(), []
        for current in self.steps(x):
            spikes, mem = self.lif1(current, mem)
            out.append(self.fc2(spikes))
        return torch.stack(out) if self.whole else torch.stack(out).mean(0)


@pytest.mark.parametrize("decode", ["mean_membrane", "last_membrane", "max_membrane", "spike_rate", "spike_count"])
def test_a_last_layer_may_be_read_by_any_decoder(decode):
    """onto takes what its message lists, and the logits are the network's own."""
    model, x = converted(LastLayer(), getattr(nr.interop.decode, decode)), x_of(4, 7, 3)
    ours = nr.deploy.translated(model)
    assert torch.allclose(nr.run(ours, nr.nominal(ours), x), nr.run(model, nr.nominal(model), x), atol=1e-9)


def test_logits_of_the_forward_itself_are_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"decode: logits; .* has to give the output of every step"):
        nr.deploy.translated(converted(LastLayer(whole=False)))


class Back(Spiking):
    def __init__(self):
        super().__init__()
        self.back = nn.Linear(6, 6, bias=False).double()

    def loop(self, x):
        m1, m2, spikes, mems = self.lif1.reset_mem(), self.lif2.reset_mem(), x.new_zeros(x.shape[1], 6), []
        for current in self.steps(x):
            spikes, m1 = self.lif1(current + self.back(spikes), m1)
            _, m2 = self.lif2(self.fc2(spikes), m2)
            mems.append(m2)
        return [], mems


def test_a_recurrence_of_ones_own_is_refused_with_the_way_out():
    with pytest.raises(ValueError, match=r"'back' \(Linear\): a second layer of weights .*use snntorch\.RLeaky"):
        nr.deploy.translated(converted(Back()))
