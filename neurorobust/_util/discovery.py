"""Finding what a package offers by walking it, so that adding one is adding one file."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType


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
