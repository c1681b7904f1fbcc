"""The time loops compiled for the CPU, behind the same functions as :mod:`.reference`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..dynamics.resets import DelayedSubtract, DelayedToValue, Dynamics, Subtract, ToValue
from ..dynamics.surrogate import ArcTan, FastSigmoid, Surrogate, Triangle
from . import autograd
from .layer import LifCoefficients
from .numba_loops.records import Rules
from .sparse_weight import SparseWeight, Weight


def inside(sequence: Tensor) -> Tensor:
    """(T, B, n) → (1, B, T, n): as the operators take it, of one chip."""
    return sequence.transpose(0, 1).unsqueeze(0)


def outside(sequence: Tensor) -> Tensor:
    """The reverse of :func:`inside`."""
    return sequence.squeeze(0).transpose(0, 1)


def numbers_and_lists(weight: Weight | None, like: Tensor) -> tuple[Tensor, Tensor]:
    """A weight of one chip as the operators take it, and its lists, none for a matrix; ``like`` is (n,), and no weight
    is no matrix (n, n)."""
    if isinstance(weight, SparseWeight):
        return weight.values.unsqueeze(0), weight.pattern.lists
    # One for each weight: torch.compile takes no tensor twice. Not like.new_empty, which vmap would give a batch axis.
    none = torch.empty(0, dtype=torch.int32, device=like.device)
    return like.new_empty((0, len(like), len(like))) if weight is None else weight.unsqueeze(0), none


def _offset(x: Tensor, weight: Weight, bias: Tensor | None) -> Tensor:
    """The bias of one chip as the operators take it."""
    return x.new_empty((0, weight.shape[0])) if bias is None else bias.unsqueeze(0)


def linear(x: Tensor, weight: Weight, bias: Tensor | None) -> Tensor:
    """x weightᵀ + bias; see :func:`neurorobust.kernels.linear`."""
    numbers, lists = numbers_and_lists(weight, x)
    return outside(autograd.Project.apply(inside(x), numbers, _offset(x, weight, bias), lists))


def leaky_integrator(current: Tensor, alpha: Tensor, gain: Tensor) -> Tensor:
    """Membrane of leaky integrators; see :func:`neurorobust.kernels.leaky_integrator`."""
    return outside(autograd.Integrate.apply(inside(current), alpha.unsqueeze(0), gain.unsqueeze(0)))


def number_and_width(surrogate: Surrogate) -> tuple[int, float]:
    """The number by which the compiled loop knows a surrogate, and its parameter."""
    if isinstance(surrogate, Triangle):
        return 0, surrogate.scale
    if isinstance(surrogate, FastSigmoid):
        return 1, surrogate.slope
    if isinstance(surrogate, ArcTan):
        return 2, math.pi / 2 * surrogate.alpha
    raise TypeError(f"surrogate: got {surrogate!r}; there is no compiled loop for it, use the reference.")


def coefficients_of(c: LifCoefficients, dynamics: Dynamics) -> tuple[Tensor, Tensor, Rules]:
    """A layer as the compiled loop takes it: coefficients (9, n), refractory steps (n,) and rules.

    One loop serves all resets. With v counted from v_leak, v[t] = alpha v′ + gain s[t] − z[t−1] reset_amount, where v′
    is v[t−1] or, for a reset to a value, ``reset_value`` after a spike; z[t] = 1 where v > threshold, and the surrogate
    takes (v − threshold)/surrogate_scale.
    """
    reset, none = dynamics.reset, torch.zeros_like(c.alpha)
    to_value = isinstance(reset, (ToValue, DelayedToValue))
    reset_amount = none
    if isinstance(reset, DelayedSubtract):
        reset_amount = c.v_threshold
    elif isinstance(reset, Subtract):
        reset_amount = c.alpha * c.v_threshold
    leak = none if c.v_leak is None else c.v_leak
    coefficients = (
        c.alpha,
        c.gain,
        none if c.syn is None else c.syn,
        c.v_threshold - leak,
        c.v_threshold if dynamics.surrogate.scaled else torch.ones_like(c.alpha),
        reset_amount,
        (none if c.v_reset is None else c.v_reset) - leak,
        none if c.rho is None else c.rho,
        none if c.adaptation is None else c.adaptation,
    )
    refractory = none if c.refractory is None else c.refractory
    flags = (to_value, reset.detach, c.syn is not None, c.rho is not None, dynamics.surrogate.scaled)
    rules = Rules(number_and_width(dynamics.surrogate)[0], *(int(flag) for flag in flags))
    return torch.stack(coefficients), refractory.detach().int(), rules


def layer_of(
    c: LifCoefficients, dynamics: Dynamics, keep: bool
) -> tuple[tuple[Tensor, Tensor], tuple[Sequence[int], float]]:
    """A layer of one chip as the operators take it: its numbers; its rules and the width of its surrogate. ``keep``
    says whether its membrane is kept."""
    coefficients, refractory, rules = coefficients_of(c, dynamics)
    width = number_and_width(dynamics.surrogate)[1]
    return (coefficients.unsqueeze(0), refractory.unsqueeze(0)), ((*rules, int(keep)), width)


def lif(
    current: Tensor, recurrent: Weight | None, c: LifCoefficients, dynamics: Dynamics, membrane: bool
) -> tuple[Tensor, Tensor | None]:
    """Spikes and membrane of leaky integrate-and-fire neurons; see :func:`neurorobust.kernels.lif`."""
    layer, rules = layer_of(c, dynamics, membrane or torch.is_grad_enabled())
    matrix, lists = numbers_and_lists(recurrent, c.alpha)
    outputs = autograd.Lif.apply(inside(current), matrix, *layer, lists, *rules)
    spikes, above_leak = (outside(output) for output in outputs)
    if not membrane:
        return spikes, None
    v = above_leak if c.v_leak is None else above_leak + c.v_leak
    return spikes, dynamics.reset.membrane(v, spikes.detach() if dynamics.reset.detach else spikes, c)


def lif_layer(
    x: Tensor, synapses: tuple[Weight, Tensor | None], recurrent: Weight | None, c: LifCoefficients, dynamics: Dynamics
) -> Tensor:
    """Spikes of a layer with its synapses; see :func:`neurorobust.kernels.lif_layer`."""
    layer, rules = layer_of(c, dynamics, torch.is_grad_enabled())
    weight, weight_lists = numbers_and_lists(synapses[0], c.alpha)
    matrix, lists = numbers_and_lists(recurrent, c.alpha)
    offset = _offset(x, *synapses)
    return outside(autograd.Layer.apply(inside(x), weight, offset, matrix, *layer, weight_lists, lists, *rules)[0])
