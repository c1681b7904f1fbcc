"""norse: ``norse.torch.from_nir(nir.read(path), dt=network.dt)``."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..cell import Cell
from ..hdf5 import Node
from ..reader import Reader, Written, at_rest, decay, fields, lif_node, reset_to_zero, time_constant


class Norse(Reader):
    """Steps of Euler: v ← v + dt/τ (v_leak − v + I), so τ = dt/(1 − α) makes its decay α. It ignores r of LIF and
    v_reset, so rows are multiplied by r and potentials are counted from v_reset. v_leak of CubaLIF would act on the
    synapse too."""

    name: ClassVar[str] = "norse"
    version: ClassVar[str] = "1.1.0"
    dt: ClassVar[str] = "norse.torch.from_nir(graph, dt=dt)"
    connections: ClassVar[frozenset[str]] = frozenset({"Linear", "Affine", "Conv2d", "SumPool2d", "Flatten"})
    flatten: ClassVar[int] = 1
    sums: ClassVar[bool] = False

    def lowered(self, cell: Cell, dt: float) -> Written:
        cell = reset_to_zero(self, cell)
        threshold = cell.v_threshold
        assert threshold is not None
        own = {"r": np.ones(cell.n), "v_leak": cell.v_leak, "v_threshold": threshold}
        tau = dt / (1 - decay(cell.tau_mem, dt))
        if cell.tau_syn is None:
            return Written(lif_node(tau=tau, **own), cell.r)
        at_rest(self, cell)
        syn = dt / (1 - decay(cell.tau_syn, dt))
        return Written(lif_node(tau_mem=tau, tau_syn=syn, w_in=np.ones(cell.n), **own), cell.r)

    def raised(self, node: Node, dt: float) -> Cell:
        v_leak, threshold = fields(node, "v_leak", "v_threshold")
        if node.type == "LIF":
            (tau,) = fields(node, "tau")
            mem, syn, r = time_constant(1 - dt / tau, dt), None, np.ones_like(tau)
        else:
            tau, synapse, r, w_in = fields(node, "tau_mem", "tau_syn", "r", "w_in")
            if v_leak.any():
                raise self.refuse("puts v_leak of a CubaLIF on the synapse too; expected 0.")
            mem, syn, r = time_constant(1 - dt / tau, dt), time_constant(1 - dt / synapse, dt), r * w_in
        return Cell(mem, r, v_leak, threshold, np.zeros_like(mem), syn)
