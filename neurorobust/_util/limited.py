"""Files that a library may crash or loop on: read first in a process of its own, with limits of time and memory.

A reader is a file of Python that imports nothing of this package, with a function ``trial(stream)``. It reads all of a
file, and raises ValueError with a reason to refuse it. This file runs it, as a program.
"""

from __future__ import annotations

import io
import math
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

REFUSED = 3
"""The exit code of a process that refused a file."""
LIBRARIES = 2**30
"""Bytes that the libraries take themselves."""
LONGEST = 600
"""Characters of a reason."""


class Limits(NamedTuple):
    """Bytes that may be asked for beyond those of the libraries, and seconds of computing."""

    memory: int
    seconds: float


def tried(reader: str, stream: BinaryIO, limits: Limits) -> None:
    """Read an open file in another process; it is at its start again afterwards.

    Raises:
        ValueError: the process refused the file, crashed, or reached a limit; the reason begins in lower case.
    """
    command = [sys.executable, "-P", __file__, reader, str(limits.memory), str(limits.seconds)]
    timeout = 3 * limits.seconds
    try:
        if isinstance(stream, io.BytesIO):
            done = subprocess.run(command, input=stream.getvalue(), capture_output=True, timeout=timeout, check=False)
        else:
            done = subprocess.run(command, stdin=stream, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired as error:
        raise ValueError("damaged: the HDF5 library does not come to an end with it.") from error
    finally:
        stream.seek(0)
    judge(done.returncode, done.stderr)


def judge(code: int, said: bytes) -> None:
    """Raise ValueError unless a process read its file: with its reason, or with what stopped it."""
    lines = said.decode("utf8", "replace").strip().splitlines()
    if code == REFUSED and lines:
        raise ValueError(lines[-1][:LONGEST])
    if code != 0:
        raise ValueError("damaged: the HDF5 library crashes on it, or does not come to an end.")


def run(trial: Callable[[BinaryIO], Any], stream: BinaryIO, limits: Limits) -> NoReturn:
    """Read a file with limits and end the process; a reason goes to stderr."""
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        resource.setrlimit(resource.RLIMIT_DATA, (LIBRARIES + limits.memory,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(limits.seconds) + 1,) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    code, reason = outcome(trial, stream, limits.memory)
    os.write(2, f"\n{reason}\n".encode())
    os._exit(code)


def outcome(trial: Callable[[BinaryIO], Any], stream: BinaryIO, memory: int) -> tuple[int, str]:
    """The exit code for a file, and why it is refused."""
    try:
        trial(stream)
    except MemoryError:
        return REFUSED, f"asks for more than {memory} bytes of memory; it is damaged."
    except ValueError as error:
        return REFUSED, " ".join(str(error).split())
    except Exception as error:  # a damaged file makes the library raise more than it documents
        said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return REFUSED, f"damaged, or not HDF5 ({said})."
    return 0, ""


def _main() -> None:
    reader, memory, seconds = sys.argv[1:]
    trial = runpy.run_path(str(Path(reader)))["trial"]
    with open(0, "rb") as stdin:
        run(trial, stdin if stdin.seekable() else io.BytesIO(stdin.read()), Limits(int(memory), float(seconds)))


if __name__ == "__main__":
    _main()
