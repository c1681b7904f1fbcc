"""Random module structures: the package gives the module's own numbers, or refuses in words.

One structure per seed; ``make deep`` tries 10 000 new ones. A failure prints the seed and what the structure is made
of. The reference never uses the package: a module made again from the same seed, the deviated numbers written into it,
run plainly; its gradients by autograd.
"""

from __future__ import annotations

import os
import random
import re
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
from conftest import draw
from deep import cases
from structure_networks import without_detour
from structure_parts import CLASSES, EITHER, ILLEGAL, LEGAL, SAMPLES
from structures import Structure, decode, structure
from torch import Tensor, nn

import neurorobust as nr
from neurorobust.data import Data
from neurorobust.evaluation.statistics import score
from neurorobust.nn.network import placement_of

DT = 1e-3
SOURCES = {"tau_mem": "beta", "tau_syn": "alpha", "v_threshold": "threshold"}


# The reference --------------------------------------------------------------------------------------------------------


def write(net: nn.Module, params: dict[str, Tensor]) -> None:
    """Put the numbers of a model into a fresh module, in place: weights as they are, β = exp(−dt/τ)."""
    neurons = {name: part for name, part in net.named_modules() if isinstance(part, snn.SpikingNeuron)}
    own = dict(net.named_parameters(remove_duplicate=False))
    for name, value in params.items():
        path, _, kind = name.rpartition(".")
        if path in neurons:
            _write_number(neurons[path], kind, value, params.get(f"{path}.r"))
        elif path.endswith((".V", ".graded_spikes_factor")):
            neuron, last = neurons[path.rpartition(".")[0]], path.rpartition(".")[2]
            _replace(neuron, last, value)
            if last == "V":
                _replace(neuron.recurrent, "V", value)
        elif name in own:
            own[name].data.copy_(value)
        else:
            own[path].data.copy_(value)


def _write_number(neuron: Any, kind: str, value: Tensor, r: Tensor | None) -> None:
    if isinstance(neuron, snn.Lapicque) and kind in ("tau_mem", "r"):
        # In float64 before it is rounded, as the package does: C = tau_mem/R · time_step/dt has no other definition.
        capacitance = (value / r * (torch.as_tensor(neuron.time_step).double() / DT)).to(value.dtype)
        _replace(neuron, *(("R", value) if kind == "r" else ("C", capacitance)))
    else:
        _replace(neuron, SOURCES[kind], torch.exp(-DT / value) if kind.startswith("tau") else value)


def _replace(neuron: Any, name: str, value: Tensor) -> None:
    """A number of a neuron, as a buffer: it may have another shape than the user gave it, or a gradient."""
    neuron._parameters.pop(name, None)
    neuron._buffers.pop(name, None)
    neuron.register_buffer(name, value)


def plain(s: Structure, net: nn.Module, x: Tensor) -> Tensor:
    """The logits of a module that stands at rest, without the package."""
    without_detour(net)
    if not s.spiking:
        return net(x)
    if not s.row:
        return decode(net(s.prepare(x)))
    steps = [net(step) for step in s.prepare(x)]
    if isinstance(steps[0], Tensor):
        return decode(torch.stack(steps))
    return decode(tuple(torch.stack(several) for several in zip(*steps)))


@contextmanager
def only(*nets: nn.Module) -> Iterator[None]:
    """A context in which snnTorch, which resets every neuron that it knows of, knows those of the nets."""
    neurons = [part for net in nets for part in net.modules() if isinstance(part, snn.SpikingNeuron)]
    kept, snn.SpikingNeuron.instances = snn.SpikingNeuron.instances, neurons
    try:
        yield
    finally:
        snn.SpikingNeuron.instances = kept


def own_logits(s: Structure, params: dict[str, Tensor] | None, x: Tensor, judged: bool = False) -> Tensor:
    """The module's own logits at these numbers, or as it was made; ``judged``: every part in eval mode."""
    with only(), torch.no_grad():
        net = s.build()
        if params is not None:
            write(net, params)
        return plain(s, net.eval() if judged else net, x.clone())


def own_gradients(s: Structure, params: dict[str, Tensor], x: Tensor, weight: Tensor) -> dict[str, Tensor]:
    """The gradient of Σ weight · logits in every number of the model, by autograd on a fresh module."""
    with only():
        return _own_gradients(s, s.build().requires_grad_(True), params, x, weight)


