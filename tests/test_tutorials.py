"""The tutorials: each runs small in a kernel, has the parts of its kind, and its notebooks are those of its source."""

from __future__ import annotations

import copy
import json
import os
import re
import resource
import subprocess
import sys
from importlib import metadata

import nbformat
import pytest
from demo_run import cli
from pages import ROOT

from neurorobust._util import shipped

sys.path.append(str(ROOT / "docs"))

import notebook_runs
import notebooks
from notebooks import Tutorial

TUTORIALS = notebooks.all_tutorials()
SECONDS = 60
"""Of one core that a small run may take. Not of the clock: the tests run beside others. Aim for 20."""
INSTALL = re.compile(r"^# %pip install", re.MULTILINE)
SIZE = 'SMALL = os.environ.get("NEUROROBUST_TUTORIAL") == "small"'
LIMITS, OWN = "## What this does not show", "## Now with your own "
QUOTED = re.compile(r"```.*?```|~~~.*?~~~|`[^`]*`|\[[^\]]*\]\([^)]*\)|https?://\S+|\$[^$]*\$", re.DOTALL)
RESULT = re.compile(r"(?<![\w.])(0?\.\d+|\d+(\.\d+)?\s?%|\d+(\.\d+)?\s?×(?!\s?\d))")


def each(tutorials=TUTORIALS):
    return pytest.mark.parametrize("tutorial", tutorials, ids=lambda one: one.name)


def tagged(notebook, tag):
    return [cell for cell in notebook.cells if tag in cell.metadata.get("tags", [])]


def typed(notebook):
    """Numbers that look like results in the text after the first cell.

    Such a number is a decimal below 1, a percentage or a factor that no code of the tutorial has: what the code has is
    a setting. Other settings, and numbers of a paper, stand in backticks; results come from ``Markdown(f"…")``. Code,
    formulas and links in the text are not looked at.
    """
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    settings = {round(float(number), 9) for number in re.findall(r"(?<![\w.])\d*\.?\d+(?:e-?\d+)?", code)}
    texts = [QUOTED.sub(" ", cell.source) for cell in notebook.cells[1:] if cell.cell_type == "markdown"]
    found = [match[0] for text in texts for match in RESULT.finditer(text)]
    return [text for text in found if not {_value(text), _value(text) / 100} & settings]


def _value(text):
    return round(float(text.rstrip("%×\N{NO-BREAK SPACE} ")), 9)


def faults(tutorial):
    """What the form of a tutorial lacks."""
    cells = tutorial.notebook.cells
    code = [(i, cell.source) for i, cell in enumerate(cells) if cell.cell_type == "code"]
    text = {i: cell.source for i, cell in enumerate(cells) if cell.cell_type == "markdown"}
    install = next((i for i, source in code if INSTALL.search(source)), None)
    size = next((i for i, source in code if SIZE in source), None)
    figure = next((i for i, cell in enumerate(cells) if "figure" in cell.metadata.get("tags", [])), None)
    limits = next((i for i, source in text.items() if LIMITS in source), None)
    own = next((i for i, source in text.items() if OWN in source), None)
    parts = {"install": install, "size": size, "figure": figure, LIMITS: limits, OWN: own}
    found = [f"no {name}" for name, place in parts.items() if place is None]
    places = [place for place in parts.values() if place is not None]
    if places != sorted(places):
        found.append(f"parts in another order: {parts}")
    if len(tagged(tutorial.notebook, "figure")) > 1:
        found.append("more than one cell with the tag 'figure'")
    if limits is not None and len(re.findall(r"^[-*] ", text[limits], re.MULTILINE)) < 2:
        found.append(f"fewer than two points below {LIMITS!r}")
    if own is not None and "```python" not in text[own] and not any(i > own for i, _ in code):
        found.append(f"no code below {OWN!r}")
    if sum(source.count("assert ") for _, source in code) < 2:
        found.append("fewer than two asserts")
    if not any("Markdown(" in source for _, source in code):
        found.append("no sentence with numbers of the run, Markdown(f'…')")
    unknown = {tag for cell in cells for tag in cell.metadata.get("tags", [])} - {"figure", "hide-input"}
    return found + [f"unknown tag {tag!r}" for tag in sorted(unknown)]


def test_there_are_tutorials():
    """Each with a number of its own; nothing else is in the folder."""
    assert TUTORIALS
    numbers = [tutorial.facts.number for tutorial in TUTORIALS]
    assert len(set(numbers)) == len(numbers) and numbers == sorted(numbers)
    other = {path.name for path in notebooks.SOURCES.iterdir()} - {"README.md", "__pycache__", ".ipynb_checkpoints"}
    assert other == {path.name for one in TUTORIALS for path in (one.source, one.stripped)}


