"""The main job in miniature: all files, all numbers, one page that needs nothing else, and interruptions."""

from __future__ import annotations

import html.parser
import json
import re
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock
from xml.etree import ElementTree

import matplotlib.image
import pandas as pd
import pytest
import torch
from demo_run import SMALL, beats, cli, few_beats, quick
from safetensors.torch import load_file

import chipmodels
import neurorobust as nr
from neurorobust._util import digests
from neurorobust.demo import demo
from neurorobust.train import loop
from neurorobust.viz import report

FIGURES = {"example", "fleet", "attack"} | set(report.CAPTIONS)
PROMISED = {f"{name}.{suffix}" for name in FIGURES for suffix in ("png", "svg")} | {
    "report.html",
    "results.csv",
    "results.json",
}
PROMISED |= {f"{name}/{file}" for name in ("standard", "robust") for file in ("model.safetensors", "config.json")}
DIES = [
    f"{chip}{how}" for chip in ("dynapse2", "mismatch-0.3") for how in ("", "-trimmed-on-N-unlabelled-samples-per-die")
]
PROMISED |= {f"{name}/fleets/{dies}-seed-1.json" for name in ("standard", "robust") for dies in DIES}
KEPT = {f"{name}/{file}" for name in ("standard", "robust") for file in ("checkpoint.pt", "log.csv")}


def inside(folder: Path) -> set[str]:
    """Every file below a folder; N for the number of samples of a trim."""
    names = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return {re.sub(r"-on-\d+-", "-on-N-", name) for name in names}


