"""Deployment: from a trained network to what a chip gets.

:func:`onto` maps a network onto a chip, checks every limit, and quantizes it. The result is a :class:`Deployment`. It
can be saved, loaded, compared, and run on the dies of :func:`neurorobust.evaluate`. Before that, :func:`adapt` gives a
network the equations of a chip, and :func:`fit_to` prunes it to the inputs that a neuron of the chip has. No board is
attached to any of it.
"""

from .adapting import adapt
from .deployment import Deployment
from .diff import Difference, diff
from .estimating import Estimate, estimate
from .mapping import DeploymentError, onto
from .pruning import fit_to
from .reading import load
from .report import Report
from .retrained import Retrained
from .translating import translated

__all__ = [
    "Deployment",
    "DeploymentError",
    "Difference",
    "Estimate",
    "Report",
    "Retrained",
    "adapt",
    "diff",
    "estimate",
    "fit_to",
    "load",
    "onto",
    "translated",
]
