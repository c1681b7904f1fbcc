"""A user's loop over time that runs ahead: the same spikes and gradients as step by step, and what is not run ahead."""

# mypy: ignore-errors

from __future__ import annotations

import plain_networks as nets
import pytest
import snntorch as snn
import torch
from plain_networks import STEPS, Net, x_of
from structure_networks import promoted
from torch import nn
from torch.nn import functional

import neurorobust as nr
from neurorobust.core.placement import expand
from neurorobust.interop import fused, lanes
from neurorobust.interop.decode import as_tuple
from neurorobust.interop.held_tensors import tensors_in

pytestmark = pytest.mark.filterwarnings("ignore:net", "ignore:decode")
SAMPLES = 5


@pytest.fixture(autouse=True)
def _short_sequences_too(monkeypatch):
    monkeypatch.setattr(lanes, "SHORT", lanes.LEAST)


class Steps(nn.Module):
    """conv – lif – pool – fc – lif in functions of torch, as users write them."""

    def __init__(self, **options):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.fc = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Linear(12, 2)
        self.drop = nn.Dropout(0.5)
        self.lif1, self.lif2 = (snn.Leaky(beta=0.8, threshold=0.3, **options) for _ in range(2))
        self.double(), promoted(self, torch.float64)
        with torch.no_grad():
            self.fc.weight.mul_(3)

    def current(self, z):
        return self.fc(self.drop(functional.max_pool2d(z, 2).view(len(z), -1)))

    def forward(self, x):
        mem1, mem2, spikes, mems = self.lif1.reset_mem(), self.lif2.reset_mem(), [], []
        for step in x:
            z, mem1 = self.lif1(functional.relu(self.norm(self.conv(step))), mem1)
            z, mem2 = self.lif2(self.current(z), mem2)
            spikes.append(z), mems.append(mem2)
        return torch.stack(spikes), torch.stack(mems)


class Skip(Net):
    """A second way around the first neuron, and one to the output."""

    def loop(self, x):
        mem1, mem2, spikes, mems = self.lif1.reset_mem(), self.lif2.reset_mem(), [], []
        for t in range(x.size(0)):
            current = self.fc1(x[t])
            z, mem1 = self.lif1(current, mem1)
            z, mem2 = self.lif2(self.fc2(0.5 * (z + current) - mem1.detach()), mem=mem2)
            spikes.append(z), mems.append(mem2)
        return spikes, mems


class TimeLast(Net):
    """Takes its steps from the last dimension."""

    def loop(self, x):
        x, (mem1, mem2), spikes, mems = x.permute(1, 2, 0), (self.lif1.reset_mem(), self.lif2.reset_mem()), [], []
        for t in range(x.shape[-1]):
            z, mem1 = self.lif1(self.fc1(x[..., t]), mem1)
            z, mem2 = self.lif2(self.fc2(z), mem2)
            spikes.append(z), mems.append(mem2)
        return spikes, mems


class InPlace(Net):
    """Writes into a step, which torch refuses where it records gradients of several views."""

    def loop(self, x):
        mem1, mem2, spikes, mems = self.lif1.reset_mem(), self.lif2.reset_mem(), [], []
        for t, step in enumerate(x):
            z, mem1 = self.lif1(self.fc1(step), mem1)
            if t == 2:
                z *= 0.5
            z, mem2 = self.lif2(self.fc2(z), mem2)
            spikes.append(z), mems.append(mem2)
        return spikes, mems


class Data(InPlace):
    """Writes past the graph."""

    def loop(self, x):
        mem1, mem2, spikes, mems = self.lif1.reset_mem(), self.lif2.reset_mem(), [], []
        for step in x:
            z, mem1 = self.lif1(self.fc1(step), mem1)
            mem1.data.mul_(0.5)
            z, mem2 = self.lif2(self.fc2(z), mem2)
            spikes.append(z), mems.append(mem2)
        return spikes, mems


class Halved(Net):
    """Changes a state between two steps."""

    def loop(self, x):
        mem1, mem2, spikes, mems = self.lif1.reset_mem(), self.lif2.reset_mem(), [], []
        for step in x:
            z, mem1 = self.lif1(self.fc1(step), mem1)
            z, mem2 = self.lif2(self.fc2(z), mem2)
            mem2 = 0.5 * mem2
            spikes.append(z), mems.append(mem2)
        return spikes, mems


