"""Results on samples that are read again in every pass equal those on the same samples in memory."""

from __future__ import annotations

import copy
import dataclasses
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import double, draw, events, tiny
from pages import ROOT
from sequence_regression import sequence_regression, student
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import neurorobust as nr
from neurorobust.attacks import APGD, PGA, SPSA, Suite, quick
from neurorobust.core.noise import Membrane
from neurorobust.data import Data, Stream, Task
from neurorobust.evaluation import SubsetSimulation, sensitivity, sharpness, strong_worst_case
from neurorobust.evaluation.landscape import landscape
from neurorobust.evaluation.predict import ATTACK_BATCH
from neurorobust.nn import fleet_run
from neurorobust.train import Schedule, estimate, fit
from neurorobust.train.loop import trial_step

N = 2 * ATTACK_BATCH + 303
SUITE = Suite(((PGA(2, objective="ce"), 1), (APGD(2, objective="margin"), 1), (SPSA(1, 1), 1)))


class Indexed(Dataset):
    """Samples of some data, made when they are asked for."""

    def __init__(self, data):
        self.data, self.asked = data, 0

    def __len__(self):
        return len(self.data)

    def __getitem__(self, k):
        self.asked += 1
        return self.data.x[k], self.data.y[k]


class Iterated(IterableDataset):
    def __init__(self, data):
        self.data = data

    def __iter__(self):
        yield from zip(self.data.x, self.data.y)


def dataset(data):
    return Data.of(Indexed(data), in_memory=False)


def shuffled(data):
    return Data.of(DataLoader(Indexed(data), 32, shuffle=True, drop_last=True), in_memory=False)


def iterated(data):
    return Data.of(DataLoader(Iterated(data), 32), in_memory=False)


KINDS = pytest.mark.parametrize("kind", [dataset, shuffled, iterated])


def same(found, expected, *, exact=True):
    """Equal fields, all bits of arrays and tensors."""
    for field in dataclasses.fields(expected):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(other, np.ndarray):
            assert np.array_equal(one, other, equal_nan=True), field.name
        elif isinstance(other, dict):
            assert one.keys() == other.keys()
            for key, value in other.items():
                torch.testing.assert_close(one[key], value, rtol=0, atol=0 if exact else 1e-12, equal_nan=True)
        elif dataclasses.is_dataclass(other) and not isinstance(other, type) and hasattr(other, "score"):
            same(one, other)
        else:
            assert repr(one) == repr(other), field.name


@KINDS
def test_a_fleet_is_the_same(kind, monkeypatch):
    """Also where only few dies fit beside their outputs, with a trim, and with noise, whose keys count blocks."""
    data = events(0, N)
    stream, trim = kind(data), nr.Trim(events(5, 40, 20).x, 9)
    for model in (nr.mismatch(0.3), nr.mismatch(0.1).with_noise(Membrane(0.2))):
        expected = nr.evaluate(tiny(), data, model, n_dies=5, trim=trim)
        monkeypatch.setattr("neurorobust.evaluation.predict.HELD", 2 * (2 * N + 100))
        same(nr.evaluate(tiny(), stream, model, n_dies=5, trim=trim), expected)


@KINDS
def test_the_worst_case_is_the_same(kind):
    """All bits, the last block first; an iterable has one order, so its sum of gradients is rounded otherwise."""
    data = events(0, N)
    expected = nr.worst_case(tiny(), data, nr.Ball.uniform(0.1), SUITE, candidates=[{}])
    assert expected.score < expected.nominal
    found = nr.worst_case(tiny(), kind(data), nr.Ball.uniform(0.1), SUITE, candidates=[{}])
    same(found, expected, exact=kind is not iterated)


