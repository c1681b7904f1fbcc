"""Chip models, programming, and dies.

A :class:`ChipModel` describes one ASIC design. :meth:`ChipModel.program` converts trained parameters to values that
the chip can hold, or raises with names and numbers. :meth:`ChipModel.fabricate` makes dies. Their deviates are keyed
by (seed, serial, kind, site): die 17 of seed 0 is the same die in every fleet, order, device and network.

Example:
    >>> import chipmodels
    >>> chip = chipmodels.load("dynapse2")
    >>> die = chip.fabricate([17], seed=0)[0]
    >>> die.map("tau_mem").shape  # u of every neuron: cores, rows, columns
    torch.Size([4, 16, 16])
"""

from ..core.placement import Placement
from .architectures import Architecture, Cam, Digital, Pool, Rows, Tiles, Violation
from .cards import card, differences, laws, numbers, statements
from .costs import Cost
from .crossbar import Cell, digital
from .defects import BadSynapses, DeadNeurons, Defect, StuckDevices
from .design import KindModel
from .die import Die, Fleet
from .drawing import draw, draw_model
from .encodings import BitMaskedCurrents, Encoding, Fixed, Scaled, SharedGain, SynapseCounts, Unquantized
from .equations import Agreement, NeuronModel, SourcedText, agreement, neurons_beside
from .model import ChipModel, mismatch
from .programming import Programmed
from .sourced import STATUSES, Limits, Range, SourcedValue, TimeBase

__all__ = [
    "STATUSES",
    "Agreement",
    "Architecture",
    "BadSynapses",
    "BitMaskedCurrents",
    "Cam",
    "Cell",
    "ChipModel",
    "Cost",
    "DeadNeurons",
    "Defect",
    "Die",
    "Digital",
    "Encoding",
    "Fixed",
    "Fleet",
    "KindModel",
    "Limits",
    "NeuronModel",
    "Placement",
    "Pool",
    "Programmed",
    "Range",
    "Rows",
    "Scaled",
    "SharedGain",
    "SourcedText",
    "SourcedValue",
    "StuckDevices",
    "SynapseCounts",
    "Tiles",
    "TimeBase",
    "Unquantized",
    "Violation",
    "agreement",
    "card",
    "differences",
    "digital",
    "draw",
    "draw_model",
    "laws",
    "mismatch",
    "neurons_beside",
    "numbers",
    "statements",
]
