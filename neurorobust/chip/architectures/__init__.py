"""Architectures of chips: one file for each kind."""

from .architecture import Architecture, Placed, Route, Used, Violation
from .cam import Cam
from .demand import Demand, LayerDemand, Synapses
from .digital import Digital
from .packing import Merge
from .pool import Pool
from .rows import Rows
from .tiles import Tiles

__all__ = [
    "Architecture",
    "Cam",
    "Demand",
    "Digital",
    "LayerDemand",
    "Merge",
    "Placed",
    "Pool",
    "Route",
    "Rows",
    "Synapses",
    "Tiles",
    "Used",
    "Violation",
]
