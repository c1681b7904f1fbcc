"""Rare failures against limit states with a closed form, counting, and what must not get a number."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import rare_study
import torch
from conftest import events, tiny
from interval_study import FILE, STATES, linear, quadratic, rare, stepped, truth
from scipy import stats

import chipmodels
import neurorobust as nr
from neurorobust.chip.spatial import PerChip
from neurorobust.evaluation.rare import SubsetSimulation, combine_runs, pilot_and_runs, rare_failures
from neurorobust.evaluation.subset import LEVELS, Level, Run, subset_simulation

STUDY = json.loads(FILE.read_text(encoding="utf-8"))["rare"]
NETWORK = json.loads(rare_study.FILE.read_text(encoding="utf-8"))


def normal(d, seed=0):
    """Draws of a standard normal in d dimensions, float64."""
    key = torch.Generator().manual_seed(seed)
    return lambda n: torch.randn(n, d, generator=key, dtype=torch.float64)


@pytest.mark.parametrize(("state", "d", "p"), [(linear, 10, 1e-2), (quadratic, 10_000, 1e-2), (stepped, 100, 1e-3)])
def test_the_interval_holds_a_closed_form(state, d, p):
    """A 99.99 % interval over 8 runs, lognormal, holds the truth (false alarm 1e-4 a case, more for skewed runs; the
    study counts 95 % ones)."""
    response, target = state(d, p)
    runs = pilot_and_runs(normal(d), response, target, 100, 8)
    estimates = np.array([run.probability for run in runs[1:]])
    half = stats.t.isf(5e-5, 7) * estimates.std(ddof=1) / math.sqrt(8) / estimates.mean()
    assert abs(math.log(estimates.mean() / truth(state.__name__, d, p))) < half < math.log(10)
    assert all(run.reached for run in runs)


def test_one_level_is_counting():
    """Where a tenth of the population fails at once, the estimate is the fraction that fails."""
    draws = torch.linspace(-1, 1, 101, dtype=torch.float64)[:, None]
    run = subset_simulation(lambda n: draws[:n], lambda u: u[:, 0], -0.5, 101)
    assert run == Run(25 / 101, (Level(-0.5, 25 / 101, 1.0, 25),), 101)


def test_correlated_normals_stay_as_they_are():
    """ξ with covariance C: P(u₀ + u₁ < −3 σ) for correlation 0.9 is Φ(−3), which uncorrelated steps would miss by far.

    σ² = 2 + 1.8; the mean of 8 runs of 100 has a relative error near 25 %: within a factor of 3 (over 4 σ, false alarm
    under 1e-4).
    """
    root = torch.linalg.cholesky(torch.tensor([[1.0, 0.9], [0.9, 1.0]], dtype=torch.float64))
    white = normal(2)
    runs = pilot_and_runs(lambda n: white(n) @ root.T, lambda u: u.sum(1), -3 * math.sqrt(3.8), 100, 8)
    assert abs(math.log(np.mean([run.probability for run in runs[1:]]) / stats.norm.cdf(-3))) < math.log(3)


def test_the_committed_study_holds_its_intervals():
    """Of all 95 % intervals given, at least 90 % hold at each probability; the mean over studies is within 4 of its
    errors of the truth; every state, up to 10,000 dimensions; and 1e-4 takes a tenth of the passes of counting."""
    assert {row["dimension"] for row in STUDY} == {10, 1000, 10_000}
    assert {row["state"] for row in STUDY} == set(STATES)
    for exponent in range(-4, 0):
        rows = [row for row in STUDY if round(math.log10(row["probability"])) == exponent]
        assert sum(row["held"] for row in rows) >= 0.9 * sum(row["given"] for row in rows)
        assert len(rows) == 6
        several = [row for row in rows if row["studies"] >= 20]
        assert all(abs(row["mean_over_truth"] - 1) < 4 * row["its_error"] for row in several)
    (most,) = [r for r in STUDY if r["state"] == "linear" and r["dimension"] == 10 and r["probability"] == 1e-4]
    assert most["brute_force"] > 10 * most["passes"]


def test_the_study_s_numbers_come_from_its_code():
    """A small study of the same function has the row's truth and passes (within a fifth: they are random)."""
    row = next(
        row for row in STUDY if row["state"] == "linear" and row["dimension"] == 10 and row["probability"] == 0.01
    )
    again = rare("linear", 10, 0.01, 2)
    assert again["probability"] == row["probability"]
    assert again["passes"] == pytest.approx(row["passes"], rel=0.2)