class RestsAgain(Net):
    """Begins from rest in the middle, and detaches what it knows."""

    def loop(self, x):
        mem1, mem2, spikes, mems = self.lif1.reset_mem(), self.lif2.reset_mem(), [], []
        for t, step in enumerate(x):
            if t == 5:
                mem1, mem2 = torch.zeros_like(mem1), mem2.detach()
            z, mem1 = self.lif1(self.fc1(step), mem1)
            z, mem2 = self.lif2(self.fc2(z), mem2)
            spikes.append(z), mems.append(mem2)
        return spikes, mems


class Unusual(Net):
    """Functions that have no form for all steps, and a way that depends on numbers."""

    def loop(self, x):
        mem1, mem2, spikes, mems = self.lif1.reset_mem(), self.lif2.reset_mem(), [], []
        for step in x:
            z, mem1 = self.lif1(self.fc1(step), mem1)
            current = self.fc2(z if float(self.fc1.bias.detach().sum()) < 99 else -z)
            z, mem2 = self.lif2(torch.where(z.sum(1, keepdim=True) > 1, current, -current), mem2)
            spikes.append(z), mems.append(mem2)
        return spikes, mems


class NewWeight(Net):
    """Exchanges a weight in the middle."""

    def loop(self, x):
        mem1, mem2, spikes, mems = self.lif1.reset_mem(), self.lif2.reset_mem(), [], []
        for t, step in enumerate(x):
            weight = self.fc1.weight if t < 5 else 2 * self.fc1.weight
            z, mem1 = self.lif1(functional.linear(step, weight, self.fc1.bias), mem1)
            z, mem2 = self.lif2(self.fc2(z), mem2)
            spikes.append(z), mems.append(mem2)
        return spikes, mems


class Feedback(Net):
    """Its output comes back to its first layer."""

    def __init__(self):
        super().__init__()
        self.back = nn.Linear(2, 6).double()

    def loop(self, x):
        mem1, mem2, spikes, mems = self.lif1.reset_mem(), self.lif2.reset_mem(), [], []
        z = torch.zeros(x.shape[1], 2, dtype=x.dtype)
        for step in x:
            z, mem1 = self.lif1(self.fc1(step) + self.back(z), mem1)
            z, mem2 = self.lif2(self.fc2(z), mem2)
            spikes.append(z), mems.append(mem2)
        return spikes, mems


class Images(Steps):
    """One picture, repeated."""

    steps = STEPS

    def forward(self, x):
        mem1, mem2, spikes, mems = self.lif1.reset_mem(), self.lif2.reset_mem(), [], []
        for _ in range(self.steps):
            z, mem1 = self.lif1(self.norm(self.conv(x)), mem1)
            z, mem2 = self.lif2(self.current(z), mem2)
            spikes.append(z), mems.append(mem2)
        return torch.stack(spikes), torch.stack(mems)


class Handed(Net):
    """Gives a recurrent neuron its own spikes, too."""

    def loop(self, x):
        states, mem, spikes, mems = self.lif1.reset_mem(), self.lif2.reset_mem(), [], []
        for step in x:
            states = self.lif1(self.fc1(step), *states)
            z, mem = self.lif2(self.fc2(states[0]), mem)
            spikes.append(z), mems.append(mem)
        return spikes, mems


class Concatenated(Net):
    def __init__(self):
        super().__init__()
        self.fc2 = nn.Linear(9, 2).double()

    def loop(self, x):
        mem1, mem2, spikes, mems = self.lif1.reset_mem(), self.lif2.reset_mem(), [], []
        for step in x:
            z, mem1 = self.lif1(self.fc1(step), mem1)
            z, mem2 = self.lif2(self.fc2(torch.cat([z, step], dim=1)), mem2)
            spikes.append(z), mems.append(mem2)
        return spikes, mems


class Stacked(Net):
    """Writes into what it stacks."""

    def forward(self, x):
        spikes, mems = self.loop(x)
        first, again, mems = torch.stack(spikes), torch.stack(spikes), torch.stack(mems)
        first[:3] = 0
        mems *= 0.5
        return first + again, mems


class Late(Net):
    """Writes into a value that repeats, late."""

    def loop(self, x):
        mem1, mem2, spikes, mems = self.lif1.reset_mem(), self.lif2.reset_mem(), [], []
        currents = []
        for t in range(STEPS):
            current = self.fc1(x)
            if t == STEPS - 1:
                current *= 0.5
            z, mem1 = self.lif1(current, mem1)
            z, mem2 = self.lif2(self.fc2(z), mem2)
            spikes.append(z), mems.append(mem2), currents.append(current)
        return spikes, [mem + current[:, :2] for mem, current in zip(mems, currents)]

    def forward(self, x):
        return tuple(map(torch.stack, self.loop(x)))


