"""Parts of random module structures: each a module (B, n) → (B, n), with a verdict.

``LEGAL``: the package has to take it. ``EITHER``: it may refuse it. ``ILLEGAL``: it acts on state that outlives a pass,
or draws random numbers, so no measurement of it means anything. Whatever is taken must give the module's own numbers.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, prune
from torch.utils.checkpoint import checkpoint

LEGAL, EITHER, ILLEGAL = "legal", "either", "illegal"
INPUTS, WIDTH, CLASSES, SAMPLES = 3, 4, 3, 4
PARTS: dict[str, tuple[str, Callable[[random.Random], nn.Module]]] = {}


def part(verdict: str) -> Callable:
    """Register a function that makes a part, a module (B, n) → (B, n), from a random generator."""

    def register(make: Callable[[random.Random], nn.Module]) -> Callable[[random.Random], nn.Module]:
        PARTS[make.__name__] = (verdict, make)
        return make

    return register


class Part(nn.Module):
    """A module whose forward is a function of the module and its input, and whose members are given by name."""

    a: Any
    b: Any
    norm: Any
    inert: tuple[str, ...] = ()

    def __init__(self, function: Callable[[Any, Tensor], Tensor], **members: Any):
        super().__init__()
        self.function = function
        for name, value in members.items():
            setattr(self, name, value)

    def forward(self, h: Tensor) -> Tensor:
        return self.function(self, h)


def linear(**options: Any) -> nn.Linear:
    return nn.Linear(WIDTH, WIDTH, **options)


# Layers, weights and containers ---------------------------------------------------------------------------------------


@part(LEGAL)
def dense(r: random.Random) -> nn.Module:
    return nn.Sequential(linear(), r.choice([nn.Tanh, nn.ReLU, nn.Identity])())


@part(LEGAL)
def same_layer_twice(r: random.Random) -> nn.Module:
    return Part(lambda s, h: s.a(torch.tanh(s.a(h))), a=linear())


@part(LEGAL)
def tied_weights(r: random.Random) -> nn.Module:
    made = Part(lambda s, h: s.b(torch.tanh(s.a(h))), a=linear(), b=linear())
    made.b.weight = made.a.weight
    return made


@part(LEGAL)
def transposed_weight(r: random.Random) -> nn.Module:
    return Part(lambda s, h: functional.linear(torch.tanh(s.a(h)), s.a.weight.t()), a=linear())


@part(LEGAL)
def two_names(r: random.Random) -> nn.Module:
    shared = linear()
    return Part(lambda s, h: s.b(h) + s.c[0](h), b=shared, c=nn.ModuleList([shared]))


@part(LEGAL)
def parameter_list(r: random.Random) -> nn.Module:
    weights = nn.ParameterList([torch.randn(WIDTH, WIDTH) for _ in range(2)])
    return Part(lambda s, h: h @ s.matrices[0] + h @ s.matrices[1], matrices=weights)


@part(LEGAL)
def parameter_dict(r: random.Random) -> nn.Module:
    return Part(lambda s, h: h * s.table["gain"], table=nn.ParameterDict({"gain": torch.rand(WIDTH) + 0.5}))


@part(LEGAL)
def scalar_gain(r: random.Random) -> nn.Module:
    return Part(lambda s, h: h * s.gain, gain=nn.Parameter(torch.rand(()) + 0.5))


@part(LEGAL)
def constants(r: random.Random) -> nn.Module:
    return Part(lambda s, h: s.scale * h + s.table[0].to(h), scale=0.7, table=(torch.linspace(0, 1, WIDTH),))


@part(LEGAL)
def frozen(r: random.Random) -> nn.Module:
    return Part(lambda s, h: s.a(h), a=linear().requires_grad_(False))


@part(LEGAL)
def idle_layer(r: random.Random) -> nn.Module:
    return Part(lambda s, h: torch.tanh(s.a(h)), a=linear(), idle=linear())


@part(LEGAL)
def convolution(r: random.Random) -> nn.Module:
    return Part(lambda s, h: s.a(h.unsqueeze(1)).mean(1), a=nn.Conv1d(1, 2, 3, padding=1))


@part(LEGAL)
def recurrent_cell(r: random.Random) -> nn.Module:
    return Part(lambda s, h: s.cell(h), cell=nn.GRUCell(WIDTH, WIDTH))


@part(LEGAL)
def fixed_batch(r: random.Random) -> nn.Module:
    return Part(lambda s, h: s.a(h.reshape(SAMPLES, -1)), a=linear())


@part(LEGAL)
def normed_weight(r: random.Random) -> nn.Module:
    return Part(lambda s, h: functional.linear(h, 2 * s.a.weight / s.a.weight.norm()), a=linear(bias=False))


@part(LEGAL)
def checkpointed(r: random.Random) -> nn.Module:
    return Part(lambda s, h: checkpoint(s.a, h, use_reentrant=False), a=nn.Sequential(linear(), nn.Tanh(), linear()))


@part(EITHER)
def checkpointed_reentrant(r: random.Random) -> nn.Module:
    """torch.autograd.grad cannot go through it."""
    return Part(lambda s, h: checkpoint(s.a, h, use_reentrant=True), a=nn.Sequential(linear(), nn.Tanh(), linear()))


@part(LEGAL)
def checkpointed_method(r: random.Random) -> nn.Module:
    inner = lambda s, h: torch.tanh(functional.linear(h, s.a.weight)) * s.gain  # noqa: E731
    made = Part(lambda s, h: checkpoint(partial(inner, s), h, use_reentrant=False), a=linear(bias=False))
    made.gain = nn.Parameter(torch.rand(WIDTH) + 0.5)
    return made


# Modes ----------------------------------------------------------------------------------------------------------------


@part(LEGAL)
def acts_by_mode(r: random.Random) -> nn.Module:
    return Part(lambda s, h: s.a(h) * (2 if s.training else 1), a=linear()).train(r.random() < 0.5)


@part(LEGAL)
def dropout_at_rest(r: random.Random) -> nn.Module:
    return nn.Sequential(linear(), nn.Dropout(0.5).eval())


@part(LEGAL)
def functional_dropout(r: random.Random) -> nn.Module:
    return Part(lambda s, h: functional.dropout(s.a(h), 0.5, s.training), a=linear()).eval()


@part(LEGAL)
def frozen_batch_norm(r: random.Random) -> nn.Module:
    return Part(lambda s, h: s.norm(s.a(h)), a=linear(), norm=nn.BatchNorm1d(WIDTH).eval())


@part(EITHER)
def batch_norm_of_the_batch(r: random.Random) -> nn.Module:
    return Part(lambda s, h: s.norm(s.a(h)), a=linear(), norm=nn.BatchNorm1d(WIDTH))


class AlwaysFrozen(Part):
    """Its batch norm stays in eval mode, whatever mode the network is put in."""

    def train(self, mode: bool = True) -> AlwaysFrozen:
        super().train(mode)
        self.norm.eval()
        return self


@part(LEGAL)
def always_frozen(r: random.Random) -> nn.Module:
    return AlwaysFrozen(lambda s, h: s.norm(s.a(h)), a=linear(), norm=nn.BatchNorm1d(WIDTH)).train()


@part(LEGAL)
def layer_norm(r: random.Random) -> nn.Module:
    return Part(lambda s, h: s.norm(s.a(h)), a=linear(), norm=nn.LayerNorm(WIDTH))


# Records, and state that a pass begins anew ---------------------------------------------------------------------------


def keeps(write: Callable[[Any, Tensor], Any], **members: Any) -> Part:
    """A layer that keeps something of every pass and never reads it."""

    def function(s: Any, h: Tensor) -> Tensor:
        out = s.a(h)
        write(s, out)
        return out

    return Part(function, a=linear(), **members)


@part(LEGAL)
def record(r: random.Random) -> nn.Module:
    return keeps(lambda s, h: setattr(s, "seen", h))


@part(LEGAL)
def record_list(r: random.Random) -> nn.Module:
    return keeps(lambda s, h: s.seen.append(h), seen=[])


@part(LEGAL)
def record_dict(r: random.Random) -> nn.Module:
    return keeps(lambda s, h: s.seen.update(last=h.detach()), seen={})


@part(LEGAL)
def record_class(r: random.Random) -> nn.Module:
    return keeps(lambda s, h: setattr(type(s), "seen", h.detach()))


@part(LEGAL)
def record_closure(r: random.Random) -> nn.Module:
    seen: list[Tensor] = []
    return keeps(lambda s, h: seen.append(h))


@part(LEGAL)
def record_numpy(r: random.Random) -> nn.Module:
    return keeps(lambda s, h: setattr(s, "seen", h.detach().cpu().numpy()))


@part(LEGAL)
def record_hook(r: random.Random) -> nn.Module:
    seen: list[Tensor] = []
    made = dense(r)
    made[0].register_forward_hook(lambda module, inputs, output: seen.append(output))
    return made


@part(LEGAL)
def idle_counter(r: random.Random) -> nn.Module:
    return keeps(lambda s, h: setattr(s, "calls", s.calls + 1), calls=0)


@part(LEGAL)
def idle_buffer(r: random.Random) -> nn.Module:
    made = keeps(lambda s, h: s.calls.add_(1))
    made.register_buffer("calls", torch.tensor(0))
    return made


@part(LEGAL)
def reset_at_start(r: random.Random) -> nn.Module:
    def function(s: Any, h: Tensor) -> Tensor:
        s.mem = torch.zeros_like(h)
        for _ in range(3):
            s.mem = 0.5 * s.mem + s.a(h)
        return s.mem

    return Part(function, a=linear(), mem=None)


@part(LEGAL)
def table_made_once(r: random.Random) -> nn.Module:
    def function(s: Any, h: Tensor) -> Tensor:
        if s.table is None:
            s.table = torch.linspace(0.5, 1, WIDTH, dtype=h.dtype)
        return s.a(h) * s.table

    return Part(function, a=linear(), table=None)


@part(EITHER)
def buffer_state(r: random.Random) -> nn.Module:
    """Allowed: a buffer is put back after every pass."""
    in_place = r.random() < 0.5

    def function(s: Any, h: Tensor) -> Tensor:
        out = s.a(h) + s.mem
        with torch.no_grad():
            if in_place:
                s.mem.mul_(0.5).add_(out.mean(0))
            else:
                s.mem = 0.5 * s.mem + out.mean(0)
        return out

    made = Part(function, a=linear())
    made.register_buffer("mem", torch.zeros(WIDTH))
    return made


# Hooks, parametrizations, in-place operations, branches ---------------------------------------------------------------


@part(LEGAL)
def input_hook(r: random.Random) -> nn.Module:
    made = dense(r)
    made[0].register_forward_pre_hook(lambda module, inputs: (2 * inputs[0],))
    return made


@part(LEGAL)
def output_hook(r: random.Random) -> nn.Module:
    made = dense(r)
    made[0].register_forward_hook(lambda module, inputs, output: output + 0.1)
    return made


@part(EITHER)
def weight_hook(r: random.Random) -> nn.Module:
    """The old weight_norm by hand: the weight is a plain attribute that a hook computes."""

    def hook(module: Any, inputs: Any) -> None:
        module.weight = module.raw / module.raw.norm(dim=1, keepdim=True)

    made = linear()
    made.raw = nn.Parameter(made.weight.detach().clone())
    del made.weight
    made.weight = made.raw.detach()
    made.register_forward_pre_hook(hook)
    return made


@part(LEGAL)
def weight_norm(r: random.Random) -> nn.Module:
    return parametrizations.weight_norm(linear())


@part(EITHER)
def spectral_norm(r: random.Random) -> nn.Module:
    return parametrizations.spectral_norm(linear())


class Symmetric(nn.Module):
    def forward(self, value: Tensor) -> Tensor:
        return value.triu() + value.triu(1).t()


@part(LEGAL)
def symmetric_weight(r: random.Random) -> nn.Module:
    made = linear()
    parametrize.register_parametrization(made, "weight", Symmetric())
    return made


@part(EITHER)
def pruned(r: random.Random) -> nn.Module:
    return prune.l1_unstructured(linear(), "weight", 0.5)


@part(LEGAL)
def pruned_and_made_plain(r: random.Random) -> nn.Module:
    return prune.remove(prune.l1_unstructured(linear(), "weight", 0.5), "weight")


@part(LEGAL)
def relu_in_place(r: random.Random) -> nn.Module:
    return nn.Sequential(linear(), nn.ReLU(inplace=True))


@part(EITHER)
def branch_on_data(r: random.Random) -> nn.Module:
    """The samples of a batch decide together."""
    return Part(lambda s, h: s.a(h) if h.sum() > 0 else s.a(h) * 2, a=linear())


@part(LEGAL)
def branch_on_shape(r: random.Random) -> nn.Module:
    return Part(lambda s, h: s.a(h) if h.shape[1] > 2 and h.ndim == 2 else s.a(h) * 2, a=linear())


@part(LEGAL)
def deep_copies_itself_not(r: random.Random) -> nn.Module:
    """A lock cannot be copied."""
    return Part(lambda s, h: s.a(h), a=linear(), lock=threading.Lock())


@part(LEGAL)
def seeded_draw(r: random.Random) -> nn.Module:
    def function(s: Any, h: Tensor) -> Tensor:
        noise = torch.rand(WIDTH, generator=torch.Generator().manual_seed(3), dtype=h.dtype)
        return s.a(h) + noise

    return Part(function, a=linear())


@part(EITHER)
def mixed_samples(r: random.Random) -> nn.Module:
    mix = r.choice([lambda h: h - h.mean(0), lambda h: h.cumsum(0), lambda h: h + h.roll(1, 0)])
    return Part(lambda s, h: mix(s.a(h)), a=linear())


# Weights that forward writes ------------------------------------------------------------------------------------------


def rewrites(change: Callable[[nn.Linear], Any], inert: bool = False) -> Part:
    """A layer whose weight is changed in every forward."""

    def function(s: Any, h: Tensor) -> Tensor:
        with torch.no_grad():
            change(s.a)
        return s.a(h)

    made = Part(function, a=linear())
    made.inert = ("a.weight",) if inert else ()
    return made


@part(EITHER)
def normalised_in_place(r: random.Random) -> nn.Module:
    return rewrites(
        r.choice(
            [
                lambda a: a.weight.div_(a.weight.norm()),
                lambda a: a.weight.clamp_(-0.3, 0.3),
                lambda a: a.weight.mul_(0.9),
                lambda a: setattr(a.weight, "data", a.weight.data / a.weight.data.norm()),
            ]
        )
    )


@part(EITHER)
def overwritten(r: random.Random) -> nn.Module:
    fixed = torch.randn(WIDTH, WIDTH)
    return rewrites(
        r.choice(
            [
                lambda a: a.weight.copy_(fixed),
                lambda a: setattr(a.weight, "data", fixed.to(a.weight)),
                lambda a: setattr(a, "weight", nn.Parameter(fixed.to(a.weight))),
            ]
        ),
        inert=True,
    )


@part(EITHER)
def bypassed(r: random.Random) -> nn.Module:
    made = Part(lambda s, h: functional.linear(h, s.a.weight.detach().round() * 0 + 0.3, s.a.bias), a=linear())
    made.inert = ("a.weight",)
    return made


# State that acts, and random numbers ----------------------------------------------------------------------------------


def carries(read: Callable[[Any, Tensor], Any], write: Callable[[Any, Tensor], Any], **members: Any) -> Part:
    """A layer whose output depends on what an earlier pass left."""

    def function(s: Any, h: Tensor) -> Tensor:
        out = s.a(h) + read(s, h)
        write(s, out.detach().mean(0))
        return out

    return Part(function, a=linear(), **members)


@part(ILLEGAL)
def state_attribute(r: random.Random) -> nn.Module:
    return carries(lambda s, h: 0.5 * s.mem, lambda s, h: setattr(s, "mem", h), mem=0.0)


@part(ILLEGAL)
def state_with_history(r: random.Random) -> nn.Module:
    def function(s: Any, h: Tensor) -> Tensor:
        s.mem = s.a(h) + 0.5 * s.mem
        return s.mem

    return Part(function, a=linear(), mem=0.0)


@part(ILLEGAL)
def state_list(r: random.Random) -> nn.Module:
    return carries(lambda s, h: s.mem[-1], lambda s, h: s.mem.append(h), mem=[0.0])


@part(ILLEGAL)
def state_closure(r: random.Random) -> nn.Module:
    mem: list[Any] = [0.0]
    return carries(lambda s, h: mem[0], lambda s, h: mem.__setitem__(0, h))


@part(ILLEGAL)
def state_of_class(r: random.Random) -> nn.Module:
    class Kept(Part):
        mem: Any = 0.0

    def function(s: Any, h: Tensor) -> Tensor:
        out = s.a(h) + Kept.mem
        Kept.mem = out.detach().mean(0)
        return out

    return Kept(function, a=linear())


@part(ILLEGAL)
def state_default_argument(r: random.Random) -> nn.Module:
    def function(s: Any, h: Tensor, mem: list[Any] = [0.0]) -> Tensor:  # noqa: B006
        out = s.a(h) + mem[0]
        mem[0] = out.detach().mean(0)
        return out

    return Part(function, a=linear())


@part(ILLEGAL)
def acting_counter(r: random.Random) -> nn.Module:
    return carries(lambda s, h: 0.1 * s.calls, lambda s, h: setattr(s, "calls", s.calls + 1), calls=0)


@part(ILLEGAL)
def late_counter(r: random.Random) -> nn.Module:
    """Acts from its seventh call on only."""
    return carries(lambda s, h: float(s.calls > 6), lambda s, h: setattr(s, "calls", s.calls + 1), calls=0)


@part(ILLEGAL)
def cached_weight(r: random.Random) -> nn.Module:
    """Every pass after the first uses the weight of the first: no die but that one is ever measured."""

    def function(s: Any, h: Tensor) -> Tensor:
        if s.kept is None:
            s.kept = s.a.weight.detach().clone()
        return functional.linear(h, s.kept)

    return Part(function, a=linear(bias=False), kept=None)


@part(ILLEGAL)
def cached_output(r: random.Random) -> nn.Module:
    def function(s: Any, h: Tensor) -> Tensor:
        if s.kept is None or s.kept.shape != h.shape:
            s.kept = s.a(h).detach()
        return s.a(h) * 0.5 + s.kept

    return Part(function, a=linear(), kept=None)


def draws(noise: Callable[[Any, Tensor], Tensor], **members: Any) -> Part:
    """A layer that adds random numbers."""
    return Part(lambda s, h: s.a(h) + noise(s, h), a=linear(), **members)


@part(ILLEGAL)
def random_torch(r: random.Random) -> nn.Module:
    return draws(lambda s, h: torch.rand_like(h))


@part(ILLEGAL)
def random_dropout(r: random.Random) -> nn.Module:
    return Part(lambda s, h: functional.dropout(s.a(h), 0.5, training=True), a=linear())


@part(ILLEGAL)
def random_numpy(r: random.Random) -> nn.Module:
    return draws(lambda s, h: torch.from_numpy(np.random.rand(*h.shape)).to(h.dtype))


@part(ILLEGAL)
def random_python(r: random.Random) -> nn.Module:
    return draws(lambda s, h: h.new_tensor(random.random()))


@part(ILLEGAL)
def random_own_generator(r: random.Random) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    return draws(lambda s, h: torch.rand(h.shape, generator=generator, dtype=h.dtype))


@part(ILLEGAL)
def random_seldom(r: random.Random) -> nn.Module:
    return draws(lambda s, h: h * float(torch.rand(()) < 0.2))


@part(ILLEGAL)
def random_once(r: random.Random) -> nn.Module:
    """Jitters its weights by numbers that depend on the loudest sample only when it is loud."""
    return draws(lambda s, h: torch.rand_like(h) if h.abs().max() > 1 else torch.zeros_like(h))