@each()
def test_it_has_its_parts(tutorial):
    """Title, question, minutes and data; install; size; one figure; what it does not show; your own network."""
    assert tutorial.facts.question.endswith("?") and tutorial.facts.minutes <= 10 and tutorial.facts.data
    assert faults(tutorial) == []


@each()
def test_no_result_is_typed(tutorial):
    """Results in the text come from the run."""
    assert typed(tutorial.notebook) == []


@each()
def test_the_pair_is_whole(tutorial):
    """The notebook beside the source has the same cells, no outputs and stable ids: python docs/notebooks.py --pair."""
    kept = tutorial.stripped.read_text(encoding="utf-8")
    assert kept == notebooks.written(tutorial.notebook), "run: python docs/notebooks.py --pair"
    notebook = nbformat.reads(kept, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if "outputs" in cell)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


def test_the_list_is_that_of_the_files():
    """tutorials/README.md, made by --pair."""
    kept = (notebooks.SOURCES / "README.md").read_text(encoding="utf-8")
    assert kept == notebooks.readme(TUTORIALS), "run: python docs/notebooks.py --pair"


@each([tutorial for tutorial in TUTORIALS if tutorial.executed.exists()])
def test_the_executed_notebook_fits(tutorial):
    """Same cells as the source, all executed in order without an error, small enough, with a picture."""
    executed = tutorial.read_executed()
    assert executed.metadata["neurorobust"]["source_sha256"] == tutorial.digest, "run: make tutorials"
    shown = [(cell.cell_type, cell.source, cell.id, cell.metadata) for cell in executed.cells]
    wanted = [(cell.cell_type, cell.source, cell.id, cell.metadata) for cell in tutorial.notebook.cells]
    assert shown == wanted
    code = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert outputs and not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert tutorial.executed.stat().st_size <= notebook_runs.LARGEST
    assert tutorial.thumbnail.stat().st_size <= notebook_runs.THUMBNAIL
    assert notebook_runs.figure_of(tutorial.name, executed).startswith(b"\x89PNG")


def test_no_executed_notebook_is_left_over():
    """Notebooks and pictures of tutorials that are gone."""
    names = {tutorial.name for tutorial in TUTORIALS}
    assert {path.stem for path in notebooks.EXECUTED.rglob("*.*")} <= names


