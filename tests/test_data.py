"""Data as people have it: samples drawn from it, data sets and loaders."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pandas
import pytest
import torch
from torch.utils.data import (
    DataLoader,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import neurorobust as nr
from neurorobust.data import Data


def sorted_by_class(*counts: int) -> Data:
    """Samples whose x is their number, sorted by class."""
    y = torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])
    return Data(torch.arange(len(y), dtype=torch.float32)[:, None], y)


def numbers(data: Data) -> list[int]:
    return data.x[:, 0].int().tolist()


# --- sample(n, seed)


@pytest.mark.parametrize(
    ("counts", "n", "expected"),
    [
        ((60, 30, 10), 10, [6, 3, 1]),
        ((60, 30, 10), 50, [30, 15, 5]),
        ((25, 25, 25, 25), 25, [6, 6, 6, 6]),  # one class has 7
        ((990, 5, 5), 4, [2, 1, 1]),
        ((60, 30, 10), 100, [60, 30, 10]),
    ],
)
def test_a_sample_has_every_class_in_proportion(counts, n, expected):
    drawn = sorted_by_class(*counts).sample(n, 3)
    found = torch.bincount(drawn.y, minlength=len(counts))
    assert len(drawn) == n == len(set(numbers(drawn)))
    assert ((found - torch.tensor(expected)).abs() <= (sum(expected) != n)).all()
    for k, number in enumerate(numbers(drawn)):  # labels stay with their samples
        assert drawn.y[k] == sorted_by_class(*counts).y[number]


def test_a_sample_is_shuffled_by_its_seed():
    data = sorted_by_class(50, 50)
    assert numbers(data.sample(20, 1)) == numbers(data.sample(20, 1)) != numbers(data.sample(20, 2))
    assert set(numbers(data.sample(20, 1))) < set(numbers(data.sample(40, 1)))
    labels = data.sample(100, 1).y
    assert 30 < int((labels.diff() != 0).sum()) < 70  # sorted by class it is 1
    assert numbers(data.sample(100)) == numbers(data.sample(100, 0))


def test_a_sample_keeps_recordings_targets_and_labels_of_every_step():
    x = torch.arange(40.0)[:, None]
    data = Data(x, torch.arange(40) % 2, recording=x * 2).sample(10, 0)
    assert data.recording is not None and torch.equal(data.recording, data.x * 2)
    targets = Data(x, x / 4).sample(10, 0)
    assert torch.equal(targets.y * 4, targets.x)
    steps = Data(x[..., None].expand(40, 5, 1), (torch.arange(40)[:, None] % 2).expand(40, 5)).sample(10, 0)
    assert torch.equal(steps.y, steps.x[..., 0].long() % 2)


def test_a_sample_of_sorted_data_can_be_trained_on():
    """The first 25 of label-sorted data are of one class."""
    data = sorted_by_class(100, 100)
    with pytest.raises(ValueError, match="of class 0"):
        data.first(25).check_classes("data")
    data.sample(25, 0).check_classes("data")


@pytest.mark.parametrize(
    ("n", "seed", "error", "message"),
    [
        (0, 0, ValueError, "n: got 0"),
        (11, 0, ValueError, "n: got 11; there are 10 samples"),
        (2.5, 0, TypeError, "n: got 2.5"),
        (True, 0, TypeError, "n: got True"),
        (2, -1, ValueError, "seed: got -1"),
    ],
)
def test_a_sample_that_cannot_be_drawn_is_refused(n, seed, error, message):
    with pytest.raises(error, match=message):
        sorted_by_class(5, 5).sample(n, seed)


# --- what people have


class Pairs(torch.utils.data.Dataset):
    """Pairs of a list."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, k):
        return self.items[k]


