"""Training: one loop for every method, its checkpoints, the methods by name, many processes."""

from .descent import Descent, Leaves, Schedule, leaves
from .loop import History, estimate, fit

__all__ = ["Descent", "History", "Leaves", "Schedule", "estimate", "fit", "leaves"]
