"""Data as people have it: samples drawn from it, data sets and loaders."""

from __future__ import annotations

import pytest
import torch

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
