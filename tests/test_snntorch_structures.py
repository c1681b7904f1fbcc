"""snnTorch networks of many structures: the module's own outputs at nominal and deviated numbers, or a refusal."""

from __future__ import annotations

import threading

import pytest
import snntorch as snn
import torch
from conftest import draw
from snntorch import spikegen, utils
from test_snntorch import DT, promoted
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune

import neurorobust as nr
from neurorobust._util.copies import copied
from neurorobust.data import Data, Task
from neurorobust.interop import decode
from neurorobust.nn.network import placement_of

SOURCES = {"tau_mem": "beta", "v_threshold": "threshold"}


def x_of(steps=12, samples=5, channels=3):
    return 2 * (draw(1, samples, steps, channels) > 0.2).double()


def written(net, params):
    """A copy of the user's module with these numbers written into it: β = exp(−dt/τ); without the package."""
    net = copied(net, "net")
    for name, value in params.items():
        path, _, kind = name.rpartition(".")
        if kind in SOURCES:
            neuron = net.get_submodule(path)
            neuron._parameters.pop(SOURCES[kind], None)
            neuron._buffers.pop(SOURCES[kind], None)
            neuron.register_buffer(SOURCES[kind], torch.exp(-DT / value) if kind == "tau_mem" else value.clone())
        else:
            own = dict(net.named_parameters())
            own[name if name in own else path].data.copy_(value)
    return net


def own_spikes(net, x):
    """The output spikes of a module from rest, as its user runs it."""
    kept, snn.SpikingNeuron.instances = (
        snn.SpikingNeuron.instances,
        [part for part in net.modules() if isinstance(part, snn.SpikingNeuron)],
    )
    try:
        for neuron in snn.SpikingNeuron.instances:
            neuron.reset_mem()
        if type(net) is not nn.Sequential:
            return net(x.transpose(0, 1))
        return torch.stack([net(step) for step in x.transpose(0, 1)])
    finally:
        snn.SpikingNeuron.instances = kept


@torch.no_grad()
def referee(net, x, **options):
    """The model gives the spikes of the module itself, nominal and on two dies, in every order; it is not silent."""
    model = nr.from_snntorch(net, DT, sample=x, **options)
    nominal, placement = nr.nominal(model), placement_of(model)
    center = nr.Ball.uniform(0.1).center(nominal, placement)
    dies = [
        nr.apply(nominal, {name: 0.3 * draw(seed + i, *zero.shape) for i, (name, zero) in enumerate(center.items())},
                 placement)
        for seed in (3, 40)
    ]  # fmt: skip
    at = [nominal, *dies]
    expected = [own_spikes(written(net, params), x).sum(0) for params in at]
    assert all(spikes.sum() > 0 for spikes in expected) and not torch.equal(expected[0], expected[1])
    for k in (0, 1, 2, 1, 0):
        assert torch.equal(nr.run(model, at[k], x), expected[k])
    return model


def leaky(cls=snn.Leaky, **options):
    return cls(**({"beta": 0.8, "threshold": 0.3} | options))


class Loop(nn.Module):
    """fc1 – lif1 – fc2 – lif2, with a loop over time; subclasses change one habit."""

    hidden = False

    def __init__(self, cls=snn.Leaky, **options):
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.fc2 = nn.Linear(3, 6), nn.Linear(6, 2)
        self.lif1, self.lif2 = (leaky(cls, init_hidden=self.hidden, **options) for _ in range(2))
        self.double()
        with torch.no_grad():
            self.fc1.weight.mul_(3), self.fc2.weight.mul_(3)
        promoted(self)

    def states(self):
        return [self.lif1.reset_mem(), self.lif2.reset_mem()]

    def forward(self, x):
        mem, spikes = self.states(), []
        for step in x:
            z, mem[0] = self.lif1(self.fc1(step), mem[0])
            z, mem[1] = self.lif2(self.fc2(z), mem[1])
            spikes.append(z)
        return torch.stack(spikes)


