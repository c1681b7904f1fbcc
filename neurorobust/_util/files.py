"""Atomic files: written to a temporary path, then renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def make_folder(path: str | Path) -> Path:
    """Return the folder; make it if it is missing. Raises OSError, in one line, if it is not writable."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError as error:
        raise OSError(f"out: cannot write to folder {str(path)!r} ({error.strerror}); choose another one.") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``. It replaces ``path`` if the block succeeds and is deleted if it fails."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
