"""The searches of suites of attacks on many workers: each search is one piece of work, and random dies are several."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from .. import kernels
from ..attacks import Attack, Ball, RandomSearch, Search
from ..attacks.attack import Exploration
from ..attacks.objectives import Objective
from ..core.run import differentiating, evaluating
from ..data.samples import Samples
from ..nn.floor import using_floor
from .batched_search import RunningSearch, Worst, WorstCaseSearch, run_batched, searches_of
from .parts import Part, using_surrogate
from .predict import checked_params
from .spread import Found, Resumable, spread

DRAWS = 32
"""Dies of a random search in one piece."""

Piece = tuple[int, int, int, int]
"""The number of a part, of a search in its suite, and a range of dies, which matters for a random search alone."""


@dataclass(frozen=True, eq=False)
class Searches:
    """Parts of a suite, each with its seed, on one network."""

    network: nn.Module
    data: Samples
    ball: Ball
    parts: tuple[tuple[Part, int], ...]

    def attacks(self, part: int) -> list[Attack]:
        """The attack of each search of a part."""
        return [member for member, restarts in self.parts[part][0].suite.members for _ in range(restarts)]

    def pieces(self) -> list[Piece]:
        """All pieces, in the order of the suite: of equally bad dies the first counts."""
        return [
            (part, number, first, min(first + size, attack.passes))
            for part in range(len(self.parts))
            for number, attack in enumerate(self.attacks(part))
            for size in [DRAWS if type(attack) is RandomSearch else attack.passes]
            for first in range(0, attack.passes, size)
        ]


@dataclass(frozen=True)
class _Draws(Attack):
    """Some dies of a random search."""

    first: int
    stop: int
    objective: str | Objective

    @property
    def passes(self) -> int:
        return self.stop - self.first

    def explore(self, search: Search) -> Exploration[None]:
        dies = (search.ball.sample(search.center, search.generator) for _ in range(self.stop))
        yield from search.evaluate(islice(dies, self.first, None))


def spread_searches(
    executor: Executor | Resumable,
    network: nn.Module,
    data: Samples,
    ball: Ball,
    parts: Sequence[tuple[Part, int]],
    candidates: Sequence[Mapping[str, Tensor]],
    tick: Callable[[], None],
) -> WorstCaseSearch:
    """All searches of some parts, each with its seed: the search whose worst die is that of all of them.

    Args:
        executor, network, data, ball, candidates: as for :func:`neurorobust.worst_case`.
        parts: in their order. tick: is called after every forward pass.
    """
    if not isinstance(ball, Ball):
        raise TypeError(f"ball: got {ball!r}; expected nr.Ball.uniform(0.1) for every kind, or nr.Ball(weight=0.1).")
    data.check_classes("data")
    checked_params(network, data)
    work = Searches(network, data, ball, tuple(parts))
    order = {piece: number for number, piece in enumerate(work.pieces())}
    longest = sorted(order, key=lambda piece: piece[2] - piece[3])
    with evaluating(network):
        search = WorstCaseSearch(network, data, ball, tick)
        search.add_candidates([search.project_candidate(die) for die in candidates])

    def arrived(piece: Piece) -> None:
        for _ in range(piece[2], piece[3]):
            tick()

    best = search.worst.score, -1
    for piece, found in zip(longest, spread(executor, search_piece, longest, work, arrived), strict=True):
        part, number, *_ = piece
        search.passes += int(found["passes"])
        if int(found["rank"]) >= 0 and (float(found["score"]), order[piece]) < best:
            best = float(found["score"]), order[piece]
            through = str(work.parts[part][0])
            label = f"{work.attacks(part)[number]!r}" + (f" through {through}" if through else "")
            die = {name: found[f"die {name}"].to(zero) for name, zero in search.center.items()}
            search.worst = Worst(best[0], len(candidates) + order[piece], label, die, search.clean)
    return search


@differentiating()
def search_piece(work: Searches, piece: Piece) -> Found:
    """The worst die of one search: its score and deviations, and the passes made."""
    number, which, first, stop = piece
    part, seed = work.parts[number]
    network, data = work.network, work.data
    events = nullcontext() if data.whole is None else kernels.CachedEvents(data.whole)
    with using_surrogate(network, part.surrogate), using_floor(network, part.floor), evaluating(network), events:
        search = WorstCaseSearch(network, data, work.ball)
        running = next(islice(searches_of(part.suite, search.center, work.ball, seed, 0), which, None))
        if type(running.attack) is RandomSearch:
            draws = _Draws(first, stop, running.attack.objective)
            running = RunningSearch(draws, running.objective, running.search, 0)
        run_batched([running], search.answer)
    worst = search.worst
    numbers = {"score": worst.score, "rank": worst.rank, "passes": search.passes}
    found = {name: torch.tensor(value, dtype=torch.float64) for name, value in numbers.items()}
    return found | {f"die {name}": delta for name, delta in worst.deviations.items()}
