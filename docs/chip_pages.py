"""A page for each chip model, made from the model: what varies, what silicon does, every number, a map of one die."""

from __future__ import annotations

import inspect
import io
import sys
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import matplotlib
from audit import COSTS, Costs, own_words, points_table, read_costs
from text import table

from neurorobust.chip import ChipModel, KindModel, draw, draw_model, laws, numbers
from neurorobust.chip.cards import unit_of
from neurorobust.chip.sourced import STATUSES
from neurorobust.chip.variability import Offset
from neurorobust.chip.wording import percent, quantity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SERIAL, SEED = 17, 0
MAPS = 3
"""Kinds drawn on a map of a die."""
LABELS = {"cv": "spread (CV)", "range": "range", "encoding.full": "full scale", "encoding.largest": "largest current"}


def pages(models: Mapping[str, ChipModel]) -> dict[str, str]:
    """Every generated file about chips, by its path below ``docs``."""
    costs = read_costs(COSTS, models)
    found = {"_generated/chip-table.md": overview(models)}
    for name, chip in models.items():
        found[f"chips/{name}.md"] = page(chip, costs)
        found[f"_generated/chip-{name}.svg"] = drawn(draw_model(chip, columns=2))
        if kinds := mapped(chip):
            found[f"_generated/die-{name}.svg"] = drawn(draw(chip.fabricate([SERIAL], SEED)[0], kinds, cores=2))
    return found


def overview(models: Mapping[str, ChipModel]) -> str:
    """One row for each chip, with a link to its page."""
    rows = [
        [f"[{name}](chips/{name}.md)", chip.title, _spread(chip), _statuses(chip), "yes" if _ages(chip) else "no"]
        for name, chip in sorted(models.items())
    ]
    return _stacked(["chip", "what it is", "spread (CV)", "where the spreads come from", "drift known"], rows)


def page(chip: ChipModel, costs: Costs) -> str:
    """The page of one chip."""
    name = chip.name
    parts = [
        f"# {name}\n",
        f"Here you can check what a simulated die of `{name}` contains, where each number comes from, and what the "
        f"circuits do that the model leaves out.\n",
        f"{chip.title}. Version {chip.version} of the model. Clock: {chip.time_base.clock}.\n",
        f"In Python: `chipmodels.load({name!r})`. In a shell: `neurorobust chips show {name}`.\n",
        "## At a glance\n",
        table(["", ""], _glance(chip)),
        "## What deviates\n",
        "*Varies*: how a device differs from its programmed value; the CV is the standard deviation divided by the "
        "mean. *Set*: what one setting of the chip reaches. *Stored*: how a value is rounded.\n",
        _stacked(["kind", "varies", "set", "stored"], [[f"`{kind}`", *rest] for kind, *rest in laws(chip)]),
        f"![Histograms: how each kind of {name} varies from device to device](../_generated/chip-{name}.svg)\n",
        *_map(chip),
        "## What silicon does, and what our model does\n",
        "*Cost*: the score of a trained network with our equations → the same network with the equations of the chip. "
        "The words are explained in the [audit](../audit.md).\n",
        f"```{{container}} stacked\n{points_table(chip, own_words(), costs.get(name, {}))}```\n",
        "## Every number\n",
        "In SI units, except where another unit is given. `neurorobust chips show --json` gives full precision.\n",
        _stacked(["number", "value", "status", "source"], [_readable(chip, *row) for row in numbers(chip)]),
        "## Approximations\n",
        *(f"- {note}" for note in chip.notes),
        f"\n## Sources\n\n{_origin(chip) or 'Named at each number.'}\n",
    ]
    return "\n".join(parts)


