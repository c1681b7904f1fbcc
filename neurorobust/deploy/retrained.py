"""A network that was changed for a chip and trained on: what changed, and what it cost."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

from .._util.errors import check_count, check_path
from .._util.printed import Printed, fitted
from .._util.warn import warn
from ..chip import Agreement, ChipModel, Violation
from ..chip.design import check_type
from ..chip.equations import agreement
from ..data import Task
from ..evaluation.fleet import FleetResult
from ..nn.network import Network
from ..regularizers import Regularizer, as_regularizer
from ..regularizers.regularizer import Criterion
from ..train import Schedule, fit
from ..train.loop import History
from ..train.methods import METHODS
from . import moments
from .errors import DeploymentError
from .mapping import onto
from .moments import Moments
from .report import WIDTH
from .translating import flat

EPOCHS, SCHEDULE = 10, Schedule(learning_rate=0.01, batch_size=25, select_every=5)
POINT = 0.01
METHOD = METHODS["adversarial"]
"""The training where the caller chooses none: the adversarial method with its first settings."""


class Training(TypedDict, total=False):
    """Options of :func:`neurorobust.fit` that are passed on to it."""

    seed: int
    out: str | Path
    schedule: Schedule


@dataclass(frozen=True, eq=False, repr=False)
class Retrained(Printed):
    """A network that was changed for a chip, and trained on; ``print`` it.

    Attributes:
        network: the new network.
        changes: what was changed, one sentence each.
        scores: on the validation part, by moment: ``before``, ``converted`` or ``pruned``, ``after``. Balanced
            accuracy, or R². samples: how many.
        equations: those of the new network compared with the chip's.
        history: of the training; None if there was none.
        violations: why :func:`neurorobust.deploy.onto` would still refuse the network; empty if it fits.
        task: the task with samples as the new network takes them, (n, T, n_in); flattened where they were (n, T, …).
        fleets: the same moments on the same dies of the chip, on the validation part; ``print`` shows their means, and
            the paired differences to ``before`` with 95 % intervals.
        refused: why a moment has no fleet, by moment: the chip cannot hold the network then.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg/standard")
        >>> data = nr.data.Data((torch.rand(20, 140, 32) < 0.05).float(), torch.arange(20) % 2)
        >>> task = nr.data.Task("mine", ("a", "b"), data, data, data, nn.functional.cross_entropy)
        >>> found = nr.deploy.adapt(network, chipmodels.load("dynapse2"), task, epochs=0)
        >>> found.changes[0], found.violations
        ('layer hidden: no floor → floor at rest', ())
    """

    network: Network
    changes: tuple[str, ...]
    scores: Mapping[str, float]
    samples: int
    equations: Agreement
    history: History | None
    violations: tuple[Violation, ...]
    task: Task
    fleets: Mapping[str, FleetResult] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)

    def entry(self) -> dict[str, Any]:
        """For JSON, without the network."""
        trained = self.history
        return {
            "changes": list(self.changes),
            "scores": dict(self.scores),
            "samples": self.samples,
            "equations": self.equations.entry(),
            "epochs": 0 if trained is None else len(trained.rows),
            "kept_epoch": None if trained is None else trained.best_epoch,
            "seconds": 0.0 if trained is None else trained.seconds,
            "violations": [vars(violation) for violation in self.violations],
            "dies": moments.entry(self.fleets),
        }

    def __str__(self) -> str:
        scores = " · ".join(f"{moment} {value:.3f}" for moment, value in self.scores.items())
        told = [f"score      {scores}, on {self.samples} validation samples"]
        told += [f"{'' if i else 'changed':<10} {change}" for i, change in enumerate(self.changes or ("nothing",))]
        told.append(f"equations  {str(self.equations).removeprefix('equations: ')}")
        told.append(f"trained    {self.history or 'not at all'}")
        fits = ("yes",) if not self.violations else tuple(map(str, self.violations))
        told += [f"{'' if i else 'fits':<10} {line}" for i, line in enumerate(fits)]
        on_dies = moments.lines(self.fleets, self.refused)
        told += [f"{'' if i else 'dies':<10} {line}" for i, line in enumerate(on_dies)]
        return fitted("\n".join(textwrap.fill(line, WIDTH, subsequent_indent=" " * 11) for line in told))

    def __repr__(self) -> str:
        return str(self)


def check_arguments(data: object, loss: Criterion | Regularizer | None, epochs: int, training: Training) -> Task:
    """The task, with flat samples, after a check of all that :func:`trained_on` takes, whether it trains or not.

    Raises:
        TypeError, ValueError: one of them is wrong.
    """
    check_count("epochs", epochs, 0)
    if loss is not None:
        as_regularizer(loss)
    if strange := training.keys() - Training.__annotations__:
        raise TypeError(f"{sorted(strange)[0]}: is unknown; expected {', '.join(Training.__annotations__)}.")
    check_count("seed", training.get("seed", 0), 0)
    check_type("schedule", training.get("schedule", SCHEDULE), Schedule, "a neurorobust.train.Schedule")
    if training.get("out") is not None:
        check_path("out", training["out"])
    if not isinstance(data, Task):
        hint = "nr.data.Task(name, classes, train, validation, test, loss)"
        raise TypeError(f"data: got a {type(data).__name__}; expected a Task, with a part to train on: {hint}.")
    if data.train.x.ndim == 3:
        return data
    return Task(data.name, data.classes, flat(data.train), flat(data.validation), flat(data.test), data.loss)


def trained_on(
    pair: tuple[Network, ChipModel],
    task: Task,
    how: tuple[Criterion | Regularizer | None, int],
    training: Training,
    taken: Moments,
    changes: Sequence[str],
) -> Retrained:
    """Train a changed network for a chip, in place; ``how`` is the loss and the epochs, ``taken`` the scores so far. It
    warns before training if the chip cannot hold the network, and at the end if dies became worse."""
    (network, chip), (loss, epochs) = pair, how
    violations, history = violations_of(network, chip), None
    if violations:
        told = "; ".join(map(str, violations))
        warn(f"network: {chip.name} cannot hold it, before and after training: {told}")
    if epochs:
        options: Training = {"schedule": SCHEDULE, **training}
        loss = METHOD.regularize(task.loss) if loss is None else loss
        history = fit(network, task, loss, epochs=epochs, **options)
        violations = violations_of(network, chip)
        taken.take("after", network)
        _warn_of_loss(taken)
    else:
        taken.repeat("after", list(taken.scores)[-1])
    return Retrained(
        network,
        tuple(changes),
        taken.scores,
        len(task.validation),
        agreement(chip.name, chip.neuron, network.placement()),
        history,
        violations,
        task,
        taken.fleets,
        taken.refused,
    )


def _warn_of_loss(taken: Moments) -> None:
    """Warn if the trained network is surely worse on dies than before, by more than a point."""
    found = moments.changes_on_dies(taken.fleets).get("after")
    if found is not None and found.ci95[1] < -POINT:
        low, high = found.ci95
        warn(
            f"network: on the same {found.n} dies of {taken.chip.label} its mean score is {-found.difference:.3f} "
            f"lower than before the change (95 % interval {-high:.3f} to {-low:.3f}); train it on with a robust loss "
            f"before you deploy it."
        )


def violations_of(network: Network, chip: ChipModel) -> tuple[Violation, ...]:
    """Why the chip cannot hold a network; empty if it can, or if nothing can be placed on it."""
    if chip.architecture is None:
        return ()
    try:
        onto(network, chip)
    except DeploymentError as error:
        return error.violations
    return ()
