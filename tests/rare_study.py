"""Rare failures of the dies of a small network: subset simulation against counting.

``python tests/rare_study.py`` writes ``rare_study.json`` beside this file (about 4 minutes on one thread).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from conftest import events, tiny

import neurorobust as nr
from neurorobust.evaluation import RareFailures, SubsetSimulation, rare_failures
from neurorobust.nn.network import Network

FILE = Path(__file__).with_name("rare_study.json")
LEVEL, SAMPLES, COUNTED, COUNTING_SEED = 0.03, 100, 60_000, 1
WANTED, STUDIES, DIES, REPEATS = (1e-1, 1e-2, 1e-3), 16, 250, 4


def network_and_data() -> tuple[Network, nr.data.Data]:
    """The network of conftest, and samples that it classifies correctly, so a score of 1 is the nominal one."""
    network, data = tiny(0), events(3, SAMPLES)
    logits = nr.run(network, nr.nominal(network), data.x)
    return network, nr.data.Data(data.x, (logits[:, 1] > logits[:, 0]).long())


def counted(n: int = COUNTED) -> np.ndarray:
    """Scores of n dies, of a seed that the estimates never use."""
    network, data = network_and_data()
    return nr.evaluate(network, data, nr.mismatch(LEVEL), n_dies=n, seed=COUNTING_SEED).score


def estimated(spec: float, seed: int) -> RareFailures:
    """One estimate."""
    network, data = network_and_data()
    simulation = SubsetSimulation(DIES, REPEATS)
    return rare_failures(network, data, nr.mismatch(LEVEL), spec=spec, simulation=simulation, seed=seed)


def main() -> None:
    scores, rows = np.sort(counted()), []
    for wanted in WANTED:
        spec = float(scores[int(wanted * COUNTED)])
        failures = int((scores < spec).sum())
        found = [estimated(spec, 1000 + seed) for seed in range(STUDIES)]
        given = [one for one in found if one.probability is not None]
        estimates = [one.probability for one in given if one.probability is not None]
        passes = float(np.mean([one.passes for one in found]))
        brute_force = float(np.mean([one.brute_force for one in given]))
        rows.append(
            {
                "spec": spec,
                "failures": failures,
                "studies": STUDIES,
                "estimates": estimates,
                "intervals": [list(one.ci95 or ()) for one in given],
                "passes": passes,
                "brute_force": brute_force,
            }
        )
        print(spec, failures, np.mean(estimates) / (failures / COUNTED), len(given), passes, brute_force)
    about = {"level": LEVEL, "samples": SAMPLES, "counted": COUNTED, "dies": DIES, "repeats": REPEATS}
    FILE.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
