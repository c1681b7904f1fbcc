"""Routes of a deployment file against those that the network needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..chip.architectures import Architecture, Route


def check_routes(entries: Sequence[Mapping[str, Any]], needed: Sequence[Route], architecture: Architecture) -> None:
    """Raise ValueError unless the routes reach exactly the cores where somebody listens, each with an address of its
    own there."""
    wanted = {(route.source, route.element): route for route in needed}
    seen: set[tuple[str, int]] = set()
    addresses: dict[tuple[int, int], str] = {}
    for entry in entries:
        key, told = (entry["source"], entry["element"]), f"route of {entry['source']!r} {entry['element']}"
        if key in seen:
            raise ValueError(f"{told}: is there twice: an address twice.")
        seen.add(key)
        _check_cores(told, entry["cores"], wanted.get(key))
        _check_tag(told, entry["tag"], wanted[key], architecture.limits().get("tags"))
        for core in entry["cores"] if entry["tag"] is not None else ():
            if other := addresses.get((core, entry["tag"])):
                raise ValueError(f"{told}: has tag {entry['tag']} on core {core}, as the {other}: an address twice.")
            addresses[core, entry["tag"]] = told
    for route in needed:
        if (route.source, route.element) not in seen:
            raise ValueError(
                f"{route.source!r} {route.element}: has no route, and core {route.cores[0]} listens to it."
            )


def _check_cores(told: str, cores: Sequence[int], needed: Route | None) -> None:
    nowhere = [core for core in cores if needed is None or core not in needed.cores]
    if nowhere or needed is None:
        where = f"core {nowhere[0]}, where nobody listens to it" if nowhere else "no core"
        raise ValueError(f"{told}: goes to {where}: a route to nowhere.")
    if len(set(cores)) < len(cores):
        raise ValueError(f"{told}: names a core twice: an address twice.")
    if missing := sorted(set(needed.cores) - set(cores)):
        raise ValueError(f"{told}: does not reach core {missing[0]}, where neurons listen to it.")


def _check_tag(told: str, tag: int | None, needed: Route, most: int | None) -> None:
    if (tag is None) != (needed.tag is None):
        raise ValueError(f"{told}: has tag {tag}; expected {'none' if needed.tag is None else 'a number'}.")
    if tag is not None and most is not None and tag >= most:
        raise ValueError(f"{told}: has tag {tag}; the chip has {most}.")
