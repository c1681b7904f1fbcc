"""Commands in bad surroundings, each in a process of its own: a full disk, a closed or full stdout, ``python -OO``, a
terminal of ASCII, two interruptions, too little memory. None of them gets a traceback."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from neurorobust import cli, kernels
from neurorobust.data import recurrent

DPI = "ecg_dpi/standard"
LIMITED = (
    "import resource, runpy, sys; resource.setrlimit(resource.{}, ({}, {})); sys.argv = {}; "
    "runpy.run_module('neurorobust', run_name='__main__')"
)
TASK = "def task():\n    from neurorobust.data.tasks.ecg import example\n    return example('ecg')\n"
TRAIN = ("train", "--task", "mine.py:task", "--method", "standard", "--epochs", "300", "--hidden", "4", "--out", "m")


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"} | more


def ran(*command: str, folder: Path, **more: str) -> subprocess.CompletedProcess[bytes]:
    """A command of Python, its working folder, and more environment variables."""
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment(**more), capture_output=True, check=False
    )


def limited(limit: str, size: int, *words: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    """The command with a limit of the system."""
    code = LIMITED.format(limit, size, size, ["neurorobust", *words])
    return ran("-c", code, folder=folder)


def one_line(found: subprocess.CompletedProcess[bytes], *words: str) -> None:
    """Exit code 2, and one line on stderr with some words."""
    assert found.stderr.decode().count("\n") == 1, found.stderr.decode()
    last_line(found, *words)


def last_line(found: subprocess.CompletedProcess[bytes], *words: str) -> None:
    """Exit code 2, and a last line on stderr, after those of progress, with some words."""
    said = found.stderr.decode()
    assert found.returncode == 2 and "Traceback" not in said, said
    line = said.splitlines()[-1]
    assert line.startswith("error: ") and all(word in line for word in words), said


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a network of the zoo."""
    from neurorobust.io import zoo

    return str(zoo.FOLDER / DPI)


@pytest.mark.parametrize(
    "words", ["deploy onto {} --chip dynapse2 --out d.json", "chips snapshot dynapse2 --out d.json"]
)
def test_a_full_disk_is_one_line_and_the_old_file_stays(words, tmp_path, model):
    """EFBIG at 1000 bytes, as a full disk answers. ``test_faults.py`` does the same to a checkpoint."""
    old = tmp_path / "d.json"
    old.write_text("old", "utf-8")
    found = limited("RLIMIT_FSIZE", 1000, *words.format(model).split(), folder=tmp_path)
    one_line(found, "d.json", "File too large")
    assert old.read_text("utf-8") == "old" and [path.name for path in tmp_path.iterdir()] == ["d.json"]


@pytest.fixture
def full(tmp_path):
    """A folder on a file system of its own without any room, which only root can mount."""
    folder = tmp_path / "full"
    folder.mkdir()
    mount = shutil.which("mount")
    if (
        mount is None
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=False).returncode
    ):
        pytest.skip("no file system can be mounted here")
    with (folder / "filled").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize(
    ("words", "out"),
    [
        ("train --task mine.py:task --method standard --epochs 1 --hidden 4 --out {}", "m"),
        ("demo --quick --out {}", "m"),
        ("deploy onto {model} --chip dynapse2 --out {}", "d.json"),
        ("testing init {}", "t"),
        ("tutorials {}", "t"),
    ],
)
def test_no_room_at_all_is_one_line_and_no_lock_stays(words, out, tmp_path, model, full):
    """Files can be made, and nothing can be written into them."""
    (tmp_path / "mine.py").write_text(TASK, "utf-8")
    before = {path.name for path in full.iterdir()}
    found = ran("-m", "neurorobust", *words.format(full / out, model=model).split(), folder=tmp_path)
    last_line(found, str(full / out), "No space left on device")
    assert not [path for path in full.rglob("*") if path.is_file() and path.name not in before]


@pytest.mark.parametrize("words", ["chips list", "--help"])
def test_a_closed_stdout_is_silent(words, tmp_path):
    """``neurorobust … | true``."""
    heard, tell = os.pipe()
    os.close(heard)
    command = [sys.executable, "-m", "neurorobust", *words.split()]
    found = subprocess.run(command, stdout=tell, stderr=subprocess.PIPE, env=environment(), cwd=tmp_path, check=False)
    os.close(tell)
    assert found.stderr == b"" and found.returncode in (0, 1), found.stderr.decode()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("words", ["chips list", "info --json", "--help"])
def test_a_full_stdout_is_named(words, tmp_path):
    command = [sys.executable, "-m", "neurorobust", *words.split()]
    with open("/dev/full", "wb") as full:
        found = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, env=environment(), cwd=tmp_path, check=False
        )
    one_line(found, "standard output", "No space left on device")


