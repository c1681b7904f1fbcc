"""Sound bounds of what networks compute, for every parameter of a box at once."""

from .box import Box, box
from .interval import Interval
from .population import Population, populations
from .spiking import Bounds, logit_bounds
from .steps import Plain, Steps, Tight

__all__ = ["Bounds", "Box", "Interval", "Plain", "Population", "Steps", "Tight", "box", "logit_bounds", "populations"]
