"""neurorobust: train spiking neural networks that work on every analog chip."""

from typing import TYPE_CHECKING, Any

from . import attacks, chip, foreign, neurons, noise, regularizers, tasks, zoo
from .attacks import Ball
from .chip import mismatch
from .evaluation import compare, evaluate, sensitivity, transfer, worst_case
from .foreign import wrap
from .network import Network
from .params import HOST, apply, nominal, run
from .storage import load, save
from .training import Schedule, fit

if TYPE_CHECKING:
    from . import plotting
    from .foreign import from_snntorch, to_snntorch

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
    "noise",
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
    "zoo",
]


def __getattr__(name: str) -> Any:
    """What needs snnTorch or matplotlib, which are slow to import, on first use."""
    if name in ("from_snntorch", "to_snntorch"):
        return getattr(foreign, name)
    if name == "plotting":
        from importlib import import_module

        return import_module(".plotting", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
