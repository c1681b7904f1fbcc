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


def stream(key: np.ndarray, purpose: str, core: int, neuron: int, n: int) -> np.ndarray:
    """The first n normals of one site."""
    counter = np.array([0, neuron, core & 0xFFFFFFFF, zlib.crc32(purpose.encode())], dtype=np.uint64)
    raw = np.random.Philox(key=key, counter=counter).random_raw(n)
    return ndtri(((raw >> np.uint64(11)) + 0.5) * 2.0**-53)


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
    u = np.zeros(slots.shape)
    for row, (core, number) in enumerate(zip(*site)):
        present = slots[row] >= 0
        if present.any():
            normals = stream(key, purpose, int(core), int(number) + 1, int(slots[row].max()) + 1)
            u[row, present] = normals[slots[row, present]]
    return u


def _one_by_one(key: np.ndarray, purpose: str, site: tuple[np.ndarray, np.ndarray], slots: np.ndarray) -> np.ndarray:
    """:func:`per_synapse` where each row is one synapse, so many rows have one site: (k,)."""
    core, number = site
    order = np.lexsort((number, core))
    ends = 1 + np.flatnonzero((np.diff(core[order]) != 0) | (np.diff(number[order]) != 0))
    u = np.zeros(len(slots))
    for here in np.split(order, ends):
        here = here[slots[here] >= 0]
        if len(here):
            neuron = int(core[here[0]]), int(number[here[0]]) + 1
            u[here] = stream(key, purpose, *neuron, int(slots[here].max()) + 1)[slots[here]]
    return u
