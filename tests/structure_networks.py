"""Networks that random structures are made of: chains of parts, loops over time, snnTorch neurons."""

from __future__ import annotations

import random
from typing import Any

import snntorch as snn
import torch
from snntorch import spikegen, surrogate, utils
from structure_parts import EITHER, LEGAL, WIDTH, Part, part
from torch import Tensor, nn

STATES = {
    snn.Leaky: ("mem",),
    snn.Lapicque: ("mem",),
    snn.Synaptic: ("syn", "mem"),
    snn.RLeaky: ("spk", "mem"),
    snn.RSynaptic: ("spk", "syn", "mem"),
    snn.Alpha: ("syn_exc", "syn_inh", "mem"),
}


class Chain(nn.Module):
    """Parts one after the other, in a container: "list", "dict", "nested" or "attributes"."""

    def __init__(self, parts: list[nn.Module], container: str):
        super().__init__()
        self.container, self.count = container, len(parts)
        self.parts: Any
        if container == "list":
            self.parts = nn.ModuleList(parts)
        elif container == "dict":
            self.parts = nn.ModuleDict({f"k{i}": part for i, part in enumerate(parts)})
        elif container == "nested":
            self.parts = nn.ModuleList([nn.ModuleList(parts[:2]), nn.ModuleList(parts[2:])])
        else:
            for i, member in enumerate(parts):
                self.add_module(f"part{i}", member)

    def members(self) -> list[nn.Module]:
        if self.container == "list":
            return list(self.parts)
        if self.container == "dict":
            return list(self.parts.values())
        if self.container == "nested":
            return [member for several in self.parts for member in several]
        return [self.get_submodule(f"part{i}") for i in range(self.count)]

    def forward(self, x: Tensor) -> Tensor:
        for member in self.members():
            x = member(x)
        return x


HABITS = {
    "explicit": "hands the states from step to step",
    "hidden": "leaves the states in the neurons",
    "reset": "leaves them there and puts each neuron to rest at its start",
    "reset_twice": "the same, and again in the middle",
    "reset_net": "calls snntorch.utils.reset(self) at its start",
    "reset_class": "calls reset_hidden() of each class at its start",
    "attribute": "keeps the states in a dict of its own, begun anew in each pass",
    "carried": "keeps them there from pass to pass",
}


class Loop(Chain):
    """Parts with snnTorch neurons among them, and a loop over time of its own.

    Args:
        habit: one of HABITS. form: of the input, "time", "batch" or "picture" (shown for ``steps`` steps).
        result: "spikes", "both", "membrane" or "readout". steps: of a picture; also where "reset_twice" takes the half.
        encoded: draws its input as spikes. scribbles: doubles its input in place.
    """

    encoded = scribbles = False

    def __init__(self, parts: list[nn.Module], container: str, habit: str, form: str, result: str, steps: int):
        super().__init__(parts, container)
        self.habit, self.form, self.result, self.steps = habit, form, result, steps
        self.states: dict[int, tuple[Tensor, ...]] = {}

    def rest(self) -> None:
        if self.habit == "reset_net":
            utils.reset(self)
            return
        for neuron in self.modules():
            if isinstance(neuron, snn.SpikingNeuron):
                type(neuron).reset_hidden() if self.habit == "reset_class" else neuron.reset_mem()

    def forward(self, x: Tensor) -> Any:
        if self.encoded:
            x = spikegen.rate_conv(0.3 * x)
        if self.scribbles:
            x.mul_(2)
        steps = {"time": lambda: x, "batch": lambda: x.transpose(0, 1)}.get(self.form, lambda: [x] * self.steps)()
        if self.habit.startswith("reset"):
            self.rest()
        states = self.states if self.habit == "carried" else {}
        if self.habit == "attribute":
            self.states = states
        outputs, membranes = [], []
        for t, h in enumerate(steps):
            if self.habit == "reset_twice" and t == self.steps // 2:
                self.rest()
            for i, member in enumerate(self.members()):
                if isinstance(member, snn.SpikingNeuron):
                    h, membrane = self.spike(i, member, h, states)
                else:
                    h = member(h)
            outputs.append(h)
            membranes.append(membrane)
        out, mem = torch.stack(outputs), torch.stack(membranes)
        return {"both": (out, mem), "membrane": mem}.get(self.result, out)

    def spike(self, i: int, neuron: Any, h: Tensor, states: dict) -> tuple[Tensor, Tensor]:
        if neuron.init_hidden:
            out = neuron(h)
            return (out, neuron.mem) if isinstance(out, Tensor) else (out[0], out[-1])
        names = next(names for cls, names in STATES.items() if isinstance(neuron, cls))
        before = states[i] if i in states else tuple(torch.zeros_like(h) for _ in names)
        out = neuron(h, *before)
        states[i] = out if names[0] == "spk" else out[1:]
        return out[0], out[-1]


class Recorder(snn.Leaky):
    """Counts its spikes."""

    def forward(self, input_: Tensor, mem: Tensor | None = None) -> Any:
        out = super().forward(input_, mem)
        self.count = float((out if isinstance(out, Tensor) else out[0]).detach().sum())
        return out


