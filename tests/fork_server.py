"""A small process that forks for every file: ``limited.tried`` at a tenth of the price, with the same limits.

It runs as a program, ``fork_server.py READER``; :class:`Server` starts it. A request is memory, seconds and length as
three 8-byte numbers, then the file; an answer the exit code and the length of what was said, then that.
"""

from __future__ import annotations

import importlib.util
import io
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, BinaryIO

REQUEST, ANSWER = struct.Struct("<qdq"), struct.Struct("<qq")


def loaded(path: str) -> Any:
    """The module of a file that imports nothing of the package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Server:
    """The process, for one reader."""

    def __init__(self, reader: str, limited: str):
        command = [sys.executable, "-P", __file__, reader, limited]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def tried(self, data: bytes, memory: int, seconds: float) -> tuple[int, bytes]:
        """Exit code of the fork that read the file, and what it said."""
        into, out = self.process.stdin, self.process.stdout
        assert into is not None and out is not None
        into.write(REQUEST.pack(memory, seconds, len(data)) + data)
        into.flush()
        code, length = ANSWER.unpack(out.read(ANSWER.size))
        return code, out.read(length)


def _fork(limited: Any, trial: Any, data: bytes, limits: Any) -> tuple[int, bytes]:
    heard, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(tell, 2)
        limited.run(trial, io.BytesIO(data), limits)
    os.close(tell)
    with os.fdopen(heard, "rb") as answer:
        said = answer.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def _serve(asked: BinaryIO, answers: BinaryIO) -> None:
    import h5py  # noqa: F401  (once, before the forks)

    reader, limited = loaded(sys.argv[1]), loaded(sys.argv[2])
    while head := asked.read(REQUEST.size):
        memory, seconds, length = REQUEST.unpack(head)
        code, said = _fork(limited, reader.trial, asked.read(length), limited.Limits(memory, seconds))
        answers.write(ANSWER.pack(code, len(said)) + said)
        answers.flush()


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer)
