"""The training methods the command line offers, with the settings each was tuned to on the validation part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .attacks import PGA, Ball
from .errors import unknown
from .regularizers import Adversarial, ForwardNoise, Regularizer, as_regularizer
from .regularizers.regularizer import Criterion


@dataclass(frozen=True)
class Method:
    """A way to train.

    Attributes:
        title: one line for people.
        epochs: passes over the training part.
        regularize: loss(logits, y) → regularizer.
    """

    title: str
    epochs: int
    regularize: Callable[[Criterion], Regularizer]


def _adversarial(inner: Criterion | Regularizer) -> Regularizer:
    return Adversarial(inner, PGA(steps=3), Ball.uniform(0.1), beta=0.5)


METHODS: Mapping[str, Method] = {
    "standard": Method("cross-entropy alone", 30, as_regularizer),
    "forward_noise": Method("random mismatch 0.2 in every batch", 30, lambda loss: ForwardNoise(loss, 0.2)),
    "beta": Method("the paper's attack, ζ = 0.1 on every kind, 3 steps, β = 0.5", 30, _adversarial),
    "beta_forward": Method("beta and forward_noise together", 30, lambda loss: _adversarial(ForwardNoise(loss, 0.2))),
}


def method(name: str) -> Method:
    """A method by name."""
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    return METHODS[name]
