"""Every parser, given mutated files: it takes the file, or it refuses it by one line of ours that names it.

Half of the mutants are raw: damage. In the others the values were changed and the digests made anew: malice. Both
read with little memory to spare, so a size that a file only claims is not allocated. ``make deep`` tries new mutants;
``tests/data/deep.json`` counts them.
"""

from __future__ import annotations

import json
import random
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import mutations
import numpy as np
import psutil
import pytest
import torch
from conftest import tiny
from deep import cases
from imaged import dpi_network
from placed import placed
from test_training import SCHEDULE, student
from torch.nn import functional

import chipmodels
import neurorobust as nr
from neurorobust._util import digests
from neurorobust.chip.measured import MeasuredNormals
from neurorobust.core.placement import placement_of
from neurorobust.core.run import nominal
from neurorobust.deploy import writing
from neurorobust.deploy.board.recording import BoardRecording
from neurorobust.deploy.board.replay import Replay, save_recordings
from neurorobust.fitting.table import read_table
from neurorobust.io import models
from neurorobust.train.loop import fit
from neurorobust.viz import report

SPARE = 512 * 2**20
"""Bytes that a parser may take beyond what the process has: its goal is ten times the file and 500 MB."""
CHIP = chipmodels.load("dynapse2")


@dataclass(frozen=True)
class Parser:
    """A kind of file: ``path`` is mutated, ``read`` reads it, ``use`` does something with what was read, ``forge``
    changes a value and seals the file."""

    path: Path
    read: Callable[[], Any]
    forge: Callable[[random.Random], None] | None = None
    use: Callable[[Any], Any] = lambda found: None


def sealed_json(path: Path, seal: Callable[[Any], Any]) -> Callable[[random.Random], None]:
    """Change the JSON of a file and give it a digest that fits."""
    whole = {key: value for key, value in json.loads(path.read_text("utf-8")).items() if key != digests.KEY}

    def forge(draw: random.Random) -> None:
        value = mutations.of_json(whole, draw)
        with mutations.deep_recursion(), suppress(ValueError):  # NaN has no canonical text
            value = seal(value) if isinstance(value, dict) else value
        with mutations.deep_recursion():
            path.write_text(json.dumps(value), "utf-8")

    return forge


def canonical(entry: dict[str, Any]) -> dict[str, Any]:
    return entry | {digests.KEY: digests.of_bytes(writing.canonical(entry).encode())}


def plain_json(entry: dict[str, Any]) -> dict[str, Any]:
    return entry | {digests.KEY: digests.of_json(entry)}


def model_folder(folder: Path, packed: bool, name: str) -> Parser:
    nr.save(tiny(), folder, packed=packed)
    config, _ = models._read(folder)
    raw = models._parsed(folder / "model.safetensors", models._saved).tensors
    own = {key: value for key, value in config.items() if key not in ("digest", "sha256")}

    def forge(draw: random.Random) -> None:
        changed, values = mutations.of_json(own, draw) if draw.randrange(3) else own, dict(raw)
        if changed is own:
            key = draw.choice(sorted(values))
            there = values.pop(key)
            moved = draw.randrange(4)
            if moved == 0:
                values[key] = there.to(draw.choice([torch.int64, torch.float64, torch.bool, torch.complex64]))
            elif moved == 1:
                values[key] = there.reshape(-1)[: draw.randrange(3)]
            elif moved == 2:
                values[draw.choice(["hidden", "hidden.core", "a.b", "readout.input.weight.x"])] = there.clone()
        with mutations.deep_recursion(), suppress(ValueError, TypeError):
            models._write(folder, changed if isinstance(changed, dict) else {"format": changed}, values)

    def use(found: Any) -> None:
        network = found[0]
        network(torch.zeros(1, 4, network.n_in, dtype=next(network.parameters()).dtype))

    return Parser(folder / name, partial(nr.load, folder), forge, use)


def die_file(folder: Path) -> Parser:
    normals = {"tau_mem": torch.randn(1, 1, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))}
    die = replace(CHIP.fabricate([3], 1)[0], measured=MeasuredNormals(normals, normals))
    path = die.save(folder / "die.json")
    network = placed([0, 0, 1])
    programmed = CHIP.program(nominal(network), placement_of(network))

    def use(found: Any) -> None:
        replace(found, measured=None).deviations(programmed)

    return Parser(path, partial(chipmodels.load_die, path), sealed_json(path, plain_json), use)


def deployment_file(folder: Path) -> Parser:
    path = nr.deploy.onto(placed([0, 0, 1, 1, 2]), CHIP).save(folder / "net.json")
    return Parser(path, lambda: nr.deploy.load(path, CHIP), sealed_json(path, canonical))


def image_file(folder: Path) -> Parser:
    path = nr.deploy.onto(dpi_network(([0, 1, 0, 1, 1], [2, 0])), CHIP).image().save(folder / "image.json")
    return Parser(path, lambda: nr.deploy.load_image(path), sealed_json(path, canonical))


