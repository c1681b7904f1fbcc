"""Engines: what stands in for the silicon of a virtual board. A new engine is one file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...chip.die import Die
from ...circuit import Events
from ..deployment import Deployment


@dataclass(frozen=True, eq=False)
class Spikes:
    """The spikes of one run: times, s, and neurons, (k,) each, in order of time; membranes where they were watched."""

    times: np.ndarray
    neurons: np.ndarray
    sample_times: np.ndarray = field(default_factory=lambda: np.zeros(0))
    membranes: dict[int, np.ndarray] = field(default_factory=dict)


class Configured(ABC):
    """A die with a deployment on it.

    Attributes:
        at_once: samples between two looks at the clock.
    """

    at_once = 1

    def check(self, duration: float, watch: Sequence[int]) -> None:  # noqa: B027
        """Raise ValueError for a run that the engine cannot do; by default it can do all."""

    @abstractmethod
    def run(self, samples: Sequence[Events], duration: float, watch: Sequence[int], trial: int) -> list[Spikes]:
        """Each sample from rest. ``trial`` counts the calls on a die: noise differs from one to the next."""


@dataclass(frozen=True)
class Engine(ABC):
    """The equations of a virtual board."""

    @abstractmethod
    def configure(self, deployment: Deployment, die: Die) -> Configured:
        """A die with a deployment on it.

        Raises:
            ValueError, TypeError: the engine has no equations for such a network.
        """
