"""Chip models from measurements: :func:`fit_chip`, and :func:`analyze` for the intervals.

Modules: ``table`` reads measurements, ``families`` compares distributions, ``across`` relates settings of one neuron,
``fields`` finds spatial fields, ``components`` estimates the variance of neurons, fields, cores and chips.
"""

from .components import IntervalEstimate
from .families import FamilyChoice
from .fit import FitResult, analyze, fit_chip
from .kind import KindFit
from .table import Recording, read_table

__all__ = ["FamilyChoice", "FitResult", "IntervalEstimate", "KindFit", "Recording", "analyze", "fit_chip", "read_table"]
