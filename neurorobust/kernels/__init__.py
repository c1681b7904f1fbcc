"""Fused loops over time behind one interface, in two implementations.

``reference`` is plain torch and runs anywhere; ``compiled`` (numba) runs on the CPU in float32 or float64 with the
surrogates and resets it knows, under torch.func's transforms and torch.compile too. The compiled one is chosen where it
applies; ``NEUROROBUST_KERNEL=reference`` or :func:`using` forces the other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType

import torch
from torch import Tensor

from .._util.errors import unknown
from ..dynamics.resets import (
    DelayedSubtract,
    DelayedToValue,
    Dynamics,
    NoReset,
    Subtract,
    ToValue,
)
from ..dynamics.surrogate import ArcTan, FastSigmoid, Triangle
from . import reference, threads
from .interface import SKINNY, Layer, LifCoefficients
from .listed import Listed

__all__ = [
    "SKINNY",
    "Layer",
    "LifCoefficients",
    "Listed",
    "fleet_outputs",
    "leaky_integrator",
    "lif",
    "lif_layer",
    "lif_trace",
    "linear",
    "using",
]

CHOICES = ("auto", "reference", "compiled")
_SURROGATES = (Triangle, FastSigmoid, ArcTan)
_RESETS = (NoReset, DelayedSubtract, Subtract, ToValue, DelayedToValue)
_forced: ContextVar[str | None] = ContextVar("neurorobust kernel", default=None)


@contextmanager
def using(choice: str) -> Iterator[None]:
    """``"reference"``, ``"compiled"`` or ``"auto"`` loops for a while, whatever ``NEUROROBUST_KERNEL`` says.

    What torch.compile compiles looks at the environment alone.
    """
    if choice not in CHOICES:
        raise unknown("kernel", choice, CHOICES)
    token = _forced.set(choice)
    try:
        yield
    finally:
        _forced.reset(token)


def chosen() -> str:
    """What is asked for: by :func:`using`, else by the environment, else ``"auto"``."""
    forced = None if torch.compiler.is_compiling() else _forced.get()  # which torch.compile could not trace
    choice = forced or os.environ.get("NEUROROBUST_KERNEL", "auto")
    if choice not in CHOICES:
        raise unknown("environment variable NEUROROBUST_KERNEL", choice, CHOICES)
    return choice


def _implementation(name: str, tensor: Tensor, known: bool = True) -> ModuleType:
    """The loops to use for such a tensor; ``known`` says whether surrogate and reset have compiled ones."""
    if tensor.dtype in (torch.float16, torch.bfloat16):
        raise TypeError(
            f"{name}: got {tensor.dtype}, in which sums over a sequence lose their digits; use .float() or .double()."
        )
    choice = chosen()
    fits = known and tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.float64)
    if choice == "compiled" and not fits:
        raise ValueError(
            f"NEUROROBUST_KERNEL=compiled: got {tensor.dtype} on {tensor.device}, {'a' if known else 'no'} surrogate "
            f"and reset that have compiled loops; these need float32 or float64 on the CPU. Unset it."
        )
    if choice == "reference" or not fits:
        return reference
    from . import compiled

    return compiled


def _check(n: int, tensor: Tensor, c: LifCoefficients | dict[str, Tensor | None], recurrent: Tensor | None) -> None:
    """Raise for numbers of another size, or of another type than the current: a compiled loop does not look."""
    if n < 1 or tensor.shape[0] < 1:
        raise ValueError(
            f"sequence of shape {tuple(tensor.shape)} for {n} neurons; expected at least one step and one neuron."
        )
    named = c if isinstance(c, dict) else c._asdict()
    shapes = {name: (value, (n,)) for name, value in named.items()} | {"recurrent": (recurrent, (n, n))}
    for name, (value, shape) in shapes.items():
        if value is not None and (value.shape != shape or value.dtype != tensor.dtype):
            raise ValueError(
                f"{name}: got shape {tuple(value.shape)} of {value.dtype}; expected {shape} of {tensor.dtype}, as the "
                f"input has it."
            )


def _check_synapses(x: Tensor, weight: Tensor) -> None:
    fits = x.ndim == 3 and weight.ndim == 2 and x.shape[-1] == weight.shape[1] and x.dtype == weight.dtype
    if not fits or not x.shape[-1]:
        raise ValueError(
            f"x: got shape {tuple(x.shape)} of {x.dtype}; expected (T, B, {weight.shape[-1]}) of {weight.dtype}, as "
            f"the weight of shape {tuple(weight.shape)} has it, and at least one input."
        )


def compiles(tensor: Tensor, dynamics: Dynamics | None) -> bool:
    """Whether the compiled loops would run for such numbers and such a way to spike."""
    known = dynamics is None or (type(dynamics.surrogate) in _SURROGATES and type(dynamics.reset) in _RESETS)
    return _implementation("coefficients", tensor, known) is not reference


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x weightᵀ + bias, at the price of what is not 0 in x where that is less.

    Shapes: x (T, B, n_in), weight (n_out, n_in), bias (n_out,) or None; returns (T, B, n_out).
    """
    _check_synapses(x, weight)
    _check(len(weight), x, {"bias": bias}, None)
    return _implementation("x", x).linear(x, weight, bias)


