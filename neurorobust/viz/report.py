"""From ``results.json`` to a table, figures, ``results.csv`` and one self-contained page."""

from __future__ import annotations

import base64
from itertools import islice
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from jinja2 import UndefinedError
from matplotlib.figure import Figure
from rich.table import Table

from .._util import digests, files
from .._util.errors import reason
from ..attacks import QUICK
from ..evaluation import STRONG
from ..evaluation.worst_case import NEARLY_NOTHING
from . import plotting
from .templates import template

CAPTIONS = {
    "example": "A beat of each class, the events it becomes, and the spikes of the hidden neurons.",
    "fleet": "Balanced accuracy of every die: each dot is one die, the bar is the mean, and both networks run on the "
    "same dies.",
    "yield": "Yield: the fraction of dies that reach a specification; dashed: the specification of the table.",
    "attack": "Balanced accuracy on the worst die each attack found inside the ball of size ζ.",
}


def read(folder: Path) -> dict:
    """The results of a demo.

    Raises:
        FileNotFoundError, ValueError: the results are missing, incomplete or damaged.
    """
    path = Path(folder) / "results.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"report: no results.json in {str(folder)!r}; expected a folder that `neurorobust demo` wrote."
        )
    results = digests.read_json(path, "run `neurorobust demo` again.")
    try:
        results["networks"]["standard"]["fleet"]["balanced_accuracy"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"report: {path} is foreign ({reason(error)}); run `neurorobust demo` again.") from error
    return results


def write(folder: Path) -> Path:
    """Write figures (PNG and SVG), ``results.csv`` and ``report.html`` from ``results.json`` in the same folder."""
    results = read(folder)
    folder = files.make_folder(folder)
    with matplotlib.rc_context(plotting.STYLE):
        try:
            table, figures = tidy(results), {name: draw(results) for name, draw in _DRAW.items()}
            _page(results, {})
        except (KeyError, TypeError, IndexError, AttributeError, ValueError, UndefinedError) as error:
            raise ValueError(
                f"report: {folder / 'results.json'} has a missing or wrong entry {reason(error)}; "
                f"run `neurorobust demo` again."
            ) from error
        for name, figure in figures.items():
            plotting.save_figure(figure, folder / name)
    with files.replacing(folder / "results.csv") as temporary:
        table.to_csv(temporary, index=False)
    images = {name: (folder / f"{name}.png").read_bytes() for name in figures}
    files.write_text(folder / "report.html", _page(results, images))
    return folder / "report.html"


def columns(results: dict) -> tuple[list[str], list[list[str]]]:
    """The table: header, and one row per network."""
    spec = results["spec"]
    header = ["network", "nominal", "programmed"]
    header += ["fleet mean", "fleet 5th percentile", "fleet min", f"yield ≥ {spec:.2f} [95 %]"]
    header += ["fleet mean, trimmed", "fleet min, trimmed", "mismatch 0.3 mean", "mismatch 0.3 min"]
    header += ["mismatch 0.3 mean, trimmed", "mismatch 0.3 min, trimmed"]
    header += ["attacked beats: nominal", "quick 0.05", "quick 0.1", "thorough 0.05", "thorough 0.1"]
    rows = []
    for name, entry in results["networks"].items():
        fleet, spread = entry["fleet"], entry["mismatch"]
        low, high = fleet["yield"]["ci95"]
        row = [name] + [f"{fleet[key]:.3f}" for key in ("nominal", "programmed", "mean", "q05", "min")]
        row += [
            f"{fleet['yield']['fraction']:.2f} [{low:.2f}, {high:.2f}]",
            *_trimmed(fleet),
            f"{spread['mean']:.3f}",
            f"{spread['min']:.3f}",
            *_trimmed(spread),
            f"{entry['nominal_attacked']:.3f}",
        ]
        for suite in ("quick", "thorough"):
            for zeta in ("0.05", "0.1"):
                found = entry["attacks"][suite].get(zeta)
                row.append("–" if found is None else f"{found['balanced_accuracy']:.3f}")
        rows.append(row)
    return header, rows


def _trimmed(fleet: dict) -> list[str]:
    """Mean and minimum of the dies with trimmed read-outs."""
    found = fleet.get("trimmed")
    return ["–", "–"] if found is None else [f"{found['mean']:.3f}", f"{found['min']:.3f}"]


def table(results: dict) -> Table:
    """The same table for a terminal, transposed, so that it fits any width."""
    header, rows = columns(results)
    shown = Table(
        title=f"{results['task']} on {results['chip']}: balanced accuracy on test beats", title_justify="left"
    )
    shown.add_column("", no_wrap=True)
    for row in rows:
        shown.add_column(row[0], justify="right", no_wrap=True)
    for i, name in enumerate(header[1:], 1):
        shown.add_row(name, *(row[i] for row in rows), end_section=i in (2, 8, 12, 13, 15))
    return shown


