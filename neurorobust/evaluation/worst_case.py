"""The worst die an attack finds for a whole data set."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from .. import kernels
from .._util.console import progress
from .._util.errors import check_count
from .._util.printed import Printed
from .._util.warn import warn
from ..attacks import QUICK, Attack, Ball, RandomSearch, Suite, quick, restarted
from ..core.params import Deviations
from ..core.run import differentiating, evaluating, nominal
from ..data.samples import Samples, as_samples
from ..nn.fleet_run import SAMPLES
from ..nn.floor import fraction_at_floor, using_floor
from .batched_search import WorstCaseSearch, run_batched, searches_of
from .floors import LEAK, TRUE, base, leaky_suite, version_on
from .parts import Part
from .predict import checked_params, predict_all
from .spread import Resumable, check_executor
from .spread_search import spread_searches
from .statistics import decisions, recall, score

NO_ATTACK = Suite(())
STRONG = "strong-1"
"""Version of the strong suite; see :func:`strong_worst_case`."""

NEARLY_NOTHING = 0.02
"""A smaller drop of the score, two points of balanced accuracy, proves nothing unless the strong suite ran."""

CAUTION = (
    f"this attack lowered the score by less than {NEARLY_NOTHING:g}, which proves nothing: run "
    f"nr.evaluation.strong_worst_case before you call the network robust"
)


@dataclass(frozen=True, eq=False)
class WorstCase(Printed):
    """The worst die of all that were evaluated.

    Attributes:
        score: the minimised score on that die: balanced accuracy, or R² of a regression.
        nominal: the score of the network itself, on the same samples.
        balanced_accuracy, accuracy, recall: on that die, recall one number per class; NaN and () for a regression.
        deviations: the die itself, inside the ball.
        attack: which attack found it; it may be the nominal network.
        passes: forward passes over the whole data set, besides that of the nominal network.
        suite: version of the suite that was run, if it has one: ``"quick-1"``, ``"strong-1"``; with floors in the
            network ``"quick-1+floor-1"``, ``"strong-1+floor-1"``.
        at_floor: the fraction of steps in which the floor of the nominal network acts, over all neurons with one; there
            the true gradient is 0. None without floors.

    Example:
        >>> layer = nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(layer.weight)
        >>> data = nr.data.Data(torch.tensor([[1.0, 0.8], [0.2, 1.0]]), torch.tensor([0, 1]))
        >>> worst = nr.worst_case(nr.wrap(layer), data, nr.Ball.uniform(0.2))
        >>> worst.nominal, worst.balanced_accuracy, worst.suite
        (1.0, 0.5, 'quick-1')
    """

    score: float
    nominal: float
    balanced_accuracy: float
    accuracy: float
    recall: tuple[float, ...]
    deviations: Deviations
    attack: str
    passes: int
    suite: str | None = None
    at_floor: float | None = None

    def __repr__(self) -> str:
        kind = "R²" if math.isnan(self.balanced_accuracy) else "balanced accuracy"
        said = "" if self.at_floor is None else f"; {self.at_floor:.0%} of all neuron-steps at the floor"
        said += f"; {self.caution}" if self.inconclusive else ""
        return (
            f"WorstCase({kind} {self.score:.3f} on the worst die, {self.nominal:.3f} nominal; "
            f"{self.suite or 'no versioned suite'}, {self.passes} passes, found by {self.attack}{said})"
        )

    @property
    def inconclusive(self) -> bool:
        """True if the score fell by less than 0.02 and the strong suite did not run. The network may still have bad
        dies."""
        return base(self.suite) != STRONG and self.nominal - self.score < NEARLY_NOTHING

    @property
    def caution(self) -> str:
        """The meaning of an inconclusive result, in one sentence; empty for any other result."""
        return CAUTION if self.inconclusive else ""


def worst_case(
    network: nn.Module,
    data: Any,
    ball: Ball,
    attack: Attack | Suite | None = None,
    *,
    seed: int = 0,
    candidates: Sequence[Mapping[str, Tensor]] = (),
    executor: Executor | Resumable | None = None,
) -> WorstCase:
    """Search for ONE die inside the ball that is worst for a whole data set.

    Every die that the attack evaluates counts, not only the last, and so does the nominal network. With the same seed a
    suite evaluates the same dies as its members do alone, so it is never weaker than they are. Every die is projected
    into the ball before it is evaluated. More than 1000 samples go through the network 1000 at a time, so memory does
    not grow with their number.

    Below a floor (:class:`~neurorobust.nn.LinearizedDpi`) the gradient is 0. So on a network with floors every member
    with a gradient runs twice: through ``HardFloor()``, the true gradient, and through ``LeakyFloor(0.3)``.

    Args:
        network: attacked at its nominal parameters, which are not changed.
        data: samples and labels or targets; their score is minimised: balanced accuracy, or R² of a regression. It is
            :class:`neurorobust.data.Data`, or what :meth:`neurorobust.data.Data.of` takes, such as a DataLoader.
        ball: the allowed deviations of each kind.
        attack: an attack or a suite; by default :func:`neurorobust.attacks.quick`. A quick attack can miss bad dies and
            reverse the order of two networks: publish numbers of :func:`strong_worst_case`. From several starts:
            :func:`neurorobust.attacks.restarted`.
        seed: of every random number.
        candidates: deviations found elsewhere, evaluated too; see :func:`transfer`.
        executor: as for :func:`neurorobust.evaluate`. A piece is one search from one start, or 32 dies of a
            :class:`~neurorobust.attacks.RandomSearch`. The steps of a search follow each other, so the quick suite uses
            three workers (six with floors), and the strong suite about twelve.

    Raises:
        ValueError: the ball or a candidate does not fit the network, or the data do not fit its outputs.

    Warns:
        UserWarning: the quick suite found nearly nothing; see :attr:`WorstCase.inconclusive`.

    Example:
        >>> data = nr.data.Data(torch.rand(20, 6), torch.arange(20) % 2)
        >>> found = nr.worst_case(nr.wrap(nn.Linear(6, 2)), data, nr.Ball.uniform(0.1), nr.attacks.PGA(steps=2), seed=1)
        >>> sorted(found.deviations), bool(found.score <= found.nominal)
        (['bias', 'weight'], True)
    """
    data = as_samples(data)
    suite = suite_of(quick(regression=data.regression) if attack is None else attack)
    found = search_worst_case(network, data, ball, suite, seed=seed, candidates=candidates, executor=executor)
    if base(found.suite) == QUICK and found.inconclusive:
        warn(f"worst_case: {found.caution}.")
    return found


def search_worst_case(
    network: nn.Module,
    data: Any,
    ball: Ball,
    suite: Suite,
    *,
    seed: int = 0,
    candidates: Sequence[Mapping[str, Tensor]] = (),
    executor: Executor | Resumable | None = None,
) -> WorstCase:
    """:func:`worst_case` without its warning, for callers that show the result's caution themselves."""
    check_executor(executor)
    passes = suite.passes + leaky_suite(network, suite).passes + len(candidates)
    data = as_samples(data)
    with progress(f"attacking {len(data)} samples", passes) as tick:
        if executor is None:
            found = find_through_floors(network, data, ball, suite, seed=seed, candidates=candidates, tick=tick)
        else:
            parts = ((Part(suite), seed), (Part(leaky_suite(network, suite), None, LEAK), seed))
            search = spread_searches(executor, network, data, ball, parts, candidates, tick)
            found = result_of(search, suite)
            found = replace(found, suite=version_on(network, found.suite))
    return with_floor_fraction(found, network, data)


