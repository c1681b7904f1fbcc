"""What every attack shares: the search that keeps it inside its ball and remembers the worst point."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, Self, TypeVar

import torch
from torch import Tensor

from .._util.errors import check_count, check_number
from ..core.params import Deviations
from .ball import Ball
from .objectives import Objective, objective

Loss = Callable[[Deviations], Tensor]
T = TypeVar("T")
S = TypeVar("S", bound="Search")

ABREAST = 16  # searches under way at once, at most
LOOKS = 16  # dies looked at in one question, at most
HELD = 2**22  # numbers of all dies that are looked at at once, and of one die of each search


@dataclass(frozen=True, eq=False)
class Point:
    """A place that was looked at: its deviations, the loss there and the loss's slope in them, if it was asked for."""

    deviations: Deviations
    value: float
    slopes: Deviations = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Question:
    """What a search wants to know before it goes on: the loss of each of some dies and, if ``slope``, its slope."""

    dies: Sequence[Deviations]
    slope: bool


Asking = Generator[Question, Sequence[Point], T]
"""What asks questions, is sent the answers, and returns a T: ``result = yield from asking``."""


class Search:
    """One search under way: the attack looks through it, at nothing outside the ball, and it remembers the worst.

    What an attack asks is answered together with the questions of other searches, so it waits for each answer:
    ``yield from``.

    Attributes:
        center: zeros of the right shapes.
        ball, generator: where to look, and the only source of random numbers.
        worst, worst_value: the highest loss so far; without ``project``, the last point instead.
        unasked: how many of its questions nobody has waited for.
    """

    def __init__(self, center: Deviations, ball: Ball, generator: torch.Generator, *, project: bool = True):
        self.center, self.ball, self.generator, self.project = center, ball, generator, project
        self.worst, self.worst_value = center, -torch.inf
        self.unasked = self._looks = 0

    def look(self, dies: Iterable[Deviations]) -> Asking[list[float]]:
        """The losses at the nearest deviations in the ball, a few dies at a time."""
        if isinstance(dies, Mapping):
            raise TypeError("search.look: got one die; expected several: yield from search.look([die]).")
        self.unasked += 1
        return self._look(dies)

    def slope(self, deviations: Deviations) -> Asking[Point]:
        """The nearest deviations in the ball, the loss and its slope there; 0 for what the loss does not depend on."""
        if not isinstance(deviations, Mapping):
            raise TypeError(f"search.slope: got a {type(deviations).__name__}; expected one die, tensors by name.")
        self.unasked += 1
        return self._slope(deviations)

    def _look(self, dies: Iterable[Deviations]) -> Asking[list[float]]:
        self.unasked -= 1
        values, rest = [], map(self._inside, dies)
        while some := list(islice(rest, _at_once(self, LOOKS))):
            for point in (yield Question(some, slope=False)):
                self._remember(point)
                values.append(point.value)
        return values

    def _slope(self, deviations: Deviations) -> Asking[Point]:
        self.unasked -= 1
        (point,) = yield Question([self._inside(deviations)], slope=True)
        self._remember(point)
        return point

    def _inside(self, deviations: Deviations) -> Deviations:
        inside = self.ball.project(deviations) if self.project else deviations
        return {name: delta.detach().clone() for name, delta in inside.items()}

    def _remember(self, point: Point) -> None:
        if not self._looks or not self.project or point.value > self.worst_value:
            self.worst = point.deviations
            self.worst_value = -torch.inf if point.value != point.value else point.value
        self._looks += 1


@dataclass(frozen=True)
class Attack(ABC):
    """A search for the worst deviations inside a ball.

    A subclass names its objectives and its number of passes and implements :meth:`explore`, whose local variables are
    the only state there is. The search projects whatever it looks at and keeps the worst, so no attack can leave its
    ball.
    """

    @property
    @abstractmethod
    def passes(self) -> int:
        """Forward passes of one search."""

    @property
    @abstractmethod
    def objectives(self) -> tuple[Objective, ...]:
        """What it raises; :func:`neurorobust.worst_case` runs it once for each."""

    @property
    def project(self) -> bool:
        """Whether training keeps it in the ball, too; :func:`neurorobust.worst_case` always does."""
        return True

    @classmethod
    def example(cls) -> Self:
        """One for the contract tests; override it where an argument has no default."""
        return cls()

    @abstractmethod
    def explore(self, search: Search) -> Asking[None]:
        """Look at points: ``values = yield from search.look(dies)``, or with the slope ``point = yield from
        search.slope(deviations)``."""

    def search(
        self, loss: Loss, center: Deviations, ball: Ball, generator: torch.Generator, *, project: bool = True
    ) -> Deviations:
        """The deviations with the highest loss among all that were looked at, always inside the ball.

        Args:
            loss: deviations → scalar. center: zeros of the right shapes.
            ball, generator: how far to go, and the random numbers.
            project: False for :class:`PGA`'s reproduction of published figures: no projection, the last point counts.
        """
        search = Search(center, ball, generator, project=project)

        def answer(asked: Sequence[tuple[Search, Question]]) -> list[list[Point]]:
            return [[look_at(loss, die, slope=question.slope) for die in question.dies] for _, question in asked]

        explore_abreast([(self, search)], answer)
        return search.worst


