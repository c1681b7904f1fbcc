"""The answer of a board to one sample: spikes, and counts of lost events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..._util.errors import check_count, check_number
from ..._util.printed import Printed
from ...chip.design import check_type
from ...circuit import Events
from ...data.events import Window

MOST_STEPS = 1_000_000
"""Steps of a run: more do not fit into memory beside their channels."""


@dataclass(frozen=True, eq=False)
class BoardRecording(Printed):
    """One run of a programmed board.

    Attributes:
        events: the input that the host sent.
        times, neurons: of every spike that the host received, (k,), s and number, in order of time. Neurons are
            numbered layer by layer, in the order of the network.
        n: number of neurons on the chip. duration: of the run, s.
        dropped_inputs, dropped_spikes: events that a virtual board lost on purpose; a real board cannot know them: 0.
        sample_times: of the membranes, s, (m,). membranes: by neuron, I_mem in A, (m,); empty unless watched.

    Raises:
        ValueError: spikes out of order, before 0, or not before the duration, or of a neuron that is not there; or
            another value that no run has. TypeError: an argument of another type.

    Example:
        >>> nothing = nr.deploy.Events([], [])
        >>> recording = nr.deploy.BoardRecording(nothing, [0.001, 0.004, 0.009], [1, 0, 1], n=2, duration=0.01)
        >>> recording.counts().tolist()  # spikes of each neuron
        [1, 2]
    """

    events: Events
    times: NDArray[np.float64]
    neurons: NDArray[np.int64]
    n: int
    duration: float
    dropped_inputs: int = 0
    dropped_spikes: int = 0
    sample_times: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    membranes: dict[int, NDArray[np.float64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_type("events", self.events, Events, "nr.deploy.Events(times, channels)")
        for name, low in (("n", 1), ("dropped_inputs", 0), ("dropped_spikes", 0)):
            object.__setattr__(self, name, check_count(name, getattr(self, name), low))
        object.__setattr__(self, "duration", check_number("duration", self.duration, strict=True))
        check_type("membranes", self.membranes, Mapping, "arrays by neuron, {5: …}")
        try:
            spikes = Events(self.times, self.neurons)
        except (TypeError, ValueError) as error:
            raise type(error)(f"spikes: {error}") from error
        object.__setattr__(self, "times", spikes.times)
        object.__setattr__(self, "neurons", spikes.channels)
        for name, one in (("events", self.events), ("spikes", spikes)):
            if len(one.times) and one.times[-1] >= self.duration:
                raise ValueError(
                    f"{name}: the last is at {float(one.times[-1])!r} s; expected all before {self.duration!r} s."
                )
        if len(spikes.channels) and spikes.channels.max() >= self.n:
            raise ValueError(f"spikes: got neuron {spikes.channels.max()}; expected 0 to {self.n - 1}.")

    def counts(self) -> NDArray[np.int64]:
        """The number of spikes of every neuron, (n,)."""
        return np.bincount(self.neurons, minlength=self.n)

    def __repr__(self) -> str:
        lost = self.dropped_inputs + self.dropped_spikes
        more = f", {lost} events dropped" if lost else ""
        return f"BoardRecording({len(self.times)} spikes of {self.n} neurons in {self.duration:g} s{more})"


def listed(recordings: Iterable[BoardRecording]) -> list[BoardRecording]:
    """The recordings of a sequence.

    Raises:
        TypeError: it is none, or has something else in it.
    """
    if not isinstance(recordings, Iterable):
        raise TypeError(f"recordings: got a {type(recordings).__name__}; expected a list of BoardRecording.")
    found = list(recordings)
    for i, each in enumerate(found):
        if not isinstance(each, BoardRecording):
            raise TypeError(f"recordings[{i}]: got a {type(each).__name__}; expected a BoardRecording.")
    return found


def binned(times: np.ndarray, which: np.ndarray, window: Window) -> NDArray[np.float64]:
    """The number of events in every step and channel of a window, (steps, channels).

    All times are before the end of the run. One that is at the end, but for rounding, is in the last step.
    """
    if len(which) and which.max() >= window.channels:
        raise ValueError(f"recordings: got channel {which.max()}; the deployment has {window.channels}, from 0.")
    steps = np.minimum(window.index(times, 1.0), window.steps - 1)
    counts = np.zeros((window.steps, window.channels))
    np.add.at(counts, (steps, which), 1.0)
    return counts


def steps_in(duration: float, dt: float) -> int:
    """The number of steps that a duration takes; the last one may be cut short.

    Raises:
        ValueError: more than ``MOST_STEPS``.
    """
    if duration / dt > MOST_STEPS:
        raise ValueError(
            f"duration: {duration:g} s are {duration / dt:g} steps of {dt:g} s; expected at most {MOST_STEPS}: make "
            f"several runs."
        )
    return max(1, int(np.ceil(duration / dt - 1e-6)))
