"""fit: killed and resumed equals unkilled bit for bit; the best epoch is kept; bad runs are refused."""

from __future__ import annotations

import csv
import math
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from conftest import events, tiny
from torch.nn import functional

from neurorobust.attacks import PGA, Ball, kl
from neurorobust.core.params import SIGNED, kind_of
from neurorobust.core.run import nominal
from neurorobust.data import Data, Task
from neurorobust.regularizers import Adversarial, ForwardNoise
from neurorobust.train import descent, loop
from neurorobust.train.descent import Schedule
from neurorobust.train.loop import History, fit, selection_score

SCHEDULE = Schedule(learning_rate=0.02, batch_size=8)


def student():
    """The tiny network with its weights and bias trained, as the ECG task has it."""
    network = tiny()
    for name, value in network.named_parameters():
        value.requires_grad_(kind_of(name) in SIGNED)
    return network


def robust(inner=functional.cross_entropy):
    """A loss that draws random numbers in every batch: noise and an attack."""
    return Adversarial(ForwardNoise(inner, 0.1), PGA(steps=2), Ball.uniform(0.05), beta=0.2)


@contextmanager
def killed_at(batch, error=KeyboardInterrupt):
    """A context in which the n-th backward pass of training raises; 3 are one epoch."""
    calls = []

    def raising(value, leaves=None):
        calls.append(1)
        if len(calls) == batch:
            raise error
        return value

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(descent, "check_loss", raising)
        yield


def same(one, two):
    return one.keys() == two.keys() and all(torch.equal(value, two[name]) for name, value in one.items())


def without_seconds(history):
    return [str({key: value for key, value in row.items() if key != "seconds"}) for row in history.rows]


@pytest.mark.parametrize("batch", [1, 5, 7, 12], ids="killed at batch {}".format)
def test_resumed_equals_unkilled(task, tmp_path, batch):
    """Parameters and every figure of the history have the bits of a run that was never killed."""
    whole, resumed = student(), student()
    expected = fit(whole, task, robust(), epochs=4, seed=3, schedule=SCHEDULE)
    with pytest.raises(KeyboardInterrupt), killed_at(batch):
        fit(resumed, task, robust(), epochs=4, seed=3, schedule=SCHEDULE, out=tmp_path)
    fresh = student()
    history = fit(fresh, task, robust(), epochs=4, seed=3, schedule=SCHEDULE, out=tmp_path)
    assert same(nominal(whole), nominal(fresh))
    assert without_seconds(history) == without_seconds(expected)
    assert (history.best_epoch, history.best_score) == (expected.best_epoch, expected.best_score)
    assert not list(tmp_path.glob(".*"))


def test_a_finished_run_is_not_trained_again(task, tmp_path):
    """Resuming a finished run gives its network without one call of the loss."""
    one, two = student(), student()
    fit(one, task, functional.cross_entropy, epochs=2, schedule=SCHEDULE, out=tmp_path)
    with killed_at(1):
        history = fit(two, task, functional.cross_entropy, epochs=2, schedule=SCHEDULE, out=tmp_path)
    assert same(nominal(one), nominal(two)) and len(history.rows) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed 0 there, 1 here"),
        ({"epochs": 3}, "epochs 2 there, 3 here"),
        ({"schedule": replace(SCHEDULE, learning_rate=0.5)}, "learning_rate 0.02 there, 0.5 here"),
    ],
)
def test_another_run_is_not_resumed(task, tmp_path, change, message):
    """A checkpoint of a run with other settings is refused with both values, and kept."""
    settings = {"epochs": 2, "seed": 0, "schedule": SCHEDULE, "out": tmp_path}
    fit(student(), task, functional.cross_entropy, **settings)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(ValueError, match=f"belongs to another run .*{message}"):
        fit(student(), task, functional.cross_entropy, **settings | change)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_another_task_is_not_resumed(task, tmp_path):
    """Other data are another run."""
    fit(student(), task, functional.cross_entropy, epochs=1, schedule=SCHEDULE, out=tmp_path)
    with pytest.raises(ValueError, match="data 'f' there, 'g' here"):
        fit(
            student(),
            replace(task, fingerprint="g"),
            functional.cross_entropy,
            epochs=1,
            schedule=SCHEDULE,
            out=tmp_path,
        )


def test_another_loss_is_not_resumed(task, tmp_path):
    """A run under cross-entropy is not continued, or returned finished, as an adversarial one."""
    fit(student(), task, functional.cross_entropy, epochs=1, schedule=SCHEDULE, out=tmp_path)
    with pytest.raises(
        ValueError, match=r"belongs to another run \(loss: it is \S*TaskLoss there, \S*Adversarial here"
    ):
        fit(student(), task, robust(), epochs=1, schedule=SCHEDULE, out=tmp_path)


def test_a_loss_has_one_name_in_every_process():
    """The text by which a checkpoint knows its loss holds no address."""
    assert " at 0x" not in repr(Adversarial(robust(), PGA(objective=kl), Ball.uniform(0.1), beta=1.0))


