"""Files of the robustness grid that are damaged, forged or too large: refused in a line that names file and place."""

from __future__ import annotations

import json
import lzma
import zlib
from pathlib import Path

import fuzz
import mutations
import numpy as np
import pytest
from fuzzed import PARSERS

from benchmarks.robustness import archive
from benchmarks.robustness.archive import NAME, read_xz, write_xz
from benchmarks.robustness.cell import RESULTS, read_cell, read_tuning
from benchmarks.robustness.results import TABLE, read_table, records_by_name, tidy
from neurorobust._util import digests


@pytest.fixture
def cells(tmp_path):
    return PARSERS["cells"](tmp_path / "files")


@pytest.fixture
def table(tmp_path):
    return PARSERS["results table"](tmp_path / "files")


def _with_line(folder: Path, number: int, change) -> None:
    """Change the value of a line, from 1, of an archive."""
    lines = read_xz(folder / NAME).splitlines()
    entry = json.loads(lines[number - 1])
    change(entry)
    lines[number - 1] = json.dumps(entry)
    (folder / NAME).write_bytes(lzma.compress("\n".join(lines).encode(), preset=0))
    archive._lines.cache_clear()


def _level(entry, name, place=0):
    return list(entry["measurements"][name]["levels"].values())[place]["values"]


def _renamed(entry, name, level):
    levels = entry["measurements"][name]["levels"]
    levels[level] = levels.pop(next(iter(levels)))


def test_the_committed_cells_are_far_from_the_limits():
    for name in (NAME, TABLE):
        assert len(read_xz(RESULTS / name)) < archive.LARGEST / 4
    assert len(records_by_name(RESULTS)) == len(archive.archived(RESULTS)) + 9


@pytest.mark.parametrize("kind", ["cells", "results table"])
def test_a_small_file_with_a_large_text_is_refused_before_it_is_unpacked(kind, tmp_path):
    parser = PARSERS[kind](tmp_path / "files")
    made = lzma.LZMACompressor(preset=0)
    parts = [made.compress(bytes(2**20)) for _ in range(1024)]
    parser.path.write_bytes(b"".join([*parts, made.flush()]))
    assert parser.path.stat().st_size < 200_000
    with fuzz.limits(parser), pytest.raises(ValueError, match=rf"{parser.name}: holds more than 20971520 bytes"):
        parser.read()


def test_a_dictionary_of_four_gigabytes_is_refused(table):
    data = bytearray(table.path.read_bytes())
    end = 12 + 4 * (data[12] + 1)
    data[16] = 40  # the size of the dictionary: 2**32 − 1
    data[end - 4 : end] = zlib.crc32(data[12 : end - 4]).to_bytes(4, "little")
    table.path.write_bytes(data)
    with fuzz.limits(table), pytest.raises(ValueError, match=rf"{TABLE}: is damaged, or no xz .Memory usage limit"):
        table.read()


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"a", lambda data: data + data])
def test_a_cut_file_and_one_with_more_behind_its_end_are_refused(change, table):
    table.path.write_bytes(change(table.path.read_bytes()))
    with pytest.raises(ValueError, match=rf"{TABLE}: is damaged, or no xz .(it ends too early|something follows)"):
        table.read()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda entry: entry.pop("study"), "line 2: the file: has no 'study'"),
        (lambda entry: entry.update(method="a/b"), "line 2: method: got 'a/b'; expected a printable name"),
        (lambda entry: entry.update(seed=0), "line 2: has the cell ecg/abcd/0, as a line before"),
        (lambda entry: entry.update(seed="0"), 'line 2: seed: got "0"; expected integer'),
        (lambda entry: entry.update(seed=10**30), "line 2: is no JSON of a cell .*beyond 64 bits"),
        (lambda entry: entry.update(training=[]), r"line 2: training: got \[\]; expected object"),
        (lambda entry: entry["training"].update(validation=float("nan")), "line 2: .*the number NaN"),
        (lambda entry: entry["training"].update(validation=1e300), "line 2: training, validation: got 1e.300"),
        (lambda entry: entry.update(measurements={"strong": None}), "line 2: measurements.strong: got null"),
        (lambda entry: _level(entry, "strong").clear(), "line 2: strong 0.02: has no 'balanced_accuracy'"),
        (lambda entry: _renamed(entry, "transfer", "0.1"), "line 2: transfer: got the level '0.1'; expected ζ and a"),
        (lambda entry: _renamed(entry, "nominal", "a\nb"), r"line 2: nominal: got the level 'a\\nb'; expected print"),
        (lambda entry: _level(entry, "mismatch").update(balanced_accuracy=0.5), "line 2: mismatch .*expected array"),
        (lambda entry: _level(entry, "mismatch").update(balanced_accuracy=[]), "line 2: .*got no number; expected one"),
        (lambda entry: _level(entry, "nominal").update({"recall a": "x"}), "line 2: .*recall a: got 'x'"),
        (lambda entry: _level(entry, "samples").update({"right a": "zz80"}), "right a: got 'zz80'; expected 4 hexa"),
        (lambda entry: _level(entry, "mismatch").update(balanced_accuracy=[0.5]), "got 1; expected 5, as in ecg/abcd/"),
        (lambda entry: _level(entry, "nominal").update(balanced_accuracy="high"), "abcd/1: nominal test, .*got words"),
        (lambda entry: _level(entry, "samples").update({"samples a": 10}), "samples a: got 10; expected 9, as in"),
    ],
)
def test_a_value_of_a_cell_that_broke_a_reader_is_refused(change, said, cells):
    _with_line(cells.folder, 2, change)
    with pytest.raises(ValueError, match=said) as caught:
        cells.read()
    assert str(cells.folder) in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize("line", ["", "{", "[" * 100_000, "[]", '{"study": 1, "study": 2}'])
