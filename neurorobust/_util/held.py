"""Parts that an object holds: one list, for the descriptions of objects and for the memory of modules.

It names attributes (in ``__dict__`` and in ``__slots__`` of every class), entries of containers, what a function reads
(closure, defaults, globals), the parts of partials, methods and properties, the data and methods of classes.
"""

from __future__ import annotations

import builtins
import dis
import enum
import functools
import logging
import os
import random
import sys
import types
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

NUMBERS = frozenset({type(None), bool, int, float, complex, type(...), range, torch.dtype, torch.device, torch.Size})
PLAIN = NUMBERS | {str, bytes}
"""Types of things that hold nothing and never change."""
SETS = set, frozenset
CONTAINERS = dict, types.MappingProxyType, list, tuple, deque, *SETS
REGISTRIES = ("_parameters", "_buffers", "_modules")
UNREAD = {
    *("__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__annotations__", "__slots__", "__hash__"),
    *("__abstractmethods__", "_abc_impl", "__dataclass_fields__", "__dataclass_params__", "__match_args__"),
    *("__parameters__", "__orig_bases__", "__slotnames__", "__firstlineno__", "__static_attributes__", "__annotate__"),
    *("__annotate_func__", "__annotations_cache__", "__type_params__", "__classdictcell__", "__replace__"),
}
"""Entries of a class that do not act, or follow from others."""
WORDS = {"__doc__", "__annotations__", "__module__", "__name__", "__qualname__"}
"""Attributes that a decorator copies."""
CLOSED = sys.stdlib_module_names | {"torch", "snntorch", "neurorobust"}
"""Packages whose classes are known by name."""

Part = tuple[str, Any]
"""How a thing is reached from its holder, such as ``.weight`` or ``[3]``; and the thing."""


class Import:
    """An import inside a function."""

    def __init__(self, name: str):
        self.name = name


def held(value: object) -> Iterator[Part]:
    """Everything that an object holds, each with its step. The step to a class is ``class`` and its full name.

    Plain numbers and texts hold nothing, nor do classes and functions of installed packages that are known by name.
    """
    if type(value) in PLAIN:
        return iter(())
    for kinds, function in _HOLDERS:
        if isinstance(value, kinds):
            return function(value)
    return _instance(value)


def joined(path: str, step: str) -> str:
    """The path of a thing from that of its holder."""
    return step if step.startswith("class ") else f"{path}{step}" if path else step.removeprefix(".")


def all_plain(value: Any) -> bool:
    """True for a container of plain things alone, which is read as a whole."""
    things = (*value, *value.values()) if isinstance(value, Mapping) else value
    return all(type(thing) in PLAIN for thing in things)


def entries(value: Any) -> list[tuple[Any, Any]]:
    """(key, thing) for every entry of a container; the elements of a set are numbered."""
    return list(value.items() if isinstance(value, Mapping) else enumerate(value))


def attributes(value: object) -> Iterator[tuple[str, Any]]:
    """(name, thing) for every attribute of an instance; of a module its tensors, parts and hooks, too."""
    yield from ((name, getattr(value, name)) for name in slots(value) if hasattr(value, name))
    own = dict(getattr(value, "__dict__", {}))
    for registry in REGISTRIES if isinstance(value, nn.Module) else ():
        yield from own.pop(registry, {}).items()
    for name, entry in own.items():
        if isinstance(value, nn.Module) and name.startswith("_") and "hooks" in name:
            yield from ((f"{name}[{i}]", hook) for i, hook in enumerate((entry or {}).values()))  # numbers count on
        elif name not in WORDS:
            yield name, entry


def slots(value: object) -> list[str]:
    """The attributes of an instance that are in ``__slots__`` of a class of it."""
    classes = [vars(cls) for cls in type(value).__mro__ if "__slots__" in vars(cls)]
    return [name for held in classes for name, entry in held.items() if isinstance(entry, types.MemberDescriptorType)]


def data(cls: type) -> dict[str, Any]:
    """The attributes of a class that hold data, not code."""
    return {
        name: entry
        for name, entry in vars(cls).items()
        if not name.startswith("__") and name not in UNREAD and not isinstance(entry, _CODE)
    }


def full_name(value: Any) -> str:
    """Module and name of a class or function."""
    module = getattr(value, "__module__", None)
    return f"{'__main__' if module == '__mp_main__' else module}.{value.__qualname__}"


def public(value: Any) -> bool:
    """True for a class or function of an installed package that has a name there: no lambda, not made in a call."""
    return installed(getattr(value, "__module__", None)) and "<" not in value.__qualname__


