"""Circuits of DYNAP-SE in continuous time: DPI neurons and synapses, from bias currents to spikes.

:class:`Circuit` holds the physical numbers of a configured chip, :func:`simulate` its spikes. :func:`circuit_of` makes
the circuit of a programmed network, :func:`deviating` that of a die.
"""

from .description import Circuit, Dendrite, DendriteType, Neurons, Synapses
from .mismatch import CURRENTS, deviating
from .network import circuit_of
from .recording import Events, Recording
from .simulation import simulate
from .technology import Technology

__all__ = [
    "CURRENTS",
    "Circuit",
    "Dendrite",
    "DendriteType",
    "Events",
    "Neurons",
    "Recording",
    "Synapses",
    "Technology",
    "circuit_of",
    "deviating",
    "simulate",
]
