"""A network on a fleet of dies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..chip import ChipModel
from ..console import progress
from ..errors import check_count, check_finite, check_number
from ..network import placement_of
from ..params import Params, apply, forward, nominal
from ..tasks.task import Data
from .statistics import balanced_accuracy, clopper_pearson, mean_interval, recall


@dataclass(frozen=True)
class Yield:
    """Fraction of dies that meet a specification, with its exact (Clopper–Pearson) 95 % interval."""

    spec: float
    fraction: float
    ci95: tuple[float, float]


@dataclass(frozen=True, eq=False)
class FleetResult:
    """One network on many dies; the die is the statistical unit.

    Attributes:
        chip: name of the chip model. seed, serials: which dies.
        nominal, programmed: balanced accuracy before programming, and after quantization on an ideal die.
        accuracy, balanced_accuracy: of each die, shape (n_chips,).
        recall: of each die and class, shape (n_chips, n_classes).
        programming: what programming changed, one row a core.
    """

    chip: str
    seed: int
    serials: tuple[int, ...]
    nominal: float
    programmed: float
    accuracy: np.ndarray
    balanced_accuracy: np.ndarray
    recall: np.ndarray
    programming: list[dict]

    @property
    def mean(self) -> float:
        """Mean balanced accuracy over dies."""
        return float(self.balanced_accuracy.mean())

    @property
    def std(self) -> float:
        """Standard deviation of balanced accuracy over dies (n − 1)."""
        return float(self.balanced_accuracy.std(ddof=1)) if len(self.serials) > 1 else float("nan")

    @property
    def min(self) -> float:
        """Balanced accuracy of the worst die."""
        return float(self.balanced_accuracy.min())

    @property
    def ci95(self) -> tuple[float, float]:
        """Student's 95 % interval of the mean over dies."""
        return mean_interval(self.balanced_accuracy)

    def quantile(self, q: float) -> float:
        """The q-quantile of balanced accuracy over dies."""
        return float(np.quantile(self.balanced_accuracy, q))

    def yield_at(self, spec: float) -> Yield:
        """The fraction of dies whose balanced accuracy is at least ``spec``."""
        check_number("spec", spec)
        good = int((self.balanced_accuracy >= spec).sum())
        return Yield(spec, good / len(self.serials), clopper_pearson(good, len(self.serials)))


@dataclass(frozen=True)
class Comparison:
    """Two networks on the same dies: the mean difference in balanced accuracy (first − second), its 95 % interval
    (paired, Student), and on how many dies the first did better."""

    difference: float
    ci95: tuple[float, float]
    better: int
    n: int


def evaluate(network: nn.Module, data: Data, chip: ChipModel, *, n_chips: int = 100, seed: int = 1) -> FleetResult:
    """Program a network onto dies 0 … n_chips − 1 of a chip model and measure every one.

    The same seed gives the same dies to every network, so two results can be compared die by die.

    Args:
        network: evaluated at its nominal parameters, which stay as they are.
        data: samples and labels.
        chip: a chip model, or :func:`neurorobust.mismatch` (level).
        n_chips: number of dies. seed: of the dies.
    """
    check_count("n_chips", n_chips)
    data.check_classes("data")
    params = nominal(network)
    check_finite(params)
    programmed = chip.program(params, placement_of(network))
    fleet = chip.fabricate(range(n_chips), seed)
    rows = []
    with progress(f"dies of {chip.name}", n_chips) as tick:
        for die in fleet:
            params = apply(programmed.params, die.deviations(programmed), programmed.placement)
            rows.append(_measure(network, params, data))
            tick()
    return FleetResult(
        chip=chip.name,
        seed=seed,
        serials=fleet.serials,
        nominal=_measure(network, nominal(network), data)[1],
        programmed=_measure(network, programmed.params, data)[1],
        accuracy=np.array([row[0] for row in rows]),
        balanced_accuracy=np.array([row[1] for row in rows]),
        recall=np.array([row[2] for row in rows]),
        programming=programmed.report,
    )


def compare(first: FleetResult, second: FleetResult) -> Comparison:
    """Compare two networks die by die.

    Raises:
        ValueError: they were not measured on the same dies.
    """
    if (first.chip, first.seed, first.serials) != (second.chip, second.seed, second.serials):
        raise ValueError(
            f"compare: got dies of {first.chip} (seed {first.seed}, {len(first.serials)}) and of {second.chip} "
            f"(seed {second.seed}, {len(second.serials)}); expected the same dies for both."
        )
    gain = first.balanced_accuracy - second.balanced_accuracy
    return Comparison(float(gain.mean()), mean_interval(gain), int((gain > 0).sum()), len(gain))


@torch.no_grad()
def _measure(network: nn.Module, params: Params, data: Data) -> tuple[float, float, list[float]]:
    """Accuracy, balanced accuracy and recall at some parameters, in fixed blocks of samples."""
    logits = torch.cat([forward(network, params, block)[0] for block in data.x.split(250)])
    predicted = logits.argmax(-1)
    accuracy = float((predicted == data.y).double().mean())
    return accuracy, balanced_accuracy(logits, data.y), recall(predicted, data.y, logits.shape[-1]).tolist()
