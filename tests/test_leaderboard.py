"""The leaderboard of the results page: one suite, and the numbers of the committed study."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess

import numpy as np
import pytest
from pages import ROOT


@pytest.fixture
def board(monkeypatch):
    """The module that makes the table."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    return importlib.import_module("leaderboard")


def test_all_attacks_are_of_one_suite(board):
    """Else the rows could not be compared."""
    assert board.suites() == {"strong-1+floor-1"}


def test_the_cells_are_those_of_the_study(board):
    """Every cell against the table of the study's own page, which another function made."""
    rows = {line.split("`")[1]: line for line in board.leaderboard().splitlines() if line.startswith("| `")}
    assert list(rows) == list(board.METHODS)
    study = (ROOT / "benchmarks/results/floor_study.md").read_text(encoding="utf-8")
    for method, row in rows.items():
        found = [cell.strip() for cell in row.strip("|").split("|")]
        as_it_stands = [line for line in study.splitlines() if line.startswith(f"| {method} | 3 |")]
        first, trimmed, attacked = ([cell.strip() for cell in line.strip("|").split("|")] for line in as_it_stands)
        theirs = [first[2], first[4], first[5], first[6], trimmed[7], attacked[3]]
        assert found[1:] == [cell.replace("[", "(").replace("]", ")").replace(", ", "–") for cell in theirs]


def test_a_missing_seed_is_refused(board, tmp_path):
    """A range over two seeds is not one over three."""
    record = json.loads(board.STUDY.read_text(encoding="utf-8"))
    del record["awp-1"]
    path = tmp_path / "study.json"
    path.write_text(json.dumps(record))
    with pytest.raises(KeyError, match="awp-1"):
        board.leaderboard(path)


def test_a_cell_has_its_range(board):
    """Mean, lowest and highest; one number where all are the same to three digits."""
    assert board.cell([0.9, 0.95, 1.0]) == ".950 (.900–1.000)"
    assert board.cell([0.5, 0.5001, float(np.nextafter(0.5, 0))]) == ".500"


PAGE = """<meta charset="utf-8"><div class="sortable"><table><thead><tr><th>training</th><th>score</th></tr></thead>
<tbody><tr><td>b</td><td>.5 (.4–.6)</td></tr><tr><td>a</td><td>.958</td></tr><tr><td>c</td><td>.71</td></tr></tbody>
</table></div><script src="SORT"></script><script>
addEventListener("load", () => {
  const heads = [...document.querySelectorAll("th")], said = [];
  for (const i of [1, 1, 0]) {
    heads[i].querySelector("button").click();
    said.push([...document.querySelectorAll("td:first-child")].map((cell) => cell.textContent).join(""));
    said.push(heads.map((head) => head.getAttribute("aria-sort")).join());
  }
  said.push(document.querySelector("[aria-live]").textContent);
  document.title = said.join("|");
});</script>"""


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed")
def test_the_table_sorts_by_its_buttons(tmp_path):
    """Downwards, then upwards; text by the alphabet; the order is said to those who cannot see it."""
    page = tmp_path / "page.html"
    page.write_text(PAGE.replace("SORT", str(ROOT / "docs/_static/sort.js")), encoding="utf-8")
    options = ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}")
    command = ["chromium", *options, "--virtual-time-budget=4000", "--dump-dom", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert "<title>acb|,descending|bca|,ascending|cba|descending,|Sorted by training, highest first.</title>" in shown
