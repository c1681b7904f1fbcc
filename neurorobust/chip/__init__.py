"""Chip models, programming, and dies.

A :class:`ChipModel` describes one ASIC design. :meth:`ChipModel.program` turns trained parameters into what the chip
can hold, or refuses by name and number; :meth:`ChipModel.fabricate` makes dies, whose deviates are keyed by
(seed, serial, kind, site): die 17 of seed 0 is the same die whatever the fleet, the order, the device or the network.
"""

from ..core.placement import Placement
from .cards import card, compare, numbers
from .crossbar import Cell, digital
from .defective import BadSynapses, DeadNeurons, Defect, StuckDevices
from .die import Chip, Fleet
from .drawing import draw, draw_model
from .facts import STATUSES, Fact, Limits, Range, TimeBase
from .model import ChipModel, KindModel, mismatch
from .programming import Programmed
from .stores import Fixed, Masks, Multiples, Plain, SameGain, Scaled, Store

__all__ = [
    "STATUSES",
    "BadSynapses",
    "Cell",
    "Chip",
    "ChipModel",
    "DeadNeurons",
    "Defect",
    "Fact",
    "Fixed",
    "Fleet",
    "KindModel",
    "Limits",
    "Masks",
    "Multiples",
    "Placement",
    "Plain",
    "Programmed",
    "Range",
    "SameGain",
    "Scaled",
    "Store",
    "StuckDevices",
    "TimeBase",
    "card",
    "compare",
    "digital",
    "draw",
    "draw_model",
    "mismatch",
    "numbers",
]
