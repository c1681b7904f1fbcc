"""Descriptions of objects: everything in them that acts, as short texts that are the same in every process.

Two objects with equal descriptions compute the same. A description is a flat mapping from paths to texts::

    {"": "neurorobust.regularizers.regularizer.TaskLoss", "criterion.weight": "float32 (2,) #1f0c…", …}

so that a difference has a name. It holds tensors and numbers by value; functions and classes of the user by their
source, defaults, closures and the globals they read; those of installed packages by their names. Texts, bytes and keys
of dictionaries may be secrets: they are given by a digest alone. A part that cannot be told apart from others has a
text that begins with ``UNKNOWN``; nothing is guessed.
"""

from __future__ import annotations

import copyreg
import dis
import enum
import functools
import hashlib
import json
import logging
import types
import weakref
from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from . import digests
from .held import (
    ENVIRONMENT,
    NUMBERS,
    OPERATORS,
    SETS,
    SLOT_METHODS,
    WRAPPERS,
    Import,
    all_plain,
    attributes,
    codes,
    entries,
    full_name,
    held,
    installed,
    joined,
    methods_run,
    public,
)
from .source import code_text

FORMAT = 2
"""The first format held texts as they are."""
UNKNOWN = "?"
PLACE = "place"
"""A path of a file: it says where something lies."""
INCIDENTAL = "incidental"
"""An attribute that its class names in ``incidental``: it does not act."""
LONG = 64
"""Longer containers are given by their digest, …"""
MANY = 1000
"""… and those with more parts, at any depth."""
DEEP = 100
"""Parts nested deeper than this are unknown."""
EXACT = dict, types.MappingProxyType, list, tuple, *SETS
REMEDY = (
    "make it in the same way; if an attribute does not act, name it in the class attribute `incidental` of its class, "
    "as in incidental = ('note',)"
)

Description = dict[str, str]


def describe(value: object, named: Mapping[str, object] | None = None, *, options: bool = False) -> Description:
    """The description of an object.

    Args:
        value: any object.
        named: objects that are described by these names wherever they occur.
        options: leave out what :func:`neurorobust.load` restores or what a run changes: parameters and buffers, modes,
            and attributes that ``forward`` assigns.
    """
    return _Walk(options, {id(known): name for name, known in (named or {}).items()}).describe(value)


def difference(there: Mapping[str, str], here: Mapping[str, str]) -> str:
    """The first part that differs, or cannot be compared, as text; empty for equal descriptions."""
    for path, one, two in _pairs(there, here):
        if one != two and not (_is_place(one) and _is_place(two)):
            return f"{path or 'it'} is {one} there, {two} here"
        if one.startswith(UNKNOWN):
            return f"{path or 'it'} cannot be told apart from others: {one.removeprefix(UNKNOWN)}"
    return ""


def moved(there: Mapping[str, str], here: Mapping[str, str]) -> str:
    """The first path of a file that differs, by its name; empty if there is none."""
    found = (path for path, one, two in _pairs(there, here) if one != two and _is_place(one) and _is_place(two))
    return next(found, "")


def _is_place(text: str) -> bool:
    return text.startswith(f"{PLACE} #")


