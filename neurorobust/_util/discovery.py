"""Finding what a package offers by walking it, so that adding one is adding one file.

Packages of other people are found through entry points: a package names itself under a group such as
``neurorobust.tasks``, and its modules are walked like our own.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar("T")


def modules(package: ModuleType) -> list[ModuleType]:
    """Every module directly inside a package, imported; of a plain module, itself."""
    if not hasattr(package, "__path__"):
        return [package]
    return [importlib.import_module(f"{package.__name__}.{m.name}") for m in pkgutil.iter_modules(package.__path__)]


def installed(group: str) -> list[ModuleType]:
    """The modules of every installed package that names itself under an entry point group.

    A package of somebody else that cannot be imported is left out, with one warning that names it.
    """
    found: dict[str, list[ModuleType]] = {}
    for point in sorted(entry_points(group=group), key=lambda point: point.value):
        if point.module in found:
            continue
        owner = point.dist.name if point.dist else point.module
        try:
            found[point.module] = modules(importlib.import_module(point.module))
        except Exception as error:
            if owner == "neurorobust":
                raise
            _warn_once(
                f"{group}: package {point.module!r} of distribution {owner!r} cannot be imported and is left out "
                f"({type(error).__name__}: {error}). Update or uninstall it."
            )
    return [module for package in found.values() for module in package]


@cache
def _warn_once(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=3)


def by_name(what: str, where: Iterable[ModuleType], pick: Callable[[ModuleType], Mapping[str, T]]) -> dict[str, T]:
    """The objects that ``pick`` takes out of each module, by name.

    Raises:
        ValueError: two modules hold different objects of one name.
    """
    found: dict[str, tuple[T, str]] = {}
    for module in where:
        for name, value in pick(module).items():
            other, place = found.setdefault(name, (value, module.__name__))
            if other is not value:
                raise ValueError(f"{what}: two are named {name!r}, in {place} and {module.__name__}; rename one.")
    return {name: value for name, (value, _) in found.items()}


def classes(package: ModuleType, base: type, group: str = "") -> dict[str, Any]:
    """Every class on top of ``base`` that is not abstract and that the modules of a package define, by name.

    Args:
        package: walked. base: their common class.
        group: entry point group under which other packages offer more of them; none where omitted.
    """

    def own(module: ModuleType) -> dict[str, type]:
        return {
            name: value
            for name, value in vars(module).items()
            if isinstance(value, type)
            and issubclass(value, base)
            and value.__module__ == module.__name__
            and not inspect.isabstract(value)
            and not name.startswith("_")
        }

    return by_name(base.__name__, [*modules(package), *(installed(group) if group else ())], own)


def functions(package: ModuleType, group: str = "") -> dict[str, Callable]:
    """In every module of a package the function of the module's own name, if it has one; ``group`` as in
    :func:`classes`."""

    def own(module: ModuleType) -> dict[str, Callable]:
        name = module.__name__.rpartition(".")[2]
        value = vars(module).get(name)
        return {name: value} if callable(value) else {}

    return by_name(group or package.__name__, [*modules(package), *(installed(group) if group else ())], own)
