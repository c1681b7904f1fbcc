"""Figures of merit and their intervals."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats
from torch import Tensor


def recall(predicted: Tensor, y: Tensor, n_classes: int) -> Tensor:
    """Fraction of each class's samples that were recognised, shape (n_classes,); NaN for a class without samples."""
    if y.max() >= n_classes:
        raise ValueError(f"labels: got class {int(y.max())}; the network has logits for classes 0 to {n_classes - 1}.")
    hits = torch.bincount(y[predicted == y], minlength=n_classes).double()
    return hits / torch.bincount(y, minlength=n_classes)


def balanced_accuracy(logits: Tensor, y: Tensor) -> float:
    """Mean recall of the classes that are present; logits (B, n_classes), labels (B,)."""
    return float(recall(logits.argmax(-1), y, logits.shape[-1]).nanmean())


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of a fraction (Clopper and Pearson 1934): holds the truth at least ``confidence`` of the time."""
    interval = stats.binomtest(successes, n).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)


def mean_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Student's interval of a mean; one value alone has none, and gives (NaN, NaN)."""
    if len(values) < 2:
        return float("nan"), float("nan")
    half = stats.t.ppf(0.5 + confidence / 2, len(values) - 1) * stats.sem(values)
    return float(values.mean() - half), float(values.mean() + half)
