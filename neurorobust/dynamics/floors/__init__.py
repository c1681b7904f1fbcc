"""Floors: the lowest potential of a membrane and the gradient through it, one file each."""

from .base import Floor
from .hard_floor import HardFloor
from .leaky_floor import LeakyFloor
from .no_floor import NoFloor

__all__ = ["Floor", "HardFloor", "LeakyFloor", "NoFloor"]
