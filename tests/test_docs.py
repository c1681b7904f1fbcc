"""The documentation: its examples run, and what is generated says what the code says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import snntorch
import torch
import typer
from demo_run import few_beats
from matplotlib import pyplot
from pages import ROOT, blocks

import benchmarks.robustness.measurements  # noqa: F401  (imported, so that the fixture ``site`` finds it)
import chipmodels
import neurorobust
import neurorobust as nr
from neurorobust import kernels
from neurorobust.cli import app
from neurorobust.core.params import ABSOLUTE, DIGITAL, KINDS, POSITIVE, SIGNED

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def run(code: str, name: str, namespace: dict) -> None:
    """Run an example in the names its page has so far; one with ``>>>`` has to print what it shows."""
    if not code.startswith(">>>"):
        exec(compile(code, name, "exec"), namespace)
        return
    test = doctest.DocTestParser().get_doctest(code, namespace, name, name, 0)
    report: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append, clear_globs=False)
    namespace.update(test.globs)  # the next block needs what this one defined
    assert not report, "".join(report)


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder whose modules are found as if they lay in the packages; gone afterwards, and so are they."""

    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in ("neurorobust", "chipmodels", "benchmarks") and hasattr(module, "__path__"):
            monkeypatch.setattr(module, "__path__", [*module.__path__, str(tmp_path / name.replace(".", "/"))])
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if Path(getattr(module, "__file__", None) or "/").is_relative_to(tmp_path):
            parent, _, child = name.rpartition(".")
            delattr(sys.modules[parent], child)
            del sys.modules[name]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if blocks(page.read_text(encoding="utf-8"))], ids=lambda page: page.stem
)
def test_every_example_of_a_page_runs(page, site):
    """The Python blocks of each page, in order, in one namespace; files are written where their captions say."""
    namespace: dict = {"__name__": "__main__"}
    with torch.random.fork_rng():
        for path, code in blocks(page.read_text(encoding="utf-8")):
            if path is None:
                run(code, page.name, namespace)
            else:
                (site / path).parent.mkdir(parents=True, exist_ok=True)
                (site / path).write_text(code, encoding="utf-8")
                importlib.invalidate_caches()
    assert len(namespace) > 2


def test_the_examples_of_the_readme_run(tmp_path, monkeypatch):
    """README's examples as they stand, made small: fewer neurons, epochs, dies and beats."""
    monkeypatch.chdir(tmp_path)
    code = "\n".join(code for _, code in blocks((ROOT / "README.md").read_text(encoding="utf-8")))
    small = {
        "128": "4",
        "epochs=40": "epochs=1",
        "n_dies=100": "n_dies=2",
        "nr.tasks.ecg()": "few(nr.tasks.ecg())",
        "balanced(50), serials=range(5)": "balanced(4), serials=range(2)",
    }
    for long, short in small.items():
        assert long in code, f"README.md: {long!r} is not there; change this test with it"
        code = code.replace(long, short)

    def few(task):
        return replace(task, train=task.train.first(50), validation=task.validation.first(50), test=task.test.first(50))

    namespace = {"few": few}
    exec(compile(code, "README.md", "exec"), namespace)
    assert 0 <= namespace["worst"].balanced_accuracy <= namespace["worst"].nominal
    assert nr.deploy.load("net.json", namespace["chip"]).source == namespace["deployment"].source


@pytest.mark.parametrize(
    "name", [m.name for m in pkgutil.walk_packages(neurorobust.__path__, "neurorobust.")] + ["chipmodels"]
)
def test_examples_in_docstrings_print_what_they_show(name):
    """Every ``>>>`` in a docstring of the package; torch, nn, snntorch and nr need no import in them."""
    usual = {"torch": torch, "nn": torch.nn, "snntorch": snntorch, "nr": neurorobust}
    with torch.random.fork_rng():
        result = doctest.testmod(importlib.import_module(name), extraglobs=usual, optionflags=FLAGS)
    assert result.failed == 0
    pyplot.close("all")


def test_the_table_of_kinds_is_the_code_s():
    """concepts.md lists every kind once, with the family that params.py gives it."""
    page = (DOCS / "concepts.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|.*\| (\w+) \| \S", page, re.MULTILINE)
    families = {"signed": SIGNED, "absolute": ABSOLUTE, "positive": POSITIVE, "digital": DIGITAL}
    assert sorted(kind for kind, _ in rows) == sorted(KINDS | DIGITAL)
    assert {family: {kind for kind, its in rows if its == family} for family in families} == families


@pytest.mark.parametrize("path", [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES], ids=lambda path: path.stem)
def test_links_to_files_lead_somewhere(path):
    """Relative links of README, CONTRIBUTING and the pages; what the build generates is left to Sphinx."""
    links = re.findall(r"\]\(([^)#:\s]+)[^)]*\)", path.read_text(encoding="utf-8"))
    links = [link for link in links if not link.startswith(("api/", "chips/", "http"))]
    links = [re.sub("^tutorial/", "../tutorials/", link) for link in links]  # the pages that are made of them
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.fixture
def generate(monkeypatch):
    """The module that makes pages from the code, imported the way Sphinx does."""
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module("generate")


