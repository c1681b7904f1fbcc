"""Tutorials: one source each, ``tutorials/NN_name.py``, from which the notebooks and the pages are made.

    python docs/notebooks.py --pair          # write tutorials/NN_name.ipynb, without outputs, and the list
    python docs/notebooks.py                 # execute all in full; those whose code has not changed are kept
    python docs/notebooks.py 01 05 --force   # execute two of them, in any case
    python docs/notebooks.py 01 --small DIR  # execute one small, as the tests do; its notebook goes to DIR

``make tutorials`` is the second line. An executed notebook goes to ``docs/tutorials``, and its picture to
``docs/tutorials/thumbnails``; both are committed, so no build of the documentation executes anything.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

HERE = Path(__file__).parent
SOURCES = HERE.parent / "tutorials"
EXECUTED = HERE / "tutorials"
THUMBNAILS = EXECUTED / "thumbnails"
NAME = re.compile(r"\d\d_[a-z0-9_]+")
HEADER = """\
# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
"""
FORMAT = {"extension": ".py", "format_name": "percent", "comment_magics": False}  # "# %pip …" stays a comment
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
FACTS = re.compile(r"Minutes: (?P<minutes>\d+)\b.*?\bData: (?P<data>.*?)\.? Needs: (?P<needs>.*?)\.?$")
FORM = (
    "expected a first cell of Markdown: '# N · Title', a paragraph with the question, and a paragraph 'Minutes: N on "
    "two cores. Data: … (install command). Needs: ….'"
)


@dataclass(frozen=True)
class Facts:
    """What the first cell of a tutorial says.

    Attributes:
        number, title: of the heading. question: the reader's question. minutes: of a full run on two cores.
        data: without the install command. needs: what else has to be installed.
    """

    number: int
    title: str
    question: str
    minutes: int
    data: str
    needs: str


@dataclass(frozen=True)
class Tutorial:
    """One tutorial: its source, and where its notebooks are."""

    source: Path

    @property
    def name(self) -> str:
        """``NN_name``."""
        return self.source.stem

    @property
    def stripped(self) -> Path:
        """The notebook without outputs, beside the source."""
        return self.source.with_suffix(".ipynb")

    @property
    def executed(self) -> Path:
        """The notebook of a full run, with outputs."""
        return EXECUTED / f"{self.name}.ipynb"

    @property
    def thumbnail(self) -> Path:
        """The picture of the gallery, made from the tutorial's figure."""
        return THUMBNAILS / f"{self.name}.png"

    @cached_property
    def text(self) -> str:
        """The source."""
        return self.source.read_text(encoding="utf-8")

    @cached_property
    def notebook(self) -> NotebookNode:
        """The source as a notebook without outputs; the same text gives the same bytes."""
        if not self.text.startswith(HEADER):
            raise ValueError(f"{self.source}: does not begin with the header of a tutorial; copy that of another one.")
        cells = jupytext.reads(self.text, fmt=FORMAT).cells
        taken: set[str] = set()
        for cell in cells:
            cell.id = _free(hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12], taken)
            cell.metadata = NotebookNode({"tags": cell.metadata["tags"]} if cell.metadata.get("tags") else {})
        metadata = {"jupytext": {"formats": "ipynb,py:percent"}, "kernelspec": KERNEL}
        return NotebookNode(cells=cells, metadata=nbformat.from_dict(metadata), nbformat=4, nbformat_minor=5)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the source; the executed notebook keeps it."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @cached_property
    def facts(self) -> Facts:
        """Title, question, minutes and data.

        Raises:
            ValueError: the first cell has another form.
        """
        first = self.notebook.cells[0]
        paragraphs = [" ".join(part.split()) for part in first.source.split("\n\n")]
        heading = re.fullmatch(r"# (\d+) · (.+)", paragraphs[0])
        facts = next(filter(None, map(FACTS.match, paragraphs[2:])), None)
        if first.cell_type != "markdown" or not heading or not facts or int(heading[1]) != int(self.name[:2]):
            raise ValueError(f"{self.source}: the first cell begins {first.source[:60]!r}; {FORM}")
        data = re.sub(r"\s*\([^()]*\)", "", facts["data"])
        return Facts(int(heading[1]), heading[2], paragraphs[1], int(facts["minutes"]), data, facts["needs"])

    def read_executed(self) -> NotebookNode | None:
        """The executed notebook, if there is one."""
        return nbformat.read(self.executed, as_version=4) if self.executed.is_file() else None


