"""What measurements say about the normals of one die, beside what its model would have drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .. import sites
from ..core.params import Deviations, kind_of
from ..core.placement import HOST, Placement


@dataclass(frozen=True, eq=False)
class Known:
    """How far a die's normals lie from the drawn ones, by the kind whose normals they are; float64.

    Attributes:
        common: (normals of a device, cores, neurons), for every site of a neuron.
        own: the same shape, for its first site besides: its one value, or its first synapse.
    """

    common: Mapping[str, Tensor]
    own: Mapping[str, Tensor]

    def moved(
        self, normals: Deviations, placement: Placement, structure: sites.Structure, which: int = 0
    ) -> Deviations:
        """Drawn normals, moved to where the measured die has them; what is not placed on a core stays."""
        result, neurons = dict(normals), sites._neurons(placement)
        seen: set[tuple[str, str]] = set()
        for name, u in normals.items():
            kind, layer = kind_of(name), placement.layer(name)
            source = structure.follows.get(kind, kind)
            if source not in self.common or which >= len(self.common[source]) or layer is None:
                continue
            core, neuron = (torch.from_numpy(part) for part in neurons[layer])
            weight = kind == "weight"
            if not u.ndim or (len(u) != len(core) and (weight or u.numel() != len(core))):
                continue  # a kernel shared by many neurons sits at none of them
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
                slots = torch.from_numpy(sites._slots(name, u, placement, layer))
                moved = u.reshape(slots.shape) + common[:, None]
                if name in placement.masks:
                    moved = moved + torch.where(slots == 0, own[:, None], 0.0)
                result[name] = torch.where(slots >= 0, moved, 0.0).reshape(u.shape)
        return result

    def entry(self) -> dict[str, Any]:
        """For JSON; :meth:`of` reads it."""
        return {name: {kind: t.tolist() for kind, t in getattr(self, name).items()} for name in ("common", "own")}

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Known:
        """What :meth:`entry` wrote."""
        common, own = (
            {kind: torch.tensor(values, dtype=torch.float64) for kind, values in entry[name].items()}
            for name in ("common", "own")
        )
        return cls(common, own)
