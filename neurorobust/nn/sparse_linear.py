"""A linear connection that holds its synapses only."""

from __future__ import annotations

from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn

from .. import kernels
from .._util.errors import check_count, check_finite
from ..core.pattern import Pattern
from .connections import Connection, Linear, Weighted

C = TypeVar("C", bound=Connection)


class SparseLinear(Weighted):
    """current = x Wᵀ + bias, W with few synapses: memory, also of dies, attacks and gradients, grows with these alone.

    The same values and the same dies as a :class:`Linear` with the mask of the same synapses. On the CPU, time grows
    with the synapses, too. Where plain torch runs (``nr.kernels.describe()``), each pass makes the matrix W.

    Args:
        weight: shape (k,), of the synapses in the order of their inputs, then of their neurons.
        lists: where the synapses of each input begin, (n_in + 1,), then the neuron that each ends on, (k,); int32.
        n_out: the number of neurons.
        bias: shape (n_out,), or None for no bias.

    Raises:
        ValueError: lists that are not such, or a weight or bias of another shape.

    Example:
        >>> synapses = nr.nn.SparseLinear.between(
        ...     torch.tensor([0, 0, 2]), torch.tensor([0, 1, 1]), torch.tensor([1.0, 2.0, 5.0]), (2, 3)
        ... )
        >>> synapses(torch.tensor([[[1.0, 1.0, 1.0]]]), 1e-3).tolist()
        [[[1.0, 7.0]]]
    """

    lists: Tensor

    def __init__(self, weight: Tensor, lists: Tensor, n_out: int, bias: Tensor | None = None):
        super().__init__()
        if weight.ndim != 1 or len(lists) <= len(weight) + 1:
            raise ValueError(
                f"weight: got shape {tuple(weight.shape)} and lists of shape {tuple(lists.shape)}; expected (k,), one "
                f"weight per synapse, and (n_in + 1 + k,)."
            )
        self.n_out, self.n_in = check_count("n_out", n_out), len(lists) - len(weight) - 1
        Pattern((self.n_out, self.n_in), lists).check()
        if bias is not None and bias.shape != (n_out,):
            raise ValueError(f"bias: got shape {tuple(bias.shape)}; expected ({n_out},).")
        check_finite({"weight": weight} | ({} if bias is None else {"bias": bias}))
        self.register_buffer("lists", lists.clone())
        self.weight = nn.Parameter(weight.clone())
        self.bias = None if bias is None else nn.Parameter(bias.clone())

    @classmethod
    def between(
        cls, source: Tensor, target: Tensor, weight: Tensor, shape: tuple[int, int], bias: Tensor | None = None
    ) -> Self:
        """The connection with these synapses, in any order.

        Args:
            source, target: the input and the neuron of each synapse, (k,), integers. weight: (k,).
            shape: (n_out, n_in). bias: (n_out,) or None.

        Raises:
            ValueError: three lengths that differ, an input or a neuron out of range, or a synapse twice.

        Example:
            >>> ring = torch.arange(1000)  # each neuron excites the next one
            >>> connection = nr.nn.SparseLinear.between(ring, (ring + 1) % 1000, torch.ones(1000), (1000, 1000))
            >>> connection.weight.shape
            torch.Size([1000])
        """
        n_out, n_in = check_count("n_out", shape[0]), check_count("n_in", shape[1])
        if not source.shape == target.shape == weight.shape == (len(weight),):
            raise ValueError(
                f"source, target, weight: got shapes {tuple(source.shape)}, {tuple(target.shape)} and "
                f"{tuple(weight.shape)}; expected (k,) each."
            )
        for name, values, n in (("source", source, n_in), ("target", target, n_out)):
            if len(values) and not 0 <= int(values.min()) <= int(values.max()) < n:
                raise ValueError(f"{name}: got {int(values.min())} to {int(values.max())}; expected 0 to {n - 1}.")
        order = (source.long() * n_out + target).argsort()
        pattern = Pattern.between(source[order].long(), target[order], (n_out, n_in))
        return cls(weight[order], pattern.lists, n_out, bias)

    @classmethod
    def random(cls, n_in: int, n_out: int, *, fan_in: int, generator: torch.Generator, bias: bool = False) -> Self:
        """Each neuron gets ``fan_in`` different inputs, chosen at random, with weights uniform between −1/√fan_in and
        1/√fan_in: the distribution of :meth:`Linear.random`, in time and memory proportional to the synapses.

        Args:
            generator: the only source of random numbers.
            bias: whether each neuron has a bias, of the same distribution.

        Raises:
            ValueError: a size below 1, or more than n_in inputs.

        Example:
            >>> generator = torch.Generator().manual_seed(0)
            >>> connection = nr.nn.SparseLinear.random(20_000, 20_000, fan_in=64, generator=generator)
            >>> connection.weight.shape
            torch.Size([1280000])
        """
        n_in, n_out = check_count("n_in", n_in), check_count("n_out", n_out)
        if check_count("fan_in", fan_in) > n_in:
            raise ValueError(f"fan_in: got {fan_in}; expected at most n_in = {n_in}.")
        source = _different(n_in, (n_out, fan_in), generator).flatten()
        target = torch.arange(n_out).repeat_interleave(fan_in)
        bound = fan_in**-0.5
        weight = (2 * torch.rand(n_out * fan_in, generator=generator) - 1) * bound
        offset = (2 * torch.rand(n_out, generator=generator) - 1) * bound if bias else None
        return cls.between(source, target, weight, (n_out, n_in), offset)

    @classmethod
    def of(cls, linear: Linear) -> Self:
        """The synapses of a Linear connection that its mask has."""
        pattern, bias = Pattern.of(linear.mask), linear.bias
        weight = linear.weight.detach().reshape(-1)[pattern.index]
        own = cls(weight, pattern.lists, linear.n_out, None if bias is None else bias.detach())
        return _trained_as(own, linear)

    def dense(self) -> Linear:
        """The Linear connection with the same synapses, as a matrix and a mask."""
        bias = None if self.bias is None else self.bias.detach()
        return _trained_as(Linear(self.matrix().detach(), bias, self.pattern.mask()), self)

    @property
    def pattern(self) -> Pattern:
        """Which synapses exist."""
        return Pattern((self.n_out, self.n_in), self.lists)

    def masks(self) -> dict[str, Tensor]:
        return {"weight": self.lists.new_ones((), dtype=torch.bool).expand(len(self.lists) - self.n_in - 1)}

    def patterns(self) -> dict[str, Pattern]:
        return {"weight": self.pattern}

    def settings(self) -> dict[str, Any]:
        return {"n_out": self.n_out}

    def extra_repr(self) -> str:
        return f"n_in={self.n_in}, n_out={self.n_out}, synapses={len(self.lists) - self.n_in - 1}"

    def matrix(self) -> Tensor:
        return self.synapses().dense()

    def synapses(self) -> kernels.SparseWeight:
        k = len(self.lists) - self.n_in - 1
        if self.weight.shape != (k,):
            raise ValueError(f"weight: got shape {tuple(self.weight.shape)}; expected ({k},), one per synapse.")
        if self.bias is not None and self.bias.shape != (self.n_out,):
            raise ValueError(f"bias: got shape {tuple(self.bias.shape)}; expected ({self.n_out},).")
        return kernels.SparseWeight(self.weight, self.pattern)

    def forward(self, x: Tensor, dt: float) -> Tensor:
        return kernels.linear(x, self.synapses(), self.bias)

    def _load_from_state_dict(self, *args: Any) -> None:
        before, lists = self.lists, self.lists.clone()
        super()._load_from_state_dict(*args)
        try:
            self.pattern.check()
        except ValueError:
            self.lists = before.copy_(lists)
            raise


FUSED = Linear, SparseLinear
"""Connections that the loops of a layer take as their weight and bias."""


def _different(n: int, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Rows of different numbers below n, ascending; every choice has the same probability."""
    if 2 * shape[1] > n:  # few are missing
        rows = [torch.randperm(n, generator=generator)[: shape[1]] for _ in range(shape[0])]
        return torch.stack(rows).sort(1).values
    chosen = torch.randint(n, shape, generator=generator).sort(1).values
    while bool((again := chosen[:, 1:] == chosen[:, :-1]).any()):
        chosen[:, 1:][again] = torch.randint(n, (int(again.sum()),), generator=generator)
        chosen = chosen.sort(1).values
    return chosen


def _trained_as(new: C, old: Connection) -> C:
    """A connection whose parameters are trained where those of another are."""
    for name, parameter in new.named_parameters():
        parameter.requires_grad_(old.get_parameter(name).requires_grad)
    return new.train(old.training)