def _free(name: str, taken: set[str]) -> str:
    """The name, or with a number if it is taken: two cells may have the same text."""
    found = next(one for one in (name, *(f"{name}-{k}" for k in range(2, 1000))) if one not in taken)
    taken.add(found)
    return found


def all_tutorials(folder: Path = SOURCES) -> list[Tutorial]:
    """Every tutorial, by number."""
    return [Tutorial(path) for path in sorted(folder.glob("*.py")) if NAME.fullmatch(path.stem)]


def chosen(words: Sequence[str], found: Sequence[Tutorial]) -> list[Tutorial]:
    """The tutorials that begin with one of the words; all of them if there is no word."""
    for word in words:
        if not any(tutorial.name.startswith(word) for tutorial in found):
            raise ValueError(
                f"tutorial: {word!r} does not exist; choose from {', '.join(tutorial.name for tutorial in found)}."
            )
    return [one for one in found if not words or any(one.name.startswith(word) for word in words)]


# ---- text of notebooks, of the list and of the pages


def written(notebook: NotebookNode) -> str:
    """A notebook as text, as Jupyter writes it."""
    return str(nbformat.writes(notebook, version=nbformat.NO_CONVERT)) + "\n"


def readme(tutorials: Sequence[Tutorial]) -> str:
    """The list of the tutorials, for those who come to their folder."""
    rows = [
        f"| [{one.facts.number}]({one.name}.ipynb) | {one.facts.title} | {one.facts.question} | {one.facts.minutes} | "
        f"{one.facts.data} |"
        for one in tutorials
    ]
    return "\n".join(
        [
            "# Tutorials",
            "",
            "One question each, on real data. Every tutorial is a Python file, and beside it the same as a notebook.",
            "`neurorobust tutorials DIR` copies them to a folder of yours. The documentation shows them with their",
            "results. Minutes are for two cores.",
            "",
            "| | tutorial | question | minutes | data |",
            "|---|---|---|---|---|",
            *rows,
            "",
            "This list is made from the files: `python docs/notebooks.py --pair`.",
            "",
        ]
    )


STATES = {
    "missing": ":::{warning}\nThis page has no results yet: `make tutorials` has not executed it.\n:::",
    "old": (
        ":::{warning}\nThis tutorial has changed since it was executed. Code and text are new. The results are missing "
        "until `make tutorials` has run.\n:::"
    ),
}


def page(tutorial: Tutorial) -> NotebookNode:
    """The page of the documentation: the executed notebook with downloads below its first cell.

    Without an executed notebook of the same source it is the notebook without results, and the page says so at the top.
    """
    executed = tutorial.read_executed()
    fits = executed is not None and executed.metadata.get("neurorobust", {}).get("source_sha256") == tutorial.digest
    shown = executed if executed is not None and fits else tutorial.notebook
    links = [f"{{download}}`{tutorial.name}.py <../../tutorials/{tutorial.name}.py>`"]
    if fits:
        links.append(f"{{download}}`with results (.ipynb) <../tutorials/{tutorial.name}.ipynb>`")
    links.append(f"{{download}}`without results (.ipynb) <../../tutorials/{tutorial.name}.ipynb>`")
    head = "Download: " + " · ".join(links)
    if not fits:
        head = f"{STATES['missing' if executed is None else 'old']}\n\n{head}"
    extra = NotebookNode(cell_type="markdown", id="downloads", metadata=NotebookNode(), source=head)
    first, *others = shown.cells
    return NotebookNode({**shown, "cells": [first, extra, *others]})


def pages(tutorials: Sequence[Tutorial]) -> dict[str, str]:
    """The text of every page by its name."""
    return {f"{tutorial.name}.ipynb": written(page(tutorial)) for tutorial in tutorials}


def gallery(tutorials: Sequence[Tutorial]) -> str:
    """A grid of cards: picture, question, minutes and data."""
    head = [":::::{grid} 1 2 2 2", ":gutter: 3", ":class-container: gallery", ""]
    return "\n".join([*head, *map(_card, tutorials), ":::::", ""])


