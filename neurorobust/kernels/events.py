"""Inputs by their events. An input that stays the same over many passes is listed once."""

from __future__ import annotations

from collections.abc import Hashable
from contextvars import ContextVar, Token
from functools import cached_property

import numpy as np
from torch import Tensor

from .numba_loops.records import EventLists, Inputs

VECTOR = 16  # numbers

_open: ContextVar[CachedEvents | None] = ContextVar("neurorobust cached events", default=None)


class CachedEvents:
    """While it is open, compiled loops list the events of ``x`` in the second pass of it and then read the list::

        with kernels.CachedEvents(x):
            ...  # many passes of x, or of slices of it, at any parameters

    Results have the same bits as without. Tensors elsewhere in memory (also a copy of x) and passes in other threads
    are not cached: their events are found anew in every pass. If x is changed in place by torch, it is listed again.
    The object may be opened again, by one thread at a time.
    """

    def __init__(self, x: Tensor):
        self.x = x  # kept alive, so that no other tensor can take its place in memory
        self._known: dict[Hashable, InputEvents] = {}
        self._before: list[Token[CachedEvents | None]] = []

    def __enter__(self) -> None:
        outer = _open.get()  # may cache the same memory
        known = outer is not None and address(outer.x) == address(self.x)
        self._before.append(_open.set(outer if known else self))

    def __exit__(self, *_: object) -> None:
        _open.reset(self._before.pop())

    def events(self, x: Tensor) -> InputEvents | None:
        """The events of x (1, B, T, n_in), if it is the cached input or part of it."""
        if len(x) != 1 or x.is_inference() or address(x) != address(self.x):
            return None
        key = x.data_ptr(), x.shape, x.stride(), x.dtype
        known = self._known.get(key)
        if known is None or known.version != x._version:
            self._known[key] = known = InputEvents(x)
        else:
            known.again = True
        return known


def address(x: Tensor) -> int | None:
    """Where the memory of a tensor begins; None of one that has none, as inside vmap."""
    try:
        return x.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):
        return None


class InputEvents:
    """An input (chips, B, T, n_in) of a layer and its events; ``again``: it is not its first pass."""

    def __init__(self, x: Tensor):
        self.x, self.again = x.detach().contiguous(), False
        self.version = None if x.is_inference() else x._version

    @property
    def _rows(self) -> np.ndarray:
        return self.x.numpy().reshape(-1, self.x.shape[-1])

    @cached_property
    def rate(self) -> float:
        """The share of numbers that are not 0 in at most 64 rows."""
        from .numba_loops import rows

        return rows.rate(self._rows, 64)

    @cached_property
    def lists(self) -> EventLists:
        """The events of all rows."""
        from .numba_loops import rows

        starts, empty = np.empty(len(self._rows) + 1, np.int64), self._no_lists
        rows.list_events(self._rows, starts, empty.places, empty.values)
        places = np.empty(starts[-1] + VECTOR, np.int32)
        values = np.empty(len(places), empty.values.dtype)
        binary = rows.list_events(self._rows, starts, places, values)
        return EventLists(starts, places, empty.values if binary else values)

    @property
    def _no_lists(self) -> EventLists:
        return EventLists(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, self.x.numpy().dtype))

    @property
    def arrays(self) -> Inputs:
        """x and its lists, which are empty in the first pass, where the loops find the events themselves."""
        return Inputs(self.x.numpy(), self.lists if self.again else self._no_lists)


def events_of(x: Tensor) -> InputEvents:
    """The events of an input, from the cache where one is open for it."""
    cache = _open.get()
    return (cache and cache.events(x)) or InputEvents(x)
