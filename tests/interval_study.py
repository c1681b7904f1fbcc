"""How often intervals over seeds and dies, and those of rare failures, hold what they estimate, where that is known.

``python tests/interval_study.py`` writes ``interval_study.json`` beside this file (about 8 minutes).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy import special, stats
from torch import Tensor

from neurorobust.evaluation.rare import combine_runs, pilot_and_runs
from neurorobust.evaluation.statistics import bootstrap_interval, paired_interval

FILE = Path(__file__).with_name("interval_study.json")
SEED, TABLES = 20261126, 500
SPREADS = {
    "seeds differ": (1.0, 0.3, 0.3),
    "dies differ": (0.1, 1.0, 0.3),
    "all alike": (0.3, 1.0, 1.0),
    "noise alone": (0.0, 0.0, 1.0),
}
LOW = partial(np.quantile, q=0.05)


def table(spread: tuple[float, float, float], seeds: int, dies: int, rng: np.random.Generator) -> np.ndarray:
    """Normal effects of seed, die and both: mean 0, shape (seeds, dies)."""
    seed, die, both = spread
    return seed * rng.normal(size=(seeds, 1)) + die * rng.normal(size=dies) + both * rng.normal(size=(seeds, dies))


def low_quantile(spread: tuple[float, float, float]) -> float:
    """The 5 % quantile over dies of one seed, on average over seeds."""
    return float(special.ndtri(0.05)) * math.hypot(*spread[1:])


def coverage(spread: tuple[float, float, float], seeds: int, dies: int, tables: int) -> dict[str, float]:
    """Fraction of 95 % intervals that hold the mean, the 5 % quantile and the difference of two methods' means."""
    rng = np.random.default_rng([SEED, seeds, dies, *(int(100 * s) for s in spread)])
    held = dict.fromkeys(("mean", "quantile", "difference"), 0)
    for k in range(tables):
        one, other = table(spread, seeds, dies, rng), table(spread, seeds, dies, rng)
        shared = table((0.5, 2.0, 0.0), seeds, dies, rng)  # what both methods have from the same seeds and dies
        found = {
            "mean": (bootstrap_interval(one, seed=k), 0.0),
            "quantile": (bootstrap_interval(one, LOW, seed=k), low_quantile(spread)),
            "difference": (paired_interval(one + shared + 0.1, other + shared, seed=k), 0.1),
        }
        for name, (interval, truth) in found.items():
            held[name] += interval.low <= truth <= interval.high
    return {name: count / tables for name, count in held.items()}


def linear(d: int, p: float) -> tuple[Callable[[Tensor], Tensor], float]:
    """Σu/√d, and what it is below with probability p."""
    return lambda u: u.sum(1) / math.sqrt(d), float(special.ndtri(p))


def quadratic(d: int, p: float) -> tuple[Callable[[Tensor], Tensor], float]:
    """−‖u‖², and what it is below with probability p: chi-square, no direction is worse than another."""
    return lambda u: -u.square().sum(1), -float(stats.chi2.isf(p, d))


def stepped(d: int, p: float) -> tuple[Callable[[Tensor], Tensor], float]:
    """Σu/√d rounded up to 0.05, as a score counts samples; the target between two steps."""
    target = 0.05 * math.floor(special.ndtri(p) / 0.05) + 0.025
    return lambda u: (u.sum(1) / math.sqrt(d) / 0.05).ceil() * 0.05, target


STATES = {"linear": linear, "quadratic": quadratic, "stepped": stepped}


def truth(state: str, d: int, p: float) -> float:
    """The probability itself, which steps move away from p."""
    return float(special.ndtr(0.05 * math.floor(special.ndtri(p) / 0.05))) if state == "stepped" else p


def normals(d: int, seed: int) -> Callable[[int], Tensor]:
    """Draws of standard normals in d dimensions."""
    key = torch.Generator().manual_seed(seed)
    return lambda n: torch.randn(n, d, generator=key)


def rare(state: str, d: int, p: float, studies: int) -> dict[str, float]:
    """Studies of 8 runs of 250 on one limit state: bias, intervals that hold the truth, refusals, and what it saves."""
    response, target = STATES[state](d, p)
    exact = truth(state, d, p)
    found, means = [], []
    for k in range(studies):
        runs = pilot_and_runs(normals(d, SEED + k), response, target, 250, 8)
        found.append(combine_runs(runs))
        means.append(np.mean([run.probability for run in runs[1:]]))
    kept = [study for study in found if study["ci95"] is not None]
    cv, passes = float(np.std(means) / np.mean(means)), float(np.mean([study["passes"] for study in found]))
    return {
        "state": state,
        "dimension": d,
        "probability": exact,
        "studies": studies,
        "mean_over_truth": float(np.mean(means)) / exact,
        "its_error": float(np.std(means, ddof=1)) / exact / math.sqrt(studies),
        "held": sum(study["ci95"][0] <= exact <= study["ci95"][1] for study in kept),
        "given": len(kept),
        "cv": cv,
        "passes": passes,
        "brute_force": (1 - exact) / exact / cv**2,
    }


def main() -> None:
    torch.set_num_threads(1)
    intervals = [
        {"spread": name, "seeds": seeds, "dies": dies, **coverage(spread, seeds, dies, TABLES)}
        for name, spread in SPREADS.items()
        for seeds, dies in ((3, 100), (3, 20), (5, 100))
    ]
    failures = [
        rare(state, d, p, studies)
        for state, d, studies in (
            ("linear", 10, 200),
            ("quadratic", 10, 200),
            ("stepped", 10, 200),
            ("linear", 1000, 20),
            ("quadratic", 1000, 20),
            ("linear", 10000, 4),
        )
        for p in (1e-1, 1e-2, 1e-3, 1e-4)
    ]
    about = {"command": "python tests/interval_study.py", "seed": SEED, "tables": TABLES}
    FILE.write_text(json.dumps(about | {"intervals": intervals, "rare": failures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
