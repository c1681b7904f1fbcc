"""No damaged file is taken for another one, no two runs share a folder, and a killed run leaves nothing behind."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny
from deep import DEEP, cases
from demo_run import cli
from made_up import record
from mini_study import MINI
from test_training import SCHEDULE, student
from torch.nn import functional

import chipmodels
import neurorobust as nr
from benchmarks.robustness.archive import archived, write_xz
from benchmarks.robustness.cell import Cell
from benchmarks.robustness.worst_dies import store_die, stored_die
from neurorobust._util import digests, files
from neurorobust.chip.measured import MeasuredNormals
from neurorobust.core.run import nominal
from neurorobust.data import synthesis
from neurorobust.io import models, zoo
from neurorobust.kernels.numba_loops import jit
from neurorobust.train.loop import fit
from neurorobust.viz import report

TESTS = Path(__file__).parent
ENVIRONMENT = os.environ | {"PYTHONPATH": str(TESTS.parent)}


def model(folder):
    """Configuration and tensors of a model folder."""
    config, tensors = models._read(folder)
    kept = {key: value for key, value in config.items() if key != "digest"}
    return json.dumps(kept), digests.of_tensors(tensors)


def resumed(task, path):
    """The network and the history of a finished run."""
    network = student()
    history = fit(network, task, functional.cross_entropy, epochs=1, schedule=SCHEDULE, out=path.parent)
    return digests.of_tensors(nominal(network)), str(history.rows)


def die(path):
    """A die, its measured normals included."""
    found = chipmodels.load_die(path)
    return found.model.name, found.serial, found.seed, found.time, json.dumps(found.measured.entry())


@pytest.fixture
def formats(tmp_path, task):
    """Every kind of file: its paths, and a function that reads its content."""
    chip = chipmodels.load("dynapse2")
    normals = {"tau_mem": torch.randn(1, 1, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))}
    measured = replace(chip.fabricate([3], 1)[0], measured=MeasuredNormals(normals, normals))
    cell = Cell(MINI, "standard", 0, tmp_path / "grid")
    cell.folder.mkdir(parents=True)
    cell.write(record(cell, values=[0.1, 0.2]))
    store_die(tiny(), {name: 0.1 * torch.ones_like(value) for name, value in nominal(tiny()).items()}, "0.1", cell)
    write_xz(tmp_path / "grid" / "cells.jsonl.xz", json.dumps(record(cell, x=1.5)))
    digests.write_json(
        tmp_path / "results.json", {"networks": {"standard": {"fleet": {"balanced_accuracy": [0.25, 0.5]}}}}
    )
    words = tmp_path / "words.npz"
    synthesis._write(words, [np.arange(40, dtype=np.int16), np.arange(9, dtype=np.int16)])
    code, key = jit._CheckedFiles(str(tmp_path), "loop"), (("float64",), "machine", "code")
    code.save(key, {"code": b"compiled" * 20})
    plain, packed = nr.save(tiny(), tmp_path / "plain"), nr.save(tiny(), tmp_path / "packed", packed=True)
    both, shipped = ("config.json", "model.safetensors"), zoo.FOLDER / "ecg/standard"
    (tmp_path / "zoo").mkdir()
    for name in both:
        (tmp_path / "zoo" / name).write_bytes((shipped / name).read_bytes())
    (tmp_path / "run").mkdir()
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    resumed(task, checkpoint)
    single = {
        checkpoint: partial(resumed, task, checkpoint),
        measured.save(tmp_path / "die.json"): partial(die, tmp_path / "die.json"),
        cell.folder / "cell.json": cell.read,
        cell.folder / "die-0.1.npz": lambda: digests.of_tensors(stored_die("0.1", "standard/0", cell)),
        tmp_path / "grid" / "cells.jsonl.xz": lambda: str(archived(tmp_path / "grid")),
        tmp_path / "results.json": lambda: report.read(tmp_path),
        words: lambda: str(synthesis._read(words)),
        code.path(key): lambda: str(code.load(key)),
    }
    folders = {"plain": plain, "packed": packed, "zoo": tmp_path / "zoo"}
    return single | {folder / name: partial(model, folder) for folder in folders.values() for name in both}


def outcome(path, read, whole):
    """Of a file that may be damaged: "same" content, "refused" in our words, or what went wrong."""
    try:
        found = read()
    except (ValueError, OSError) as error:
        words = str(error)
        return "refused" if path.name in words and "\n" not in words else f"{type(error).__name__}: {words}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "same" if found == whole else "refused" if found == "None" else f"another content: {found}"


@pytest.mark.deep
def test_no_flipped_bit_is_taken_for_another_content(formats):
    """Each case: one bit of one file of every kind, half of them in its first or last bytes, where headers are."""
    whole = {path: read() for path, read in formats.items()}
    paths, n = list(formats), len(formats)
    for case in cases("flipped bits", here=20 * n, deep=400 * n):
        path, draw = paths[case % n], random.Random(case)
        data = bytearray(path.read_bytes())
        edge = min(len(data), 2048)
        place = draw.choice([draw.randrange(len(data)), draw.randrange(edge), len(data) - 1 - draw.randrange(edge)])
        kept = bytes(data)
        data[place] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        found = outcome(path, formats[path], whole[path])
        path.write_bytes(kept)
        assert found in ("same", "refused"), (case, path.name, place)
    assert {path.name: outcome(path, read, whole[path]) for path, read in formats.items()} == {
        path.name: "same" for path in formats
    }


def test_cut_and_foreign_files_are_refused_in_words(formats):
    """Empty, cut in half, without its last byte, and the text of somebody else."""
    for path, read in formats.items():
        whole, kept = read(), path.read_bytes()
        for data in (b"", kept[: len(kept) // 2], kept[:-1], b"something else\n", b"[1, 2]", b"{}"):
            path.write_bytes(data)
            found = outcome(path, read, whole)
            assert found == "refused" or (found == "same" and kept[:-1] == data), (path.name, data[:20], found)
        path.write_bytes(kept)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_the_file_that_is_damaged_is_named(name, tmp_path):
    """One value of a tensor, one number of the configuration: nothing is loaded."""
    folder = nr.save(tiny(), tmp_path / "model")
    data = (folder / name).read_bytes()
    at = data.index(b"0.001") + 4 if name == "config.json" else len(data) - 8
    (folder / name).write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(ValueError, match=rf"model folder .*{name} is damaged or was edited"):
        nr.load(folder)


def test_a_save_between_two_files_is_one_whole_model(tmp_path):
    """The tensors of the second network, the configuration of the first: the second is loaded, with its own info."""
    first = nr.save(tiny(), tmp_path / "a", {"seed": 1})
    second = nr.save(tiny(seed=7), tmp_path / "b", {"seed": 2})
    (first / "model.safetensors").write_bytes((second / "model.safetensors").read_bytes())
    network, info = nr.load(first)
    assert info == {"seed": 2}
    assert all(torch.equal(value, tiny(seed=7).state_dict()[name]) for name, value in network.state_dict().items())


def test_a_die_of_an_earlier_version_is_loaded_with_a_warning(tmp_path):
    """Without a digest its damage is not seen; one that has lost its digest is refused."""
    path = chipmodels.load("dynapse2").fabricate([3], 1)[0].save(tmp_path / "die.json")
    entry = json.loads(path.read_text())
    digest = entry.pop("sha256")
    path.write_text(json.dumps(entry | {"format": "neurorobust-die/1"}))
    with pytest.warns(UserWarning, match="without a digest, so damage is not seen"):
        assert chipmodels.load_die(path).serial == 3
    for wrong in (entry, entry | {"format": "neurorobust-die/1", "sha256": digest}):
        path.write_text(json.dumps(wrong))
        with pytest.raises(ValueError, match=r"die\.json"):
            chipmodels.load_die(path)


def test_each_wrong_entry_of_a_die_is_one_sentence(tmp_path):
    """Removed or of another type, with a digest that fits."""
    path = chipmodels.load("dynapse2").fabricate([3], 1)[0].save(tmp_path / "die.json")
    entry = digests.read_json(path, "")
    for key in entry:
        for other in (None, [], "x", {"x": 1}):
            digests.write_json(path, {**entry, key: other})
            with pytest.raises(ValueError, match=r"^die|'x' does not exist"):
                chipmodels.load_die(path)
    digests.write_json(path, entry | {"measured": {"common": 3}})
    with pytest.raises(ValueError, match="measured: not the normals of a die"):
        chipmodels.load_die(path)


def test_a_cell_with_another_network_is_refused(tmp_path):
    """The measurements of one network are never written beside those of another."""
    cell = Cell(MINI, "standard", 0, tmp_path)
    nr.save(tiny(), cell.folder, packed=True)
    cell.write(record(cell, model_sha256=digests.of_file(cell.folder / "model.safetensors")))
    assert cell.model_folder() == cell.folder
    nr.save(tiny(seed=7), cell.folder, packed=True)
    with pytest.raises(ValueError, match=r"model\.safetensors is not the network that was measured"):
        cell.model_folder()


# Two runs on one folder


def test_a_folder_has_one_run(task, tmp_path):
    """The second is refused with folder and process, and nothing changes; afterwards the folder is free."""
    words = rf"folder {str(tmp_path)!r} is in use by another run \(process {os.getpid()} on "
    train = partial(fit, task=task, loss=functional.cross_entropy, epochs=1, schedule=SCHEDULE, out=tmp_path)
    network = student()
    with files.locked(tmp_path, ".fit.lock"), pytest.raises(OSError, match=words):
        train(network)
    assert digests.of_tensors(nominal(network)) == digests.of_tensors(nominal(student()))
    assert list(tmp_path.iterdir()) == []
    train(network)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "log.csv"]


@pytest.mark.parametrize(
    "command", [("train", "--epochs", 1, "--hidden", 4), ("demo", "--quick")], ids=["train", "demo"]
)
def test_a_second_command_is_refused(command, tmp_path):
    """Exit code 2, one sentence, no output; the folder stays as it is."""
    with files.locked(tmp_path):
        ran = cli(*command, "--out", tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert (ran.code, ran.out) == (2, "") and len(ran.err.splitlines()) == 1
    assert f"folder {str(tmp_path)!r} is in use by another run (process {os.getpid()}" in ran.err


HOLD = """
import sys, time
from pathlib import Path
from neurorobust._util import files
with files.locked(Path(sys.argv[1])), files.replacing(Path(sys.argv[1]) / "a.txt") as temporary:
    temporary.write_text("half")
    print("held", flush=True)
    time.sleep(600)
