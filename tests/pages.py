"""The Python examples of a page of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```(?P<info>.*)\n(?P<text>(?:.*\n)*?)```$", re.MULTILINE)
CAPTION = re.compile(r":caption: (\S+)\n+")


def blocks(text: str) -> list[tuple[str | None, str]]:
    """The Python examples of a page: (file it is to be written to or None, code)."""
    found = []
    for match in FENCE.finditer(text):
        if match["info"].strip() in ("python", "{code-block} python"):
            caption = CAPTION.match(match["text"])
            found.append((caption and caption[1], match["text"][caption.end() if caption else 0 :]))
    return found


def walkthroughs() -> dict[str, str]:
    """The files that docs/extending.md has its reader write, by path."""
    page = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    return {path: code for path, code in blocks(page) if path is not None}