X, Y = torch.rand(12, 5, 3, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3
ITEMS = list(zip(X, Y.tolist()))
HERE = {
    "pair of tensors": (X, Y),
    "list of tensors": [X, Y],
    "arrays": (X.numpy(), Y.numpy()),
    "labels in a list": (X, Y.numpy().astype("uint8")),
    "TensorDataset": TensorDataset(X, Y),
    "Dataset": Pairs(ITEMS),
    "arrays of a Dataset": Pairs([(x.numpy(), np.int16(y)) for x, y in ITEMS]),
    "Subset": Subset(Pairs(ITEMS + ITEMS), range(12)),
    "list of pairs": ITEMS,
    "DataLoader": DataLoader(Pairs(ITEMS), 5),
    "shuffled": DataLoader(Pairs(ITEMS), 5, shuffle=True, drop_last=True),
    "own generator": DataLoader(Pairs(ITEMS), 5, shuffle=True, generator=torch.Generator().manual_seed(3)),
    "subset sampler": DataLoader(Pairs(ITEMS + ITEMS), 5, sampler=SubsetRandomSampler(range(12))),
    "batch sampler": DataLoader(Pairs(ITEMS), batch_sampler=[[3, 4, 5], [0, 1, 2], range(6, 12)]),
    "batches of a Dataset": DataLoader(Pairs([(X[:7], Y[:7]), (X[7:], Y[7:])]), batch_size=None),
    "list of batches": [(X[:7], Y[:7]), (X[7:], Y[7:])].__iter__(),
    "own loader": type("Loader", (), {"__iter__": lambda self: zip(X.split(5), Y.split(5))})(),
}


@pytest.mark.parametrize("kind", HERE)
def test_data_of_what_people_have(kind):
    for _ in range(1 if isinstance(HERE[kind], Iterator) else 2):
        data = Data.of(HERE[kind])
        assert isinstance(data, Data) and torch.equal(data.x, X) and torch.equal(data.y, Y)
        assert data.y.dtype == torch.int64


@pytest.mark.parametrize("keys", [("image", "label"), ["image", "label"]])
def test_dictionaries_have_keys(keys):
    items = [{"image": x, "label": y, "name": "a", "words": ["b"], "none": None} for x, y in ITEMS]
    kept = [{key: item[key] for key in ("name", "image", "label")} for item in items]
    for given in (items, DataLoader(kept, 5)):
        data = Data.of(given, keys=keys)
        assert torch.equal(data.x, X) and torch.equal(data.y, Y)
    with pytest.raises(ValueError, match=r"dictionaries with the keys 'name', 'image', 'label'; .* keys="):
        Data.of(kept)
    with pytest.raises(ValueError, match=r"keys: 'picture' is not in data .*, which has 'name'"):
        Data.of(DataLoader(kept), keys=("picture", "label"))


def test_positions_are_keys():
    triples = [(x, None, y) for x, y in ITEMS]
    assert torch.equal(Data.of(triples, keys=(0, 2)).y, Y)
    assert torch.equal(Data.of(triples, keys=(0, -1)).y, Y)
    with pytest.raises(ValueError, match=r"data: gives 3 things for each sample; .*keys=\(0, 1\)"):
        Data.of(triples)
    with pytest.raises(ValueError, match="keys: 3 is not a position"):
        Data.of(triples, keys=(0, 3))
    with pytest.raises(TypeError, match="keys: got 'image'"):
        Data.of(triples, keys="image")


def test_time_first_is_named():
    """With the axis of the samples second; without a word it is refused, and the message says the word."""
    late = X.transpose(0, 1)

    def collate(items):
        return torch.stack([x for x, _ in items], 1), torch.tensor([y for _, y in items])

    loader = DataLoader(Pairs(ITEMS), 4, collate_fn=collate)
    for given in ((late, Y), loader):
        data = Data.of(given, time_first=True)
        assert torch.equal(data.x, X) and torch.equal(data.y, Y)
        with pytest.raises(ValueError, match=r"time is first, say Data\.of\(…, time_first=True\)"):
            Data.of(given)
    with pytest.raises(ValueError, match=r"time_first: data gives samples of shape \(12, 5, 3\)"):
        Data.of((X, Y), time_first=True)
    with pytest.raises(ValueError, match=r"Data\.of\(\(x, y\), time_first=True\)"):
        Data(late, Y)


def test_samples_get_a_type():
    counts = [((5 * x).to(torch.int16), y) for x, y in ITEMS]
    assert Data.of(counts).dtype == torch.int16
    data = Data.of(counts, dtype=torch.float32)
    assert data.dtype == torch.float32 and torch.equal(data.x, (5 * X).to(torch.int16).float())
    stream = Data.of(counts, dtype=torch.float32, in_memory=False)
    assert stream.dtype == torch.float32 and torch.equal(next(stream.blocks(20)).x, data.x)
    network = nr.Network({"only": nr.nn.LeakyIntegrator(nr.nn.Linear(torch.ones(3, 3)), tau_mem=0.01)}, 1e-3)
    with pytest.raises(ValueError, match=r"torch\.int16.*dtype=torch\.float32"):
        nr.evaluate(network, counts, nr.mismatch(0.1), n_dies=1)


ONE_HOT = torch.nn.functional.one_hot(Y, 3)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ((X, ONE_HOT), ValueError, r"labels of shape \(12, 3\) are one-hot; expected class numbers, y\.argmax\(1\)"),
        ((X, ONE_HOT.float()), ValueError, "are one-hot"),
        ((X, ONE_HOT.bool()), ValueError, "are one-hot"),
        (Pairs(list(zip(X, ONE_HOT.float()))), ValueError, r"data \(Pairs\): labels .* are one-hot"),
        ((X, Y[:, None]), ValueError, r"are a column; expected \(n,\): y\[:, 0\]"),
        ((X, Y == 1), ValueError, r"y\.long\(\)"),
        ((X, Y - 1), ValueError, "the smallest -1"),
        ((X, Y[:7]), ValueError, r"12 samples, shape \(12, 5, 3\), and 7 labels"),
        ((X * torch.nan, Y), ValueError, "180 of 180 values are NaN"),
        (Pairs(list(zip(X * torch.inf, Y))), ValueError, "180 of 180 values are NaN or infinite"),
        ((X, torch.full((12,), torch.nan)), ValueError, "NaN"),
        ([(x, "cat") for x in X], TypeError, r"labels are of type str; .* Number the classes"),
        ([(x, y, 1) for x, y in ITEMS], ValueError, "gives 3 things"),
        (list(X), TypeError, r"data: gives a Tensor; expected pairs"),
        (Pairs([]), ValueError, r"data \(Pairs\): got no samples"),
        ([], ValueError, "got no samples"),
        ([(X[0], 0), (X[1, :4], 1)], ValueError, r"cannot be put into one batch .*\(4, 3\), \(5, 3\)"),
        (X, TypeError, "data: got a Tensor; expected nr"),
        (5, TypeError, "data: got a int; expected nr"),
        ("ecg", TypeError, "data: got a str; expected nr"),
        ({"x": X}, TypeError, "data: got a dict; expected nr"),
        (
            DataLoader(Pairs(ITEMS), sampler=WeightedRandomSampler([1.0] * 12, 30)),
            ValueError,
            "takes samples several times",
        ),
        (
            DataLoader(Pairs(ITEMS), sampler=RandomSampler(range(12), True, 11)),
            ValueError,
            "takes samples several times",
        ),
        ([(X[:4], Y[:4]), (X[:3, :2], Y[:3])].__iter__(), ValueError, r"samples of shapes \(5, 3\) and \(2, 3\)"),
    ],
    ids=itertools.count(),
)
def test_what_is_no_data_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        Data.of(given)


