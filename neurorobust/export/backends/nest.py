"""NEST: ``import pyNN.nest as sim``."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ...deploy import Deployment
from ...nn import Network
from ..backend import Backend, Neurons, Population, resetting
from ..cell import Array
from ..reader import decay

TIC = 1e-3
"""NEST counts time in parts of this length, ms."""


class Nest(Backend):
    """``Lif`` as ``IF_curr_delta``, spike for spike at the dt of the network: both solve the membrane exactly over a
    step, v ← α v + (1 − α) r I, so an event is a jump of (1 − α) r w. ``CubaLif`` as ``IF_curr_exp``: an event is a
    current that starts at w dt/tau_syn and decays, with the charge w dt that it has here; the same rates in the limit
    of small steps, not the same spikes. cm is tau_m, so that 1 nA is 1 mV. Potentials are counted from v_leak.

    The neurons run before their first event arrives. Their membranes start where the bias brings them to v_leak just
    then.
    """

    name: ClassVar[str] = "nest"
    version: ClassVar[str] = "3.10.0"

    def check(self, source: Network | Deployment) -> None:
        dt = (source if isinstance(source, Network) else source.native).dt
        if abs(1e3 * dt / TIC - round(1e3 * dt / TIC)) > 1e-6:
            raise self.refuse(f"counts time in µs; got dt = {1e6 * dt:g} µs. Train with a dt of whole microseconds.")

    def neurons(self, population: Population) -> Neurons:
        cell, dt = resetting(self, population.cell), population.dt
        threshold, v_reset = cell.v_threshold, cell.v_reset
        assert threshold is not None and v_reset is not None
        settled = 1e3 * cell.r * population.drive
        own: dict[str, Any] = {
            "tau_m": 1e3 * cell.tau_mem,
            "cm": 1e3 * cell.tau_mem,
            "v_rest": np.zeros(cell.n),
            "v_reset": 1e3 * v_reset,
            "v_thresh": np.nextafter(1e3 * threshold, np.inf),  # NEST spikes at v = v_thresh, neurons here not yet
            "tau_refrac": np.zeros(cell.n),
            "i_offset": settled,
        }
        if cell.tau_syn is not None:
            synapse = {"tau_syn_E": 1e3 * cell.tau_syn, "tau_syn_I": 1e3 * cell.tau_syn}
            return Neurons("IF_curr_exp", own | synapse, 1e3 * cell.r * dt / cell.tau_syn, np.zeros(cell.n))
        alpha = decay(cell.tau_mem, dt)
        start = settled * (1 - alpha ** -(population.depth + 1.0))
        if (late := start >= own["v_thresh"]).any():
            k = int(np.flatnonzero(late)[0])
            raise self.refuse(
                f"starts {population.depth + 1} steps before the first event: the bias of neuron {k} would need a "
                f"membrane above its threshold there. Train with a smaller negative bias or a longer tau_mem."
            )
        return Neurons("IF_curr_delta", own, 1e3 * (1 - alpha) * cell.r, start)

    def weights(self, values: Array) -> Array:
        return values

    def setup(self, step: float, longest: int) -> dict[str, Any]:
        return {"timestep": step, "min_delay": step, "max_delay": longest * step, "spike_precision": "on_grid"}
