"""Fused loops over time behind one interface, in two implementations.

``reference`` is plain torch and runs anywhere; ``compiled`` (numba) runs on the CPU in float32 or float64 with the
triangle surrogate. The compiled one is chosen where it applies; ``NEUROROBUST_KERNEL=reference`` forces the other.
"""

from __future__ import annotations

import os
from types import ModuleType

import torch
from torch import Tensor

from ..errors import unknown
from ..surrogate import Surrogate, Triangle
from . import reference
from .interface import Coefficients

__all__ = ["Coefficients", "adaptive_lif", "leaky_integrator"]


def _implementation(current: Tensor, surrogate: Surrogate | None = None) -> ModuleType:
    choice = os.environ.get("NEUROROBUST_KERNEL", "auto")
    if choice not in ("auto", "reference", "compiled"):
        raise unknown("environment variable NEUROROBUST_KERNEL", choice, ("auto", "reference", "compiled"))
    fits = (
        current.device.type == "cpu"
        and current.dtype in (torch.float32, torch.float64)
        and (surrogate is None or type(surrogate) is Triangle)
        and torch._C._functorch.peek_interpreter_stack() is None
    )
    if choice == "compiled" and not fits:
        raise ValueError(
            f"NEUROROBUST_KERNEL=compiled: got {current.dtype} on {current.device} with {surrogate}; compiled loops "
            f"need float32 or float64 on the CPU, the Triangle surrogate and no torch.func transform. Unset it."
        )
    if choice == "reference" or not fits:
        return reference
    from . import compiled

    return compiled


def adaptive_lif(
    current: Tensor, recurrent: Tensor | None, c: Coefficients, surrogate: Surrogate, refractory: int
) -> Tensor:
    """Spikes of a layer of adaptive leaky integrate-and-fire neurons over a whole sequence.

    With z and v zero before the first step, for every step t::

        b[t] = rho b[t−1] + (1 − rho) z[t−1]
        ϑ[t] = v_threshold + adaptation · b[t]
        v[t] = alpha v[t−1] + gain (current[t] + recurrent z[t−1]) − z[t−1] ϑ[t]
        z[t] = 1 if v[t] > ϑ[t] and the last ``refractory`` steps were silent, else 0

    Shapes: current (T, B, n); recurrent (n, n), row = target; coefficients (n,); returns (T, B, n).
    Gradients reach current, recurrent and every coefficient, through the surrogate and through the reset.
    """
    return _implementation(current, surrogate).adaptive_lif(current, recurrent, c, surrogate, refractory)


def leaky_integrator(current: Tensor, alpha: Tensor, gain: Tensor) -> Tensor:
    """v[t] = alpha v[t−1] + gain · current[t] from v = 0. Shapes: current (T, B, n), alpha and gain (n,); (T, B, n)."""
    return _implementation(current).leaky_integrator(current, alpha, gain)
