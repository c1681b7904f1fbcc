"""Sound bounds of what networks compute, for every parameter of a box at once."""

from .box import Box, box
from .interval import Interval
from .population import Population, populations
from .spiking import Bounds, logit_bounds
from .steps import MeanValueForm, NaturalExtension, StepBounds

__all__ = [
    "Bounds",
    "Box",
    "Interval",
    "MeanValueForm",
    "NaturalExtension",
    "Population",
    "StepBounds",
    "box",
    "logit_bounds",
    "populations",
]
