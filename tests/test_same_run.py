"""Everything that acts is compared: runs, models and write-backs with one other part are refused by its name."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import sys
import threading
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import pytest
import snntorch as snn
import torch
from conftest import events
from test_training import SCHEDULE, robust, student
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune

import chipmodels
import neurorobust as nr
from neurorobust._util.description import describe, difference, unknown_part
from neurorobust.data import Data, Task
from neurorobust.nn.network import placement_of
from neurorobust.regularizers import SAM, Adversarial, EntropySGD
from neurorobust.train import fit

LEVEL = 1.0


class Weighted:
    """A criterion that prints nothing of itself."""

    def __init__(self, weight):
        self.weight = torch.tensor([weight, 1.0])

    def __call__(self, logits, y):
        return functional.cross_entropy(logits, y, self.weight.to(logits))

    def scaled(self, logits, y):
        return self(logits, y) * self.weight[0]


def scaled(logits, y, factor=1.0):
    return functional.cross_entropy(logits, y) * factor * LEVEL


def closed(factor):
    return lambda logits, y: factor * functional.cross_entropy(logits, y)


PAIRS = {
    "class weights": [nn.CrossEntropyLoss(weight=torch.tensor([w, 1.0]).double()) for w in (0.1, 0.9)],
    "smoothing": [nn.CrossEntropyLoss(label_smoothing=s) for s in (0.0, 0.5)],
    "lambda": [lambda a, y: functional.cross_entropy(a, y), lambda a, y: -functional.cross_entropy(a, y)],
    "closure": [closed(1.0), closed(2.0)],
    "partial": [functools.partial(scaled, factor=f) for f in (1.0, 2.0)],
    "object": [Weighted(1.0), Weighted(2.0)],
    "method": [Weighted(1.0).scaled, Weighted(2.0).scaled],
    "nested": [SAM(robust(Weighted(w))) for w in (1.0, 2.0)],
    "objective": [
        Adversarial(Weighted(1.0), nr.attacks.PGA(2, objective=o), nr.Ball.uniform(0.1), 1.0)
        for o in (lambda a, b, y: (a - b).square().mean(), lambda a, b, y: (a - b).abs().mean())
    ],
}


@pytest.mark.parametrize("name", PAIRS)
def test_another_loss_is_refused(task, tmp_path, name):
    """Each pair differs in one value or in code; the same loss is resumed, the other one is refused."""
    first, second = PAIRS[name]
    for _ in range(2):
        fit(student(), task, first, epochs=1, schedule=SCHEDULE, out=tmp_path)
    with pytest.raises(ValueError, match=r"belongs to another run \(loss: "):
        fit(student(), task, second, epochs=1, schedule=SCHEDULE, out=tmp_path)


def test_a_global_number_acts(task, tmp_path, monkeypatch):
    """A function that reads a global: its value is part of the loss, and the message names it."""
    fit(student(), task, scaled, epochs=1, schedule=SCHEDULE, out=tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "LEVEL", 2.0)
    with pytest.raises(ValueError, match=r"globals\[LEVEL\] is 1.0 there, 2.0 here"):
        fit(student(), task, scaled, epochs=1, schedule=SCHEDULE, out=tmp_path)


def test_a_loss_that_cannot_be_told_apart(task, tmp_path):
    """A lock inside: said at the start, refused at the resume, and without a folder no matter."""
    loss = Weighted(1.0)
    loss.lock = threading.Lock()
    fit(student(), task, loss, epochs=1, schedule=SCHEDULE)
    with pytest.warns(UserWarning, match=r"loss: it cannot be told apart .*lock"):
        fit(student(), task, loss, epochs=1, schedule=SCHEDULE, out=tmp_path)
    with (
        pytest.warns(UserWarning, match=r"cannot be told apart"),
        pytest.raises(ValueError, match=r"loss: .*lock cannot"),
    ):
        fit(student(), task, loss, epochs=1, schedule=SCHEDULE, out=tmp_path)


def test_modes_samples_and_dtypes_act(task, tmp_path):
    """A frozen part, other samples under the same fingerprint, and torch's default type are other runs."""
    run = functools.partial(fit, loss=functional.cross_entropy, epochs=1, schedule=SCHEDULE, out=tmp_path)
    run(student(), task)
    frozen = student()
    frozen.readout.eval()
    with pytest.raises(ValueError, match=r"network: readout.*training is True there, False here"):
        run(frozen, task)
    with pytest.raises(ValueError, match=r"data: train.x"):
        run(student(), replace(task, train=events(77, len(task.train))))
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(ValueError, match="torch: default dtype"):
            run(student(), task)
    finally:
        torch.set_default_dtype(torch.float32)


