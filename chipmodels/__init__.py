"""Chip models, one file each: a module with a ``ChipModel`` named ``chip``.

A package that offers chips names itself under the entry point group ``neurorobust.chips``; every module in it is
looked at, so a new chip is one new file, here or in a package of your own.
"""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import entry_points

from neurorobust.chip import ChipModel
from neurorobust.errors import unknown

__all__ = ["load", "models"]


def models() -> dict[str, ChipModel]:
    """Every chip model that is installed, by name.

    Raises:
        ValueError: two of them have the same name.
    """
    packages = {point.value for point in entry_points(group="neurorobust.chips")} | {__name__}
    found: dict[str, ChipModel] = {}
    for package_name in sorted(packages):
        package = importlib.import_module(package_name)
        for module in pkgutil.iter_modules(package.__path__):
            chip = getattr(importlib.import_module(f"{package_name}.{module.name}"), "chip", None)
            if not isinstance(chip, ChipModel):
                continue
            if chip.name in found:
                raise ValueError(f"chips: two models are named {chip.name!r}; rename the one in {package_name}.{module.name}.")
            found[chip.name] = chip
    return found


def load(name: str) -> ChipModel:
    """The chip model of that name.

    Raises:
        ValueError: there is none; the message lists what there is.
    """
    known = models()
    if name not in known:
        raise unknown("chip", name, known)
    return known[name]
