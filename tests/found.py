"""Every object that a contract test holds to its contract: found as the package finds it, built by its own example.

Nothing is named here, so what is added to a package, or installed with an entry point, is tested without another line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

import chipmodels
from neurorobust import regularizers
from neurorobust._util.discovery import classes
from neurorobust.attacks.installed import attack_classes
from neurorobust.data import Task
from neurorobust.data.installed import task_functions
from neurorobust.dynamics import adaptations, floors, inhibitions, resets, surrogate
from neurorobust.nn.installed import neuron_classes
from neurorobust.nn.neurons import Neuron
from neurorobust.train.methods import METHODS

CHIPS = chipmodels.models()
TASKS = task_functions()
ATTACKS = {name: kind.example() for name, kind in attack_classes().items()}
REGULARIZERS = classes(regularizers, regularizers.Regularizer)
NEURONS = neuron_classes()
SURROGATES = {name: kind.example() for name, kind in classes(surrogate, surrogate.Surrogate).items()}
FLOORS = {name: kind.example() for name, kind in classes(floors, floors.Floor).items()}
ADAPTATIONS = {name: kind.example() for name, kind in classes(adaptations, adaptations.Adaptation).items()}
INHIBITIONS = {name: kind.example() for name, kind in classes(inhibitions, inhibitions.Inhibition).items()}
RESETS = {name: kind.example() for name, kind in classes(resets, resets.Reset).items()}


def _every(argument: str, objects: Mapping[str, Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(argument, list(objects.values()), ids=list(objects))


every_chip = _every("chip", CHIPS)
every_task = _every("function", TASKS)
every_attack = _every("attack", ATTACKS)
every_regularizer = _every("kind", REGULARIZERS)
every_neuron = _every("model", NEURONS)
every_surrogate = _every("surrogate", SURROGATES)
every_reset = _every("reset", RESETS)
every_floor = _every("floor", FLOORS)
every_inhibition = _every("inhibition", INHIBITIONS)
every_adaptation = _every("rule", ADAPTATIONS)
every_method = pytest.mark.parametrize("name", list(METHODS))


def task_example(function: Callable[..., Task]) -> Task:
    """A small task: what ``example()`` beside its function makes, or else the task itself."""
    return getattr(sys.modules[function.__module__], "example", function)()


def neuron_example(model: type[Neuron], n: int = 5, *, per_neuron: bool = True, seed: int = 0) -> Neuron:
    """A layer of a neuron model in float64."""
    return model.example(torch.Generator().manual_seed(seed), n, per_neuron=per_neuron).double()
