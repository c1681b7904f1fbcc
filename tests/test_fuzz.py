"""Every parser, given mutated files: it takes the file, or it refuses it by one line of ours that names it.

Half of the mutants are raw: damage. In the others the values were changed and the digests made anew: malice. Both
read with little memory to spare, so a size that a file only claims is not allocated. ``make fuzz`` tries new mutants
for as long as you like and ``make deep`` a few thousand; ``tests/data/deep.json`` counts both.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import deep
import fuzz
import h5py
import mutations
import numpy as np
import pytest
import ratios
import torch
from conftest import tiny
from deep import cases
from forged import Parser, canonical
from fuzzed import PARSERS, write_shd

import neurorobust as nr
from neurorobust._util import digests, limited, strict
from neurorobust._util.errors import reason
from neurorobust.data import shd
from neurorobust.io import models


def fault(parser: Parser) -> str:
    """What is wrong with the answer of a parser to the file as it is."""
    with fuzz.limits(parser):
        return fuzz.trial(parser)[0]


@pytest.mark.deep
@pytest.mark.filterwarnings("ignore")  # a file of an earlier version is taken with a warning
@pytest.mark.parametrize("kind", [kind for kind in PARSERS if kind != "command line"])
def test_no_mutant_breaks_a_parser(kind, tmp_path):
    parser = PARSERS[kind](tmp_path / "files")
    pool = list(parser.seeds) or [parser.files()]
    assert fault(parser) == ""
    for case in cases(f"fuzz {kind}", here=40, deep=5000):
        draw = random.Random(case)
        parser.put(parser.mutant(draw.choice(pool), draw))
        assert fault(parser) == "", (kind, case)
    parser.put(pool[0])
    parser.read()


@pytest.mark.filterwarnings("ignore")
def test_no_words_break_the_command_line(tmp_path):
    parser = PARSERS["command line"](tmp_path / "files")
    for case in range(12):
        draw = random.Random(case)
        parser.put(parser.mutant(parser.seeds[case], draw))
        assert fault(parser) == "", case


# ---- faults that were found: one value each


@pytest.mark.deep
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of a process from /proc")
def test_no_large_file_takes_more_than_ten_times_its_size_and_500_mb():
    command = [sys.executable, ratios.__file__, *([] if deep.DEEP else ["--quick"])]
    found = [json.loads(line) for line in subprocess.check_output(command, text=True).splitlines()]
    assert len(found) >= (len(ratios.FORGED) if deep.DEEP else len(ratios.QUICK))
    assert [case for case in found if case[3] > 10 * case[2] + ratios.SPARE] == []


def _changed(path: Path, change: Any) -> None:
    path.write_bytes(_sealed(path.read_bytes(), change))


def _sealed(content: bytes, change: Any) -> bytes:
    entry = json.loads(content)
    change(entry)
    return json.dumps(digests.sealed(entry)).encode()


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("die", lambda entry: entry.update(seed=-(2**31)), r"seed: got -2147483648; expected 0 to 2\*\*64 - 1"),
        ("die", lambda entry: entry.update(serial=2**64), "serial: got 18446744073709551616; expected 0"),
        ("die", lambda entry: entry.update(chip="é"), "die '.*': chip: 'é' does not exist"),
        ("fleet", lambda entry: entry.update(samples=float("inf")), "is no fleet .*infinity"),
        ("fleet", lambda entry: entry.update(maps={"parameters": 1.0}), "is no fleet .maps: expected serials, width"),
        (
            "fleet",
            lambda entry: next(iter(entry["maps"]["parameters"].values())).pop("codes"),
            "needs layer, kind, unit, codes",
        ),
        ("fleet", lambda entry: entry.update(format={"x": "y" * 2000}), "format: got .*…; expected"),
    ],
)
def test_a_value_that_broke_a_parser_is_refused(kind, change, said, tmp_path):
    parser = PARSERS[kind](tmp_path / "files")
    _changed(parser.path, change)
    with pytest.raises(ValueError, match=said):
        parser.read()


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry["chip"].update(name="x" * 2000),
        lambda entry: entry["chip"].update(name="1\n2"),
        lambda entry: entry.update(format="neurorobust-deployment/" + "9" * 2000),
    ],
)
def test_a_long_name_in_a_deployment_is_cut_where_it_is_refused(change, tmp_path):
    parser = PARSERS["deployment"](tmp_path / "files")
    entry = json.loads(parser.path.read_text("utf-8"))
    del entry[digests.KEY]
    change(entry)
    parser.path.write_text(json.dumps(canonical(entry)), "utf-8")
    with pytest.raises(ValueError, match=r"is for .*; got|is of format .*…; this") as caught:
        parser.read()
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "forge"),
    [
        ("chip file", lambda content: content + b"\nfrom os import " + b"x" * 2000),
        ("fleet", lambda content: _sealed(content, lambda entry: entry.update(nominal="x" * 2000))),
        ("model tensors", lambda content: (4002).to_bytes(8, "little") + b'"' + b"x" * 4000 + b'"'),
    ],
)
def test_a_library_that_repeats_the_file_is_cut_short(kind, forge, tmp_path):
    parser = PARSERS[kind](tmp_path / "files")
    parser.path.write_bytes(forge(parser.path.read_bytes()))
    with pytest.raises(ValueError) as caught:
        parser.read()
    assert len(str(caught.value)) < 1000 and "\n" not in str(caught.value)


def test_a_packed_shape_that_holds_a_list_is_refused_before_it_is_multiplied(tmp_path):
    nr.save(tiny(), tmp_path, packed=True)
    parts = models._saved((tmp_path / "model.safetensors").read_bytes())
    config = {key: value for key, value in parts.config.items() if key != "digest"}
    shapes = {"hidden.input.weight": [2**40, [1]]}
    with pytest.raises(ValueError, match=r"hidden.input.weight has the shape \[1099511627776, \[1\]\]; expected whole"):
        models._unpacked(parts.tensors, config.get("packed", {}) | shapes)


def test_a_packed_network_out_of_proportion_to_its_file_is_refused_before_it_is_made():
    """An empty mask of 4 MB stands for 33,554,432 weights and as many bools: 300 MB, and copies while it is read."""
    packed = {"a.weight": torch.zeros(0, dtype=torch.float64), "a.mask": torch.zeros(2**22, dtype=torch.uint8)}
    with pytest.raises(
        ValueError, match=r"of 4194304 packed bytes take 1207959552 bytes .* at most 541943040, 500000000"
    ):
        models._unpacked(packed, {"a.weight": [2**12, 2**13]})


def test_packed_weights_that_are_not_as_many_as_their_mask_has_synapses_are_refused():
    packed = {"a.weight": torch.ones(2), "a.mask": torch.tensor([0b11010000], dtype=torch.uint8)}
    with pytest.raises(ValueError, match=r"a.weight has shape \(2,\); expected the 3 synapses of its mask"):
        models._unpacked(packed, {"a.weight": [2, 3]})
    whole = models._unpacked(packed | {"a.weight": torch.tensor([1.0, 2.0, 3.0])}, {"a.weight": [2, 3]})
    assert whole["a.weight"].tolist() == [[1.0, 2.0, 0.0], [3.0, 0.0, 0.0]]
    assert whole["a.mask"].tolist() == [[True, True, False], [True, False, False]]


def test_a_packed_network_that_could_not_be_read_is_not_written(tmp_path, monkeypatch):
    """One with 1 % of 1000 × 1000 synapses is within the limit. A larger one is refused when it is saved, not later."""
    draw = torch.Generator().manual_seed(0)
    mask = torch.rand(1000, 1000, generator=draw) < 0.01
    layer = nr.nn.Lif(nr.nn.Linear(torch.randn(1000, 1000, generator=draw), mask=mask), tau_mem=0.02, v_threshold=0.1)
    network = nr.Network({"hidden": layer}, 1e-3)
    found, _ = nr.load(nr.save(network, tmp_path / "a", packed=True))
    assert torch.equal(found.hidden.input.weight, layer.input.weight) and torch.equal(found.hidden.input.mask, mask)
    monkeypatch.setattr(models, "LARGEST", 10**7)
    with pytest.raises(ValueError, match=r"take 20000000 bytes of memory .* Save the network without packed=True, or"):
        nr.save(network, tmp_path / "b", packed=True)
    nr.save(network, tmp_path / "b")
    nr.save(nr.nn.packed(network), tmp_path / "c")


@pytest.mark.parametrize(
    "kind", ["die", "deployment", "image", "recordings", "chip snapshot", "results", "fleet", "packed model"]
)
def test_json_that_would_take_many_times_its_size_is_refused_before_it_is_parsed(kind, tmp_path):
    """A list takes up to 50 times its text: 2 MB of ``[]``, and a file of 32 MiB and one byte, of one text."""
    parser = PARSERS[kind](tmp_path / "files")
    for text, said in (
        (
            f'{{"a": [{"[]," * 700_000}1]}}',
            r"has 700002 lists and objects in 2100010 characters; expected at most 589913",
        ),
        (
            f'{{"a": "{"x" * 2**25}"}}',
            r"has 3355444[0-9] (bytes|characters); (expected|.* has) at most 33554432 .32 MiB",
        ),
    ):
        parser.path.write_text(text, "utf-8")
        with pytest.raises(ValueError, match=said) as caught:
            parser.read()
        assert str(parser.folder) in str(caught.value)


def test_json_that_could_not_be_read_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(strict, "LARGEST", 100)
    with pytest.raises(ValueError, match=r"a\.json: has [0-9]+ characters; expected at most 100 "):
        digests.write_json(tmp_path / "a.json", {"a": "x" * 100})
    with pytest.raises(ValueError, match=r"info: the configuration of the network has [0-9]+ characters"):
        nr.save(tiny(), tmp_path / "model")
    assert not (tmp_path / "a.json").exists() and not (tmp_path / "model" / "config.json").exists()


def test_the_reason_of_an_error_is_one_short_line():
    assert reason(ValueError("a\n  b")) == "a b"
    assert reason(ValueError("x" * 2000)) == "x" * 599 + "…"


def test_an_object_that_can_be_read_but_not_digested_is_refused():
    """The writer of JSON goes less deep than its reader."""
    with pytest.raises(ValueError, match=r"^a\.json: is nested too deeply"):
        digests.unsealed({"a": mutations.nested(5000), "sha256": ""}, Path("a.json"), "copy it again.")
    found = next(strict.problems(mutations.nested(5000), {"type": "integer"}))
    assert found == "the file: got a deeply nested list; expected integer"


def test_images_that_claim_more_than_the_archive_can_hold_are_refused(tmp_path):
    parser = PARSERS["idx images"](tmp_path / "files")
    parser.path.write_bytes(gzip.compress(bytes([0, 0, 8, 3]) + bytes([0, 1, 0, 0]) * 3))
    with pytest.raises(ValueError, match=r"has shape .65536, 65536, 65536.; its archive may hold at most [0-9]+ bytes"):
        parser.read()


def test_pynn_numbers_with_objects_are_refused_without_numpys_advice(tmp_path):
    parser = PARSERS["pynn"](tmp_path / "files")
    made = io.BytesIO()
    np.savez(made, a=np.array([None], dtype=object))
    parser.path.write_bytes(made.getvalue())
    with pytest.raises(ValueError, match=r"data\.npz: is damaged or foreign") as caught:
        parser.read()
    assert "pickle" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:All-NaN")
def test_measurements_of_which_no_pair_was_measured_often(tmp_path):
    parser = PARSERS["measurements"](tmp_path / "files")
    lines = parser.path.read_text("utf-8").splitlines()
    kept = [line for i, line in enumerate(lines) if i == 0 or i % 2 or i < 20]
    parser.path.write_text("\n".join(kept), "utf-8")
    assert fault(parser) == ""


def _as_half(tensors):
    tensors |= {name: value.half() for name, value in tensors.items() if value.is_floating_point()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state["states"]["now"].popitem(), "does not fit this run"),
        (lambda state: state["states"]["best"].popitem(), "does not fit this run"),
        (lambda state: state["history"]["rows"][0].pop("seconds"), "does not fit this run .*seconds"),
        (lambda state: state["optimizer"]["param_groups"].clear(), "does not fit this run"),
        (
            lambda state: state["states"]["best"]["hidden.core"].add_(2**40),
            "does not fit this run .*hidden.core",
        ),
        (lambda state: _as_half(state["states"]["now"]), "does not fit this run .*float16"),
        (lambda state: state.pop("history"), "is not a checkpoint of fit"),
    ],
)
def test_a_forged_checkpoint_is_refused(change, said, tmp_path):
    parser = PARSERS["checkpoint"](tmp_path / "files")
    state = torch.load(parser.path, weights_only=True)
    change(state)
    torch.save(state, parser.path)
    digests.append(parser.path)
    with pytest.raises(ValueError, match=rf"checkpoint\.pt {said}"):
        parser.read()


@pytest.mark.parametrize(
    ("window", "said"),
    [
        (
            nr.data.Window(0.1, 2**40, 3),
            r"1 recordings of 1099511627776 steps and 3 channels need .* GB are free",
        ),
        (nr.data.Window(1e308, 4, 3), "its end is beyond the largest float"),
    ],
)
def test_a_window_that_no_memory_holds_is_refused(window, said):
    with pytest.raises(ValueError, match=said):
        nr.data.Recordings([[0.1, 0.2]], [[0, 1]], [0], 1e-300 if window.dt > 1 else 1.0).data(window)


# ---- HDF5


def _shd(path: Path, **change: Any) -> Path:
    write_shd(path)
    with h5py.File(path, "r+") as file:
        for name, value in change.items():
            del file[name]
            value(file, name)
    return path


def test_events_with_a_hundred_billion_rows_are_refused_at_once(tmp_path):
    """A file of 3 kB that claims 10¹¹ recordings, all of them the fill value."""

    def huge(file: h5py.File, name: str) -> None:
        file.create_dataset(name, (10**11,), dtype=np.int64, chunks=(1000,))

    path = _shd(tmp_path / "a.h5", labels=huge)
    with pytest.raises(ValueError, match=r"labels: has shape \(100000000000,\); a file of [0-9]+ bytes cannot hold"):
        nr.data.read_shd(path)
    path = tmp_path / "b.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("spikes/times", (10**11,), dtype=h5py.vlen_dtype(np.float16), chunks=(1000,))
    with pytest.raises(ValueError, match=r"spikes/times: has shape .* holds at most [0-9]+ recordings, and 10 times"):
        nr.data.read_shd(path)


def test_events_on_which_the_library_hangs_or_crashes_are_refused(tmp_path, monkeypatch):
    path = _shd(tmp_path / "a.h5")
    assert len(nr.data.read_shd(path)) == 3
    hangs, crashes = "def trial(stream):\n    while True: pass\n", "import os\ndef trial(stream): os.abort()\n"
    for code in (hangs, crashes):
        (tmp_path / "reader.py").write_text(code)
        monkeypatch.setattr(shd, "__file__", str(tmp_path / "reader.py"))
        monkeypatch.setattr(nr.data.events, "SECONDS", 0.5)
        with pytest.raises(ValueError, match=r"a\.h5' is damaged .*(crashes on it|come to an end)"):
            nr.data.read_shd(path)


def test_a_reader_that_asks_for_memory_is_stopped(tmp_path):
    reader = tmp_path / "reader.py"
    reader.write_text("def trial(stream):\n    bytearray(2**36)\n")
    with pytest.raises(ValueError, match=r"asks for more than 1000 bytes of memory"):
        limited.tried(str(reader), io.BytesIO(b""), limited.Limits(1000, 60.0))


def test_guided_fuzzing_reaches_branches_or_says_that_atheris_is_missing(tmp_path):
    command = [sys.executable, str(Path(fuzz.__file__).with_name("fuzz_guided.py"))]
    command += ["--seconds", "3", "--crashes", str(tmp_path), "die"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0 and not found.stderr, found.stdout + found.stderr
    if find_spec("atheris") is None:
        assert found.stdout.startswith("atheris is not installed") and found.stdout.count("\n") == 1
    else:
        kind, tried, first, last, faults = found.stdout.splitlines()[-1].split()
        assert kind == "die" and int(tried) > 100 and int(last) > int(first) and int(faults) == 0
