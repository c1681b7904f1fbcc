"""Neuron models, one file each."""

from .adaptive_lif import AdaptiveLif
from .cuba_leaky_integrator import CubaLeakyIntegrator
from .cuba_lif import CubaLif
from .leaky_integrator import LeakyIntegrator
from .lif import Lif
from .linearized_dpi import LinearizedDpi
from .neuron import Neuron

__all__ = ["AdaptiveLif", "CubaLeakyIntegrator", "CubaLif", "LeakyIntegrator", "Lif", "LinearizedDpi", "Neuron"]
