"""The explorer: kept dies, their maps and kinds, the page without a browser. test_browser.py opens it."""

from __future__ import annotations

import hashlib
import importlib
import json
import re
from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import double, tiny
from demo_run import cli, quick
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import chipmodels
import neurorobust as nr
from neurorobust._util import digests
from neurorobust.chip import DeadNeurons
from neurorobust.core.apply import apply
from neurorobust.core.params import POSITIVE, kind_of
from neurorobust.core.run import evaluating, nominal
from neurorobust.evaluation import KindScores, ablate_kinds, clopper_pearson
from neurorobust.evaluation.predict import predict
from neurorobust.evaluation.statistics import score
from neurorobust.nn.network import placement_of
from neurorobust.viz import explorer, explorer_charts, fleets
from neurorobust.viz.plotting import METHOD_STYLES

ROOT = Path(__file__).parent.parent
VEGA = ROOT / "neurorobust" / "viz" / "vega"
HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>&\u2028"


def small_data(n: int = 40) -> nr.data.Data:
    """Random events for the tiny network."""
    generator = torch.Generator().manual_seed(3)
    x = (torch.rand(n, 20, 3, generator=generator) < 0.4).double()
    return nr.data.Data(x, torch.arange(n) % 2)


def record(method: str = "standard", **changes) -> fleets.FleetRecord:
    """A fleet of four dies, two of them with equal scores."""
    scores = {4: 0.9, 7: 0.5, 2: 0.75, 1: 0.5}
    made = fleets.FleetRecord(
        task="beats",
        measure="balanced accuracy",
        samples=100,
        method=method,
        seed=0,
        dies="mismatch 0.3",
        die_seed=1,
        serials=tuple(scores),
        nominal=0.95,
        scores=tuple(scores.values()),
        kinds={1: {"weight": KindScores(0.6, 0.9), "tau_mem": KindScores(0.9, 0.55)}},
    )
    return replace(made, **changes)


