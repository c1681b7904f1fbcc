"""Random module structures, each from one seed: plain torch modules and snnTorch networks, made of parts.

:func:`structure` makes one, :func:`own_logits` runs it without the package. A structure has the worst verdict of its
parts (``structure_parts.py``). ``test_structures.py`` compares.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import snntorch as snn
import torch
from conftest import draw
from snntorch import spikegen, surrogate, utils
from structure_parts import CLASSES, EITHER, ILLEGAL, INPUTS, LEGAL, PARTS, SAMPLES, STEPS, WIDTH
from torch import Tensor, nn

from neurorobust.interop.kinds import NORMS

DT = 1e-3
STATES = {
    snn.Leaky: ("mem",),
    snn.Lapicque: ("mem",),
    snn.Synaptic: ("syn", "mem"),
    snn.RLeaky: ("spk", "mem"),
    snn.RSynaptic: ("spk", "syn", "mem"),
    snn.Alpha: ("syn_exc", "syn_inh", "mem"),
}
REMEMBER = {"batch_norm_of_the_batch", "buffer_state", "normalised_in_place", "overwritten"}  # what a pass did
# Kinds of the names that torch does not use.
KINDS = {"*gain": "weight", "*matrices.*": "weight", "*raw": "weight", "*original*": "weight", "*weight_orig": "weight"}


@dataclass(frozen=True)
class Structure:
    """One random structure.

    Attributes:
        seed: makes it again. words: describe it. verdict: of its worst part. spiking: an snnTorch network.
        build: makes the module, the same every time. x: samples, batch first. kinds: of odd names.
        prepare, decode: as in from_snntorch; decode is None for a plain module.
        alone: one sample can go through by itself. inert: names of weights that do not act.
        ran: the module has run once before the package sees it. first: the package's first look.
    """

    seed: int
    words: tuple[str, ...]
    verdict: str
    spiking: bool
    build: Callable[[], nn.Module]
    x: Tensor
    kinds: dict[str, str]
    prepare: Callable[[Tensor], Tensor] | None = None
    decode: Callable[[Any], Tensor] | None = None
    alone: bool = True
    inert: tuple[str, ...] = ()
    ran: bool = False
    first: str = "run"

    def __str__(self) -> str:
        return f"structure {self.seed} ({self.verdict}): " + ", ".join(self.words)


class Chain(nn.Module):
    """Parts one after the other, in a container of some kind; the last part gives the logits."""

    def __init__(self, parts: list[nn.Module], container: str):
        super().__init__()
        self.container, self.count = container, len(parts)
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


class Loop(Chain):
    """Parts with snnTorch neurons among them, and a loop over time of its own.

    Args:
        habit: "explicit" hands states from step to step; "hidden" leaves them in the neurons; "reset", "reset_net" and
            "reset_class" put them to rest in forward, "reset_twice" in the middle too.
        form: of the input: "time", "batch" or "picture".
        result: "spikes", "both", "membrane" or "readout".
    """

    def __init__(self, parts: list[nn.Module], container: str, habit: str, form: str, result: str):
        super().__init__(parts, container)
        self.habit, self.form, self.result, self.encode = habit, form, result, False

    def rest(self) -> None:
        if self.habit == "reset_net":
            utils.reset(self)
        for neuron in self.modules():
            if isinstance(neuron, snn.SpikingNeuron) and self.habit != "reset_net":
                type(neuron).reset_hidden() if self.habit == "reset_class" else neuron.reset_mem()

    def forward(self, x: Tensor) -> Any:
        if self.encode:
            x = spikegen.rate_conv(0.3 * x)
        steps = {"time": lambda: x, "batch": lambda: x.transpose(0, 1), "picture": lambda: [x] * STEPS}[self.form]()
        if self.habit.startswith("reset"):
            self.rest()
        states: dict[int, tuple[Tensor, ...]] = {}
        outputs, membranes = [], []
        for t, h in enumerate(steps):
            if self.habit == "reset_twice" and t == STEPS // 2:
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
        if self.habit != "explicit":
            out = neuron(h)
            return (out, neuron.mem) if isinstance(out, Tensor) else (out[0], out[-1])
        before = states.get(i)
        if before is None:
            before = tuple(torch.zeros_like(h) for _ in states_of(neuron))
        out = neuron(h, *before)
        states[i] = out if states_of(neuron)[0] == "spk" else out[1:]
        return out[0], out[-1]


def states_of(neuron: Any) -> tuple[str, ...]:
    """The states of a neuron, in the order in which its forward takes them."""
    return next(states for cls, states in STATES.items() if isinstance(neuron, cls))


# Neurons --------------------------------------------------------------------------------------------------------------


class Recorder(snn.Leaky):
    """Counts its spikes."""

    def forward(self, input_, mem=None):
        out = super().forward(input_, mem)
        self.count = float((out if isinstance(out, Tensor) else out[0]).detach().sum())
        return out


class Doubled(snn.Leaky):
    """Doubles its input."""

    def forward(self, input_, mem=None):
        return super().forward(2 * input_, mem)


class Floored(snn.Leaky):
    """Its membrane never falls below −0.2."""

    def _base_state_function(self, input_):
        return super()._base_state_function(input_).clamp(min=-0.2)


class InFloat64(torch.autograd.Function):
    """A step, and one of snnTorch's slopes without its detour through float32."""

    @staticmethod
    def forward(ctx, u, slope):
        ctx.save_for_backward(u)
        ctx.slope = slope
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.slope(*ctx.saved_tensors), None


