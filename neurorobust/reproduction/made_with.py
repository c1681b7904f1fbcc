"""What the numbers were made with, and what they took: read from the records, not from what was planned."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from .study import Study
from .tables import table

Record = Mapping[str, Any]


def setting(study: Study) -> str:
    """A line for beside the numbers."""
    detail = study.detail
    return (
        f"{study.epochs} epochs{f' ({study.cut})' if study.cut else ''}, {detail.dies} dies on {detail.samples} test "
        f"samples, attacks on {detail.attacked}."
    )


def made_with(studies: Sequence[Study], known: Sequence[Record]) -> str:
    """A row for each task, from its cells; and which trainings were cut."""
    rows = []
    for study in studies:
        own = [record for record in known if record["study"] == study.name]
        entries = [entry for record in own for entry in record.get("evaluations", {}).values()]
        tuning = f"4 × {study.tuning_epochs} epochs" if study.tuned_on is None else f"of {study.tuned_on.name}"
        settings = [record["settings"] for record in own]
        rows.append(
            [
                study.name,
                _words(one["chip"] or "none" for one in settings),
                _words(one["n_hidden"] for one in settings),
                _words(one["epochs"] for one in settings),
                _words(f"{one['schedule']['batch_size']}, {one['schedule']['learning_rate']:g}" for one in settings),
                tuning,
                str(len({record["method"] for record in own})),
                _words(record["seed"] for record in own),
                _words(f"{entry['detail']['dies']} × {entry['detail']['samples']}" for entry in entries),
                _words(entry["detail"]["attacked"] for entry in entries),
            ]
        )
    header = ["task", "chip", "neurons", "epochs", "batch, Adam", "tuning", "methods", "seeds"]
    header += ["dies × samples", "attacked"]
    text = "\nA fleet is so many dies, each on so many test samples; attacks see so many of these.\n"
    cuts = "".join(f"- {study.name}: {study.epochs} epochs, {study.cut}.\n" for study in studies if study.cut)
    if cuts:
        text += (
            "\nTwelve machine-hours had to do for all, so trainings were cut, epochs first; longer ones would change "
        )
        text += f"the numbers:\n\n{cuts}"
    return table(header, rows) + text


def cost(known: Sequence[Record]) -> str:
    """What all of it took, by task: hours on one thread, as busy as the machine was, and the code that did it."""
    if not known:
        return ""
    rows = []
    for study, group in groupby(known, key=lambda record: record["study"]):
        cells = list(group)
        training = sum(record["training"]["seconds"] for record in cells)
        entries = [entry for record in cells for entry in record.get("evaluations", {}).values()]
        measuring = sum(level["seconds"] for entry in entries for level in entry["levels"].values())
        made = [part["provenance"] for part in [*cells, *entries]]
        commits = sorted({one["commit"].removesuffix("+changes")[:9] for one in made})
        versions = sorted({f"torch {one['torch']}, numpy {one['numpy']}, numba {one['numba']}" for one in made})
        hours = (f"{seconds / 3600:.2f}" for seconds in (training, measuring))
        rows.append([study, str(len(cells)), *hours, ", ".join(commits), "; ".join(versions)])
    header = ["task", "cells", "h training, without tuning", "h evaluation", "commits", "versions"]
    return "\n## What it took\n\nHours of one thread; several threads shared the machine.\n\n" + table(header, rows)


def refusals(known: Sequence[Record]) -> str:
    """Why there is no number: what an evaluation of a cell said instead, how often; of reasons that differ in their
    numbers alone, the first."""
    said: dict[tuple[str, str, str], list[str]] = {}
    for record in known:
        for name, entry in record.get("evaluations", {}).items():
            for level, found in entry["levels"].items():
                reason = found["values"].get("refused")
                if reason:
                    said.setdefault((name, level, re.sub(r"[\d.]+", "", reason)), []).append(reason)
    rows = [
        [name, level, str(len(reasons)), reasons[0].replace("|", "/")]
        for (name, level, _), reasons in sorted(said.items())
    ]
    return f"## Refused\n\n{table(['evaluation', 'level', 'networks', 'reason'], rows)}" if rows else ""


def _words(values: Iterable[object]) -> str:
    """Those that occur, each once."""
    return ", ".join(sorted({str(value) for value in values}, key=lambda word: (len(word), word)))
