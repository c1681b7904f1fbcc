"""Spiking: surrogate gradients of the step, resets of the membrane after a spike, floors, inhibitions, adaptations."""

from .adaptations import Adaptation, AdaptiveThreshold, Ahp
from .floors import Floor, HardFloor, LeakyFloor, NoFloor
from .inhibitions import CancelsExcitation, Inhibition, PullsDown
from .resets import DelayedSubtract, DelayedToValue, Dynamics, NoReset, Reset, SnntorchSubtract, Subtract, ToValue
from .surrogate import ArcTan, FastSigmoid, Surrogate, Triangle

__all__ = [
    "Adaptation",
    "AdaptiveThreshold",
    "Ahp",
    "ArcTan",
    "CancelsExcitation",
    "DelayedSubtract",
    "DelayedToValue",
    "Dynamics",
    "FastSigmoid",
    "Floor",
    "HardFloor",
    "Inhibition",
    "LeakyFloor",
    "NoFloor",
    "NoReset",
    "PullsDown",
    "Reset",
    "SnntorchSubtract",
    "Subtract",
    "Surrogate",
    "ToValue",
    "Triangle",
]
