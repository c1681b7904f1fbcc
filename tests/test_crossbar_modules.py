"""Wrapped torch modules and snnTorch networks on crossbars: each matrix in arrays of its own, everything else exact."""

from __future__ import annotations

import re
import threading
from dataclasses import replace

import pytest
import snntorch as snn
import torch
from conftest import draw
from torch import nn
from torch.nn.utils import prune

import chipmodels
import neurorobust as nr
from neurorobust.data import Data

CROSSBARS = ["pcm", "hermes", "reram", "reram_cmo"]
PCM = chipmodels.load("pcm")


def seeded(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for i, value in enumerate(module.parameters()):
            value.copy_(0.3 * draw(i, *value.shape))
    return module


def mlp() -> tuple[nn.Module, Data]:
    """300 inputs, so two tiles of rows; 260 hidden units, so two groups of columns."""
    module = seeded(nn.Sequential(nn.Linear(300, 260), nn.ReLU(), nn.Linear(260, 2)))
    return nr.wrap(module), labelled(draw(9, 16, 300).float())


def cnn() -> tuple[nn.Module, Data]:
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    return nr.wrap(seeded(module)), labelled(draw(9, 16, 1, 8, 8).float())


def one_matrix() -> tuple[nn.Module, Data]:
    """The module itself is the layer: its weight has no prefix."""
    return nr.wrap(seeded(nn.Linear(6, 2))), labelled(draw(9, 16, 6).float())


def pruned() -> tuple[nn.Module, Data]:
    module = seeded(nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)))
    prune.l1_unstructured(module[0], "weight", 0.5)
    return nr.wrap(module, kinds={"0.weight_orig": "weight"}), labelled(draw(9, 16, 6).float())


def spiking() -> tuple[nn.Module, Data]:
    module = nn.Sequential(
        seeded(nn.Linear(5, 7)),
        snn.Leaky(beta=0.9, init_hidden=True),
        seeded(nn.Linear(7, 2)),
        snn.Leaky(beta=0.8, init_hidden=True, output=True),
    )
    return nr.from_snntorch(module, 1e-3), labelled((draw(9, 16, 20, 5) > 0.5).float())


def labelled(x: torch.Tensor) -> Data:
    return Data(x, torch.arange(len(x)) % 2)


NETWORKS = {each.__name__: each for each in (mlp, cnn, one_matrix, pruned, spiking)}


@pytest.mark.parametrize("chip", CROSSBARS)
@pytest.mark.parametrize("name", NETWORKS)
def test_matrices_are_deployed_with_the_dies_of_evaluate(name, chip):
    """Every weight deviates, nothing else; the logits of each die are those that nr.evaluate scores."""
    model = chipmodels.load(chip)
    network, data = NETWORKS[name]()
    deployment = nr.deploy.onto(network, model, data)
    assert not deployment.check() and f"on {len(data)} samples" in str(deployment.report)
    result = nr.evaluate(network, data, model, n_dies=2)
    assert deployment.report.scores == (result.nominal, result.programmed)
    programmed = model.program(nr.nominal(network), network.placement())
    for die, params in zip(model.fabricate([0, 1], 1), deployment.dies([0, 1])):
        expected = nr.apply(programmed.params, die.deviations(programmed), programmed.placement)
        assert params.keys() == expected.keys()
        assert all(torch.equal(params[full], value) for full, value in expected.items())
        for full, value in nr.nominal(network).items():
            assert torch.equal(params[full], value.expand_as(params[full])) != full.endswith("weight"), full
        logits = nr.run(deployment.network, params, data.x)
        assert torch.equal(logits, nr.run(network, expected, data.x))


def test_a_matrix_takes_as_many_tiles_as_it_needs():
    """(300 × 260) is two groups of columns on two tiles of rows each; (260 × 2) one group on two tiles."""
    network, _ = mlp()
    deployment = nr.deploy.onto(network, PCM)
    assert deployment.cores["0"].tolist() == [0] * 256 + [1] * 4 and deployment.cores["2"].tolist() == [2, 2]
    used = {each.what: each.used for each in deployment.report.usage}
    assert used == {"tiles": 6, "cells": 300 * 260 + 260 * 2, "inputs of a neuron": 300}
    small = replace(PCM, architecture=replace(PCM.architecture, cores=5), limits=replace(PCM.limits, cores=5))
    with pytest.raises(nr.deploy.DeploymentError, match="tiles of the network: got 6; a chip has 5") as caught:
        nr.deploy.onto(network, small)
    assert [each.limit for each in caught.value.violations] == ["tiles"]
    with pytest.raises(ValueError, match="tiles: the network takes 6 tiles of 256 rows; pcm has 5"):
        small.program(nr.nominal(network), network.placement())


