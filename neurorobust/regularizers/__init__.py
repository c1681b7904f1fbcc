"""Training losses that make a network robust, one file each; they nest.

Example:
    >>> from torch.nn.functional import cross_entropy
    >>> loss = nr.regularizers.Adversarial(cross_entropy, nr.attacks.PGA(steps=1), nr.Ball.uniform(0.1), beta=0.4)
    >>> model = nr.wrap(nn.Linear(6, 2))
    >>> loss(model, dict(model.named_parameters()), (torch.rand(8, 6), torch.arange(8) % 2)).shape
    torch.Size([])
"""

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
