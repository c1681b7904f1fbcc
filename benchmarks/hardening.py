"""An snnTorch network hardened by a short fine-tuning, and the same network trained robustly from scratch.

    python -m benchmarks.hardening --out runs/hardening --seeds 0 1 2

A recurrent snnTorch network is trained on ECG5000 in the ordinary way for ``EPOCHS`` epochs. ``nr.from_snntorch`` takes
it, a third of the epochs with the adversarial regularizer follow, and ``nr.to_snntorch`` returns an snnTorch network.
The other network has the same first weights and is trained with that regularizer from the start. Both are tested on all
test beats, by the thorough suite at ζ = 0.05. One JSON file per seed; an interrupted run continues.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import snntorch as snn
import torch
from torch import nn

import neurorobust as nr
from neurorobust._util import digests, files
from neurorobust.interop.decode import mean_membrane
from neurorobust.train.methods import METHODS, SCHEDULE

EPOCHS, DT, DIES, ZETA = 39, 5e-3, 1, 0.05
ROBUST = {"zeta": 0.07, "beta": 0.25, "learning_rate": 6e-3}  # tuned for hardening, seed 0, on validation data


def network(seed: int, n: int = 128) -> nn.Sequential:
    """32 event channels – n recurrent Leaky neurons of mixed time constants – a leaky read-out; snnTorch throughout."""
    torch.manual_seed(seed)
    tau = torch.logspace(np.log10(0.02), np.log10(0.16), n)
    first = nn.Linear(32, n, bias=False)
    hidden = snn.RLeaky(beta=torch.exp(-DT / tau), threshold=1.0, linear_features=n, init_hidden=True)
    last = nn.Linear(n, 2)
    net = nn.Sequential(
        first,
        hidden,
        last,
        snn.Leaky(beta=float(np.exp(-DT / 0.12)), reset_mechanism="none", init_hidden=True, output=True),
    )
    with torch.no_grad():
        first.weight.normal_(0, 0.5)
        hidden.recurrent.weight.normal_(0, 0.5 / n**0.5)
        last.weight.normal_(0, 0.5 / n**0.5)
    return net


def model(net: nn.Module) -> nr.interop.SnnTorchNetwork:
    """The snnTorch network as one of ours."""
    return nr.from_snntorch(net, DT, decode=mean_membrane)


def judge(trained: nn.Module, task: nr.data.Task) -> dict:
    """Balanced accuracy on the test beats: nominal, on dies, and under attack at ζ = 0.05.

    If ten steps reach chance, the thorough suite is not run, because it includes them.
    """
    ball = nr.Ball.uniform(ZETA)
    fleet = nr.evaluate(trained, task.test, nr.mismatch(0.3), n_dies=100, seed=DIES)
    quick = nr.worst_case(trained, task.test, ball, nr.attacks.PGA(steps=10), seed=DIES).balanced_accuracy
    thorough = quick
    if quick > 0.5:
        thorough = nr.worst_case(trained, task.test, ball, nr.attacks.thorough(), seed=DIES).balanced_accuracy
    return {"nominal": fleet.nominal, "mean": fleet.mean, "min": fleet.min, "quick": quick, "thorough": thorough}


def measure(task: nr.data.Task, seed: int, out: Path) -> dict:
    """One seed: ordinary, hardened, from scratch; finished parts are not made again."""
    path = out / f"{seed}.json"
    results = digests.read_json(path, "remove it to measure again.") if path.exists() else {}
    ordinary = METHODS["standard"].regularize(task.loss)
    robust = nr.regularizers.Adversarial(
        task.loss, nr.attacks.PGA(steps=3), nr.Ball.uniform(ROBUST["zeta"]), ROBUST["beta"]
    )
    schedule = replace(SCHEDULE, learning_rate=ROBUST["learning_rate"])
    standard = model(network(seed))
    nr.fit(standard, task, ordinary, epochs=EPOCHS, seed=seed, out=out / f"ordinary-{seed}", schedule=SCHEDULE)
    plan = {
        "ordinary": (model(network(seed)), ordinary, EPOCHS),  # resumed from the line above
        "hardened": (model(nr.to_snntorch(standard)), robust, EPOCHS // 3),
        "from scratch": (model(network(seed)), robust, EPOCHS),
    }
    for name, (trained, loss, epochs) in plan.items():
        history = nr.fit(
            trained,
            task,
            loss,
            epochs=epochs,
            seed=seed,
            out=out / f"{name.replace(' ', '_')}-{seed}",
            schedule=SCHEDULE if name == "ordinary" else schedule,
        )
        if name not in results:
            results[name] = {"epochs": epochs, "best_epoch": history.best_epoch, "seconds": history.seconds}
            results[name] |= judge(trained, task)
            digests.write_json(path, results)
            print(seed, name, json.dumps(results[name]), flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/hardening"))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    arguments = parser.parse_args()
    task, out = nr.tasks.ecg(), files.make_folder(arguments.out)
    with files.locked(out):
        results = [measure(task, seed, out) for seed in arguments.seeds]
    keys = ("nominal", "mean", "min", "quick", "thorough")
    print("| network | epochs | nominal | mismatch .3 mean | min | quick .05 | thorough .05 |\n" + "|---" * 7 + "|")
    for name in results[0]:
        rows = [result[name] for result in results]
        means = " | ".join(f"{np.mean([row[key] for row in rows]):.3f}" for key in keys)
        print(f"| {name} | {rows[0]['epochs']} | {means} |")


if __name__ == "__main__":
    main()
