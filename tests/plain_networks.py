"""Networks as users of snnTorch write them, for the tests of the plain call; each differs in one thing.

They have no types, as those of users.
"""

# mypy: ignore-errors

from __future__ import annotations

import inspect

import snntorch as snn
import torch
from conftest import draw
from snntorch import utils
from structure_networks import promoted
from torch import nn

STEPS = 7


def x_of(*shape):
    return 2 * (draw(1, *shape) > 0.2).double()


class Net(nn.Module):
    """fc1 – lif1 – fc2 – lif2; subclasses change what goes in and what comes out."""

    def __init__(self, n_in=3, cls=snn.Leaky, last="subtract", **options):
        super().__init__()
        torch.manual_seed(0)
        options = {"beta": 0.8, "threshold": 0.3} | options
        more = {"linear_features": 6} if cls in (snn.RLeaky, snn.RSynaptic) else {}
        self.fc1, self.lif1 = nn.Linear(n_in, 6), cls(**options, **more)
        self.fc2, self.lif2 = nn.Linear(6, 2), snn.Leaky(beta=0.8, threshold=0.3, reset_mechanism=last)
        self.double()
        with torch.no_grad():
            self.fc1.weight.mul_(3), self.fc2.weight.mul_(3)
        promoted(self, torch.float64)

    def steps(self, x):
        """One current of the first layer per step."""
        return (self.fc1(step) for step in x)

    def loop(self, x):
        state = self.lif1.reset_mem()
        state, mem, spikes, mems = list(state) if isinstance(state, tuple) else [state], self.lif2.reset_mem(), [], []
        for current in self.steps(x):
            z, *state = self.lif1(current, *state)
            z, mem = self.lif2(self.fc2(z), mem)
            spikes.append(z), mems.append(mem)
        return spikes, mems

    def forward(self, x):
        return torch.stack(self.loop(x)[0])


class Both(Net):
    def forward(self, x):
        return tuple(map(torch.stack, self.loop(x)))


class Lists(Net):
    def forward(self, x):
        return self.loop(x)


class SpikeList(Net):
    def forward(self, x):
        return self.loop(x)[0]


class Membranes(Net):
    def forward(self, x):
        return torch.stack(self.loop(x)[1])


class Counts(Net):
    def forward(self, x):
        return sum(self.loop(x)[0])


class MembraneFirst(Net):
    def forward(self, x):
        return tuple(map(torch.stack, self.loop(x)[::-1]))


class OutBatchFirst(Net):
    def forward(self, x):
        return torch.stack(self.loop(x)[0], dim=1)


class OutTimeLast(Net):
    def forward(self, x):
        return torch.stack(self.loop(x)[0], dim=-1)


class BatchFirst(Net):
    def steps(self, x):
        return (self.fc1(x[:, t]) for t in range(x.shape[1]))


class Picture(Net):
    def steps(self, x):
        return (self.fc1(x) for _ in range(STEPS))


class FlatPicture(Picture):
    def steps(self, x):
        return super().steps(x.view(x.size(0), -1))


class Convolution(Net):
    def __init__(self):
        super().__init__(2 * 2 * 2)
        self.conv = nn.Conv2d(1, 2, 3).double()

    def steps(self, x):
        return (self.fc1(torch.max_pool2d(self.conv(x), 2).flatten(1)) for _ in range(STEPS))


class Hidden(nn.Module):
    """One call computes one step; its user resets it and loops outside."""

    def __init__(self, n_in=3):
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.fc2 = nn.Linear(n_in, 6), nn.Linear(6, 2)
        self.lif1, self.lif2 = (snn.Leaky(beta=0.8, threshold=0.3, init_hidden=True, output=k) for k in (False, True))
        self.double()
        with torch.no_grad():
            self.fc1.weight.mul_(3), self.fc2.weight.mul_(3)
        promoted(self, torch.float64)

    def forward(self, x):
        return self.lif2(self.fc2(self.lif1(self.fc1(x))))


class Dictionary(Net):
    def forward(self, x):
        spikes, mems = self.loop(x)
        return {"membrane": torch.stack(mems), "spikes": torch.stack(spikes)}


class ReadOut(Net):
    """The currents of the last layer, which no neuron takes, and the spikes of the only neurons."""

    def forward(self, x):
        mem, currents, spikes = self.lif1.reset_mem(), [], []
        for current in self.steps(x):
            z, mem = self.lif1(current, mem)
            currents.append(self.fc2(z)), spikes.append(z)
        return torch.stack(currents), torch.stack(spikes)


