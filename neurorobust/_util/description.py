"""Descriptions of objects: everything in them that acts, as short texts that are the same in every process.

Two objects with equal descriptions compute the same. A description is a flat mapping from paths to texts::

    {"": "neurorobust.regularizers.regularizer.TaskLoss", "criterion.weight": "float32 (2,) #1f0c…", …}

so that a difference has a name. It holds tensors and numbers by value; functions and classes of the user by their
bytecode, defaults, closures and the globals they read; those of installed packages by their names. A part that cannot
be told apart from others has a text that begins with ``UNKNOWN``; nothing is guessed.
"""

from __future__ import annotations

import builtins
import dis
import enum
import functools
import json
import logging
import sys
import types
import weakref
from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from . import digests

UNKNOWN = "?"
LONG = 64
"""Longer texts and containers are given by their digest."""
DEEP = 100
"""Parts nested deeper than this are unknown."""
PLAIN = (
    type(None),
    bool,
    int,
    float,
    complex,
    type(...),
    range,
    slice,
    torch.dtype,
    torch.device,
    torch.Size,
    np.dtype,
)
UNREAD = {
    *("__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__annotations__", "__slots__", "__hash__"),
    *("__abstractmethods__", "_abc_impl", "__dataclass_fields__", "__dataclass_params__", "__match_args__"),
    *("__parameters__", "__orig_bases__", "__slotnames__", "__firstlineno__", "__static_attributes__", "__annotate__"),
}
"""Entries of a class that do not act, or follow from others."""

Description = dict[str, str]


def describe(value: object, named: Mapping[str, object] | None = None, *, options: bool = False) -> Description:
    """The description of an object.

    Args:
        value: any object.
        named: objects that are described by these names wherever they occur.
        options: leave out what :func:`neurorobust.load` restores or what a run changes: parameters and buffers, modes,
            and attributes that ``forward`` assigns.
    """
    walk = _Walk(options)
    for name, known in (named or {}).items():
        walk.seen[id(known)] = name
    walk.visit("", value, 0)
    return walk.found


def difference(there: Mapping[str, str], here: Mapping[str, str]) -> str:
    """The first part that differs, or cannot be compared, as text; empty for equal descriptions."""
    for path in [*here, *(path for path in there if path not in here)]:
        one, two = (place.get(path, "absent") for place in (there, here))
        if one != two:
            return f"{path or 'it'} is {one} there, {two} here"
        if one.startswith(UNKNOWN):
            return f"{path or 'it'} cannot be told apart from others: {one.removeprefix(UNKNOWN)}"
    return ""


def comparable(there: Mapping[str, str], here: Mapping[str, str]) -> tuple[Description, Description]:
    """Both descriptions without the parts that cannot be told apart from others."""
    unclear = {path for place in (there, here) for path, text in place.items() if text.startswith(UNKNOWN)}
    one, two = ({path: text for path, text in place.items() if path not in unclear} for place in (there, here))
    return one, two


def unknown_part(description: Mapping[str, str]) -> str:
    """The first part that cannot be told apart from others, with the reason; empty if there is none."""
    found = (f"{path or 'it'}: {text[1:]}" for path, text in description.items() if text.startswith(UNKNOWN))
    return next(found, "")


def digest(description: Mapping[str, str]) -> str:
    """A short hash of a description."""
    return _hash(json.dumps(dict(description), sort_keys=True).encode())


def tensor_digest(value: Tensor) -> str:
    """A short hash of the bytes of a tensor."""
    dense = value.detach() if value.layout == torch.strided else value.detach().to_dense()
    return _hash(digests.bytes_of(dense.resolve_conj().resolve_neg()))


def _hash(data: bytes | memoryview) -> str:
    return digests.of_bytes(data)[:16]


def _text(value: str | bytes) -> str:
    text = repr(value)
    return text if len(text) <= LONG else f"{text[:20]}… #{_hash(text.encode())}"


def installed(module: str | None) -> bool:
    """True if a module is of Python, of this package, or of an installed package, whose parts are known by name."""
    return _installed((module or "").split(".")[0])


