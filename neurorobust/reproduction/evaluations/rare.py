"""How often a die misses a specification where that is too rare to count."""

from __future__ import annotations

from torch import nn

from ...chip import mismatch
from ...evaluation import rare_failures
from ..cell import Cell
from ..evaluation import DIES, SPEC, Evaluation, Values, always


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    found = rare_failures(network, cell.fleet_data, mismatch(float(level)), spec=SPEC, dies=250, repeats=4, seed=DIES)
    low, high = found.ci95 or (None, None)
    return {
        "spec": SPEC,
        "probability": found.probability,
        "probability low": low,
        "probability high": high,
        "effective": found.effective,
        "passes": found.passes,
        "brute force passes": found.brute_force,
        "refused": "; ".join(found.refused),
    }


evaluation = Evaluation(
    f"fraction of dies below {SPEC:g}",
    always(0.3),
    measure,
    lambda detail: 5000 * detail.samples,
    stage=2,
    shown="probability",
)
