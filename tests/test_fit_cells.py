"""Tables of measurements, written in other ways: the same labels, numbers and settings, or a refusal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from fit_study import Truth, table

from neurorobust.chip.variability import LogNormal, Offset
from neurorobust.fitting import analyze

ONE_CORE = Truth(LogNormal(0.1), (), {}, chips=1, cores=1, grid=(16, 16), settings=(0.01, 0.02, 0.04))


def two_chips(a="US", b="€"):
    """A table of two chips with two cores each, at two settings."""
    rows = table(replace(ONE_CORE, chips=2, cores=2, grid=(8, 8), settings=(0.1, 0.3)), 3)
    first = rows["chip"] == rows["chip"].iloc[0]
    rows["chip"] = rows["chip"].astype(object)
    rows.loc[first, "chip"], rows.loc[~first, "chip"] = a, b
    return rows


def numbers_of(found):
    """Everything a fit says but its name and the labels of chips."""
    return {key: value for key, value in found.card().items() if key != "name"}


LABELS = ["NA", "null", "None", "n/a", "nan", "NaN", "<NA>", "#N/A", "-", "0", "0.5", "True", "x y", "1e3", "Ω"]


@pytest.mark.parametrize("name", LABELS)
def test_any_text_is_a_chip(name, tmp_path):
    """A chip may be called NA: two chips, no repeats, the numbers of any other name; from a file and from a frame."""
    expected = numbers_of(analyze(two_chips()))
    rows = two_chips(name)
    rows.to_csv(tmp_path / "measured.csv", index=False)
    for of in (rows, tmp_path / "measured.csv", rows.assign(chip=[f" {label} " for label in rows["chip"]])):
        found = analyze(of)
        chips = {str(chip) for chip, _ in found.kinds["tau_mem"].own}
        assert chips == {name, "€"} and found.kinds["tau_mem"].counts["repeats averaged"] == 0
        assert numbers_of(found) == expected


@pytest.mark.parametrize("label", [1, 1.0, "1", " 1", "1.0", np.int64(1), np.float32(1), torch.tensor(1)], ids=repr)
def test_a_label_that_is_a_number_is_one_however_it_is_written(label):
    """All of these, in one column with 1 and with text, are chip 1."""
    rows = two_chips(1, "EU")
    rows.at[0, "chip"] = label
    assert {chip for chip, _ in analyze(rows).kinds["tau_mem"].own} == {1, "EU"}


def test_a_file_without_a_label_is_refused(tmp_path):
    """An empty cell, or spaces: the row is named, and none is dropped."""
    for name in ("", "  "):
        two_chips(name).to_csv(tmp_path / "measured.csv", index=False)
        with pytest.raises(ValueError, match=r"chip: row 0 has none; expected a label\.$"):
            analyze(tmp_path / "measured.csv")


def test_a_file_says_what_its_table_says(tmp_path):
    """Every digit, with spaces around names and cells, a byte order mark, words for no value, and whole floats."""
    rows = two_chips()
    rows.loc[[3, 5], "value"] = np.nan
    expected = numbers_of(analyze(rows))
    text = rows.astype(object).astype(str).replace({"value": {"nan": ""}})
    text.loc[5, "value"] = "N/A"
    text["core"] += ".0"
    text.columns = [f" {name} " for name in text.columns]
    (text + " ").to_csv(tmp_path / "measured.csv", index=False, encoding="utf-8-sig")
    assert numbers_of(analyze(tmp_path / "measured.csv")) == expected
    assert numbers_of(analyze(text)) == expected
    assert numbers_of(analyze(rows.astype({"core": "Int64", "value": "Float64", "chip": "category"}))) == expected


def test_a_repeated_column_of_a_file_is_refused(tmp_path):
    """Its own name is in the message, not the one that pandas gives it."""
    rows = two_chips()
    pd.concat([rows, rows["value"]], axis=1).to_csv(tmp_path / "measured.csv", index=False)
    with pytest.raises(ValueError, match="column 'value' is there 2 times"):
        analyze(tmp_path / "measured.csv")


@pytest.mark.parametrize("other", [0.1 + 0.2, np.float64(np.float32(0.3)), 0.3 * (1 - 2e-7)])
def test_settings_that_differ_by_rounding_are_one(other):
    """Half of the neurons at 0.3, half at a number that rounds to it: one setting, all numbers unchanged."""
    rows = two_chips()
    expected = numbers_of(analyze(rows))
    rows.loc[(rows["setting"] == 0.3) & (rows["neuron"] > 40), "setting"] = other
    assert numbers_of(analyze(rows)) == expected


def test_settings_that_differ_stay_apart():
    """A part in ten thousand is another setting; a zero may be off by rounding; a chain is refused."""
    rows = two_chips()
    rows.loc[(rows["setting"] == 0.3) & (rows["neuron"] > 30), "setting"] = 0.30003
    assert set(analyze(rows).kinds["tau_mem"].median) == {0.1, 0.3, 0.30003}
    leak = table(Truth(Offset(0.03), (), {}, 1, 1, (8, 8), (-0.1, 0.0, 0.1), "v_leak"), 3)
    expected = numbers_of(analyze(leak))
    leak.loc[(leak["setting"] == 0) & (leak["neuron"] > 40), "setting"] = 0.1 - 0.3 + 0.2
    assert numbers_of(analyze(leak)) == expected
    rows.loc[rows["setting"] == 0.1, "setting"] = 0.1 * (1 + 5e-7 * np.arange((rows["setting"] == 0.1).sum()))
    with pytest.raises(ValueError, match=r"setting: got \d+ settings from 0\.1 to .* differ by less than 1e-06"):
        analyze(rows)


def test_copies_are_no_repeats():
    """A table that is there twice: the same estimates, and read noise stays unknown."""
    rows = two_chips()
    once, twice = (analyze(of).kinds["tau_mem"] for of in (rows, pd.concat([rows, rows])))
    assert once.estimates == twice.estimates
    assert twice.counts["repeats averaged"] == twice.counts["repeats with the same value"] == len(rows)
    assert any("all repeats are equal" in said for said in twice.unidentified)
    noisy = pd.concat([rows, rows.assign(value=rows["value"] * 1.001)])
    assert not any("read noise" in said for said in analyze(noisy).kinds["tau_mem"].unidentified)


def test_weights_of_one_sign_are_magnitudes():
    """Settings below 0 give the numbers of settings above 0; both signs in one table are refused in words."""
    above = table(replace(ONE_CORE, kind="weight", settings=(0.25, 0.5)), 2)
    below = above.assign(setting=-above["setting"], value=-above["value"])
    estimates = [analyze(rows).kinds["weight"].estimates for rows in (above, below)]
    assert estimates[0]["sigma"] == estimates[1]["sigma"]
    for rows in (pd.concat([above, below]), pd.concat([above, below])[lambda t: t["setting"].abs() == 0.5]):
        with pytest.raises(ValueError, match=r"setting: weight has rows of both signs, -0\.5 and 0\.5; .* each sign"):
            analyze(rows)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace(",", ";"), r"column: 'chip;core;neuron;parameter;setting;value' does not exist"),
        (lambda text: text.replace(",", ";").replace(".", ","), r"measured\.csv': is not a CSV table"),
        (lambda text: text.replace("\n", ",\n").replace(",\n", "\n", 1), r"measured\.csv': is not a CSV table"),
        (
            lambda text: text.replace("\n", "\nlabel,number,number,kind,s,s\n", 1),
            "core: row 0 is 'number'; expected a number",
        ),
        (lambda text: text + text, "core: row 512 is 'core'; expected a number"),
        (lambda text: text + ",,,,,\n", "chip: row 512 has none"),
        (
            lambda text: text.replace(",0.1,", ',"1,000",', 1),
            "setting: row 0 is '1,000'; expected a number with a decimal",
        ),
        (lambda text: text.replace(",0.1,", ",NA,", 1), "setting: row 0 has none"),
        (lambda text: text.split("\n")[0], "the table is empty"),
        (lambda text: "", "is not a CSV table"),
    ],
    ids=[
        "semicolons",
        "decimal commas",
        "a comma too many",
        "units",
        "twice",
        "no cells",
        "1,000",
        "NA",
        "header",
        "empty",
    ],
)
def test_another_kind_of_file_is_one_sentence(change, said, tmp_path):
    """Files as spreadsheets write them: refused in one line, no column or row moved."""
    (tmp_path / "measured.csv").write_text(change(two_chips().to_csv(index=False)))
    with pytest.raises(ValueError, match=said) as caught:
        analyze(tmp_path / "measured.csv")
    assert "\n" not in str(caught.value)
