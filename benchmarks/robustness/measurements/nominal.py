"""The network as it was trained, on every test sample."""

from __future__ import annotations

from torch import nn

from neurorobust.core.run import evaluating, nominal
from neurorobust.evaluation.predict import predict
from neurorobust.evaluation.statistics import recall, score

from ..cell import Cell
from ..measurement import Measurement, Values, always, recalls
from ..record import SCORE


def measure(network: nn.Module, level: str, cell: Cell) -> Values:
    task = cell.study.task
    with evaluating(network):
        outputs = predict(network, nominal(network), task.test)
    predicted = outputs.argmax(-1)
    return {
        SCORE: score(outputs, task.test.y),
        "accuracy": float((predicted == task.test.y).double().mean()),
        **recalls(recall(predicted, task.test.y, outputs.shape[-1]).tolist(), task.classes),
    }


measurement = Measurement(
    "nominal parameters", always("test"), measure, lambda budget: 1000, beside={"accuracy": "accuracy"}
)
