"""Pages in a headless Chromium, where it is installed: the explorer, the report, and a sample of the documentation.

`make browser` looks at every page of the documentation in the same way.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import tiny
from demo_run import quick

import neurorobust as nr
from neurorobust.evaluation import KindScores
from neurorobust.viz import explorer, fleets

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "docs"))
browser = importlib.import_module("browser")
check_pages = importlib.import_module("check_pages")
BUILT = ROOT / "docs" / "_build" / "html"
SAMPLE = ("index.html", "explore.html", "methods.html", "chips.html", "audit.html")
HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"

pytestmark = pytest.mark.skipif(browser.missing() is not None, reason=f"{browser.missing()}")


def records() -> list[fleets.FleetRecord]:
    """Two methods, two kinds of dies, 20 dies; the second method has a name that looks like HTML."""
    made = []
    for level in (0.1, 0.3):
        maps = fleets.die_maps(tiny(), nr.mismatch(level), range(20), 1)
        for k, method in enumerate(("standard", HOSTILE)):
            scores = tuple(1 - level * (1 - 0.5 * k) * (serial % 10) / 5 for serial in range(20))
            kinds = {9: {"weight": KindScores(0.6, 0.9), "tau_mem": KindScores(0.9, 0.55)}} if k == 0 else {}
            where = {"dies": f"mismatch {level}", "die_seed": 1, "serials": tuple(range(20)), "maps": maps}
            about = {"task": "beats", "measure": "balanced accuracy", "samples": 50, "method": method, "seed": 0}
            made.append(fleets.FleetRecord(**about, **where, nominal=1.0, scores=scores, kinds=kinds))
    return made


@pytest.fixture(scope="module")
def window():
    """One browser for all tests."""
    with browser.Browser() as made:
        yield made


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The address of an explorer."""
    return explorer.write(records(), tmp_path_factory.mktemp("page") / "page.html").as_uri()


def text(window, selector: str) -> str:
    """What stands in an element."""
    return window.run("return document.querySelector(arguments[0]).innerText", selector)


def tab_to(window, element: str) -> None:
    """Press Tab until the element with this id has the focus."""
    for _ in range(60):
        if window.run("return document.activeElement.id") == element:
            return
        window.keys(browser.TAB)
    raise AssertionError(f"Tab does not reach {element}")


@pytest.mark.parametrize("width", [390, 1366])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_explorer_opens(width, dark, window, page):
    """No error, no request, nothing wider than the window; both charts have marks; a hostile name is only text."""
    window.window(width, dark=dark)
    window.errors()
    window.open(page)
    assert window.errors() == [] and window.requests() == []
    assert window.run("return document.documentElement.scrollWidth") <= width
    assert window.run("return document.querySelectorAll('#dies-chart .mark-symbol path').length") >= 40
    assert window.run("return document.querySelectorAll('#map-chart .mark-rect path').length") >= 6
    assert window.run("return window.hacked === undefined") and HOSTILE in text(window, "#yields")
    background = window.run("return getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(20, 23, 27)" if dark else "rgb(255, 255, 255)")


def test_it_is_used_by_keyboard(window, page):
    """Tab and arrows choose dies, specification and die; tables, chart and the spoken line follow."""
    window.window(1366)
    window.open(page)
    first, second = records()[0], records()[2]
    assert "die 9" in text(window, "#worst") and first.worst()[0] == 9
    before = text(window, "#yields")
    tab_to(window, "dies")
    window.keys(browser.DOWN)
    browser.until(window, f"document.querySelector('#yields').innerText !== {before!r}")
    low, high = nr.evaluation.Yield.of(np.array(second.scores), 0.9).ci95
    good = sum(score >= 0.9 for score in second.scores)
    assert f"{good / 20:.2f} [{low:.2f}, {high:.2f}]\t{good} of 20" in text(window, "#yields")
    tab_to(window, "spec")
    window.keys(*[browser.LEFT] * 20)  # 20 steps of 0.005
    browser.until(window, "document.querySelector('#status').textContent.startsWith('At 0.800, standard:')")
    good = sum(score >= 0.8 for score in second.scores)
    assert text(window, "#yields").startswith("standard\t") and f"\t{good} of 20" in text(window, "#yields")
    assert text(window, "#worst").splitlines()[1].startswith("die 9")
    tab_to(window, "serial")
    window.keys(browser.DOWN)
    browser.until(window, "document.querySelector('#die-status').innerText.startsWith('Die 10:')")
    assert "--keep --apart N" in text(window, "#kinds-note")
    window.run("document.querySelector('#worst button').focus()")
    window.keys(browser.ENTER)
    browser.until(window, "document.querySelector('#die-status').innerText.startsWith('Die 9:')")
    assert "0.600" in text(window, "#kinds") and window.errors() == []