def payload(page: str) -> dict:
    """The data inside a page."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


# Which kind breaks a die


def test_a_kind_alone_and_all_but_it_are_the_parts_of_the_die():
    """Each score is that of the same die with deviations put to zero by hand."""
    network, data, chip = tiny(), small_data(), nr.mismatch(0.8)
    found = ablate_kinds(network, data, chip, serials=[5, 2], seed=3)
    placement = placement_of(network)
    programmed = chip.program(nominal(network), placement)
    assert list(found) == [5, 2]
    for die in chip.fabricate([5, 2], 3):
        whole = die.deviations(programmed)
        assert sorted(found[die.serial]) == sorted({kind_of(name) for name in whole})
        for kind, scores in found[die.serial].items():
            for got, keep in ((scores.alone, True), (scores.without, False)):
                part = {n: d if (kind_of(n) == kind) == keep else torch.zeros_like(d) for n, d in whole.items()}
                with torch.no_grad(), evaluating(network):
                    outputs = predict(network, apply(programmed.params, part, placement), data)
                assert got == score(outputs, data.y)
    assert len({scores for kinds in found.values() for scores in kinds.values()}) > 1


def test_of_two_kinds_one_alone_is_the_other_left_out():
    """A network with weights and biases only: the same dies, named from both sides."""
    network = nr.wrap(torch.nn.Linear(3, 2).double())
    data = nr.data.Data(torch.randn(30, 3, generator=torch.Generator().manual_seed(0)).double(), torch.arange(30) % 2)
    for kinds in ablate_kinds(network, data, nr.mismatch(1.5), serials=range(3), seed=1).values():
        assert sorted(kinds) == ["bias", "weight"]
        assert kinds["weight"].alone == kinds["bias"].without and kinds["bias"].alone == kinds["weight"].without


def test_no_serial_is_refused():
    with pytest.raises(ValueError, match=r"^serials: got \[\] .*expected at least one"):
        ablate_kinds(tiny(), small_data(), nr.mismatch(0.3), serials=[])


# Maps


def test_maps_hold_the_deviations_of_the_dies():
    """Relative, within the rounding that is promised; for a weight the mean over the synapses that exist."""
    network, chip = tiny(), nr.mismatch(0.3)
    maps = fleets.die_maps(network, chip, [3, 9], 1)
    programmed = chip.program(nominal(network), placement_of(network))
    assert maps["serials"] == [3, 9] and set(maps["parameters"]) == set(programmed.expanded())
    for i, die in enumerate(chip.fabricate([3, 9], 1)):
        for name, delta in die.deviations(programmed).items():
            value = delta.double().expm1() if kind_of(name) in POSITIVE else delta.double()
            mask = programmed.placement.masks.get(name, torch.ones_like(value, dtype=torch.bool))
            if kind_of(name) == "weight":
                rows = [row[there].mean() if there.any() else double(0.0)[0] for row, there in zip(value, mask)]
                value = torch.stack(rows)
            got = fleets.decoded(maps["parameters"][name], 2)[i]
            spread = maps["parameters"][name]["spread"]
            assert np.all(np.abs(got - value.numpy()) <= 0.025 * np.hypot(spread, value.numpy())), name
    assert maps["sites"]["hidden"]["core"] == [0, 0, 0, 1, 1, 1] and maps["sites"]["readout"]["core"] == [-1, -1]


@given(st.lists(st.floats(-20, 20), min_size=2, max_size=30))
def test_codes_of_any_values(values):
    """Rounded by less than 2.5 % of the size, or of the median where that is larger; NaN stays NaN."""
    table = np.array([[*values, np.nan]])
    coded = fleets._coded(table)
    if coded is None:
        assert not np.any(values)
        return
    spread = coded["spread"]
    got = fleets.decoded(coded, 1)[0]
    assert np.isnan(got[-1])
    bound = np.sinh(coded["step"] / 2) * np.hypot(spread, np.abs(table[0, :-1])) * 1.05
    assert np.all(np.abs(got[:-1] - table[0, :-1]) <= bound + 1e-12)


def test_broken_elements_and_too_many_dies(monkeypatch):
    """Dead neurons have no value; where all dies need too much room, the worst have maps, or none."""
    chip = nr.mismatch(0.3).with_defects(DeadNeurons(0.5))
    maps = fleets.die_maps(tiny(), chip, range(4), 1)
    broken = [np.isnan(fleets.decoded(each, 4)).sum() for each in maps["parameters"].values()]
    assert max(broken) > 0
    n = sum(fleets.decoded(each, 4).shape[1] for each in maps["parameters"].values())
    monkeypatch.setattr(fleets, "LARGEST_MAPS", 2 * n)
    assert fleets.die_maps(tiny(), chip, range(4), 1, instead=(3, 1))["serials"] == [3, 1]
    monkeypatch.setattr(fleets, "LARGEST_MAPS", 1)
    assert fleets.die_maps(tiny(), chip, range(4), 1, instead=(3, 1)) == {}


# Files


def test_a_kept_fleet_is_read_again(tmp_path):
    """Every number as it was; trimmed dies have a record of their own."""
    network, data, chip = tiny(), small_data(), nr.mismatch(0.5)
    trim = nr.Trim(small_data(30).x[:10] * 0.5, 10)
    result = nr.evaluate(network, data, chip, n_dies=4, seed=2, trim=trim)
    info = {"task": "beats", "method": "mine", "seed": 3}
    made = fleets.records(network, data, chip, result, info, taken_apart=2)
    paths = fleets.keep(made, tmp_path / "model")
    assert paths[0].name == "mismatch-0.5-seed-2.json" and "trimmed" in paths[1].name
    read = fleets.read_runs([tmp_path / "model"])
    assert sorted(read, key=lambda one: one.dies) == made
    assert read == fleets.read_runs([tmp_path])  # the folder above
    assert list(made[0].scores) == result.score.tolist() and sorted(made[0].kinds) == sorted(made[0].worst(2))
    assert list(made[1].scores) == result.trimmed.score.tolist() and made[1].kinds == {}


def test_ties_are_sorted_by_serial():
    assert record().worst(3) == [1, 7, 2]


def test_one_clear_error_for_each_fault(tmp_path):
    """No such run; a model without kept dies; a damaged file; another task; twice the same fleet."""
    with pytest.raises(FileNotFoundError, match="does not exist"):
        fleets.read_runs([tmp_path / "none"])
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(
        FileNotFoundError, match=r"no die was kept.*neurorobust evaluate .*model --chip dynapse2 --keep"
    ):
        fleets.read_runs([tmp_path / "model"])
    (path,) = fleets.keep([record()], tmp_path / "a")
    for text, words in (("{", "no JSON"), ('{"a": 1}', "sha256"), (path.read_text().replace("0.75", "0.76"), "edited")):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(ValueError, match=words):
            fleets.read_runs([tmp_path / "bad.json"])
    fleets.keep([record(task="other")], tmp_path / "b")
    with pytest.raises(ValueError, match=r"task is 'other', and 'beats' in .*cannot be compared"):
        fleets.read_runs([tmp_path / "a", tmp_path / "b"])
    fleets.keep([record()], tmp_path / "c")
    assert [one.method for one in fleets.read_runs([tmp_path / "a", tmp_path / "c"])] == [
        "standard (a)",
        "standard (c)",
    ]
    copies = tmp_path / "a" / "fleets"
    (copies / "again.json").write_bytes(next(copies.iterdir()).read_bytes())
    with pytest.raises(ValueError, match=r"holds standard, seed 0, .*as another run does"):
        fleets.read_runs([tmp_path / "a"])
    for change, words in (
        ({"scores": [0.1, 0.2, 0.3]}, "scores: got 3 for 4 dies"),
        ({"serials": [1, 2, 2, 3]}, "scores: got 4 for 3 dies"),
        ({"nominal": float("nan")}, "one is no number"),
        ({"kinds": {"1": {"bias": {"alone": 0.5, "without": float("inf")}}}}, "one is no number"),
    ):
        with pytest.raises(ValueError, match=words):
            fleets.FleetRecord.of(record().entry() | change)


def test_a_network_without_a_method_has_the_name_of_its_folder(tmp_path):
    """Folders of one name are told apart by the folder above; names of methods stay where they are different."""
    for place in ("one/mine", "two/mine", "two/other"):
        fleets.keep([record(fleets.UNNAMED, network_sha256=place)], tmp_path / place)
    fleets.keep([record("awp")], tmp_path / "two/third")
    read = fleets.read_runs([tmp_path / "one", tmp_path / "two"])
    assert {one.method for one in read} == {"one/mine", "two/mine", "other", "awp"}
    fleets.keep([record("awp", dies="dynapse2")], tmp_path / "one/fourth")  # other dies, and maybe another network
    read = fleets.read_runs([tmp_path / "one", tmp_path / "two"])
    assert {one.method for one in read} >= {"awp (third)", "awp (fourth)"}


def test_the_fleets_of_two_networks_under_one_name_are_refused(tmp_path):
    """A network that was trained on after its first fleet was kept; without a digest, as in old files, nobody knows."""
    old, new = record(network_sha256="a"), record(dies="dynapse2", network_sha256="b")
    fleets.keep([old, new], tmp_path / "model")
    with pytest.raises(
        ValueError, match="'standard', training seed 0, stands for 2 different networks; evaluate again"
    ):
        explorer.page(fleets.read_runs([tmp_path / "model"]))
    explorer.page([old, replace(new, network_sha256="a")])
    explorer.page([old, replace(new, network_sha256="")])
    network, data, chip = tiny(), small_data(), nr.mismatch(0.5)
    made = [fleets.records(net, data, chip, nr.evaluate(net, data, chip, n_dies=2), {}, taken_apart=0)[0].network_sha256
            for net in (network, tiny())]  # fmt: skip
    assert made[0] == made[1] and len(made[0]) == 64
    with torch.no_grad():
        network.get_parameter(next(iter(dict(network.named_parameters())))).add_(1e-3)
    result = nr.evaluate(network, data, chip, n_dies=2)
    assert fleets.records(network, data, chip, result, {}, taken_apart=0)[0].network_sha256 != made[0]


def test_a_file_of_the_first_format_is_still_read(tmp_path):
    """It has no digest of the network."""
    entry = record().entry() | {"format": "neurorobust-fleet/1"}
    del entry["network_sha256"]
    digests.write_json(tmp_path / "old.json", entry)
    assert fleets.read_runs([tmp_path / "old.json"]) == [record()]
    with pytest.raises(ValueError, match="format: got 'neurorobust-fleet/9'"):
        fleets.FleetRecord.of(entry | {"format": "neurorobust-fleet/9"})


def _wrong_maps():
    good = fleets.die_maps(tiny(), nr.mismatch(0.3), [4, 7], 1)
    name = next(iter(good["parameters"]))
    parameter, layer = good["parameters"][name], good["parameters"][name]["layer"]

    def with_parameter(**changes):
        return good | {"parameters": {name: {**parameter, **changes}}}

    yield "width", {key: value for key, value in good.items() if key != "width"}
    yield "width is no int", good | {"width": "16"}
    yield "from 1", good | {"width": 0}
    yield "serials is no list", good | {"serials": 3}
    yield "has no score", good | {"serials": [4, 99]}
    yield "need core and number", good | {"sites": {**good["sites"], layer: {}}}
    yield "no whole numbers", good | {"sites": {**good["sites"], layer: {"core": ["a"], "number": [0]}}}
    yield "names no layer", with_parameter(layer="none")
    yield "names no layer", with_parameter(kind=3)
    yield "are no numbers", with_parameter(step=float("nan"))
    yield "no base64", with_parameter(codes="*")
    yield "not one for each neuron of 2 dies", with_parameter(codes="AAAA")
    yield "needs layer, kind", good | {"parameters": {name: {"layer": layer}}}
    yield "expected serials", {"codes": []}
    yield "expected serials", []


def test_forged_maps_are_refused_in_words(tmp_path):
    """Files whose digest was made anew: each is one ValueError that names the file and the map, no KeyError."""
    entry = record(maps=fleets.die_maps(tiny(), nr.mismatch(0.3), [4, 7], 1)).entry()
    assert fleets.FleetRecord.of(json.loads(json.dumps(entry))).maps == entry["maps"]
    for words, maps in _wrong_maps():
        (tmp_path / "forged.json").write_text(json.dumps(digests.sealed(entry | {"maps": maps})))
        with pytest.raises(ValueError, match=f"forged.json: is no fleet .*maps: .*{words}"):
            fleets.read_runs([tmp_path / "forged.json"])


def test_opposite_corners_are_kept_apart(tmp_path):
    """The names of the files differ as the labels do; one file would replace the other in silence."""
    chip = chipmodels.load("dynapse2")
    made = [record(dies=chip.with_corner(tau_mem=shift).label) for shift in (-0.1, 0.1)]
    assert len(set(fleets.keep(made, tmp_path))) == 2
    assert sorted(fleets.read_runs([tmp_path]), key=lambda one: one.dies, reverse=True) == made


# The page


class Page(HTMLParser):
    """Tags with their attributes, in order."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def test_the_page_needs_nothing_else():
    """No address outside of the page, one h1, a title, a language; every control has a name."""
    text = explorer.page([record(), record("adversarial", seed=1)])
    tags = Page(text).tags
    assert ("html", {"lang": "en"}) in tags and sum(tag == "h1" for tag, _ in tags) == 1
    assert "<title>Every die: beats</title>" in text
    for tag, attributes in tags:
        for name in ("src", "href", "action", "srcset"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, attributes)
    libraries = sum(path.stat().st_size for path in VEGA.glob("*.js"))
    assert len(text.encode()) - libraries < 200_000