class Hidden(Loop):
    hidden = True

    def rest(self, half):
        pass

    def forward(self, x):
        spikes = []
        for t, step in enumerate(x):
            if t in (0, len(x) // 2):
                self.rest(t > 0)
            spikes.append(self.lif2(self.fc2(self.lif1(self.fc1(step)))))
        return torch.stack(spikes)


class UtilsReset(Hidden):
    def rest(self, half):
        utils.reset(self)


class ClassReset(Hidden):
    def rest(self, half):
        snn.Leaky.reset_hidden()
        snn.Leaky.detach_hidden()


class NeuronReset(Hidden):
    def rest(self, half):
        for lif in (self.lif1, self.lif2):
            lif.init_leaky() if half else lif.reset_mem()


class Records(Loop):
    def forward(self, x):
        self.spikes = super().forward(x)
        self.kept = {"last": [self.spikes[-1]]}
        return self.spikes


class CallsForward(Loop):
    """Its neurons run without a call of the module."""

    def forward(self, x):
        mem, spikes = self.states(), []
        for step in x:
            z, mem[0] = self.lif1.forward(self.fc1(step), mem[0])
            z, mem[1] = self.lif2.forward(self.fc2(z), mem[1])
            spikes.append(z)
        return torch.stack(spikes)


class TwoNames(Loop):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([self.fc1, self.lif1, self.fc2, self.lif2])


class Locked(Loop):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


class Counted(snn.Leaky):
    def forward(self, input_, mem=None):
        out = super().forward(input_, mem)
        self.count = float((out if isinstance(out, torch.Tensor) else out[0]).sum())
        return out


class Floored(snn.Leaky):
    def _base_state_function(self, input_):
        return super()._base_state_function(input_).clamp(min=-0.1)


def row(*middle, **options):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 6), *middle, nn.Linear(6, 2), leaky(init_hidden=True, **options)).double()
    with torch.no_grad():
        net[0].weight.mul_(3)
        net[-2].weight.abs_()
        net[-2].bias.add_(0.1)
    return promoted(net)


def reset_changed():
    """reset_mechanism changed after the neuron was made: snnTorch's code stays the one chosen then."""
    net = row(leaky(init_hidden=True))
    net[1].reset_mechanism = "zero"
    return net


def pruned_recurrence():
    net = row(snn.RLeaky(beta=0.8, threshold=0.3, linear_features=6, init_hidden=True))
    prune.l1_unstructured(net[1].recurrent, "weight", 0.5)
    return net


def hooked():
    net = row(leaky(init_hidden=True))
    net[1].register_forward_hook(lambda neuron, inputs, output: 2 * output)
    net[0].register_forward_pre_hook(lambda layer, inputs: (inputs[0].clamp(max=1.5),))
    return net


