"""Networks with masked matrices as networks that hold synapses only, and back."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import TypeVar

from torch import nn

from .._util.errors import check_number
from ..kernels.choice import SPARSE
from .connections import Connection, Linear
from .sparse_linear import SparseLinear

M = TypeVar("M", bound=nn.Module)


def packed(network: M, share: float = SPARSE) -> M:
    """A copy of a network whose sparse :class:`Linear` connections are :class:`SparseLinear`: the same outputs, to
    rounding, and the same dies, in memory proportional to the synapses.

    Args:
        network: a :class:`neurorobust.Network`, or a connection of one.
        share: of the synapses of a connection, at most this share exist; others stay as they are.

    Raises:
        ValueError: a share that is negative or not finite.

    Example:
        >>> synapses = nr.nn.Linear.random(50, 20, fan_in=4, generator=torch.Generator().manual_seed(0))
        >>> hidden = nr.neurons.Lif(synapses, tau_mem=0.02, v_threshold=0.1)
        >>> nr.nn.packed(nr.Network({"hidden": hidden}, dt=1e-3)).hidden.input
        SparseLinear(n_in=50, n_out=20, synapses=80)
    """
    share = check_number("share", share)

    def make(linear: Connection) -> Connection:
        if type(linear) is not Linear or int(linear.mask.count_nonzero()) > share * linear.mask.numel():
            return linear
        return SparseLinear.of(linear)

    return _exchanged(network, make)


def dense(network: M) -> M:
    """A copy of a network whose :class:`SparseLinear` connections are :class:`Linear` with a mask, for what needs
    matrices: the inverse of :func:`packed`, bit for bit.

    Example:
        >>> synapses = nr.nn.SparseLinear.random(50, 20, fan_in=4, generator=torch.Generator().manual_seed(0))
        >>> hidden = nr.neurons.Lif(synapses, tau_mem=0.02, v_threshold=0.1)
        >>> nr.nn.dense(nr.Network({"hidden": hidden}, dt=1e-3)).hidden.input.mask.sum().item()
        80
    """
    return _exchanged(network, lambda one: one.dense() if isinstance(one, SparseLinear) else one)


def _exchanged(network: M, make: Callable[[Connection], Connection]) -> M:
    """A copy of a network with other connections."""
    new, others = deepcopy(network), dict[Connection, Connection]()  # one for a connection in two places

    def exchanged(connection: Connection) -> Connection:
        if connection not in others:
            others[connection] = make(connection)
        return others[connection]

    if isinstance(new, Connection) and (other := make(new)) is not new:
        return other  # type: ignore[return-value]
    for module in list(new.modules()):
        for name, child in list(module._modules.items()):
            if isinstance(child, Connection):
                setattr(module, name, exchanged(child))
    return new