def test_hostile_names_are_text(tmp_path):
    """Names that look like HTML end no element, wherever they stand."""
    hostile = record(HOSTILE, task=HOSTILE, dies=HOSTILE, measure=HOSTILE)
    text = explorer.page([hostile, record("b", task=HOSTILE, measure=HOSTILE)], source=HOSTILE)
    plain = explorer.page([record("a"), record("b")], source="s")
    assert [tag for tag, _ in Page(text).tags].count("script") == [tag for tag, _ in Page(plain).tags].count("script")
    assert not any("onerror" in attributes for _, attributes in Page(text).tags)
    assert payload(text)["fleets"][0]["method"] == HOSTILE
    assert "window.hacked = 1</script>" not in text


def test_the_intervals_of_the_page_are_the_exact_ones():
    """For every number of good dies of every size of fleet."""
    found = payload(explorer.page([record()]))["intervals"]
    assert found == {"4": [list(clopper_pearson(good, 4)) for good in range(5)]}


@pytest.mark.parametrize("spec", [0.0, 0.6, 0.9, 0.9123, 1 / 3, 1.0])
@pytest.mark.parametrize(("measure", "low"), [("balanced accuracy", 0.0), ("R²", -0.3712)])
def test_the_specification_is_a_value_of_the_slider(spec, measure, low):
    """A browser moves a value that is no whole number of steps from the low end; the yields would be of another one."""
    shown = record(measure=measure, scores=(0.9, low, 0.75, 0.5))
    (slider,) = (found for _, found in Page(explorer.page([shown], spec=spec)).tags if found.get("id") == "spec")
    steps = (Decimal(slider["value"]) - Decimal(slider["min"])) / Decimal(slider["step"])
    assert float(slider["value"]) == spec and steps == round(steps)
    assert low <= float(slider["min"]) < low + float(slider["step"])


