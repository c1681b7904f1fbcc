"""Which kind of parameter breaks the five worst dies of the networks of the zoo for DYNAP-SE2 (``ecg_dpi``).

    python -m benchmarks.kinds_of_dies --out runs/kinds_of_dies.json     # minutes on one core; continues
    cp runs/kinds_of_dies.json benchmarks/results/kinds_of_dies.json     # what docs/explore.md shows

The dies and their scores are those of ``benchmarks.floor_study`` (seed 1, all test beats, training seed 0). Each score
is measured again first, and has to be the one that the study has: so network, data and dies are the same.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import neurorobust as nr
from benchmarks.floor_study import CHIP, DIES, SEEDS, SHIPPED, STUDY
from neurorobust._util import digests, files
from neurorobust.chip.installed import chip_model
from neurorobust.data import Task
from neurorobust.evaluation.dies import die_scores

STUDIED = Path(__file__).parent / "results" / "floor_study.json"
PLACES = ("chip", "mismatch")
WORST = 5


def models() -> dict[str, nr.chip.ChipModel]:
    """The chip models of the study, by the names that it has for them."""
    return {"chip": chip_model(CHIP), "mismatch": nr.mismatch(0.3)}


def worst(scores: Sequence[float]) -> list[int]:
    """The serials of the worst dies, the worst first; of equal scores the lowest serial first."""
    return sorted(range(len(scores)), key=lambda serial: (scores[serial], serial))[:WORST]


def measure(task: Task, method: str, place: str, studied: Mapping[str, Any]) -> dict[str, Any]:
    """The kinds of the worst dies of one network: serial → kind → score with it alone, and without it.

    Raises:
        RuntimeError: a die has another score than in the study.
    """
    scores = studied[f"{method}-{SEEDS[0]}"]["dies"][place]["as it stands"]
    network, chip, serials = nr.zoo.load(f"{STUDY}/{method}")[0], models()[place], worst(scores)
    found = list(die_scores(network, task.test, chip, serials, DIES))
    if found != [scores[serial] for serial in serials]:
        raise RuntimeError(f"{method}, {place}, dies {serials}: got {found}; the study has other scores.")
    kinds = nr.evaluation.ablate_kinds(network, task.test, chip, serials=serials, seed=DIES)
    return {
        str(serial): {kind: [each.alone, each.without] for kind, each in found.items()}
        for serial, found in kinds.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/kinds_of_dies.json"), help="file of all results")
    out = parser.parse_args().out
    task, studied = nr.tasks.ecg(), json.loads(STUDIED.read_text(encoding="utf-8"))
    with files.locked(files.make_folder(out.parent), f".{out.name}.lock"):
        results = digests.read_json(out, "remove it to measure again.") if out.exists() else {}
        for place in PLACES:
            for method in SHIPPED:
                done = results.setdefault(place, {})
                if method not in done:
                    done[method] = measure(task, method, place, studied)
                    digests.write_json(out, results)
                    print(place, method, done[method], flush=True)


if __name__ == "__main__":
    main()
