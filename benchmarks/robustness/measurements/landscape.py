"""The loss along random directions and an adversarial one."""

from __future__ import annotations

from torch import nn

from neurorobust.attacks import Ball
from neurorobust.evaluation import landscape

from ..cell import Cell
from ..measurement import DIES, Measurement, Values, always


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    found = landscape(network, cell.attacked_data, ball=Ball.uniform(float(level)), seed=DIES)
    lines = {"random": found.loss.mean(0), "adversarial": found.adversarial_loss}
    curves = {
        f"{name} {a:+.2f}": round(float(loss), 4) for name, line in lines.items() for a, loss in zip(found.a, line)
    }
    return {"rise": found.rise, "adversarial rise": found.adversarial_rise, **curves}


measurement = Measurement(
    "loss along lines, minus the nominal loss",
    always(0.2),
    measure,
    lambda budget: 400 * budget.attacked,
    stage=1,
    shown="rise",
    beside={"adversarial rise": "along the adversarial direction"},
)
