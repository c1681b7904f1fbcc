"""Finished cells done again from the start, elsewhere, and compared number by number."""

from __future__ import annotations

import math
import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.table import Table

from neurorobust._util.console import duration, err

from .cell import Cell, folder_of
from .measurement import all_measurements
from .work import measure, train

TOLERANCE = 1e-6


@dataclass(frozen=True)
class CellCheck:
    """A cell made twice: how many numbers were compared, those that differ (first, second; NaN where there is none),
    whether the model is the same, bit for bit."""

    cell: str
    compared: int
    different: dict[str, tuple[float, float]]
    same_model: bool

    @property
    def same(self) -> bool:
        return not self.different and self.same_model

    def largest(self) -> str:
        """The number that differs most."""
        if not self.different:
            return "–"
        gaps = {key: abs(first - second) for key, (first, second) in self.different.items()}
        name = max(gaps, key=lambda key: math.inf if math.isnan(gaps[key]) else gaps[key])
        first, second = self.different[name]
        return f"{name}: {first:g}, now {second:g}"


@dataclass(frozen=True)
class Check:
    """What came of doing some cells again."""

    cells: tuple[CellCheck, ...]

    @property
    def same(self) -> bool:
        return all(cell.same for cell in self.cells)

    def json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {"same": self.same, "cells": [{**vars(cell), "same": cell.same} for cell in self.cells]}

    def table(self) -> Table:
        """As people read it."""
        words = "the same" if self.same else "NOT THE SAME"
        shown = Table("cell", "compared", "different", "largest difference", "model", title=f"done again: {words}")
        for cell in self.cells:
            model = "same bits" if cell.same_model else "other bits"
            shown.add_row(cell.cell, str(cell.compared), str(len(cell.different)), cell.largest(), model)
        return shown


def check(cells: Sequence[Cell], names: Sequence[str], n: int, draw: random.Random | None = None) -> Check:
    """Train and measure n finished cells again in a folder that is thrown away, and compare with what was stored.

    On the machine and with the versions of the first time model and numbers are the same. Elsewhere the last bits of a
    product may differ, which training amplifies; the report says so, and the exit code of the command line is 1.

    Args:
        cells: to choose from; those that have not been trained are left out.
        names: measurements to compare; those that measure time are left out.
        n: how many; all if there are fewer.
        draw: chooses; the system's generator by default.

    Raises:
        ValueError: no cell is finished, or nothing is left to compare.
    """
    measurements = all_measurements()
    names = [name for name in names if name in measurements and not measurements[name].timed]
    if not names:
        raise ValueError("check: what is named measures time, which is never the same twice; name another measurement.")
    known = [cell for cell in cells if set(names) & cell.read().get("measurements", {}).keys()]
    if not known:
        raise ValueError("check: no finished cell is there; run `neurorobust reproduce` first, or give another --out.")
    with tempfile.TemporaryDirectory() as folder:
        chosen = (draw or random.SystemRandom()).sample(known, min(n, len(known)))
        took = duration(sum(_took(cell.read(), names) for cell in chosen))
        err.print(f"{', '.join(cell.name for cell in chosen)}, again from the start: about {took}, as the first time.")
        return Check(tuple(_again(cell, names, Path(folder)) for cell in chosen))


def _again(cell: Cell, names: Sequence[str], folder: Path) -> CellCheck:
    stored = cell.read()
    for die in folder_of(cell.out, cell.study, "").glob("*/*/die-*.npz"):  # what transfer takes from other cells
        if die.parent != cell.folder:
            copy = folder / die.relative_to(cell.out)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(die, copy)
    twin = replace(cell, out=folder)
    train(twin, stored["training"]["trial"])
    measure(twin, [name for name in names if name in stored["measurements"]])
    now = twin.read()
    before, after = dict(_numbers(stored, names)), dict(_numbers(now, names))
    pairs = {name: (before.get(name, math.nan), after.get(name, math.nan)) for name in sorted(before | after)}
    different = {name: pair for name, pair in pairs.items() if not abs(pair[0] - pair[1]) <= TOLERANCE}
    return CellCheck(cell.name, len(pairs), different, stored["model_sha256"] == now["model_sha256"])


def _took(record: dict[str, Any], names: Sequence[str]) -> float:
    """Seconds that a cell took, on one thread."""
    entries = [entry for name, entry in record["measurements"].items() if name in names]
    levels = [level for entry in entries for level in entry["levels"].values()]
    return record["training"]["seconds"] + sum(level["seconds"] for level in levels)


def _numbers(record: dict[str, Any], names: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Every number of the measurements, each die by itself, under a name for people."""
    for name, entry in record["measurements"].items():
        if name not in names:
            continue
        for level, found in entry["levels"].items():
            for metric, value in found["values"].items():
                for place, number in enumerate(value if isinstance(value, list) else [value]):
                    if isinstance(number, int | float):
                        die = f", die {place}" if isinstance(value, list) else ""
                        yield f"{name} {level}, {metric}{die}", float(number)
