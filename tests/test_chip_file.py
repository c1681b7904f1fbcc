"""Chip models written as one Python file, and read again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

import chipmodels
import neurorobust as nr
from neurorobust.chip import ChipModel, chip_file
from neurorobust.chip.variability import Law, LogNormal
from neurorobust.cli import app


@pytest.mark.parametrize("name", sorted(chipmodels.models()))
def test_every_model_is_equal_after_a_round_trip(name: str, tmp_path: Path) -> None:
    chip = chipmodels.load(name)
    path = chipmodels.save(chip, tmp_path / "mine.py")
    assert chipmodels.load(str(path)) == chip
    assert max(map(len, path.read_text().splitlines())) < 1000


def test_conditions_of_a_model_are_kept(tmp_path: Path) -> None:
    chip = (
        chipmodels.load("pcm").at("1 year").with_defects(nr.chip.DeadNeurons(0.1)).with_noise(nr.noise.Membrane(0.05))
    )
    assert chipmodels.load(str(chipmodels.save(chip, tmp_path / "mine.py"))) == chip


def test_a_file_has_the_same_dies_as_the_model(tmp_path: Path) -> None:
    again = chipmodels.load(str(chipmodels.save(chipmodels.load("dynapse2"), tmp_path / "mine.py")))
    here, there = (chip.fabricate([3], seed=5)[0].map("tau_mem") for chip in (chipmodels.load("dynapse2"), again))
    assert torch.equal(here, there)


@dataclass(frozen=True)
class Mine(LogNormal):
    pass


def test_a_law_of_a_users_module_is_imported_and_a_local_one_refused() -> None:
    chip = chipmodels.load("dynapse2")

    def with_law(law: Law) -> ChipModel:
        return replace(chip, kinds={"bias": replace(chip.kinds["bias"], law=law)})

    assert f"from {Mine.__module__} import Mine" in chip_file.source(with_law(Mine(0.1)))

    @dataclass(frozen=True)
    class Local(LogNormal):
        pass

    with pytest.raises(TypeError, match=r"chip.kinds\['bias'\].law: .*Local cannot be imported"):
        chip_file.source(with_law(Local(0.1)))


@pytest.mark.parametrize(
    ("text", "message"),
    [("chip = 3", "no ChipModel named 'chip'"), ("1/0", "ZeroDivisionError"), ("x", "NameError"), ("", "no ChipModel")],
)
def test_a_file_without_a_chip_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        chipmodels.load(str(path))


def test_a_file_of_data_runs_no_python(tmp_path: Path) -> None:
    """The name of the chip in a die file or a deployment is a name, whatever it ends in."""
    own, ran = tmp_path / "own.py", tmp_path / "ran"
    chipmodels.save(replace(nr.mismatch(0.1), name=str(own)), own)
    chip = chipmodels.load(str(own))
    own.write_text(f"open({str(ran)!r}, 'w')\n")
    die = chip.fabricate([1], seed=0)[0].save(tmp_path / "die.json")
    with pytest.raises(ValueError, match="does not exist; choose one of"):
        chipmodels.load_die(die)
    assert not ran.exists()


def test_a_file_that_ends_python_does_not_end_this_one(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("raise SystemExit(0)\n")
    with pytest.raises(ValueError, match=r"cannot be run \(SystemExit: 0\)"):
        chipmodels.load(str(tmp_path / "mine.py"))


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.py"):
        chipmodels.load(str(tmp_path / "none.py"))
    with pytest.raises(ValueError, match="expected a Python file"):
        chipmodels.save(chipmodels.load("pcm"), tmp_path / "mine.json")
    with pytest.raises(TypeError, match="expected a ChipModel"):
        chipmodels.save("pcm", tmp_path / "mine.py")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_the_command_writes_the_fitted_model(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    value = 0.02 * (0.1 * torch.randn(64, generator=generator)).exp()
    columns = {"chip": 1, "core": 0, "neuron": range(64), "parameter": "tau_mem", "setting": 0.02, "value": value}
    csv, out = tmp_path / "measured.csv", tmp_path / "mine.py"
    pd.DataFrame(columns).to_csv(csv, index=False)
    found = CliRunner().invoke(app, ["chips", "fit", str(csv), "--out", str(out), "--json"])
    assert found.exit_code == 0, found.output
    assert chipmodels.load(str(out)) == chipmodels.fit_chip(csv, name="measured")
    shown = CliRunner().invoke(app, ["chips", "show", str(out), "--json"])
    assert shown.exit_code == 0, shown.output


def test_the_command_keeps_a_file_that_is_there(tmp_path: Path) -> None:
    """An edited chip model is not lost: other text needs `--force`; the same text does not."""
    columns = {"chip": 1, "core": 0, "neuron": range(40), "parameter": "tau_mem", "setting": 0.02}
    csv, out = tmp_path / "measured.csv", tmp_path / "mine.py"
    pd.DataFrame(columns | {"value": 0.02 + 1e-4 * torch.arange(40.0)}).to_csv(csv, index=False)
    fit = ["chips", "fit", str(csv), "--out", str(out)]
    assert [CliRunner().invoke(app, fit).exit_code for _ in range(2)] == [0, 0]
    written = out.read_text()
    out.write_text(f"# edited by hand\n{written}")
    refused = CliRunner().invoke(app, fit)
    assert refused.exit_code != 0 and "is not this chip model; choose another file, or add --force" in str(
        refused.exception
    )
    assert out.read_text().startswith("# edited by hand")
    assert CliRunner().invoke(app, [*fit, "--force"]).exit_code == 0 and out.read_text() == written
    alone = CliRunner().invoke(app, ["chips", "fit", str(csv), "--force"])
    assert "force: is for the file of --out" in str(alone.exception)