def test_the_diagram_shows_exactly_what_may_be_imported(generate):
    """Arrows of the drawing, followed to their ends, give the import table; none of them follows from others."""
    reach = generate.reach()
    drawn = re.findall(r'data-from="(\w+)" data-to="(\w+)"', generate.diagram())
    assert {part for part in reach if f">{part}</text>" in generate.diagram()} == set(reach)
    assert closure(drawn, reach) == {part: set(below) for part, below in reach.items()}
    for arrow in drawn:
        assert closure([other for other in drawn if other != arrow], reach) != closure(drawn, reach)


def closure(arrows: list[tuple[str, str]], parts) -> dict[str, set[str]]:
    """All that can be reached along arrows from each part."""
    found: dict[str, set[str]] = {part: set() for part in parts}
    for _ in parts:
        for one, other in arrows:
            found[one] |= {other} | found[other]
    return found


def test_no_box_of_the_diagram_lies_on_another(generate):
    """Any two boxes are apart, and all lie inside the drawing."""
    drawing = generate.diagram()
    number = r"([\d.]+)"
    boxes = [
        tuple(map(float, box))
        for box in re.findall(rf'<rect x="{number}" y="{number}" width="{number}" height="{number}"', drawing)
    ]
    width, height = map(float, re.search(rf'viewBox="0 0 {number} {number}"', drawing).groups())
    assert len(boxes) == len(generate.reach())
    for i, (x, y, w, h) in enumerate(boxes):
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height
        for x2, y2, w2, h2 in boxes[:i]:
            assert x + w <= x2 or x2 + w2 <= x or y + h <= y2 or y2 + h2 <= y


def test_every_number_of_a_chip_is_shown_with_its_source(generate):
    """The page of dynapse2 against numbers read off the model by hand, and every source in the model's own text."""
    chip = chipmodels.load("dynapse2")
    shown = generate.chip_pages.page(chip, {})
    rows = {path: (value, status, source) for path, value, status, source in nr.chip.numbers(chip)}
    assert rows["kinds.weight.cv"] == ("0.099 at 5.6e-09", "measured", chip.kinds["weight"].cv.source)
    assert rows["kinds.tau_mem.range"] == ("7.7e-08 to 0.353", "coded", chip.kinds["tau_mem"].range.source)
    assert rows["limits.fan_in"] == ("64", "coded", chip.limits.source)
    assert rows["kinds.weight.encoding.largest"] == ("8e-09", "coded", chip.kinds["weight"].encoding.largest.source)
    assert f"| `weight`: spread (CV) | 9.9 % at 5.6 nA | measured | {chip.kinds['weight'].cv.source} |" in shown
    assert f"| `tau_mem`: range | 77 ns to 353 ms | coded | {chip.kinds['tau_mem'].range.source} |" in shown
    sources = re.findall(r"source='([^']*)'", repr(chip)) + re.findall(r'source="([^"]*)"', repr(chip))
    assert len(sources) >= 10
    assert [source for source in sources if source not in shown] == []
    assert all(note in shown for note in chip.notes)


@pytest.mark.parametrize("name", chipmodels.models())
def test_the_page_of_a_chip_has_no_python_in_its_tables(generate, name):
    """Laws and encodings are words: no name of a class, no argument; every kind is there once."""
    shown = generate.chip_pages.page(chipmodels.load(name), {})
    section = shown.partition("## What deviates")[2].partition("\n## ")[0]
    assert re.findall(r"\w+\(\w+=", section) == []
    kinds = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert kinds == list(chipmodels.load(name).kinds)


def test_every_command_and_option_is_shown(generate):
    """The command line page against typer's own list of commands and options."""
    shown = generate.commands(app)
    names = generate.command_names(app)
    assert {(), ("demo",), ("train",), ("chips", "list")} <= set(names)
    command = typer.main.get_command(app)
    for words in names:
        inner = command
        for word in words:
            inner = inner.commands[word]
        section = shown.split(f"## {' '.join(['neurorobust', *words])}\n")[1].split("\n## ")[0]
        options = [option for parameter in inner.params for option in parameter.opts if option.startswith("--")]
        assert [option for option in options if option not in section] == []
        assert "\x1b" not in section


def test_every_part_has_a_page_of_reference(generate):
    """Nothing in the package is missing from the index, wherever it was put."""
    index = generate.api_index()
    own = generate.OWN_PAGE
    missing = [part for part in generate.parts() if part not in own and f"\n   {part}\n" not in index + "\n"]
    assert missing == []
    assert all(f"<neurorobust.{name}>`" in index for name in neurorobust.__all__)