def test_things_of_other_libraries_are_refused_with_what_to_do():
    """Pictures of PIL and raw events of tonic: the class and the array are what these libraries give."""
    picture = type("Image", (), {"__module__": "PIL.Image"})()
    for given in (Pairs([(picture, 0)]), DataLoader(Pairs([(picture, 0)])), [{"image": picture, "label": 0}]):
        with pytest.raises(TypeError, match=r"PIL\.Image\.Image.*transform=torchvision\.transforms\.ToTensor\(\)"):
            Data.of(given, keys=("image", "label") if isinstance(given, list) else None)
    events = np.zeros(4, [("t", int), ("x", int), ("y", int), ("p", int)])
    with pytest.raises(TypeError, match=r"events with the fields t, x, y, p.*ToFrame.*from_tonic"):
        Data.of(Pairs([(events, 0)]))


def test_a_task_takes_loaders():
    loader = DataLoader(Pairs(ITEMS), 5)
    task = nr.data.Task("t", (), loader, Pairs(ITEMS), (X, Y), torch.nn.functional.cross_entropy)
    assert all(isinstance(part, Data) and torch.equal(part.x, X) for part in (task.train, task.validation, task.test))
    with pytest.raises(TypeError, match=r"got a Task; expected .*task\.test"):
        nr.evaluate(nr.wrap(torch.nn.Linear(3, 2)), task, nr.mismatch(0.1))


# --- libraries that are not among those of the tests; skipped without them


