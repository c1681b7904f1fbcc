"""Numbers in the text of README and the pages, and where each comes from.

A number that was measured is followed by a comment that names its source; readers of the page do not see it::

    .576<!-- results / ecg / adversarial / strong 0.1 -->            the mean over training seeds
    .894<!-- results / ecg / adversarial / mismatch 0.3 min / 0 -->    of seed 0; also: low, high (the interval)
    .882<!-- main_job.md / adversarial / thorough .1 -->               first cell of the row / head of the column
    .765<!-- certify.md / adversarial, weights / 0.001 / 64 branches -->   the same below a line of text
    31<!-- rare_study.json / rows / 2 / failures -->                   keys; ``min KEY`` and ``max KEY`` of a list
    3<!-- chipmodels / dynapse2 / measured -->                         its kinds with that status; ``count``, ``max cv``

``× 100`` at the end turns a fraction into points. A table whose rows are methods has one comment before it::

    <!-- table / ecg / nominal test / mismatch 0.3 mean -->
    | training | no error | mismatch 0.3 |
    | `adversarial` | .953 (.950–.957) | …

``python docs/quoted.py`` lists the numbers that differ from their sources; ``--write`` puts the right ones in.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

import chipmodels
from neurorobust._util import files

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
RESULTS = ROOT / "benchmarks/robustness/results/results.csv.xz"
FOLDERS = [ROOT / "benchmarks/results", ROOT / "docs/results", ROOT / "docs/figures", ROOT / "tests"]

NUMBER = r"[+−-]?(?:\d[\d,]*)?\.?\d+"
QUOTED = re.compile(rf"(?P<number>{NUMBER})(?P<between>(?: %)?)<!-- (?P<source>[^>]*?) -->")
TABLE = re.compile(r"<!-- table / (?P<source>[^>]*?) -->\n\n?(?P<rows>(?:\|.*\n)+)")


@functools.cache
def results() -> pd.Series:
    """The value of every (task, method, seed, evaluation, level, metric) of the results."""
    table = pd.read_csv(RESULTS, dtype=str, keep_default_na=False)
    table = table[table["value"] != ""].set_index(list(table.columns[:-1]))
    return pd.to_numeric(table["value"], errors="coerce")


def result(task: str, method: str, what: str, seed: str = "all") -> float:
    """One number of the results; ``what`` is an evaluation, a level and, where it has several, a metric."""
    evaluation, *words = what.split(" ")
    end = ""
    if seed in ("low", "high"):
        seed, end = "all", f" {seed}"
    for n in (1, 2):  # "1 year" and "0.1 weights" are levels of two words
        level, metric = " ".join(words[:n]), " ".join(words[n:])
        for name in (f"balanced_accuracy {metric}".strip(), metric):
            key = (task, method, seed, evaluation, level, name + end)
            if key in results().index:
                return float(results()[key])
    raise KeyError(f"results: no {what!r} of {task} / {method}, seed {seed}{end}")


def cell(file: Path, *place: str) -> float:
    """The first number of a table's cell: ([section,] first cell of the row, head of the column)."""
    *section, row, column = place
    head: list[str] = []
    here = ""
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            head, here = [], line.strip() or here
            continue
        cells = [part.strip() for part in line.strip("|").split("|")]
        head = head or cells
        inside = not section or section[0] in here
        if inside and cells[0].strip("*`").startswith(row) and column in head:
            found = re.search(NUMBER, cells[head.index(column)])
            if found:
                return _float(found[0])
    raise KeyError(f"{file.name}: no cell {place}")


def entry(value: object, *path: str) -> float:
    """A number inside JSON; of a list of objects ``min KEY``, ``max KEY`` or ``sum KEY``."""
    for step in path:
        if isinstance(value, list) and " " in step:
            how, key = step.split(" ", 1)
            chosen: dict[str, Callable] = {"min": min, "max": max, "sum": sum}
            value = chosen[how](row[key] for row in value)
        elif isinstance(value, list):
            value = value[int(step)]
        else:
            value = value[step]  # type: ignore[index]
    return float(value)  # type: ignore[arg-type]


