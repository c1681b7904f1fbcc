"""What an attack raises: functions of the attacked logits, the clean logits and the labels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import unknown

Objective = Callable[[Tensor, Tensor, Tensor], Tensor]

FLOOR = 1e-6


def kl(attacked: Tensor, clean: Tensor, y: Tensor) -> Tensor:
    """KL(softmax clean ‖ softmax attacked), batch mean; the attacked probability is floored at 1e-6 in the logarithm.

    Both arguments (B, n_classes); the labels are not used. arXiv 2106.05009.
    """
    log_clean = functional.log_softmax(clean, -1)
    attacked_probability = functional.softmax(attacked, -1).clamp(min=FLOOR)
    return (log_clean.exp() * (log_clean - attacked_probability.log())).sum(-1).mean()


def cross_entropy(attacked: Tensor, clean: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of the attacked logits (B, n_classes) to the true labels (B,), batch mean."""
    return functional.cross_entropy(attacked, y)


def margin(attacked: Tensor, clean: Tensor, y: Tensor) -> Tensor:
    """Mean of the best wrong logit minus the true one, no further than to ±1 clean standard deviation.

    The clamp keeps samples that are lost anyway, or safe by far, from drowning those at the border.
    """
    true = attacked.gather(1, y[:, None])[:, 0]
    wrong = attacked.scatter(1, y[:, None], -torch.inf).amax(1)
    scale = clean.detach().std().clamp(min=1e-6)
    gap = (wrong - true) / scale
    return functional.hardtanh(gap, -1.0, 1.0).mean()


OBJECTIVES: dict[str, Objective] = {"kl": kl, "ce": cross_entropy, "margin": margin}


def name_of(function: Objective) -> str:
    """A name for an objective that is the same in every process."""
    inner = getattr(function, "func", function)
    return getattr(inner, "__qualname__", type(inner).__qualname__)


def objective(choice: str | Objective) -> Objective:
    """An objective by its short name, or the function itself."""
    if callable(choice):
        return choice
    if choice not in OBJECTIVES:
        raise unknown("divergence", choice, OBJECTIVES)
    return OBJECTIVES[choice]
