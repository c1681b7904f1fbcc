"""Packages of other people, found through entry points: used by name; a broken one does not break the rest."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest
from pages import ROOT, walkthroughs

from neurorobust._util import discovery
from neurorobust.attacks.installed import attack_classes
from neurorobust.chip.installed import chip_models
from neurorobust.cli import main
from neurorobust.data.installed import find_task, task_functions
from neurorobust.export import exchange
from neurorobust.export.reader import Reader
from neurorobust.nn.installed import neuron_classes

FILES = {path.rpartition("/")[2]: code for path, code in walkthroughs().items()}
FINDERS = {
    "neurorobust.tasks": (task_functions, "busier.py", "busier"),
    "neurorobust.chips": (chip_models, "mychip.py", "mychip"),
    "neurorobust.neurons": (neuron_classes, "integrate_and_fire.py", "IntegrateAndFire"),
    "neurorobust.attacks": (attack_classes, "corners.py", "Corners"),
}
every_group = pytest.mark.parametrize("group", FINDERS)

USE = """
import json, sys
import torch
import neurorobust as nr
from neurorobust.cli import main
from neurorobust.nn.connections import Linear
from theirs.integrate_and_fire import IntegrateAndFire
from theirs.corners import Corners

folder = sys.argv[1]

def cli(*words):
    sys.argv = ["neurorobust", *words]
    try:
        main()
    except SystemExit as end:
        assert not end.code, words

cli("tasks", "list", "--json")
cli("info", "--json")
cli("train", "--task", "busier", "--chip", "mychip", "--method", "standard", "--epochs", "1", "--hidden", "8",
    "--out", folder + "/trained", "--json")