def _glance(chip: ChipModel) -> list[list[str]]:
    limits = chip.limits
    rows = []
    if limits.cores and limits.neurons_per_core:
        total = limits.cores * limits.neurons_per_core
        rows.append(["neurons", f"{total}: {_count(limits.cores, 'core')} × {limits.neurons_per_core}"])
    if limits.fan_in:
        rows.append(["inputs per neuron", f"{limits.fan_in} at most"])
    if chip.inputs.source:
        rows.append(["inputs", f"{chip.inputs.text} ({chip.inputs.status}: {chip.inputs.source})"])
    rows += [["spread (CV)", _spread(chip)], ["where the spreads come from", _statuses(chip)]]
    aged = 'known, `chip.at("30 days")`' if _ages(chip) else "not published; `chip.at(…)` is refused"
    if any(model.cv.value > 0 for model in chip.kinds.values()):
        rows.append(["drift after programming", aged])
    placed = "yes, see [Deploy](../deploy.md)" if chip.architecture else "no: the model states no architecture"
    rows.append(["takes a deployment", placed])
    return rows


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _spread(chip: ChipModel) -> str:
    """The smallest and the largest CV of the kinds that vary."""
    varying = {kind: model for kind, model in chip.kinds.items() if model.cv.value > 0}
    found = sorted(model.cv.value for model in varying.values() if _relative(model))
    offsets = [kind for kind, model in varying.items() if not _relative(model)]
    if not found:
        return "nothing varies"
    low, high = percent(found[0]), percent(found[-1])
    text = low if low == high else f"{low} to {high}"
    return text + (f"; offsets of {', '.join(offsets)}" if offsets else "")


def _relative(model: KindModel) -> bool:
    """Whether the spread of a kind is one over its value; else it is in the unit of the chip."""
    return not isinstance(model.law, Offset)


def _statuses(chip: ChipModel) -> str:
    count = Counter(model.cv.status for model in chip.kinds.values() if model.cv.value > 0)
    return ", ".join(f"{count[status]} {status}" for status in STATUSES if count[status]) or "exact by design"


def _ages(chip: ChipModel) -> bool:
    return any(model.law.ages for model in chip.kinds.values())


def mapped(chip: ChipModel) -> list[str]:
    """The kinds of a chip that its map shows; none where the number of neurons is unknown."""
    limits = chip.limits
    if limits.cores is None or limits.neurons_per_core is None:
        return []
    own = [kind for kind, model in chip.kinds.items() if model.cv.value > 0 and model.shares_deviate_of is None]
    return own[:MAPS]


def _map(chip: ChipModel) -> list[str]:
    kinds = mapped(chip)
    if not kinds:
        return []
    cores = min(2, chip.limits.cores or 1)
    what = f"{cores} of its {chip.limits.cores} cores" if cores < (chip.limits.cores or 1) else "every neuron"
    return [
        "## One die\n",
        f"![Map of die {SERIAL} of {chip.name}: random deviations of {', '.join(kinds)}, neuron by neuron]"
        f"(../_generated/die-{chip.name}.svg)\n",
        f"*Die {SERIAL} of seed {SEED}, {what}. Each small square is one neuron; of a weight, its first synapse. The "
        f"colour is its random number u, in standard deviations. `nr.chip.draw(chip.fabricate([{SERIAL}], {SEED})[0])` "
        f"draws every kind.*\n",
    ]


def _readable(chip: ChipModel, path: str, value: str, status: str, source: str) -> list[str]:
    """A number of a chip with a name that people read; values of a kind in the chip's own unit."""
    head, _, rest = path.partition(".")
    if head == "kinds":
        kind, _, what = rest.partition(".")
        model, unit = chip.kinds[kind], unit_of(chip, kind)
        if what == "cv" and _relative(model):
            at = "" if model.cv.at is None else f" at {quantity(model.cv.at, unit)}"
            value = percent(model.cv.value) + at
        elif what == "cv":
            value = f"{quantity(model.cv.value, unit)}, a standard deviation"
        elif what == "range" and model.range is not None:
            value = f"{quantity(model.range.low, unit)} to {quantity(model.range.high, unit)}"
        name = f"`{kind}`: {LABELS.get(what, what.replace('.', ', ').replace('_', ' '))}"
    elif head in ("limits", "facts", "noise", "defects", "costs"):
        name = rest.replace("_", " ")
    else:
        name = path.replace(".", ": ").replace("_", " ")
    return [name, value, status, source]


def _stacked(header: list[str], rows: list[list[str]]) -> str:
    """A table of text: in a narrow window every row becomes a block."""
    return f"```{{container}} stacked\n{table(header, rows)}```\n"


def drawn(figure: Figure) -> str:
    """A figure as SVG; the same text every time."""
    with matplotlib.rc_context({"svg.hashsalt": "neurorobust"}), io.StringIO() as stream:
        figure.savefig(stream, format="svg", metadata={"Date": None})
        return stream.getvalue()


def _origin(chip: ChipModel) -> str:
    """The docstring of the module that holds a chip, without its first line."""
    module = next((m for m in list(sys.modules.values()) if vars(m).get("chip") is chip), None)
    return inspect.cleandoc(module.__doc__ or "").partition("\n")[2].strip() if module else ""