@each()
def test_it_runs_small(tutorial, tmp_path):
    """In a kernel of its own, in another process: warnings of Jupyter are not ours. Each cell has a time limit, too."""
    command = [sys.executable, str(ROOT / "docs/notebooks.py"), tutorial.name, "--small", str(tmp_path)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ran.returncode == 0, ran.stderr
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used <= SECONDS, f"{tutorial.name}: the small run took {used:.0f} s of a core; make its small sizes smaller."
    done = nbformat.read(tmp_path / f"{tutorial.name}.ipynb", as_version=4)
    assert notebook_runs.figure_of(tutorial.name, done).startswith(b"\x89PNG")
    notebook_runs.check_size(tutorial.name, notebooks.written(done))
    hidden = tagged(done, "hide-input")
    assert hidden and all(any("text/markdown" in o.get("data", {}) for o in cell.outputs) for cell in hidden)


# ---- the machinery


FIRST = (
    "# # 3 · A: title\n#\n# What\n# is it?\n#\n# Minutes: 4 on two cores. Data: X 2.0 (`pip install x==1`). Needs: b."
)


def source(tmp_path, *cells, first=FIRST):
    """A tutorial in a temporary folder."""
    path = tmp_path / "03_made_up.py"
    path.write_text(f"{notebooks.HEADER}\n# %% [markdown]\n{first}\n" + "".join(f"\n# %%{cell}\n" for cell in cells))
    return Tutorial(path)


def test_facts_of_the_first_cell(tmp_path):
    """Read as written, without the install command; another form is refused."""
    assert source(tmp_path).facts == notebooks.Facts(3, "A: title", "What is it?", 4, "X 2.0", "b")
    for old, new in (("3 ·", "4 ·"), ("# # 3", "# 3"), ("Minutes: 4", "Minutes: four"), ("Needs:", "Need:")):
        with pytest.raises(ValueError, match=r"03_made_up\.py: the first cell begins .*expected"):
            _ = source(tmp_path, first=FIRST.replace(old, new)).facts


def test_a_pair_again_gives_the_same_bytes(tmp_path):
    """Two cells of the same text have different ids, and a change of one cell changes its id only."""
    one = source(tmp_path, "\nx = 1", "\nx = 1", " [markdown]\n# text", "\n# %pip install a")
    text = notebooks.written(one.notebook)
    assert text == notebooks.written(Tutorial(one.source).notebook)
    ids = [cell.id for cell in one.notebook.cells]
    assert len(set(ids)) == 5 and one.notebook.cells[-1].source == "# %pip install a"
    other = source(tmp_path, "\nx = 1", "\nx = 1", " [markdown]\n# other text", "\n# %pip install a")
    changed = [a != b for a, b in zip(ids, (cell.id for cell in other.notebook.cells), strict=True)]
    assert changed == [False, False, False, True, False]


def test_typed_results_are_found(tmp_path):
    """Decimals below 1, percentages and factors in text; not what the code has, backticks, links or formulas."""
    texts = ("It reaches .93, 0.5, 12 % and 3.1×.", "`0.3`, $0.1$, [x](a.b/0.5), arXiv 2106.05009, 16×16")
    cells = [f" [markdown]\n# {text}" for text in texts]
    assert typed(source(tmp_path, *cells).notebook) == [".93", "0.5", "12 %", "3.1×"]
    assert typed(source(tmp_path, *cells, "\nf(0.5, share=0.12)").notebook) == [".93", "3.1×"]


def test_missing_parts_are_found(tmp_path):
    """An empty tutorial lacks everything; the two ends in the other order are named."""
    assert len(faults(source(tmp_path))) == 7
    cells = [f" [markdown]\n# {OWN}network\n# ```python\n# ```", f" [markdown]\n# {LIMITS}\n#\n# - a\n# - b"]
    found = faults(source(tmp_path, *cells, ' tags=["fig"]\n1'))
    assert any("another order" in fault for fault in found) and "unknown tag 'fig'" in found


def executed(tutorial, **changed):
    """An executed notebook of a made-up tutorial, all of whose code cells show one output."""
    done = copy.deepcopy(notebooks.page(tutorial))
    done.cells = [cell for cell in done.cells if cell.id != "downloads"]
    for count, cell in enumerate((cell for cell in done.cells if cell.cell_type == "code"), start=1):
        entry = {"output_type": "stream", "name": "stdout", "text": f"{count}"} | changed
        cell.outputs, cell.execution_count = [nbformat.from_dict(entry)], count
    return nbformat.from_dict(done)


def test_what_is_kept_of_a_run(tmp_path):
    """Folders of the machine, times and versions go; another path and words on stderr are refused."""
    tutorial = source(tmp_path, "\n1")
    done = executed(tutorial, text="in /tmp/x/work/a.json and /tmp/x/work, ok")
    done.cells[1].metadata["execution"] = {"iopub.status.busy": "2026"}
    kept = notebook_runs.cleaned("03", done, ("/tmp/x/work/", "/tmp/x/"))
    assert kept.cells[1].outputs[0].text == "in a.json and ., ok" and not kept.cells[1].metadata
    with pytest.raises(ValueError, match=r"03: cell 2 shows the path"):
        notebook_runs.cleaned("03", executed(tutorial, text=f"{sys.prefix}/lib"), ())
    with pytest.raises(ValueError, match=r"03: cell 2 wrote to stderr: 'UserWarning"):
        notebook_runs.cleaned("03", executed(tutorial, name="stderr", text="UserWarning: x"), ())


def test_results_are_kept_when_only_text_changes(tmp_path):
    """The new text with the old results; the same number of code cells is needed."""
    old = executed(source(tmp_path, " [markdown]\n# old", "\n1"))
    kept = notebook_runs.with_outputs(source(tmp_path, " [markdown]\n# new", "\n1").notebook, old)
    assert [cell.source for cell in kept.cells[1:]] == ["new", "1"] and kept.cells[2].outputs == old.cells[2].outputs
    with pytest.raises(ValueError, match="zip"):
        notebook_runs.with_outputs(source(tmp_path, "\n1", "\n2").notebook, old)


def test_a_notebook_that_is_too_large_is_refused():
    with pytest.raises(ValueError, match=r"03: the executed notebook has 250,001 bytes; at most 250,000"):
        notebook_runs.check_size("03", "x" * 250_001)
    notebook_runs.check_size("03", "x" * 250_000)


def test_a_page_says_what_it_lacks(tmp_path, monkeypatch):
    """Without a run, with an old one, and with one that fits; downloads of what exists."""
    monkeypatch.setattr(notebooks, "EXECUTED", tmp_path)
    tutorial = source(tmp_path, "\n1")
    head = notebooks.page(tutorial).cells[1].source
    assert "no results yet" in head and "../../tutorials/03_made_up.py" in head and "with results" not in head
    done = executed(tutorial)
    done.metadata["neurorobust"] = {"source_sha256": "old"}
    tutorial.executed.write_text(notebooks.written(done))
    assert "has changed since" in notebooks.page(tutorial).cells[1].source
    assert notebooks.page(tutorial).cells[2].outputs == []
    done.metadata["neurorobust"] = {"source_sha256": tutorial.digest}
    tutorial.executed.write_text(notebooks.written(done))
    shown = notebooks.page(tutorial)
    assert "warning" not in shown.cells[1].source and "<../tutorials/03_made_up.ipynb>" in shown.cells[1].source
    assert shown.cells[2].outputs == done.cells[1].outputs


def test_tutorials_are_chosen_by_their_beginning():
    with pytest.raises(ValueError, match=r"tutorial: '99' does not exist; choose from \d\d_"):
        notebooks.chosen(["99"], TUTORIALS)
    assert notebooks.chosen([TUTORIALS[-1].name[:2]], TUTORIALS) == [TUTORIALS[-1]]
    assert notebooks.chosen([], TUTORIALS) == TUTORIALS


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import sys; print('careful', file=sys.stderr)", "wrote to stderr: 'careful'"),
        ("import time; time.sleep(60)", "a cell took more than 1 s"),
    ],
)
def test_a_run_that_fails_says_why(code, words, tmp_path):
    """In another process: an error, a warning and a cell that hangs."""
    tutorial = source(tmp_path, f"\n{code}")
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'docs')!r})\n"
        "import notebook_runs, notebooks; from pathlib import Path\n"
        "notebook_runs.SECONDS[True] = 1 if 'sleep' in sys.argv[2] else 60\n"
        "notebook_runs.run('03', notebooks.Tutorial(Path(sys.argv[1])).notebook, True, print)\n"
    )
    command = [sys.executable, "-c", script, str(tutorial.source), code]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 1 and "ValueError: 03: " in ran.stderr and words in ran.stderr, ran.stderr