def _own_gradients(s, net, params, x, weight):
    leaves = {name: value.clone().requires_grad_() for name, value in params.items()}
    own = dict(net.named_parameters(remove_duplicate=False))
    numbers = {name: value for name, value in leaves.items() if not _parameter(own, name)}
    write(net, {name: value.detach() for name, value in leaves.items() if name not in numbers})
    write(net, numbers)
    (plain(s, net, x.clone()) * weight).sum().backward()
    found = {}
    for name, leaf in leaves.items():
        place = own.get(_parameter(own, name) or "")
        gradient = leaf.grad if name in numbers else place.grad
        found[name] = torch.zeros_like(leaf) if gradient is None else gradient
    return found


def _parameter(own: dict[str, Tensor], name: str) -> str | None:
    """The name of a model's parameter in the module; None for a number of a neuron."""
    path, _, kind = name.rpartition(".")
    if kind in ("tau_mem", "tau_syn", "r", "v_threshold") or path.endswith((".V", ".graded_spikes_factor")):
        return None
    return name if name in own else path


# What is compared -----------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """Counts over structures."""

    accepted: Counter = field(default_factory=Counter)
    refused: Counter = field(default_factory=Counter)
    reasons: Counter = field(default_factory=Counter)
    warned: Counter = field(default_factory=Counter)
    spiking: int = 0
    silent: int = 0
    broken: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{v}: {self.accepted[v]} accepted, {self.refused[v]} refused" for v in (LEGAL, EITHER, ILLEGAL)]
        lines += [f"spiking networks: {self.spiking} accepted, {self.silent} of them silent"]
        lines += [f"  {n} × {reason}" for reason, n in self.reasons.most_common()]
        lines += [f"  warned: {n} × {text}" for text, n in self.warned.most_common() if n]
        return "\n".join([*lines, *self.broken])


class Refused(Exception):
    """The package refused in its own words."""


def in_our_words(error: BaseException) -> bool:
    """True for a ValueError or TypeError raised by the package itself, in one sentence or a few."""
    if not isinstance(error, ValueError | TypeError):
        return False
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    told = str(error).partition("These lines begin each pass at rest")[0]  # code to copy has lines
    return f"{os.sep}neurorobust{os.sep}" in last and "\n" not in told


def ours(call, *args, **kwargs):
    """The result of a call; a refusal in our words raises Refused."""
    try:
        return call(*args, **kwargs)
    except (ValueError, TypeError) as error:
        if in_our_words(error):
            raise Refused(str(error)) from error
        raise


WRITTEN = (
    "record",
    "idle_counter",
    "reset_at_start",
    "table_made_once",
    "weight_norm",
    "symmetric",
    "pruned",
    "weight_hook",
)


def snapshot(s: Structure, net: nn.Module) -> dict[str, Any]:
    """Everything of a user's module that must not change: tensors, flags, modes, hooks; and attributes, where its own
    forward writes none."""
    tensors = dict(net.named_parameters(remove_duplicate=False)) | dict(net.named_buffers(remove_duplicate=False))
    untouched = s.spiking or (s.verdict == LEGAL and not any(name.startswith(WRITTEN) for name in s.plan.chosen))
    return {
        "tensors": {name: (value, value.detach().clone(), value.requires_grad) for name, value in tensors.items()},
        "modes": [part.training for part in net.modules()],
        "hooks": [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in net.modules()],
        "attributes": [{key: repr(value) for key, value in vars(part).items() if not key.startswith("_")}
                       for part in net.modules() if untouched],
    }  # fmt: skip


def check_unchanged(s: Structure, net: nn.Module, before: dict[str, Any]) -> None:
    after = snapshot(s, net)
    for what in ("modes", "hooks", "attributes"):
        assert before[what] == after[what], f"{what} of the user's module changed"
    assert before["tensors"].keys() == after["tensors"].keys(), "tensors of the user's module come or went"
    for name, (value, copy, flag) in before["tensors"].items():
        now, now_copy, now_flag = after["tensors"][name]
        assert now is value, f"{name} of the user's module is another object"
        assert torch.equal(copy, now_copy), f"{name} of the user's module changed"
        assert flag == now_flag, f"requires_grad of {name} changed"


