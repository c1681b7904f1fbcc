"""Fused loops over time behind one interface, in two implementations.

``reference`` is plain torch and runs anywhere; ``compiled`` (numba) runs on the CPU in float32 or float64, outside of
torch.func transforms, with the surrogates and resets it knows. The compiled one is chosen where it applies;
``NEUROROBUST_KERNEL=reference`` forces the other.
"""

from __future__ import annotations

import os
from types import ModuleType

import torch
from torch import Tensor

from ..errors import unknown
from ..surrogate import ArcTan, FastSigmoid, Surrogate, Triangle
from . import reference
from .interface import Coefficients, LifCoefficients
from .reset import (
    DelayedSubtract,
    DelayedToValue,
    Dynamics,
    NoReset,
    Reset,
    SnntorchSubtract,
    Subtract,
    ToValue,
)

__all__ = [
    "Coefficients",
    "DelayedSubtract",
    "DelayedToValue",
    "Dynamics",
    "LifCoefficients",
    "NoReset",
    "Reset",
    "SnntorchSubtract",
    "Subtract",
    "ToValue",
    "adaptive_lif",
    "leaky_integrator",
    "lif",
]

_SURROGATES = (Triangle, FastSigmoid, ArcTan)
_RESETS = (NoReset, DelayedSubtract, Subtract, ToValue, DelayedToValue)


def _implementation(current: Tensor, known: bool = True) -> ModuleType:
    """The loops to use for such a current; ``known`` says whether surrogate and reset have compiled ones."""
    choice = os.environ.get("NEUROROBUST_KERNEL", "auto")
    if choice not in ("auto", "reference", "compiled"):
        raise unknown("environment variable NEUROROBUST_KERNEL", choice, ("auto", "reference", "compiled"))
    fits = (
        known
        and current.device.type == "cpu"
        and current.dtype in (torch.float32, torch.float64)
        and torch._C._functorch.peek_interpreter_stack() is None
    )
    if choice == "compiled" and not fits:
        raise ValueError(
            f"NEUROROBUST_KERNEL=compiled: got {current.dtype} on {current.device}, "
            f"{'a' if known else 'no'} surrogate and reset that have compiled loops; these need float32 or float64 on "
            f"the CPU and no torch.func transform. Unset it."
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
    known = type(surrogate) is Triangle and surrogate.scaled
    return _implementation(current, known).adaptive_lif(current, recurrent, c, surrogate, refractory)


def lif(current: Tensor, recurrent: Tensor | None, c: LifCoefficients, dynamics: Dynamics) -> tuple[Tensor, Tensor]:
    """Spikes and membrane of a layer of leaky integrate-and-fire neurons over a whole sequence.

    With v = v_leak and s, z = 0 before the first step, for every step t::

        s[t] = syn s[t−1] + current[t] + recurrent z[t−1]
        v[t] = alpha v[t−1] + (1 − alpha) v_leak + gain s[t], and the reset of the dynamics
        z[t] = 1 if v[t] > v_threshold and the last ``refractory`` steps were silent, else 0

    ``snntorch.Leaky`` is alpha = beta and gain = 1, ``snntorch.Synaptic`` has syn = its alpha besides.

    Shapes: current (T, B, n); recurrent (n, n), row = target; coefficients (n,); returns (T, B, n) twice. The membrane
    is the one before a reset that comes a step later, after one that comes at once. Gradients reach current, recurrent
    and every coefficient but refractory, through spikes and membrane.
    """
    known = type(dynamics.surrogate) in _SURROGATES and type(dynamics.reset) in _RESETS
    return _implementation(current, known).lif(current, recurrent, c, dynamics)


def leaky_integrator(current: Tensor, alpha: Tensor, gain: Tensor) -> Tensor:
    """v[t] = alpha v[t−1] + gain · current[t] from v = 0. Shapes: current (T, B, n), alpha and gain (n,); (T, B, n)."""
    return _implementation(current).leaky_integrator(current, alpha, gain)
