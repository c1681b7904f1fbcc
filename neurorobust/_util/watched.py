"""Whether anything but autograd looks at operations of torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

_PLAIN = frozenset({Tensor, nn.Parameter, tuple, list, int, float, bool})


def watched(inputs: Iterable[Any]) -> bool:
    """Whether a transform, a mode, torch.compile, torch.jit.trace, the profiler, forward differentiation or a tensor of
    another class has to see every operation on these inputs; a shorter way to the same result is not for them."""
    if torch.compiler.is_compiling() or torch._C._is_tracing() or torch._C._autograd._profiler_enabled():
        return True
    if torch._C._are_functorch_transforms_active():
        return True
    modes = torch._C._len_torch_dispatch_stack() > 0 or forward_ad._current_level >= 0
    return modes or not _PLAIN.issuperset(map(type, inputs))