def of_chip(name: str, what: str) -> float:
    """Of the kinds of a chip model: how many have a status, how many there are, the smallest or largest spread."""
    facts = [kind.cv for kind in chipmodels.load(name).kinds.values()]
    if what in ("min cv", "max cv"):
        return {"min cv": min, "max cv": max}[what](fact.value for fact in facts)
    return sum(what in ("count", fact.status) for fact in facts)


def look_up(source: str) -> float:
    """The number that a comment names."""
    source, times, factor = source.partition(" × ")
    where, *place = source.split(" / ")
    if where == "results":
        value = result(*place)
    elif where == "chipmodels":
        value = of_chip(*place)
    else:
        file = next((folder / where for folder in FOLDERS if (folder / where).exists()), None)
        if file is None:
            raise KeyError(f"{source}: no file {where} in {', '.join(str(folder) for folder in FOLDERS)}")
        value = entry(json.loads(file.read_text("utf-8")), *place) if file.suffix == ".json" else cell(file, *place)
    return value * float(factor) if times else value


def written(value: float, like: str) -> str:
    """The number in the notation of ``like``: as many decimals, a sign, a leading zero and commas where it has them."""
    decimals = len(like.partition(".")[2])
    text = f"{value:{'+' if like[0] == '+' else ''}{',' if ',' in like else ''}.{decimals}f}"
    text = text.replace("-", "−") if "−" in like or "-" not in like else text
    return re.sub(r"^([+−-]?)0\.", r"\1.", text) if like.lstrip("+−-").startswith(".") else text


def mended(text: str) -> str:
    """The text with every number that has a source as that source gives it."""
    text = TABLE.sub(lambda found: found[0].replace(found["rows"], _table(found["source"], found["rows"])), text)

    def number(found: re.Match) -> str:
        value = written(look_up(found["source"]), found["number"])
        return f"{value}{found['between']}<!-- {found['source']} -->"

    return QUOTED.sub(number, text)


def unsourced(text: str) -> list[str]:
    """Numbers in the notation of accuracies (.896) that have no source; code and commented text do not count."""
    text = TABLE.sub("", text)
    text = QUOTED.sub("", text)
    text = re.sub(r"^```.*?^```$|`[^`\n]*`|<!--.*?-->|^    .*$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"(?<![\w.])\.\d\d+", text)


def differences(path: Path) -> Iterator[str]:
    """The numbers to be mended on a page, one line each."""
    text = path.read_text(encoding="utf-8")
    for old, new in zip(text.splitlines(), mended(text).splitlines()):
        if old != new:
            yield f"{path.name}\n  has    {old}\n  source {new}"


def _table(source: str, rows: str) -> str:
    task, *columns = source.split(" / ")
    lines = rows.splitlines()
    for i, line in enumerate(lines[2:], 2):
        method = re.search(r"`(\w+)`", line)
        if method is None:
            raise ValueError(f"table / {source}: the row {line!r} names no method in backticks")
        first, cells = line.split("|")[1], []
        for what in columns:
            values = [result(task, method[1], what, seed) for seed in ("all", "0", "1", "2")]
            mean, *seeds = (written(value, ".000") for value in values)
            cells.append(f"{mean} ({min(seeds)}–{max(seeds)})" if len(set(seeds)) > 1 else mean)
        lines[i] = "| " + " | ".join([first.strip(), *cells]) + " |"
    return "\n".join(lines) + "\n"


def _float(text: str) -> float:
    return float(text.replace("−", "-").replace(",", ""))


def main() -> int:
    parser = argparse.ArgumentParser(description="Numbers quoted on the pages against their sources.")
    parser.add_argument("--write", action="store_true", help="put the sources' numbers into the pages")
    write = parser.parse_args().write
    found = [line for path in PAGES for line in differences(path)]
    print("\n".join(found) or "All quoted numbers are those of their sources.")
    if write:
        for path in PAGES:
            files.write_text(path, mended(path.read_text(encoding="utf-8")))
    return bool(found) and not write


if __name__ == "__main__":
    raise SystemExit(main())
