"""The base of every attack: a search that keeps inside its ball and remembers the worst deviations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from itertools import islice
from typing import Self, TypeVar

import torch
from torch import Tensor

from .._util.errors import check_count, check_number, plain_fields
from ..core.params import Deviations
from ..core.run import differentiating
from .ball import Ball
from .objectives import Objective, as_objective

Loss = Callable[[Deviations], Tensor]
T = TypeVar("T")

DIES_PER_REQUEST = 16  # at most
MAX_ELEMENTS = 2**22  # deviations of all dies of one request, at most


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The loss at some deviations, and its gradient with respect to them (empty unless requested)."""

    deviations: Deviations
    value: float
    gradient: Deviations = field(default_factory=dict)


@dataclass(eq=False)
class Request:
    """Dies whose loss a search needs before it continues, and its gradient if ``gradient`` is True.

    Whoever runs the search stores one :class:`Evaluation` per die in ``evaluations``, in the order of ``dies``.
    """

    dies: Sequence[Deviations]
    gradient: bool
    evaluations: Sequence[Evaluation] = ()


Exploration = Generator[Request, None, T]
"""A generator of requests that returns a T: ``result = yield from exploration``."""


class Search:
    """One search: the attack evaluates dies through it, never outside the ball, and it remembers the worst.

    The evaluations of several searches are computed together, so an attack waits for each: ``yield from``.

    Attributes:
        center: zeros, one tensor per parameter in its expanded shape.
        ball: the allowed deviations.
        generator: the only source of random numbers.
        worst, worst_value: deviations and value of the highest loss so far; with ``project=False`` of the last
            evaluation.
    """

    def __init__(self, center: Deviations, ball: Ball, generator: torch.Generator, *, project: bool = True):
        self.center, self.ball, self.generator, self.project = center, ball, generator, project
        self.worst, self.worst_value = center, -torch.inf
        self._not_awaited = self._n_evaluations = 0

    def evaluate(self, dies: Iterable[Deviations]) -> Exploration[list[float]]:
        """The loss of each die, projected into the ball first; ``values = yield from search.evaluate(dies)``."""
        if isinstance(dies, Mapping):
            raise TypeError("search.evaluate: got one die; expected several: yield from search.evaluate([die]).")
        self._not_awaited += 1
        return self._evaluate(dies)

    def value_and_grad(self, deviations: Deviations) -> Exploration[Evaluation]:
        """Loss and gradient at the deviations, projected into the ball first; the gradient is 0 for parameters that the
        loss does not depend on. ``point = yield from search.value_and_grad(deviations)``."""
        if not isinstance(deviations, Mapping):
            got = type(deviations).__name__
            raise TypeError(f"search.value_and_grad: got a {got}; expected one die, a dictionary of tensors by name.")
        self._not_awaited += 1
        return self._value_and_grad(deviations)

    def requests(self, attack: Attack) -> Exploration[None]:
        """Run an attack: its requests, one after the other. Each must be answered before the next is taken.

        Raises:
            TypeError: ``attack.explore`` does not wait for its evaluations.
        """
        exploration = attack.explore(self)
        if not isinstance(exploration, Generator):
            raise _not_awaited(attack, exploration)
        for request in isolated(exploration):
            if not isinstance(request, Request):
                raise _not_awaited(attack, request)
            yield request
        if self._not_awaited:
            raise _not_awaited(attack, f"{self._not_awaited} requests that it did not wait for")

    def at_most(self, count: int) -> int:
        """``count``, or the number of dies that :data:`MAX_ELEMENTS` allows if that is smaller; at least 1."""
        size = sum(zero.numel() for zero in self.center.values())
        return max(1, min(count, MAX_ELEMENTS // max(size, 1)))

    def _evaluate(self, dies: Iterable[Deviations]) -> Exploration[list[float]]:
        self._not_awaited -= 1
        values, remaining = [], map(self._projected, dies)
        while some := list(islice(remaining, self.at_most(DIES_PER_REQUEST))):
            request = Request(some, gradient=False)
            yield request
            for evaluation in request.evaluations:
                self._record(evaluation)
                values.append(evaluation.value)
        return values

    def _value_and_grad(self, deviations: Deviations) -> Exploration[Evaluation]:
        self._not_awaited -= 1
        request = Request([self._projected(deviations)], gradient=True)
        yield request
        (evaluation,) = request.evaluations
        self._record(evaluation)
        return evaluation

    def _projected(self, deviations: Deviations) -> Deviations:
        inside = self.ball.project(deviations) if self.project else deviations
        return {
            name: delta.detach() if delta.data_ptr() != deviations[name].data_ptr() else delta.detach().clone()
            for name, delta in inside.items()
        }

    def _record(self, evaluation: Evaluation) -> None:
        if not self._n_evaluations or not self.project or evaluation.value > self.worst_value:
            self.worst = evaluation.deviations
            self.worst_value = -torch.inf if evaluation.value != evaluation.value else evaluation.value
        self._n_evaluations += 1


class Attack(ABC):
    """A search for the worst deviations inside a ball.

    A subclass is a frozen dataclass with a field ``objective``. It states its number of passes and implements
    :meth:`explore`, whose local variables are the only state. The search projects every die before it is evaluated
    and keeps the worst, so no attack can leave its ball.

    Attributes:
        objective: the function that the attack maximises: a name in ``OBJECTIVES``, or a function of (attacked
            outputs, clean outputs, targets).

    Example:
        >>> nr.attacks.PGA(steps=10).passes  # 10 gradient steps and the last point; your own: docs/extending.md
        11
    """

    objective: str | Objective

    @property
    @abstractmethod
    def passes(self) -> int:
        """Forward passes per search."""

    @property
    def project(self) -> bool:
        """Whether training projects into the ball, too; :func:`neurorobust.worst_case` always does."""
        return True

    @classmethod
    def example(cls) -> Self:
        """One for the contract tests; override it where an argument has no default."""
        return cls()

    @abstractmethod
    def explore(self, search: Search) -> Exploration[None]:
        """Evaluate dies: ``values = yield from search.evaluate(dies)``, or with the gradient ``point = yield from
        search.value_and_grad(deviations)``."""

    @differentiating()
    def search(
        self, loss: Loss, center: Deviations, ball: Ball, generator: torch.Generator, *, project: bool = True
    ) -> Deviations:
        """The deviations with the highest loss of all that were evaluated; always inside the ball.

        Args:
            loss: deviations → scalar.
            center: zeros, one tensor per parameter in its expanded shape.
            ball: the allowed deviations.
            generator: the only source of random numbers.
            project: False only for :class:`PGA`'s reproduction of published figures: nothing is projected and the last
                evaluation counts.
        """
        search = Search(center, ball, generator, project=project)
        for request in search.requests(self):
            request.evaluations = [evaluate(loss, die, gradient=request.gradient) for die in request.dies]
        return search.worst


def evaluate(loss: Loss, deviations: Deviations, *, gradient: bool) -> Evaluation:
    """The loss at some deviations and, if ``gradient``, its gradient; 0 for parameters the loss does not depend on.

    Raises:
        ValueError: ``gradient`` is True and the loss is not differentiable in any deviation.
    """
    if not gradient:
        with torch.no_grad():
            return Evaluation(deviations, float(loss(deviations)))
    leaves = {name: delta.detach().requires_grad_() for name, delta in deviations.items()}
    value = loss(leaves)
    if value.numel() != 1:
        raise ValueError(f"objective: gave a tensor of shape {tuple(value.shape)}; expected one number for the batch.")
    return Evaluation(deviations, value.item(), gradient_of_sum([value], leaves))


def gradient_of_sum(values: Sequence[Tensor], leaves: Deviations) -> Deviations:
    """The gradient of the sum of some losses in each deviation; ValueError if one of them is not differentiable."""
    if not all(value.requires_grad for value in values):
        raise ValueError(
            "loss: does not depend on any deviation in the ball through a gradient; use RandomSearch or SPSA."
        )
    shaped = [value.reshape(()) for value in values]
    total = shaped[0] if len(shaped) == 1 else torch.stack(shaped).sum()
    gradients = torch.autograd.grad(total, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(leaves, gradients))


def isolated(steps: Exploration[None]) -> Exploration[None]:
    """The values of a generator. Contexts that it holds open across a ``yield``, such as ``torch.no_grad()``, apply to
    its own code only, not to the code that consumes the values."""
    context, grad_mode = copy_context(), torch.is_grad_enabled()

    def inside(step: Callable[[], T]) -> T:
        nonlocal grad_mode
        outside = torch.is_grad_enabled()
        torch.set_grad_enabled(grad_mode)
        try:
            return context.run(step)
        finally:
            grad_mode = torch.is_grad_enabled()
            torch.set_grad_enabled(outside)

    try:
        while True:
            try:
                value = inside(lambda: next(steps))
            except StopIteration:
                return
            yield value
    finally:
        inside(steps.close)


def _not_awaited(attack: Attack, got: object) -> TypeError:
    return TypeError(
        f"{type(attack).__name__}.explore: got {got!r}; expected a generator that waits for every evaluation: write "
        f"'yield from' before search.evaluate(…) and search.value_and_grad(…)."
    )


class GradientAscent(Attack):
    """Base of attacks that follow the gradient for a number of steps.

    A subclass is a frozen dataclass with the fields ``steps``, ``init_std`` and ``objective``.

    Attributes:
        steps: gradient steps. init_std: see :meth:`start`.
    """

    steps: int
    init_std: float

    def __post_init__(self) -> None:
        plain_fields(self)
        check_count("steps", self.steps)
        if self.init_std != float("inf"):
            check_number("init_std", self.init_std, strict=True)
        as_objective(self.objective)

    @property
    def passes(self) -> int:
        return self.steps + 1

    def start(self, search: Search) -> Deviations:
        """N(0, init_std²) for every element; uniform in the ball if ``init_std`` is infinity."""
        if self.init_std == float("inf"):
            return search.ball.sample(search.center, search.generator)
        return {
            name: self.init_std * torch.randn(zero.shape, generator=search.generator, dtype=zero.dtype).to(zero.device)
            for name, zero in search.center.items()
        }