def dpi(seed=0):
    """Parameters that are used in several places of a step."""
    times = {"tau_mem": 0.01, "tau_syn_exc": 0.005, "tau_syn_inh": 0.008}
    layer = nr.nn.LinearizedDpi(nr.nn.Linear(draw(seed + 1, 5, 3)), v_threshold=0.3, **times)
    readout = nr.nn.CubaLeakyIntegrator(nr.nn.Linear(draw(seed + 2, 2, 5)), tau_mem=0.02, tau_syn=0.01)
    return nr.Network({"hidden": layer, "readout": readout}, 1e-3).double()


def foreign():
    module = nn.Sequential(nn.Flatten(), nn.Linear(60, 8), nn.Tanh(), nn.Linear(8, 2)).double()
    with torch.no_grad():
        for k, value in enumerate(module.parameters()):
            value.copy_(0.3 * draw(k, *value.shape))
    return nr.wrap(module)


@pytest.mark.parametrize("network", [dpi, foreign])
def test_other_networks_are_the_same(network):
    data, model = events(0, ATTACK_BATCH + 30), network()
    attack = PGA(2, objective="ce")
    expected = nr.worst_case(model, data, nr.Ball.uniform(0.2), attack)
    same(nr.worst_case(model, dataset(data), nr.Ball.uniform(0.2), attack), expected)
    fleets = [nr.evaluate(model, each, nr.mismatch(0.3), n_dies=3) for each in (data, dataset(data))]
    same(fleets[1], fleets[0])


def test_a_regression_is_the_same():
    task = sequence_regression()
    data, network = task.train, student([[1.5, -0.5]])
    stream = Data.of(DataLoader(TensorDataset(data.x, data.y), 7), in_memory=False)
    assert stream.regression
    same(
        nr.evaluate(network, stream, nr.mismatch(0.2), n_dies=3), nr.evaluate(network, data, nr.mismatch(0.2), n_dies=3)
    )
    found = [nr.worst_case(network, each, nr.Ball.uniform(0.2)) for each in (data, stream)]
    same(found[1], found[0])


def test_sensitivity_is_the_same():
    data = events(0, 700)
    results = [
        sensitivity(tiny(), each, n_dies=2, attack=PGA(1, objective="ce"))
        for each in (data, dataset(data), iterated(data))
    ]
    for found in results[1:]:
        assert found.table().equals(results[0].table())
        assert all(torch.equal(found.gradients[name], value) for name, value in results[0].gradients.items())


def test_every_other_measurement_is_the_same():
    data, ball = events(0, 300), nr.Ball.uniform(0.1)
    for measure in (
        lambda each: nr.evaluation.random_search(tiny(), each, ball, passes=3),
        lambda each: nr.evaluation.transfer(tiny(), each, ball, [{}]),
        lambda each: sharpness(tiny(), each, count=1, dies=2),
        lambda each: landscape(tiny(), each, points=3, directions=1),
        lambda each: nr.evaluation.rare_failures(
            tiny(), each, nr.mismatch(0.1), spec=0.5, simulation=SubsetSimulation(50, 4)
        ),
        lambda each: nr.evaluation.predict.nominal_score(tiny(), each),
    ):
        assert repr(measure(dataset(data))) == repr(measure(data))


def test_the_strong_suite_takes_a_loader(monkeypatch):
    monkeypatch.setattr("neurorobust.evaluation.strong.STEPS", 1)
    monkeypatch.setattr("neurorobust.evaluation.strong.STARTS", 3)
    data, ball = events(0, 30), nr.Ball.uniform(0.1)
    results = [strong_worst_case(tiny(), each, ball) for each in (data, DataLoader(Indexed(data), 8))]
    same(results[1], results[0])


SCHEDULE = Schedule(batch_size=32, learning_rate=0.01)


def trained(train, validation, out=None):
    network = tiny()
    task = Task("t", ("a", "b"), train, validation, None, functional.cross_entropy)
    history = fit(network, task, functional.cross_entropy, epochs=2, schedule=SCHEDULE, out=out)
    return history, nr.nominal(network)


