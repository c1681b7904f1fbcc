"""Random module structures, each from one seed: plain torch modules and snnTorch networks.

:func:`structure` makes one, from parts (``structure_parts.py``) in networks (``structure_networks.py``). A structure
has the worst verdict of its parts: legal, either, illegal. ``test_structures.py`` judges the package by them.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import snntorch as snn
import torch
from conftest import draw
from structure_networks import Chain, Loop, promoted, random_neuron
from structure_parts import CLASSES, EITHER, ILLEGAL, INPUTS, LEGAL, PARTS, SAMPLES, WIDTH
from torch import Tensor, nn

from neurorobust.interop.kinds import NORMS

# What a pass leaves is read by the next pass; so such a module is new when the package gets it.
REMEMBER = {"batch_norm_of_the_batch", "buffer_state", "normalised_in_place", "overwritten", "spectral_norm"}
NO_COPY = {"deep_copies_itself_not", "pruned", "weight_hook"}  # copy.deepcopy cannot copy them
NOT_ALONE = {"fixed_batch", "batch_norm_of_the_batch"}  # one sample cannot go through
# Kinds of the names that torch does not use.
KINDS = {"*gain": "weight", "*matrices.*": "weight", "*raw": "weight", "*original*": "weight", "*weight_orig": "weight"}
GRID = 4  # neurons on a side


@dataclass(frozen=True)
class Plan:
    """The random choices of a structure, but for the numbers.

    Attributes:
        seed: makes it again. verdict: of its worst part. chosen: names of its parts. container: of its members.
        training: mode of the network as a whole. dtype: of its numbers. ran: the module has run before the package
            sees it. copied: it is a deepcopy. first: the package's first look. frozen: it has no gradients.
        habit, form, result: of a Loop; habit is "plain" for a module without neurons and "row" for an nn.Sequential
            with neurons. layers, steps, grid, silent: of a spiking network. odd: its peculiarities.
    """

    seed: int
    verdict: str
    chosen: tuple[str, ...]
    container: str
    training: bool
    dtype: torch.dtype
    ran: bool
    copied: bool
    first: str
    frozen: bool
    habit: str = "plain"
    form: str = "batch"
    result: str = "readout"
    layers: int = 0
    steps: int = 1
    grid: bool = False
    silent: bool = False
    odd: str = ""


@dataclass(frozen=True)
class Structure:
    """One random structure: its plan, and what the package gets.

    Attributes:
        words: describe it. build: makes the module, the same every time. x, sample: inputs, batch first.
        kinds: of names that torch does not use. inert: names of weights that do not act.
    """

    plan: Plan
    verdict: str
    words: tuple[str, ...]
    build: Callable[[], nn.Module]
    x: Tensor
    sample: Tensor
    kinds: dict[str, str]
    inert: tuple[str, ...]

    @property
    def spiking(self) -> bool:
        return self.plan.habit != "plain"

    @property
    def row(self) -> bool:
        """Each call of the module computes one step."""
        return self.plan.habit == "row"

    @property
    def alone(self) -> bool:
        """One sample can go through by itself."""
        return not NOT_ALONE & set(self.plan.chosen)

    def prepare(self, x: Tensor) -> Tensor:
        return x.transpose(0, 1) if self.plan.form == "time" else x

    def __str__(self) -> str:
        return f"structure {self.plan.seed} ({self.verdict}): " + ", ".join(self.words)


def decode(output: Any) -> Tensor:
    """Logits of a spiking network: the sum over time of all tensors that it gives."""
    return sum(part.sum(0) for part in output) if isinstance(output, tuple) else output.sum(0)


def worst(*verdicts: str) -> str:
    return max(verdicts, key=[LEGAL, EITHER, ILLEGAL].index)


def structure(seed: int) -> Structure:
    """The structure of a seed."""
    plan = plan_of(seed)
    net, words, verdicts = assembled(plan)
    own = [name for name, _ in net.named_parameters()]
    kinds = {f"{name}.*": "digital" for name, part in net.named_modules() if isinstance(part, NORMS)}
    kinds |= {pattern: kind for pattern, kind in KINDS.items() if any(fnmatchcase(n, pattern) for n in own)}
    inert = [f"{path}.{name}".lstrip(".") for path, part in net.named_modules() for name in getattr(part, "inert", ())]
    x = inputs(plan)
    sample = x[:3] if seed % 2 and "fixed_batch" not in plan.chosen else x
    return Structure(
        plan, worst(plan.verdict, *verdicts), (*_words(plan), *words), lambda: assembled(plan)[0], x, sample, kinds,
        tuple(inert),
    )  # fmt: skip


def plan_of(seed: int) -> Plan:
    """The random choices of a seed."""
    r = random.Random(seed)
    spiking = r.random() < 0.6
    chosen, verdict = _chosen(r, 2 if spiking else 4)
    special: dict[str, Any] = {"dtype": torch.float64 if r.random() < 0.75 else torch.float32}
    if spiking:
        special, judged = _spiking(r)
        verdict = worst(verdict, judged)
        if "deep_copies_itself_not" in chosen:
            verdict = worst(verdict, EITHER)  # an snnTorch network is copied
    remembers = verdict == ILLEGAL or bool(REMEMBER & set(chosen))
    return Plan(
        seed, verdict, chosen,
        container=r.choice(["sequential"] * (not spiking) + ["list", "dict", "nested", "attributes"]),
        training=r.random() < 0.5, ran=r.random() < 0.3 and not remembers,
        copied=r.random() < 0.1 and not NO_COPY & set(chosen),
        first=r.choice(["run", "evaluate", "worst_case"]), frozen=r.random() < 0.05, **special,
    )  # fmt: skip


def _chosen(r: random.Random, most: int) -> tuple[tuple[str, ...], str]:
    """Names of parts, most of them legal, and the worst verdict among them."""
    wanted = r.choices([LEGAL, EITHER, ILLEGAL], [0.65, 0.17, 0.18])[0]
    chosen = r.choices([name for name, (v, _) in PARTS.items() if v == LEGAL], k=r.randint(0, most))
    if wanted != LEGAL:
        chosen.insert(r.randint(0, len(chosen)), r.choice([name for name, (v, _) in PARTS.items() if v == wanted]))
    return tuple(chosen), wanted


def _spiking(r: random.Random) -> tuple[dict[str, Any], str]:
    """The choices of a spiking network, and the verdict of its habit and its peculiarity."""
    row = r.random() < 0.3
    habit = "row" if row else r.choices(
        ["explicit", "hidden", "reset", "reset_twice", "reset_net", "reset_class", "attribute", "carried"],
        [30, 10, 8, 5, 8, 8, 8, 3],
    )[0]  # fmt: skip
    odd, judged = "", LEGAL
    if not row and r.random() < 0.2:
        known = [("idle neuron", LEGAL), ("two names", LEGAL), ("encoded", ILLEGAL), ("scribbles", EITHER)]
        odd, judged = r.choice(known + [("neuron twice", EITHER)] * (habit in ("explicit", "attribute")))
    grid = r.random() < 0.15
    return {
        "dtype": torch.float64 if row or r.random() < 0.85 else torch.float32,
        "habit": habit,
        "form": "time" if row else r.choice(["time", "time", "batch", "picture"]),
        "result": r.choice(["spikes", "both", "readout"] if row else ["spikes", "both", "membrane", "readout"]),
        "layers": 2 if odd == "neuron twice" else r.randint(1, 2),
        "steps": r.choice([5, SAMPLES]),
        "grid": grid,
        "silent": r.random() < 0.12,
        "odd": odd,
    }, worst(judged, ILLEGAL if habit == "carried" else LEGAL)  # fmt: skip


def _words(plan: Plan) -> tuple[str, ...]:
    said = {
        "ran before": plan.ran, "a deepcopy": plan.copied, "all frozen": plan.frozen, "silent": plan.silent,
        "on a grid": plan.grid, plan.odd: bool(plan.odd),
    }  # fmt: skip
    loop = () if plan.habit == "plain" else (plan.form, plan.result, f"{plan.steps} steps")
    mode = "train" if plan.training else "eval"
    odd = [word for word, true in said.items() if true]
    return (plan.habit, plan.container, *loop, mode, str(plan.dtype)[6:], *odd,
            f"first look: {plan.first}", *plan.chosen)  # fmt: skip


def inputs(plan: Plan) -> Tensor:
    """Samples, batch first."""
    if plan.habit == "plain":
        return draw(plan.seed, SAMPLES, INPUTS).to(plan.dtype)
    shape = (1, GRID, GRID) if plan.grid else (INPUTS,)
    time = () if plan.form == "picture" else (plan.steps,)
    return 2 * (torch.rand(SAMPLES, *time, *shape, generator=torch.Generator().manual_seed(plan.seed)) < 0.5).to(
        plan.dtype
    )


def assembled(plan: Plan) -> tuple[nn.Module, list[str], list[str]]:
    """The module of a plan, the same at every call; words for its neurons, and their verdicts."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        r = random.Random(plan.seed)
        blocks = [PARTS[name][1](r) for name in plan.chosen]
        words: list[str] = []
        verdicts: list[str] = []
        if plan.habit == "plain":
            parts = [nn.Linear(INPUTS, WIDTH), *blocks, nn.Linear(WIDTH, CLASSES)]
        else:
            parts, words, verdicts = _layers(plan, r, blocks)
        net = _network(plan, parts)
    if plan.frozen:
        net.requires_grad_(False)
    net.training = plan.training  # of the whole alone: each part keeps its mode
    return (copy.deepcopy(net) if plan.copied else net), words, verdicts


