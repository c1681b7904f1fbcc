"""The pages of the documentation, made from the tidy table and the cells: claims, figures, tables, settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from neurorobust._util import files
from neurorobust.evaluation import STRONG
from neurorobust.viz import plotting

from .cell import RESULTS, ROOT
from .claim_tables import Summary, by_task, summarize
from .claims import Verdict, judge_claims
from .figures.methods import HEADLINE
from .measurement import all_measurements
from .page_figure import all_figures
from .provenance import Record, cost, refusals, settings_line, settings_table
from .results import TABLE, read_table, records, tuning_seconds
from .results_table import ResultsTable, results_table
from .study import Study, all_studies
from .tables import methods_by, of_measurement, table

READING = (
    "Numbers are balanced accuracy on simulated dies, unless another quantity is named: the mean over n training seeds "
    "and, in brackets, the lowest and the highest seed (no brackets if all are equal). Bold: the best of a column. "
    f"–: not measured, or refused. Subset: the test samples used in attacks. {STRONG}: a suite of 863 passes; the "
    "worst dies found for the other networks of the task are tried too, and the lowest accuracy counts. A read-out on "
    "the host deviates, and is attacked, like the rest."
)
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    autoescape=False,
)

Figures = Mapping[str, str]
"""The figures of a task in Markdown, by name."""


def pages_folder(out: Path) -> Path:
    """The folder of pages and figures: part of the documentation for the committed results, else beside the results."""
    return ROOT / "docs" / "results" if out.resolve() == RESULTS.resolve() else out


def write_pages(out: Path, studies: Mapping[str, Study] | None = None) -> list[Path]:
    """Write ``reproduction.md``, a page for each task and all figures; returns what was written.

    Args:
        out: folder of all results. studies: to be shown, all that are known by default.
    """
    folder = pages_folder(out)
    known, numbers = records(out), results_table(read_table(out))
    shown = [study for name, study in (studies or all_studies()).items() if name in numbers.methods]
    names = [study.name for study in shown]
    verdicts = sorted(judge_claims(out), key=lambda one: names.index(one.study) if one.study in names else len(names))
    figures = {study.name: _figures(study, numbers, settings_line(study, known), folder) for study in shown}
    pages = {"reproduction.md": _overview(shown, numbers, figures, verdicts, known, tuning_seconds(out))}
    for study in shown:
        own = [record for record in known if record["study"] == study.name]
        pages[f"reproduction-{study.name}.md"] = _study(study, numbers, figures[study.name], own)
    for name, text in pages.items():
        files.write_text(folder / name, text)
    return [*(folder / name for name in pages), *sorted((folder / "figures").glob("*"))]


def _render(template: str, **values: Any) -> str:
    """A page from its template; several empty lines in a row become one."""
    text = TEMPLATES.get_template(template).render(**values)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _figures(study: Study, numbers: ResultsTable, settings: str, folder: Path) -> Figures:
    """Draw the figures that have data, with their settings below."""
    found = {}
    for name, page_figure in all_figures().items():
        with matplotlib.rc_context(plotting.STYLE):
            figure = page_figure.draw(study, numbers)
            if figure is None:
                continue
            file = f"{study.name}{page_figure.suffix}"
            plotting.save_figure(figure, files.make_folder(folder / "figures") / file, [".png"])
        words = {"study": study.name, "caption": page_figure.caption, "settings": settings}
        found[name] = _render("figure.md.jinja", file=f"{file}.png", **words)
    return found


def _overview(
    studies: Sequence[Study],
    numbers: ResultsTable,
    figures: Mapping[str, Figures],
    verdicts: Sequence[Verdict],
    known: Sequence[Record],
    tuning: Mapping[str, float],
) -> str:
    """The first page: settings, claims across tasks, and for each task its figures, numbers and claims."""
    summaries = summarize(verdicts)
    sections = [
        {
            "name": study.name,
            "figures": [words for name, words in figures[study.name].items() if not all_figures()[name].above],
            "numbers": methods_by(study.name, numbers, HEADLINE),
            "claims": _claims(summaries, study),
        }
        for study in studies
    ]
    return _render(
        "overview.md.jinja",
        table_name=TABLE,
        reading=READING,
        settings=settings_table(studies, known),
        claims=_rows(by_task(summaries)),
        studies=sections,
        comparisons=_rows([one.row() for one in verdicts]) if len(verdicts) > len(summaries) else "",
        cost=cost(known, tuning),
    )


def _claims(summaries: Sequence[Summary], study: Study) -> str:
    """The claims of one task."""
    rows = [one.row() for one in summaries if one.shown.study == study.name]
    return _rows([{key: row[key] for key in row if key != "task"} for row in rows])


def _rows(rows: Sequence[dict[str, str]]) -> str:
    """Rows of one kind as a table; empty if there are no rows."""
    return table(list(rows[0]), [list(row.values()) for row in rows]) if rows else ""


def _study(study: Study, numbers: ResultsTable, figures: Figures, known: Sequence[Record]) -> str:
    """The page of a task: every measurement, with its figures above its table."""
    left = {name: words for name, words in figures.items() if all_figures()[name].above}
    sections = []
    for name, measurement in all_measurements().items():
        text = measurement.table(known) if measurement.table else of_measurement(study, name, measurement, numbers)
        if text:
            drawn = [left.pop(key) for key in list(left) if name in all_figures()[key].above]
            sections.append({"name": name, "title": measurement.title, "figures": drawn, "text": text})
    return _render(
        "study.md.jinja",
        name=study.name,
        settings=settings_line(study, known),
        reading=READING,
        sections=sections,
        refusals=refusals(known),
    )