def same(s: Structure, found: Tensor, expected: Tensor, what: str, exact: bool = True) -> None:
    """Equal bits; where layers run over the whole sequence at once, membranes to 1e-9."""
    if exact and not s.row:
        assert torch.equal(found, expected), f"{what}: differs by {(found - expected).abs().max():.3g}"
    tolerance = 1e-9 if found.dtype == torch.float64 else 1e-5
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance, msg=lambda m: f"{what}: {m}")


class Court:
    """One structure in the package, and everything that is asked of it."""

    def __init__(self, s: Structure):
        self.s = s
        self.net = s.build()
        if s.plan.ran:
            x = s.prepare(s.x.clone())
            with only(self.net):
                self.net(x[0] if s.row else x)
        self.before = snapshot(s, self.net)
        self.listed = list(snn.SpikingNeuron.instances)
        self.model = self.taken()
        self.nominal = nr.nominal(self.model)
        self.a, self.b = (self.die(seed) for seed in (1, 2))
        self.data = Data(s.x, torch.arange(SAMPLES) % CLASSES)
        self.spikes, self.own = 0.0, {}

    def taken(self) -> Any:
        s = self.s
        if not s.spiking:
            return ours(nr.wrap, self.net, kinds=s.kinds)
        return ours(
            nr.from_snntorch, self.net, DT, sample=s.sample.clone(), prepare=s.prepare, decode=decode, kinds=s.kinds
        )  # fmt: skip

    def die(self, seed: int) -> dict[str, Tensor]:
        """Deviated parameters, every element by its own factor in (1/3, 5/3), 1.5 at most for what is positive."""
        center = nr.Ball.uniform(0.1).center(self.nominal, placement_of(self.model))
        deviations = {
            name: 1.2 * torch.rand(zero.shape, generator=torch.Generator().manual_seed(97 * seed + i)).to(zero) - 0.6
            for i, (name, zero) in enumerate(center.items())
        }
        return nr.apply(self.nominal, deviations, placement_of(self.model))

    def run(self, params: dict[str, Tensor], x: Tensor) -> Tensor:
        kept = {name: value.clone() for name, value in params.items()}
        with torch.no_grad():
            found = ours(nr.run, self.model, params, x)
        assert all(torch.equal(kept[name], value) for name, value in params.items()), "run changes the params it got"
        return found

    def check_order(self, order: str) -> None:
        """Runs at nominal (0), at A and at B, in this order."""
        for name in order:
            params = {"0": self.nominal, "A": self.a, "B": self.b}[name]
            if name not in self.own:
                self.own[name] = own_logits(self.s, params, self.s.x)
            same(self.s, self.run(params, self.s.x), self.own[name], f"outputs at {name} of {order}")

    def check_runs(self) -> None:
        s, x = self.s, self.s.x
        self.check_order("0AB0AA")
        same(s, self.run(self.nominal, x), own_logits(s, None, x), "nominal outputs", exact=False)
        if s.alone:
            same(s, self.run(self.a, x[:1]), own_logits(s, self.a, x[:1]), "one sample alone")
        if s.spiking:
            with torch.no_grad():
                recorded = ours(nr.run, self.model, self.a, x, record=True)[1]
            self.spikes = sum(float(value.sum()) for value in recorded.values())

    def check_evaluate(self) -> None:
        first, second = (ours(nr.evaluate, self.model, self.data, nr.mismatch(0.5), n_dies=2, seed=3) for _ in "ab")
        assert (first.score == second.score).all(), f"evaluate twice: {first.score} and {second.score}"
        chip, placement = nr.mismatch(0.5), placement_of(self.model)
        programmed = chip.program(self.nominal, placement)
        for die, found in zip(chip.fabricate(range(2), 3), first.score):
            params = nr.apply(programmed.params, die.deviations(programmed), programmed.placement)
            expected = score(own_logits(self.s, params, self.s.x, judged=True), self.data.y)
            assert expected == found, f"evaluate: a die scores {found}, the module itself {expected}"

    def check_worst_case(self) -> None:
        ball, attack = nr.Ball.uniform(0.3), nr.attacks.PGA(steps=2)
        first, second = (ours(nr.worst_case, self.model, self.data, ball, attack, seed=1) for _ in "ab")
        assert first.score == second.score, f"worst_case twice: {first.score} and {second.score}"
        params = nr.apply(self.nominal, first.deviations, placement_of(self.model))
        expected = score(own_logits(self.s, params, self.s.x, judged=True), self.data.y)
        assert expected == first.score, f"worst_case reports {first.score}, the module itself has {expected} there"

    def check_gradients(self) -> None:
        if self.s.x.dtype != torch.float64:
            return
        leaves = {name: value.clone().requires_grad_() for name, value in self.a.items()}
        logits = ours(nr.run, self.model, leaves, self.s.x)
        weight = draw(self.s.plan.seed, *logits.shape)
        (logits * weight).sum().backward()
        try:
            expected = own_gradients(self.s, self.a, self.s.x, weight)
        except RuntimeError:  # autograd refuses the module itself: it writes what it needs
            assert self.s.verdict != LEGAL
            return
        scale = max([1.0, *(float(value.abs().max()) for value in expected.values())])
        for name, leaf in leaves.items():
            found = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
            gap = (found - expected[name]).abs().max() / scale
            assert gap <= 1e-9, f"gradient of {name} is off by {gap:.2g}"

    def check_all(self) -> None:
        looks = {"run": self.check_runs, "evaluate": self.check_evaluate, "worst_case": self.check_worst_case}
        looks.pop(self.s.plan.first)()
        for look in looks.values():
            look()
        self.check_gradients()
        self.check_order("BA0")


