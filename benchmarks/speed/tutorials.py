"""W10: the networks of snnTorch's tutorials through ``nr.from_snntorch``, against themselves.

Each runs forward and backward with the same weights and inputs, in turns: the user's own loop, and our network of it.
Sizes are those of the tutorials, but for 32 samples instead of 128 in convolutions, and fewer steps of N-MNIST.
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import snntorch
import torch
from snntorch import surrogate
from torch import Tensor, nn
from torch.nn import functional

import neurorobust as nr
from neurorobust.interop.decode import spike_count


@dataclass(frozen=True)
class Tutorial:
    """A network of a tutorial.

    Attributes:
        about: what it is. make: builds it. x: makes its samples, batch first. prepare: from samples to its input; None
            for time first. by_step: one call computes one step.
    """

    about: str
    make: Callable[[], nn.Module]
    x: Callable[[], Tensor]
    prepare: Callable[[Tensor], Tensor] | None = None
    by_step: bool = False


@dataclass(frozen=True)
class Ratio:
    """CPU time of forward and backward, s, of the user's loop and of ours; the share of logits that are the same."""

    name: str
    theirs: float
    ours: float
    same: float

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.theirs / self.ours


class Feedforward(nn.Module):
    """fc – neuron – fc – neuron with a loop over a sequence, or over one picture that is repeated."""

    def __init__(self, sizes: tuple[int, int, int], neuron: Callable[[], Any], repeated: int = 0):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(sizes[0], sizes[1]), neuron()
        self.fc2, self.lif2 = nn.Linear(sizes[1], sizes[2]), neuron()
        self.repeated = repeated

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        spikes, membranes = [], []
        for step in range(self.repeated or x.size(0)):
            cur1 = self.fc1(x if self.repeated else x[step])
            spk1, mem1 = self.lif1(cur1, mem1)
            cur2 = self.fc2(spk1)
            spk2, mem2 = self.lif2(cur2, mem2)
            spikes.append(spk2)
            membranes.append(mem2)
        return torch.stack(spikes, dim=0), torch.stack(membranes, dim=0)


class Single(nn.Module):
    """Neurons that a current or spikes reach through one weight each, with all states given from step to step."""

    def __init__(self, neuron: Any, weight: float):
        super().__init__()
        self.fc, self.lif = nn.Linear(1, 1, bias=False), neuron
        nn.init.constant_(self.fc.weight, weight)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        states = self.lif.reset_mem()
        states = states if isinstance(states, tuple) else (states,)
        spikes, membranes = [], []
        for step in range(x.size(0)):
            spk, *states = self.lif(self.fc(x[step]), *states)
            spikes.append(spk)
            membranes.append(states[-1])
        return torch.stack(spikes), torch.stack(membranes)


class Recurrent(Single):
    """A layer with recurrence: its spikes are a state too."""

    def __init__(self, neuron: Any, n_in: int, n: int):
        super().__init__(neuron, 0.0)
        self.fc = nn.Linear(n_in, n)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        states = self.lif.reset_mem()
        spikes, membranes = [], []
        for step in range(x.size(0)):
            states = self.lif(self.fc(x[step]), *states)
            spikes.append(states[0])
            membranes.append(states[-1])
        return torch.stack(spikes), torch.stack(membranes)


class Convolutional(nn.Module):
    """The class of tutorial 6, with a picture that is repeated."""

    def __init__(self, steps: int):
        super().__init__()
        self.conv1, self.lif1 = nn.Conv2d(1, 12, 5), leaky(0.5)
        self.conv2, self.lif2 = nn.Conv2d(12, 64, 5), leaky(0.5)
        self.fc1, self.lif3 = nn.Linear(64 * 4 * 4, 10), leaky(0.5)
        self.steps = steps

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mem1, mem2, mem3 = self.lif1.init_leaky(), self.lif2.init_leaky(), self.lif3.init_leaky()
        spikes, membranes = [], []
        for _ in range(self.steps):
            cur1 = functional.max_pool2d(self.conv1(x), 2)
            spk1, mem1 = self.lif1(cur1, mem1)
            cur2 = functional.max_pool2d(self.conv2(spk1), 2)
            spk2, mem2 = self.lif2(cur2, mem2)
            cur3 = self.fc1(spk2.view(x.size(0), -1))
            spk3, mem3 = self.lif3(cur3, mem3)
            spikes.append(spk3)
            membranes.append(mem3)
        return torch.stack(spikes), torch.stack(membranes)


def leaky(beta: float, **options: Any) -> Any:
    """A neuron as the tutorials make it."""
    return snntorch.Leaky(beta=beta, spike_grad=surrogate.fast_sigmoid(slope=25), **options)


def convolutional_row(channels: int, middle: int, positions: int) -> nn.Sequential:
    """The rows of tutorials 6 and 7."""
    return nn.Sequential(
        nn.Conv2d(channels, 12, 5), nn.MaxPool2d(2), leaky(0.5, init_hidden=True),
        nn.Conv2d(12, middle, 5), nn.MaxPool2d(2), leaky(0.5, init_hidden=True),
        nn.Flatten(), nn.Linear(middle * positions, 10), leaky(0.5, init_hidden=True, output=True),
    )  # fmt: skip