"""


def test_another_process_holds_and_a_killed_one_does_not(tmp_path):
    """While it lives its lock and its temporary file stay; killed, the one is free and the other is removed."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(files.InUse, match=f"process {other.pid} on "), files.locked(tmp_path):
            pass
        files.make_folder(tmp_path)
        assert len(list(tmp_path.glob(f".a.txt.*{files.TEMPORARY}"))) == 1
        other.send_signal(signal.SIGKILL)
    assert len(list(tmp_path.iterdir())) == 2
    with files.locked(files.make_folder(tmp_path)):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_permissions_are_those_of_the_old_file_or_of_the_users_mask(tmp_path):
    """A file that others may not read does not become one that they may."""
    before = os.umask(0o027)
    try:
        files.write_text(tmp_path / "new", "a")
        (tmp_path / "old").touch(0o600)
        files.write_text(tmp_path / "old", "b")
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("new", "old")] == [0o640, 0o600]


@pytest.mark.skipif(os.name == "nt", reason="links need a right on Windows")
def test_a_link_stays(tmp_path):
    """What it points to is replaced, also where that is in another folder, and where nothing is there yet."""
    (tmp_path / "there").mkdir()
    for text in ("first", "second"):
        link = tmp_path / "a"
        if not link.is_symlink():
            link.symlink_to(tmp_path / "there" / "b")
        files.write_text(link, text)
        assert link.is_symlink() and (tmp_path / "there" / "b").read_text() == text
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["b"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a pipe with a name")
def test_a_pipe_or_a_device_is_no_file(tmp_path):
    """For root, a file would take the place of /dev/null."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match=r"Not a file but a device or a pipe: .*pipe"):
        files.write_text(tmp_path / "pipe", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"] and not (tmp_path / "pipe").is_file()


def test_without_locks_a_run_goes_on_with_a_warning(tmp_path, monkeypatch):
    """A file system without flock: said, and used; no temporary file of others is removed there."""

    def refuse(handle):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files, "_lock", refuse)
    (tmp_path / f".x{files.TEMPORARY}").touch()
    with pytest.warns(UserWarning, match=r"cannot be locked .*no other run"), files.locked(tmp_path):
        files.write_text(tmp_path / "a.txt", "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f".x{files.TEMPORARY}", "a.txt"]


@pytest.mark.deep
def test_a_run_killed_at_any_moment_ends_as_if_nothing_happened(tmp_path):
    """kill -9 before an operation on files, or after a random time; done again: the same bytes, and no other file."""
    for case in cases("five kills", here=1, deep=10):
        command = [sys.executable, str(TESTS / "kill_run.py"), str(tmp_path / str(case)), str(5 * case), "5"]
        done = subprocess.run(command, check=True, env=ENVIRONMENT, capture_output=True, text=True, timeout=600)
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(found) == 5 and sum(one["killed"] for one in found) >= 3
        assert [one for one in found if one["again"] or one["different"]] == []


@pytest.mark.deep
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_killed_command_run_again_is_as_if_nothing_happened(tmp_path):
    """kill -9 in a command: run again, the same files, the same words, and no other file."""
    names = ["train", "evaluate", "attack", "deploy", "export", "grid", "zoo save", "library"]
    names += ["report", "demo", "corpus"]
    for case in cases("twenty killed commands", here=1, deep=5):
        which, n = (names, 20) if DEEP else (["export", "library"], 4)
        command = [sys.executable, str(TESTS / "kill_commands.py"), str(tmp_path / str(case)), str(20 * case), str(n)]
        done = subprocess.run([*command, *which], env=ENVIRONMENT, capture_output=True, text=True, timeout=3000)
        assert done.returncode == 0, done.stderr
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(found) == n and any(one["killed"] for one in found)
        assert [one for one in found if one["again"] or one["different"] or one["left"]] == []


# Compiled code


def test_damaged_code_is_compiled_again(tmp_path):
    """Every file of compiled code cut: the next process says so, compiles it and gives the same; the third finds it."""
    code = (
        "import numpy as np; from neurorobust.kernels.numba_loops import rows; print(rows.rate(np.eye(4), 4)); "
        "print(sum(rows.rate.stats.cache_hits.values()))"
    )
    run = partial(
        subprocess.run,
        [sys.executable, "-c", code],
        check=True,
        env=ENVIRONMENT | {"NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert run().stdout == "0.25\n0\n"
    kept = list(tmp_path.rglob("*.nbc"))
    for path in kept:
        path.write_bytes(path.read_bytes()[:-10])
    again = run()
    assert again.stdout == "0.25\n0\n"
    assert again.stderr.count("is damaged; it is removed and compiled again.\n") == len(again.stderr.splitlines()) > 0
    assert run().stdout == "0.25\n1\n"


def test_a_full_disk_keeps_no_code_and_says_so(tmp_path, monkeypatch, capsys):
    """Code that cannot be written is compiled, used and named in one line."""

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def add(a, b):
        return a + b

    monkeypatch.setattr(jit._CheckedFiles, "save", full)
    said = []
    monkeypatch.setattr(jit, "_say", said.append)
    assert jit.jit(add)(2, 3) == 5
    assert len(said) == 1 and "No space left on device" in said[0]


def test_a_tensor_of_one_element_may_have_any_stride():
    """The delay of a layer with one input has stride 0; its bytes are those of the number."""
    expanded = torch.tensor(2.0, dtype=torch.float64).expand(1).clone()
    assert expanded.stride() == (0,)
    assert digests.bytes_of(expanded).tobytes() == digests.bytes_of(torch.tensor([2.0], dtype=torch.float64)).tobytes()
