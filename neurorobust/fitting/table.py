"""Tables of measurements: read, checked, cleaned, and arranged by core, neuron and setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import log_ndtr, ndtri

from .._util.errors import check_number, plain, reason, shown, unknown
from ..chip.design import TIMES
from ..core.params import ABOVE_ZERO, ABSOLUTE, KINDS, SIGNED
from .cells import SAME, labels, numbers, settings

COLUMNS = ("chip", "core", "neuron", "parameter", "setting", "value")
OPTIONAL = ("unit",)
UNITS = ("", "1", "A", "F", "Hz", "LSB", "S", "V", "ohm", "s")
ABSURD = 1e3  # a value of this many times the median of its setting is a sentinel
LOST = 0.2  # a setting with a larger fraction at an end of the recording is left out
MANY = 2**20  # a larger number of a core or of a neuron is not one counted from 0
LARGEST = 64 * 2**20  # bytes of a file
PLACES, EACH = 2**22, 4  # of (core, neuron, setting) that any table may have, and that a larger one may have per row
PAIR = 20  # places whose memory a pair of settings takes in `across`
STUCK = 0.5  # d log median / d log setting below it: the value does not follow the setting


@dataclass(frozen=True)
class Recording:
    """Limits of a recording.

    Attributes:
        floor, ceiling: by kind, the lowest and highest magnitude that could be recorded, SI units; values there
            are censored. By default an end is found from the values: five equal values or more at an end of a kind's
            range, and over three times as many as at the next value.
        sentinels: values that stand for "no value". NaN, infinity and values beyond 1000 medians are always removed.

    Raises:
        ValueError: an unknown kind, or a limit that is negative or not finite.

    Example:
        >>> recording = nr.fitting.Recording(floor={"tau_mem": 1e-3}, sentinels=(-1.0,))
        >>> recording.floor
        {'tau_mem': 0.001}
    """

    floor: Mapping[str, float] = field(default_factory=dict)
    ceiling: Mapping[str, float] = field(default_factory=dict)
    sentinels: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name, ends in (("floor", self.floor), ("ceiling", self.ceiling)):
            for kind, value in ends.items():
                if kind not in KINDS:
                    raise unknown(f"{name}: kind", kind, KINDS)
                check_number(f"{name}[{kind!r}]", value)


@dataclass(frozen=True, eq=False)
class Cube:
    """The measurements of one kind.

    Attributes:
        values: (cores, neurons, settings), magnitudes for signed kinds, NaN where not measured.
        ends: the same shape, −1 at the floor of the recording, 1 at its ceiling, else 0.
        settings: (settings,) nominal magnitudes. sign: of all settings, −1 or 1; 1 for absolute kinds.
        chip: of each core, (cores,). cores: (chip, core) of each.
        counts: number of values, and of removed or replaced values by reason.
        dropped: settings that were left out, with the reason.
    """

    kind: str
    unit: str
    values: np.ndarray
    ends: np.ndarray
    settings: np.ndarray
    chip: np.ndarray
    cores: tuple[tuple[Any, Any], ...]
    counts: dict[str, int]
    dropped: dict[float, str]
    sign: int = 1

    def without(self, settings: np.ndarray, reason: str) -> Cube:
        """The cube without some settings, (settings,) of bool."""
        return replace(
            self,
            values=self.values[..., ~settings],
            ends=self.ends[..., ~settings],
            settings=self.settings[~settings],
            dropped=self.dropped | dict.fromkeys(self.settings[settings].tolist(), reason),
        )


def read_table(path: str | Path) -> pd.DataFrame:
    r"""A CSV file of measurements, UTF-8, with a comma between columns; see :func:`checked` for its columns.

    Raises:
        OSError: the file cannot be read. ValueError: it is not such a table, or is larger than 64 MiB; the message
            names file and row.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "measured.csv"
        >>> _ = path.write_text("chip,core,neuron,parameter,setting,value\na,0,0,tau_mem,0.02,0.0235\n")
        >>> nr.fitting.read_table(path)["value"].tolist()  # s
        [0.0235]
    """
    if (size := Path(path).stat().st_size) > LARGEST:
        raise ValueError(
            f"measurements {str(path)!r}: has {size} bytes; a file may have {LARGEST} (64 MiB). Split it by chip and "
            f"parameter, or read it yourself and pass the table."
        )
    try:  # the header is a row like others: pandas would rename repeated columns, and read labels such as NA as missing
        table = pd.read_csv(
            path, header=None, dtype=str, keep_default_na=False, skipinitialspace=True, encoding="utf-8-sig"
        )
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        said = reason(error)  # pandas ends some messages with a line break
        raise ValueError(f"measurements {str(path)!r}: is not a CSV table ({said}); expected {_header()}.") from error
    try:
        return checked(table[1:].set_axis(table.iloc[0], axis=1))
    except ValueError as error:
        raise ValueError(f"{path}: {reason(error)}") from error


def checked(table: Any) -> pd.DataFrame:
    """A table of measurements with every column in its type.

    Args:
        table: any argument of :class:`pandas.DataFrame`, one row per measurement. Columns: chip (any label), core and
            neuron (numbers from 0), parameter (a kind), setting (as programmed) and value, both in the SI unit of the
            kind; unit, optional, names that unit. Spaces around names and labels do not count; settings that differ
            by less than 1e-6 of their size are one.

    Raises:
        ValueError: a column is missing, unknown or there twice, the table is empty, a row has no chip, a parameter is
            not a kind, a unit is not an SI unit without prefix, or a number is not numeric. Rows are counted from 0.
    """
    try:
        table = pd.DataFrame(table)
    except (ValueError, TypeError) as error:
        raise ValueError(f"measurements: is not a table ({reason(error)}); expected {_header()}.") from error
    table = table.rename(columns=lambda name: name.strip() if isinstance(name, str) else name).reset_index(drop=True)
    _check_columns(table)
    result = pd.DataFrame({"chip": pd.Series(labels(table["chip"]), dtype=object)})
    for name in ("core", "neuron"):
        result[name] = _integers(table[name])
    result["parameter"] = table["parameter"].astype(str).str.strip()
    for kind in result["parameter"].unique():
        if kind not in KINDS:
            raise unknown("measurements: parameter", kind, KINDS)
    for name in ("setting", "value"):
        result[name] = numbers(table[name])
    bad = np.flatnonzero(~np.isfinite(result["setting"]))
    if len(bad):
        raise ValueError(f"setting: row {bad[0]} has none; expected the nominal value that was programmed.")
    for kind in result["parameter"].unique():
        here = result["parameter"] == kind
        result.loc[here, "setting"] = settings(result.loc[here, "setting"].to_numpy(), absolute=kind in ABSOLUTE)
    result["unit"] = _units(result["parameter"], table)
    return result


def _check_columns(table: pd.DataFrame) -> None:
    for name in table.columns:
        if name not in COLUMNS + OPTIONAL:
            raise unknown("measurements: column", name, COLUMNS + OPTIONAL)
        if (times := list(table.columns).count(name)) > 1:
            raise ValueError(
                f"measurements: column {shown(name)} is there {times} times; expected {_header()}, each once."
            )
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise ValueError(f"measurements: column {', '.join(missing)} missing; expected {_header()}.")
    if not len(table):
        raise ValueError(f"measurements: the table is empty; expected one row per measurement, {_header()}.")


def _header() -> str:
    return f"columns {', '.join(COLUMNS)} and optionally unit"


def _integers(column: pd.Series) -> np.ndarray:
    found = numbers(column)
    bad = np.flatnonzero(~((found >= 0) & (found < MANY) & (found == np.floor(found))))
    if len(bad):
        got = plain(column.iloc[bad[0]])
        raise ValueError(
            f"{column.name}: row {bad[0]} is {shown(got)}; expected its number, a whole number from 0 to {MANY - 1}."
        )
    return found.astype(np.int64)


def _units(parameter: pd.Series, table: pd.DataFrame) -> pd.Series:
    """The unit of every row; seconds for a time, "" where no unit is given."""
    if "unit" not in table:
        return pd.Series(np.where(parameter.isin(TIMES), "s", ""), index=parameter.index)
    units = table["unit"].fillna("").astype(str).str.strip()
    for kind, of_kind in units.groupby(parameter):
        found = sorted(of_kind.unique())
        allowed = ("s",) if kind in TIMES else UNITS
        if len(found) > 1 or found[0] not in allowed:
            raise ValueError(
                f"unit of {kind}: got {', '.join(map(repr, found))}; expected one of {', '.join(map(repr, allowed))} "
                f"for all its rows: convert settings and values to SI units without prefix."
            )
    return units


# ---- one kind


def cube(table: pd.DataFrame, kind: str, recording: Recording) -> Cube:
    """The measurements of one kind, cleaned: invalid values are NaN, censored values are marked.

    Several values of one neuron at one setting are averaged. A setting is left out where the value does not follow it,
    or where more than a fifth lies at an end of the recording. The settings of a signed kind have one sign: one
    deviation of a device acts on both signs in the model, but seldom on a chip, which has a circuit for each.

    Raises:
        ValueError: no value is left, a setting is wrong, or the cube would be far larger than the table.
    """
    rows = table[table["parameter"] == kind]
    if kind not in ABSOLUTE and (rows["setting"] == 0).any():
        raise ValueError(f"setting: {kind} has a row with 0; expected another number, its spread is relative to it.")
    sign = _sign(rows["setting"], kind)
    values, counts = _valid(rows, kind, recording)
    kept = np.isfinite(values)
    rows, values = rows[kept], values[kept]
    if not len(rows):
        raise ValueError(f"measurements of {kind}: none of {len(kept)} is a value; expected finite numbers.")
    magnitude = sign * values
    rows = rows.assign(value=magnitude, end=_ends(magnitude.to_numpy(), kind, recording))
    cells = rows.groupby(["chip", "core", "neuron", "setting"], sort=True)[["value", "end"]].agg(
        ["mean", "size", "min"]
    )
    copies = int(rows.duplicated(["chip", "core", "neuron", "setting", "value"]).sum())
    counts |= {"repeats averaged": len(rows) - len(cells), "repeats with the same value": copies}
    cores = sorted({(chip, core) for chip, core, *_ in cells.index}, key=lambda pair: (str(pair[0]), pair[1]))
    programmed = np.sort(rows["setting"].unique())
    shape = len(cores), int(rows["neuron"].max()) + 1, len(programmed)
    check_places(kind, shape, len(rows))
    number = {pair: i for i, pair in enumerate(cores)}
    place = (
        np.array([number[pair] for pair in zip(cells.index.get_level_values(0), cells.index.get_level_values(1))]),
        cells.index.get_level_values(2).to_numpy(),
        np.searchsorted(programmed, cells.index.get_level_values(3).to_numpy()),
    )
    laid, ends = np.full(shape, np.nan), np.zeros(shape, dtype=np.int8)
    laid[place] = cells["value", "mean"].to_numpy()
    ends[place] = np.sign(cells["end", "mean"].to_numpy())
    chips = list(dict.fromkeys(chip for chip, _ in cores))
    chip_number = {chip: i for i, chip in enumerate(chips)}
    chip = np.array([chip_number[chip] for chip, _ in cores])
    unit = str(rows["unit"].iloc[0])
    return _followed(Cube(kind, unit, laid, ends, sign * programmed, chip, tuple(cores), counts, {}, sign))


def check_places(kind: str, shape: tuple[int, int, int], rows: int) -> None:
    """Raise ValueError if (cores, neurons, settings) are out of proportion to the rows of a table: the neurons between
    those measured take memory too, and so does every pair of settings."""
    cores, neurons, settings = shape
    needed, most = settings * (cores * neurons + PAIR * settings), max(PLACES, EACH * rows)
    if needed > most:
        raise ValueError(
            f"measurements of {kind}: {rows} rows name {cores} cores × {neurons} neurons (numbered from 0) × "
            f"{settings} settings, which take {needed} places; expected at most {most}, {EACH} per row or {PLACES}. "
            f"Number the measured neurons of a core from 0 without gaps, or give fewer cores or settings at once."
        )


def _sign(programmed: pd.Series, kind: str) -> int:
    """The sign of the settings of a signed kind; 1 for others."""
    low, high = float(programmed.min()), float(programmed.max())
    if kind not in SIGNED and kind not in ABSOLUTE and low < 0:
        raise ValueError(f"setting: {kind} has a row with {low:g}; expected numbers > 0.")
    if kind in SIGNED and low < 0 < high:
        raise ValueError(
            f"setting: {kind} has rows of both signs, {low:g} and {high:g}; expected one. Fit a table for each sign; "
            f"if one circuit makes both, give magnitudes: change the sign of setting and value in the rows below 0."
        )
    return -1 if kind in SIGNED and low < 0 else 1


def _valid(rows: pd.DataFrame, kind: str, recording: Recording) -> tuple[pd.Series, dict[str, int]]:
    """Values with NaN for invalid ones, and the reasons."""
    values = rows["value"].copy()
    no_number = ~np.isfinite(values)
    median = values.abs().where(values.abs() < 1e30).groupby(rows["setting"]).transform("median")
    sentinel = values.abs() >= 1e30
    for given in recording.sentinels:
        sentinel |= np.isclose(values, given, rtol=SAME, atol=0)
    if kind not in ABSOLUTE:
        sentinel |= values.abs() > ABSURD * median
    negative = (values <= 0) & (kind in ABOVE_ZERO)
    sentinel &= ~no_number
    counts = {
        "values": len(rows),
        "no number": int(no_number.sum()),
        "sentinels": int(sentinel.sum()),
        "not positive": int((negative & ~sentinel & ~no_number).sum()),
    }
    return values.mask(no_number | sentinel | negative), counts


def _ends(values: np.ndarray, kind: str, recording: Recording) -> np.ndarray:
    """−1 for values at the floor of the recording, 1 at its ceiling."""
    ends = np.zeros(len(values), dtype=np.int8)
    for sign, given in ((-1, recording.floor), (1, recording.ceiling)):
        end = given[kind] * sign if kind in given else _pile(sign * values)
        if end is not None:
            ends[sign * values >= end] = sign
    return ends


def _pile(values: np.ndarray) -> float | None:
    """The highest value, if many values are equal to it."""
    distinct, count = np.unique(values, return_counts=True)
    piled = len(distinct) > 1 and count[-1] >= 5 and count[-1] > 3 * count[-2]
    return float(distinct[-1]) if piled else None


def _followed(cube: Cube) -> Cube:
    """Without settings that the value does not follow, and without mostly censored settings."""
    if cube.kind not in ABSOLUTE:
        order = np.argsort(cube.settings)
        median = np.array([np.nanmedian(cube.values[..., s]) for s in order])
        stuck = np.zeros(len(order), dtype=bool)
        for step in (1, -1):
            x, y = cube.settings[order][::step], median[::step]
            for i in range(len(x) - 1 if len(x) > 2 else 0):
                ratio = abs(np.log(x[i + 1] / x[i]))
                if ratio < 0.1 or not (y > 0).all() or abs(np.log(y[i + 1] / y[i])) >= STUCK * ratio:
                    break
                stuck[order[::step][[i, i + 1]]] = True
        if stuck.any():
            cube = cube.without(stuck, "the value does not follow the setting: the recording's floor, or saturation")
    seen = np.isfinite(cube.values).sum((0, 1))
    lost = (cube.ends != 0).sum((0, 1)) / np.maximum(seen, 1)
    by_core = (cube.ends != 0).sum(1) / np.maximum(np.isfinite(cube.values).sum(1), 1)
    bad = (lost > LOST) | (by_core.max(0) > 0.5)
    if bad.any():
        cube = cube.without(bad, f"more than {LOST:.0%} at an end of the recording")
    if not len(cube.settings):
        raise ValueError(
            f"measurements of {cube.kind}: no setting is left ({'; '.join(sorted(set(cube.dropped.values())))}); "
            f"measure where the values are within the recording's range."
        )
    kept = int((cube.ends != 0).sum())
    return replace(cube, counts=cube.counts | {"at an end of the recording": kept})


def filled(x: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Values with censored ones replaced by the expected values of a normal sample.

    In each core and setting, the m of n values beyond the end become the expected quantiles of a normal distribution
    fitted to the others by maximum likelihood with censoring. They are
    assigned in the order of the neurons' means at other settings.

    Args:
        x: (cores, neurons, settings), on the scale of the law. ends: −1, 0 or 1, same shape.
    """
    x = x.copy()
    within = np.where(ends == 0, x, np.nan)
    rank = np.zeros(x.shape[:2]) if x.shape[2] == 1 else _elsewhere(within)
    for d, s in zip(*np.nonzero((ends != 0).any(1))):
        mean, sd = _censored(x[d, :, s], ends[d, :, s])
        n = int(np.isfinite(x[d, :, s]).sum())
        for sign in (-1, 1):
            here = np.flatnonzero(ends[d, :, s] == sign)
            order = here[np.argsort(sign * rank[d, here], kind="stable")]
            tail = (np.arange(len(order), 0, -1) - 0.5) / n
            x[d, order, s] = mean - sign * sd * ndtri(tail)
    return x


