"""Modules that keep state between calls: the refusal shows the lines of a module around them, and these work."""

from __future__ import annotations

import warnings

import pytest
import snntorch as snn
import torch
from torch import nn

import neurorobust as nr
from neurorobust.data import Data

DT = 1e-3
X = (torch.rand(6, 9, 3, generator=torch.Generator().manual_seed(0)) < 0.5).float()


class Whole(nn.Module):
    """The states of two neurons stay in attributes, as in many scripts."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.lif1 = nn.Linear(3, 6), snn.Leaky(beta=0.9, threshold=0.3)
        self.fc2, self.lif2 = nn.Linear(6, 2), snn.Leaky(beta=0.9, threshold=0.3)
        with torch.no_grad():
            self.fc1.weight.mul_(3), self.fc2.weight.mul_(3)
        self.begin()

    def begin(self):
        self.mem1, self.mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()

    def step(self, x):
        spikes, self.mem1 = self.lif1(self.fc1(x), self.mem1)
        return self.lif2(self.fc2(spikes), self.mem2)

    def forward(self, x):
        out = []
        for step in x:
            spikes, self.mem2 = self.step(step)
            out.append(spikes)
        return torch.stack(out)


class Step(Whole):
    """One step a call."""

    def forward(self, x):
        spikes, self.mem2 = self.step(x)
        return spikes


class Pair(Whole):
    def forward(self, x):
        spikes, self.mem2 = self.step(x)
        return spikes, self.mem2


class Containers(Whole):
    def begin(self):
        self.mems, self.state = [None], {}

    def forward(self, x):
        out = []
        for step in x:
            spikes, self.mems[0] = self.lif1(self.fc1(step), self.mems[0])
            spikes, self.state["mem"] = self.lif2(self.fc2(spikes), self.state.get("mem"))
            out.append(spikes)
        return torch.stack(out)


class Plain(nn.Module):
    """For nr.wrap: a membrane of its own, None at first."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.out = nn.Linear(3, 6), nn.Linear(6, 2)
        self.begin()

    def begin(self):
        self.v = None

    def forward(self, x):
        for step in x.unbind(1):
            v = torch.zeros(len(x), 6) if getattr(self, "v", None) is None else self.v
            self.v = 0.9 * v + torch.tanh(self.fc(step))
        return self.out(self.v)


class Missing(Plain):
    """The attribute is made in the first pass."""

    def begin(self):
        pass


class Zeros(Plain):
    """Zeros that fit any number of samples."""

    def begin(self):
        self.v = torch.zeros(1, 6)


class Inside(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([Plain()])

    def forward(self, x):
        return self.blocks[0](x)


def lines_of(error):
    """The code of a message: all after its first line."""
    head, _, code = str(error).partition("\n\n")
    assert "\n" not in head and code.startswith("class FromRest(nn.Module):")
    return code


def around(net, error):
    space = {"nn": nn, "torch": torch}
    exec(lines_of(error), space)
    return space["FromRest"](net)


def converted(net):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nr.from_snntorch(net, DT, sample=X, decode=nr.interop.decode.spike_count)


@pytest.mark.parametrize("used", [False, True], ids=["new", "used before"])
@pytest.mark.parametrize("make", [Whole, Step, Pair, Containers])
def test_the_lines_of_an_snntorch_module_work_when_copied(make, used):
    """They give the outputs of the module from rest, and an evaluation runs."""
    net = make()
    if used:
        with torch.no_grad():
            _ = net(X.transpose(0, 1) if make in (Whole, Containers) else X[:, 0])
    with pytest.raises(ValueError, match="keeps state between calls") as refused:
        converted(net)
    model = converted(around(net, refused.value))
    with torch.no_grad():
        fresh, steps = make(), X.transpose(0, 1)
        alone = fresh(steps) if make in (Whole, Containers) else [fresh(step) for step in steps]
    spikes = torch.stack([each[0] if isinstance(each, tuple) else each for each in alone])
    assert spikes.any()
    for _ in range(2):
        assert torch.equal(nr.run(model, nr.nominal(model), X), spikes.sum(0))
    assert nr.evaluate(model, Data(X, torch.arange(6) % 2), nr.mismatch(0.1), n_dies=2).score.shape == (2,)


@pytest.mark.parametrize("used", [False, True], ids=["new", "used before"])
@pytest.mark.parametrize("make", [Plain, Missing, Zeros, Inside])
def test_the_lines_of_a_wrapped_module_work_when_copied(make, used):
    net, data = make(), Data(X, torch.arange(6) % 2)
    if used:  # with another number of samples, so that it does not run now
        with torch.no_grad():
            _ = net(X[:4])
    with pytest.raises(ValueError, match=r"keeps state between calls|a pass before this one left") as refused:
        nr.evaluate(nr.wrap(net), data, nr.mismatch(0.1), n_dies=2)
    model = nr.wrap(around(net, refused.value))
    assert nr.evaluate(model, data, nr.mismatch(0.1), n_dies=2).score.shape == (2,)
    with torch.no_grad():
        fresh = make()
        assert torch.equal(nr.run(model, nr.nominal(model), X), fresh(X))


class Counts(nn.Module):
    """Adds the number of its calls: no value of the attribute makes every pass the same but the first."""

    def __init__(self):
        super().__init__()
        self.fc, self.calls = nn.Linear(27, 2), iter(range(10**9))

    def forward(self, x):
        return self.fc(x.flatten(1)) + next(self.calls)


def test_lines_that_do_not_work_are_not_shown():
    with pytest.raises(ValueError, match="keeps state between calls") as refused:
        nr.evaluate(nr.wrap(Counts()), Data(X, torch.arange(6) % 2), nr.mismatch(0.1), n_dies=2)
    assert "FromRest" not in str(refused.value)


def test_the_refused_module_is_as_it_was():
    net = Whole()
    with torch.no_grad():
        _ = net(X.transpose(0, 1))
    before = net.mem1.clone()
    with pytest.raises(ValueError, match="FromRest"):
        converted(net)
    assert torch.equal(net.mem1, before)


class Hooked(Counts):
    """A hook keeps the outputs of a part; what it keeps changes in a pass, and belongs to torch's own attributes."""

    def __init__(self):
        super().__init__()
        seen = []
        self.fc.register_forward_hook(lambda module, inputs, output: seen.append(output))


def test_the_hooks_of_a_refused_module_stay():
    net = Hooked()
    before = dict(vars(net.fc))
    with pytest.raises(ValueError, match="keeps state between calls") as refused:
        nr.evaluate(nr.wrap(net), Data(X, torch.arange(6) % 2), nr.mismatch(0.1), n_dies=2)
    assert vars(net.fc).keys() == before.keys() and len(net.fc._forward_hooks) == 1
    assert "_forward_hooks" not in str(refused.value).partition("FromRest")[2]


def test_keys_of_dictionaries_are_not_shown():
    """They may be secrets; an empty dictionary is."""
    with pytest.raises(ValueError, match="keeps state between calls") as refused:
        converted(Containers())
    assert "'mem'" not in str(refused.value) and "self.net.state = {}" in str(refused.value)
