"""Chip models from measurements: every estimate against what the synthetic chips were made with."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from fit_study import CORRELATED, FILE, TABLES, TRUTHS, Truth, correlation_held, fitted, held, table, two_kinds
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from typer.testing import CliRunner

import chipmodels
from neurorobust._util import console
from neurorobust.chip import ChipModel, KindModel, Limits, Programmed, SourcedValue
from neurorobust.chip.spatial import Correlation, GaussianField, PerChip, PerCore, quadratic
from neurorobust.chip.variability import Gamma, LogNormal, Normal, Offset, Outliers, SettingDecorrelation
from neurorobust.cli import app, main
from neurorobust.core.apply import apply
from neurorobust.core.placement import Placement
from neurorobust.fitting import IntervalEstimate, Recording, analyze, fit_chip
from neurorobust.fitting.between import significant

ALARM = 1e-4  # false-alarm rate of a coverage test here; seeds are fixed, so it is paid once
ONE_CORE = Truth(LogNormal(0.1), (), {}, chips=1, cores=1, grid=(16, 16), settings=(0.01, 0.02, 0.04))


def enough(hits: int, of: int, level: float = 0.95) -> bool:
    """Whether so many hits are what intervals of a level have, or more."""
    return stats.binom.cdf(hits, of, level) > ALARM


# ---- intervals


def test_the_committed_study_has_the_stated_coverage():
    """200 tables of each chip: every 95 % interval holds the truth in as many tables as a binomial of 0.95 does, or in
    more (false alarm 1e-4 each); another family than the true one is decided on in no more than 5 % of them."""
    study = json.loads(FILE.read_text())
    assert study["tables"] == TABLES == 200
    assert set(study["held"]) == {*TRUTHS, "two kinds"}
    for what in CORRELATED:
        assert enough(study["held"]["two kinds"][what], TABLES), what
    for name, truth in TRUTHS.items():
        counts = study["held"][name]
        assert set(counts) == {*truth.expected, "family not excluded", "family decided"}
        for what in (*truth.expected, "family not excluded"):
            assert enough(counts[what], TABLES), (name, what, counts[what])


@pytest.mark.parametrize("name", TRUTHS)
def test_a_sample_of_the_study(name):
    """Four fresh tables: each interval holds in two of them or more, false alarm 5e-4 for each estimate."""
    for what, hits in held(TRUTHS[name], range(4)).items():
        if what != "family decided":
            assert sum(hits) >= 2, what


def test_the_same_table_says_the_same():
    """Nothing is random: two fits agree in every digit, and the order of the rows does not matter."""
    rows = table(TRUTHS["everything"], 1)
    first = analyze(rows, grid=(8, 8)).card()
    assert analyze(rows, grid=(8, 8)).card() == first
    shuffled = analyze(rows.sample(frac=1, random_state=0), grid=(8, 8)).kinds["tau_mem"].estimates
    assert shuffled["sigma"].value == pytest.approx(first["parameters"]["tau_mem"]["estimates"]["sigma"]["value"])


@given(scale=st.floats(1e-9, 1e9))
def test_no_unit_is_preferred(scale):
    """Settings and values times any number: every estimate stays, the reference moves along."""
    rows = table(replace(ONE_CORE, law=TRUTHS["everything"].law), 1)
    first = analyze(rows).kinds["tau_mem"]
    rows[["setting", "value"]] *= scale
    second = analyze(rows).kinds["tau_mem"]
    assert second.reference == pytest.approx(first.reference * scale)
    for name, e in first.estimates.items():
        other = second.estimates[name]
        assert (other.value, other.low, other.high) == pytest.approx((e.value, e.low, e.high), rel=1e-4, abs=1e-7)


# ---- what is estimated, against closed forms


def test_balanced_components_are_those_of_the_analysis_of_variance():
    """Without a field the nested analysis of variance: mean squares in closed form, computed here by hand."""
    truth = replace(TRUTHS["everything"], settings=(0.02,), shared=(PerCore(0.3, "k"), PerChip(0.3, "c")))
    rows = table(truth, 5)
    x = np.log(rows["value"].to_numpy()).reshape(6, 4, 64)
    within = x.var(2, ddof=1).mean()
    core = x.mean(2).var(1, ddof=1).mean() - within / 64
    chip = x.mean((1, 2)).var(ddof=1) - x.mean(2).var(1, ddof=1).mean() / 4
    found = analyze(rows).kinds["tau_mem"].estimates
    assert found["sigma_within"].value ** 2 == pytest.approx(within)
    assert found["sigma"].value ** 2 == pytest.approx(within + core + chip)
    assert found["core_share"].value == pytest.approx(core / (within + core + chip))
    assert found["chip_share"].value == pytest.approx(chip / (within + core + chip))
    reach = 24 * 63 * within / stats.chi2.ppf([0.975, 0.025], 24 * 63)
    assert [found["sigma_within"].low ** 2, found["sigma_within"].high ** 2] == pytest.approx(reach, rel=1e-3)


def test_the_share_of_a_surface_has_its_exact_interval():
    """One full core: Q_A/5 over Q_B/250, over 1 + (256/5)·share/(1 − share), is F(5, 250): the interval is its."""
    rows = table(TRUTHS["one chip, one core"], 6)
    x = np.log(rows["value"].to_numpy())
    terms = quadratic(256, 16)
    along = ((terms.T @ (x - x.mean())) ** 2).sum() / 256
    off = ((x - x.mean()) ** 2).sum() - along
    ratio = (along / 5) / (off / 250) / stats.f.ppf([0.975, 0.025], 5, 250)
    expected = (ratio - 1) / (ratio - 1 + 256 / 5)
    share = analyze(rows, grid=(16, 16)).kinds["tau_mem"].estimates["field_share"]
    assert [share.low, share.high] == pytest.approx(expected, rel=0.02)


def test_the_rate_is_read_off_the_correlation():
    """Two settings: the rate is arccos(r) over their distance, r of each neuron's two deviations."""
    truth = replace(ONE_CORE, law=SettingDecorrelation(LogNormal(0.1), 0.5, 0.01), settings=(0.01, 0.03))
    rows = table(truth, 7)
    a, b = np.log(rows["value"].to_numpy()).reshape(2, 256)
    expected = math.acos(np.corrcoef(a, b)[0, 1]) / math.log(3)
    found = fit_chip(rows).kinds["tau_mem"].law
    assert isinstance(found, SettingDecorrelation)
    assert found.rate == pytest.approx(expected, abs=1e-5)
    assert analyze(rows).kinds["tau_mem"].estimates["frozen"].value == pytest.approx((1 + np.corrcoef(a, b)[0, 1]) / 2)


