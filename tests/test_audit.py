"""The audit page: a row for every chip and point, made from the models, with the costs that were measured."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace

import pytest
from pages import ROOT

import chipmodels
from neurorobust.chip import ChipModel
from neurorobust.chip.equations import POINTS
from neurorobust.core.equations import VOCABULARY

COST = {
    "network": "ecg/adversarial",
    "measure": "balanced accuracy",
    "model": 0.944,
    "silicon": 0.503,
    "repaired": 0.891,
    "repair": "one threshold refitted",
    "samples": "1000 beats",
    "command": "python -m benchmarks.physics_cost",
}


@pytest.fixture
def page(monkeypatch):
    """The module that makes the page."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    return importlib.import_module("audit")


def rows(page, chip: ChipModel, costs: dict) -> dict[str, list[str]]:
    """The cells of a chip's table, by point."""
    text = page.points_table(chip, page.own_words(), costs.get(chip.name, {}))
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| **")]
    return {row[0].strip("*"): row[1:] for row in cells}


def test_every_chip_has_a_row_for_every_point(page):
    """The page as the build makes it, with the committed costs; every cell is filled, every fact is the model's."""
    models = chipmodels.models()
    costs = page.read_costs(page.COSTS, models)
    for chip in models.values():
        found = rows(page, chip, costs)
        assert list(found) == [page.NAMES[point] for point in POINTS]
        before = None
        for point, fact in chip.neuron.points().items():
            silicon, model, cost, source = found[page.NAMES[point]]
            if fact == before and fact.source:
                assert (silicon, source) == ("as above", "as above")
            else:
                assert (silicon, source.partition(":")[0]) == (fact.text, fact.status)
            assert model and cost and (not fact.model or model == fact.model)
            before = fact


def test_the_column_of_our_model_is_what_our_neurons_do(page):
    """On DYNAP-SE2, read off by hand: one neuron has a floor, Lif can reset to rest, none has its membrane."""
    found = rows(page, chipmodels.load("dynapse2"), {})
    assert found["floor"][1] == "As silicon: `LinearizedDpi`. No floor: `AdaptiveLif`, `CubaLif`, `Lif`."
    assert found["reset"][1] == (
        "As silicon: `LinearizedDpi`. As silicon by an option: `CubaLif`, `Lif`. Subtractive reset: `AdaptiveLif`."
    )
    assert found["membrane"][1].startswith("Linear membrane: ")
    assert found["adaptation"][1].endswith("Adaptive threshold: `AdaptiveLif`.")
    assert rows(page, chipmodels.load("pcm"), {})["floor"][1] == "The network's own neurons."


def test_neurons_have_the_words_of_all_their_options(page):
    """AdaptiveLif has no options; LinearizedDpi adapts in both ways or not at all; Lif takes every reset."""
    words = page.own_words()
    assert set(words) == {"AdaptiveLif", "CubaLif", "Lif", "LinearizedDpi"}
    assert words["AdaptiveLif"] == {point: [word] for point, (word, *_) in words["AdaptiveLif"].items()}
    assert set(words["LinearizedDpi"]["adaptation"]) == set(VOCABULARY["adaptation"])
    assert set(words["Lif"]["reset"]) == set(VOCABULARY["reset"])


def test_costs_are_shown_where_they_were_measured(page, tmp_path):
    """One with a repair, one without; everything else says that it was not measured."""
    models = chipmodels.models()
    path = tmp_path / "physics_cost.json"
    plain = COST | {"network": "ecg/standard", "repaired": None, "repair": None}
    path.write_text(json.dumps({"dynapse2": {"floor": [COST, plain]}}))
    found = rows(page, models["dynapse2"], page.read_costs(path, models))
    assert found["floor"][2] == (
        "ecg/adversarial, balanced accuracy: .944 → .503, .891 after one threshold refitted (1000 beats); "
        "ecg/standard, balanced accuracy: .944 → .503 (1000 beats)"
    )
    assert {row[2] for name, row in found.items() if name != "floor"} == {"not measured"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"dynapse3": {}}, "physics_cost.json: chip 'dynapse3' does not exist"),
        ({"dynapse2": {"flor": []}}, "dynapse2: point 'flor' does not exist"),
        ({"dynapse2": {"floor": [{"network": "x"}]}}, r"dynapse2, floor: got keys \['network'\]; expected"),
    ],
)
def test_costs_of_nothing_are_refused(page, tmp_path, content, words):
    """A chip, a point or a key that does not exist, by name."""
    path = tmp_path / "physics_cost.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=words):
        page.read_costs(path, chipmodels.models())


def test_a_chip_without_facts_has_an_empty_table(page):
    """A user's chip that states nothing breaks no build."""
    silent = replace(chipmodels.load("dynapse2"), name="silent", neuron=None)
    assert rows(page, silent, {}) == {}
    assert "| [silent](chips/silent.md) | not stated |" in page.audit({"silent": silent}, {})


def test_the_summary_has_every_chip_and_every_cost(page):
    """One row a chip with a word for each equation, and one line for each measurement."""
    models = chipmodels.models()
    costs = page.read_costs(page.COSTS, models)
    text = page.audit(models, costs)
    for name in models:
        row = next(line for line in text.splitlines() if line.startswith(f"| [{name}]("))
        assert row.count(" | ") == len(VOCABULARY)
    n = sum(len(each) for points in costs.values() for each in points.values())
    assert n > 0 and text.partition("## Costs that were measured")[2].count("\n- ") == n