cli("evaluate", folder + "/trained", "--chip", "mychip", "--dies", "2", "--json")
one = nr.Network({"only": IntegrateAndFire(Linear(torch.ones(2, 3)), v_threshold=1.0)}, dt=1e-3)
again, _ = nr.load(nr.save(one, folder + "/saved"))
x = torch.rand(4, 20, 3)
same = torch.equal(nr.run(again, nr.nominal(again), x), nr.run(one, nr.nominal(one), x))
network, _ = nr.load(folder + "/trained")
task = nr.data.installed.find_task("busier")
worst = nr.worst_case(network, task.test, nr.Ball(weight=0.1), Corners(draws=2))
print(json.dumps({"loaded": type(again.only).__name__, "same": same, "passes": worst.passes}))
"""


def package(folder, name, files, groups):
    """An installed distribution ``name`` with a package ``name`` of these modules, under these entry point groups."""
    (folder / name).mkdir(parents=True)
    for file, code in {"__init__.py": "", **files}.items():
        (folder / name / file).write_text(code, encoding="utf-8")
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-dist\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("".join(f"[{group}]\nmine = {name}\n" for group in groups))


def test_what_an_installed_package_offers_is_used_like_ours(tmp_path):
    """A distribution with a task, a chip, a neuron and an attack, and one that is broken: the command line lists,
    trains and evaluates, a network with the neuron comes back from its file, the attack attacks; one warning."""
    package(tmp_path, "theirs", {file: FILES[file] for _, file, _ in FINDERS.values()}, FINDERS)
    package(tmp_path, "broken", {"bad.py": "import no_such_module\n"}, ["neurorobust.tasks"])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    command = [sys.executable, "-c", USE, str(tmp_path / "out")]
    (tmp_path / "out").mkdir()
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    tasks, info, trained, fleet, used = map(json.loads, ran.stdout.splitlines())
    assert tasks["busier"].startswith("Events on two channels") and "ecg" in tasks and "bad" not in tasks
    assert "mychip" in info["chips"] and "busier" in info["tasks"]
    assert "IntegrateAndFire" in info["neurons"] and "Corners" in info["attacks"]
    assert trained["epochs"] == 1 and fleet["chip"] == "mychip"
    assert used == {"loaded": "IntegrateAndFire", "same": True, "passes": 2}
    said = "neurorobust.tasks: package 'broken' of distribution 'broken-dist' cannot be imported"
    assert ran.stderr.count(said) == 1, ran.stderr


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """A function that offers a package of some modules under a group, next to what is installed."""
    monkeypatch.syspath_prepend(str(tmp_path))
    discovery._warn_once.cache_clear()
    names: list[str] = []

    def made(group, name, files):
        names.append(name)
        package(tmp_path, name, files, [group])
        importlib.invalidate_caches()
        points = [EntryPoint(name, name, group) for name in names]
        own = [EntryPoint("builtin", "chipmodels", "neurorobust.chips")]
        everything = [*points, *own]
        monkeypatch.setattr(
            discovery, "entry_points", lambda group: [point for point in everything if point.group == group]
        )

    yield made
    for name in [name for name in sys.modules if name.partition(".")[0] in names]:
        del sys.modules[name]


@every_group
def test_a_broken_package_is_left_out(group, offer):
    """One that raises while it is imported: a warning with the group, the package and the error; the others are there,
    and so is what comes with neurorobust."""
    find, file, name = FINDERS[group]
    before = set(find())
    offer(group, "broken", {"good.py": FILES[file], "bad.py": "1 / 0\n"})
    offer(group, "theirs", {file: FILES[file]})
    with pytest.warns(RuntimeWarning, match=rf"{group}: package 'broken' .*left out \(ZeroDivisionError: .*Update or"):
        found = find()
    assert set(found) == before | {name}


BROKEN = {
    "syntax": ("def :\n", "SyntaxError"),
    "import": ("import no_such_module\n", "ModuleNotFoundError"),
    "exit": ("import sys\nsys.exit(3)\n", "SystemExit"),
    "own": ("class Stop(BaseException): pass\nraise Stop('one\\ntwo')\n", "Stop: one two"),
    "recursion": ("def f(): f()\nf()\n", "RecursionError"),
    "memory": ("raise MemoryError\n", "MemoryError"),
    "lines": ("raise ValueError('one\\ntwo')\n", "ValueError: one two"),
}


@every_group
@pytest.mark.parametrize("kind", BROKEN)
def test_whatever_a_broken_package_raises_it_is_left_out(group, kind, offer):
    find, file, _ = FINDERS[group]
    code, error = BROKEN[kind]
    before = set(find())
    offer(group, "broken", {"good.py": FILES[file], "bad.py": code})
    with pytest.warns(RuntimeWarning, match=rf"{group}: package 'broken' .*left out \({error}") as caught:
        assert set(find()) == before
    assert "\n" not in str(caught[0].message)


@every_group
def test_an_interruption_while_a_package_is_imported_ends_the_program(group, offer):
    find, file, _ = FINDERS[group]
    offer(group, "broken", {file: FILES[file], "bad.py": "raise KeyboardInterrupt\n"})
    with pytest.raises(KeyboardInterrupt):
        find()


def test_what_a_package_prints_does_not_spoil_json(offer, capsys):
    offer("neurorobust.chips", "chatty", {"mychip.py": "print('hello')\n" + FILES["mychip.py"]})
    assert "mychip" in chip_models()
    assert capsys.readouterr() == ("", "hello\n")


def test_a_chip_that_is_none_is_left_out(offer):
    offer("neurorobust.chips", "broken", {"bad.py": "chip = {'name': 'bad'}\n"})
    with pytest.warns(RuntimeWarning, match=r"'chip' of module 'broken\.bad' is no chip model .*a dict, no ChipModel"):
        assert "dynapse2" in chip_models()


def test_an_entry_point_that_names_no_module_is_left_out(offer, monkeypatch):
    offer("neurorobust.chips", "theirs", {"mychip.py": FILES["mychip.py"]})
    good = discovery.entry_points("neurorobust.chips")
    bad = EntryPoint("bad", "no module; at all", "neurorobust.chips")
    monkeypatch.setattr(discovery, "entry_points", lambda group: [bad, *good] if group == bad.group else [])
    with pytest.warns(RuntimeWarning, match="package 'no module; at all' .*cannot be imported and is left out"):
        assert {"mychip", "dynapse2"} <= set(chip_models())


@pytest.mark.parametrize(
    "body",
    [
        "    def __init__(self):\n        raise OSError('no')\n",
        "    def __init__(self):\n        raise SystemExit(3)\n",
        "    name = 5\n",
    ],
)
def test_a_reader_of_nir_that_cannot_be_made_is_left_out(body, offer):
    code = f"from neurorobust.export.readers.nir import Nir\n\n\nclass Bad(Nir):\n{body}"
    offer(exchange.GROUP, "broken", {"bad.py": code})
    with pytest.warns(
        RuntimeWarning, match=r"broken\.bad\.Bad cannot be made and is left out \((OSError: no|SystemExit: 3|Type)"
    ):
        found = discovery.instances(exchange.package, Reader, exchange.GROUP)
    assert set(found) == set(exchange.readers())


def test_a_task_without_a_docstring_is_listed(offer, capsys, monkeypatch):
    offer("neurorobust.tasks", "theirs", {"busier.py": "def busier():\n    pass\n"})
    monkeypatch.setattr(sys, "argv", ["neurorobust", "tasks", "list", "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code and json.loads(capsys.readouterr().out)["busier"] == ""


@every_group
def test_two_of_one_name_are_refused(group, offer):
    """Two packages with an object of one name: the error names both modules."""
    find, file, name = FINDERS[group]
    offer(group, "theirs", {file: FILES[file]})
    offer(group, "others", {file: FILES[file]})
    stem = file.removesuffix(".py")
    with pytest.raises(ValueError, match=rf"two are named '{name}', in others\.{stem} and theirs\.{stem}; rename one"):
        find()


def test_a_name_of_ours_cannot_be_taken(offer):
    """A task ``ecg`` in somebody else's package does not stand in for ours."""
    offer("neurorobust.tasks", "theirs", {"ecg.py": FILES["busier.py"].replace("def busier(", "def ecg(")})
    with pytest.raises(ValueError, match=r"two are named 'ecg', in neurorobust\.data\.tasks\.ecg and theirs\.ecg"):
        find_task("ecg")


def test_a_single_module_is_a_package_too(tmp_path, monkeypatch):
    """An entry point that names a module, not a package: what the module holds."""
    (tmp_path / "busier.py").write_text(FILES["busier.py"])
    monkeypatch.syspath_prepend(str(tmp_path))
    points = [EntryPoint("mine", "busier", "neurorobust.tasks"), EntryPoint("again", "busier", "neurorobust.tasks")]
    monkeypatch.setattr(discovery, "entry_points", lambda group: points if group == "neurorobust.tasks" else [])
    try:
        assert find_task("busier").name == "busier"
        with pytest.raises(ValueError, match=r"task: 'busyer' does not exist.*Did you mean 'busier'"):
            find_task("busyer")
    finally:
        del sys.modules["busier"]