@pytest.mark.parametrize(
    ("law", "kind", "settings", "expected"),
    [
        (Gamma(0.6), "tau_mem", (0.02,), "gamma"),
        (LogNormal(0.6), "tau_mem", (0.02,), "lognormal"),
        (Normal(0.25), "weight", (0.5,), "normal"),
        (Offset(0.03), "v_leak", (-0.07, 0.0, 0.1), "offset"),
    ],
    ids=repr,
)
def test_the_family_and_its_law(law, kind, settings, expected):
    """Wide spreads are told apart on 4096 neurons, and the model's law is of that family and spread."""
    truth = Truth(law, (), {}, chips=2, cores=8, grid=(16, 16), settings=settings, kind=kind)
    found = analyze(table(truth, 3))
    of_kind = found.kinds[kind]
    assert of_kind.law == expected
    if expected != "offset":
        assert of_kind.family.decided
    assert type(found.model().kinds[kind].law) is type(law)
    spread = getattr(law, "sigma", None) or law.cv
    assert of_kind.estimates["sigma"].low < spread < of_kind.estimates["sigma"].high


def test_small_spreads_are_undecided():
    """256 neurons with 5 % spread tell no family, and the notes say so."""
    found = analyze(table(replace(ONE_CORE, law=LogNormal(0.05)), 2))
    assert not found.kinds["tau_mem"].family.decided
    assert any("undecided" in note for note in found.model().notes)


def test_unidentifiable_quantities_get_no_number():
    """One core of one chip at one setting, no grid: no number for core, chip, field, exponent or rate, and why."""
    found = analyze(table(replace(ONE_CORE, settings=(0.02,)), 1))
    assert set(found.kinds["tau_mem"].estimates) == {"sigma", "sigma_within"}
    said = " ".join(found.kinds["tau_mem"].unidentified)
    for reason in ("one chip", "no chip has two", "no grid", "one setting", "measured twice"):
        assert reason in said
    assert found.model().kinds["tau_mem"].shared == ()
    one_core_each = analyze(table(replace(ONE_CORE, chips=3, settings=(0.02,)), 1)).kinds["tau_mem"]
    assert any("chip_share holds both" in reason for reason in one_core_each.unidentified)


