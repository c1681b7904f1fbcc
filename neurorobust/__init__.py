"""neurorobust: train spiking neural networks that work on every analog die."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import attacks, chip, data, interop, nn, regularizers, train
from .attacks import Ball
from .chip import mismatch
from .core import HOST, apply, noise, nominal, run
from .data import tasks
from .evaluation import Trim, calibrate_readout, compare, evaluate, sensitivity, transfer, worst_case
from .interop import wrap
from .io import load, save, zoo
from .nn import Network, neurons
from .train import Schedule, fit

if TYPE_CHECKING:
    from . import deploy
    from .interop import from_snntorch, to_snntorch
    from .viz import plotting

__version__ = "0.1.0"

__all__ = [
    "HOST",
    "Ball",
    "Network",
    "Schedule",
    "Trim",
    "apply",
    "attacks",
    "calibrate_readout",
    "chip",
    "compare",
    "data",
    "deploy",
    "evaluate",
    "fit",
    "from_snntorch",
    "interop",
    "load",
    "mismatch",
    "neurons",
    "nn",
    "noise",
    "nominal",
    "plotting",
    "regularizers",
    "run",
    "save",
    "sensitivity",
    "tasks",
    "to_snntorch",
    "train",
    "transfer",
    "worst_case",
    "wrap",
    "zoo",
]


def __dir__() -> list[str]:
    """All public names, also those that are imported on first use."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import names on first use that need snnTorch or matplotlib, whose imports are slow, and ``deploy``."""
    if name == "deploy":
        return import_module(f"{__name__}.deploy")
    if name in ("from_snntorch", "to_snntorch"):
        return getattr(interop, name)
    if name == "plotting":
        from .viz import plotting

        return plotting
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