def untimed(value):
    """Results without the seconds they took."""
    if isinstance(value, dict):
        return {key: untimed(part) for key, part in value.items() if key != "seconds"}
    return [untimed(part) for part in value] if isinstance(value, list) else value


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The files that `demo --quick` wrote."""
    return quick(tmp_path_factory)[0]


@pytest.fixture(scope="session")
def results(folder):
    """Its results.json, without the digest."""
    return digests.read_json(folder / "results.json", "")


# What it writes


def test_the_promised_files_and_no_other(folder):
    """Report, figures as PNG and SVG, results and two model folders; checkpoints and logs; no temporary file."""
    assert inside(folder) == PROMISED | KEPT


def test_stdout_is_the_results(tmp_path_factory, results):
    """`demo --json`: exit code 0, results.json as one line on stdout, what happens next on stderr."""
    _, ran = quick(tmp_path_factory)
    assert ran.code == 0
    assert ran.out.count("\n") == 1
    assert json.loads(ran.out) == results
    assert "training the standard network" in ran.err
    assert "report.html" in ran.err


def test_the_first_line_is_a_result(tmp_path_factory):
    """Before anything is trained: the dies of networks of the zoo that were trained before, with their true scores."""
    _, ran = quick(tmp_path_factory)
    first = " ".join(ran.err.split("two trainings")[0].split())
    task, chip = beats(), chipmodels.load("dynapse2")
    for label, name in (("standard", "standard"), ("robust", "adversarial")):
        fleet = nr.evaluate(nr.zoo.load(f"ecg_dpi/{name}")[0], task.test, chip, n_dies=3, seed=1)
        assert f"{label} {fleet.mean:.3f}, the worst die {fleet.min:.3f}" in first


@pytest.mark.parametrize("label", ["standard", "robust"])
def test_commands_repeat_its_numbers(label, folder, results):
    """`evaluate` and `attack` on a model folder give the very numbers of the report, die by die."""
    entry = results["networks"][label]
    n, seed = results["n_dies"], results["seed"] + 1
    for chosen, name in ((("--chip", "dynapse2"), "fleet"), (("--mismatch", 0.3), "mismatch")):
        more = ["--dies", n, "--seed", seed, "--spec", results["spec"], "--trim", 50]
        ran = cli("evaluate", folder / label, *chosen, *more, "--json")
        assert json.loads(ran.out) == entry[name]
    for suite, found in entry["attacks"].items():
        more = ["--steps", 2, "--restarts", 1] if suite == "thorough" else []
        options = ["--suite", suite, "--samples", results["attacked_samples"], "--seed", seed, "--zeta", 0.1, *more]
        ran = json.loads(cli("attack", folder / label, *options, "--json").out)
        at_chance = {"version": None} if suite == "thorough" else {}  # the demo takes the result of the quick suite
        assert {key: ran[key] for key in found["0.1"]} == found["0.1"] | at_chance


@pytest.mark.parametrize("label", ["standard", "robust"])
def test_the_thorough_suite_is_never_weaker(label, results):
    """At every size the thorough suite finds a die at least as bad as the quick one, and no attack helps."""
    entry = results["networks"][label]
    for zeta, thorough in entry["attacks"]["thorough"].items():
        assert (
            thorough["balanced_accuracy"]
            <= entry["attacks"]["quick"][zeta]["balanced_accuracy"]
            <= entry["nominal_attacked"]
        )


def test_the_same_dies_carry_both_networks(results):
    """The paired comparison is the mean of robust − standard over the listed dies."""
    robust, standard = (results["networks"][name]["fleet"]["balanced_accuracy"] for name in ("robust", "standard"))
    gains = [a - b for a, b in zip(robust, standard)]
    assert results["paired"]["difference"] == pytest.approx(sum(gains) / len(gains))
    assert results["paired"]["better"] == sum(gain > 0 for gain in gains)
    assert results["paired"]["n"] == results["n_dies"] == 3


def test_csv_has_every_die_and_every_number(folder, results):
    """results.csv against results.json: accuracies of each die, recalls of each class, attacks of each size."""
    table = pd.read_csv(folder / "results.csv")
    assert list(table.columns) == ["network", "measure", "level", "die", "class", "value"]
    for name, entry in results["networks"].items():
        mine = table[table.network == name].set_index("measure")
        for measure, fleet in (("chip", entry["fleet"]), ("mismatch", entry["mismatch"])):
            for kind in ("accuracy", "balanced accuracy"):
                dies = mine.loc[f"{measure} {kind}"].sort_values("die")
                assert dies.die.tolist() == [0, 1, 2]
                assert dies.value.tolist() == pytest.approx(fleet[kind.replace(" ", "_")])
            assert mine.loc[f"{measure} mean recall"].value.tolist() == pytest.approx(fleet["recall"])
        for suite, found in entry["attacks"].items():
            sizes = mine.loc[f"{suite} attack balanced accuracy"]
            assert sizes.level.tolist() == pytest.approx([float(zeta) for zeta in found])
            assert sizes.value.tolist() == pytest.approx([worst["balanced_accuracy"] for worst in found.values()])


WORDS = {"example": ["normal", "abnormal", "event", "standard", "robust"], "attack": ["standard", "robust", "ζ"]}


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_figures_open(name, folder):
    """Each PNG is a picture that is not blank, each SVG is XML with the words in it as text."""
    picture = matplotlib.image.imread(folder / f"{name}.png")
    assert min(picture.shape[:2]) > 200
    assert picture[..., :3].std() > 0.01
    root = ElementTree.parse(folder / f"{name}.svg").getroot()
    assert root.tag.endswith("svg")
    words = " ".join(root.itertext())
    assert all(word in words for word in WORDS.get(name, ["standard", "robust"]))


class Page(html.parser.HTMLParser):
    """Every tag with its attributes, and all text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_the_report_needs_no_network(folder):
    """One file: no link, no script, no style or picture from elsewhere; all figures inside; tags are balanced."""
    text = (folder / "report.html").read_text()
    page = Page(text)
    assert page.open == []
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "embed", "base"}
    assert all(not attributes.get("href") for _, attributes in page.tags)
    sources = [attributes["src"] for _, attributes in page.tags if "src" in attributes]
    assert len(sources) == len(FIGURES)
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not [word for word in ("http:", "https:", "url(", "@import", "srcset") if word in text]


def test_the_report_has_the_numbers(folder, results):
    """Every cell of the table, the verdict, how many beats were attacked, the host, the chip's approximations."""
    text = " ".join(Page((folder / "report.html").read_text()).text.split())
    header, rows = report.columns(results)
    assert all(name in text for name in header[1:])
    for row in rows:
        assert all(cell in text for cell in row)
    assert " ".join(report.verdict(results).split()) in text
    assert report.equations(results) and all(line in text for line in report.equations(results))
    assert "1000 test beats" in text
    assert "attacks: 20 of them" in text
    assert "host" in text
    assert all(" ".join(note.split()) in text for note in chipmodels.load("dynapse2").notes)


def test_the_table_of_the_report_fits_a_window(folder, results):
    """A row for each measure and a column for each network, as in the terminal: nothing to scroll to."""
    text = (folder / "report.html").read_text()
    table = text[text.index("<thead>") : text.index("</table>")]
    header, rows = report.columns(results)
    lines = re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', table)
    assert [name for name, _ in lines] == header[1:]
    assert [re.findall(r"<td>(.*?)</td>", cells) for _, cells in lines] == [list(cells) for cells in zip(*rows)][1:]