@functools.cache
def _installed(root: str) -> bool:
    if root in sys.stdlib_module_names or root == __name__.split(".")[0]:
        return True
    file = getattr(sys.modules.get(root), "__file__", None)
    return file is not None and not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)


def _full_name(value: Any) -> str:
    module = getattr(value, "__module__", None)
    return f"{'__main__' if module == '__mp_main__' else module}.{value.__qualname__}"


def _public(value: Any) -> bool:
    """True for a class or function of an installed package that has a name there: no lambda, not made in a call."""
    return installed(getattr(value, "__module__", None)) and "<" not in value.__qualname__


class _Walk:
    """One description in the making."""

    def __init__(self, options: bool):
        self.options = options
        self.found: Description = {}
        self.seen: dict[int, str] = {}
        self.alive: list[object] = []  # an id is unique only while its object lives
        self.open: set[int] = set()  # containers that are being described

    def visit(self, path: str, value: Any, depth: int) -> None:
        """Add a part."""
        if isinstance(value, PLAIN):
            self.found[path] = repr(value)
        elif isinstance(value, (str, bytes)) and type(value) in (str, bytes):
            self.found[path] = _text(value)
        elif type(value) in (list, tuple, set, frozenset, dict, types.MappingProxyType):
            self._container(path, value, depth)
        elif id(value) in self.seen:
            self.found[path] = f"→ {self.seen[id(value)] or 'it'}"
        elif depth > DEEP:
            self.found[path] = f"{UNKNOWN}it is nested more than {DEEP} times"
        else:
            self.seen[id(value)] = path
            self.alive.append(value)
            for kinds, describer in _DESCRIBERS:
                if isinstance(value, kinds):
                    return describer(self, path, value, depth + 1)
            _object(self, path, value, depth + 1)

    def part(self, path: str, name: str, value: Any, depth: int) -> None:
        self.visit(f"{path}.{name}" if path else name, value, depth)

    def order(self, path: str, names: Iterable[str]) -> None:
        """Add the order of named parts, in which a mapping or an ``nn.Sequential`` goes through them."""
        if len(listed := list(names)) > 1:
            self.found[f"{path}(order)"] = _text(json.dumps(listed))

    def _container(self, path: str, value: Any, depth: int) -> None:
        if depth > DEEP or id(value) in self.open:
            self.found[path] = f"{UNKNOWN}it contains itself, or is nested more than {DEEP} times"
            return
        self.open.add(id(value))
        self._items(path, value, depth)
        self.open.remove(id(value))

    def _items(self, path: str, value: Any, depth: int) -> None:
        held = len(self.found)
        items: list[tuple[Any, Any]]
        if isinstance(value, (set, frozenset)):
            items = list(enumerate(sorted(self._apart(item, depth) for item in value)))
        elif isinstance(value, (list, tuple)):
            items = list(enumerate(value))
        else:
            items = [(key if isinstance(key, str) else self._apart(key, depth), item) for key, item in value.items()]
            self.order(path, [key for key, _ in items])
        if len(items) > LONG:
            inner = _Walk(self.options)
            inner.seen, inner.open = self.seen, self.open
            for key, item in items:
                inner.visit(f"[{key}]", item, depth + 1)
            self.alive += inner.alive
            unknown = unknown_part(inner.found)
            of = f"{type(value).__name__} of {len(items)} #{digest(inner.found)}"
            self.found[path] = f"{UNKNOWN}{unknown}" if unknown else of
            return
        for key, item in items:
            self.visit(f"{path}[{key}]", item, depth + 1)
        if len(self.found) == held and not self.options:
            self.found[path] = f"empty {type(value).__name__}"

    def _apart(self, value: Any, depth: int) -> str:
        """One text for an object, for keys and elements of sets."""
        inner = _Walk(self.options)
        inner.open = self.open
        inner.visit("", value, depth + 1)
        self.alive += inner.alive
        return inner.found[""] if list(inner.found) == [""] else json.dumps(inner.found, sort_keys=True)


