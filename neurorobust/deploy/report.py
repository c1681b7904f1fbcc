"""Report of a deployment: resources used, and every value that it changed."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch import nn

from .._util.printed import Printed, fitted
from ..chip import ChipModel, Programmed
from ..chip.architectures import Demand, Merge, Used
from ..chip.architectures.demand import Cores
from ..core.run import evaluating
from ..data.samples import Data
from ..evaluation.predict import nominal_score, predict
from ..evaluation.statistics import score

LINES = 6
"""Rows of one list that are printed; ``report.entry()`` has all."""

WIDTH = 110
"""Columns of the printed report."""


@dataclass(frozen=True, repr=False)
class Report(Printed):
    """Resources that a deployment uses, and values that it changed; ``print(report)`` fits a screen.

    Attributes:
        chip: name and version. neurons: on the chip. usage: of each resource.
        host: layers on the host, with their sizes.
        moved: how many neurons of each layer are on another core than the network asked for; empty if none.
        merged: settings that became equal on a core. left_out: synapses of weight 0 that got no entry, by layer.
        programming: one row per core: gains, errors of quantization, weights that became 0.
        equations: whether the equations of the network are the chip's. gains: what was not checked; may be empty.
        scores: before and after, where data were given: balanced accuracy, or R². samples: how many.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> report = nr.deploy.onto(network, chipmodels.load("dynapse2")).report
        >>> report.neurons, report.host, [(used.what, used.used, used.of) for used in report.usage][0]
        (128, ('readout (2)',), ('cores', 4, 4))
    """

    chip: str
    neurons: int
    usage: tuple[Used, ...]
    host: tuple[str, ...]
    moved: Mapping[str, int] = field(default_factory=dict)
    merged: tuple[Merge, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    programming: tuple[Mapping[str, Any], ...] = ()
    equations: str = ""
    gains: str = ""
    scores: tuple[float, float] | None = None
    samples: int = 0

    def entry(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {
            "usage": [used._asdict() for used in self.usage],
            "merged": [merge._asdict() for merge in self.merged],
            "host": list(self.host),
            "programming": [{name: _finite(value) for name, value in row.items()} for row in self.programming],
            "scores": None if self.scores is None else list(self.scores),
        }

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Report:
        """The report that :meth:`entry` described. Raises ValueError for scores that no data give."""
        scores = entry["scores"]
        if (entry["samples"] > 0) != (scores is not None) or (scores is not None and len(scores) != 2):
            raise ValueError(f"report: has {entry['samples']} samples and the scores {scores}; expected two, or none.")
        return cls(
            **dict(entry)
            | {
                "usage": tuple(Used(**used) for used in entry["usage"]),
                "merged": tuple(Merge(**merge) for merge in entry["merged"]),
                "host": tuple(entry["host"]),
                "programming": tuple(entry["programming"]),
                "scores": None if scores is None else tuple(scores),
            }
        )

    def __str__(self) -> str:
        used = " · ".join(f"{what} {n}" + ("" if of is None else f" of {of}") for what, n, of in map(tuple, self.usage))
        moved = ", ".join(f"{count} neurons of {name!r} moved" for name, count in self.moved.items())
        left_out = ", ".join(f"{count} synapses of weight 0 into {name!r}" for name, count in self.left_out.items())
        lines = [
            f"{self.neurons} neurons for {self.chip} (no board is attached: a configuration, not a measurement)",
            f"used       {used}",
            f"host       {', '.join(self.host) or 'nothing'}",
            f"placed     {moved or 'on the cores that the network asks for'}",
            *_listed("merged", [str(merge) for merge in self.merged]),
            f"left out   {left_out or 'nothing'}",
            *_listed("quantized", [_row(row) for row in self.programming]),
            f"equations  {self.equations.removeprefix('equations: ')}",
        ]
        if self.gains:
            lines.append(f"gains      {self.gains}")
        if self.scores is not None:
            before, after = self.scores
            lines.append(f"score      {before:.3f} before, {after:.3f} after, on {self.samples} samples")
        return fitted("\n".join(textwrap.fill(line, WIDTH, subsequent_indent=" " * 11) for line in lines))

    def __repr__(self) -> str:
        return str(self)


def facts_of(
    chip: ChipModel, programmed: Programmed, demand: Demand, cores: Cores, host: Mapping[str, int]
) -> dict[str, Any]:
    """The fields of a report that follow from the deployment itself; the others tell how it was made.

    ``host`` has the size of every layer there.
    """
    assert chip.architecture is not None
    return {
        "chip": f"{chip.name}, version {chip.version}",
        "neurons": sum(asked.n for asked in demand.values()),
        "usage": tuple(chip.architecture.usage(demand, cores)),
        "host": tuple(f"{name} ({n})" for name, n in host.items()),
        "equations": str(programmed.equations),
        "gains": _gains(chip),
        "programming": tuple(programmed.report),
    }


def scores_of(network: nn.Module, deployed: nn.Module, programmed: Programmed, data: Data) -> tuple[float, float]:
    """The score before and after."""
    before = nominal_score(network, data)
    with evaluating(deployed):
        return before, score(predict(deployed, programmed.params, data), data.y)


def _gains(chip: ChipModel) -> str:
    """Whether the gains of weights and of thresholds can hold together."""
    units = {kind: chip.kinds[kind].encoding.unit for kind in ("weight", "v_threshold") if kind in chip.kinds}
    if units.get("weight") != "A" and units.get("v_threshold") != "A":
        return ""
    return "weights and thresholds have gains of their own; only deployment.image() checks that biases reach both"


def _finite(value: Any) -> Any:
    """None for a number that JSON cannot hold: a relative error of values that are all 0."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _listed(title: str, rows: list[str]) -> list[str]:
    """At most LINES rows under one title."""
    shown = (rows or ["nothing"])[:LINES]
    if len(rows) > LINES:
        shown.append(f"… and {len(rows) - LINES} more")
    return [f"{title if i == 0 else '':<10} {row}" for i, row in enumerate(shown)]


def _row(row: Mapping[str, Any]) -> str:
    """One core in a few words."""
    said = [f"core {row['core']}:"]
    for name, value in row.items():
        if name.endswith("rms_error") and value is not None:
            said.append(f"{name.removesuffix('rms_error').rstrip('_') or 'weight'} rms error {value:.2g},")
    if "became_zero" in row:
        said.append(f"{row['became_zero']} of {row['synapses']} weights became 0,")
    return " ".join(said).rstrip(",") if len(said) > 1 else f"core {row['core']}: nothing is rounded"
