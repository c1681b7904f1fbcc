"""Sparse weights: synapses as lists of the targets of every source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Pattern:
    """Which synapses exist, in the order of their sources, then of their targets.

    Attributes:
        shape: (n_out, n_in). index: the flat position of each synapse in a weight of this shape, (k,), int64.
        lists: where the synapses of each source begin, (n_in + 1,), then the target of each, (k,); int32.
    """

    shape: tuple[int, int]
    index: Tensor
    lists: Tensor

    @classmethod
    def of(cls, mask: Tensor) -> Pattern:
        """The pattern of a mask (n_out, n_in)."""
        n_out, n_in = mask.shape
        source, target = mask.T.nonzero(as_tuple=True)
        starts = torch.zeros(n_in + 1, dtype=torch.int64, device=mask.device)
        starts[1:] = torch.bincount(source, minlength=n_in).cumsum(0)
        return cls((n_out, n_in), target * n_in + source, torch.cat([starts, target]).int())

    def fits(self, mask: Tensor) -> bool:
        """Whether a mask on the CPU has these synapses and no others; a small part of the time of any pass."""
        if mask.shape != self.shape or np.count_nonzero(mask.numpy()) != len(self.index):
            return False
        return bool(mask.reshape(-1).index_select(0, self.index).all())


class SparseWeight(NamedTuple):
    """A weight (n_out, n_in) by its synapses alone: values (k,), in the order of the pattern."""

    values: Tensor
    pattern: Pattern

    @property
    def shape(self) -> tuple[int, int]:
        """That of the matrix."""
        return self.pattern.shape

    @property
    def dtype(self) -> torch.dtype:
        """That of the values."""
        return self.values.dtype

    def dense(self) -> Tensor:
        """The matrix (n_out, n_in), absent synapses 0."""
        n_out, n_in = self.shape
        return self.values.new_zeros(n_out * n_in).index_copy(0, self.pattern.index, self.values).view(n_out, n_in)


Weight = Tensor | SparseWeight


def dense(weight: Weight) -> Tensor:
    """The weight as a matrix."""
    return weight.dense() if isinstance(weight, SparseWeight) else weight