@pytest.mark.parametrize("row", NETWORK["rows"], ids=lambda row: f"{row['failures'] / NETWORK['counted']:.0e}")
def test_the_committed_study_agrees_with_counting_on_a_network(row):
    """At 9e-2, 5e-3 and 5e-4 of 60,000 counted dies: most of 16 studies give a number; their mean is the fraction that
    was counted to four errors of both (false alarm below 1e-4); all but three of the intervals hold it (four of 16 that
    each do 95 times in 100 fail once in 140 times); counting would take more passes, at 5e-4 twenty times as many."""
    truth, n = row["failures"] / NETWORK["counted"], len(row["estimates"])
    assert row["studies"] == 16 and n >= 10
    error = np.hypot(np.std(row["estimates"], ddof=1) / n**0.5, (truth * (1 - truth) / NETWORK["counted"]) ** 0.5)
    assert abs(np.mean(row["estimates"]) - truth) < 4 * error
    assert sum(low <= truth <= high for low, high in row["intervals"]) >= n - 3
    assert row["brute_force"] > row["passes"] * (20 if truth < 2e-3 else 1)


def test_the_study_on_a_network_comes_from_its_code():
    """Its first estimate at 1e-2, made again; and 2000 other dies, counted: within the exact 99.9 % interval."""
    row = NETWORK["rows"][1]
    again = rare_study.estimated(row["spec"], 1000)
    assert again.probability == pytest.approx(row["estimates"][0], rel=0.3)
    assert 0.5 < again.passes / row["passes"] < 2
    failed = int((rare_study.counted(2000) < row["spec"]).sum())
    low, high = nr.evaluation.clopper_pearson(failed, 2000, 0.999)
    assert low <= row["failures"] / NETWORK["counted"] <= high


def corner(chip):
    """The chip with half of each kind's variance common to all devices."""
    kinds = {kind: replace(model, shared=(PerChip(0.5, kind),)) for kind, model in chip.kinds.items()}
    return replace(chip, kinds=kinds)


def test_it_agrees_with_counting_on_a_network():
    """A tiny network on a chip whose devices are correlated: the two-sided 99.9 % interval meets the exact 99.9 %
    interval of counting 300 other dies (false alarm below 2e-3). The first population is dies 0 … 79 of its seed."""
    network, data, chip = tiny(), events(0, 20), corner(nr.mismatch(0.2))
    scores = np.sort(nr.evaluate(network, data, chip, n_dies=300, seed=5).score)
    spec = float(scores[12])
    low, high = nr.evaluation.clopper_pearson(int((scores < spec).sum()), 300, 0.999)
    found = rare_failures(network, data, chip, spec=spec, simulation=SubsetSimulation(80, 4), seed=9)
    assert found.refused == ()
    ratio = (found.ci95[1] / found.probability) ** (stats.t.isf(5e-4, 3) / stats.t.isf(0.025, 3))
    assert found.probability / ratio < high and found.probability * ratio > low
    assert found.passes == sum(run.passes for run in found.runs)
    first = nr.evaluate(network, data, chip, n_dies=80, seed=9).score
    assert found.runs[0].levels[0].fraction == np.mean(first <= found.runs[0].levels[0].threshold)


def test_no_number_where_nothing_fails():
    """A response that cannot fall below the target, and one that is the same everywhere: no number, and why."""
    floor = pilot_and_runs(normal(3), lambda u: u[:, 0].clamp(min=-1.0), -2.0, 50, 8)
    flat = pilot_and_runs(normal(3), lambda u: torch.ones(len(u)), 0.5, 50, 8)
    for runs in (floor, flat):
        found = combine_runs(runs)
        assert found["probability"] is None and found["ci95"] is None
        assert "never met the specification" in found["refused"][0]


def test_no_number_where_it_is_too_rare():
    """Φ(−8) = 6e-16 is beyond eight levels: the pilot ends there and no further runs are made."""
    runs = pilot_and_runs(normal(2), lambda u: u[:, 0], -8.0, 50, 8)
    assert len(runs) == 1 and len(runs[0].levels) == LEVELS
    assert combine_runs(runs)["probability"] is None