@pytest.mark.parametrize("kind", [dataset, shuffled])
def test_a_training_is_the_same(kind, tmp_path):
    """All bits, and a run on samples in memory is continued on the same samples from a data set."""
    train, validation = events(1, 70), events(2, 20)
    history, expected = trained(train, validation, tmp_path)
    again, found = trained(kind(train), kind(validation))
    assert [row["loss"] for row in again.rows] == [row["loss"] for row in history.rows]
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    resumed, found = trained(kind(train), kind(validation), tmp_path)
    assert resumed.rows == history.rows and all(torch.equal(found[name], value) for name, value in expected.items())
    other = events(1, 70)
    other.x[3, 4, 0] = 1 - other.x[3, 4, 0]
    with pytest.raises(ValueError, match=r"train\.x"):
        trained(kind(other), kind(validation), tmp_path)


def test_an_iterable_is_shuffled_inside_blocks():
    numbers = Data(torch.arange(2100.0)[:, None], torch.arange(2100) % 2)
    batches = list(iterated(numbers).batches(torch.randperm(2100), 100, 0))
    seen = [int(k) for x, _ in batches for k in x[:, 0]]
    assert sorted(seen) == list(range(2100)) and sorted(seen[:1000]) == list(range(1000)) != seen[:1000]
    assert all(torch.equal(x[:, 0].long() % 2, y) for x, y in batches)
    history, _ = trained(iterated(events(1, 70)), iterated(events(2, 20)))
    assert len(history.rows) == 2


def test_estimates_take_streams():
    data = events(0, 60)
    task = Task("t", ("a", "b"), dataset(data), dataset(data), None, functional.cross_entropy)
    assert estimate(tiny(), task, functional.cross_entropy, epochs=1) > 0
    assert nr.evaluation.estimate_evaluate(tiny(), dataset(data), nr.mismatch(0.1)) > 0
    assert nr.evaluation.estimate_worst_case(tiny(), dataset(data), nr.Ball.uniform(0.1), quick()) > 0
    loss = nr.regularizers.regularizer.as_regularizer(functional.cross_entropy)
    trial_step(tiny(), dataset(data).first(8), loss)()


# --- passes


def test_samples_are_read_once_for_many_dies():
    """One pass for the labels, one for two dies, one for all others."""
    source = Indexed(events(0, 300))
    stream = Data.of(source, in_memory=False)
    before = source.asked
    nr.evaluate(tiny(), stream, nr.mismatch(0.1), n_dies=20)
    assert source.asked - before == 2 * 300


def test_a_block_is_as_large_as_memory_allows(monkeypatch):
    """Of a sample's size alone: the same blocks, and bits, in memory and as a stream."""
    x = torch.zeros(3000, 20, 3, dtype=torch.float64)
    assert fleet_run.samples_at_once(x) == 250 and fleet_run.samples_at_once(x, 1000) == 1000
    monkeypatch.setattr(fleet_run, "BYTES", 480 * 777)
    assert fleet_run.samples_at_once(x) == 250 and fleet_run.samples_at_once(x, 1000) == 750
    monkeypatch.setattr(fleet_run, "BYTES", 480 * 33)
    assert fleet_run.samples_at_once(x) == fleet_run.samples_at_once(x, 1000) == 33
    data = events(0, 100)
    stream = dataset(data)
    assert [len(x) for _, x in stream.blocks(1000)] == [33, 33, 33, 1]
    for model in (nr.mismatch(0.3), nr.mismatch(0.1).with_noise(Membrane(0.2))):
        same(nr.evaluate(tiny(), stream, model, n_dies=3), nr.evaluate(tiny(), data, model, n_dies=3))
    attack = PGA(2, objective="ce")
    expected = nr.worst_case(tiny(), data, nr.Ball.uniform(0.1), attack)
    same(nr.worst_case(tiny(), stream, nr.Ball.uniform(0.1), attack), expected)