class Gain(Net):
    """Writes past the version of a value that is no step."""

    def loop(self, x):
        gain, mem1, mem2, spikes, mems = torch.ones(6).double(), self.lif1.reset_mem(), self.lif2.reset_mem(), [], []
        for step in x:
            z, mem1 = self.lif1(self.fc1(step), mem1)
            z, mem2 = self.lif2(self.fc2(z * gain), mem2)
            gain.data.mul_(0.9)
            spikes.append(z), mems.append(mem2)
        return spikes, mems


class Asks(Net):
    """Asks for a gradient between two steps."""

    def loop(self, x):
        spikes, mems = super().loop(x)
        if mems[-1].requires_grad:
            found = torch.autograd.grad(mems[3].sum(), mems[2], retain_graph=True, allow_unused=True)[0]
            mems[-1] = mems[-1] * (1 if found is None else 1 + found.mean())
        return spikes, mems

    def forward(self, x):
        return tuple(map(torch.stack, self.loop(x)))


class Trained(Steps):
    """Writes into its spikes, which torch refuses where it records gradients; with draws and running means."""

    late = False

    def forward(self, x):
        mem1, mem2, spikes = self.lif1.reset_mem(), self.lif2.reset_mem(), []
        for step in x:
            z, mem1 = self.lif1(self.norm(self.conv(step)), mem1)
            z, mem2 = self.lif2(self.current(z), mem2)
            if self.training or not self.late:
                z *= 0.5
            spikes.append(z)
        return torch.stack(spikes)


def graded(cls, **options):
    """A recurrent neuron whose spikes come back graded."""

    def make():
        net = Handed(cls=cls, **options)
        net.lif1.graded_spikes_factor = 1.5 * net.lif1.graded_spikes_factor
        return net

    return make


def neuron(cls, **options):
    return lambda: Net(cls=cls, **options)


def own_surrogate(input_, grad_input, spikes):
    return grad_input * 0.5 * (input_.abs() < 1)


def as_it_is(x):
    return x


