"""The numbers of one layer that the time loops take besides its input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from ..dynamics.floors import Floor
from ..dynamics.inhibitions import Inhibition, PullsDown
from ..dynamics.resets import Dynamics
from ..dynamics.surrogate import Surrogate
from .sparse_weight import SparseWeight, Weight
from .windows import Convolution

SKINNY = 16
"""Outputs up to which a dot product for each number is faster than torch's matrix product and than events."""


class LifCoefficients(NamedTuple):
    """Per-neuron numbers of one LIF layer, each of shape (n,); None where a model does not have one.

    alpha: membrane decay exp(−dt/tau_mem); gain: what a unit of current adds to v in a step; v_threshold: ϑ at rest;
    syn: decay of the synaptic current exp(−dt/tau_syn), None for none; v_leak, v_reset: V, None for 0;
    refractory: silent steps after a spike, whole numbers in the dtype of the current, None for 0; has no gradient;
    rho, adaptation: decay exp(−dt/tau_adapt) of the adaptation and the threshold gained per unit of it, both or none.
    """

    alpha: Tensor
    gain: Tensor
    v_threshold: Tensor
    syn: Tensor | None = None
    v_leak: Tensor | None = None
    v_reset: Tensor | None = None
    refractory: Tensor | None = None
    rho: Tensor | None = None
    adaptation: Tensor | None = None


class FlooredCoefficients(NamedTuple):
    """Per-neuron numbers of one layer of neurons with a floor, each of shape (n,); None where a model has none.

    alpha: membrane decay exp(−dt/tau_mem); gain_exc, gain_inh: what a unit of each synaptic current adds to v, or takes
    from it, in a step; syn_exc, syn_inh: decays of these currents; lift: what the constant current adds to v in a step;
    v_threshold, v_floor: V; v_leak, v_reset: V, None for 0 and for v_leak; refractory: steps for which the membrane is
    held after a spike, whole numbers, no gradient; rho: decay of the spike count b; ahp, raised: what a unit of b takes
    from v in a step and adds to the threshold.
    """

    alpha: Tensor
    gain_exc: Tensor
    gain_inh: Tensor
    syn_exc: Tensor
    syn_inh: Tensor
    lift: Tensor
    v_threshold: Tensor
    v_floor: Tensor
    v_leak: Tensor | None = None
    v_reset: Tensor | None = None
    refractory: Tensor | None = None
    rho: Tensor | None = None
    ahp: Tensor | None = None
    raised: Tensor | None = None


@dataclass(frozen=True)
class FlooredDynamics:
    """The surrogate derivative, the floor and the inhibition of a neuron."""

    surrogate: Surrogate
    floor: Floor
    inhibition: Inhibition = PullsDown()


@dataclass(frozen=True)
class Layer:
    """A layer at the parameters of one die.

    Attributes:
        sources: its inputs, side by side along the columns of the weight: numbers of layers before it, −1 for x.
        weight: (n, n_in). bias: (n,) or None. recurrent: (n, n), row = target, or None. Both may be sparse.
        coefficients, dynamics: its step; without dynamics it does not spike, and its output is its membrane.
    """

    sources: tuple[int, ...]
    weight: Weight
    bias: Tensor | None
    recurrent: Weight | None
    coefficients: LifCoefficients
    dynamics: Dynamics | None

    @property
    def n(self) -> int:
        return self.weight.shape[0]


@dataclass(frozen=True)
class FlooredLayer:
    """A layer of neurons with a floor at the parameters of one die; as :class:`Layer`, without a bias."""

    sources: tuple[int, ...]
    weight: Weight
    recurrent: Weight | None
    coefficients: FlooredCoefficients
    dynamics: FlooredDynamics


@dataclass(frozen=True)
class WindowLayer:
    """A layer behind a convolution at the parameters of one die; as :class:`Layer`, with one source.

    Attributes:
        weight: (C_out, C, kH, kW).
    """

    sources: tuple[int, ...]
    convolution: Convolution
    weight: Tensor
    bias: Tensor | None
    coefficients: LifCoefficients
    dynamics: Dynamics | None

    @property
    def n(self) -> int:
        return self.convolution.n_out


AnyLayer = Layer | FlooredLayer | WindowLayer
LifLayer = Layer | WindowLayer


def parts_of(layer: AnyLayer) -> int:
    """How many numbers arrive for each neuron: excitation and inhibition, or one."""
    return 2 if isinstance(layer, FlooredLayer) else 1


def fits_lanes(layers: Sequence[AnyLayer]) -> bool:
    """Whether dies of a network may go side by side through a loop of lists and have the bits of the layers one by one.

    The order of all sums must be known before it runs, which it is for lists, and for a matrix with so few rows that
    each gets a dot product. Read-outs with a synaptic current have two numbers where a plan has one.
    """
    return all(map(_fits, layers))


def _fits(layer: AnyLayer) -> bool:
    if isinstance(layer, WindowLayer):
        return False
    ordered = isinstance(layer.weight, SparseWeight) or parts_of(layer) * layer.weight.shape[0] <= SKINNY
    filtered = layer.dynamics is None and layer.coefficients.syn is not None
    return ordered and not filtered and (layer.recurrent is None or isinstance(layer.recurrent, SparseWeight))
