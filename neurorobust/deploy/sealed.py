"""Reading a JSON file that holds its own digest: whole, undamaged, of a known format, with the types of its schema."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from .._util import digests, strict
from .._util.errors import one_line, reason
from .writing import canonical

DAMAGED = "copy it again from where it is whole, or save it again"


class FileKind(NamedTuple):
    """A kind of file.

    Attributes:
        format: name and number, ``neurorobust-deployment/1``. noun: ``deployment``. saved_by: the function that wrote
            it. schema_file: beside this module.
    """

    format: str
    noun: str
    saved_by: str
    schema_file: str


@cache
def schema_of(kind: FileKind) -> dict[str, Any]:
    """The JSON schema of a kind of file."""
    return strict.parse(resources.files(__package__).joinpath(kind.schema_file).read_text(encoding="utf-8"))


def read(path: Path, kind: FileKind) -> dict[str, Any]:
    """The content of a file without its digest.

    Raises:
        FileNotFoundError: there is no such file. ValueError, in one sentence: it is too large, no JSON, damaged, of
            another kind or a newer format, or does not fit its schema.
    """
    article = "an" if kind.noun[0] in "aeiou" else "a"
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: there is no such file; expected one that {kind.saved_by} wrote.") from error
    if not path.is_file():
        raise ValueError(f"{path}: is no file; expected one that {kind.saved_by} wrote.")
    if size > strict.LARGEST:
        raise ValueError(f"{path}: has {size} bytes; {article} {kind.noun} has at most {strict.LARGEST} (32 MiB).")
    try:
        entry = strict.parse(strict.text_of(path))
        rest = {key: value for key, value in entry.items() if key != digests.KEY} if isinstance(entry, dict) else {}
        found = digests.of_bytes(canonical(rest).encode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is no {kind.noun} file: {reason(error)}; {DAMAGED}.") from error
    name, _, number = str(entry.get("format") if isinstance(entry, dict) else None).rpartition("/")
    if name != kind.format.rpartition("/")[0]:
        raise ValueError(f"{path}: is no {kind.noun} file; expected one that {kind.saved_by} wrote.")
    if f"{name}/{number}" != kind.format:
        raise ValueError(
            f"{path}: is of format {one_line(f'{name}/{number}')}; this version reads {kind.format}; "
            f"update neurorobust."
        )
    if entry.get(digests.KEY) != found:
        raise ValueError(
            f"{path}: is damaged or was edited: its content has the SHA-256 {found[:12]}…, it says "
            f"{str(entry.get(digests.KEY))[:12]}…; {DAMAGED}."
        )
    if problem := next(strict.problems(entry, schema_of(kind)), None):
        raise ValueError(f"{path}: {problem}.")
    return rest
