"""Chip models from measurements: :func:`fit_chip`, and :func:`analyze` for the intervals.

Each module holds one question: ``table`` what is a measurement, ``families`` which distribution, ``across`` what a
neuron does from setting to setting, ``fields`` what neighbours have in common, ``components`` what neurons, fields,
cores and chips contribute.
"""

from .components import IntervalEstimate
from .families import FamilyChoice
from .fit import FitResult, analyze, fit_chip
from .kind import KindFit
from .table import Recording, read_table

__all__ = ["FamilyChoice", "FitResult", "IntervalEstimate", "KindFit", "Recording", "analyze", "fit_chip", "read_table"]
