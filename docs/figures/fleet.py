"""The first figure of README and its numbers: the two networks of ``make demo``, seed 0, on its two fleets of dies.

    python docs/figures/fleet.py FOLDER        # writes fleet.png and fleet.json beside this file

``make demo`` stops each training after 210 s. This script has no time limit, so all 30 epochs are trained and the result
does not depend on the speed of the machine. It continues trainings that it finds in FOLDER (``runs/demo``).
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
from neurorobust.viz import plotting

HERE = Path(__file__).parent


def main() -> None:
    task, chip, size = nr.tasks.ecg(), chipmodels.load("dynapse2"), demo.Size(seconds=1e6)
    chips = {"100 dies of dynapse2": chip, "100 dies with mismatch 0.3": nr.mismatch(0.3)}
    groups: dict[str, dict[str, nr.evaluation.FleetResult]] = {title: {} for title in chips}
    for label, method in demo.NETWORKS.items():
        network, history = demo.train(task, chip, method, Path(sys.argv[1]) / label, seed=0, size=size)
        print(label, len(history.rows), "epochs")
        for title, group in groups.items():
            group[label] = nr.evaluate(network, task.test, chips[title], n_chips=100, seed=1)
    with matplotlib.rc_context(plotting.STYLE):
        figure = Figure(figsize=(7.5, 4.2), layout="constrained")
        plotting.fleet_violins(figure.subplots(), groups, 0.9)
        plotting.save(figure, HERE / "fleet", (".png",))
    numbers = {
        title: {
            label: {"nominal": fleet.nominal, "mean": fleet.mean, "min": fleet.min, "max": float(fleet.score.max())}
            | {"lost": int((fleet.score < 0.9).sum())}
            for label, fleet in group.items()
        }
        for title, group in groups.items()
    }
    (HERE / "fleet.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