def _pairs(there: Mapping[str, str], here: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """(path, text there, text here) of every part that acts in both."""
    idle = {path for place in (there, here) for path, text in place.items() if text == INCIDENTAL}
    for path in dict.fromkeys([*here, *there]):
        ends = (i for i, letter in enumerate(path) if letter in ".[(") if idle else ()
        if path not in idle and not any(path[:end] in idle for end in ends):
            yield path, there.get(path, "absent"), here.get(path, "absent")


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


def tensor_digest(*pieces: Tensor) -> str:
    """A short hash of the bytes of a tensor, or of one in several pieces."""
    digest = hashlib.sha256()
    for value in pieces:
        dense = value.detach() if value.layout == torch.strided else value.detach().to_dense()
        digest.update(digests.bytes_of(dense.resolve_conj().resolve_neg()))
    return digest.hexdigest()[:16]


def _hash(data: bytes | memoryview) -> str:
    return digests.of_bytes(data)[:16]


def _text(value: str | bytes) -> str:
    return f"{'text' if isinstance(value, str) else 'bytes'} #{_hash(repr(value).encode())}"


def _plain(value: object) -> str:
    """A number as it is, a text by its digest."""
    return _text(value) if isinstance(value, (str, bytes)) else repr(value)


class _Walk:
    """One description in the making."""

    def __init__(self, options: bool, named: Mapping[int, str]):
        self.options, self.named = options, named
        self.found: Description = {}
        self.labels: dict[int, str] = {}  # of classes
        self.classes: list[type] = []  # that wait
        self.seen: dict[int, str] = dict(named)
        self.alive: list[object] = []  # an id is unique only while its object lives
        self.open: set[int] = set()  # containers that are being described
        self.contents: dict[int, Description] = {}  # of containers whose parts have all been described

    def describe(self, value: object) -> Description:
        self.visit("", value, 0)
        while self.classes:
            cls = self.classes.pop(0)
            for step, thing in held(cls):
                self.visit(joined(self.labels[id(cls)], step), thing, 1)
        return self.found

    def visit(self, path: str, value: Any, depth: int) -> None:
        """Add a part."""
        if depth > DEEP:
            self.found[path] = f"{UNKNOWN}it is nested more than {DEEP} times"
        elif type(value) in NUMBERS or type(value) in (str, bytes):
            self.found[path] = _plain(value)
        elif type(value) in EXACT:
            self._container(path, value, depth)
        elif isinstance(value, type):
            self.found[path] = self._class(value)
        elif id(value) in self.seen:
            self.found[path] = f"→ {self.seen[id(value)] or 'it'}"
        else:
            self.seen[id(value)] = path
            self.alive.append(value)
            head = next((head for kinds, head in _HEADS if isinstance(value, kinds)), None)
            if head is None:
                return self._instance(path, value, depth)
            self.found[path] = head(value)
            for step, thing in held(value):
                self.visit(joined(path, step), thing, depth + 1)
        return None

    def _class(self, cls: type) -> str:
        """The name of a class; one of the user is described once, under its name."""
        if id(cls) in self.labels or public(cls):
            return self.labels.get(id(cls), f"class {full_name(cls)}")
        same = [label for label in self.labels.values() if label.split(" (")[0] == f"class {full_name(cls)}"]
        label = f"class {full_name(cls)}" + (f" ({len(same) + 1})" if same else "")
        self.labels[id(cls)] = label
        self.classes.append(cls)
        self.alive.append(cls)
        return label

    def _container(self, path: str, value: Any, depth: int) -> None:
        if id(value) in self.open:
            self.found[path] = f"{UNKNOWN}it contains itself"
            return
        if (content := self.contents.get(id(value))) is None:
            outer, self.found, met = self.found, {}, len(self.seen) + len(self.labels)
            self.open.add(id(value))
            self._entries(path, value, depth)
            self.open.remove(id(value))
            content = self._short({there[len(path) :]: text for there, text in self.found.items()}, value)
            self.found = outer
            if met == len(self.seen) + len(self.labels):  # else its objects have another text the next time
                self.contents[id(value)] = content
                self.alive.append(value)
        self.found |= {f"{path}{step}": text for step, text in content.items()}

    def _entries(self, path: str, value: Any, depth: int) -> None:
        if len(value) > LONG and all_plain(value):
            texts = [_plain(thing) for thing in value]
            if isinstance(value, Mapping):
                texts = [f"{_plain(key)}: {_plain(thing)}" for key, thing in value.items()]
            self.found[path] = _hash(repr(sorted(texts) if isinstance(value, SETS) else texts).encode())
        elif isinstance(value, SETS):
            for i, text in enumerate(sorted(self._apart(thing) for thing in value)):
                self.found[f"{path}[{i}]"] = text
        else:
            mapping = not isinstance(value, (list, tuple))
            keys = [self._apart(key) if mapping else str(key) for key, _ in entries(value)]
            for key, (_, thing) in zip(keys, entries(value)):
                self.visit(f"{path}[{key}]", thing, depth + 1)
                if key.startswith(UNKNOWN):
                    self.found[f"{path}[{key}]"] = key
            if mapping:
                self.order(path, keys)

    def _short(self, content: Description, value: Any) -> Description:
        """The parts of a container, or one text for a long one."""
        kind = type(value).__name__
        if not content and not self.options:
            return {"": f"empty {kind}"}
        if len(value) <= LONG and len(content) <= MANY:
            return content
        unknown = unknown_part(content)
        return {"": f"{UNKNOWN}{unknown}" if unknown else f"{kind} of {len(value)} #{digest(content)}"}

    def _apart(self, value: Any) -> str:
        """One text for an object, for keys and elements of sets."""
        if type(value) in NUMBERS or type(value) in (str, bytes):
            return _plain(value)
        inner = _Walk(self.options, self.named)
        inner.open = self.open
        found = inner.describe(value)
        self.alive += inner.alive
        if unknown := unknown_part(found):
            return f"{UNKNOWN}{unknown}"
        return found[""] if list(found) == [""] else f"{found.get('', type(value).__name__)} #{digest(found)}"

    def order(self, path: str, names: Iterable[str]) -> None:
        """Add the order of named parts, in which a mapping or an ``nn.Sequential`` goes through them."""
        if len(listed := list(names)) > 1:
            self.found[f"{path}(order)"] = f"#{_hash(json.dumps(listed).encode())}"

    def _instance(self, path: str, value: Any, depth: int) -> None:
        """Its class, its attributes, what it contains, and what its class says of it in ``__reduce__``."""
        kind = type(value)
        name = full_name(kind) if installed(kind.__module__) else self._class(kind).removeprefix("class ")
        self.found[path] = name
        try:
            reduced = None if isinstance(value, nn.Module) else _reduced(value)
        except Exception as error:
            self.found[path] = f"{UNKNOWN}a {name} does not say what is in it ({type(error).__name__})"
            return
        unread = _unread(value, self.options)
        for attribute, thing in attributes(value):
            if attribute in _incidental(kind):
                self.found[joined(path, f".{attribute}")] = INCIDENTAL
            elif attribute not in unread:
                self.visit(joined(path, f".{attribute}"), thing, depth + 1)
        if isinstance(value, nn.Module):
            self.order(path, vars(value)["_modules"])
        if isinstance(value, (str, bytes)):
            self.found[path] += f" {_text(value)}"
        elif isinstance(value, SETS):
            self.visit(joined(path, ".items"), set(value), depth + 1)
        elif isinstance(reduced, str):
            self.found[path] += f" {_text(reduced)}"
        elif reduced is not None and _says_more(kind):
            self.visit(joined(path, ".made by"), list(reduced[:3]), depth + 1)
            items = [list(each) for each in reduced[3:] if each is not None]
            self.visit(joined(path, ".items"), items, depth + 1)
        elif isinstance(value, (list, tuple, dict)):
            plain = dict(value) if isinstance(value, dict) else list(value)
            self.visit(joined(path, ".items"), plain, depth + 1)


def _reduced(value: Any) -> Any:
    registered = copyreg.dispatch_table.get(type(value))  # of a regular expression, for example
    return registered(value) if registered else value.__reduce_ex__(2)


def _says_more(kind: type) -> bool:
    own = any(getattr(kind, name) is not getattr(object, name, None) for name in ("__reduce__", "__reduce_ex__"))
    made = any(hasattr(kind, name) for name in ("__getnewargs__", "__getnewargs_ex__"))
    return own or made or kind in copyreg.dispatch_table


# ---- one text for one thing


def _tensor(value: Tensor) -> str:
    try:
        trained = ", trained" if value.requires_grad else ""
        return f"{str(value.dtype)[6:]} {tuple(value.shape)} #{tensor_digest(value)}{trained}"
    except (RuntimeError, NotImplementedError, TypeError) as error:
        return f"{UNKNOWN}a tensor whose values cannot be read ({type(error).__name__})"


def _array(value: Any) -> str:
    if value.dtype.hasobject:
        return f"numpy {value.dtype.str} {value.shape}"
    if isinstance(value, np.number | np.bool_):
        return f"numpy {value.dtype.str} {value.item()!r}"
    return f"numpy {value.dtype.str} {value.shape} #{_hash(np.ascontiguousarray(value).tobytes())}"


def _module(value: types.ModuleType) -> str:
    known = installed(value.__name__)
    return f"module {value.__name__}" if known else f"{UNKNOWN}the whole module {value.__name__} is passed"


def _function(value: types.FunctionType) -> str:
    if "_torchdynamo_orig_callable" in value.__dict__:
        return "compiled"  # the original stands in its place
    return full_name(value) if public(value) else f"function {full_name(value)}"


def _import(value: Import) -> str:
    if installed(value.name):
        return f"module {value.name}"
    return f"{UNKNOWN}{value.name} is imported inside the function; import it at the top of the file"


def _builtin(value: Any) -> str:
    owner = getattr(value, "__self__", None)
    of = f" of {owner.__name__}" if isinstance(owner, types.ModuleType) else ""
    return f"built-in {value.__qualname__}{of}"


def _environment(value: Any) -> str:
    return (
        f"{UNKNOWN}it reads the environment of the process (os.environ), which is never written down; read the "
        f"variable where the object is made, and keep what follows from it"
    )


_HEADS: list[tuple[Any, Any]] = [
    (Tensor, _tensor),
    (np.dtype, lambda value: f"numpy type {value.str} #{_hash(repr(value).encode())}"),
    ((np.ndarray, np.generic), _array),
    (types.ModuleType, _module),
    (types.CodeType, code_text),
    (types.FunctionType, _function),
    (types.MethodType, lambda value: "method"),
    (types.BuiltinFunctionType, _builtin),
    ((*SLOT_METHODS, types.MemberDescriptorType), lambda value: f"{full_name(value.__objclass__)}.{value.__name__}"),
    (functools.partial, lambda value: full_name(type(value))),
    (WRAPPERS, lambda value: type(value).__name__),
    (enum.Enum, lambda value: f"{full_name(type(value))}.{value.name}"),
    (torch.Generator, lambda value: f"torch.Generator #{tensor_digest(value.get_state())}"),
    (weakref.ReferenceType, lambda value: "reference"),
    (logging.Logger, lambda value: f"logger {_text(value.name)}"),
    (OPERATORS, lambda value: f"operator {value}"),
    (PurePath, lambda value: f"{PLACE} #{_hash(repr(value.as_posix()).encode())}"),
    (ENVIRONMENT, _environment),
    (Import, _import),
]


# ---- attributes that do not count


def _incidental(kind: type) -> frozenset[str]:
    named = getattr(kind, "incidental", ())
    return frozenset(named) if isinstance(named, (tuple, list, *SETS)) else frozenset()


def _unread(value: Any, options: bool) -> set[str]:
    """The attributes of an instance that follow from others, or are no options of a module."""
    cached = {
        n for cls in type(value).__mro__ for n, e in vars(cls).items() if isinstance(e, functools.cached_property)
    }
    if not isinstance(value, nn.Module):
        return cached
    own = vars(value)
    cached |= {"_is_full_backward_hook", "_non_persistent_buffers_set"}
    if not options:
        return cached
    assigned, filled = _assigned(cast(Hashable, type(value)))
    kept = own["_buffers"].keys() & own["_non_persistent_buffers_set"]  # no file holds them
    stored = own["_parameters"].keys() | (own["_buffers"].keys() - kept)
    return cached | {"training"} | stored | assigned | {name for name in filled if _records(own.get(name))}


FILLS = {"append", "extend", "insert", "update", "setdefault", "add", "clear", "pop"}


def _records(value: object) -> bool:
    """True for a container that holds tensors."""
    things = value.values() if isinstance(value, dict) else value if isinstance(value, (list, set, deque)) else ()
    return any(isinstance(item, Tensor) or _records(item) for item in things)


@functools.cache
def _assigned(kind: Hashable) -> tuple[frozenset[str], frozenset[str]]:
    """The attributes that ``forward`` of a module assigns, itself or in methods that it names, and those that a
    function among them reads which fills a container."""
    stored, filled = set(), set()
    for code in (code for method in methods_run(kind) for code in codes(method)):
        steps = list(dis.get_instructions(code))
        stored |= {str(step.argval) for step in steps if step.opname == "STORE_ATTR"}
        if FILLS & set(code.co_names) or any(step.opname == "STORE_SUBSCR" for step in steps):
            filled |= {str(step.argval) for step in steps if step.opname in ("LOAD_ATTR", "LOAD_METHOD")}
    return frozenset(stored), frozenset(filled)
