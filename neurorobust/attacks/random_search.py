"""Random search: the baseline that every attack must beat at the same number of forward passes."""

from __future__ import annotations

from dataclasses import dataclass

from .._util.errors import check_count, plain_fields
from .attack import Attack, Exploration, Search
from .objectives import Objective, as_objective


@dataclass(frozen=True)
class RandomSearch(Attack):
    """``steps`` + 1 dies, each uniform in the ball; the worst counts. PGA with as many steps makes as many passes.

    Raises:
        ValueError: ``steps`` is no whole number ≥ 0.

    Example:
        >>> nr.attacks.RandomSearch(steps=99).passes  # the number of dies that are tried
        100
    """

    steps: int = 10
    objective: str | Objective = "ce"

    def __post_init__(self) -> None:
        plain_fields(self)
        check_count("steps", self.steps, 0)
        as_objective(self.objective)

    @property
    def passes(self) -> int:
        return self.steps + 1

    def explore(self, search: Search) -> Exploration[None]:
        yield from search.evaluate(search.ball.sample(search.center, search.generator) for _ in range(self.passes))
