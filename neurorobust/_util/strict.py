"""JSON that anybody may have written: of limited size, strict (no duplicate keys, no NaN, no infinity), and checked
against a JSON schema."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

LARGEST = 32 * 2**20
"""Bytes of the largest JSON file."""
FEW, SPARSE = 2**19, 32
"""Lists and objects that any file may have, and one more for so many bytes: an empty one takes 30 times its text."""
TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def text_of(path: Path) -> str:
    """The text of a JSON file that is small enough to be parsed.

    Raises:
        ValueError: it is too large or no text. OSError: it cannot be read.
    """
    if (size := path.stat().st_size) > LARGEST:
        raise ValueError(f"has {size} bytes; expected at most {LARGEST} ({LARGEST >> 20} MiB)")
    text = path.read_text(encoding="utf-8")
    check_text(text)
    return text


def check_text(text: str) -> None:
    """Raise ValueError for a JSON text whose value would need far more memory than the text."""
    if len(text) > LARGEST:
        raise ValueError(f"has {len(text)} characters; expected at most {LARGEST} ({LARGEST >> 20} MiB)")
    if (inner := text.count("[") + text.count("{")) > (most := FEW + len(text) // SPARSE):
        raise ValueError(
            f"has {inner} lists and objects in {len(text)} characters; expected at most {most}, {FEW} and one for each "
            f"{SPARSE} characters"
        )


def parse(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: no JSON, a key twice in one object, a number that is not finite, or an integer of over 64 bits.
    """
    return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse, parse_float=_number, parse_int=_integer)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"has the key {twice!r} twice in one object")
    return found


def _refuse(word: str) -> None:
    raise ValueError(f"has the number {word}, which is not finite")


def _number(word: str) -> float:
    value = float(word)
    if not math.isfinite(value):
        raise ValueError(f"has the number {word}, which is not finite")
    return value


def _integer(word: str) -> int:
    if len(word) > 20 or not -(2**63) <= int(word) < 2**63:
        raise ValueError(f"has the number {word[:20]}…, which is beyond 64 bits")
    return int(word)


def problems(value: Any, schema: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """Where a JSON value does not fit a schema. Of JSON Schema it knows type, const, enum, minimum, required,
    properties, additionalProperties and items; the files of this package use no other word."""
    place = where or "the file"
    allowed = schema.get("type", [])
    names = [allowed] if isinstance(allowed, str) else allowed
    if names and not any(_is(value, name) for name in names):
        yield f"{place}: got {_short(value)}; expected {' or '.join(names)}"
        return
    if "const" in schema and value != schema["const"]:
        yield f"{place}: got {_short(value)}; expected {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{place}: got {_short(value)}; expected one of {', '.join(map(str, schema['enum']))}"
    if "minimum" in schema and _is(value, "number") and value < schema["minimum"]:
        yield f"{place}: got {_short(value)}; expected at least {schema['minimum']}"
    if isinstance(value, dict):
        yield from _object_problems(value, schema, where)
    if isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            yield from problems(item, schema["items"], f"{where}[{i}]")


def _object_problems(value: dict[str, Any], schema: Mapping[str, Any], where: str) -> Iterator[str]:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for key in schema.get("required", ()):
        if key not in value:
            yield f"{where or 'the file'}: has no {key!r}"
    for key, inner in value.items():
        below = f"{where}.{key}" if where else key
        if key in known:
            yield from problems(inner, known[key], below)
        elif others is False:
            yield f"{below}: is unknown"
        elif isinstance(others, dict):
            yield from problems(inner, others, below)


def _is(value: Any, name: str) -> bool:
    return isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def _short(value: Any) -> str:
    try:
        text = json.dumps(value)
    except RecursionError:  # its reader goes deeper than its writer
        return f"a deeply nested {type(value).__name__}"
    return text if len(text) <= 40 else f"{text[:37]}…"
