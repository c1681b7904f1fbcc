"""Fused loops over time behind one interface, in two implementations.

``reference`` is plain torch and runs anywhere; ``compiled`` (numba) runs on the CPU in float32 or float64 with the
surrogates and resets it knows, under torch.func's transforms and torch.compile too. The compiled one is chosen where it
applies; ``NEUROROBUST_KERNEL=reference`` or :func:`using` forces the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor

from ..core.pattern import Pattern
from ..dynamics.resets import (
    DelayedSubtract,
    Dynamics,
)
from . import reference
from .choice import chosen, compiles, compiles_floored, describe, implementation, known, knows_floored, using
from .convolution import convolve, convolve_lif, pool
from .events import CachedEvents
from .layer import (
    SKINNY,
    AnyLayer,
    FlooredCoefficients,
    FlooredDynamics,
    FlooredLayer,
    Layer,
    LifCoefficients,
    LifLayer,
    WindowLayer,
    fits_lanes,
)
from .masks import full, pattern_of, sparse
from .sparse_weight import SparseWeight, Weight, dense
from .windows import Convolution, Window

__all__ = [
    "SKINNY",
    "AnyLayer",
    "CachedEvents",
    "Convolution",
    "FlooredCoefficients",
    "FlooredDynamics",
    "FlooredLayer",
    "Layer",
    "LifCoefficients",
    "LifLayer",
    "Pattern",
    "SparseWeight",
    "Weight",
    "Window",
    "WindowLayer",
    "chosen",
    "compiles",
    "compiles_floored",
    "convolve",
    "convolve_lif",
    "dense",
    "describe",
    "fits_lanes",
    "fleet_outputs",
    "floored",
    "floored_layer",
    "full",
    "lane_outputs",
    "leaky_integrator",
    "lif",
    "lif_layer",
    "lif_trace",
    "linear",
    "pattern_of",
    "pool",
    "sparse",
    "using",
]


def _check(
    n: int,
    tensor: Tensor,
    c: LifCoefficients | FlooredCoefficients | dict[str, Tensor | None],
    recurrent: Weight | None,
) -> None:
    """Raise for numbers of another size, or of another type than the current: a compiled loop does not check."""
    if n < 1 or tensor.shape[0] < 1:
        raise ValueError(
            f"sequence of shape {tuple(tensor.shape)} for {n} neurons; expected at least one step and one neuron."
        )
    dtype, each = tensor.dtype, (n,)
    for name, value in c.items() if isinstance(c, dict) else zip(c._fields, c):
        if value is not None and (value.shape != each or value.dtype != dtype):
            raise _other(name, value, each, dtype)
    if recurrent is not None and (recurrent.shape != (n, n) or recurrent.dtype != dtype):
        raise _other("recurrent", recurrent, (n, n), dtype)


def _other(name: str, value: Weight, shape: tuple[int, ...], dtype: torch.dtype) -> ValueError:
    return ValueError(
        f"{name}: got shape {tuple(value.shape)} of {value.dtype}; expected {shape} of {dtype}, as the input has it."
    )


def _check_synapses(x: Tensor, weight: Weight) -> None:
    fits = x.ndim == 3 and len(weight.shape) == 2 and x.shape[-1] == weight.shape[1] and x.dtype == weight.dtype
    if not fits or not x.shape[-1]:
        raise ValueError(
            f"x: got shape {tuple(x.shape)} of {x.dtype}; expected (T, B, {weight.shape[-1]}) of {weight.dtype}, as "
            f"the weight of shape {tuple(weight.shape)} has it, and at least one input."
        )


def linear(x: Tensor, weight: Weight, bias: Tensor | None) -> Tensor:
    """x weightᵀ + bias; sparse x costs no more than its numbers that are not 0, a sparse weight than its synapses.

    Shapes: x (T, B, n_in), weight (n_out, n_in), bias (n_out,) or None; returns (T, B, n_out).
    """
    _check_synapses(x, weight)
    _check(weight.shape[0], x, {"bias": bias}, None)
    chosen_loops = implementation("x", x)
    return chosen_loops.linear(x, dense(weight) if chosen_loops is reference else weight, bias)


def _matrix(weight: Weight | None) -> Tensor | None:
    return None if weight is None else dense(weight)


def _lif(
    current: Tensor, recurrent: Weight | None, c: LifCoefficients, dynamics: Dynamics, membrane: bool
) -> tuple[Tensor, Tensor | None]:
    if c.rho is not None and not isinstance(dynamics.reset, DelayedSubtract):
        raise ValueError(f"reset: got {dynamics.reset!r}; adaptation goes with DelayedSubtract only.")
    _check(current.shape[-1], current, c, recurrent)
    chosen_loops = implementation("current", current, known(dynamics))
    recurrent = _matrix(recurrent) if chosen_loops is reference else recurrent
    return chosen_loops.lif(current, recurrent, c, dynamics, membrane)


def lif(current: Tensor, recurrent: Weight | None, c: LifCoefficients, dynamics: Dynamics) -> Tensor:
    """Spikes of a layer of leaky integrate-and-fire neurons over a whole sequence.

    With v = v_leak and b, s, z = 0 before the first step, for every step t::

        b[t] = rho b[t−1] + (1 − rho) z[t−1]
        ϑ[t] = v_threshold + adaptation · b[t]
        s[t] = syn s[t−1] + current[t] + recurrent z[t−1]
        v[t] = alpha v[t−1] + (1 − alpha) v_leak + gain s[t], and the reset of the dynamics
        z[t] = 1 if v[t] > ϑ[t] and the last ``refractory`` steps were silent, else 0

    ``snntorch.Leaky`` is alpha = beta and gain = 1, ``snntorch.Synaptic`` has syn = its alpha besides.

    Shapes: current (T, B, n); recurrent (n, n), row = target, or sparse; coefficients (n,); returns (T, B, n).
    Gradients reach current, recurrent and every coefficient but refractory, through the surrogate and the reset. The
    compiled loops work the current back from the membrane, so where gain is exactly 0 its gradient is 0; and a weight
    that is not a number matters only where an input or a spike goes through it.
    """
    return _lif(current, recurrent, c, dynamics, False)[0]


def lif_layer(
    x: Tensor, synapses: tuple[Weight, Tensor | None], recurrent: Weight | None, c: LifCoefficients, dynamics: Dynamics
) -> Tensor:
    """:func:`lif` of the current that :func:`linear` makes of x (T, B, n_in) with ``synapses``, a weight and a bias."""
    weight, bias = synapses
    _check_synapses(x, weight)
    _check(weight.shape[0], x, {**c._asdict(), "bias": bias}, recurrent)
    if not compiles(x, dynamics):
        return lif(linear(x, weight, bias), recurrent, c, dynamics)
    from . import compiled

    return compiled.lif_layer(x, synapses, recurrent, c, dynamics)


def lif_trace(
    current: Tensor, recurrent: Weight | None, c: LifCoefficients, dynamics: Dynamics
) -> tuple[Tensor, Tensor]:
    """:func:`lif`'s spikes, and the membrane (T, B, n): before a reset that comes a step later, after one that comes at
    once."""
    spikes, membrane = _lif(current, recurrent, c, dynamics, True)
    assert membrane is not None
    return spikes, membrane


def floored(
    current: Tensor,
    recurrent: Weight | None,
    c: FlooredCoefficients,
    dynamics: FlooredDynamics,
    pushed: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Spikes of current-based neurons with a floor, and v[t] − v_floor before the floor acts, both (T, B, n).

    With v = v_leak and exc, inh, b, z = 0 before the first step, for every step t, where excitation and inhibition are
    the halves of current[t], plus max(recurrent, 0) z[t−1] and max(−recurrent, 0) z[t−1]::

        exc[t] = syn_exc exc[t−1] + excitation
        inh[t] = syn_inh inh[t−1] + inhibition
        b[t] = rho b[t−1] + z[t−1]
        v[t] = alpha v[t−1] + (1 − alpha) v_leak + gain_exc exc[t] − gain_inh inh[t] + lift − ahp b[t] + pushed[t]
        v[t] ← v_floor where v[t] < v_floor, and v_reset where the last spike is at most ``refractory`` steps ago
        z[t] = 1 if v[t] > v_threshold + raised b[t] and that is not so, else 0
        v[t] ← v_reset where z[t] = 1

    Shapes: current (T, B, 2n), excitation first; recurrent (n, n), row = target, or sparse; coefficients (n,); pushed
    (T, B, n).
    The spikes have a gradient in everything but refractory; the second output has none.
    """
    n = len(c.alpha)
    if current.shape[-1] != 2 * n:
        raise ValueError(f"current: got shape {tuple(current.shape)}; expected (T, B, {2 * n}), two for each neuron.")
    _check(n, current, c, recurrent)
    if pushed is not None or implementation("current", current, knows_floored(dynamics)) is reference:
        return reference.floored(current, _matrix(recurrent), c, dynamics, pushed)
    from . import compiled_floored

    return compiled_floored.floored(current, recurrent, c, dynamics)


