"""The image file: what it holds, and every way in which a file can be wrong, refused by one sentence."""

from __future__ import annotations

import json
import re
import sys
from types import ModuleType

import jsonschema
import pytest
from imaged import dpi_network

import chipmodels
import neurorobust as nr
from neurorobust._util import digests, files, strict
from neurorobust.deploy.image import reading
from neurorobust.deploy.writing import canonical

CHIPS = {name: chipmodels.load(name) for name in ("dynapse2", "dynapse1")}


@pytest.fixture(scope="module", params=CHIPS)
def image(request):
    return nr.deploy.onto(dpi_network(([0, 1, 0, 1, 1], [2, 0])), CHIPS[request.param]).image()


@pytest.fixture
def path(image, tmp_path):
    return image.save(tmp_path / "image.json")


def refused(path, message: str) -> None:
    """Loading raises ValueError with one sentence that names the file."""
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        nr.deploy.load_image(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def edited(path, change):
    """The file with a change, and a digest that fits."""
    entry = json.loads(path.read_text())
    change(entry)
    del entry["sha256"]
    path.write_text(canonical(entry | {"sha256": digests.of_bytes(canonical(entry).encode())}))
    return path


def test_a_file_is_loaded_and_saved_with_the_same_bytes(path, image):
    again = nr.deploy.load_image(str(path))
    assert again == image and again.check() == []
    assert again.save(path.parent / "again.json").read_bytes() == path.read_bytes()


def test_it_holds_integers_but_for_the_currents(path):
    """By the published schema, read by the checker of other people, and by ours."""
    entry = json.loads(path.read_text())
    jsonschema.Draft202012Validator.check_schema(reading.schema())
    jsonschema.validate(entry, reading.schema())
    assert not list(strict.problems(entry, reading.schema()))
    assert "." not in re.sub(r'"[^"]*"', "", canonical({key: entry[key] for key in ("neurons", "inputs", "layers")}))
    assert {type(value) for biases in entry["cores"].values() for value in biases.values()} == {float}


def test_it_names_the_deployment_by_the_digest_of_its_file(tmp_path):
    deployment = nr.deploy.onto(dpi_network(([0, 1],)), CHIPS["dynapse2"])
    saved = json.loads(deployment.save(tmp_path / "net.json").read_text())
    assert deployment.image().deployment == saved["sha256"]
    assert nr.deploy.load(tmp_path / "net.json", CHIPS["dynapse2"]).image() == deployment.image()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no image file: Expecting value"),
        ('{"format": "neurorobust-deployment/1"}', "is no image file; expected one that Image.save wrote"),
        (
            '{"format": "neurorobust-image/2"}',
            "is of format neurorobust-image/2; this version reads neurorobust-image/1",
        ),
        ('{"format": "neurorobust-image/1", "format": "x"}', "has the key 'format' twice in one object"),
        ('{"format": "neurorobust-image/1", "a": NaN}', "has the number NaN, which is not finite"),
        ('{"format": "neurorobust-image/1"}', "is damaged or was edited"),
    ],
)
def test_foreign_files_are_refused(tmp_path, text, message):
    path = tmp_path / "image.json"
    path.write_text(text)
    refused(path, message)


def test_a_flipped_digit_is_seen(path):
    text = path.read_text()
    where = text.index('"mask":') + len('"mask":')
    path.write_text(text[:where] + ("2" if text[where] == "1" else "1") + text[where + 1 :])
    refused(path, "is damaged or was edited: its content has the SHA-256")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e["neurons"][0]["cam"][0].update(tag=4000), "tag of neuron 0: got a synapse with tag 4000"),
        (lambda e: e["neurons"][0]["cam"][0].update(mask=1.5), "neurons[0].cam[0].mask: got 1.5; expected integer"),
        (lambda e: e["neurons"][0]["cam"][0].update(mask=True), "neurons[0].cam[0].mask: got true; expected integer"),
        (lambda e: e["neurons"][0]["cam"][0].update(dendrite="EPSP"), "expected one of AMPA, NMDA, GABA, SHUNT"),
        (lambda e: e["neurons"][0]["cam"][0].update(extra=1), "neurons[0].cam[0].extra: is unknown"),
        (lambda e: e["neurons"][0].update(core=4), "place of neuron 0: got core 4, number 0"),
        (lambda e: e["neurons"].pop(), "layers: they have 7 neurons; the image has 6"),
        (lambda e: e["inputs"].pop(), "route of core"),
        (lambda e: e["inputs"][0].update(cores=31), "cores of channel 0: got mask 31"),
        (lambda e: e["cores"].pop("0"), "bias of Igain_ahp on core 0: got none"),
        (lambda e: e["cores"]["0"].update(Itau_mem=1e-3), "bias of Itau_mem on core 0: got 0.001 A"),
        (lambda e: e["cores"]["0"].update(Itau_mem=-1e-12), "cores.0.Itau_mem: got -1e-12; expected at least 0"),
        (lambda e: e["cores"].update({"00": {}}), "cores: got '00'; expected the number of a core"),
        (lambda e: e.update(device="DYNAP-SE3"), 'device: got "DYNAP-SE3"; expected one of DYNAP-SE2, DYNAP-SE1'),
        (lambda e: e.pop("deployment"), "the file: has no 'deployment'"),
    ],
)
def test_what_no_device_can_do_is_refused(path, change, message):
    refused(edited(path, change), message)


def test_a_missing_file_and_a_missing_folder(image, tmp_path):
    with pytest.raises(FileNotFoundError):
        nr.deploy.load_image(tmp_path / "none.json")
    with pytest.raises(OSError, match="there is no folder"):
        image.save(tmp_path / "none" / "image.json")


def test_a_failed_save_leaves_the_old_file(path, image, monkeypatch):
    before = path.read_bytes()

    def full(path, text):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_text", full)
    with pytest.raises(OSError, match=r"cannot be written \(No space left on device\)"):
        image.save(path)
    assert path.read_bytes() == before


# ---- codes of the bias generator


def test_codes_need_rockpool(image, monkeypatch):
    monkeypatch.setitem(sys.modules, "rockpool", None)
    if image.device == "DYNAP-SE1":
        with pytest.raises(ValueError, match="image: is of DYNAP-SE1; codes are known for DYNAP-SE2 only"):
            image.bias_codes()
    else:
        with pytest.raises(ImportError, match=r"bias_codes: needs rockpool, .* pip install rockpool jax"):
            image.bias_codes()


def test_codes_come_from_rockpool_and_samna_is_not_imported(monkeypatch):
    """rockpool tries to import samna; while it is imported here, it finds none. What was imported before stays."""
    monkeypatch.delitem(sys.modules, "samna", raising=False)  # the peers of the benchmarks keep rockpool from it
    image = nr.deploy.onto(dpi_network(([0, 1],)), CHIPS["dynapse2"]).image()
    asked = {}

    def converter(name: str, current: float) -> tuple[int, int]:
        assert "samna" not in sys.modules
        asked[name] = current
        return 3, 17

    def imported(name: str) -> ModuleType:
        assert name == "rockpool.devices.dynapse.parameters.biasgen" and sys.modules["samna"] is None
        module = ModuleType(name)
        module.analog_to_param = converter
        return module

    monkeypatch.setattr("neurorobust.deploy.image.codes.import_module", imported)
    codes = image.bias_codes()
    assert codes[1]["Itau_mem"] == ("SOIF_LEAK_N", 3, 17)
    assert asked["SYAM_W3_P"] == image.cores[1]["Iw_3"] and codes.keys() == image.cores.keys()
    assert "samna" not in sys.modules
