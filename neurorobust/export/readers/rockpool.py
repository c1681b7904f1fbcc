"""Rockpool: ``rockpool.nn.modules.torch.nir.from_nir(nir.read(path))``."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..cell import Cell
from ..hdf5 import Node
from ..reader import Reader, Written, decay, fields, just_above, lif_node, subtracting


class Rockpool(Reader):
    """i ← σ (i + I), v ← α v + i; dt is min τ_mem/(1 + r), so r = τ_mem/dt − 1. It subtracts the threshold at once,
    and fires several spikes in one step where the membrane reaches a multiple of the threshold."""

    name: ClassVar[str] = "rockpool"
    version: ClassVar[str] = "3.1.0"
    connections: ClassVar[frozenset[str]] = frozenset({"Linear", "Affine"})
    sums: ClassVar[bool] = False

    def lowered(self, cell: Cell, dt: float) -> Written:
        cell = subtracting(self, cell)
        if cell.tau_syn is None:
            raise self.refuse("fails on LIF; expected CubaLif.")
        threshold, (alpha, sigma) = cell.v_threshold, (decay(cell.tau_mem, dt), decay(cell.tau_syn, dt))
        assert threshold is not None
        if (cell.tau_mem <= dt).any():
            raise self.refuse(f"finds dt from r = tau_mem/dt − 1 > 0; expected tau_mem above dt = {dt:g} s.")
        node = lif_node(
            tau_mem=cell.tau_mem,
            tau_syn=cell.tau_syn,
            r=cell.tau_mem / dt - 1,
            v_leak=np.zeros(cell.n),
            v_threshold=just_above(threshold),
            w_in=np.ones(cell.n),
        )
        return Written(node, (1 - sigma) / sigma * (1 - alpha) * cell.r)

    def raised(self, node: Node, dt: float) -> Cell:
        if node.type != "CubaLIF":
            raise self.refuse(f"fails on {node.type}.")
        tau, syn, r, v_leak = fields(node, "tau_mem", "tau_syn", "r", "v_leak")
        step = float((tau / (1 + r)).min())
        if not np.isclose(step, dt, rtol=1e-4):
            raise self.refuse(f"runs this node at dt = min tau_mem/(1 + r) = {step:g} s; got dt = {dt:g} s.")
        if v_leak.any():
            raise self.refuse("adds v_leak to the membrane in every step; expected 0.")
        alpha, sigma = decay(tau, dt), decay(syn, dt)
        threshold = np.nextafter(fields(node, "v_threshold")[0], -np.inf)  # it spikes at v = v_threshold
        gain = sigma / ((1 - sigma) * (1 - alpha))
        return Cell(tau, gain, v_leak, threshold, np.zeros_like(tau), syn, reset="Subtract")
