"""Chip models from measurements: :func:`fit`, and :func:`estimate` for the intervals.

Each module holds one question: ``table`` what is a measurement, ``families`` which distribution, ``across`` what a
neuron does from setting to setting, ``fields`` what neighbours have in common, ``components`` what neurons, fields,
cores and chips contribute.
"""

from .components import Estimate
from .families import Choice
from .fit import Fitted, estimate, fit
from .kind import KindFit
from .table import Recording, read

__all__ = ["Choice", "Estimate", "Fitted", "KindFit", "Recording", "estimate", "fit", "read"]
