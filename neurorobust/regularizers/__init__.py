"""Training losses that make a network robust, one file each; they nest."""

from .adversarial import Adversarial
from .decided import Decided
from .dropout import Dropout
from .firing_rate import FiringRate
from .forward_noise import ForwardNoise
from .quantized import Quantized
from .regularizer import Regularizer, Step, TaskLoss, as_regularizer

__all__ = [
    "Adversarial",
    "Decided",
    "Dropout",
    "FiringRate",
    "ForwardNoise",
    "Quantized",
    "Regularizer",
    "Step",
    "TaskLoss",
    "as_regularizer",
]
