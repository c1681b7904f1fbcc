"""Every page of the built documentation in a browser: text off the screen, too little contrast, errors, barriers.

    make browser                                        # all of it: the pages, axe-core, this script
    python docs/check_pages.py                          # all pages at five widths, light and dark (minutes)
    python docs/check_pages.py methods.html chips.html  # some pages
    python docs/check_pages.py --shot methods.html --width 390 --dark out.png

It needs two Debian packages (``apt-get install chromium chromium-driver``). First, pages are shown in a frame of the
wanted width, and a script in the outer page measures them. It reports pages whose content is wider than the window,
text that ends right of the window and is not inside something that scrolls, and, on pages that are not source code,
text whose contrast is below 4.5 (3 for large text).

Then each page is opened by itself, as wide as a phone and as a desk: errors in the console, what it asks of other
hosts, and the serious findings of axe-core, if ``npm ci`` has put it into tests/browser/node_modules.
"""

from __future__ import annotations

import argparse
import functools
import json
import subprocess
import sys
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from urllib.parse import parse_qs, urlsplit

from browser import Browser, missing

BUILT = Path(__file__).parent / "_build/html"
SCRIPT = Path(__file__).parent / "check_pages.js"
AXE = Path(__file__).parent.parent / "tests/browser/node_modules/axe-core/axe.min.js"
WINDOWS = ((390, True), (1366, False))
"""Width of the window, and whether it is dark, for pages that are opened by themselves."""
SERIOUS = """
return axe.run(document, {resultTypes: ["violations"]}).then(({violations}) => violations
  .filter(({impact}) => impact === "serious" || impact === "critical")
  .map(({id, help, nodes}) => `${id}: ${help}: ${nodes.slice(0, 3).map(({target}) => target.join(" ")).join(" | ")}`));
"""
WIDTHS = (390, 800, 1024, 1366, 1920)
CHROMIUM = (
    "chromium",
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
)


class Handler(SimpleHTTPRequestHandler):
    """The built pages, the page that measures them, and a place for what it found."""

    reports: Queue[dict] = Queue()
    pages: tuple[str, ...] = ()

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        if path == "/measure":
            settings = json.dumps({"pages": self.pages, "widths": WIDTHS})
            self._answer(f"<body><script>const settings = {settings};\n{SCRIPT.read_text(encoding='utf-8')}</script>")
        elif path == "/favicon.ico":  # browsers ask for it unasked
            self._answer("")
        elif path == "/shot":
            page, width, theme = query["page"][0], query["width"][0], query["theme"][0]
            theming = f"this.contentDocument.body.dataset.theme = '{theme}'"
            frame = f'<iframe src="/{page}" style="border:0;width:{width}px;height:100vh" onload="{theming}"></iframe>'
            self._answer(f'<body style="margin:0">{frame}')
        else:
            super().do_GET()

    def do_POST(self) -> None:
        self.reports.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer("")

    def _answer(self, text: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Silent."""


def serve(pages: list[str]) -> ThreadingHTTPServer:
    """The pages on a port of this machine."""
    Handler.pages = tuple(pages)
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(BUILT)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def measure(pages: list[str], seconds: float = 120.0) -> list[str]:
    """The faults found, one line each; ``seconds`` is the longest wait for one page."""
    server = serve(pages)
    found = []
    with tempfile.TemporaryDirectory() as profile:
        url = f"http://127.0.0.1:{server.server_port}/measure"
        options = (f"--user-data-dir={profile}", "--remote-debugging-port=0", "--window-size=2000,1200")
        browser = subprocess.Popen([*CHROMIUM, *options, url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            for _ in pages:
                report = Handler.reports.get(timeout=seconds)
                found += [f"{report['page']}: {line}" for line in report["problems"]]
        finally:
            browser.terminate()
            browser.wait()
            server.shutdown()
    return found


def examine(pages: list[str], axe: Path = AXE) -> list[str]:
    """Errors, foreign requests and barriers of pages that are opened by themselves, one line each."""
    server, found = serve([]), []
    script = axe.read_text(encoding="utf-8") if axe.exists() else None
    own = f"http://127.0.0.1:{server.server_port}/"
    try:
        with Browser() as browser:
            for page in pages:
                for width, dark in WINDOWS:
                    browser.window(width, dark=dark)
                    browser.open(own + page)
                    problems = [f"console: {line}" for line in browser.errors()]
                    problems += [f"asks for {url}" for url in browser.requests() if not url.startswith(own)]
                    if browser.run("return document.documentElement.scrollWidth > innerWidth"):
                        problems.append("the content is wider than the window")
                    if script is not None and not page.startswith("_modules/"):
                        browser.run(script)
                        problems += browser.run(SERIOUS)
                    found += [f"{page}: {width} px, {'dark' if dark else 'light'}: {line}" for line in problems]
    finally:
        server.shutdown()
        server.server_close()
    return found


def shot(page: str, width: int, theme: str, out: str, height: int) -> None:
    """A picture of the top of a page."""
    server = serve([])
    url = f"http://127.0.0.1:{server.server_port}/shot?page={page}&width={width}&theme={theme}"
    size = f"--window-size={max(width, 500)},{height}"
    options = (size, f"--screenshot={out}", "--virtual-time-budget=4000")
    subprocess.run([*CHROMIUM, *options, url], check=True, capture_output=True)
    server.shutdown()


def main() -> int:
    parser = argparse.ArgumentParser(description="Pages of the built documentation in a browser.")
    parser.add_argument("pages", nargs="*", help="below docs/_build/html; all by default")
    parser.add_argument("--shot", metavar="PAGE", help="write a picture of this page to the file that is named last")
    parser.add_argument("--width", type=int, default=1366)
    parser.add_argument("--height", type=int, default=1400)
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args()
    if options.shot:
        shot(options.shot, options.width, "dark" if options.dark else "light", options.pages[0], options.height)
        return 0
    pages = options.pages or sorted(path.relative_to(BUILT).as_posix() for path in BUILT.rglob("*.html"))
    if (gone := missing()) is not None:
        print(f"check_pages: {gone}.", file=sys.stderr)
        return 2
    if not AXE.exists():
        print(f"check_pages: no {AXE}, so axe-core is left out; `make browser` gets it.", file=sys.stderr)
    found = measure(pages) + examine(pages)
    print("\n".join(found) or f"{len(pages)} pages at {WIDTHS} px, light and dark: nothing found.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
