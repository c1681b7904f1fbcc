"""The first figure of README and its numbers: the two networks of ``make demo``, seed 0, on its two fleets of dies.

    python docs/figures/fleet.py FOLDER        # trains and measures; writes fleet.json and fleet.png beside this file
    python docs/figures/fleet.py               # draws fleet.png again from fleet.json

``make demo`` stops each training after 210 s. This script has no time limit: all 30 epochs are trained, and the
result does not depend on the speed of the machine. It continues trainings that it finds in FOLDER (``runs/demo``).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

import chipmodels
import neurorobust as nr
from neurorobust import demo
from neurorobust._util import files
from neurorobust.viz import plotting

HERE = Path(__file__).parent
NUMBERS = HERE / "fleet.json"


def measure(folder: Path) -> dict:
    """Train both networks, or find them trained, and put them on the dies of both chips."""
    task, chip, size = nr.tasks.ecg(), chipmodels.load("dynapse2"), demo.Size()
    chips = {"100 dies of dynapse2": chip, "100 dies with mismatch 0.3": nr.mismatch(0.3)}
    numbers: dict[str, dict] = {title: {} for title in chips}
    for label, method in demo.NETWORKS.items():
        planned = demo.plan(task, chip, method, seed=0, size=size)
        network, _ = demo.train(task, chip, planned, folder / label, seed=0, size=size)
        for title, group in numbers.items():
            fleet = nr.evaluate(network, task.test, chips[title], n_dies=100, seed=1)
            group[label] = {
                "nominal": fleet.nominal,
                "mean": fleet.mean,
                "min": fleet.min,
                "lost": int((fleet.score < 0.9).sum()),
                "dies": [round(float(score), 6) for score in fleet.score],
            }
    return numbers


def main() -> None:
    if len(sys.argv) > 1:
        files.write_text(NUMBERS, json.dumps(measure(Path(sys.argv[1]))) + "\n")
    numbers = json.loads(NUMBERS.read_text(encoding="utf-8"))
    groups = {title: {label: fleet["dies"] for label, fleet in group.items()} for title, group in numbers.items()}
    with matplotlib.rc_context(plotting.STYLE):
        figure = Figure(figsize=(5.2, 4.4), layout="constrained")
        plotting.fleet_violins(figure.subplots(), groups, 0.9)
        plotting.save_figure(figure, HERE / "fleet", (".png",))


if __name__ == "__main__":
    main()