def tidy(results: dict) -> pd.DataFrame:
    """Every measured number: network, measure, level (mismatch or ζ), die, class, value."""
    rows: list[tuple] = []
    for name, entry in results["networks"].items():
        for measure, level, fleet in (("chip", None, entry["fleet"]), ("mismatch", 0.3, entry["mismatch"])):
            for die, (accuracy, balanced) in enumerate(zip(fleet["accuracy"], fleet["balanced_accuracy"])):
                rows.append((name, f"{measure} accuracy", level, die, None, accuracy))
                rows.append((name, f"{measure} balanced accuracy", level, die, None, balanced))
            for label, value in zip(results["classes"], fleet["recall"]):
                rows.append((name, f"{measure} mean recall", level, None, label, value))
            for die, value in enumerate((fleet.get("trimmed") or {}).get("balanced_accuracy", ())):
                rows.append((name, f"{measure} trimmed balanced accuracy", level, die, None, value))
        for key in ("nominal", "programmed"):
            rows.append((name, f"{key} balanced accuracy", None, None, None, entry["fleet"][key]))
        for suite, found in entry["attacks"].items():
            for zeta, worst in found.items():
                rows.append(
                    (name, f"{suite} attack balanced accuracy", float(zeta), None, None, worst["balanced_accuracy"])
                )
                for label, value in zip(results["classes"], worst["recall"]):
                    rows.append((name, f"{suite} attack recall", float(zeta), None, label, value))
    return pd.DataFrame(rows, columns=["network", "measure", "level", "die", "class", "value"])


def _example(results: dict) -> Figure:
    shown = results["example"]
    names = list(results["networks"])
    figure = Figure(figsize=(9, 2.2 + 2.2 * (1 + len(names))), layout="constrained")
    axes = figure.subplots(2 + len(names), len(shown), sharex=True, squeeze=False)
    for column, (label, beat) in zip(axes.T, shown.items()):
        dt, half = beat["dt"], beat["channels"] // 2
        if beat["recording"] is not None:
            column[0].plot(np.arange(beat["steps"]) * dt * 1e3, beat["recording"], color="0.2")
        column[0].set(title=label, ylabel="ECG (z-score)")
        events = _dense(beat["events"], beat["steps"], beat["channels"])
        plotting.raster(
            column[1], events, dt, color=[plotting.COLORS[2]] * half + [plotting.COLORS[3]] * (beat["channels"] - half)
        )
        column[1].set(ylabel="event channel\n(up, then down)")
        for place, (ax, name) in enumerate(zip(column[2:], names)):
            color, _ = plotting.method_style(name, place)
            spikes = _dense(beat["spikes"][name], beat["steps"], beat["neurons"][name])
            plotting.raster(ax, spikes, dt, color=color).set(ylabel=f"hidden neuron\n({name})")
        column[-1].set(xlabel="time (ms)")
    return figure


def _dense(pairs: list, steps: int, n: int) -> np.ndarray:
    dense = np.zeros((steps, n))
    if pairs:
        dense[tuple(np.asarray(pairs).T)] = 1
    return dense


def _groups(results: dict) -> dict[str, dict[str, list[float]]]:
    """Balanced accuracy of every die, by condition and network."""
    titles = {"fleet": f"dies of {results['chip']}", "mismatch": "dies with mismatch 0.3"}
    return {
        f"{results['n_dies']} {title}": {
            name: entry[key]["balanced_accuracy"] for name, entry in results["networks"].items()
        }
        for key, title in titles.items()
    }


def _yield(results: dict) -> Figure:
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    groups = _groups(results)
    for ax, (title, values) in zip(figure.subplots(1, len(groups), sharey=True), groups.items()):
        plotting.yield_curve(ax, values, results["spec"]).set_title(title)
        ax.legend(loc="lower left")
    return figure


def _fleet(results: dict) -> Figure:
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    plotting.fleet_violins(figure.subplots(), _groups(results), results["spec"])
    return figure


def _attack(results: dict) -> Figure:
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    curves: dict = {}
    for name, entry in results["networks"].items():
        for suite, title in (("quick", "quick suite"), ("thorough", "thorough suite")):
            points = {float(zeta): found["balanced_accuracy"] for zeta, found in entry["attacks"][suite].items()}
            curves.setdefault(name, {})[title] = {0.0: entry["nominal_attacked"]} | points
    plotting.attack_curve(figure.subplots(), curves, chance=1 / len(results["classes"]))
    return figure


_DRAW = {"example": _example, "fleet": _fleet, "yield": _yield, "attack": _attack}


def _page(results: dict, images: dict[str, bytes]) -> str:
    """The page, from the template beside this file."""
    header, rows = columns(results)
    measures = iter(zip(header[1:], zip(*(row[1:] for row in rows))))
    sizes = {
        "one ideal chip": 2,
        f"{results['n_dies']} dies of {results['chip']}": 6,
        f"{results['n_dies']} dies with mismatch 0.3": 4,
        "attacks, with the largest error ζ": 5,
    }
    groups = {title: list(islice(measures, size)) for title, size in sizes.items()}
    figures = [
        {"caption": caption, "data": base64.b64encode(images.get(name, b"")).decode()}
        for name, caption in CAPTIONS.items()
    ]
    return template("report.html.jinja").render(
        results=results,
        verdict=verdict(results),
        notes=notes(results),
        groups=groups,
        figures=figures,
    )