def test_the_best_epoch_is_kept(task):
    """Of a run that unlearns from epoch 2 on, the network returned is that of the best-scored epoch, bit for bit."""
    network, epochs, snapshots = student(), 6, []

    def loss(logits, y):
        calls = len(snapshots)
        snapshots.append(nominal(network))
        return functional.cross_entropy(logits, y if calls < 6 else 1 - y)

    schedule = Schedule(learning_rate=0.1, batch_size=8, drops=())
    history = fit(network, task, loss, epochs=epochs, schedule=schedule)
    scores = [row["score"] for row in history.rows]
    assert scores[-1] < max(scores) == history.best_score == scores[history.best_epoch]
    assert same(nominal(network), snapshots[3 * (history.best_epoch + 1)])
    clean, attacked = selection_score(network, task.validation, 0)
    assert (clean + attacked) / 2 == history.best_score
    assert all(row["score"] == (row["clean"] + row["attacked"]) / 2 for row in history.rows)


def test_a_network_that_learned_nothing_is_named(task):
    """A silent network gives one class for the whole validation part: the history says which, unless it learned."""
    network = student()
    for name, value in network.named_parameters():
        value.requires_grad_(name == "readout.input.bias")
        if name.endswith("weight"):
            value.data.zero_()
    history = fit(network, task, functional.cross_entropy, epochs=1, schedule=SCHEDULE)
    predicted = network(task.validation.x)[0].argmax(1)
    assert history.one_class == predicted[0] and (predicted == predicted[0]).all()
    assert f"class {history.one_class} is predicted for every sample" in repr(history)
    learned = fit(student(), task, functional.cross_entropy, epochs=20, schedule=SCHEDULE)
    assert learned.one_class is None
    assert repr(learned).startswith("History(20 of 20 epochs, ") and "everything" not in repr(learned)


def test_training_learns(task):
    """20 epochs take the clean validation score of a linearly separable toy above .8 from chance (.5)."""
    network = student()
    history = fit(network, task, functional.cross_entropy, epochs=20, schedule=SCHEDULE)
    assert history.rows[-1]["loss"] < 0.7 * history.rows[0]["loss"]
    assert selection_score(network, task.validation, 0)[0] >= 0.8


def test_frozen_parameters_and_absent_synapses_stay(task):
    """Parameters without requires_grad keep their bits, and masked weights stay 0."""
    network = student()
    before = nominal(network)
    fit(network, task, functional.cross_entropy, epochs=2, schedule=SCHEDULE)
    after = nominal(network)
    for name in before:
        assert torch.equal(before[name], after[name]) == (kind_of(name) not in SIGNED), name
    assert (after["hidden.recurrent.weight"][~network.hidden.recurrent.mask] == 0).all()


def test_the_test_part_is_never_read(task):
    """Training works on a task whose test part is not there at all."""
    fit(student(), replace(task, test=None), functional.cross_entropy, epochs=1, schedule=SCHEDULE)


def batches_seen(task, seed):
    seen = []

    def loss(logits, y):
        seen.append(y.tolist())
        return functional.cross_entropy(logits, y)

    fit(student(), task, loss, epochs=2, seed=seed, schedule=SCHEDULE)
    return seen


def test_seed_decides_the_batches(task):
    """The same seed gives the same batches whatever the global generator holds; another epoch gives others."""
    torch.manual_seed(1)
    first = batches_seen(task, 0)
    torch.manual_seed(2)
    assert batches_seen(task, 0) == first
    assert first[:3] != first[3:]
    assert sorted(label for batch in first[:3] for label in batch) == sorted(task.train.y.tolist())


def test_another_seed_gives_other_batches(task):
    """Four seeds give four orders of the labels; two alike by chance: below 1e-5."""
    assert len({str(batches_seen(task, seed)) for seed in range(4)}) == 4


def test_learning_rate_drops():
    """3e-3, times 0.2 from three quarters of the epochs on: epochs 6 and 7 of 8."""
    rates = [Schedule().rate(epoch, 8) for epoch in range(8)]
    assert rates == pytest.approx([3e-3] * 6 + [6e-4] * 2)


def test_log_is_the_history(task, tmp_path):
    """log.csv holds one row an epoch with the figures of the history."""
    history = fit(student(), task, functional.cross_entropy, epochs=3, schedule=SCHEDULE, out=tmp_path)
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [float(row["loss"]) for row in rows] == [row["loss"] for row in history.rows]
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]


def test_validates_only_in_selected_epochs(task):
    """select_every = 3 of 5 epochs validates after epochs 2 and 4 (the last); the others have no score."""
    history = fit(student(), task, functional.cross_entropy, epochs=5, schedule=replace(SCHEDULE, select_every=3))
    assert [not math.isnan(row["score"]) for row in history.rows] == [False, False, True, False, True]