def test_a_fitted_model_makes_dies_like_those_it_was_fitted_to():
    """Fit, fabricate, fit again: spread, shares and exponent of the second fit lie in the intervals of the first."""
    truth = TRUTHS["everything"]
    first = fitted(truth, 4)
    again = table(
        replace(truth, law=first.model().kinds["tau_mem"].law, shared=first.model().kinds["tau_mem"].shared), 9
    )
    second = analyze(again, grid=truth.grid).kinds["tau_mem"].estimates
    for name, e in first.kinds["tau_mem"].estimates.items():
        assert second[name].low <= e.high and e.low <= second[name].high, name


def test_a_base_keeps_what_was_not_measured():
    """On dynapse2 measured time constants replace the law and the spread; codes, ranges and other kinds stay."""
    base = chipmodels.load("dynapse2")
    model = fit_chip(table(ONE_CORE, 1), base=base)
    assert model.kinds["weight"] == base.kinds["weight"]
    assert model.kinds["tau_mem"].encoding == base.kinds["tau_mem"].encoding
    assert model.kinds["tau_mem"].cv.status == "measured"
    assert model.kinds["tau_mem"].cv.value == pytest.approx(0.1, abs=0.02)


# ---- what is no measurement


def test_gaps_and_sentinels_do_not_count():
    """NaN, 9.9e37, −1 and 999 in one value of ten change σ by less than its interval, and are counted."""
    rows = table(ONE_CORE, 8)
    clean = analyze(rows).kinds["tau_mem"].estimates["sigma"]
    place = np.random.default_rng(0).permutation(len(rows))[:76].reshape(4, 19)
    for bad, at in zip((np.nan, 9.9e37, -1.0, 999.0), place):
        rows.loc[at, "value"] = bad
    dirty = analyze(rows, recording=Recording(sentinels=(999.0,))).kinds["tau_mem"]
    assert clean.low < dirty.estimates["sigma"].value < clean.high
    assert dirty.counts["no number"] == dirty.counts["not positive"] == 19
    assert dirty.counts["sentinels"] == 38


def test_gaps_are_not_taken_for_decorrelation():
    """One value of a hundred missing, frozen deviates under a gradient: the rate is still 0, and so is the exponent."""
    rows = table(replace(TRUTHS["a smooth field"], settings=(0.01, 0.02, 0.04)), 2)
    rows.loc[rows.sample(frac=0.01, random_state=0).index, "value"] = np.nan
    found = analyze(rows, grid=(16, 16)).kinds["tau_mem"].estimates
    assert (found["rate"].value, found["exponent"].value) == (0, 0)


@pytest.mark.parametrize("told", [True, False])
def test_saturation_is_censored(told):
    """A tenth of the values at the recording's ceiling, said or seen by itself: σ within 5 % of the truth of the
    sample; taking them as they are is 9 % low."""
    rows = table(replace(ONE_CORE, settings=(0.02,), chips=4), 3)
    truth = np.log(rows["value"]).groupby(rows["chip"]).std().mean()
    end = float(rows["value"].quantile(0.9))
    rows["value"] = rows["value"].clip(upper=end)
    recording = Recording(ceiling={"tau_mem": end}) if told else Recording()
    found = analyze(rows, recording=recording).kinds["tau_mem"]
    assert found.estimates["sigma_within"].value == pytest.approx(truth, rel=0.05)
    assert np.log(rows["value"]).groupby(rows["chip"]).std().mean() < 0.92 * truth
    assert found.counts["at an end of the recording"] == pytest.approx(0.1 * len(rows), abs=2)


def test_a_coarse_recording_has_no_outliers():
    """Steps as wide as two σ: most neurons read the same, and the others are no outliers."""
    rows = table(replace(ONE_CORE, law=LogNormal(0.01), settings=(0.02,)), 3)
    rows["value"] = (rows["value"] / 4e-4).round() * 4e-4
    assert analyze(rows).kinds["tau_mem"].counts["outlier neurons"] == 0