def test_the_same_scale_and_the_same_deviation_whatever_the_other_matrices_are():
    """A matrix has groups of its own: the scale of one does not depend on the weights of another."""
    network, _ = mlp()
    before = nr.deploy.onto(network, PCM).programmed.held["weight", 2].gain
    with torch.no_grad():
        network.get_submodule("_module")[0].weight.mul_(7)
    assert nr.deploy.onto(network, PCM).programmed.held["weight", 2].gain == before


def test_weights_are_quantized_in_the_deployed_network_alone():
    network, _ = cnn()
    before = {name: value.clone() for name, value in nr.nominal(network).items()}
    deployment = nr.deploy.onto(network, PCM.with_bits(3))
    assert all(torch.equal(value, before[name]) for name, value in nr.nominal(network).items())
    held = nr.nominal(deployment.network)
    assert len(held["0.weight"].unique()) <= 8 and torch.equal(held["0.bias"], before["0.bias"])
    assert torch.equal(held["0.weight"], deployment.programmed.params["0.weight"])


def test_ageing_reaches_the_matrices():
    network, data = cnn()
    fresh, old = (nr.deploy.onto(network, chip) for chip in (PCM, PCM.at("1 year")))
    here, there = next(fresh.dies([0])), next(old.dies([0]))
    assert not torch.equal(here["0.weight"], there["0.weight"]) and torch.equal(here["0.bias"], there["0.bias"])
    assert nr.evaluate(network, data, PCM.at("1 year"), n_dies=1).programmed == pytest.approx(
        nr.evaluate(network, data, PCM, n_dies=1).programmed
    )


def test_other_chips_get_no_arrays():
    """dynapse2 has neurons; mismatch and ideal need no place, so their dies are as before."""
    network, _ = one_matrix()
    with pytest.raises(ValueError, match="sits on no core, but dynapse2 needs one"):
        chipmodels.load("dynapse2").program(nr.nominal(network), network.placement())
    with pytest.raises(
        TypeError,
        match=r"got a Wrapped; expected a neurorobust\.Network, .* for a crossbar such as pcm also a wrapped module",
    ):
        nr.deploy.onto(network, chipmodels.load("dynapse2"))
    assert nr.mismatch(0.1).program(nr.nominal(network), network.placement()).placement.cores == {}


@pytest.mark.parametrize(
    ("module", "kinds", "where"),
    [
        (nn.RNN(4, 3), {}, ["the network", "weight_ih_l0.weight", "weight_hh_l0.weight"]),
        (nn.Sequential(nn.Conv2d(2, 4, 1, groups=2), nn.Conv2d(4, 2, 1)), {}, ["0.weight"]),
        (nn.Linear(4, 2), {"*": "digital"}, ["the network"]),
    ],
)
def test_weights_that_are_no_matrix_are_named(module, kinds, where):
    network = nr.wrap(module, kinds=kinds, decode=lambda output: output)
    with pytest.raises(nr.deploy.DeploymentError) as caught:
        nr.deploy.onto(network, PCM)
    assert [each.where for each in caught.value.violations] == where


def test_a_deployment_has_a_copy_of_its_own():
    """Training the network afterwards changes neither the deployed network nor its dies."""
    network, data = cnn()
    deployment = nr.deploy.onto(network, PCM)
    before, logits = next(deployment.dies([0])), nr.run(deployment.network, nr.nominal(deployment.network), data.x)
    with torch.no_grad():
        for value in network.parameters():
            value.add_(1)
    assert all(torch.equal(value, before[name]) for name, value in next(deployment.dies([0])).items())
    assert torch.equal(nr.run(deployment.network, nr.nominal(deployment.network), data.x), logits)


def test_a_module_that_cannot_be_copied_is_refused_by_name():
    module = seeded(nn.Linear(6, 2))
    module.lock = threading.Lock()
    with pytest.raises(nr.deploy.DeploymentError, match="copy of the network: got cannot pickle"):
        nr.deploy.onto(nr.wrap(module), PCM)


def test_a_deployment_of_foreign_code_is_not_saved(tmp_path):
    network, _ = cnn()
    with pytest.raises(ValueError, match=re.escape("a Wrapped is code, which a deployment file cannot hold; save it")):
        nr.deploy.onto(network, PCM).save(tmp_path / "net.json")
    assert not list(tmp_path.iterdir())
