"""Neuron models, one file each.

Example:
    >>> layer = nr.neurons.Lif(nr.nn.Linear(torch.rand(4, 3)), tau_mem=0.02, v_threshold=0.1)
    >>> layer.n
    4
"""

from .adaptive_lif import AdaptiveLif
from .cuba_leaky_integrator import CubaLeakyIntegrator
from .cuba_lif import CubaLif
from .leaky_integrator import LeakyIntegrator
from .lif import Lif
from .linearized_dpi import LinearizedDpi
from .neuron import Neuron

__all__ = ["AdaptiveLif", "CubaLeakyIntegrator", "CubaLif", "LeakyIntegrator", "Lif", "LinearizedDpi", "Neuron"]