def recordings_file(folder: Path) -> Parser:
    deployment = nr.deploy.onto(placed([0, 0, 1]), CHIP)
    events = nr.deploy.Events(np.array([0.001, 0.002]), np.array([0, 1]))
    one = BoardRecording(events, np.array([0.0015]), np.array([2]), 3, 0.01, 0, 0)
    path = save_recordings(folder / "recordings.json", deployment, [one])
    return Parser(path, lambda: Replay(path), sealed_json(path, canonical))


def results_file(folder: Path) -> Parser:
    path = folder / "results.json"
    digests.write_json(path, {"networks": {"standard": {"fleet": {"balanced_accuracy": [0.25, 0.5]}}}})
    return Parser(path, lambda: report.read(folder), sealed_json(path, plain_json))


def checkpoint(folder: Path, task: Any) -> Parser:
    def read() -> None:
        fit(student(), task, functional.cross_entropy, epochs=1, schedule=SCHEDULE, out=folder)

    read()
    path = folder / "checkpoint.pt"
    whole = path.read_bytes()[: -digests.LENGTH]

    def forge(draw: random.Random) -> None:
        path.write_bytes(mutations.of_bytes(whole, draw))
        digests.append(path)

    return Parser(path, read, forge)


def measurements(folder: Path) -> Parser:
    rows = ["chip,core,neuron,parameter,setting,value"]
    rows += [
        f"a,{core},{neuron},tau_mem,{setting},{setting * (1 + 0.1 * neuron)}"
        for core in (0, 1)
        for neuron in range(4)
        for setting in (0.01, 0.02)
    ]
    path, text = folder / "measured.csv", "\n".join(rows) + "\n"
    path.write_text(text, "utf-8")

    def forge(draw: random.Random) -> None:
        path.write_text(mutations.of_text(text, draw), "utf-8")

    return Parser(path, partial(read_table, path), forge, chipmodels.analyze)


def events_file(folder: Path) -> Parser:
    path = folder / "events.h5"
    with h5py.File(path, "w") as file:
        for name, kind in (("times", np.float16), ("units", np.uint16)):
            ragged = file.create_dataset(f"spikes/{name}", (3,), dtype=h5py.vlen_dtype(kind))
            for i in range(3):
                ragged[i] = np.arange(i + 1).astype(kind)
        file["labels"] = np.array([0, 1, 0])
    return Parser(path, partial(nr.data.read_shd, path))


PARSERS: dict[str, Callable[..., Parser]] = {
    "model config": partial(model_folder, packed=False, name="config.json"),
    "model tensors": partial(model_folder, packed=False, name="model.safetensors"),
    "packed model": partial(model_folder, packed=True, name="config.json"),
    "die": die_file,
    "deployment": deployment_file,
    "image": image_file,
    "recordings": recordings_file,
    "results": results_file,
    "measurements": measurements,
    "events": events_file,
}


@contextmanager
def little_memory() -> Iterator[None]:
    """At most SPARE bytes more for the process."""
    kept = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + SPARE, kept[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, kept)


def fault(parser: Parser) -> str:
    """What is wrong with the answer of a parser; empty for a file that is taken, or refused in our words."""
    name = str(parser.path.parent)
    try:
        with little_memory():
            found = parser.read()
            name = ""
            parser.use(found)
    except (ValueError, OSError, TypeError) as error:
        words = str(error)
        right = type(error) in (ValueError, TypeError) or isinstance(error, OSError)
        return "" if right and name in words and "\n" not in words and len(words) < 1000 else repr(error)
    except Exception as error:
        return repr(error)
    return ""


@pytest.mark.deep
@pytest.mark.filterwarnings("ignore::UserWarning")  # a file of an earlier version is taken with a warning
@pytest.mark.parametrize("kind", PARSERS)
def test_no_mutant_breaks_a_parser(kind, tmp_path):
    parser = PARSERS[kind](tmp_path)
    whole = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for case in cases(f"fuzz {kind}", here=60, deep=10_000):
        draw = random.Random(case)
        if parser.forge is None or draw.randrange(2):
            parser.path.write_bytes(mutations.of_bytes(whole[parser.path], draw))
        else:
            parser.forge(draw)
        assert fault(parser) == "", (kind, case)
        for path, data in whole.items():
            path.write_bytes(data)
    parser.read()


@pytest.mark.deep
def test_no_mutant_breaks_a_checkpoint(tmp_path, task):
    parser = checkpoint(tmp_path, task)
    whole = parser.path.read_bytes()
    for case in cases("fuzz checkpoint", here=20, deep=2000):
        draw = random.Random(case)
        if draw.randrange(2):
            parser.path.write_bytes(mutations.of_bytes(whole, draw))
        else:
            parser.forge(draw)
        assert fault(parser) == "", case
        parser.path.write_bytes(whole)
