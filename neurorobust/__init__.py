"""neurorobust: train spiking neural networks that work on every analog die.

Every name is imported when it is first used. So ``import neurorobust`` takes milliseconds, and the plugin for pytest,
which is loaded in every run of pytest where the package is installed, costs nothing until a test uses it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import attacks, chip, data, deploy, export, interop, nn, regularizers, testing, train
    from .attacks import Ball
    from .chip import mismatch
    from .core import HOST, apply, noise, nominal, run
    from .data import tasks
    from .evaluation import Trim, calibrate_readout, compare, evaluate, transfer
    from .evaluation.sensitivity import sensitivity
    from .evaluation.worst_case import worst_case
    from .export import from_nir, to_nir, to_pynn
    from .interop import from_snntorch, to_snntorch, wrap
    from .io import load, save, zoo
    from .nn import Network, neurons
    from .train import Schedule, fit
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
    "export",
    "fit",
    "from_nir",
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
    "testing",
    "to_nir",
    "to_pynn",
    "to_snntorch",
    "train",
    "transfer",
    "worst_case",
    "wrap",
    "zoo",
]

_PARTS = (
    "attacks bounds chip circuit core data deploy dynamics evaluation export fitting interop io kernels nn "
    "regularizers testing train viz"
)
_NAMES = {
    "attacks": "Ball",
    "chip": "mismatch",
    "core": "HOST apply noise nominal run",
    "data": "tasks",
    "evaluation": "Trim calibrate_readout compare evaluate sensitivity transfer worst_case",
    "export": "from_nir to_nir to_pynn",
    "interop": "from_snntorch to_snntorch wrap",
    "io": "load save zoo",
    "nn": "Network neurons",
    "train": "Schedule fit",
    "viz": "plotting",
}
"""The part of the package that each short name comes from, as the imports for types above say it."""


def __dir__() -> list[str]:
    """All public names, also those that are imported on first use."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import a part of the package, or a name of a part, when it is first used."""
    part = next((part for part, names in _NAMES.items() if name in names.split()), None)
    if part is not None:
        found = getattr(__import__(f"{__name__}.{part}", fromlist=[name]), name)  # a module of the part, too
    elif name in _PARTS.split():
        found = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found