class Doubled(snn.Leaky):
    """Doubles its input."""

    def forward(self, input_: Tensor, mem: Tensor | None = None) -> Any:
        return super().forward(2 * input_, mem)


class Floored(snn.Leaky):
    """Its membrane never falls below −0.2."""

    def _base_state_function(self, input_: Tensor) -> Tensor:
        return super()._base_state_function(input_).clamp(min=-0.2)


class Scaled(snn.Leaky):
    """Has a gain of its own, which is learned."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self.gain = nn.Parameter(torch.rand(()).double() + 0.5)

    def forward(self, input_: Tensor, mem: Tensor | None = None) -> Any:
        return super().forward(self.gain * input_, mem)


@part(EITHER)
def lstm_of_snntorch(r: random.Random) -> nn.Module:
    def function(s: Any, h: Tensor) -> Tensor:
        rest = torch.zeros_like(h)
        return s.cell(h, rest, rest)[2]

    return Part(function, cell=snn.SLSTM(WIDTH, WIDTH))


@part(EITHER)
def leaky_parallel(r: random.Random) -> nn.Module:
    """Takes a whole sequence; here it reads the samples as the steps of one."""
    return Part(lambda s, h: s.cell(h).to(h) + h, cell=snn.LeakyParallel(WIDTH, WIDTH))


SUBCLASSES = [(Recorder, LEGAL), (Doubled, EITHER), (Floored, EITHER), (Scaled, EITHER)]


class InFloat64(torch.autograd.Function):
    """A step, and one of snnTorch's slopes without its detour through float32."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, slope: Any) -> Tensor:
        ctx.save_for_backward(u)
        ctx.slope = slope
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return gradient * ctx.slope(*ctx.saved_tensors), None


SLOPES = {
    "fast_sigmoid": (lambda: surrogate.fast_sigmoid(slope=10), lambda u: 1 / (10 * u.abs() + 1) ** 2),
    "atan": (lambda: surrogate.atan(alpha=3.0), lambda u: 1.5 / (1 + (torch.pi / 2 * 3 * u) ** 2)),
    "default": (lambda: None, lambda u: 1 / (1 + (torch.pi * u) ** 2)),
}


def without_detour(net: nn.Module) -> None:
    """Give the neurons of a network of the reference their spike function in the type of their membrane."""
    for neuron in net.modules():
        if isinstance(neuron, snn.SpikingNeuron) and hasattr(neuron, "slope"):
            neuron.spike_grad = lambda u, slope=neuron.slope: InFloat64.apply(u, slope)


def random_neuron(r: random.Random, shape: tuple[int, ...], **options: Any) -> tuple[Any, str, str]:
    """A random neuron for a layer of this shape, words for it, and its verdict."""
    cls = r.choice([snn.Leaky] * 5 + [snn.Synaptic, snn.RLeaky, snn.RSynaptic, snn.Lapicque, snn.Alpha])
    verdict = LEGAL
    if cls is snn.Leaky and r.random() < 0.3:
        cls, verdict = r.choice(SUBCLASSES)
    per_neuron, learn, slope = r.random() < 0.4, r.random() < 0.4, r.choice(sorted(SLOPES))
    reset, delay, graded = r.choice(["subtract", "subtract", "zero", "none"]), r.random() < 0.75, r.random() < 0.15

    def number(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(shape if per_neuron else (), dtype=torch.float64)

    options |= {"threshold": number(0.2, 0.6), "learn_threshold": learn, "reset_mechanism": reset}
    options |= {"spike_grad": SLOPES[slope][0]()}
    if graded := graded and issubclass(cls, snn.Leaky):
        options |= {"graded_spikes_factor": 0.7}
    beta, alpha = number(0.3, 0.8), number(0.82, 0.92)
    if cls is snn.Lapicque:
        made = cls(R=0.5 + r.random(), C=2 + r.random(), time_step=r.choice([1, 0.7]), **options)
    elif cls is snn.Alpha:
        made = cls(alpha=alpha, beta=beta, learn_beta=learn, **options)
    else:
        if cls in (snn.RLeaky, snn.RSynaptic):
            one_to_one = {"V": number(-0.5, 0.5), "all_to_all": False}
            options |= r.choice([{"linear_features": shape[0]}, one_to_one]) if len(shape) == 1 else one_to_one
        if cls in (snn.Synaptic, snn.RSynaptic):
            options |= {"alpha": alpha, "learn_alpha": learn}
        made = cls(beta=beta, learn_beta=learn, reset_delay=delay or cls is snn.RSynaptic, **options)
    made.slope = SLOPES[slope][1]
    words = [cls.__name__, reset, *["per neuron"] * per_neuron, *["learned"] * learn, *["graded"] * graded]
    return made, " ".join([*words, *["no delay"] * (not delay)]), verdict


def promoted(net: nn.Module, dtype: torch.dtype) -> nn.Module:
    """snnTorch's spikes are float32; a factor with a dimension gives them its type without changing any."""
    net = net.to(dtype)
    for module in net.modules():
        if isinstance(module, snn.SpikingNeuron):
            module.graded_spikes_factor = module.graded_spikes_factor.reshape(1).to(dtype)
    return net
