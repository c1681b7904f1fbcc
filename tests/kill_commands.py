"""python kill_commands.py OUT FIRST N [NAME…]: commands that are killed with -9 and run again, each in a child process.

Cases 2 k and 2 k + 1 take command k of the list, in turn. It is killed before one of its operations on files (even), or
after a random time (odd). Then it runs again. A line of JSON for each case: what was killed, how the files and what was
printed differ from those of an undisturbed run, and which temporary files are left over.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import deep
import torch
from fuzzed import PARSERS
from kill_run import in_child, killed_before, work
from mini_run import complete
from safetensors.torch import load_file

import chipmodels
import neurorobust as nr
from neurorobust._util import digests, files
from neurorobust.cli import app, training
from neurorobust.data.tasks.ecg import example
from neurorobust.demo import Size

CLOCK = {"seconds", "sha256", "digest"}
"""Keys of JSON files that hold the time a run took, and the digests over it."""
TASK = ["--task", f"{Path(__file__).with_name('mini_study.py')}:load"]
TRAIN = ["train", *TASK, "--chip", "dynapse2", "--epochs", "4", "--method", "standard", "--out"]


def command(*words: str) -> Callable[[Path], None]:
    """A command line in the folder OUT."""
    return lambda out: app([word.replace("OUT", str(out)) for word in words], standalone_mode=False)


def zoo(out: Path) -> None:
    """A network of the zoo, saved again."""
    network, info = nr.zoo.load("ecg_dpi/adversarial")
    nr.save(network, out / "zoo", {"from": str(info["task"])}, packed=True)


def deploy(out: Path) -> None:
    """A deployment, its image and a die."""
    chip = chipmodels.load("dynapse2")
    network, _ = nr.zoo.load("ecg_dpi/adversarial")
    made = nr.deploy.onto(network, chip)
    made.save(out / "net.json")
    chip.fabricate([3], 1)[0].save(out / "die.json")


def export(out: Path) -> None:
    """A network for NIR and for PyNN."""
    neurons = nr.nn.Lif(nr.nn.Linear(torch.ones(2, 3)), tau_mem=0.01, v_threshold=0.02, reset=nr.nn.ToValue())
    network = nr.Network({"hidden": neurons}, dt=1e-3)
    nr.to_nir(network, out / "net.nir")
    nr.to_pynn(network, out / "pynn")


def demo(out: Path) -> None:
    """The command `demo` with 60 made-up beats and the smallest sizes."""
    least = {"n_hidden": 4, "n_dies": 2, "trim": 4, "attacked": 4, "quick": (0.1,), "thorough": (0.1,), "steps": 1}
    with (
        mock.patch("neurorobust.cli.training.tasks.ecg", example),
        mock.patch.object(training, "Size", lambda **given: Size(**given | least)),
    ):
        command("demo", "--quick", "--out", "OUT/demo")(out)


def corpus(out: Path) -> None:
    """The valid files of the fuzzer, for all its parsers, and its table of counts."""
    for name, make in PARSERS.items():
        make(out / "corpus" / name)
    deep.write({"fuzz zoo": 500}, out / "deep.json")


COMMANDS: dict[str, Callable[[Path], None]] = {
    "train": command(*TRAIN, "OUT/run"),
    "evaluate": command("evaluate", "OUT/model", *TASK, "--mismatch", "0.3", "--dies", "4", "--keep", "--json"),
    "attack": command("attack", "OUT/model", *TASK, "--samples", "10", "--steps", "2", "--json"),
    "deploy": deploy,
    "export": export,
    "grid": lambda out: (complete(out / "grid"), None)[1],
    "zoo save": zoo,
    "library": work,
    "report": command("report", "OUT/shown"),
    "demo": demo,
    "corpus": corpus,
}


MANY = 10**6


@dataclass(frozen=True)
class Whole:
    """An undisturbed run. Attributes: seconds: it took. operations: on files. found: see :func:`contents`."""

    seconds: float
    operations: int
    found: dict[str, Any]


def child(name: str, out: Path, before: int | None = None, seconds: float | None = None) -> bool:
    """Run a command in a child process, its stdout in a file beside the folder; whether it was killed."""

    def do() -> None:
        for number, suffix in ((1, ".txt"), (2, ".err")):
            os.dup2(os.open(out.with_suffix(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        left = None if before is None else killed_before(before)
        COMMANDS[name](out)
        sys.stdout.flush()
        if left is not None:
            out.with_suffix(".left").write_text(str(left()))

    return in_child(do, seconds, lambda: f"{name} in {out} failed: {out.with_suffix('.err').read_text()}")


def plain(value: Any) -> Any:
    """JSON without what the clock says."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items() if key not in CLOCK}
    return [plain(each) for each in value] if isinstance(value, list) else value


