"""The files of the robustness grid for the fuzzer: cells, in the archive or a folder, and the table of results."""

from __future__ import annotations

import json
import lzma
import random
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import mutations
from forged import Files, Parser, dumped, plain, sealed

sys.path.append(str(Path(__file__).parents[1]))  # a script of this folder does not see the benchmarks by itself
from benchmarks.robustness import archive
from benchmarks.robustness.archive import NAME, read_xz
from benchmarks.robustness.cell import RESULTS, read_cell, read_tuning, write
from benchmarks.robustness.results import COLUMNS, TABLE, read_table, records_by_name, tidy
from benchmarks.robustness.results_table import results_table
from neurorobust.evaluation import statistics

CELLS = ("ecg/abcd/0", "ecg/abcd/1")
DIES, LEVELS, ROWS = 5, 2, 30
"""How much of a measurement and of the table is kept: a small file is read often."""


def _small(line: str) -> dict[str, Any]:
    """A cell of the committed results with few levels, and few dies in each."""
    record = json.loads(line)
    for name, entry in list(record["measurements"].items()):
        if name not in ("nominal", "mismatch", "strong", "transfer", "price"):
            del record["measurements"][name]
        entry["levels"] = {level: entry["levels"][level] for level in sorted(entry["levels"])[:LEVELS]}
        for found in entry["levels"].values():
            values = found["values"].items()
            found["values"] = {key: value[:DIES] if isinstance(value, list) else value for key, value in values}
    record["measurements"]["samples"] = {
        **record["measurements"]["nominal"],
        "levels": {"test": {"values": {"balanced_accuracy": 0.5, "samples a": 9, "right a": "ff80"}, "seconds": 0.1}},
    }
    return record


def _packed(text: str) -> bytes:
    return lzma.compress(text.encode("utf-8", "surrogatepass"), preset=0)  # the presets for little take 600 MB


def cells(folder: Path) -> Parser:
    """An archive, and beside it the ``cell.json`` and the tuning of one cell."""
    known = archive.archived(RESULTS)
    small = [_small(known[name]) for name in CELLS]
    folder = folder / "raw" / CELLS[0]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / NAME).write_bytes(_packed("".join(f"{json.dumps(record)}\n" for record in small)))
    write(folder / "cell.json", small[0])
    write(folder / "tuning.json", {"settings": {}, "trials": [{"seconds": 1.0}, {"seconds": 2.5}], "chosen": 1})
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    others = [sealed("cell.json", plain), sealed("tuning.json", plain)]

    def lines(files: Files, draw: random.Random) -> Files:
        rows = lzma.decompress(files[NAME]).decode("utf-8", "surrogatepass").split("\n")
        at = draw.randrange(len(rows))
        if draw.randrange(4):
            rows[at] = dumped(mutations.of_json(json.loads(rows[at]), draw)).decode("utf-8", "surrogatepass")
        else:
            rows[at] = mutations.of_text(rows[at], draw)
        return {NAME: _packed("\n".join(rows))}

    def forge(files: Files, draw: random.Random) -> Files:
        chosen: Callable[[Files, random.Random], Files] = draw.choice([lines, lines, *others])
        return whole | chosen(files, draw)

    def read() -> Path:
        archive._lines.cache_clear()  # a mutant may have the size and the time of another file
        records_by_name(folder)
        read_cell(folder / "cell.json")
        read_tuning(folder / "tuning.json")
        return folder

    def use(found: Path) -> None:
        with mock.patch.object(statistics, "RESAMPLES", 20):
            tidy(found)

    return Parser(folder, NAME, read, forge, use)


def table(folder: Path) -> Parser:
    """The table of results, of which a few lines are kept."""
    lines = read_xz(RESULTS / TABLE).splitlines()
    (folder / TABLE).write_bytes(_packed("\n".join([",".join(COLUMNS), *lines[1 : 1 + ROWS]]) + "\n"))

    def forge(files: Files, draw: random.Random) -> Files:
        text = lzma.decompress(files[TABLE]).decode("utf-8", "surrogatepass")
        return {TABLE: _packed(mutations.of_text(text, draw))}

    return Parser(folder, TABLE, partial(read_table, folder), forge, results_table)
