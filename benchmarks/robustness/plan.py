"""The jobs that are left, in their order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from neurorobust._util.errors import unknown

from .cell import Cell
from .measurement import all_measurements
from .study import BEST_RIVAL, RIVALS, Study
from .work import pending


@dataclass(frozen=True)
class Job:
    """Some measurements of a cell, and the training before them."""

    cell: Cell
    measurements: tuple[str, ...]

    @property
    def left(self) -> dict[str, list[str]]:
        """The levels that are still to be measured."""
        return pending(self.cell, self.measurements)

    @property
    def trained(self) -> bool:
        return "training" in self.cell.read()

    @property
    def done(self) -> bool:
        return self.trained and not self.left


def cells_of(study: Study, methods: Sequence[str], seeds: Sequence[int] | None, out: Path) -> list[Cell]:
    """The cells of a study in their order: headline methods first, seed by seed.

    Args:
        study: whose cells.
        methods: only these; all of the study if there are none.
        seeds: only these; None for all.
        out: folder of all results.

    Raises:
        ValueError: a method the study does not have.
    """
    known = [name for name in (_resolved(name, study, out) for name in study.methods) if name]
    for name in methods:
        if name not in known:
            raise unknown(f"method of {study.name}", name, known)
    return [
        Cell(study, name, seed, out)
        for wave in (known[: study.headline], known[study.headline :])
        for seed in study.seeds
        if seeds is None or seed in seeds
        for name in wave
        if not methods or name in methods
    ]


def _resolved(name: str, study: Study, out: Path) -> str | None:
    """The method a name stands for; None for the best rival while not all rivals are trained."""
    if name != BEST_RIVAL:
        return name
    home = study.tuned_on or study
    rivals = [Cell(home, rival, home.seeds[0], out) for rival in RIVALS if rival != "forward_noise"]
    scores = {cell.method: cell.read().get("training", {}).get("validation") for cell in rivals}
    return None if None in scores.values() else max(scores, key=lambda rival: scores[rival])


def plan(cells: Iterable[Cell], names: Sequence[str]) -> list[Job]:
    """The jobs that are not done, study by study.

    The headline methods are trained and measured by the measurements of stages 0 and 1, then the other methods; what is
    beyond (stage 2) comes last.
    """
    stages: dict[int, tuple[str, ...]] = {0: (), 1: (), 2: ()}
    for name, measurement in all_measurements().items():
        if name in names:
            stages[measurement.stage] += (name,)
    jobs: list[Job] = []
    for _, group in groupby(cells, key=lambda cell: cell.study.name):
        own = list(group)
        first = [cell for cell in own if cell.method in cell.study.methods[: cell.study.headline]]
        rest = [cell for cell in own if cell not in first]
        waves = [(first, 0), (first, 1), (rest, 0), (rest, 1), (first, 2), (rest, 2)]
        jobs += [Job(cell, stages[stage]) for wave, stage in waves for cell in wave]
    return [job for job in jobs if job.left or (job.measurements == stages[0] and not job.trained)]
