"""Measurements over fleets and attacks."""

from .certify import Branches, Certified, Intervals, certify
from .cost import estimate_evaluate, estimate_worst_case
from .fleet import Comparison, FleetResult, Yield, compare, evaluate
from .sensitivity import Part, Sensitivity, sensitivity
from .statistics import balanced_accuracy, clopper_pearson, mean_interval, recall
from .worst_case import WorstCase, random_search, transfer, worst_case

__all__ = [
    "Branches",
    "Certified",
    "Comparison",
    "FleetResult",
    "Intervals",
    "Part",
    "Sensitivity",
    "WorstCase",
    "Yield",
    "balanced_accuracy",
    "certify",
    "clopper_pearson",
    "compare",
    "estimate_evaluate",
    "estimate_worst_case",
    "evaluate",
    "mean_interval",
    "random_search",
    "recall",
    "sensitivity",
    "transfer",
    "worst_case",
]