def test_seeds_are_in_the_order_of_numbers():
    assert explorer.seeds([record(seed=seed) for seed in (10, None, 2, 1, 10)]) == ["–", "1", "2", "10"]


def test_equal_maps_are_there_once():
    """Two methods on the same dies share the codes."""
    maps = fleets.die_maps(tiny(), nr.mismatch(0.3), [1, 2, 4, 7], 1)
    found = payload(explorer.page([record("a", maps=maps), record("b", maps=maps)]))
    assert len(found["maps"]) == 1 and [fleet["maps"] for fleet in found["fleets"]] == [0, 0]
    assert len(found["codes"]) <= len(maps["parameters"])


@pytest.mark.parametrize("records", [[], [record()]], ids=["none", "specification"])
def test_what_cannot_be_shown_is_refused(records):
    with pytest.raises(ValueError, match=r"^(records: got none|spec: got 1\.5)"):
        explorer.page(records, spec=1.5)


@pytest.mark.parametrize("name", METHOD_STYLES)
def test_colours_can_be_told_from_the_dark_page(name):
    """The colour of a method on the dark page has a contrast of 4.5 at least."""
    assert explorer.contrast(explorer.on_dark(METHOD_STYLES[name][0]), explorer.DARK_PAGE) >= 4.5
    assert explorer.contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("chart", [explorer_charts.dies_chart, explorer_charts.map_chart])
