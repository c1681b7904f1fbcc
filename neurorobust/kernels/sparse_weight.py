"""Sparse weights: the synapses that a mask leaves, as lists of the targets of every source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from .choice import lists_pay

_known = WeakIdKeyDictionary()  # mask → its version and pattern; an entry goes with its mask


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
        starts = torch.zeros(n_in + 1, dtype=torch.int64)
        starts[1:] = torch.bincount(source, minlength=n_in).cumsum(0)
        return cls((n_out, n_in), target * n_in + source, torch.cat([starts, target]).int())


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


def pattern_of(mask: Tensor) -> Pattern | None:
    """The pattern of a mask that is sparse enough for lists; None for another. Found once for each mask and version."""
    plain = type(mask) is Tensor and mask.device.type == "cpu" and not torch.compiler.is_compiling()
    if not plain or mask.is_inference() or torch._C._functorch.is_functorch_wrapped_tensor(mask):
        return None
    known = _known.get(mask)
    if known is None or known[0] != mask._version:
        n_out, n_in = mask.shape
        pays = lists_pay(int(mask.sum()), n_in, n_out)
        _known[mask] = known = mask._version, Pattern.of(mask) if pays else None
    return known[1]


def sparse(weight: Tensor, mask: Tensor) -> SparseWeight | None:
    """The weight (n_out, n_in) by the synapses of its mask, if these are few enough; else None."""
    pattern = pattern_of(mask)
    return None if pattern is None else SparseWeight(weight.reshape(-1).index_select(0, pattern.index), pattern)