@pytest.mark.parametrize("words", ["info", "train --help"])
def test_without_docstrings_and_asserts_every_command_works(words, tmp_path):
    found = ran("-OO", "-m", "neurorobust", *words.split(), folder=tmp_path)
    assert found.returncode == 0 and not found.stderr, found.stderr.decode()


@pytest.mark.parametrize("words", ["info", "chips list", "deploy é", "evaluate é --chip dynapse2"])
def test_a_terminal_of_ascii_gets_no_traceback(words, tmp_path):
    ascii_ = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    found = ran("-m", "neurorobust", *words.split(), folder=tmp_path, **ascii_)
    assert found.returncode in (0, 2)
    said = (found.stdout + found.stderr).decode("ascii")
    assert "Traceback" not in said and "codec" not in said


def started(folder: Path) -> subprocess.Popen[bytes]:
    """A training whose first epoch is in its checkpoint."""
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(TASK, "utf-8")
    run = subprocess.Popen(
        [sys.executable, "-m", "neurorobust", *TRAIN],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    end = time.monotonic() + 240
    while not (folder / "m" / "checkpoint.pt").exists():
        assert run.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    return run


def test_an_interruption_is_said_and_a_second_one_ends_at_once(tmp_path):
    run = started(tmp_path)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=120)
    assert run.returncode == 130 and b"Traceback" not in err and b"interrupted" in err, err.decode()
    run = started(tmp_path / "twice")
    run.send_signal(signal.SIGINT)
    time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=120)
    assert run.returncode in (130, -signal.SIGINT) and b"Traceback" not in err, err.decode()


@pytest.mark.parametrize(
    ("words", "inside", "said"),
    [
        ("evaluate {} --chip dynapse2", "judging.run_evaluate", "the same command starts from the beginning."),
        ("train --out m", "training.plan", "finished epochs are kept; run the same command again to continue."),
        ("demo --out m", "training.run_demo", "finished epochs and trained networks are kept; run the same command"),
    ],
)
def test_an_interruption_says_what_is_true_for_the_command(words, inside, said, monkeypatch, capsys, tmp_path, model):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(f"neurorobust.cli.{inside}", interrupted)
    monkeypatch.setattr(sys, "argv", ["neurorobust", *words.format(model).split()])
    with pytest.raises(SystemExit, match="130"):
        cli.main()
    heard = capsys.readouterr()
    assert f"interrupted; {said}" in " ".join(heard.err.split()) and not heard.out


def test_an_interruption_while_the_libraries_load_is_no_traceback(tmp_path):
    run = subprocess.Popen(
        [sys.executable, "-m", "neurorobust", "info"], cwd=tmp_path, env=environment(), stderr=subprocess.PIPE
    )
    time.sleep(1.0)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=120)
    assert run.returncode in (0, 130, -signal.SIGINT) and b"Traceback" not in err, err.decode()


# ---- memory


def test_a_network_too_large_for_memory_is_refused_before_it_is_made(tmp_path):
    (tmp_path / "mine.py").write_text(TASK, "utf-8")
    found = ran("-m", "neurorobust", *TRAIN, "--hidden", "10000000", folder=tmp_path)
    one_line(found, "n_hidden: 10000000 recurrent neurons need about", "GB are free; expected at most")


def test_what_is_said_to_fit_fits(monkeypatch):
    """The largest network that an error names is taken, one neuron more is refused."""
    monkeypatch.setattr(recurrent, "available", lambda: 10**6)
    with pytest.raises(ValueError, match="expected at most 173 neurons here"):
        recurrent.check_room(32, 10**6)
    recurrent.check_room(32, 173)
    with pytest.raises(ValueError, match=r"174 recurrent neurons need about 0\.001 GB"):
        recurrent.check_room(32, 174)
    assert kernels.runtime.memory.available() > 0


@pytest.mark.parametrize("error", ["MemoryError()", "RuntimeError('DefaultCPUAllocator: tried to allocate 99 bytes')"])
def test_a_lack_of_memory_is_one_line(error, tmp_path):
    code = (
        "import sys; sys.argv = ['neurorobust', 'info']; import neurorobust.cli as cli\n"
        f"def fails(*words):\n    raise {error}\n"
        "cli.app = fails; cli.main()"
    )
    one_line(ran("-c", code, folder=tmp_path), "not enough memory", "take fewer neurons, samples or dies")


def test_a_checkpoint_that_is_no_checkpoint_gives_no_advice_to_load_it_unsafely(tmp_path, task):
    """torch would advise ``weights_only=False``."""
    from neurorobust._util import digests
    from neurorobust.train.loop import fit

    (tmp_path / "m").mkdir()
    torch.save({"f": fit}, tmp_path / "m" / "checkpoint.pt")
    digests.append(tmp_path / "m" / "checkpoint.pt")
    network = task.network()
    with pytest.raises(ValueError, match=r"checkpoint\.pt is not a checkpoint of fit") as caught:
        fit(network, task, task.loss, epochs=1, out=tmp_path / "m")
    assert "weights_only" not in str(caught.value)
