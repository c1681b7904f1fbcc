"""Fuzzing guided by the lines that a mutant reaches: ``python tests/fuzz_guided.py --minutes 5 nir die``.

It needs atheris, which is no dependency of the tests: without it, nothing is done. libFuzzer keeps what reaches a new
branch of this package and mutates it further: its bytes, or, every other time, its values as ``fuzz.py`` does, with
digests that fit. Parsers, first files, limits and what counts as a fault are those of ``fuzz.py``. Each kind is a
process of its own. The compiled loops are left out, since numba cannot compile functions with probes in them.
"""

from __future__ import annotations

import argparse
import functools
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit("atheris is not installed, so nothing was tried: pip install atheris")

ROOT = Path(__file__).parents[1]
COMPILED = ("neurorobust/kernels/numba_loops/*.py", "neurorobust/circuit/loops.py")
LOOPS = [str(path.relative_to(ROOT))[:-3].replace("/", ".") for each in COMPILED for path in ROOT.glob(each)]

with warnings.catch_warnings(action="ignore"), atheris.instrument_imports(["neurorobust"], LOOPS):
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
    for case in range(20 if parser.forge else 0):
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


class Guided:
    """One parser under libFuzzer.

    Attributes: tried: the mutants so far. faults: those of them that broke the parser, one of each place and kind."""

    def __init__(self, kind: str, folder: Path, crashes: Path):
        self.kind, self.crashes = kind, crashes
        self.parser = PARSERS[kind](folder / "files")
        self.names = changed(self.parser)
        self.tried = 0
        self.faults: set[str] = set()
        self.refusals: set[fuzz.Print] = set()
        with suppress(Exception):  # a carrier
            self.parser.use(self.parser.read())  # compiles and imports
        self.corpus = folder / "corpus"
        self.corpus.mkdir()
        first = self.parser.files()
        for i, files in enumerate(self.parser.seeds or (first,)):
            (self.corpus / f"{i}").write_bytes(packed(first | files, self.names))

    def mutate(self, data: bytes, most: int, seed: int) -> bytes:
        """A mutant of an input: libFuzzer's of one file, or one of :mod:`fuzz`."""
        draw, files = random.Random(seed), unpacked(data, self.names)
        if self.parser.carrier or draw.randrange(2):
            made = self.parser.mutant(files, draw)
        else:
            made = files | {self.parser.name: bytes(atheris.Mutate(files[self.parser.name], most))}
        whole = packed(made, self.names)
        return whole if len(whole) <= most else data

    def one(self, data: bytes) -> None:
        """Give the parser an input; keep it if its answer is a fault."""
        self.tried += 1
        files = unpacked(data, self.names)
        self.parser.put(files)
        wrong, where = fuzz.timed(self.parser, fuzz.BUSY if self.parser.busy else fuzz.SECONDS)
        if wrong.startswith(fuzz.LATE):
            wrong, where = fuzz.timed(self.parser, fuzz.COMPILING)
        self.refusals.add(where)
        key = f"{wrong[:20]} {where[-1:]}"
        if wrong and key not in self.faults:
            self.faults.add(key)
            place = self.crashes / f"guided_{self.kind.replace(' ', '_')}_{self.tried}"
            place.mkdir(parents=True, exist_ok=True)
            for name, content in files.items():
                (place / name).write_bytes(content)
            (place / "fault.txt").write_text(f"{wrong}\n{where}\n", "utf-8", "replace")
            sys.stderr.write(f"FAULT {self.kind}: {wrong[:CUT]} {where[-1:]}\n")


def run(kind: str, seconds: int, crashes: Path, seed: int) -> None:
    """Fuzz one kind in this process, which libFuzzer ends."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    discovery.entry_points = functools.cache(discovery.entry_points)  # type: ignore[assignment, attr-defined]
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None, prefix="neurorobust_guided_"))
    guided = Guided(kind, folder, crashes)
    words = [sys.argv[0], f"-max_total_time={seconds}", f"-max_len={MOST}", "-rss_limit_mb=0", "-timeout=0"]
    atheris.Setup([*words, f"-seed={seed}", str(guided.corpus)], guided.one, custom_mutator=guided.mutate)
    signal.signal(signal.SIGPROF, fuzz._slow)
    with fuzz.limits(guided.parser):
        atheris.Fuzz()


def main() -> int:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--minutes", type=float, default=10.0, help="of all kinds together")
    given.add_argument("--crashes", type=Path, default=Path("runs/fuzz"))
    given.add_argument("--seed", type=int, default=1)
    given.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    given.add_argument("kinds", nargs="*", metavar="KIND", help=f"of: {', '.join(PARSERS)}")
    words = given.parse_args()
    kinds = words.kinds or list(PARSERS)
    seconds = max(1, int(60 * words.minutes / len(kinds)))
    if words.alone:
        run(kinds[0], seconds, words.crashes, words.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
