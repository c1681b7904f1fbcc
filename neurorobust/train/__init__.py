"""Training: one loop for every method, its checkpoints, the methods by name, many processes."""

from .leaves import Leaves
from .loop import History, Schedule, estimate, fit

__all__ = ["History", "Leaves", "Schedule", "estimate", "fit"]