def yields(results: dict) -> str:
    """How many dies of the chip reach the specification with each network, McNemar's exact test, and the worst dies."""
    found, chip = results["yields"]["fleet"], results["chip"]
    return (
        f"Of {found['n']} dies of {chip}, {found['first']} reach {found['spec']:.2f} with the robust network and "
        f"{found['second']} with the standard one ({found['only_first']} only with the robust one, "
        f"{found['only_second']} only with the standard one; exact McNemar test, p = {found['p_value']:.2g}). "
        f"The worst die has {found['minima'][0]:.3f} and {found['minima'][1]:.3f}."
    )


def verdict(results: dict) -> str:
    """The yields of both networks, then the paired comparison of the means, on the chip's dies."""
    return f"{yields(results)} {_means(results)}"


def _means(results: dict) -> str:
    """One sentence: the paired comparison on the chip's dies."""
    paired, chip = results["paired"], results["chip"]
    low, high = paired["ci95"]
    known = low is not None and high is not None  # one die alone has no interval
    reach = f"95 % interval {100 * low:+.2f} to {100 * high:+.2f}, " if known else ""
    return (
        f"{_ahead(low, high) if known else UNDECIDED}: robust − standard = "
        f"{100 * paired['difference']:+.2f} points of balanced accuracy on {chip} "
        f"({reach}paired over {paired['n']} dies; ahead on {paired['better']})."
    )


UNDECIDED = "On average neither network is better for certain"


def _ahead(low: float, high: float) -> str:
    """Which network an interval of the difference favours."""
    if low > 0:
        return "On average the robust network is better"
    if high < 0:
        return "On average the standard network is better"
    return UNDECIDED


def cautions(results: dict) -> list[str]:
    """A line for each network where an attack found nearly nothing."""
    lines = []
    for name, entry in results["networks"].items():
        empty = [
            f"{suite} {zeta}"
            for suite, found in entry["attacks"].items()
            for zeta, worst in found.items()
            if worst.get("caution")
        ]
        if empty:
            lines.append(
                f"{name}: the attacks {', '.join(empty)} lowered the score by less than {NEARLY_NOTHING:g}, which "
                f"proves nothing. `neurorobust attack --suite {STRONG}` searches harder."
            )
    return lines


def _trims(results: dict) -> list[str]:
    """A line about the trim, if there was one."""
    found = [entry["fleet"].get("trimmed") for entry in results["networks"].values()]
    if not found or found[0] is None:
        return []
    return [
        f"Trimmed: one offset for each class of the read-out, fitted on {found[0]['on']} of the validation part; each "
        f"die has samples of its own. It assumes that classes are as frequent there as in use. The same dies as it "
        f"stands and trimmed."
    ]


def notes(results: dict) -> list[str]:
    """Conditions of the measurements, printed below the figures."""
    lines = [
        f"The read-out is computed on the host: on dies of {results['chip']} it is exact, and attacks leave it out. "
        "Mismatch 0.3 describes no chip and acts on it too.",
        *_trims(results),
        f"Both networks were chosen by the same rule: {results['selection']}.",
        f"Quick attack: the suite {QUICK}, ten steps on each of three objectives. The thorough suite contains it and "
        "random search. The worst of all evaluated dies counts, not only the last. Where the quick attack reaches "
        "chance, the thorough suite was not run: it could only find worse dies. The table then has the value of the "
        "quick attack.",
        *cautions(results),
    ]
    for name, entry in results["networks"].items():
        line = f"{name}: {entry['title']}; {entry['epochs']} of {entry['epochs_planned']} epochs"
        line += f" in {entry['seconds']:.0f} s"
        line += f", epoch {entry['best_epoch'] + 1} kept"
        lines.append(line + ("; the time budget ended the training." if entry["out_of_time"] else "."))
        recall = ", ".join(f"{label} {value:.3f}" for label, value in zip(results["classes"], entry["fleet"]["recall"]))
        lines.append(f"{name}: mean recall over dies of {results['chip']}: {recall}.")
    return lines + equations(results) + list(results.get("chip_notes", ()))


def equations(results: dict) -> list[str]:
    """Which equations the networks have, compared with those of the chip: one line where all have the same."""
    told = {name: (entry["fleet"].get("equations") or {}).get("verdict") for name, entry in results["networks"].items()}
    said = {name: verdict for name, verdict in told.items() if verdict is not None}
    on = f"on {results['chip']}: equations"
    if len(set(said.values())) == 1 < len(said):
        return [f"All networks {on}: {next(iter(said.values()))}."]
    return [f"{name} {on}: {verdict}." for name, verdict in said.items()]