def test_the_charts_are_vega_lite(chart):
    """By the JSON schema of Vega-Lite that altair has, of the version that the package has; a wrong chart fails."""
    jsonschema = pytest.importorskip("jsonschema")
    altair = pytest.importorskip("altair")
    schema = json.loads(
        (Path(altair.__file__).parent / "vegalite/v6/schema/vega-lite-schema.json").read_text(encoding="utf-8")
    )
    assert altair.SCHEMA_VERSION.split(".")[0] == "v6"
    validator = jsonschema.Draft7Validator(schema)
    assert [error.message[:200] for error in validator.iter_errors(chart())] == []
    assert not validator.is_valid(chart() | {"layers": [], "layer": 3})


def test_the_libraries_are_the_published_ones():
    """The builds of npm, byte by byte, with their licences; no build can end a script element."""
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VEGA.glob("*.js")}
    assert digests == {
        "vega-lite.min.js": "6d5035fdd429b4bc6f91f3754426c3f516f3dbd8e08b105cfc2496bed4ebd254",
        "vega.min.js": "8f6a3587cf8d4f42c7e08120e3eb05d067e746d554e39d2dcf52acc0bd5ba28f",
    }
    licences = (VEGA / "LICENSES.txt").read_text(encoding="utf-8")
    assert "vega 6.4.0" in licences and "vega-lite 6.4.1" in licences and "University of Washington" in licences
    for path in (*VEGA.glob("*.js"), VEGA.parent / "explorer.js"):
        assert not re.search(r"</script|<!--", path.read_text(encoding="utf-8")), path


