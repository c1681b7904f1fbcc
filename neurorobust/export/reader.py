"""What a reader of NIR files makes of a node; one file per reader in :mod:`neurorobust.export.readers`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from .cell import Array, Cell
from .hdf5 import Node


@dataclass(frozen=True)
class Written:
    """Neurons as a node, and the factor of every row of the weights into them.

    Attributes:
        node: fields of shape (n,). rows: (n,); None leaves the weights as they are.
    """

    node: Node
    rows: Array | None = None


class Reader(ABC):
    """One reader of NIR files at one version: which file it turns into given spikes, and which neurons it makes of a
    file. :meth:`raised` undoes :meth:`lowered`: ``reader.raised(reader.lowered(cell, dt).node, dt)`` with rows scaled
    has the spikes of ``cell``.

    Attributes:
        name: as in ``reader=``. version: at which it was tested. dt: what the user has to tell the reader.
            connections: nodes without neurons that it reads. affine: it reads Affine, but not Linear. spatial: it reads
            neurons in the shape of an image. recurrence: it runs
            recurrence as a graph inside the graph. sums: it adds several inputs of a node. flatten: the first dimension
            of its Flatten that means all but the batch. keeps_dtype: it takes parameters as they are, so a network
            keeps the type of float of the file; others are read in float64.
    """

    name: ClassVar[str]
    version: ClassVar[str]
    dt: ClassVar[str] = ""
    connections: ClassVar[frozenset[str]]
    affine: ClassVar[bool] = False
    recurrence: ClassVar[bool] = True
    sums: ClassVar[bool] = True
    flatten: ClassVar[int] = 0
    spatial: ClassVar[bool] = True
    keeps_dtype: ClassVar[bool] = False

    @abstractmethod
    def lowered(self, cell: Cell, dt: float) -> Written:
        """The node for these neurons. Raises ValueError with the reason where the reader cannot have their spikes."""

    @abstractmethod
    def raised(self, node: Node, dt: float) -> Cell:
        """The neurons that the reader makes of a node with fields of shape (n,). Raises ValueError where it would
        refuse the node, or where no neuron of this package is equal to them."""

    def refuse(self, reason: str) -> ValueError:
        return ValueError(f"{self.name} {self.version} {reason}")


def decay(tau: Array, dt: float) -> Array:
    """exp(−dt/τ) in float64."""
    return np.exp(-dt / tau.astype(np.float64))


def time_constant(alpha: Array, dt: float) -> Array:
    """The time constant with the decay α per step, s. Raises ValueError unless 0 < α < 1."""
    if not ((alpha > 0) & (alpha < 1)).all():
        raise ValueError(
            f"the membrane or the synapse keeps {alpha.min():g} to {alpha.max():g} of itself in a step of {dt:g} s; "
            f"expected more than 0 and less than 1. Is dt right?"
        )
    return -dt / np.log(alpha)


def fields(node: Node, *names: str) -> tuple[Array, ...]:
    """Fields of a node in float64."""
    if missing := next((name for name in names if name not in node.fields), None):
        raise ValueError(f"{missing}: is not there; expected numbers, one for each neuron.")
    return tuple(np.asarray(node.fields[name], np.float64) for name in names)


def reset_to_zero(reader: Reader, cell: Cell) -> Cell:
    """The same neurons with potentials counted from v_reset, in float64.

    Raises:
        ValueError: no spikes, or another reset than to a value.
    """
    if cell.v_threshold is None:
        raise reader.refuse("has no leaky integrator without spikes; leave the read-out on the host.")
    if cell.reset != "ToValue" or cell.v_reset is None:
        raise reader.refuse(
            f"resets the membrane to 0; the reset {cell.reset} would be lost. Train the network with reset=ToValue()."
        )
    v_reset = cell.v_reset.astype(np.float64)
    return _above(cell, v_reset)


def subtracting(reader: Reader, cell: Cell) -> Cell:
    """The same neurons in float64, which subtract the threshold at once and have their rest at 0."""
    if cell.v_threshold is None:
        raise reader.refuse("has no leaky integrator that keeps its spikes; leave the read-out on the host.")
    if cell.reset != "Subtract":
        raise reader.refuse(
            f"subtracts the threshold at once; the reset {cell.reset} would be lost. Train the network with "
            f"reset=Subtract()."
        )
    if cell.v_leak.any():
        raise reader.refuse("has no v_leak; expected 0 everywhere.")
    return _above(cell, np.zeros(cell.n))


def _above(cell: Cell, zero: Array) -> Cell:
    assert cell.v_threshold is not None
    threshold = cell.v_threshold - zero
    if (threshold <= 0).any():
        raise ValueError("v_threshold is not above v_reset everywhere; a spike would never end.")
    return replace(
        cell,
        tau_mem=cell.tau_mem.astype(np.float64),
        tau_syn=None if cell.tau_syn is None else cell.tau_syn.astype(np.float64),
        r=cell.r.astype(np.float64),
        v_leak=cell.v_leak - zero,
        v_threshold=threshold,
        v_reset=np.zeros(cell.n),
    )


def at_rest(reader: Reader, cell: Cell) -> Cell:
    """Raise ValueError where the membrane does not start at the value to which it is reset."""
    if cell.v_leak.any():
        raise reader.refuse(
            f"starts at v_reset; these neurons start at v_leak, {np.abs(cell.v_leak).max():g} V from it. Expected "
            f"v_leak = v_reset."
        )
    return cell


def one(reader: Reader, name: str, value: Array) -> Array:
    """The value, if all neurons share it."""
    if not (value == value[0]).all():
        raise reader.refuse(
            f"has one {name} for all neurons of a layer; got {value.min():g} to {value.max():g}. Give the layer one "
            f"value, or make a layer of each value."
        )
    return value


def just_above(threshold: Array) -> Array:
    """The next number of 32 bits: for readers that spike at v = v_threshold, where neurons here do not yet."""
    return np.nextafter(threshold.astype(np.float32), np.float32(np.inf)).astype(np.float64)


def lif_node(**values: Array) -> Node:
    """LIF, or CubaLIF where there is a tau_syn."""
    content: Mapping[str, Any] = {name: np.asarray(value, np.float64) for name, value in values.items()}
    return Node("CubaLIF" if "tau_syn" in content else "LIF", content)
