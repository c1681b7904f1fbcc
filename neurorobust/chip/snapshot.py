"""Snapshots of a chip model: all its numbers in one file, so that a later version can be compared with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from .._util import digests, files, strict
from .._util.errors import reason
from ..core.params import ABSOLUTE
from .cards import numbers
from .design import ChipDesign, KindModel
from .drawing import spread
from .wording import short

FORMAT = "neurorobust-chip/1"
SHARES = (0.01, 0.5, 0.99)
TOLERANCE = 1e-5
"""Statistics that differ by less, relatively, are the same: other machines round elsewhere."""
ADVICE = "write it again with `neurorobust chips snapshot`."
ENTRY = {
    "format": {"type": "string", "const": FORMAT},
    "chip": {"type": "string"},
    "version": {"type": "integer", "minimum": 1},
    "numbers": {"type": "object", "additionalProperties": {"type": ["number", "string"]}},
}
SCHEMA = {"type": "object", "properties": ENTRY, "required": list(ENTRY), "additionalProperties": False}
Snapshot = dict[str, Any]


def snapshot(chip: ChipDesign) -> Snapshot:
    """Name, version and all numbers of a chip model.

    ``numbers`` holds every stated number by its path (text, without source), the law, encoding and shared parts of each
    kind, and statistics of devices: of 4001 equally likely ones at the value of the stated spread, mean, standard
    deviation and the quantiles .01, .5 and .99 of θ*/θ (of θ* − θ where θ may be 0).
    """
    found: dict[str, float | str] = {path: value for path, value, _, _ in numbers(chip)}
    for kind, model in chip.kinds.items():
        found |= {f"{kind}: {name}": value for name, value in _facts(kind, model).items()}
    return {"format": FORMAT, "chip": chip.name, "version": chip.version, "numbers": found}


def _facts(kind: str, model: KindModel) -> dict[str, float | str]:
    devices = spread(kind, model).numpy()
    what = "difference" if kind in ABSOLUTE else "ratio"
    return {
        "law": short(model.law),
        "encoding": short(model.encoding),
        "shared": ", ".join(short(part) for part in model.shared) or "nothing",
        "set": "once per core"
        if model.per_core
        else f"with {model.shares_deviate_of}"
        if model.shares_deviate_of
        else "",
        "derived": json.dumps(dict(model.derived)),
        f"mean {what}": _rounded(devices.mean()),
        f"sd of the {what}": _rounded(devices.std()),
        **{f"quantile {share:g} of the {what}": _rounded(np.quantile(devices, share)) for share in SHARES},
    }


def _rounded(value: float) -> float:
    return float(f"{value:.8g}")


def save(chip: ChipDesign, path: Path) -> bool:
    """Write the snapshot of a chip model, whole or not at all; False if the file holds the same numbers already."""
    new = snapshot(chip)
    if path.is_file():
        try:
            old = load(path)
        except ValueError:
            old = {}
        if old.get("version") == chip.version and old.get("chip") == chip.name and not drift(old, new):
            return False
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, json.dumps(digests.sealed(new), indent=1, ensure_ascii=False) + "\n")
    return True


def load(path: Path) -> Snapshot:
    """The snapshot of a file.

    Raises:
        FileNotFoundError: there is none. ValueError: it is no snapshot, damaged or edited, or of another format.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: does not exist; write it with `neurorobust chips snapshot`.")
    try:
        entry = strict.parse(strict.text_of(path))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is no snapshot: {reason(error)}; {ADVICE}") from error
    if not isinstance(entry, dict) or not str(entry.get("format")).startswith(FORMAT.rpartition("/")[0] + "/"):
        raise ValueError(f"{path}: is no snapshot of a chip model; {ADVICE}")
    if entry["format"] != FORMAT:
        raise ValueError(f"{path}: is of format {entry['format']}; this version reads {FORMAT}; update neurorobust.")
    entry = digests.unsealed(entry, path, ADVICE)
    if problem := next(strict.problems(entry, SCHEMA), None):
        raise ValueError(f"{path}: {problem}; {ADVICE}")
    return entry


def drift(old: Snapshot, new: Snapshot) -> dict[str, tuple[float | str | None, float | str | None]]:
    """The numbers that differ between two snapshots: (old, new), None where one has no such number."""
    before, after = old["numbers"], new["numbers"]
    return {
        name: (before.get(name), after.get(name))
        for name in {**before, **after}
        if not _same(before.get(name), after.get(name))
    }


def _same(one: float | str | None, other: float | str | None) -> bool:
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return abs(one - other) <= TOLERANCE * max(abs(one), abs(other), 1e-3)
    return one == other
