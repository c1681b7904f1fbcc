"""Parameters and their kinds, placement, deviations and their application, and the run of a network."""

from .apply import apply
from .noise import Noise
from .params import KINDS, Deviations, Params, kind_of
from .placement import HOST, Placement
from .run import nominal, run

__all__ = ["HOST", "KINDS", "Deviations", "Noise", "Params", "Placement", "apply", "kind_of", "nominal", "run"]
