"""Spiking: surrogate gradients of the step, resets of the membrane after a spike, floors and adaptations."""

from .adaptations import Adaptation, AdaptiveThreshold, Ahp
from .floors import Floor, HardFloor, LeakyFloor, NoFloor
from .resets import DelayedSubtract, DelayedToValue, Dynamics, NoReset, Reset, SnntorchSubtract, Subtract, ToValue
from .surrogate import ArcTan, FastSigmoid, Surrogate, Triangle

__all__ = [
    "Adaptation",
    "AdaptiveThreshold",
    "Ahp",
    "ArcTan",
    "DelayedSubtract",
    "DelayedToValue",
    "Dynamics",
    "FastSigmoid",
    "Floor",
    "HardFloor",
    "LeakyFloor",
    "NoFloor",
    "NoReset",
    "Reset",
    "SnntorchSubtract",
    "Subtract",
    "Surrogate",
    "ToValue",
    "Triangle",
]
