"""Parsers under test, and forged files: values are changed and digests made anew."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import mutations

from neurorobust._util import digests
from neurorobust.deploy import writing

Files = dict[str, bytes]


@dataclass(frozen=True)
class Parser:
    """A kind of file. The bytes of ``name`` in ``folder`` are mutated; ``forge`` changes a value of some files and
    makes their digests anew. ``read`` reads the file, and ``use`` does something with what was read.

    ``carrier``: the file holds arguments of a call, so its bytes are not damaged. ``names``: a refusal names the file.
    ``busy``: a valid file may start long work."""

    folder: Path
    name: str
    read: Callable[[], Any]
    forge: Callable[[Files, random.Random], Files] | None = None
    use: Callable[[Any], Any] = lambda found: None
    seeds: tuple[Files, ...] = ()
    names: bool = True
    busy: bool = False
    carrier: bool = False

    @property
    def path(self) -> Path:
        return self.folder / self.name

    @cached_property
    def listed(self) -> tuple[str, ...]:
        """The names of the files."""
        return tuple(sorted(path.name for path in self.folder.iterdir()))

    @cached_property
    def written(self) -> Files:
        """What :meth:`put` wrote last."""
        return {}

    def files(self) -> Files:
        """The files as they are now."""
        return {path.name: path.read_bytes() for path in sorted(self.folder.iterdir()) if path.is_file()}

    def put(self, files: Mapping[str, bytes]) -> None:
        """Write files, in place."""
        for name, data in files.items():
            if self.written.get(name) is not data:
                (self.folder / name).write_bytes(data)
                self.written[name] = data

    def mutant(self, files: Files, draw: random.Random) -> Files:
        """A mutant: damage of bytes, or, every other time, forged values."""
        if self.forge is not None and (self.carrier or draw.randrange(2)):
            with suppress(Exception):  # a damaged parent has no values
                return files | self.forge(files, draw)
        return files if self.carrier else files | {self.name: mutations.of_bytes(files[self.name], draw)}


# ---- forging: the value of a JSON file is changed and its digest made anew


def dumped(value: Any) -> bytes:
    with mutations.deep_recursion():
        return json.dumps(value).encode("utf-8", "surrogatepass")


def sealed(name: str, seal: Callable[[Any], Any]) -> Callable[[Files, random.Random], Files]:
    def forge(files: Files, draw: random.Random) -> Files:
        whole = {key: value for key, value in json.loads(files[name]).items() if key != digests.KEY}
        value = mutations.of_json(whole, draw)
        with mutations.deep_recursion(), suppress(ValueError):  # NaN has no canonical text
            value = seal(value) if isinstance(value, dict) else value
        return {name: dumped(value)}

    return forge


def canonical(entry: dict[str, Any]) -> dict[str, Any]:
    return entry | {digests.KEY: digests.of_bytes(writing.canonical(entry).encode())}


def plain(entry: dict[str, Any]) -> dict[str, Any]:
    return entry | {digests.KEY: digests.of_json(entry)}


def values(name: str) -> Callable[[Files, random.Random], Files]:
    return lambda files, draw: {name: dumped(mutations.of_json(json.loads(files[name]), draw))}


def words(name: str) -> Callable[[Files, random.Random], Files]:
    return lambda files, draw: {name: mutations.of_text(files[name].decode("utf-8", "replace"), draw).encode()}
