"""The tables of the page on versions: what `make matrix` measured, and the licences of the packages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from text import table

RELEASE = Path(__file__).parent.parent / ".ci/release"
SHOWN = ("torch", "numpy", "scipy", "numba", "pandas", "snntorch")


def kept(name: str) -> dict[str, Any]:
    """A file of .ci/release/."""
    return dict(json.loads((RELEASE / name).read_text(encoding="utf-8")))


def matrix_table(results: Mapping[str, Any]) -> str:
    """One row for each Python, also for those that were not run or failed."""
    rows = []
    for version, found in results.items():
        if "tests" not in found:
            how = f"not run: {found['not run']}" if "not run" in found else f"FAILED: {found['failed']}"
            rows.append([version, *[""] * len(SHOWN), how, "", found["date"]])
            continue
        counts = ", ".join(f"{found['tests'].get(word, 0)} {word}" for word in ("passed", "skipped"))
        versions = [found["versions"][name] for name in SHOWN]
        rows.append([found["python"], *versions, counts, f"{found['import']['first use']:.2f} s", found["date"]])
    return table(["Python", *SHOWN, "tests", "import", "date"], rows)


def licence_table(entries: Mapping[str, Any]) -> str:
    """One row for each package; one that the core needs is not listed for the extras again."""
    rows = [
        [name, entry["licence"], "core" if "core" in entry["for"] else ", ".join(entry["for"])]
        for name, entry in entries.items()
    ]
    return table(["package", "licence", "needed by"], rows)


def tables() -> dict[str, str]:
    """The generated parts of the page, by file."""
    return {
        "_generated/matrix.md": matrix_table(kept("matrix.json")),
        "_generated/licences.md": licence_table(kept("licences.json")),
    }
