"""Fuzzing guided by the lines that a mutant reaches: ``python tests/fuzz_guided.py --seconds 60 nir die``.

It needs atheris, which is no dependency of the tests: without it, nothing is done. libFuzzer keeps what reaches a new
branch of this package and mutates it further: its bytes, or, every other time, its values as ``fuzz.py`` does, with
digests that fit. Parsers, first files, limits and what counts as a fault are those of ``fuzz.py``. Each kind is a
process of its own. The compiled loops are left out, since numba cannot compile functions with probes in them.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import os
import random
import re
import signal
import struct
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterable, Sequence
from contextlib import redirect_stderr, suppress
from pathlib import Path

try:
    import atheris
except ImportError:
    print("atheris is not installed, so nothing was tried: pip install atheris")
    sys.exit(0)

ROOT = Path(__file__).parents[1]
COMPILED = ("neurorobust/kernels/numba_loops/*.py", "neurorobust/circuit/loops.py")
LOOPS = [str(path.relative_to(ROOT))[:-3].replace("/", ".") for each in COMPILED for path in ROOT.glob(each)]

with redirect_stderr(io.StringIO()), atheris.instrument_imports(["neurorobust"], LOOPS):  # it lists every module
    import fuzz
    import torch
    from forged import Files, Parser
    from fuzzed import PARSERS

    from neurorobust._util import discovery

MOST, CUT = 100_000, 1000
"""Bytes of an input; characters of a fault."""


def changed(parser: Parser) -> tuple[str, ...]:
    """The names of the files that mutants change; of some parsers others lie beside them."""
    first = dict(parser.seeds[0]) if parser.seeds else parser.files()
    names = {parser.name}
    for case in range(20):
        if parser.forge is not None:
            with suppress(Exception):
                names |= parser.forge(first, random.Random(case)).keys()
    return tuple(sorted(names))


def packed(files: Files, names: Iterable[str]) -> bytes:
    """Files as one input of libFuzzer: each with its length first."""
    return b"".join(struct.pack("<I", len(files[name])) + files[name] for name in names)


def unpacked(data: bytes, names: Sequence[str]) -> Files:
    """The files of an input; what is missing at its end is empty."""
    files = {}
    for name in names:
        length = int.from_bytes(data[:4], "little")
        files[name], data = data[4 : 4 + length], data[4 + length :]
    return files


def _json(data: bytes) -> bool:
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True


class Guided:
    """One parser under libFuzzer.

    Attributes: tried: the mutants so far. faults: those of them that broke the parser, one of each place and kind."""

    def __init__(self, kind: str, folder: Path, crashes: Path):
        self.kind, self.crashes = kind, crashes
        self.parser = PARSERS[kind](folder / "files")
        self.names = changed(self.parser)
        self.tried = 0
        self.faults: set[str] = set()
        with suppress(Exception):  # a carrier
            self.parser.use(self.parser.read())  # compiles and imports
        beside = self.parser.files()
        self.first = [packed(beside | files, self.names) for files in self.parser.seeds or (beside,)]
        self.corpus = folder / "corpus"
        self.corpus.mkdir()
        for i, data in enumerate(self.first):
            (self.corpus / f"{i}").write_bytes(data)

    def mutate(self, data: bytes, most: int, seed: int) -> bytes:
        """A mutant of an input: libFuzzer's of one file, or one of :mod:`fuzz`."""
        draw = random.Random(seed)
        files = unpacked(data if draw.randrange(4) else draw.choice(self.first), self.names)
        if self.parser.carrier or draw.randrange(2):
            made = self.parser.mutant(files, draw)
        else:
            made = files | {self.parser.name: bytes(atheris.Mutate(files[self.parser.name], most))}
        whole = packed(made, self.names)
        return whole if len(whole) <= most else data

    def one(self, data: bytes) -> None:
        """Give the parser an input; keep it if its answer is a fault."""
        files = unpacked(data, self.names)
        if self.parser.carrier and not _json(files[self.parser.name]):
            return  # arguments that nobody can give: libFuzzer's empty input, and its crossings
        self.tried += 1
        self.parser.put(files)
        wrong, where = fuzz.timed(self.parser, fuzz.BUSY if self.parser.busy else fuzz.SECONDS)
        if wrong.startswith(fuzz.LATE):
            wrong, where = fuzz.timed(self.parser, fuzz.COMPILING)
        key = f"{wrong[:20]} {where[-1:]}"
        if wrong and key not in self.faults:
            self.faults.add(key)
            place = self.crashes / f"guided_{self.kind.replace(' ', '_')}_{self.tried}"
            fuzz.keep(files, place, f"{wrong}\n{where}\n")
            sys.stderr.write(f"FAULT {self.kind}: {wrong[:CUT]} {where[-1:]}\n")


def alone(kind: str, folder: Path, seconds: int, crashes: Path, seed: int) -> None:
    """Fuzz one kind in this process, which libFuzzer ends."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    discovery.entry_points = functools.cache(discovery.entry_points)  # type: ignore[assignment, attr-defined]
    guided = Guided(kind, folder, crashes)
    given = {"max_total_time": seconds, "max_len": MOST, "seed": seed, "rss_limit_mb": 0, "timeout": 600}
    words = [f"-{name}={value}" for name, value in given.items()]
    words += [f"-artifact_prefix={crashes}/", str(guided.corpus)]
    atheris.Setup([sys.argv[0], *words], guided.one, custom_mutator=guided.mutate)
    signal.signal(signal.SIGPROF, fuzz._slow)
    with fuzz.limits(guided.parser):
        atheris.Fuzz()


def turn(kind: str, seconds: int, crashes: Path, seed: int) -> bool:
    """Fuzz one kind in a fork of this process and print what it reached; whether it found no fault."""
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder,
        tempfile.TemporaryFile() as words,
    ):
        child = os.fork()
        if child == 0:
            os.dup2(words.fileno(), 1)
            os.dup2(words.fileno(), 2)
            try:
                alone(kind, Path(folder), seconds, crashes, seed)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        words.seek(0)
        said = words.read().decode("utf-8", "replace")
    started, ended = re.search(r"INITED cov: (\d+)", said), re.search(r"#(\d+)\s+DONE\s+cov: (\d+)", said)
    faults = [line for line in said.splitlines() if line.startswith("FAULT ")]
    if started is None or ended is None or code:
        faults.append(f"FAULT {kind}: the process ended with {code}: {said[-2 * CUT :]}")
    tried, last = ended.groups() if ended else ("?", "?")
    print(f"{kind:16} {tried:>9} {started[1] if started else '?':>9} {last:>9} {len(faults):>7}", flush=True)
    print("\n".join(faults), end="\n" if faults else "")
    return not faults


def main() -> int:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--seconds", type=int, default=60, help="of each kind")
    given.add_argument("--crashes", type=Path, default=Path("runs/fuzz"))
    given.add_argument("--seed", type=int, default=1)
    given.add_argument("kinds", nargs="*", metavar="KIND", help=f"of: {', '.join(PARSERS)}")
    words = given.parse_args()
    words.crashes.mkdir(parents=True, exist_ok=True)
    kinds = words.kinds or list(PARSERS)
    print(f"{'kind':16} {'tried':>9} {'at first':>9} {'branches':>9} {'faults':>7}", flush=True)
    return int(not all([turn(kind, words.seconds, words.crashes, words.seed) for kind in kinds]))


if __name__ == "__main__":
    sys.exit(main())
