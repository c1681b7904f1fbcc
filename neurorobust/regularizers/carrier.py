"""Tensors that are kept from batch to batch, accessible, so that a checkpoint can store them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import torch
from torch import Tensor


class Carrier:
    """Base of objects that keep tensors from batch to batch, their own or those of attributes that are carriers, too.

    A subclass reads and replaces the entries of :attr:`carried`; it changes no tensor in place.
    """

    incidental = ("_carried",)  # no part of what this object is; see describe

    @property
    def carried(self) -> dict[str, Tensor]:
        """Its own tensors, by name; empty before the first batch."""
        return self.__dict__.setdefault("_carried", {})

    def state(self) -> dict[str, Tensor]:
        """All carried tensors: its own and those of its parts (``inner/…``); :meth:`restore` puts them back."""
        held = {f"{key}/{name}": value for key, part in self._parts().items() for name, value in part.state().items()}
        return {**self.carried, **held}

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Carry the tensors that :meth:`state` returned, and no others: ``restore({})`` starts again."""
        parts = self._parts()
        self.__dict__["_carried"] = {name: value for name, value in state.items() if name.split("/")[0] not in parts}
        for key, part in parts.items():
            part.restore({name[len(key) + 1 :]: value for name, value in state.items() if name.startswith(f"{key}/")})
        return self

    def count(self) -> int:
        """The number of batches before this one; counts this one."""
        before = int(self.carried.get("batches", 0))
        self.carried["batches"] = torch.tensor(before + 1)
        return before

    def _parts(self) -> dict[str, Carrier]:
        return {key: value for key, value in vars(self).items() if isinstance(value, Carrier)}
