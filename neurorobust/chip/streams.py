"""Keyed standard normals: each depends only on its physical site.

Each stream is Philox keyed by (seed, serial), its counter by (purpose, core, neuron): not by the fleet, the order, the
device, or the network that is placed there.
"""

from __future__ import annotations

import zlib

import numpy as np
from scipy.special import ndtri


def key_of(seed: int, serial: int) -> np.ndarray:
    """The key of a die's streams."""
    return np.array([seed, serial], dtype=np.uint64)


class Streams:
    """The raw numbers of a die's sites for one purpose: one generator, set to the site that is asked for."""

    def __init__(self, key: np.ndarray, purpose: str):
        self._generator, self._purpose = np.random.Philox(key=key), zlib.crc32(purpose.encode())
        self._state = self._generator.state

    def raw(self, core: int, neuron: int, n: int) -> np.ndarray:
        """The first n numbers of one site, 64 bits each."""
        self._state["state"]["counter"][:] = 0, neuron, core & 0xFFFFFFFF, self._purpose
        self._generator.state = self._state
        return self._generator.random_raw(n)


def to_normal(raw: np.ndarray) -> np.ndarray:
    """Standard normals from 64 random bits each."""
    return ndtri(((raw >> np.uint64(11)) + 0.5) * 2.0**-53)


def stream(key: np.ndarray, purpose: str, core: int, neuron: int, n: int) -> np.ndarray:
    """The first n normals of one site."""
    return to_normal(Streams(key, purpose).raw(core, neuron, n))


def per_neuron(key: np.ndarray, purpose: str, core: np.ndarray, number: np.ndarray) -> np.ndarray:
    """One normal per neuron, (n,), from the core and the number of each."""
    u = np.empty(len(core))
    for which in np.unique(core):
        here = core == which
        u[here] = stream(key, purpose, int(which), 0, int(number[here].max()) + 1)[number[here]]
    return u


def per_synapse(key: np.ndarray, purpose: str, site: tuple[np.ndarray, np.ndarray], slots: np.ndarray) -> np.ndarray:
    """One normal per synapse, shape of ``slots``; 0 where there is none (−1)."""
    if slots.shape[1:] == (1,):
        return _one_by_one(key, purpose, site, slots[:, 0])[:, None]
    streams, raw = Streams(key, purpose), np.zeros(slots.shape, np.uint64)
    for row, (core, number, n) in enumerate(zip(*site, 1 + slots.max(tuple(range(1, slots.ndim)), initial=-1))):
        if n:
            raw[row] = streams.raw(int(core), int(number) + 1, int(n))[slots[row]]
    return np.where(slots >= 0, to_normal(raw), 0.0)


def _one_by_one(key: np.ndarray, purpose: str, site: tuple[np.ndarray, np.ndarray], slots: np.ndarray) -> np.ndarray:
    """:func:`per_synapse` where each row is one synapse, so many rows have one site: (k,)."""
    core, number = site
    order = np.lexsort((number, core))
    ends = 1 + np.flatnonzero((np.diff(core[order]) != 0) | (np.diff(number[order]) != 0))
    streams, raw = Streams(key, purpose), np.zeros(len(slots), np.uint64)
    for here in np.split(order, ends):
        n = int(slots[here].max(initial=-1)) + 1
        if n:
            raw[here] = streams.raw(int(core[here[0]]), int(number[here[0]]) + 1, n)[slots[here]]
    return np.where(slots >= 0, to_normal(raw), 0.0)
