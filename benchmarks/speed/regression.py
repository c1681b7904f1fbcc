"""Saved runs, and a test if ours has become slower since."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurorobust._util import files

RESULTS = Path(__file__).parents[1] / "results" / "speed.json"
TOLERANCE = 0.25

Ratios = Mapping[str, Mapping[str, float]]


def save(report: Mapping[str, Any], path: Path) -> None:
    """Write a run, whole or not at all. Its workloads replace those that were saved before; the others stay. Every
    workload has the machine, the date and the commit of its own run, in ``machines``."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    machines = before.get("machines", dict.fromkeys(before.get("ratios", {}), before.get("machine")))
    parts = {part: before.get(part, {}) | report.get(part, {}) for part in ("times", "ratios", "checks")}
    parts["machines"] = machines | dict.fromkeys(report["ratios"], report.get("machine"))
    files.make_folder(path.parent)
    in_order = {part: dict(sorted(rows.items())) for part, rows in parts.items()}
    files.write_text(path, json.dumps(in_order, indent=1) + "\n")


def saved(path: Path) -> Ratios:
    """The last saved ratios of every workload.

    Raises:
        FileNotFoundError: there is none.
    """
    if not path.exists():
        raise FileNotFoundError(f"--check: no saved run in {path}; make one with --save.")
    return json.loads(path.read_text(encoding="utf-8"))["ratios"]


def shared(before: Ratios, now: Ratios) -> list[tuple[str, str]]:
    """(workload, peer) of the ratios that are in both."""
    return [(work, peer) for work in now for peer in now[work] if peer in before.get(work, {})]


def fallen(before: Ratios, now: Ratios) -> dict[tuple[str, str], tuple[float, float]]:
    """The ratios, (saved, now) by workload and peer, that are more than a quarter below what was saved."""
    pairs = {(work, peer): (before[work][peer], now[work][peer]) for work, peer in shared(before, now)}
    return {key: (old, new) for key, (old, new) in pairs.items() if new < (1 - TOLERANCE) * old}
