"""Figures: what is drawn is the data, in the stated units, and no text lies on another."""

from __future__ import annotations

from itertools import combinations

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import events, tiny
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.text import Text

import neurorobust as nr
from neurorobust.attacks import PGA
from neurorobust.core.placement import expand
from neurorobust.evaluation import FleetResult, Landscape, sensitivity, worst_case
from neurorobust.nn.network import placement_of
from neurorobust.train.loop import History
from neurorobust.viz import plotting

# Machado, Oliveira & Fernandes 2009 (IEEE TVCG 15:1291), table of severity 1.0; on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def axes(*shape: int, size=(9, 4)):
    """A figure in the house style, and its axes in a row."""
    with matplotlib.rc_context(plotting.STYLE):
        figure = Figure(figsize=size, layout="constrained")
        return np.ravel(figure.subplots(*shape))


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts that lie on each other by more than a pixel, once the figure is drawn."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    unseen = set()
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        unseen |= {tick.label1 for tick in ticks if not low <= tick.get_loc() <= high}
    boxes = [
        (text.get_text(), text.get_window_extent(canvas.get_renderer()).padded(-1))
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text not in unseen
    ]
    return [(a, b) for (a, one), (b, other) in combinations(boxes, 2) if one.overlaps(other)]


@pytest.fixture(scope="module")
def found():
    """The sensitivity of the tiny network."""
    return sensitivity(tiny(), events(0, 12), ball=nr.Ball.uniform(0.4), attack=PGA(steps=2), n_dies=3)


@pytest.mark.parametrize("vision", VISION)
def test_colours_are_distinguishable(vision):
    """Any two colours differ by 25 or more in CIELAB (2.3 is just noticeable), whatever the colour vision."""

    def lab(color: str) -> np.ndarray:
        srgb = np.array(matplotlib.colors.to_rgb(color))
        linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
        seen = np.clip(np.asarray(VISION[vision]) @ linear, 0, 1)
        to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
        x, y, z = np.cbrt(np.maximum(to_xyz @ seen / [0.9505, 1, 1.089], 0.008856))
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    pairs = combinations(plotting.COLORS, 2)
    assert min(np.linalg.norm(lab(a) - lab(b)) for a, b in pairs) > 25


def test_overlaps_are_found():
    """The test of overlapping texts itself: two on one spot are seen, two apart are not."""
    (ax,) = axes(1, 1)
    ax.text(0.5, 0.5, "one")
    assert overlaps(ax.figure) == []
    ax.text(0.51, 0.5, "two")
    assert overlaps(ax.figure) == [("one", "two")]


def test_raster():
    """A mark at (time in ms, channel) for every event."""
    spikes = np.zeros((20, 3))
    spikes[[2, 5, 19], [0, 2, 1]] = 1
    (ax,) = axes(1, 1)
    assert plotting.raster(ax, spikes, 0.005) is ax
    assert ax.collections[0].get_offsets().tolist() == [[10, 0], [25, 2], [95, 1]]
    assert ax.get_xlim() == (0, 100)
    tensor = plotting.raster(axes(1, 1)[0], torch.from_numpy(spikes), 0.005)
    assert tensor.collections[0].get_offsets().tolist() == ax.collections[0].get_offsets().tolist()


@pytest.mark.parametrize("adapting", [False, True])
def test_membranes(adapting):
    """Traces and thresholds in mV over ms, a tick for every spike, a label for every neuron."""
    v = torch.linspace(-0.1, 0.2, 20)[:, None] * torch.tensor([1.0, 2.0, -1.0])
    spikes = v > 0.15
    threshold = v.abs() if adapting else torch.tensor([0.1, 0.2, 0.3])
    drawn = axes(3, 1, size=(6, 5))
    assert plotting.membranes(drawn, v, 0.005, threshold=threshold, spikes=spikes) is drawn
    for i, ax in enumerate(drawn):
        membrane, limit = ax.lines
        assert np.allclose(membrane.get_xdata(), np.arange(20) * 5)
        assert np.allclose(membrane.get_ydata(), 1e3 * v[:, i])
        assert np.allclose(limit.get_ydata(), 1e3 * (threshold[:, i] if adapting else threshold[i]))
        ticks = [segment[0, 0] for segment in ax.collections[0].get_segments()]
        assert np.allclose(ticks, 5 * np.flatnonzero(spikes[:, i]))
        assert "mV" in ax.get_ylabel() and v[:, i].max() * 1e3 < ax.get_ylim()[1]
    assert drawn[-1].get_xlabel() == "time (ms)"
    assert overlaps(drawn[0].figure) == []


