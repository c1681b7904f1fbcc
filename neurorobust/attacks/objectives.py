"""Objectives that attacks maximise: functions of (attacked outputs, clean outputs, targets).

Logits are (B, n_classes) with labels (B,), or per step (B, T, n_classes) with labels (B, T): every step of every sample
counts the same. Regression outputs have any shape; ``mse`` and ``l2`` are for them, the others refuse them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from .._util.errors import unknown

Objective = Callable[[Tensor, Tensor, Tensor], Tensor]

FLOOR = 1e-6


def kl(attacked: Tensor, clean: Tensor, y: Tensor) -> Tensor:
    """KL(softmax clean ‖ softmax attacked), batch mean; the attacked probability is floored at 1e-6 in the logarithm.

    The labels are not used, but targets in floating point are refused. arXiv 2106.05009.

    Args:
        attacked, clean: logits, (B, n_classes) or (B, T, n_classes). y: labels, (B,) or (B, T).

    Raises:
        ValueError: targets of a regression.

    Example:
        >>> clean, attacked = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 0.0]])
        >>> round(float(nr.attacks.kl(attacked, clean, torch.tensor([0]))), 3)
        0.434
    """
    _no_regression("kl", y)
    log_clean = functional.log_softmax(clean, -1)
    attacked_probability = functional.softmax(attacked, -1).clamp(min=FLOOR)
    return (log_clean.exp() * (log_clean - attacked_probability.log())).sum(-1).mean()


def reverse_kl(attacked: Tensor, clean: Tensor, y: Tensor) -> Tensor:
    """KL(softmax attacked ‖ softmax clean), batch mean, with :func:`kl`'s floor; the labels are not used.

    Args:
        attacked, clean: logits, (B, n_classes) or (B, T, n_classes). y: labels, (B,) or (B, T).

    Raises:
        ValueError: targets of a regression.

    Example:
        >>> clean, attacked = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 0.0]])
        >>> round(float(nr.attacks.reverse_kl(attacked, clean, torch.tensor([0]))), 3)  # kl gives 0.434
        0.328
    """
    _no_regression("reverse_kl", y)
    attacked_probability = functional.softmax(attacked, -1)
    gap = attacked_probability.clamp(min=FLOOR).log() - functional.log_softmax(clean, -1)
    return (attacked_probability * gap).sum(-1).mean()


def jensen_shannon(attacked: Tensor, clean: Tensor, y: Tensor) -> Tensor:
    """½ KL(p ‖ m) + ½ KL(q ‖ m), m = (p + q)/2 of both softmaxes, batch mean, ≤ log 2; the labels are not used.

    Args:
        attacked, clean: logits, (B, n_classes) or (B, T, n_classes). y: labels, (B,) or (B, T).

    Raises:
        ValueError: targets of a regression.

    Example:
        >>> clean, attacked = torch.tensor([[9.0, -9.0]]), torch.tensor([[-9.0, 9.0]])
        >>> round(float(nr.attacks.jensen_shannon(attacked, clean, torch.tensor([0]))), 3)  # its largest value, log 2
        0.693
    """
    _no_regression("js", y)
    log_p, log_q = functional.log_softmax(clean, -1), functional.log_softmax(attacked, -1)
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    return (log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)).sum(-1).mean() / 2


def l2(attacked: Tensor, clean: Tensor, y: Tensor) -> Tensor:
    """‖attacked − clean‖₂ of each sample's whole output, batch mean (not squared); the targets are not used.

    Args:
        attacked, clean: outputs of one shape, (B, …). y: not used.

    Example:
        >>> clean, attacked = torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]])
        >>> float(nr.attacks.l2(attacked, clean, torch.tensor([0])))
        5.0
    """
    return torch.linalg.vector_norm((attacked - clean).reshape(len(attacked), -1), dim=1).mean()


def mse(attacked: Tensor, clean: Tensor, y: Tensor) -> Tensor:
    """Mean squared error of the attacked outputs to targets of their shape.

    Args:
        attacked, clean: outputs of one shape, (B, …). y: targets, of that shape.

    Raises:
        ValueError: targets of another shape, or class labels.

    Example:
        >>> clean, attacked, target = torch.tensor([[0.0]]), torch.tensor([[3.0]]), torch.tensor([[1.0]])
        >>> float(nr.attacks.mse(attacked, clean, target))  # from the target, not from the clean output
        4.0
    """
    if not y.is_floating_point():
        raise ValueError(f"y: got {y.dtype}; 'mse' needs targets in floating point. For class labels use 'ce'.")
    if attacked.shape != y.shape:
        raise ValueError(f"y: got shape {tuple(y.shape)}; 'mse' expected that of the outputs, {tuple(attacked.shape)}.")
    return (attacked - y).square().mean()


def cross_entropy(attacked: Tensor, clean: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of the attacked logits to the true labels, batch mean.

    Args:
        attacked, clean: logits, (B, n_classes) or (B, T, n_classes). y: labels, (B,) or (B, T).

    Raises:
        ValueError: targets of a regression, or labels of another shape.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0]])
        >>> round(float(nr.attacks.cross_entropy(logits, logits, torch.tensor([1]))), 3)  # log(1 + e²)
        2.127
    """
    return functional.cross_entropy(*_flat("ce", attacked, y))


