"""A small process whose forks read files: ``limited.tried`` at a hundredth of the price.

A fork reads files until one of them ends it, and no more than ``FILES``. A crash after others is tried again by a new
fork, so that the answer is about this file alone. Memory is limited as in ``limited.run``.

It runs as a program, ``fork_server.py READER LIMITED``; :class:`Server` starts it. A request is memory, seconds and
length as three 8-byte numbers, then the file; an answer the exit code and the length of what was said, then that.
"""

from __future__ import annotations

import importlib.util
import io
import os
import resource
import signal
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

REQUEST, ANSWER = struct.Struct("<qdq"), struct.Struct("<qq")
FILES = 200
"""Files of one fork at most."""


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
        """Exit code for the file, and what was said."""
        into, out = self.process.stdin, self.process.stdout
        assert into is not None and out is not None
        into.write(REQUEST.pack(memory, seconds, len(data)) + data)
        into.flush()
        code, length = ANSWER.unpack(out.read(ANSWER.size))
        return code, out.read(length)


class Reader:
    """A fork of this process that reads files, one after the other."""

    def __init__(self, limited: Any, trial: Any):
        asked, ask = os.pipe()
        heard, tell = os.pipe()
        self.files = 0
        self.pid = os.fork()
        if self.pid == 0:
            os.close(ask)
            os.close(heard)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the library's own words
            with os.fdopen(asked, "rb") as requests, os.fdopen(tell, "wb") as answers:
                _read(limited, trial, requests, answers)
            os._exit(0)
        os.close(asked)
        os.close(tell)
        self.ask, self.heard = os.fdopen(ask, "wb"), os.fdopen(heard, "rb")

    def tried(self, request: bytes) -> tuple[int, bytes]:
        """Exit code of a file and what was said; the code is that of a signal if the fork died."""
        self.files += 1
        with suppress(BrokenPipeError):
            self.ask.write(request)
            self.ask.flush()
        head = self.heard.read(ANSWER.size)
        if len(head) < ANSWER.size:
            return self.end(), b""
        code, length = ANSWER.unpack(head)
        return code, self.heard.read(length)

    def end(self) -> int:
        """No more files; the exit code."""
        with suppress(BrokenPipeError):
            self.ask.close()
        self.heard.close()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _read(limited: Any, trial: Any, requests: BinaryIO, answers: BinaryIO) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while head := requests.read(REQUEST.size):
        memory, seconds, length = REQUEST.unpack(head)
        data = requests.read(length)
        resource.setrlimit(resource.RLIMIT_DATA, (limited.LIBRARIES + memory, resource.RLIM_INFINITY))
        signal.setitimer(signal.ITIMER_PROF, seconds)  # its signal ends the process
        code, reason = limited.outcome(trial, io.BytesIO(data), memory)
        signal.setitimer(signal.ITIMER_PROF, 0)
        said = reason.encode()
        answers.write(ANSWER.pack(code, len(said)) + said)
        answers.flush()


def _serve(asked: BinaryIO, answers: BinaryIO) -> None:
    import h5py  # noqa: F401  (once, before the forks)

    trial, limited = loaded(sys.argv[1]).trial, loaded(sys.argv[2])
    reader: Reader | None = None
    while head := asked.read(REQUEST.size):
        request = head + asked.read(REQUEST.unpack(head)[2])
        reader = reader or Reader(limited, trial)
        code, said = reader.tried(request)
        if code < 0 and reader.files > 1 and code != -signal.SIGPROF:  # was it this file, or one before?
            reader = Reader(limited, trial)
            code, said = reader.tried(request)
        if code < 0:
            reader = None
        elif reader.files >= FILES:
            reader.end()
            reader = None
        answers.write(ANSWER.pack(code, len(said)) + said)
        answers.flush()


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer)
