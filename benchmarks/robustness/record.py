"""The form of a cell's record and of a method's tuning, checked before anything is computed from them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from neurorobust._util import strict
from neurorobust._util.errors import REASON, one_line, reason, shown

Record = dict[str, Any]

AGAIN = "remove it, and it will be made again."
"""Advice for a damaged file of a cell's folder."""

SCORE = "balanced_accuracy"

RIGHT, SAMPLES = "right ", "samples "
"""Prefixes of the name of a class: one bit per sample (1: right), in hexadecimal digits; the number of its samples."""

MOST, LONGEST = 1e100, 200
"""The largest magnitude of a number, whose square is finite, and the characters of a name."""

NUMBER, TEXT, COUNT = {"type": "number"}, {"type": "string"}, {"type": "integer", "minimum": 0}
SECONDS = {"type": "number", "minimum": 0}


def _object(**properties: Mapping[str, Any]) -> dict[str, Any]:
    """An object that has all these entries."""
    return {"type": "object", "required": list(properties), "properties": properties}


def _each(schema: Mapping[str, Any]) -> dict[str, Any]:
    """An object whose entries are alike."""
    return {"type": "object", "additionalProperties": schema}


PROVENANCE = _object(commit=TEXT, torch=TEXT, numpy=TEXT, numba=TEXT)
VALUE = {"type": ["number", "string", "boolean", "null", "array"], "items": NUMBER}
MEASUREMENT = _object(
    budget=_object(dies=COUNT, samples=COUNT, attacked=COUNT),
    levels=_each(_object(values=_each(VALUE), seconds=SECONDS)),
    provenance=PROVENANCE,
)
SETTINGS = _object(
    chip={"type": ["string", "null"]},
    n_hidden=COUNT,
    epochs=COUNT,
    schedule=_object(batch_size=COUNT, learning_rate=NUMBER),
)
TRAINING = _object(trial=COUNT, validation=NUMBER, seconds=SECONDS)
TRAINING["properties"] |= {"settings": {"type": "object"}, "schedule": _each(VALUE)}
CELL = _object(study=TEXT, method=TEXT, seed=COUNT, settings=SETTINGS, training=TRAINING, provenance=PROVENANCE)
CELL["properties"] |= {"measurements": _each(MEASUREMENT), "model_sha256": TEXT, "files": _each(TEXT)}
TUNING = _object(settings={"type": "object"}, trials={"type": "array", "items": _object(seconds=SECONDS)}, chosen=COUNT)

WORST: dict[str, Any] = {"required": [SCORE], "properties": {SCORE: NUMBER}}
MAYBE = {"type": ["number", "null"]}
RARE = _object(spec=NUMBER, effective=NUMBER, passes=NUMBER, probability=MAYBE, refused=TEXT)
RARE["required"] += ["probability low", "probability high", "brute force passes"]
RARE["properties"] |= {"probability low": MAYBE, "probability high": MAYBE, "brute force passes": MAYBE}
FLEET = {"properties": {SCORE: {"type": "array"}}}
VALUES: dict[str, dict[str, Any]] = {"strong": WORST, "transfer": WORST, "mismatch": FLEET, "rare": RARE}
"""What is read of a measurement by name, besides the metric that tables show."""


def name_of(record: Mapping[str, Any]) -> str:
    """Study/method/seed of a record."""
    return f"{record['study']}/{record['method']}/{record['seed']}"


def parsed(text: str, where: str, advice: str) -> Record:
    """The record of a cell from its JSON.

    Raises:
        ValueError: it is no JSON, or no such record; the message begins with ``where`` and ends with ``advice``.
    """
    try:
        record = strict.parse(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: is no JSON of a cell ({reason(error)}); {advice}") from error
    return checked(record, where, advice)


def checked(record: Any, where: str, advice: str) -> Record:
    """A cell's record as it is, or ValueError as :func:`parsed`."""
    return _or_refused(record, (strict.problems(record, CELL), _cell_problems(record)), where, advice)


def checked_tuning(record: Any, where: str, advice: str) -> Record:
    """The tuning of a method as it is, or ValueError as :func:`parsed`."""
    return _or_refused(record, (strict.problems(record, TUNING), _tuning_problems(record)), where, advice)


def _or_refused(record: Any, problems: Iterable[Iterator[str]], where: str, advice: str) -> Record:
    for found in problems:  # the form first: the others rely on it
        for problem in found:
            raise ValueError(f"{where}: {one_line(problem, REASON)}; {advice}")
    return record


def _tuning_problems(record: Record) -> Iterator[str]:
    if record["chosen"] >= len(record["trials"]):
        yield f"chosen: got {record['chosen']}; expected the number of one of {len(record['trials'])} trials"


def _cell_problems(record: Record) -> Iterator[str]:
    for key in ("study", "method"):
        if not _is_name(record[key]) or "/" in record[key]:
            yield f"{key}: got {shown(record[key])}; expected a printable name without a slash"
    yield from _too_large("training", record["training"])
    for name, entry in record.get("measurements", {}).items():
        if not _is_name(name):
            yield f"measurements: got the name {shown(name)}; expected printable letters, at most {LONGEST}"
        for level, found in entry["levels"].items():
            yield from _level_problems(name, level, found)


def _level_problems(name: str, level: str, found: Mapping[str, Any]) -> Iterator[str]:
    where, values = f"{name} {level}", found["values"]
    if not _is_name(level) or (name == "transfer" and len(level.split()) != 2):
        form = "ζ and a cell" if name == "transfer" else "printable letters"
        yield f"{name}: got the level {shown(level)}; expected {form}, at most {LONGEST} letters"
    yield from strict.problems(values, VALUES.get(name, {}), where)
    yield from _too_large(where, values | {"seconds": found["seconds"]})
    for metric, value in values.items():
        if not _is_name(metric):
            yield f"{where}: got the metric {shown(metric)}; expected printable letters, at most {LONGEST}"
        if value == []:
            yield f"{where}, {metric}: got no number; expected one for each die"
        if metric.startswith("recall ") and (isinstance(value, bool) or not isinstance(value, int | float)):
            yield f"{where}, {metric}: got {shown(value)}; expected a number"
        if name == "samples" and metric.startswith(RIGHT):
            yield from _bit_problems(metric, values, where)


def _bit_problems(metric: str, values: Mapping[str, Any], where: str) -> Iterator[str]:
    bits, key = values[metric], SAMPLES + metric.removeprefix(RIGHT)
    count = values.get(key)
    if type(count) is not int or count < 0:
        yield f"{where}, {key}: got {shown(count)}; expected the number of samples of which {metric!r} has the bits"
    elif not isinstance(bits, str) or not re.fullmatch(r"([0-9a-f]{2})*", bits) or len(bits) != (count + 7) // 8 * 2:
        yield f"{where}, {metric}: got {shown(bits)}; expected {(count + 7) // 8 * 2} hexadecimal digits"


def _too_large(where: str, values: Mapping[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int | float) and not abs(number) <= MOST:
                yield f"{where}, {key}: got {shown(number)}; expected a number of at most {MOST:g}"


def _is_name(word: str) -> bool:
    return 0 < len(word) <= LONGEST and word.isprintable()