def test_progress_names_a_score_only_when_there_is_one(task, monkeypatch):
    """Before the first epoch that is judged there is no best score: none is shown, and no −inf."""
    said = []

    @contextmanager
    def progress(description, total, done=0):
        yield lambda description=None: said.append(description)

    monkeypatch.setattr(loop, "progress", progress)
    history = fit(student(), task, functional.cross_entropy, epochs=3, schedule=replace(SCHEDULE, select_every=2))
    assert ["best validation score" in line for line in said] == [False, True, True]
    assert not any("inf" in line or "nan" in line for line in said)
    assert f"kept epoch {history.best_epoch}, score {history.best_score:.3f}" in repr(history)
    assert "no epoch judged" in repr(History(epochs_planned=3)) and "inf" not in repr(History(epochs_planned=3))


def test_time_budget_stops_after_an_epoch(task):
    """A budget of almost nothing trains one epoch, validates it, keeps it and says so."""
    network = student()
    schedule = replace(SCHEDULE, select_every=4, max_seconds=1e-9)
    history = fit(network, task, functional.cross_entropy, epochs=9, schedule=schedule)
    assert len(history.rows) == 1 and history.out_of_time and history.best_epoch == 0
    assert not same(nominal(network), nominal(student()))


def test_nan_loss_is_named(task, tmp_path):
    """A loss that becomes NaN in epoch 1 is one clear error, and the checkpoint of epoch 0 is still there."""
    calls = []

    def loss(logits, y):
        calls.append(1)
        return functional.cross_entropy(logits, y) * (math.nan if len(calls) == 5 else 1.0)

    with pytest.raises(ValueError, match="loss: 1 of 1 values are NaN or infinite"):
        fit(student(), task, loss, epochs=2, schedule=SCHEDULE, out=tmp_path)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert len(state["history"]["rows"]) == 1
    assert all(value.isfinite().all() for value in state["states"]["now"].values())


def test_one_class_is_refused(task):
    """A training or validation part of one class names the part."""
    one = Data(task.train.x[::2], task.train.y[::2])
    for part, words in (("train", "training part"), ("validation", "validation part")):
        with pytest.raises(ValueError, match=f"{words}: all 12 samples are of class 0; expected two classes"):
            fit(student(), replace(task, **{part: one}), functional.cross_entropy, epochs=1)


def test_a_foreign_checkpoint_is_refused(task, tmp_path):
    """A truncated or foreign checkpoint.pt is named and kept."""
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"checkpoint\.pt: is truncated or foreign, .*remove it"):
        fit(student(), task, functional.cross_entropy, epochs=1, out=tmp_path)
    assert path.read_bytes() == b"not a checkpoint"


def test_a_folder_that_cannot_be_written_is_refused_before_training(task, tmp_path):
    """A file where the folder should be: one line, before the loss is called."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write to folder"), killed_at(1, AssertionError):
        fit(student(), task, functional.cross_entropy, epochs=1, out=tmp_path / "file")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": -1.0}, "learning_rate: got -1"),
        ({"learning_rate": math.nan}, "learning_rate: got nan"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"clip": 0.0}, "clip: got 0"),
        ({"max_seconds": math.nan}, "max_seconds: got nan"),
    ],
)
def test_bad_schedules_are_refused(settings, message):
    """Non-positive and NaN settings are named."""
    with pytest.raises(ValueError, match=message):
        Schedule(**settings)


@pytest.mark.parametrize("epochs", [0, -3])
def test_no_epochs_are_refused(task, epochs):
    """A count of epochs below 1."""
    with pytest.raises(ValueError, match=f"epochs: got {epochs}; expected an integer ≥ 1"):
        fit(student(), task, functional.cross_entropy, epochs=epochs)


def test_data_refuses_what_is_no_data():
    """Empty, misshapen, non-finite and unlabelled data are named."""
    good = events(0, 4)
    for x, y, message in (
        (good.x[:0], good.y[:0], "got no samples"),
        (good.x, good.y[:3], r"x of shape \(4, 20, 3\) and y of shape \(3,\)"),
        (good.x * math.nan, good.y, "data x: 240 of 240 values are NaN"),
        (good.x, good.y - 1, "labels of type torch.int64, the smallest -1"),
        (good.x, good.y.bool(), "labels of type torch.bool"),
        (good.x, good.y.double() * math.nan, "data y: 4 of 4 values are NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            Data(x, y)


def test_a_task_of_data_alone():
    """Without a fingerprint a task hashes its data: equal data, equal hash, one changed value another; no builder."""
    same, other = (
        Task("t", ("a", "b"), events(s, 6), events(9, 6), events(8, 6), functional.cross_entropy) for s in (1, 2)
    )
    again = Task("t", ("a", "b"), events(1, 6), events(9, 6), events(7, 6), functional.cross_entropy)
    assert same.data_sha256 == again.data_sha256 != other.data_sha256
    with pytest.raises(ValueError, match="task 't': has no builder of networks"):
        same.network()
