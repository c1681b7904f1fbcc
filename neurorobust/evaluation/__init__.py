"""Measurements over fleets and attacks."""

from .ablation import KindScores, ablate_kinds
from .certify import Branches, Certified, Intervals, certify
from .cost import estimate_evaluate, estimate_strong_worst_case, estimate_worst_case
from .fleet import Comparison, FleetResult, Yield, compare, evaluate
from .landscape import Landscape, landscape
from .rare import RareFailures, SubsetSimulation, rare_failures
from .sensitivity import ParameterGroup, Sensitivity, sensitivity
from .sharpness import Sharpness, Spectrum, hessian_eigenvalues, sharpness
from .spread import Resumable, WorkersLost, workers
from .statistics import (
    ConfidenceInterval,
    balanced_accuracy,
    bootstrap_interval,
    clopper_pearson,
    mean_interval,
    paired_interval,
    recall,
    sampling_variance,
)
from .strong import strong_plan, strong_worst_case
from .trim import Trim, calibrate_readout, fitted_offsets, matching_offsets
from .worst_case import STRONG, WorstCase, random_search, transfer, worst_case
from .yields import YieldComparison, compare_yields

__all__ = [
    "STRONG",
    "Branches",
    "Certified",
    "Comparison",
    "ConfidenceInterval",
    "FleetResult",
    "Intervals",
    "KindScores",
    "Landscape",
    "ParameterGroup",
    "RareFailures",
    "Resumable",
    "Sensitivity",
    "Sharpness",
    "Spectrum",
    "SubsetSimulation",
    "Trim",
    "WorkersLost",
    "WorstCase",
    "Yield",
    "YieldComparison",
    "ablate_kinds",
    "balanced_accuracy",
    "bootstrap_interval",
    "calibrate_readout",
    "certify",
    "clopper_pearson",
    "compare",
    "compare_yields",
    "estimate_evaluate",
    "estimate_strong_worst_case",
    "estimate_worst_case",
    "evaluate",
    "fitted_offsets",
    "hessian_eigenvalues",
    "landscape",
    "matching_offsets",
    "mean_interval",
    "paired_interval",
    "random_search",
    "rare_failures",
    "recall",
    "sampling_variance",
    "sensitivity",
    "sharpness",
    "strong_plan",
    "strong_worst_case",
    "transfer",
    "workers",
    "worst_case",
]