def _layers(plan: Plan, r: random.Random, blocks: list[nn.Module]) -> tuple[list[nn.Module], list[str], list[str]]:
    """The members of a spiking network: layers of synapses and neurons, and the blocks before the last layer."""
    hidden = plan.habit in ("row", "hidden") or plan.habit.startswith("reset")
    parts: list[nn.Module] = [nn.Conv2d(1, 2, 3, padding=1)] if plan.grid else [nn.Linear(INPUTS, WIDTH)]
    words, verdicts = [], []

    def add(shape: tuple[int, ...], **options: Any) -> None:
        made, said, judged = random_neuron(r, shape, init_hidden=hidden, **options)
        parts.append(made)
        words.append(said)
        verdicts.append(judged)

    if plan.grid:
        add((2, GRID, GRID))
        parts.extend([nn.AvgPool2d(2), nn.Flatten(), nn.Linear(2 * GRID, WIDTH)])
    if plan.layers == 2:
        add((WIDTH,))
        parts.extend([*blocks, nn.Linear(WIDTH, WIDTH)])
    else:
        parts.extend(blocks)
    if plan.odd == "neuron twice":
        parts.append(parts[-2 - len(blocks)])
        parts.append(nn.Linear(WIDTH, CLASSES))
        return parts, words, verdicts
    if plan.result == "readout":
        add((WIDTH,))
        parts.append(nn.Linear(WIDTH, CLASSES))
    else:
        parts.append(nn.Linear(WIDTH, CLASSES))
        add((CLASSES,), output=plan.habit == "row" and plan.result == "both")
    return parts, words, verdicts


def _network(plan: Plan, parts: list[nn.Module]) -> nn.Module:
    if plan.habit == "plain":
        return (nn.Sequential(*parts) if plan.container == "sequential" else Chain(parts, plan.container)).to(
            plan.dtype
        )
    with torch.no_grad():
        for part in parts:
            if isinstance(part, nn.Linear | nn.Conv2d):
                part.weight.mul_(0.5 if plan.silent else 2.5)
    if plan.habit == "row":
        return promoted(nn.Sequential(*parts), plan.dtype)
    net = Loop(parts, plan.container, plan.habit, plan.form, plan.result, plan.steps)
    net.encoded, net.scribbles = plan.odd == "encoded", plan.odd == "scribbles"
    neuron = next(part for part in parts if isinstance(part, snn.SpikingNeuron))
    if plan.odd == "idle neuron":
        net.idle = snn.Leaky(beta=0.5, init_hidden=neuron.init_hidden)
    if plan.odd == "two names":
        net.again = neuron
    return promoted(net, plan.dtype)
