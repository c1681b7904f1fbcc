"""Pages and figures of the reproduction, on cells of made-up numbers: what is shown is what was put in."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from made_up import write_cells
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from mini_study import MINI

from benchmarks import robustness
from benchmarks.robustness.claim_tables import by_task
from benchmarks.robustness.claims import CLAIMS, Verdict
from benchmarks.robustness.figures.price import apart
from benchmarks.robustness.page_figure import all_figures, styles
from benchmarks.robustness.results import read_table
from benchmarks.robustness.results_table import Place, Point, ResultsTable, results_table, size
from benchmarks.robustness.tables import _parts, cell, short
from neurorobust._util import digests
from neurorobust.evaluation import STRONG
from neurorobust.evaluation.statistics import ConfidenceInterval
from neurorobust.train.methods import METHODS
from neurorobust.viz.plotting import METHOD_STYLES, STYLE

BUDGET = replace(MINI.budget, levels=None)
LARGE = replace(MINI, name="large", methods=tuple(METHODS), seeds=(0, 1, 2), budget=BUDGET, cut="cut from 9")
SMALL = replace(MINI, name="small", methods=("standard", "forward_noise", "adversarial"), seeds=(0, 1), budget=BUDGET)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """All fourteen methods on one task, three on another; the table. Read only."""
    out = tmp_path_factory.mktemp("made_up")
    for study in (LARGE, SMALL):
        write_cells(study, study.methods, out)
    robustness.write_table(out)
    return out


@pytest.fixture(scope="module")
def numbers(made) -> ResultsTable:
    return results_table(read_table(made))


@pytest.fixture(scope="module")
def figures(numbers) -> dict[tuple[str, str], Figure]:
    """Every figure of both tasks, laid out."""
    found = {}
    with matplotlib.rc_context(STYLE):
        for study in (LARGE, SMALL):
            for name, page_figure in all_figures().items():
                found[study.name, name] = page_figure.draw(study, numbers)
    return found


def _texts(figure: Figure) -> list[Text]:
    """Every word that is seen."""
    found = [text for legend in figure.legends for text in legend.get_texts()]
    for ax in figure.axes:
        found += [ax.title, ax.xaxis.label, ax.yaxis.label, *ax.texts]
        for axis, limits in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            found += [
                tick.label1 for tick in ticks if limits[0] <= tick.get_loc() <= limits[1] and tick.label1.get_visible()
            ]
    return [text for text in found if text.get_text()]


def test_words_do_not_overlap(figures):
    """Legends, titles, ticks and names of fourteen methods and of three, laid out as they are written."""
    for place, figure in figures.items():
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        boxes = {text: Text.get_window_extent(text, renderer) for text in _texts(figure)}
        assert len(boxes) > 8, place
        pairs = [(one, two) for one in boxes for two in boxes if id(one) < id(two) and boxes[one].overlaps(boxes[two])]
        assert not pairs, (place, [(one.get_text(), two.get_text()) for one, two in pairs])


def test_roles_have_one_colour(numbers):
    """A method has the same colour and line on any task; few methods are all highlighted, of many five."""
    large, small = styles("large", numbers), styles("small", numbers)
    assert list(large)[-5:] == ["standard", "forward_noise", "adversarial_weights", "awp", "adversarial"]
    assert numbers.best_rival("large") == "awp" and sum(not style.highlighted for style in large.values()) == 9
    for shown in (large, small):
        assert {name: (style.color, style.line) for name, style in shown.items()} == {
            name: METHOD_STYLES[name] for name in shown
        }
    assert all(style.highlighted for style in small.values())


def test_text_in_a_methods_colour_can_be_read():
    """Every method has a style of its own, with a contrast of at least 4.5 : 1 on white (WCAG)."""
    assert METHOD_STYLES.keys() == METHODS.keys() and len(set(METHOD_STYLES.values())) == len(METHODS)
    for color, _ in METHOD_STYLES.values():
        parts = np.array(matplotlib.colors.to_rgb(color))
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        assert 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05) >= 4.5, color


def test_curves_hold_the_numbers(figures, numbers):
    """The adversarial method's line is its mean over the dies, level by level; fourteen lines are there."""
    ax = figures["large", "curves"].axes[0]
    (red,) = [line for line in ax.lines if line.get_color() == METHOD_STYLES["adversarial"][0]]
    found = [
        numbers.point("large", "adversarial", Place("mismatch", level, "balanced_accuracy mean"))
        for level in ("0.1", "0.7")
    ]
    assert red.get_ydata()[[0, -1]] == pytest.approx([point.value for point in found])
    assert len(ax.lines) == 14
    random, adversarial = figures["small", "landscape"].axes
    assert random.lines[-1].get_xdata() == pytest.approx(np.linspace(-2, 2, 21))
    assert adversarial.lines[-1].get_ydata()[-1] == pytest.approx(0.1 + 2 * 0.2 * 4)  # what made_up says of adversarial
    dotted = [line for line in figures["small", "certified"].axes[0].lines if line.get_linestyle() == ":"]
    assert len(dotted) == 3


