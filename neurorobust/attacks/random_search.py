"""Random search: the control every attack must beat at the same number of forward passes."""

from __future__ import annotations

from dataclasses import dataclass

from .._util.errors import check_count
from .attack import Asking, OneObjective, Search
from .objectives import Objective, objective


@dataclass(frozen=True)
class RandomSearch(OneObjective):
    """``steps`` + 1 draws, each uniform in the ball; the worst counts. PGA of as many steps makes as many passes."""

    steps: int = 10
    divergence: str | Objective = "ce"

    def __post_init__(self) -> None:
        check_count("steps", self.steps, 0)
        objective(self.divergence)

    @property
    def passes(self) -> int:
        return self.steps + 1

    def explore(self, search: Search) -> Asking[None]:
        yield from search.look(search.ball.draw(search.center, search.generator) for _ in range(self.passes))
