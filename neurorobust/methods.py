"""The training methods the command line offers, as tuned on the validation part; one schedule serves all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .attacks import PGA, Ball
from .errors import unknown
from .regularizers import Adversarial, ForwardNoise, Regularizer, as_regularizer
from .regularizers.regularizer import Criterion
from .training import Schedule


@dataclass(frozen=True)
class Method:
    """A way to train.

    Attributes:
        title: one line for people.
        regularize: loss(logits, y) → regularizer.
    """

    title: str
    regularize: Callable[[Criterion], Regularizer]


ZETA, BETA, NOISE = 0.1, 0.4, 0.3


def _adversarial(inner: Criterion | Regularizer) -> Regularizer:
    return Adversarial(inner, PGA(steps=3), Ball.uniform(ZETA), BETA)


def _noisy(inner: Criterion) -> Regularizer:
    return ForwardNoise(inner, NOISE)


EPOCHS = 80
SCHEDULE = Schedule(batch_size=25, select_every=5)
METHODS: Mapping[str, Method] = {
    "standard": Method("cross-entropy alone", as_regularizer),
    "forward_noise": Method(f"random mismatch {NOISE:g} on every kind in every batch", _noisy),
    "beta": Method(f"an attack of 3 steps, ζ = {ZETA:g} on every kind, β = {BETA:g}", _adversarial),
    "beta_forward": Method("beta and forward_noise together", lambda loss: _adversarial(_noisy(loss))),
}


def method(name: str) -> Method:
    """A method by name."""
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    return METHODS[name]
