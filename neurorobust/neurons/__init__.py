"""Neuron models, one file each."""

from .adaptive_lif import AdaptiveLif
from .leaky_integrator import LeakyIntegrator
from .lif import Lif
from .neuron import Neuron

__all__ = ["AdaptiveLif", "LeakyIntegrator", "Lif", "Neuron"]
