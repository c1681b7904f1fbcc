"""Whether the true gradient through a floor makes networks look more robust than they are.

    python -m benchmarks.floor_gradients --out runs/floor_gradients        # about 15 minutes on one idle core
    python -m benchmarks.floor_gradients --summary                         # prints the tables of the committed results

Four networks on heart beats: 96 neurons, 8 epochs, standard and adversarial training; each with the floor, and without
it (``NoFloor``). The last two are converted: they get the floor after training, and one offset of the read-out is
fitted on the validation part. So they were not trained for the floor.

*Slopes*, on validation beats: the quick suite through floors of several slopes, with the network's own surrogate and
with a wide one. *Test*, on test beats: the worst die of both surrogates through the true gradient, through the slope
that was chosen, and without a gradient (random dies and SPSA). Every number is written when it is made.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import neurorobust as nr
from benchmarks.robustness.tables import table
from neurorobust._util import digests, files
from neurorobust.attacks import SPSA, RandomSearch, Suite
from neurorobust.core.params import SIGNED, kind_of
from neurorobust.core.placement import HOST
from neurorobust.data import Data, Task
from neurorobust.data.recurrent import recurrent_mask
from neurorobust.evaluation import balanced_accuracy
from neurorobust.evaluation.floors import LEAK, TRUE
from neurorobust.evaluation.parts import using_surrogate
from neurorobust.evaluation.worst_case import find_worst_case
from neurorobust.nn import (
    FastSigmoid,
    Floor,
    HardFloor,
    LeakyFloor,
    LeakyIntegrator,
    Linear,
    LinearizedDpi,
    Network,
    NoFloor,
    using_floor,
)
from neurorobust.nn.floor import fraction_at_floor
from neurorobust.train.descent import Schedule
from neurorobust.train.methods import METHODS

RESULTS = Path(__file__).parent / "results/floor_gradients.json"
NEURONS, EPOCHS, SEED, SAMPLES = 96, 8, 0, 100
NETWORKS = {
    "standard": ("standard", HardFloor(), 0.01),
    "standard, converted": ("standard", NoFloor(), 0.005),
    "adversarial": ("adversarial", HardFloor(), 0.1),
    "adversarial, converted": ("adversarial", NoFloor(), 0.05),
}
"""Method, floor in training, and the size ζ of the attacks."""

SLOPES = (0.0, 0.1, 0.3, 1.0)
WIDE = FastSigmoid(5.0, scaled=True)


def network(task: Task, floor: Floor) -> Network:
    """As :func:`neurorobust.data.recurrent.recurrent_network` for dynapse2, with :class:`LinearizedDpi`."""
    draw = torch.Generator().manual_seed(SEED)
    n, n_in = NEURONS, task.train.x.shape[-1]
    mask = recurrent_mask(n, 64 - n_in, draw)
    hidden = LinearizedDpi(
        Linear(torch.randn(n, n_in, generator=draw)),
        recurrent=Linear(torch.randn(n, n, generator=draw) / int(mask[0].sum()) ** 0.5, mask=mask),
        core=torch.arange(n) * 4 // n,
        tau_mem=torch.logspace(np.log10(0.02), np.log10(0.16), 4),
        tau_syn_exc=5e-3,
        tau_syn_inh=5e-3,
        v_threshold=torch.full((4,), 0.1),
        floor=floor,
    )
    readout = LeakyIntegrator(
        Linear(10 * torch.randn(2, n, generator=draw) / n**0.5, torch.zeros(2)),
        core=torch.full((2,), HOST),
        tau_mem=0.12,
    )
    made = Network({"hidden": hidden, "readout": readout}, 5e-3)
    for name, value in made.named_parameters():
        value.requires_grad_(kind_of(name) in SIGNED)
    return made


def trained(task: Task, method: str, floor: Floor, folder: Path) -> Network:
    """A trained network, with its floor on; it is trained once."""
    if not (folder / "config.json").exists():
        made = network(task, floor)
        loss = METHODS[method].regularize(task.loss)
        nr.fit(made, task, loss, epochs=EPOCHS, seed=SEED, schedule=Schedule(learning_rate=1e-2))
        nr.save(made, folder)
    found = nr.load(folder)[0]
    if isinstance(floor, NoFloor):
        found.layers()["hidden"].floor = HardFloor()
        fit_offset(found, task.validation)
    return found


@torch.no_grad()
def fit_offset(network: Network, data: Data) -> None:
    """Shift the bias of one class so that the balanced accuracy is best; the logits are linear in it."""

    def difference() -> Tensor:
        logits = nr.run(network, nr.nominal(network), data.x)
        return logits[:, 1] - logits[:, 0]

    bias, before = network.get_parameter("readout.input.bias"), difference()
    bias[1] += 1
    unit = float((difference() - before).mean())
    offsets = torch.linspace(float(before.min()), float(before.max()), 2001)
    scores = torch.tensor([balanced_accuracy(torch.stack([offset.expand_as(before), before], 1), data.y)
                           for offset in offsets])  # fmt: skip
    bias[1] -= 1 + float(offsets[scores == scores.max()].median()) / unit


def slopes(network: Network, data: Data, zeta: float) -> dict:
    """The score of the quick suite through each floor, with both surrogates."""
    found: dict = {}
    for label, surrogate in (("own", None), ("wide", WIDE)):
        for slope in SLOPES:
            floor = LeakyFloor(slope) if slope else HardFloor()
            with using_floor(network, floor), using_surrogate(network, surrogate):
                worst = find_worst_case(network, data, nr.Ball.uniform(zeta), nr.attacks.quick(), seed=1)
            found[f"{label} {slope:g}"] = worst.score
    return found


def parts(network: Network, data: Data, zeta: float) -> dict:
    """The lowest score, and the passes, through the true gradient, through the leaky one, and without a gradient."""
    ball, found = nr.Ball.uniform(zeta), {}
    for kind, floor in (("true", TRUE), ("leaky", LEAK)):
        runs = []
        for surrogate in (None, WIDE):
            with using_floor(network, floor), using_surrogate(network, surrogate):
                runs.append(find_worst_case(network, data, ball, nr.attacks.quick(), seed=2))
        found[kind] = min(run.score for run in runs), sum(run.passes for run in runs)
    passes = found["true"][1]
    without = Suite(((RandomSearch(passes - 1), 1), (SPSA(10, objective="margin"), 1)))
    worst = find_worst_case(network, data, ball, without, seed=2)
    at_floor = fraction_at_floor(network, nr.nominal(network), data.x)
    return {"nominal": worst.nominal, "at floor": at_floor, **found, "none": (worst.score, worst.passes)}


def summary(results: dict) -> str:
    """Two tables in Markdown."""
    heads = [f"{label} {slope:g}" for label in ("own", "wide") for slope in SLOPES]
    rows = [
        [
            name,
            f"{own['zeta']:g}",
            f"{own['validation']['nominal']:.3f}",
            *(f"{own['slopes'][head]:.3f}" for head in heads),
        ]
        for name, own in results.items()
    ]
    first = table(["validation beats", "ζ", "nominal", *heads], rows)
    rows = [
        [
            name,
            f"{own['zeta']:g}",
            f"{100 * own['test']['at floor']:.0f} %",
            f"{own['test']['nominal']:.3f}",
            *(f"{own['test'][kind][0]:.3f} ({own['test'][kind][1]})" for kind in ("true", "leaky", "none")),
        ]
        for name, own in results.items()
    ]
    return first + "\n" + table(["test beats", "ζ", "at the floor", "nominal", "true", "leaky", "no gradient"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/floor_gradients"), help="folder of networks and results")
    parser.add_argument("--summary", action="store_true", help="only print the tables of the committed results")
    arguments = parser.parse_args()
    if arguments.summary:
        print(summary(json.loads(RESULTS.read_text(encoding="utf-8"))["networks"]))
        return
    task, out = nr.tasks.ecg(), files.make_folder(arguments.out)
    path = out / "results.json"
    results = digests.read_json(path, "remove it to measure again.") if path.exists() else {"networks": {}}
    for name, (method, floor, zeta) in NETWORKS.items():
        own = results["networks"].setdefault(name, {"zeta": zeta})
        model = trained(task, method, floor, out / name.replace(", ", "-"))
        held, _data = task.validation.balanced(SAMPLES), task.test.balanced(SAMPLES)
        if "slopes" not in own:
            score = balanced_accuracy(nr.run(model, nr.nominal(model), held.x), held.y)
            own["validation"] = {"nominal": score, "at floor": fraction_at_floor(model, nr.nominal(model), held.x)}
            own["slopes"] = slopes(model, held, zeta)
            digests.write_json(path, results)
            print(name, own, flush=True)
    for name, (method, floor, zeta) in NETWORKS.items():
        own = results["networks"][name]
        if "test" not in own:
            model = trained(task, method, floor, out / name.replace(", ", "-"))
            own["test"] = parts(model, task.test.balanced(SAMPLES), zeta)
            digests.write_json(path, results)
            print(name, own["test"], flush=True)
    print(summary(results["networks"]))


if __name__ == "__main__":
    main()
