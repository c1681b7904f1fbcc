"""Every line for the shell in README and the pages: its command exists, and so do all its options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from pages import ROOT

from neurorobust.cli import app

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LINE = re.compile(r"^ *(?:\.venv/bin/|\$ )?(neurorobust [^#\n]*)", re.MULTILINE)
INLINE = re.compile(r"`(?:\.venv/bin/)?(neurorobust [^`]*)`")


def shell_lines(text: str) -> list[str]:
    """The calls of ``neurorobust`` in blocks and in the text; a backslash joins lines."""
    text = text.replace("\\\n", " ")
    blocks = "\n".join(re.findall(r"^    \S.*$", text, re.MULTILINE))
    blocks += "\n".join(re.findall(r"^```(?:bash|sh|console|text)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    return [" ".join(line.split()) for line in LINE.findall(blocks) + INLINE.findall(text)]


def problems(line: str) -> Iterator[str]:
    """What is wrong with one line, if anything."""
    plain = re.sub(r'"?\$\([^)]*\)"?', "OUTPUT", line)
    words = shlex.split(re.split(r" [|>;] ", plain)[0])[1:]
    command: Any = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    if words and words[0].startswith("runs/"):
        command = getattr(command, "commands", {}).get("onto", command)  # `deploy DIR` is `deploy onto DIR`
    if words and hasattr(command, "commands") and words[0].isalpha() and words[0].islower():
        yield f"{line}: no command {words[0]!r}"
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if word.startswith("--") and word.partition("=")[0] not in known | {"--help"}:
            yield f"{line}: no option {word}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_lines_for_the_shell_are_of_commands_that_exist(path):
    """Each command and each option of each line; nothing is run."""
    assert [problem for line in shell_lines(path.read_text(encoding="utf-8")) for problem in problems(line)] == []


def test_a_wrong_line_is_found():
    """A command and an option that do not exist, in a block, over two lines, and in the text."""
    text = "x\n\n    neurorobust evalute runs/a\n\nand `neurorobust zoo list --jsn`.\n\n"
    text += "    neurorobust train \\\n      --tsk ecg\n"
    found = [problem for line in shell_lines(text) for problem in problems(line)]
    assert [problem.rpartition(": ")[2] for problem in found] == [
        "no command 'evalute'",
        "no option --tsk",
        "no option --jsn",
    ]
    assert len(shell_lines((ROOT / "docs/cheatsheet.md").read_text(encoding="utf-8"))) >= 8
