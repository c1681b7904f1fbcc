"""Tables of synthetic chips of which everything is known, and how often the intervals of a fit hold it.

``python tests/fit_study.py`` writes ``fit_study.json`` beside this file; with names, those counts alone.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from neurorobust.chip import ChipModel, KindModel, Programmed, SourcedValue
from neurorobust.chip.spatial import Correlation, GaussianField, PerChip, PerCore, SharedComponent, Surface
from neurorobust.chip.spreads import PowerSpread
from neurorobust.chip.variability import Gamma, Law, LogNormal, SettingDecorrelation
from neurorobust.core.apply import apply
from neurorobust.core.placement import Placement
from neurorobust.fitting import FitResult, analyze

FILE = Path(__file__).with_name("fit_study.json")
SEED, TABLES = 20261122, 200


@dataclass(frozen=True)
class Truth:
    """A chip and how it is measured.

    Attributes:
        expected: the true value of every estimate that has one.
    """

    law: Law
    shared: tuple[SharedComponent, ...]
    expected: dict[str, float]
    chips: int = 6
    cores: int = 4
    grid: tuple[int, int] = (8, 8)
    settings: tuple[float, ...] = (0.01, 0.02, 0.04)
    kind: str = "tau_mem"

    def model(self) -> ChipModel:
        """The chip model of this truth."""
        kinds = {self.kind: KindModel(self.law, SourcedValue(0.1, "assumed", "made up"), shared=self.shared)}
        return ChipModel("made up", "made up", kinds, grid=self.grid)


def table(truth: Truth, seed: int) -> pd.DataFrame:
    """Ideal measurements of fabricated dies: values with neither noise nor gaps."""
    n = truth.grid[0] * truth.grid[1]
    core = torch.arange(truth.cores).repeat_interleave(n)
    name, rows = f"die.{truth.kind}", []
    for die in truth.model().fabricate(range(truth.chips), seed):
        for setting in truth.settings:
            params = {name: torch.full((len(core),), setting, dtype=torch.float64)}
            deviations = die.deviations(Programmed(params, {}, Placement({"die": core}), []))
            values = apply(params, deviations)[name].numpy()
            rows.append(
                pd.DataFrame(
                    {
                        "chip": die.serial,
                        "core": core.numpy(),
                        "neuron": np.tile(np.arange(n), truth.cores),
                        "parameter": truth.kind,
                        "setting": setting,
                        "value": values,
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


SPREAD, TURN, EXPONENT = 0.15, 0.3, -0.3
REFERENCE = math.exp(np.log((0.01, 0.02, 0.04)).mean())
PARTS = (Surface(0.3, "s", size=64), PerCore(0.15, "k"), PerChip(0.1, "c"))
TRUTHS = {
    "everything": Truth(
        SettingDecorrelation(LogNormal(PowerSpread(SPREAD, REFERENCE, EXPONENT, 1.0)), TURN, REFERENCE),
        PARTS,
        {
            "sigma": SPREAD,
            "sigma_within": SPREAD * math.sqrt(0.75),
            "field_share": 0.4,  # of the variance within a core
            "core_share": 0.15,
            "chip_share": 0.1,
            "exponent": EXPONENT,
            "rate": TURN,
        },
    ),
    "one chip, one core": Truth(
        LogNormal(SPREAD),
        (Surface(0.36, "s", size=256),),
        {"sigma": SPREAD, "field_share": 0.36},
        chips=1,
        cores=1,
        grid=(16, 16),
        settings=(0.02,),
    ),
    "a smooth field": Truth(
        LogNormal(SPREAD),
        (GaussianField(0.4, "s", length=2.5),),
        {"sigma_within": SPREAD, "field_share": 0.4},
        chips=2,
        cores=2,
        grid=(16, 16),
        settings=(0.02, 0.03),
    ),
    "nothing in common": Truth(
        LogNormal(0.25),
        (),
        {"sigma": 0.25, "field_share": 0.0, "core_share": 0.0, "chip_share": 0.0, "exponent": 0.0},
        chips=4,
        cores=2,
        settings=(0.02, 0.03),
    ),
    "gamma": Truth(Gamma(0.5), (), {}, chips=2, cores=4, settings=(0.02,)),
}


def fitted(truth: Truth, seed: int) -> FitResult:
    """The fit of one table."""
    return analyze(table(truth, seed), grid=truth.grid)


def held(truth: Truth, seeds: range) -> dict[str, list[bool]]:
    """For every estimate with a known truth, whether its interval holds it, table by table."""
    result: dict[str, list[bool]] = {}
    for seed in seeds:
        fit = fitted(truth, seed).kinds[truth.kind]
        for name, value in truth.expected.items():
            e = fit.estimates[name]
            result.setdefault(name, []).append(e.low - 1e-12 <= value <= e.high + 1e-12)
        assert fit.family is not None
        right = fit.family.best == ("gamma" if isinstance(truth.law, Gamma) else "lognormal")
        result.setdefault("family not excluded", []).append(not fit.family.decided or right)
        result.setdefault("family decided", []).append(fit.family.decided)
    return result


CORRELATED = {"correlation of 0.5": 0.5, "correlation of 0": 0.0}


def two_kinds(rho: float, seed: int) -> FitResult:
    """The fit of two kinds whose own parts are correlated, each with a surface of its own, one turning with the
    setting; 3 chips of 2 cores."""
    fact, names = SourcedValue(0.1, "assumed", "made up"), ("tau_mem", "t_ref")
    laws = LogNormal(SPREAD), SettingDecorrelation(LogNormal(0.1), TURN, REFERENCE)
    kinds = {kind: KindModel(law, fact, shared=(Surface(0.3, kind, size=64),)) for kind, law in zip(names, laws)}
    model = ChipModel(
        "made up", "made up", kinds, grid=(8, 8), correlation=Correlation(names, ((1.0, rho), (rho, 1.0)))
    )
    core, rows = torch.arange(2).repeat_interleave(64), []
    for die in model.fabricate(range(3), seed):
        for setting in (0.01, 0.02, 0.04):
            params = {f"die.{kind}": torch.full((128,), setting, dtype=torch.float64) for kind in names}
            values = apply(params, die.deviations(Programmed(params, {}, Placement({"die": core}), [])))
            columns = {"chip": die.serial, "core": core.numpy(), "neuron": np.tile(np.arange(64), 2)}
            rows += [
                pd.DataFrame(columns | {"parameter": kind, "setting": setting, "value": values[f"die.{kind}"].numpy()})
                for kind in names
            ]
    return analyze(pd.concat(rows, ignore_index=True), grid=(8, 8))


def correlation_held(rho: float, seeds: range) -> list[bool]:
    """Whether the interval of the correlation holds the truth, table by table."""
    found = [two_kinds(rho, seed).correlations["t_ref", "tau_mem"] for seed in seeds]
    return [e.low <= rho <= e.high for e in found]


def study(chosen: list[str]) -> None:
    """Make the counts of the named truths anew, or of all; the others stay."""
    old = json.loads(FILE.read_text())["held"] if FILE.exists() else {}
    seeds = range(SEED, SEED + TABLES)
    for name, truth in TRUTHS.items():
        if name in chosen or not chosen:
            old[name] = {what: sum(hits) for what, hits in held(truth, seeds).items()}
    if "two kinds" in chosen or not chosen:
        old["two kinds"] = {what: sum(correlation_held(rho, seeds)) for what, rho in CORRELATED.items()}
    about = {"command": "python tests/fit_study.py", "seed": SEED, "tables": TABLES}
    FILE.write_text(json.dumps(about | {"held": old}, indent=2) + "\n")


if __name__ == "__main__":
    study(sys.argv[1:])
