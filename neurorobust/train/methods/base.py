"""The base of every training method: its title, its regularizer, and the candidates of its tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ..._util.errors import unknown
from ...attacks import PGA
from ...chip import ChipModel
from ...regularizers import Regularizer
from ...regularizers.regularizer import Criterion
from ..descent import Schedule

EPOCHS = 80
SCHEDULE = Schedule(batch_size=25, select_every=5)
ZETA, BETA, NOISE, STEPS = 0.1, 0.4, 0.3, 3
"""Defaults: attack size ζ, weight β of the robustness term (the paper's symbol), noise level, attack steps."""


@dataclass(frozen=True)
class Trial:
    """One candidate of a method's tuning.

    Attributes:
        settings: keywords of :meth:`Method.regularize`.
        schedule: differences from the common :class:`~neurorobust.train.loop.Schedule`.

    Example:
        >>> from neurorobust.train.methods import method
        >>> trial = method("forward_noise").trials[0]
        >>> trial.settings, trial.schedule
        ({'level': 0.3}, {})
    """

    settings: Mapping[str, float] = field(default_factory=dict)
    schedule: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """A training method.

    Attributes:
        title: one line of text.
        build: (loss, chip, settings) → regularizer.
        trials: four candidates, the same number for every method; the first is the default.
        needs_chip: True if the method needs the variability of a chip.
        order: position in lists and tables; methods without one are last, by name.

    Example:
        >>> from neurorobust.train.methods import method
        >>> found = method("forward_noise")
        >>> found.title, len(found.trials), found.needs_chip
        ('random mismatch on every kind in every batch', 4, False)
    """

    title: str
    build: Callable[..., Regularizer]
    trials: tuple[Trial, ...]
    needs_chip: bool = False
    order: float = float("inf")

    def __str__(self) -> str:
        """The title with the settings of the first trial."""
        first = self.trials[0]
        settings = ", ".join(f"{key} {value:g}" for key, value in {**first.settings, **first.schedule}.items())
        return f"{self.title} ({settings.replace('_', ' ')})"

    def regularize(self, loss: Criterion, chip: ChipModel | None = None, **settings: float) -> Regularizer:
        """A task's loss, regularized.

        Args:
            loss: loss(logits, y) → scalar.
            chip: the chip of the network; for a network without a chip ``nr.mismatch(level)``.
            settings: replace settings of the first trial.

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


ATTACK = {"zeta": ZETA, "beta": BETA, "steps": STEPS}
AROUND = ({"beta": 0.25}, {"beta": 1.0}, {"zeta": 0.2})


def trials(base: Mapping[str, float], *others: Mapping[str, float]) -> tuple[Trial, ...]:
    """The base settings, then variants: the base settings with some of them replaced."""
    return (Trial(base), *(Trial({**base, **other}) for other in others))


def pga(steps: float, objective: str = "kl") -> PGA:
    """The attack of the adversarial methods; settings are floats, so ``steps`` may be one."""
    return PGA(int(steps), objective=objective)
