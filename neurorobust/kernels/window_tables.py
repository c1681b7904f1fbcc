"""What each input of a convolution or a pooling reaches, as the loops take it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .numba_loops.windows import EIGHT, Back, Layout, Pooled, Reach
from .windows import Window


def whole_vectors(channels: int) -> int:
    """Channels with those that fill up the last vector of eight."""
    return -(-channels // EIGHT) * EIGHT


def order(size: int, step: int) -> np.ndarray:
    """The positions in a window in the order in which successive places see one input: each is ``step`` before the last
    one, and those that no step connects follow each other."""
    return np.concatenate([np.arange(size)[first::step][::-1] for first in range(step)])


def _along(size: int, window: int, step: int, around: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every input along one axis: the first entry of :func:`order` and the first place that it reaches, and how
    many places it reaches."""
    places, at = (size + 2 * around - window) // step + 1, np.arange(size) + around
    first = np.maximum(-(-(at - window + 1) // step), 0)
    count = np.maximum(np.minimum(at // step, places - 1) - first + 1, 0)
    where = np.empty(window, np.int64)
    where[order(window, step)] = np.arange(window)
    return where[np.where(count > 0, at - first * step, 0)], np.where(count > 0, first, 0), count


@lru_cache(256)
def reach(window: Window, width: int) -> Reach:
    """What each input reaches by a convolution whose output has its channels, ``width`` of them, last, and whose weight
    is (C, kH, kW, width) with positions in :func:`order`."""
    (c, high, wide), (k_high, k_wide) = window.shape, window.kernel
    (row, first_row, rows), (column, first_column, columns) = (
        _along(*axis) for axis in zip((high, wide), window.kernel, window.stride, window.padding)
    )
    wide_out = window.places[1]
    kernel = ((np.arange(c)[:, None, None] * k_high + row[:, None]) * k_wide + column) * width
    place = np.broadcast_to((first_row[:, None] * wide_out + first_column) * width, (c, high, wide))
    found = np.broadcast_to(rows[:, None] * (columns > 0), (c, high, wide))
    length = np.broadcast_to(columns * width * (rows[:, None] > 0), (c, high, wide))
    table = np.stack([kernel, place, found, length], -1).reshape(-1, 4).astype(np.int32)
    return Reach(table, k_wide * width, wide_out * width)


@lru_cache(256)
def pooled(window: Window | None, divisor: int) -> Pooled:
    """What each input reaches by a pooling."""
    if window is None:
        nothing = np.empty((0, 4), np.int32)
        return Pooled(nothing, np.empty(0, np.int32), 0, 0, 1)
    (c, high, wide), (high_out, wide_out) = window.shape, window.places
    table, _, row = reach(window._replace(shape=(1, high, wide)), 1)
    n = c * high_out * wide_out
    every = np.tile(table, (c, 1))
    every[:, 1] += np.repeat(np.arange(c, dtype=np.int32) * (high_out * wide_out), high * wide)
    single = bool((every[:, 2:] <= 1).all())  # windows that do not overlap: one place, or none, which is the last
    index = np.where(every[:, 2] > 0, every[:, 1], n).astype(np.int32) if single else np.empty(0, np.int32)
    return Pooled(every, index, row, n, divisor)


@lru_cache(256)
def layout(channels: int, places: int) -> Layout:
    """How an output lies in memory."""
    width = whole_vectors(channels)
    first = np.arange(channels) * places + np.arange(places)[:, None]
    last = np.arange(places) * width + np.arange(channels)[:, None]
    filled = np.pad(first, ((0, 0), (0, width - channels)), constant_values=-1)
    return Layout(channels, width, filled.reshape(-1).astype(np.int32), last.reshape(-1).astype(np.int32))


def _inside(size: int, window: int, step: int, around: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every place along one axis: the first input and the first entry of the window there, and how many are inside
    the image."""
    places = (size + 2 * around - window) // step + 1
    start = np.arange(places) * step - around
    first, end = np.clip(start, 0, size), np.clip(start + window, 0, size)
    return first, np.minimum(first - start, window), end - first


@lru_cache(256)
def back(window: Window) -> Back:
    """What each place reaches on the way back."""
    channels, high, wide = window.shape
    width = whole_vectors(channels)
    (row, begin_row, rows), (column, begin, columns) = (
        _inside(*axis) for axis in zip((high, wide), window.kernel, window.stride, window.padding)
    )
    parts = (
        (row[:, None] * wide + column) * width,
        (begin_row[:, None] * window.kernel[1] + begin) * width,
        np.broadcast_to(rows[:, None], (len(rows), len(columns))),
        np.broadcast_to(columns * width, (len(rows), len(columns))),
    )
    image = np.arange(high * wide) * width + np.arange(channels)[:, None]
    return Back(
        np.stack(parts, -1).reshape(-1, 4).astype(np.int32),
        window.kernel[1] * width,
        wide * width,
        image.reshape(-1).astype(np.int32),
    )
