"""Contracts of every attack and every regularizer, over all that are found."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from conftest import draw, events, tiny
from found import ATTACKS, REGULARIZERS, every_attack, every_regularizer
from torch.nn import functional

from neurorobust._util.randomness import generator as keyed_generator
from neurorobust.attacks import APGD, PGA, Ball, L2Ball, Suite, thorough
from neurorobust.core.apply import apply
from neurorobust.core.params import KINDS, SIGNED, kind_of
from neurorobust.core.placement import expand
from neurorobust.core.run import nominal
from neurorobust.evaluation import random_search, worst_case
from neurorobust.nn.network import placement_of
from neurorobust.regularizers import (
    ABCD,
    SAM,
    EntropySGD,
    Regularizer,
    TaskLoss,
    WarmAdversarial,
    as_regularizer,
)

BATCH = events(5, 6)


class Fixed(Regularizer):
    """A loss that carries nothing, with a generator of its own: what is around it cannot shift its draws."""

    def __init__(self, inner):
        self.inner = as_regularizer(inner)

    def total(self, step):
        self.restore({})
        return self.inner.total(replace(step, generator=torch.Generator().manual_seed(11)))


def value_and_gradients(loss: Regularizer, network, kinds=KINDS):
    """A loss and its gradients on the batch, by name, as the first batch."""
    loss.restore({})
    params = {name: value.requires_grad_(kind_of(name) in kinds) for name, value in nominal(network).items()}
    leaves = {name: value for name, value in params.items() if value.requires_grad}
    value = loss(network, params, (BATCH.x, BATCH.y), torch.Generator().manual_seed(1))
    gradients = torch.autograd.grad(value, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return value.detach(), dict(zip(leaves, gradients))


@cache
def trained() -> torch.nn.Module:
    """The tiny network, its weights trained for sixty steps: it tells the classes apart, so there is what to break."""
    network, data = tiny(4), events(9, 60)
    weights = [value for name, value in network.named_parameters() if name.endswith(("weight", "bias"))]
    optimizer = torch.optim.Adam(weights, lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        functional.cross_entropy(network(data.x)[0], data.y).backward()
        optimizer.step()
    return network.requires_grad_(False)


def test_the_walk_finds_what_there_is():
    """The attacks and regularizers of issues 2 and 3 are among those found."""
    assert {"APGD", "PGA", "RandomSearch", "SPSA"} <= set(ATTACKS)
    assert {"ABCD", "AWP", "Adversarial", "ForwardNoise", "SAM", "TaskLoss"} <= set(REGULARIZERS)


@pytest.mark.parametrize("kind", [Ball, L2Ball])
@every_attack
def test_an_attack_of_a_network_keeps_to_its_ball(attack, kind):
    """On the trained network: only tau_mem moves, on every neuron, within ζ; the network stays as it was."""
    network = trained()
    before = nominal(network)
    found = worst_case(network, events(10, 20), kind(tau_mem=0.4), attack, seed=1)
    assert {name: tuple(delta.shape) for name, delta in found.deviations.items()} == {
        "hidden.tau_mem": (6,),
        "readout.tau_mem": (2,),
    }
    for delta in found.deviations.values():
        assert (delta.abs().max() if kind is Ball else delta.norm() * (1 - 1e-14)) <= 0.4
    assert found.passes == attack.passes
    assert all(torch.equal(before[name], value) for name, value in nominal(network).items())
    placement = placement_of(network)
    star, plain = apply(before, found.deviations, placement), expand(before, placement)
    assert all(torch.equal(star[name], plain[name]) for name in plain if not name.endswith("tau_mem"))


@every_attack
def test_an_attack_depends_on_its_generator_alone(attack):
    """The same bits for the same seed whatever the global generator holds, which is left as it was; other bits for
    another seed; two searches of one attack share nothing."""
    slope, center = draw(4, 30), {"a.weight": torch.zeros(5, 6).double(), "b.bias": torch.zeros(4).double()}

    def found(seed, before):
        torch.manual_seed(before)
        state = torch.get_rng_state()

        def loss(deviations):
            return torch.sin(9 * slope * deviations["a.weight"].flatten()).sum() + deviations["b.bias"].sum()

        result = attack.search(loss, center, Ball(weight=0.3, bias=0.2), torch.Generator().manual_seed(seed))
        assert torch.equal(torch.get_rng_state(), state)
        return result["a.weight"]

    one = found(1, 0)
    assert not torch.equal(one, found(2, 0))
    assert torch.equal(one, found(1, 7))


@every_attack
def test_an_attack_is_at_least_as_strong_as_random_search(attack):
    """On the trained network, with as many forward passes: no higher balanced accuracy, on average over three seeds."""
    network, data, ball = trained(), events(10, 40), Ball.uniform(0.3)
    found = [worst_case(network, data, ball, attack, seed=seed) for seed in range(3)]
    control = [random_search(network, data, ball, passes=found[0].passes, seed=seed) for seed in range(3)]
    assert sum(one.score for one in found) <= sum(one.score for one in control)


@pytest.mark.parametrize("radius", [0.1, 0.3])
@pytest.mark.parametrize(
    "attack",
    [PGA(10), PGA(10, objective="ce"), APGD(10), APGD(10, math.inf, "margin"), thorough(5, 2)],
    ids=lambda attack: "thorough" if isinstance(attack, Suite) else repr(attack),
)
def test_attacks_beat_random_search(attack, radius):
    """On the trained network, at equal forward passes, random search leaves a higher balanced accuracy."""
    network, data, ball = trained(), events(10, 40), Ball.uniform(radius)
    found = worst_case(network, data, ball, attack, seed=3)
    control = random_search(network, data, ball, passes=found.passes, seed=4)
    assert control.passes == found.passes
    assert found.score < control.score


def test_the_network_that_is_attacked_has_something_to_lose():
    """The trained network is right on nine tenths of unseen samples; under that suite at 0.3 on half at most."""
    network, data = trained(), events(10, 40)
    assert random_search(network, data, Ball(weight=0.0), passes=1).score >= 0.9
    assert worst_case(network, data, Ball.uniform(0.3), thorough(5, 2)).score <= 0.5


@every_regularizer
def test_a_regularizer_depends_on_its_generator_alone(kind):
    """The same first value and gradients for the same seed whatever the global generator holds, which is left as it
    was; the network's own parameters neither move nor gather a gradient; the call without a generator is repeatable."""
    network = tiny()
    loss, before = kind.example(functional.cross_entropy), nominal(network)
    torch.manual_seed(0)
    state = torch.get_rng_state()
    value, gradients = value_and_gradients(loss, network)
    assert torch.equal(torch.get_rng_state(), state)
    assert value.isfinite() and all(gradient.isfinite().all() for gradient in gradients.values())
    torch.manual_seed(1)
    again, repeated = value_and_gradients(loss, network)
    assert torch.equal(value, again)
    assert all(torch.equal(gradients[name], repeated[name]) for name in gradients)
    assert all(torch.equal(before[name], value) for name, value in nominal(network).items())
    assert all(parameter.grad is None for parameter in network.parameters())
    plain = loss.restore({})(network, before, (BATCH.x, BATCH.y))
    keyed = loss.restore({})(network, before, (BATCH.x, BATCH.y), keyed_generator(0, "regularizer"))
    assert torch.equal(plain, keyed)


