"""What a back end of PyNN makes of neurons; one file per back end in :mod:`neurorobust.export.backends`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ..deploy import Deployment
from ..nn import Network
from .cell import Array, Cell


@dataclass(frozen=True)
class Population:
    """One population of a network.

    Attributes:
        cell: its neurons. drive: the constant input, (n,): all biases. dt: s.
        depth: number of populations before it, inputs included; its spikes are that many steps late.
        gains: units of a chip per unit of the network, by parameter of the layer; empty without a deployment.
    """

    cell: Cell
    drive: Array
    dt: float
    depth: int
    gains: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Neurons:
    """A population in the words of PyNN.

    Attributes:
        model: name of the cell type. parameters: its arguments, each one number or (n,), in PyNN's units.
        rows: (n,), weight in PyNN per weight of the network. start: (n,), membranes before the first step, mV; None
            where the simulator's own start is right.
        event: how fast one event of weight 1 must raise a membrane, if the simulator has one such number, LSB/µs.

    Example:
        >>> import numpy as np
        >>> cells = nr.export.Neurons("IF_curr_delta", {"tau_m": 20.0, "v_thresh": 1.0}, rows=np.ones(3))
        >>> cells.parameters["tau_m"]  # ms, the unit of PyNN
        20.0
    """

    model: str
    parameters: Mapping[str, Any]
    rows: Array
    start: Array | None = None
    event: float | None = None


class Backend(ABC):
    """One back end of PyNN at one version.

    Attributes:
        name: as in ``backend=``. version: at which it was run; or that it never was. delays: whether a synapse has a
            delay. speedup: seconds of the network that pass in one of the simulator's.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    delays: ClassVar[bool] = True
    speedup: ClassVar[float] = 1.0

    @abstractmethod
    def check(self, source: Network | Deployment) -> None:
        """Raise ValueError or TypeError for what this back end does not take at all."""

    @abstractmethod
    def neurons(self, population: Population) -> Neurons:
        """The cell type and its numbers. Raises ValueError with the reason where it cannot have these neurons."""

    @abstractmethod
    def weights(self, values: Array) -> Array:
        """Weights as they are given to a projection."""

    def setup(self, step: float, longest: int) -> dict[str, Any]:
        """The arguments of ``sim.setup`` for a step in ms and the longest delay in steps."""
        return {}

    def refuse(self, reason: str) -> ValueError:
        return ValueError(f"{self.name} {reason}")


def resetting(backend: Backend, cell: Cell) -> Cell:
    """The neurons in float64, with potentials counted from v_leak, where they start.

    Raises:
        ValueError: no spikes, another reset than to a value, or a spike that never ends.
    """
    if cell.v_threshold is None or cell.v_reset is None:
        raise backend.refuse("gets no neurons without spikes; leave the read-out on the host.")
    if cell.reset != "ToValue":
        raise backend.refuse(
            f"resets the membrane to v_reset; the reset {cell.reset} would be lost. Train the network with "
            f"reset=ToValue()."
        )
    v_leak = cell.v_leak.astype(np.float64)
    threshold, v_reset = cell.v_threshold.astype(np.float64) - v_leak, cell.v_reset.astype(np.float64) - v_leak
    if (threshold <= v_reset).any():
        raise backend.refuse("needs a v_threshold above v_reset: a spike would never end.")
    synapse = None if cell.tau_syn is None else cell.tau_syn.astype(np.float64)
    return Cell(
        cell.tau_mem.astype(np.float64), cell.r.astype(np.float64), np.zeros(cell.n), threshold, v_reset, synapse
    )