def margin(attacked: Tensor, clean: Tensor, y: Tensor) -> Tensor:
    """Mean of (largest wrong logit − true logit), each clamped to ±1 standard deviation of the clean logits.

    The clamp limits the weight of samples that are clearly wrong or clearly right, so those near the border count.

    Args:
        attacked, clean: logits, (B, n_classes) or (B, T, n_classes). y: labels, (B,) or (B, T).

    Raises:
        ValueError: targets of a regression, or labels of another shape.

    Example:
        >>> clean, attacked = torch.tensor([[2.0, 0.0]]), torch.tensor([[1.5, 1.0]])
        >>> round(float(nr.attacks.margin(attacked, clean, torch.tensor([0]))), 2)  # below 0: still right
        -0.35
    """
    attacked, y = _flat("margin", attacked, y)
    true = attacked.gather(1, y[:, None])[:, 0]
    wrong = attacked.scatter(1, y[:, None], -torch.inf).amax(1)
    scale = clean.detach().std().clamp(min=1e-6)
    gap = (wrong - true) / scale
    return functional.hardtanh(gap, -1.0, 1.0).mean()


OBJECTIVES: dict[str, Objective] = {
    "kl": kl,
    "reverse_kl": reverse_kl,
    "js": jensen_shannon,
    "l2": l2,
    "ce": cross_entropy,
    "margin": margin,
    "mse": mse,
}


def objective_name(function: Objective) -> str:
    """The name of an objective, the same in every process; part of the key of a search's random numbers."""
    inner = getattr(function, "func", function)
    return getattr(inner, "__qualname__", type(inner).__qualname__)


def as_objective(choice: str | Objective) -> Objective:
    """An objective by its short name, or the function itself."""
    if callable(choice):
        return choice
    if choice not in OBJECTIVES:
        raise unknown("objective", choice, OBJECTIVES)
    return OBJECTIVES[choice]


def _no_regression(name: str, y: Tensor | None) -> None:
    if y is not None and y.is_floating_point():
        raise ValueError(f"y: got {y.dtype}; {name!r} needs integer class labels. For regression use 'mse' or 'l2'.")


def _flat(name: str, logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (n, n_classes) and labels (n,), steps and samples along one axis."""
    _no_regression(name, y)
    if logits.shape[:-1] != y.shape:
        raise ValueError(
            f"y: got labels of shape {tuple(y.shape)}; {name!r} expected {tuple(logits.shape[:-1])}, one for each row "
            f"of the logits, shape {tuple(logits.shape)}."
        )
    return logits.reshape(-1, logits.shape[-1]), y.reshape(-1)