def test_samples_fit_into_memory_or_not(monkeypatch):
    source = Indexed(events(0, 50))
    assert isinstance(Data.of(source), Data)
    assert isinstance(Data.of(DataLoader(Iterated(source.data), 8)), Data)
    monkeypatch.setattr("neurorobust.data.scanning.memory.available", lambda: 4 * 49 * 480)
    for kind in (source, DataLoader(source, 8), DataLoader(Iterated(source.data), 8)):
        assert isinstance(Data.of(kind), Stream)
        kept = Data.of(kind, in_memory=True)
        assert isinstance(kept, Data) and torch.equal(kept.x, source.data.x)
        assert torch.equal(Data.of(Data.of(kind), in_memory=True).x, source.data.x)
    monkeypatch.setattr("neurorobust.data.scanning.memory.available", lambda: 4 * 50 * 480)
    assert isinstance(Data.of(source), Data)


# --- the same samples in every pass


class Cropped(Dataset):
    """Draws for every sample, from a global generator or from one of its own."""

    def __init__(self, data, draws):
        self.data, self.draws = data, draws

    def __len__(self):
        return len(self.data)

    def __getitem__(self, k):
        return self.data.x[k] + self.draws(), self.data.y[k]


own = np.random.default_rng(0)
DRAWS = {
    "torch": lambda: torch.rand(()).double(),
    "numpy": lambda: np.random.rand(),
    "python": lambda: random.random(),
    "own": lambda: own.random(),
}


@pytest.mark.parametrize("draws", DRAWS)
def test_random_transforms_train_and_do_not_measure(draws):
    data = events(0, 40)
    stream = Data.of(Cropped(data, DRAWS[draws]), in_memory=False)
    with pytest.raises(ValueError, match="gives other samples in a second pass"):
        nr.evaluate(tiny(), stream, nr.mismatch(0.1), n_dies=1)
    drawn = Data.of(Cropped(data, DRAWS[draws]), in_memory=True)
    assert nr.evaluate(tiny(), drawn, nr.mismatch(0.1), n_dies=1).nominal > 0
    if draws != "own":
        state = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
        losses = [[row["loss"] for row in trained(stream, data)[0].rows] for _ in range(2)]
        assert losses[0] == losses[1] != [row["loss"] for row in trained(data, data)[0].rows]
        assert torch.equal(torch.get_rng_state(), state[0]) and random.getstate() == state[2]
        assert np.random.get_state()[1].tolist() == state[1]


class Reordered(IterableDataset):
    """Another order in each pass after the second, of its labels alone."""

    def __init__(self, data):
        self.data, self.passes = data, 0

    def __iter__(self):
        self.passes += 1
        flip = self.passes > 3
        yield from zip(self.data.x, 1 - self.data.y if flip else self.data.y)


def test_samples_in_another_order_are_refused():
    stream = Data.of(DataLoader(Reordered(events(0, 40)), 8), in_memory=False)
    with pytest.raises(ValueError, match="gives other labels than in the pass before"):
        nr.evaluate(tiny(), stream, nr.mismatch(0.1), n_dies=1)


class Once(IterableDataset):
    """Its __iter__ goes on where it stopped."""

    def __init__(self, data):
        self.rest = iter(list(zip(data.x, data.y)))

    def __iter__(self):
        return self.rest


def test_what_can_be_read_once_is_kept_or_refused(monkeypatch):
    data = events(0, 40)
    assert torch.equal(Data.of(zip(data.x.split(8), data.y.split(8))).x, data.x)
    assert torch.equal(Data.of(Once(data)).x, data.x)
    with pytest.raises(ValueError, match="data: can be read only once"):
        Data.of(Once(data), in_memory=False)
    with pytest.raises(ValueError, match=r"data \(zip\): can be read only once"):
        Data.of(zip(data.x.split(8), data.y.split(8)), in_memory=False)
    monkeypatch.setattr("neurorobust.data.scanning.memory.available", lambda: 1000)
    with pytest.raises(ValueError, match=r"data \(zip\): can be read only once"):
        Data.of(zip(data.x.split(8), data.y.split(8)))