TAKEN = {
    "explicit": (Loop, {}), "hidden, reset in the middle": (NeuronReset, {}), "utils.reset": (UtilsReset, {}),
    "reset_hidden": (ClassReset, {}), "records": (Records, {}), "forward called": (CallsForward, {}),
    "two names": (TwoNames, {}), "a lock": (Locked, {}), "learned": (lambda: Loop(learn_beta=True), {}),
    "recorder": (lambda: Loop(Counted), {}), "own state": (lambda: Loop(Floored), {}),
    "no delay": (lambda: Loop(reset_delay=False), {}), "to zero": (lambda: Loop(reset_mechanism="zero"), {}),
    "row": (lambda: row(leaky(init_hidden=True)), {}),
    "row of subclasses": (lambda: row(leaky(Floored, init_hidden=True)), {}),
    "reset changed": (reset_changed, {}), "hooks": (hooked, {}),
    "pruned recurrence": (pruned_recurrence, {"kinds": {"1.recurrent.weight_orig": "weight"}}),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Inhibition")
@pytest.mark.parametrize("name", TAKEN)
def test_the_modules_own_spikes(name):
    """At nominal and at deviated numbers, bit for bit in float64."""
    make, options = TAKEN[name]
    referee(make(), x_of(), **options)


def test_a_network_that_ran_before_and_kept_its_outputs():
    """Tensors with a history in attributes, lists and dictionaries are no obstacle, also to estimate."""
    net, x = Records(), x_of()
    net(x.transpose(0, 1)).sum()
    model = referee(net, x)
    data = Data(x_of(samples=24), torch.arange(24) % 2)
    task = Task("t", ("a", "b"), data, data, data, functional.cross_entropy)
    nr.run(model, dict(model.named_parameters()), x)
    assert nr.train.estimate(model, task, functional.cross_entropy, epochs=1) > 0


@pytest.mark.parametrize("cls", [UtilsReset, ClassReset])
def test_a_reset_in_forward_reaches_no_other_network(cls, monkeypatch):
    """The original, an unrelated network and snnTorch's list of neurons keep what they have; copies are not listed."""
    monkeypatch.setattr(snn.SpikingNeuron, "instances", [])  # snnTorch cannot reset a DeltaLeaky that another test made
    net, other = cls(), Hidden()
    net(x_of(samples=2).transpose(0, 1)), other(x_of(samples=2).transpose(0, 1))
    states = [neuron.mem for n in (net, other) for neuron in (n.lif1, n.lif2)]
    listed = snn.SpikingNeuron.instances
    before = list(listed)
    model = nr.from_snntorch(net, DT, sample=x_of())
    nr.evaluate(model, Data(x_of(), torch.arange(5) % 2), nr.mismatch(0.2), n_dies=2)
    assert all(a is neuron.mem for a, neuron in zip(states, (net.lif1, net.lif2, other.lif1, other.lif2)))
    assert snn.SpikingNeuron.instances is listed and listed == before and any(state.abs().sum() > 0 for state in states)


class Random(Loop):
    def forward(self, x):
        return super().forward(spikegen.rate_conv(0.4 * x).double())


class Noisy(Loop):
    def forward(self, x):
        return super().forward(x + torch.randn_like(x))


class Carried(Loop):
    def __init__(self):
        super().__init__()
        self.mem = self.states()

    def forward(self, x):
        mem, self.states = self.mem, lambda: mem
        out = super().forward(x)
        self.mem = mem
        return out


class Shared(Loop):
    """One neuron for two layers."""

    def __init__(self, width):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(3, width).double(), nn.Linear(width, 2).double()
        del self.lif2

    def forward(self, x):
        first, second, spikes = x.new_zeros(0), x.new_zeros(0), []
        for step in x:
            z, first = self.lif1(self.fc1(step), first)
            z, second = self.lif1(self.fc2(z), second)
            spikes.append(z)
        return torch.stack(spikes)


class Learned(snn.Leaky):
    """Sets its decay itself."""

    def __init__(self, **options):
        super().__init__(**options)
        self.w = nn.Parameter(torch.ones(()))

    def forward(self, input_, mem=None):
        self.beta = torch.sigmoid(self.w)
        return super().forward(input_, mem)


class Picture(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(784, 10), leaky()

    def forward(self, x):
        mem, spikes = self.lif.reset_mem(), []
        for _ in range(4):
            z, mem = self.lif(self.fc(x), mem)
            spikes.append(z)
        return torch.stack(spikes)


WORDS = {
    "random": (Random, {}, "draws random numbers in forward"),
    "noise": (Noisy, {}, "draws random numbers in forward"),
    "state": (Carried, {}, "keeps state between calls"),
    "two sizes": (lambda: Shared(4), {}, "neuron 'lif1' serves several layers"),
    "one size": (lambda: Shared(2), {}, "neuron 'lif1' serves several layers"),
    "own decay": (lambda: Loop(Learned), {"kinds": {"*.w": "weight"}}, "lif1.beta is replaced by code of the network"),
    "sequence": (lambda: row(snn.LeakyParallel(6, 6)), {}, "'1' is a LeakyParallel; .* nr.wrap"),
    "other class": (lambda: row(snn.DeltaLeaky(beta=0.5)), {}, "'1' is a DeltaLeaky; .* and their subclasses"),
    "a picture": (Picture, {"sample": torch.rand(6, 784), "prepare": lambda x: x.T}, "with prepare=lambda x: x\\.$"),
}  # fmt: skip


@pytest.mark.parametrize("name", WORDS)
def test_refusals_name_the_matter_and_the_way_out(name):
    make, options, words = WORDS[name]
    with pytest.raises(ValueError, match=words):
        nr.from_snntorch(make(), DT, **({"sample": x_of()} | options))


def test_layers_with_a_reparametrized_weight():
    """prune: refused with the way out, or the kind is given; parametrizations run as they are."""
    net = row(leaky(init_hidden=True))
    prune.l1_unstructured(net[0], "weight", 0.5)
    with pytest.raises(ValueError, match=r"torch.nn.utils.prune.remove makes a pruned weight plain"):
        nr.from_snntorch(net, DT)
    referee(net, x_of(), kinds={"0.weight_orig": "weight"})
    net = row(leaky(init_hidden=True))
    parametrizations.weight_norm(net[0])
    referee(net, x_of(), kinds={"0.parametrizations.*": "weight"})


class Idle(Loop):
    def __init__(self):
        super().__init__()
        self.spare = snn.RLeaky(beta=0.8, linear_features=6).double()


def test_an_idle_neuron_is_left_alone():
    """It has no parameters in the model, and a warning names it; the rest is right."""
    with pytest.warns(UserWarning, match="neuron spare never ran on the sample"):
        model = referee(Idle(), x_of())
    assert not any("spare" in name for name, _ in model.named_parameters())
    net = Idle()
    with pytest.warns(UserWarning, match="spare never ran"):
        assert nr.to_snntorch(nr.from_snntorch(net, DT, sample=x_of())) is net


def test_every_part_keeps_its_mode():
    """A frozen part of a training network stays frozen, also after a measurement."""
    net = row(nn.Dropout(0.5), leaky(init_hidden=True))
    net[1].eval()
    model = nr.from_snntorch(net, DT, sample=x_of())
    assert model.training and net.training and not model.get_submodule("_unrolled.net.1").training
    nr.evaluate(model, Data(x_of(), torch.arange(5) % 2), nr.mismatch(0.1), n_dies=2)
    assert model.training and not model.get_submodule("_unrolled.net.1").training


def test_the_shape_of_inputs_is_checked():
    model = nr.from_snntorch(row(leaky(init_hidden=True)), DT)
    for shape in ((4, 0, 3), (4, 5, 7)):
        with pytest.raises(ValueError, match=r"x: got shape \(4, .*expected \(B, T, 3\), with one step or more"):
            nr.run(model, nr.nominal(model), torch.zeros(*shape).double())


class FixedBatch(Loop):
    def forward(self, x):
        return super().forward(x.reshape(len(x), 16, 3))


def test_a_fixed_batch_size_can_be_trained():
    """The first looks of evaluate and fit take a whole batch where the module takes no less."""
    data = Data(x_of(samples=16), torch.arange(16) % 2)
    model = nr.from_snntorch(FixedBatch(), DT, sample=data.x)
    task = Task("t", ("a", "b"), data, data, data, functional.cross_entropy)
    history = nr.fit(model, task, functional.cross_entropy, epochs=1, schedule=nr.Schedule(batch_size=16))
    assert len(history.rows) == 1


def test_lapicque_in_float64():
    """An integer time_step is no detour through float32: membranes to 1e-12."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), snn.Lapicque(beta=0.5, init_hidden=True, output=True)).double()
    net[1].threshold = torch.tensor(1e9).double()
    model = nr.from_snntorch(net, DT, decode=decode.last_membrane)
    found = nr.run(model, nr.nominal(model), x_of())
    expected = [net(step) for step in x_of().transpose(0, 1)][-1][1]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_one_tensor_with_two_values_is_not_written_back():
    """Two neurons with one learned β: apart in the model, so they cannot go back; nothing is written."""
    net = Loop(learn_beta=True)
    net.lif2.beta = net.lif1.beta
    model = nr.from_snntorch(net, DT, sample=x_of())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        model.get_parameter("lif1.tau_mem").mul_(1.5)
        model.get_parameter("lif2.tau_mem").mul_(1.2)
        model.get_parameter("fc1.weight").mul_(2)
    with pytest.raises(ValueError, match=r"lif1.beta and lif2.beta are one tensor"):
        nr.to_snntorch(model)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_a_loop_of_ones_own_with_learned_decays():
    """300 steps of Adam on nr.train.leaves: the time constants stay positive and move; without, a message names it."""
    model = nr.from_snntorch(Loop(learn_beta=True), DT, sample=x_of())
    before, y = nr.nominal(model), torch.arange(5) % 2
    leaves = nr.train.leaves(model)
    assert set(leaves) == {name for name, value in model.named_parameters() if value.requires_grad}
    optimizer = torch.optim.Adam(leaves.values(), lr=1e-2)
    regularizer = nr.regularizers.TaskLoss(functional.cross_entropy)
    for _ in range(300):
        optimizer.zero_grad()
        regularizer(model, leaves.params(), (x_of(), y)).backward()
        optimizer.step()
        leaves.write()
    after = nr.nominal(model)
    assert after["lif1.tau_mem"] > 0 and after["lif1.tau_mem"] != before["lif1.tau_mem"]
    assert torch.equal(after["lif1.tau_mem"], leaves["lif1.tau_mem"].detach().exp())
    bad = after | {"lif1.tau_mem": -after["lif1.tau_mem"]}
    with pytest.raises(ValueError, match=r"lif1.tau_mem: .* nr.train.leaves\(network\)"):
        nr.run(model, bad, x_of())


class Long(nn.Module):
    """An snnTorch neuron that only nr.wrap takes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.lstm, self.out = snn.SLSTM(3, 3, threshold=0.1), nn.Linear(3, 2)

    def forward(self, x):
        syn, mem = self.lstm.reset_mem()
        for step in x.transpose(0, 1):
            _, syn, mem = self.lstm(step, syn, mem)
        return self.out(mem)


def test_wrap_takes_what_from_snntorch_cannot():
    """An SLSTM: its weights are torch's; that its threshold stays exact is said. No message leads in a circle."""
    x = x_of().float()
    with pytest.warns(UserWarning, match=r"lstm.threshold of snnTorch neurons stay exact"):
        model = nr.wrap(Long())
    assert torch.equal(nr.run(model, nr.nominal(model), x), Long()(x))
    assert "lstm.lstm_cell.weight_ih.weight" in nr.nominal(model)
    with pytest.raises(TypeError, match=r"lif1 is an snnTorch neuron; use nr.from_snntorch"):
        nr.wrap(Loop())
