"""A virtual board: a die of a chip model behind the contract of a board."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from ..._util.errors import check_count, check_number, shown
from ..._util.randomness import generator
from ...chip import ChipModel
from ...chip.design import a_chip
from ...circuit import Events
from ..deployment import Deployment
from ..image.asked import digest_of
from .contract import Board
from .engine import Configured, Engine, Spikes
from .network_engine import NetworkEngine
from .recording import BoardRecording

T = TypeVar("T")


class _Hidden(Generic[T]):
    """Holds what a look at a board does not show: neither ``vars`` nor ``repr``."""

    __slots__ = ("get",)

    def __init__(self, value: T):
        self.get: Callable[[], T] = lambda: value


class VirtualChip(Board):
    """One die of a chip model as a board: codes in, events out. Its true parameters stay hidden.

    The die is number ``serial`` of the dies of :func:`neurorobust.evaluate` with the same seed. Defects, time since
    programming and noise are those that were set on the chip: ``chip.with_defects(…)``, ``chip.at("30 days")``,
    ``chip.with_noise(…)``. Nothing of it is a measurement on silicon. A copy, or a board that went through pickle, is
    the same die with nothing on it.

    Args:
        chip: its model. serial, seed: of the die.
        engine: the equations, :class:`NetworkEngine` or :class:`CircuitEngine`.
        drops: probability that an event is lost on its way to the chip, and that a spike is lost on its way back. The
            recordings count them.
        resolution: of the time stamps of spikes, s: a spike gets the next multiple of it. 0 is exact.

    Raises:
        TypeError, ValueError: an argument is wrong.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
        >>> with nr.deploy.VirtualChip(deployment.chip, serial=17).open() as session:
        ...     session.program(deployment)
        ...     recording = session.run(nr.deploy.Events([0.01], [3]), duration=0.05)
        >>> recording.n, recording.duration
        (128, 0.05)
    """

    def __init__(
        self,
        chip: ChipModel,
        serial: int,
        *,
        seed: int = 1,
        engine: Engine | None = None,
        drops: float = 0.0,
        resolution: float = 0.0,
    ):
        if not isinstance(chip, ChipModel):
            raise TypeError(f"chip: got {shown(chip)}; expected {a_chip(chip)}.")
        engine = NetworkEngine() if engine is None else engine
        if not isinstance(engine, Engine):
            raise TypeError(f"engine: got {engine!r}; expected an Engine, such as nr.deploy.NetworkEngine().")
        if not chip.exact_host:
            raise ValueError(
                f"chip: the host of {chip.name} deviates, and a real one does not; use with_host(exact=True)."
            )
        self._serial, self._seed = check_count("serial", serial, 0), check_count("seed", seed, 0)
        (die,) = chip.fabricate([self._serial], self._seed)
        self._model, self._die = chip, _Hidden(die)
        self._drops = check_number("drops", drops)
        if self._drops >= 1:
            raise ValueError(f"drops: got {drops!r}; expected a probability below 1.")
        self._resolution = check_number("resolution", resolution)
        self._engine = engine
        self.chip, self.version = chip.name, chip.version
        self.name = f"virtual {chip.label} {self._serial}"
        self._held = ""
        self._prepared: _Hidden[tuple[Deployment, Configured]] | None = None
        self._configured: _Hidden[Configured] | None = None
        self._n = self._trials = 0

    def __reduce__(self) -> tuple[Any, ...]:
        options: dict[str, Any] = {"engine": self._engine, "drops": self._drops, "resolution": self._resolution}
        return partial(VirtualChip, self._model, self._serial, seed=self._seed, **options), ()

    def __repr__(self) -> str:
        return f"VirtualChip({self.chip}, serial {self._serial}, seed {self._seed}, {self._engine})"

    def connect(self) -> None:
        """It starts empty, as after power-on."""
        self.disconnect()

    def disconnect(self) -> None:
        self._held, self._configured, self._prepared = "", None, None

    def check_program(self, deployment: Deployment) -> None:
        self._prepared = None
        self._prepared = _Hidden((deployment, self._engine.configure(deployment, self._die.get())))

    def write(self, deployment: Deployment) -> None:
        if self._prepared is None or self._prepared.get()[0] is not deployment:
            self.check_program(deployment)
        assert self._prepared is not None
        configured = self._prepared.get()[1]
        self.disconnect()
        self._configured = _Hidden(configured)
        self._n = sum(len(cores) for cores in deployment.cores.values())
        self._held = digest_of(deployment)

    def read(self) -> str:
        return self._held

    def check(self, samples: Sequence[Events], duration: float, watch: Sequence[int]) -> None:
        assert self._configured is not None
        self._configured.get().check(duration, watch)

    def execute(
        self, samples: Sequence[Events], duration: float, watch: Sequence[int], timeout: float
    ) -> list[BoardRecording]:
        assert self._configured is not None
        configured, end, found = self._configured.get(), time.monotonic() + timeout, list[BoardRecording]()
        at_once = configured.at_once
        for start in range(0, len(samples), at_once):
            some = samples[start : start + at_once]
            key = generator(self._seed, "board drops", self._serial, self._trials)
            received = [self._received(events, key) for events in some]
            spikes = configured.run(received, duration, watch, self._trials)
            found += [self._recorded(*each, duration, key) for each in zip(some, received, spikes, strict=True)]
            self._trials += 1
            if time.monotonic() > end:
                raise TimeoutError(f"{self.name}: {len(found)} of {len(samples)} samples took more than {timeout:g} s.")
        return found

    def _received(self, events: Events, key: torch.Generator) -> Events:
        """The events that reach the chip."""
        if not self._drops:
            return events
        kept = self._kept(len(events.times), key)
        return Events(events.times[kept], events.channels[kept])

    def _kept(self, n: int, key: torch.Generator) -> np.ndarray:
        return np.asarray((torch.rand(n, generator=key, dtype=torch.float64) >= self._drops).numpy())

    def _recorded(
        self, sent: Events, received: Events, spikes: Spikes, duration: float, key: torch.Generator
    ) -> BoardRecording:
        times, neurons, lost = spikes.times, spikes.neurons, 0
        if self._drops:
            kept = self._kept(len(times), key)
            times, neurons, lost = times[kept], neurons[kept], int((~kept).sum())
        if self._resolution:
            stamps = times / self._resolution
            rounding = np.maximum(1e-9, 4 * np.spacing(stamps))  # a spike at a multiple keeps its time
            times = np.ceil(stamps - rounding) * self._resolution
            inside = times < duration
            times, neurons, lost = times[inside], neurons[inside], lost + int((~inside).sum())
        return BoardRecording(
            events=sent,
            times=times,
            neurons=neurons,
            n=self._n,
            duration=duration,
            dropped_inputs=len(sent.times) - len(received.times),
            dropped_spikes=lost,
            sample_times=spikes.sample_times,
            membranes=spikes.membranes,
        )
