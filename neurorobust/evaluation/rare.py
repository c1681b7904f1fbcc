"""The fraction of failing dies where it is too small to count: one in a thousand, one in ten thousand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any, cast

import numpy as np
import torch
from scipy import special
from torch import Tensor, nn

from .._util.console import progress
from .._util.errors import check_count, check_number
from .._util.printed import Printed
from ..chip import Agreement, ChipModel
from ..chip.die import Die
from ..chip.programming import Programmed
from ..core.apply import apply
from ..core.params import Params
from ..core.run import evaluating, nominal
from ..data.samples import Samples, as_samples
from ..nn.network import placement_of
from .inputs import foreign_inputs
from .predict import checked_params, outputs_on
from .spread import Found, Resumable, Spreading, check_executor
from .statistics import check_outputs, score
from .subset import Run, subset_simulation

LEAST_EFFECTIVE = 8.0
LEAST_ACCEPTANCE = 0.1
LEAST_LINEAGES = 2.0


@dataclass(frozen=True)
class SubsetSimulation:
    """How large the runs of :func:`rare_failures` are.

    Attributes:
        dies: size of a run's population, ≥ 50.
        repeats: independent runs after the pilot, ≥ 4.

    Raises:
        ValueError: fewer dies or repeats.

    Example:
        >>> nr.evaluation.SubsetSimulation(dies=500)
        SubsetSimulation(dies=500, repeats=8)
    """

    dies: int = 250
    repeats: int = 8

    def __post_init__(self) -> None:
        check_count("dies", self.dies, 50)
        check_count("repeats", self.repeats, 4)


@dataclass(frozen=True, eq=False)
class RareFailures(Printed):
    """The fraction of dies whose score is below a specification, or the reasons why it is not given.

    Attributes:
        chip, seed: which dies. spec: a die fails below it.
        probability: mean over the runs after the pilot; None if the diagnostics are poor.
        ci95: its 95 % interval, lognormal over the runs; None if the probability is.
        effective: effective number of failing dies seen, (1 − p)/cv², cv the relative standard error of the
            probability.
        passes: dies measured, all searching included. brute_force: dies that plain counting needs for the same cv,
            (1 − p)/(p · cv²).
        refused: the poor diagnostics; empty if a probability is given.
        runs: the pilot, which does not count, and the independent runs after it.
        equations: whether the equations of the network are those of the chip; print it.

    Example:
        >>> layer, t = nn.Linear(2, 2, bias=False), torch.linspace(0.05, 0.8, 20)  # t = 1 is the border
        >>> _ = nn.init.eye_(layer.weight)
        >>> x = torch.stack([torch.ones(20), t], 1)
        >>> data, chip = nr.data.Data(torch.cat([x, x.flip(1)]), torch.arange(40) // 20), nr.mismatch(0.1)
        >>> few = nr.evaluation.SubsetSimulation(dies=100, repeats=4)
        >>> found = nr.evaluation.rare_failures(nr.wrap(layer), data, chip, spec=0.95, simulation=few)
        >>> found.probability, found.refused  # too few dies for a number
        (None, ('5.0 effective failures, fewer than 8',))
    """

    chip: str
    seed: int
    spec: float
    probability: float | None
    ci95: tuple[float, float] | None
    effective: float
    passes: int
    brute_force: float
    refused: tuple[str, ...]
    runs: tuple[Run, ...]
    equations: Agreement | None = None

    def __repr__(self) -> str:
        told = ":" if self.equations is None else f"; {self.equations};"
        what = f"RareFailures({self.chip}, score below {self.spec:g}{told} "
        if self.probability is None or self.ci95 is None:
            return f"{what}no number after {self.passes} dies: {'; '.join(self.refused)})"
        low, high = self.ci95
        return (
            f"{what}{self.probability:.2g} [{low:.2g}, {high:.2g}] of the dies; {self.effective:.0f} effective "
            f"failures from {self.passes} dies, counting needs {self.brute_force:.0f})"
        )


def rare_failures(
    network: nn.Module,
    data: Any,
    chip: ChipModel,
    *,
    spec: float,
    simulation: SubsetSimulation = SubsetSimulation(),
    seed: int = 0,
    executor: Executor | Resumable | None = None,
) -> RareFailures:
    """Estimate the fraction of a chip model's dies whose score is below a specification, down to about 1e-5.

    Subset simulation over the standard normals of a die (:mod:`neurorobust.evaluation.subset`): a pilot run finds the
    thresholds, then ``repeats`` independent runs use them. A proposal mixes the normals of a die with those of a new
    die, so correlations between devices are kept, and the number of synapses does not matter. Memory cells with read
    noise are read once, as in :func:`neurorobust.evaluate`; the normals of that reading are mixed, too.

    With the numbers of :class:`SubsetSimulation` it takes about (repeats + 1) · dies · (L + 0.4) passes over the data
    for a probability of 10^−L: 9800 for 1e-4, a twentieth of what counting takes for the same error. Above 1 %, count:
    :func:`neurorobust.evaluate`. How often the intervals hold: ``tests/interval_study.json``. No probability is given
    where a run never met the specification, all runs gave the same number (every die fails), effective failures are
    below 8 (the interval then spans a factor above 2 either way), fewer than a tenth of a level's steps were accepted,
    or the failing dies of a run descend from fewer than 2 of its first dies on average. No diagnostic can show a
    failure mode that no run found.

    Args:
        network: programmed at its nominal parameters, which are not changed.
        data: samples and labels; a die's score on them decides.
        chip: a chip model, or :func:`neurorobust.mismatch` (level), without defects and noise.
        spec: a die fails if its score is below.
        simulation: the size of a run's population, and how many runs.
        seed: of the dies.
        executor: as for :func:`neurorobust.evaluate`. The dies of a step are spread; each goes to a worker as its
            standard normals, four bytes for each device. The next step waits for all of them.

    Raises:
        ValueError: a specification outside 0 to 1, one class only, or a chip with defects or noise.

    Example:
        >>> layer, t = nn.Linear(2, 2, bias=False), torch.linspace(0.05, 0.8, 20)  # t = 1 is the border
        >>> _ = nn.init.eye_(layer.weight)
        >>> x = torch.stack([torch.ones(20), t], 1)
        >>> data, chip = nr.data.Data(torch.cat([x, x.flip(1)]), torch.arange(40) // 20), nr.mismatch(0.1)
        >>> few = nr.evaluation.SubsetSimulation(dies=150, repeats=4)
        >>> found = nr.evaluation.rare_failures(nr.wrap(layer), data, chip, spec=0.95, simulation=few)
        >>> round(found.probability, 3), [round(end, 3) for end in found.ci95]
        (0.028, [0.015, 0.05])
    """
    if not isinstance(simulation, SubsetSimulation):
        raise TypeError(f"simulation: got {simulation!r}; expected nr.evaluation.SubsetSimulation(dies=250).")
    dies, repeats = simulation.dies, simulation.repeats
    check_executor(executor)
    data = as_samples(data)
    spec = check_number("spec", spec)
    if spec > 1:
        raise ValueError(f"spec: got {spec:g}; expected a score from 0 to 1, .90 for 90 %.")
    data.check_classes("data")
    for what, parts in (("defects", chip.defects), ("noise", chip.noise)):
        if parts:
            raise ValueError(
                f"chip: has {what}, which do not follow from standard normals; count failing dies with nr.evaluate."
            )
    checked_params(network, data)
    foreign_inputs(network, chip, data)
    work = _RareWork(network, data, chip, seed)
    programmed, vector, serials = work.programmed, work.vector, count()

    def draw(n: int) -> Tensor:
        fleet = chip.fabricate([next(serials) for _ in range(n)], seed)
        return torch.stack([vector.pack(die) for die in fleet])

    spreading = None if executor is None else Spreading(executor, _scores_of, _RareWork(network, data, chip, seed))

    def response(rows: Tensor) -> Tensor:
        if spreading is None:
            return _scores_of(work, rows)["score"]
        pieces = rows.split(max(1, min(AT_ONCE, len(rows) // PIECES)))
        return torch.cat([found["score"] for found in spreading.over(pieces)])

    with spreading or nullcontext(), progress(f"runs over rare dies of {chip.name}", repeats + 1) as tick:
        runs = pilot_and_runs(draw, response, spec, dies, repeats, tick)
    return RareFailures(chip.name, seed, spec, **combine_runs(runs), runs=runs, equations=programmed.equations)


def pilot_and_runs(
    draw: Callable[[int], Tensor],
    response: Callable[[Tensor], Tensor],
    target: float,
    n: int,
    repeats: int,
    tick: Callable[[], None] = lambda: None,
) -> tuple[Run, ...]:
    """A pilot run of :func:`subset_simulation` that finds the thresholds, then ``repeats`` independent runs with them.

    ``draw`` must never repeat itself. Without a pilot that meets the target there are no further runs.
    """
    runs = [subset_simulation(draw, response, target, n)]
    for _ in range(repeats if runs[0].reached else 0):
        tick()
        runs.append(subset_simulation(draw, response, target, n, runs[0].thresholds))
    tick()
    return tuple(runs)


def combine_runs(runs: Sequence[Run]) -> dict[str, Any]:
    """The fields of :class:`RareFailures` that follow from the runs: probability, ci95, effective, passes, brute_force,
    refused. ``runs`` are those of :func:`pilot_and_runs`, the pilot first."""
    everything = {"passes": sum(run.passes for run in runs)}
    runs = runs[1:]
    p = float(np.mean([run.probability for run in runs])) if runs else 0.0
    if p == 0:
        which = "the pilot run" if not runs else "all runs"
        nothing = {"probability": None, "ci95": None, "effective": 0.0, "brute_force": math.nan}
        return everything | nothing | {"refused": (f"{which} never met the specification",)}
    cv = float(np.std([run.probability for run in runs], ddof=1)) / p / math.sqrt(len(runs))
    effective = (1 - p) / cv**2 if cv > 0 else math.nan
    refused = []
    if cv == 0:
        refused.append("all runs gave the same number, so its error is unknown: count with nr.evaluate")
    if missed := sum(not run.reached for run in runs):
        refused.append(f"{missed} of {len(runs)} runs never met the specification")
    if effective < LEAST_EFFECTIVE:
        refused.append(f"{effective:.1f} effective failures, fewer than {LEAST_EFFECTIVE:g}")
    if (acceptance := min(level.acceptance for run in runs for level in run.levels)) < LEAST_ACCEPTANCE:
        refused.append(f"at one level {acceptance:.0%} of the steps were accepted, fewer than {LEAST_ACCEPTANCE:.0%}")
    if (lineages := float(np.mean([run.levels[-1].lineages for run in runs]))) < LEAST_LINEAGES:
        refused.append(f"failing dies descend from {lineages:.1f} first dies per run, fewer than {LEAST_LINEAGES:g}")
    half = special.stdtrit(len(runs) - 1, 0.975) * cv
    return everything | {
        "probability": None if refused else p,
        "ci95": None if refused else (p * math.exp(-half), min(1.0, p * math.exp(half))),
        "effective": effective,
        "brute_force": effective / p,
        "refused": tuple(refused),
    }


AT_ONCE, PIECES = 16, 32
"""Dies in one piece at most; pieces of a step at least."""


@dataclass(frozen=True, eq=False)
class _RareWork:
    """A network on the dies of a chip, each given by its standard normals."""

    network: nn.Module
    data: Samples
    chip: ChipModel
    seed: int

    @cached_property
    def programmed(self) -> Programmed:
        return self.chip.program(nominal(self.network), placement_of(self.network))

    @cached_property
    def reference(self) -> Die:
        return self.chip.fabricate([0], self.seed)[0]

    @cached_property
    def vector(self) -> _NormalsVector:
        return _NormalsVector(self.reference, self.programmed)

    def moved(self, rows: Iterable[Tensor]) -> Iterator[Params]:
        """The parameters of each die."""
        for row in rows:
            deviations = self.reference.deviate(*self.vector.unpack(row))
            yield apply(self.programmed.params, deviations, self.programmed.placement)


def _scores_of(work: _RareWork, rows: Tensor) -> Found:
    """The score of each die, (dies,)."""
    scores = []
    with evaluating(work.network):
        for outputs in outputs_on(work.network, work.moved(rows), work.data):
            check_outputs(outputs, work.data.y)
            scores.append(score(outputs, work.data.y))
    return {"score": torch.tensor(scores, dtype=torch.float64)}


class _NormalsVector:
    """Packs all standard normals of a die, and those of a reading of its devices, into one vector; and unpacks them."""

    def __init__(self, die: Die, programmed: Programmed):
        self.programmed = programmed
        self.dtype = next(iter(programmed.expanded().values())).dtype
        self.shapes = [
            {name: [u.shape for u in several] for name, several in part.items()} for part in self._parts(die)
        ]

    def pack(self, die: Die) -> Tensor:
        parts = [
            u.reshape(-1).to(self.dtype) for part in self._parts(die) for several in part.values() for u in several
        ]
        return torch.cat(parts)

    def unpack(self, row: Tensor) -> tuple[dict[str, tuple[Tensor, ...]], Programmed, dict[str, tuple[Tensor, Tensor]]]:
        """The arguments of :meth:`neurorobust.chip.Die.deviate`."""
        sizes = [math.prod(shape) for part in self.shapes for several in part.values() for shape in several]
        parts = iter(row.split(sizes))
        normals, readings = (
            {name: tuple(next(parts).reshape(shape) for shape in several) for name, several in part.items()}
            for part in self.shapes
        )
        return normals, self.programmed, cast(dict[str, tuple[Tensor, Tensor]], readings)

    def _parts(self, die: Die) -> tuple[Mapping[str, tuple[Tensor, ...]], ...]:
        return die.draws(self.programmed), die.readings(self.programmed)
