"""Physical neurons that are chosen: the same codes at other places, and the choice by measurements."""

from __future__ import annotations

import pytest
import torch
from imaged import dpi_network

import chipmodels
import neurorobust as nr
from neurorobust.deploy import Deployment, VirtualChip
from neurorobust.nn.fleet_run import fleet_logits

CHIP = chipmodels.load("dynapse2")
SEED = 4


def deployed(chip: nr.chip.ChipModel = CHIP) -> Deployment:
    """Two layers that share cores 0 and 1: three neurons on core 0, four on core 1, one on core 2."""
    return nr.deploy.onto(dpi_network(([0, 1, 0, 1], [1, 0, 2, 1]), v_threshold=0.01), chip)


def inputs(n: int = 5) -> torch.Tensor:
    return (torch.rand(n, 40, 4, generator=torch.Generator().manual_seed(0)) < 0.4).float()


CHOSEN = {"layer0": torch.tensor([200, 3, 0, 255]), "layer1": torch.tensor([1, 2, 17, 0])}


def deviations(deployment: Deployment) -> dict[tuple[int, int], float]:
    """The deviation of tau_mem at each site of a die."""
    (die,) = CHIP.fabricate([3], SEED)
    found = die.deviations(deployment.programmed)
    sites = deployment.programmed.placement.numbering
    return {
        place: value
        for layer in deployment.cores
        for place, value in zip(
            zip(sites[layer].core.tolist(), sites[layer].number.tolist()), found[f"{layer}.tau_mem"].tolist()
        )
    }


def test_a_site_of_a_die_deviates_alike_whatever_neuron_is_there():
    deployment = deployed()
    swapped = {"layer0": torch.tensor([2, 3, 1, 1]), "layer1": torch.tensor([0, 0, 0, 2])}
    first, second = deviations(deployment), deviations(deployment.at_neurons(swapped))
    assert first.keys() == second.keys() and len(set(first.values())) == 8
    for place, value in first.items():
        assert second[place] == pytest.approx(value, rel=1e-5)
    assert not deviations(deployment.at_neurons(CHOSEN)).keys() >= first.keys()


def test_the_file_and_the_board_have_the_chosen_neurons(tmp_path):
    """Saved and loaded, the dies are the same; a board computes them; without the choice they are others."""
    deployment = deployed()
    moved = deployment.at_neurons(CHOSEN)
    again = nr.deploy.load(moved.save(tmp_path / "net.json"), CHIP)
    assert nr.deploy.diff(moved, again) == [] and nr.deploy.diff(deployment, again)
    for layer, numbers in CHOSEN.items():
        assert again.programmed.placement.numbering[layer].number.tolist() == numbers.tolist()
    logits = [next(fleet_logits(each.network, each.dies([2], SEED), inputs())) for each in (deployment, moved, again)]
    assert torch.equal(logits[1], logits[2]) and not torch.equal(logits[0], logits[1])
    with VirtualChip(CHIP, 2, seed=SEED).open() as session:
        session.program(again)
        assert torch.equal(nr.deploy.logits(again, nr.deploy.measure(session, inputs())), logits[1])


@pytest.mark.parametrize("name", ["dynapse1", "dynapse2"])
def test_the_image_has_the_chosen_neurons(name):
    network = dpi_network(([0, 1, 0, 1], [1, 0, 2, 1]), v_threshold=0.01, adaptation=None, tau_adapt=None)
    deployment = nr.deploy.onto(network, chipmodels.load(name))
    moved = deployment.at_neurons(CHOSEN)
    image = moved.image()
    assert [neuron.number for neuron in image.neurons] == torch.cat(list(CHOSEN.values())).tolist()
    assert image.check() == image.check(moved) == [] and image.check(deployment)


