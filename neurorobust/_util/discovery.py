"""Discovery of objects by walking a package: a new object needs one new file and no entry in a list.

Other packages are found through entry points: a package names itself under a group such as ``neurorobust.tasks``,
and its modules are walked in the same way.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, TypeVar

from .warn import warn

T = TypeVar("T")


def modules(package: ModuleType) -> list[ModuleType]:
    """The modules directly inside a package, imported; for a plain module, the module."""
    if not hasattr(package, "__path__"):
        return [package]
    return [importlib.import_module(f"{package.__name__}.{m.name}") for m in pkgutil.iter_modules(package.__path__)]


def installed(group: str) -> list[ModuleType]:
    """The modules of every installed package that names itself under an entry point group.

    If another package cannot be imported, whatever it raises, it is left out and one warning names it. What it prints
    meanwhile goes to stderr.
    """
    found: dict[str, list[ModuleType]] = {}
    for point in sorted(entry_points(group=group), key=lambda point: point.value):
        owner = point.dist.name if point.dist else point.value
        try:
            if point.module in found:
                continue
            with redirect_stdout(sys.stderr):
                found[point.module] = modules(importlib.import_module(point.module))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if owner == "neurorobust":
                raise
            package = point.value.partition(":")[0]
            leave_out(group, f"package {package!r} of distribution {owner!r} cannot be imported", error)
    return [module for package in found.values() for module in package]


def leave_out(group: str, what: str, error: BaseException | str) -> None:
    """Warn, once, that something of another package is left out, with the reason."""
    reason = error if isinstance(error, str) else f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    _warn_once(f"{group}: {what} and is left out ({reason}). Update or uninstall it.")


@cache
def _warn_once(text: str) -> None:
    warn(text, RuntimeWarning)


def by_name(what: str, where: Iterable[ModuleType], pick: Callable[[ModuleType], Mapping[str, T]]) -> dict[str, T]:
    """The objects that ``pick`` selects from each module, by name.

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
    """The concrete subclasses of ``base`` that the modules of a package define, by name.

    Args:
        package: the package to walk. base: the common base class.
        group: entry point group of other packages; the default searches no other package.
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


def instances(package: ModuleType, base: type, group: str) -> dict[str, Any]:
    """One object of each class that :func:`classes` finds, made without arguments, by its attribute ``name``.

    A class of another package that cannot be made, or has no such name, is left out and one warning names it.
    """
    found = {}
    for kind in classes(package, base, group).values():
        try:
            one = kind()
            if not isinstance(one.name, str):
                raise TypeError(f"name: got {one.name!r}; expected a text")
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if kind.__module__.startswith(f"{package.__name__}."):
                raise
            leave_out(group, f"{kind.__module__}.{kind.__name__} cannot be made", error)
        else:
            found[one.name] = one
    return found


def functions(package: ModuleType, group: str = "") -> dict[str, Callable]:
    """The functions of a package that have the same name as their module, by name; ``group`` as in :func:`classes`.

    An entry point that names a function, ``mine = "package.module:function"``, gives it under its own name.
    """

    def own(module: ModuleType) -> dict[str, Callable]:
        name = module.__name__.rpartition(".")[2]
        value = vars(module).get(name)
        named = {
            point.name: vars(module)[point.attr]
            for point in (entry_points(group=group) if group else ())
            if point.module == module.__name__ and callable(vars(module).get(point.attr))
        }
        return named | ({name: value} if callable(value) else {})

    return by_name(group or package.__name__, [*modules(package), *(installed(group) if group else ())], own)
