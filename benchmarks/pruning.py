"""The network for keywords, pruned to the 64 inputs of a neuron of dynapse2 and trained on.

    python -m benchmarks.pruning        # minutes; writes benchmarks/results/pruning.json

The network is ``keywords/standard`` of the zoo: 256 neurons with 295 inputs each. It is trained on with the loss of the
task. Validation decides which epoch is kept; the test part is used for the two last numbers only.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import neurorobust as nr
from neurorobust._util import files
from neurorobust.chip.installed import chip_model
from neurorobust.evaluation.predict import nominal_score

CHIP, NAME = "dynapse2", "keywords/standard"
OUT = Path(__file__).parent / "results" / "pruning.json"


def measure(epochs: int) -> dict[str, object]:
    """The report of :func:`neurorobust.deploy.fit_to`, and the score on the test part before and after."""
    task, (network, _) = nr.tasks.keywords(), nr.zoo.load(NAME)
    found = nr.deploy.fit_to(network, chip_model(CHIP), task, loss=task.loss, epochs=epochs)
    print(found)
    test = {"before": nominal_score(network, task.test), "after": nominal_score(found.network, task.test)}
    return {"network": NAME, "chip": CHIP, **found.entry(), "test": test, "test_samples": len(task.test)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT, help="file of the result")
    parser.add_argument("--epochs", type=int, default=10)
    arguments = parser.parse_args()
    files.write_text(arguments.out, json.dumps(measure(arguments.epochs), indent=1) + "\n")


if __name__ == "__main__":
    main()
