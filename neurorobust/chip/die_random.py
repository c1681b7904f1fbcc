"""The standard normals behind a die, one for every element of every parameter, keyed by its site.

Components that neighbours, cores or kinds share are mixed into the sites' own normals; u stays normal with mean 0 and
variance 1 (for a surface, whose edges vary more than its middle, on average over the core):
u = √(1 − Σ shareᵢ) · own + Σ √shareᵢ · commonᵢ, each shared component with a separate stream.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from .._util.errors import check_count
from ..core.params import DIGITAL, Deviations, kind_of
from ..core.placement import HOST, Placement
from .spatial import INDEPENDENT, DependenceStructure, SharedComponent
from .streams import key_of, per_neuron, per_synapse


def normals(
    params: Mapping[str, Tensor],
    placement: Placement,
    *,
    seed: int,
    serial: int,
    structure: DependenceStructure = INDEPENDENT,
    which: int = 0,
    stream: str = "",
) -> Deviations:
    """A standard normal u for every element of every parameter of one die, float64; 0 where there is no synapse.

    A value per neuron takes the normal of (kind, core, neuron), a weight that of (kind, core, neuron, synapse). Neurons
    are numbered on their core in the order of the layers, synapses of a neuron with its input synapses first. Where a
    layer is not placed, the whole parameter name replaces the kind, so parameters share no deviates. Digital
    parameters have none. Off the chip, there are no shared components.

    Args:
        params: expanded values; only their shapes count. placement: where they sit.
        seed, serial: of the die. structure: the dependence between neighbours and kinds.
        which: 0 for u, 1 … for the further normals of devices that have more than one.
        stream: a further purpose, such as a defect; another stream gives other normals.
    """
    which = check_count("which", which, 0)
    key, suffix = key_of(seed, serial), stream + (f"+{which}" if which else "")
    result = {}
    seen: Counter[tuple[str | None, str]] = Counter()
    for name, values in params.items():
        kind = kind_of(name)
        if kind in DIGITAL:
            continue
        source = structure.shares_deviate_of.get(kind, kind)
        sites = placement.sites(name, values)
        layer = None if sites is None else placement.layer(name)
        site = _unplaced(name, values, placement) if sites is None else (sites.core.numpy(), sites.number.numpy())
        if sites is None or (kind == "weight" and name not in placement.masks):  # no synapse among a neuron's
            purpose = name.removesuffix(kind) + source
        elif kind == "weight":
            purpose = kind
        else:  # two biases of one neuron are two sites
            purpose = f"{source}{seen[layer, kind] or ''}"
            seen[layer, kind] += 1
        if kind != "weight" and (values.ndim <= 1 or (sites is not None and values.numel() == len(sites.core))):
            factors = {purpose: 1.0} if structure.correlation is None else structure.correlation.factors(purpose)
            u = np.sum([f * per_neuron(key, other + suffix, *site) for other, f in factors.items()], axis=0)
            present = np.ones(u.shape, dtype=bool)
        else:
            slots = placement.slots(name, values).numpy()
            u, present = per_synapse(key, purpose + suffix, site, slots), slots >= 0
        if sites is not None and (parts := structure.shared.get(source)):
            named = [part.named(suffix) for part in parts]
            u = np.where(present, _mixed(u, named, key, structure.width, site), 0.0)
        result[name] = torch.from_numpy(u).reshape(values.shape)
    return result


def _mixed(
    own: np.ndarray,
    parts: Sequence[SharedComponent],
    key: np.ndarray,
    width: int,
    site: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """The sites' own normals, by row, with the shared components; unchanged on the host."""
    core, number = site
    mixed = own.copy()
    for which in np.unique(core[core != HOST]).tolist():
        here = core == which
        mixed[here] *= np.sqrt(max(0.0, 1 - sum(part.share for part in parts)))
        neurons: np.ndarray = number[here]
        row: np.ndarray | slice = slice(None)
        if own.shape[1:] == (1,):  # one synapse each, many of one neuron
            neurons, row = np.unique(neurons, return_inverse=True)
        for part in parts:
            common = (np.sqrt(part.share) * part.draw(key, which, width, neurons))[row]
            mixed[here] += common.reshape(-1, *[1] * (own.ndim - 1))
    return mixed


def _unplaced(name: str, values: Tensor, placement: Placement) -> tuple[np.ndarray, np.ndarray]:
    pattern = placement.patterns.get(name)
    rows = np.arange(placement.rows(name, values)) if pattern is None else pattern.targets.cpu().numpy()
    return np.full(len(rows), HOST), rows
