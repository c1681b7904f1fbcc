"""The choice between the compiled loops and plain torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType

import torch
from torch import Tensor

from .._util.errors import unknown
from .._util.warn import warn
from ..dynamics.floors import HardFloor, LeakyFloor, NoFloor
from ..dynamics.inhibitions import CancelsExcitation, PullsDown
from ..dynamics.resets import DelayedSubtract, DelayedToValue, Dynamics, NoReset, Subtract, ToValue
from ..dynamics.surrogate import ArcTan, FastSigmoid, Triangle
from . import reference
from .layer import FlooredDynamics
from .runtime import load, openmp, threads

CHOICES = ("auto", "reference", "compiled")
SPARSE, CACHED = 1 / 8, 2**17
"""Lists of targets are used for at most this share of a matrix with more than so many entries.

Measured on one core with AVX-512, a training step of 1024 recurrent neurons, 25 × 100 steps: a matrix takes 2.7 times
as long as lists at a share of 1/32, 1.3 at 1/8, 0.7 at 1/4 (neurons with a floor: 3.5, 1.8, 1.0). A matrix of 2¹⁷
numbers in float32 is in the second cache; with 256 neurons it takes 1.1 (1.35), 0.8 (1.0) and 0.6 (0.8) times as long.
"""
_SURROGATES = (Triangle, FastSigmoid, ArcTan)
_FLOORS = (HardFloor, LeakyFloor, NoFloor)
_INHIBITIONS = (PullsDown, CancelsExcitation)
_RESETS = (NoReset, DelayedSubtract, Subtract, ToValue, DelayedToValue)
_forced: ContextVar[str | None] = ContextVar("neurorobust kernel", default=None)
_failure: Exception | None = None  # why the compiled loops cannot be imported


@contextmanager
def using(choice: str) -> Iterator[None]:
    """``"reference"``, ``"compiled"`` or ``"auto"`` loops for a while, whatever ``NEUROROBUST_KERNEL`` says.

    torch.compile takes the environment variable alone into account.

    Raises:
        ValueError: an unknown choice.

    Example:
        >>> with nr.kernels.using("reference"):
        ...     inside = nr.kernels.chosen()
        >>> inside
        'reference'
    """
    if choice not in CHOICES:
        raise unknown("kernel", choice, CHOICES)
    token = _forced.set(choice)
    try:
        yield
    finally:
        _forced.reset(token)


def chosen() -> str:
    """The choice of :func:`using`, else of the environment, else ``"auto"``.

    Raises:
        ValueError: ``NEUROROBUST_KERNEL`` has an unknown value.

    Example:
        >>> nr.kernels.chosen() in ("auto", "compiled", "reference")
        True
    """
    forced = None if torch.compiler.is_compiling() else _forced.get()  # which torch.compile could not trace
    choice = forced or os.environ.get("NEUROROBUST_KERNEL", "auto")
    if choice not in CHOICES:
        raise unknown("environment variable NEUROROBUST_KERNEL", choice, CHOICES)
    return choice


def _compiled() -> ModuleType | None:
    """The compiled loops; None, with a warning the first time, if they cannot be imported.

    Raises:
        ImportError: they cannot be imported, and were asked for by name.
    """
    global _failure
    if _failure is None:
        try:
            from . import compiled

            return compiled
        except Exception as error:  # numba raises more than ImportError where it meets a library it does not know
            _failure = error
            if chosen() == "auto":
                warn(
                    f"The compiled loops cannot be imported ({_cause()}); plain torch runs instead, many times slower. "
                    f"Install a version of numba that neurorobust's setup.cfg allows.",
                    RuntimeWarning,
                )
    if chosen() == "compiled":
        raise ImportError(
            f"NEUROROBUST_KERNEL=compiled: the compiled loops cannot be imported ({_cause()})."
        ) from _failure
    return None


def _cause() -> str:
    return f"{type(_failure).__name__}: {_failure}"


def implementation(name: str, tensor: Tensor, known: bool = True) -> ModuleType:
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
    return _compiled() or reference


def known(dynamics: Dynamics | None) -> bool:
    """Whether the compiled loops know such a surrogate and reset; None does not spike."""
    return dynamics is None or (type(dynamics.surrogate) in _SURROGATES and type(dynamics.reset) in _RESETS)


def knows_floored(dynamics: FlooredDynamics) -> bool:
    """Whether the compiled loops know such a surrogate, floor and inhibition."""
    cuts = type(dynamics.floor) in _FLOORS and type(dynamics.inhibition) in _INHIBITIONS
    return type(dynamics.surrogate) in _SURROGATES and cuts


def compiles(tensor: Tensor, dynamics: Dynamics | None) -> bool:
    """Whether the compiled loops would run for such numbers and such a way to spike."""
    return implementation("coefficients", tensor, known(dynamics)) is not reference


def lists_pay(synapses: int, n_in: int, n_out: int) -> bool:
    """Whether a weight with so many synapses is taken as lists of targets."""
    return 0 < synapses <= SPARSE * n_in * n_out and n_in * n_out > CACHED


def compiles_floored(tensor: Tensor, dynamics: FlooredDynamics) -> bool:
    """:func:`compiles` of neurons with a floor."""
    return implementation("coefficients", tensor, knows_floored(dynamics)) is not reference


def describe() -> dict[str, str | int]:
    """The loops in use here, why not faster ones, on how many threads, and where compiled code is kept.

    Example:
        >>> sorted(nr.kernels.describe())
        ['asked for', 'compiled code', 'in use', 'numba', 'threading', 'threads', 'why']
    """
    about: dict[str, str | int] = {"asked for": chosen(), "threads": torch.get_num_threads()}
    if chosen() == "reference":
        return about | {"in use": "reference", "why": "NEUROROBUST_KERNEL=reference forces plain torch; unset it"}
    if _compiled() is None:
        return about | {"in use": "reference", "why": f"the compiled loops cannot be imported ({_cause()})"}
    from .numba_loops import jit

    return about | {
        "in use": "compiled",
        "why": "for float32 and float64 on the CPU; plain torch elsewhere, and for surrogates or resets of your own",
        "threading": ("torch's OpenMP threads" if any(openmp.addresses()) else "own threads, for want of OpenMP")
        + f", as many as torch.set_num_threads allows; {load.limit():g} cores may be used, now {threads.said()}",
        "numba": jit.VERSION,
        "compiled code": str(jit.folder()),
    }
