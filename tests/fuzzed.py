"""Every parser of the package, with files for it: what ``test_fuzz.py`` and ``fuzz.py`` mutate."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import random
import struct
import sys
import wave
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, BinaryIO
from unittest import mock

import exchanged
import fuzzed_grid
import h5py
import mutations
import numpy as np
import torch
import typer.main
from conftest import events, tiny
from forged import Files, Parser, canonical, plain, sealed, values, words
from fork_server import Server
from imaged import dpi_network
from placed import placed
from safetensors import torch as safetensors
from torch.nn import functional

import chipmodels
import neurorobust as nr
from neurorobust import cli
from neurorobust._util import digests, limited
from neurorobust.chip import snapshot
from neurorobust.chip.measured import MeasuredNormals
from neurorobust.core.params import SIGNED, kind_of
from neurorobust.core.run import nominal
from neurorobust.data import Task
from neurorobust.data.speech import RATE, read_wav
from neurorobust.data.tasks.ecg import read_beats
from neurorobust.data.tasks.fashion_mnist import read_idx
from neurorobust.deploy.board.recording import BoardRecording
from neurorobust.deploy.board.replay import Replay, save_recordings
from neurorobust.evaluation import KindScores
from neurorobust.export import untrusted
from neurorobust.fitting.table import read_table
from neurorobust.fitting.twin import twin
from neurorobust.io import models, zoo
from neurorobust.nn.network import placement_of
from neurorobust.testing.baseline import Baseline
from neurorobust.train import Schedule, fit
from neurorobust.viz import explorer, fleets, report

CHIP = chipmodels.load("dynapse2")
LOADTXT = np.loadtxt
ecg = sys.modules["neurorobust.data.tasks.ecg"]


# ---- networks


def _ran(network: Any) -> None:
    if isinstance(network, nr.Network):
        network(torch.zeros(1, 4, network.n_in, dtype=next(network.parameters()).dtype))


def _model(folder: Path, packed: bool, name: str, info: dict[str, Any] | None = None) -> Parser:
    nr.save(tiny(), folder, info, packed=packed)

    def forge(files: Files, draw: random.Random) -> Files:
        parts = models._saved(files["model.safetensors"])
        own = {key: value for key, value in parts.config.items() if key not in ("digest", "sha256")}
        changed, values = mutations.of_json(own, draw) if draw.randrange(3) else own, dict(parts.tensors)
        if changed is own and values:
            key = draw.choice(sorted(values))
            there, moved = values.pop(key), draw.randrange(4)
            if moved == 0:
                values[key] = there.to(draw.choice([torch.int64, torch.float64, torch.bool, torch.complex64]))
            elif moved == 1:
                values[key] = there.reshape(-1)[: draw.randrange(3)]
            elif moved == 2:
                values[draw.choice(["hidden", "hidden.core", "a.b", "readout.input.weight.x"])] = there.clone()
        changed = changed if isinstance(changed, dict) else {"format": changed}
        with mutations.deep_recursion():
            config = changed | {"digest": digests.of_tensors(values, json.dumps(changed))}
            content = safetensors.save(values, metadata={"config": json.dumps(config)})
            written = json.dumps(config | {"sha256": digests.of_bytes(content)})
        return {"config.json": written.encode(), "model.safetensors": content}

    return Parser(folder, name, partial(nr.load, folder), forge, lambda found: _ran(found[0]))


def _zoo(folder: Path) -> Parser:
    inside, info = folder / "ecg" / "mine", {"task": "ecg", "method": "mine", "seed": 0, "selection": "", "chip": None}

    def read() -> Any:
        with mock.patch.object(zoo, "FOLDER", folder):
            return zoo.describe("ecg/mine")

    return replace(_model(inside, False, "config.json", info), read=read, use=lambda found: None)


def _checkpoint(folder: Path) -> Parser:
    task = Task(
        "tiny",
        ("a", "b"),
        events(1, 16),
        events(2, 6),
        events(3, 6),
        functional.cross_entropy,
        lambda *_: tiny(),
        "f",
    )

    def read() -> None:
        network = tiny()
        for name, value in network.named_parameters():
            value.requires_grad_(kind_of(name) in SIGNED)
        fit(
            network,
            task,
            functional.cross_entropy,
            epochs=1,
            schedule=Schedule(learning_rate=0.02, batch_size=8),
            out=folder,
        )

    read()

    def forge(files: Files, draw: random.Random) -> Files:
        name = "checkpoint.pt"
        (folder / name).write_bytes(mutations.of_bytes(files[name][: -digests.LENGTH], draw))
        digests.append(folder / name)
        return {name: (folder / name).read_bytes()}

    return Parser(folder, "checkpoint.pt", read, forge)


def _nir(folder: Path) -> Parser:
    path = folder / "net.nir"
    seeds: list[Files] = []
    loop, last = nr.nn.Linear(torch.eye(3)), nr.nn.LeakyIntegrator(nr.nn.Linear(torch.ones(2, 3)), tau_mem=0.02)
    reset = nr.nn.ToValue()
    for kind, reader in ((nr.nn.Lif, None), (nr.nn.CubaLif, None), (nr.nn.Lif, "norse"), (nr.nn.CubaLif, "snntorch")):
        own: dict[str, Any] = {"tau_mem": 0.01, "v_threshold": 0.1, "reset": reset}
        own |= {"tau_syn": 0.005} if kind is nr.nn.CubaLif else {}
        back = None if len(seeds) % 2 else loop
        layers = {"hidden": kind(nr.nn.Linear(torch.ones(3, 2)), recurrent=back, **own), "out": last}
        nr.to_nir(nr.Network(layers, exchanged.DT), path, reader=reader, readout=reader is None)
        seeds.append({"net.nir": path.read_bytes()})

    def forge(files: Files, draw: random.Random) -> Files:
        content, _ = untrusted.contents(draw.choice(seeds)["net.nir"])  # not a mutant's: HDF5 may loop on it
        made = io.BytesIO()
        with h5py.File(made, "w") as file:
            _put(file, {"node": mutations.of_json(content, draw), "version": "1.0.4"})
        return {"net.nir": made.getvalue()}

    def read() -> Any:
        with mock.patch.object(limited, "tried", forked):
            return nr.from_nir(path, dt=exchanged.DT)

    return Parser(folder, "net.nir", read, forge, _ran, tuple(seeds))


def _put(group: Any, content: Mapping[str, Any]) -> None:
    """Write what HDF5 can hold."""
    for name, value in content.items():
        with suppress(ValueError, TypeError, OverflowError, RecursionError, KeyError):
            if isinstance(value, dict):
                _put(group.create_group(name), value)
            elif isinstance(value, str) or getattr(getattr(value, "dtype", None), "kind", "") == "O":
                group.create_dataset(name, data=value, dtype=h5py.string_dtype())
            else:
                group.create_dataset(name, data=value)


@cache
def _server(reader: str, process: int) -> Server:
    return Server(reader, limited.__file__)


def forked(reader: str, stream: BinaryIO, limits: limited.Limits) -> None:
    """As :func:`limited.tried`, by forks that read many files, which is many times as fast as a new Python each."""
    data = stream.read()
    stream.seek(0)
    try:
        code, said = _server(reader, os.getpid()).tried(data, limits.memory, 0.5)
    except (struct.error, BrokenPipeError):  # it was ended from outside
        _server.cache_clear()
        code, said = _server(reader, os.getpid()).tried(data, limits.memory, 0.5)
    limited.judge(code, said)


def _pynn(folder: Path) -> Parser:
    from neurorobust.export.scripts import network as script

    nr.to_pynn(exchanged.network(1), folder)
    for path in folder.glob("*.py"):
        path.unlink()

    def forge(files: Files, draw: random.Random) -> Files:
        with np.load(io.BytesIO(files["data.npz"])) as found:
            content = {name: found[name] for name in found.files}
        name = draw.choice(sorted(content))
        value, what = content.pop(name), draw.randrange(4)
        if what == 0:
            content[name] = np.asarray(draw.choice([[], [0], ["a"], 1e308, -1, 2**40]))
        elif what == 1:
            content[name] = value.reshape(-1)[: draw.randrange(3)]
        elif what == 2:
            content[name] = np.array([None, name], dtype=object)
        made = io.BytesIO()
        np.savez(made, **content)
        return {"data.npz": made.getvalue()}

    return Parser(folder, "data.npz", lambda: script.load(folder / "data.npz"), forge)


# ---- chips and boards


def _die(folder: Path) -> Parser:
    normals = {"tau_mem": torch.randn(1, 1, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))}
    path = replace(CHIP.fabricate([3], 1)[0], measured=MeasuredNormals(normals, normals)).save(folder / "die.json")
    network = placed([0, 0, 1])
    programmed = CHIP.program(nominal(network), placement_of(network))

    def use(found: Any) -> None:
        replace(found, measured=None).deviations(programmed)

    return Parser(folder, "die.json", partial(chipmodels.load_die, path), sealed("die.json", plain), use)


def _deployment(folder: Path) -> Parser:
    path = nr.deploy.onto(placed([0, 0, 1, 1, 2]), CHIP).save(folder / "net.json")
    return Parser(folder, "net.json", lambda: nr.deploy.load(path, CHIP), sealed("net.json", canonical))


def _image(folder: Path) -> Parser:
    path = nr.deploy.onto(dpi_network(([0, 1, 0, 1, 1], [2, 0])), CHIP).image().save(folder / "image.json")
    return Parser(folder, "image.json", lambda: nr.deploy.load_image(path), sealed("image.json", canonical))


def _recordings(folder: Path) -> Parser:
    deployment = nr.deploy.onto(placed([0, 0, 1]), CHIP)
    given = nr.deploy.Events(np.array([0.001, 0.002]), np.array([0, 1]))
    one = BoardRecording(given, np.array([0.0015]), np.array([2]), 3, 0.01, 0, 0)
    path = save_recordings(folder / "recordings.json", deployment, [one])
    return Parser(folder, path.name, lambda: Replay(path), sealed(path.name, canonical))


def _snapshot(folder: Path) -> Parser:
    path = folder / "chip.json"
    snapshot.save(CHIP, path)
    now = snapshot.snapshot(CHIP)
    use = partial(snapshot.drift, new=now)
    return Parser(folder, path.name, partial(snapshot.load, path), sealed(path.name, plain), use)


def _chip_file(folder: Path) -> Parser:
    path = chipmodels.save(CHIP, folder / "mine.py")

    def use(found: Any) -> None:
        found.fabricate([0], 0)[0]

    return Parser(folder, "mine.py", partial(chipmodels.load, str(path)), words("mine.py"), use)


def _rows() -> str:
    rows = ["chip,core,neuron,parameter,setting,value"]
    rows += [
        f"a,{core},{neuron},tau_mem,{setting},{setting * (1 + 0.1 * neuron)}"
        for core in (0, 1)
        for neuron in range(12)
        for setting in (0.01, 0.02)
    ]
    return "\n".join(rows) + "\n"


def _measurements(folder: Path) -> Parser:
    path = folder / "measured.csv"
    path.write_text(_rows(), "utf-8")
    return Parser(folder, path.name, partial(read_table, path), words(path.name), chipmodels.analyze)


def _twin(folder: Path) -> Parser:
    path = folder / "twin.csv"
    path.write_text(_rows(), "utf-8")
    return Parser(folder, path.name, partial(read_table, path), words(path.name), lambda table: twin(table, CHIP))


# ---- results


def _results(folder: Path) -> Parser:
    digests.write_json(
        folder / "results.json", {"networks": {"standard": {"fleet": {"balanced_accuracy": [0.25, 0.5]}}}}
    )
    return Parser(folder, "results.json", lambda: report.read(folder), sealed("results.json", plain))


def _fleet(folder: Path) -> Parser:
    network = placed([0, 0, 1])
    record = fleets.FleetRecord(
        *("t", "balanced accuracy", 10, "standard", 0, "dynapse2", 1, (0, 1, 2), 0.9, (0.5, 0.75, 0.9)),
        kinds={0: {"tau_mem": KindScores(0.6, 0.8)}},
        maps=fleets.die_maps(network, CHIP, (0, 1, 2), 1),
    )
    path = folder / "fleet.json"
    digests.write_json(path, record.entry(), indent=None)
    return Parser(folder, path.name, lambda: fleets.read_runs([path]), sealed(path.name, plain), explorer.page)


def _baseline(folder: Path) -> Parser:
    path, scores = folder / "baseline.json", tuple(0.9 - 0.01 * (i % 7) for i in range(30))
    Baseline("dynapse2", "dynapse2", 1, 1, tuple(range(30)), 0.95, scores, "a" * 64, "b" * 64).save(path)
    return Parser(folder, path.name, partial(Baseline.load, path), sealed(path.name, plain), str)


# ---- data


def write_shd(path: Path) -> None:
    """Three recordings in the format of SHD."""
    with h5py.File(path, "w") as file:
        for name, kind in (("times", np.float16), ("units", np.uint16)):
            ragged = file.create_dataset(f"spikes/{name}", (3,), dtype=h5py.vlen_dtype(kind))
            for i in range(3):
                ragged[i] = np.arange(i + 1).astype(kind)
        file["labels"] = np.array([0, 1, 0])


def _shd(folder: Path) -> Parser:
    path = folder / "events.h5"
    write_shd(path)

    def read() -> Any:
        with mock.patch.object(limited, "tried", forked):
            return nr.data.read_shd(path)

    return Parser(folder, path.name, read)


def _arrays(folder: Path) -> Parser:
    """Lists that a user may give as events, kept as JSON."""
    path = folder / "arrays.json"
    content: dict[str, Any] = {
        "times": [[0.1, 0.2], [0.3]],
        "channels": [[0, 1], [2]],
        "labels": [0, 1],
        "unit": 1.0,
        "window": {"dt": 0.1, "steps": 4, "channels": 3, "start": 0.0},
        "spikes": [[0.1, 0.2], [0, 1]],
        "pairs": [[[[1, 2], [3, 0]], 0], [[[5, 1]], 1]],
        "size": [4, 1, 1],
    }
    path.write_text(json.dumps(content), "utf-8")

    def read() -> Any:
        try:
            given = json.loads(path.read_text("utf-8"))
        except RecursionError:
            given = None
        if not isinstance(given, dict) or not {*content} <= {*given}:
            raise ValueError("not the arguments of this test")
        found = nr.data.Recordings(given["times"], given["channels"], given["labels"], given["unit"])
        if isinstance(given["window"], dict) and {*given["window"]} == {*content["window"]}:
            found.data(nr.data.Window(**given["window"]))
        spikes = given["spikes"]
        if isinstance(spikes, list) and len(spikes) == 2:
            nr.deploy.Events(spikes[0], spikes[1])
        kind = np.dtype([("t", np.int64), ("x", np.int64)])
        try:
            pairs = [(np.array([tuple(event) for event in pair[0]], dtype=kind), pair[1]) for pair in given["pairs"]]
        except Exception:  # of this test
            return None
        return nr.data.from_tonic(pairs, given["size"])

    return Parser(folder, path.name, read, values(path.name), names=False, carrier=True)


def _idx(folder: Path) -> Parser:
    path = folder / "images.gz"
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 3]) + bytes(range(18)), mtime=0))

    def forge(files: Files, draw: random.Random) -> Files:
        content = gzip.decompress(files["images.gz"])
        return {"images.gz": gzip.compress(mutations.of_bytes(content, draw), mtime=0)}

    return Parser(folder, path.name, lambda: read_idx(path, 3), forge)


def _wav(folder: Path) -> Parser:
    path = folder / "yes.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(bytes(200))
    return Parser(folder, path.name, partial(read_wav, path))


def _beats(folder: Path) -> Parser:
    row = "1\t" + "\t".join(f"{0.1 * (i % 7):.1f}" for i in range(140))
    (folder / "ECG5000_TRAIN.tsv").write_text(f"{row}\n" * 4999, "utf-8")
    path = folder / "ECG5000_TEST.tsv"
    path.write_text(f"{row}\n", "utf-8")

    def read() -> Any:
        with mock.patch.object(ecg.np, "loadtxt", partial(_short, path)):
            return read_beats(folder)

    def forge(files: Files, draw: random.Random) -> Files:
        text = files[path.name].decode("utf-8", "replace").replace("\t", ",")
        return {path.name: mutations.of_text(text, draw).replace(",", "\t").encode()}

    return Parser(folder, path.name, read, forge)


@cache
def _training_beats(path: Path) -> np.ndarray:
    return LOADTXT(path, delimiter="\t", dtype=np.float64, ndmin=2)


def _short(mutated: Path, path: Path, **options: Any) -> np.ndarray:
    """``numpy.loadtxt``, with what is not mutated read once."""
    return LOADTXT(path, **options) if path == mutated else _training_beats(path)


# ---- the command line

COMMANDS = (
    "info|tasks list|methods list|zoo list|zoo show ecg_dpi/standard|chips list|chips show dynapse2|chips fit x.csv|"
    "train --task ecg --method standard --epochs 0 --out m|evaluate m --chip dynapse2 --dies 2|attack m --zeta 0.05|"
    "explore m --out p.html|report m|deploy x.json|board run x.json|export nir m --out x.nir|export pynn m --out p|"
    "import nir x.nir --dt 0.001 --out m|testing init t|tutorials t|chips snapshot dynapse2 --out c.json|"
    "deploy onto m --chip dynapse2 --out d.json|board judge d.json --serials 0-2|chips diff a.json b.json|demo --quick"
)
TOKENS = (
    *(
        "--json",
        "--help",
        "--chip",
        "--dies",
        "--seed",
        "--out",
        "--task",
        "--method",
        "--hidden",
        "--epochs",
        "--zeta",
    ),
    *("--serial", "--dt", "--reader", "--grid", "--floor", "--model", "--set", "--mismatch", "--keep", "--steps"),
    *("--epochs", "-x"),
    *("0", "-1", "1e400", "nan", "inf", "1e-400", "10000000", "99999999999999999999", "0x10", "1.5", "a=b", "=", ","),
    *("", " ", "é", "\ud800", "\x00", "x" * 5000, "m/sub", ".", "m", "x.json", "x.csv", "mine.py", "mine.py:f"),
    *("dynapse2", "ideal", "ecg", "standard", "tau_mem=0.1", "tau_mem=nan", "16x16", "0x0", "0-2", "2-0", "--", "[b]"),
)


def _line(folder: Path) -> Parser:
    """A command and its words, kept as JSON, in a folder with damaged files."""
    for name in ("x.json", "x.csv", "a.json", "x.nir", "d.json"):
        (folder / name).write_text("{}", "utf-8")
    seeds = tuple({"line.json": json.dumps(line.split()).encode()} for line in COMMANDS.split("|"))

    def forge(files: Files, draw: random.Random) -> Files:
        words = json.loads(files["line.json"])
        for _ in range(draw.choice([1, 1, 2, 4])):
            at, what = draw.randrange(len(words) + 1), draw.randrange(4)
            if what == 0:
                words[at : at + 1] = [draw.choice(TOKENS)]
            elif what == 1:
                words[at:at] = [draw.choice(TOKENS)]
            elif what == 2:
                words[at:at] = [draw.choice(TOKENS), draw.choice(TOKENS)]
            elif len(words) > 1:
                del words[at : at + 1]
        return {"line.json": json.dumps(words).encode()}

    command = cache(typer.main.get_command)  # the same for every line; making it takes nine tenths of the time

    def read() -> None:
        words = json.loads((folder / "line.json").read_bytes())
        heard = io.StringIO()
        if "demo" in words or not all(isinstance(word, str) for word in words):
            return
        with (
            mock.patch.object(typer.main, "get_command", command),
            mock.patch.object(sys, "argv", ["neurorobust", *words]),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(heard),
            contextlib.chdir(folder),
            suppress(SystemExit),
        ):
            cli.main()
        if heard.getvalue().startswith("error: ") and heard.getvalue().count("\n") > 1:
            raise RuntimeError(f"several lines: {heard.getvalue()[:300]!r}")

    (folder / "line.json").write_bytes(seeds[0]["line.json"])
    return Parser(folder, "line.json", read, forge, seeds=seeds, names=False, busy=True, carrier=True)


def _made(make: Callable[[Path], Parser], folder: Path) -> Parser:
    folder.mkdir(parents=True, exist_ok=True)
    return make(folder)


MAKERS: dict[str, Callable[[Path], Parser]] = {
    "model config": partial(_model, packed=False, name="config.json"),
    "model tensors": partial(_model, packed=False, name="model.safetensors"),
    "packed model": partial(_model, packed=True, name="config.json"),
    "zoo": _zoo,
    "checkpoint": _checkpoint,
    "nir": _nir,
    "pynn": _pynn,
    "die": _die,
    "deployment": _deployment,
    "image": _image,
    "recordings": _recordings,
    "chip snapshot": _snapshot,
    "chip file": _chip_file,
    "measurements": _measurements,
    "twin": _twin,
    "results": _results,
    "fleet": _fleet,
    "baseline": _baseline,
    "events": _shd,
    "event arrays": _arrays,
    "idx images": _idx,
    "wav": _wav,
    "ecg table": _beats,
    "cells": fuzzed_grid.cells,
    "results table": fuzzed_grid.table,
    "command line": _line,
}
PARSERS = {name: partial(_made, make) for name, make in MAKERS.items()}
"""How the parser of each kind is made, with valid files, in a new folder."""