def test_only_what_has_data_is_drawn(made, tmp_path, numbers):
    """A task with accuracy on dies and one network's proofs has three figures, no other, and a page without holes."""
    for path in made.glob("raw/small/*/*/cell.json"):
        record = json.loads(path.read_text())
        kept = ("mismatch", "nominal", "certified") if record["method"] == "adversarial" else ("mismatch", "nominal")
        record["measurements"] = {name: record["measurements"][name] for name in kept}
        copy = tmp_path / path.relative_to(made)
        copy.parent.mkdir(parents=True)
        digests.write_json(copy, record)
    robustness.write_table(tmp_path)
    made_now = robustness.write_pages(tmp_path, {"small": SMALL})
    assert {path.name for path in made_now if path.suffix == ".png"} == {
        "small.png",
        "small-methods.png",
        "small-certified.png",
    }
    page = (tmp_path / "reproduction.md").read_text(encoding="utf-8")
    assert f"{STRONG} 0.05" in page and "nan" not in page and page.count("![") == 2


def test_the_pages_are_whole(made):
    """Rows with n and interval for every method; settings and the cut beside the numbers; why a chip refused."""
    robustness.write_pages(made, {"large": LARGE, "small": SMALL})
    first = (made / "reproduction.md").read_text(encoding="utf-8")
    assert "| small | none | 6 | 4 | 12, 0.003 | – | 4 × 1 epochs | 3 | 0, 1 | 5 | 2 × 40 | 2 × 40 | 0.9 |" in first
    assert first.count("cut from 9") >= 3 and "nan" not in first
    page = (made / "reproduction-large.md").read_text(encoding="utf-8")
    assert "xylo takes 63" in page and "nan" not in page
    assert (
        "By plain intervals, as in the paper:" in page
        and "| rise (0.2) | along the adversarial direction (0.2) |" in page
    )
    for words in ("Mean of the dies", "Worst die", "5th percentile of the dies", "Yield: fraction of the dies that"):
        assert words in page
    assert "Accuracy and recall at 0.1:" in page and "| accuracy | recall a | recall b |" in page
    rare = page.split("## rare: ")[1].split("\n## ")[0]
    assert (
        rare.count("| adversarial | ") == 3
        and rare.count("| no number: 3.2 effective failures, fewer than 8 | 20 |") >= 3
    )
    assert "| standard | 1 | 0.3 | 0.9 | 5 of 5 | .1 [.05, .2] | 20 | 5000 | 20000 |" in rare
    for name in set(robustness.all_measurements()) - {"transfer", "rare"}:
        section = page.split(f"## {name}: ")[1].split("\n## ")[0]
        rows = [line for line in section.splitlines() if line.startswith("| adversarial |")]
        assert rows and all(row.startswith("| adversarial | 3 | ") for row in rows), name
        if name in ("mismatch", "nominal", "strong", "drift"):
            assert any(" [" in row for row in rows), name
    for picture in ("conditions", "landscape", "certified", "chips"):
        assert f"(figures/large-{picture}.png)" in page and (made / f"figures/large-{picture}.png").exists()


