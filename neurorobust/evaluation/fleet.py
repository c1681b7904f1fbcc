"""A network evaluated on a fleet of dies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .._util.console import progress
from .._util.digests import of_tensors
from .._util.errors import check_count, check_number, shown
from .._util.printed import Printed, bracketed, fitted
from .._util.warn import warn
from ..chip import Agreement, ChipModel, Programmed
from ..chip.design import a_chip
from ..chip.equations import time_differences
from ..core.run import evaluating
from ..data.samples import Samples, as_samples
from ..nn.network import placement_of
from .fleet_work import FleetWork, Row, measure, moved, noisy_run, rows_of, spread_dies
from .inputs import foreign_inputs
from .predict import checked_params, outputs_on, tensors_of
from .spread import Resumable, check_executor
from .statistics import (
    check_numbers,
    check_outputs,
    clopper_pearson,
    difference_interval,
    mean_interval,
    one_class,
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
        raise TypeError(f"chip: got {shown(chip)}; expected {a_chip(chip)}, or nr.mismatch(level).")
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
        dies = () if executor is not None else moved(fleet, programmed, calibration, offsets)
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
            rows.append(measure(outputs, data))
            if trim is not None and number >= 0:
                trimmed.append(measure(outputs + offsets[number], data))
            tick()
    if executor is not None:
        work = FleetWork(network, data, chip, seed, trim)
        with progress(f"dies of {chip.label}", n_dies) as tick:
            for found in spread_dies(executor, work, n_dies, tick):
                rows += rows_of(found, "score", "accuracy", "recall")
                trimmed += rows_of(found, "trimmed score", "trimmed accuracy", "trimmed recall")
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


def _differences(network: nn.Module, chip: ChipModel, programmed: Programmed) -> tuple[str, ...]:
    """Those of the equations, and steps of time on a chip without a clock."""
    found = () if programmed.equations is None else programmed.equations.differences
    dt, placement = getattr(network, "dt", None), placement_of(network)
    return (*found, *time_differences(chip.neuron, dt, programmed.params, placement))


def _columns(rows: list[Row], data: Samples) -> dict[str, Any]:
    """The scores, accuracies and recalls of all dies."""
    if data.regression:
        return {"score": np.array([row[0] for row in rows]), "accuracy": None, "recall": None}
    return {key: np.array([row[i] for row in rows]) for i, key in enumerate(("score", "accuracy", "recall"))}
