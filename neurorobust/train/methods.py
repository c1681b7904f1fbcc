"""The training methods the command line offers, each with the settings to be tuned on the validation part.

One schedule serves all of them. What they are, from which source and at what price: ``docs/methods.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from .._util.errors import unknown
from ..attacks import PGA, Ball
from ..chip import ChipModel
from ..chip.encodings import SignedPair
from ..regularizers import (
    ABCD,
    AWP,
    SAM,
    Adversarial,
    ChipCorners,
    Dropout,
    EntropySGD,
    ForwardNoise,
    ProgrammedOn,
    Quantized,
    Regularizer,
    WarmAdversarial,
    Whitened,
    as_regularizer,
)
from ..regularizers.regularizer import Criterion
from .loop import Schedule

EPOCHS = 80
SCHEDULE = Schedule(batch_size=25, select_every=5)
ZETA, BETA, NOISE, STEPS = 0.1, 0.4, 0.3, 3
"""Defaults: attack size ζ, weight β of the robustness term (the paper's symbol), noise level, attack steps."""


@dataclass(frozen=True)
class Trial:
    """One candidate of a method's tuning.

    Attributes:
        settings: keywords of :meth:`Method.regularize`.
        schedule: what differs from the common :class:`~neurorobust.train.loop.Schedule`.
    """

    settings: Mapping[str, float] = field(default_factory=dict)
    schedule: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """A way to train.

    Attributes:
        title: one line for people.
        build: (loss, chip, settings) → regularizer.
        trials: four candidates, as many for every method; the first is the default.
        needs_chip: whether it has to know how a chip varies.
    """

    title: str
    build: Callable[..., Regularizer]
    trials: tuple[Trial, ...]
    needs_chip: bool = False

    def __str__(self) -> str:
        """The title with the settings of the first trial."""
        first = self.trials[0]
        settings = ", ".join(f"{key} {value:g}" for key, value in {**first.settings, **first.schedule}.items())
        return f"{self.title} ({settings.replace('_', ' ')})"

    def regularize(self, loss: Criterion, chip: ChipModel | None = None, **settings: float) -> Regularizer:
        """A task's loss, regularized.

        Args:
            loss: loss(logits, y) → scalar.
            chip: the chip the network is for; for what sits on no chip ``nr.mismatch(level)``.
            settings: instead of those of the first trial, by the same names.

        Raises:
            ValueError: a setting does not exist; the method needs a chip that varies and got none.
        """
        known = self.trials[0].settings
        for name in settings:
            if name not in known:
                raise unknown("settings", name, known)
        if self.needs_chip and (chip is None or not any(model.cv.value > 0 for model in chip.kinds.values())):
            got = "none" if chip is None else f"{chip.name}, which does not vary"
            raise ValueError(f"chip: got {got}; this method needs one that varies, nr.mismatch(0.1) for example.")
        return self.build(loss, chip, **{**known, **settings})


def _pga(steps: float, objective: str = "kl") -> PGA:
    return PGA(int(steps), objective=objective)


def _standard(loss: Criterion, chip: ChipModel | None) -> Regularizer:
    return as_regularizer(loss)


def _dropout(loss: Criterion, chip: ChipModel | None, *, p: float) -> Regularizer:
    return Dropout(loss, p)


def _forward_noise(loss: Criterion, chip: ChipModel | None, *, level: float) -> Regularizer:
    return ForwardNoise(loss, level)


def _awp(loss: Criterion, chip: ChipModel | None, *, zeta: float, gamma: float, steps: float) -> Regularizer:
    return AWP(loss, _pga(steps, "ce"), Ball.uniform(zeta), gamma)


def _entropy_sgd(loss: Criterion, chip: ChipModel | None, *, steps: float, rate: float, scope: float) -> Regularizer:
    return EntropySGD(loss, int(steps), rate, scope=scope)


def _abcd(loss: Criterion, chip: ChipModel | None, *, rate: float, radius: float) -> Regularizer:
    return ABCD(loss, rate, radius)


def _sam(loss: Criterion, chip: ChipModel | None, *, radius: float) -> Regularizer:
    return SAM(loss, radius)


def _adversarial_weights(
    loss: Criterion, chip: ChipModel | None, *, zeta: float, beta: float, steps: float
) -> Regularizer:
    return Adversarial(loss, _pga(steps), Ball(weight=zeta, bias=zeta), beta)


def _adversarial(
    loss: Criterion | Regularizer, chip: ChipModel | None, *, zeta: float, beta: float, steps: float
) -> Regularizer:
    return Adversarial(loss, _pga(steps), Ball.uniform(zeta), beta)


def _adversarial_noise(loss: Criterion, chip: ChipModel | None, *, level: float, **settings: float) -> Regularizer:
    return _adversarial(ForwardNoise(loss, level), chip, **settings)


def _adversarial_chip(loss: Criterion, chip: ChipModel, *, sigmas: float, beta: float, steps: float) -> Regularizer:
    return Adversarial(loss, _pga(steps), ChipCorners(chip, sigmas), beta)


def _adversarial_whitened(loss: Criterion, chip: ChipModel, *, norm: float, beta: float, steps: float) -> Regularizer:
    return Whitened(loss, _pga(steps), chip, norm, beta)


def _adversarial_quantized(loss: Criterion, chip: ChipModel | None, *, bits: float, **settings: float) -> Regularizer:
    robust = _adversarial(loss, chip, **settings)
    if chip is None or not chip.encodes_weights:
        return Quantized(robust, {"weight": partial(SignedPair.holding, bits=int(bits))})
    return ProgrammedOn(robust, chip)


def _adversarial_warm(
    loss: Criterion, chip: ChipModel | None, *, zeta: float, beta: float, steps: float, stride: float
) -> Regularizer:
    return WarmAdversarial(loss, Ball.uniform(zeta), beta, steps=int(steps), stride=stride)


def _trials(base: Mapping[str, float], *others: Mapping[str, float]) -> tuple[Trial, ...]:
    """The base, and the base with something else in its place."""
    return (Trial(base), *(Trial({**base, **other}) for other in others))


_AROUND = ({"beta": 0.25}, {"beta": 1.0}, {"zeta": 0.2})
_ATTACK = {"zeta": ZETA, "beta": BETA, "steps": STEPS}

METHODS: Mapping[str, Method] = {
    "standard": Method(
        "cross-entropy alone", _standard, tuple(Trial({}, {"learning_rate": rate}) for rate in (3e-3, 1e-3, 6e-3, 1e-2))
    ),
    "dropout": Method(
        "dropout of recurrent spikes, or between dense layers",
        _dropout,
        _trials({"p": 0.3}, {"p": 0.1}, {"p": 0.2}, {"p": 0.5}),
    ),
    "forward_noise": Method(
        "random mismatch on every kind in every batch",
        _forward_noise,
        _trials({"level": NOISE}, {"level": 0.1}, {"level": 0.2}, {"level": 0.5}),
    ),
    "awp": Method(
        "adversarial weight perturbation, on every kind",
        _awp,
        _trials(
            {"zeta": ZETA, "gamma": 0.1, "steps": STEPS}, {"gamma": 1.0}, {"gamma": 1.0, "zeta": 0.05}, {"gamma": 0.5}
        ),
    ),
    "entropy_sgd": Method(
        "Langevin steps around the parameters",
        _entropy_sgd,
        _trials({"steps": 10, "rate": 0.1, "scope": 1e-2}, {"rate": 0.03}, {"rate": 0.3}, {"scope": 1.0}),
    ),
    "abcd": Method(
        "adversarial block coordinate descent",
        _abcd,
        _trials({"rate": 1e-3, "radius": ZETA}, {"rate": 0.1}, {"rate": 1.0}, {"rate": 10.0}),
    ),
    "sam": Method(
        "sharpness-aware minimisation",
        _sam,
        _trials({"radius": 0.05}, {"radius": 0.02}, {"radius": 0.1}, {"radius": 0.5}),
    ),
    "adversarial_weights": Method(
        "an attack on weights and biases only, as published", _adversarial_weights, _trials(_ATTACK, *_AROUND)
    ),
    "adversarial": Method("an attack on every kind", _adversarial, _trials(_ATTACK, *_AROUND)),
    "adversarial_noise": Method(
        "adversarial and forward_noise together",
        _adversarial_noise,
        _trials({**_ATTACK, "level": NOISE}, *_AROUND[:2], {"level": 0.1}),
    ),
    "adversarial_chip": Method(
        "an attack within the chip's tolerance corners",
        _adversarial_chip,
        _trials({"sigmas": 1.0, "beta": BETA, "steps": STEPS}, {"beta": 1.0}, {"sigmas": 0.5}, {"sigmas": 2.0}),
        needs_chip=True,
    ),
    "adversarial_whitened": Method(
        "an attack on the standard normals behind a die",
        _adversarial_whitened,
        _trials({"norm": 20.0, "beta": BETA, "steps": STEPS}, {"norm": 5.0}, {"norm": 10.0}, {"norm": 40.0}),
        needs_chip=True,
    ),
    "adversarial_quantized": Method(
        "adversarial through the chip's rounding, or with 4-bit weights where it has none",
        _adversarial_quantized,
        _trials({**_ATTACK, "bits": 4}, *_AROUND),
    ),
    "adversarial_warm": Method(
        "adversarial whose attack continues from batch to batch",
        _adversarial_warm,
        _trials({"zeta": ZETA, "beta": BETA, "steps": 1, "stride": 0.5}, {"stride": 2.0}, {"beta": 1.0}, {"steps": 2}),
    ),
}


def method(name: str) -> Method:
    """A method by name."""
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    return METHODS[name]