def test_a_floor_that_settings_do_not_lift_is_left_out():
    """Three lowest settings all read 2.9 ms: they are left out by name, and the exponent of the rest is 0."""
    rows = table(replace(ONE_CORE, settings=(0.0005, 0.001, 0.002, 0.01, 0.02, 0.04)), 3)
    low = rows["setting"] < 0.005
    rows.loc[low, "value"] = 2.9e-3 * np.exp(0.02 * np.random.default_rng(1).standard_normal(int(low.sum())))
    found = analyze(rows).kinds["tau_mem"]
    assert set(found.dropped) == {0.0005, 0.001, 0.002}
    assert abs(found.estimates["exponent"].value) < 0.01


def test_outliers_are_a_law_of_their_own():
    """2 % of the neurons at 1.5 to 2.8 times: the bulk keeps its σ, the fraction's interval holds 2 %."""
    law = Outliers(LogNormal(0.08), 0.02, 1.6, 2.8)
    found = analyze(table(replace(ONE_CORE, law=law, chips=4), 2))
    of_kind = found.kinds["tau_mem"]
    assert of_kind.estimates["outliers"].low < 0.02 < of_kind.estimates["outliers"].high
    assert of_kind.estimates["sigma_within"].value == pytest.approx(0.08, rel=0.05)
    fitted_law = found.model().kinds["tau_mem"].law
    assert isinstance(fitted_law, Outliers)
    assert fitted_law.low > 1.4


# ---- errors, one each


ROW = {"chip": 0, "core": 0, "neuron": 0, "parameter": "tau_mem", "setting": 0.02, "value": 0.021}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "missing"),
        (pd.DataFrame(columns=list(ROW)), "empty"),
        ([ROW | {"temperature": 300}], "'temperature' does not exist"),
        ([ROW | {"parameter": "tau_men"}], "Did you mean 'tau_mem'"),
        ([ROW | {"unit": "ms"}], "got 'ms'; expected one of 's'"),
        ([ROW | {"value": "high"}], "value: "),
        ([ROW | {"neuron": -1}], "neuron: row 0 is -1; expected its number, a whole number from 0"),
        ([ROW, ROW | {"core": None}], "core: row 1 is nan; expected its number"),
        ([ROW | {"neuron": 10**9}], "neuron: row 0 is 1000000000; expected its number"),
        ([ROW | {"neuron": True}], "neuron: got a column of type bool; expected numbers"),
        ([ROW | {"value": "0,021"}], "value: row 0 is '0,021'; expected a number with a decimal point and without"),
        ([ROW | {"value": "1_0"}], "value: row 0 is '1_0'"),
        ([ROW | {"value": pd.Timestamp("2020-01-01")}], "value: got a column of type datetime64"),
        ([ROW | {"value": 0.021j}], "value: got a column of type complex128"),
        ([ROW | {"setting": -0.02}], "setting: tau_mem has a row with -0.02; expected numbers > 0"),
        ([ROW, ROW | {"chip": np.nan}], r"chip: row 1 has none; expected a label\. If it was NA, null"),
        ([ROW, ROW | {"chip": pd.NA}], "chip: row 1 has none"),
        ([ROW, ROW | {"chip": " "}], "chip: row 1 has none; expected a label"),
        (
            [ROW | {"chip": "EU"}, ROW | {"chip": "eu"}],
            "chip: 'EU' and 'eu' may be the same; write each label in one way",
        ),
        ([ROW | {"chip": "a b"}, ROW | {"chip": "a  b"}], "chip: 'a b' and 'a  b' may be the same"),
        ([ROW | {"chip": "1"}, ROW | {"chip": "01"}], "chip: 1 and '01' may be the same"),
        (5, "measurements: is not a table"),
        ({"chip": [1, 2], "core": [0]}, "measurements: is not a table"),
        (pd.DataFrame([[0] * 7], columns=[*ROW, "value"]), "column 'value' is there 2 times"),
        (pd.DataFrame([[0] * 7], columns=[*ROW, " value "]), "column 'value' is there 2 times"),
        ([ROW | {"setting": np.nan}], "setting: row 0"),
        ([ROW | {"setting": 0.0}], "setting: tau_mem"),
        ([ROW | {"value": np.nan}], "none of 1 is a value"),
        ([ROW], "no core has more than 1 neurons"),
        ([ROW | {"neuron": n} for n in range(20)], "nothing varies"),
    ],
)
def test_a_bad_table_is_one_error(rows, said):
    """Each names what is wrong with which column."""
    with pytest.raises(ValueError, match=said):
        analyze(rows)


