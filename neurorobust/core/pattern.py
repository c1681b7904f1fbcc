"""Which synapses exist, as lists of the targets of every source."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Pattern:
    """Which synapses exist, in the order of their sources, then of their targets.

    Attributes:
        shape: (n_out, n_in). lists: where the synapses of each source begin, (n_in + 1,), then the target of each,
            (k,); int32.
    """

    shape: tuple[int, int]
    lists: Tensor

    @classmethod
    def of(cls, mask: Tensor) -> Pattern:
        """The pattern of a mask (n_out, n_in)."""
        n_out, n_in = mask.shape
        source, target = mask.T.nonzero(as_tuple=True)
        return cls.between(source, target, (n_out, n_in))

    @classmethod
    def between(cls, source: Tensor, target: Tensor, shape: tuple[int, int]) -> Pattern:
        """The pattern of synapses (k,) that are in its order already."""
        starts = torch.zeros(shape[1] + 1, dtype=torch.int64, device=source.device)
        starts[1:] = torch.bincount(source, minlength=shape[1]).cumsum(0)
        return cls(shape, torch.cat([starts, target]).int())

    @property
    def targets(self) -> Tensor:
        """The neuron that each synapse ends on, (k,), int32."""
        return self.lists[self.shape[1] + 1 :]

    @property
    def sources(self) -> Tensor:
        """The input that each synapse comes from, (k,), int64."""
        n_in, k = self.shape[1], len(self.targets)
        return torch.searchsorted(self.lists[: n_in + 1], torch.arange(k, device=self.lists.device), right=True) - 1

    @property
    def index(self) -> Tensor:
        """The flat position of each synapse in a weight of the pattern's shape, (k,), int64."""
        return self.targets.long() * self.shape[1] + self.sources

    def fan_in(self) -> Tensor:
        """The number of synapses of each neuron, (n_out,), int64."""
        return torch.bincount(self.targets, minlength=self.shape[0])

    def slots(self) -> Tensor:
        """The number of each synapse among those of its neuron, in the order of their sources, (k,), int64."""
        order = self.targets.argsort(stable=True)
        fan_in = self.fan_in()
        first = (fan_in.cumsum(0) - fan_in).repeat_interleave(fan_in)
        slots = torch.empty_like(order)
        slots[order] = torch.arange(len(order), device=order.device) - first
        return slots

    def mask(self) -> Tensor:
        """True where a synapse exists, (n_out, n_in): as large as the matrix."""
        mask = torch.zeros(self.shape, dtype=torch.bool, device=self.lists.device)
        mask.view(-1)[self.index] = True
        return mask

    def check(self) -> None:
        """Raise ValueError unless the lists are such: compiled loops do not look."""
        n_out, n_in = self.shape
        whole = self.lists.ndim == 1 and self.lists.dtype == torch.int32 and len(self.lists) > n_in
        if not whole or self.lists[0] != 0 or self.lists[n_in] != len(self.targets):
            raise ValueError(
                f"lists: got shape {tuple(self.lists.shape)} of {self.lists.dtype}; expected int32, where "
                f"the synapses of each of {n_in} inputs begin, from 0 to their number k, then their k targets."
            )
        if bool((self.lists[: n_in + 1].diff() < 0).any()):
            raise ValueError("lists: the synapses of an input begin behind those of the next one; expected an order.")
        if len(self.targets) and not 0 <= int(self.targets.min()) <= int(self.targets.max()) < n_out:
            low, high = int(self.targets.min()), int(self.targets.max())
            raise ValueError(f"lists: targets from {low} to {high}; expected 0 to {n_out - 1}.")
        same = self.sources.diff() == 0
        if bool((self.targets.diff()[same] <= 0).any()):
            raise ValueError("lists: the targets of an input are not in ascending order, each once.")
