"""Training losses that make a network robust, one file each; they nest."""

from .abcd import ABCD
from .adversarial import Adversarial
from .awp import AWP
from .chip_corners import ChipCorners
from .decided import Decided
from .dropout import Dropout
from .entropy_sgd import EntropySGD
from .firing_rate import FiringRate
from .forward_noise import ForwardNoise
from .programmed_on import ProgrammedOn
from .quantized import Quantized
from .regularizer import Regularizer, Step, TaskLoss, as_regularizer
from .sam import SAM
from .warm_adversarial import WarmAdversarial
from .whitened import Whitened

__all__ = [
    "ABCD",
    "AWP",
    "SAM",
    "Adversarial",
    "ChipCorners",
    "Decided",
    "Dropout",
    "EntropySGD",
    "FiringRate",
    "ForwardNoise",
    "ProgrammedOn",
    "Quantized",
    "Regularizer",
    "Step",
    "TaskLoss",
    "WarmAdversarial",
    "Whitened",
    "as_regularizer",
]
