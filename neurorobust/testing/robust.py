"""Does a network keep a score on the worst die that a frozen suite of attacks finds?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from .._util.errors import check_count
from ..attacks import Attack, Ball, Suite
from ..data.samples import as_samples
from ..evaluation import WorstCase, strong_worst_case
from ..evaluation.fleet import check_spec
from ..evaluation.worst_case import search_worst_case, suite_of
from .common import score_name
from .session import current


@dataclass(frozen=True)
class RobustCheck:
    """The worst die found, against a floor.

    Attributes:
        worst: the die, with the attack that found it. floor: the score it has to reach.
        ball: of the deviations. seed: of the attacks. regression: whether the score is R².

    Example:
        >>> layer, attack = nn.Linear(2, 2, bias=False), nr.attacks.quick()
        >>> _ = nn.init.eye_(layer.weight)
        >>> data = nr.data.Data(torch.tensor([[1.0, 0.8], [0.2, 1.0]]), torch.tensor([0, 1]))
        >>> check = nr.testing.check_robust(nr.wrap(layer), data, nr.Ball.uniform(0.2), floor=0.9, attack=attack)
        >>> check.passed, check.worst.attack
        (False, "PGA(steps=10, init_std=0.001, objective='ce', stride=1.0, project=True)")
    """

    worst: WorstCase
    floor: float
    ball: Ball
    seed: int
    regression: bool = False

    @property
    def passed(self) -> bool:
        """True if no die below the floor was found."""
        return self.worst.score >= self.floor

    def __str__(self) -> str:
        worst = self.worst
        said = (
            f"the worst die found has {worst.score:.3f}, {abs(worst.score - self.floor):.3f} "
            f"{'above' if self.passed else 'below'} the floor {self.floor:g}"
        )
        lines = [
            f"robust: {said} ({score_name(self.regression)}; nominal {worst.nominal:.3f}).",
            f"  Found by {worst.attack}.",
            f"  Budget: {worst.suite or 'attacks without a version'}, {worst.passes} passes over the data, seed "
            f"{self.seed}, {self.ball!r}.",
        ]
        if worst.recall:
            shown = ", ".join(f"{value:.3f}" for value in worst.recall)
            lines.append(f"  Recall of each class there: {shown}.")
        if worst.inconclusive:
            lines.append(f"  Caution: {worst.caution}.")
        return "\n".join(lines)


def check_robust(
    network: nn.Module,
    data: Any,
    ball: Ball,
    *,
    floor: float,
    attack: Attack | Suite | None = None,
    seed: int = 0,
    candidates: Sequence[Mapping[str, Tensor]] = (),
) -> RobustCheck:
    """Search for the worst die in a ball with a frozen suite, and compare its score with a floor.

    The search has a fixed budget, so the result is the same in every run. That no die below the floor was found is no
    proof that there is none: :func:`neurorobust.evaluation.certify` proves it, where it can.

    Args:
        network, data, ball: as for :func:`neurorobust.worst_case`.
        floor: the score that the worst die found has to reach.
        attack: the suite; None for the strong one, ``strong-1`` with 863 passes over the data;
            ``nr.attacks.quick()`` is ``quick-1`` with 33. These do not change while their version is the same.
        seed: of every random number. candidates: dies found earlier, evaluated too: δ by parameter
            name, in the parameter's expanded shape.

    Raises:
        ValueError: a floor that no score reaches, a negative seed, or as for :func:`neurorobust.worst_case`.

    Example:
        >>> layer, attack = nn.Linear(2, 2, bias=False), nr.attacks.quick()
        >>> _ = nn.init.eye_(layer.weight)
        >>> data = nr.data.Data(torch.tensor([[1.0, 0.8], [0.2, 1.0]]), torch.tensor([0, 1]))
        >>> check = nr.testing.check_robust(nr.wrap(layer), data, nr.Ball.uniform(0.2), floor=0.9, attack=attack)
        >>> check.worst.score, check.passed
        (0.5, False)
    """
    data = as_samples(data)
    floor, seed = check_spec(floor), check_count("seed", seed, 0)
    if attack is None:
        worst = strong_worst_case(network, data, ball, seed=seed, candidates=candidates)
    else:
        worst = search_worst_case(network, data, ball, suite_of(attack), seed=seed, candidates=candidates)
    if worst.inconclusive:
        current().say(f"assert_robust: {worst.caution}")
    return RobustCheck(worst, floor, ball, seed, data.regression)
