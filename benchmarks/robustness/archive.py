"""Cells whose folders are not kept: one compressed file, a line of JSON for each cell.

A line holds all of ``cell.json``, so tables, pages and claims need no more, and under ``files`` the SHA-256 of every
file of the folder that was left out: the network, its worst dies, its training log. A cell that has a folder below
``raw`` is read from there. ``python -m benchmarks.robustness.publish`` fills the archive.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

from neurorobust._util import digests, files
from neurorobust._util.errors import reason

from .record import AGAIN, checked, name_of, parsed

NAME = "cells.jsonl.xz"

LARGEST = 20 * 2**20
"""Bytes of the text in a compressed file: five times the committed cells. Python needs up to 25 times as many for their
records."""

DICTIONARY = 80 * 2**20
"""Bytes of memory that unpacking may take; the presets of xz need up to 65 MiB."""

BLOCK = 2**16
ADVICE = "get it again, for example from git."

KEPT = ("ecg/standard", "ecg/forward_noise", "ecg/adversarial")
"""Study/method of the cells that keep their folders: later work compares with these networks and dies."""


def archived(out: Path) -> dict[str, str]:
    """The lines of the archive by the names of their cells; none where there is no archive."""
    path = out / NAME
    if not path.exists():
        return {}
    stat = path.stat()
    return _lines(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _lines(path: Path, changed: int, size: int) -> dict[str, str]:
    """The lines by name, each of them checked."""
    found: dict[str, str] = {}
    for number, line in enumerate(read_xz(path).removesuffix("\n").split("\n"), 1):
        where = f"{path}: line {number}"
        name = name_of(parsed(line, where, ADVICE))
        if name in found:
            raise ValueError(f"{where}: has the cell {name}, as a line before; expected each cell once; {ADVICE}")
        found[name] = line
    return found


def pack(out: Path, keep: Collection[str] = KEPT) -> list[str]:
    """Put every cell below ``raw`` into the archive, but those that keep their folders; returns their names.

    Cells that are in the archive already stay there or are replaced. No folder is removed.
    """
    lines, packed = dict(archived(out)), []
    for path in sorted((out / "raw").glob("*/*/*/cell.json")):
        record = checked(digests.read_json(path, AGAIN), str(path), AGAIN)
        name = name_of(record)
        if name.rpartition("/")[0] in keep:
            lines.pop(name, None)
            continue
        others = sorted(other for other in path.parent.iterdir() if _is_result(other))
        record["files"] = {other.name: digests.of_file(other) for other in others}
        lines[name] = json.dumps(record, allow_nan=False, separators=(",", ":"))
        packed.append(name)
    text = "".join(f"{lines[name]}\n" for name in sorted(lines))
    write_xz(out / NAME, text)
    return packed


def _is_result(path: Path) -> bool:
    return path.suffix in (".csv", ".json", ".npz", ".safetensors") and path.name != "cell.json"


def read_xz(path: Path) -> str:
    """The text that :func:`write_xz` wrote, unpacked in blocks.

    Raises:
        ValueError: the file is damaged, which its checksums show, or its text is larger than :data:`LARGEST`.
    """
    try:
        return _unpacked(path).decode("utf-8")
    except (lzma.LZMAError, UnicodeDecodeError, EOFError) as error:
        raise ValueError(f"{path}: is damaged, or no xz ({reason(error)}); {ADVICE}") from error


def _unpacked(path: Path) -> bytes:
    decoder, text = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=DICTIONARY), bytearray()
    with path.open("rb") as file:
        while not decoder.eof:
            block = file.read(BLOCK) if decoder.needs_input else b""
            if decoder.needs_input and not block:
                raise EOFError("it ends too early")
            text += decoder.decompress(block, BLOCK)
            if len(text) > LARGEST:
                raise ValueError(
                    f"{path}: holds more than {LARGEST} bytes of text; {ADVICE} If it is yours, raise LARGEST in "
                    f"{Path(__file__).name}."
                )
        if decoder.unused_data or file.read(1):
            raise EOFError("something follows its end")
    return bytes(text)


def write_xz(path: Path, text: str) -> None:
    """Write text compressed, whole or not at all; the same text gives the same bytes."""
    with files.replacing(path) as temporary:
        temporary.write_bytes(lzma.compress(text.encode("utf-8"), preset=9 | lzma.PRESET_EXTREME))