@pytest.mark.parametrize(
    ("estimates", "level", "why"),
    [
        ((1e-4, 0.0, 0.0, 1e-4), Level(0.5, 0.1, 0.4, 5), "2 of 4 runs never met"),
        ((1.0, 1.0, 1.0, 1.0), Level(0.5, 1.0, 1.0, 50), "gave the same number"),
        ((1e-4, 1e-6, 1e-6, 1e-6), Level(0.5, 0.1, 0.4, 5), "effective failures, fewer"),
        ((1e-4, 1.1e-4, 0.9e-4, 1e-4), Level(0.5, 0.1, 0.05, 5), "5% of the steps"),
        ((1e-4, 1.1e-4, 0.9e-4, 1e-4), Level(0.5, 0.1, 0.4, 1), "1.0 first dies"),
    ],
)
def test_poor_diagnostics_are_named(estimates, level, why):
    """Each diagnostic alone withholds the number."""
    runs = [Run(p, (level,), 10) for p in (1e-4, *estimates)]
    found = combine_runs(runs)
    assert found["probability"] is None
    assert len(found["refused"]) >= 1 and any(why in reason for reason in found["refused"])


def test_the_summary_by_hand():
    """Runs 1, 2, 3 (e-3) after a pilot: mean 2e-3, cv = 1/(2√3); effective (1 − p)/cv² = 12(1 − p); t(.975, 2) =
    4.302653."""
    runs = [Run(p, (Level(0.5, 0.1, 0.4, 5),), 10) for p in (9e-3, 1e-3, 2e-3, 3e-3)]
    found = combine_runs(runs)
    assert found["probability"] == pytest.approx(2e-3)
    assert found["effective"] == pytest.approx(12 * 0.998)
    assert found["brute_force"] == pytest.approx(12 * 0.998 / 2e-3)
    assert found["passes"] == 40
    assert found["ci95"][1] == pytest.approx(2e-3 * math.exp(4.302653 / math.sqrt(12)))


def test_what_it_refuses_and_prints():
    """Too few dies or runs, a spec that is no score; a result without a number prints none."""
    network, data, chip = tiny(), events(0, 12), nr.mismatch(0.1)
    for wrong in ({"dies": 10}, {"repeats": 2}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SubsetSimulation(**wrong)
    with pytest.raises(ValueError, match=r"spec: got 1\.5"):
        rare_failures(network, data, chip, spec=1.5)
    with pytest.raises(TypeError, match=r"simulation: got 250; expected nr.evaluation.SubsetSimulation\(dies=250"):
        rare_failures(network, data, chip, spec=0.5, simulation=250)
    with pytest.raises(TypeError, match="unexpected keyword argument 'dies'"):
        rare_failures(network, data, chip, spec=0.5, dies=250)
    broken = nr.mismatch(0.1)
    object.__setattr__(broken, "defects", ("a dead neuron",))
    with pytest.raises(ValueError, match="chip: has defects"):
        rare_failures(network, data, broken, spec=0.5)
    found = rare_failures(network, data, nr.mismatch(0.0), spec=0.2, simulation=SubsetSimulation(50, 4))
    assert repr(found) == (
        "RareFailures(mismatch 0, score below 0.2; equations: unknown (mismatch 0 states none); no number after 50 "
        "dies: the pilot run never met the specification)"
    )


@pytest.mark.parametrize("time", ["1 s", "1 year"])
def test_memory_cells_are_read_as_in_a_fleet(time):
    """A run of one level counts dies 0 to 249 of the pilot and the next ones of each run: those that ``evaluate``
    measures, with their read noise. Of pcm right after programming nearly no die fails without it."""
    pcm = chipmodels.load("pcm").at(time)
    layer = torch.nn.Linear(20, 2, bias=False)
    torch.nn.init.constant_(layer.weight, 0.0)
    with torch.no_grad():
        layer.weight[0, :10] = layer.weight[1, 10:] = 1.0
    x = torch.rand(200, 20, generator=torch.Generator().manual_seed(0))
    gap = x[:, 10:].sum(1) - x[:, :10].sum(1)
    data, network = nr.data.Data(x[gap.abs() > 0.3], (gap > 0).long()[gap.abs() > 0.3]), nr.wrap(layer)
    scores = nr.evaluate(network, data, pcm, n_dies=250, seed=3).score
    spec = float(np.quantile(scores, 0.15, method="higher"))
    found = rare_failures(network, data, pcm, spec=spec, simulation=SubsetSimulation(dies=50, repeats=4), seed=3)
    assert [run.probability for run in found.runs] == [
        (scores[start : start + 50] < spec).mean() for start in range(0, 250, 50)
    ]