def test_cells_of_tables():
    """In brackets: lowest and highest seed; bold: the best; small numbers that are no accuracies with two digits."""
    assert cell(Point(0.972, 0.965, 0.979), 0.972) == "**.972** [.965, .979]"
    assert cell(Point(0.5, 0.5, 0.5001)) == ".500" and cell(None) == "–"
    assert cell(Point(1.9e-4, 1.4e-4, 2.4e-4), decimals=False) == ".00019 [.00014, .00024]"
    assert [short(value) for value in (0.0, 1.0, -0.25, 1.0324)] == [".000", "1.000", "-.250", "1.032"]
    assert [short(value, decimals=False) for value in (0.0, 1.23, 123.0)] == ["0", "1.2", "1.2e2"]


def test_wide_tables_are_parted():
    assert [len(part) for part in _parts("abcdefghi")] == [4, 5] and "".join(_parts("abcdefghi")) == "abcdefghi"
    assert _parts("abcdefg") == ["abcdefg"] and _parts(()) == []


def test_levels_are_sorted_by_size():
    assert sorted(["1 year", "25 s", "30 days", "1 hour", "1 day"], key=size) == [
        "25 s", "1 hour", "1 day", "30 days", "1 year",
    ]  # fmt: skip
    assert sorted(["8", "10", "rolls", "2"], key=size) == ["2", "8", "10", "rolls"]


def test_names_stay_apart():
    """A cluster is spread about its middle, below 1; who is alone stays where they are."""
    assert apart(np.array([0.1, 0.5, 0.5]), 0.1) == pytest.approx([0.1, 0.45, 0.55])
    assert apart(np.array([1.0, 1.0]), 0.1) == pytest.approx([0.9, 1.0])


def test_a_claim_about_all_is_shown_for_the_rival_that_decides():
    """The best rival is shown; where the claim fails, the best of those against which it fails."""
    claim, curved = CLAIMS[0], next(claim for claim in CLAIMS if claim.ratio)
    far = Verdict(claim, "x", "dropout", ConfidenceInterval(30.0, 5.0, 55.0), 3, 1)
    near = Verdict(claim, "x", "awp", ConfidenceInterval(15.0, 12.0, 18.0), 3, 1)
    (summary,) = robustness.summarize([far, near])
    assert (summary.failed, summary.compared, summary.missing) == (("dropout",), 2, 3)
    row = summary.row()
    assert row["compared"] == "adversarial − dropout" and row["holds against"] == "1 of 2, 3 rivals not measured"
    assert (
        row["verdict"] == "FAILS (the threshold lies inside the interval)"
        and row["found [95 %]"] == "+30.0 [+5.0, +55.0]"
    )
    assert robustness.summarize([near])[0].row()["verdict"] == "holds"
    ratios = [
        Verdict(curved, "x", name, ConfidenceInterval(at, at, at), 3, 1) for name, at in (("awp", 0.2), ("abcd", 0.6))
    ]
    assert robustness.summarize(ratios)[0].row()["compared"] == "adversarial / abcd"


def test_claims_across_tasks():
    """A row for each claim, a column for each task; – where a task cannot test it."""
    one, other = CLAIMS[0], CLAIMS[5]
    good, bad = ConfidenceInterval(15.0, 12.0, 18.0), ConfidenceInterval(-5.0, -6.0, -4.0)
    cases = [(one, "x", good), (one, "y", bad), (other, "y", good)]
    rows = by_task(robustness.summarize([Verdict(claim, task, "awp", found, 3, 1) for claim, task, found in cases]))
    assert rows == [
        {
            "claim": one.text,
            "needs": "> +10",
            "x": "holds: +15.0 [+12.0, +18.0] (4 rivals not measured)",
            "y": "FAILS: -5.0 [-6.0, -4.0]",
        },
        {"claim": other.text, "needs": "> -1", "x": "–", "y": "holds: +15.0 [+12.0, +18.0]"},
    ]
