"""The landscape of the loss around the zoo's three networks with the neurons of DYNAP-SE2, and its numbers.

    python docs/figures/landscape.py --measure    # minutes; writes landscape.json and landscape.png beside this file
    python docs/figures/landscape.py              # draws landscape.png again from landscape.json

All 500 validation beats of ECG5000, 25 places on each of 20 random directions and on the adversarial one; one training
seed for each method, so nothing here says how much seeds differ.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import neurorobust as nr
from neurorobust._util import files
from neurorobust.evaluation import Landscape
from neurorobust.viz import plotting

HERE = Path(__file__).parent
NUMBERS = HERE / "landscape.json"
METHODS = ("standard", "forward_noise", "adversarial")
POINTS, DIRECTIONS, SEED = 25, 20, 0


def measure() -> dict:
    """The lines of each network, by its method."""
    data, numbers = nr.tasks.ecg().validation, {}
    for method in METHODS:
        network, _ = nr.zoo.load(f"ecg_dpi/{method}")
        found = nr.evaluation.landscape(network, data, points=POINTS, directions=DIRECTIONS, seed=SEED)
        numbers[method] = {name: np.round(value, 6).tolist() for name, value in vars(found).items()}
    return {"beats": len(data), "seed": SEED, "networks": numbers}


def main() -> None:
    if "--measure" in sys.argv[1:]:
        files.write_text(NUMBERS, json.dumps(measure()) + "\n")
    kept = json.loads(NUMBERS.read_text(encoding="utf-8"))
    lines = {}
    for method, values in kept["networks"].items():
        arrays: dict[str, Any] = {
            name: value if isinstance(value, float) else np.asarray(value) for name, value in values.items()
        }
        lines[method] = Landscape(**arrays)
    with matplotlib.rc_context(plotting.STYLE):
        figure = Figure(figsize=(4.8, 6.2), layout="constrained")
        axes = plotting.landscape(figure.subplots(2), lines)
        axes[0].legend(**plotting.ABOVE | {"fontsize": 9})  # 9 px on a phone of 390 px
        plotting.save_figure(figure, HERE / "landscape", (".png",))


if __name__ == "__main__":
    main()