def spikes(rate: float, *shape: int) -> Tensor:
    """Random events."""
    return (torch.rand(*shape) < rate).float()


def as_it_is(x: Tensor) -> Tensor:
    """Samples first."""
    return x


def repeated(x: Tensor) -> Tensor:
    """One picture in each of 25 steps."""
    return x.expand(25, *x.shape)


TUTORIALS = {
    "2 Lapicque": Tutorial(
        "1 neuron, 200 steps of a current",
        lambda: Single(snntorch.Lapicque(R=5.1, C=5e-3, time_step=1e-3), 1.0),
        lambda: torch.full((1, 200, 1), 0.21),
    ),
    "3 feedforward": Tutorial(
        "784–1000–10, one sample of 200 steps",
        lambda: Feedforward((784, 1000, 10), lambda: snntorch.Leaky(beta=0.99)),
        lambda: spikes(0.5, 1, 200, 784),
    ),
    "4 Synaptic": Tutorial(
        "1 neuron, 200 steps of events",
        lambda: Single(snntorch.Synaptic(alpha=0.9, beta=0.8), 0.5),
        lambda: spikes(0.3, 1, 200, 1),
    ),
    "4 Alpha": Tutorial(
        "1 neuron, 200 steps of events",
        lambda: Single(snntorch.Alpha(alpha=0.8, beta=0.7), 0.85),
        lambda: spikes(0.5, 1, 200, 1),
    ),
    "5 MNIST": Tutorial(
        "784–1000–10, 128 pictures, 25 steps",
        lambda: Feedforward((784, 1000, 10), lambda: snntorch.Leaky(beta=0.95), 25),
        lambda: torch.rand(128, 784),
        as_it_is,
    ),
    "5 MNIST, events": Tutorial(
        "784–1000–10, 128 samples of 25 steps of events",
        lambda: Feedforward((784, 1000, 10), lambda: snntorch.Leaky(beta=0.95)),
        lambda: spikes(0.2, 128, 25, 784),
    ),
    "6 convolutions, a row": Tutorial(
        "12C5–P2–64C5–P2–10, 32 pictures, 25 steps",
        lambda: convolutional_row(1, 64, 16),
        lambda: torch.rand(32, 1, 28, 28),
        repeated,
        by_step=True,
    ),
    "6 convolutions, a class": Tutorial(
        "12C5–P2–64C5–P2–10, 32 pictures, 25 steps",
        lambda: Convolutional(25),
        lambda: torch.rand(32, 1, 28, 28),
        as_it_is,
    ),
    "7 N-MNIST": Tutorial(
        "12C5–P2–32C5–P2–10, 16 samples of 30 steps of events",
        lambda: convolutional_row(2, 32, 25),
        lambda: spikes(0.05, 16, 30, 2, 34, 34),
        by_step=True,
    ),
    "RLeaky": Tutorial(
        "64 events – 128 recurrent neurons, 32 samples of 50 steps",
        lambda: Recurrent(snntorch.RLeaky(beta=0.9, linear_features=128), 64, 128),
        lambda: spikes(0.2, 32, 50, 64),
    ),
}


def compare(name: str, runs: int) -> Ratio:
    """One network in turns, the least CPU time of so many runs of each."""
    tutorial = TUTORIALS[name]
    torch.manual_seed(0)
    net, x = tutorial.make(), tutorial.x()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options: dict[str, Any] = {} if tutorial.prepare is None else {"prepare": tutorial.prepare}
        model = nr.from_snntorch(net, dt=1e-3, sample=x[:2], decode=spike_count, **options)
    inputs = x.transpose(0, 1) if tutorial.prepare is None else tutorial.prepare(x)

    neurons = [
        layer for layer in net.modules() if isinstance(layer, snntorch.SpikingNeuron)
    ]  # utils.reset takes all there are

    def theirs() -> Tensor:
        if not tutorial.by_step:
            return net(inputs)[0].sum(0)
        for layer in neurons:
            layer.reset_mem()
        return torch.stack([net(step)[0] for step in inputs]).sum(0)

    def ours() -> Tensor:
        return model(x)[0]

    same = float((theirs() == ours()).float().mean())
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs + 1):
        for run, module, found in zip((theirs, ours), (net, model), times):
            start = time.process_time()
            module.zero_grad()
            (run() ** 2).sum().backward()
            found.append(time.process_time() - start)
    return Ratio(name, min(times[0][1:]), min(times[1][1:]), same)


def comparisons(runs: int, advance: Callable[..., None] = lambda *_: None) -> Iterator[Ratio]:
    """Every network of :data:`TUTORIALS`."""
    for name in TUTORIALS:
        advance(name)
        yield compare(name, runs)


def summary(found: list[Ratio]) -> dict[str, float]:
    """Median and minimum of the ratios."""
    ratios = [each.ratio for each in found]
    return {"median": statistics.median(ratios), "minimum": min(ratios)}
