"""Figures of merit and their intervals."""

from __future__ import annotations

import numpy as np
import torch
from scipy import special
from torch import Tensor


def score(outputs: Tensor, y: Tensor) -> float:
    """The figure of merit, the larger the better.

    Integer labels: :func:`balanced_accuracy`. Floating targets of the outputs' shape: R² = 1 − Σ(output − y)² / Σ(y −
    mean y)², 1 for a perfect network, 0 for one that always gives the mean.
    """
    if not y.is_floating_point():
        return balanced_accuracy(outputs, y)
    if outputs.shape != y.shape:
        raise ValueError(f"targets: got shape {tuple(y.shape)}; the network gives {tuple(outputs.shape)}.")
    residual = (outputs.double() - y.double()).square().sum()
    return float(1 - residual / (y.double() - y.double().mean()).square().sum())


def check_outputs(outputs: Tensor, y: Tensor) -> None:
    """Raise ValueError unless a network's outputs can be judged against the labels or targets."""
    if y.is_floating_point():
        if outputs.shape[1:] != y.shape[1:]:
            raise ValueError(
                f"targets: got floating y of shape {tuple(y.shape)}, a regression; the network gives "
                f"{tuple(outputs.shape)}. Class labels are integers: y.long()."
            )
        return
    if outputs.ndim != y.ndim + 1 or outputs.shape[1:-1] != y.shape[1:]:
        raise ValueError(
            f"network: gives outputs of shape {tuple(outputs.shape)} for labels of shape {tuple(y.shape)}; expected "
            f"logits with one axis more, the classes. A decode function turns outputs into logits."
        )
    if y.max() >= outputs.shape[-1]:
        raise ValueError(
            f"labels: got class {int(y.max())}; the network has logits for classes 0 to {outputs.shape[-1] - 1}."
        )


def one_class(outputs: Tensor, y: Tensor) -> int | None:
    """The class that is predicted for every sample (or step), as a silent or saturated network does; None if there are
    several, or in a regression."""
    predicted = outputs.argmax(-1).unique()
    return int(predicted) if len(predicted) == 1 and not y.is_floating_point() else None


def recall(predicted: Tensor, y: Tensor, n_classes: int) -> Tensor:
    """Fraction of each class's samples (or steps) that were recognised, (n_classes,); NaN for a class without any."""
    predicted, y = predicted.reshape(-1), y.reshape(-1)
    if y.max() >= n_classes:
        raise ValueError(f"labels: got class {int(y.max())}; the network has logits for classes 0 to {n_classes - 1}.")
    hits = torch.bincount(y[predicted == y], minlength=n_classes).double()
    return hits / torch.bincount(y, minlength=n_classes)


def balanced_accuracy(logits: Tensor, y: Tensor) -> float:
    """Mean recall of the classes that are present; logits (B, n_classes), labels (B,), or both with time steps."""
    return float(recall(logits.argmax(-1), y, logits.shape[-1]).nanmean())


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of a fraction (Clopper and Pearson 1934): holds the truth at least ``confidence`` of the time."""
    tail = (1 - confidence) / 2
    low = special.betaincinv(successes, n - successes + 1, tail) if successes else 0.0
    high = special.betaincinv(successes + 1, n - successes, 1 - tail) if successes < n else 1.0
    return float(low), float(high)


def mean_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Student's interval of a mean; one value alone has none, and gives (NaN, NaN)."""
    if len(values) < 2:
        return float("nan"), float("nan")
    half = special.stdtrit(len(values) - 1, 0.5 + confidence / 2) * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean() - half), float(values.mean() + half)
