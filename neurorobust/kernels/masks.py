"""Weights with a mask: by their synapses alone where these are few."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from ..core.pattern import Pattern
from .choice import lists_pay
from .events import address
from .sparse_weight import SparseWeight

_known = WeakIdKeyDictionary()  # mask → its version and pattern; an entry goes with its mask


def pattern_of(mask: Tensor) -> Pattern | None:
    """The pattern of a mask that is sparse enough for lists; None for another. It is found once, and again after any
    change of the mask: torch's count of versions misses those through ``mask.data`` and through numpy."""
    plain = type(mask) is Tensor and mask.dtype == torch.bool and mask.device.type == "cpu"
    if not plain or torch.compiler.is_compiling() or mask.is_inference() or address(mask) is None:  # None: inside vmap
        return None
    known = _known.get(mask)
    if known is None or known[0] != mask._version or not (known[1] is None or known[1].fits(mask)):
        n_out, n_in = mask.shape
        pays = lists_pay(int(mask.sum()), n_in, n_out)
        _known[mask] = known = mask._version, Pattern.of(mask) if pays else None
    return known[1]


def sparse(weight: Tensor, mask: Tensor) -> SparseWeight | None:
    """The weight (n_out, n_in) by the synapses of its mask, if these are few enough; else None."""
    pattern = pattern_of(mask)
    return None if pattern is None else SparseWeight(weight.reshape(-1).index_select(0, pattern.index), pattern)
