"""The compiled loops of neurons with a floor, behind the same functions as :mod:`.reference`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..dynamics.floors import LeakyFloor, NoFloor
from . import floored_operators as operators
from .autograd import of_current, of_input
from .compiled import inside, number_and_width, outside
from .layer import FlooredCoefficients, FlooredDynamics

Floored = of_current(operators.floored_op, operators.floored_backward_op, 1)
FlooredLayer = of_input(operators.floored_layer_op, operators.floored_layer_backward_op, 1)


def _layer(
    recurrent: Tensor | None, c: FlooredCoefficients, dynamics: FlooredDynamics, keep: bool
) -> tuple[Tensor, Tensor, Tensor, Sequence[int], Sequence[float]]:
    """A layer of one chip as the operators take it; v is counted from v_leak."""
    n, none = len(c.alpha), torch.zeros_like(c.alpha)
    leak, scaled = none if c.v_leak is None else c.v_leak, dynamics.surrogate.scaled
    floor = torch.full_like(none, -torch.inf) if isinstance(dynamics.floor, NoFloor) else c.v_floor - leak
    rows = (
        c.alpha,
        c.gain_exc,
        c.gain_inh,
        c.syn_exc,
        c.syn_inh,
        c.lift,
        c.v_threshold - leak,
        c.v_threshold if scaled else torch.ones_like(none),
        floor,
        (none if c.v_reset is None else c.v_reset) - leak,
        none if c.rho is None else c.rho,
        none if c.ahp is None else c.ahp,
        none if c.raised is None else c.raised,
    )
    surrogate, width = number_and_width(dynamics.surrogate)
    slope = dynamics.floor.slope if isinstance(dynamics.floor, LeakyFloor) else 0.0
    return (
        c.alpha.new_empty((0, n, n)) if recurrent is None else recurrent.unsqueeze(0),
        torch.stack(rows).unsqueeze(0),
        (none if c.refractory is None else c.refractory).detach().int().unsqueeze(0),
        (surrogate, int(scaled), int(c.rho is not None), int(keep)),
        (width, slope),
    )


def floored(
    current: Tensor, recurrent: Tensor | None, c: FlooredCoefficients, dynamics: FlooredDynamics
) -> tuple[Tensor, Tensor]:
    """Spikes, and the membrane above the floor; see :func:`neurorobust.kernels.floored`."""
    spikes, u, _ = Floored.apply(inside(current), *_layer(recurrent, c, dynamics, True))
    leak = 0 if c.v_leak is None else c.v_leak
    return outside(spikes), (outside(u) - (c.v_floor - leak)).detach()


def floored_layer(
    x: Tensor, weight: Tensor, recurrent: Tensor | None, c: FlooredCoefficients, dynamics: FlooredDynamics
) -> Tensor:
    """Spikes of a layer with its synapses; see :func:`neurorobust.kernels.floored_layer`."""
    layer = _layer(recurrent, c, dynamics, torch.is_grad_enabled())
    return outside(FlooredLayer.apply(inside(x), weight.unsqueeze(0), *layer)[0])
