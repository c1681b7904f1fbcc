"""The audit of every chip: what silicon does, what our model does, what the difference costs, and where it is known.

The costs are in ``benchmarks/results/physics_cost.json``: by chip and by point a list of measurements::

    {"dynapse2": {"floor": [{
        "network": "ecg/adversarial",       a network of the zoo, or what it is
        "measure": "balanced accuracy",
        "model": 0.944,                     with the equations of our model, as trained
        "silicon": 0.503,                   the same numbers with what silicon does
        "repaired": 0.891,                  after a cheap repair, or null
        "repair": "one read-out threshold refitted",    or null
        "samples": "1000 test beats, 3 seeds",
        "command": "python -m benchmarks.physics_cost"
    }]}}
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from text import table

from neurorobust._util.discovery import classes
from neurorobust.chip import ChipModel
from neurorobust.chip.equations import POINTS
from neurorobust.core.equations import UNKNOWN, VOCABULARY
from neurorobust.core.params import KINDS
from neurorobust.dynamics import NoFloor, adaptations, inhibitions, resets
from neurorobust.nn import neurons
from neurorobust.nn.connections import Linear
from neurorobust.nn.neurons import Neuron
from neurorobust.nn.neurons.neuron import EXAMPLES

COSTS = Path(__file__).parent.parent / "benchmarks/results/physics_cost.json"
AS_ABOVE = "as above"
KEYS = {"network", "measure", "model", "silicon", "repaired", "repair", "samples", "command"}
NAMES = {point: point.replace("_", " ") for point in POINTS} | {
    "fan_out": "fan-in and fan-out",
    "settings": "one value per core or per neuron",
    "readout": "read-out",
    "time_base": "time",
    "only_in_silicon": "deviates on silicon, not in our laws",
    "only_in_model": "deviates otherwise in our laws",
}

Costs = Mapping[str, Mapping[str, list[dict[str, Any]]]]
Words = dict[str, list[str]]
"""By point the words that a neuron can have; the first without any option."""


def audit(models: Mapping[str, ChipModel], costs: Costs) -> str:
    """The equations of our neurons, those of every chip, and what each difference cost where somebody measured it."""
    ours = own_words()
    rows = [[f"[{name}](chips/{name}.md)", *_of_chip(chip)] for name, chip in sorted(models.items())]
    measured = [
        f"- [{name}](chips/{name}.md), {NAMES[point]}: {_cost(row)}."
        for name in sorted(costs)
        for point, each in costs[name].items()
        for row in each
    ]
    lines = ["## Our neurons\n", *(f"- `{name}`: {_listed(words)}" for name, words in ours.items()), ""]
    lines += ["## The chips\n", table(["chip", *(NAMES[point] for point in VOCABULARY)], rows)]
    lines += ["## Costs that were measured\n", *(measured or ["None."]), ""]
    return "\n".join(lines)


def _of_chip(chip: ChipModel) -> list[str]:
    """For each point of the equations what a chip can do, in words of the vocabulary."""
    if chip.neuron is None:
        return ["not stated"] * len(VOCABULARY)
    if chip.neuron.as_network:
        return ["as in the network"] * len(VOCABULARY)
    points = chip.neuron.points()
    return [", or ".join(points[name].words) or points[name].status for name in VOCABULARY]


def read_costs(path: Path, models: Mapping[str, ChipModel]) -> Costs:
    """The measured costs.

    Raises:
        ValueError: a chip, a point or a key that does not exist.
    """
    costs = json.loads(path.read_text(encoding="utf-8"))
    for chip, points in costs.items():
        if chip not in models:
            raise ValueError(f"{path.name}: chip {chip!r} does not exist; expected one of {', '.join(models)}.")
        for point, rows in points.items():
            if point not in POINTS:
                raise ValueError(f"{path.name}: {chip}: point {point!r} does not exist; expected one of {POINTS}.")
            for row in rows:
                if set(row) != KEYS:
                    raise ValueError(f"{path.name}: {chip}, {point}: got keys {sorted(row)}; expected {sorted(KEYS)}.")
    return costs


def own_words() -> dict[str, Words]:
    """The spiking neurons of the package, and the words of their equations, found by building them."""
    found = {}
    for name, kind in sorted(classes(neurons, Neuron).items()):
        words = [layer.equations().words() for layer in _variants(kind)]
        if UNKNOWN not in words[0].values() and words[0]["reset"] != "no reset":
            found[name] = {point: list(dict.fromkeys(each[point] for each in words)) for point in VOCABULARY}
    return found


def _variants(kind: type[Neuron]) -> Iterator[Neuron]:
    """A neuron without options, then one for each option that changes its equations."""
    takes = inspect.signature(kind).parameters

    def build(**options: Any) -> Neuron:
        needed: dict[str, Any] = {
            name: next(EXAMPLES[known] for known in KINDS if name.startswith(known) and known in EXAMPLES)
            for name, parameter in takes.items()
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
        }
        return kind(Linear(torch.ones(1, 1)), **needed, **options)

    yield build()
    if "reset" in takes:
        yield from (build(reset=reset.example()) for reset in classes(resets, resets.Reset).values())
    if "v_reset" in takes:
        yield build(v_reset=0.01)
    if "t_ref" in takes:
        yield build(t_ref=EXAMPLES["t_ref"])
    if "floor" in takes:
        yield build(floor=NoFloor())
        yield build(v_leak=EXAMPLES["v_leak"])
    if "inhibition" in takes:
        yield from (build(inhibition=kind.example()) for kind in classes(inhibitions, inhibitions.Inhibition).values())
    if "rule" in takes:
        for rule in classes(adaptations, adaptations.Adaptation).values():
            yield build(tau_adapt=0.03, adaptation=0.05, rule=rule.example())


def _listed(words: Words) -> str:
    first = ", ".join(options[0] for options in words.values())
    more = [word for options in words.values() for word in options[1:] if word != UNKNOWN]
    return f"{first}." + (f" By options: {', '.join(more)}." if more else "")


def points_table(chip: ChipModel, ours: Mapping[str, Words], costs: Mapping[str, list[dict[str, Any]]]) -> str:
    """Every point of the audit of one chip."""
    rows = []
    points = {} if chip.neuron is None else chip.neuron.points()
    before = None
    for name, point in points.items():
        model = point.model
        if name in VOCABULARY:
            own = chip.neuron is not None and chip.neuron.as_network
            model = "The network's own neurons." if own else _fit(name, point.words, ours)
        cost = "; ".join(map(_cost, costs.get(name, []))) or "not measured"
        source = point.status + (f": {point.source}" if point.source else "")
        text, source = (AS_ABOVE, AS_ABOVE) if point == before and point.source else (point.text, source)
        rows.append([f"**{NAMES[name]}**", text, model, cost, source])
        before = point
    return table(["point", "on silicon", "in our model", "cost", "source"], rows)


def _fit(point: str, words: tuple[str, ...], ours: Mapping[str, Words]) -> str:
    """Which neurons do what silicon does: as they are, by an option, or not."""
    groups: dict[str, list[str]] = {}
    for name, all_words in ours.items():
        first, *options = all_words[point]
        fits = "As silicon" if first in words else "As silicon by an option" if set(options) & set(words) else ""
        groups.setdefault(fits or first[0].upper() + first[1:], []).append(f"`{name}`")
    order = ["As silicon", "As silicon by an option", *sorted(groups)]
    return " ".join(f"{group}: {', '.join(groups[group])}." for group in dict.fromkeys(order) if group in groups)


def _cost(row: Mapping[str, Any]) -> str:
    """One measurement in words."""
    text = f"{row['network']}, {row['measure']}: {_short(row['model'])} → {_short(row['silicon'])}"
    if row["repaired"] is not None:
        text += f", {_short(row['repaired'])} after {row['repair']}"
    return f"{text} ({row['samples']})"


def _short(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")
