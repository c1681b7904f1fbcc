"""The reference path allocates nothing on any other device than the network's: torch's meta device stands for a GPU."""

from __future__ import annotations

import pytest
import torch
from conftest import DT
from found import every_neuron, neuron_example
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import neurorobust as nr
from neurorobust.attacks.attack import gradient_of_sum
from neurorobust.core.run import forward
from neurorobust.nn.connections import Linear


class OnlyMeta(TorchDispatchMode):
    """Raises where an operation of torch gives a tensor on another device."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and not tensor.is_meta:
                raise AssertionError(f"{operation} made a tensor {tuple(tensor.shape)} on {tensor.device}")
        return result


@every_neuron
@pytest.mark.parametrize("per_neuron", [True, False], ids=["per neuron", "scalar"])
def test_nothing_is_made_on_another_device(model, per_neuron):
    """Deviations applied, forward, backward to parameters and deviations, an ascent step and its projection."""
    layers = {"hidden": neuron_example(model, per_neuron=per_neuron)}
    layers["readout"] = nr.neurons.LeakyIntegrator(Linear(torch.ones(2, layers["hidden"].n)), tau_mem=0.02)
    network = nr.Network(layers, DT).to("meta", torch.float32)
    x, y = torch.zeros(4, 7, 3, device="meta"), torch.zeros(4, dtype=torch.long, device="meta")
    ball = nr.Ball.uniform(0.1)
    with OnlyMeta():
        params, placement = dict(network.named_parameters()), nr.nn.placement_of(network)
        center = ball.center(params, placement)
        leaves = {name: zero.detach().requires_grad_() for name, zero in center.items()}
        logits, spikes = forward(network, nr.apply(params, leaves, placement), x)
        loss = torch.nn.functional.cross_entropy(logits, y)
        gradient = gradient_of_sum([loss], leaves | params)
        moved = ball.project(ball.ascent_step(leaves, gradient, 0.3))
    assert logits.shape == (4, 2) and spikes["hidden"].shape == (7, 4, layers["hidden"].n)
    assert {name: delta.shape for name, delta in moved.items()} == {name: zero.shape for name, zero in center.items()}


def test_another_device_is_noticed():
    """The watch itself raises for a tensor on the CPU."""
    with pytest.raises(AssertionError, match="on cpu"), OnlyMeta():
        torch.zeros(3)
