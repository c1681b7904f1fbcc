"""Code as it is written: one short text for a function, the same in every version of Python.

Comments, docstrings, annotations, blank lines and the place in the file do not count. Where no source can be found, or
where it is not the source of the code that runs (a file that was edited since), the text stands for the bytecode, and
names the version of Python.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import linecache
import sys
import types
from collections.abc import Iterator
from typing import Any

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
IGNORED = {"ctx", "kind", "type_comment", "type_params", "annotation", "returns"}
VALUES = frozenset({"decorator_list", "defaults", "kw_defaults"})
DOCSTRING = 0x4000000  # CO_HAS_DOCSTRING, since Python 3.13
FLAGS = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR | inspect.CO_COROUTINE


def code_text(code: types.CodeType) -> str:
    """A short text of a function's code, equal for two functions that are written in the same way.

    Defaults and decorators of the function itself are no part of it: they act through its values.
    """
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename)
    written = _functions("".join(lines)).get(code) if lines else None
    if written is not None:
        return f"source #{written}"
    return f"bytecode of Python {sys.version_info[0]}.{sys.version_info[1]} #{_hash(_bytecode(code))}"


def _hash(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=64)
def _functions(text: str) -> dict[types.CodeType, str]:
    """The functions of a source text by their code, so that only the code which it really gives is found.

    The text is compiled twice, the second time with the number of each function in the place of its line.
    """
    try:
        tree = ast.parse(text)
        plain = compile(text, "", "exec", dont_inherit=True)
        nodes = [node for node in ast.walk(tree) if isinstance(node, Function)]
        texts = [_hash(_written(node, VALUES)) for node in nodes]
        for number, node in enumerate(nodes, 1):
            for place in (node, *getattr(node, "decorator_list", ())[:1]):
                place.lineno = place.end_lineno = number
                place.col_offset = place.end_col_offset = 0
        marked = compile(tree, "", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}
    found = {}
    for code, mark in zip(_codes(plain), _codes(marked), strict=True):
        number = mark.co_firstlineno - 1
        function = code.co_flags & inspect.CO_OPTIMIZED and 0 <= number < len(nodes)
        if function and code.co_name == getattr(nodes[number], "name", "<lambda>"):
            found[code] = texts[number]
    return found


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _written(node: Any, left_out: frozenset[str] = frozenset()) -> Any:
    """A syntax tree as nested tuples, without what does not act, and without some fields of this node."""
    if isinstance(node, list):
        return tuple(_written(part) for part in node if not _idle(part))
    if not isinstance(node, ast.AST):
        return type(node).__name__, repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value is not None and value != []}
    inner = left_out if isinstance(node, Function) else frozenset[str]()
    written = [
        (name, _written(value, inner if name == "args" else frozenset()))
        for name, value in fields.items()
        if name not in IGNORED | left_out
    ]
    return type(node).__name__, *written


def _idle(node: Any) -> bool:
    """True for a statement that does nothing: a docstring, another constant, ``pass``."""
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _bytecode(code: types.CodeType) -> Any:
    """Bytecode with its constants and names, without docstrings and lines."""
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    sizes = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags & FLAGS
    constants: list[Any] = list(code.co_consts)
    documented = code.co_flags & DOCSTRING if sys.version_info >= (3, 13) else not code.co_name.startswith("<")
    if documented and constants and isinstance(constants[0], str) and code.co_flags & inspect.CO_OPTIMIZED:
        constants[0] = None
    exceptions = getattr(code, "co_exceptiontable", b"")
    return code.co_code, exceptions, names, sizes, [_constant(value) for value in constants]


def _constant(value: Any) -> Any:
    if isinstance(value, types.CodeType):
        return _bytecode(value)
    if isinstance(value, tuple):
        return tuple(map(_constant, value))
    if isinstance(value, frozenset):
        return "frozenset", sorted(map(repr, map(_constant, value)))
    return type(value).__name__, repr(value)