def random_states() -> tuple[bytes, bytes, Any]:
    """The random states of torch, numpy and Python."""
    return torch.random.get_rng_state().numpy().tobytes(), np.random.get_state()[1].tobytes(), random.getstate()


def neighbours() -> list[tuple[Any, Tensor]]:
    """Neurons of an unrelated network in this process, and their membranes."""
    found = [snn.Leaky(beta=0.5, init_hidden=True), snn.Synaptic(alpha=0.5, beta=0.5, init_hidden=True)]
    for neuron in found:
        neuron(torch.ones(2, 3))
    return [(neuron, neuron.mem) for neuron in found]


def judge(s: Structure, tally: Tally) -> None:
    """Try one structure; AssertionError where a rule is broken."""
    unrelated, court, refusal = neighbours(), None, None
    for seeded in (random.seed, np.random.seed, torch.manual_seed):
        seeded(s.plan.seed)
    drawn = random_states()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            court = Court(s)
            court.check_all()
        except Refused as error:
            refusal = str(error)
    if court is not None:
        check_unchanged(s, court.net, court.before)
        assert snn.SpikingNeuron.instances == court.listed, "the list of snnTorch's neurons changed"
    assert all(neuron.mem is mem for neuron, mem in unrelated), "the state of an unrelated network changed"
    assert s.verdict == ILLEGAL or drawn == random_states(), "the random state of the process changed"
    if refusal is not None:
        assert s.verdict != LEGAL, f"refused: {refusal}"
        tally.refused[s.verdict] += 1
        tally.reasons[reason(refusal)] += 1
        return
    for name in s.inert:
        assert any(name in str(w.message) for w in told), f"{name} does not act, and nobody says so"
    tally.accepted[s.verdict] += 1
    tally.warned[" ".join(sorted({reason(str(w.message)) for w in told}))] += bool(told) and not s.inert
    tally.spiking += s.spiking
    tally.silent += s.spiking and not court.spikes


def reason(refusal: str) -> str:
    """A refusal without its names and numbers."""
    return re.sub(r"'[^']*'|\d+(\.\d+)?", "…", refusal)[:110]


def try_one(seed: int, tally: Tally) -> None:
    """Judge the structure of a seed; what is broken is written down."""
    made: Any = f"structure {seed}"
    try:
        with only():
            made = structure(seed)
            judge(made, tally)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        tally.broken.append(f"{made}\n    {said} ({Path(where.filename).name}:{where.lineno})")


@pytest.mark.deep
def test_structures_give_their_own_numbers():
    """Every random structure gives its module's numbers, or is refused in words; no legal one is refused."""
    tally, count = Tally(), 0
    for seed in cases("module structures", here=60, deep=10_000):
        try_one(seed, tally)
        count += 1
        assert not tally.broken, tally.broken[0]
    print(tally)
    assert tally.accepted[LEGAL] > 0.4 * count and tally.refused[ILLEGAL] > 0.05 * count
    assert tally.silent < 0.4 * tally.spiking
