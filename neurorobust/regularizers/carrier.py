"""What is carried from batch to batch, in the open, so that a checkpoint can hold it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor


class Carrier:
    """Something that carries tensors from batch to batch, its own or those of what it holds.

    A subclass reads and replaces the entries of :attr:`carried`; it changes no tensor in place.
    """

    @property
    def carried(self) -> dict[str, Tensor]:
        """Its own tensors, by name; empty before the first batch."""
        return self.__dict__.setdefault("_carried", {})

    def state(self) -> dict[str, Tensor]:
        """Everything carried, its own and what it holds (``inner/…``); :meth:`restore` puts it back."""
        held = {f"{key}/{name}": value for key, part in self._parts().items() for name, value in part.state().items()}
        return {**self.carried, **held}

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Carry what :meth:`state` gave, and nothing else: ``restore({})`` begins anew."""
        parts = self._parts()
        self.__dict__["_carried"] = {name: value for name, value in state.items() if name.split("/")[0] not in parts}
        for key, part in parts.items():
            part.restore({name[len(key) + 1 :]: value for name, value in state.items() if name.startswith(f"{key}/")})
        return self

    def count(self) -> int:
        """How many batches came before this one, which it counts."""
        before = int(self.carried.get("batches", 0))
        self.carried["batches"] = torch.tensor(before + 1)
        return before

    def _parts(self) -> dict[str, Carrier]:
        return {key: value for key, value in vars(self).items() if isinstance(value, Carrier)}
