"""Measurements over fleets and attacks."""

from .certify import Branches, Certified, Intervals, certify
from .cost import estimate_evaluate, estimate_worst_case
from .fleet import Comparison, FleetResult, Yield, compare, evaluate
from .frozen import FROZEN, frozen_plan, frozen_worst_case
from .landscape import Landscape, landscape
from .rare import RareFailures, rare_failures
from .sensitivity import Part, Sensitivity, sensitivity
from .sharpness import Sharpness, Spectrum, hessian_eigenvalues, sharpness
from .statistics import (
    Interval,
    balanced_accuracy,
    bootstrap_interval,
    clopper_pearson,
    mean_interval,
    paired_interval,
    recall,
    samples_part,
)
from .worst_case import WorstCase, random_search, transfer, worst_case

__all__ = [
    "FROZEN",
    "Branches",
    "Certified",
    "Comparison",
    "FleetResult",
    "Interval",
    "Intervals",
    "Landscape",
    "Part",
    "RareFailures",
    "Sensitivity",
    "Sharpness",
    "Spectrum",
    "WorstCase",
    "Yield",
    "balanced_accuracy",
    "bootstrap_interval",
    "certify",
    "clopper_pearson",
    "compare",
    "estimate_evaluate",
    "estimate_worst_case",
    "evaluate",
    "frozen_plan",
    "frozen_worst_case",
    "hessian_eigenvalues",
    "landscape",
    "mean_interval",
    "paired_interval",
    "random_search",
    "rare_failures",
    "recall",
    "samples_part",
    "sensitivity",
    "sharpness",
    "transfer",
    "worst_case",
]
