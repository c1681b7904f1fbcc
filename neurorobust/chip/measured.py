"""Normals of a measured die, relative to those that its model would have drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..core.params import Deviations, kind_of
from ..core.placement import HOST, Placement
from .spatial import DependenceStructure


@dataclass(frozen=True, eq=False)
class MeasuredNormals:
    """Differences between the normals of a die and the drawn ones, by kind; float64.

    Attributes:
        common: (normals of a device, cores, neurons), for every site of a neuron.
        own: the same shape, added at its first site: its only value, or its first synapse.
    """

    common: Mapping[str, Tensor]
    own: Mapping[str, Tensor]

    def apply_to(
        self, normals: Deviations, placement: Placement, structure: DependenceStructure, which: int = 0
    ) -> Deviations:
        """Drawn normals, changed to those of the measured die; off the chip they do not change."""
        result = dict(normals)
        seen: set[tuple[str | None, str]] = set()
        for name, u in normals.items():
            kind, sites = kind_of(name), placement.sites(name, u)
            source = structure.shares_deviate_of.get(kind, kind)
            if source not in self.common or which >= len(self.common[source]) or sites is None:
                continue
            core, neuron = sites
            weight, layer = kind == "weight", placement.layer(name)
            _, cores, size = self.common[source].shape
            here = (core != HOST) & (core < cores) & (neuron < size)
            at = core.clamp(0, cores - 1), neuron.clamp(max=size - 1)
            common, own = (torch.where(here, part[source][which][at], 0.0) for part in (self.common, self.own))
            if not weight:
                first = (layer, kind) not in seen
                seen.add((layer, kind))
                move = (common + own if first else common).reshape(u.shape if u.numel() == len(core) else (-1, 1))
                result[name] = u + move
            else:
                slots = placement.slots(name, u)
                moved = u.reshape(slots.shape) + common[:, None]
                if name in placement.masks:
                    moved = moved + torch.where(slots == 0, own[:, None], 0.0)
                result[name] = torch.where(slots >= 0, moved, 0.0).reshape(u.shape)
        return result

    def entry(self) -> dict[str, Any]:
        """For JSON; :meth:`of` reads it."""
        return {name: {kind: t.tolist() for kind, t in getattr(self, name).items()} for name in ("common", "own")}

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> MeasuredNormals:
        """The normals that :meth:`entry` wrote."""
        common, own = (
            {kind: torch.tensor(values, dtype=torch.float64) for kind, values in entry[name].items()}
            for name in ("common", "own")
        )
        return cls(common, own)
