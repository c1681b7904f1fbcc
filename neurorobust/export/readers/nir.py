"""NIR's own meaning, in seconds: the differential equations, solved exactly over a step."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..cell import RESETS, Cell
from ..hdf5 import Node
from ..reader import Reader, Written

TYPES = {(True, False): "LIF", (True, True): "CubaLIF", (False, False): "LI", (False, True): "CubaLI"}


class Nir(Reader):
    """τ in s, and all parameters as they are in the network."""

    name: ClassVar[str] = "nir"
    version: ClassVar[str] = "1.0"
    connections: ClassVar[frozenset[str]] = frozenset(
        {"Linear", "Affine", "Conv1d", "Conv2d", "SumPool2d", "AvgPool2d", "Flatten", "Delay"}
    )

    keeps_dtype: ClassVar[bool] = True

    def lowered(self, cell: Cell, dt: float) -> Written:
        content: dict[str, Any] = {"tau" if cell.tau_syn is None else "tau_mem": cell.tau_mem}
        if cell.tau_syn is not None:
            content |= {"tau_syn": cell.tau_syn, "w_in": np.ones_like(cell.tau_syn)}
        content |= {"r": cell.r, "v_leak": cell.v_leak}
        spikes = cell.v_threshold is not None
        if spikes:
            content["v_threshold"] = cell.v_threshold
            if cell.v_reset is not None and cell.v_reset.any():
                content["v_reset"] = cell.v_reset
        metadata = {"reset": cell.reset} if spikes and cell.reset != "ToValue" else {}
        return Written(Node(TYPES[spikes, cell.tau_syn is not None], content, metadata))

    def raised(self, node: Node, dt: float) -> Cell:
        own = node.fields
        synapse = own.get("tau_syn")
        tau, r, v_leak = own["tau" if synapse is None else "tau_mem"], own["r"], own["v_leak"]
        if "reset" not in node.metadata and (r != 1).all() and np.allclose(r, tau / dt, rtol=1e-5):
            raise ValueError(
                "r is tau/dt, as snnTorch and SpikingJelly write it for their own steps of Euler; pass "
                "reader='snntorch' or reader='spikingjelly' to read the file as they do."
            )
        if synapse is not None and "w_in" in own and (own["w_in"] != 1).any():
            r = r * own["w_in"]
        if node.type in ("LI", "CubaLI"):
            return Cell(tau, r, v_leak, tau_syn=synapse)
        reset = node.metadata.get("reset", "ToValue")
        if reset not in RESETS:
            raise ValueError(f"metadata: reset: got {str(reset)[:40]!r}; expected one of {', '.join(RESETS)}.")
        return Cell(tau, r, v_leak, own["v_threshold"], own.get("v_reset", np.zeros_like(tau)), synapse, reset)