def test_the_table_has_the_promised_columns(results):
    """Nominal, programmed, fleet mean / 5th pct / min, yield, mismatch mean / min, both trimmed, four attacks: cells by
    hand."""
    header, rows = report.columns(results)
    assert [row[0] for row in rows] == ["standard", "robust"]
    assert all(len(row) == len(header) == 18 for row in rows)
    for row, entry in zip(rows, results["networks"].values()):
        fleet, spread, attacks = entry["fleet"], entry["mismatch"], entry["attacks"]
        numbers = [fleet[key] for key in ("nominal", "programmed", "mean", "q05", "min")]
        low, high = fleet["yield"]["ci95"]
        expected = [f"{value:.3f}" for value in numbers] + [f"{fleet['yield']['fraction']:.2f} [{low:.2f}, {high:.2f}]"]
        expected += [f"{fleet['trimmed'][key]:.3f}" for key in ("mean", "min")]
        expected += [f"{scores[key]:.3f}" for scores in (spread, spread["trimmed"]) for key in ("mean", "min")]
        expected += [f"{entry['nominal_attacked']:.3f}"]
        expected += [
            f"{attacks[suite][z]['balanced_accuracy']:.3f}" for suite in ("quick", "thorough") for z in ("0.05", "0.1")
        ]
        assert row[1:] == expected


def test_the_first_sentence_is_about_yield_and_the_worst_die(results):
    """Counts and minima are those of the listed dies, p is McNemar's for them."""
    for where in ("fleet", "mismatch"):
        found = results["yields"][where]
        scores = [results["networks"][label][where]["balanced_accuracy"] for label in ("robust", "standard")]
        reach = [[score >= results["spec"] for score in own] for own in scores]
        assert [found["first"], found["second"]] == [sum(own) for own in reach]
        assert found["only_first"] == sum(a and not b for a, b in zip(*reach))
        assert found["only_second"] == sum(b and not a for a, b in zip(*reach))
        assert list(found["minima"]) == [min(own) for own in scores]
    made_up = {"spec": 0.9, "n": 100, "first": 100, "second": 83, "only_first": 17, "only_second": 0}
    made_up |= {"p_value": 2 / 2**17, "minima": [0.94, 0.63]}
    text = report.verdict(results | {"yields": {"fleet": made_up}})
    assert text.startswith(
        f"Of 100 dies of {results['chip']}, 100 reach 0.90 with the robust network and 83 with the standard one (17 "
        "only with the robust one, 0 only with the standard one; exact McNemar test, p = 1.5e-05). The worst die has "
        "0.940 and 0.630."
    )


@pytest.mark.parametrize(
    ("ci95", "words"),
    [
        ((0.01, 0.03), "the robust network is better"),
        ((-0.03, -0.01), "the standard network is better"),
        ((-0.01, 0.03), "neither network is better for certain"),
        ((None, None), "neither network is better for certain"),
    ],
)
def test_the_verdict_names_whichever_wins(ci95, words, results):
    """The paired interval alone decides what the report says."""
    paired = {"difference": sum(map(float, [bound or 0 for bound in ci95])) / 2, "ci95": ci95, "better": 1, "n": 3}
    said = report.verdict(results | {"paired": paired})
    assert words in said and "nan" not in said and ("% interval" in said) == (ci95[0] is not None)


def test_report_draws_it_again(folder, tmp_path):
    """`report` on results.json alone writes every figure, the table and the page, byte for byte as the demo did."""
    (tmp_path / "results.json").write_bytes((folder / "results.json").read_bytes())
    assert cli("report", tmp_path).code == 0
    written = inside(tmp_path)
    assert written == {name for name in PROMISED if "/" not in name}
    assert [name for name in written if (tmp_path / name).read_bytes() != (folder / name).read_bytes()] == []


# Interruptions


