"""Event recordings, (time, channel) lists, as dense tensors: every event in exactly one bin."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._util import limited
from .._util.errors import check_count, check_number, one_line, plain, plain_fields, shown, unknown
from ..kernels.runtime.memory import available
from . import shd
from .samples import Data

INSTALL = "pip install h5py"
MICROSECOND = 1e-6
ULPS = 4  # of a time in 32 or 64 bits: what a few operations on it may have rounded
LARGEST = 2**62  # of integers: differences of two of them are still exact
EDGE = 64  # bytes of memory for the edge of a bin, while it is computed
SECONDS, SPEED = 4.0, 1e6  # that reading HDF5 may take, and bytes in each further second
FREE = 2**26  # bytes that any file may ask for while it is read


@dataclass(frozen=True)
class Window:
    """A stretch of time cut into bins: bin k holds start + k·dt ≤ t < start + (k + 1)·dt.

    start and dt are the decimals that they are written as, so 0.001 is a thousandth. A time in floating point counts as
    on the edge of a bin if it differs from that edge only by rounding: the edge, rounded to the type of the times, and
    4 units in the last place less for times in 32 or 64 bits, but no more than a hundredth of dt.

    Attributes:
        dt: length of a bin, s. steps: number of bins, T. channels: number of channels. start: of the first bin, s.

    Raises:
        ValueError: ``dt`` is not above 0, fewer than one step or channel, or ``start`` is not finite.

    Example:
        >>> import numpy as np
        >>> window = nr.data.Window(dt=0.01, steps=100, channels=2)
        >>> window.index(np.array([0.0, 0.029, 0.03]), 1.0).tolist()  # 0.03 s is the beginning of bin 3
        [0, 2, 3]
    """

    dt: float
    steps: int
    channels: int
    start: float = 0.0

    def __post_init__(self) -> None:
        plain_fields(self)
        check_number("dt", self.dt, strict=True)
        check_count("steps", self.steps)
        check_count("channels", self.channels)
        check_number("start", self.start, low=float("-inf"))

    def index(self, times: np.ndarray, unit: float) -> np.ndarray:
        """The bin of each time: < 0 before the first bin, ≥ steps after the last one. Integers are divided exactly."""
        if np.issubdtype(times.dtype, np.integer):
            return (times.astype(np.int64) - _ticks("start", self.start, unit)) // _ticks("dt", self.dt, unit)
        return np.searchsorted(_edges(self, times.dtype, unit), times, side="right") - 1


@lru_cache(maxsize=8)
def _edges(window: Window, dtype: np.dtype, unit: float) -> np.ndarray:
    """The smallest time of each bin, and of a bin after the last one, in units; (steps + 1,), float64."""
    start, dt = (Fraction(repr(float(seconds))) / Fraction(repr(unit)) for seconds in (window.start, window.dt))
    below = start.denominator * dt.denominator
    first, step = start.numerator * dt.denominator, dt.numerator * start.denominator
    try:
        edges = np.array([(first + k * step) / below for k in range(window.steps + 1)])
    except OverflowError as error:
        raise ValueError(
            f"window: got start {window.start:g} s and {window.steps} steps of {window.dt:g} s; in units of {unit:g} s "
            f"its end is beyond the largest float."
        ) from error
    with np.errstate(over="ignore"):
        rounded = edges.astype(dtype).astype(np.float64)
    ulp = 0.0 if dtype.itemsize < 4 else float(np.finfo(dtype).eps)
    return rounded - np.minimum(ULPS * ulp * np.maximum(np.abs(edges), abs(float(start))), float(dt) / 100)


@dataclass(frozen=True, eq=False)
class Recordings:
    """n recordings of events, before binning; nothing is dropped.

    Each recording is an array, a list or a tensor of times, and one of channels. Times keep their type. Channels and
    labels become int64; whole numbers of a floating type are taken, and fractions are refused.

    Attributes:
        times: of the events of each recording, in units of ``unit``, in any order; integers are binned exactly.
        channels: of the same events, integers ≥ 0. An event that is there twice counts twice.
        labels: classes, integers ≥ 0, shape (n,).
        unit: of the times, s.

    Raises:
        ValueError: arrays of different lengths or of another shape, times that are not finite, or channels or labels
            that are not whole numbers ≥ 0. The message names the recording and the event.

    Example:
        >>> heard = nr.data.Recordings([[0, 900, 2500]], [[1, 0, 1]], [0], unit=1e-6)  # times in µs, channels, label
        >>> counts, labels = heard.dense(nr.data.Window(dt=1e-3, steps=3, channels=2))  # steps of 1 ms
        >>> counts.tolist()
        [[[1.0, 1.0], [0.0, 0.0], [0.0, 1.0]]]
    """

    times: Sequence[np.ndarray]
    channels: Sequence[np.ndarray]
    labels: np.ndarray
    unit: float = 1.0

    def __post_init__(self) -> None:
        plain_fields(self)
        check_number("unit", self.unit, strict=True)
        times, channels, labels = _listed("times", self.times), _listed("channels", self.channels), _labels(self.labels)
        if not len(times) == len(channels) == len(labels):
            raise ValueError(
                f"recordings: got {len(times)} of times, {len(channels)} of channels and "
                f"{len(labels)} labels; expected equal numbers."
            )
        object.__setattr__(self, "times", tuple(_times(i, values) for i, values in enumerate(times)))
        object.__setattr__(
            self, "channels", tuple(_whole(f"recording {i}", "channel", values) for i, values in enumerate(channels))
        )
        object.__setattr__(self, "labels", labels)
        for i, (of, at) in enumerate(zip(self.times, self.channels, strict=True)):
            if of.shape != at.shape:
                raise ValueError(
                    f"recording {i}: got times of shape {of.shape} and channels of shape {at.shape}; "
                    f"expected one time and one channel per event."
                )

    def __len__(self) -> int:
        return len(self.labels)

    def dense(self, window: Window) -> tuple[Tensor, Tensor]:
        """Event counts, shape (n, T, channels), float32, and the number of events outside the window per recording,
        shape (n,). Together they count all events.

        Raises:
            ValueError: the channel of an event is not in the window, or the tensor needs more memory than is free.
        """
        for i, channels in enumerate(self.channels):
            if channels.size and channels.max() >= window.channels:
                raise ValueError(
                    f"recording {i}: got channels {channels.min()} to {channels.max()}; "
                    f"expected 0 to {window.channels - 1}. Give the window more channels, or select events first."
                )
        needed = window.steps * (4 * len(self) * window.channels + EDGE)
        free = available()
        if needed > free:
            raise ValueError(
                f"window: {len(self)} recordings of {window.steps} steps and {window.channels} channels need "
                f"{needed / 1e9:.3g} GB, and {free / 1e9:.3g} GB are free; make the window smaller, or take some of "
                f"the recordings at a time."
            )
        x = torch.zeros(len(self), window.steps, window.channels)
        outside = torch.zeros(len(self), dtype=torch.long)
        for i, (times, channels) in enumerate(zip(self.times, self.channels, strict=True)):
            bins = window.index(times, self.unit)
            inside = (bins >= 0) & (bins < window.steps)
            cells = bins[inside] * window.channels + channels[inside]
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
        return Data(x, torch.from_numpy(self.labels))


def read_shd(path: str | Path) -> Recordings:
    """Read a file of Spiking Heidelberg Digits or Spiking Speech Commands (Cramer et al. 2022, arXiv 1910.07407):
    HDF5 with ``spikes/times`` (s), ``spikes/units`` (0 … 699) and ``labels``, one class number per recording. The times
    keep their type: those of SHD have 16 bits, and :class:`Window` bins them as such.

    The file is read twice, first in a process of its own with limits of time and memory: a damaged one may crash HDF5's
    library. It may ask for ten times its size.

    A dense tensor of all of SHD's training part, 8156 recordings × 100 steps × 700 channels, takes 2.3 GB.

    Raises:
        ModuleNotFoundError: h5py is not installed. FileNotFoundError: no such file. ValueError: another layout.

    Example:
        >>> import h5py, tempfile
        >>> path = tempfile.mkdtemp() + "/two.h5"
        >>> with h5py.File(path, "w") as file:
        ...     file["labels"], file["spikes/units"] = [4, 2], [[9, 3], [5, 5]]
        ...     file["spikes/times"] = [[0.1, 0.2], [0.3, 0.4]]
        >>> nr.data.read_shd(path).channels[0].tolist(), nr.data.read_shd(path).labels.tolist()
        ([9, 3], [4, 2])
    """
    if importlib.util.find_spec("h5py") is None:
        raise ModuleNotFoundError(f"reading HDF5 needs h5py; install it with: {INSTALL}")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"path: {str(path)!r} does not exist; expected an HDF5 file such as shd_train.h5.")
    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            limited.tried(shd.__file__, stream, limited.Limits(2 * shd.MOST * size + FREE, SECONDS + size / SPEED))
            read = shd.arrays(stream)
    except Exception as error:  # a damaged file makes the library raise more than it documents
        said = one_line(error, 300)
        raise ValueError(
            f"path: {str(path)!r} is damaged or not in SHD's layout ({said}); expected HDF5 with spikes/times, "
            f"spikes/units and labels."
        ) from error
    try:
        return Recordings(*read)
    except (ValueError, TypeError) as error:
        raise ValueError(f"path: {str(path)!r}: {error}") from error


def from_tonic(
    dataset: Iterable[tuple[Any, Any]],
    sensor_size: tuple[int, int, int] | None = None,
    *,
    classes: Sequence[str] | None = None,
    add_polarities: bool = False,
) -> Recordings:
    """Recordings from a tonic data set, or from any iterable of (structured array of events, label).

    An event has fields t (µs), x and, where the sensor has them, y and p; its channel is (p · height + y) · width + x.
    So a sensor of two polarities has two channels per pixel. Its p may be 0 and 1, False and True, or −1 and 1. For a
    sensor of one polarity, p must be the same everywhere (tonic's SHD sets it to 1): polarities are never added up
    unless ``add_polarities`` says so.

    Args:
        dataset: of pairs (events, label).
        sensor_size: (width, height, polarities); by default that of the data set.
        classes: the class names in the order of their numbers, for a data set whose labels are names, such as tonic's
            NCALTECH101. Spaces around a name do not count.
        add_polarities: count the events of all polarities together, in one channel per pixel.

    Raises:
        ValueError: no sensor size, a missing field, an event outside the sensor or with a fractional coordinate,
            several polarities for a sensor of one, or a label that is not a class.

    Example:
        >>> import numpy as np
        >>> fields = [("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "i1")]
        >>> events = np.array([(0, 1, 0, 1), (1500, 0, 0, 0)], dtype=fields)  # µs, place, polarity
        >>> seen = nr.data.from_tonic([(events, 3)], sensor_size=(2, 1, 2))
        >>> seen.channels[0].tolist(), seen.labels.tolist()  # two pixels of two polarities: four channels
        ([3, 0], [3])
    """
    width, height, polarities = _sensor_size(
        getattr(dataset, "sensor_size", None) if sensor_size is None else sensor_size
    )
    polarities = 1 if add_polarities else polarities
    seen: set[int] = set()
    times, channels, labels = [], [], []
    for i, (events, label) in enumerate(_pairs(dataset)):
        at = _coordinates(i, events, ("t", "x") + ("y",) * (height > 1) + ("p",) * (polarities > 1))
        x, y = (_whole(f"recording {i}", axis, at[axis], n) for axis, n in (("x", width), ("y", height)))
        p = _whole(f"recording {i}", "p", at["p"], low=-LARGEST)
        if not add_polarities:
            seen |= set(np.unique(p).tolist())
            _check_polarities(i, seen, (width, height, polarities))
        p = np.maximum(p, 0) if polarities > 1 else np.zeros_like(p)
        times.append(at["t"])
        channels.append((p * height + y) * width + x)
        labels.append(_label(i, label, classes))
    return Recordings(times, channels, np.asarray(labels, dtype=np.int64), unit=MICROSECOND)


# ---- checks: value, type and shape, before anything is converted


def _listed(name: str, values: object) -> list[Any]:
    """The recordings of a sequence, or of another iterable."""
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise TypeError(f"recordings: got {name} of type {type(values).__name__}; expected one array per recording.")
    return list(values)


def _array(where: str, values: Any) -> np.ndarray:
    """Numbers as an array of any shape: an array, a list or a tensor."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values
    if np.ma.is_masked(values):
        raise ValueError(f"{where}: got a masked array; expected one without masked values.")
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{where}: got no array of numbers ({error}).") from error
    if not array.size:
        return array.astype(np.int64) if array.dtype.kind not in "iuf" else array
    if array.dtype.kind not in "iuf":
        raise ValueError(
            f"{where}: got values of type {array.dtype}, such as {shown(array.reshape(-1)[0])}; expected numbers."
        )
    return array


def _vector(where: str, name: str, values: Any) -> np.ndarray:
    """Numbers, (events,), all finite."""
    array = _array(f"{where}, {name}", values)
    if array.ndim != 1:
        raise ValueError(f"{where}: got an array of shape {array.shape} for {name}; expected one value per event.")
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise ValueError(
            f"{where}: {bad.size} values of {name} are NaN or infinite, the first is that of event {bad[0]}; expected "
            f"finite numbers."
        )
    large = np.flatnonzero(np.abs(array.astype(np.float64)) > LARGEST) if array.dtype.kind in "iu" else bad
    if large.size:
        raise ValueError(f"{where}: {name} of event {large[0]} is {array[large[0]]}; expected at most 2**62.")
    return array


def _times(i: int, values: Any) -> np.ndarray:
    """The times of a recording, in a type of integers or of at most 64-bit floats."""
    times = _vector(f"recording {i}", "times", values)
    return times.astype(np.float64) if times.dtype.kind == "f" and times.dtype.itemsize > 8 else times


def _whole(where: str, name: str, values: Any, below: int = LARGEST, low: int = 0) -> np.ndarray:
    """Whole numbers from ``low`` to below − 1, (events,), int64."""
    array = _vector(where, name, values)
    number, fractional = array, np.zeros(array.shape, dtype=bool)
    if array.dtype.kind == "f":
        number = array.astype(np.float64)
        fractional = number != np.floor(number)
    bad = np.flatnonzero(fractional | (number < low) | (number >= below))
    if bad.size:
        span = "" if low < 0 else f" from {low}" if below == LARGEST else f" from {low} to {below - 1}"
        raise ValueError(
            f"{where}: {name} of event {bad[0]} is {array[bad[0]]}; expected a whole number{span}. "
            f"{bad.size} of {array.size} events are like that."
        )
    return array.astype(np.int64)


def _labels(values: Any) -> np.ndarray:
    """Class numbers, (n,), int64."""
    labels = values.tolist() if isinstance(values, (np.ndarray, Tensor)) else values
    labels = [plain(label) for label in _listed("labels", labels)]
    inner = next((np.shape(label) for label in labels if isinstance(label, (list, tuple)) or np.ndim(label)), ())
    if inner:
        raise ValueError(
            f"labels: got shape {(len(labels), *inner)}; expected (n,), one class number per recording: "
            f"labels.argmax(1) of one-hot labels, labels[:, 0] of a column."
        )
    return np.array([_label(i, label, None) for i, label in enumerate(labels)], dtype=np.int64)


def _label(i: int, label: Any, classes: Sequence[str] | None) -> int:
    """The class number of a recording."""
    if isinstance(label, bytes):
        label = label.decode(errors="replace")
    if isinstance(label, str) and classes is not None:
        names = [name.strip() for name in classes]
        if label.strip() not in names:
            raise unknown(f"recording {i}: label", label, names)
        return names.index(label.strip())
    value = plain(label)
    highest = LARGEST if classes is None else len(classes)
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not 0 <= value < highest
        or value != int(value)
    ):
        numbers = "from 0" if classes is None else f"from 0 to {highest - 1}"
        hint = " Number the classes, or pass from_tonic(…, classes=…)." if isinstance(value, str) else ""
        raise ValueError(
            f"recording {i}: label is {shown(label)}; expected one class number, an integer {numbers}.{hint}"
        )
    return int(value)


def _sensor_size(size: Any) -> tuple[int, int, int]:
    sides = [plain(side) for side in size] if isinstance(size, (tuple, list, np.ndarray, Tensor)) else []
    if len(sides) != 3 or not all(isinstance(n, (int, float)) and 1 <= n < LARGEST and n == int(n) for n in sides):
        raise ValueError(f"sensor_size: got {shown(size)}; expected (width, height, polarities), three integers ≥ 1.")
    return int(sides[0]), int(sides[1]), int(sides[2])


def _pairs(dataset: Any) -> Iterable[tuple[Any, Any]]:
    """The pairs of a data set."""
    if isinstance(dataset, (str, bytes, Mapping)) or not (
        isinstance(dataset, Iterable) or hasattr(dataset, "__getitem__")
    ):
        raise TypeError(f"dataset: got a {type(dataset).__name__}; expected pairs (events, label).")
    indexed = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
    for i, item in enumerate((dataset[k] for k in range(len(dataset))) if indexed else dataset):
        if not isinstance(item, (tuple, list)) or len(item) != 2:
            got = f"{len(item)} items" if isinstance(item, (tuple, list)) else f"a {type(item).__name__}"
            raise ValueError(f"recording {i}: got {got}; expected a pair (events, label).")
        yield item[0], item[1]


def _coordinates(i: int, events: Any, needed: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The fields t, x, y and p of a recording, 0 where one is neither there nor needed."""
    present = getattr(getattr(events, "dtype", None), "names", None) or ()
    missing = [axis for axis in needed if axis not in present]
    if missing:
        raise ValueError(f"recording {i}: field {missing[0]!r} is missing; got fields {', '.join(present) or 'none'}.")
    zeros = np.zeros(np.shape(events), dtype=np.int64)
    at = {axis: events[axis] if axis in present else zeros for axis in "txyp"}
    return at | {"p": at["p"].astype(np.int64) if at["p"].dtype == bool else at["p"]}


def _check_polarities(i: int, seen: set[int], size: tuple[int, int, int]) -> None:
    """Raise ValueError unless the polarities seen so far are those of the sensor."""
    width, height, polarities = size
    values = ", ".join(map(str, sorted(seen)))
    if polarities == 1 and len(seen) > 1:
        raise ValueError(
            f"recording {i}: p has the values {values} up to here, but sensor_size {size} has one polarity. Give "
            f"({width}, {height}, 2) to keep them apart, or add_polarities=True to count them together."
        )
    if polarities > 1 and not (seen <= set(range(polarities)) or (polarities == 2 and seen <= {-1, 1})):
        raise ValueError(
            f"recording {i}: p has the values {values} up to here; expected 0 to {polarities - 1}"
            f"{', or -1 and 1' if polarities == 2 else ''}."
        )


def _ticks(name: str, seconds: float, unit: float) -> int:
    """A time as a whole number of units."""
    ticks = round(seconds / unit)
    off = abs(ticks * unit - seconds) > 1e-9 * max(abs(seconds), unit)
    if off or (name == "dt" and ticks < 1) or abs(ticks) > LARGEST:
        raise ValueError(
            f"{name}: got {seconds:g} s; expected a whole number of {unit:g} s, "
            f"in which the times are given as integers."
        )
    return ticks
