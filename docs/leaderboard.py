"""The leaderboard of the results: one study, one suite, each cell the mean of the training seeds and their range."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from text import table

STUDY = Path(__file__).parent.parent / "benchmarks/results/floor_study.json"
METHODS = ("standard", "forward_noise", "awp", "adversarial_weights", "adversarial")
SEEDS = (0, 1, 2)
COLUMNS: dict[str, Callable[[dict[str, Any]], float]] = {
    "no error": lambda run: run["dies"]["nominal"],
    "DYNAP-SE2: worst of 100 dies": lambda run: min(run["dies"]["chip"]["as it stands"]),
    "mismatch 0.3: mean": lambda run: float(np.mean(run["dies"]["mismatch"]["as it stands"])),
    "mismatch 0.3: worst of 100": lambda run: min(run["dies"]["mismatch"]["as it stands"]),
    "worst of 100, trimmed": lambda run: min(run["dies"]["mismatch"]["unlabelled"]),
    "attack ζ = 0.05": lambda run: run["attack"]["score"],
}


def leaderboard(study: Path = STUDY) -> str:
    """One row for each method; raises KeyError where a training seed is missing."""
    record = json.loads(study.read_text(encoding="utf-8"))
    rows = [[f"`{method}`", *_cells([record[f"{method}-{seed}"] for seed in SEEDS])] for method in METHODS]
    return f"```{{container}} sortable\n{table(['training', *COLUMNS], rows)}```\n"


def suites(study: Path = STUDY) -> set[str]:
    """The suites of all attacks on the leaderboard; one, or its numbers cannot be compared."""
    record = json.loads(study.read_text(encoding="utf-8"))
    return {record[f"{method}-{seed}"]["attack"]["suite"] for method in METHODS for seed in SEEDS}


def _cells(runs: list[dict[str, Any]]) -> list[str]:
    """Mean and range over the training seeds, of every column."""
    return [cell([value(run) for run in runs]) for value in COLUMNS.values()]


def cell(values: list[float]) -> str:
    """``.958 (.948–.968)``; one number where all are the same to three digits."""
    mean, *seeds = (f"{value:.3f}".removeprefix("0") for value in (float(np.mean(values)), *values))
    return f"{mean} ({min(seeds)}–{max(seeds)})" if len(set(seeds)) > 1 else mean