def heights(ax) -> list[tuple[np.ndarray, np.ndarray]]:
    """Edges and heights of each histogram on an axis."""
    result = []
    for patch in ax.patches:
        outline = patch.get_xy()
        upper = outline[1 : 2 * (len(outline) // 4) : 2]
        result.append((upper[:, 0], upper[:, 1]))
    return result


def test_distributions():
    """Programmed against a die: shared bins, fractions that add up to 1, log axes for positive kinds, units, zeros."""
    network = tiny()
    before = nr.nominal(network)
    placement = placement_of(network)
    chip = nr.mismatch(0.3)
    programmed = chip.program(before, placement)
    after = nr.apply(before, chip.fabricate([0], 1)[0].deviations(programmed), placement)
    drawn = axes(3, 3, size=(12, 9))
    assert plotting.distributions(drawn, before, after, labels=("programmed", "die 0")) is drawn
    for ax, name in zip(drawn, before):
        (edges, one), (same, other) = heights(ax)
        assert np.array_equal(edges, same)
        assert one.sum() == pytest.approx(1) and other.sum() == pytest.approx(1)
        assert (ax.get_xscale() == "log") == (not name.endswith(("weight", "bias")))
        assert ax.get_xlabel().startswith(name)
    units = {ax.get_xlabel().split(" ")[0]: ax.get_xlabel().split(" ")[-1] for ax in drawn}
    assert units["hidden.tau_mem"] == "(ms)" and units["hidden.v_threshold"] == "(mV)"
    low, high = drawn[list(before).index("hidden.tau_mem")].get_xlim()
    tau = 1e3 * after["hidden.tau_mem"]
    assert low < min(5, tau.min()) and max(20, tau.max()) < high
    zeros = int((network.hidden.recurrent.weight == 0).sum())
    legend = drawn[list(before).index("hidden.recurrent.weight")].get_legend().get_texts()
    assert [text.get_text() for text in legend] == [
        f"{label}, {zeros} zeros left out" for label in ("programmed", "die 0")
    ]
    assert overlaps(drawn[0].figure) == []


@given(
    st.lists(st.sampled_from([0.0, 1e-3, 0.02, 0.020001, 5.0]), min_size=1, max_size=5),
    st.sampled_from(["tau_mem", "weight"]),
)
def test_distributions_of_anything(values, kind):
    """Equal values, one value, zeros alone and decades apart: nothing is lost, and what is left adds up to 1."""
    (ax,) = axes(1, 1)
    params = {f"a.{kind}": torch.tensor(values)}
    plotting.distributions([ax], params, params)
    expected = float(any(values))
    assert [float(height.sum()) for _, height in heights(ax)] == pytest.approx([expected, expected])


def test_violins_and_curves():
    """Six networks on two conditions, a yield curve and an attack curve: colours never run out, texts stay apart."""
    rng = np.random.default_rng(0)
    names = ("standard", "adversarial", "noise", "awp", "dropout", "sam")
    values = {name: 1 - 0.4 * rng.beta(2, 20, 40) for name in names}
    ax, other, third = axes(1, 3, size=(21, 4))
    plotting.fleet_violins(ax, {"fleet": values, "mismatch": values}, 0.9)
    assert means(ax) == pytest.approx([value.mean() for value in values.values()] * 2)
    plotting.yield_curve(other, values, 0.9)
    plotting.attack_curve(third, {name: {"ten": {0.0: 0.9, 0.1: 0.6}} for name in names}, 0.5)
    assert [line.get_ydata().tolist() for line in third.lines[:6]] == [[0.9, 0.6]] * 6
    assert overlaps(ax.figure) == []


def fleet(scores, chip="mismatch 0.3", regression=False) -> FleetResult:
    """A fleet with these scores."""
    values = np.asarray(scores, dtype=float)
    accuracy = None if regression else values
    return FleetResult(chip, 1, tuple(range(len(values))), 1.0, 1.0, values, accuracy, None, [])


def means(ax) -> list[float]:
    """Heights of the lines that mark a mean."""
    return [line.get_segments()[0][0, 1] for line in ax.collections if hasattr(line, "get_segments")]


def test_fleets_are_drawn_as_they_are():
    """One FleetResult, several by network, several on two chips, and by condition: the means in their groups; R² is
    called so."""
    a, b, other = fleet([0.9, 0.8]), fleet([0.5, 0.6, 0.7]), fleet([0.2, 0.4], "dynapse2")
    one, two, chips, named, regression = axes(1, 5, size=(25, 4))
    plotting.fleet_violins(one, a)
    assert means(one) == pytest.approx([0.85]) and [t.get_text() for t in one.get_xticklabels()] == ["mismatch 0.3"]
    plotting.fleet_violins(two, {"a": a, "b": b}, 0.75)
    assert means(two) == pytest.approx([0.85, 0.6]) and len(two.get_xticks()) == 1
    plotting.fleet_violins(chips, {"a": a, "other": other})
    assert [t.get_text() for t in chips.get_xticklabels()] == ["mismatch 0.3", "dynapse2"]
    plotting.fleet_violins(named, {"before": {"a": a}, "after": {"a": [0.1, 0.3]}})
    assert means(named) == pytest.approx([0.85, 0.2]) and named.get_ylabel() == "balanced accuracy"
    plotting.fleet_violins(regression, fleet([0.9, 0.7], regression=True))
    assert regression.get_ylabel() == "R²"
    assert overlaps(one.figure) == []


def test_yield_of_fleets():
    """The curve of a FleetResult passes through its own yields, alone or by name; a regression may be below 0."""
    found = fleet([0.5, 0.7, 0.7, 0.9])
    alone, named, regression = axes(1, 3, size=(15, 4))
    plotting.yield_curve(alone, found)
    plotting.yield_curve(named, {"a": found, "b": [0.6]}, 0.7)
    for ax in (alone, named):
        spec, fraction = ax.lines[0].get_data()
        for at in (0.45, 0.6, 0.7, 0.8, 0.95):
            assert fraction[np.searchsorted(spec, at)] == found.yield_at(at).fraction
    assert [text.get_text() for text in named.get_legend().get_texts()] == ["a", "b", "specification 0.70"]
    plotting.yield_curve(regression, fleet([-0.5, 0.5], regression=True))
    spec, fraction = regression.lines[0].get_data()
    assert np.all(np.diff(spec) >= 0) and regression.get_xlim()[0] < -0.5 and "R²" in regression.get_xlabel()
    assert overlaps(alone.figure) == []


def test_worst_cases_are_drawn_as_they_are():
    """{ζ: WorstCase} alone, by network, and by network and suite, with numbers among them: their scores in the order of
    ζ, and chance from the number of classes."""
    network, data = tiny(), events(0, 12)
    found = {z: worst_case(network, data, nr.Ball.uniform(z), PGA(steps=2)) for z in (0.4, 0.1)}
    scores = [found[0.1].score, found[0.4].score]
    alone, by_network, by_suite = axes(1, 3, size=(15, 4))
    plotting.attack_curve(alone, found)
    plotting.attack_curve(by_network, {"a": {0.0: 0.9} | found, "b": {0.1: 0.4}})
    plotting.attack_curve(by_suite, {"a": {"ten": found}}, 0.25)
    assert alone.lines[0].get_data()[0].tolist() == [0.1, 0.4] and alone.lines[0].get_ydata().tolist() == scores
    assert by_network.lines[0].get_ydata().tolist() == [0.9, *scores]
    assert [line.get_label() for line in by_network.lines[:2]] == ["a", "b"]
    assert by_suite.lines[0].get_label() == "a, ten"
    assert [ax.lines[-1].get_ydata()[0] for ax in (alone, by_network, by_suite)] == [0.5, 0.5, 0.25]
    assert overlaps(alone.figure) == []


def test_distributions_of_a_worst_die():
    """A network and the worst die found for it: the values of `apply`, for what the ball names alone."""
    network, ball = tiny(), nr.Ball(tau_mem=0.4)
    found = worst_case(network, events(0, 12), ball, PGA(steps=2))
    drawn = axes(1, 2)
    plotting.distributions(drawn, network, found)
    before, placement = nr.nominal(network), placement_of(network)
    die = nr.apply(before, found.deviations, placement)
    for ax, name in zip(drawn, ("hidden.tau_mem", "readout.tau_mem")):
        assert ax.get_xlabel() == f"{name} (ms)"
        for (edges, heights_), values in zip(heights(ax), (expand(before, placement)[name], die[name])):
            assert heights_ == pytest.approx(np.histogram(1e3 * values, [*edges, ax.get_xlim()[1]])[0] / len(values))
    with pytest.raises(TypeError, match="before: got a dict; expected the network"):
        plotting.distributions(drawn, before, found)


def test_a_landscape_is_drawn_as_it_is():
    """Thin lines are the random directions, the thick one their mean; both axes have one scale; no text on another."""
    a = np.linspace(-2, 2, 5)
    lines = [np.exp(k * a**2) for k in (0.5, 1.0)]
    one = Landscape(a, np.array(lines), np.array(lines), np.exp(2 * a**2), np.exp(a), 1.0, 0.9)
    drawn = axes(1, 2)
    assert plotting.landscape(drawn, {"standard": one, "robust": one}) is drawn
    random, adversarial = ([line.get_ydata() for line in ax.lines] for ax in drawn)
    assert len(random) == 6 and len(adversarial) == 2
    assert np.allclose(random[0], lines[0]) and np.allclose(random[2], np.mean(lines, 0))
    assert np.allclose(adversarial[1], np.exp(2 * a**2))
    assert drawn[0].get_ylim() == drawn[1].get_ylim()
    assert overlaps(drawn[0].figure) == []
    assert len(plotting.landscape(axes(1, 2), one)[1].lines) == 1


def test_a_sensitivity_is_drawn_as_it_is(found):
    """The whole result: its kinds, another level by name, a weight by name; unknown names list what exists."""
    table = found.table()
    for options, level in (((), "kind"), (("layer",), "layer")):
        bars, _ = plotting.sensitivity_bars(axes(1, 2, size=(11, 4)), found, *options)
        rows = table[table["level"] == level]
        assert bars.collections[1].get_offsets()[:, 0].tolist() == rows["attacked"].tolist()
    with pytest.raises(ValueError, match=r"level: 'kinds' does not exist.*Did you mean 'kind'"):
        plotting.sensitivity_bars(axes(1, 2), found, "kinds")
    name = "hidden.recurrent.weight"
    one, other = axes(1, 2)
    plotting.synapse_map(one, found, name), plotting.synapse_map(other, found.first_order(name))
    assert np.ma.allequal(one.images[0].get_array(), other.images[0].get_array())
    with pytest.raises(ValueError, match=r"'' does not exist; choose one of .*hidden\.recurrent\.weight"):
        plotting.synapse_map(one, found)


def test_synapses_of_a_kernel():
    """A kernel of shape (2, 3, 2, 2): twelve columns, one for each source and position."""
    values = np.arange(1.0, 25).reshape(2, 3, 2, 2)
    (ax,) = axes(1, 1)
    plotting.synapse_map(ax, values)
    assert ax.images[0].get_array().tolist() == values.reshape(2, 12).tolist()


def test_sensitivity_bars(found):
    """Marks stand at the table's numbers, in its order from the top."""
    for level in ("kind", "parameter", "layer and kind", "layer", "network"):
        table = found.table()
        rows = table[table["level"] == level]
        pair = axes(1, 2, size=(11, 4))
        assert plotting.sensitivity_bars(pair, rows) is pair
        marks = [drawn.get_offsets() for drawn in pair[0].collections if isinstance(drawn, PathCollection)]
        y = np.arange(len(rows))
        assert np.allclose(marks[0], np.c_[rows["attacked"], y])
        assert np.allclose(marks[1], np.c_[rows["random_mean"], y])
        bars = {round(bar.get_y() + bar.get_height() / 2): bar.get_width() for bar in pair[1].patches}
        assert [bars[i] for i in y] == pytest.approx(rows["first_order"].tolist())
        assert pair[0].get_ylim() == pair[1].get_ylim() == (len(rows) - 0.5, -0.5)
        assert overlaps(pair[0].figure) == []
    assert [label.get_text() for label in pair[0].get_yticklabels()] == [
        f"the whole network ({rows['elements'].iloc[0]})"
    ]


def test_no_gradient_is_written_as_a_word(found):
    """A part without a gradient has a word instead of a bar, also if its gradient is 0."""
    rows = found.table().query("level == 'kind'").copy()
    rows.iloc[0, rows.columns.get_loc("first_order")] = np.nan
    rows.iloc[1, rows.columns.get_loc("first_order")] = 0.0
    _, slope = plotting.sensitivity_bars(axes(1, 2, size=(11, 4)), rows)
    assert [(text.get_text(), text.xy[1]) for text in slope.texts] == [("no gradient", 0), ("0", 1)]
    assert len(slope.patches) == len(rows) - 2
    rows["first_order"] = np.nan
    _, slope = plotting.sensitivity_bars(axes(1, 2, size=(11, 4)), rows)
    assert len(slope.texts) == len(rows) and len(slope.patches) == 0


def test_synapse_map(found):
    """Every synapse has its value, or the floor three decades down; absent ones are masked."""
    values = found.first_order("hidden.recurrent.weight")
    (ax,) = axes(1, 1, size=(5, 4))
    assert plotting.synapse_map(ax, values) is ax
    shown = ax.images[0].get_array()
    top = np.nanmax(values)
    assert np.array_equal(shown.mask, np.isnan(values))
    assert np.allclose(shown.compressed(), np.maximum(values[~np.isnan(values)], top / 1e3))
    assert isinstance(ax.images[0].norm, LogNorm)
    assert (ax.images[0].norm.vmin, ax.images[0].norm.vmax) == (top / 1e3, top)
    assert overlaps(ax.figure) == []
    with pytest.raises(ValueError, match="values: all are 0 or NaN"):
        plotting.synapse_map(axes(1, 1)[0], np.zeros((2, 2)))


@pytest.mark.parametrize("given_as", ["rows", "log.csv", "History"])
def test_training(given_as, tmp_path):
    """Loss of every epoch, scores of validated epochs, and the last best one as fit keeps it."""
    rows = [{"epoch": e, "loss": 1 / (e + 1), "clean": np.nan, "attacked": np.nan, "score": np.nan} for e in range(6)]
    for epoch, clean, attacked in ((1, 0.8, 0.6), (3, 0.9, 0.7), (5, 1.0, 0.6)):
        rows[epoch] |= {"clean": clean, "attacked": attacked, "score": (clean + attacked) / 2}
    table: object = History(rows) if given_as == "History" else rows
    if given_as == "log.csv":
        (tmp_path / "log.csv").write_text(History(rows).to_csv())
        table = pd.read_csv(tmp_path / "log.csv")
    loss, scores = plotting.training(axes(1, 2), table)
    assert loss.lines[0].get_ydata() == pytest.approx([1 / (e + 1) for e in range(6)])
    clean, attacked, score, kept = scores.lines
    assert clean.get_xdata().tolist() == [1, 3, 5]
    assert (clean.get_ydata()[2], attacked.get_ydata()[1], score.get_ydata()[0]) == pytest.approx((1.0, 0.7, 0.7))
    assert kept.get_xdata()[0] == 5
    assert overlaps(loss.figure) == []


def test_a_history_without_validation(found):
    """Training that was never scored has its loss drawn and no kept epoch."""
    nothing = dict.fromkeys(("clean", "attacked", "score"), np.nan)
    loss, scores = plotting.training(axes(1, 2), [{"epoch": 0, "loss": 0.5} | nothing])
    assert loss.lines[0].get_ydata().tolist() == [0.5]
    assert all(len(line.get_xdata()) == 0 for line in scores.lines)


def test_wrong_number_of_axes():
    """Too few axes are refused with the number that is needed."""
    with pytest.raises(ValueError, match=r"axes: got 2; expected 3: one per neuron\."):
        plotting.membranes(axes(1, 2), np.zeros((5, 3)), 1e-3)
    with pytest.raises(ValueError, match=r"axes: got 1; expected 2"):
        plotting.training(axes(1, 1), [])
    with pytest.raises(ValueError, match=r"axes: got 1; expected 9"):
        params = expand(nr.nominal(tiny()), placement_of(tiny()))
        plotting.distributions(axes(1, 1), params, params)


def test_no_global_state(found):
    """Drawing leaves matplotlib's settings as they were."""
    before = dict(matplotlib.rcParams)
    plotting.sensitivity_bars(axes(1, 2), found.table())
    plotting.raster(axes(1, 1)[0], np.eye(3), 1e-3)
    assert dict(matplotlib.rcParams) == before


def test_violins_take_several_axes_and_plain_lists():
    """A dictionary of lists is one group; several axes have one group each; another number of axes is refused."""
    scores = {"a": [0.8, 0.9, 1.0], "b": [0.5, 0.6, 0.7]}
    (one,) = axes(1, 1)
    plotting.fleet_violins(one, scores)
    assert means(one) == pytest.approx([0.9, 0.6])
    both = axes(1, 2)
    assert plotting.fleet_violins(both, {"fleet": scores, "mismatch": scores}, 0.9) == list(both)
    assert [means(ax) for ax in both] == [pytest.approx([0.9, 0.6])] * 2
    with pytest.raises(ValueError, match="axes: got 2; expected 1"):
        plotting.fleet_violins(both, scores)
    with pytest.raises(ValueError, match="expected one value per die"):
        plotting.fleet_violins(one, {"a": []})
    with pytest.raises(TypeError, match="expected a fleet, or fleets or scores by name"):
        plotting.fleet_violins(one, [0.8, 0.9])
