"""The standard normals behind a die, keyed by the physical site they belong to.

Each stream of normals is Philox keyed by (seed, serial), its counter by (kind, core, neuron), so a deviate depends
on nothing else: not on the fleet, the order, the device, or the network that is placed there.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

from .params import DIGITAL, HOST, Deviations, Placement, kind_of


def normals(params: Mapping[str, Tensor], placement: Placement, *, seed: int, serial: int) -> Deviations:
    """A standard normal u for every element of every parameter of one die, float64; 0 where there is no synapse.

    A value per neuron takes the normal of (kind, core, neuron), a weight that of (kind, core, neuron, synapse). Neurons
    are numbered on their core in the order of the layers, synapses of a neuron with its input synapses first. Where a
    layer is not placed, the parameter's whole name stands for the kind, so no two of them share a deviate. Digital
    numbers have none.

    Args:
        params: expanded values; only their shapes count. placement: where they sit.
        seed, serial: of the die.
    """
    key = np.array([seed, serial], dtype=np.uint64)
    result = {}
    neurons = _neurons(placement)
    seen: Counter[tuple[str | None, str]] = Counter()
    for name, values in params.items():
        kind = kind_of(name)
        if kind in DIGITAL:
            continue
        layer = placement.layer(name)
        n = 0 if layer is None else len(placement.cores[layer])
        grid = kind != "weight" and values.numel() == n  # neurons on a grid, (C, H, W)
        if layer is not None and values.ndim and len(values) != n and not grid:
            layer = None  # a kernel shared by many neurons sits at none of them
        core, neuron = _unplaced(values) if layer is None else neurons[layer]
        if layer is None or (kind == "weight" and name not in placement.masks):  # no synapse among a neuron's
            purpose = name
        elif kind == "weight":
            purpose = kind
        else:  # two biases of one neuron are two sites
            purpose = f"{kind}{seen[layer, kind] or ''}"
            seen[layer, kind] += 1
        if (values.ndim <= 1 or grid) and kind != "weight":
            u = _per_neuron(key, purpose, core, neuron)
        else:
            u = _per_synapse(key, purpose, (core, neuron), _slots(name, values, placement, layer))
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


def _slots(name: str, values: Tensor, placement: Placement, layer: str | None) -> np.ndarray:
    """The synapse number of every weight among its neuron's, input synapses first; −1 where there is none."""
    rows = values.shape[0] if values.ndim else 1
    if layer is None or name not in placement.masks:
        slots = np.arange(values.numel() // max(rows, 1))[None].repeat(rows, 0)
        mask = placement.masks.get(name)
        return slots if mask is None else np.where(mask.cpu().numpy().reshape(rows, -1), slots, -1)
    before = np.zeros((rows, 1), dtype=np.int64)
    for other, mask in placement.masks.items():
        present = mask.cpu().numpy().reshape(len(mask), -1)
        if other == name:
            return np.where(present, before + np.cumsum(present, 1) - 1, -1)
        if placement.layer(other) == layer and len(mask) == rows:
            before = before + present.sum(1, keepdims=True)
    raise AssertionError(name)