class LastStep(Net):
    def forward(self, x):
        spikes, mems = self.loop(x)
        return spikes[-1], mems[-1], torch.stack(spikes), None


class Hiddens(Net):
    """Records of two layers of one size, the last layer's second."""

    def __init__(self):
        super().__init__()
        self.fc2, self.lif2 = nn.Linear(6, 6).double(), self.lif2
        with torch.no_grad():
            self.fc2.weight.mul_(3)

    def forward(self, x):
        mem1, mem2, steps = self.lif1.reset_mem(), self.lif2.reset_mem(), []
        for current in self.steps(x):
            y, mem1 = self.lif1(current, mem1)
            z, mem2 = self.lif2(self.fc2(y), mem2)
            steps.append((y, mem1, z))
        return tuple(map(torch.stack, zip(*steps)))


class Counted(Net):
    def forward(self, x, n):
        return super().forward(torch.stack([x[t] for t in range(n)]))


class WithState(nn.Module):
    """One call computes one step; its caller keeps the state."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif = nn.Linear(3, 2).double(), snn.Leaky(beta=0.8, threshold=0.3)
        promoted(self, torch.float64)

    def forward(self, x, mem):
        return self.lif(self.fc(x), mem)


class Optional(Net):
    def forward(self, x, mem1=None, mem2=None):
        mem1 = self.lif1.reset_mem() if mem1 is None else mem1
        mem2 = self.lif2.reset_mem() if mem2 is None else mem2
        z, mem1 = self.lif1(self.fc1(x), mem1)
        z, mem2 = self.lif2(self.fc2(z), mem2)
        return z, mem1, mem2


class Nested(Optional):
    def forward(self, x, state=None):
        z, *states = super().forward(x, *(state or (None, None)))
        return z, tuple(states)


class Recurrent(nn.Module):
    """Gives its states in another order than it takes them, and takes one that acts on nothing."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif = nn.Linear(3, 2).double(), snn.RLeaky(beta=0.8, threshold=0.3, linear_features=2)
        self.double(), promoted(self, torch.float64)

    def forward(self, x, spk, mem, unused):
        spk, mem = self.lif(self.fc(x), spk, mem)
        return mem, spk, torch.zeros(1)


class Forgets(WithState):
    """Takes a state, and does not give it back."""

    def forward(self, x, mem):
        return self.lif(self.fc(x), mem)[0]


class Together(Recurrent):
    """Both states are at rest if the last of them is left out."""

    def forward(self, x, spk=None, mem=None):
        spk, mem = self.lif.reset_mem() if mem is None else (spk, mem)
        spk, mem = self.lif(self.fc(x), spk, mem)
        return 2 * spk, spk, mem


class Swapped(nn.Module):
    """Two states that are equal after one step from rest, returned in another order than they are taken."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif = nn.Linear(3, 2), snn.Synaptic(alpha=0.7, beta=0.8, threshold=0.3)
        self.double()
        with torch.no_grad():
            self.fc.weight.mul_(3)
        promoted(self, torch.float64)

    def forward(self, x, syn=None, mem=None):
        if mem is None:
            syn, mem = self.lif.reset_mem()
        spk, syn, mem = self.lif(self.fc(x), syn, mem)
        return spk, mem, syn


def swapped_by_hand(net, x):
    """The user's loop: logits."""
    syn = mem = None
    outputs = []
    for step in x.transpose(0, 1):
        spk, mem, syn = net(step, syn, mem)
        outputs.append(spk)
    return torch.stack(outputs).sum(0)


class LowPass(WithState):
    """Its read-out is a state that no neuron computes."""

    def forward(self, x, mem=None, out=None):
        z, mem = self.lif(self.fc(x), self.lif.reset_mem() if mem is None else mem)
        out = z if out is None else 0.9 * out + z
        return out, mem


class OwnRecurrence(WithState):
    """Its last spikes come back through weights of its own."""

    def __init__(self):
        super().__init__()
        self.back = nn.Linear(2, 2).double()

    def forward(self, x, mem=None, spk=None):
        current = self.fc(x) if spk is None else self.fc(x) + self.back(spk)
        spk, mem = self.lif(current, self.lif.reset_mem() if mem is None else mem)
        return spk, mem


class FromZero(Hidden):
    """The neurons keep their states; the caller keeps another one, whose default is a number."""

    def forward(self, x, out=0.0):
        return 0.9 * out + super().forward(x)[0]


