"""Every call that touches a file fails in turn, in four ways, once or from then on: the old file or the new one, never
neither and never half; an error in one line that names the file; no temporary file and no lock stays. SQLite is tested
so."""

from __future__ import annotations

import ast
import os
import random
import signal
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from conftest import tiny
from deep import DEEP, cases
from faulty import FAULTS, content, failing, put
from imaged import dpi_network
from placed import placed
from test_explorer import record

import chipmodels
import neurorobust as nr
from neurorobust._util import digests, files
from neurorobust.chip import snapshot
from neurorobust.data import synthesis
from neurorobust.deploy import Events, VirtualChip
from neurorobust.kernels.numba_loops import jit
from neurorobust.testing.baseline import Baseline
from neurorobust.train.descent import Descent, Schedule
from neurorobust.train.loop import History, _save
from neurorobust.viz import explorer, fleets, plotting

CHIP = chipmodels.load("dynapse2")
PACKAGE = Path(nr.__file__).parent
MOST = 400  # calls of one save

Write = Callable[[Path], object]


@dataclass(frozen=True)
class Writer:
    """Attributes: make: from a seed to a function that writes into a folder; whatever has to be computed before is.
    read: reads what was written, None where its bytes alone count."""

    make: Callable[[int], Write]
    read: Callable[[Path], object] | None = None


def network(seed: int) -> nr.Network:
    made = tiny()
    with torch.no_grad():
        next(made.parameters()).add_(seed)
    return made


def model(seed: int) -> Write:
    made = network(seed)
    return lambda folder: nr.save(made, folder)


def checkpoint(seed: int) -> Write:
    made = network(seed)
    descent = Descent(made, 2, Schedule(batch_size=8))
    states = {name: dict(made.named_parameters()) for name in ("best", "now")}
    return lambda folder: _save(folder / "checkpoint.pt", {"seed": seed}, History(epochs_planned=2), states, descent)


def die(seed: int) -> Write:
    made = CHIP.fabricate([seed], 1)[0]
    return lambda folder: made.save(folder / "die.json")


def deployment(seed: int) -> Write:
    made = nr.deploy.onto(placed([0, 0, 1], seed=seed), CHIP)
    return lambda folder: made.save(folder / "net.json")


def image(seed: int) -> Write:
    made = nr.deploy.onto(dpi_network(((0, 1),), v_threshold=0.05 + 0.01 * seed), CHIP).image()
    return lambda folder: made.save(folder / "image.json")


def recordings(seed: int) -> Write:
    made = nr.deploy.onto(dpi_network(((0, 1),), v_threshold=0.05 + 0.01 * seed), CHIP)
    with VirtualChip(CHIP, 0).open() as session:
        session.program(made)
        found = session.run(Events([0.0], [0]), 0.01)
    return lambda folder: nr.deploy.save_recordings(folder / "run.json", made, [found])


def results(seed: int) -> Write:
    return lambda folder: digests.write_json(folder / "results.json", {"score": seed / 7, "long": "x" * 30_000})


def baseline(seed: int) -> Write:
    made = Baseline("dynapse2", "dynapse2", 1, 0, tuple(range(9)), 0.9, (0.5 + seed / 9,) * 9, "0" * 64, "1" * 64)
    return lambda folder: made.save(folder / "baselines" / "net.json")


def chip_file(seed: int) -> Write:
    made = chipmodels.load("dynapse2") if seed else chipmodels.load("rolls")
    return lambda folder: chipmodels.save(made, folder / "mine.py")


def chip_snapshot(seed: int) -> Write:
    made = chipmodels.load("dynapse2") if seed else chipmodels.load("dynapse1")
    return lambda folder: snapshot.save(made, folder / "snapshot.json")


def fleet(seed: int) -> Write:
    made = record(scores=(0.9, 0.5, 0.75, 0.5 + seed / 10))
    return lambda folder: fleets.keep([made], folder)


def explorer_page(seed: int) -> Write:
    made = record(scores=(0.9, 0.5, 0.75, 0.5 + seed / 10))
    text = explorer.page([made])
    return lambda folder: (files.make_folder(folder / "out"), files.write_text(folder / "out" / "page.html", text))


