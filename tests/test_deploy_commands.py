"""The commands ``neurorobust deploy``."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from imaged import dpi_network
from placed import placed

import chipmodels
import neurorobust as nr
from neurorobust._util import digests
from neurorobust.cli import main
from neurorobust.deploy import writing

CHIP = ["--chip", "dynapse2"]


@pytest.fixture
def folder(tmp_path):
    return nr.save(placed([0, 0, 1]), tmp_path / "model")


def call(monkeypatch, capsys, *arguments) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of a command line."""
    monkeypatch.setattr("sys.argv", ["neurorobust", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    captured = capsys.readouterr()
    return caught.value.code or 0, captured.out, captured.err


def test_a_network_is_deployed_checked_shown_and_compared(folder, tmp_path, monkeypatch, capsys):
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    code, said, _ = call(monkeypatch, capsys, "deploy", folder, *CHIP, "--out", first)
    assert code == 0 and "3 neurons for dynapse2" in said and "no board is attached" in said
    code, said, _ = call(monkeypatch, capsys, "deploy", "onto", folder, *CHIP, "--out", second, "--json")
    assert code == 0 and json.loads(said)["report"]["neurons"] == 3
    assert first.read_bytes() == second.read_bytes()
    code, said, _ = call(monkeypatch, capsys, "deploy", "check", first)
    assert code == 0 and "dynapse2 can hold it" in said.replace("\n", " ")
    code, said, _ = call(monkeypatch, capsys, "deploy", "show", first, "--json")
    assert code == 0 and json.loads(said)["host"] == ["readout (2)"]
    code, said, _ = call(monkeypatch, capsys, "deploy", "diff", first, second, "--json")
    assert code == 0 and json.loads(said) == {"differences": []}
    code, said, _ = call(monkeypatch, capsys, "deploy", "diff", first, second)
    assert code == 0 and "no difference" in said


def test_every_place_of_a_difference_is_printed_whole(tmp_path, monkeypatch, capsys):
    """However narrow the terminal: a path that is cut short does not say where."""
    files = [nr.deploy.onto(placed(cores), chipmodels.load("dynapse2")).save(tmp_path / f"{len(cores)}.json")
             for cores in ([0, 0, 1], [0, 0, 1, 1])]  # fmt: skip
    code, said, _ = call(monkeypatch, capsys, "deploy", "diff", *files)
    rows = [line.split("│")[1].strip() for line in said.splitlines() if line.startswith("│")]
    assert code == 0 and "…" not in "".join(rows)
    assert "parameters.hidden.recurrent.weight.columns" in "".join(rows)


def test_a_chip_of_ones_own_is_named_by_the_user_and_never_by_the_file(folder, tmp_path, monkeypatch, capsys):
    """Every command that reads the file takes `--chip mine.py`; without it the message says so, and nothing is run."""
    mine = chipmodels.save(replace(chipmodels.load("dynapse2"), name="mine"), tmp_path / "mine.py")
    net = tmp_path / "net.json"
    assert call(monkeypatch, capsys, "deploy", folder, "--chip", mine, "--out", net)[0] == 0
    ran = tmp_path / "ran"
    mine.write_text(f"{mine.read_text()}open({str(ran)!r}, 'w').close()\n")
    for command in (["check"], ["show"], ["diff", net]):
        code, _, told = call(monkeypatch, capsys, "deploy", *command, net)
        assert code == 2 and "'mine', which is not installed" in told and "--chip MINE.py" in told and not ran.exists()
        code, said, _ = call(monkeypatch, capsys, "deploy", *command, net, "--chip", mine, "--json")
        assert code == 0 and json.loads(said) and ran.exists()
        ran.unlink()
    forged = json.loads(net.read_text())
    forged["chip"] = {**forged["chip"], "name": str(mine)}
    del forged[digests.KEY]
    writing.write(net, forged)
    code, _, told = call(monkeypatch, capsys, "deploy", "check", net)
    assert code == 2 and "which is not installed" in told and not ran.exists()
    other = replace(chipmodels.load("dynapse2"), grid=(8, 32))
    named = chipmodels.save(other, tmp_path / "other.py")
    code, _, told = call(monkeypatch, capsys, "deploy", folder, "--chip", named, "--out", tmp_path / "b.json")
    assert code == 2 and "Give it another name" in told and not (tmp_path / "b.json").exists()


def test_a_network_that_does_not_fit_is_refused_with_every_limit(folder, tmp_path, monkeypatch, capsys):
    arguments = ["deploy", folder, "--chip", "xylo", "--out", tmp_path / "a.json"]
    code, said, told = call(monkeypatch, capsys, *arguments)
    assert code == 2 and not said and "kind of hidden.tau_adapt" in told and "kind of hidden.adaptation" in told
    code, said, _ = call(monkeypatch, capsys, *arguments, "--json")
    assert code == 2 and [each["limit"] for each in json.loads(said)["violations"]] == ["kind", "kind"]
    assert not (tmp_path / "a.json").exists()


def test_a_damaged_file_is_refused_in_one_line(tmp_path, monkeypatch, capsys):
    path = tmp_path / "a.json"
    path.write_text('{"format": "neurorobust-deployment/7"}')
    for command in ("check", "show"):
        code, _, told = call(monkeypatch, capsys, "deploy", command, path)
        assert code == 2 and told.startswith("error: ") and "/7" in told and told.count("\n") == 1


def test_a_score_needs_a_task(folder, tmp_path, monkeypatch, capsys):
    code, _, told = call(monkeypatch, capsys, "deploy", folder, *CHIP, "--out", tmp_path / "a.json", "--score")
    assert code == 2 and "names no task" in told


def test_an_image_is_made_and_compared(tmp_path, monkeypatch, capsys):
    net, other, image = tmp_path / "net.json", tmp_path / "other.json", tmp_path / "image.json"
    nr.deploy.onto(dpi_network(([0, 1, 0],)), chipmodels.load("dynapse2")).save(net)
    nr.deploy.onto(dpi_network(([0, 1, 0],), seed=1), chipmodels.load("dynapse2")).save(other)
    code, said, _ = call(monkeypatch, capsys, "deploy", "image", net, "--out", image)
    assert code == 0 and "3 neurons, 15 synapses, 4 inputs and 3 monitored" in " ".join(said.split())
    assert "synaptic filters of a chip: not linear: an event makes" in " ".join(said.split())
    code, said, _ = call(monkeypatch, capsys, "deploy", "image", net, "--check", image, "--json")
    told = json.loads(said)
    assert told["filters"]["0"]["AMPA"]["linear"] is False and 0 < told["filters"]["0"]["AMPA"]["silent"] < 0.01
    assert code == 0 and told["image"] and told["violations"] == [] and told["neurons"] == told["monitored"] == 3
    assert told["biases"]["1"]["Itau_mem"] == nr.deploy.load_image(image).cores[1]["Itau_mem"]
    code, said, told = call(monkeypatch, capsys, "deploy", "image", other, "--check", image, "--json")
    assert (
        code == 2
        and json.loads(said)["violations"][0]["limit"] == "deployment"
        and "image.json: is not the image of" in told
    )


def test_an_image_that_cannot_be_is_refused(folder, tmp_path, monkeypatch, capsys):
    net, image = tmp_path / "net.json", tmp_path / "image.json"
    assert call(monkeypatch, capsys, "deploy", folder, *CHIP, "--out", net)[0] == 0
    code, said, told = call(monkeypatch, capsys, "deploy", "image", net, "--out", image)
    assert code == 2 and not said and "AdaptiveLif, whose bias currents are unknown" in told
    code, _, told = call(monkeypatch, capsys, "deploy", "image", net)
    assert code == 2 and "expected --out FILE to write an image, or --check FILE to compare one" in told
    nr.deploy.onto(dpi_network(([0, 1, 0],)), chipmodels.load("dynapse2")).save(net)
    code, said, told = call(monkeypatch, capsys, "deploy", "image", net, "--out", image, "--ratio", 1e5, "--json")
    assert code == 2 and json.loads(said)["violations"][0]["where"] == "Igain_ampa on core 0"
    assert "Igain_gaba on core 1" in told and not image.exists()
