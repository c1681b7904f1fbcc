"""Mutations of files, drawn with a seed: of bytes, of the values of a JSON object, of the words of a text."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

VALUES: tuple[Callable[[random.Random], Any], ...] = (
    lambda draw: None,
    lambda draw: draw.choice([True, False]),
    lambda draw: draw.choice([0, 1, -1, 2**31, -(2**31), 2**53, 2**63 - 1, 2**63, 10**30, 7, 255, 65536]),
    lambda draw: draw.choice([0.0, -0.0, 1e-320, 1e308, -1e308, 0.1, -3.5, 1e18]),
    lambda draw: draw.choice([float("nan"), float("inf"), float("-inf")]),
    lambda draw: draw.choice(
        ["", "a", "0", "weight", "é" * 5, "x" * 3000, "1e400", "__class__", "../..", "\x00", "\n"]
    ),
    lambda draw: draw.choice([[], [0], [[]], {}, {"a": 0}, [1, 2, 3], [None], ["a"], [1e308, 1e308]]),
    lambda draw: [draw.choice([0, 1, 2**40]) for _ in range(draw.randrange(1, 6))],
    lambda draw: nested(draw.choice([3, 3, 200, 1200])),
)
"""Values that programs do not expect."""

WORDS = (
    *("", "0", "-1", "1e400", "nan", "inf", "-inf", "NA", "None", "2147483648", "18446744073709551616", "0x10", "1_0"),
    *('"', '""', '"a,b', ",", ",,,", "\n", "\r\n", ";", "\t", "\ufeff", "\x00", "é", "1e-400", "1,5", "x" * 5000),
)


def nested(depth: int) -> Any:
    """A list in a list in a list …"""
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def of_bytes(data: bytes, draw: random.Random) -> bytes:
    """The bytes with one to four parts flipped, cut, doubled, overwritten, moved or filled in."""
    found = bytearray(data)
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        at = draw.randrange(len(found) + 1)
        length = draw.choice([1, 1, 2, 4, 8, 64])
        piece = bytes(found[at : at + length])
        what = draw.randrange(7)
        if what == 0 and piece:
            found[at] ^= 1 << draw.randrange(8)
        elif what == 1:
            del found[at : at + length]
        elif what == 2:
            found[at:at] = piece * draw.choice([1, 2, 50])
        elif what == 3:
            found[at : at + length] = draw.choice([b"\xff", b"\x00", b"\x7f", b"9", b"[", b'"'])[:1] * len(piece)
        elif what == 4:
            found[at : at + length] = draw.randbytes(len(piece))
        elif what == 5:
            del found[at:]
        else:
            other = draw.randrange(len(found) + 1)
            found[at:at] = found[other : other + length]
    return bytes(found)


def of_json(value: Any, draw: random.Random) -> Any:
    """A copy with one to four values replaced, left out, added, doubled or exchanged."""
    with deep_recursion():
        return _changed(value, draw)


@contextmanager
def deep_recursion() -> Iterator[None]:
    """Room for values that are deeper than a parser takes."""
    kept = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        yield
    finally:
        sys.setrecursionlimit(kept)


def _changed(value: Any, draw: random.Random) -> Any:
    whole = [copy.deepcopy(value)]
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        holder, key = draw.choice(list(_places(whole)))
        if not _has(holder, key):
            continue
        what = draw.randrange(6)
        if what <= 2:
            holder[key] = draw.choice(VALUES)(draw)
        elif what == 3 and holder is not whole:
            del holder[key]
        elif what == 4:
            other, place = draw.choice(list(_places(whole)))
            holder[key] = copy.deepcopy(other[place])
        elif isinstance(holder, list) and holder is not whole:
            holder.insert(key, copy.deepcopy(holder[key]))
        elif isinstance(holder, dict):
            holder[draw.choice(["", "a", "type", "core", "__init__"])] = draw.choice(VALUES)(draw)
    return whole[0]


def of_text(text: str, draw: random.Random) -> str:
    """The text with one to four of its fields (between commas and line ends) replaced, left out or doubled."""
    rows = [line.split(",") for line in text.split("\n")]
    for _ in range(draw.choice([1, 1, 2, 4])):
        row = draw.choice(rows)
        at = draw.randrange(len(row) + 1)
        what = draw.randrange(5)
        if what <= 1 and at < len(row):
            row[at] = draw.choice(WORDS)
        elif what == 2:
            del row[at : at + 1]
        elif what == 3:
            row.insert(at, draw.choice(WORDS))
        else:
            rows.insert(draw.randrange(len(rows) + 1), list(row))
    return "\n".join(",".join(row) for row in rows)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every list and object inside a value, with each of its keys; large lists by some of their places."""
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        for key in keys if len(keys) < 40 else keys[:3] + keys[-3:]:
            yield holder, key
            if isinstance(holder[key], (dict, list)):
                waiting.append(holder[key])


def _has(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)
