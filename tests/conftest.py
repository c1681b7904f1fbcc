"""A tiny network on two cores, in float64, and a task it can learn, shared by all tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

# Before torch and numba load OpenMP: on a busy machine its threads, spinning, make tiny layers 12 × slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import hypothesis
import pytest
import torch
from torch.nn import functional

from neurorobust.core.placement import HOST
from neurorobust.data import Data, Task
from neurorobust.nn.connections import Linear
from neurorobust.nn.network import Network
from neurorobust.nn.neurons import AdaptiveLif, LeakyIntegrator

hypothesis.settings.register_profile("fast", max_examples=20, deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("fast")
torch.set_num_threads(1)

DT = 1e-3


def double(*values: float | list) -> torch.Tensor:
    """Numbers in float64 from the start: torch.tensor(…).double() would round them to float32 first."""
    return torch.tensor(values, dtype=torch.float64)


def draw(seed: int, *shape: int) -> torch.Tensor:
    """Standard normals in float64, keyed by a seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tiny(seed: int = 0) -> Network:
    """3 inputs, 6 adaptive recurrent neurons on cores 0 and 1, 2 read-outs on the host.

    One parameter is set per core, one per layer and one per neuron, so that every way of setting one is used.
    """
    mask = (draw(seed + 1, 6, 6) > -0.5) & ~torch.eye(6, dtype=torch.bool)
    hidden = AdaptiveLif(
        Linear(draw(seed + 2, 6, 3)),
        recurrent=Linear(0.5 * draw(seed + 3, 6, 6), mask=mask),
        core=torch.tensor([0, 0, 0, 1, 1, 1]),
        tau_mem=torch.tensor([0.005, 0.02], dtype=torch.float64),
        tau_adapt=0.03,
        adaptation=torch.linspace(0.2, 0.8, 6, dtype=torch.float64),
        v_threshold=torch.tensor([0.1, 0.08], dtype=torch.float64),
    )
    readout = LeakyIntegrator(
        Linear(3 * draw(seed + 4, 2, 6), 0.3 * draw(seed + 5, 2)), core=torch.full((2,), HOST), tau_mem=0.01
    )
    return Network({"hidden": hidden, "readout": readout}, DT)


def events(seed: int, n: int, steps: int = 20) -> Data:
    """Two classes; the more active of the first two channels is the class."""
    y = torch.arange(n) % 2
    rates = torch.tensor([[0.5, 0.2, 0.3], [0.2, 0.5, 0.3]], dtype=torch.float64)[y]
    x = torch.rand(n, steps, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Data((x < rates[:, None]).double(), y)


@pytest.fixture(autouse=True)
def no_module_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    """A module that a test made in its temporary folder is forgotten: another test may make one of the same name."""
    if "tmp_path" not in request.fixturenames:
        yield
        return
    folder = str(request.getfixturevalue("tmp_path"))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(folder):
            del sys.modules[name]


@pytest.fixture
def network() -> Network:
    return tiny()


@pytest.fixture
def data() -> Data:
    return events(0, 12)


@pytest.fixture
def task() -> Task:
    return Task(
        "tiny",
        ("a", "b"),
        events(1, 24),
        events(2, 10),
        events(3, 10),
        functional.cross_entropy,
        lambda *_: tiny(),
        "f",
    )
