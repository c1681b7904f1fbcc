"""Scores of dies, one after the other, for a measurement that ends when it has seen enough."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from torch import nn

from ..chip import ChipModel
from ..core.run import evaluating
from ..data.task import Data, check_data
from ..nn.fleet_run import fleet_logits
from ..nn.network import placement_of
from .noisy import noisy_logits
from .predict import checked_params
from .statistics import check_outputs, score


def die_scores(network: nn.Module, data: Data, chip: ChipModel, serials: Sequence[int], seed: int) -> Generator[float]:
    """The score of each die, as :func:`neurorobust.evaluate` measures it; a few dies are made when they are asked for.

    Everything is checked before the first die. If it is not read to its end, close it: ``contextlib.closing``.

    Args:
        network, data, chip: as for :func:`neurorobust.evaluate`.
        serials: of the dies, in this order. seed: of the dies.
    """
    check_data(data)
    data.check_classes("data")
    params = checked_params(network, data)
    programmed = chip.program(params, placement_of(network))
    fleet = chip.fabricate(serials, seed)
    moved = (die.params(programmed) for die in fleet)

    def scores() -> Generator[float]:
        with evaluating(network):
            if chip.noise:
                logits = noisy_logits(network, moved, data.x, fleet, programmed)
            else:
                logits = fleet_logits(network, moved, data.x)
            for outputs in logits:
                check_outputs(outputs, data.y)
                yield score(outputs, data.y)

    return scores()
