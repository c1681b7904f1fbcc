"""The dies of a fleet, one after the other here, or in pieces on many workers: their parameters, runs and scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from ..chip import ChipModel, Fleet, Programmed
from ..core.params import Params
from ..core.run import evaluating
from ..core.run import nominal as nominal_params
from ..data.samples import Data, Samples
from ..nn.fleet_run import samples_at_once
from ..nn.network import placement_of
from .noisy import noisy_logits
from .predict import ATTACK_BATCH, Run, outputs_on
from .spread import Found, Resumable, spread
from .statistics import check_outputs, decisions, recall, score
from .trim import Calibration, Trim

Row = tuple[float, float, list[float]]
"""Score, accuracy and recall of a die."""


def noisy_run(network: nn.Module, fleet: Fleet, programmed: Programmed, passes: int = 0) -> Run:
    """Some dies of a fleet on some samples, each with its own noise; ``passes``: over samples before those given."""

    def run(dies: Sequence[Params], first: int, x: Tensor, before: int) -> Iterator[Tensor]:
        some = Fleet(fleet.model, fleet.serials[first : first + len(dies)], fleet.seed)
        return noisy_logits(network, dies, x, some, programmed, before=passes + before)

    return run


def moved(
    fleet: Fleet, programmed: Programmed, calibration: Calibration | None, offsets: list[Tensor]
) -> Iterator[Params]:
    """The parameters of each die; the offsets of its trim are added to ``offsets`` before."""
    for die in fleet:
        changed = die.params(programmed)
        if calibration is not None:
            offsets.append(calibration.offsets(die, changed))
        yield changed


def measure(outputs: Tensor, data: Samples) -> Row:
    """Score, accuracy and recall of some outputs; a regression has the first alone."""
    if data.regression:  # NaN is refused when all dies are counted
        return float("nan") if outputs.isnan().any() else score(outputs, data.y), float("nan"), []
    predicted = decisions(outputs)
    accuracy = float((predicted == data.y).double().mean())
    return score(outputs, data.y), accuracy, recall(predicted, data.y, outputs.shape[-1]).tolist()


@dataclass(frozen=True, eq=False)
class FleetWork:
    """What all workers of a fleet need; each programs the network once."""

    network: nn.Module
    data: Samples
    chip: ChipModel
    seed: int
    trim: Trim | None

    @cached_property
    def params(self) -> Params:
        return nominal_params(self.network)

    @cached_property
    def programmed(self) -> Programmed:
        return self.chip.program(self.params, placement_of(self.network))

    @cached_property
    def calibration(self) -> Calibration | None:
        return None if self.trim is None else Calibration(self.network, self.trim, self.params, self.programmed)


Piece = tuple[int, int, int, int]
"""A range of serials, and one of samples."""
AT_ONCE, PIECES = 16, 32
"""Dies in one piece at most; pieces at least, as far as dies and blocks of samples go."""


def fleet_pieces(n_dies: int, data: Samples) -> list[Piece]:
    """The pieces of a fleet, by die and then by sample. Dies that are few are divided by blocks of samples too; not
    those of a stream, which would be read from its beginning for each."""
    size = max(1, min(AT_ONCE, n_dies // PIECES))
    dies = [(first, min(first + size, n_dies)) for first in range(0, n_dies, size)]
    parts = [(0, len(data))]
    if isinstance(data, Data):
        blocks = [where for where in data.plan(ATTACK_BATCH) if isinstance(where, slice)]
        together = -(-len(blocks) // max(1, -(-PIECES // len(dies))))
        some = [blocks[k : k + together] for k in range(0, len(blocks), together)]
        parts = [(each[0].start, each[-1].stop) for each in some]
    return [(*die, *part) for die in dies for part in parts]


def measure_piece(work: FleetWork, piece: Piece) -> Found:
    """Scores of some dies; their outputs if the piece is not of all samples."""
    first, last, start, stop = piece
    network, data, fleet = work.network, work.data, work.chip.fabricate(range(first, last), work.seed)
    offsets: list[Tensor] = []
    before = 0
    whole = stop - start == len(data)
    if isinstance(data, Data) and not whole:
        before = -(-start // samples_at_once(data.x))
        data = Data(data.x[start:stop], data.y[start:stop])
    with evaluating(network):
        dies = moved(fleet, work.programmed, None if start else work.calibration, offsets)
        run = noisy_run(network, fleet, work.programmed, before) if work.chip.noise else None
        outputs = list(outputs_on(network, dies, data, run))
    found = {"offsets": torch.stack(offsets)} if offsets else {}
    return found | (_scores(outputs, offsets, data) if whole else {"outputs": torch.stack(outputs)})


def _scores(outputs: Sequence[Tensor], offsets: Sequence[Tensor], data: Samples) -> Found:
    """Scores of some dies, as they stand and trimmed, and whether an output is NaN."""
    found: Found = {"nan": torch.tensor([bool(each.isnan().any()) for each in outputs])}
    for key, some in (("", outputs), ("trimmed ", [own + offset for own, offset in zip(outputs, offsets)])):
        rows = []
        for each in some:
            check_outputs(each, data.y)
            rows.append(measure(each, data))
        for i, name in enumerate(("score", "accuracy", "recall") if rows else ()):
            found[key + name] = torch.tensor([row[i] for row in rows], dtype=torch.float64)
    return found


def spread_dies(
    executor: Executor | Resumable, work: FleetWork, n_dies: int, tick: Callable[..., None]
) -> Iterator[Found]:
    """The scores of all dies, some at a time."""
    pieces = fleet_pieces(n_dies, work.data)

    def arrived(piece: Piece) -> None:
        for _ in range(piece[1] - piece[0] if piece[3] == len(work.data) else 0):
            tick()

    parts: list[Found] = []
    for piece, found in zip(pieces, spread(executor, measure_piece, pieces, work, arrived), strict=True):
        if "score" in found:
            yield found
            continue
        parts.append(found)
        if piece[3] == len(work.data):
            device = work.data.y.device
            outputs = torch.cat([part["outputs"] for part in parts], 1).to(device)
            offsets = parts[0].get("offsets", outputs[:0]).to(device)
            yield {"offsets": offsets} | _scores(list(outputs), list(offsets), work.data)
            parts = []


def rows_of(found: Found, *names: str) -> list[Row]:
    """The rows of some dies."""
    return [(a, b, c) for a, b, c in zip(*(found[name].tolist() for name in names))] if names[0] in found else []
