"""The memory that each parser takes for a large forged file: ``python tests/ratios.py [--quick]``.

Each line is a kind, the bytes of the file, the most bytes that reading it took beyond those of the process, and what
was said. It is a process of its own. Linux only: the peak of a process is set back through ``/proc``.
"""

from __future__ import annotations

import gzip
import io
import json
import sys
import tempfile
import warnings
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from forged import Parser
from fuzzed import PARSERS
from safetensors import torch as safetensors

from neurorobust._util import digests
from neurorobust.data.speech import RATE
from neurorobust.nn.installed import neuron_classes

MB = 10**6
SPARE = 500 * MB
JSON = ("die", "deployment", "image", "recordings", "chip snapshot", "results", "fleet", "baseline", "model config")


def deep_lists(parser: Parser) -> None:
    """20 MB of lists in lists, each of which takes 50 bytes for one of its text."""
    inner = "[" * 100 + "]" * 100
    parser.path.write_text(f'{{"a": [{",".join([inner] * (20 * MB // 201))}]}}', "ascii")


def short_texts(parser: Parser) -> None:
    """20 MB of texts of one letter."""
    parser.path.write_text(f'{{"a": [{",".join(["ā".join(chr(34) * 2)] * (4 * MB))}]}}', "utf-8")


def empty_masks(parser: Parser) -> None:
    """4 MB of a mask for no weights: 300 MB, and copies."""
    _pack(parser, 2**12, 2**13)


def full_masks(parser: Parser) -> None:
    """As many as are taken."""
    _pack(parser, 2**11, 2**12)


def _pack(parser: Parser, *shape: int) -> None:
    parts = safetensors.load(parser.files()["model.safetensors"])
    config = json.loads(parser.files()["config.json"])
    name = "hidden.input"
    parts |= {
        f"{name}.weight": torch.zeros(0, dtype=parts[f"{name}.weight"].dtype),
        f"{name}.mask": torch.zeros(shape[0] * shape[1] // 8, dtype=torch.uint8),
    }
    config["packed"] = config["packed"] | {f"{name}.weight": list(shape)}
    own = {key: value for key, value in config.items() if key not in ("digest", "sha256")}
    own |= {"digest": digests.of_tensors(parts, json.dumps(own))}
    content = safetensors.save(parts, metadata={"config": json.dumps(own)})
    parser.path.with_name("model.safetensors").write_bytes(content)
    whole = own | {"sha256": digests.of_bytes(content)}
    parser.path.with_name("config.json").write_text(json.dumps(whole), "utf-8")


def many_neurons(parser: Parser) -> None:
    """100 rows with one neuron of a high number."""
    rows = [f"a,{core},{2**20 - 1 if s == 0 else s},tau_mem,{s + 1},1" for core in range(5) for s in range(20)]
    _table(parser, rows)


def many_rows(parser: Parser) -> None:
    _table(
        parser, [f"a,{n % 4},{n // 4 % 256},tau_mem,{1 + n // 1024 * 0.01:.2f},{1 + n % 97}" for n in range(400_000)]
    )


def short_rows(parser: Parser) -> None:
    _table(parser, [f"a,0,{n},tau_mem,1,{1 + n % 9}" for n in range(600_000)])


def _table(parser: Parser, rows: list[str]) -> None:
    parser.path.write_text("chip,core,neuron,parameter,setting,value\n" + "\n".join(rows), "utf-8")


def narrow_values(parser: Parser) -> None:
    """A recurrence of 20 MB of uint8."""
    _recurrence(parser, np.random.default_rng(0).integers(0, 2, (4472, 4472), dtype=np.uint8))


def half_values(parser: Parser) -> None:
    _recurrence(parser, np.random.default_rng(0).standard_normal((3162, 3162)).astype(np.float16))


def _recurrence(parser: Parser, weight: np.ndarray) -> None:
    n = len(weight)
    one = np.ones(n, np.float32)
    lif = {"tau": 0.02 * one, "r": one, "v_leak": 0 * one, "v_threshold": one}
    nodes: dict[str, tuple[str, dict[str, Any]]] = {
        "i": ("Input", {"shape": [n]}),
        "n": ("LIF", lif),
        "w": ("Linear", {"weight": weight}),
    }
    nodes |= {"o": ("Output", {"shape": [n]})}
    with h5py.File(parser.path, "w") as file:
        file["version"], file["node/type"] = "1.0.4", "NIRGraph"
        for name, (kind, fields) in nodes.items():
            file[f"node/nodes/{name}/type"] = kind
            for field, value in fields.items():
                file[f"node/nodes/{name}/{field}"] = value
        edges = np.array([["i", "n"], ["n", "w"], ["w", "n"], ["n", "o"]], dtype=object)
        file.create_dataset("node/edges", data=edges, dtype=h5py.string_dtype())


def large_tensor(parser: Parser) -> None:
    parts = safetensors.load(parser.files()["model.safetensors"])
    parser.path.write_bytes(safetensors.save(parts | {"more": torch.zeros(20 * MB, dtype=torch.uint8)}))


def zeros_in_gzip(parser: Parser) -> None:
    """Images of 200 MB in an archive of 200 kB."""
    header = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in (200, 1000, 1000))
    parser.path.write_bytes(gzip.compress(header + bytes(200 * MB), 1))


