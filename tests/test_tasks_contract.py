"""Contracts of every task, over all that are found; a regression, per step, is solved by the network that made it."""

from __future__ import annotations

import inspect

import pytest
import torch
from conftest import draw
from found import TASKS, every_task, task_example
from sequence_regression import WEIGHT, sequence_regression, student

import chipmodels
import neurorobust as nr
from neurorobust.core.run import forward, nominal
from neurorobust.data import Data
from neurorobust.nn.network import Network, placement_of

DYNAPSE2 = chipmodels.load("dynapse2")


def test_the_walk_finds_what_there_is():
    """The five tasks are among those found; each of ours is exported under its name."""
    ours = {"ecg", "ecg_three", "fashion_mnist", "fashion_mnist_spiking", "keywords"}
    assert ours <= set(TASKS)
    assert all(getattr(nr.tasks, name) is TASKS[name] for name in ours)


@every_task
def test_every_task_is_made_alike(function):
    """A folder, or none; else keywords with defaults, a seed among them; it says it returns a Task, and its first line
    says what it is."""
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    if parameters[0].name == "folder":
        assert parameters.pop(0).default is None
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters)
    assert signature.parameters["seed"].default == 0 and signature.return_annotation == "Task"
    assert 0 < len(function.__doc__.splitlines()[0]) < 100


@every_task
def test_every_task_is_whole_and_repeatable(function):
    """Its example: under its own name, three parts of one shape whose labels are its classes; made again, the same
    fingerprint and samples."""
    task, again = task_example(function), task_example(function)
    assert task.name == function.__name__ and task.fingerprint == again.fingerprint != ""
    for part in ("train", "validation", "test"):
        data, same = getattr(task, part), getattr(again, part)
        assert torch.equal(data.x, same.x) and torch.equal(data.y, same.y)
        assert data.x.shape[1:] == task.train.x.shape[1:] and data.x.dtype == torch.float32
        if not data.regression:
            assert len(task.classes) >= 2 and int(data.y.max()) < len(task.classes)


@every_task
def test_every_task_builds_networks(function):
    """The same for the same seed, others for another; finite outputs, one for each class, a loss and its gradients."""
    task = task_example(function)
    one, same, other = (task.network(n_hidden=12, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    params = {name: value.requires_grad_() for name, value in nominal(one).items()}
    data = task.train.first(6)
    outputs = forward(one, params, data.x)[0]
    assert outputs.isfinite().all()
    if not data.regression:
        assert outputs.shape == (*data.y.shape, len(task.classes))
    loss = task.loss(outputs, data.y)
    gradients = torch.autograd.grad(loss, list(params.values()), allow_unused=True, materialize_grads=True)
    assert loss.isfinite() and all(gradient.isfinite().all() for gradient in gradients)


@every_task
def test_every_task_fits_a_chip_or_says_why_not(function):
    """Its network, at other values as after training, is programmed onto DYNAP-SE2, or refused in one line that names
    the chip or a layer."""
    task = task_example(function)
    try:
        network = task.network(DYNAPSE2, n_hidden=12)
        params = {
            name: value * (1 + 0.01 * draw(0, *value.shape).to(value)) for name, value in nominal(network).items()
        }
        DYNAPSE2.program(params, placement_of(network))
    except ValueError as error:
        layers = task.network(n_hidden=12)
        names = ("dynapse2", *(layers.layers() if isinstance(layers, Network) else ()))
        assert any(name in str(error) for name in names) and "\n" not in str(error)


def test_balanced_samples_have_every_class_alike():
    """Of a part ordered by class, 6 of 10 + 4 + 2 samples: two of each class, spread and in their order; all of a class
    that is rare; everything where that is what was asked for."""
    y = torch.tensor([0] * 10 + [1] * 4 + [2] * 2)
    data = Data(torch.arange(16.0)[:, None, None].expand(16, 2, 1), y)
    assert data.first(6).y.tolist() == [0] * 6
    assert data.balanced(6).x[:, 0, 0].tolist() == [0, 5, 10, 12, 14, 15]
    assert torch.bincount(data.balanced(11).y).tolist() == [5, 4, 2]
    assert torch.bincount(data.balanced(3).y).tolist() == [1, 1, 1]
    for n in (16, 99):
        assert torch.equal(data.balanced(n).x, data.x)
    assert all(len(data.balanced(n)) == n for n in range(1, 17))
    with pytest.raises(ValueError, match="cannot be balanced"):
        Data(data.x, torch.rand(16, 2)).balanced(4)


def test_the_teacher_solves_the_regression():
    """At the teacher's weights the loss is 0 to rounding in every part; elsewhere it is not."""
    task = sequence_regression()
    for data in (task.train, task.validation, task.test):
        assert task.loss(student(WEIGHT.tolist())(data.x)[0], data.y) < 1e-28
        assert task.loss(task.network()(data.x)[0], data.y) > 0.01


def test_the_regression_is_learned():
    """Gradient descent from other weights finds the teacher's, the only solution, to 1e-6."""
    task = sequence_regression()
    network = task.network()
    optimizer = torch.optim.LBFGS(network.readout.input.parameters(), max_iter=50, tolerance_grad=1e-12)

    def step():
        optimizer.zero_grad()
        loss = task.loss(network(task.train.x)[0], task.train.y)
        loss.backward()
        return loss

    optimizer.step(step)
    torch.testing.assert_close(network.readout.input.weight.detach(), torch.from_numpy(WEIGHT), rtol=0, atol=1e-6)