def test_no_method_and_a_method_again(window, page):
    """Without a method the tables are empty; chosen again, it is there."""
    window.window(1366)
    window.open(page)
    boxes = "document.querySelectorAll('#methods input')"
    window.run(f"for (const box of {boxes}) box.click()")
    browser.until(window, "document.querySelector('#yields').innerText === ''")
    assert "at least one method" in window.run("return document.querySelector('#status').textContent")
    window.run(f"{boxes}[0].click()")
    browser.until(window, "document.querySelector('#yields').innerText.includes('standard')")
    assert window.errors() == []


def test_without_scripts_there_is_a_figure_and_a_table(window, page):
    """The numbers of every fleet in a table."""
    window.window(390)
    window.scripts(False)
    try:
        window.open(page)
        document = window.devtools("DOM.getDocument", {"depth": 1})["root"]["nodeId"]
        table = window.devtools("DOM.querySelectorAll", {"nodeId": document, "selector": "noscript tr"})["nodeIds"]
        images = window.devtools("DOM.querySelectorAll", {"nodeId": document, "selector": "noscript img"})["nodeIds"]
    finally:
        window.scripts(True)
    assert len(table) == 2 + len(records()) and len(images) == 1  # two tables, with a head each


def test_axe_finds_nothing_serious(window, page, tmp_path_factory):
    """In the explorer and in the report of the demo, light and dark, on a phone and on a desk."""
    if not check_pages.AXE.exists():
        pytest.skip("no axe-core here (`make browser` gets it)")
    report = (quick(tmp_path_factory)[0] / "report.html").as_uri()
    for url in (page, report):
        for width in (390, 1366):
            for dark in (False, True):
                window.window(width, dark=dark)
                window.open(url)
                window.run(check_pages.AXE.read_text(encoding="utf-8"))
                assert window.run(check_pages.SERIOUS) == [], (url, width, dark)


@pytest.mark.parametrize("width", [390, 1366])
def test_the_report_of_the_demo_opens(width, window, tmp_path_factory):
    """No error, nothing wider than the window, and what scrolls is reached by Tab."""
    window.window(width, dark=True)
    window.errors()
    window.open((quick(tmp_path_factory)[0] / "report.html").as_uri())
    assert window.errors() == [] and window.run("return document.documentElement.scrollWidth") <= width
    scrolling = "[...document.querySelectorAll('.scroll')].filter((box) => box.scrollWidth > box.clientWidth + 1)"
    assert window.run(f"return {scrolling}.every((box) => box.tabIndex === 0 && box.ariaLabel)")


@pytest.mark.skipif(not (BUILT / "index.html").exists(), reason="the documentation is not built (`make docs`)")
def test_a_sample_of_the_documentation():
    """No error in the console, no foreign request, nothing wider than the window, no serious finding."""
    assert check_pages.examine([page for page in SAMPLE if (BUILT / page).exists()]) == []


def test_the_check_sees_what_is_wrong(tmp_path, monkeypatch):
    """A page with an error, an overflow and, where axe is, an image without words."""
    (tmp_path / "bad.html").write_text(
        "<title>t</title><div style='width:3000px'>x</div><img src='data:,'><script>missing()</script>"
    )
    monkeypatch.setattr(check_pages, "BUILT", tmp_path)
    found = "\n".join(check_pages.examine(["bad.html"]))
    assert "missing is not defined" in found and "wider than the window" in found
    assert "image-alt" in found or not check_pages.AXE.exists()
