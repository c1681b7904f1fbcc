"""Every warning points to the line of the user's call."""

from __future__ import annotations

import warnings

import pytest
import snntorch
import torch
from torch import nn
from torch.nn import functional

import neurorobust as nr
from neurorobust.data import Data, Task


class Idle(nn.Module):
    """A weight that forward does not use, and a number that no die changes."""

    def __init__(self):
        super().__init__()
        self.used, self.idle, self.tau_mem = nn.Linear(3, 2), nn.Linear(3, 2), 0.02

    def forward(self, x):
        return self.used(x)


DATA = Data(torch.randn(8, 3), torch.arange(8) % 2)
TASK = Task("t", ("a", "b"), DATA, DATA, DATA, functional.cross_entropy)
NET = nn.Sequential(nn.Linear(3, 2), snntorch.Leaky(beta=0.9, init_hidden=True))


def picture(x):
    return x[None, :, 0]


CALLS = {
    "wrap": lambda network: nr.wrap(Idle()),
    "run": lambda network: nr.run(network, nr.nominal(network), DATA.x),
    "evaluate": lambda network: nr.evaluate(network, DATA, nr.mismatch(0.1), n_dies=2),
    "worst_case": lambda network: nr.worst_case(network, DATA, nr.Ball.uniform(0.1), nr.attacks.PGA(steps=1)),
    "sensitivity": lambda network: nr.sensitivity(network, DATA),
    "fit": lambda network: nr.fit(network, TASK, functional.cross_entropy, epochs=1),
    "from_snntorch": lambda network: nr.from_snntorch(NET, 1e-3, sample=torch.ones(2, 1, 3), prepare=picture),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_line_is_the_callers(name):
    """In this file, in the line of the call."""
    network, call = nr.wrap(Idle(), {"tau_mem": "digital"}), CALLS[name]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(network)
    assert {(one.filename, one.lineno) for one in caught} == {(__file__, call.__code__.co_firstlineno)}
