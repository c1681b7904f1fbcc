"""Scores of a network at several moments of a change: without errors, and on the same dies of a chip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from .._util.printed import bracketed
from ..chip import ChipModel
from ..core.run import nominal
from ..data.samples import Samples
from ..evaluation.fleet import Comparison, FleetResult, compare, evaluate
from ..evaluation.predict import nominal_score
from ..nn.network import Network, placement_of
from .mapping import onto


class _RefusedError(ValueError):
    """The chip cannot hold a network."""


N_DIES, SEED = 10, 1
FIRST = "before"


@dataclass(eq=False)
class Moments:
    """Takes the scores of a network, moment after moment.

    Attributes:
        chip: whose dies. data: samples. n_dies: dies 0 … n_dies − 1 of seed 1; 0 for none.
        scores: without errors, by moment. fleets: on dies, by moment.
        refused: why there is no fleet of a moment, by moment.
    """

    chip: ChipModel
    data: Samples
    n_dies: int
    scores: dict[str, float] = field(default_factory=dict)
    fleets: dict[str, FleetResult] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def take(self, moment: str, network: Network) -> None:
        """Measure a network."""
        self.scores[moment] = nominal_score(network, self.data)
        if not self.n_dies:
            return
        try:
            self.fleets[moment] = evaluate(self._held(network), self.data, self.chip, n_dies=self.n_dies, seed=SEED)
        except _RefusedError as error:
            self.refused[moment] = str(error)

    def _held(self, network: Network) -> nn.Module:
        """The network where it is, or where :func:`onto` puts it if the chip cannot hold it there.

        Raises:
            _RefusedError: the chip cannot hold it anywhere.
        """
        try:
            self.chip.program(nominal(network), placement_of(network))
        except (ValueError, TypeError) as error:
            try:
                return onto(network, self.chip).network
            except (ValueError, TypeError):
                raise _RefusedError(str(error).partition("\n")[0].rstrip(":.")) from error
        return network

    def repeat(self, moment: str, other: str) -> None:
        """Give a moment the scores of another one, between which nothing changed."""
        self.scores[moment] = self.scores[other]
        self.fleets |= {moment: self.fleets[other]} if other in self.fleets else {}
        self.refused |= {moment: self.refused[other]} if other in self.refused else {}


def changes_on_dies(fleets: Mapping[str, FleetResult]) -> dict[str, Comparison]:
    """Each moment minus the first, on the same dies; empty without a first one."""
    if FIRST not in fleets:
        return {}
    return {moment: compare(fleet, fleets[FIRST]) for moment, fleet in fleets.items() if moment != FIRST}


def lines(fleets: Mapping[str, FleetResult], refused: Mapping[str, str]) -> list[str]:
    """What a result says about dies, one line each."""
    if not fleets and not refused:
        return ["not measured: pass n_dies=10; on a die, numbers that are new deviate too"]
    told = []
    if fleets:
        one = next(iter(fleets.values()))
        means = " · ".join(f"{moment} {fleet.mean:.3f}" for moment, fleet in fleets.items())
        worst = " · ".join(f"{fleet.min:.3f}" for fleet in fleets.values())
        told.append(f"{means}, mean of {len(one.serials)} dies of {one.chip}")
        told.append(f"worst die {worst}; the same dies at every moment, seed {one.seed}")
    for moment, found in changes_on_dies(fleets).items():
        told.append(
            f"{moment} − {FIRST}: {found.difference:+.3f}{bracketed(found.ci95, '+.3f')}, paired"
            f"{'' if np.isnan(found.ci95[0]) else ', 95 % interval'}"
        )
    return told + [f"{moment} not measured: {why}" for moment, why in refused.items()]


def entry(fleets: Mapping[str, FleetResult]) -> dict[str, Any]:
    """For JSON."""

    def ends(ci95: tuple[float, float]) -> list[float] | None:
        return None if np.isnan(ci95[0]) else list(ci95)

    changes = changes_on_dies(fleets)
    return {
        moment: {
            "n_dies": len(fleet.serials),
            "mean": fleet.mean,
            "ci95": ends(fleet.ci95),
            "min": fleet.min,
            "change": None if moment not in changes else changes[moment].difference,
            "change_ci95": None if moment not in changes else ends(changes[moment].ci95),
        }
        for moment, fleet in fleets.items()
    }
