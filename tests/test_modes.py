"""Every public function of `neurorobust.evaluation`, in train mode and where gradients are off."""

from __future__ import annotations

import dataclasses
import inspect

import numpy as np
import pytest
import torch
from torch import nn

import neurorobust as nr
from neurorobust import demo, evaluation
from neurorobust.attacks import PGA
from neurorobust.data import Data
from neurorobust.train.loop import selection_score

FUNCTIONS = {
    name: function
    for name, function in vars(evaluation).items()
    if name in evaluation.__all__
    and inspect.isfunction(function)
    and "network" in inspect.signature(function).parameters
    and name != "strong_plan"
} | {"selection_score": selection_score, "nominal_score": demo.nominal_score}
ARGUMENTS = {
    "ball": nr.Ball.uniform(0.1),
    "chip": nr.mismatch(0.2),
    "attack": PGA(2),
    "candidates": [{}],
    "passes": 3,
    "spec": 0.9,
    "points": 3,
    "directions": 1,
    "count": 1,
    "n_dies": 2,
    "serials": [0, 1],
    "n": 4,
    "repeats": 4,
    "dies": 50,
    "seed": 1,
}
every_function = pytest.mark.parametrize("name", sorted(FUNCTIONS))


@pytest.fixture
def model(monkeypatch):
    """A network with dropout, in train mode, whose passes are written down: (model, data, modes)."""
    monkeypatch.setattr("neurorobust.evaluation.strong.STEPS", 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 2)).double()
    x = torch.rand(40, 4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = module.eval()(x).argmax(1)
    y[::5] = 1 - y[::5]  # some margin is wrong, so that no score is 1
    modes: list[bool] = []
    for part in module.modules():
        part.register_forward_pre_hook(lambda part, _: modes.append(part.training))
    return nr.wrap(module.train()), Data(x, y), modes


def call(name, network, data):
    """One call with small arguments; a new argument without a default needs a value in ARGUMENTS."""
    wanted = inspect.signature(FUNCTIONS[name]).parameters
    first = (nr.mismatch(0.2).fabricate([0], 1)[0], data) if "die" in wanted else (data,)
    return FUNCTIONS[name](network, *first, **{key: value for key, value in ARGUMENTS.items() if key in wanted})


def same(one, other):
    """Nested values, bit for bit."""
    if dataclasses.is_dataclass(one):
        return all(same(getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(one))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, torch.Tensor | np.ndarray | float):
        return np.array_equal(np.asarray(one), np.asarray(other), equal_nan=np.asarray(one).dtype.kind == "f")
    return repr(one) == repr(other)


def test_the_functions_are_found():
    """The introspection finds those there are."""
    assert {"worst_case", "transfer", "random_search", "strong_worst_case", "evaluate", "certify"} <= set(FUNCTIONS)
    assert {"landscape", "sensitivity", "sharpness", "hessian_eigenvalues", "rare_failures"} <= set(FUNCTIONS)


@every_function
def test_every_pass_is_in_eval_mode(name, model):
    """Whatever mode the module is in: no pass in train mode, the numbers of eval mode, every mode as it was."""
    network, data, modes = model
    found = call(name, network, data)
    assert modes and not any(modes)
    assert all(part.training for part in network.modules())
    if not name.startswith("estimate"):
        network.eval()
        assert same(found, call(name, network, data))


@every_function
def test_modes_of_parts_stay(name, model):
    """A part that is in eval mode inside a module in train mode is in eval mode afterwards."""
    network, data, _ = model
    frozen = next(part for part in network.modules() if isinstance(part, nn.Dropout)).eval()
    call(name, network, data)
    assert [part for part in network.modules() if not part.training] == [frozen]


@every_function
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode], ids=["no_grad", "inference_mode"])
def test_works_where_gradients_are_off(name, context, model):
    """The same numbers inside `torch.no_grad()` and `torch.inference_mode()`."""
    network, data, _ = model
    outside = call(name, network, data)
    with context():
        inside = call(name, network, Data(data.x.clone(), data.y.clone()))
    if not name.startswith("estimate"):
        assert same(outside, inside)