# The command, and the page of the documentation


def test_explore_shows_what_the_demo_kept(tmp_path, tmp_path_factory):
    """`explore --json` has the fleets of results.json, and the page the score of every die."""
    folder, _ = quick(tmp_path_factory)
    ran = cli("explore", folder, "--out", tmp_path / "page.html", "--spec", 0.6, "--json")
    assert ran.code == 0, ran.err
    kept, *_ = folder.rglob("fleets/*.json")
    before = kept.read_bytes()
    over = cli("explore", folder, "--out", kept)
    assert over.code == 2 and "expected a file that ends in .html" in over.err and kept.read_bytes() == before
    told = json.loads(ran.out)
    results = json.loads((folder / "results.json").read_text())
    found = {(row["method"], row["dies"]): row for row in told["fleets"]}
    for label, entry in results["networks"].items():
        for key, dies in (("fleet", "dynapse2"), ("mismatch", "mismatch 0.3")):
            row = found[label, dies]
            assert (row["mean"], row["min"]) == (entry[key]["mean"], entry[key]["min"])
            assert row["yield"]["fraction"] == np.mean(np.array(entry[key]["balanced_accuracy"]) >= 0.6)
    shown = payload((tmp_path / "page.html").read_text(encoding="utf-8"))["fleets"]
    assert {tuple(fleet["scores"]) for fleet in shown} >= {
        tuple(entry["fleet"]["balanced_accuracy"]) for entry in results["networks"].values()
    }
    assert all(len(fleet["kinds"]) == 1 for fleet in shown if "trimmed" not in fleet["dies"])


def test_evaluate_keeps_on_request(tmp_path):
    """`evaluate --keep` on a model that `train` wrote, then `explore`; without kept dies, one line says what to do."""
    model = tmp_path / "model"
    assert cli("train", "--epochs", 1, "--hidden", 4, "--method", "standard", "--out", model).code == 0
    ran = cli("explore", model)
    assert ran.code == 2 and "--keep` first" in ran.err and ran.err.count("\n") == 1
    ran = cli("evaluate", model, "--mismatch", 0.2, "--dies", 2, "--keep", "--json")
    assert ran.code == 0, ran.err
    (kept,) = fleets.read_runs([model])
    assert list(kept.scores) == json.loads(ran.out)["balanced_accuracy"] and kept.method == "standard"
    ran = cli("explore", model, "--out", tmp_path / "page.html")
    assert ran.code == 0 and "standard" in ran.out and (tmp_path / "page.html").exists()