FAR = [ROW | {"core": core, "setting": 0.01 * (1 + s), "neuron": core} for core in range(5) for s in range(20)]
OUT_OF_PROPORTION = (
    r"measurements of tau_mem: 1{} rows name {} cores × {} neurons \(numbered from 0\) × {} settings, which take "
    r"[0-9]+ places; expected at most 4194304, 4 per row or 4194304\. Number the measured neurons of a core from 0"
)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([*FAR, ROW | {"neuron": 2**20 - 1}], OUT_OF_PROPORTION.format("01", 5, 2**20, 20)),
        ([ROW | {"setting": 1.0 + s} for s in range(1000)], OUT_OF_PROPORTION.format("000", 1, 1, 1000)),
    ],
)
def test_a_table_that_asks_for_far_more_places_than_it_has_rows_is_refused_before_they_are_made(rows, said):
    """5 cores × 2²⁰ neurons × 20 settings from 101 rows, of which a fit would take 7 GB; 1000² pairs of settings."""
    with pytest.raises(ValueError, match=said):
        analyze(rows)
    with pytest.raises(ValueError, match=said):
        chipmodels.twin(rows, chipmodels.load("dynapse2"))


def test_a_twin_of_a_chip_without_limits_is_as_large_as_its_table_allows():
    model = replace(chipmodels.load("dynapse2"), limits=Limits())
    with pytest.raises(ValueError, match="1 rows name 1048576 cores × 8 neurons"):
        chipmodels.twin([ROW | {"core": 2**20 - 1, "neuron": 7}], model)


def test_a_table_with_few_of_many_neurons_is_taken():
    """Every 40th of 4000 neurons in 4 cores, at 16 settings."""
    truth = replace(ONE_CORE, cores=4, grid=(1, 100), settings=tuple(0.01 * 1.2**s for s in range(16)))
    rows = table(truth, 1)
    dense, sparse = analyze(rows), analyze(rows.assign(neuron=40 * rows["neuron"]))
    of_kind = [found.kinds["tau_mem"].estimates["sigma"].value for found in (dense, sparse)]
    assert of_kind[0] == pytest.approx(of_kind[1], rel=1e-12)


def test_a_file_of_measurements_has_a_largest_size(tmp_path):
    path = tmp_path / "measured.csv"
    with path.open("wb") as file:
        file.truncate(2**26 + 1)
    with pytest.raises(ValueError, match=r"measured\.csv': has 67108865 bytes; a file may have 67108864 .64 MiB"):
        analyze(path)


def test_a_grid_too_small_is_refused():
    """A core of 256 neurons on a grid of 8 × 8."""
    with pytest.raises(ValueError, match="grid: 8 × 8 has no place for neuron 255"):
        analyze(table(ONE_CORE, 1), grid=(8, 8))


# ---- the command


def test_the_command_prints_what_the_fit_says(tmp_path, monkeypatch, capsys):
    """JSON equal to the card; a table for people; an error in one line with exit code 2."""
    path = tmp_path / "measured.csv"
    table(ONE_CORE, 1).to_csv(path, index=False)
    run = CliRunner().invoke(app, ["chips", "fit", str(path), "--grid", "16x16", "--json"])
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout) == json.loads(json.dumps(analyze(path, name="measured", grid=(16, 16)).card()))
    monkeypatch.setattr(console.out, "_width", 300)
    monkeypatch.setattr(console.out, "_height", 100)
    shown = CliRunner().invoke(app, ["chips", "fit", str(path)])
    assert "sigma at 0.02 s" in shown.stdout
    assert "one chip was measured" in shown.stdout
    for words, said in ([[str(tmp_path / "none.csv")], "none.csv"], [[str(path), "--grid", "16"], "expected rows and"]):
        monkeypatch.setattr("sys.argv", ["neurorobust", "chips", "fit", *words])
        with pytest.raises(SystemExit) as exit_:
            main()
        assert exit_.value.code == 2
        assert said in capsys.readouterr().err


# ---- twins


