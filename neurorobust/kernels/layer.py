"""The numbers of one layer that the time loops take besides its input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from ..dynamics.resets import Dynamics

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


@dataclass(frozen=True)
class Layer:
    """A layer at the parameters of one die.

    Attributes:
        sources: its inputs, side by side along the columns of the weight: numbers of layers before it, −1 for x.
        weight: (n, n_in). bias: (n,) or None. recurrent: (n, n), row = target, or None.
        coefficients, dynamics: its step; without dynamics it does not spike, and its output is its membrane.
    """

    sources: tuple[int, ...]
    weight: Tensor
    bias: Tensor | None
    recurrent: Tensor | None
    coefficients: LifCoefficients
    dynamics: Dynamics | None
