"""Networks of LinearizedDpi that DYNAP-SE holds, for the tests of images."""

from __future__ import annotations

from typing import Any

import torch

from neurorobust.core.placement import HOST
from neurorobust.nn import LeakyIntegrator, Linear, LinearizedDpi, Network


def dpi_network(
    cores: tuple[list[int], ...], n_in: int = 4, density: float = 0.6, seed: int = 0, **others: Any
) -> Network:
    """Recurrent layers, one after the other, on these cores; signed weights, and a read-out on the host.

    Every neuron has a recurrent synapse and one from the input before it.

    Args:
        density: of the other synapses. others: parameters of all layers set otherwise.
    """
    generator = torch.Generator().manual_seed(seed)
    layers: dict[str, Any] = {}
    before = n_in
    for k, where in enumerate(cores):
        n = len(where)
        values: dict[str, Any] = {
            "tau_mem": 0.01,
            "tau_syn_exc": 0.005,
            "tau_syn_inh": 0.008,
            "v_threshold": 0.1,
            "t_ref": 0.002,
            "tau_adapt": 0.1,
            "adaptation": 0.02,
        } | others
        layers[f"layer{k}"] = LinearizedDpi(
            _connection(before, n, density, generator),
            recurrent=_connection(n, n, density, generator),
            core=torch.tensor(where),
            **{name: value for name, value in values.items() if value is not None},
        )
        before = n
    readout = Linear(torch.ones(2, before))
    layers["readout"] = LeakyIntegrator(readout, core=torch.full((2,), HOST), tau_mem=0.02)
    return Network(layers, dt=1e-3)


def _connection(n_in: int, n_out: int, density: float, generator: torch.Generator) -> Linear:
    mask = torch.rand(n_out, n_in, generator=generator) < density
    mask[torch.arange(n_out), torch.arange(n_out) % n_in] = True
    size = 0.05 + torch.rand(n_out, n_in, generator=generator)
    sign = torch.where(torch.rand(n_out, n_in, generator=generator) < 0.6, 1.0, -1.0)
    return Linear(0.1 * size * sign, mask=mask)