def floored_layer(
    x: Tensor, weight: Weight, recurrent: Weight | None, c: FlooredCoefficients, dynamics: FlooredDynamics
) -> Tensor:
    """Spikes of :func:`floored` for an input x (T, B, n_in) of synapses that excite or inhibit by the sign of their
    weight (n, n_in)."""
    _check_synapses(x, weight)
    _check(weight.shape[0], x, c, recurrent)
    if implementation("x", x, knows_floored(dynamics)) is reference:
        matrix = dense(weight)
        positive = matrix.clamp(min=0)
        return floored(linear(x, torch.cat([positive, positive - matrix]), None), recurrent, c, dynamics)[0]
    from . import compiled_floored

    return compiled_floored.floored_layer(x, weight, recurrent, c, dynamics)


def leaky_integrator(current: Tensor, alpha: Tensor, gain: Tensor) -> Tensor:
    """v[t] = alpha v[t−1] + gain · current[t] from v = 0. Shapes: current (T, B, n), alpha and gain (n,); (T, B, n)."""
    _check(current.shape[-1], current, {"alpha": alpha, "gain": gain}, None)
    return implementation("current", current).leaky_integrator(current, alpha, gain)


def fleet_outputs(dies: Sequence[Sequence[LifLayer]], x: Tensor) -> Tensor:
    """Output of the last of a network's layers on every die, in one compiled loop: (B, T, n_in) → (dies, B, T, n).

    The layers, alike but for their numbers on all dies, must be such that :func:`compiles`. No gradient.
    """
    from . import fleet, fleet_windows

    plain = all(isinstance(layer, Layer) for layer in dies[0])
    return fleet.outputs(cast(Sequence[Sequence[Layer]], dies), x) if plain else fleet_windows.outputs(dies, x)


def lane_outputs(dies: Sequence[Sequence[AnyLayer]], blocks: Iterable[Tensor]) -> Iterator[Tensor]:
    """Output of the last of a network's layers on at most eight dies, in one compiled loop for each block of the input:
    (B, T, n_in) → (dies, B, T, n); bit for bit what the layers give one by one.

    The layers must compile and :func:`fits_lanes`, and the input must be finite. No gradient.
    """
    from .fleet_lanes import outputs

    return outputs(dies, blocks)
