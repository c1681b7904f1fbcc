"""The fraction of dies below the specification, estimated where it is too small to count dies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from neurorobust.chip import mismatch
from neurorobust.evaluation import SubsetSimulation, rare_failures

from ..cell import Cell
from ..measurement import DIES, Measurement, Values, always
from ..record import SCORE
from ..results import values_of
from ..tables import MISSING, short, table


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    spec = cell.study.spec
    simulation = SubsetSimulation(dies=250, repeats=4)
    found = rare_failures(network, cell.fleet_data, mismatch(float(level)), spec=spec, simulation=simulation, seed=DIES)
    low, high = found.ci95 or (None, None)
    return {
        "spec": spec,
        "probability": found.probability,
        "probability low": low,
        "probability high": high,
        "effective": found.effective,
        "passes": found.passes,
        "brute force passes": found.brute_force,
        "refused": "; ".join(found.refused),
    }


def by_network(records: Sequence[Mapping[str, Any]]) -> str:
    """A row for each network: the estimate or why there is none, and the count among the dies of ``mismatch``."""
    rows = []
    for record in records:
        for level, entry in sorted(record.get("measurements", {}).get("rare", {"levels": {}})["levels"].items()):
            values = entry["values"]
            dies = values_of(record, "mismatch", level).get(SCORE, [])
            rows.append(
                [
                    record["method"],
                    str(record["seed"]),
                    level,
                    f"{values['spec']:g}",
                    f"{sum(die < values['spec'] for die in dies)} of {len(dies)}" if dies else MISSING,
                    _estimate(values),
                    f"{values['effective']:.0f}",
                    str(values["passes"]),
                    f"{values['brute force passes']:.0f}" if values["brute force passes"] else MISSING,
                ]
            )
    header = ["method", "seed", "mismatch", "below", "counted", "estimated [95 %]", "effective failures"]
    return table([*header, "dies simulated", "counting needs"], rows) if rows else ""


def _estimate(values: Values) -> str:
    if values["probability"] is None:
        return f"no number: {values['refused']}"
    numbers = (short(values[key], False) for key in ("probability", "probability low", "probability high"))
    return "{} [{}, {}]".format(*numbers)


measurement = Measurement(
    "fraction of dies below the task's specification, by subset simulation",
    always(0.3),
    measure,
    lambda budget: 5000 * budget.samples,
    stage=2,
    shown="",
    table=by_network,
)
