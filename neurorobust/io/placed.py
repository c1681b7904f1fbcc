"""The placement of an snnTorch network in its model folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn

from .._util.errors import shown
from ..core.placement import CORES, HOST
from ..core.placing import written


def placement_entry(network: nn.Module) -> dict[str, Any] | None:
    """The placement for ``config.json``, in the form of the arguments of ``place``; None for a network without one.

    A layer on one core has one number, any other one for each neuron; −1 is the host.
    """
    placing = _placing(network)
    if placing is None:
        return None
    cores = {name: core.tolist() for name, core in placing["cores"].items()}
    return {
        "cores": {name: core[0] if len(set(core)) == 1 else core for name, core in cores.items()},
        "feeds": dict(placing["feeds"]),
    }


def _placing(network: nn.Module) -> Mapping[str, Any] | None:
    own = getattr(type(network), "placing", None)
    return None if own is None else own(network)


def placement_problem(entry: object) -> str:
    """The first wrong type in a placement that was read, as text; empty if there is none."""
    if not isinstance(entry, dict) or set(entry) != {"cores", "feeds"}:
        return f"got {shown(entry)}; expected cores and feeds"
    cores, feeds = entry["cores"], entry["feeds"]
    if not isinstance(cores, dict) or not isinstance(feeds, dict):
        return f"got {shown(entry)}; expected cores and feeds by name"
    for name, core in cores.items():
        if not all(map(_is_core, core if isinstance(core, list) else [core])):
            return f"cores[{name!r}]: got {shown(core)}; expected cores"
    for name, end in feeds.items():
        if not isinstance(end, str) and not (_is_core(end) and end == HOST):
            return f"feeds[{name!r}]: got {shown(end)}; expected a layer, or {HOST} for the host"
    return ""


def _is_core(value: object) -> bool:
    return type(value) is int and HOST <= value < CORES


def restore_placement(into: nn.Module, entry: Mapping[str, Any], folder: str) -> None:
    """Place a network as the saved one was; one that is placed has to be so already.

    Raises:
        ValueError: it cannot be placed so, or it is placed in another way; the message names the layer.
    """
    if not hasattr(into, "place"):
        raise ValueError(f"into: {folder!r} holds a placement, and a {type(into).__name__} has none.")
    here = placement_entry(into)
    if here is None:
        try:
            cast(Any, into).place(entry["cores"], entry["feeds"])
        except (TypeError, ValueError) as error:
            raise ValueError(f"into: the placement in {folder!r} does not fit this network: {error}") from error
        return
    call = written({name: torch.tensor(core) for name, core in entry["cores"].items()})
    for part, what in (("cores", "is on core"), ("feeds", "ends on")):
        for name in [*entry[part], *here[part]]:
            mine, theirs = here[part].get(name), entry[part].get(name)
            if mine != theirs:
                raise ValueError(
                    f"into: {name!r} {what} {_told(mine)} in this network, and {_told(theirs)} in {folder!r}; leave "
                    f"out place(), and load places it, or place it in the same way: {call}."
                )


def _told(core: object) -> str:
    return "nr.HOST" if core == HOST else shown(core)
