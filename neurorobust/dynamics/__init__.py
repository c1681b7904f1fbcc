"""How a neuron spikes: surrogate gradients of the step, and what a spike does to the membrane."""

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