def test_other_places_are_refused():
    deployment = deployed()
    for numbers, words in (
        ({"layer0": CHOSEN["layer0"]}, r"got layers \['layer0'\]; expected \['layer0', 'layer1'\]"),
        (CHOSEN | {"layer1": torch.tensor([1, 2, 256, 0])}, r"'layer1': neuron 2 has 256; a core of dynapse2 has 256"),
        (CHOSEN | {"layer1": torch.tensor([1, -2, 6, 0])}, r"'layer1': neuron 1 has -2; a core of dynapse2 has 256"),
        (
            CHOSEN | {"layer1": torch.tensor([3, 2, 17, 0])},
            r"core 1, neuron 3 is neuron 1 of layer 'layer0' and neuron 0 of layer 'layer1'",
        ),
        (CHOSEN | {"layer1": torch.tensor([1, 2, 17])}, r"of shape \(3,\); expected torch.int64 of shape \(4,\)"),
        (CHOSEN | {"layer1": torch.tensor([1.0, 2.0, 17.0, 0.0])}, r"got torch.float32 of shape"),
    ):
        with pytest.raises(ValueError, match=words):
            deployment.at_neurons(numbers)


# ---- the choice


def errors(deployment: Deployment, chip: nr.chip.ChipModel, x: torch.Tensor) -> torch.Tensor:
    """Σ over samples of (spikes on a board − those of the network)², (neurons,)."""
    with VirtualChip(chip, 1, seed=SEED).open() as session:
        session.program(deployment)
        counts = torch.stack([torch.from_numpy(each.counts()) for each in nr.deploy.measure(session, x)])
    _, signals = deployment.network.eval()(x)
    expected = torch.cat([signals[layer].sum(0) for layer in deployment.cores], -1)
    return (counts - expected).double().square().sum(0)


def test_each_neuron_gets_the_candidate_that_is_most_like_the_network():
    """Layout k moves every neuron by k times the neurons of its core; the choice is the best of them, counted exactly,
    and nothing but the board is asked."""
    deployment, x = deployed(), inputs()
    broken = CHIP.with_defects(nr.chip.DeadNeurons(0.3))
    with VirtualChip(broken, 1, seed=SEED).open() as session:
        found = nr.deploy.choose_neurons(session, deployment, x, candidates=4)
    assert (found.measurements, found.programmings) == (20, 4)
    assert repr(found).endswith("; 20 measurements, 4 programmings)")
    used, first = torch.tensor([3, 4, 3, 4, 4, 3, 1, 4]), torch.tensor([0, 0, 1, 1, 2, 2, 0, 3])
    for k in range(4):
        numbers = dict(zip(deployment.cores, (first + k * used).split([4, 4])))
        torch.testing.assert_close(found.errors[:, k], errors(deployment.at_neurons(numbers), broken, x))
    assert torch.equal(found.errors.gather(1, found.chosen[:, None])[:, 0], found.errors.amin(1))
    placement = found.deployment.programmed.placement.numbering
    assert torch.equal(torch.cat([placement[layer].number for layer in deployment.cores]), first + found.chosen * used)
    assert 0 < int((found.chosen > 0).sum()) < 8
    assert errors(found.deployment, broken, x).sum() < 0.7 * errors(deployment, broken, x).sum()


def test_full_chips_have_no_choice():
    network = dpi_network(([0] * 129,), n_in=4, density=0.02, v_threshold=0.01)
    full = nr.deploy.onto(network, CHIP)
    with VirtualChip(CHIP, 0).open() as session:
        with pytest.raises(ValueError, match=r"uses more than half of every core of dynapse2; nothing is free"):
            nr.deploy.choose_neurons(session, full, inputs())
        for candidates in (1, 257):
            with pytest.raises(ValueError, match=rf"candidates: got {candidates}; expected 2 to 256, for which"):
                nr.deploy.choose_neurons(session, deployed(), inputs(), candidates=candidates)
        with pytest.raises(ValueError, match=r"x: got shape \(40, 4\); expected"):
            nr.deploy.choose_neurons(session, deployed(), inputs()[0])
        assert session.state is nr.deploy.State.OPEN


def test_a_core_with_less_room_starts_again():
    """Core 0 has room for two layouts, core 1 for many: the third puts core 0 where it was."""
    deployment = nr.deploy.onto(dpi_network(([0] * 100 + [1] * 2,), density=0.02, v_threshold=0.01), CHIP)
    with VirtualChip(CHIP, 0).open() as session:
        found = nr.deploy.choose_neurons(session, deployment, inputs(2), candidates=3)
    assert torch.equal(found.errors[:100, 0], found.errors[:100, 2]) and int(found.chosen[:100].max()) == 1
