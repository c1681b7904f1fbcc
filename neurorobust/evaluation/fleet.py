"""A network evaluated on a fleet of dies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .._util.console import progress
from .._util.digests import of_tensors
from .._util.errors import check_count, check_number
from .._util.printed import Printed, bracketed, fitted
from .._util.warn import warn
from ..chip import Agreement, ChipModel, Fleet, Programmed
from ..chip.equations import time_differences
from ..core.params import Params
from ..core.run import evaluating
from ..core.run import nominal as nominal_params
from ..data.samples import Data, Samples, as_samples
from ..nn.fleet_run import samples_at_once
from ..nn.network import placement_of
from .inputs import foreign_inputs
from .noisy import noisy_logits
from .predict import ATTACK_BATCH, Run, checked_params, outputs_on, tensors_of
from .spread import Found, Resumable, check_executor, spread
from .statistics import (
    check_numbers,
    check_outputs,
    clopper_pearson,
    decisions,
    difference_interval,
    mean_interval,
    one_class,
    recall,
    score,
    score_bounds,
)
from .trim import Calibration, Trim, check_apart


@dataclass(frozen=True)
class Yield(Printed):
    """Fraction of dies that meet a specification, with its exact (Clopper–Pearson) 95 % interval.

    Example:
        >>> import numpy as np
        >>> found = nr.evaluation.Yield.of(np.array([0.85, 0.91, 0.93, 0.96]), 0.9)
        >>> found.fraction, [round(end, 2) for end in found.ci95]
        (0.75, [0.19, 0.99])
    """

    spec: float
    fraction: float
    ci95: tuple[float, float]

    @classmethod
    def of(cls, score: np.ndarray, spec: float) -> Yield:
        """That of scores, one of each die."""
        good = int((score >= check_spec(spec)).sum())
        return cls(float(spec), good / len(score), clopper_pearson(good, len(score)))

    def __repr__(self) -> str:
        low, high = self.ci95
        return f"Yield({self.fraction:.3f} [{low:.3f}, {high:.3f}] of the dies reach {self.spec:g})"


def check_spec(spec: float) -> float:
    """A specification as a number; ValueError unless it can be a score."""
    spec = check_number("spec", spec)
    if spec > 1:
        raise ValueError(f"spec: got {spec:g}; expected a score from 0 to 1, .90 for 90 %.")
    return spec


@dataclass(frozen=True, eq=False)
class FleetResult(Printed):
    """One network on many dies; the die is the statistical unit.

    Attributes:
        chip: label of the chip model: its name, and the time, defects and noise put on it. seed, serials: which dies.
        nominal, programmed: score before programming, and after quantization on an ideal die.
        score: of each die, shape (n_dies,): balanced accuracy for classes, R² for a regression;
            means, quantiles and yields are of it.
        accuracy: of each die, shape (n_dies,). recall: of each die and class, shape (n_dies, n_classes). Both None
            for a regression.
        programming: the changes made by programming, one row per core.
        equations: whether the equations of the network are those of the chip; print it. differences: what the network
            has that the chip lacks, and the reverse, one sentence each; ``print`` of the result lists them.
        one_class: the class that the nominal network predicts for every sample, if it does; then the scores are chance.
        trimmed: the same dies with their read-outs trimmed, if ``evaluate`` got a trim; ``compare(result.trimmed,
            result)`` is the gain, die by die. nominal and programmed there are untrimmed.
        model, labels_sha256: the chip model, and the digest of the labels or targets: results can be compared only
            where both are the same. network_sha256: of the parameters and buffers of the network.
        trim: of a trimmed result, what it was fitted on, in words. offsets: of each die and class, (n_dies, n_classes).

    Example:
        >>> layer = nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(layer.weight)
        >>> data = nr.data.Data(torch.tensor([[1.0, 0.8], [0.2, 1.0]]), torch.tensor([0, 1]))
        >>> fleet = nr.evaluate(nr.wrap(layer), data, nr.mismatch(0.3), n_dies=100)
        >>> fleet.mean, fleet.min, fleet.yield_at(1.0).fraction
        (0.805, 0.5, 0.61)
    """

    chip: str
    seed: int
    serials: tuple[int, ...]
    nominal: float
    programmed: float
    score: np.ndarray
    accuracy: np.ndarray | None
    recall: np.ndarray | None
    programming: list[dict]
    one_class: int | None = None
    equations: Agreement | None = None
    trimmed: FleetResult | None = None
    trim: str | None = None
    offsets: np.ndarray | None = None
    differences: tuple[str, ...] = ()
    model: ChipModel | None = None
    labels_sha256: str = ""
    network_sha256: str = ""

    def __str__(self) -> str:
        return fitted("\n".join([repr(self), *self.differences]))

    def __repr__(self) -> str:
        told = ":" if self.equations is None else f"; {self.equations};"
        more = "" if self.trim is None else f", trimmed on {self.trim}"
        if self.trimmed is not None:
            more += f"; trimmed on {self.trimmed.trim}: mean {self.trimmed.mean:.3f}, min {self.trimmed.min:.3f}"
        if self.one_class is not None:
            more += f"; nominally class {self.one_class} is predicted for every sample"
        return (
            f"FleetResult({len(self.serials)} dies of {self.chip}, seed {self.seed}{told} nominal {self.nominal:.3f}, "
            f"programmed {self.programmed:.3f}, mean {self.mean:.3f}{bracketed(self.ci95)}, min {self.min:.3f}"
            f"{more})"
        )

    @property
    def balanced_accuracy(self) -> np.ndarray:
        """Of each die, shape (n_dies,)."""
        if self.accuracy is None:
            raise ValueError("balanced_accuracy: a regression has none; use score, which is R².")
        return self.score

    @property
    def mean(self) -> float:
        """Mean score over dies."""
        return float(self.score.mean())

    @property
    def std(self) -> float:
        """Standard deviation of the score over dies (n − 1)."""
        return float(self.score.std(ddof=1)) if len(self.serials) > 1 else float("nan")

    @property
    def min(self) -> float:
        """Score of the worst die."""
        return float(self.score.min())

    @property
    def worst_serial(self) -> int:
        """The serial number of the worst die, of equals the smallest; ``chip.fabricate([serial], seed=…)`` makes it."""
        return min(serial for serial, score in zip(self.serials, self.score) if score == self.min)

    @property
    def ci95(self) -> tuple[float, float]:
        """95 % interval of the mean over dies, inside the bounds of the score; see
        :func:`neurorobust.evaluation.mean_interval`."""
        return mean_interval(self.score, bounds=score_bounds(self.accuracy is None))

    def quantile(self, q: float) -> float:
        """The q-quantile of the score over dies."""
        return float(np.quantile(self.score, q))

    def yield_at(self, spec: float) -> Yield:
        """The fraction of dies whose score is at least ``spec``, with its interval."""
        return Yield.of(self.score, spec)


@dataclass(frozen=True)
class Comparison(Printed):
    """Two networks on the same dies: the mean difference in score (first − second), its 95 % interval
    (paired, Student), and on how many dies the first did better.

    Example:
        >>> data = nr.data.Data(torch.tensor([[1.0, 0.8], [0.2, 1.0]]), torch.tensor([0, 1]))
        >>> layers = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(layers[0].weight), nn.init.constant_(layers[1].weight, 1.0)  # the second one guesses
        >>> first, second = (nr.evaluate(nr.wrap(layer), data, nr.mismatch(0.1), n_dies=50) for layer in layers)
        >>> found = nr.compare(first, second)
        >>> found.better, found.n
        (43, 50)
    """

    difference: float
    ci95: tuple[float, float]
    better: int
    n: int

    def __repr__(self) -> str:
        interval = bracketed(self.ci95, "+.4f")
        return f"Comparison({self.difference:+.4f}{interval} over {self.n} dies; the first is better on {self.better})"


def evaluate(
    network: nn.Module,
    data: Any,
    chip: ChipModel,
    *,
    n_dies: int = 100,
    seed: int = 1,
    trim: Trim | None = None,
    executor: Executor | Resumable | None = None,
) -> FleetResult:
    """Program a network onto dies 0 … n_dies − 1 of a chip model and measure every one.

    Layers on the host (a read-out) are exact on a chip, and deviate like the rest with ``nr.mismatch(level)``;
    :meth:`neurorobust.chip.ChipModel.with_host` chooses.

    The same seed gives the same dies to every network, so two results can be compared die by die.

    Args:
        network: evaluated at its nominal parameters, which are not changed.
        data: samples and labels: :class:`neurorobust.data.Data`, or what :meth:`neurorobust.data.Data.of` takes, such
            as a DataLoader; what does not fit into memory is read again in every pass.
        chip: a chip model, or :func:`neurorobust.mismatch` (level); with the time since programming, defects and noise
            that were set on it: ``chip.at("30 days")``, ``chip.with_defects(…)``, ``chip.with_noise(…)``. A die's noise
            follows from its serial and the seed.
        n_dies: number of dies. seed: of the dies.
        trim: calibrate the read-out of every die on a few samples, ``nr.Trim(task.validation.x, 50)``; the result has
            both scores: as it stands, and ``result.trimmed``.
        executor: of ``concurrent.futures``: :func:`neurorobust.evaluation.workers` (processes), or a Dask cluster's
            ``client.get_executor()``. Few dies at a time, and blocks of samples where dies are few, go to each worker;
            the result has the same bits. See :class:`neurorobust.evaluation.Resumable`.

    Raises:
        neurorobust.evaluation.WorkersLost: the executor broke; it holds what is done.
        TypeError: ``chip`` is no chip model. ValueError: the chip cannot hold the network, data that do not fit its
            outputs or hold one class only, samples of the trim that are those of the test, or ``n_dies`` below 1.

    Example:
        >>> data = nr.data.Data(torch.rand(20, 6), torch.arange(20) % 2)
        >>> fleet = nr.evaluate(nr.wrap(nn.Linear(6, 2)), data, nr.mismatch(0.3), n_dies=4, seed=1)
        >>> fleet.score.shape, bool(fleet.min <= fleet.mean)
        ((4,), True)
    """
    n_dies = check_count("n_dies", n_dies)
    check_executor(executor)
    data = as_samples(data)
    if trim is not None:
        check_apart(trim, data)
    if not isinstance(chip, ChipModel):
        raise TypeError(
            f"chip: got {chip!r}; expected a ChipModel: chipmodels.load({str(chip)!r}), or nr.mismatch(level)."
        )
    data.check_classes("data")
    params = checked_params(network, data)
    programmed = chip.program(params, placement_of(network))
    no_events = foreign_inputs(network, chip, data)
    fleet = chip.fabricate(range(n_dies), seed)
    offsets: list[Tensor] = []
    rows: list[Row] = []
    trimmed: list[Row] = []
    guessed = None
    strange: list[bool] = []
    with progress(f"dies of {chip.label}", n_dies + 2) as tick, evaluating(network):
        calibration = None if trim is None else Calibration(network, trim, params, programmed)
        dies = () if executor is not None else _moved(fleet, programmed, calibration, offsets)
        if chip.noise:
            noisy = outputs_on(network, dies, data, noisy_run(network, fleet, programmed))
            everything: Iterator[Tensor] = chain(outputs_on(network, (params, programmed.params), data), noisy)
        else:
            everything = outputs_on(network, chain((params, programmed.params), dies), data)
        for number, outputs in enumerate(everything, -2):  # the two before the dies
            check_outputs(outputs, data.y)
            if not rows:
                check_numbers(outputs)
                guessed = one_class(outputs, data.y)
                if calibration is not None:
                    calibration.check_frequencies(outputs)
            strange.append(bool(outputs.isnan().any()))
            rows.append(_measure(outputs, data))
            if trim is not None and number >= 0:
                trimmed.append(_measure(outputs + offsets[number], data))
            tick()
    if executor is not None:
        work = FleetWork(network, data, chip, seed, trim)
        with progress(f"dies of {chip.label}", n_dies) as tick:
            for found in _spread_dies(executor, work, n_dies, tick):
                rows += _rows(found, "score", "accuracy", "recall")
                trimmed += _rows(found, "trimmed score", "trimmed accuracy", "trimmed recall")
                strange += found["nan"].tolist()
                offsets += found.get("offsets", ())
    _say_lost(strange[2:], fleet.serials, data.regression)
    (nominal_score, *_), (programmed_score, *_), *rows = rows
    result = FleetResult(
        chip=chip.label,
        seed=seed,
        serials=fleet.serials,
        nominal=nominal_score,
        programmed=programmed_score,
        **_columns(rows, data),
        programming=programmed.report,
        one_class=guessed,
        equations=programmed.equations,
        model=chip,
        labels_sha256=of_tensors({"y": data.y}),
        network_sha256=of_tensors(tensors_of(network)),
        differences=(*_differences(network, chip, programmed), *no_events),
    )
    if trim is None:
        return result
    after = replace(result, **_columns(trimmed, data), trim=str(trim), offsets=torch.stack(offsets).cpu().numpy())
    return replace(result, trimmed=after)


def _say_lost(strange: Sequence[bool], serials: Sequence[int], regression: bool) -> None:
    """Warn of dies whose outputs are NaN; a regression has no score there, so it is refused."""
    if not any(strange):
        return
    which = f"{sum(strange)} of {len(serials)} dies give NaN for some samples, die {serials[strange.index(True)]} first"
    if regression:
        raise ValueError(f"network: {which}, so there is no R²; look for a root, a logarithm or a division in it.")
    warn(f"network: {which}; these samples count as wrong.")


def compare(first: FleetResult, second: FleetResult) -> Comparison:
    """Compare two networks die by die.

    Raises:
        ValueError: they were not measured on the same dies. TypeError: one is no result of a fleet.

    Example:
        >>> data = nr.data.Data(torch.rand(20, 6), torch.arange(20) % 2)
        >>> a, b = (nr.evaluate(nr.wrap(nn.Linear(6, 2)), data, nr.mismatch(0.1), n_dies=5, seed=1) for _ in range(2))
        >>> difference = nr.compare(a, b)  # the same five dies
        >>> bool(difference.ci95[0] <= difference.difference <= difference.ci95[1]), difference.n
        (True, 5)
    """
    check_same_dies(first, second)
    gain = first.score - second.score
    ci95 = difference_interval(gain, regression=first.accuracy is None)
    return Comparison(float(gain.mean()), ci95, int((gain > 0).sum()), len(gain))


def check_same_dies(first: FleetResult, second: FleetResult) -> None:
    """Raise ValueError unless two results are of the same dies, and of the same labels; TypeError if one is none."""
    for name, each in (("first", first), ("second", second)):
        if not isinstance(each, FleetResult):
            raise TypeError(f"{name}: got a {type(each).__name__}; expected what nr.evaluate returns.")
    if (first.chip, first.seed, first.serials) != (second.chip, second.seed, second.serials):
        raise ValueError(
            f"compare: got dies of {first.chip} (seed {first.seed}, {len(first.serials)}) and of {second.chip} "
            f"(seed {second.seed}, {len(second.serials)}); expected the same dies for both."
        )
    if None not in (first.model, second.model) and first.model != second.model:
        raise ValueError(
            f"compare: {first.chip!r} is the name of two chip models with different numbers, so the dies are not the "
            f"same; measure both networks with one of them."
        )
    if "" not in (first.labels_sha256, second.labels_sha256) and first.labels_sha256 != second.labels_sha256:
        raise ValueError("compare: the results are of samples with different labels; measure both on the same samples.")


def noisy_run(network: nn.Module, fleet: Fleet, programmed: Programmed, passes: int = 0) -> Run:
    """Some dies of a fleet on some samples, each with its own noise; ``passes``: over samples before those given."""

    def run(dies: Sequence[Params], first: int, x: Tensor, before: int) -> Iterator[Tensor]:
        some = Fleet(fleet.model, fleet.serials[first : first + len(dies)], fleet.seed)
        return noisy_logits(network, dies, x, some, programmed, before=passes + before)

    return run


def _moved(
    fleet: Fleet, programmed: Programmed, calibration: Calibration | None, offsets: list[Tensor]
) -> Iterator[Params]:
    """The parameters of each die; the offsets of its trim are added to ``offsets`` before."""
    for die in fleet:
        moved = die.params(programmed)
        if calibration is not None:
            offsets.append(calibration.offsets(die, moved))
        yield moved


# ---- on many workers


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
        dies = _moved(fleet, work.programmed, None if start else work.calibration, offsets)
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
            rows.append(_measure(each, data))
        for i, name in enumerate(("score", "accuracy", "recall") if rows else ()):
            found[key + name] = torch.tensor([row[i] for row in rows], dtype=torch.float64)
    return found


def _spread_dies(
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


def _rows(found: Found, *names: str) -> list[Row]:
    """The rows of some dies."""
    return [(a, b, c) for a, b, c in zip(*(found[name].tolist() for name in names))] if names[0] in found else []


def _differences(network: nn.Module, chip: ChipModel, programmed: Programmed) -> tuple[str, ...]:
    """Those of the equations, and steps of time on a chip without a clock."""
    found = () if programmed.equations is None else programmed.equations.differences
    dt, placement = getattr(network, "dt", None), placement_of(network)
    return (*found, *time_differences(chip.neuron, dt, programmed.params, placement))


Row = tuple[float, float, list[float]]


def _columns(rows: list[Row], data: Samples) -> dict[str, Any]:
    """The scores, accuracies and recalls of all dies."""
    if data.regression:
        return {"score": np.array([row[0] for row in rows]), "accuracy": None, "recall": None}
    return {key: np.array([row[i] for row in rows]) for i, key in enumerate(("score", "accuracy", "recall"))}


def _measure(outputs: Tensor, data: Samples) -> Row:
    """Score, accuracy and recall of some outputs; a regression has the first alone."""
    if data.regression:  # NaN is refused when all dies are counted
        return float("nan") if outputs.isnan().any() else score(outputs, data.y), float("nan"), []
    predicted = decisions(outputs)
    accuracy = float((predicted == data.y).double().mean())
    return score(outputs, data.y), accuracy, recall(predicted, data.y, outputs.shape[-1]).tolist()