class Ends(Reordered):
    """Shorter from its fourth pass on."""

    def __iter__(self):
        self.passes += 1
        yield from list(zip(self.data.x, self.data.y))[: 40 if self.passes < 4 else 30]


def test_a_pass_that_ends_early_is_refused():
    stream = Data.of(DataLoader(Ends(events(0, 40)), 8), in_memory=False)
    with pytest.raises(ValueError, match="ended early in a second pass"):
        nr.evaluate(tiny(), stream, nr.mismatch(0.1), n_dies=1)


def test_a_stream_is_not_a_tensor():
    stream = dataset(events(0, 40))
    assert repr(stream).startswith("Stream(40 samples of shape (20, 3), torch.float64")
    with pytest.raises(ValueError, match=r"is no tensor x.*Data\.of\(data\.sample"):
        _ = stream.x
    with pytest.raises(ValueError, match="is no tensor x"):
        nr.evaluation.certify(tiny(), stream, nr.Ball(weight=0.01))
    some = stream.sample(11, 1)
    assert isinstance(some, Stream) and torch.equal(Data.of(some, in_memory=True).x, events(0, 40).sample(11, 1).x)
    assert torch.equal(Data.of(iterated(events(0, 40)).sample(11, 1), in_memory=True).x, events(0, 40).sample(11, 1).x)
    assert torch.equal(Data.of(stream.first(3), in_memory=True).x, events(0, 40).x[:3])
    assert torch.equal(Data.of(stream.balanced(6), in_memory=True).x, events(0, 40).balanced(6).x)


def test_workers_read_the_same_samples():
    data = events(0, 64)
    loader = DataLoader(Indexed(data), 8, num_workers=1, shuffle=True)
    stream = Data.of(loader, in_memory=False)
    assert stream.source.options["num_workers"] == 1
    blocks = [x for _, x in stream.blocks(1000)]
    assert torch.equal(torch.cat(blocks), data.x)


def test_a_fingerprint_is_that_of_the_samples():
    data = events(0, 64)
    tasks = [
        Task("t", (), each, each, None, functional.cross_entropy) for each in (data, dataset(data), iterated(data))
    ]
    assert tasks[0].data_sha256 == tasks[1].data_sha256 == tasks[2].data_sha256
    other = copy.deepcopy(data)
    other.x[0, 0, 0] += 1
    assert Task("t", (), dataset(other), data, None, functional.cross_entropy).data_sha256 != tasks[0].data_sha256


# --- lengths


def padded(seed=0, n=60):
    """Samples of 5, 12 and 20 steps, with events after the end that must not count."""
    data = events(seed, n)
    return data.x, data.y, torch.tensor([5, 12, 20])[torch.arange(n) * 7 % 3]


@pytest.mark.parametrize("decode", [nr.nn.mean_over_time, nr.nn.max_over_time, nr.nn.last_step, nr.nn.sum_over_time])
def test_padding_does_not_count(decode):
    """The score is that of each sample alone, without its padding; whatever is in the padding."""
    x, y, lengths = padded()
    network = tiny()
    network.decode = decode
    alone = torch.cat([nr.run(network, nr.nominal(network), x[k : k + 1, :length]) for k, length in enumerate(lengths)])
    results = []
    for fill in (0.0, 1.0):
        filled = torch.where(torch.arange(20)[None, :, None] < lengths[:, None, None], x, double(fill))
        results.append(nr.evaluate(network, Data.of((filled, y), lengths=lengths), nr.mismatch(0.3), n_dies=3))
    expected = nr.evaluation.balanced_accuracy(alone, y)
    assert results[0].nominal == expected
    same(results[1], results[0])
    assert not torch.allclose(nr.run(network, nr.nominal(network), x), alone)  # else this test could not fail


