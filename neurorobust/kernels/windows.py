"""Windows that move over images: the shapes of convolutions and poolings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

NUMBERS = 9  # of a window


class Window(NamedTuple):
    """A window that moves over an input (C, H, W): its size, its step and the zeros around the input."""

    shape: tuple[int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)

    @classmethod
    def of(
        cls, shape: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int] = (0, 0)
    ) -> Window:
        """The same from tuples with one dimension of space or two."""
        channels, *space = shape
        flat = (1,) * (2 - len(space))
        around = (*(0,) * len(flat), *padding)[-2:]
        return cls((channels, *flat, *space), (*flat, *kernel), (*flat, *stride), around)  # type: ignore[arg-type]

    @property
    def places(self) -> tuple[int, int]:
        """How many positions the window has, (H_out, W_out)."""
        sizes = zip(self.shape[1:], self.kernel, self.stride, self.padding)
        high, wide = ((size + 2 * around - kernel) // step + 1 for size, kernel, step, around in sizes)
        return high, wide


class Convolution(NamedTuple):
    """A convolution with so many output channels, perhaps of what a pooling makes of the input: the sum over each of
    its windows, divided by ``divisor``."""

    window: Window
    channels: int
    pool: Window | None = None
    divisor: int = 1

    def numbers(self) -> tuple[int, ...]:
        """All of it as integers, as operators of torch take it; see :func:`from_numbers`."""
        pool = (0,) * NUMBERS if self.pool is None else _flat(self.pool)
        return (*_flat(self.window), self.channels, *pool, self.divisor)

    @property
    def n_in(self) -> int:
        return math.prod((self.pool or self.window).shape)

    @property
    def n_out(self) -> int:
        return self.channels * math.prod(self.window.places)


def _flat(window: Window) -> tuple[int, ...]:
    return tuple(number for part in window for number in part)


def _window(numbers: Sequence[int]) -> Window:
    c, high, wide, *rest = numbers
    return Window((c, high, wide), *zip(rest[::2], rest[1::2]))


@lru_cache(256)
def _known(numbers: tuple[int, ...]) -> Convolution:
    own, channels, pool, divisor = numbers[:NUMBERS], numbers[NUMBERS], numbers[NUMBERS + 1 : -1], numbers[-1]
    return Convolution(_window(own), channels, _window(pool) if any(pool) else None, divisor)


def from_numbers(numbers: Sequence[int]) -> Convolution:
    """The convolution that :meth:`Convolution.numbers` describes."""
    return _known(tuple(numbers))
