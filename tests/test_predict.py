"""Data sets in blocks: the value and the gradient of one graph, in memory that does not grow with the data."""

from __future__ import annotations

from functools import partial
from importlib import import_module

import pytest
import torch
from conftest import draw, events, tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.profiler import profile

import neurorobust as nr
from neurorobust.attacks import APGD, OBJECTIVES, PGA
from neurorobust.core.run import forward
from neurorobust.data import Data
from neurorobust.evaluation import worst_case
from neurorobust.evaluation.predict import ATTACK_BATCH, predict_all, predict_batched


class PerStep(nn.Module):
    """Inputs (B, T, 3) → logits (B, T, 4), linear in none of its parameters."""

    def __init__(self, width=5):
        super().__init__()
        self.weight = nn.Parameter(draw(1, width, 3))
        self.out = nn.Linear(width, 4).double()
        with torch.no_grad():
            self.out.weight.copy_(draw(2, 4, width))

    def forward(self, x):
        return self.out(torch.tanh(x @ self.weight.T)), {}


class Blind(nn.Module):
    """Outputs without a gradient."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(draw(1, 2, 3))

    def forward(self, x):
        return (x @ self.weight.detach().T), {}


def case(kind):
    """A network with 23 samples: spiking, a label for every step, or targets to regress."""
    if kind == "spiking":
        data = events(0, 23)
        return tiny(), data.x, data.y
    x = draw(0, 23, 6, 3)
    return PerStep(), x, (draw(3, 23, 6, 4) if kind == "regression" else (x.sum(-1) > 0).long())


CLASSES = sorted(set(OBJECTIVES) - {"mse"})


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in ("spiking", "per step") for name in CLASSES] + [("regression", "mse")],
)
@settings(max_examples=4)
@given(block=st.integers(1, 22))
def test_blocks_are_one_graph(kind, name, block):
    """Value and gradient, every objective, blocks of 1 to 22 of 23 samples against one graph: to 1e-12 in float64, the
    scale of the margin and the mean over samples and steps included, the last block shorter than the others."""
    network, x, y = case(kind)
    clean = forward(network, nr.nominal(network), x)[0].detach()

    def value_and_gradients(outputs_of):
        leaves = {key: (1.05 * value).requires_grad_() for key, value in nr.nominal(network).items()}
        value = OBJECTIVES[name](outputs_of(leaves), clean, y)
        return value.detach(), torch.autograd.grad(value, list(leaves.values()))

    value, gradients = value_and_gradients(lambda params: forward(network, params, x)[0])
    found, blockwise = value_and_gradients(lambda params: predict_batched(network, params, x, block))
    torch.testing.assert_close(found, value, rtol=1e-12, atol=0)
    for one, other in zip(blockwise, gradients):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12 * float(other.abs().max()) + 1e-300)


def test_one_block_is_one_graph_to_the_bit():
    """Data that fit in a block use the ordinary forward pass: the same bits of outputs and gradients, in float32."""
    network, x = tiny().float(), events(0, 30).x.float()
    results = []
    for outputs_of in (
        lambda params: forward(network, params, x)[0],
        lambda params: predict_batched(network, params, x, 30),
    ):
        leaves = {key: value.requires_grad_() for key, value in nr.nominal(network).items()}
        outputs = outputs_of(leaves)
        results.append([outputs, *torch.autograd.grad(outputs.square().sum(), list(leaves.values()))])
    assert all(torch.equal(one, other) for one, other in zip(*results))


@pytest.mark.parametrize("attack", [PGA(3, objective="ce"), APGD(4, objective="margin")], ids=["PGA", "APGD"])
def test_an_attack_on_many_samples(attack, monkeypatch):
    """2·1000 + 3 samples: the score, the passes and the die (to 1e-12) of the attack that holds all in one graph."""
    network, data = PerStep(), Data(draw(0, 2 * ATTACK_BATCH + 3, 3), torch.arange(2 * ATTACK_BATCH + 3) % 4)
    data.x[:, 0] += data.y - 1.5
    found = worst_case(network, data, nr.Ball(weight=0.2), attack, seed=1)
    for name in ("batched_search", "worst_case"):
        module = import_module(f"neurorobust.evaluation.{name}")
        monkeypatch.setattr(module, "predict_all", partial(predict_all, block=10**6))
    whole = worst_case(network, data, nr.Ball(weight=0.2), attack, seed=1)
    assert (found.score, found.passes, found.recall) == (whole.score, whole.passes, whole.recall)
    assert found.attack == repr(attack)
    for name, delta in found.deviations.items():
        torch.testing.assert_close(delta, whole.deviations[name], rtol=0, atol=1e-12)


def most_held(work) -> int:
    """The most bytes of tensors that a computation held at once, counted by torch's allocator."""
    with profile(profile_memory=True) as record:
        work()
    events = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


@pytest.mark.parametrize(("network", "steps"), [(PerStep(500), 20), (tiny(), 200)], ids=["torch", "compiled loop"])
def test_memory_stays_bounded(network, steps):
    """The gradient over 1600 samples in blocks of 100 holds at most 1.5 × what 200 in blocks of 100 hold; in one graph
    it is above 6 times."""
    small, large = draw(0, 200, steps, 3), draw(0, 1600, steps, 3)

    def gradient(x, block):
        leaves = {key: value.requires_grad_() for key, value in nr.nominal(network).items()}
        torch.autograd.grad(predict_batched(network, leaves, x, block).square().mean(), list(leaves.values()))

    gradient(small, 100)  # compiles
    few = most_held(lambda: gradient(small, 100))
    assert most_held(lambda: gradient(large, 100)) < 1.5 * few
    assert most_held(lambda: gradient(large, 1600)) > 6 * few  # the count sees what a graph holds


def test_a_network_without_a_gradient_is_refused_in_blocks_too():
    """The words of one graph."""
    n = ATTACK_BATCH + 1
    with pytest.raises(ValueError, match="does not depend on any deviation in the ball through a gradient"):
        worst_case(Blind(), Data(draw(0, n, 3), torch.arange(n) % 2), nr.Ball(weight=0.1), PGA(1))


def test_the_backward_pass_leaves_the_network_alone():
    """Blocks are run again in the backward pass: a batch norm's buffers and everything's mode are as they were."""
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)).double()
    model, n = nr.wrap(module, {"1.*": "digital"}), ATTACK_BATCH + 5
    before = {name: value.clone() for name, value in module.state_dict().items()}
    worst_case(model, Data(draw(0, n, 3), torch.arange(n) % 2), nr.Ball(weight=0.1), PGA(2))
    assert module.training and all(part.training for part in module.modules())
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
