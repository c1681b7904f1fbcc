"""A machine that fails at the n-th call: every way in which this package writes asks it first.

Counted are the functions of ``os`` and ``fcntl`` that touch files, every opening, every write and every close of a file
that Python opens, and the two libraries that write by themselves (torch.save, safetensors), which fail before or in the
middle of a file as they do on a full disk.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import safetensors.torch
import torch
from safetensors import SafetensorError

OPERATIONS = ("open", "fsync", "replace", "rename", "unlink", "close", "chmod", "mkdir", "fstat", "write")
FAULTS: dict[str, type[Exception] | int] = {
    "ENOSPC": errno.ENOSPC,
    "EIO": errno.EIO,
    "EINTR": errno.EINTR,
    "MemoryError": MemoryError,
}


class Machine:
    """Fails at one call, or at that one and all later ones.

    Attributes:
        folder: calls with a path elsewhere are not counted. calls: how many there were.
    """

    def __init__(self, folder: Path, at: int, fault: str, for_good: bool):
        self.folder, self.at, self.fault, self.for_good, self.calls = folder, at, FAULTS[fault], for_good, 0

    def asked(self, path: Any = None) -> bool:
        """Count a call; whether it fails."""
        if isinstance(path, (str, os.PathLike)) and not str(path).startswith(str(self.folder)):
            return False
        self.calls += 1
        return self.calls - 1 == self.at or (self.for_good and self.calls - 1 > self.at)

    def error(self, path: Any = None, kind: type[Exception] = OSError) -> Exception:
        """The error of this fault, of a call with a path or without; or that of a library which says it in words."""
        if not isinstance(self.fault, int):
            return self.fault()
        if kind is not OSError:
            return kind(os.strerror(self.fault))
        names = (str(path),) if isinstance(path, (str, os.PathLike)) else ()
        return OSError(self.fault, os.strerror(self.fault), *names)

    def counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def asks(*args: Any, **kwargs: Any) -> Any:
            failed = self.asked(*args[:1])
            if failed and call is REAL_CLOSE:
                call(*args, **kwargs)  # Linux closes a file in any case
            if failed:
                raise self.error(*args[:1])
            return call(*args, **kwargs)

        return asks

    def open(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Callable[..., int] | None = None,
    ) -> Any:
        """``io.open``, of files that ask."""
        if self.asked(file):
            raise self.error(file)
        if not set(mode) & set("wax+") or buffering == 0:
            return REAL_OPEN(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = _File(self, file, mode.replace("b", "").replace("t", ""), closefd=closefd, opener=opener)
        buffered = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    def library(self, save: Callable[..., Any], kind: type[Exception]) -> Callable[..., Any]:
        """A function that writes an object to a path by itself."""

        def asks(value: Any, path: Any, *args: Any, **kwargs: Any) -> Any:
            if self.asked():
                raise self.error(kind=kind)
            found = save(value, path, *args, **kwargs)
            if not hasattr(path, "write") and self.asked():
                os.truncate(path, os.stat(path).st_size // 2)
                raise self.error(kind=kind)
            return found

        return asks


REAL_OPEN, REAL_CLOSE = io.open, os.close


class _File(io.FileIO):
    def __init__(self, machine: Machine, *args: Any, **kwargs: Any):
        self.machine = machine
        super().__init__(*args, **kwargs)

    def write(self, data: Any, /) -> int:
        if self.machine.asked():
            if self.machine.fault != errno.EINTR:  # after which nothing is written, and Python tries again
                super().write(bytes(data)[: len(data) // 2])
            raise self.machine.error()
        return super().write(data)

    def close(self) -> None:
        failed = not self.closed and self.machine.asked()
        super().close()
        if failed:
            raise self.machine.error()


@contextmanager
def failing(folder: Path, at: int, fault: str, for_good: bool = False) -> Iterator[Machine]:
    """A machine that fails at call ``at``, counted from 0, on files below a folder and on open ones."""
    machine = Machine(folder, at, fault, for_good)
    save = machine.library(safetensors.torch.save_file, SafetensorError)
    with ExitStack() as held:
        for name in OPERATIONS:
            held.enter_context(mock.patch.object(os, name, machine.counted(getattr(os, name))))
        held.enter_context(mock.patch.object(fcntl, "flock", machine.counted(fcntl.flock)))
        held.enter_context(mock.patch.object(io, "open", machine.open))
        held.enter_context(mock.patch("builtins.open", machine.open))
        held.enter_context(mock.patch.object(torch, "save", machine.library(torch.save, RuntimeError)))
        held.enter_context(mock.patch.object(safetensors.torch, "save_file", save))
        yield machine


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def put(folder: Path, files: dict[str, bytes]) -> None:
    """Make a folder hold exactly these files."""
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
