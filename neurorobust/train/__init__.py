"""Training: one loop for every method, its checkpoints, the methods by name, many processes.

Example:
    >>> from neurorobust.train.methods import method
    >>> dict(method("adversarial").trials[0].settings)
    {'zeta': 0.1, 'beta': 0.4, 'steps': 3}
"""

from .descent import Descent, Leaves, Schedule, leaves
from .loop import History, estimate, fit

__all__ = ["Descent", "History", "Leaves", "Schedule", "estimate", "fit", "leaves"]
