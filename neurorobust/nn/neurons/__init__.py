"""Neuron models, one file each, and what a spike does to their membrane."""

from ...dynamics import DelayedSubtract, DelayedToValue, NoReset, Reset, SnntorchSubtract, Subtract, ToValue
from .adaptive_lif import AdaptiveLif
from .cuba_leaky_integrator import CubaLeakyIntegrator
from .cuba_lif import CubaLif
from .leaky_integrator import LeakyIntegrator
from .lif import Lif
from .neuron import Neuron

__all__ = [
    "AdaptiveLif",
    "CubaLeakyIntegrator",
    "CubaLif",
    "DelayedSubtract",
    "DelayedToValue",
    "LeakyIntegrator",
    "Lif",
    "Neuron",
    "NoReset",
    "Reset",
    "SnntorchSubtract",
    "Subtract",
    "ToValue",
]
