"""Work on any executor of ``concurrent.futures``, with the bits of one process.

A piece of work is computed by a pure function of (what all pieces share, the piece), so it does not matter which worker
computes it, nor how often. Results are put together in the order of the pieces::

    for found in spread(executor, function, pieces, shared):  # found = function(shared, piece), tensors by name
        …

What the pieces share (network, data, chip) goes to each worker process once. A task holds only its SHA-256; a worker
that does not have these bytes says so and gets them with the next task. The processes exchange pickles of our own
objects. Nothing is unpickled that came from anywhere else: results come back, and are kept in a folder, as safetensors.
"""

from __future__ import annotations

import functools
import json
import os
import pickle
import platform
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from dataclasses import dataclass, field
from importlib import metadata
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from .. import kernels
from .._util import console, description, digests, files
from .._util.errors import check_count
from .._util.held import full_name
from ..data.hashed import data_sha256
from ..interop.words import Draws
from .parcels import Lacks, Parcel, cache

Found = dict[str, Tensor]
Work = Callable[[Any, Any], Mapping[str, Tensor]]

PER_WORKER, AT_FIRST = 3, 8
"""Tasks that wait at an executor, for each worker that has answered, and before any has."""
RETRIES = 20
"""How often a piece whose worker was lost is given to another one."""
LAST = 60.0
"""Seconds to wait for tasks that run when an executor takes no more."""
DRAWS = 10
"""How often a piece is repeated because something drew random numbers meanwhile."""
LARGE_GRAPH = "Sending large graph"
"""Dask's warning about a task of more than 10 MB. Ours are large once per worker."""


class WorkersLost(OSError):
    """The executor broke before the work was done.

    Attributes:
        finished, pieces: how many pieces of the work are done, and how many there are.

    Example:
        >>> lost = nr.evaluation.WorkersLost("the executor broke", finished=3, pieces=8, kept={})
        >>> lost.finished, lost.pieces
        (3, 8)
    """

    def __init__(self, words: str, finished: int, pieces: int, kept: dict[str, bytes]):
        super().__init__(words)
        self.finished, self.pieces, self._kept = finished, pieces, kept

    def resume(self, executor: Executor) -> Resumable:
        """Another executor together with what is done: ``executor=lost.resume(pool)`` in the same call continues it."""
        return Resumable(executor, kept=self._kept)


@dataclass(frozen=True, eq=False)
class Resumable:
    """An executor, and a folder in which finished pieces of work are kept. The same call continues where it stopped.

    A piece is found again by a digest of everything that decides its result: network, data, chip, seed, the piece
    itself, the code of this package, and the versions of the libraries. So the folder may be used by many calls, one
    after the other or at once, and a changed network is never confused with the old one. Damaged files are made again.
    Samples that are read again in every pass are read once more, for their digest. Remove the folder when you no longer
    need it.

    Attributes:
        executor: any of ``concurrent.futures``.
        folder: is made if it is missing. kept: finished pieces in memory; :meth:`WorkersLost.resume` fills it.

    Example:
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> from tempfile import TemporaryDirectory
        >>> data = nr.data.Data(torch.rand(20, 6), torch.arange(20) % 2)
        >>> with ThreadPoolExecutor(2) as pool, TemporaryDirectory() as folder:
        ...     call = nr.wrap(nn.Linear(6, 2)), data, nr.mismatch(0.3)
        ...     executor = nr.evaluation.Resumable(pool, folder)
        ...     first = nr.evaluate(*call, n_dies=4, executor=executor)
        ...     bool((first.score == nr.evaluate(*call, n_dies=4, executor=executor).score).all())  # reads four files
        True

    Raises:
        TypeError: no executor of ``concurrent.futures``. OSError: the folder cannot be made.
    """

    executor: Executor
    folder: str | Path | None = None
    kept: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.executor is None or isinstance(self.executor, Resumable):
            raise TypeError("executor: a Resumable needs an executor of concurrent.futures: nr.evaluation.workers(2).")
        check_executor(self.executor)
        if self.folder is not None:
            object.__setattr__(self, "folder", files.make_folder(self.folder))

    def get(self, key: str) -> Found | None:
        """What was found for a piece, or None."""
        data = self.kept.get(key)
        path = self._path(key)
        if data is None and path is not None and path.exists():
            data = path.read_bytes()
        return None if data is None else _opened(data)

    def put(self, key: str, data: bytes) -> None:
        """Keep what was found for a piece, if there is a folder."""
        path = self._path(key)
        if path is not None:
            with files.replacing(path) as temporary:
                temporary.write_bytes(_closed(data))

    def _path(self, key: str) -> Path | None:
        return None if self.folder is None else Path(self.folder) / f"{key}.piece"


