"""Does a yield reach a stated value? Dies are measured one after the other, until the answer is sure."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

from torch import nn

from .._util.errors import check_count
from ..chip import ChipModel
from ..data.samples import as_samples
from ..evaluation.dies import die_scores
from ..evaluation.fleet import check_spec
from .common import as_chip, named_dies, score_name
from .sequential import SequentialTest


class Sequential(TypedDict, total=False):
    """Settings of :class:`SequentialTest`."""

    margin: float
    alpha: float
    beta: float
    max_dies: int | None


@dataclass(frozen=True)
class YieldCheck:
    """The dies that were measured, and what follows from them.

    Attributes:
        chip: label of the chip model. seed: of the dies, whose serial numbers are 0, 1, 2, …
        spec: the score that a good die reaches. test: the sequential test.
        scores: of each die that was measured, in the order of the serial numbers.
        regression: whether the score is R².

    Example:
        >>> layer = nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(layer.weight)
        >>> data = nr.data.Data(torch.tensor([[1.0, 0.8], [0.2, 1.0]]), torch.tensor([0, 1]))
        >>> check = nr.testing.check_yield(nr.wrap(layer), data, nr.mismatch(0.3), spec=0.9, at_least=0.95)
        >>> check.verdict, check.scores[:4]
        (False, (1.0, 1.0, 1.0, 0.5))
    """

    chip: str
    seed: int
    spec: float
    test: SequentialTest
    scores: tuple[float, ...]
    regression: bool = False

    @property
    def good(self) -> int:
        """Dies that reach the specification."""
        return sum(score >= self.spec for score in self.scores)

    @property
    def verdict(self) -> bool | None:
        """True: the yield is at least ``at_least``; False: it is not; None: undecided."""
        return self.test.verdict(self.good, len(self.scores))

    @property
    def passed(self) -> bool:
        """True only if the verdict is True; an undecided test does not pass."""
        return self.verdict is True

    def __str__(self) -> str:
        n, test = len(self.scores), self.test
        said = {
            True: f"passed after {n} dies: the yield is above {test.bad_yield:g}",
            False: f"failed after {n} dies: the yield is below {test.at_least:g}",
            None: f"undecided after {n} dies: the yield may be {test.at_least:g} or less; raise max_dies or margin",
        }[self.verdict]
        lines = [
            f"yield: {said}.",
            f"  {self.good} of {n} dies of {self.chip}, seed {self.seed}, reach {score_name(self.regression)} "
            f"{self.spec:g}.",
            f"  Below it: {named_dies(range(n), [self.spec - score for score in self.scores])}.",
            f"  This is a {test}.",
        ]
        return "\n".join(lines)


def check_yield(
    network: nn.Module,
    data: Any,
    chip: ChipModel | str,
    *,
    spec: float,
    at_least: float,
    seed: int = 1,
    **settings: Unpack[Sequential],
) -> YieldCheck:
    """Measure dies 0, 1, 2, … until a sequential test of the yield is decided; see :class:`SequentialTest`.

    Args:
        network, data: as for :func:`neurorobust.evaluate`. chip: a model, or the name of an installed one.
        spec: the score that a good die reaches: balanced accuracy, or R² of a regression.
        at_least: the yield, fraction of good dies, that passes. seed: of the dies.
        settings: ``margin`` (.1), ``alpha`` (.05), ``beta`` (.05) and ``max_dies`` (None: as many as alpha needs) of
            :class:`SequentialTest`.

    Raises:
        ValueError: a specification that no score reaches, a negative seed, a setting out of range, or as for
            :func:`neurorobust.evaluate`.

    Example:
        >>> layer = nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(layer.weight)
        >>> data = nr.data.Data(torch.tensor([[1.0, 0.8], [0.2, 1.0]]), torch.tensor([0, 1]))
        >>> check = nr.testing.check_yield(nr.wrap(layer), data, nr.mismatch(0.3), spec=0.9, at_least=0.95)
        >>> check.good, len(check.scores), check.passed
        (10, 14, False)
    """
    spec, seed = check_spec(spec), check_count("seed", seed, 0)
    test, model = SequentialTest(at_least, **settings), as_chip(chip)
    good, scores = 0, []
    data = as_samples(data)
    with closing(die_scores(network, data, model, range(test.limit), seed)) as measured:
        for score in measured:
            scores.append(score)
            good += score >= spec
            if test.verdict(good, len(scores)) is not None:
                break
    return YieldCheck(model.label, seed, spec, test, tuple(scores), data.regression)
