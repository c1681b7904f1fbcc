"""``neurorobust.testing``: the checks, their files and messages, and the plugin for pytest."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import events, tiny
from demo_run import cli

import chipmodels
import neurorobust as nr
import neurorobust.testing.figures
from neurorobust._util import digests
from neurorobust.chip import snapshot as snapshots
from neurorobust.evaluation.dies import die_scores
from neurorobust.testing import Baseline, session
from neurorobust.testing.common import named_dies

pytest_plugins = ["pytester"]

CHIP = nr.mismatch(0.3)


@pytest.fixture
def here(tmp_path):
    """The surroundings of a test in a temporary folder; what it says is kept."""
    said = []
    with session.running(session.Session(tmp_path, figure=tmp_path / "figures" / "x", say=said.append)):
        yield said


def updating(folder: Path) -> session.Session:
    return session.Session(folder, update=True)


# ---- yield


@pytest.mark.parametrize(
    "chip", [CHIP, CHIP.with_noise(nr.noise.Membrane(0.1)), "ideal"], ids=["mismatch", "noise", "ideal"]
)
def test_scores_one_by_one_are_those_of_evaluate(network, data, chip):
    """Bit for bit, noise too, and the network is left in its mode when the iterator is closed early."""
    model = chipmodels.load(chip) if isinstance(chip, str) else chip
    scores = nr.evaluate(network, data, model, n_dies=20, seed=3).score.tolist()
    assert list(die_scores(network, data, model, range(20), 3)) == scores
    assert list(die_scores(network, data, model, (7, 2), 3)) == [scores[7], scores[2]]
    network.train()
    some = die_scores(network, data, model, range(20), 3)
    assert next(some) == scores[0]
    some.close()
    assert network.training


def test_a_good_yield_passes_and_stops_early(network, data):
    """Every die has a score ≥ 0: the fewest dies that can pass, 0.9ⁿ ≤ .05 for at_least = 1 and margin .1."""
    found = nr.testing.assert_yield(network, data, CHIP, spec=0, at_least=1.0)
    assert len(found.scores) == 29 and found.passed and found.verdict is True
    assert found.scores == tuple(nr.evaluate(network, data, CHIP, n_dies=29).score.tolist())


def test_a_bad_yield_fails_with_dies_and_figure(network, data, here, tmp_path):
    """The message names the dies, the largest miss first, the exact rates and the figure."""
    with pytest.raises(AssertionError) as error:
        nr.testing.assert_yield(network, data, CHIP, spec=1.0, at_least=0.9)
    text = str(error.value)
    found = nr.testing.check_yield(network, data, CHIP, spec=1.0, at_least=0.9)
    worst = min(range(len(found.scores)), key=lambda serial: found.scores[serial])
    assert f"failed after {len(found.scores)} dies: the yield is below 0.9" in text
    assert f"Below it: die {worst} (−{1 - found.scores[worst]:.3f})" in text
    assert "fails with probability 0.049 (asked: ≤ 0.05), one of 0.8 passes with 0.045 (asked: ≤ 0.05)" in text
    assert text.endswith(f"Figure: {tmp_path / 'figures' / 'x.png'}") and (tmp_path / "figures/x.png").is_file()


def test_an_undecided_yield_fails_by_name(network, data):
    with pytest.raises(AssertionError, match=r"undecided after 3 dies: .*; raise max_dies or margin\."):
        nr.testing.assert_yield(network, data, CHIP, spec=0, at_least=0.9, max_dies=3)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"chip": "dynapse3"}, ValueError, "chip: 'dynapse3' does not exist; choose one of .* Did you mean 'dynapse"),
        ({"chip": 3}, TypeError, "chip: got 3; expected the name of an installed chip model"),
        ({"spec": 90}, ValueError, "spec: got 90; expected a score from 0 to 1"),
        ({"seed": -1}, ValueError, "seed: got -1; expected an integer ≥ 0"),
        ({"data": None}, TypeError, "data: got a NoneType; expected"),
        ({"at_least": 95}, ValueError, "at_least: got 95; expected a yield"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(network, data, change, error, message):
    arguments = {"network": network, "data": data, "chip": CHIP, "spec": 0.5, "at_least": 0.9, **change}
    with pytest.raises(error, match=message):
        nr.testing.assert_yield(**arguments)


def test_a_long_list_of_dies_is_cut():
    assert named_dies(range(3), [0.0, 0.5, 0.1]) == "die 1 (−0.500), die 2 (−0.100)"
    assert named_dies(range(13), [0.1] * 13).endswith("die 9 (−0.100), and 3 more")
    assert named_dies([4], [-0.1]) == "none"


# ---- baseline


@pytest.fixture
def written(network, data, tmp_path):
    """A baseline of 20 dies, in the folder of the test."""
    with session.running(updating(tmp_path)):
        nr.testing.assert_not_worse(network, data, CHIP, baseline="base.json", n_dies=20, seed=2)
    return tmp_path / "base.json"


def test_a_baseline_holds_the_scores_of_evaluate(network, data, written, here):
    """And the same network on it has no difference; the file names chip, version, serials, seed and hashes."""
    entry = json.loads(written.read_text())
    fleet = nr.evaluate(network, data, CHIP, n_dies=20, seed=2)
    assert entry["scores"] == fleet.score.tolist() and entry["nominal"] == fleet.nominal
    assert entry["chip"] == {"label": "mismatch 0.3", "name": "mismatch 0.3", "version": 1}
    assert (entry["seed"], entry["serials"], entry["format"]) == (2, list(range(20)), "neurorobust-baseline/1")
    parts = b"x (12, 20, 3) torch.float64", data.x.numpy().tobytes(), b"y (12,) torch.int64", data.y.numpy().tobytes()
    assert entry["data_sha256"] == hashlib.sha256(b"".join(parts)).hexdigest()
    found = nr.testing.assert_not_worse(network, data, CHIP, baseline="base.json")
    assert found.passed and not found.differences.any() and "the network is the same" in str(found)


def test_a_worse_network_fails_with_dies_power_and_figure(network, data, written, here):
    """Against a baseline that was better on every die, by .2 on die 0 up to .39 on die 19."""
    before = Baseline.load(written)
    better = tuple(score + 0.2 + 0.01 * i for i, score in enumerate(before.scores))
    replace(before, scores=better, network_sha256="another").save(written)
    with pytest.raises(AssertionError) as error:
        nr.testing.assert_not_worse(network, data, CHIP, baseline="base.json", alpha=0.02, loss=0.2)
    text = str(error.value)
    assert "difference -0.2950 [" in text and "20 dies became worse: die 19 (−0.390), die 18 (−0.380)" in text
    assert "False alarms: at most 0.02. Power: a mean loss of 0.2 is found with a probability of" in text
    assert "the network is another one" in text and "figures/x.png" in text


def test_an_update_writes_only_what_changed(network, data, written, here):
    """The same network leaves the file alone; another one replaces it, on the dies of the old file."""
    stamp = written.stat().st_mtime_ns
    with session.running(updating(written.parent)):
        nr.testing.assert_not_worse(network, data, CHIP, baseline="base.json")
        assert written.stat().st_mtime_ns == stamp
        nr.testing.assert_not_worse(tiny(1), data, CHIP, baseline="base.json")
    assert Baseline.load(written).seed == 2 and len(Baseline.load(written).serials) == 20
    assert nr.testing.check_baseline(tiny(1), data, CHIP, baseline=written).passed
    written.write_text("{")  # a conflict of git, say
    with session.running(updating(written.parent)):
        nr.testing.assert_not_worse(network, data, CHIP, baseline="base.json", n_dies=8)
    assert len(Baseline.load(written).serials) == 8


def test_an_update_that_fails_leaves_the_old_file(network, data, written, monkeypatch):
    before = written.read_bytes()

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr("os.fsync", full)
    with session.running(updating(written.parent)), pytest.raises(OSError, match="no space"):
        nr.testing.assert_not_worse(tiny(1), data, CHIP, baseline="base.json")
    assert written.read_bytes() == before and [path.name for path in written.parent.iterdir()] == ["base.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chip": nr.mismatch(0.2)}, r"is of mismatch 0.3 version 1; got mismatch 0.2 version 1, whose dies differ"),
        ({"chip": replace(CHIP, version=2)}, r"got mismatch 0.3 version 2, whose dies differ"),
        ({"chip": CHIP.with_noise(nr.noise.Membrane(0.1))}, r"got mismatch 0.3, Membrane 0.1 version 1"),
        ({"data": events(5, 12)}, r"base.json: was measured on other data \(their hashes differ\)"),
        ({"n_dies": 30}, r"base.json: has n_dies 20; got n_dies=30; write it again"),
        ({"seed": 3}, r"base.json: has seed 2; got seed=3; write it again"),
        ({"n_dies": 4}, r"n_dies: got 4; expected an integer ≥ 8"),
        ({"loss": 0.001}, r"loss: got 0.001; expected more than the margin"),
    ],
)
def test_what_cannot_be_compared_is_refused(network, data, written, here, change, message):
    arguments = {"network": network, "data": data, "chip": CHIP, "baseline": "base.json", **change}
    with pytest.raises(ValueError, match=message):
        nr.testing.assert_not_worse(**arguments)


def test_data_of_another_type_are_refused(network, written, here):
    with pytest.raises(TypeError, match=r"data: got a NoneType; expected nr.data.Data"):
        nr.testing.assert_not_worse(network, None, CHIP, baseline="base.json")


def resealed(entry: dict) -> str:
    return json.dumps(digests.sealed(entry))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda entry: "{", "is no baseline: "),
        (lambda entry: "[1]", "is no baseline; expected a file that"),
        (lambda entry: json.dumps({**entry, "nominal": 0.5}), "is damaged or was edited"),
        (lambda entry: json.dumps(entry).replace('"seed": 2', '"seed": 2, "seed": 2'), "has the key 'seed' twice"),
        (lambda entry: json.dumps({**entry, "nominal": float("nan")}), "has the number NaN, which is not finite"),
        (lambda entry: resealed({**entry, "format": "neurorobust-baseline/2"}), "this version reads neurorobust-base"),
        (lambda entry: resealed({**entry, "seed": "2"}), 'seed: got "2"; expected integer'),
        (lambda entry: resealed({**entry, "more": 1}), "more: is unknown"),
        (lambda entry: resealed({**entry, "scores": entry["scores"][1:]}), "has 20 serial numbers and 19 scores"),
        (lambda entry: resealed({**entry, "serials": [0] * 20}), "expected one score for each of 8 different dies"),
    ],
)
def test_a_damaged_baseline_is_refused(network, data, written, here, edit, message):
    written.write_text(edit(json.loads(written.read_text())))
    with pytest.raises(ValueError, match=message) as error:
        nr.testing.assert_not_worse(network, data, CHIP, baseline="base.json")
    assert "\n" not in str(error.value)


def test_a_missing_baseline_says_how_to_write_it(network, data, here):
    with pytest.raises(FileNotFoundError, match=r"none\.json: does not exist; write it with `pytest --neurorobust-up"):
        nr.testing.assert_not_worse(network, data, CHIP, baseline="none.json")


# ---- robust


def test_a_floor_under_attack(network, data, here):
    """The check is the worst case of the suite; below the floor it says which attack, how much, and the budget."""
    ball, suite = nr.Ball(weight=0.5), nr.attacks.PGA(steps=3)
    worst = nr.worst_case(network, data, ball, suite)
    assert nr.testing.assert_robust(network, data, ball, floor=0, attack=suite).worst.score == worst.score
    with pytest.raises(AssertionError) as error:
        nr.testing.assert_robust(network, data, ball, floor=1, attack=suite)
    text = str(error.value)
    assert f"has {worst.score:.3f}, {1 - worst.score:.3f} below the floor 1" in text
    assert f"Found by {worst.attack}." in text and f"{worst.passes} passes over the data, seed 0" in text
    assert "figures/x.png" in text


def test_an_inconclusive_attack_is_said_and_passes(network, data, here):
    """No warning, which would fail a project whose warnings are errors: a line at the end of the report."""
    check = nr.testing.assert_robust(network, data, nr.Ball(weight=0.0), floor=0, attack=nr.attacks.quick())
    assert check.worst.inconclusive and "Caution: this attack lowered" in str(check)
    assert here == [f"assert_robust: {check.worst.caution}"]


def test_the_suite_is_the_strong_one_unless_said(network, data):
    found = nr.testing.check_robust(network, data.first(4), nr.Ball(weight=0.0), floor=0)
    assert found.worst.suite == "strong-1" and "strong-1, 863 passes" in str(found)
    with pytest.raises(ValueError, match="spec: got 2"):
        nr.testing.check_robust(network, data, nr.Ball(weight=0.1), floor=2)


def test_a_thing_that_is_no_check_has_no_figure(tmp_path):
    with pytest.raises(TypeError, match="expected the result of a check"):
        nr.testing.figures.save(3, tmp_path / "x")


# ---- chips


def test_a_chip_whose_numbers_changed_is_noticed(tmp_path, here):
    """Under the same version: raise it. In a new version: look at the drift. Then the update writes it."""
    chip = chipmodels.load("dynapse2")
    weight = chip.kinds["weight"]
    other = replace(chip, kinds={**chip.kinds, "weight": replace(weight, cv=replace(weight.cv, value=0.2))})
    with pytest.raises(FileNotFoundError, match="does not exist"):
        nr.testing.assert_chip_unchanged(chip, snapshot="chip.json")
    with session.running(updating(tmp_path)):
        nr.testing.assert_chip_unchanged("dynapse2", snapshot="chip.json")
        with pytest.raises(AssertionError, match="version is still 2; raise the version"):
            nr.testing.assert_chip_unchanged(other, snapshot="chip.json")
    nr.testing.assert_chip_unchanged(chip, snapshot="chip.json")
    new = replace(other, version=3)
    with pytest.raises(AssertionError, match=r"version 2 became version 3.*\n.*kinds.weight.cv: 0.099 .* → 0.2"):
        nr.testing.assert_chip_unchanged(new, snapshot="chip.json")
    with session.running(updating(tmp_path)):
        nr.testing.assert_chip_unchanged(new, snapshot="chip.json")
    assert snapshots.load(tmp_path / "chip.json")["version"] == 3
    with pytest.raises(ValueError, match="is of dynapse2; got pcm"):
        nr.testing.assert_chip_unchanged("pcm", snapshot="chip.json")


def test_the_commands_show_drift(tmp_path):
    """A snapshot against the installed model, and against another chip."""
    path = tmp_path / "old.json"
    assert cli("chips", "snapshot", "dynapse2", "--out", path).code == 0
    same = json.loads(cli("chips", "diff", path, "dynapse2", "--json").out)
    assert same["drift"] == {} and same["old"] == {"chip": "dynapse2", "version": 2}
    assert json.loads(cli("chips", "diff", path, "dynapse1", "--json").out)["drift"]["limits.tags"] == ["2048", "1024"]
    assert "numbers differ" in cli("chips", "diff", path, "dynapse1").out
    path.write_text(path.read_text().replace("2048", "2049"))
    damaged = cli("chips", "diff", path, "dynapse2")
    assert damaged.code == 2 and "is damaged or was edited" in damaged.err


def test_the_files_for_a_project(tmp_path):
    """A workflow and a test file that compiles; nothing is overwritten."""
    assert cli("testing", "init", tmp_path).code == 0
    workflow = (tmp_path / ".github/workflows/robustness.yml").read_text()
    assert f"neurorobust=={nr.__version__}" in workflow and "pytest tests/test_robustness.py" in workflow
    compile((tmp_path / "tests/test_robustness.py").read_text(), "x", "exec")
    again = cli("testing", "init", tmp_path)
    assert again.code == 2 and "robustness.yml: exists already" in again.err


# ---- the plugin

CODE = """
import pytest, torch
import neurorobust as nr
from conftest import events, tiny

