"""Scores of dies, one after the other, for a measurement that ends when it has seen enough."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from torch import nn

from ..chip import ChipModel
from ..core.run import evaluating
from ..data.samples import as_samples
from ..nn.network import placement_of
from .fleet_work import noisy_run
from .inputs import foreign_inputs
from .predict import checked_params, outputs_on
from .statistics import check_outputs, score


def die_scores(network: nn.Module, data: Any, chip: ChipModel, serials: Sequence[int], seed: int) -> Generator[float]:
    """The score of each die, as :func:`neurorobust.evaluate` measures it; a few dies are made when they are asked for.

    Everything is checked before the first die. If it is not read to its end, close it: ``contextlib.closing``.

    Args:
        network, data, chip: as for :func:`neurorobust.evaluate`.
        serials: of the dies, in this order. seed: of the dies.
    """
    data = as_samples(data)
    data.check_classes("data")
    params = checked_params(network, data)
    programmed = chip.program(params, placement_of(network))
    foreign_inputs(network, chip, data)
    fleet = chip.fabricate(serials, seed)
    moved = (die.params(programmed) for die in fleet)

    def scores() -> Generator[float]:
        with evaluating(network):
            run = noisy_run(network, fleet, programmed) if chip.noise else None
            for outputs in outputs_on(network, moved, data, run):
                check_outputs(outputs, data.y)
                yield score(outputs, data.y)

    return scores()
