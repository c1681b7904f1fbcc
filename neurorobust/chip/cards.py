"""A chip model as a card: every number with its status and source, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from ..core.equations import VOCABULARY
from ..core.noise import Source
from .architectures import Architecture
from .costs import Cost
from .defects import Defect
from .design import TIMES, ChipDesign
from .encodings import SharedGain
from .sourced import Limits, Range, SourcedValue
from .wording import number, short, words_of


def numbers(value: object, path: str = "") -> Iterator[tuple[str, str, str, str]]:
    """(path, value, status, source) of every number with a source in a chip model.

    Example:
        >>> import chipmodels
        >>> next(nr.chip.numbers(chipmodels.load("xylo")))
        ('kinds.weight.cv', '0', 'published', 'rockpool docs: all digital')
    """
    if isinstance(value, SourcedValue):
        at = "" if value.at is None else f" at {value.at:g}"
        yield path, f"{value.value:g}{at}", value.status, value.source
    elif isinstance(value, Range):
        yield path, f"{value.low:g} to {value.high:g}", value.status, value.source
    elif isinstance(value, (Source, Defect)):
        yield f"{path}.{type(value).__name__}", f"{value.level:g}", value.status, value.source
    elif isinstance(value, Cost):
        yield f"{path}.{value.what}", value.range(), value.status, value.source
    elif isinstance(value, tuple) and path in ("noise", "defects", "costs"):
        for part in value:
            yield from numbers(part, path)
    elif isinstance(value, (Limits, Architecture, Mapping)):
        for key, inner in (value if isinstance(value, Mapping) else value.facts()).items():
            yield from numbers(inner, f"{path}.{key}" if path else str(key))
    elif is_dataclass(value):
        for field in fields(value):
            yield from numbers(getattr(value, field.name), f"{path}.{field.name}" if path else field.name)


def statements(chip: ChipDesign) -> Iterator[tuple[str, str, str, str]]:
    """(point, text, status, source) of a chip's inputs and of every point of its neurons, and what our model does where
    that is said.

    Example:
        >>> import chipmodels
        >>> [row[:2] for row in nr.chip.statements(chipmodels.load("xylo"))][2]
        ('floor', 'None but the end of 16 bits.')
    """
    for name, point in {"inputs": chip.inputs, **({} if chip.neuron is None else chip.neuron.points())}.items():
        model = f" In our model: {point.model}" if point.model else ""
        yield name.replace("_", " "), point.text + model, point.status, point.source


def unit_of(chip: ChipDesign, kind: str) -> str:
    """The unit of the chip for one kind: that of its encoding, s for a time, else none."""
    encoding = chip.kinds[kind].encoding
    if isinstance(encoding, SharedGain):
        encoding = chip.kinds[encoding.kind].encoding
    return encoding.unit if encoding.unit != "SI" else "s" if kind in TIMES else ""


def laws(chip: ChipDesign) -> Iterator[tuple[str, str, str, str]]:
    """(kind, law, how the chip sets it, how it is stored) of every kind, in words.

    Example:
        >>> import chipmodels
        >>> [row[:2] for row in nr.chip.laws(chipmodels.load("rolls"))][1]
        ('v_threshold', 'lognormal, median at the programmed value, CV 9.4 %')
    """
    for kind, model in chip.kinds.items():
        unit = unit_of(chip, kind)
        parts = [model.law.in_words(unit), *(part.in_words(unit) for part in model.shared)]
        parts += [f"and {number(factor)} times the deviation of {other}" for other, factor in model.derived.items()]
        if shift := chip.corner.get(model.shares_deviate_of or kind):
            parts.append(f"and a corner: {shift:+g} in the logarithm, on every device")
        how = "one value for a core" if model.per_core else "each by itself"
        if model.shares_deviate_of:
            how = f"by the device that sets {model.shares_deviate_of}, whose random number it takes"
        yield kind, "; ".join(parts), how, words_of(model.encoding, unit)


def card(chip: ChipDesign) -> dict[str, Any]:
    """All content of a chip model as JSON values.

    Example:
        >>> import chipmodels
        >>> sorted(nr.chip.card(chipmodels.load("xylo")))[:4]
        ['architecture', 'costs', 'defects', 'facts']
    """
    speedup = chip.time_base.speedup
    in_words = {kind: {"law": law, "set": how, "stored": stored} for kind, law, how, stored in laws(chip)}
    return {
        "name": chip.name,
        "version": chip.version,
        "title": chip.title,
        "parameters": {
            kind: {
                "cv": model.cv.value,
                "at": model.cv.at,
                "status": model.cv.status,
                "source": model.cv.source,
                "law": short(model.law),
                "per_core": model.per_core,
                "range": None
                if model.range is None
                else {
                    "low": model.range.low,
                    "high": model.range.high,
                    "status": model.range.status,
                    "source": model.range.source,
                },
                "encoding": short(model.encoding),
                "shared": [short(part) for part in model.shared],
                "shares_deviate_of": model.shares_deviate_of,
                "derived": dict(model.derived),
                "in_words": in_words[kind],
            }
            for kind, model in chip.kinds.items()
        },
        "limits": {name: _fact(fact) for name, fact in chip.limits.facts().items()},
        "architecture": None
        if chip.architecture is None
        else {
            "kind": type(chip.architecture).__name__,
            "numbers": {name: _fact(fact) for name, fact in chip.architecture.facts().items()},
        },
        "time_base": {**_fact(speedup), "speedup": speedup.value, "clock": chip.time_base.clock},
        "facts": {name: _fact(fact) for name, fact in chip.facts.items()},
        "noise": [_part(part) for part in chip.noise],
        "defects": [_part(part) for part in chip.defects],
        "costs": [asdict(cost) for cost in chip.costs],
        "inputs": {**asdict(chip.inputs), "words": list(chip.inputs.words)},
        "neuron": None if chip.neuron is None else chip.neuron.entry(),
        "notes": list(chip.notes),
    }


def differences(first: ChipDesign, second: ChipDesign) -> dict[str, Any]:
    """Differences between two models: ``{entry: {name of a model: its value or None}}``, where they differ.

    Example:
        >>> import chipmodels
        >>> sorted(nr.chip.differences(chipmodels.load("dynapse1"), chipmodels.load("dynapse2")))[:3]
        ['adaptation.cv', 'adaptation.law', 'bias.cv']
    """
    cards = [_flat(card(chip)) for chip in (first, second)]
    names = [first.name, second.name]
    return {
        what: dict(zip(names, (each.get(what) for each in cards)))
        for what in {**cards[0], **cards[1]}
        if cards[0].get(what) != cards[1].get(what)
    }


def _fact(fact: SourcedValue) -> dict[str, Any]:
    return {"value": fact.value, "status": fact.status, "source": fact.source}


def _part(part: Source | Defect) -> dict[str, Any]:
    return {"what": type(part).__name__, "value": part.level, "status": part.status, "source": part.source}


def _flat(content: dict[str, Any]) -> dict[str, Any]:
    """The comparable values of a card, by their path."""
    result: dict[str, Any] = {"version": content["version"], "speedup": content["time_base"]["speedup"]}
    for name, fact in content["limits"].items():
        result[f"limits.{name}"] = fact["value"]
    for kind, entry in content["parameters"].items():
        for key in ("cv", "status", "law", "per_core", "encoding", "shares_deviate_of", "derived"):
            result[f"{kind}.{key}"] = entry[key]
        if entry["range"]:
            result[f"{kind}.range"] = [entry["range"]["low"], entry["range"]["high"]]
    result["inputs"] = content["inputs"]["words"]
    for name, point in ((content["neuron"] or {}).get("points") or {}).items():
        if name in VOCABULARY:
            result[f"neuron.{name}"] = point["words"]
    return result
