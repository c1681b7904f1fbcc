"""Tables and figures for people, all of them made from ``results.csv``, and the claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from .. import files, plotting
from ..methods import METHODS
from .claims import Verdict, tested
from .evaluation import SCORE, all_evaluations
from .results import COLUMNS, records
from .study import Study, all_studies

HEADLINE = {
    "nominal": ("nominal", "test", SCORE),
    "mismatch 0.3: mean": ("mismatch", "0.3", f"{SCORE} mean"),
    "worst die": ("mismatch", "0.3", f"{SCORE} min"),
    "ten steps 0.1": ("ten_kl", "0.1", SCORE),
    "strong 0.05": ("strong", "0.05", SCORE),
    "strong 0.1": ("strong", "0.1", SCORE),
}
"""Columns of the first table: evaluation, level, metric."""

CURVES = 5
"""Methods in a figure, which more would crowd."""

Numbers = Mapping[tuple[str, ...], float]


def write_pages(out: Path, studies: Mapping[str, Study] | None = None) -> list[Path]:
    """Write ``reproduction.md`` and its figures from ``results.csv`` and the raw data; returns what was written.

    Args:
        out: folder of all results. studies: to be shown, all that are known by default.
    """
    table = pd.read_csv(out / "results.csv", dtype={"seed": str, "level": str}, keep_default_na=False)
    table["value"] = pd.to_numeric(table["value"], errors="coerce")
    numbers = {tuple(row[:-1]): row[-1] for row in table[list(COLUMNS)].itertuples(index=False)}
    shown = [study for name, study in (studies or all_studies()).items() if name in set(table["task"])]
    with matplotlib.rc_context(plotting.STYLE):
        for study in shown:
            plotting.save(figure(study, table), files.folder(out / "figures") / study.name)
    files.write_text(out / "reproduction.md", page(shown, numbers, tested(out)) + cost(records(out)))
    return [out / "reproduction.md", *sorted((out / "figures").glob("*"))]


def page(studies: Sequence[Study], numbers: Numbers, verdicts: Sequence[Verdict]) -> str:
    """The page: claims first, then for each task what was done, the figure and the tables."""
    parts = [
        "# The paper, reproduced\n",
        "Made by `neurorobust reproduce` from [results.csv](results.csv); do not edit. Balanced accuracy on simulated "
        "dies, mean over training seeds [95 % interval over seeds and dies], n seeds; with one seed, "
        "over its dies alone.\n",
        "## Claims\n",
        _claims(verdicts),
    ]
    for study in studies:
        methods = [name for name in METHODS if any(key[:2] == (study.name, name) for key in numbers)]
        parts += [f"## {study.name}\n", _about(study), f"![{study.name}](figures/{study.name}.png)\n"]
        parts.append(_headline(study, methods, numbers))
        for name, evaluation in all_evaluations().items():
            table = _levels(study, methods, name, numbers)
            if table:
                parts += [f"### {name}: {evaluation.title}\n", table]
    return "\n".join(parts)


def cost(known: Sequence[Mapping[str, Any]]) -> str:
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
    return "\n## What it took\n\nHours of one thread; several threads shared the machine.\n\n" + _table(header, rows)


def _about(study: Study) -> str:
    """What was done, in a few lines."""
    schedule, detail = study.schedule, study.detail
    tuning = (
        f"four trials of {study.tuning_epochs} epochs a method, chosen on validation"
        if study.tuned_on is None
        else f"settings as chosen on {study.tuned_on.name}"
    )
    return (
        f"{study.epochs} epochs, batch {schedule.batch_size}, Adam {schedule.learning_rate:g}; {tuning}; seeds "
        f"{', '.join(map(str, study.seeds))}; {study.n_hidden} neurons where the task leaves a choice, "
        f"{'no chip' if study.chip is None else f'fit for {study.chip}'}. {detail.dies} dies on {detail.samples} test "
        f"samples; attacks see {detail.attacked}.\n"
    )


def _claims(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return "None can be tested yet.\n"
    rows = [verdict.row() for verdict in verdicts]
    return _table(list(rows[0]), [list(row.values()) for row in rows])


def _headline(study: Study, methods: Sequence[str], numbers: Numbers) -> str:
    rows = []
    for name in methods:
        cells = [_cell((study.name, name, "all", *place), numbers) for place in HEADLINE.values()]
        rows.append([name, _seeds(study, name, numbers), *cells])
    return _table(["method", "n", *HEADLINE], rows)


def _seeds(study: Study, method: str, numbers: Numbers) -> str:
    """How many seeds there are of a method."""
    return str(len({key[2] for key in numbers if key[:2] == (study.name, method)} - {"all"}))


def _levels(study: Study, methods: Sequence[str], evaluation: str, numbers: Numbers) -> str:
    """What one evaluation shows, methods × levels; empty where nothing was measured."""
    metric = all_evaluations()[evaluation].shown
    places = [key for key in numbers if key[0] == study.name and key[2:4] == ("all", evaluation)]
    levels = sorted({key[4] for key in places}, key=_order)
    metrics = [name for name in (metric, f"{metric} mean", f"{metric} min") if any(key[5] == name for key in places)]
    if not levels or not metrics:
        return ""
    rows = []
    for name in methods:
        for shown in metrics:
            cells = [_cell((study.name, name, "all", evaluation, level, shown), numbers) for level in levels]
            if set(cells) != {"–"}:
                rows.append([name, shown.removeprefix(metric).strip(), *cells])
    return _table(["method", "", *levels], rows)


def _order(level: str) -> tuple[float, str]:
    try:
        return float(level), ""
    except ValueError:
        return float("inf"), level


def _cell(key: tuple[str, ...], numbers: Numbers) -> str:
    """0.972 [0.965, 0.979]; – where nothing was measured."""
    value, low, high = (numbers.get((*key[:-1], f"{key[-1]}{bound}")) for bound in ("", " low", " high"))
    if value is None:
        return "–"
    if low is None or high is None or low != low:
        return _short(value)
    return f"{_short(value)} [{_short(low)}, {_short(high)}]"


def _short(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 and value != 0 else f"{value:.4g}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def figure(study: Study, table: pd.DataFrame) -> Figure:
    """Left, the fleet's mean and its worst die against mismatch; right, the worst die attacks found against ζ."""
    rows = table[(table["task"] == study.name) & (table["seed"] == "all")]
    methods = [name for name in study.methods if name in set(rows["method"])][:CURVES]
    drawn = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = drawn.subplots(1, 2, sharey=True)
    for method, color in zip(methods, plotting.COLORS):
        own = rows[rows["method"] == method]
        for metric, style, label in ((f"{SCORE} mean", "o-", method), (f"{SCORE} min", "v:", None)):
            _curve(left, own[(own["evaluation"] == "mismatch") & (own["metric"] == metric)], style, color, label)
        for evaluation, style, label in (("strong", "o-", method), ("ten_kl", "v:", None)):
            _curve(right, own[(own["evaluation"] == evaluation) & (own["metric"] == SCORE)], style, color, label)
    left.set(xlabel="random mismatch (solid mean, dotted worst die)", ylabel="balanced accuracy", xlim=0)
    right.set(xlabel="attack size ζ (solid strong suite, dotted ten steps)", xscale="log")
    if methods:
        left.legend(fontsize=8)
    return drawn


def _curve(ax: matplotlib.axes.Axes, rows: pd.DataFrame, style: str, color: str, label: str | None) -> None:
    points = sorted(zip(rows["level"].astype(float), rows["value"]))
    if points:
        ax.plot(*zip(*points), style, color=color, ms=4, lw=1.4, label=label)
