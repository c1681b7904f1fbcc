"""snnTorch: ``snntorch.import_nir.import_from_nir(nir.read(path))``."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..cell import Cell
from ..hdf5 import Node
from ..reader import Reader, Written, at_rest, decay, fields, lif_node, one, reset_to_zero, time_constant

STEP = 1e-4
"""The step that it takes for granted, s."""


class Snntorch(Reader):
    """v ← β v + I with β = 1 − 0.1 ms/τ, whatever dt is, if r = τ/0.1 ms. A layer has one threshold, so rows are
    divided by the threshold, which becomes 1. v_reset is ignored, and v_leak is refused."""

    name: ClassVar[str] = "snntorch"
    version: ClassVar[str] = "1.0.0"
    connections: ClassVar[frozenset[str]] = frozenset({"Linear", "Affine", "Conv2d", "AvgPool2d", "Flatten"})
    flatten: ClassVar[int] = 1

    def lowered(self, cell: Cell, dt: float) -> Written:
        cell = at_rest(self, reset_to_zero(self, cell))
        threshold = cell.v_threshold
        assert threshold is not None
        alpha = decay(cell.tau_mem, dt)
        rows, tau = (1 - alpha) * cell.r / threshold, STEP / (1 - alpha)
        own = {"r": tau / STEP, "v_leak": np.zeros(cell.n), "v_threshold": np.ones(cell.n)}
        if cell.tau_syn is None:
            return Written(lif_node(tau=tau, **own), rows)
        sigma = decay(cell.tau_syn, dt)
        syn = STEP / (1 - sigma)
        return Written(lif_node(tau_mem=tau, tau_syn=syn, w_in=syn / STEP, **own), rows * (1 - sigma))

    def raised(self, node: Node, dt: float) -> Cell:
        r, v_leak, threshold = fields(node, "r", "v_leak", "v_threshold")
        if not np.allclose(v_leak, 0):
            raise self.refuse("refuses v_leak; expected 0.")
        if node.type == "LIF":
            (tau,) = fields(node, "tau")
            beta, syn = 1 - STEP / tau, None
            scale, gain = np.unique(r * STEP / tau)[:1], 1 / (1 - beta)
        else:
            tau, synapse, w_in = fields(node, "tau_mem", "tau_syn", "w_in")
            if not np.allclose(r, tau / STEP):
                raise self.refuse("refuses this r of a CubaLIF; expected tau_mem/1e-4.")
            beta, sigma = 1 - STEP / tau, 1 - STEP / synapse
            syn = time_constant(sigma, dt)
            scale, gain = w_in * STEP / synapse, 1 / ((1 - beta) * (1 - sigma))
        threshold = threshold if np.allclose(scale, 1) else threshold / scale
        one(self, "v_threshold", threshold)
        return Cell(time_constant(beta, dt), gain, np.zeros_like(beta), threshold, np.zeros_like(beta), syn)