def test_samples_are_hashed_once(tmp_path, monkeypatch):
    """To make a task and to train it with a folder: no sample is hashed twice."""
    hashed, sha256 = [], hashlib.sha256

    class Counting:
        def __init__(self, data=b""):
            self.inner = sha256()
            self.update(data)

        def update(self, data):
            hashed.append(len(data))
            self.inner.update(data)

        def hexdigest(self):
            return self.inner.hexdigest()

    monkeypatch.setattr(hashlib, "sha256", Counting)
    task = Task("t", ("a", "b"), events(1, 14), events(2, 12), events(3, 6), functional.cross_entropy)
    fit(student(), task, functional.cross_entropy, epochs=1, schedule=SCHEDULE, out=tmp_path)
    size = task.train.x.nbytes
    assert hashed.count(size) == 1 and size > 1000
    monkeypatch.undo()
    assert len(task.data_sha256) == 64


SCRIPT = """
import torch, chipmodels, neurorobust as nr
from torch.nn import functional
from neurorobust._util.description import describe, digest
from neurorobust.regularizers import Adversarial, ChipCorners, TaskLoss
class Mine:
    names = {"a", "b", "c", "d"}
    def __call__(self, a, y):
        return functional.cross_entropy(a, y) if str(y) not in {"p", "q", "r"} else len(self.names)
loss = Adversarial(Mine(), nr.attacks.PGA(2, objective=lambda a, b, y: (a - b).mean()),
                   ChipCorners(chipmodels.load("dynapse2")), 1.0)
print(digest(describe([loss, TaskLoss(lambda a, y: Mine()(a, y))])))
"""


def test_descriptions_are_the_same_in_every_process():
    """Two processes with other hash seeds give the same digest."""
    root = str(Path(nr.__file__).parents[1])
    found = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": root},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1 and len(found.pop().strip()) == 16


def test_descriptions_of_loops_end():
    """An object that contains itself, and a cached property, which is no part of it."""
    one, two = Weighted(1.0), Weighted(1.0)
    one.me, two.me = one, two
    assert not difference(describe(one), describe(two)) and not unknown_part(describe(one))
    ring = []
    ring.append(ring)
    assert "contains itself" in unknown_part(describe(ring))


def snn_net(reset="subtract", slope=25.0, seed=0):
    torch.manual_seed(seed)
    leaky = {"spike_grad": snn.surrogate.fast_sigmoid(slope), "init_hidden": True, "reset_mechanism": reset}
    return nn.Sequential(
        nn.Linear(3, 8, bias=False), snn.Leaky(0.9, threshold=0.3, **leaky), nn.Linear(8, 2), snn.Leaky(0.9, **leaky)
    )