def installed(module: str | None) -> bool:
    """True if a module is of Python, of this package, or of an installed package, whose parts are known by name."""
    return _installed((module or "").split(".")[0])


@functools.cache
def _installed(root: str) -> bool:
    if root in sys.stdlib_module_names or root == __name__.split(".")[0]:
        return True
    file = getattr(sys.modules.get(root), "__file__", None)
    return file is not None and not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)


# ---- what code reads


def globals_read(function: types.FunctionType) -> list[tuple[str, dict[str, Any], str]]:
    """(name, dictionary, key) of every global that a function reads; of an attribute of a module, its dictionary."""
    if installed(function.__module__):
        return []
    found = {}
    for chain in _chains(function.__code__):
        namespace, names = function.__globals__, list(chain)
        while len(names) > 1 and isinstance(module := value_of(namespace, names[0]), types.ModuleType):
            namespace, names = vars(module), names[1:]
        found[".".join(chain[: len(chain) - len(names) + 1])] = namespace, names[0]
    return [(name, *place) for name, place in found.items()]


def value_of(namespace: dict[str, Any], key: str) -> Any:
    """A global by its name: of a module, one that is loaded when it is read, or a built-in one."""
    if key in namespace:
        return namespace[key]
    module = sys.modules.get(namespace.get("__name__", ""))
    return getattr(module, key, getattr(builtins, key, "missing"))


@functools.lru_cache(maxsize=4096)
def _chains(code: types.CodeType) -> tuple[tuple[str, ...], ...]:
    """The globals that code names, each with the attributes that are read from it at once, sorted."""
    found: set[tuple[str, ...]] = set()
    chain: tuple[str, ...] = ()
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            found.add(chain)
            chain = (str(step.argval),)
        elif chain and step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            chain += (str(step.argval),)
        elif step.opname not in ("CACHE", "PRECALL", "PUSH_NULL"):
            found.add(chain)
            chain = ()
    found.add(chain)
    inner = {chain for each in _inner(code) for chain in _chains(each)}
    return tuple(sorted((found | inner) - {()}))


@functools.lru_cache(maxsize=4096)
def _imports(code: types.CodeType) -> frozenset[str]:
    """The modules that code imports when it runs."""
    own = {str(step.argval) for step in dis.get_instructions(code) if step.opname == "IMPORT_NAME"}
    return frozenset(own.union(*map(_imports, _inner(code))))


def _inner(code: types.CodeType) -> list[types.CodeType]:
    return [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]


def codes(function: types.FunctionType) -> list[types.CodeType]:
    """The code of a function, of the functions inside it, and of the one that it wraps."""
    found, waiting = [], [function.__code__]
    while waiting:
        found.append(waiting.pop())
        waiting += _inner(found[-1])
    wrapped = function.__dict__.get("__wrapped__")
    return found + (codes(wrapped) if isinstance(wrapped, types.FunctionType) else [])


@functools.cache
def methods_run(kind: Hashable) -> list[types.FunctionType]:
    """The methods of a class of modules that ``forward`` names, itself or through those that it names."""
    methods: dict[str, list[types.FunctionType]] = {}
    for cls in cast(type, kind).__mro__:
        for name, entry in vars(cls).items() if cls not in (object, nn.Module) else ():
            if isinstance(entry, types.FunctionType):
                methods.setdefault(name, []).append(entry)
    waiting, found = ["forward"], dict[str, list[types.FunctionType]]()
    while waiting:
        if (name := waiting.pop()) in methods and name not in found:
            found[name] = methods[name]
            waiting += [named for method in methods[name] for code in codes(method) for named in code.co_names]
    return [method for named in found.values() for method in named]


# ---- kinds of holders


def _nothing(value: Any) -> Iterator[Part]:
    return iter(())


def _array(value: Any) -> Iterator[Part]:
    if value.dtype.hasobject:
        yield "", value.tolist()


def _tensor(value: Any) -> Iterator[Part]:
    yield from ((f".{name}", thing) for name, thing in vars(value).items())


def _function(value: types.FunctionType) -> Iterator[Part]:
    original = value.__dict__.get("_torchdynamo_orig_callable")  # of torch.compile
    if original is not None or public(value):
        yield from [("", original)] if original is not None else []
        return
    yield ".code", value.__code__
    for name, namespace, key in globals_read(value):
        yield f".globals[{name}]", value_of(namespace, key)
    for name in sorted(_imports(value.__code__)) if not installed(value.__module__) else ():
        yield f".globals[import {name}]", Import(name)
    yield from ((f".defaults[{i}]", thing) for i, thing in enumerate(value.__defaults__ or ()))
    yield from ((f".defaults[{name}]", thing) for name, thing in (value.__kwdefaults__ or {}).items())
    yield from ((f".{name}", thing) for name, thing in vars(value).items())
    yield from ((f".closure[{name}]", cell.cell_contents) for name, cell in variables(value))


