"""Spiking: surrogate gradients of the step, and resets of the membrane after a spike."""

from .resets import DelayedSubtract, DelayedToValue, Dynamics, NoReset, Reset, SnntorchSubtract, Subtract, ToValue
from .surrogate import ArcTan, FastSigmoid, Surrogate, Triangle

__all__ = [
    "ArcTan",
    "DelayedSubtract",
    "DelayedToValue",
    "Dynamics",
    "FastSigmoid",
    "NoReset",
    "Reset",
    "SnntorchSubtract",
    "Subtract",
    "Surrogate",
    "ToValue",
    "Triangle",
]