def test_load_into_other_options_is_refused(tmp_path):
    """An activation, a reset, a surrogate, a decoder: each by its name; the same options load."""
    nr.save(nr.wrap(nn.Sequential(nn.Linear(3, 2), nn.ReLU())), tmp_path / "a")
    nr.load(tmp_path / "a", into=nr.wrap(nn.Sequential(nn.Linear(3, 2), nn.ReLU())))
    with pytest.raises(ValueError, match=r"into: _module\.1 is .*ReLU there, .*Tanh here"):
        nr.load(tmp_path / "a", into=nr.wrap(nn.Sequential(nn.Linear(3, 2), nn.Tanh())))
    model = nr.from_snntorch(snn_net(), 1e-3)
    model.place({"1": 0, "3": nr.HOST})
    nr.save(model, tmp_path / "b")
    nr.load(tmp_path / "b", into=nr.from_snntorch(snn_net(seed=1), 1e-3))
    for other in (
        nr.from_snntorch(snn_net(reset="zero"), 1e-3),
        nr.from_snntorch(snn_net(slope=5.0), 1e-3),
        nr.from_snntorch(snn_net(), 1e-3, decode=nr.interop.decode.spike_rate),
    ):
        with pytest.raises(ValueError, match=r"into: .* there, .* here"):
            nr.load(tmp_path / "b", into=other)
    with pytest.raises(ValueError, match=r"net: .*slope"):
        nr.to_snntorch(model, snn_net(slope=5.0))
    nr.to_snntorch(model, snn_net(seed=1))


def tasks(n=20):
    x = 2 * (torch.rand(n, 12, 3, generator=torch.Generator().manual_seed(1)) < 0.4).float()
    data = Data(x, torch.arange(n) % 2)
    return Task("t", ("a", "b"), data, data, data, functional.cross_entropy)


@pytest.mark.parametrize("wrapping", [lambda loss: loss, lambda loss: SAM(loss, 0.5), lambda loss: EntropySGD(loss, 2)])
def test_absent_synapses_stay_absent(wrapping):
    """Pruned and placed: the same synapses after training, the others changed; not placed, a zero is trained."""
    net = snn_net()
    prune.l1_unstructured(net[0], "weight", 0.5)
    prune.remove(net[0], "weight")
    model, free = nr.from_snntorch(net, 1e-3), nr.from_snntorch(net, 1e-3)
    model.place({"1": 0, "3": nr.HOST})
    before, start = placement_of(model).masks["0.weight"], model.get_parameter("0.weight").detach().clone()
    for network in (model, free):
        nr.fit(network, tasks(), wrapping(functional.cross_entropy), epochs=2, schedule=nr.Schedule(batch_size=8))
    assert torch.equal(placement_of(model).masks["0.weight"], before) and not before.all()
    assert (model.get_parameter("0.weight")[before] != start[before]).any()
    assert (free.get_parameter("0.weight")[~before] != 0).any()


BAD = {
    "reduction": (nn.CrossEntropyLoss(reduction="none"), r"loss: gave a torch.float32 tensor of shape \(8,\)"),
    "none": (lambda a, y: None, "loss: gave None"),
    "float": (lambda a, y: 1.0, "loss: gave 1.0"),
    "nan": (lambda a, y: a.sum() * torch.nan, "loss: 1 of 1 values are NaN"),
    "complex": (lambda a, y: a.sum() * 1j, "loss: gave a torch.complex64"),
    "detached": (lambda a, y: functional.cross_entropy(a.detach(), y), "loss: does not depend on the parameters"),
    "others": (lambda a, y: torch.ones((), requires_grad=True) * 2, "loss: does not depend on the parameters"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_loss_that_cannot_train_is_refused(name):
    """One sentence, and no parameter has changed."""
    loss, message = BAD[name]
    model = nr.wrap(nn.Sequential(nn.Flatten(), nn.Linear(36, 2)))
    before = nr.nominal(model)
    with pytest.raises((ValueError, TypeError), match=message):
        nr.fit(model, tasks(), loss, epochs=1, schedule=nr.Schedule(batch_size=8))
    assert all(torch.equal(value, before[key]) for key, value in nr.nominal(model).items())


@pytest.mark.parametrize(("n", "batch_size"), [(25, 8), (21, 20), (8, 1)])
def test_a_batch_too_small_for_batch_norm_is_refused(n, batch_size):
    """Before the first step, with both numbers; in eval mode, or at the size that is advised, it trains."""
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(36), nn.Linear(36, 2)).train()
    model, task = nr.wrap(net, kinds={"1.*": "digital"}), tasks(n)
    with pytest.raises(
        ValueError, match=rf"schedule: {n} samples in batches of batch_size={batch_size} give a batch of 1"
    ):
        nr.fit(model, task, task.loss, epochs=1, schedule=nr.Schedule(batch_size=batch_size))
    assert net[1].num_batches_tracked == 0
    nr.fit(model, task, task.loss, epochs=1, schedule=nr.Schedule(batch_size=n))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_fit_trains_wherever_it_is_called(context):
    """Inside no_grad and inference_mode: the bits of a run outside."""
    models = [nr.wrap(nn.Sequential(nn.Flatten(), nn.Linear(36, 2))) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    nr.fit(models[0], tasks(), functional.cross_entropy, epochs=1)
    with context():
        nr.fit(models[1], tasks(), functional.cross_entropy, epochs=1)
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters()))


