"""The circuit against the training equations, on the same dies and beats, for networks of three training seeds.

    python -m benchmarks.floor_study --out study                          # hours; trains the networks
    python -m benchmarks.circuit_gap --study study --out gap              # hours; go on by calling it again
    python -m benchmarks.circuit_gap --study study --out gap --methods adversarial --serials 20
    python -m benchmarks.circuit_gap --study study --out gap --summary    # benchmarks/results/circuit_gap.json, .md

Trains nothing. The networks of :mod:`benchmarks.floor_study` on virtual boards of dynapse2: no training saw these dies
or the circuit's equations. The folder has one file for each network, which is written after each board. A board takes
about four seconds of one core.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import chipmodels
import neurorobust as nr
from benchmarks import floor_study
from benchmarks.judged import CHIP, SEED, SPEC, beats, changed_sides, keep, options
from neurorobust._util import files
from neurorobust.deploy.judging.judgement import paired
from neurorobust.evaluation.statistics import mean_interval
from neurorobust.nn import Network

METHODS = ("adversarial", "forward_noise", "standard")
RESULTS = Path(__file__).parent / "results"


def network_of(study: Path, method: str, seed: int) -> Network:
    """The network of the study: the tuned candidate of its method."""
    task = nr.tasks.ecg()
    network = floor_study.trained(task, method, floor_study.tuned(task, method, study), seed, study)[0]
    assert isinstance(network, Network)
    return network


def measure(study: Path, out: Path, methods: Sequence[str], serials: int, n_beats: int) -> None:
    """Board after board, all networks on each: (training equations, circuit) by serial."""
    data, boards = beats(n_beats), nr.deploy.VirtualBoards(seed=SEED)
    deployments = {
        f"{method}-{seed}": nr.deploy.onto(network_of(study, method, seed), chipmodels.load(CHIP))
        for method in methods
        for seed in floor_study.SEEDS
    }
    for serial in range(serials):
        for name, deployment in deployments.items():
            path = out / f"{name}-{n_beats}.json"
            found: dict[str, list[float]] = json.loads(path.read_text("utf-8")) if path.exists() else {}
            if str(serial) in found:
                continue
            gap = nr.deploy.judge(deployment, data, [serial], boards=boards, causes=(nr.deploy.causes.circuit,)).gap
            scores = {row.name: row.mean for row in gap}
            found[str(serial)] = [float(scores["die"] or np.nan), float(scores["circuit"] or np.nan)]
            files.write_text(path, json.dumps(found) + "\n")


def gap_of(path: Path) -> dict[str, Any]:
    """One network over its boards."""
    found = json.loads(path.read_text("utf-8"))
    boards = sorted(found, key=int)
    die, circuit = np.array([found[serial] for serial in boards]).T
    change = paired(die, circuit)
    return {
        "boards": len(boards),
        "die": {"mean": float(die.mean()), "min": float(die.min()), "ci95": list(mean_interval(die))},
        "circuit": {"mean": float(circuit.mean()), "min": float(circuit.min()), "ci95": list(mean_interval(circuit))},
        "points": 100 * change.estimate,
        "points_ci95": [100 * change.low, 100 * change.high],
        "largest": 100 * float(np.abs(circuit - die).max()),
        "good": [int((die >= SPEC).sum()), int((circuit >= SPEC).sum())],
        **changed_sides(die, circuit),
    }


def summary(out: Path, n_beats: int) -> dict[str, Any]:
    """All networks that were measured, each over all its boards."""
    names = [f"{method}-{seed}" for method in METHODS for seed in floor_study.SEEDS]
    paths = {name: out / f"{name}-{n_beats}.json" for name in names}
    networks = {name: gap_of(path) for name, path in paths.items() if path.exists()}
    return {"chip": CHIP, "seed": SEED, "beats": n_beats, "spec": SPEC, "networks": networks}


def page(found: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = [
        "# The circuit against the training equations\n",
        f"`python -m benchmarks.circuit_gap --study DIR --out gap --beats {found['beats']}`, then `--summary`. "
        f"Networks of `benchmarks.floor_study`, a seed a row, on virtual boards of {found['chip']}. Balanced accuracy "
        f"on {found['beats']} test beats, the same; dies of seed {found['seed']} from serial 0 on. Change in "
        f"points, with Student's paired 95 % interval over boards; the fraction of boards that change side at "
        f"{found['spec']:.2f}, with its exact 95 % interval. A simulation: nothing was measured on a chip.\n",
        "| network | boards | training equations: mean, worst | circuit: mean, worst | change | largest "
        "| good boards: training equations, circuit | change side |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in found["networks"].items():
        (low, high), (less, more) = row["points_ci95"], row["changed_ci95"]
        die, circuit, good = row["die"], row["circuit"], row["good"]
        lines.append(
            f"| `{name}` | {row['boards']} | {die['mean']:.3f}, {die['min']:.3f} "
            f"| {circuit['mean']:.3f}, {circuit['min']:.3f} | {row['points']:+.1f} ({low:+.1f} to {high:+.1f}) "
            f"| {row['largest']:.1f} | {good[0]}, {good[1]} | {row['changed']} "
            f"({100 * less:.0f} to {100 * more:.0f} %): {row['lost']} fall below, {row['gained']} rise |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--study", type=Path, required=True, help="folder of benchmarks.floor_study")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    arguments = parser.parse_args()
    if arguments.summary:
        found = summary(arguments.out, arguments.beats)
        keep("circuit_gap", found, page(found))
        return
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    measure(arguments.study, arguments.out, arguments.methods, arguments.serials, arguments.beats)


if __name__ == "__main__":
    main()
