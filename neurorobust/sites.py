"""The standard normals behind a die, keyed by the physical site they belong to.

Each stream of normals is Philox keyed by (seed, serial), its counter by (kind, core, neuron), so a deviate depends
on nothing else: not on the fleet, the order, the device, or the network that is placed there.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from .params import HOST, Deviations, Placement, kind_of, layer_of


def normals(params: Mapping[str, Tensor], placement: Placement, *, seed: int, serial: int) -> Deviations:
    """A standard normal u for every element of every parameter of one die, float64; 0 where there is no synapse.

    A value per neuron takes the normal of (kind, core, neuron), a weight that of (kind, core, neuron, synapse). Neurons
    are numbered on their core in the order of the layers, synapses of a neuron with its input synapses first.

    Args:
        params: expanded values; only their shapes count. placement: where they sit.
        seed, serial: of the die.
    """
    key = np.array([seed, serial], dtype=np.uint64)
    result = {}
    neurons = _neurons(placement)
    for name, values in params.items():
        core, neuron = neurons.get(layer_of(name), _unplaced(values))
        if values.ndim <= 1:
            u = _per_neuron(key, kind_of(name), core, neuron)
        else:
            u = _per_synapse(key, kind_of(name), (core, neuron), _slots(name, values, placement))
        result[name] = torch.from_numpy(u).reshape(values.shape)
    return result


def _stream(key: np.ndarray, kind: str, core: int, neuron: int, n: int) -> np.ndarray:
    """The first n normals of one site."""
    counter = np.array([0, neuron, core & 0xFFFFFFFF, zlib.crc32(kind.encode())], dtype=np.uint64)
    raw = np.random.Philox(key=key, counter=counter).random_raw(n)
    return ndtri(((raw >> np.uint64(11)) + 0.5) * 2.0**-53)


def _per_neuron(key: np.ndarray, kind: str, core: np.ndarray, neuron: np.ndarray) -> np.ndarray:
    u = np.empty(len(core))
    for number in np.unique(core):
        here = core == number
        u[here] = _stream(key, kind, int(number), 0, int(neuron[here].max()) + 1)[neuron[here]]
    return u


def _per_synapse(key: np.ndarray, kind: str, site: tuple[np.ndarray, np.ndarray], slots: np.ndarray) -> np.ndarray:
    u = np.zeros(slots.shape)
    for row, (core, neuron) in enumerate(zip(*site)):
        present = slots[row] >= 0
        if present.any():
            stream = _stream(key, kind, int(core), int(neuron) + 1, int(slots[row].max()) + 1)
            u[row, present] = stream[slots[row, present]]
    return u


def _neurons(placement: Placement) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Core of every neuron, and its number on that core, by layer; layers fill a core one after the other."""
    taken: dict[int, int] = {}
    result = {}
    for layer, tensor in placement.cores.items():
        core = tensor.cpu().numpy()
        neuron = np.empty_like(core)
        for number in np.unique(core).tolist():
            here = core == number
            first = taken.get(number, 0)
            neuron[here] = first + np.arange(here.sum())
            taken[number] = first + int(here.sum())
        result[layer] = core, neuron
    return result


def _unplaced(values: Tensor) -> tuple[np.ndarray, np.ndarray]:
    rows = values.shape[0] if values.ndim else 1
    return np.full(rows, HOST), np.arange(rows)


def _slots(name: str, values: Tensor, placement: Placement) -> np.ndarray:
    """The synapse number of every weight among its neuron's, input synapses first; −1 where there is none."""
    if name not in placement.masks:
        return np.arange(values[0].numel())[None].repeat(len(values), 0)
    before = np.zeros((len(values), 1), dtype=np.int64)
    for other, mask in placement.masks.items():
        present = mask.cpu().numpy()
        if other == name:
            return np.where(present, before + np.cumsum(present, 1) - 1, -1)
        if layer_of(other) == layer_of(name):
            before = before + present.sum(1, keepdims=True)
    raise AssertionError(name)