def figure(seed: int) -> Write:
    made = matplotlib.figure.Figure()
    made.add_subplot().plot([0, seed + 1])

    def write(folder: Path) -> None:
        with matplotlib.rc_context(plotting.STYLE):  # in which SVG has no random names
            plotting.save_figure(made, folder / "curve")

    return write


def spiking(seed: int) -> nr.Network:
    weight = nr.nn.Linear(torch.full((2, 3), 1.0 + seed))
    return nr.Network({"a": nr.nn.Lif(weight, tau_mem=0.01, v_threshold=0.02, reset=nr.nn.ToValue())}, dt=1e-3)


def nir(seed: int) -> Write:
    pytest.importorskip("h5py")
    made = spiking(seed)
    return lambda folder: nr.to_nir(made, folder / "net.nir")


def pynn(seed: int) -> Write:
    made = spiking(seed)
    return lambda folder: nr.to_pynn(made, folder / "net_pynn")


def sounds(seed: int) -> Write:
    made = [np.arange(2000, dtype=np.int16) * (seed + 1)]
    return lambda folder: synthesis._write(folder / "words.npz", made)


def compiled_code(seed: int) -> Write:
    return lambda folder: jit._CheckedFiles(str(folder), "loop").save(("float64",), "code" * (seed + 1))


def table(seed: int) -> Write:
    return lambda folder: files.write_text(folder / "log.csv", f"epoch,loss\n0,{seed}\n")


def locked(seed: int) -> Write:
    def write(folder: Path) -> None:
        with warnings.catch_warnings(action="ignore"), files.locked(folder):  # that it cannot be locked
            table(seed)(folder)

    return write


WRITERS = {
    "model": Writer(model, nr.load),
    "checkpoint": Writer(checkpoint, lambda folder: digests.check_appended(folder / "checkpoint.pt", "")),
    "die": Writer(die, lambda folder: chipmodels.load_die(folder / "die.json")),
    "deployment": Writer(deployment, lambda folder: nr.deploy.load(folder / "net.json", CHIP)),
    "image": Writer(image, lambda folder: nr.deploy.load_image(folder / "image.json")),
    "recordings": Writer(recordings, lambda folder: nr.deploy.Replay(folder / "run.json")),
    "results": Writer(results, lambda folder: digests.read_json(folder / "results.json", "")),
    "baseline": Writer(baseline, lambda folder: Baseline.load(folder / "baselines" / "net.json")),
    "chip file": Writer(chip_file, lambda folder: chipmodels.load(str(folder / "mine.py"))),
    "chip snapshot": Writer(chip_snapshot, lambda folder: snapshot.load(folder / "snapshot.json")),
    "fleet": Writer(fleet),
    "explorer page": Writer(explorer_page),
    "figure": Writer(figure),
    "NIR": Writer(nir, lambda folder: nr.from_nir(folder / "net.nir", dt=1e-3)),
    "PyNN": Writer(pynn),
    "sounds": Writer(sounds, lambda folder: synthesis._read(folder / "words.npz")),
    "compiled code": Writer(compiled_code),
    "table": Writer(table),
    "folder in use": Writer(locked),
}


PASSING = (files.TEMPORARY, ".lock")
"""Ends of the names of files that a save removes again."""


def left(folder: Path) -> list[str]:
    """Temporary files and locks."""
    return [name for name in content(folder) if name.endswith(PASSING)]


SLOW = ("figure", "NIR", "PyNN")
"""Writers that are tried with a full disk only, but under ``make deep``."""
PAIRS = [(name, fault) for name in WRITERS for fault in FAULTS if DEEP or name not in SLOW or fault == "ENOSPC"]