def variables(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """(name, cell) of every variable of a closure that is set."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        try:
            cell.cell_contents  # noqa: B018
        except ValueError:  # not set yet
            continue
        yield name, cell


def _method(value: Any) -> Iterator[Part]:
    yield ".function", value.__func__
    if not is_global_generator(value.__self__):
        yield ".self", value.__self__


def _builtin(value: Any) -> Iterator[Part]:
    owner = value.__self__
    if not isinstance(owner, (types.ModuleType, type, types.NoneType)) and not is_global_generator(owner):
        yield ".self", owner


def is_global_generator(value: object) -> bool:
    """True for one of the random generators of the whole process, which belong to no object."""
    numpys, pythons = np.random.get_state.__self__, random.random.__self__  # type: ignore[attr-defined]
    return any(value is each for each in (numpys, pythons, torch.default_generator))


def _partial(value: functools.partial) -> Iterator[Part]:
    yield ".function", value.func
    yield from ((f".arguments[{i}]", thing) for i, thing in enumerate(value.args))
    yield from ((f".arguments[{name}]", thing) for name, thing in value.keywords.items())
    yield from ((f".{name}", thing) for name, thing in vars(value).items())


def _wrapper(value: Any) -> Iterator[Part]:
    """A property, static method, class method or cached property: its functions."""
    for name in ("__func__", "fget", "fset", "fdel", "func"):
        if (function := getattr(value, name, None)) is not None:
            yield f".{name}", function


def _enum(value: enum.Enum) -> Iterator[Part]:
    yield ".value", value.value


def _reference(value: weakref.ReferenceType) -> Iterator[Part]:
    yield ".to", value()


def _class(cls: type) -> Iterator[Part]:
    if cls.__module__.partition(".")[0] in CLOSED and public(cls):
        return
    yield from ((f".bases[{i}]", base) for i, base in enumerate(cls.__bases__))
    members = getattr(cls, "__members__", None) if issubclass(cls, enum.Enum) else None
    yield from ((f".{name}", member) for name, member in (members or {}).items())
    for name, entry in vars(cls).items():
        written = isinstance(entry, types.FunctionType) and entry.__code__.co_filename == "<string>"  # of a dataclass
        its_own = members is None or (isinstance(entry, types.FunctionType) and not installed(entry.__module__))
        slot = isinstance(entry, (types.GetSetDescriptorType, types.MemberDescriptorType))
        if name not in UNREAD and name != "incidental" and its_own and not written and not slot:
            yield f".{name}", entry


def _instance(value: object) -> Iterator[Part]:
    """Attributes, entries, and the class last."""
    if isinstance(value, CONTAINERS) and not all_plain(value):
        yield from ((f"[{label(key)}]", thing) for key, thing in entries(value))
    if type(value) not in CONTAINERS:
        yield from ((f".{name}", thing) for name, thing in attributes(value))
        yield f"class {full_name(type(value))}", type(value)


def label(key: object) -> str:
    """A key of a dictionary in a path. Texts are not shown: they may be secrets."""
    return repr(key) if type(key) in NUMBERS else "…"


_CODE = (
    *(types.FunctionType, classmethod, staticmethod, property),
    *(types.MemberDescriptorType, types.GetSetDescriptorType),
)
SLOT_METHODS = (types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType)
OPERATORS = (type(torch.ops.aten.relu), type(torch.ops.aten.relu.default))
WRAPPERS = (property, staticmethod, classmethod, functools.cached_property)
ENVIRONMENT = type(os.environ)
GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState)
_HOLDERS: list[tuple[Any, Callable[[Any], Iterator[Part]]]] = [
    ((types.ModuleType, types.CodeType, logging.Logger, ENVIRONMENT, PurePath, Import), _nothing),
    ((np.dtype, *GENERATORS, *SLOT_METHODS, *OPERATORS, types.MemberDescriptorType), _nothing),
    (Tensor, _tensor),
    ((np.ndarray, np.generic), _array),
    (types.FunctionType, _function),
    (types.MethodType, _method),
    (types.BuiltinFunctionType, _builtin),
    (functools.partial, _partial),
    (WRAPPERS, _wrapper),
    (enum.Enum, _enum),
    (weakref.ReferenceType, _reference),
    (type, _class),
]
