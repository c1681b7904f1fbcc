"""neurorobust: train spiking neural networks that work on every analog chip."""

from . import attacks, chip, neurons, regularizers, tasks
from .attacks import Ball
from .chip import mismatch
from .evaluation import compare, evaluate, worst_case
from .network import Network
from .params import apply, nominal, run
from .storage import load, save
from .training import Schedule, fit

__version__ = "0.1.0"

__all__ = [
    "Ball",
    "Network",
    "Schedule",
    "apply",
    "attacks",
    "chip",
    "compare",
    "evaluate",
    "fit",
    "load",
    "mismatch",
    "neurons",
    "nominal",
    "regularizers",
    "run",
    "save",
    "tasks",
    "worst_case",
]