def _card(tutorial: Tutorial) -> str:
    facts = tutorial.facts
    lines = [
        f"::::{{grid-item-card}} {facts.number} · {facts.title}",
        f":link: tutorial/{tutorial.name}",
        ":link-type: doc",
    ]
    if tutorial.thumbnail.is_file():
        lines += [f":img-top: tutorials/thumbnails/{tutorial.name}.png", f":img-alt: Figure of tutorial {facts.number}"]
    footer = [":::{card-footer}", f"{facts.minutes} minutes · {facts.data}", ":::"]
    return "\n".join([*lines, "", facts.question, "", *footer, "::::", ""])


def toctree(tutorials: Sequence[Tutorial]) -> str:
    """The pages in the order of their numbers."""
    return "\n".join(["```{toctree}", ":hidden:", "", *(f"tutorial/{one.name}" for one in tutorials), "```", ""])


# ---- command line


def pair(tutorials: Sequence[Tutorial], folder: Path = SOURCES) -> list[Path]:
    """Write the notebooks without outputs and the list; returns those that changed."""
    from neurorobust._util import files

    wanted = {one.stripped: written(one.notebook) for one in tutorials} | {folder / "README.md": readme(tutorials)}
    changed = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in changed:
        files.write_text(path, wanted[path])
    return changed


def execute(tutorials: Sequence[Tutorial], force: bool) -> None:
    """Execute in full; write notebooks and pictures. Results whose code has not changed are kept."""
    EXECUTED.mkdir(exist_ok=True)
    THUMBNAILS.mkdir(exist_ok=True)
    failed = []
    for i, tutorial in enumerate(tutorials):
        label = f"[{i + 1}/{len(tutorials)}] {tutorial.name}"
        try:
            _execute(tutorial, label, force)
        except ValueError as error:
            _say(f"error: {error}")
            failed.append(tutorial.name)
    if failed:
        raise ValueError(f"{len(failed)} of {len(tutorials)} tutorials have no new results: {', '.join(failed)}.")


def _execute(tutorial: Tutorial, label: str, force: bool) -> None:
    import notebook_runs

    from neurorobust._util import files

    before = tutorial.read_executed()
    if before is not None and not force and _code(before) == _code(tutorial.notebook):
        _say(f"{label}: kept, its code has not changed (--force executes it)")
        done = notebook_runs.with_outputs(tutorial.notebook, before)
    else:
        done = _timed(label, tutorial, small=False)
    done.metadata["neurorobust"] = {"source_sha256": tutorial.digest}
    notebook_runs.check_size(tutorial.name, written(done))
    notebook_runs.write_thumbnail(tutorial.name, done, tutorial.thumbnail)
    files.write_text(tutorial.executed, written(done))


def execute_small(tutorials: Sequence[Tutorial], folder: Path) -> None:
    """Execute with the sizes of the tests. Only the kernel imports the package, which takes seconds."""
    for tutorial in tutorials:
        done = _timed(tutorial.name, tutorial, small=True)
        (folder / f"{tutorial.name}.ipynb").write_text(written(done), encoding="utf-8")


def _timed(label: str, tutorial: Tutorial, small: bool) -> NotebookNode:
    import notebook_runs

    start = time.monotonic()
    _say(f"{label}: about {tutorial.facts.minutes} min" if not small else f"{label}: small")
    done = notebook_runs.run(tutorial.name, tutorial.notebook, small, lambda cell: _say(f"{label}: {cell}", keep=False))
    _say(f"{label}: done in {time.monotonic() - start:.0f} s")
    return done


def _code(notebook: NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def _say(line: str, keep: bool = True) -> None:
    """A line on stderr; one that is not kept is overwritten, and shown on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="\n" if keep else "", file=sys.stderr, flush=True)
    elif keep:
        print(line, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Pair and execute the tutorials.")
    parser.add_argument("tutorials", nargs="*", metavar="NN", help="beginnings of names; all by default")
    parser.add_argument("--pair", action="store_true", help="write the notebooks without outputs and the README")
    parser.add_argument("--force", action="store_true", help="execute tutorials whose code has not changed, too")
    parser.add_argument("--small", type=Path, metavar="DIR", help="execute with the sizes of the tests, into DIR")
    options = parser.parse_args()
    try:
        found = all_tutorials()
        some = chosen(options.tutorials, found)
        if options.small:
            execute_small(some, options.small)
            return 0
        for path in pair(found):
            print(f"{path.relative_to(HERE.parent)}: written")
        if not options.pair:
            execute(some, options.force)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