def transfer(network: nn.Module, data: Any, ball: Ball, candidates: Sequence[Mapping[str, Tensor]]) -> WorstCase:
    """The worst of the dies that were found for other networks, each projected into the ball.

    A network that withstands its own attack but not another network's dies hides its gradient.

    Args:
        network, data, ball: as for :func:`worst_case`.
        candidates: deviations by parameter name, such as ``[worst_case(other, …).deviations]``; a parameter without an
            entry does not deviate, and neither does one the ball does not name.

    Raises:
        ValueError: a parameter this network does not have, or has in another shape; NaN; no candidates.

    Example:
        >>> data, ball = nr.data.Data(torch.rand(20, 6), torch.arange(20) % 2), nr.Ball.uniform(0.1)
        >>> mine, other = (nr.wrap(nn.Linear(6, 2)) for _ in range(2))
        >>> found = nr.worst_case(other, data, ball, nr.attacks.PGA(steps=1))
        >>> moved = nr.transfer(mine, data, ball, [found.deviations])
        >>> bool(moved.score <= moved.nominal)
        True
    """
    if not candidates:
        raise ValueError("candidates: got none; expected deviations found on another network.")
    data = as_samples(data)
    return with_floor_fraction(find_worst_case(network, data, ball, NO_ATTACK, candidates=candidates), network, data)


def find_through_floors(
    network: nn.Module,
    data: Any,
    ball: Ball,
    attack: Attack | Suite,
    *,
    seed: int = 0,
    candidates: Sequence[Mapping[str, Tensor]] = (),
    tick: Callable[[], None] = lambda: None,
) -> WorstCase:
    """:func:`worst_case` without progress bar and without ``at_floor``; ``tick`` is called after every forward pass."""
    suite = suite_of(attack)
    with using_floor(network, TRUE):
        found = find_worst_case(network, data, ball, suite, seed=seed, candidates=candidates, tick=tick)
    found = replace(found, suite=version_on(network, found.suite))
    again = leaky_suite(network, suite)
    if not again.members:
        return found
    with using_floor(network, LEAK):
        leaky = find_worst_case(network, data, ball, again, seed=seed, tick=tick)
    return worse(found, replace(leaky, attack=f"{leaky.attack} through {LEAK}"))