def _elsewhere(x: np.ndarray) -> np.ndarray:
    """The mean of each neuron over settings, relative to its core."""
    seen = np.isfinite(x)
    centred = x - np.where(seen, x, 0).sum(1, keepdims=True) / np.maximum(seen.sum(1, keepdims=True), 1)
    return np.where(seen, centred, 0).sum(2) / np.maximum(seen.sum(2), 1)


def _censored(x: np.ndarray, ends: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of a normal sample with censored values, by the EM algorithm."""
    seen = np.isfinite(x)
    x, ends = x[seen], ends[seen]
    inside = x[ends == 0]
    mean, sd, n = float(inside.mean()), float(inside.std()) or 1e-12, len(x)
    tails = [
        (sign, float(sign * (sign * x[ends == sign]).min()), int((ends == sign).sum()))
        for sign in (-1, 1)
        if (ends == sign).any()
    ]
    for _ in range(200):
        first, second = inside.sum(), (inside**2).sum()
        for sign, end, m in tails:
            a = sign * (end - mean) / sd
            hazard = np.exp(-0.5 * a * a - 0.5 * np.log(2 * np.pi) - log_ndtr(-a))
            tail = mean + sign * sd * hazard
            first += m * tail
            second += m * (tail**2 + sd**2 * (1 + a * hazard - hazard**2))
        before, mean = sd, first / n
        sd = float(np.sqrt(max(second / n - mean**2, 1e-24)))
        if abs(sd - before) < 1e-9 * sd:
            break
    return float(mean), sd
