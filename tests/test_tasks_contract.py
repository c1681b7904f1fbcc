"""Tasks are found by walking the package; one of regression, per step, is solved by the network that made it."""

from __future__ import annotations

import inspect

import pytest
import torch
from sequence_regression import WEIGHT, sequence_regression, student

import neurorobust.data.tasks
from neurorobust._util.discovery import modules
from neurorobust.data import Data


def entries():
    """The public function of its module's own name, of every module that has one."""
    names = {module.__name__.rpartition(".")[2]: module for module in modules(neurorobust.data.tasks)}
    return {name: vars(module)[name] for name, module in names.items() if callable(vars(module).get(name))}


def test_tasks_are_found_by_walking():
    """The five tasks and nothing else; each is exported under its name."""
    found = entries()
    assert sorted(found) == ["ecg", "ecg_three", "fashion_mnist", "fashion_mnist_spiking", "keywords"]
    assert all(getattr(neurorobust.data.tasks, name) is function for name, function in found.items())


@pytest.mark.parametrize("function", entries().values(), ids=entries())
def test_every_task_is_made_alike(function):
    """A folder, or none; a seed with a default; it says it returns a Task, and its first line says what it is."""
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    assert parameters[0].name == "folder" and parameters[0].default is None
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters[1:])
    assert signature.parameters["seed"].default == 0 and signature.return_annotation == "Task"
    assert len(function.__doc__.splitlines()[0]) < 100


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