@pytest.mark.parametrize(
    "chip", ["pcm", "reram", "reram_cmo", "hermes", "brainscales2", "dynapse1", "dynapse2", "xylo"]
)
@pytest.mark.parametrize("empty", ["core", "network"])
def test_a_core_without_synapses(chip, empty):
    """A number, or a refusal that names the core or the layer; never an error of torch."""
    net = snn_net()
    with torch.no_grad():
        net[0].weight[slice(6, None) if empty == "core" else slice(None)] = 0
        if empty == "network":
            net[2].weight[:] = 0
    model = nr.from_snntorch(net, 1e-3)
    model.place({"1": torch.arange(8) // 2, "3": nr.HOST})
    try:
        score = nr.evaluate(model, tasks().test, chipmodels.load(chip), n_dies=2).mean
        assert 0 <= score <= 1
    except ValueError as error:
        assert chip not in ("pcm", "reram", "reram_cmo", "hermes")
        assert "core" in str(error) or "1." in str(error) or "0." in str(error)


class Scaled(nn.Module):
    """A layer whose outputs are multiplied by a number that no file holds: a buffer, or a tensor in a list."""

    def __init__(self, scale: float, listed: bool):
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Linear(6, 2)
        self.listed = [torch.tensor(scale if listed else 1.0)]
        self.register_buffer("scale", torch.tensor(1.0 if listed else scale), persistent=False)
        self.records: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs = self.a(x) * self.scale * self.listed[0]
        self.keep(outputs)
        return outputs

    def keep(self, outputs: torch.Tensor) -> None:
        self.records.append(outputs.detach())


@pytest.mark.parametrize("listed", [False, True])
def test_load_compares_tensors_that_no_file_holds(listed, tmp_path):
    """A buffer that is not saved, and a tensor in a list; records of earlier passes do not count."""
    model = nr.wrap(Scaled(1.0, listed))
    nr.run(model, nr.nominal(model), torch.ones(2, 6))
    nr.save(model, tmp_path)
    nr.load(tmp_path, into=nr.wrap(Scaled(1.0, listed)))
    with pytest.raises(ValueError, match=r"into: _module\.(scale|listed\[0\]) is .* there, .* here"):
        nr.load(tmp_path, into=nr.wrap(Scaled(3.0, listed)))


def in_order(names: str) -> nn.Sequential:
    torch.manual_seed(0)
    parts = {"a": nn.Tanh(), "b": nn.Linear(6, 6), "c": nn.Linear(6, 2)}
    return nn.Sequential(OrderedDict((name, parts[name]) for name in names))


def test_the_order_of_parts_counts(tmp_path):
    """The same parts in another order are another network: for load, and for a run that could be resumed."""
    nr.save(nr.wrap(in_order("abc")), tmp_path)
    with pytest.raises(ValueError, match=r"into: .*\(order\) is .* there, .* here"):
        nr.load(tmp_path, into=nr.wrap(in_order("bac")))
    assert difference(describe({"a": 1, "b": 2}), describe({"b": 2, "a": 1}))
    assert not difference(describe(in_order("abc")), describe(in_order("abc")))
