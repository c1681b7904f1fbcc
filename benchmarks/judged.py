"""Trained networks on virtual boards, from the training equations to the circuit, on the same dies and beats.

    python -m benchmarks.judged --out judged                    # hours at the default size; go on by calling it again
    python -m benchmarks.judged --out judged --serials 20 --beats 50
    python -m benchmarks.judged --out judged --beats 50 --summary   # writes benchmarks/results/judged.json and .md

Trains nothing. The zoo's networks for heart beats on dynapse2, the read-out on the host. Every serial is a die of the
chip model; the engines are those of :func:`neurorobust.deploy.judge`, with all its causes. The folder has one file for
each network, which is written after each board, so the job can be stopped at any time.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

import chipmodels
import neurorobust as nr
from neurorobust._util import files
from neurorobust._util.randomness import generator
from neurorobust.data import Data
from neurorobust.deploy.judging.judgement import paired
from neurorobust.evaluation.statistics import clopper_pearson, mean_interval
from neurorobust.nn import Network

CHIP, SPEC, SEED = "dynapse2", 0.9, 1
NETWORKS = ("ecg_dpi/standard", "ecg_dpi/forward_noise", "ecg_dpi/adversarial", "ecg/adversarial")
RESULTS = Path(__file__).parent / "results"


def beats(n: int) -> Data:
    """n test beats, as many of each class as can be, drawn with seed 0."""
    test = nr.tasks.ecg().test
    order = torch.randperm(len(test), generator=generator(0, "judged beats"))
    shuffled = Data(test.x[order], test.y[order])
    classes = shuffled.y.unique().tolist()
    chosen = torch.cat([(shuffled.y == label).nonzero()[: n // len(classes), 0] for label in classes])
    return Data(shuffled.x[chosen], shuffled.y[chosen])


def file_of(out: Path, name: str, n_beats: int) -> Path:
    return out / f"{name.replace('/', '-')}-{n_beats}.json"


def measure(out: Path, serials: int, n_beats: int) -> None:
    """Board after board, all networks on each."""
    data, ready, boards = beats(n_beats), {}, nr.deploy.VirtualBoards(seed=SEED)
    for serial in range(serials):
        for name in NETWORKS:
            path = file_of(out, name, n_beats)
            found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
            if str(serial) in found:
                continue
            if name not in ready:
                network, _ = nr.zoo.load(name)
                assert isinstance(network, Network)
                ready[name] = network, nr.deploy.onto(network, chipmodels.load(CHIP))
            network, deployment = ready[name]
            judged = nr.deploy.judge(deployment, data, [serial], boards=boards, trained=network)
            found[str(serial)] = [row.entry() for row in judged.gap]
            files.write_text(path, json.dumps(found) + "\n")


def combined(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The rows of one network over all its boards."""
    boards = [found[serial] for serial in sorted(found, key=int)]
    rows: dict[str, Any] = {}
    before: np.ndarray | None = None
    for k, row in enumerate(boards[0]):
        means = np.array([board[k]["mean"] for board in boards], dtype=float)
        own: dict[str, Any] = {"what": row["what"], "why": row["why"]}
        if np.isfinite(means).all():
            own |= {"mean": float(means.mean()), "min": float(means.min())}
            if before is not None:
                own["change"] = _change(before, means)
            before = means
        alone = [board[k]["alone"]["estimate"] for board in boards if board[k]["alone"]]
        if len(alone) == len(boards):
            own["alone"] = _change(np.zeros(len(alone)), np.array(alone))
        rows[row["name"]] = own
    die, last = (np.array([board[k]["mean"] for board in boards], dtype=float) for k in (2, -1))
    result: dict[str, Any] = {"boards": len(boards), "rows": rows}
    if np.isfinite(last).all():
        result["circuit"] = _change(die, last) | {
            "largest": float(np.abs(last - die).max()),
            "both": int(((die >= SPEC) & (last >= SPEC)).sum()),
            **changed_sides(die, last),
        }
    for what, scores in (("die", die), ("circuit", last)):
        if np.isfinite(scores).all():
            good = int((scores >= SPEC).sum())
            own = {"boards": good, "ci95": list(clopper_pearson(good, len(boards)))}
            result[f"yield_{what}"] = own | {"mean_ci95": list(mean_interval(scores))}
    return result


