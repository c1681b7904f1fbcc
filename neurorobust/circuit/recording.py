"""Input events and recorded spikes, in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .._util.errors import check_number
from .._util.printed import Printed
from ..data.events import Window

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False, repr=False)
class Events(Printed):
    """Input events in order of time.

    Attributes:
        times: s, (k,), ≥ 0, none before the one before it. channels: of each, (k,), ≥ 0.

    Raises:
        ValueError: NaN, an event before 0, out of order, or arrays of two lengths. TypeError: no integers as channels.

    Example:
        >>> counts = torch.tensor([[0, 2], [1, 0]])  # two steps of 1 ms, two channels
        >>> events = nr.circuit.Events.of_steps(counts, 1e-3)
        >>> events.times.tolist(), events.channels.tolist()
        ([0.0, 0.0, 0.001], [1, 1, 0])
    """

    times: Floats
    channels: Integers

    def __post_init__(self) -> None:
        times, channels = array_of("times", self.times), array_of("channels", self.channels)
        if times.shape != channels.shape or times.ndim != 1:
            raise ValueError(f"times: got shapes {times.shape} and {channels.shape}; expected two arrays (k,).")
        if len(times) and (times.dtype.kind not in "fiu" or channels.dtype.kind not in "iu"):
            raise TypeError(
                f"times: got arrays of {times.dtype} and {channels.dtype}; expected seconds and integer channels."
            )
        times, channels = times.astype(np.float64), channels.astype(np.int64)
        bad = ~np.isfinite(times) | (times < 0) | (np.diff(times, prepend=0.0) < 0)
        if bad.any():
            first = int(np.argmax(bad))
            before = f" after {times[first - 1]!r} s" if first else ""
            raise ValueError(
                f"times: event {first} is at {times[first]!r} s{before}; expected finite times ≥ 0, sorted."
            )
        if (channels < 0).any():
            raise ValueError(f"channels: got {channels.min()}; expected channels ≥ 0.")
        for name, values in (("times", times), ("channels", channels)):
            values.flags.writeable = False
            object.__setattr__(self, name, values)

    @classmethod
    def of_steps(cls, x: ArrayLike, dt: float) -> Events:
        """The events of one sample of a network's input: x[t, c] of them on channel c at time t · dt.

        Args:
            x: counts, (T, channels). dt: length of a step, s.
        """
        counts = array_of("x", x)
        dt = check_number("dt", dt, strict=True)
        if counts.ndim != 2:
            more = " Flatten its channels: x.flatten(1)." if counts.ndim > 2 else ""
            raise ValueError(f"x: got shape {counts.shape}; expected (T, channels): one sample.{more}")
        if counts.size and counts.dtype.kind not in "bfiu":
            raise TypeError(f"x: got an array of {counts.dtype}; expected counts of events.")
        if not np.isfinite(counts).all() or (counts < 0).any() or (counts != np.round(counts)).any():
            raise ValueError("x: values that are not counts; expected whole numbers of events ≥ 0.")
        steps, channels = np.nonzero(counts)
        repeats = counts[steps, channels].astype(np.int64)
        return cls(np.repeat(steps * dt, repeats), np.repeat(channels, repeats))


@dataclass(frozen=True, eq=False, repr=False)
class Recording(Printed):
    """The result of a simulation.

    Attributes:
        times, neurons: of every spike, (k,), in order of time. n: number of neurons. duration: s.
        membranes: I_mem of the watched neurons, A, (watched, samples). sample_times: of the samples, s.
        steps: number of steps of integration. rejected: those that were too long and were tried again.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> circuit = nr.deploy.onto(network, chipmodels.load("dynapse2")).image().circuit()
        >>> recording = nr.circuit.simulate(circuit, nr.circuit.Events([0.01], [3]), duration=0.02)
        >>> recording.n, int(recording.counts().sum()) == len(recording.times)
        (128, True)
    """

    times: Floats
    neurons: Integers
    n: int
    duration: float
    membranes: Floats
    sample_times: Floats
    steps: int
    rejected: int

    def counts(self) -> Integers:
        """The number of spikes of every neuron, (n,)."""
        return np.bincount(self.neurons, minlength=self.n)

    def binned(self, dt: float, steps: int) -> Floats:
        """The number of spikes of every neuron in the first ``steps`` steps of dt seconds, (steps, n). A spike at the
        edge of a step, but for rounding, is in the step that begins there; see :class:`neurorobust.data.Window`."""
        window = Window(dt, steps, self.n)
        bins = window.index(self.times, 1.0)
        here = bins < window.steps
        counts = np.bincount(bins[here] * self.n + self.neurons[here], minlength=window.steps * self.n)
        return counts.reshape(window.steps, self.n).astype(np.float64)


def array_of(name: str, values: object) -> NDArray[Any]:
    """A tensor, an array or a sequence of numbers as an array.

    Raises:
        TypeError: it is none of these.
    """
    try:
        return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name}: got a {type(values).__name__}, which is no array ({error}); expected numbers."
        ) from error
