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
from typing import Any

from neurorobust._util import digests, files

NAME = "cells.jsonl.xz"

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
    lines = read_xz(path).splitlines()
    return {name: line for line in lines for name in [name_of(json.loads(line))]}


def name_of(record: dict[str, Any]) -> str:
    """Study/method/seed of a record."""
    return f"{record['study']}/{record['method']}/{record['seed']}"


def pack(out: Path, keep: Collection[str] = KEPT) -> list[str]:
    """Put every cell below ``raw`` into the archive, but those that keep their folders; returns their names.

    Cells that are in the archive already stay there or are replaced. No folder is removed.
    """
    lines, packed = dict(archived(out)), []
    for path in sorted((out / "raw").glob("*/*/*/cell.json")):
        record = digests.read_json(path, "remove it, and it will be made again.")
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
    """The text that :func:`write_xz` wrote; raises ValueError if the file is damaged, which its checksums show."""
    try:
        return lzma.decompress(path.read_bytes()).decode("utf-8")
    except (lzma.LZMAError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: is damaged ({error}); get it again, for example from git.") from error


def write_xz(path: Path, text: str) -> None:
    """Write text compressed, whole or not at all; the same text gives the same bytes."""
    with files.replacing(path) as temporary:
        temporary.write_bytes(lzma.compress(text.encode("utf-8"), preset=9 | lzma.PRESET_EXTREME))
