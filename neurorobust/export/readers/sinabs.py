"""sinabs: ``sinabs.nir.from_nir(nir.read(path), batch_size=…)``."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from ..cell import Cell
from ..hdf5 import Node
from ..reader import Reader, Written, decay, fields, just_above, lif_node, subtracting


class Sinabs(Reader):
    """v ← α v + I with α = exp(−1/τ): τ is in steps, r is ignored. It subtracts the threshold at once, and fires
    several spikes in one step where the membrane reaches a multiple of the threshold."""

    name: ClassVar[str] = "sinabs"
    version: ClassVar[str] = "3.1.3"
    connections: ClassVar[frozenset[str]] = frozenset({"Affine", "Conv2d", "SumPool2d", "Flatten"})
    affine: ClassVar[bool] = True
    recurrence: ClassVar[bool] = False
    spatial: ClassVar[bool] = False
    sums: ClassVar[bool] = False

    def lowered(self, cell: Cell, dt: float) -> Written:
        if cell.tau_syn is not None:
            raise self.refuse("reads no CubaLIF; expected Lif.")
        if cell.v_threshold is None:
            return self._integrator(cell, dt)
        cell = subtracting(self, cell)
        threshold = cell.v_threshold
        assert threshold is not None
        node = lif_node(
            tau=cell.tau_mem / dt, r=np.ones(cell.n), v_leak=np.zeros(cell.n), v_threshold=just_above(threshold)
        )
        return Written(node, (1 - decay(cell.tau_mem, dt)) * cell.r)

    def _integrator(self, cell: Cell, dt: float) -> Written:
        if cell.v_leak.any():
            raise self.refuse("has no v_leak; expected 0 everywhere.")
        node = replace(lif_node(tau=cell.tau_mem / dt, r=np.ones(cell.n), v_leak=np.zeros(cell.n)), type="LI")
        return Written(node, (1 - decay(cell.tau_mem, dt)) * cell.r)

    def raised(self, node: Node, dt: float) -> Cell:
        if node.type not in ("LIF", "LI"):
            raise self.refuse(f"reads no {node.type}.")
        tau, r, v_leak = fields(node, "tau", "r", "v_leak")
        if v_leak.any() or (node.type == "LI" and (r != 1).any()):
            raise self.refuse("refuses a v_leak, and an r of LI other than 1.")
        tau = tau * dt
        gain = 1 / (1 - decay(tau, dt))
        if node.type == "LI":
            return Cell(tau, gain, v_leak)
        threshold = np.nextafter(fields(node, "v_threshold")[0], -np.inf)  # it spikes at v = v_threshold
        return Cell(tau, gain, v_leak, threshold, np.zeros_like(tau), reset="Subtract")