def zeros_in_zip(parser: Parser) -> None:
    made = io.BytesIO()
    np.savez_compressed(made, a=np.zeros(25 * MB))
    parser.path.write_bytes(made.getvalue())


def long_sound(parser: Parser) -> None:
    with wave.open(str(parser.path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(bytes(20 * MB))


def many_events(parser: Parser) -> None:
    with h5py.File(parser.path, "w") as file:
        for name, kind in (("times", np.float16), ("units", np.uint16)):
            ragged = file.create_dataset(f"spikes/{name}", (10,), dtype=h5py.vlen_dtype(kind))
            for i in range(10):
                ragged[i] = np.arange(500_000).astype(kind) % 500
        file["labels"] = np.arange(10) % 2


FORGED: tuple[tuple[str, Callable[[Parser], None]], ...] = (
    *((kind, deep_lists) for kind in JSON),
    *((kind, short_texts) for kind in ("die", "recordings")),
    ("packed model", empty_masks),
    ("packed model", full_masks),
    ("model tensors", large_tensor),
    ("measurements", many_neurons),
    ("measurements", many_rows),
    ("twin", many_neurons),
    ("twin", short_rows),
    ("nir", narrow_values),
    ("nir", half_values),
    ("idx images", zeros_in_gzip),
    ("pynn", zeros_in_zip),
    ("wav", long_sound),
    ("events", many_events),
)
"""Each kind of file, and how one is forged."""


def memory(key: str) -> int:
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def peak(parser: Parser) -> tuple[int, str]:
    """Bytes that a parser took beyond those of the process, at most, and what it said."""
    Path("/proc/self/clear_refs").write_text("5", "ascii")
    before, said = memory("VmRSS"), "taken"
    try:
        parser.use(parser.read())
    except (ValueError, OSError, TypeError) as error:
        said = str(error)
    return memory("VmHWM") - before, said


QUICK = {"twin", "nir", "deployment", "fleet", "model config", "idx images", "pynn", "wav"}
"""The kinds that are tried in every run of the tests, by their first forged file."""


def main(quick: bool) -> None:
    warnings.simplefilter("ignore")
    neuron_classes()
    first = {kind: forge for kind, forge in reversed(FORGED) if kind in QUICK}
    for kind, forge in first.items() if quick else FORGED:
        with tempfile.TemporaryDirectory() as folder:
            parser = PARSERS[kind](Path(folder) / "files")
            parser.read()  # whatever is imported or compiled once
            forge(parser)
            size = max(len(data) for data in parser.files().values())
            took, said = peak(parser)
        sys.stdout.write(json.dumps([kind, forge.__name__, size, took, said[:200]]) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main("--quick" in sys.argv)
