"""Cells of made-up numbers, complete, for the tests of pages and figures: python made_up.py OUT."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.robustness import Cell, Study, all_measurements, all_studies, write_pages, write_table
from benchmarks.robustness.study import BEST_RIVAL

PROVENANCE = {"commit": "0" * 40, "torch": "0", "numpy": "0", "numba": "0"}
STRENGTH = {
    "standard": 0.0,
    "dropout": 0.05,
    "forward_noise": 0.35,
    "awp": 0.45,
    "adversarial_weights": 0.7,
    "adversarial": 1.0,
}
LOST = {"mismatch": 0.5, "ten_ce": 0.2, "ten_kl": 0.25, "strong": 0.09, "death": 0.8, "membrane_noise": 0.6}


def values(name: str, level: str, method: str, draw: np.random.Generator, n: int) -> dict[str, Any]:
    """Made-up results of a measurement: less for more of it, more for methods that are strong."""
    strength = STRENGTH.get(method, 0.2 + 0.05 * (len(method) % 10))
    if name in LOST:
        lost = 1 / (1 + (LOST[name] * (0.5 + strength) / float(level)) ** 4)
    else:
        lost = {"bits": 0.6 ** (int(level) if level.isdigit() else 9)}.get(name, 0.1 * (1.1 - strength))
    mean = float(0.97 - 0.03 * strength - 0.46 * lost + 0.01 * draw.normal())
    if name in ("mismatch", "death", "membrane_noise", "drift", "chips"):
        if name == "chips" and level == "xylo":
            return {"refused": "network: has 300 synapses per neuron; xylo takes 63."}
        return {"balanced_accuracy": np.clip(mean - 0.1 * lost * draw.exponential(size=n), 0, 1).round(5).tolist()}
    if name == "landscape":
        curves = {}
        for a in np.linspace(-2, 2, 21):
            curves[f"random {a:+.2f}"] = 0.1 + 0.2 * (1.2 - strength) * a**2
            curves[f"adversarial {a:+.2f}"] = 0.1 + 2 * (1.2 - strength) * max(a, 0) ** 2
        return {"rise": 1.2 - strength, "adversarial rise": 5 - strength, **curves}
    if name == "certified":
        proved = float(np.clip(0.9 + 0.3 * (strength - np.log10(float(level)) - 5.2), 0, 1) * (float(level) < 4e-4))
        return {"balanced_accuracy": proved, "plain balanced_accuracy": proved * 0.6}
    if name == "rare":
        p = 10 ** (-1 - 2 * strength) if strength < 0.6 else None
        bounds = (None, None) if p is None else (p / 2, p * 2)
        found = {"probability": p, "probability low": bounds[0], "probability high": bounds[1], "effective": 20.0}
        refused = "3.2 effective failures, fewer than 8" if p is None else ""
        return {"spec": 0.9, **found, "passes": 5000, "brute force passes": 20000.0, "refused": refused}
    if name == "sharpness":
        largest = float(10 ** (-3 - strength) * draw.uniform(0.8, 1.2))
        return {"largest": largest, "hessian 0": 1.1 * largest}
    if name == "samples":
        right = np.packbits(draw.uniform(size=40) < mean).tobytes().hex()
        return {"balanced_accuracy": mean, "samples a": 40, "right a": right, "samples b": 40, "right b": right}
    if name == "price":
        return {"ratio": float((1 + 4 * strength) * draw.uniform(0.95, 1.05)), "ms": 9.0}
    return {"balanced_accuracy": mean, "accuracy": mean, "recall a": mean, "recall b": mean - 0.01}


def record(cell: Cell, **more: Any) -> dict[str, Any]:
    """A cell that was trained, with measurements or other entries."""
    return {
        "study": cell.study.name,
        "method": cell.method,
        "seed": cell.seed,
        "settings": cell.study.settings(),
        "training": {"validation": 0.9, "trial": 0, "seconds": 1.0},
        "provenance": PROVENANCE,
        **more,
    }


def entry(cell: Cell, levels: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """A measurement, from the values of its levels."""
    found = {level: {"values": values, "seconds": 1.0} for level, values in levels.items()}
    return {"budget": cell.budget.settings(), "levels": found, "provenance": PROVENANCE}


def write_cells(study: Study, methods: tuple[str, ...], out: Path) -> None:
    """Every cell of a study, with every measurement."""
    for seed in study.seeds:
        for place, method in enumerate(methods):
            cell, draw = Cell(study, method, seed, out), np.random.default_rng((seed, place))
            measurements = {
                name: entry(
                    cell,
                    {level: values(name, level, method, draw, study.budget.dies) for level in measurement.levels(cell)},
                )
                for name, measurement in all_measurements().items()
                if name != "transfer"
            }
            training = {"validation": 0.9, "trial": 0, "seconds": 100 + draw.uniform(0, 20)}
            cell.folder.mkdir(parents=True)
            cell.write(record(cell, training=training, measurements=measurements))


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for one in all_studies().values():
        write_cells(one, tuple("awp" if name == BEST_RIVAL else name for name in one.methods), folder)
    write_table(folder)
    write_pages(folder)
