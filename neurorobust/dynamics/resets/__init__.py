"""Resets: the effect of a spike on the membrane, one file each."""

from .base import Coefficients, Dynamics, Reset
from .delayed_subtract import DelayedSubtract
from .delayed_to_value import DelayedToValue
from .no_reset import NoReset
from .snntorch_subtract import SnntorchSubtract
from .subtract import Subtract
from .to_value import ToValue

__all__ = [
    "Coefficients",
    "DelayedSubtract",
    "DelayedToValue",
    "Dynamics",
    "NoReset",
    "Reset",
    "SnntorchSubtract",
    "Subtract",
    "ToValue",
]