@pytest.mark.deep
@pytest.mark.parametrize(("name", "fault"), PAIRS)
def test_a_fault_leaves_the_old_file_or_the_new_one(name, fault, tmp_path):
    """For every n until the save succeeds: the n-th call fails, or it and all later ones."""
    writer = WRITERS[name]
    save_old, save_new = writer.make(0), writer.make(1)
    save_new(tmp_path)
    new = content(tmp_path)
    put(tmp_path, {})
    save_old(tmp_path)
    old = content(tmp_path)
    assert old.keys() == new.keys() and old != new
    for for_good in (False, True)[: 1 if fault == "EINTR" else 2]:  # Python tries again for ever
        for n in range(MOST):
            put(tmp_path, old)
            with failing(tmp_path, n, fault, for_good) as machine:
                try:
                    save_new(tmp_path)
                    said = None
                except (OSError, MemoryError) as error:
                    said = error
            where = (name, fault, n, for_good, type(said), str(said))
            if said is not None and fault != "MemoryError":
                assert isinstance(said, OSError), where
                check_words(str(said), tmp_path, new, where)
            stale = left(tmp_path)
            assert for_good or not stale or machine.calls > n, where
            found = {key: value for key, value in content(tmp_path).items() if not key.endswith(PASSING)}
            assert found.keys() == old.keys(), where
            assert all(found[key] in (old[key], new[key]) for key in found), where
            assert said is not None or found == new, where
            if writer.read is not None:
                writer.read(tmp_path)
            save_new(tmp_path)  # sweeps what could not be removed
            assert content(tmp_path) == new, where
            if machine.calls <= n:
                break
        else:
            pytest.fail(f"{name}: more than {MOST} calls")
        assert n > 4


def check_words(words: str, folder: Path, names: dict[str, bytes], where: object) -> None:
    """One line that names a file or its folder, and no temporary file."""
    named = {Path(name).name for name in names} | {str((folder / name).parent) for name in names}
    assert "\n" not in words and files.TEMPORARY not in words, where
    assert any(name in words for name in named), where


@pytest.mark.parametrize("fault", ["ENOSPC", "EIO"])
def test_a_lock_needs_no_room(fault, tmp_path, monkeypatch):
    """Who holds a lock is written for others only; so an error names a file that matters, and no lock stays."""

    def full(*_: object) -> int:
        raise OSError(FAULTS[fault], os.strerror(FAULTS[fault]))

    monkeypatch.setattr(os, "write", full)
    with files.locked(tmp_path), pytest.raises(files.InUse, match="just started"), files.locked(tmp_path):
        pass
    assert content(tmp_path) == {}


# Memory that ends anywhere, in the interpreter itself.


@pytest.mark.deep
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("name", ["model", "checkpoint", "die", "deployment"])
def test_no_memory_for_the_nth_object(name, tmp_path):
    """CPython's own allocations fail at the n-th and the next, in a forked process: it raises or dies, and the file is
    whole."""
    exhausted = pytest.importorskip("_testcapi").set_nomemory
    save_old, save_new = WRITERS[name].make(0), WRITERS[name].make(1)
    save_new(tmp_path)
    new = content(tmp_path)
    save_old(tmp_path)
    old = content(tmp_path)
    ends = []
    for case in cases(f"no memory {name}", here=25, deep=1000):
        n = random.Random(case).randrange(6000)
        put(tmp_path, old)
        pid = os.fork()
        if pid == 0:
            signal.alarm(30)
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                exhausted(n, n + 2)
                save_new(tmp_path)
                os._exit(0)
            except BaseException:
                os._exit(1)
        _, status = os.waitpid(pid, 0)
        assert not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM), (case, n)
        found = {key: value for key, value in content(tmp_path).items() if not key.endswith(files.TEMPORARY)}
        assert all(found[key] in (old[key], new[key]) for key in old) and found.keys() == old.keys(), (case, n)
        WRITERS[name].read(tmp_path)
        ends.append(status)
        save_new(tmp_path)
        assert content(tmp_path) == new, (case, n)
    assert any(ends)


# No other writer.

WRITES = {
    "write_text",
    "write_bytes",
    "savefig",
    "save_file",
    "savez",
    "savez_compressed",
    "savetxt",
    "to_csv",
    "touch",
}
"""Methods and functions that write a file, by their last name."""
MODES = set("wax+")
ALLOWED = {
    "_util/files.py": {"open", "write_text"},  # the writer itself
    "_util/digests.py": {"open"},  # adds a digest to a temporary file
}


