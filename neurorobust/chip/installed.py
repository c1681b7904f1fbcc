"""The chip models that are installed, found through the entry point ``neurorobust.chips``."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points

from .._util.discovery import modules
from .._util.errors import unknown
from . import ChipModel

CHIPS = "neurorobust.chips"


def chip_models() -> dict[str, ChipModel]:
    """Every installed chip model, by name.

    A package that offers chips names itself under the entry point group ``neurorobust.chips``; each of its modules that
    holds a ``ChipModel`` named ``chip`` counts.

    Raises:
        ValueError: two of them have the same name.
    """
    found: dict[str, ChipModel] = {}
    for package_name in sorted({point.value for point in entry_points(group=CHIPS)}):
        for module in modules(importlib.import_module(package_name)):
            chip = getattr(module, "chip", None)
            if not isinstance(chip, ChipModel):
                continue
            if chip.name in found:
                raise ValueError(f"chips: two models are named {chip.name!r}; rename the one in {module.__name__}.")
            found[chip.name] = chip
    return found


def chip_model(name: str) -> ChipModel:
    """The installed chip model of that name.

    Raises:
        ValueError: there is none; the message lists what there is.
    """
    known = chip_models()
    if name not in known:
        raise unknown("chip", name, known)
    return known[name]