def _tensor(walk: _Walk, path: str, value: Tensor, depth: int) -> None:
    try:
        trained = ", trained" if value.requires_grad else ""
        walk.found[path] = f"{str(value.dtype)[6:]} {tuple(value.shape)} #{tensor_digest(value)}{trained}"
    except (RuntimeError, NotImplementedError, TypeError) as error:
        walk.found[path] = f"{UNKNOWN}a tensor whose values cannot be read ({type(error).__name__})"


def _array(walk: _Walk, path: str, value: Any, depth: int) -> None:
    if value.dtype.hasobject:
        walk.visit(path, value.tolist(), depth)
    else:
        walk.found[path] = f"numpy {value.dtype.str} {value.shape} #{_hash(np.ascontiguousarray(value).tobytes())}"


def _module(walk: _Walk, path: str, value: types.ModuleType, depth: int) -> None:
    known = installed(value.__name__)
    walk.found[path] = f"module {value.__name__}" if known else f"{UNKNOWN}the whole module {value.__name__} is passed"


def _code(walk: _Walk, path: str, value: types.CodeType, depth: int) -> None:
    inner = _Walk(False)
    inner.visit("constants", value.co_consts, depth)
    text = [value.co_code.hex(), value.co_names, value.co_varnames, value.co_freevars, value.co_flags]
    exceptions = getattr(value, "co_exceptiontable", b"").hex()
    walk.found[path] = f"code #{_hash(json.dumps([text, exceptions, inner.found], sort_keys=True).encode())}"


def _function(walk: _Walk, path: str, value: types.FunctionType, depth: int) -> None:
    original = value.__dict__.get("_torchdynamo_orig_callable")  # of torch.compile
    if original is not None:
        return walk.visit(path, original, depth)
    if _public(value):
        walk.found[path] = _full_name(value)
        return None
    walk.found[path] = f"function {_full_name(value)}"
    walk.part(path, "code", value.__code__, depth)
    if not installed(value.__module__):
        for name, read in _globals_of(value.__code__, value.__globals__):
            walk.part(path, f"globals[{name}]", read, depth)
    for name, entries in (("defaults", value.__defaults__), ("defaults", value.__kwdefaults__)):
        if entries:
            walk.part(path, name, entries, depth)
    if value.__dict__:
        walk.part(path, "attributes", value.__dict__, depth)
    for name, cell in zip(value.__code__.co_freevars, value.__closure__ or ()):
        try:
            walk.part(path, f"closure[{name}]", cell.cell_contents, depth)
        except ValueError:  # not set yet
            walk.found[f"{path}.closure[{name}]"] = "empty"
    return None


