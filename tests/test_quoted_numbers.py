"""Every measured number in README and on the pages is that of its source (docs/quoted.py)."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from benchmarks.floor_study import MARK, summary

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture
def quoted(monkeypatch):
    """The module that looks numbers up."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    return importlib.import_module("quoted")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_quoted_numbers_are_those_of_their_sources(quoted, path):
    """``python docs/quoted.py --write`` mends what fails here."""
    assert list(quoted.differences(path)) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_measured_accuracy_has_a_source(quoted, path):
    """A number written .896 is followed by its source, or stands in a table that has one; settings are written 0.9."""
    assert quoted.unsourced(path.read_text(encoding="utf-8")) == []


def test_a_wrong_number_is_found_and_mended(quoted):
    """Digits, signs, points and commas, by sources read by hand from committed files."""
    main_job = ".97<!-- main_job.md / adversarial / nominal --> and 9<!-- main_job.md / adversarial / nominal × 100 -->"
    assert quoted.mended(main_job.replace(".97<", ".971<")).startswith(".973<!--")
    assert quoted.mended(main_job).startswith(".97<!--") and " 97<!--" in quoted.mended(main_job)
    counted = "1,000<!-- rare_study.json / counted -->, 0<!-- rare_study.json / rows / min failures -->"
    assert quoted.mended(counted).replace("<!-- ", "").startswith("60,000") and " 31<!--" in quoted.mended(counted)
    assert quoted.written(-0.0214, "+1.0") == "−0.0" and quoted.written(0.05, "+1.00") == "+0.05"


def test_a_table_is_made_from_its_rows_and_its_columns(quoted):
    """Mean of three seeds with the lowest and the highest; one number where all are the same."""
    text = "<!-- table / ecg / nominal test / strong 0.1 -->\n| a | b | c |\n|---|---|---|\n| `standard` | x | x |\n"
    assert quoted.mended(text).splitlines()[-1] == "| `standard` | .975 (.970–.979) | .500 |"


def test_a_number_without_a_source_is_found(quoted):
    """Code, settings and numbers with a source are not meant."""
    text = "a .896 and `.897` and 0.5 and .5 and .898<!-- main_job.md / standard / nominal -->\n```\n.899\n```\n"
    assert quoted.unsourced(text) == [".896"]


def test_the_page_of_the_floor_study_has_the_tables_of_its_results():
    """Its tables are made from its raw data."""
    raw = RESULTS / "floor_study.json"
    page = raw.with_suffix(".md").read_text(encoding="utf-8")
    assert page.partition(MARK)[2].strip() == summary(json.loads(raw.read_text(encoding="utf-8"))).strip()