def writes_of(path: Path) -> list[tuple[int, str]]:
    """Line and name of every call in a module that writes a file, outside of a block of ``replacing``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(each)
        for block in ast.walk(tree)
        if isinstance(block, ast.With) and "replacing(" in ast.unparse(block.items[0].context_expr)
        for each in ast.walk(block)
    }
    found = []
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and id(call) not in inside and (name := written_by(call)):
            found.append((call.lineno, name))
    return found


def written_by(call: ast.Call) -> str | None:
    """The name of a call that writes a file, else None."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    whole = ast.unparse(call.func)
    if name == "open" or whole == "h5py.File":
        words = [word.value for word in call.keywords if word.arg == "mode"]
        places = call.args[:1] if isinstance(call.func, ast.Attribute) and whole != "h5py.File" else call.args[1:2]
        texts = [each.value for each in (*places, *words) if constant(each)]
        return name if any(set(text) & MODES for text in texts) else None
    if whole in ("np.save", "numpy.save", "torch.save", "shutil.copyfile", "shutil.copy", "shutil.move", "os.rename"):
        return whole
    if whole == "files.write_text" or (name in ("to_csv", "savefig") and not call.args):
        return None
    return name if name in WRITES else None


def constant(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


MEMORY = {("export/hdf5.py", "File"), ("viz/explorer.py", "savefig")}
"""Writes into memory, from where :func:`replacing` takes them."""


def test_there_is_no_other_writer():
    """Every file of the package is written through ``_util.files``."""
    found = {
        (str(path.relative_to(PACKAGE)), line, name)
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, name in writes_of(path)
    }
    wrong = [
        (path, line, name)
        for path, line, name in sorted(found)
        if name not in ALLOWED.get(path, ()) and (path, name) not in MEMORY
    ]
    assert wrong == []
    assert {path for path, _, _ in found} >= {"_util/files.py", "_util/digests.py"}


SCRIPTS = {
    ("benchmarks/robustness/check.py", "shutil.copy"),  # into a temporary folder
    ("benchmarks/speed/beside.py", "write_text"),  # to the kernel
    ("docs/browser.py", "write_bytes"),  # a screenshot
    ("docs/chip_pages.py", "savefig"),  # into memory
    ("docs/explorer_page.py", "write_bytes"),  # into the build of the documentation
    ("docs/notebooks.py", "write_text"),  # the small tutorials of a test
    (".ci/release/backend.py", "open"),  # builds packages, and so imports nothing of this one
    (".ci/release/backend.py", "write_bytes"),
    (".ci/release/packages.py", "shutil.copyfile"),
}
"""Writes of scripts that need not be whole after a kill."""


def test_scripts_write_through_the_same_writer():
    """Those of the benchmarks, the documentation and the packages, whose files are kept in the repository."""
    root = PACKAGE.parent
    found = {
        (str(path.relative_to(root)), name)
        for folder in ("benchmarks", "docs", ".ci")
        for path in sorted((root / folder).rglob("*.py"))
        if "_build" not in path.parts
        for _, name in writes_of(path)
    }
    assert found == SCRIPTS


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("Path('a').write_text('b')", "write_text"),
        ("open('a', 'w')", "open"),
        ("path.open(mode='ab')", "open"),
        ("h5py.File(path, 'w')", "File"),
        ("np.save('a', b)", "np.save"),
        ("torch.save(a, b)", "torch.save"),
        ("frame.to_csv(path)", "to_csv"),
        ("open('a')", None),
        ("open('ab')", None),
        ("session.open()", None),
        ("path.open('rb')", None),
        ("frame.to_csv()", None),
        ("with files.replacing(p) as t:\n    t.write_text('b')", None),
    ],
)
def test_a_writer_is_seen(line, name, tmp_path):
    path = tmp_path / "a.py"
    path.write_text(line)
    found = writes_of(path)
    if name is not None and line.startswith("h5py"):
        assert found and found[0][1] == "File"
    else:
        assert [each for _, each in found] == ([] if name is None else [name])
