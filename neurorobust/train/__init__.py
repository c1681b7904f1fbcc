"""Training: one loop for every method, its checkpoints, the methods by name, many processes."""

from .loop import History, Schedule, estimate, fit

__all__ = ["History", "Schedule", "estimate", "fit"]