WHOLE, PICTURE = (SAMPLES, STEPS, 3), (SAMPLES, 3)
RESETS = ("subtract", "zero", "none")
TO_ZERO = ((snn.Synaptic, {"alpha": 0.7}), (snn.Lapicque, {}))
NORM = {"kinds": {"normalisation": "digital"}}
ALL = {
    "both": (nets.Both, WHOLE, {}), "lists": (nets.Lists, WHOLE, {}), "counts": (nets.Counts, WHOLE, {}),
    "batch first": (nets.OutBatchFirst, WHOLE, {}), "x[:, t]": (nets.BatchFirst, WHOLE, {"prepare": as_it_is}),
    "picture": (nets.Picture, PICTURE, {"prepare": as_it_is}), "dictionary": (nets.Dictionary, WHOLE, {}),
    "flat picture": (nets.FlatPicture, (SAMPLES, 3, 1), {"prepare": as_it_is}),
    "one step": (nets.Hidden, WHOLE, {}), "states": (nets.Optional, WHOLE, {}), "nested": (nets.Nested, WHOLE, {}),
    "zeros": (nets.FixedZeros, WHOLE, {}), "records": (nets.Records, WHOLE, {}), "skip": (Skip, WHOLE, {}),
    "convolution": (Steps, (SAMPLES, STEPS, 1, 6, 6), NORM), "cat": (Concatenated, WHOLE, {}),
    "time last": (TimeLast, WHOLE, {}),
    "pictures": (Images, (SAMPLES, 1, 6, 6), {"prepare": as_it_is} | NORM),
    "zero": (neuron(snn.Leaky, reset_mechanism="zero"), WHOLE, {}),
    "none": (neuron(snn.Leaky, reset_mechanism="none"), WHOLE, {}),
    "fast sigmoid": (neuron(snn.Leaky, spike_grad=snn.surrogate.fast_sigmoid()), WHOLE, {}),
    "learned": (neuron(snn.Leaky, learn_beta=True, learn_threshold=True), WHOLE, {}),
    "graded": (neuron(snn.Leaky, graded_spikes_factor=1.5), WHOLE, {}),
    "Lapicque": (neuron(snn.Lapicque), WHOLE, {}), "RLeaky": (lambda: Handed(cls=snn.RLeaky), WHOLE, {}),
    "Synaptic": (neuron(snn.Synaptic, alpha=0.7), WHOLE, {}),
    **{f"Alpha {how}": (neuron(snn.Alpha, alpha=0.9, beta=0.8, reset_mechanism=how), WHOLE, {}) for how in RESETS},
    **{f"{cls.__name__} to zero": (neuron(cls, reset_mechanism="zero", **more), WHOLE, {}) for cls, more in TO_ZERO},
    "sigmoid": (neuron(snn.Leaky, spike_grad=snn.surrogate.sigmoid()), WHOLE, {}),
    "triangular": (neuron(snn.Leaky, spike_grad=snn.surrogate.triangular(), reset_mechanism="zero"), WHOLE, {}),
    "stacked": (Stacked, WHOLE, {}), "graded RLeaky": (graded(snn.RLeaky), WHOLE, {}),
    "graded RSynaptic": (graded(snn.RSynaptic, alpha=0.7), WHOLE, {}),
    "RSynaptic": (lambda: Handed(cls=snn.RSynaptic, alpha=0.7), WHOLE, {}),
}  # fmt: skip
"""Run ahead in every call of their neurons."""
PARTS = {
    "halved": (Halved, WHOLE, {}), "rests again": (RestsAgain, WHOLE, {}), "unusual": (Unusual, WHOLE, {}),
    "new weight": (NewWeight, WHOLE, {}), "in place": (InPlace, WHOLE, {}), "data": (Data, WHOLE, {}),
    "asks": (Asks, WHOLE, {}), "gain": (Gain, WHOLE, {}), "late": (Late, PICTURE, {"prepare": as_it_is}),
}  # fmt: skip
SHARES = {
    "halved": 4 / 7, "rests again": 5 / 7, "unusual": 4 / 7, "new weight": 5 / 7, "in place": 0, "data": 0,
    "gain": 0, "late": 0, "asks": 0,
    **dict.fromkeys(("feedback", "no delay", "RLeaky to zero", "own surrogate"), 1 / 7),
}  # fmt: skip
"""The first step of a layer whose later steps are others counts; code that writes past a graph runs step by step."""
NOT = {
    "feedback": (Feedback, WHOLE, {}), "no delay": (neuron(snn.Leaky, reset_delay=False), WHOLE, {}),
    "RLeaky to zero": (lambda: Handed(cls=snn.RLeaky, reset_mechanism="zero"), WHOLE, {}),
    "own surrogate": (neuron(snn.Leaky, spike_grad=snn.surrogate.custom_surrogate(own_surrogate)), WHOLE, {}),
}  # fmt: skip


def made(name, **more):
    make, shape, options = (ALL | PARTS | NOT)[name]
    x = x_of(*shape)
    torch.manual_seed(1)
    return nr.from_snntorch(make(), dt=1e-3, sample=x, **{"decode": counted} | options | more), x


def counted(output):
    """Logits (B, n) from all parts of an output, so that each has a gradient."""
    total = 0
    for k, part in enumerate(tensors_in(as_tuple(output))):
        flat = (part if part.ndim == 2 else part.sum(0) if len(part) == STEPS else part.sum(1)).flatten(1)
        total = total + (k + 1) * (flat.sum(-1, keepdim=True) + flat[:, :2])
    return total


def results(model, x, params=None):
    """Spikes, logits and gradients of a pass, and the lanes that served it."""
    torch.manual_seed(3)  # for dropout in training
    x = x.clone().requires_grad_()
    leaves = {name: value.detach().clone().requires_grad_() for name, value in (params or nr_params(model)).items()}
    (logits, spikes) = torch.func.functional_call(model, leaves, (x,))
    weights = torch.linspace(-1, 2, logits.numel(), dtype=logits.dtype).view_as(logits)
    total = (logits * weights).sum() + sum((k + 1) * z.sum() for k, z in enumerate(spikes.values()))
    gradients = torch.autograd.grad(total, [x, *leaves.values()], allow_unused=True)
    return spikes, logits, gradients


def nr_params(model):
    return dict(model.named_parameters())


def compared(model, x, params=None):
    """The loop ahead, whether it pays or not, against the same loop step by step; the share of calls run ahead."""
    found = model._steps
    names = {name: STEPS for name in model.links}
    try:
        model._steps = found._replace(ahead=names)
        ours, share = results(model, x, params), served(model, x)
        model._steps = found._replace(ahead=None)
        theirs = results(model, x, params)
    finally:
        model._steps = found
    assert ours[0].keys() == theirs[0].keys()
    for name, spikes in theirs[0].items():
        assert torch.equal(ours[0][name], spikes) and spikes.any(), name
    torch.testing.assert_close(ours[1], theirs[1], rtol=1e-10, atol=1e-10)
    for mine, other in zip(ours[2], theirs[2]):
        assert (mine is None) == (other is None)
        if other is not None:
            torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-10 * (1 + float(other.abs().max())))
    assert any(other is not None and other.any() for other in theirs[2])
    return share


