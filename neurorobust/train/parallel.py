"""A network on many processes: each process runs its share of every batch, and all receive the whole result.

Every process does the same work: attacks, regularizers, Adam, checkpoints. Only the forward and backward passes are
divided::

    logits = gather over ranks of network(params, samples of the rank)
    ∂L/∂params = sum over ranks of the gradient from the samples of the rank

so every training method gives the same result on many processes as on one, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from ..core.placement import Placement
from ..core.run import forward
from ..nn.network import placement_of

T = TypeVar("T")


class Fabric(Protocol):
    """The methods of ``lightning_fabric.Fabric`` that are used here."""

    @property
    def world_size(self) -> int: ...

    @property
    def global_rank(self) -> int: ...

    def all_gather(self, data: Tensor) -> Any: ...

    def all_reduce(self, data: Tensor, group: Any = None, reduce_op: str = "mean") -> Any: ...

    def broadcast(self, obj: Any, src: int = 0) -> Any: ...


class Parallel(nn.Module):
    """A network whose batches are divided among the processes of a launched Fabric.

    Pass it to :func:`neurorobust.fit`, or to your training loop, in place of the network, with the same seeds in every
    process; ``parallel.network`` is the trained network. A single process gives the same bits as the plain network. A
    batch norm keeps its running means. Do not set ``max_seconds``: the processes have to agree when to stop.

    Args:
        network: any that :func:`neurorobust.run` takes; the parameters and buffers of rank 0 count.
        fabric: for example ``lightning_fabric.Fabric(accelerator="cpu", devices=2, strategy="ddp_spawn")``; the extra
            ``distributed`` installs it: ``pip install '.[distributed]'`` in a clone of this repository.

    Example:
        >>> import lightning_fabric
        >>> fabric = lightning_fabric.Fabric(accelerator="cpu", devices=1)
        >>> model = nr.wrap(nn.Linear(6, 2))
        >>> parallel = nr.train.parallel.Parallel(model, fabric)
        >>> nr.run(parallel, nr.nominal(parallel), torch.zeros(3, 6)).shape
        torch.Size([3, 2])
    """

    incidental = ("fabric",)  # the number of processes is no part of a run

    def __init__(self, network: nn.Module, fabric: Fabric):
        super().__init__()
        self.network, self.fabric = network, fabric
        if fabric.world_size > 1:
            with torch.no_grad():
                for value in [*network.parameters(), *network.buffers()]:
                    value.copy_(fabric.broadcast(value.detach()))

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Batch first → logits and the output (T, B, n) of every layer, of the whole batch."""
        ranks, rank = self.fabric.world_size, self.fabric.global_rank
        if ranks == 1:
            return forward(self.network, dict(self.network.named_parameters()), x)
        share = -(-len(x) // ranks)
        mine = (torch.arange(share) + rank * share).clamp(max=len(x) - 1)  # filled up with the last sample
        params = {name: _Summed.apply(value, self.fabric) for name, value in self.network.named_parameters()}
        logits, signals = forward(self.network, params, x[mine])
        whole = {name: _Gathered.apply(value, self.fabric, 1, len(x)) for name, value in signals.items()}
        return _Gathered.apply(logits, self.fabric, 0, len(x)), whole

    def placement(self) -> Placement:
        """The placement of the network, with the parameter names of this module."""
        return placement_of(self.network).prefixed("network.")


def agreed(network: nn.Module, act: Callable[[], T]) -> T:
    """The result of a function that every process of a parallel network calls; with any other network, of this one.

    Raises:
        OSError, ValueError: as the function, in all processes: that of the first rank in which it failed. So none
            waits for one that has ended.
    """
    problem: Exception | None = None
    try:
        result = act()
    except (OSError, ValueError) as error:
        problem = error
    if isinstance(network, Parallel):
        fabric = network.fabric
        found = [fabric.broadcast(problem, src=rank) for rank in range(fabric.world_size)]
        problem = next((each for each in found if each is not None), None)
    if problem is not None:
        raise problem
    return result


class _Summed(torch.autograd.Function):
    """A parameter, unchanged; its gradient is summed over the processes."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, fabric: Fabric) -> Tensor:
        ctx.fabric = fabric
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.fabric.all_reduce(gradient.contiguous(), reduce_op="sum"), None


class _Gathered(torch.autograd.Function):
    """The shares of all processes, concatenated along the batch and cut to its size. Backward, each process takes
    its share of the whole gradient."""

    @staticmethod
    def forward(ctx: Any, share: Tensor, fabric: Fabric, axis: int, size: int) -> Tensor:
        ctx.axis, ctx.rank, ctx.n = axis, fabric.global_rank, share.shape[axis]
        shares = fabric.all_gather(share.contiguous())
        return torch.cat(list(shares), axis).narrow(axis, 0, size)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        start = min(ctx.rank * ctx.n, gradient.shape[ctx.axis])
        own = gradient.narrow(ctx.axis, start, min(ctx.n, gradient.shape[ctx.axis] - start))
        missing = ctx.n - own.shape[ctx.axis]
        if missing:
            shape = [*gradient.shape]
            shape[ctx.axis] = missing
            own = torch.cat([own, gradient.new_zeros(shape)], ctx.axis)
        return own, None, None, None
