"""Event recordings, (time, channel) lists, as dense tensors: every event in exactly one bin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._util.errors import check_count, check_number
from .task import Data

INSTALL = "pip install h5py"
MICROSECOND = 1e-6


@dataclass(frozen=True)
class Window:
    """A stretch of time cut into bins: bin k holds start + k·dt ≤ t < start + (k + 1)·dt.

    Attributes:
        dt: length of a bin, s. steps: number of bins, T. channels: number of channels. start: of the first bin, s.
    """

    dt: float
    steps: int
    channels: int
    start: float = 0.0

    def __post_init__(self) -> None:
        check_number("dt", self.dt, strict=True)
        check_count("steps", self.steps)
        check_count("channels", self.channels)
        check_number("start", self.start, low=float("-inf"))

    def index(self, times: np.ndarray, unit: float) -> np.ndarray:
        """The bin of each time, floor((t − start)/dt), in float64, or in exact integers if the times are integers; it
        may lie outside 0 … steps − 1."""
        if not np.issubdtype(times.dtype, np.integer):
            return np.floor((times.astype(np.float64) * unit - self.start) / self.dt)
        return (times.astype(np.int64) - _ticks("start", self.start, unit)) // _ticks("dt", self.dt, unit)


@dataclass(frozen=True, eq=False)
class Recordings:
    """n recordings of events, before binning; nothing is dropped.

    Attributes:
        times: of the events of each recording, in units of ``unit``, in any order; integers are binned exactly.
        channels: of the same events, integers ≥ 0.
        labels: classes, integers ≥ 0, shape (n,).
        unit: of the times, s.

    Raises:
        ValueError: arrays of different lengths, times that are not finite, or channels that are not integers.
    """

    times: Sequence[np.ndarray]
    channels: Sequence[np.ndarray]
    labels: np.ndarray
    unit: float = 1.0

    def __post_init__(self) -> None:
        check_number("unit", self.unit, strict=True)
        if not len(self.times) == len(self.channels) == len(self.labels):
            raise ValueError(
                f"recordings: got {len(self.times)} of times, {len(self.channels)} of channels and "
                f"{len(self.labels)} labels; expected equal numbers."
            )
        for i, (times, channels) in enumerate(zip(self.times, self.channels, strict=True)):
            if times.ndim != 1 or times.shape != channels.shape:
                raise ValueError(
                    f"recording {i}: got times of shape {times.shape} and channels of shape {channels.shape}; "
                    f"expected one time and one channel per event."
                )
            if not np.isfinite(times).all():
                raise ValueError(f"recording {i}: {int((~np.isfinite(times)).sum())} times are NaN or infinite.")
            if not np.issubdtype(channels.dtype, np.integer) and channels.size:
                raise ValueError(f"recording {i}: got channels of type {channels.dtype}; expected integers.")

    def __len__(self) -> int:
        return len(self.labels)

    def dense(self, window: Window) -> tuple[Tensor, Tensor]:
        """Event counts, shape (n, T, channels), float32, and the number of events outside the window per recording,
        shape (n,). Together they count all events.

        Raises:
            ValueError: the channel of an event is not in the window.
        """
        x = torch.zeros(len(self), window.steps, window.channels)
        outside = torch.zeros(len(self), dtype=torch.long)
        for i, (times, channels) in enumerate(zip(self.times, self.channels, strict=True)):
            if channels.size and not 0 <= channels.min() <= channels.max() < window.channels:
                raise ValueError(
                    f"recording {i}: got channels {channels.min()} to {channels.max()}; "
                    f"expected 0 to {window.channels - 1}. Give the window more channels, or select events first."
                )
            bins = window.index(times, self.unit)
            inside = (bins >= 0) & (bins < window.steps)
            cells = bins[inside].astype(np.int64) * window.channels + channels[inside].astype(np.int64)
            counts = np.bincount(cells, minlength=window.steps * window.channels)
            x[i] = torch.from_numpy(counts).reshape(window.steps, window.channels)
            outside[i] = int((~inside).sum())
        return x, outside

    def data(self, window: Window, *, max_outside: float = 0.0) -> Data:
        """The recordings as :class:`Data`, x as :meth:`dense` makes it.

        Args:
            max_outside: the fraction of all events that may lie outside the window; these are lost.

        Raises:
            ValueError: a larger fraction lies outside; the message gives the number of events.
        """
        max_outside = check_number("max_outside", max_outside)
        x, outside = self.dense(window)
        lost, total = int(outside.sum()), sum(times.size for times in self.times)
        if lost > max_outside * total:
            raise ValueError(
                f"window: {lost} of {total} events, in {int((outside > 0).sum())} of {len(self)} recordings, lie "
                f"outside {window.start:g} s to {window.start + window.steps * window.dt:g} s; expected at most a "
                f"fraction of {max_outside:g}. Lengthen the window, or allow it with max_outside."
            )
        return Data(x, torch.from_numpy(np.asarray(self.labels).astype(np.int64)))


def read_shd(path: str | Path) -> Recordings:
    """Read a file of Spiking Heidelberg Digits or Spiking Speech Commands (Cramer et al. 2022, arXiv 1910.07407):
    HDF5 with ``spikes/times`` (s), ``spikes/units`` (0 … 699) and ``labels``.

    A dense tensor of all of SHD's training part, 8156 recordings × 100 steps × 700 channels, takes 2.3 GB.

    Raises:
        ModuleNotFoundError: h5py is not installed. FileNotFoundError: no such file. ValueError: another layout.
    """
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"reading HDF5 needs h5py; install it with: {INSTALL}") from error
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path: {str(path)!r} does not exist; expected an HDF5 file such as shd_train.h5.")
    try:
        with h5py.File(path, "r") as file:
            return Recordings(
                [np.asarray(times, dtype=np.float64) for times in file["spikes/times"]],
                [np.asarray(units, dtype=np.int64) for units in file["spikes/units"]],
                np.asarray(file["labels"], dtype=np.int64),
            )
    except (OSError, KeyError, TypeError) as error:
        raise ValueError(
            f"path: {str(path)!r} is damaged or not in SHD's layout ({error}); expected HDF5 with spikes/times, "
            f"spikes/units and labels."
        ) from error


def from_tonic(dataset: Any, sensor_size: tuple[int, int, int] | None = None) -> Recordings:
    """Recordings from a tonic data set, or from any sequence of (structured array of events, label).

    An event has fields t (µs), x and, where the sensor has them, y and p; its channel is (p · height + y) · width + x.
    For a sensor with one polarity, p is ignored (tonic's SHD sets it to 1).

    Args:
        dataset: ``dataset[i]`` is (events, label), ``len(dataset)`` their number.
        sensor_size: (width, height, polarities); by default that of the data set.

    Raises:
        ValueError: no sensor size, a missing field, or an event outside the sensor.
    """
    size = getattr(dataset, "sensor_size", None) if sensor_size is None else sensor_size
    if size is None or len(size) != 3:
        raise ValueError(f"sensor_size: got {size!r}; expected (width, height, polarities).")
    times, channels, labels = [], [], []
    for i in range(len(dataset)):
        events, label = dataset[i]
        present = getattr(getattr(events, "dtype", None), "names", None) or ()
        axes = [axis for axis, n in zip("xyp", size, strict=True) if n > 1 or axis == "x"]
        missing = [axis for axis in ("t", *axes) if axis not in present]
        if missing:
            raise ValueError(
                f"recording {i}: field {missing[0]!r} is missing; got fields {', '.join(present) or 'none'}."
            )
        channel, stride = np.zeros(len(events), dtype=np.int64), 1
        for axis, n in zip("xyp", size, strict=True):
            if axis in axes:
                value = events[axis].astype(np.int64)
                if value.size and not 0 <= value.min() <= value.max() < n:
                    raise ValueError(f"recording {i}: {axis} is {value.min()} to {value.max()}; expected 0 to {n - 1}.")
                channel += stride * value
            stride *= n
        times.append(events["t"])
        channels.append(channel)
        labels.append(int(label))
    return Recordings(times, channels, np.asarray(labels, dtype=np.int64), unit=MICROSECOND)


def _ticks(name: str, seconds: float, unit: float) -> int:
    """A time as a whole number of units."""
    ticks = round(seconds / unit)
    if abs(ticks * unit - seconds) > 1e-9 * max(abs(seconds), unit) or (name == "dt" and ticks < 1):
        raise ValueError(
            f"{name}: got {seconds:g} s; expected a whole number of {unit:g} s, "
            f"in which the times are given as integers."
        )
    return ticks