class Empty(WithState):
    """Takes a state that no neuron computes, as an empty tensor at rest."""

    def forward(self, x, mem, trace):
        z, mem = self.lif(self.fc(x), mem)
        trace = 0.9 * trace + z if trace.numel() else z
        return trace, mem, trace


class Masked(WithState):
    """Takes a mask that may be left out, and a switch."""

    def forward(self, x, mem=None, mask=None, double=False):
        x = x if mask is None else x * mask
        z, mem = self.lif(self.fc(2 * x if double else x), self.lif.reset_mem() if mem is None else mem)
        return z, mem


class HiddenFirst(Net):
    """Spikes of its only neurons, and logits from them."""

    def forward(self, x):
        mem, spikes = self.lif1.reset_mem(), []
        for current in self.steps(x):
            z, mem = self.lif1(current, mem)
            spikes.append(z)
        return torch.stack(spikes), self.fc2(sum(spikes))


class Records(Net):
    """Spikes and membranes of both layers over time."""

    def records(self, x):
        mem1, mem2, steps = self.lif1.reset_mem(), self.lif2.reset_mem(), []
        for current in self.steps(x):
            y, mem1 = self.lif1(current, mem1)
            z, mem2 = self.lif2(self.fc2(y), mem2)
            steps.append((y, z, mem1, mem2))
        return tuple(map(torch.stack, zip(*steps)))


class Named(Records):
    """A loss, a record of a hidden layer, and logits."""

    def forward(self, x):
        hidden, _, _, mem = self.records(x)
        return {"loss": mem.mean(), "hidden": hidden, "logits": mem.sum(0)}


class AllFire(Records):
    """Two layers of one size; on the sample each of their neurons fires in every step."""

    def __init__(self):
        super().__init__()
        self.fc2 = nn.Linear(6, 6).double()
        with torch.no_grad():
            self.fc1.bias.fill_(99), self.fc2.bias.fill_(99)

    def forward(self, x):
        return self.records(x)


class StepsLast(ReadOut):
    """A read-out (B, n, T)."""

    def forward(self, x):
        return super().forward(x)[0].permute(1, 2, 0)


class InAList(Net):
    """Its first neuron is in a plain list."""

    def __init__(self):
        super().__init__()
        self.layers = [self.lif1]
        del self.lif1

    lif1 = property(lambda self: self.layers[0])


class Resets(Hidden):
    """Runs its own loop, and takes a single step too; it forgets everything before each call."""

    def forward(self, x):
        utils.reset(self)
        for t in range(x.shape[1]) if x.ndim == 4 else (0,):
            step = x[:, t, 0] if x.ndim == 4 else x[:, 0]
            _, mem = self.lif2(self.fc2(self.lif1(self.fc1(step))))
        return mem


def handed(net, x, *states, part=0):
    """The loop of a user who keeps the states: logits."""
    names = list(inspect.signature(net.forward).parameters)[1:]
    given, outputs = dict(zip(names, states)), []
    for step in x.transpose(0, 1):
        output = net(step, **given)
        outputs.append(output[part])
        if "state" in names:
            given = {"state": output[1]}
        elif "unused" in names:
            given = {"spk": output[1], "mem": output[0], "unused": None}
        else:
            given = dict(zip(names, output[1:]))
    return torch.stack(outputs).sum(0)


class FixedView(Net):
    def steps(self, x):
        return (self.fc1(step.reshape(5, 3)) for step in x)


class FixedZeros(Net):
    def loop(self, x):
        mem1, mem2, spikes, mems = torch.zeros(5, 6).double(), torch.zeros(5, 2).double(), [], []
        for current in self.steps(x):
            z, mem1 = self.lif1(current, mem1)
            z, mem2 = self.lif2(self.fc2(z), mem2)
            spikes.append(z), mems.append(mem2)
        return spikes, mems


def row(last="subtract", **options):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Flatten(), nn.Linear(3, 6), snn.Leaky(beta=0.8, threshold=0.3, init_hidden=True), nn.Linear(6, 2),
        snn.Leaky(beta=0.8, threshold=0.3, init_hidden=True, reset_mechanism=last, **options),
    ).double()  # fmt: skip
    with torch.no_grad():
        net[1].weight.mul_(3), net[3].weight.mul_(3)
    return promoted(net, torch.float64)


def stepped(net, x):
    """The user's loop outside of the module: spikes and membranes of each step."""
    utils.reset(net)
    steps = [net(step) for step in x.transpose(0, 1)]
    return torch.stack([step[0] for step in steps]), torch.stack([step[1] for step in steps])
