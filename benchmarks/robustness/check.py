"""Make finished cells again from the start, in a temporary folder, and compare every number."""

from __future__ import annotations

import math
import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.table import Table

from neurorobust._util.console import duration, err

from .cell import Cell, folder_of
from .measurement import all_measurements
from .work import measure, train
from .worst_dies import die_path

TOLERANCE = 1e-6


@dataclass(frozen=True)
class CellCheck:
    """A cell made twice.

    Attributes:
        compared: how many numbers. different: those that differ: (first, second), NaN where there is none.
        same_model: whether the networks are the same, bit for bit; None where the first one's digest is not known.
        left_out: levels that were not compared, because the die they are measured on is not stored here.
    """

    cell: str
    compared: int
    different: dict[str, tuple[float, float]]
    same_model: bool | None
    left_out: int = 0

    @property
    def same(self) -> bool:
        return not self.different and self.same_model is not False

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
    """The result of making some cells again."""

    cells: tuple[CellCheck, ...]

    @property
    def same(self) -> bool:
        return all(cell.same for cell in self.cells)

    def json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return {"same": self.same, "cells": [{**vars(cell), "same": cell.same} for cell in self.cells]}

    def table(self) -> Table:
        """The report as a table."""
        words = "the same" if self.same else "NOT THE SAME"
        shown = Table("cell", "compared", "left out", "different", "largest difference", "model")
        shown.title = f"made again: {words}"
        for cell in self.cells:
            model = {True: "same bits", False: "other bits", None: "not known"}[cell.same_model]
            numbers = (str(number) for number in (cell.compared, cell.left_out, len(cell.different)))
            shown.add_row(cell.cell, *numbers, cell.largest(), model)
        return shown


def check(cells: Sequence[Cell], names: Sequence[str], n: int) -> Check:
    """Train and measure n finished cells again in a temporary folder, and compare with the stored numbers.

    On the same machine with the same versions, networks and numbers are the same. On other machines the last bits of a
    product can differ, and training amplifies such differences. The report shows them, and the exit code is 1.

    Args:
        cells: to choose from; those that have not been trained are left out.
        names: measurements to compare; those that measure time are left out.
        n: how many, chosen at random; all if there are fewer.

    Raises:
        ValueError: no cell is finished, or nothing is left to compare.
    """
    measurements = all_measurements()
    names = [name for name in names if name in measurements and not measurements[name].timed]
    if not names:
        raise ValueError("check: these measurements measure time, which differs from run to run; name another one.")
    known = [cell for cell in cells if set(names) & cell.read().get("measurements", {}).keys()]
    if not known:
        raise ValueError("check: no finished cell; run `python -m benchmarks.robustness` first, or give another --out.")
    with tempfile.TemporaryDirectory() as folder:
        chosen = random.SystemRandom().sample(known, min(n, len(known)))
        took = duration(sum(_took(cell.read(), names) for cell in chosen))
        err.print(f"{', '.join(cell.name for cell in chosen)}, again from the start: about {took}.")
        return Check(tuple(_again(cell, names, Path(folder)) for cell in chosen))


def _again(cell: Cell, names: Sequence[str], folder: Path) -> CellCheck:
    stored = cell.read()
    left_out = _without_die(cell, stored, names)
    for die in folder_of(cell.out, cell.study, "").glob("*/*/die-*.npz"):  # transfer uses those of other cells
        if die.parent != cell.folder:
            copy = folder / die.relative_to(cell.out)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(die, copy)
    twin = replace(cell, out=folder)
    train(twin, stored["training"]["trial"])
    measure(twin, [name for name in names if name in stored["measurements"]])
    now = twin.read()
    before, after = (dict(_numbers(record, names, left_out)) for record in (stored, now))
    pairs = {name: (before.get(name, math.nan), after.get(name, math.nan)) for name in sorted(before | after)}
    different = {name: pair for name, pair in pairs.items() if not abs(pair[0] - pair[1]) <= TOLERANCE}
    same_model = stored["model_sha256"] == now["model_sha256"] if "model_sha256" in stored else None
    return CellCheck(cell.name, len(pairs), different, same_model, len(left_out))


def _without_die(cell: Cell, record: dict[str, Any], names: Sequence[str]) -> set[tuple[str, str]]:
    """(measurement, level) of the levels that are measured on a die of another cell that is not stored here."""
    found, own = set(), f"{cell.method}/{cell.seed}"
    for name in record["measurements"].keys() & set(names):
        for level in record["measurements"][name]["levels"]:
            die = all_measurements()[name].die_of(record, level)
            if die is not None and die[1] != own and not die_path(*die, cell).exists():
                found.add((name, level))
    return found


def _took(record: dict[str, Any], names: Sequence[str]) -> float:
    """Seconds that a cell took, on one thread."""
    entries = [entry for name, entry in record["measurements"].items() if name in names]
    levels = [level for entry in entries for level in entry["levels"].values()]
    return record["training"]["seconds"] + sum(level["seconds"] for level in levels)


def _numbers(
    record: dict[str, Any], names: Sequence[str], left_out: Set[tuple[str, str]]
) -> Iterator[tuple[str, float]]:
    """Every number of the measurements, each die by itself, under a name for people."""
    for name, entry in record["measurements"].items():
        if name not in names:
            continue
        for level, found in entry["levels"].items():
            if (name, level) in left_out:
                continue
            for metric, value in found["values"].items():
                for place, number in enumerate(value if isinstance(value, list) else [value]):
                    if isinstance(number, int | float):
                        die = f", die {place}" if isinstance(value, list) else ""
                        yield f"{name} {level}, {metric}{die}", float(number)
