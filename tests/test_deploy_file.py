"""The deployment file: its schema, and every way in which a file can be wrong, refused by one sentence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

import jsonschema
import pytest
import torch
from conftest import draw
from placed import placed

import chipmodels
import neurorobust as nr
from neurorobust._util import files, strict
from neurorobust.deploy import reading, writing

DYNAPSE2, PCM = chipmodels.load("dynapse2"), chipmodels.load("pcm")


@pytest.fixture(scope="module")
def deployment() -> nr.deploy.Deployment:
    return nr.deploy.onto(placed([0, 0, 1, 1, 2]), DYNAPSE2)


@pytest.fixture
def path(deployment, tmp_path):
    return deployment.save(tmp_path / "net.json")


def sealed(entry: dict) -> str:
    """The text of a file with a digest that fits."""
    rest = {key: value for key, value in entry.items() if key != "sha256"}
    return writing.canonical(rest | {"sha256": writing.digests.of_bytes(writing.canonical(rest).encode())})


def edited(path, change: Callable[[dict], object]):
    """The file with a change, and a digest that fits."""
    entry = json.loads(path.read_text())
    change(entry)
    path.write_text(sealed(entry))
    return path


def refused(path, message: str, chip=DYNAPSE2) -> None:
    """Loading raises ValueError with one sentence that names the file."""
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        nr.deploy.load(path, chip)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


# ---- what it holds


def test_a_file_is_loaded_and_saved_with_the_same_bytes(path, deployment):
    again = nr.deploy.load(path, DYNAPSE2)
    assert again.save(path.parent / "again.json").read_bytes() == path.read_bytes()
    assert again.source == deployment.source and str(again.report) == str(deployment.report)
    for name, codes in deployment.programmed.codes.items():
        assert torch.equal(again.programmed.codes[name], codes)
    assert set(again.programmed.gains) == {"hidden.input.weight", "hidden.recurrent.weight"} | {
        f"hidden.{kind}" for kind in ("tau_mem", "v_threshold")
    }
    for name, gains in again.programmed.gains.items():
        assert torch.equal(deployment.programmed.gains[name], gains)


@pytest.mark.parametrize("chip", ["dynapse1", "dynapse2", "pcm", "brainscales2"])
def test_files_fit_the_published_schema(chip, tmp_path):
    """By the checker of other people, and by ours."""
    model = chipmodels.load(chip)
    entry = json.loads(nr.deploy.onto(placed([0, 0, 0]), model).save(tmp_path / "net.json").read_text())
    jsonschema.Draft202012Validator.check_schema(reading.schema())
    jsonschema.validate(entry, reading.schema())
    assert not list(strict.problems(entry, reading.schema()))


def test_weights_are_codes_where_the_chip_has_codes(path):
    """Signed masks on DYNAP-SE2; a crossbar holds values."""
    entry = json.loads(path.read_text())
    weight = entry["parameters"]["hidden.input.weight"]
    assert set(map(type, weight["codes"])) == {int} and "values" not in weight
    assert entry["settings"]["0"]["weight"]["codec"]["type"] == "MaskCodebook"
    crossbar = nr.deploy.onto(placed([0, 0, 0]), PCM).entry()
    assert "values" in crossbar["parameters"]["hidden.input.weight"]


def test_the_digest_is_of_the_canonical_rest(path):
    """Keys in another order, or with spaces, are the same content."""
    entry = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(entry.items())), indent=3))
    assert nr.deploy.load(path, DYNAPSE2).chip.name == "dynapse2"


# ---- damaged and foreign files


def test_a_flipped_digit_is_seen(path):
    text = path.read_text()
    where = text.index('"dt":') + len('"dt":')
    path.write_text(text[:where] + "9" + text[where + 1 :])
    refused(path, "is damaged or was edited: its content has the SHA-256")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no deployment file: Expecting value"),
        ("[1, 2]", "is no deployment file; expected one that Deployment.save wrote"),
        ('{"format": "neurorobust-die/2"}', "is no deployment file; expected one"),
        ('{"format": "neurorobust-deployment/2"}', "is of format neurorobust-deployment/2; this version reads"),
        ('{"format": "neurorobust-deployment/1", "format": "x"}', "has the key 'format' twice in one object"),
        ('{"format": "neurorobust-deployment/1", "a": NaN}', "has the number NaN, which is not finite"),
        ('{"format": "neurorobust-deployment/1", "a": -Infinity}', "has the number -Infinity, which is not finite"),
        ('{"format": "neurorobust-deployment/1", "a": 1e999}', "has the number 1e999, which is not finite"),
        ('{"format": "neurorobust-deployment/1"}', "is damaged or was edited"),
        ("[" * 100_000, "is no deployment file"),
    ],
)
def test_foreign_files_are_refused(text, message, tmp_path):
    path = tmp_path / "net.json"
    path.write_text(text)
    refused(path, message)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "net.json"
    path.write_bytes(b"\xff\xfe\x00")
    refused(path, "is no deployment file")


def test_a_file_of_more_than_32_mib_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "net.json"
    with path.open("wb") as file:
        file.truncate(32 * 2**20 + 1)
    refused(path, "has 33554433 bytes; a deployment has at most 33554432 (32 MiB)")


def test_another_chip_or_version_is_refused(path):
    refused(path, "is for dynapse2, version 2; got dynapse1, version 1; deploy", chipmodels.load("dynapse1"))
    refused(path, "is for dynapse2, version 2; got dynapse2, version 3", replace(DYNAPSE2, version=3))
    with pytest.raises(TypeError, match="chip: got 'dynapse2'"):
        nr.deploy.load(path, "dynapse2")
    with pytest.raises(FileNotFoundError):
        nr.deploy.load(path.parent / "other.json", DYNAPSE2)


# ---- wrong content, with a digest that fits


def weight(entry: dict) -> dict:
    return entry["parameters"]["hidden.input.weight"]


WRONG = {
    "codes: a fraction": (lambda e: weight(e)["codes"].__setitem__(0, 1.5), "got 1.5; expected integer"),
    "codes: true": (lambda e: weight(e)["codes"].__setitem__(0, True), "got true; expected integer"),
    "codes: outside": (
        lambda e: weight(e)["codes"].__setitem__(0, 16),
        "hidden.input.weight on core 0: outside its codec",
    ),
    "codes: too few": (lambda e: weight(e)["codes"].pop(), "has 14 numbers for 15 places"),
    "codes: none": (lambda e: weight(e).pop("codes"), "expected either codes or values"),
    "codes: both": (lambda e: weight(e).update(values=[0.0] * 15), "expected either codes or values"),
    "synapse twice": (lambda e: weight(e)["columns"].__setitem__(1, 0), "is there twice: an address twice"),
    "synapse beyond": (lambda e: weight(e)["columns"].__setitem__(1, 3), "has a synapse beyond its shape (5, 3)"),
    "shape: huge": (
        lambda e: weight(e).update(shape=[5, 10**9]),
        "places, absent synapses included; a file can hold 33554432",
    ),
    "neuron twice": (
        lambda e: e["placement"]["hidden"]["neuron"].__setitem__(1, 0),
        "core 0, neuron 0 is neuron 0 of layer 'hidden' and neuron 1 of layer 'hidden': an address twice",
    ),
    "neuron elsewhere": (
        lambda e: e["placement"]["hidden"]["neuron"].__setitem__(1, 256),
        "neuron 1 of layer 'hidden' has number 256 on core 0; a core of dynapse2 has 256",
    ),
    "neurons: too few": (lambda e: e["placement"]["hidden"]["neuron"].pop(), "5 cores and 4 numbers"),
    "core that is not there": (
        lambda e: e["placement"]["hidden"]["core"].__setitem__(1, 4),
        "is on core 4; dynapse2 has 4",
    ),
    "core: negative": (lambda e: e["placement"]["hidden"]["core"].__setitem__(1, -1), "got -1; expected at least 0"),
    "layer that is not there": (
        lambda e: e["placement"].update(other={"core": [3], "neuron": [0]}),
        "placement: the network has no layer 'other'",
    ),
    "route to nowhere": (lambda e: e["routes"][0]["cores"].append(3), "goes to core 3, where nobody listens to it"),
    "route from nowhere": (lambda e: e["routes"][0].update(source="y"), "a route to nowhere"),
    "route twice": (lambda e: e["routes"].append(e["routes"][0]), "is there twice: an address twice"),
    "route missing": (lambda e: e["routes"].pop(0), "'x' 0: has no route, and core 0 listens to it"),
    "route too short": (lambda e: e["routes"][0]["cores"].pop(), "does not reach core 2, where neurons listen to it"),
    "route: core twice": (lambda e: e["routes"][0]["cores"].append(0), "names a core twice: an address twice"),
    "tag twice": (lambda e: e["routes"][1].update(tag=e["routes"][0]["tag"]), "an address twice"),
    "tag: beyond": (lambda e: e["routes"][0].update(tag=2048), "has tag 2048; the chip has 2048"),
    "tag: none": (lambda e: e["routes"][0].update(tag=None), "has tag None; expected a number"),
    "codec: another": (
        lambda e: e["settings"]["0"]["tau_mem"]["codec"].update(low=1e-3),
        "settings: tau_mem on core 0: got the codec LogUniform(low=0.001",
    ),
    "codec: foreign": (
        lambda e: e["settings"]["0"]["weight"]["codec"].update(type="open"),
        "codec: 'open' does not exist",
    ),
    "codec: current": (
        lambda e: e["settings"]["0"]["weight"]["codec"]["currents"].pop(),
        "expected a MaskCodebook of 4 currents",
    ),
    "codec: current too large": (
        lambda e: e["settings"]["0"]["weight"].update(gain=1e6),
        "weight on core 0: need a current of",
    ),
    "gain: 0": (
        lambda e: e["settings"]["0"]["weight"].update(gain=0),
        "settings: weight on core 0: gain: got 0; expected a finite number > 0",
    ),
    "kind: foreign": (lambda e: e["settings"]["0"].update(x=e["settings"]["0"]["weight"]), "dynapse2 has no kind 'x'"),
    "setting missing": (lambda e: e["settings"]["0"].pop("tau_mem"), "core 0 has no codec for tau_mem"),
    "parameter foreign": (
        lambda e: e["parameters"].update({"hidden.r": {"shape": [5], "values": [1.0] * 4}}),
        "hidden.r: has 4 numbers for 5 places",
    ),
    "parameter missing": (
        lambda e: e["parameters"].pop("hidden.tau_mem"),
        "do not fit: AdaptiveLif.__init__() missing",
    ),
    "value: negative": (
        lambda e: e["parameters"]["hidden.tau_adapt"].update(values=[-1.0] * 5),
        "its structure and its parameters do not fit: tau_adapt: smallest value is -1; expected values > 0",
    ),
    "settings differ": (
        lambda e: e["parameters"]["hidden.tau_adapt"].update(values=[0.1, 0.2, 0.1, 0.1, 0.1]),
        "settings of tau_adapt on core 0: got 2 values",
    ),
    "neuron class": (lambda e: e["network"]["layers"][0].update(neuron="os"), "neuron: 'os' does not exist"),
    "decoder": (lambda e: e["network"].update(decode="eval"), "decode: 'eval' does not exist"),
    "dt": (lambda e: e["network"].update(dt=0), "dt: got 0"),
    "inputs": (lambda e: e["network"]["inputs"].update(hidden=["y"]), "'y' does not exist"),
    "host: too few": (lambda e: e["host"]["readout.tau_mem"]["values"].clear(), "has 0 values for shape ()"),
    "host: type": (lambda e: e["host"]["readout.tau_mem"].update(values=[True]), "has values that are not float64"),
    "host: foreign": (
        lambda e: e["host"].update(other={"dtype": "bool", "shape": [], "values": [True]}),
        "the network has no such",
    ),
    "key unknown": (lambda e: e.update(other=1), "other: is unknown"),
    "key missing": (lambda e: e.pop("routes"), "the file: has no 'routes'"),
    "report": (lambda e: e["report"].update(samples=-1), "report.samples: got -1; expected at least 0"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_content_is_refused_by_one_sentence(what, path):
    change, message = WRONG[what]
    refused(edited(path, change), message)


def test_an_unchanged_file_with_a_new_digest_is_loaded(path):
    """So the refusals above are not those of the digest."""
    nr.deploy.load(edited(path, lambda entry: None), DYNAPSE2)


# ---- writing


def test_a_save_that_fails_leaves_the_old_file(path, deployment, monkeypatch):
    """Also when the disk is full in the middle."""
    before = path.read_bytes()

    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.Path, "write_text", full)
    with pytest.raises(OSError, match=r"cannot be written .*No space left on device"):
        deployment.save(path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_a_missing_folder_is_named(deployment, tmp_path):
    with pytest.raises(OSError, match="there is no folder"):
        deployment.save(tmp_path / "no" / "net.json")


def test_a_file_that_would_be_too_large_is_not_written(deployment, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "LARGEST", 100)
    with pytest.raises(ValueError, match="a file has at most 100"):
        deployment.save(tmp_path / "net.json")
    assert not list(tmp_path.iterdir())


# ---- differences


def test_differences_name_what_differs(deployment):
    network = placed([0, 0, 1, 1, 2])
    with torch.no_grad():
        network.readout.input.weight[0, 0] += 1
    apart = {each.where.split(" (")[0]: each for each in nr.deploy.diff(deployment, nr.deploy.onto(network, DYNAPSE2))}
    assert set(apart) == {"host.readout.input.weight.values", "source"}
    assert "1 of 10 differ, first at 0" in apart["host.readout.input.weight.values"].where
    moved = nr.deploy.onto(placed([0, 0, 1, 1, 3]), DYNAPSE2)
    assert any("placement.hidden.core" in each.where for each in nr.deploy.diff(deployment, moved))
    assert str(apart["source"]).startswith("source: ")


def test_the_checker_of_schemas_agrees_with_that_of_other_people():
    """On random small changes of a real file."""
    entry = nr.deploy.onto(placed([0, 0, 1]), DYNAPSE2).entry() | {"sha256": ""}
    entry = json.loads(writing.canonical(entry))
    validator = jsonschema.Draft202012Validator(reading.schema())
    values = [None, True, -1, 1.5, "x", [], {}, [1.5], {"a": 1}]
    for case in range(60):
        key = sorted(entry)[case % len(entry)]
        changed = json.loads(json.dumps(entry))
        inner, last = changed, key
        for _ in range(int(draw(case, 1).abs())):
            if isinstance(inner[last], dict) and inner[last]:
                inner, last = inner[last], sorted(inner[last])[case % len(inner[last])]
        inner[last] = values[case % len(values)]
        assert bool(list(strict.problems(changed, reading.schema()))) != validator.is_valid(changed), (key, last)
