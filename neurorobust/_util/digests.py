"""Digests: SHA-256 of tensors, of JSON objects and of files. A file whose digest does not fit is damaged or was edited.

A JSON object holds its digest as ``"sha256"``, over all other entries. A binary file ends with one, over the bytes
before it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import files, strict
from .errors import reason

KEY = "sha256"
MARK = b"\nsha256:"
LENGTH = len(MARK) + 64


def of_bytes(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


def bytes_of(value: Tensor) -> memoryview:
    """The bytes of a dense tensor, in the order of its elements; not copied where they lie so on the CPU."""
    flat = value.detach().cpu().contiguous().reshape(-1)
    return flat.as_strided(flat.shape, (1,)).view(torch.uint8).numpy().data  # one element may have any stride


def of_tensors(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """The digest of a text and of tensors: their names, types, shapes and bytes, whatever their order."""
    names = sorted(tensors)
    shapes = [[name, str(tensors[name].dtype), list(tensors[name].shape)] for name in names]
    digest = hashlib.sha256(json.dumps([text, shapes]).encode())
    for name in names:
        digest.update(bytes_of(tensors[name]))
    return digest.hexdigest()


# ---- JSON


def of_json(entry: Mapping[str, Any]) -> str:
    """The digest of a JSON object without its own digest."""
    return of_bytes(json.dumps({key: value for key, value in entry.items() if key != KEY}).encode())


def write_json(path: Path, entry: Mapping[str, Any], indent: int | None = 1) -> None:
    """Write a JSON object and its digest, atomically. Raises ValueError if it is larger than what is read."""
    text = json.dumps(sealed(entry), indent=indent) + "\n"
    try:
        strict.check_text(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}.") from error
    files.write_text(path, text)


def read_json(path: Path, advice: str) -> dict[str, Any]:
    """The JSON object of a file, without its digest.

    Raises:
        FileNotFoundError: there is no such file. ValueError: it is no JSON object, or not the one that was written;
        ``advice`` says what to do.
    """
    return unsealed(parsed(path, advice), path, advice)


def sealed(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object as it will be read again, and its digest as the last entry."""
    plain = {key: value for key, value in json.loads(json.dumps(entry)).items() if key != KEY}
    return plain | {KEY: of_json(plain)}


def unsealed(entry: dict[str, Any], path: Path, advice: str) -> dict[str, Any]:
    """A JSON object that was read from a file, without its digest.

    Raises:
        ValueError: it holds no digest, or another one, or is nested too deeply.
    """
    if KEY not in entry:
        raise ValueError(f"{path}: has no {KEY!r}, so damage would not be seen (an earlier version wrote it); {advice}")
    try:
        found = of_json(entry)
    except RecursionError as error:
        raise ValueError(f"{path}: is nested too deeply, which no file of this package is; {advice}") from error
    if entry[KEY] != found:
        raise ValueError(
            f"{path}: is damaged or was edited (its content has the SHA-256 {found[:12]}…, it says "
            f"{str(entry[KEY])[:12]}…); {advice}"
        )
    return {key: value for key, value in entry.items() if key != KEY}


def parsed(path: Path, advice: str) -> dict[str, Any]:
    """The JSON object of a file, with its digest if it holds one; raises as :func:`read_json`."""
    try:
        entry = json.loads(strict.text_of(path))
    except (ValueError, RecursionError) as error:
        words = reason(error)
        raise ValueError(f"{path}: is truncated or foreign, or no JSON of this package ({words}); {advice}") from error
    if not isinstance(entry, dict):
        raise ValueError(f"{path}: holds a JSON {type(entry).__name__}; expected an object; {advice}")
    return entry


# ---- binary files


def append(path: Path) -> None:
    """Add the digest of a file to its end."""
    found = of_file(path)
    with path.open("ab") as file:
        file.write(MARK + found.encode())


def check_appended(path: Path, advice: str) -> None:
    """Check a file whose digest :func:`append` added.

    Raises:
        FileNotFoundError: there is no such file. ValueError: it has no digest, or another one.
    """
    size = path.stat().st_size - LENGTH
    with path.open("rb") as file:
        file.seek(max(size, 0))
        end = file.read()
    if size < 0 or not end.startswith(MARK):
        raise ValueError(f"{path}: is truncated or foreign, or an earlier version wrote it (no digest); {advice}")
    if end.removeprefix(MARK) != of_file(path, size).encode():
        raise ValueError(f"{path}: is damaged (its content does not have the SHA-256 at its end); {advice}")


def of_file(path: Path, size: int | None = None) -> str:
    """The digest of a file, or of its first bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        left = path.stat().st_size if size is None else size
        while left > 0 and (block := file.read(min(left, 1 << 20))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()
