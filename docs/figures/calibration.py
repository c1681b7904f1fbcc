"""The figure of docs/calibrate.md: worst board and yield against measurements.

python docs/figures/calibration.py      # draws calibration.png from benchmarks/results/calibration.json
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.lines
import numpy as np
from matplotlib.figure import Figure

from neurorobust.viz import plotting

HERE = Path(__file__).parent
NUMBERS = HERE.parent.parent / "benchmarks/results/calibration.json"
LINES: dict[str, Any] = {"trim": ":", "refit": "--", "refit, labels": "-"}
COLORS = {name: plotting.method_style(name)[0] for name in ("standard", "forward_noise", "adversarial")}
TITLES = {"dynapse2": "dynapse2", "wide": "wide: CV 0.3 everywhere"}


def main() -> None:
    numbers = json.loads(NUMBERS.read_text(encoding="utf-8"))
    spec, counts = numbers["settings"]["spec"], numbers["settings"]["counts"]
    figures: dict[str, Callable] = {
        "worst board": min,
        f"fraction of boards at {spec:g} or more": lambda x: np.mean(np.array(x) >= spec),
    }
    with matplotlib.rc_context(plotting.STYLE):
        figure = Figure(figsize=(5.2, 6.4), layout="constrained")
        grid = figure.subplots(2, 2, sharex=True, sharey="row")
        for column, (chip, networks) in enumerate(numbers["scores"].items()):
            grid[0, column].set_title(f"{TITLES[chip]}\n{len(networks['standard']['nothing'])} boards")
            for row, (label, statistic) in enumerate(figures.items()):
                axes = grid[row, column]
                for network, scores in networks.items():
                    for name, style in LINES.items():
                        values = [statistic(scores["nothing"]), *(statistic(scores[name][str(n)]) for n in counts)]
                        axes.plot(range(len(values)), values, style, color=COLORS[network], marker=".")
                axes.set_xticks(range(1 + len(counts)), ["0", *map(str, counts)])
                axes.set_ylabel("" if column else label)
        figure.supxlabel("measurements on each board (0: as it stands)")
        handles = [matplotlib.lines.Line2D([], [], color=color) for color in COLORS.values()]
        handles += [matplotlib.lines.Line2D([], [], color="0.3", linestyle=style) for style in LINES.values()]
        figure.legend(handles, [*COLORS, *LINES], loc="outside upper center", ncols=3, frameon=False)
        plotting.save_figure(figure, HERE / "calibration", (".png",))


if __name__ == "__main__":
    main()
