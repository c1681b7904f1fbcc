"""Cards of the zoo: the commands, and the page of the documentation, against the files and the committed results."""

from __future__ import annotations

import importlib
import json

import pytest
from pages import ROOT
from typer.testing import CliRunner

import neurorobust as nr
from neurorobust.cli import app
from neurorobust.io import zoo


def run(*words: str):
    """A command of `zoo`, on a wide terminal."""
    return CliRunner().invoke(app, ["zoo", *words], env={"COLUMNS": "300"})


def test_a_card_is_what_the_network_is():
    """Counts by hand: 32 inputs, 128 neurons with every connection among them allowed or not, two classes."""
    card = nr.zoo.describe("ecg_dpi/adversarial")
    network, info = nr.zoo.load("ecg_dpi/adversarial")
    assert card["info"] == info and card["dt"] == 0.005 and card["neurons"] == 130
    assert card["weights"] == sum(
        int((value != 0).sum()) for key, value in network.named_parameters() if "weight" in key
    )
    assert card["trained"] == 128 * 32 + 128 * 128 + 2 * 128 + 2
    assert (zoo.FOLDER / "ecg_dpi/adversarial/config.json").is_file() and card["folder"].endswith("ecg_dpi/adversarial")
    assert json.loads(json.dumps(card)) == card


def test_the_list_has_every_network():
    """Names and cards; the table for people has a line for each."""
    listed = json.loads(run("list", "--json").stdout)
    assert list(listed) == zoo.names()
    assert listed["keywords/standard"] == zoo.describe("keywords/standard")
    shown = run("list").stdout
    assert [name for name in zoo.names() if name not in shown] == []


def test_the_list_fits_a_terminal_of_80_columns():
    """Every name, chip and number stands whole on one line."""
    shown = CliRunner().invoke(app, ["zoo", "list"], env={"COLUMNS": "80"}).stdout
    assert max(map(len, shown.splitlines())) <= 80 and "…" not in shown
    rows = {line.split("│")[1].strip(): line for line in shown.splitlines() if line.startswith("│")}
    assert list(rows) == zoo.names() and "128 + 2" in rows["ecg_dpi/adversarial"] and "8448" in rows["ecg_dpi/standard"]


def test_one_card_is_shown():
    """The folder, and the line for Python; a name that does not exist is refused."""
    assert json.loads(run("show", "ecg/awp", "--json").stdout) == zoo.describe("ecg/awp")
    shown = run("show", "ecg/awp").stdout
    assert "nr.zoo.load('ecg/awp')" in shown and "256 AdaptiveLif, 2 LeakyIntegrator" in shown
    refused = run("show", "ecg/awb")
    assert isinstance(refused.exception, ValueError) and "Did you mean 'ecg/awp'" in str(refused.exception)


@pytest.fixture
def page(monkeypatch):
    """The module that makes the cards of the documentation."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    return importlib.import_module("zoo_pages")


def test_the_numbers_of_the_page_are_those_of_the_network_of_seed_0(page):
    """Two read by hand from the committed results, one of each study; every network has its number without errors."""
    assert page.numbers(zoo.describe("ecg/standard"))["no error"] == pytest.approx(0.970, abs=5e-4)
    dies = json.loads((ROOT / "benchmarks/results/floor_study.json").read_text())["standard-0"]["dies"]
    found = page.numbers(zoo.describe("ecg_dpi/standard"))
    assert found["no error"] == dies["nominal"] and found["worst of 100"] == min(dies["mismatch"]["as it stands"])
    assert all(page.numbers(zoo.describe(name))["no error"] for name in zoo.names())
    text = page.cards()
    assert [name for name in zoo.names() if f"| `{name}` |" not in text] == []
    assert "`standard`: learning rate 0.01" in text.partition("## ecg\n")[2].partition("\n## ")[0]