SLOPES = {
    "fast_sigmoid": (lambda: surrogate.fast_sigmoid(slope=10), lambda u: 1 / (10 * u.abs() + 1) ** 2),
    "atan": (lambda: surrogate.atan(alpha=3.0), lambda u: 1.5 / (1 + (torch.pi / 2 * 3 * u) ** 2)),
    "default": (lambda: None, lambda u: 1 / (1 + (torch.pi * u) ** 2)),
}


def neuron(r: random.Random, n: int, hidden: bool, output: bool) -> tuple[Any, list[str], str]:
    """A random neuron of n units, words for it, and its verdict."""
    cls = r.choice([snn.Leaky] * 5 + [snn.Synaptic, snn.RLeaky, snn.RSynaptic, snn.Lapicque, snn.Alpha] * 1)
    verdict = LEGAL
    if cls is snn.Leaky and r.random() < 0.25:
        cls, verdict = r.choice([(Recorder, LEGAL), (Doubled, EITHER), (Floored, EITHER)])
    per_neuron, learn, slope = r.random() < 0.4, r.random() < 0.4, r.choice(sorted(SLOPES))
    reset = r.choice(["subtract", "subtract", "zero", "none"])

    def number(low: float, high: float) -> Tensor:
        shape = (n,) if per_neuron else ()
        return torch.tensor(low).double() + (high - low) * torch.rand(shape, dtype=torch.float64)

    options: dict[str, Any] = {"threshold": number(0.2, 0.6), "learn_threshold": learn, "reset_mechanism": reset}
    options |= {"spike_grad": SLOPES[slope][0](), "init_hidden": hidden, "output": output and hidden}
    beta, alpha, delay = number(0.3, 0.8), number(0.82, 0.92), r.random() < 0.75
    learned = {"learn_beta": learn}
    if cls is snn.Lapicque:
        made = cls(R=0.5 + r.random(), C=2 + r.random(), time_step=r.choice([1, 0.7]), **options)
    elif cls is snn.Alpha:
        made = cls(alpha=alpha, beta=beta, **learned, **options)
    else:
        if cls in (snn.RLeaky, snn.RSynaptic):
            learned |= r.choice([{"linear_features": n}, {"V": number(-0.5, 0.5), "all_to_all": False}])
        if cls in (snn.Synaptic, snn.RSynaptic):
            learned |= {"alpha": alpha, "learn_alpha": learn}
        made = cls(beta=beta, reset_delay=delay or cls is snn.RSynaptic, **learned, **options)
    made.slope = SLOPES[slope][1]
    words = [cls.__name__, reset, *["per neuron"] * per_neuron, *["learned"] * learn]
    return made, [" ".join([*words, *["no delay"] * (not delay)])], verdict


def promoted(net: nn.Module) -> nn.Module:
    """snnTorch's spikes are float32; a factor of 1 with a dimension turns them into float64 without changing any."""
    for module in net.modules():
        if isinstance(module, snn.SpikingNeuron):
            module.graded_spikes_factor = module.graded_spikes_factor.reshape(1).double()
    return net


# Structures -----------------------------------------------------------------------------------------------------------


def structure(seed: int) -> Structure:
    """The structure of a seed."""
    r = random.Random(seed)
    return _spiking(seed, r) if r.random() < 0.5 else _plain(seed, r)


def _chosen(r: random.Random, most: int) -> list[str]:
    """Names of up to so many parts: nine in ten structures have none that is illegal."""
    wanted = r.choices([LEGAL, EITHER, ILLEGAL], [0.65, 0.15, 0.2])[0]
    names = {verdict: [name for name, (v, _) in PARTS.items() if v == verdict] for verdict in (LEGAL, EITHER, ILLEGAL)}
    chosen = r.choices(names[LEGAL], k=r.randint(0 if wanted != LEGAL else 1, most))
    if wanted != LEGAL:
        chosen.insert(r.randint(0, len(chosen)), r.choice(names[wanted]))
    return chosen


def _worst(verdicts: list[str]) -> str:
    return max([LEGAL, *verdicts], key=[LEGAL, EITHER, ILLEGAL].index)


def _common(r: random.Random, chosen: list[str]) -> dict[str, Any]:
    keep = any(PARTS[name][0] == ILLEGAL for name in chosen) or bool(REMEMBER & set(chosen))
    return {"ran": r.random() < 0.3 and not keep, "first": r.choice(["run", "evaluate", "worst_case"]),
            "alone": not {"fixed_batch", "batch_norm_of_the_batch"} & set(chosen)}  # fmt: skip


