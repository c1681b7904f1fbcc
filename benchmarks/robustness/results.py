"""From the cells to one tidy table: task, method, seed, measurement, level, metric, value."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from neurorobust._util.errors import reason, shown
from neurorobust.evaluation.statistics import ConfidenceInterval, bootstrap_interval, clopper_pearson

from .archive import ADVICE, archived, read_xz, write_xz
from .cell import read_cell, read_tuning
from .measurement import all_measurements
from .record import SAMPLES, SCORE, name_of
from .study import Study, all_studies

TABLE = "results.csv.xz"
COLUMNS = ("task", "method", "seed", "measurement", "level", "metric", "value")

LOWEST = "lowest recall"
"""Metric: recall of the class that is recognised least."""

DECIMAL = r"(?:[+-]?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)?"

Row = tuple[str, str, str, str, str, str, float]


def records(out: Path) -> list[dict[str, Any]]:
    """All that is known of every cell, in the order of their names."""
    return list(records_by_name(out).values())


def records_by_name(out: Path) -> dict[str, dict[str, Any]]:
    """The record of every cell, from its folder or else from the archive, by study/method/seed, in their order.

    Raises:
        ValueError: a file is damaged or foreign, or cells of a study were measured on other numbers of dies or samples.
    """
    found = {name: json.loads(line) for name, line in archived(out).items()}
    for path in (out / "raw").glob("*/*/*/cell.json"):
        found["/".join(path.parts[-4:-1])] = read_cell(path)
    _check_together(out, found.values())
    return {name: found[name] for name in sorted(found, key=lambda name: name.split("/"))}


def _check_together(out: Path, known: Iterable[dict[str, Any]]) -> None:
    """Raise ValueError unless the cells of a study have equally many dies, and equally many samples."""
    sizes: dict[tuple[str, ...], tuple[int, str]] = {}
    tables = {name: measurement.shown for name, measurement in all_measurements().items()}
    for record in known:
        for name, entry in record.get("measurements", {}).items():
            for level, found in entry["levels"].items():
                for metric, size in _sizes(found["values"], tables.get(name)):
                    place, own = (record["study"], name, level, metric), name_of(record)
                    expected, other = sizes.setdefault(place, (size, own))
                    if size != expected or size < 0:
                        words = (
                            f"{size}; expected {expected}, as in {other}" if size >= 0 else "words; expected numbers"
                        )
                        raise ValueError(f"{out}: cell {own}: {name} {level}, {metric}: got {words}; measure it again.")


def _sizes(values: Mapping[str, Any], in_tables: str | None) -> Iterator[tuple[str, int]]:
    """How many dies and samples there are, by metric; −1 for words where tables need numbers."""
    for metric, value in values.items():
        if metric == in_tables and value is not None:
            yield metric, -1 if isinstance(value, str) else np.size(value)
        elif metric.startswith(SAMPLES) and isinstance(value, int):
            yield metric, value


def tuning_seconds(out: Path) -> dict[str, float]:
    """Seconds that the trials of all methods took, by study."""
    found: dict[str, float] = {}
    for path in sorted((out / "raw").glob("*/tuning.*.json")):
        seconds = sum(trial["seconds"] for trial in read_tuning(path)["trials"])
        found[path.parent.name] = found.get(path.parent.name, 0.0) + seconds
    return found


def tidy(out: Path) -> pd.DataFrame:
    """Every number of every cell, and of each the mean over the seeds with its interval: rows of the seed ``all``.

    Numbers of dies become their mean, std, min, 5th percentile and yield at the study's specification. ``strong`` is
    the worst of the die that the suite found and the dies found for other networks.
    """
    known = records(out)
    rows = [row for record in known for row in _rows(record)]
    return pd.DataFrame([*rows, *_over_seeds(known)], columns=list(COLUMNS))


def write_table(out: Path) -> pd.DataFrame:
    """Write the table, compressed, and return it."""
    table = tidy(out)
    write_xz(out / TABLE, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    return table


def read_table(out: Path) -> pd.DataFrame:
    """The table as :func:`write_table` wrote it; seeds and levels are words, missing numbers NaN.

    Raises:
        ValueError: the file is damaged, or a line is no number of a cell.
    """
    path = out / TABLE
    columns: list[list[str]] = [[] for _ in COLUMNS]
    known: dict[str, str] = {}  # one object for equal words
    lines = csv.reader(io.StringIO(read_xz(path), newline="\n"), strict=True)
    try:
        for number, row in enumerate(lines, 1):
            _check_line(number, row, lines.line_num)
            if number > 1:
                for column, word in zip(columns, row, strict=True):
                    column.append(known.setdefault(word, word))
        table = pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)), dtype="str")
        again = np.flatnonzero(table.duplicated(list(COLUMNS[:-1])))
        if not lines.line_num or len(again):
            lost = "the same number as a line before; expected each once" if len(again) else "no head"
            raise ValueError(f"line {again[0] + 2 if len(again) else 1}: has {lost}")
    except csv.Error as error:
        raise ValueError(f"{path}: line {lines.line_num}: is no line of CSV ({reason(error)}); {ADVICE}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}; {ADVICE}") from error
    table["value"] = [float(word) if word else math.nan for word in columns[-1]]
    return table


def _check_line(number: int, row: list[str], ends: int) -> None:
    """Raise ValueError unless a line holds a number, or the head."""
    expected = f"expected {','.join(COLUMNS)}"
    if ends != number:
        raise ValueError(f"line {number}: has quotes over several lines; {expected} in one line")
    if len(row) != len(COLUMNS) or (number == 1 and tuple(row) != COLUMNS):
        raise ValueError(f"line {number}: got {shown(','.join(row))}; {expected}")
    words = {name: word for name, word in zip(COLUMNS, row, strict=True) if name not in ("level", "value")}
    for name, word in words.items():
        if not word:
            raise ValueError(f"line {number}: {name}: got nothing; expected a word")
    if number > 1 and (not re.fullmatch(DECIMAL, row[-1]) or (row[-1] and math.isinf(float(row[-1])))):
        raise ValueError(f"line {number}: value: got {shown(row[-1])}; expected a finite number, or nothing")


def _rows(record: dict[str, Any]) -> Iterator[Row]:
    head, spec = (record["study"], record["method"], str(record["seed"])), spec_of(record["study"])
    yield (*head, "training", "", "validation", record["training"]["validation"])
    yield (*head, "training", "", "trial", record["training"]["trial"])
    for name, entry in sorted(record.get("measurements", {}).items()):
        if name == "transfer":
            continue
        for level, found in sorted(entry["levels"].items()):
            values = strongest(record, level) if name == "strong" else found["values"]
            for metric, value in values.items():
                yield from ((*head, name, level, *pair) for pair in numbers(metric, value, spec))
            recalls = [value for metric, value in values.items() if metric.startswith("recall ") and value is not None]
            if recalls:
                yield (*head, name, level, LOWEST, min(recalls))


def spec_of(name: str) -> float:
    """The specification of a study."""
    study = all_studies().get(name)
    return Study.spec if study is None else study.spec


def numbers(metric: str, value: Any, spec: float) -> list[tuple[str, float]]:
    """A metric as numbers: one of dies by its statistics, words not at all."""
    if isinstance(value, list):
        dies = np.array(value, dtype=float)
        return [
            (f"{metric} mean", float(dies.mean())),
            (f"{metric} std", float(dies.std(ddof=1)) if len(dies) > 1 else float("nan")),
            (f"{metric} min", float(dies.min())),
            (f"{metric} q05", float(np.quantile(dies, 0.05))),
            ("yield", float((dies >= spec).mean())),
        ]
    return [] if isinstance(value, str) or value is None else [(metric, float(value))]


def yield_interval(passes: np.ndarray) -> ConfidenceInterval:
    """Of a fraction of dies, (seeds, dies); where all pass or none does, which has no spread, that of Clopper and
    Pearson for the dies, which all seeds share."""
    if passes.all() or not passes.any():
        n = passes.shape[1]
        return ConfidenceInterval(float(passes.mean()), *clopper_pearson(n if passes.all() else 0, n))
    found = bootstrap_interval(passes)
    return ConfidenceInterval(found.estimate, max(0.0, found.low), min(1.0, found.high))


def strongest(record: dict[str, Any], level: str) -> dict[str, Any]:
    """The values on the worst die: of the one that the suite found and those found for other networks."""
    own = record["measurements"]["strong"]["levels"][level]["values"]
    others = record["measurements"].get("transfer", {"levels": {}})["levels"]
    found = [entry["values"] for key, entry in others.items() if key.split()[0] == level]
    return own | min([own, *found], key=lambda values: values[SCORE])


def worst_source(record: dict[str, Any], level: str) -> str:
    """The cell, as method/seed, whose die is the worst for this cell."""
    scores = {
        f"{record['method']}/{record['seed']}": record["measurements"]["strong"]["levels"][level]["values"][SCORE]
    }
    for key, entry in record["measurements"].get("transfer", {"levels": {}})["levels"].items():
        zeta, source = key.split()
        if zeta == level:
            scores[source] = entry["values"][SCORE]
    return min(scores, key=lambda source: scores[source])


def score(record: dict[str, Any], measurement: str, level: str, metric: str = SCORE) -> Any:
    """A metric of a cell, by default balanced accuracy: one number or one per die; None where it was not measured."""
    found = values_of(record, measurement, level)
    return (strongest(record, level) if found and measurement == "strong" else found).get(metric)


def values_of(record: Mapping[str, Any], measurement: str, level: str) -> Mapping[str, Any]:
    """All values of a level of a measurement; nothing where it was not measured."""
    levels = record.get("measurements", {}).get(measurement, {"levels": {}})["levels"]
    return levels.get(level, {"values": {}})["values"]


def _over_seeds(known: list[dict[str, Any]]) -> Iterator[Row]:
    """Mean over the seeds of the metric that a measurement shows, its 95 % interval, and the number of seeds."""
    places: dict[tuple[str, str, str, str], list[Any]] = {}
    shown = {name: measurement.shown for name, measurement in all_measurements().items() if name != "transfer"}
    for record in known:
        for name in sorted(record.get("measurements", {}).keys() & shown.keys()):
            for level in sorted(record["measurements"][name]["levels"]):
                value = score(record, name, level, shown[name])
                if value is not None:
                    places.setdefault((record["study"], record["method"], name, level), []).append(value)
    specs = {study: spec_of(study) for study in {place[0] for place in places}}
    for (study, method, name, level), values in sorted(places.items()):
        table = np.array([np.atleast_1d(value) for value in values], dtype=float)
        metric, head = shown[name], (study, method, "all", name, level)
        figures = {metric: bootstrap_interval(table, dies=False)}
        if table.shape[1] > 1:
            figures = {
                f"{metric} mean": bootstrap_interval(table),
                f"{metric} min": bootstrap_interval(table, np.min, dies=False),
                f"{metric} q05": bootstrap_interval(table, partial(np.quantile, q=0.05)),
                "yield": yield_interval(table >= specs[study]),
            }
        yield (*head, "seeds", float(len(table)))
        for metric, interval in figures.items():
            yield (*head, metric, interval.estimate)
            yield (*head, f"{metric} low", interval.low)
            yield (*head, f"{metric} high", interval.high)
