"""`neurorobust chips list | show | compare`, and what they are made of."""

from __future__ import annotations

import json
from itertools import takewhile

import numpy as np
import pytest
from typer.testing import CliRunner

import chipmodels
from neurorobust.chip import differences, draw, draw_model, numbers
from neurorobust.chip.variability import Outliers
from neurorobust.cli import app


def run(*words: str) -> str:
    """The output of a command of `chips`, on a wide terminal."""
    return narrow(*words, columns=400)


def narrow(*words: str, columns: int = 80) -> str:
    result = CliRunner().invoke(app, ["chips", *words], env={"COLUMNS": str(columns)})
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("name", chipmodels.models())
def test_a_card_holds_every_number(name):
    """The JSON has the stated shape, and holds every spread, limit and fact with its status and source."""
    chip, card = chipmodels.load(name), json.loads(run("show", name, "--json"))
    assert (card["name"], card["version"]) == (name, chip.version)
    assert card["time_base"]["speedup"] == chip.time_base.speedup.value
    for kind, model in chip.kinds.items():
        entry = card["parameters"][kind]
        assert (entry["cv"], entry["status"], entry["source"]) == (model.cv.value, model.cv.status, model.cv.source)
    for content, facts in ((card["limits"], chip.limits.facts()), (card["facts"], chip.facts)):
        assert content == {key: {"value": f.value, "status": f.status, "source": f.source} for key, f in facts.items()}
    assert card["notes"] == list(chip.notes)


def test_people_get_a_table():
    """Every known number, its status, and every approximation."""
    chip, shown = chipmodels.load("dynapse2"), run("show", "dynapse2")
    assert "version 2" in shown
    for _, value, status, _ in numbers(chip):
        assert value in shown
        assert status in shown
    assert all(note[:40] in shown for note in chip.notes)


@pytest.mark.parametrize("words", [["list"], ["show", "dynapse2"], ["compare", "dynapse2", "dynapse1"]])
def test_a_narrow_terminal_cuts_nothing_short(words):
    assert "…" not in narrow(*words).replace("dI_mem/dt = …", "")


def test_the_list_names_kinds_with_the_same_number_together():
    """One row for every number, status and source of a chip, with all kinds that have them, however it is folded."""
    lines = [[word.strip() for word in line.split("│")[1:-1]] for line in run("list").splitlines()]
    first = next(i for i, line in enumerate(lines) if line and line[0] == "dynapse1")
    rest = iter(lines[first + 1 :])
    row = [lines[first], *takewhile(lambda line: line and not line[0], rest)]
    assert ["".join(column).replace(" ", "") for column in zip(*row)][:4] == [
        "dynapse1",
        "weight,tau_mem,r,tau_syn,tau_adapt,adaptation,v_threshold,t_ref,bias",
        "0.2",
        "coded",
    ]


def test_two_snapshots_without_a_difference_are_one_sentence(tmp_path):
    file = tmp_path / "old.json"
    run("snapshot", "dynapse2", "--out", str(file))
    assert run("diff", str(file), "dynapse2").strip() == f"{file} and dynapse2: no number differs."
    assert json.loads(run("diff", str(file), "dynapse2", "--json"))["drift"] == {}


def test_chips_are_compared_where_they_differ():
    """Fan-out agrees and is left out; the weights' spread and storage differ; a chip is like itself."""
    payload = json.loads(run("compare", "dynapse2", "dynapse1", "--json"))
    assert payload["weight.cv"] == {"dynapse2": 0.099, "dynapse1": 0.2}
    assert payload["limits.tags"] == {"dynapse2": 2048, "dynapse1": 1024}
    assert "limits.fan_out" not in payload
    assert "weight.cv" in run("compare", "dynapse2", "dynapse1")
    for chip in chipmodels.models().values():
        assert differences(chip, chip) == {}


def test_the_list_has_every_chip():
    """By name, each with its version."""
    listed = json.loads(run("list", "--json"))
    assert {name: entry["version"] for name, entry in listed.items()} == {
        name: chip.version for name, chip in chipmodels.models().items()
    }


@pytest.mark.parametrize("name", ["dynapse2", "xylo", "brainscales2"])
def test_distributions_are_drawn(name, tmp_path):
    """One histogram a kind that varies, of the law's own quantiles: its spread is the stated one, more where there are
    outliers; a chip that does not vary has none."""
    chip = chipmodels.load(name)
    axes = [ax for ax in draw_model(chip).axes if ax.get_title()]
    varying = {kind: model for kind, model in chip.kinds.items() if model.cv.value > 0}
    assert [ax.get_title().partition(":")[0] for ax in axes] == list(varying)
    for ax, model in zip(axes, varying.values()):
        left = np.array([patch.get_x() + patch.get_width() / 2 for patch in ax.patches])
        mass = np.array([patch.get_height() * patch.get_width() for patch in ax.patches])
        assert mass.sum() == pytest.approx(1)
        mean = mass @ left
        cv = np.sqrt(mass @ (left - mean) ** 2) / (1 if abs(mean) < 0.5 else mean)
        if not isinstance(model.law, Outliers):
            assert cv == pytest.approx(model.cv.value, rel=0.05)
        else:
            assert cv > 1.2 * model.cv.value
    run("show", name, "--figure", str(tmp_path / "a" / "card"))
    assert {path.suffix for path in (tmp_path / "a").iterdir()} == {".svg", ".png"}


def test_a_map_has_as_many_cores_as_asked():
    """Two of four cores, one row a kind; fewer columns make a narrow drawing of the model."""
    chip = chipmodels.load("dynapse2")
    figure = draw(chip.fabricate([17], 0)[0], ["weight", "tau_mem"], cores=2)
    assert sum(bool(ax.images) for ax in figure.axes) == 4
    assert draw_model(chip, columns=2).get_figwidth() < draw_model(chip).get_figwidth()
    titles = [ax.get_title() for ax in draw_model(chip).axes]
    assert "weight: 9.9 % at 5.6 nA\nmeasured" in titles and "tau_mem: 8 %\nmeasured" in titles


def test_laws_are_shown_in_words():
    """In the table, which a narrow terminal wraps, and in JSON."""
    shown = run("show", "dynapse2")
    assert all(word in shown for word in ("lognormal", "median", "CV 8 %"))
    words = json.loads(run("show", "dynapse2", "--json"))["parameters"]["tau_syn"]["in_words"]
    assert words == {
        "law": "lognormal, median at the programmed value, CV 10 %",
        "set": "one value for a core",
        "stored": "steps of 0.63 % from 1.9 µs to 11.7 s",
    }