def served(model, x):
    """The share of the calls of neurons that were run ahead in a pass."""
    lanes = model._pass(model._prepare(x), model._steps)[1].lanes
    return 0 if lanes is None else lanes.served / lanes.calls


@pytest.mark.parametrize("name", ALL | PARTS | NOT)
def test_ahead_equals_step_by_step(name):
    """Spikes bit for bit, logits and gradients to 1e-10; also on a die, where each neuron has its own numbers."""
    model, x = made(name)
    share = compared(model.eval(), x)
    assert SHARES[name] == pytest.approx(share) if name in SHARES else share == 1
    assert (model._steps.ahead is None) == (share < 2 / 3)
    torch.manual_seed(2)
    nominal = expand(nr_params(model), model.placement())
    compared(model, x, {name: value * (1 + 0.1 * torch.rand_like(value)) for name, value in nominal.items()})


@pytest.mark.parametrize("name", ["convolution", "pictures"])
def test_in_training_the_draws_are_the_loops(name):
    """Dropout draws and norms use the numbers of one step after the other, as ever."""
    model, x = made(name)
    assert 0 < compared(model.train(), x) < 1


@pytest.mark.parametrize("late", [False, True])
def test_a_second_pass_counts_once(late):
    """Code that torch refuses with gradients runs step by step; where the look cannot see it, draws and running means
    are those of one pass."""
    net, x = Trained().train(), x_of(SAMPLES, STEPS, 1, 6, 6)
    net.late = late
    model = nr.from_snntorch(net, dt=1e-3, sample=x, decode=nr.interop.decode.spike_count, **NORM)
    assert (model._steps.ahead is not None) == late
    model.train()
    for _ in range(2):
        torch.manual_seed(5)
        logits = model(x)[0]
        torch.manual_seed(5)
        torch.testing.assert_close(logits, net(x.transpose(0, 1)).sum(0))
    assert torch.equal(model._unrolled.net.norm.running_mean, net.norm.running_mean)


def test_no_gradients_and_one_step():
    """Without gradients, on one sample, and on sequences too short to pay."""
    model, x = made("both", decode=nr.interop.decode.spike_count)
    with torch.no_grad():
        for batch in (x, x[:1], x[:, :1], x[:, :2], torch.cat([x, x, x], 1)):
            logits, spikes = model(batch)
            steps, model._steps = model._steps, model._steps._replace(ahead=None)
            other, theirs = model(batch)
            model._steps = steps
            assert torch.equal(logits, other) and all(torch.equal(spikes[name], theirs[name]) for name in theirs)


def test_print_says_what_is_run_ahead(monkeypatch):
    """A few steps of a few neurons are not: there is nothing to gain."""
    assert str(made("both")[0]).splitlines()[0].endswith("run ahead")
    monkeypatch.undo()
    assert "ahead" not in str(made("both")[0])


def test_a_loop_of_another_length():
    """How often a picture is repeated may change after the look."""
    model, x = made("pictures", decode=nr.interop.decode.spike_count)
    for steps in (3, 12):
        model._unrolled.net.steps = steps
        compared(model.eval(), x)


def test_dies_in_one_batch():
    """vmap over dies equals one die after the other."""
    model, x = made("both")
    torch.manual_seed(4)
    shifts = {name: 0.1 * torch.rand(3, *value.shape).to(value) for name, value in nr_params(model).items()}
    params = {name: value * (1 + shifts[name]) for name, value in nr_params(model).items()}
    batched = torch.func.vmap(lambda p: torch.func.functional_call(model, p, (x,))[0])(params)
    for die, logits in enumerate(batched):
        own = {name: value[die] for name, value in params.items()}
        torch.testing.assert_close(logits, torch.func.functional_call(model, own, (x,))[0])


@pytest.mark.parametrize("kind", [snn.Leaky, snn.Lapicque])
def test_a_threshold_below_zero_goes_step_by_step(kind):
    """A neuron at rest is above it, so snnTorch resets before the first input, and the loops do not."""
    assert fused.has_loop(kind(beta=0.9, threshold=0.1))
    neuron = kind(beta=0.9, threshold=-0.1)
    assert not (fused.has_loop(neuron) and fused._compiles(neuron))
