"""Settings, cost and code version of the numbers, read from the records and not from the plan."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from .results import values_of
from .study import Study
from .tables import FEW_CLASSES, MISSING, table

Record = Mapping[str, Any]


def settings_line(study: Study, known: Sequence[Record]) -> str:
    """The settings of a task in one line, printed below its figures."""
    own = [record for record in known if record["study"] == study.name]
    planned = {"fleet": study.budget.samples, "attacked": study.budget.attacked}
    samples, attacked = (
        max((sum(counts) for counts in _counts(own, level)), default=count) for level, count in planned.items()
    )
    return (
        f"{study.epochs} epochs{f' ({study.cut})' if study.cut else ''}, {study.budget.dies} dies on {samples} test "
        f"samples, attacks on {attacked}."
    )


def settings_table(studies: Sequence[Study], known: Sequence[Record]) -> str:
    """A row for each task, from its cells, and a list of the trainings that were shortened."""
    rows = []
    for study in studies:
        own = [record for record in known if record["study"] == study.name]
        entries = [entry for record in own for entry in record.get("measurements", {}).values()]
        tuning = f"4 × {study.tuning_epochs} epochs" if study.tuned_on is None else f"of {study.tuned_on.name}"
        settings = [record["settings"] for record in own]
        rows.append(
            [
                study.name,
                _words(one["chip"] or "none" for one in settings),
                _words(one["n_hidden"] for one in settings),
                _words(one["epochs"] for one in settings),
                _words(f"{one['schedule']['batch_size']}, {one['schedule']['learning_rate']:g}" for one in settings)
                + _other_rates(own),
                _words(
                    one["steps"] for one in (record["training"].get("settings", {}) for record in own) if "steps" in one
                )
                or MISSING,
                tuning,
                str(len({record["method"] for record in own})),
                _words(record["seed"] for record in own),
                _words(entry["budget"]["dies"] for entry in entries),
                _seen(own, "fleet") or _words(entry["budget"]["samples"] for entry in entries),
                _seen(own, "attacked") or _words(entry["budget"]["attacked"] for entry in entries),
                f"{study.spec:g}",
            ]
        )
    header = ["task", "chip", "neurons", "epochs", "batch, Adam", "attack steps", "tuning", "methods", "seeds"]
    header += ["dies", "samples", "attacked", "specification"]
    text = (
        "\nColumn *dies*: dies in each fleet. *Samples*: test samples for each die (of each class). *Attacked*: "
        "samples used in attacks. *Attack steps*: steps of the attacks in training, 10 in the paper; of Entropy-SGD, "
        "Langevin steps. *Specification*: balanced accuracy that a die needs to count towards the yield.\n"
    )
    cuts = "".join(f"- {study.name}: {study.epochs} epochs, {study.cut}.\n" for study in studies if study.cut)
    if cuts:
        text += "\nEverything together had twelve hours of one machine, so we shortened trainings. Longer ones would "
        text += f"change the numbers:\n\n{cuts}"
    return table(header, rows) + text


def _other_rates(own: Sequence[Record]) -> str:
    """Learning rates that tuning chose instead of the study's."""
    found = {
        f"; {record['method']} {record['training']['schedule']['learning_rate']:g}"
        for record in own
        if "learning_rate" in record["training"].get("schedule", {})
    }
    return "".join(sorted(found))


def _seen(own: Sequence[Record], level: str) -> str:
    """The number of samples of each class, in words; empty if the cells do not have it."""
    return _words(_spread(counts) for counts in _counts(own, level))


def _spread(counts: Sequence[int]) -> str:
    """4 × 50; 200 (133, 67); of many classes 100 (6 to 14 per class)."""
    if len(set(counts)) == 1:
        return f"{len(counts)} × {counts[0]}"
    few = len(counts) <= FEW_CLASSES
    return f"{sum(counts)} ({', '.join(map(str, counts)) if few else f'{min(counts)} to {max(counts)} per class'})"


def _counts(own: Sequence[Record], level: str) -> set[tuple[int, ...]]:
    """The numbers of samples of each class in the cells: one element, if all agree."""
    found = set()
    for record in own:
        values = values_of(record, "samples", level)
        found.add(tuple(value for key, value in values.items() if key.startswith("samples ")))
    return found - {()}


def cost(known: Sequence[Record], tuning: Mapping[str, float]) -> str:
    """The cost of each task in hours of one thread on a busy machine, and the versions of the code.

    Args:
        known: the cells. tuning: seconds of all trials, by study.
    """
    if not known:
        return ""
    rows, total = [], 0.0
    for study, group in groupby(known, key=lambda record: record["study"]):
        cells = list(group)
        training = sum(record["training"]["seconds"] for record in cells)
        entries = [entry for record in cells for entry in record.get("measurements", {}).values()]
        measuring = sum(level["seconds"] for entry in entries for level in entry["levels"].values())
        made = [part["provenance"] for part in [*cells, *entries]]
        commits = sorted({one["commit"].removesuffix("+changes")[:9] for one in made})
        versions = sorted({f"torch {one['torch']}, numpy {one['numpy']}, numba {one['numba']}" for one in made})
        parts = (tuning.get(study, 0.0), training, measuring)
        hours, total = (f"{seconds / 3600:.2f}" for seconds in parts), total + sum(parts)
        rows.append([study, str(len(cells)), *hours, ", ".join(commits), "; ".join(versions)])
    header = ["task", "cells", "h tuning", "h training", "h measurement", "commits", "versions"]
    words = f"Hours of one thread, {total / 3600:.1f} in total. Two threads ran on a machine with two cores."
    return f"## Cost\n\n{words}\n\n{table(header, rows)}"


def refusals(known: Sequence[Record]) -> str:
    """The reasons why numbers are missing, and how often each occurs.

    If reasons differ only in their numbers, the first one is shown.
    """
    said: dict[tuple[str, str, str], list[str]] = {}
    for record in known:
        for name, entry in record.get("measurements", {}).items():
            for level, found in entry["levels"].items():
                reason = found["values"].get("refused")
                if reason:
                    said.setdefault((name, level, re.sub(r"[\d.]+", "", reason)), []).append(reason)
    rows = [
        [name, level, str(len(reasons)), reasons[0].replace("|", "/")]
        for (name, level, _), reasons in sorted(said.items())
    ]
    return f"## Refused\n\n{table(['measurement', 'level', 'networks', 'reason'], rows)}" if rows else ""


def _words(values: Iterable[object]) -> str:
    """The distinct values, in words."""
    return ", ".join(sorted({str(value) for value in values}, key=lambda word: (len(word), word)))