def test_a_line_that_is_no_cell_is_refused(line, cells):
    (cells.folder / NAME).write_bytes(lzma.compress(f"{line}\n".encode(), preset=0))
    with pytest.raises(ValueError, match=rf"{NAME}: line 1: (is no JSON of a cell|the file: got )"):
        cells.read()


def test_the_folder_of_another_cell_and_the_tuning_without_its_trial_are_refused(cells):
    path = cells.folder / "cell.json"
    record = digests.read_json(path, "")
    digests.write_json(path, record | {"seed": 7})
    with pytest.raises(ValueError, match=r"cell\.json: holds the cell ecg/abcd/7; expected ecg/abcd/0"):
        read_cell(path)
    digests.write_json(path, record | {"training": {"seconds": 1.0}})
    with pytest.raises(ValueError, match=r"cell\.json: training: has no 'trial'; remove it"):
        read_cell(path)
    path = cells.folder / "tuning.json"
    digests.write_json(path, {"settings": {}, "trials": [], "chosen": 0})
    with pytest.raises(ValueError, match=r"tuning\.json: chosen: got 0; expected the number of one of 0 trials"):
        read_tuning(path)
    digests.write_json(path, {"settings": {}, "trials": [{"seconds": "long"}], "chosen": 0})
    with pytest.raises(ValueError, match=r"tuning\.json: trials\[0\].seconds: got \"long\"; expected number"):
        read_tuning(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.clear(), "line 1: has no head"),
        (lambda rows: rows.__setitem__(0, "task,task"), "line 1: got 'task,task'; expected task,method"),
        (lambda rows: rows.__setitem__(3, rows[3].rpartition(",")[0]), "line 4: got 'ecg,abcd.*; expected task,method"),
        (lambda rows: rows.__setitem__(3, ""), "line 4: got ''; expected task"),
        (lambda rows: rows.__setitem__(3, rows[3] + ",1"), "line 4: got 'ecg,abcd,.*,1'; expected task"),
        (lambda rows: rows.__setitem__(3, '"' + rows[3]), "line 31: is no line of CSV .unexpected end of data"),
        (lambda rows: rows.__setitem__(3, "x" * 200_000), "line 4: is no line of CSV .field larger than field limit"),
        (lambda rows: rows.__setitem__(3, 'ecg,abcd,0,bits,"2\n3",a,0.5'), "line 4: has quotes over several lines"),
        (lambda rows: rows.__setitem__(3, rows[3] + "x"), "line 4: value: got '.*x'; expected a finite number"),
        (lambda rows: rows.__setitem__(3, "ecg,abcd,0,bits,2,a,inf"), "line 4: value: got 'inf'; expected a finite"),
        (lambda rows: rows.__setitem__(3, "ecg,abcd,0,bits,2,a,1e400"), "line 4: value: got '1e400'; expected a"),
        (lambda rows: rows.__setitem__(3, ",abcd,0,bits,2,a,1"), "line 4: task: got nothing; expected a word"),
        (lambda rows: rows.insert(4, rows[3]), "line 5: has the same number as a line before"),
    ],
)
def test_a_line_of_the_table_that_broke_its_reader_is_refused(change, said, table):
    rows = read_xz(table.path).splitlines()
    change(rows)
    table.path.write_bytes(lzma.compress("\n".join(rows).encode(), preset=0))
    with pytest.raises(ValueError, match=said) as caught:
        table.read()
    assert str(table.path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_table_is_read_as_it_was_written(cells, tmp_path):
    """Six digits, missing numbers, seeds and levels as words."""
    made = tidy(cells.folder)
    text = made.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_xz(tmp_path / TABLE, text)
    read = read_table(tmp_path)
    assert read.drop(columns="value").equals(made.drop(columns="value"))
    expected = [float(f"{value:.6g}") for value in made["value"]]
    assert np.array_equal(read["value"].to_numpy(), expected, equal_nan=True)


def test_deep_nesting_in_a_record_is_refused(cells):
    _with_line(cells.folder, 1, lambda entry: entry["measurements"].update(deep=mutations.nested(400)))
    with pytest.raises(ValueError, match=r"line 1: measurements\.deep: got .*; expected object"):
        cells.read()