def measured(die, kind, settings, cores, n):
    """Values of a die at settings, as a table of measurements."""
    core, name, rows = torch.arange(cores).repeat_interleave(n), f"die.{kind}", []
    for setting in settings:
        params = {name: torch.full((cores * n,), setting, dtype=torch.float64)}
        values = apply(params, die.deviations(Programmed(params, {}, Placement({"die": core}), [])))[name]
        rows.append(
            pd.DataFrame(
                {
                    "chip": "a",
                    "core": core.numpy(),
                    "neuron": np.tile(np.arange(n), cores),
                    "parameter": kind,
                    "setting": setting,
                    "value": values.numpy(),
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


@pytest.mark.parametrize("law", [LogNormal(0.2), Gamma(0.3), TRUTHS["everything"].law], ids=repr)
def test_a_twin_has_the_measured_values(law):
    """Every measured neuron, at every measured setting and at one that was not, is that of the die, to 1e-6."""
    model = replace(TRUTHS["everything"], law=law).model()
    die = model.fabricate([5], seed=3)[0]
    twin = chipmodels.twin(measured(die, "tau_mem", (0.01, 0.04), 2, 64), model, seed=8)
    for setting in (0.01, 0.02, 0.04):
        here, there = (measured(d, "tau_mem", (setting,), 2, 64)["value"].to_numpy() for d in (twin, die))
        assert here == pytest.approx(there, rel=1e-6)


def test_kinds_that_vary_together_are_found():
    """Four tables each of 0.5 and 0: the interval holds in two or more (false alarm 5e-4); a fitted model has the
    correlation, one of independent kinds has none (it may have one in 20), and its dies have it again."""
    for rho in CORRELATED.values():
        assert sum(correlation_held(rho, range(4))) >= 2
    fit = two_kinds(0.5, 0)
    e = fit.correlations["t_ref", "tau_mem"]
    model = fit.model()
    assert model.correlation == Correlation(("t_ref", "tau_mem"), ((1.0, e.value), (e.value, 1.0)))
    assert fit.card()["correlations"] == [
        {"kinds": ["t_ref", "tau_mem"], "value": e.value, "low": e.low, "high": e.high}
    ]
    assert ("t_ref", "correlation with tau_mem", f"{e.value:.3g}", f"{e.low:.3g} to {e.high:.3g}") in fit.rows()
    assert two_kinds(0.0, 1).model().correlation is None
    base = replace(model, correlation=Correlation(("tau_mem", "t_ref"), ((1.0, 0.9), (0.9, 1.0))))
    assert two_kinds(0.0, 1).model(base).correlation is None  # measured to be none


def test_correlations_that_cannot_all_be_true_are_made_smaller():
    """0.9, 0.9 and −0.9 among three kinds: one factor for all, smallest eigenvalue 0.001; unsure ones are left out."""
    names = ("t_ref", "tau_mem", "tau_syn")
    pairs = {(names[0], names[1]): 0.9, (names[1], names[2]): 0.9, (names[0], names[2]): -0.9}
    found = significant({pair: IntervalEstimate(r, r - 0.05, r + 0.05) for pair, r in pairs.items()})
    rho = np.array(found.matrix)
    assert np.linalg.eigvalsh(rho)[0] == pytest.approx(1e-3, abs=1e-9)
    assert rho[0, 1] == pytest.approx(rho[1, 2]) == pytest.approx(-rho[0, 2])
    assert significant({("t_ref", "tau_mem"): IntervalEstimate(0.1, -0.1, 0.3)}) is None


def unmeasured(model, rows, seeds, kind, at):
    """u of one site over twins of several seeds."""
    return np.array([chipmodels.twin(rows, model, seed=seed).map(kind)[at].item() for seed in seeds])


def chip_of(kinds, correlation=None):
    """A chip of two cores with 4 neurons in a row each."""
    fact = SourcedValue(0.2, "assumed", "made up")
    models = {kind: KindModel(LogNormal(0.2), fact, shared=parts) for kind, parts in kinds.items()}
    limits = Limits(cores=2, neurons_per_core=4, source="made up")
    return ChipModel("small", "small", models, limits, grid=(1, 4), correlation=correlation)


@pytest.mark.parametrize(
    ("model", "kind", "at", "r"),
    [
        (chip_of({"tau_mem": (PerCore(0.6, "k"),)}), "tau_mem", (0, 0, 3), 0.6),
        (chip_of({"tau_mem": (PerCore(0.6, "k"),)}), "tau_mem", (1, 0, 3), 0.0),
        (chip_of({"tau_mem": (PerChip(0.6, "k"),)}), "tau_mem", (1, 0, 3), 0.6),
        (
            chip_of({"tau_mem": (GaussianField(0.8, "f", length=2.0),)}),
            "tau_mem",
            (0, 0, 3),
            0.8 * GaussianField(1.0, "f", length=2.0).correlation(0, 2),
        ),
        (
            chip_of({"tau_mem": (), "t_ref": ()}, Correlation(("tau_mem", "t_ref"), ((1.0, 0.7), (0.7, 1.0)))),
            "t_ref",
            (0, 0, 1),
            0.7,
        ),
        (chip_of({"tau_mem": (PerChip(0.5, "k"),), "weight": (PerChip(0.5, "k"),)}), "weight", (0, 0, 1), 0.5),
    ],
    ids=["core", "other core", "chip", "field", "kind", "shared part"],
)
def test_the_rest_of_a_twin_is_drawn_given_what_was_measured(model, kind, at, r):
    """One neuron measured at u = 2: any other site is normal with mean 2r and variance 1 − r², r their correlation in
    the model. KS over 50 twins, false alarm 1e-4."""
    rows = pd.DataFrame([ROW | {"neuron": 1, "value": 0.02 * math.exp(0.2 * 2)}])
    u = unmeasured(model, rows, range(50), kind, at)
    assert stats.kstest(u, stats.norm(2 * r, math.sqrt(1 - r**2)).cdf).pvalue > ALARM
    assert unmeasured(model, rows, [0], "tau_mem", (0, 0, 1))[0] == pytest.approx(2, abs=1e-6)


@pytest.mark.parametrize(
    ("law", "value", "u"),
    [
        (Normal(0.1), 0.55, 1.0),
        (Normal(0.1), -0.55, -1.0),
        (LogNormal(0.1), -0.5 * math.exp(0.1), 1.0),
        (LogNormal(0.1), 0.5 * math.exp(0.1), 1.0),
        (Offset(0.05), -0.45, 1.0),
    ],
    ids=repr,
)
def test_a_twin_has_the_deviation_of_a_weight_below_zero(law, value, u):
    """θ + abs(θ)·cv·u of a normal law, θ·exp(σu) of a lognormal one: solved for u at ±0.5."""
    model = chip_of({"weight": ()})
    model = replace(model, kinds={"weight": replace(model.kinds["weight"], law=law)})
    row = ROW | {"neuron": 1, "parameter": "weight", "setting": math.copysign(0.5, value), "value": value}
    assert unmeasured(model, [row], [0], "weight", (0, 0, 1))[0] == pytest.approx(u, abs=1e-6)


def test_values_far_from_the_model_are_said():
    """Settings in seconds and values in milliseconds: all at the end of the scale, with a warning."""
    rows = [ROW | {"neuron": n, "value": 20.0 + n} for n in range(4)]
    with pytest.warns(UserWarning, match="4 of 4 values lie 8 standard normals or more from the median of model small"):
        chipmodels.twin(rows, chip_of({"tau_mem": ()}))


def test_a_twin_is_kept(tmp_path):
    """Saved and loaded it has the same deviations; it says that it is a twin; without measurements it is the die."""
    model = chipmodels.load("dynapse2")
    rows = measured(model.fabricate([1], 0)[0], "tau_mem", (0.02,), 1, 256)
    twin = chipmodels.twin(rows, model, seed=4)
    again = chipmodels.load_die(twin.save(tmp_path / "die.json"))
    assert all(torch.equal(again.map(kind), u) for kind, u in twin.maps().items())
    assert str(twin).startswith("twin of a measured die of dynapse2")
    plain = model.fabricate([0], 4)[0]
    assert torch.equal(twin.map("tau_syn"), plain.map("tau_syn"))
    assert torch.equal(twin.map("tau_mem")[1], plain.map("tau_mem")[1])
    assert torch.equal(twin.map("r"), twin.map("tau_mem"))  # one device moves both


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"core": 4}, "exceeds dynapse2's 4 cores"),
        ({"neuron": 256}, "exceeds dynapse2's 256 neurons_per_core"),
        ({"parameter": "v_leak", "setting": 0.0}, "kind of chip dynapse2"),
    ],
)
def test_a_twin_of_another_chip_is_refused(row, said):
    """Sites and kinds that the model does not have."""
    with pytest.raises(ValueError, match=said):
        chipmodels.twin([ROW | row], chipmodels.load("dynapse2"))


def test_one_chip_of_a_table_is_chosen():
    """Several chips and none chosen is an error that lists them."""
    rows = [ROW, ROW | {"chip": 1}]
    with pytest.raises(ValueError, match=r"holds \[0, 1\]; choose one"):
        chipmodels.twin(rows, chipmodels.load("dynapse2"))
    assert chipmodels.twin(rows, chipmodels.load("dynapse2"), chip=1).measured is not None
