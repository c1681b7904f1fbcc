"""Deployment: from a trained network to what a chip gets.

:func:`onto` maps a network onto a chip, checks every limit, and quantizes it. The result is a :class:`Deployment`. It
can be saved, loaded, compared, and run on the dies of :func:`neurorobust.evaluate`. No board is attached to any of it.
"""

from .deployment import Deployment
from .diff import Difference, diff
from .errors import DeploymentError
from .mapping import onto
from .reading import load
from .report import Report

__all__ = ["Deployment", "DeploymentError", "Difference", "Report", "diff", "load", "onto"]
