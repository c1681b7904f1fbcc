"""The methods by name: every trial of each, on networks with a place on a chip and without, and what is refused."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import pytest
import torch
from conftest import draw, events
from found import every_method
from placed import placed
from torch import nn
from torch.nn import functional

import chipmodels
import neurorobust as nr
from neurorobust.attacks import PGA
from neurorobust.core.params import ABOVE_ZERO, kind_of
from neurorobust.regularizers import Quantized, TaskLoss
from neurorobust.train.methods import METHODS, SCHEDULE, method

RIVALS = ["standard", "dropout", "forward_noise", "awp", "entropy_sgd", "abcd", "sam"]
VARIANTS = ["weights", "", "noise", "chip", "whitened", "quantized", "warm"]
NAMES = [*RIVALS, *(f"adversarial_{word}".rstrip("_") for word in VARIANTS)]


def perceptron():
    """A plain torch module, wrapped."""
    torch.manual_seed(0)
    return nr.wrap(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))), (
        draw(1, 6, 4).float(),
        torch.arange(6) % 3,
    )


def on_chip():
    """A spiking network that fits DYNAP-SE2."""
    data = events(1, 6)
    return placed([0, 0, 0, 1, 1, 1]), (data.x, data.y)


def test_every_method_has_four_trials():
    """The names of issue 6 first, in their order; four different candidates each, of one set of settings, which JSON
    can hold."""
    assert list(METHODS)[: len(NAMES)] == NAMES
    for found in METHODS.values():
        assert len({json.dumps([trial.settings, trial.schedule]) for trial in found.trials}) == 4
        for trial in found.trials:
            assert trial.settings.keys() == found.trials[0].settings.keys()
            replace(SCHEDULE, **trial.schedule)
    assert str(method("adversarial")) == "an attack on every kind (zeta 0.1, beta 0.4, steps 3)"


@pytest.mark.parametrize("build", [perceptron, on_chip], ids=["perceptron", "dynapse2"])
@every_method
def test_every_trial_takes_a_step(name, build):
    """In a loop of one's own, on any torch module and on a network for a chip: a finite gradient, a step that moves
    what is trained; its name tells the trials apart and holds no address."""
    chip = nr.mismatch(0.1) if build is perceptron else chipmodels.load("dynapse2")
    known = set()
    for trial in METHODS[name].trials:
        network, batch = build()
        loss = METHODS[name].regularize(functional.cross_entropy, chip, **trial.settings)
        known.add(repr(loss) + json.dumps(trial.schedule))
        assert not re.search("0x", repr(loss))
        params = dict(network.named_parameters())
        optimizer = torch.optim.SGD(params.values(), lr=1e-4)
        before = nr.nominal(network)
        loss(network, params, batch).backward()
        assert all(value.grad is None or value.grad.isfinite().all() for value in params.values())
        optimizer.step()
        moved = {key for key, value in nr.nominal(network).items() if not torch.equal(value, before[key])}
        assert moved >= {key for key in params if key.endswith("weight")}
        assert all((value > 0).all() for key, value in params.items() if kind_of(key) in ABOVE_ZERO)
    assert len(known) == 4


def test_each_method_builds_what_its_name_says():
    """The class, what it goes around, and what is attacked: weights and biases only, as published, or every kind."""
    chip, every = chipmodels.load("dynapse2"), set(nr.Ball.uniform(0.1).radii)
    built = {}
    for name in NAMES:
        loss = METHODS[name].regularize(functional.cross_entropy, chip, **METHODS[name].trials[0].settings)
        parts = (loss, getattr(loss, "inner", None))
        built[name] = [type(part).__name__ for part in parts if not isinstance(part, TaskLoss | None)], loss
    assert {name: classes for name, (classes, _) in built.items()} == {
        "standard": [],
        "dropout": ["Dropout"],
        "forward_noise": ["ForwardNoise"],
        "awp": ["AWP"],
        "entropy_sgd": ["EntropySGD"],
        "abcd": ["ABCD"],
        "sam": ["SAM"],
        "adversarial_weights": ["Adversarial"],
        "adversarial": ["Adversarial"],
        "adversarial_noise": ["Adversarial", "ForwardNoise"],
        "adversarial_chip": ["Adversarial"],
        "adversarial_whitened": ["Whitened"],
        "adversarial_quantized": ["ProgrammedOn", "Adversarial"],
        "adversarial_warm": ["WarmAdversarial"],
    }
    losses = {name: loss for name, (_, loss) in built.items()}
    assert set(losses["adversarial_weights"].ball.radii) == {"weight", "bias"}
    for name in ("awp", "adversarial", "adversarial_noise", "adversarial_warm"):
        assert set(losses[name].ball.radii) == every, name
    assert losses["adversarial_quantized"].inner.ball.radii == losses["adversarial"].ball.radii
    for name in ("adversarial", "adversarial_weights", "adversarial_noise", "adversarial_chip", "adversarial_whitened"):
        assert (losses[name].attack, losses[name].beta) == (PGA(steps=3), 0.4), name
    assert losses["awp"].attack == PGA(steps=3, objective="ce") and losses["adversarial_warm"].steps == 1


@every_method
def test_without_a_chip(name):
    """Two methods need a chip that varies and say so; all others do without."""
    for chip, got in ((None, "none"), (chipmodels.load("ideal"), "ideal, which does not vary")):
        if METHODS[name].needs_chip:
            with pytest.raises(ValueError, match=rf"chip: got {got}; this method needs one that varies"):
                METHODS[name].regularize(functional.cross_entropy, chip)
        else:
            network, batch = perceptron()
            assert (
                METHODS[name].regularize(functional.cross_entropy, chip)(network, nr.nominal(network), batch).isfinite()
            )
    if name in NAMES:
        assert METHODS[name].needs_chip == (name in ("adversarial_chip", "adversarial_whitened"))


@every_method
def test_every_method_trains_and_resumes(name, task, tmp_path):
    """Two epochs of the tiny task, in one go or interrupted after the first: the same parameters, bit for bit."""
    schedule = replace(SCHEDULE, batch_size=12, select_every=1, **METHODS[name].trials[0].schedule)

    def trained(out, epochs, max_seconds=math.inf):
        network, limited = task.network(), replace(schedule, max_seconds=max_seconds)
        loss = METHODS[name].regularize(task.loss, nr.mismatch(0.1))
        history = nr.fit(network, task, loss, epochs=2, seed=1, schedule=limited, out=tmp_path / out)
        assert len(history.rows) == epochs and all(math.isfinite(row["loss"]) for row in history.rows)
        return network

    whole = trained("whole", 2)
    trained("parts", 1, max_seconds=1e-9)
    resumed = trained("parts", 2)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other) and one.isfinite().all()


def test_quantized_without_a_chip_uses_the_given_bits():
    """Where no chip quantizes, weights have 4 bits, or as many as asked for: the values of a layer are that few."""
    network, _ = perceptron()
    for bits in (4, 2):
        loss = method("adversarial_quantized").regularize(functional.cross_entropy, None, bits=bits)
        assert isinstance(loss, Quantized)
        held = loss.quantized_params(nr.nominal(network), nr.chip.Placement())
        assert len(held["2.weight"].unique()) <= 2 ** (bits + 1) - 1


def test_unknown_names_are_refused():
    """A method or a setting that does not exist, with the nearest that does."""
    with pytest.raises(ValueError, match=r"method: 'adversarail' does not exist.*Did you mean 'adversarial'"):
        method("adversarail")
    with pytest.raises(ValueError, match=r"settings: 'zeeta' does not exist; choose one of beta, steps, zeta"):
        method("adversarial").regularize(functional.cross_entropy, zeeta=0.1)


def test_dropout_names_its_weights(network):
    """Where none are named, recurrent spikes are dropped; in a network without, what later dense layers read."""
    data = events(1, 6)
    for net, batch, names in (
        (network, (data.x, data.y), ("hidden.recurrent.weight",)),
        (*perceptron(), ("2.weight",)),
    ):
        default, named = (nr.regularizers.Dropout(functional.cross_entropy, 0.5, *some) for some in ((), names))
        one, two = (loss(net, nr.nominal(net), batch, torch.Generator().manual_seed(3)) for loss in (default, named))
        assert torch.equal(one, two)
