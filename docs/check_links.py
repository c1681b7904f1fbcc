"""Dead links inside the built documentation: pages, files and anchors.

    python docs/check_links.py [docs/_build/html]

``make docs`` runs it after the build. Links to other sites are not followed.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The targets of a page's links and the names that links can jump to."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value and (name == "id" or (tag == "a" and name == "name")):
                self.anchors.add(value)
            elif value and name in ("href", "src"):
                self.links.append(value)


def dead_links(folder: Path) -> list[str]:
    """One line for each link that leads nowhere: page and target."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}
    dead = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.exists():
                dead.append(f"{path.relative_to(folder)}: {link} (no such file)")
            elif anchor and target in pages and anchor not in pages[target].anchors:
                dead.append(f"{path.relative_to(folder)}: {link} (no such anchor)")
    return dead


def main() -> int:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "_build/html").resolve()
    if not (folder / "index.html").exists():
        print(f"{folder}: no index.html; build the documentation first (make docs).", file=sys.stderr)
        return 2
    dead = dead_links(folder)
    print("\n".join(dead) if dead else "No dead links inside the documentation.")
    return bool(dead)


if __name__ == "__main__":
    raise SystemExit(main())
