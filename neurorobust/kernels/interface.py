"""What the time loops take besides their input current."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Coefficients(NamedTuple):
    """Per-neuron numbers of one adaptive LIF layer, each of shape (n,).

    alpha: membrane decay exp(−dt/tau_mem); gain: (1 − alpha)·r; rho: decay of the adaptation exp(−dt/tau_adapt);
    adaptation: growth of the threshold per unit of b; v_threshold: threshold at rest.
    """

    alpha: Tensor
    gain: Tensor
    rho: Tensor
    adaptation: Tensor
    v_threshold: Tensor


class LifCoefficients(NamedTuple):
    """Per-neuron numbers of one LIF layer, each of shape (n,); None where a model does not have one.

    alpha: membrane decay exp(−dt/tau_mem); gain: what a unit of current adds to v in a step; v_threshold: ϑ;
    syn: decay of the synaptic current exp(−dt/tau_syn), None for none; v_leak, v_reset: V, None for 0;
    refractory: silent steps after a spike, whole numbers in the dtype of the current, None for 0; has no gradient.
    """

    alpha: Tensor
    gain: Tensor
    v_threshold: Tensor
    syn: Tensor | None = None
    v_leak: Tensor | None = None
    v_reset: Tensor | None = None
    refractory: Tensor | None = None