def look_at(loss: Loss, deviations: Deviations, *, slope: bool) -> Point:
    """The loss of one die and, if asked for, its slope; 0 for what the loss does not depend on.

    Raises:
        ValueError: a slope is asked for and the loss has none in any deviation.
    """
    if not slope:
        with torch.no_grad():
            return Point(deviations, float(loss(deviations)))
    leaves = {name: delta.detach().requires_grad_() for name, delta in deviations.items()}
    value = loss(leaves)
    return Point(deviations, value.item(), slopes_of([value], leaves))


def slopes_of(values: Sequence[Tensor], leaves: Deviations) -> Deviations:
    """The slope of the sum of some losses in each deviation; ValueError if one of them has none."""
    if not all(value.requires_grad for value in values):
        raise ValueError(
            "loss: does not depend on any deviation in the ball through a gradient; use RandomSearch or SPSA."
        )
    total = torch.stack([value.reshape(()) for value in values]).sum()
    slopes = torch.autograd.grad(total, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(leaves, slopes))


def _at_once(search: Search, most: int) -> int:
    """As many as that, or so few that what is held of each stays small."""
    size = sum(zero.numel() for zero in search.center.values())
    return max(1, min(most, HELD // max(size, 1)))


class Course(Generic[S]):
    """An attack on its way through its search, and the ``question`` it waits with; None at the end.

    What it holds open while it waits, such as ``torch.no_grad()``, holds for its own steps alone.
    """

    def __init__(self, attack: Attack, search: S):
        self.attack, self.search = attack, search
        self._context, self._grad = copy_context(), torch.is_grad_enabled()
        self._asking = self._within(lambda: attack.explore(search))
        if not isinstance(self._asking, Generator):
            raise self._wrong(self._asking)
        self.question: Question | None = None
        self.go_on(None)

    def go_on(self, points: Sequence[Point] | None) -> None:
        """To the next question, with the answer to the last."""
        try:
            self.question = self._within(lambda: self._asking.send(points))  # type: ignore[arg-type]
        except StopIteration:
            self.question = None
            if self.search.unasked:
                raise self._wrong(f"{self.search.unasked} questions that it did not wait for") from None
        if not isinstance(self.question, Question | None):
            raise self._wrong(self.question)

    def close(self) -> None:
        """End it, wherever it is."""
        self._within(self._asking.close)

    def _within(self, step: Callable[[], T]) -> T:
        outside = torch.is_grad_enabled()
        torch.set_grad_enabled(self._grad)
        try:
            return self._context.run(step)
        finally:
            self._grad = torch.is_grad_enabled()
            torch.set_grad_enabled(outside)

    def _wrong(self, got: object) -> TypeError:
        return TypeError(
            f"{type(self.attack).__name__}.explore: got {got!r}; expected a generator that waits for every answer: "
            f"write 'yield from' before search.look(…) and search.slope(…)."
        )


def explore_abreast(
    searches: Iterable[tuple[Attack, S]], answer: Callable[[Sequence[tuple[S, Question]]], Sequence[Sequence[Point]]]
) -> None:
    """Explore with every attack through its search, several at once, step by step.

    Args:
        searches: which may be made when their turn comes.
        answer: from one question of each search that is under way to the points of each.

    Raises:
        TypeError: an attack's ``explore`` does not wait for its answers.
    """
    coming = iter(searches)
    courses: list[Course[S]] = []
    try:
        while True:
            while len(courses) < (_at_once(courses[0].search, ABREAST) if courses else 1):
                pair = next(coming, None)
                if pair is None:
                    break
                course = Course(*pair)
                if course.question:
                    courses.append(course)
            if not courses:
                return
            answers = answer([(course.search, course.question) for course in courses if course.question])
            for course, points in zip(courses, answers, strict=True):
                course.go_on(points)
            courses = [course for course in courses if course.question]
    finally:
        for course in courses:
            course.close()


class OneObjective(Attack):
    """An attack on the one objective that its field ``divergence`` names."""

    divergence: str | Objective

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return (objective(self.divergence),)


class Ascent(OneObjective):
    """An attack that climbs from near the centre, or from anywhere, in a number of gradient steps.

    A subclass is a dataclass with the fields ``steps``, ``init_std`` and ``divergence``.
    """

    steps: int
    init_std: float

    def __post_init__(self) -> None:
        check_count("steps", self.steps)
        if self.init_std != float("inf"):
            check_number("init_std", self.init_std, strict=True)
        objective(self.divergence)

    @property
    def passes(self) -> int:
        return self.steps + 1

    def start(self, search: Search) -> Deviations:
        """N(0, init_std²) for every element; with ``init_std`` infinity, uniform in the ball."""
        if self.init_std == float("inf"):
            return search.ball.draw(search.center, search.generator)
        return {
            name: self.init_std * torch.randn(zero.shape, generator=search.generator, dtype=zero.dtype).to(zero.device)
            for name, zero in search.center.items()
        }
