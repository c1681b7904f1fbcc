"""Kinds that a circuit derives from others: one device changes several numbers of a neuron."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from .._util.errors import unknown
from ..core.params import POSITIVE, SIGNED, kind_of
from .design import KindModel
from .programming import Programmed


def check_derived(chip: str, kinds: Mapping[str, KindModel]) -> None:
    """Raise ValueError for an invalid derivation."""
    for kind, model in kinds.items():
        for source in model.derived:
            if source not in kinds:
                raise unknown(f"chip {chip}: {kind} derives from", source, kinds)
            if not {kind, source} <= POSITIVE:
                raise ValueError(f"chip {chip}: {kind} derives from {source}; expected two positive kinds.")
            if kinds[source].derived:
                raise ValueError(
                    f"chip {chip}: {kind} derives from {source}, which itself derives from "
                    f"{', '.join(kinds[source].derived)}; name these."
                )


def shifts(
    kinds: Mapping[str, KindModel], programmed: Programmed, share: Callable[[str, float], Tensor]
) -> dict[str, Tensor]:
    """By parameter, the logarithm of the factor that its sources multiply it by: Σ factor · δ of the source.

    Where a layer has no r, which multiplies its whole current, its weights and biases take the factor of r.

    Args:
        share: factor · δ of a source, by its name and factor.
    """
    result: dict[str, Tensor] = {}
    expanded, placement = programmed.expanded(), programmed.placement
    for source_name in expanded:
        layer, _, source = source_name.rpartition(".")
        for kind, model in kinds.items():
            if source not in model.derived:
                continue
            x, target = share(source_name, model.derived[source]), f"{layer}.{kind}" if layer else kind
            names = [target] if target in expanded else []
            if kind == "r" and not names:
                names = [
                    name
                    for name, value in expanded.items()
                    if kind_of(name) in SIGNED
                    and placement.layer(name) == layer
                    and placement.rows(name, value) == x.numel()
                ]
            for name in names:
                part = placement.by_neuron(name, x.flatten(), expanded[name]) if name != target else x
                result[name] = result[name] + part if name in result else part
    return result


def multiplied(name: str, value: Tensor, delta: Tensor, shift: Tensor) -> Tensor:
    """δ of a value that is also multiplied by exp(shift)."""
    if kind_of(name) in SIGNED:
        return value.sign() * torch.expm1(shift) + delta * shift.exp()
    return delta + shift
