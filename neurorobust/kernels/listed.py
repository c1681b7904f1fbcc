"""An input that stays the same over many passes: its events are listed and its rate is taken once."""

from __future__ import annotations

from collections.abc import Hashable
from contextvars import ContextVar, Token
from functools import cached_property

import numpy as np
from torch import Tensor

VECTOR = 16  # numbers

_open: ContextVar[Listed | None] = ContextVar("neurorobust listed input", default=None)


class Listed:
    """While it is open, compiled loops list the events of ``x`` when they hear it again, and then read the lists::

        with kernels.Listed(x):
            ...  # many passes of x, or of slices of it, at any parameters

    Results have the same bits as without. What lies elsewhere in memory is looked through in every pass as ever, a copy
    of x too, and so is all that another thread hears. After a change in place, of which torch knows, x is listed anew.
    It may be opened again, by one thread at a time.
    """

    def __init__(self, x: Tensor):
        self.x = x  # alive, so that nothing else can come to lie where it is
        self._known: dict[Hashable, Heard] = {}
        self._before: list[Token[Listed | None]] = []

    def __enter__(self) -> None:
        outer = _open.get()  # which may know the same memory
        known = outer is not None and _place(outer.x) == _place(self.x)
        self._before.append(_open.set(outer if known else self))

    def __exit__(self, *_: object) -> None:
        _open.reset(self._before.pop())

    def heard(self, x: Tensor) -> Heard | None:
        """What is known of x (1, B, T, n_in), if it is the input or part of it."""
        if len(x) != 1 or x.is_inference() or _place(x) != _place(self.x):
            return None
        key = x.data_ptr(), x.shape, x.stride(), x.dtype
        known = self._known.get(key)
        if known is None or known.version != x._version:
            self._known[key] = known = Heard(x)
        else:
            known.again = True
        return known


def _place(x: Tensor) -> int | None:
    """Where the memory of a tensor begins; None of one that has none, as inside vmap."""
    try:
        return x.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):
        return None


class Heard:
    """What a layer hears, (chips, B, T, n_in), and what is known of it; ``again``: not for the first time."""

    def __init__(self, x: Tensor):
        self.x, self.again = x.detach().contiguous(), False
        self.version = None if x.is_inference() else x._version

    @property
    def _rows(self) -> np.ndarray:
        return self.x.numpy().reshape(-1, self.x.shape[-1])

    @cached_property
    def rate(self) -> float:
        """The share of numbers that are not 0 in at most 64 rows."""
        from . import loops

        return loops.rate(self._rows, 64)

    @cached_property
    def lists(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Its events. Those of row r are in places and values from ``starts[r]`` to ``starts[r + 1]``; there are no
        values if all are 1."""
        from . import loops

        starts, places, values = np.empty(len(self._rows) + 1, np.int64), *self._nothing[1:]
        loops.list_events(self._rows, starts, places, values)
        places = np.empty(starts[-1] + VECTOR, np.int32)
        found = np.empty(len(places), values.dtype)
        return starts, places, values if loops.list_events(self._rows, starts, places, found) else found

    @property
    def _nothing(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, self.x.numpy().dtype)

    @property
    def parts(self) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """What the loops take, x and its lists, which are empty where they are to look for its events themselves."""
        return self.x.numpy(), self.lists if self.again else self._nothing


def hearing(x: Tensor) -> Heard:
    """What a layer hears, with what is known of it."""
    listed = _open.get()
    return (listed and listed.heard(x)) or Heard(x)