CHIP = nr.mismatch(0.3)

@pytest.fixture
def network():
    return tiny()

@pytest.fixture
def data():
    return events(0, 12)
"""


@pytest.fixture
def project(pytester, monkeypatch):
    """A project of somebody else: ``run(test, *options)`` runs pytest in it, in this process."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))

    def run(test: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_it=CODE + test)
        arguments = ["-p", "neurorobust.testing.plugin", "-p", "no:randomly", "-W", "error", "--strict-markers"]
        return pytester.runpytest_inprocess(*arguments, *options)

    return run


def test_the_plugin_writes_and_compares_baselines(project, pytester):
    test = "def test_a(network, data):\n nr.testing.assert_not_worse(network, data, CHIP, baseline='b.json', n_dies=8)"
    project(test).stdout.fnmatch_lines(["*b.json: does not exist; write it with `pytest --neurorobust-update`*"])
    first = project(test, "--neurorobust-update")
    first.assert_outcomes(passed=1)
    first.stdout.fnmatch_lines(["*= neurorobust =*", "*b.json: written, 8 dies of mismatch 0.3 version 1*"])
    assert (pytester.path / "b.json").is_file()
    second = project(test)
    second.assert_outcomes(passed=1)
    second.stdout.no_fnmatch_line("*= neurorobust =*")


