"""Random cases by number: a few in every run of the tests, thousands of new ones under ``make deep``.

A test that has a deep version is marked ``@pytest.mark.deep`` and takes its cases from :func:`cases`::

    @pytest.mark.deep
    def test_flipped_bits():
        for case in cases("flipped bits", here=100, deep=2000):
            check(torch.Generator().manual_seed(case))

The counts of all deep runs are in ``tests/data/deep.json``: how many cases of each name passed, and none failed.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from neurorobust._util import files

FILE = Path(__file__).parent / "data" / "deep.json"
DEEP = "NEUROROBUST_DEEP" in os.environ
BLOCK = 100  # cases that are counted at once


def cases(name: str, here: int, deep: int) -> Iterator[int]:
    """The numbers of the cases to try: 0 … here − 1; under ``make deep`` the next ``deep`` ones. These are counted as
    they pass, so a run that was stopped goes on where it was."""
    if not DEEP:
        yield from range(here)
        return
    first = counts().get(name, 0)
    for done in range(0, deep, BLOCK):
        block = range(done, min(done + BLOCK, deep))
        yield from (first + number for number in block)
        add(name, len(block))  # reached only if the last case of the block has passed


def counts() -> dict[str, int]:
    """The cases that passed, by name."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}


def add(name: str, n: int) -> None:
    with _alone(FILE.parent):  # tests on several cores share the file
        found = counts()
        write(found | {name: found.get(name, 0) + n}, FILE)


def write(found: dict[str, int], path: Path) -> None:
    """The counts in a file, which is the old one or the new one whenever the process is killed."""
    files.write_text(path, json.dumps(found, indent=1, sort_keys=True) + "\n")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time; others wait."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