def test_hugging_face_datasets():
    datasets = pytest.importorskip("datasets")
    table = datasets.Dataset.from_dict({"signal": X.tolist(), "label": Y.tolist(), "name": ["a"] * 12})
    for given in (table, table.with_format("torch"), table.with_format("numpy"), table.to_iterable_dataset()):
        data = Data.of(given, keys=("signal", "label"), dtype=torch.float32)
        torch.testing.assert_close(data.x, X)
        assert torch.equal(data.y, Y)
    stream = Data.of(table.to_iterable_dataset(), keys=("signal", "label"), dtype=torch.float32, in_memory=False)
    torch.testing.assert_close(next(stream.blocks(20)).x, X)
    picture = pytest.importorskip("PIL.Image").new("L", (4, 4))
    pictures = datasets.Dataset.from_dict({"image": [picture] * 2, "label": [0, 1]})
    with pytest.raises(TypeError, match=r"PIL.*with_transform"):
        Data.of(pictures, keys=("image", "label"))
    arrays = pictures.with_transform(lambda rows: rows | {"image": [np.array(each) for each in rows["image"]]})
    assert Data.of(arrays, keys=("image", "label")).shape == (2, 4, 4)


def test_tonic():
    tonic = pytest.importorskip("tonic")
    dtype = [("t", int), ("x", int), ("y", int), ("p", int)]
    ends = (3, 5, 4)
    items = [(np.array([(k * 1000, k, 0, 1) for k in range(end)], dtype), label) for label, end in enumerate(ends)]
    frames = tonic.transforms.ToFrame(sensor_size=(6, 1, 2), time_window=1000)
    with pytest.raises(TypeError, match="from_tonic"):
        Data.of(items)
    ragged = [(frames(events), label) for events, label in items]
    with pytest.raises(ValueError, match="collate_fn that pads"):
        Data.of(ragged)
    for batch_first in (True, False):
        loader = DataLoader(ragged, 3, collate_fn=tonic.collation.PadTensors(batch_first=batch_first))
        lengths = [len(frame) for frame, _ in ragged]
        data = Data.of(loader, time_first=not batch_first, lengths=lengths, dtype=torch.float32)
        assert [x.shape[1] for _, x in data.blocks(9)] == sorted(lengths)
    with pytest.raises(ValueError, match="time is first"):
        Data.of(loader)


def test_torchvision():
    torchvision = pytest.importorskip("torchvision")
    transform = torchvision.transforms.ToTensor()
    fake = torchvision.datasets.FakeData(6, (1, 8, 8), 3, transform=transform)
    assert Data.of(fake).shape == (6, 3, 8, 8) or Data.of(fake).shape == (6, 1, 8, 8)
    with pytest.raises(TypeError, match="ToTensor"):
        Data.of(torchvision.datasets.FakeData(6, (3, 8, 8), 3))


def test_labels_of_every_step_are_balanced_by_samples():
    """They have no classes to keep: whole samples, spread over the part."""
    x, y = torch.rand(20, 6, 4), (torch.arange(20)[:, None] + torch.arange(6)) % 3
    some = Data(x, y).balanced(5)
    assert torch.equal(some.x, x[::4]) and torch.equal(some.y, y[::4])


@pytest.mark.parametrize("part", ["first", "balanced"])
@pytest.mark.parametrize("n", [0, -1, 2.0])
def test_a_part_has_at_least_one_sample(part, n):
    """A negative number would count from the end, and nobody would notice."""
    data = nr.data.Data(torch.rand(6, 4, 3), torch.arange(6) % 2)
    with pytest.raises((ValueError, TypeError), match=rf"n: got {n}.*; expected an integer ≥ 1"):
        getattr(data, part)(n)


def test_a_table_is_no_data_set():
    table = pandas.DataFrame({"voltage": [1.0, 2.0], "label": [0, 1]})
    with pytest.raises(TypeError, match=r"data: got a DataFrame; expected .* a pair of arrays \(x, y\)"):
        nr.data.Data.of(table)


def test_one_text_is_no_list_of_classes():
    data = nr.data.Data(torch.rand(6, 4, 3), torch.arange(6) % 2)
    with pytest.raises(TypeError, match=r"classes: got 'ab'; expected a name for each class"):
        nr.data.Task("mine", "ab", data, data, data, torch.nn.functional.cross_entropy)
