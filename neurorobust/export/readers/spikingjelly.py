"""SpikingJelly: ``spikingjelly.activation_based.nir_exchange.import_from_nir(path, dt=network.dt)``."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..cell import Cell
from ..hdf5 import Node
from ..reader import Reader, Written, at_rest, decay, fields, just_above, lif_node, one, reset_to_zero, time_constant


class Spikingjelly(Reader):
    """v ← v + (I − v) dt/τ for r = 1, or v ← v + I − v dt/τ for r = τ/dt; one τ and one threshold for a layer. Rows
    are divided by the threshold, which becomes 1. It spikes at v = v_threshold too."""

    name: ClassVar[str] = "spikingjelly"
    version: ClassVar[str] = "2.0.0"
    dt: ClassVar[str] = "import_from_nir(path, dt=dt)"
    connections: ClassVar[frozenset[str]] = frozenset({"Linear", "Affine", "Conv1d", "Conv2d", "AvgPool2d", "Flatten"})

    def lowered(self, cell: Cell, dt: float) -> Written:
        cell = at_rest(self, reset_to_zero(self, cell))
        threshold = cell.v_threshold
        assert threshold is not None
        alpha = decay(one(self, "tau_mem", cell.tau_mem), dt)
        rows, tau = (1 - alpha) * cell.r / threshold, dt / (1 - alpha)
        own = {"r": tau / dt, "v_leak": np.zeros(cell.n), "v_threshold": just_above(np.ones(cell.n))}
        if cell.tau_syn is None:
            return Written(lif_node(tau=tau, **own), rows)
        sigma = decay(one(self, "tau_syn", cell.tau_syn), dt)
        syn = dt / (1 - sigma)
        return Written(lif_node(tau_mem=tau, tau_syn=syn, w_in=syn / dt, **own), rows * (1 - sigma))

    def raised(self, node: Node, dt: float) -> Cell:
        r, v_leak, threshold = (one(self, name, fields(node, name)[0]) for name in ("r", "v_leak", "v_threshold"))
        v_reset = one(self, "v_reset", np.asarray(node.fields.get("v_reset", np.zeros_like(r)), np.float64))
        tau = one(self, "tau", fields(node, "tau" if node.type == "LIF" else "tau_mem")[0])
        beta, direct = 1 - dt / tau, np.allclose(r, tau / dt, rtol=1e-6)
        if not direct and (node.type == "CubaLIF" or not np.allclose(r, 1, rtol=1e-6)):
            raise self.refuse(f"refuses r = {r[0]:g} at dt = {dt:g} s; expected tau/dt, or 1 for LIF.")
        if not np.allclose(v_leak, v_reset if node.type == "LIF" else 0, rtol=1e-6, atol=1e-12):
            raise self.refuse("refuses a v_leak that is not v_reset (LIF) or 0 (CubaLIF).")
        gain, syn = (1 / (1 - beta) if direct else np.ones_like(beta)), None
        threshold = np.nextafter(threshold, -np.inf)  # it spikes at v = v_threshold
        if node.type == "CubaLIF":
            synapse, w_in = (one(self, name, fields(node, name)[0]) for name in ("tau_syn", "w_in"))
            if not np.allclose(w_in, synapse / dt, rtol=1e-6):
                raise self.refuse(f"refuses w_in = {w_in[0]:g} at dt = {dt:g} s; expected tau_syn/dt.")
            sigma = 1 - dt / synapse
            syn, gain = time_constant(sigma, dt), gain / (1 - sigma)
        return Cell(time_constant(beta, dt), gain, v_leak, threshold, v_reset, syn)
