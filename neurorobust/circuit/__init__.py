"""Circuits of DYNAP-SE in continuous time: DPI neurons and synapses, from bias currents to spikes.

:class:`Circuit` holds the physical numbers of a configured chip, :func:`simulate` its spikes. :func:`circuit_of` makes
the circuit of a programmed network, :func:`deviating` that of a die, :func:`with_drive` one with other pulses.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .description import Circuit, Dendrite, DendriteType, Neurons, Synapses
from .drive import with_drive
from .mismatch import CURRENTS, deviating
from .network import circuit_of
from .recording import Events, Recording
from .technology import Technology
from .technology import checked_technology as checked_technology

if TYPE_CHECKING:
    from .simulation import simulate

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
    "with_drive",
]


def __getattr__(name: str) -> Any:
    """Import on first use what needs the compiler of the loops, which is slow to import."""
    if name == "simulate":
        return import_module(".simulation", __name__).simulate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