def _closed(data: bytes) -> bytes:
    return data + digests.MARK + digests.of_bytes(data).encode()


def _opened(data: bytes) -> Found | None:
    """The tensors of a kept piece; None if it is damaged."""
    body = data[: -digests.LENGTH]
    return safetensors.torch.load(body) if _closed(body) == data else None


def workers(n: int, prepare: Callable[[], object] | None = None) -> ProcessPoolExecutor:
    """n worker processes on this machine, which share its cores: ``with nr.evaluation.workers(2) as executor: …``.

    They print nothing. Each imports this package, which takes seconds. A script that uses them must begin its work
    under ``if __name__ == "__main__":``, because each worker imports the script.

    Args:
        n: number of processes; their torch uses 1/n of the threads that torch uses here, at least one.
        prepare: a function that each process calls first, such as one that reads a chip model from a file.

    Raises:
        ValueError: fewer than one process.

    Example:
        >>> with nr.evaluation.workers(2) as executor:  # the processes begin with the first piece of work
        ...     type(executor).__name__
        'ProcessPoolExecutor'
    """
    threads = max(1, torch.get_num_threads() // check_count("workers", n))
    return ProcessPoolExecutor(n, mp_context=get_context("spawn"), initializer=_begin, initargs=(threads, prepare))


def _begin(threads: int, prepare: Callable[[], object] | None) -> None:
    torch.set_num_threads(threads)
    console.err.quiet = True
    if prepare is not None:
        prepare()


def spread(
    executor: Executor | Resumable | None,
    function: Work,
    pieces: Iterable[Any],
    shared: Any,
    arrived: Callable[[Any], object] = lambda piece: None,
) -> Iterator[Found]:
    """What a function finds for each piece, in the order of the pieces.

    Args:
        executor: any of ``concurrent.futures``, with workers in threads, processes or on other machines; None: here.
        function: (shared, piece) → tensors by name; at the top of a module, without side effects.
        pieces: numbers, texts, tensors, and tuples of them.
        shared: the same for all pieces; it is pickled once.
        arrived: called with each piece when its result arrives, for a progress bar.

    Raises:
        TypeError: no executor, or something that cannot be pickled. WorkersLost: the executor broke. Any error that the
        function raises.
    """
    if executor is None:
        for piece in pieces:
            found = dict(function(shared, piece))
            arrived(piece)
            yield found
        return
    with Spreading(executor, function, shared) as spreading:
        yield from spreading.over(pieces, arrived)


class Spreading:
    """:func:`spread` for several rounds of pieces, when those of a round depend on the results before."""

    def __init__(self, executor: Executor | Resumable, function: Work, shared: Any):
        self._given = executor if isinstance(executor, Resumable) else Resumable(executor)
        self._function, self._parcel = function, Parcel.of(shared)
        settings = _settings()
        named = {"function": full_name(function), "settings": repr(settings)}
        named |= {f"shared{path}": text for path, text in description.describe(shared).items()}
        unknown = description.unknown_part(named)
        if unknown and self._given.folder is not None:
            raise ValueError(f"executor: {unknown}, so kept pieces could be those of another; {description.REMEDY}.")
        if self._given.folder is not None:  # files that a data set reads may change between two calls
            named |= {f"stream {k}": data_sha256(stream) for k, stream in enumerate(self._parcel.streams)}
        self._key = "" if unknown else digests.of_bytes(json.dumps(named, sort_keys=True).encode())
        self._order = _Order(function, self._parcel.digests, settings)
        self._numbers = count()
        self._kept: dict[str, bytes] = dict(self._given.kept)
        self._seen: set[tuple[str, int, int]] = set()

    def __enter__(self) -> Spreading:
        self._held = cache.holding(self._parcel)  # for workers that are threads of this process
        self._held.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._held.__exit__(None, None, None)

    def over(self, pieces: Iterable[Any], arrived: Callable[[Any], object] = lambda piece: None) -> Iterator[Found]:
        """What the function finds for each of these pieces, in their order."""
        work = list(pieces)
        keys = [self._key_of(piece) for piece in work]
        found: dict[int, Found] = {}
        for number, key in enumerate(keys):
            if key and (before := self._given.get(key)) is not None:
                found[number] = before
                arrived(work[number])
        running = _Running(self._given.executor, self._parcel)
        waiting = deque(number for number in range(len(work)) if number not in found)
        tries, following = dict.fromkeys(waiting, 0), 0
        try:
            while following < len(work):
                while following in found:
                    yield found.pop(following)
                    following += 1
                self._submit(running, waiting, work, keys)
                for number, answer in running.answers():
                    if isinstance(answer, Exception):
                        tries[number] += 1
                        if isinstance(answer, BrokenExecutor) or tries[number] > RETRIES:
                            raise self._lost(answer, len(work), keys)
                    elif answer.data is not None:
                        self._seen.add(answer.worker)
                        found[number] = self._keep(keys[number], answer.data)
                        arrived(work[number])
                        continue
                    elif answer.error is not None:
                        raise answer.error
                    waiting.appendleft(number)
        finally:
            running.cancel()

    def _submit(self, running: _Running, waiting: deque[int], work: Sequence[Any], keys: Sequence[str]) -> None:
        room = max(AT_FIRST, PER_WORKER * len(self._seen))
        while waiting and len(running.futures) < room:
            number = waiting.popleft()
            try:
                running.submit(number, self._order, work[number], next(self._numbers))
            except Exception as error:  # broken, shut down, or its cluster is gone
                for done, answer in running.answers(last=True):
                    if isinstance(answer, _Answer) and answer.data is not None:
                        self._keep(keys[done], answer.data)
                raise self._lost(error, len(work), keys) from error

    def _key_of(self, piece: Any) -> str:
        if not self._key:
            return ""
        return digests.of_bytes(json.dumps([self._key, _words(piece)]).encode())[:40]

    def _keep(self, key: str, data: bytes) -> Found:
        if key and self._given.folder is not None:
            self._given.put(key, data)
        elif key:
            self._kept[key] = _closed(data)
        return safetensors.torch.load(data)

    def _lost(self, error: Exception, pieces: int, keys: Sequence[str]) -> WorkersLost:
        folder = self._given.folder
        done = sum(key in self._kept if folder is None else self._given.get(key) is not None for key in keys)
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        if folder is None:
            advice = "they are kept in this error: repeat the call with executor=error.resume(another executor)"
        else:
            advice = f"they are kept in {folder}: repeat the call with another executor"
        return WorkersLost(
            f"executor: lost its workers ({cause}) when {done} of {pieces} pieces were done; {advice}. It happens when "
            f'memory runs out, when workers are killed, and when a script has no if __name__ == "__main__".',
            done,
            pieces,
            self._kept,
        )


class _Order(NamedTuple):
    """The part of every task that is the same."""

    function: Work
    parcel: tuple[str, ...]
    settings: tuple[str, ...]


class _Answer(NamedTuple):
    """A worker's answer: data as safetensors, or an error of the function, or what it lacks; and when, by the clock of
    its process."""

    worker: tuple[str, int, int]
    at: int
    data: bytes | None = None
    error: Exception | None = None
    lacks: tuple[str, ...] = ()


class _Running:
    """The tasks that an executor has now."""

    def __init__(self, executor: Executor, parcel: Parcel):
        self._executor, self._parcel = executor, parcel
        self.futures: dict[Future[_Answer], tuple[int, bool]] = {}
        self._lacking: dict[tuple[str, int], tuple[str, ...]] = {}  # what processes said that they do not have
        self._had: dict[tuple[str, int], int] = {}  # when processes last had everything

    def submit(self, number: int, order: _Order, piece: Any, unique: int) -> None:
        """Give a piece to the executor; with bytes, if more processes lack some than tasks with bytes are on their way.
        The numbers of tasks are ``unique``, because Dask takes equal calls for one."""
        on_their_way = sum(carries for _, carries in self.futures.values())
        lacking = list(self._lacking.values())[on_their_way : on_their_way + 1]
        attached = {name: self._parcel.blobs[name] for name in (lacking[0] if lacking else ())}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", LARGE_GRAPH)
            future = self._executor.submit(_work, order, piece, attached, unique)
        self.futures[future] = number, bool(attached)

    def answers(self, *, last: bool = False) -> list[tuple[int, _Answer | Exception]]:
        """Answers, and errors of the executor, of tasks that have ended; the answers come first. It waits for one task;
        for the ``last`` time it waits for all, a minute at most."""
        timeout, until = (LAST, ALL_COMPLETED) if last else (None, FIRST_COMPLETED)
        ended = wait(self.futures, timeout, until).done
        found: list[tuple[int, _Answer | Exception]] = []
        for future in ended:
            number, carried = self.futures.pop(future)
            answer = _answer(future)
            found.append((number, answer))
            if isinstance(answer, _Answer):
                self._note(answer, carried)
        return sorted(found, key=lambda each: isinstance(each[1], Exception))

    def _note(self, answer: _Answer, carried: bool) -> None:
        """Who lacks what. Answers come in any order: one that is older than the bytes of its process says nothing."""
        process = answer.worker[:2]
        if not answer.lacks:
            self._had[process] = max(answer.at, self._had.get(process, 0))
            if carried and self._lacking:  # the others will say again what they lack
                self._lacking.pop(process if process in self._lacking else next(iter(self._lacking)))
        elif answer.at > self._had.get(process, 0):
            self._lacking[process] = answer.lacks

    def cancel(self) -> None:
        for future in self.futures:
            future.cancel()


def _answer(future: Future[_Answer]) -> _Answer | Exception:
    try:
        return future.result()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # CancelledError is no Exception everywhere
        return error if isinstance(error, Exception) else RuntimeError(repr(error))


# ---- in a worker


def _work(order: _Order, piece: Any, attached: Mapping[str, bytes], unique: int) -> _Answer:
    """Compute one piece in this process."""
    me = platform.node(), os.getpid(), threading.get_ident()
    try:
        _check_settings(order.settings)
        cache.add(attached, order.parcel)
        try:
            shared = cache.opened(order.parcel)
        except Lacks as lacks:
            return _Answer(me, time.monotonic_ns(), lacks=lacks.args)
        found = _computed(order, shared, piece)
        plain = {name: value.detach().cpu().contiguous() for name, value in found.items()}
        return _Answer(me, time.monotonic_ns(), data=safetensors.torch.save(plain))
    except Exception as error:
        return _Answer(me, time.monotonic_ns(), error=_portable(error, me))


def _computed(order: _Order, shared: Any, piece: Any, again: int = DRAWS) -> Mapping[str, Tensor]:
    """What the function finds. In a worker of Dask other threads draw random numbers too, which looks as if the network
    did; so it gets several tries."""
    try:
        with kernels.using(order.settings[-1]), torch.no_grad():
            return order.function(shared, piece)
    except Draws:
        if not again:
            raise
    return _computed(order, shared, piece, again - 1)


def _portable(error: Exception, me: tuple[str, int, int]) -> Exception:
    """An error that another process can read."""
    try:
        copied = pickle.loads(pickle.dumps(error))
        error = error if type(copied) is type(error) and str(copied) == str(error) else RuntimeError(str(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"in a worker: process {me[1]} on {me[0]}")
    return error


@functools.cache
def _code() -> str:
    """A digest of the code of this package: the version stays the same between two states of a clone."""
    folder = Path(__file__).parents[1]
    found = {str(path.relative_to(folder)): digests.of_file(path) for path in sorted(folder.rglob("*.py"))}
    return digests.of_bytes(json.dumps(found).encode())[:12]


@functools.cache
def _numba() -> str:
    return metadata.version("numba")  # without its import, which takes long


def _settings() -> tuple[str, ...]:
    """What has to be the same in every worker; the loops over time come last."""
    package = sys.modules[__name__.partition(".")[0]]  # it sets its version after it has imported this module
    versions = {
        "neurorobust": f"{vars(package)['__version__']} (code {_code()})",
        "torch": torch.__version__,
        "numpy": np.__version__,
    }
    versions |= {"numba": _numba(), "default dtype": str(torch.get_default_dtype())}
    versions["matmul precision"] = torch.get_float32_matmul_precision()
    return (*(f"{name} {value}" for name, value in versions.items()), kernels.chosen())


def _check_settings(expected: tuple[str, ...]) -> None:
    for there, here in zip(expected[:-1], _settings()[:-1]):
        if there != here:
            raise RuntimeError(
                f"executor: a worker on {platform.node()} has {here}, the process that called has {there}; results "
                f"could differ. Give all workers the same versions and settings."
            )


def _words(piece: Any) -> Any:
    """A piece as JSON can hold it."""
    if isinstance(piece, Tensor):
        return [str(piece.dtype), list(piece.shape), digests.of_bytes(digests.bytes_of(piece))]
    return [_words(each) for each in piece] if isinstance(piece, (tuple, list)) else piece


def check_executor(executor: Any) -> None:
    """TypeError unless it is None, a :class:`Resumable` or an executor: before any work."""
    if executor is not None and not isinstance(executor, (Executor, Resumable)):
        raise TypeError(
            f"executor: got {_named(executor)}; expected an executor of concurrent.futures: "
            f"nr.evaluation.workers(2), or client.get_executor() of a Dask client."
        )


def _named(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