def test_a_page_that_is_no_more_is_removed(generate, tmp_path):
    """A second build removes what the first wrote for a part that has gone, and touches nothing that is the same."""
    generate.write_all(tmp_path)
    (tmp_path / "api/gone.rst").write_text("x")
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    generate.write_all(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")} == {
        path: stamp for path, stamp in stamps.items() if path.name != "gone.rst"
    }


def test_the_runner_sees_an_example_that_is_wrong():
    """The examples' runner itself: wrong output, an error and a block of another language."""
    text = "```python\n>>> 1 + 1\n3\n```\n\n```python\n1 / 0\n```\n\n```text\nno code\n```\n"
    (_, wrong), (_, broken) = blocks(text)
    with pytest.raises(AssertionError, match="Got:"):
        run(wrong, "x", {})
    with pytest.raises(ZeroDivisionError):
        run(broken, "x", {})
    namespace = {"torch": torch}
    run(">>> a = torch.ones(1)\n", "x", namespace)
    assert namespace["a"].item() == 1


def test_constants_are_described_by_their_own_words(generate):
    """``nr.HOST`` is not described by the docstring of ``int``."""
    assert "computed on the host" in generate.api_index() and "int([x])" not in generate.api_index()


def test_dead_links_are_found(monkeypatch, tmp_path):
    """The checker of built pages: a page, a file and an anchor that are not there, and those that are."""
    monkeypatch.syspath_prepend(str(DOCS))
    check = importlib.import_module("check_links")
    (tmp_path / "api").mkdir()
    links = "".join(f'<a href="{link}">x</a>' for link in ("#here", "api/b.html#x", "c.html"))
    (tmp_path / "a.html").write_text(f'<p id="here">{links}')
    (tmp_path / "api/b.html").write_text(
        '<a href="../a.html#gone">4</a><img src="no.png"><a href="https://x.y/z">5</a>'
    )
    assert check.dead_links(tmp_path) == [
        "a.html: api/b.html#x (no such anchor)",
        "a.html: c.html (no such file)",
        "api/b.html: ../a.html#gone (no such anchor)",
        "api/b.html: no.png (no such file)",
    ]


def test_names_imported_on_first_use_are_in_the_reference(generate):
    """``from_snntorch`` is found through the package's ``__getattr__``, which Sphinx does not ask for a list."""
    page = generate.api_page("interop")
    assert ".. autofunction:: neurorobust.interop.from_snntorch\n" in page
    assert ".. autoclass:: neurorobust.interop.SnnTorchNetwork\n" in page


def walk(name: str) -> list[str]:
    """The functions of a walk of the architecture page, as ``file:function``."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").split(f"<!-- walk: {name} -->\n")[1]
    rows = [re.findall("`(.*?)`", line)[:2] for line in text.split("\n\n")[0].splitlines()[2:]]
    return [":".join(row) for row in rows]


def called(function: Callable[[], object]) -> list[str]:
    """Functions of the package in the order of their first call."""
    folder, order = f"{ROOT / 'neurorobust'}/", {}

    def record(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(folder):
            order[f"{frame.f_code.co_filename.removeprefix(folder)}:{frame.f_code.co_qualname}"] = None

    before = sys.getprofile()
    sys.setprofile(record)
    try:
        function()
    finally:
        sys.setprofile(before)
    return list(order)


@pytest.mark.parametrize("name", ["evaluate", "adversarial"])
def test_a_readers_walk_is_the_way_of_the_call(name):
    """At most twelve files, called in the order of the page."""
    beats = few_beats()
    network = beats.network(n_hidden=4)
    loss = nr.regularizers.Adversarial(beats.loss, nr.attacks.PGA(steps=1), nr.Ball.uniform(0.1), beta=0.4)
    params, batch = dict(network.named_parameters()), (beats.train.x[:4], beats.train.y[:4])
    calls = {
        "evaluate": lambda: nr.evaluate(network, beats.test, nr.mismatch(0.1), n_dies=1),
        "adversarial": lambda: loss(network, params, batch).backward(),
    }
    with kernels.using("compiled"):
        calls[name]()  # compiles
        order, page = called(calls[name]), walk(name)
    assert len(page) <= 12 and len({row.split(":")[0] for row in page}) == len(page)
    assert [row for row in page if row not in order] == []
    assert page == sorted(page, key=order.index)


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem != "changelog"], ids=lambda page: page.stem)
def test_a_page_opens_with_what_it_lets_its_reader_do(page):
    """The first paragraph below the title begins with "Here you"."""
    title, _, rest = page.read_text(encoding="utf-8").partition("\n")
    assert title.startswith("# ") and rest.lstrip().startswith("Here you ")


def test_nobody_is_told_to_install_this_package_by_name():
    """There is none on PyPI; whoever takes the name there would be installed."""
    told = re.compile(r"pip install[^\n#]*\sneurorobust\b|pip install[^\n]*['\"]neurorobust\[")
    files = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "neurorobust").rglob("*.py")]
    files += (ROOT / "tutorials").glob("*.py")
    assert [path.name for path in files if told.search(path.read_text(encoding="utf-8"))] == []
