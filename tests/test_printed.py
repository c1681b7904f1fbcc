"""Whatever a measurement gives back, printing it fits a screen: 30 lines of 120 columns."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from conftest import draw
from torch import nn

import chipmodels
import neurorobust as nr
from neurorobust._util.printed import LINES, WIDTH, Printed, fitted
from neurorobust.data import Data, Task


def fits(text: str) -> bool:
    return len(text.splitlines()) <= LINES and all(len(line) <= WIDTH for line in text.splitlines())


@pytest.fixture(scope="module")
def results():
    """One result of each kind, of a network with many layers and long names."""
    torch.manual_seed(0)
    deep = nn.Sequential(*(nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(8)), nn.Linear(6, 2))
    model, data = nr.wrap(deep), Data(draw(0, 40, 6).float(), torch.arange(40) % 2)
    ball, attack = nr.Ball.uniform(0.1), nr.attacks.PGA(steps=1)
    task = Task("t", ("a", "b"), data, data, data, nn.functional.cross_entropy)
    fleet = nr.evaluate(model, data, nr.mismatch(0.1), n_dies=60)
    hidden = nr.neurons.Lif(nr.nn.Linear(draw(1, 5, 6).float()), tau_mem=0.02, v_threshold=0.1)
    readout = nr.neurons.LeakyIntegrator(nr.nn.Linear(draw(2, 2, 5).float()), tau_mem=0.02)
    network = nr.Network({"hidden": hidden, "readout": readout}, dt=2e-2)
    deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
    return {
        "evaluate": fleet,
        "yield": fleet.yield_at(0.5) if hasattr(fleet, "yield_at") else fleet,
        "compare": nr.compare(fleet, fleet),
        "worst_case": nr.worst_case(model, data, ball, attack),
        "sensitivity": nr.sensitivity(model, data, attack=attack, n_dies=2),
        "fit": nr.fit(model, task, task.loss, epochs=1),
        "deployment": deployment,
        "report": deployment.report,
        "estimate": nr.deploy.estimate(deployment, torch.zeros(2, 4, 6)),
    }


@pytest.mark.parametrize(
    "name", ["evaluate", "yield", "compare", "worst_case", "sensitivity", "fit", "deployment", "report", "estimate"]
)
def test_a_result_fits_a_screen(results, name):
    """print() of it, and what a console shows."""
    assert isinstance(results[name], Printed) or name == "compare"
    assert fits(str(results[name])) and len(str(results[name])) > 10
    assert len(repr(results[name])) < 4000


def test_the_most_fragile_part_is_shown_first(results):
    """17 matrices and biases on three levels are more than a screen: the rest is counted."""
    text = str(results["sensitivity"])
    assert "more parts" in text and text.startswith("Sensitivity(")


def test_a_deployment_says_what_the_chip_has_and_the_network_has_not(results):
    """No synaptic current against the filters of the chip, and steps of 20 ms against none."""
    found = results["deployment"].differences()
    assert any(
        "no synaptic current; on the chip: one synaptic current, or synaptic currents by sign" in text for text in found
    )
    assert any("steps of 20 ms; on the chip: no steps" in text for text in found)
    assert "steps of 20 ms" in str(results["deployment"])


def test_a_summary_has_no_arrays():
    """Any dataclass of arrays, dictionaries and long lists."""

    @dataclass(frozen=True, eq=False, repr=False)
    class Large(Printed):
        a: np.ndarray
        b: torch.Tensor
        c: dict
        d: tuple
        e: float
        f: str
        g: object
        h: np.ndarray

    large = Large(
        np.zeros((50, 40)), torch.ones(10**4), {f"name {i}": i for i in range(99)}, tuple(range(500)), 0.5, "x" * 500,
        object(), np.zeros(0),
    )  # fmt: skip
    assert fits(str(large)) and "shape (50, 40), 0 to 0, mean 0" in str(large) and "500 × int" in str(large)


def test_samples_and_tasks_do_not_print_their_tensors():
    """Shapes, ranges, and the names of the parts."""
    data = nr.data.Data(torch.zeros(40, 30, 5), torch.arange(40) % 2)
    task = nr.data.Task("mine", ("a", "b"), data, data, data, torch.nn.functional.cross_entropy)
    assert "shape (40, 30, 5), 0 to 0, mean 0" in str(data) and fits(str(data))
    assert "(a, b)" in repr(task) and "tensor" not in repr(task) and fits(str(task))
    lines = dict(line.split(None, 1) for line in repr(task).splitlines()[1:-1])
    assert lines["train"] == "Data, shape (40, 30, 5)" and lines["loss"] == "cross_entropy"


def test_long_texts_are_wrapped_and_cut():
    """A line of 1000 words and 100 lines: 30 lines, the last of which counts the others."""
    text = fitted("word " * 1000 + "\n" + "\n".join("x" * 300 for _ in range(100)))
    assert fits(text) and "more lines)" in text.splitlines()[-1]


def test_every_public_result_is_printed_so():
    """No dataclass of results with a tensor, an array or a dictionary keeps the text that dataclasses make."""
    found = []
    for part in ("evaluation", "deploy", "fitting", "circuit", "train"):
        package = importlib.import_module(f"neurorobust.{part}")
        for info in pkgutil.walk_packages(package.__path__, f"neurorobust.{part}."):
            module = importlib.import_module(info.name)
            for name, cls in vars(module).items():
                if inspect.isclass(cls) and cls.__module__ == info.name and "__dataclass_fields__" in vars(cls):
                    public = any(getattr(package, name, None) is cls for package in (package,))
                    if (
                        public
                        and not issubclass(cls, Printed)
                        and cls.__repr__.__qualname__.startswith("__create_fn__")
                    ):
                        held = " ".join(str(field.type) for field in cls.__dataclass_fields__.values())
                        if any(word in held for word in ("ndarray", "Tensor", "Mapping", "dict", "Deviations")):
                            found.append(f"{info.name}.{name}")
    assert sorted(found) == []


def test_names_that_are_imported_on_first_use_are_listed():
    """dir() has what __all__ has."""
    assert set(nr.__all__) <= set(dir(nr)) and set(nr.interop.__all__) <= set(dir(nr.interop))
    assert "from_snntorch" in dir(nr)