def test_lengths_act_in_attacks_and_in_training():
    x, y, lengths = padded()
    results, weights = [], []
    for fill in (0.0, 1.0):
        filled = torch.where(torch.arange(20)[None, :, None] < lengths[:, None, None], x, double(fill))
        data = Data.of((filled, y), lengths=lengths)
        results.append(nr.worst_case(tiny(), data, nr.Ball.uniform(0.1), PGA(2, objective="ce")))
        _, params = trained(data, data)
        weights.append(params)
    assert results[0].score < results[0].nominal
    same(results[1], results[0])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], value) for name, value in nr.nominal(tiny()).items())


def test_equal_lengths_are_no_lengths():
    data = events(0, N)
    expected = nr.worst_case(tiny(), data, nr.Ball.uniform(0.1), PGA(2, objective="ce"))
    found = Data.of((data.x, data.y), lengths=torch.full((N,), 20))
    same(nr.worst_case(tiny(), found, nr.Ball.uniform(0.1), PGA(2, objective="ce")), expected)


def test_lengths_come_from_a_loader_that_pads():
    """Each batch is padded to its own longest sample."""
    x, y, lengths = padded()

    def pad(items):
        samples, labels, own = zip(*items)
        return nn.utils.rnn.pad_sequence(samples, batch_first=True), torch.tensor(labels), torch.tensor(own)

    ragged = [(x[k, :length], int(y[k]), int(length)) for k, length in enumerate(lengths)]
    expected = nr.evaluate(tiny(), Data.of((x, y), lengths=lengths), nr.mismatch(0.3), n_dies=2)
    for keep in (True, False):
        data = Data.of(DataLoader(ragged, 8, collate_fn=pad), keys=(0, 1, 2), in_memory=keep)
        assert isinstance(data, Stream) and data.shape == (60, 20, 3)
        same(nr.evaluate(tiny(), data, nr.mismatch(0.3), n_dies=2), expected)
        same(nr.evaluate(tiny(), Data.of(data, in_memory=True), nr.mismatch(0.3), n_dies=2), expected)
    with pytest.raises(ValueError, match=r"cannot be put into one batch.*collate_fn that pads"):
        Data.of(ragged, keys=(0, 1, 2))
    with pytest.raises(ValueError, match=r"samples of shapes.*lengths"):
        Data.of(DataLoader(ragged[:1] * 9 + [(x[0], 1, 20)], 8, collate_fn=pad), keys=(0, 1))


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        (torch.zeros(60, dtype=torch.long), "lengths: got 0 to 0"),
        (torch.full((60,), 21), "lengths: got 21 to 21"),
        (torch.ones(59, dtype=torch.long), r"lengths: got torch\.int64 of shape \(59,\)"),
        (torch.ones(60), r"lengths: got torch\.float32"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(lengths, message):
    x, y, _ = padded()
    with pytest.raises(ValueError, match=message):
        Data.of((x, y), lengths=lengths)


def test_lengths_are_refused_where_they_cannot_act():
    x, y, lengths = padded()
    with pytest.raises(ValueError, match="labels for every step"):
        Data.of((x, y[:, None].expand(60, 20).contiguous()), lengths=lengths)
    with pytest.raises(ValueError, match="those of an iterable"):
        Data.of(DataLoader(Iterated(Data(x, y)), 8), lengths=lengths, in_memory=False)
    with pytest.raises(ValueError, match="different lengths; this function needs one"):
        nr.evaluation.certify(tiny(), Data.of((x, y), lengths=lengths), nr.Ball(weight=0.01))
    network = tiny()
    network.decode = nr.nn.per_step
    targets = Data.of((x, torch.zeros(60, 3, dtype=torch.float64) + y[:, None]), lengths=lengths)
    with pytest.raises(ValueError, match="outputs of different shapes"):
        nr.evaluation.predict.nominal_score(network, targets)


# --- memory

MEMORY = """
from benchmarks.large_data import glance, measured, peak
from neurorobust.nn import fleet_run

fleet_run.BYTES = 2**26
measured(glance(), 250, 2)
before = peak()
rows = measured(glance(), 1000, 4)
assert rows["labels"]["gigabytes"] == 0.6 and rows["attack"]["passes"] >= 4
print("grew", peak() - before)
"""


def test_memory_does_not_grow_with_the_data():
    """600 MB in blocks of 64 MiB, through a fleet and an attack: less than 150 MB above what 150 MB take."""
    ran = subprocess.run([sys.executable, "-c", MEMORY], check=True, capture_output=True, text=True, cwd=ROOT)
    assert float(ran.stdout.split("grew")[-1]) < 0.15


# --- devices


class Batches:
    """Batches in one order; x and y may be on other devices."""

    def __init__(self, data, x="cpu", y="cpu"):
        self.data, self.devices = data, (x, y)

    def __iter__(self):
        for x, y in zip(self.data.x.split(10), self.data.y.split(10)):
            yield x.to(self.devices[0]), y.to(self.devices[1])


@pytest.mark.parametrize("made", [dataset, lambda data: Data.of(Batches(data), in_memory=False)])
def test_a_stream_goes_to_a_device(made):
    """Read on the CPU, and each batch and block goes to the device that was asked for (here torch's meta device)."""
    data = events(0, 30)
    stream = made(data).to("meta")
    assert stream.y.device.type == "meta" and len(stream) == 30 and stream.shape == data.shape
    seen = list(stream.batches(torch.arange(30), 8, 0))
    assert {part.device.type for batch in seen for part in batch} == {"meta"}
    assert sum(len(x) for x, _ in seen) == 30 and seen[0][0].shape == (8, *data.shape[1:])
    assert stream.few(4).device.type == "meta" and stream.first(10).y.device.type == "meta"
    assert made(data).y.device.type == "cpu"


@pytest.mark.parametrize("devices", [("meta", "cpu"), ("cpu", "meta"), ("meta", "meta")])
@pytest.mark.parametrize("in_memory", [None, True, False])
def test_meta_samples_are_refused_in_one_line(devices, in_memory):
    with pytest.raises(ValueError, match=r"data \(Batches\): gives meta tensors; expected tensors with values\.$"):
        Data.of(Batches(events(0, 30), *devices), in_memory=in_memory)


@pytest.mark.parametrize("run", ["evaluate", "worst_case", "fit"])
def test_a_network_on_another_device_is_refused_in_one_line(run):
    data = events(0, 30)
    stream = dataset(Data(data.x.float(), data.y))
    model = nr.wrap(nn.Sequential(nn.Flatten(), nn.Linear(data.x[0].numel(), 2))).to("meta")
    with pytest.raises(ValueError, match=r"1\.weight.* is on the device meta, so it has no values") as refused:
        if run == "evaluate":
            nr.evaluate(model, stream, nr.mismatch(0.1), n_dies=2)
        elif run == "worst_case":
            nr.worst_case(model, stream, nr.Ball.uniform(0.1), PGA(steps=1))
        else:
            loss = functional.cross_entropy
            fit(model, Task("t", ("a", "b"), stream, stream, stream, loss), loss, epochs=1)
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_stream_on_a_gpu_has_the_scores_of_the_cpu():
    data = events(0, 60)
    model = nr.wrap(nn.Sequential(nn.Flatten(), nn.Linear(data.x[0].numel(), 2)).double())
    expected = nr.evaluate(model, dataset(data), nr.mismatch(0.1), n_dies=3).score
    found = nr.evaluate(model.to("cuda"), dataset(data).to("cuda"), nr.mismatch(0.1), n_dies=3).score
    assert np.allclose(expected, found)
