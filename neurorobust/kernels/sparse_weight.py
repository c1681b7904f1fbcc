"""Sparse weights: synapses as lists of the targets of every source."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..core.pattern import Pattern


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