def small(out: Path) -> dict:
    """A demo on few beats, its figures drawn but not rendered, without what it says before it trains."""

    def savefig(self, path, **options):
        Path(path).write_bytes(b"picture")

    said = {"first_result": lambda *_: "", "training_seconds": lambda *_: 0.0}
    with (
        mock.patch("matplotlib.figure.Figure.savefig", savefig),
        mock.patch.multiple(sys.modules[demo.__module__], **said),
    ):
        return demo(few_beats(), chipmodels.load("dynapse2"), out, size=SMALL, say=lambda line: None)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Folder and results of a small demo that nobody interrupted."""
    out = tmp_path_factory.mktemp("small")
    return out, untimed(small(out))


def logs(out: Path) -> list[pd.DataFrame]:
    """The training logs without the seconds they took."""
    return [pd.read_csv(out / name / "log.csv").drop(columns="seconds") for name in ("standard", "robust")]


def test_a_second_run_trains_nothing(undisturbed):
    """Trained networks are not trained again; the results are the same."""
    out, results = undisturbed
    with mock.patch.object(loop, "_epoch", side_effect=AssertionError("trained again")):
        assert untimed(small(out)) == results


@contextmanager
def ctrl_c(name, time):
    """An interruption as the file is put in its place for the n-th time in a run."""
    replace, seen = Path.replace, 0

    def interrupt(self, target):
        nonlocal seen
        seen += Path(target).name == name
        if Path(target).name == name and seen == time:
            raise KeyboardInterrupt
        return replace(self, target)

    with mock.patch.object(Path, "replace", interrupt), pytest.raises(KeyboardInterrupt):
        yield


def test_ctrl_c_loses_nothing(undisturbed, tmp_path):
    """Interrupted eight times, as one file after the other is put in its place: nothing is half-written, each run goes
    on from the one before, and the last one ends as if nothing happened."""
    names = ("log.csv", 2), ("model.safetensors", 1), ("config.json", 1), ("checkpoint.pt", 1), ("results.json", 1)
    for name, time in (("checkpoint.pt", 1), *names, ("fleet.svg", 1), ("report.html", 1)):
        with ctrl_c(name, time):
            small(tmp_path)
        assert inside(tmp_path) <= PROMISED | KEPT
        for path in tmp_path.rglob("*.*"):
            whole = {".json": lambda path: json.loads(path.read_text()), ".safetensors": load_file, ".csv": pd.read_csv}
            whole[".pt"] = lambda path: torch.load(path, weights_only=True)
            whole.get(path.suffix, Path.read_bytes)(path)
    assert untimed(small(tmp_path)) == undisturbed[1]
    assert inside(tmp_path) == PROMISED | KEPT
    for mine, truth in zip(logs(tmp_path), logs(undisturbed[0])):
        pd.testing.assert_frame_equal(mine, truth)


def test_ctrl_c_while_training_resumes_at_the_epoch(undisturbed, tmp_path):
    """Interrupted in the second epoch, only that is trained again, and the parameters are the same bit for bit."""
    epoch, calls = loop._epoch, []

    def interrupt(*arguments):
        calls.append(arguments[-1])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return epoch(*arguments)

    with mock.patch.object(loop, "_epoch", interrupt):
        with pytest.raises(KeyboardInterrupt):
            small(tmp_path)
        small(tmp_path)
    assert [number for _, number in calls] == [0, 1, 1, 0, 1]
    for label in ("standard", "robust"):
        mine, truth = (nr.nominal(nr.load(out / label)[0]) for out in (tmp_path, undisturbed[0]))
        assert all(torch.equal(mine[name], truth[name]) for name in truth)


def test_another_runs_folder_is_not_touched(undisturbed):
    """A demo of another seed or size does not go on in this folder, and says which setting differs."""
    out, _ = undisturbed
    before = (out / "results.json").read_bytes()
    with pytest.raises(ValueError, match=r"belongs to another run.*seed"):
        demo(few_beats(), chipmodels.load("dynapse2"), out, seed=5, size=SMALL, say=lambda line: None)
    assert (out / "results.json").read_bytes() == before


def test_the_test_part_is_never_trained_on(tmp_path):
    """With other test beats the trained network is the same bit for bit."""
    task = few_beats()
    swapped = replace(task, test=task.validation)
    found = []
    for i, each in enumerate((task, swapped)):
        network = each.network(chipmodels.load("dynapse2"), n_hidden=4, seed=0)
        nr.fit(network, each, each.loss, epochs=1, seed=0, out=tmp_path / str(i))
        found.append(nr.nominal(network))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_attacks_that_find_nothing_are_named_in_the_report(results):
    """One line for each network with an empty attack: which ones, that it proves nothing, and what to run."""
    changed = json.loads(json.dumps(results))
    for entry in changed["networks"].values():
        for found in entry["attacks"].values():
            for worst in found.values():
                worst["caution"] = ""
    assert report.cautions(changed) == []
    changed["networks"]["robust"]["attacks"]["quick"]["0.05"]["caution"] = "…"
    (line,) = report.cautions(changed)
    assert line.startswith("robust: the attacks quick 0.05 lowered") and "which proves nothing" in line
    assert "strong-1" in line and line in report.notes(changed)
    recorded = results["networks"]["robust"]["attacks"]["quick"]["0.05"]
    assert (recorded["version"], recorded["nominal"]) == (
        "quick-1+floor-1",
        results["networks"]["robust"]["nominal_attacked"],
    )