def test_the_page_of_the_documentation_has_the_study(monkeypatch):
    """Five methods, three seeds, two kinds of dies, as they stand and trimmed; every score is that of the study."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    pages = importlib.import_module("explorer_page")
    monkeypatch.setattr(pages, "_maps", lambda method, place: {})
    studied = json.loads((ROOT / "benchmarks/results/floor_study.json").read_text())
    records = pages.fleet_records()
    assert len(records) == 5 * 3 * 2 * 2
    first = next(one for one in records if (one.method, one.seed, one.dies) == ("awp", 2, "mismatch 0.3"))
    assert list(first.scores) == studied["awp-2"]["dies"]["mismatch"]["as it stands"]
    with_kinds = [one for one in records if one.kinds]
    assert {(one.method, one.seed, one.dies) for one in with_kinds} == {
        (method, 0, dies)
        for method in ("standard", "forward_noise", "adversarial")
        for dies in ("dynapse2", "mismatch 0.3")
    }
    for one in with_kinds:
        assert (
            list(one.kinds) == one.worst()
            and chipmodels.load("dynapse2").kinds.keys() >= one.kinds[one.worst()[0]].keys()
        )


# Fleets that cannot be compared


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data_sha256": "b"}, "2 different sets of test samples"),
        ({"chip_sha256": "b"}, "'mismatch 0.3' stands for 2 different chip models"),
    ],
)
def test_other_samples_and_other_versions_of_a_chip_are_refused(changes, words):
    """One page compares networks on the same dies and samples."""
    one = record(chip_sha256="a", data_sha256="a")
    other = replace(one, method="robust", **changes)
    with pytest.raises(ValueError, match=f"records: .*{words}"):
        explorer.page([one, other])


def test_a_record_names_its_samples_and_its_chip():
    """Other samples and another mismatch have other digests; the same ones, the same."""
    network, data = tiny(), small_data()
    chips = [nr.mismatch(0.3), nr.mismatch(0.3), nr.mismatch(0.2)]
    made = [
        fleets.records(network, data, chip, nr.evaluate(network, data, chip, n_dies=2), {}, taken_apart=0)[0]
        for chip in chips
    ]
    assert made[0].chip_sha256 == made[1].chip_sha256 != made[2].chip_sha256
    assert fleets.FleetRecord.of(made[0].entry()) == made[0]
    assert len({one.data_sha256 for one in made}) == 1


def test_a_result_of_something_else_is_not_kept():
    """Kinds and maps are measured anew: they have to be of the same network, labels and chip as the scores."""
    network, data, chip = tiny(), small_data(), nr.mismatch(0.5)
    result = nr.evaluate(network, data, chip, n_dies=2)
    other = tiny()
    with torch.no_grad():
        next(iter(other.parameters())).mul_(1.5)
    for what, parts in (
        ("network", (other, data, chip)),
        ("data", (network, nr.data.Data(data.x, 1 - data.y), chip)),
        ("chip", (network, data, nr.mismatch(0.4))),
    ):
        with pytest.raises(ValueError, match=f"^{what}: the result is of"):
            fleets.records(*parts, result, {})


def test_a_result_on_other_samples_or_with_another_decoder_is_not_kept():
    """Labels and parameters are the same, but not the score before programming."""
    y, chip, layer = torch.arange(12) % 2, nr.mismatch(0.5), nn.Linear(2, 2, bias=False)
    nn.init.eye_(layer.weight)
    data = nr.data.Data(torch.eye(2)[y], y)
    result = nr.evaluate(nr.wrap(layer), data, chip, n_dies=2)
    for network, x in ((nr.wrap(layer), data.x.flip(0)), (nr.wrap(layer, decode=torch.neg), data.x)):
        with pytest.raises(
            ValueError, match=r"result: its score before programming is 1, and .* on these data is 0; pass"
        ):
            fleets.records(network, nr.data.Data(x, y), chip, result, {}, taken_apart=0)


def test_samples_of_a_loader_are_counted_as_samples():
    data = small_data()
    loader = DataLoader(TensorDataset(data.x, data.y), batch_size=5)
    result = nr.evaluate(tiny(), loader, nr.mismatch(0.5), n_dies=2)
    (one,) = fleets.records(tiny(), loader, nr.mismatch(0.5), result, {}, taken_apart=1)
    assert one.samples == len(data) > len(loader)


def test_records_of_two_measures_or_twice_the_same_are_refused():
    for other, words in (
        (record(measure="R²", method="b"), "2 measures"),
        (record(task="other", method="b"), "2 tasks"),
        (record(), "two have the same method"),
    ):
        with pytest.raises(ValueError, match=f"records: .*{words}"):
            explorer.page([record(), other])
    for change in ({"samples": 0}, {"scores": [0.9, 0.5, 0.75, 1.5]}, {"nominal": 2.0}):
        with pytest.raises(ValueError, match="no score above 1"):
            fleets.FleetRecord.of(record().entry() | change)