@pytest.mark.parametrize("inner", REGULARIZERS.values(), ids=REGULARIZERS)
@pytest.mark.parametrize("outer", REGULARIZERS.values(), ids=REGULARIZERS)
def test_regularizers_nest(outer, inner):
    """Any regularizer of no strength around any other, as it is used, is the other: to 1e-12, gradients to 1e-10.

    What moves the trained parameters moves neurons where the other has expanded what is set once a core: for these only
    weights and biases are trained here.
    """
    network, kinds = tiny(1), SIGNED if inner in (ABCD, EntropySGD, SAM) else KINDS
    alone = Fixed(inner.example(functional.cross_entropy))
    value, gradients = value_and_gradients(alone, network, kinds)
    nested_value, nested = value_and_gradients(outer.example(alone, strength=0.0), network, kinds)
    torch.testing.assert_close(nested_value, value, rtol=1e-12, atol=0)
    for name, gradient in gradients.items():
        torch.testing.assert_close(nested[name], gradient, rtol=1e-10, atol=1e-14, msg=name)


@every_regularizer
def test_a_regularizer_does_something(kind):
    """As it is used, its gradient is not the task's: the contracts above are not about nothing."""
    network = tiny(1)
    _, plain = value_and_gradients(as_regularizer(functional.cross_entropy), network)
    _, used = value_and_gradients(kind.example(functional.cross_entropy), network)
    name = "hidden.input.weight"
    changed = (used[name] - plain[name]).abs().max() > 1e-6 * plain[name].abs().max()
    assert changed or kind is TaskLoss


@every_regularizer
def test_a_regularizer_goes_on_from_its_state(kind):
    """One that is given the state of another after two batches gives the third's bits; what it carries is tensors that
    a checkpoint can hold, and none of it is in the name a checkpoint knows it by."""
    network, params, batch = tiny(), nominal(tiny()), (BATCH.x, BATCH.y)
    params = {name: value.requires_grad_() for name, value in params.items()}
    one, two = (kind.example(WarmAdversarial.example(functional.cross_entropy)) for _ in range(2))
    name = repr(one)
    for seed in (1, 2):
        one(network, params, batch, torch.Generator().manual_seed(seed))
    state = {key: value.clone() for key, value in one.state().items()}
    assert any(key.startswith("inner/") for key in state) or kind is TaskLoss
    third = [loss(network, params, batch, torch.Generator().manual_seed(3)) for loss in (one, two.restore(state))]
    assert torch.equal(*third)
    gradients = [torch.autograd.grad(value, params["hidden.input.weight"])[0] for value in third]
    assert torch.equal(*gradients)
    assert one.state().keys() == two.state().keys() == state.keys()
    assert all(torch.equal(value, two.state()[key]) for key, value in one.state().items())
    assert repr(one) == name
    assert one.restore({}).state() == {}
