"""Weights with a mask: by their synapses alone where these are few."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from .._util.watched import watched
from ..core.pattern import Pattern
from .choice import lists_pay
from .events import address
from .sparse_weight import SparseWeight


class _Known(NamedTuple):
    """What was found of a mask in one version of it: its pattern, if that is sparse enough, with flat positions."""

    version: int
    pattern: Pattern | None
    flat: Tensor

    def fits(self, mask: Tensor) -> bool:
        """Whether a mask on the CPU has these synapses and no others; a small part of the time of any pass."""
        if self.version != mask._version:
            return False
        if self.pattern is None:
            return True
        same = mask.shape == self.pattern.shape and np.count_nonzero(mask.numpy()) == len(self.flat)
        return same and bool(mask.reshape(-1).index_select(0, self.flat).all())


_known = WeakIdKeyDictionary()  # by mask: an entry goes with its mask


def pattern_of(mask: Tensor) -> Pattern | None:
    """The pattern of a mask that is sparse enough for lists; None for another. It is found once, and again after any
    change of the mask: torch's count of versions misses those through ``mask.data`` and through numpy."""
    known = _known_of(mask)
    return None if known is None else known.pattern


def full(mask: Tensor) -> bool:
    """Whether every synapse exists, so that nothing has to be multiplied; False also where nobody may look."""
    plain = mask.dtype == torch.bool and mask.device.type == "cpu" and not watched([mask])
    return plain and np.count_nonzero(mask.numpy()) == mask.numel()


def _known_of(mask: Tensor) -> _Known | None:
    if not lists_pay(1, *mask.shape):
        return None
    plain = type(mask) is Tensor and mask.dtype == torch.bool and mask.device.type == "cpu"
    if not plain or torch.compiler.is_compiling() or mask.is_inference() or address(mask) is None:  # None: inside vmap
        return None
    known = _known.get(mask)
    if known is None or not known.fits(mask):
        n_out, n_in = mask.shape
        pattern = Pattern.of(mask) if lists_pay(int(mask.sum()), n_in, n_out) else None
        index = mask.new_empty(0, dtype=torch.int64) if pattern is None else pattern.index
        _known[mask] = known = _Known(mask._version, pattern, index)
    return known


def sparse(weight: Tensor, mask: Tensor) -> SparseWeight | None:
    """The weight (n_out, n_in) by the synapses of its mask, if these are few enough; else None."""
    known = _known_of(mask)
    if known is None or known.pattern is None:
        return None
    return SparseWeight(weight.reshape(-1).index_select(0, known.flat), known.pattern)
