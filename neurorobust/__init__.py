"""neurorobust: train spiking neural networks that work on every analog chip."""

from . import attacks, chip, foreign, neurons, plotting, regularizers, tasks
from .attacks import Ball
from .chip import mismatch
from .evaluation import compare, evaluate, sensitivity, transfer, worst_case
from .foreign import from_snntorch, to_snntorch, wrap
from .network import Network
from .params import HOST, apply, nominal, run
from .storage import load, save
from .training import Schedule, fit

__version__ = "0.1.0"

__all__ = [
    "HOST",
    "Ball",
    "Network",
    "Schedule",
    "apply",
    "attacks",
    "chip",
    "compare",
    "evaluate",
    "fit",
    "foreign",
    "from_snntorch",
    "load",
    "mismatch",
    "neurons",
    "nominal",
    "plotting",
    "regularizers",
    "run",
    "save",
    "sensitivity",
    "tasks",
    "to_snntorch",
    "transfer",
    "worst_case",
    "wrap",
]
