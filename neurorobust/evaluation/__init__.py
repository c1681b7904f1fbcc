"""Measurements over fleets and attacks."""

from .fleet import Comparison, FleetResult, Yield, compare, evaluate
from .statistics import balanced_accuracy, clopper_pearson, mean_interval, recall
from .worst_case import WorstCase, random_search, worst_case

__all__ = [
    "Comparison",
    "FleetResult",
    "WorstCase",
    "Yield",
    "balanced_accuracy",
    "clopper_pearson",
    "compare",
    "evaluate",
    "mean_interval",
    "random_search",
    "recall",
    "worst_case",
]
