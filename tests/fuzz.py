"""A fuzzer for every parser of the package: ``make fuzz MINUTES=10``.

It takes the parsers in turn. A child process tries a batch of mutants of one kind, in memory (``/dev/shm``), with
500 MB to spare; only a child that dies or hangs costs a new one. A mutant that is refused at a new place in the code,
or in new words, becomes a parent of further ones: coverage of the refusals, which costs nothing. What was tried and
passed is added to ``tests/data/deep.json``. A fault stays as a folder with the mutant, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import faulthandler
import functools
import gc
import math
import mmap
import os
import pickle
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import types
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import deep
import psutil
import torch
from forged import Files, Parser
from fuzzed import PARSERS

from neurorobust._util import discovery

SPARE = 500 * 2**20
"""Bytes that a parser may take beyond what the process has and ten times the file."""
BATCH, POOL, LONG = 500, 400, 1000
"""Mutants of a batch; parents of a kind; characters of a refusal."""
SECONDS, BUSY, COMPILING, AGAIN, SILENT = 10.0, 2.0, 60.0, 5.0, 600.0
"""Seconds of a mutant; of one that may start long work, such as a training, since by then it has been read; where the
first were over, once more with so many, because loops may have been compiled; seconds after which it is stopped again,
because LLVM can lose the first stop; and seconds of the clock without progress."""
PACKAGE = str(Path(deep.__file__).parents[1] / "neurorobust")
Print = tuple[Any, ...]
"""Where and in which words a mutant was refused."""
LATE = "no answer in time"


class Slow(BaseException):
    """A mutant took too long."""


def fingerprint(error: BaseException) -> Print:
    """Type, words without numbers and names, and the lines of the package that an error and its causes passed."""
    places: list[tuple[str, int]] = []
    seen: BaseException | None = error
    while seen is not None:
        lines = ((frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(seen.__traceback__))
        places += [(name[len(PACKAGE) :], line) for name, line in lines if name.startswith(PACKAGE)]
        seen = seen.__cause__ or seen.__context__
    words = re.sub(r"'[^']*'|\"[^\"]*\"|[0-9]+|/\S+", "", str(error))
    return type(error).__name__, words[:80], tuple(places[-12:])


def trial(parser: Parser) -> tuple[str, Print]:
    """What is wrong with the answer of a parser, empty for a file that is taken or refused in our words; and where it
    was refused."""
    names: tuple[str, ...] = (str(parser.folder), *parser.listed) if parser.names else ("",)
    try:
        found = parser.read()
        names = ("",)
        parser.use(found)
    except (ValueError, OSError, TypeError) as error:
        words = str(error)
        ours = type(error) in (ValueError, TypeError) or isinstance(error, OSError)
        named = any(name in words for name in names)
        advice = re.search(r"MemoryError|allow_pickle|weights_only|bad_alloc|nable to allocate", words)
        right = ours and named and "\n" not in words and len(words) < LONG and advice is None
        return "" if right else repr(error)[:LONG], fingerprint(error)
    except Exception as error:
        return repr(error)[:LONG], fingerprint(error)
    except Slow as error:
        return "" if parser.busy else LATE, fingerprint(error)
    return "", ()


@contextmanager
def limits(parser: Parser) -> Iterator[None]:
    """Little memory and little time for one process."""
    size = max(len(data) for data in parser.files().values())
    kept = resource.getrlimit(resource.RLIMIT_AS)
    most = psutil.Process().memory_info().vms + SPARE + 10 * size
    resource.setrlimit(resource.RLIMIT_AS, (most, kept[1]))
    signal.signal(signal.SIGPROF, _slow)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, kept)


def _slow(number: int, frame: types.FrameType | None) -> None:
    raise Slow


def timed(parser: Parser, seconds: float) -> tuple[str, Print]:
    """As :func:`trial`, which is stopped after some seconds of computing."""
    signal.setitimer(signal.ITIMER_PROF, seconds, AGAIN)
    try:
        return trial(parser)
    except Slow:  # between the two
        return "", ()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def batch(parser: Parser, pool: Sequence[Files], cases: range, done: mmap.mmap) -> dict[str, Any]:
    """Try mutants; faults as (case, words, files), and new refusals with their files."""
    faults: list[tuple[int, str, Files, Print]] = []
    new: dict[Print, Files] = {}
    parser.written.clear()  # another process has written since
    with limits(parser):
        for case in cases:
            done.seek(0)
            done.write(case.to_bytes(8, "little"))
            draw = random.Random(case)
            parents = pool if draw.randrange(8) else pool[: len(parser.seeds) or 1]  # valid files stay among them
            files = parser.mutant(draw.choice(parents), draw)
            parser.put(files)
            wrong, where = timed(parser, BUSY if parser.busy else SECONDS)
            if wrong.startswith(LATE) and not timed(parser, COMPILING)[0]:
                wrong, where = timed(parser, SECONDS)
            if wrong:
                faults.append((case, wrong, files, where))
            if where and where not in new:
                new[where] = files
    return {"faults": faults, "new": new, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}


def keep(files: Files, place: Path, words: str) -> None:
    """Put the files of a fault, and the words about it, into a folder."""
    place.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (place / name).write_bytes(data)
    (place / "fault.txt").write_text(words, "utf-8", "replace")


class Kind:
    """One parser under test: its parents, what was refused, and what was tried."""

    def __init__(self, name: str, folder: Path, crashes: Path):
        self.name, self.folder, self.crashes = name, folder, crashes
        self.last = folder.with_name(f"{folder.name}.said")
        self.parser = PARSERS[name](folder)
        self.pool: list[Files] = list(self.parser.seeds) or [self.parser.files()]
        self.seen: set[Print] = set()
        self.known: set[str] = set()
        self.passed = self.faults = self.memory = 0
        self.first = deep.counts().get(f"fuzz {name}", 0)
        if not self.parser.busy:
            with suppress(Exception):  # a carrier
                self.parser.use(self.parser.read())  # compiles and imports, once for all batches
        self.before = psutil.Process().memory_info().rss

    @property
    def whole(self) -> int:
        """The mutants of all runs that passed."""
        return deep.counts().get(f"fuzz {self.name}", 0)

    def turn(self, seconds: float) -> None:
        """Batches for some seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.one_batch()

    def one_batch(self) -> None:
        start = self.first + self.passed
        done = mmap.mmap(-1, 8)
        gc.collect()
        gc.freeze()  # the child shares what is there
        heard, tell = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(heard)
            _child(self, range(start, start + BATCH), done, tell)
        os.close(tell)
        found = _answer(child, heard, done)
        if found is None:
            case = int.from_bytes(done[:8], "little")
            said = self.last.read_text("utf-8", "replace").partition("Extension modules:")[0][-2000:]
            self._fault(case, f"the process died or hung: {said}", self.parser.files(), ("died",))
            self.first += case - start + 1
            return
        bad = {case for case, *_ in found["faults"]}
        for case, wrong, files, where in found["faults"]:
            self._fault(case, wrong, files, where)
        first = self.pool[0]
        for where, files in found["new"].items():
            if where not in self.seen and len(self.pool) < POOL:
                same = {name: data for name, data in first.items() if files.get(name) == data}
                self.pool.append(files | same)  # one copy of what did not change
            self.seen.add(where)
        self.memory = max(self.memory, found["memory"] * 1024 - self.before)
        self.passed += BATCH - len(bad)
        self.first += len(bad)
        deep.add(f"fuzz {self.name}", BATCH - len(bad))

    def _fault(self, case: int, wrong: str, files: Files, where: Print) -> None:
        self.faults += 1
        key = f"{wrong[:20]} {where[-1:]}"
        if key in self.known:
            return
        self.known.add(key)
        keep(
            files,
            self.crashes / f"{self.name.replace(' ', '_')}_{case}",
            f"{self.name} case {case}\n{wrong}\n{where}\n",
        )
        print(f"FAULT {self.name} case {case}: {wrong[:300]}\n      {where[-1:]}", flush=True)


