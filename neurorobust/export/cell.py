"""The neurons of one population as numbers: the form between a layer of this package and a node of a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..dynamics import DelayedSubtract, DelayedToValue, NoReset, Reset, SnntorchSubtract, Subtract, ToValue
from ..nn.neurons import AdaptiveLif, CubaLeakyIntegrator, CubaLif, LeakyIntegrator, Lif, LinearizedDpi, Neuron

Array = np.ndarray[Any, np.dtype[Any]]

RESETS: dict[str, Reset] = {
    type(reset).__name__: reset
    for reset in (ToValue(), DelayedToValue(), Subtract(), DelayedSubtract(), SnntorchSubtract(), NoReset())
}
KINDS = (Lif, CubaLif, LeakyIntegrator, CubaLeakyIntegrator)


@dataclass(frozen=True)
class Cell:
    """The neurons of one population, every array (n,)::

        i[t] = σ i[t−1] + (1 − σ) I[t], or I[t] without tau_syn        σ = exp(−dt/tau_syn)
        v[t] = α v[t−1] + (1 − α)(v_leak + r i[t]), from v_leak        α = exp(−dt/tau_mem)

    Attributes:
        tau_mem, tau_syn: s. r: resistance. v_leak, v_threshold, v_reset: V; a threshold of None is a membrane without
            spikes. reset: name of the reset.
    """

    tau_mem: Array
    r: Array
    v_leak: Array
    v_threshold: Array | None = None
    v_reset: Array | None = None
    tau_syn: Array | None = None
    reset: str = "ToValue"

    @property
    def n(self) -> int:
        return len(self.tau_mem)


def cell_of(name: str, layer: Neuron, dt: float) -> Cell:
    """The numbers of a layer, in its own type of float.

    Raises:
        ValueError: NIR has no such neuron; the message says what a file without that part would do.
    """
    if type(layer) is AdaptiveLif or isinstance(layer, AdaptiveLif):
        raise ValueError(
            f"layer {name!r}: AdaptiveLif: NIR has no neuron with an adaptive threshold, and no other nodes make one: "
            f"without it the neurons fire more often. Train the network with Lif(…, reset=ToValue()) for exchange."
        )
    if isinstance(layer, LinearizedDpi):
        raise ValueError(
            f"layer {name!r}: LinearizedDpi: NIR has no floor under the membrane. A file without it lets inhibition "
            f"pull neurons below rest, which the chip cannot do: other spikes. Train with Lif or CubaLif for exchange."
        )
    if type(layer) not in KINDS:
        raise ValueError(
            f"layer {name!r}: {type(layer).__name__}: its equations are not in NIR; expected "
            f"{', '.join(kind.__name__ for kind in KINDS)}."
        )
    values: dict[str, Any] = {kind: _numbers(layer.per_neuron(kind)) for kind in layer.population_parameters()}
    waits = values.pop("t_ref", None)
    if waits is not None and (np.rint(waits / dt) > 0).any():
        raise ValueError(
            f"layer {name!r}: t_ref up to {waits.max():g} s: NIR's neurons have no refractory time, so without it they "
            f"fire more often. Train without t_ref, or with t_ref below half a step of {dt:g} s."
        )
    tau_mem = values["tau_mem"]
    whole: dict[str, Any] = {"r": np.ones_like(tau_mem), "v_leak": np.zeros_like(tau_mem)} | values
    if not layer.spiking:
        return Cell(**whole)
    reset = type(getattr(layer, "reset", None)).__name__
    if reset not in RESETS:
        raise ValueError(f"layer {name!r}: reset {reset}: expected one of {', '.join(RESETS)}.")
    reset = "ToValue" if reset == "DelayedToValue" else reset  # the same spikes
    return replace(Cell(**({"v_reset": np.zeros_like(tau_mem)} | whole)), reset=reset)


def layer_of(cell: Cell, connection: Any, recurrent: Any, dtype: torch.dtype) -> Neuron:
    """The layer of this package with these numbers."""

    def tensor(value: Array) -> Tensor:
        return torch.from_numpy(np.array(value)).to(dtype)

    own: dict[str, Any] = {"tau_mem": tensor(cell.tau_mem)}
    if (cell.r != 1).any():
        own["r"] = tensor(cell.r)
    if cell.v_leak.any():
        own["v_leak"] = tensor(cell.v_leak)
    if cell.tau_syn is not None:
        own["tau_syn"] = tensor(cell.tau_syn)
    if cell.v_threshold is None:
        return (LeakyIntegrator if cell.tau_syn is None else CubaLeakyIntegrator)(connection, **own)
    if cell.reset == "ToValue" and cell.v_reset is not None and cell.v_reset.any():
        own["v_reset"] = tensor(cell.v_reset)
    own |= {"v_threshold": tensor(cell.v_threshold), "reset": RESETS[cell.reset]}
    return (Lif if cell.tau_syn is None else CubaLif)(connection, recurrent=recurrent, **own)


def _numbers(value: Tensor) -> Array:
    return value.detach().cpu().numpy().copy()