def _lif(
    current: Tensor, recurrent: Tensor | None, c: LifCoefficients, dynamics: Dynamics, membrane: bool
) -> tuple[Tensor, Tensor | None]:
    if c.rho is not None and not isinstance(dynamics.reset, DelayedSubtract):
        raise ValueError(f"reset: got {dynamics.reset!r}; adaptation goes with DelayedSubtract only.")
    _check(current.shape[-1], current, c, recurrent)
    known = type(dynamics.surrogate) in _SURROGATES and type(dynamics.reset) in _RESETS
    return _implementation("current", current, known).lif(current, recurrent, c, dynamics, membrane)


def lif(current: Tensor, recurrent: Tensor | None, c: LifCoefficients, dynamics: Dynamics) -> Tensor:
    """Spikes of a layer of leaky integrate-and-fire neurons over a whole sequence.

    With v = v_leak and b, s, z = 0 before the first step, for every step t::

        b[t] = rho b[t−1] + (1 − rho) z[t−1]
        ϑ[t] = v_threshold + adaptation · b[t]
        s[t] = syn s[t−1] + current[t] + recurrent z[t−1]
        v[t] = alpha v[t−1] + (1 − alpha) v_leak + gain s[t], and the reset of the dynamics
        z[t] = 1 if v[t] > ϑ[t] and the last ``refractory`` steps were silent, else 0

    ``snntorch.Leaky`` is alpha = beta and gain = 1, ``snntorch.Synaptic`` has syn = its alpha besides.

    Shapes: current (T, B, n); recurrent (n, n), row = target; coefficients (n,); returns (T, B, n). Gradients reach
    current, recurrent and every coefficient but refractory, through the surrogate and the reset. The compiled loops
    work the current back from the membrane, so where gain is exactly 0 its gradient is 0; and a weight that is not a
    number matters only where something is heard through it.
    """
    return _lif(current, recurrent, c, dynamics, False)[0]


def lif_layer(
    x: Tensor, synapses: tuple[Tensor, Tensor | None], recurrent: Tensor | None, c: LifCoefficients, dynamics: Dynamics
) -> Tensor:
    """:func:`lif` of the current that :func:`linear` makes of x (T, B, n_in) with ``synapses``, a weight and a bias."""
    weight, bias = synapses
    _check_synapses(x, weight)
    _check(len(weight), x, {**c._asdict(), "bias": bias}, recurrent)
    if not compiles(weight, dynamics):
        return lif(linear(x, weight, bias), recurrent, c, dynamics)
    from . import compiled

    return compiled.lif_layer(x, synapses, recurrent, c, dynamics)


def lif_trace(
    current: Tensor, recurrent: Tensor | None, c: LifCoefficients, dynamics: Dynamics
) -> tuple[Tensor, Tensor]:
    """:func:`lif`'s spikes, and the membrane (T, B, n): before a reset that comes a step later, after one that comes at
    once."""
    spikes, membrane = _lif(current, recurrent, c, dynamics, True)
    assert membrane is not None
    return spikes, membrane


def leaky_integrator(current: Tensor, alpha: Tensor, gain: Tensor) -> Tensor:
    """v[t] = alpha v[t−1] + gain · current[t] from v = 0. Shapes: current (T, B, n), alpha and gain (n,); (T, B, n)."""
    _check(current.shape[-1], current, {"alpha": alpha, "gain": gain}, None)
    return _implementation("current", current).leaky_integrator(current, alpha, gain)


def fleet_outputs(dies: Sequence[Sequence[Layer]], x: Tensor) -> Tensor:
    """Output of the last of a network's layers on every die, in one compiled loop: (B, T, n_in) → (dies, B, T, n).

    The layers, alike but for their numbers on all dies, must be such that :func:`compiles`. No gradient.
    """
    from .fleet import outputs

    return outputs(dies, x)


def describe() -> dict[str, str | int]:
    """Which loops are in use here, why not faster ones, on how many threads, and where compiled code is kept."""
    about: dict[str, str | int] = {"asked for": chosen(), "threads": torch.get_num_threads()}
    if chosen() == "reference":
        return about | {"in use": "reference", "why": "NEUROROBUST_KERNEL=reference forces plain torch; unset it"}
    try:
        from . import jit
    except ImportError as error:
        return about | {"in use": "reference", "why": f"numba cannot be imported ({error})"}
    return about | {
        "in use": "compiled",
        "why": "for float32 and float64 on the CPU; plain torch elsewhere, and for surrogates or resets of your own",
        "threading": ("torch's OpenMP threads" if any(threads.openmp()) else "own threads, for want of OpenMP")
        + ", as many as torch.set_num_threads allows",
        "numba": jit.VERSION,
        "compiled code": str(jit.folder()),
    }
