"""Pages for people, all made from ``results.csv`` and the raw data: claims, figures, tables, settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import pandas as pd

from neurorobust._util import files
from neurorobust.viz import plotting

from .claim_tables import by_task, summarize
from .claims import Verdict, judge_claims
from .figures.methods import HEADLINE
from .measurement import all_measurements
from .page_figure import all_figures
from .provenance import Record, cost, refusals, settings_line, settings_table
from .results import records, tuning_seconds
from .results_table import ResultsTable, results_table
from .study import Study, all_studies
from .tables import methods_by, of_measurement, table

READ = (
    "Balanced accuracy on simulated dies unless said otherwise: mean over n training seeds ± half its 95 % interval, "
    "which holds for new seeds and, for means over dies, new dies; with one seed, for new dies alone. Bold: the "
    "best of a column. –: not measured, or refused. Subset: the test samples that attacks see.\n"
)

Figures = Mapping[str, str]
"""Those of a task, in Markdown, by the name of the page_figure."""


def write_pages(out: Path, studies: Mapping[str, Study] | None = None) -> list[Path]:
    """Write ``reproduction.md``, a page for each task and all figures; returns what was written.

    Args:
        out: folder of all results. studies: to be shown, all that are known by default.
    """
    rows = pd.read_csv(out / "results.csv", dtype={"seed": str, "level": str}, keep_default_na=False)
    rows["value"] = pd.to_numeric(rows["value"], errors="coerce")
    known, numbers = records(out), results_table(rows)
    shown = [study for name, study in (studies or all_studies()).items() if name in numbers.methods]
    names = [study.name for study in shown]
    verdicts = sorted(judge_claims(out), key=lambda one: names.index(one.study) if one.study in names else len(names))
    figures = {study.name: _figures(study, numbers, settings_line(study, known), out) for study in shown}
    claims = summarize(verdicts)
    parts = [*_head(claims, settings_table(shown, known)), *_tasks(shown, numbers, figures, claims)]
    pages = {"reproduction.md": "\n".join(parts) + _every(verdicts) + cost(known, tuning_seconds(out))}
    for study in shown:
        own = [record for record in known if record["study"] == study.name]
        pages[f"reproduction-{study.name}.md"] = "\n".join(_details(study, numbers, figures[study.name], own))
    for name, words in pages.items():
        files.write_text(out / name, words)
    return [*(out / name for name in pages), *sorted((out / "figures").glob("*"))]


def _figures(study: Study, numbers: ResultsTable, beside: str, out: Path) -> Figures:
    """Draw what has data; the settings stand beside it."""
    found = {}
    for name, page_figure in all_figures().items():
        with matplotlib.rc_context(plotting.STYLE):
            figure = page_figure.draw(study, numbers)
            if figure is None:
                continue
            file = f"{study.name}{page_figure.suffix}"
            plotting.save(figure, files.folder(out / "figures") / file, [".png"])
        found[name] = (
            f"![{study.name}: {page_figure.caption}](figures/{file}.png)\n\n*{page_figure.caption}. {beside}*\n"
        )
    return found


def _head(rows: Sequence[dict[str, str]], made: str) -> list[str]:
    """Title, what everything was made with, claims."""
    return [
        "# The paper, reproduced\n",
        f"Made by `neurorobust reproduce` from [results.csv](results.csv); do not edit. {READ}",
        "## What the numbers were made with\n",
        made,
        "## Claims\n",
        "Found, in points of balanced accuracy or as a ratio, with its 95 % interval, against the rival of the paper "
        "that did best by what the claim is about, of those that were measured. A claim holds when the whole interval "
        "lies beyond what it needs, against every rival.\n",
        _rows(by_task(rows)) or "None can be tested yet.\n",
    ]


def _tasks(
    studies: Sequence[Study], numbers: ResultsTable, figures: Mapping[str, Figures], claims: Sequence[dict[str, str]]
) -> list[str]:
    """For each task the figures of the first page, the table of the most telling numbers, and its claims."""
    parts = []
    for study in studies:
        first = [words for name, words in figures[study.name].items() if not all_figures()[name].above]
        parts += [f"## {study.name}\n", *first, methods_by(study.name, numbers, HEADLINE)]
        own = [{key: row[key] for key in row if key != "task"} for row in claims if row["task"] == study.name]
        parts += [_rows(own), f"[Every measurement on {study.name}](reproduction-{study.name}.md)\n"]
    return parts


def _rows(rows: Sequence[dict[str, str]]) -> str:
    """Rows of one kind as a table; nothing, if there are none."""
    return table(list(rows[0]), [list(row.values()) for row in rows]) if rows else ""


def _every(verdicts: Sequence[Verdict]) -> str:
    """All comparisons behind the claims, where there are more than claims."""
    more = len(verdicts) > len(summarize(verdicts))
    return f"\n## Every comparison\n\n{_rows([verdict.row() for verdict in verdicts])}" if more else ""


def _details(study: Study, numbers: ResultsTable, figures: Figures, known: Sequence[Record]) -> list[str]:
    """The page of a task: every measurement that was made, its figure above its table."""
    left = {name: words for name, words in figures.items() if all_figures()[name].above}
    parts = [
        f"# {study.name}, every measurement\n",
        f"Part of [the paper, reproduced](reproduction.md). {settings_line(study, known)}\n",
        READ,
    ]
    for name, measurement in all_measurements().items():
        words = measurement.table(known) if measurement.table else of_measurement(study, name, measurement, numbers)
        if words:
            drawn = [key for key in left if name in all_figures()[key].above]
            parts += [f"## {name}: {measurement.title}\n", *(left.pop(key) for key in drawn), words]
    refused = refusals(known)
    return [*parts, refused] if refused else parts