def _child(kind: Kind, cases: range, done: mmap.mmap, tell: int) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with kind.last.open("w") as words, os.fdopen(tell, "wb") as answer:
        os.dup2(words.fileno(), 1)
        os.dup2(words.fileno(), 2)
        faulthandler.enable()
        try:
            pickle.dump(batch(kind.parser, kind.pool, cases, done), answer)
        except BaseException:
            traceback.print_exc(file=words)
        finally:
            words.flush()
            answer.flush()
            os._exit(0)


def _answer(child: int, heard: int, done: mmap.mmap) -> Any:
    """What a child found; None if it died, or made no progress for ten minutes."""
    os.set_blocking(heard, False)
    parts, last, since = [], b"", time.monotonic()
    while True:
        try:
            part = os.read(heard, 2**20)
            if not part:
                break
            parts.append(part)
            continue
        except BlockingIOError:
            time.sleep(0.01)
        if done[:8] != last:
            last, since = done[:8], time.monotonic()
        elif time.monotonic() - since > SILENT:
            os.kill(child, signal.SIGKILL)
            break
    os.close(heard)
    os.waitpid(child, 0)
    try:
        return pickle.loads(b"".join(parts))
    except Exception:  # nothing, or cut off
        return None


def main() -> int:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--minutes", type=float, default=10.0)
    given.add_argument("--crashes", type=Path, default=Path("runs/fuzz"))
    given.add_argument("--turn", type=float, default=10.0, help="seconds of one parser at a time")
    given.add_argument("--until", type=int, help="leave parsers out that had so many mutants in all")
    given.add_argument("kinds", nargs="*", metavar="KIND", help=f"of: {', '.join(PARSERS)}")
    words = given.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    discovery.entry_points = functools.cache(discovery.entry_points)  # type: ignore[assignment, attr-defined]
    end = time.monotonic() + 60 * words.minutes
    memory = Path("/dev/shm")
    root = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None, prefix="neurorobust_fuzz_"))
    try:
        chosen = words.kinds or list(PARSERS)
        kinds = [Kind(name, root / name.replace(" ", "_"), words.crashes) for name in chosen]
        until = math.inf if words.until is None else words.until
        while time.monotonic() < end and (left := [kind for kind in kinds if kind.whole < until]):
            for kind in left:
                if time.monotonic() < end:
                    kind.turn(min(words.turn, end - time.monotonic()))
            table(kinds)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return int(any(kind.faults for kind in kinds))


def table(kinds: Sequence[Kind]) -> None:
    """What was tried so far."""
    print(f"{'kind':16} {'tried':>9} {'in all':>9} {'parents':>8} {'refusals':>8} {'MB':>6} {'faults':>7}")
    for kind in kinds:
        megabytes = kind.memory / 1e6
        print(
            f"{kind.name:16} {kind.passed:9} {kind.whole:9} {len(kind.pool):8} {len(kind.seen):8} {megabytes:6.0f} "
            f"{kind.faults:7}"
        )
    print(f"in all {sum(n for name, n in deep.counts().items() if name.startswith('fuzz '))}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