def contents(out: Path) -> dict[str, Any]:
    """Every file below a folder, and what was printed, without times of the clock; checkpoints by their presence."""
    found: dict[str, Any] = {}
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        if path.is_dir():
            found[name] = "folder"
        elif path.suffix == ".json":
            found[name] = plain(json.loads(path.read_text()))
        elif path.suffix == ".safetensors":  # its metadata holds the configuration, and so the time
            found[name] = digests.of_tensors(load_file(path))
        elif path.name == "log.csv":
            found[name] = [line.rpartition(",")[0] for line in path.read_text().splitlines()]
        elif path.suffix in (".csv", ".html"):
            found[name] = re.sub(r"[^\n]*seconds[^\n]*|took [^<.]*|\d+ s\b", "", path.read_text())
        else:
            found[name] = None if path.name == "checkpoint.pt" else path.read_bytes().hex()
    printed = out.with_suffix(".txt").read_text().replace(str(out), "OUT")
    try:
        return found | {"printed": plain(json.loads(printed))}
    except ValueError:
        return found | {"printed": [line for line in printed.splitlines() if not re.search(r"second|\d s\b|OUT", line)]}


def prepared(out: Path, template: Path) -> Path:
    """A folder with what the commands need."""
    if out.exists():
        shutil.rmtree(out)
    shutil.copytree(template, out)
    return out


def template_of(out: Path, names: Sequence[str]) -> Path:
    """A trained model, and results of a demo where a report is wanted."""
    template = out / "template"
    template.mkdir(parents=True)
    command(*TRAIN, "OUT/model")(template)
    if "report" in names:
        demo(template)
        (template / "shown").mkdir()
        (template / "demo" / "results.json").rename(template / "shown" / "results.json")
        shutil.rmtree(template / "demo")
    return template


def undisturbed(name: str, out: Path, template: Path) -> Whole:
    """A run that nobody kills; one before it, in this process, compiles and imports for all children."""
    with redirect_stdout(sys.stderr):
        COMMANDS[name](prepared(out, template))
    prepared(out, template)
    started = time.perf_counter()
    assert not child(name, out, before=MANY)
    seconds = time.perf_counter() - started
    return Whole(seconds, MANY - int(out.with_suffix(".left").read_text()), contents(out))


def main(out: Path, first: int, n: int, names: Sequence[str]) -> None:
    torch.set_num_threads(1)
    with redirect_stdout(sys.stderr):
        template = template_of(out, names)
    wholes: dict[str, Whole] = {}
    for case in range(first, first + n):
        name, draw = names[case // 2 % len(names)], random.Random(case)
        if name not in wholes:
            wholes[name] = undisturbed(name, out / "whole", template)
        whole, folder = wholes[name], prepared(out / "case", template)
        if case % 2 or not whole.operations:  # an attack opens no file
            killed = child(name, folder, seconds=draw.uniform(0.0, whole.seconds))
        else:
            killed = child(name, folder, before=draw.randrange(whole.operations))
        again = child(name, folder)
        here = contents(folder)
        different = sorted(key for key in whole.found.keys() | here if whole.found.get(key) != here.get(key))
        stale = [str(path) for path in folder.rglob(f"*{files.TEMPORARY}")]
        line = {"case": case, "what": name, "killed": killed, "again": again, "different": different, "left": stale}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:] or list(COMMANDS))