# ---- neurorobust tutorials DIR


def test_the_command_copies_and_does_not_overwrite(tmp_path):
    """All files; again nothing; a changed file stops it before anything is written."""
    wanted = [*sorted(path.name for one in TUTORIALS for path in (one.source, one.stripped)), "README.md"]
    folder = tmp_path / "mine"
    found = json.loads(cli("tutorials", folder, "--json").out)
    assert found == {"folder": str(folder), "written": wanted, "unchanged": []}
    assert all((folder / name).read_bytes() == (notebooks.SOURCES / name).read_bytes() for name in wanted)
    assert json.loads(cli("tutorials", folder, "--json").out)["unchanged"] == wanted
    (folder / wanted[0]).unlink()
    (folder / wanted[1]).write_text("mine")
    ran = cli("tutorials", folder)
    assert (ran.code, ran.out, len(ran.err.splitlines())) == (2, "", 1)
    assert f"{folder / wanted[1]}: differs" in ran.err and "Nothing was written" in ran.err
    assert not (folder / wanted[0]).exists() and (folder / wanted[1]).read_text() == "mine"
    (folder / wanted[1]).unlink()
    assert f"{folder}: 2 files written, {len(wanted) - 2} were there" in " ".join(cli("tutorials", folder).err.split())


def test_an_installed_package_has_its_tutorials(tmp_path, monkeypatch):
    """Those that a wheel put below share/; one clear line where there are none."""
    site = tmp_path / "lib/site-packages"
    info = site / "neurorobust-1.dist-info"
    info.mkdir(parents=True)
    share = tmp_path / shipped.TUTORIALS
    share.mkdir(parents=True)
    (share / "01_x.py").write_text("x = 1")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: neurorobust\nVersion: 1\n")
    (info / "RECORD").write_text("neurorobust/__init__.py,,\n../../share/neurorobust/tutorials/01_x.py,,\n")
    monkeypatch.setattr(shipped, "REPOSITORY", site)
    monkeypatch.setattr(metadata, "files", lambda name: metadata.PathDistribution(info).files)
    assert [path.resolve() for path in shipped.tutorial_files()] == [(share / "01_x.py").resolve()]
    (info / "RECORD").write_text("neurorobust/__init__.py,,\n")
    with pytest.raises(FileNotFoundError, match="tutorials: this installation has none; install neurorobust again"):
        shipped.tutorial_files()


def test_the_wheel_takes_every_tutorial():
    """The patterns of setup.cfg match each file."""
    text = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    patterns = re.search(rf"^{shipped.TUTORIALS} =\n((?:    \S+\n)+)", text, re.MULTILINE)[1].split()
    matched = {path for pattern in patterns for path in ROOT.glob(pattern)}
    assert (
        matched
        == {path for one in TUTORIALS for path in (one.source, one.stripped)} | {notebooks.SOURCES / "README.md"}
        == set(shipped.tutorial_files())
    )
