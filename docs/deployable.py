"""The table of docs/deploy.md: which network of the zoo fits which chip, and what stands in the way.

``python docs/deployable.py`` says whether the table is that of the present models; ``--write`` puts the right one in.
A column stands for the networks of a task that take the same of every chip.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterator
from pathlib import Path

from torch import nn

import chipmodels
import neurorobust as nr
from neurorobust._util import files
from neurorobust.chip import ChipModel

PAGE = Path(__file__).parent / "deploy.md"
BEGIN, END = "<!-- deployable -->\n\n", "\n<!-- end of deployable -->"


def chips() -> dict[str, ChipModel]:
    """The chips that networks can be deployed onto."""
    return {name: chip for name, chip in chipmodels.models().items() if chip.architecture is not None}


@functools.cache
def deployed(name: str, chip: str) -> nr.deploy.Deployment | nr.deploy.DeploymentError:
    """The deployment of a network of the zoo onto a chip, or the error with every limit that it breaks."""
    try:
        return nr.deploy.onto(network(name), chips()[chip])
    except nr.deploy.DeploymentError as error:
        return error


@functools.cache
def network(name: str) -> nn.Module:
    return nr.zoo.load(name)[0]


def cell(name: str, chip: str) -> str:
    """What a network takes of a chip, or the limits that it breaks."""
    found = deployed(name, chip)
    if isinstance(found, nr.deploy.DeploymentError):
        return "no: " + ", ".join(sorted({violation.limit for violation in found.violations}))
    what, used, there = found.report.usage[0]
    return f"{used} of {there} {what}"


def columns() -> Iterator[tuple[str, tuple[str, ...]]]:
    """(task and methods, cells by chip); the networks of one task with the same cells together."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for name in nr.zoo.names():
        task, _, method = name.partition("/")
        found.setdefault((task, tuple(cell(name, chip) for chip in chips())), []).append(method)
    for (task, cells), methods in found.items():
        yield f"`{task}`: {', '.join(methods)}", cells


def table() -> str:
    """The chips are the rows, as there are more of them."""
    tasks = list(columns())
    lines = ["| chip | " + " | ".join(head for head, _ in tasks) + " |", "|---" * (len(tasks) + 1) + "|"]
    for i, name in enumerate(chips()):
        lines.append(f"| `{name}` | " + " | ".join(cells[i] for _, cells in tasks) + " |")
    return "\n".join(lines) + "\n"


def mended(text: str, made: str) -> str:
    """The page with this table."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + made + END + rest.split(END)[1]


def main() -> int:
    parser = argparse.ArgumentParser(description="The table of deployments of the zoo on the page against the models.")
    parser.add_argument("--write", action="store_true", help="put the right table into the page")
    write, text = parser.parse_args().write, PAGE.read_text(encoding="utf-8")
    right = mended(text, table())
    if write:
        files.write_text(PAGE, right)
    print("The table is right." if right == text else "The table was not that of the models.")
    return right != text and not write


if __name__ == "__main__":
    raise SystemExit(main())
