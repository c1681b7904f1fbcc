"""One file each: the files of docs/extending.md are put in place and held to all contract tests of their kind.

Once at the paths that the page gives, in a copy of the repository, and once in somebody else's package that is found
through entry points.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

from found import ATTACKS, CHIPS, NEURONS, REGULARIZERS, RESETS, SURROGATES, TASKS
from pages import ROOT, walkthroughs

from neurorobust.train.methods import METHODS

PLACES = {
    "neurorobust/data/tasks": ("busier", TASKS["ecg"], "test_tasks_contract"),
    "chipmodels": ("mychip", CHIPS["xylo"], "test_chipmodels"),
    "neurorobust/nn/neurons": ("IntegrateAndFire", NEURONS["Lif"], "test_neuron_contracts"),
    "neurorobust/dynamics/surrogate": ("Gaussian", SURROGATES["Triangle"], "test_neuron_contracts"),
    "neurorobust/dynamics/resets": ("Scale", RESETS["Subtract"], "test_neuron_contracts"),
    "neurorobust/attacks": ("Corners", ATTACKS["PGA"], "test_attack_contracts"),
    "neurorobust/regularizers": ("Decay", REGULARIZERS["SAM"], "test_attack_contracts"),
    "neurorobust/train/methods": ("small_weights", next(iter(METHODS)), "test_methods"),
    "neurorobust/cli": ("rates", None, "test_cli"),
    "benchmarks/robustness/measurements": ("silence", None, "test_measurement_contracts"),
}
"""By folder: what the walk-through there is called in the tests, a neighbour of its kind, and the file of its
contracts."""

PINNED = "tests/test_chipmodels.py::test_the_first_die_is_pinned"
"""Not for a new chip: nobody has kept its first die yet."""

ELSEWHERE = {
    "neurorobust.tasks": "neurorobust/data/tasks",
    "neurorobust.chips": "chipmodels",
    "neurorobust.neurons": "neurorobust/nn/neurons",
    "neurorobust.attacks": "neurorobust/attacks",
}
"""By entry point group: the folder whose walk-through a package may offer, too."""


def contracts(folder: str) -> set[str]:
    """The tests that are made for every object of a kind: those with its neighbour among their parameters."""
    _, neighbour, file = PLACES[folder]
    module = import_module(file)
    if folder == "neurorobust/cli":
        neighbour = next(path for path in module.COMMANDS if path == ("train",))
    if folder == "benchmarks/robustness/measurements":
        neighbour = module.MEASUREMENTS["nominal"]
    return {
        name
        for name, value in vars(module).items()
        for mark in getattr(value, "pytestmark", ())
        if mark.name == "parametrize" and any(entry is neighbour for entry in mark.args[1])
    }


def run_contracts(folders: list[str], where: Path, on_path: Path) -> dict[str, set[str]]:
    """Run the contract tests of the walk-throughs of some folders; by folder those that passed.

    Args:
        folders: keys of ``PLACES``. where: the repository, or a copy. on_path: found before what is installed.
    """
    names = {PLACES[folder][0] for folder in folders}
    files = sorted({f"tests/{PLACES[folder][2]}.py" for folder in folders})
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    environment |= {"PYTHONPATH": str(on_path), "PYTHONDONTWRITEBYTECODE": "1"}
    options = ["-q", "-rA", "-n0", "-p", "no:randomly", "-p", "no:cacheprovider", f"--deselect={PINNED}"]
    command = [sys.executable, "-m", "pytest", *options, "-k", " or ".join(sorted(names))]
    ran = subprocess.run([*command, *files], cwd=where, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    passed = re.findall(r"^PASSED tests/(\w+)\.py::(\w+)\[(.*)\]", ran.stdout, re.MULTILINE)
    assert passed and "SKIPPED" not in ran.stdout, ran.stdout
    return {
        folder: {test for file, test, ids in passed if file == PLACES[folder][2] and PLACES[folder][0] in ids}
        for folder in folders
    }


def copy(where: Path, files: dict[str, str]) -> Path:
    """The repository with more files in it: links to ours, and folders of its own where something is added."""

    def fill(folder: Path) -> None:
        here = where / folder
        here.mkdir(parents=True)
        added = {Path(path).relative_to(folder).parts[0] for path in files if Path(path).is_relative_to(folder)}
        for entry in sorted((ROOT / folder).iterdir()):
            if entry.is_dir() and entry.name in added:
                fill(folder / entry.name)
            elif entry.name not in (".git", "__pycache__"):
                (here / entry.name).symlink_to(entry)

    fill(Path())
    for path, code in files.items():
        assert not (where / path).exists(), f"{path} is there already"
        (where / path).write_text(code, encoding="utf-8")
    return where


def expected(folders: list[str]) -> dict[str, set[str]]:
    """By folder, what a walk-through has to pass."""
    return {folder: contracts(folder) - {PINNED.rpartition("::")[2]} for folder in folders}


def test_the_page_names_the_groups_that_are_searched():
    """A package under a group of another name would never be found, and nothing would say so."""
    block = re.search(r"```toml\n(\[project.entry-points\].*?)```", (ROOT / "docs/extending.md").read_text(), re.DOTALL)
    assert block and set(tomllib.loads(block[1])["project"]["entry-points"]) == set(ELSEWHERE)


def test_the_page_names_the_tests_of_its_files():
    """The command below each kind runs the contract tests of the walk-through."""
    text = (ROOT / "docs/extending.md").read_text()
    named = {(file, name) for file, name in re.findall(r"pytest -n 0 tests/(\w+)\.py -k (\w+)", text)}
    assert named <= {(file, name) for name, _, file in PLACES.values()}
    assert {file for file, _ in named} == {
        PLACES[folder][2] for folder in PLACES if not folder.endswith(("cli", "measurements"))
    }


def test_every_walk_through_has_contracts():
    """One file of the page in each folder above, and at least two contracts for its kind."""
    assert sorted(str(Path(path).parent) for path in walkthroughs()) == sorted(PLACES)
    assert all(len(tests) >= 2 for tests in expected(list(PLACES)).values())


def test_files_in_place_meet_every_contract(tmp_path):
    """In a copy of the repository with the page's files in it: every contract that a neighbour is held to."""
    where = copy(tmp_path / "repository", walkthroughs())
    assert run_contracts(list(PLACES), where, where) == expected(list(PLACES))


def test_files_elsewhere_meet_every_contract(tmp_path):
    """The same files in a package of somebody else, found through entry points: held to the same contracts."""
    folders = list(ELSEWHERE.values())
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "__init__.py").touch()
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("".join(f"[{group}]\nmine = theirs\n" for group in ELSEWHERE))
    for path, code in walkthroughs().items():
        if str(Path(path).parent) in folders:
            (tmp_path / "theirs" / Path(path).name).write_text(code, encoding="utf-8")
    assert run_contracts(folders, ROOT, tmp_path) == expected(folders)