def test_a_failing_test_names_its_figure(project, pytester):
    """In the cache of pytest, or in a folder of one's own; the message is not cut."""
    test = "def test_a(network, data):\n nr.testing.assert_yield(network, data, CHIP, spec=1, at_least=1.0)"
    project(test).stdout.fnmatch_lines(
        ["*yield: failed after *", "*Below it: die *", "*Figure: *test_it-py-test_a.png"]
    )
    assert list((pytester.path / ".pytest_cache").rglob("*test_it-py-test_a.png"))
    project(test, "--neurorobust-figures", "shown", "-p", "no:cacheprovider").assert_outcomes(failed=1)
    assert (pytester.path / "shown" / "test_it-py-test_a.png").is_file()


def test_the_fixtures_follow_the_marker(project):
    """``fleet`` once, ``die`` for each die, ``worst_die`` the lowest score; a chip by name or as a model."""
    test = """
@pytest.mark.neurorobust(chip="dynapse2", dies=5, seed=4)
def test_fleet(fleet):
    assert fleet.serials == (0, 1, 2, 3, 4) and fleet.seed == 4 and fleet.model.name == "dynapse2"

@pytest.mark.neurorobust(chip=CHIP, dies=[3, 1])
class TestDies:
    def test_die(self, die):
        assert die.serial in (3, 1) and die.seed == 1

@pytest.mark.neurorobust(CHIP, dies=6)
def test_worst(worst_die, network, data):
    scores = nr.evaluate(network, data, CHIP, n_dies=6).score
    assert scores[worst_die.serial] == scores.min() < scores.max()
"""
    result = project(test, "-v")
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["*test_die?die 3? PASSED*", "*test_die?die 1? PASSED*"])


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("def test_a(fleet): pass", "*the fixture 'fleet' needs a marker: @pytest.mark.neurorobust(chip=*"),
        ("def test_a(die): pass", "*the fixture 'die' needs a marker*"),
        ("@pytest.mark.neurorobust(dies=3)\ndef test_a(fleet): pass", "*the marker neurorobust cannot be read (*chip*"),
        ("@pytest.mark.neurorobust('ideal', dies=0)\ndef test_a(die): pass", "*cannot be read (it names no dies)*"),
        ("@pytest.mark.neurorobust('ideall')\ndef test_a(fleet): pass", "*chip: 'ideall' does not exist*"),
    ],
)
def test_a_marker_that_cannot_be_read_is_refused(project, test, message):
    result = project(test)
    assert result.ret != 0
    assert fnmatch.filter([*result.outlines, *result.errlines], message)


def test_names_of_a_project_come_first(project):
    """A project may have fixtures of its own with these names; without a marker nothing is repeated."""
    project("@pytest.fixture\ndef die(): return 6\ndef test_a(die): assert die == 6").assert_outcomes(passed=1)


def test_the_plugin_is_off_until_used():
    """A run of pytest that does not use it imports neither torch nor numpy."""
    code = "import sys, neurorobust.testing.plugin; print([name for name in ('torch', 'numpy') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_outside_pytest_paths_start_at_the_working_directory(network, data, written, monkeypatch):
    monkeypatch.chdir(written.parent)
    with session.running(session.OUTSIDE):
        assert nr.testing.check_baseline(network, data, CHIP, baseline="base.json").passed
        assert session.current().figure is None