def worse(found: WorstCase, other: WorstCase) -> WorstCase:
    """The worse of two results, the first if they are equal; with the passes of both and the suite of the first."""
    worst = other if other.score < found.score else found
    return replace(worst, passes=found.passes + other.passes, suite=found.suite)


def with_floor_fraction(found: WorstCase, network: nn.Module, data: Samples) -> WorstCase:
    """A result with ``at_floor``, which depends on the nominal network alone: one pass, after all searches."""
    with evaluating(network):
        whole = data.whole
        x = (block.x for block in data.blocks(SAMPLES)) if whole is None else whole
        return replace(found, at_floor=fraction_at_floor(network, nominal(network), x))


@differentiating()
def find_worst_case(
    network: nn.Module,
    data: Any,
    ball: Ball,
    attack: Attack | Suite,
    *,
    seed: int = 0,
    candidates: Sequence[Mapping[str, Tensor]] = (),
    tick: Callable[[], None] = lambda: None,
) -> WorstCase:
    """One run of a suite, through the floors as they are, without ``at_floor``: callers that show it add it once, by
    :func:`with_floor_fraction`. ``tick`` is called after every forward pass."""
    data = as_samples(data)
    if not isinstance(ball, Ball):
        raise TypeError(f"ball: got {ball!r}; expected nr.Ball.uniform(0.1) for every kind, or nr.Ball(weight=0.1).")
    data.check_classes("data")
    checked_params(network, data)
    suite = suite_of(attack)
    with evaluating(network), nullcontext() if data.whole is None else kernels.CachedEvents(data.whole):
        worst_case_search = WorstCaseSearch(network, data, ball, tick)
        worst_case_search.add_candidates([worst_case_search.project_candidate(die) for die in candidates])
        searches = searches_of(suite, worst_case_search.center, ball, seed, len(candidates))
        run_batched(searches, worst_case_search.answer)
        return result_of(worst_case_search, suite)


def result_of(search: WorstCaseSearch, suite: Suite) -> WorstCase:
    """The worst die, measured by the outputs that :func:`neurorobust.run` gives on it."""
    worst, y = search.worst, search.data.y
    found, outputs = worst.score, worst.outputs
    if worst.rank >= 0:  # those of the nominal network are known
        with torch.no_grad(), evaluating(search.network):
            outputs = predict_all(search.network, search.params_of(worst.deviations), search.data)
        found = score(outputs, y)
    undefined = float("nan")
    balanced, accuracy, per_class = undefined, undefined, ()
    if not y.is_floating_point():
        predicted = decisions(outputs)
        balanced, accuracy = found, float((predicted == y).double().mean())
        per_class = tuple(recall(predicted, y, outputs.shape[-1]).tolist())
    return WorstCase(
        found,
        score(search.clean, y),
        balanced,
        accuracy,
        per_class,
        worst.deviations,
        worst.found_by,
        search.passes,
        suite.version,
    )


def suite_of(attack: Attack | Suite) -> Suite:
    """A suite as it is, or one attack, once."""
    if isinstance(attack, str):
        raise TypeError(
            f"attack: got {attack!r}; expected one such as nr.attacks.quick() or nr.attacks.thorough(); {STRONG} has "
            f"functions of its own: strong_worst_case and estimate_strong_worst_case."
        )
    return restarted(attack, 1)


def random_search(
    network: nn.Module,
    data: Any,
    ball: Ball,
    *,
    passes: int,
    seed: int = 0,
    executor: Executor | Resumable | None = None,
) -> WorstCase:
    """The control: the worst of ``passes`` dies drawn uniformly in the ball.

    Raises:
        ValueError: ``passes`` is below 1, or as for :func:`neurorobust.worst_case`.

    Example:
        >>> layer = nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(layer.weight)
        >>> data = nr.data.Data(torch.tensor([[1.0, 0.8], [0.2, 1.0]]), torch.tensor([0, 1]))
        >>> nr.evaluation.random_search(nr.wrap(layer), data, nr.Ball.uniform(0.2), passes=10).score
        0.5
    """
    data = as_samples(data)
    draws = RandomSearch(check_count("passes", passes) - 1, "mse" if data.regression else "ce")
    return worst_case(network, data, ball, draws, seed=seed, executor=executor)
