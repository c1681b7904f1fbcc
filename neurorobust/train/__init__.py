"""Training: one loop for every method, its checkpoints, the methods by name, many processes."""

from .loop import History, Schedule, fit

__all__ = ["History", "Schedule", "fit"]