def _globals_of(code: types.CodeType, namespace: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(name, value) of every global that code reads; of an attribute of a module, the attribute."""
    read: dict[str, Any] = {}
    chain, found, open_ = "", None, False
    for instruction in dis.get_instructions(code):
        name = str(instruction.argval)
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            if open_:
                read[chain] = found
            chain, found, open_ = name, namespace.get(name, getattr(builtins, name, "missing")), True
        elif open_ and instruction.opname in ("LOAD_ATTR", "LOAD_METHOD") and isinstance(found, types.ModuleType):
            chain, found = f"{chain}.{name}", getattr(found, name, "missing")
        elif open_ and instruction.opname not in ("CACHE", "PRECALL", "PUSH_NULL"):
            read[chain], open_ = found, False
        if instruction.opname == "IMPORT_NAME":
            read[f"import {name}"] = sys.modules.get(name, _Import(name)) if installed(name) else _Import(name)
    if open_:
        read[chain] = found
    yield from read.items()
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _globals_of(constant, namespace)


class _Import:
    """An import inside a function."""

    def __init__(self, name: str):
        self.name = name


def _import(walk: _Walk, path: str, value: _Import, depth: int) -> None:
    reason = f"{UNKNOWN}{value.name} is imported inside the function; import it at the top of the file"
    walk.found[path] = f"module {value.name}" if installed(value.name) else reason


def _method(walk: _Walk, path: str, value: Any, depth: int) -> None:
    walk.found[path] = "method"
    walk.part(path, "function", value.__func__, depth)
    walk.part(path, "self", value.__self__, depth)


def _builtin(walk: _Walk, path: str, value: Any, depth: int) -> None:
    owner = getattr(value, "__self__", None)
    walk.found[path] = f"built-in {value.__qualname__}"
    if owner is not None and not isinstance(owner, (types.ModuleType, type)):
        walk.part(path, "self", owner, depth)
    elif isinstance(owner, types.ModuleType):
        walk.found[path] += f" of {owner.__name__}"


def _slot_method(walk: _Walk, path: str, value: Any, depth: int) -> None:
    walk.found[path] = f"{_full_name(value.__objclass__)}.{value.__name__}"


def _partial(walk: _Walk, path: str, value: functools.partial, depth: int) -> None:
    walk.found[path] = _full_name(type(value))
    walk.part(path, "function", value.func, depth)
    walk.part(path, "arguments", [*value.args], depth)
    walk.part(path, "arguments", value.keywords, depth)


def _wrapper(walk: _Walk, path: str, value: Any, depth: int) -> None:
    """A property, static method, class method or cached property: its functions."""
    walk.found[path] = type(value).__name__
    for name in ("__func__", "fget", "fset", "func"):
        if (function := getattr(value, name, None)) is not None:
            walk.part(path, name, function, depth)


def _enum(walk: _Walk, path: str, value: enum.Enum, depth: int) -> None:
    walk.found[path] = f"{_full_name(type(value))}.{value.name}"
    walk.part(path, "value", value.value, depth)


def _generator(walk: _Walk, path: str, value: torch.Generator, depth: int) -> None:
    walk.found[path] = f"torch.Generator #{tensor_digest(value.get_state())}"


def _reference(walk: _Walk, path: str, value: weakref.ReferenceType, depth: int) -> None:
    walk.found[path] = "reference"
    walk.part(path, "to", value(), depth)


def _operator(walk: _Walk, path: str, value: Any, depth: int) -> None:
    walk.found[path] = f"operator {value}"


def _class(walk: _Walk, path: str, value: type, depth: int) -> None:
    walk.found[path] = f"class {_full_name(value)}"
    if _public(value):
        return
    for i, base in enumerate(value.__bases__):
        walk.part(path, f"bases[{i}]", base, depth)
    for name, entry in vars(value).items():
        written = isinstance(entry, types.FunctionType) and entry.__code__.co_filename == "<string>"  # of a dataclass
        if name not in UNREAD and not written and not isinstance(entry, types.GetSetDescriptorType):
            walk.part(path, name, entry, depth)


def _logger(walk: _Walk, path: str, value: logging.Logger, depth: int) -> None:
    walk.found[path] = f"logger {value.name!r}"


_DESCRIBERS: list[tuple[Any, Any]] = [
    (Tensor, _tensor),
    ((np.ndarray, np.generic), _array),
    (types.ModuleType, _module),
    (types.CodeType, _code),
    (types.FunctionType, _function),
    (types.MethodType, _method),
    (types.BuiltinFunctionType, _builtin),
    ((types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType), _slot_method),
    (types.MemberDescriptorType, _slot_method),
    (functools.partial, _partial),
    ((property, staticmethod, classmethod, functools.cached_property), _wrapper),
    (enum.Enum, _enum),
    (torch.Generator, _generator),
    (weakref.ReferenceType, _reference),
    (logging.Logger, _logger),
    ((type(torch.ops.aten.relu), type(torch.ops.aten.relu.default)), _operator),
    (type, _class),
    (_Import, _import),
]


def _object(walk: _Walk, path: str, value: Any, depth: int) -> None:
    """An instance: its class, its attributes, what it contains, and what its class says of it in ``__reduce__``."""
    kind = type(value)
    walk.found[path] = _full_name(kind)
    if not installed(kind.__module__) and id(kind) not in walk.seen:
        walk.visit(f"class {_full_name(kind)}", kind, depth)
    try:
        reduced = None if isinstance(value, nn.Module) else value.__reduce_ex__(2)
    except Exception as error:
        walk.found[path] = f"{UNKNOWN}a {_full_name(kind)} does not say what is in it ({error})"
        return
    for name, entry in _attributes(value, walk.options):
        walk.part(path, name, entry, depth)
    if isinstance(value, nn.Module):
        walk.order(path, vars(value)["_modules"])
    if isinstance(value, (str, bytes)):
        walk.found[path] += f" {_text(value)}"
    elif isinstance(value, (set, frozenset)):
        walk.part(path, "items", set(value), depth)
    elif isinstance(reduced, str):
        walk.found[path] += f" {reduced}"
    elif reduced is not None and _says_more(kind):
        walk.part(path, "made by", list(reduced[:3]), depth)
        walk.part(path, "items", [list(items) for items in reduced[3:] if items is not None], depth)
    elif isinstance(value, (list, tuple, dict)):
        walk.part(path, "items", dict(value) if isinstance(value, dict) else list(value), depth)


def _says_more(kind: type) -> bool:
    own = any(getattr(kind, name) is not getattr(object, name, None) for name in ("__reduce__", "__reduce_ex__"))
    return own or hasattr(kind, "__getnewargs__") or hasattr(kind, "__getnewargs_ex__")


def _attributes(value: Any, options: bool) -> Iterator[tuple[str, Any]]:
    """The attributes of an instance that act, by name; of a module its tensors and its parts, too."""
    kind = type(value)
    skipped = set(getattr(kind, "incidental", ()))
    for cls in kind.__mro__:
        skipped |= {name for name, entry in vars(cls).items() if isinstance(entry, functools.cached_property)}
        slots = vars(cls).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__", *skipped) and hasattr(value, name):
                yield name, getattr(value, name)
    own = dict(getattr(value, "__dict__", {}))
    if isinstance(value, nn.Module):
        skipped |= {"_is_full_backward_hook", "_non_persistent_buffers_set"}
        if options:
            assigned, filled = _assigned(cast(Hashable, kind))
            kept = own.get("_buffers", {}).keys() & own.get("_non_persistent_buffers_set", ())  # no file holds them
            yield from ((name, own["_buffers"][name]) for name in sorted(kept - assigned))
            skipped |= {"training", "_parameters", "_buffers"} | assigned
            skipped |= {name for name in filled if _records(own.get(name))}
        for name in ("_parameters", "_buffers", "_modules"):
            held = own.pop(name, {})
            yield from held.items() if name not in skipped else ()
        for name in [name for name in own if name.startswith("_") and "hooks" in name]:
            if held := own.pop(name):  # kept under numbers that count through the process
                yield name, list(held.values())
    yield from ((name, entry) for name, entry in own.items() if name not in skipped)


FILLS = {"append", "extend", "insert", "update", "setdefault", "add", "clear", "pop"}


def _records(value: object) -> bool:
    """True for a container that holds tensors."""
    held = value.values() if isinstance(value, dict) else value if isinstance(value, (list, set, deque)) else ()
    return any(isinstance(item, Tensor) or _records(item) for item in held)


@functools.cache
def _assigned(kind: Hashable) -> tuple[frozenset[str], frozenset[str]]:
    """The attributes that ``forward`` of a module assigns, itself or in methods that it names, and those that a
    function among them reads which fills a container."""
    methods: dict[str, list[types.CodeType]] = {}
    for cls in cast(type, kind).__mro__:
        for name, entry in vars(cls).items() if cls not in (object, nn.Module) else ():
            if isinstance(entry, types.FunctionType):
                methods.setdefault(name, []).append(entry.__code__)
    waiting, done, stored, filled = ["forward"], set(), set(), set()
    while waiting:
        name = waiting.pop()
        for code in methods.get(name, ()) if name not in done else ():
            steps = list(dis.get_instructions(code))
            stored |= {str(step.argval) for step in steps if step.opname == "STORE_ATTR"}
            if FILLS & set(code.co_names) or any(step.opname == "STORE_SUBSCR" for step in steps):
                filled |= {str(step.argval) for step in steps if step.opname in ("LOAD_ATTR", "LOAD_METHOD")}
            waiting += [*code.co_names]
        done.add(name)
    return frozenset(stored), frozenset(filled)
