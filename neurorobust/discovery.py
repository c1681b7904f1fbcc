"""Finding what a package offers by walking it, so that adding one is adding one file."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from importlib.metadata import entry_points
from types import ModuleType

from .chip import ChipModel
from .errors import unknown

CHIPS = "neurorobust.chips"


def modules(package: ModuleType) -> list[ModuleType]:
    """Every module directly inside a package, imported."""
    return [importlib.import_module(f"{package.__name__}.{m.name}") for m in pkgutil.iter_modules(package.__path__)]


def classes(package: ModuleType, base: type) -> dict[str, type]:
    """Every class that is not abstract and that the modules of a package define on top of ``base``, by name."""
    return {
        name: value
        for module in modules(package)
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    }


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
