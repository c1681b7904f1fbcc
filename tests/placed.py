"""Small networks that fit DYNAP-SE2, for the tests of chips, fleets and storage."""

from __future__ import annotations

from typing import Any

import torch
from conftest import DT, draw

from neurorobust.core.placement import HOST
from neurorobust.nn.connections import Linear
from neurorobust.nn.network import Network
from neurorobust.nn.neurons import AdaptiveLif, LeakyIntegrator


def placed(core: list[int], n_in: int = 3, fan_in: int = 4, seed: int = 0, **changed: Any) -> Network:
    """Adaptive recurrent neurons on the given cores, and two read-outs on the host.

    Each neuron takes every input and ``fan_in`` others, itself excepted; parameters are set once per core.

    Args:
        changed: parameters of the neurons set otherwise (``tau_mem=…``).
    """
    n, where = len(core), torch.tensor(core)
    order = draw(seed + 1, n, n).fill_diagonal_(-torch.inf).argsort(1, descending=True)
    mask = torch.zeros(n, n, dtype=torch.bool).scatter_(1, order[:, :fan_in], True)
    cores = max(core) + 1
    values = {
        "tau_mem": torch.linspace(0.005, 0.02, cores, dtype=torch.float64),
        "tau_adapt": torch.full((cores,), 0.03, dtype=torch.float64),
        "adaptation": torch.full((cores,), 0.5, dtype=torch.float64),
        "v_threshold": torch.linspace(0.1, 0.08, cores, dtype=torch.float64),
    }
    hidden = AdaptiveLif(
        Linear(draw(seed + 2, n, n_in)),
        recurrent=Linear(0.5 * draw(seed + 3, n, n), mask=mask),
        core=where,
        **values | changed,
    )
    readout = LeakyIntegrator(
        Linear(3 * draw(seed + 4, 2, n), 0.3 * draw(seed + 5, 2)), core=torch.full((2,), HOST), tau_mem=0.01
    )
    return Network({"hidden": hidden, "readout": readout}, DT)
