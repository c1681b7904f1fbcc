"""What a board returns for one sample: spikes, and what was lost on the way."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...circuit import Events
from ...data.events import Window


@dataclass(frozen=True, eq=False)
class BoardRecording:
    """One run of a programmed board.

    Attributes:
        events: the input that the host sent.
        times, neurons: of every spike that the host received, (k,), s and number, in order of time. Neurons are
            numbered layer by layer, in the order of the network.
        n: number of neurons on the chip. duration: of the run, s.
        dropped_inputs, dropped_spikes: events that a virtual board lost on purpose; a real board cannot know them: 0.
        sample_times: of the membranes, s, (m,). membranes: by neuron, I_mem in A, (m,); empty unless watched.
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

    def counts(self) -> NDArray[np.int64]:
        """The number of spikes of every neuron, (n,)."""
        return np.bincount(self.neurons, minlength=self.n)

    def __repr__(self) -> str:
        lost = self.dropped_inputs + self.dropped_spikes
        more = f", {lost} events dropped" if lost else ""
        return f"BoardRecording({len(self.times)} spikes of {self.n} neurons in {self.duration:g} s{more})"


def binned(times: np.ndarray, which: np.ndarray, window: Window) -> NDArray[np.float64]:
    """The number of events in every step and channel of a window, (steps, channels)."""
    steps = window.index(times, 1.0)
    counts = np.zeros((window.steps, window.channels))
    np.add.at(counts, (steps, which), 1.0)
    return counts


def steps_in(duration: float, dt: float) -> int:
    """The number of steps that a duration takes; the last one may be cut short."""
    return max(1, int(np.ceil(duration / dt - 1e-6)))