def changed_sides(die: np.ndarray, circuit: np.ndarray) -> dict[str, Any]:
    """How many boards are good with the training equations alone, and with the circuit alone; their fraction."""
    lost, gained = int(((die >= SPEC) & (circuit < SPEC)).sum()), int(((die < SPEC) & (circuit >= SPEC)).sum())
    interval = list(clopper_pearson(lost + gained, len(die)))
    return {"lost": lost, "gained": gained, "changed": lost + gained, "changed_ci95": interval}


def _change(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    change = paired(before, after)
    return {"points": 100 * change.estimate, "low": 100 * change.low, "high": 100 * change.high}


def summary(out: Path, n_beats: int) -> dict[str, Any]:
    """The rows of every network over the boards on which all were measured."""
    found = {name: json.loads(file_of(out, name, n_beats).read_text("utf-8")) for name in NETWORKS}
    common = sorted(set.intersection(*(set(boards) for boards in found.values())), key=int)
    networks = {name: combined({serial: boards[serial] for serial in common}) for name, boards in found.items()}
    return {"chip": CHIP, "seed": SEED, "beats": n_beats, "boards": len(common), "spec": SPEC, "networks": networks}


def page(found: dict[str, Any]) -> str:
    """The results as Markdown."""
    boards = found["boards"]
    lines = [
        "# Networks on virtual boards\n",
        f"`python -m benchmarks.judged --out judged --serials {boards} --beats {found['beats']}`, then `--summary`. "
        f"Zoo networks for heart beats on {found['chip']}, the read-out on the host. Balanced accuracy on "
        f"{found['beats']} test beats, the same for all; dies of seed {found['seed']}, the same for all. Changes in "
        f"points, with Student's paired 95 % interval over boards. A simulation; nothing was measured on a chip.\n",
        "## Circuit against the training equations\n",
        "| network | boards | training equations | circuit | circuit − training equations | largest | ≥ .90, training "
        "equations | ≥ .90, circuit | change side at .90 |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, network in found["networks"].items():
        if "circuit" not in network:
            continue
        gap, rows, n = network["circuit"], network["rows"], network["boards"]
        low, high = gap["changed_ci95"]
        yields = [f"{network[key]['boards']} of {n}" for key in ("yield_die", "yield_circuit")]
        lines.append(
            f"| `{name}` | {n} | {_plain(rows['die']['mean'])} | {_plain(rows['circuit']['mean'])} | {_points(gap)} "
            f"| {100 * gap['largest']:.1f} | {yields[0]} | {yields[1]} | {gap['lost'] + gap['gained']} of {n} "
            f"({100 * low:.0f} to {100 * high:.0f} %): {gap['lost']} fall below, {gap['gained']} rise |"
        )
    for name, network in found["networks"].items():
        lines += [
            f"\n## {name}, {network['boards']} boards\n",
            "| step | score | in order | alone | |",
            "|---|---|---|---|---|",
        ]
        for step, row in network["rows"].items():
            mean = _plain(row["mean"]) if "mean" in row else ""
            changes = [_points(row[key]) if key in row else "" for key in ("change", "alone")]
            lines.append(f"| {step} | {mean} | {changes[0]} | {changes[1]} | {row['why']} |")
    return "\n".join(lines) + "\n"


def _plain(score: float) -> str:
    return f"{score:.3f}"


def _points(change: dict[str, float]) -> str:
    if change["low"] == change["high"]:
        return f"{change['points']:+.1f}"
    return f"{change['points']:+.1f} ({change['low']:+.1f} to {change['high']:+.1f})"


def options(description: str | None) -> argparse.ArgumentParser:
    """The options of a command that judges boards, network after network."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the files, one for each network")
    parser.add_argument("--serials", type=int, default=200, help="boards")
    parser.add_argument("--beats", type=int, default=200, help="test beats")
    parser.add_argument("--summary", action="store_true", help="write the results from what is there")
    return parser


def keep(name: str, found: dict[str, Any], text: str) -> None:
    """Write a result among those that are kept: its numbers, and the page made of them."""
    files.write_text(RESULTS / f"{name}.json", json.dumps(found, indent=1, allow_nan=False) + "\n")
    files.write_text(RESULTS / f"{name}.md", text)


def main() -> None:
    arguments = options(__doc__).parse_args()
    if arguments.summary:
        found = summary(arguments.out, arguments.beats)
        keep("judged", found, page(found))
        return
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    measure(arguments.out, arguments.serials, arguments.beats)


if __name__ == "__main__":
    main()
