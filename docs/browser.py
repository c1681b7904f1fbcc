"""A headless Chromium, driven by chromedriver through the WebDriver protocol; both are Debian packages.

with Browser() as browser:
    browser.window(390, 844, dark=True)
    browser.open("http://127.0.0.1:8000/index.html")
    browser.keys("\\ue004")  # Tab
    print(browser.run("return document.activeElement.id"), browser.errors())
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

TAB, RIGHT, LEFT, UP, DOWN, ENTER, SPACE, SHIFT = (
    "\ue004",
    "\ue014",
    "\ue012",
    "\ue013",
    "\ue015",
    "\ue007",
    "\ue00d",
    "\ue008",
)
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
PROGRAMS = ("chromium", "chromedriver")


def missing() -> str | None:
    """Which program is not installed, with what to do; None if all are."""
    gone = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"no {' and no '.join(gone)} here (apt-get install chromium chromium-driver)" if gone else None


class Browser:
    """One window of a browser that starts with the block and ends with it."""

    def __init__(self, seconds: float = 300.0):
        self._seconds = seconds

    def __enter__(self) -> Browser:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._driver.stdout is not None
        port = ""
        for line in self._driver.stdout:
            if "successfully on port" in line:
                port = line.rsplit("port", 1)[1].strip(" .\n")
                break
        self._url = f"http://127.0.0.1:{port}/session"
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={self._profile.name}"]
        arguments += ["--hide-scrollbars", "--force-color-profile=srgb", "--disable-dev-shm-usage"]
        options = {"binary": shutil.which("chromium"), "args": arguments}
        limit = int(900 * self._seconds)  # ms; the answer comes before the socket gives up
        wanted: dict[str, Any] = {"timeouts": {"script": limit, "pageLoad": limit}}
        wanted |= {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        try:
            made = self._post("", {"capabilities": {"alwaysMatch": wanted}})
        except (OSError, RuntimeError):
            self._end()
            raise
        self._url += f"/{made['sessionId']}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError, RuntimeError):
            self._call("DELETE", "", None)
        self._end()

    def _end(self) -> None:
        self._driver.terminate()
        self._driver.wait()
        if self._driver.stdout is not None:
            self._driver.stdout.close()
        self._profile.cleanup()

    def window(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """The size of the page in CSS pixels, as a phone has it, and the colours that the reader prefers."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.devtools("Emulation.setEmulatedMedia", {"features": scheme})

    def scripts(self, allowed: bool) -> None:
        """Whether pages that are opened from now on may run scripts."""
        self.devtools("Emulation.setScriptExecutionDisabled", {"value": not allowed})

    def open(self, url: str) -> None:
        """Open a page and wait until it has loaded."""
        self._post("/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """What the body of a function in JavaScript returns; a promise is awaited."""
        return self._post("/execute/sync", {"script": script, "args": list(arguments)})

    def keys(self, *keys: str) -> None:
        """Press and release some keys, one after the other."""
        actions = [
            step for key in keys for step in ({"type": "keyDown", "value": key}, {"type": "keyUp", "value": key})
        ]
        self._post("/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def errors(self) -> list[str]:
        """The errors in the console since the last call."""
        entries = self._post("/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def requests(self) -> list[str]:
        """What the page has loaded over the network."""
        return self.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")

    def shot(self, out: str | Path, *, whole: bool = False) -> None:
        """A picture of the window, or of the whole page."""
        if whole:
            size = self.devtools("Page.getLayoutMetrics", {})["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
            data = self.devtools("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})["data"]
        else:
            data = self._call("GET", "/screenshot", None)
        Path(out).write_bytes(base64.b64decode(data))

    def devtools(self, command: str, parameters: dict[str, Any]) -> Any:
        """A command of the Chrome DevTools Protocol."""
        return self._post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._call("POST", path, body)

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=self._seconds) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                told = json.load(error)["value"]
            raise RuntimeError(f"{path or 'session'}: {told.get('message', told)}") from None


def until(browser: Browser, script: str, seconds: float = 10.0) -> None:
    """Wait until an expression of JavaScript is true.

    Raises:
        TimeoutError: it stays false.
    """
    end = time.monotonic() + seconds
    while not browser.run(f"return Boolean({script})"):
        if time.monotonic() > end:
            raise TimeoutError(f"{script}: false for {seconds:g} s.")
        time.sleep(0.05)
