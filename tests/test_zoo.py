"""The networks that come with the package: found by walking, checked, small."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
import torch
from conftest import tiny
from made_up import record
from mini_study import MINI

import neurorobust as nr
from benchmarks import robustness
from benchmarks.floor_study import SHIPPED, STUDY
from benchmarks.robustness import Cell
from benchmarks.robustness.cell import RESULTS
from benchmarks.robustness.publish import publish
from benchmarks.robustness.results import score
from neurorobust.evaluation.statistics import balanced_accuracy
from neurorobust.io import zoo
from neurorobust.io.zoo import FOLDER

OF_THE_GRID = [name for name in zoo.names() if not name.startswith(f"{STUDY}/")]


@pytest.mark.parametrize("name", zoo.names())
def test_every_network_of_the_zoo_loads(name):
    """Each is whole, and of the method and study its name says."""
    network, info = nr.zoo.load(name)
    assert f"{info['study']}/{info['method']}" == name
    assert all(torch.isfinite(value).all() for value in network.parameters())


@pytest.mark.parametrize("name", [f"{STUDY}/{method}" for method in SHIPPED])
def test_a_network_with_a_floor_does_what_was_measured(name):
    """Balanced accuracy on the test part as the floor study has it, to two samples of a thousand; it has a floor."""
    network, info = nr.zoo.load(name)
    test = nr.tasks.ecg().test
    found = balanced_accuracy(nr.run(network, nr.nominal(network), test.x), test.y)
    record = json.loads((RESULTS.parent.parent / "results" / "floor_study.json").read_text(encoding="utf-8"))
    assert found == pytest.approx(record[f"{info['method']}-0"]["dies"]["nominal"], abs=0.002)
    assert isinstance(network.hidden, nr.nn.LinearizedDpi)


@pytest.mark.parametrize("name", OF_THE_GRID)
def test_a_network_of_the_grid_is_the_measured_one(name):
    """It is the network of the first seed."""
    _, info = nr.zoo.load(name)
    record = Cell(robustness.find_study(info["study"]), info["method"], 0, RESULTS).read()
    assert record["model_sha256"] == json.loads((FOLDER / name / "config.json").read_text(encoding="utf-8"))["sha256"]


@pytest.mark.parametrize("name", [f"ecg/{method}" for method in ("standard", "adversarial")])
def test_a_network_of_the_zoo_does_what_was_measured(name):
    """Balanced accuracy on the test part, as its cell has it, to two samples of a thousand."""
    network, info = nr.zoo.load(name)
    study = robustness.find_study(info["study"])
    test = study.task.test
    found = balanced_accuracy(nr.run(network, nr.nominal(network), test.x), test.y)
    record = Cell(study, info["method"], 0, RESULTS).read()
    assert found == pytest.approx(score(record, "nominal", "test"), abs=0.002)


def test_the_zoo_is_small():
    """Below 1.5 MB altogether, nothing but tensors and JSON, and no copy of a network that lies with the results."""
    files = [path for path in FOLDER.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    assert sum(path.stat().st_size for path in files) < 1.5e6
    assert {path.name for path in files} <= {"model.safetensors", "config.json"}
    everywhere = [*files, *RESULTS.glob("raw/*/*/*/model.safetensors")]
    networks = [path.read_bytes() for path in everywhere if path.name == "model.safetensors"]
    assert len(set(networks)) == len(networks)


def test_the_headline_networks_and_their_worst_dies_are_kept():
    """Three methods on heart beats, three seeds: the network, whose digest is the recorded one, and three dies."""
    for name in ("standard", "forward_noise", "adversarial"):
        for seed in (0, 1, 2):
            cell = Cell(robustness.find_study("ecg"), name, seed, RESULTS)
            folder = cell.model_folder()
            assert folder is not None and len(list(cell.folder.glob("die-*.npz"))) == 3
            digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
            assert digest == cell.read()["model_sha256"]


def test_a_network_that_was_tampered_with_is_refused(tmp_path, monkeypatch):
    """One byte of the tensors, and a name that does not exist."""
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    network = tiny()
    nr.save(network, tmp_path / "tiny" / "adversarial", {"study": "tiny", "method": "adversarial"}, packed=True)
    loaded, info = nr.zoo.load("tiny/adversarial")
    assert zoo.names() == ["tiny/adversarial"] and info["method"] == "adversarial"
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    path = tmp_path / "tiny" / "adversarial" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged .* Install neurorobust again"):
        nr.zoo.load("tiny/adversarial")
    with pytest.raises(ValueError, match="Did you mean 'tiny/adversarial'"):
        nr.zoo.load("tiny/adversaria")
    with pytest.raises(ValueError, match="neurorobust train --task ecg --method sam --out runs/ecg-sam"):
        nr.zoo.load("ecg/sam")


def test_the_zoo_is_filled_from_the_grid(tmp_path, monkeypatch):
    """The networks of the first seed that a study ships, under task/method, as they were trained."""
    study = replace(MINI, shipped=("adversarial",))
    for method in ("standard", "adversarial"):
        cell = Cell(study, method, 0, tmp_path / "out")
        nr.save(tiny(), cell.folder, {"study": "mini", "method": method}, packed=True)
        cell.write(record(cell))
    assert publish(tmp_path / "out", tmp_path / "zoo", {"mini": study}) == ["mini/adversarial"]
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "zoo")
    assert zoo.names() == ["mini/adversarial"] and nr.zoo.load("mini/adversarial")[1]["method"] == "adversarial"