def _plain(seed: int, r: random.Random) -> Structure:
    chosen = _chosen(r, 4)
    container = r.choice(["sequential", "list", "dict", "nested", "attributes"])
    dtype = r.choice([torch.float64, torch.float64, torch.float32])
    training, common = r.random() < 0.5, _common(r, chosen)

    def build() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            q = random.Random(seed)
            parts = [nn.Linear(INPUTS, WIDTH), *[PARTS[name][1](q) for name in chosen], nn.Linear(WIDTH, CLASSES)]
            modes = [part.training for part in parts]
            net = nn.Sequential(*parts) if container == "sequential" else Chain(parts, container)
            net.training = training
            assert modes == [part.training for part in parts]
            return net.to(dtype)

    verdict = _worst([PARTS[name][0] for name in chosen])
    words = (container, "train" if training else "eval", str(dtype)[6:], *_words(common), *chosen)
    x = draw(seed, SAMPLES, INPUTS).to(dtype)
    return Structure(seed, words, verdict, False, build, x, *_names(build()), **common)


def _words(common: Mapping[str, Any]) -> list[str]:
    return [*["ran before"] * common["ran"], f"first look: {common['first']}"]


def _names(net: nn.Module) -> tuple[dict[str, str]]:
    """Kinds of the parameters of a module that need one."""
    own = [name for name, _ in net.named_parameters()]
    norms = {f"{name}.*": "digital" for name, part in net.named_modules() if isinstance(part, NORMS)}
    return (norms | {pattern: kind for pattern, kind in KINDS.items() if any(fnmatchcase(n, pattern) for n in own)},)


def inert(net: nn.Module) -> set[str]:
    """Names of the weights that a part says do not act."""
    return {f"{p}.{n}".lstrip(".") for p, part in net.named_modules() for n in getattr(part, "inert", ())}


def _spiking(seed: int, r: random.Random) -> Structure:
    row = r.random() < 0.35
    habit = "hidden" if row else r.choice(["explicit"] * 3 + ["hidden", "reset", "reset_net", "reset_class"])
    if habit == "reset" and r.random() < 0.4:
        habit = "reset_twice"
    form = "time" if row else r.choice(["time", "time", "batch", "picture"])
    result = r.choice(["spikes", "both", "membrane", "readout"])
    if row and result == "membrane":
        result = "both"
    container = "row" if row else r.choice(["list", "dict", "nested", "attributes"])
    chosen, several = _chosen(r, 2), r.randint(1, 2)
    training, silent, common = r.random() < 0.5, r.random() < 0.15, _common(r, chosen)
    encoded, extra = not row and r.random() < 0.03, r.random() < 0.04
    verdict = _worst([PARTS[name][0] for name in chosen] + [ILLEGAL] * encoded)
    found: list[Any] = []

    def build() -> nn.Module:
        found.clear()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            q = random.Random(seed)
            parts: list[nn.Module] = [nn.Linear(INPUTS, WIDTH)]
            blocks = [PARTS[name][1](q) for name in chosen]
            for i in range(several):
                last = i == several - 1 and result != "readout"
                width = CLASSES if last else WIDTH
                parts.append(nn.Linear(WIDTH, width) if i else nn.Linear(WIDTH, width))
                made, words, judged = neuron(q, width, habit != "explicit", row and last and result == "both")
                found.extend([*words, judged])
                parts.append(made)
                if i == 0 and not last:
                    parts.extend(blocks)
            if several == 1 and result != "readout":
                parts[1:1] = blocks
            if result == "readout":
                parts.append(nn.Linear(WIDTH, CLASSES))
            modes = [part.training for part in parts]
            net = nn.Sequential(*parts) if row else Loop(parts, container, habit, form, result)
            if encoded:
                net.encode = True
            if extra and not row:
                net.idle = snn.Leaky(beta=0.5, init_hidden=habit != "explicit")
            net.training = training
            assert modes == [part.training for part in parts]
            net = promoted(net.double())
            with torch.no_grad():
                for part in parts:
                    if isinstance(part, nn.Linear):
                        part.weight.mul_(0.6 if silent else 2.5)
            return net

    kinds = _names(build())
    verdict = _worst([verdict, *found[1::2]])
    x = 2 * (torch.rand(SAMPLES, INPUTS if form == "picture" else STEPS, *[INPUTS] * (form != "picture"),
                        generator=torch.Generator().manual_seed(seed), dtype=torch.float64) < 0.5).double()  # fmt: skip
    words = (container, habit, form, result, "train" if training else "eval", *["silent"] * silent,
             *["spikegen.rate"] * encoded, *["idle neuron"] * (extra and not row), *_words(common), *found[::2],
             *chosen)  # fmt: skip
    return Structure(
        seed, words, verdict, True, build, x, *kinds,
        prepare=(lambda x: x.transpose(0, 1)) if form == "time" else (lambda x: x),
        decode=decode_sum, **common,
    )  # fmt: skip


def decode_sum(output: Any) -> Tensor:
    """The sum over time of all tensors that a network gives."""
    return sum(part.sum(0) for part in output) if isinstance(output, tuple) else output.sum(0)
