"""What all pieces of spread work share, as bytes; and the bytes that a process has received."""

from __future__ import annotations

import functools
import importlib.util
import io
import pickle
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from .._util import digests
from .._util.held import installed
from ..data.samples import Data, Stream

CACHED = 2**30
"""Bytes that a worker process keeps of earlier calls, so that ten networks on one data set send it once; 1 GiB."""


@dataclass(frozen=True, eq=False)
class Parcel:
    """An object as bytes.

    Attributes:
        digests: the SHA-256 of each blob; the first blob is the object itself, with the states of the
            files that define its classes; the others are its data sets.
        blobs: by their digests.
        streams: the samples in it that are read again in every pass, whose bytes are in no blob.
    """

    digests: tuple[str, ...]
    blobs: Mapping[str, bytes]
    streams: tuple[Stream, ...] = ()

    @classmethod
    def of(cls, value: object) -> Parcel:
        """Raises TypeError if something in it cannot be pickled."""
        inside: dict[int, tuple[str, Data]] = {}
        blobs: dict[str, bytes] = {}
        streams: dict[int, Stream] = {}
        states: dict[tuple[str, str], str] = {}

        def apart(part: object) -> str | None:
            if isinstance(part, Stream):
                streams[id(part)] = part
            elif isinstance(part, (type, FunctionType)) and (state := _state(part)):
                states[part.__module__, part.__qualname__] = state
            if type(part) is not Data:
                return None
            if id(part) not in inside:
                data = pickled(part)
                name = digests.of_bytes(data)
                inside[id(part)], blobs[name] = (name, part), data
            return inside[id(part)][0]

        body = pickled(value, apart)
        whole = pickle.dumps((states, body), pickle.HIGHEST_PROTOCOL)
        first = digests.of_bytes(whole)
        return cls((first, *blobs), {first: whole, **blobs}, tuple(streams.values()))

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(map(len, self.blobs.values()))


@functools.cache
def _pickler() -> type[pickle.Pickler]:
    """cloudpickle's where it is installed, which also takes classes and functions of a notebook."""
    if importlib.util.find_spec("cloudpickle"):
        import cloudpickle

        return cloudpickle.Pickler
    return pickle.Pickler


def pickled(value: object, apart: Any = lambda part: None) -> bytes:
    """The pickle of an object of ours, for a process of ours.

    Args:
        value: the object. apart: part → the name of its own blob, or None.
    """
    base = _pickler()

    class Pickler(base):  # type: ignore[misc, valid-type]
        def persistent_id(self, part: object) -> str | None:
            found: str | None = apart(part)
            return found

        def reducer_override(self, part: object) -> Any:
            if isinstance(part, Tensor) and _is_small_part(part):
                return part.clone().__reduce_ex__(pickle.HIGHEST_PROTOCOL)
            return super().reducer_override(part) if hasattr(base, "reducer_override") else NotImplemented

    file = io.BytesIO()
    try:
        Pickler(file, pickle.HIGHEST_PROTOCOL).dump(value)
    except Exception as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())
        more = " Or install cloudpickle, which sends functions inside functions too." if base is pickle.Pickler else ""
        raise TypeError(
            f"executor: the work cannot be sent to workers ({words}); define classes and functions at the top of a "
            f"module, and let a data set open its files when it reads them.{more}"
        ) from error
    return file.getvalue()


def _is_small_part(part: Tensor) -> bool:
    """True for a tensor that lies in the memory of a larger one, whose pickle would hold all of it."""
    if type(part) is not Tensor or part.requires_grad or part.layout is not torch.strided:
        return False
    return part.is_contiguous() and part.untyped_storage().nbytes() > part.nbytes


_states: WeakKeyDictionary[Any, str] = WeakKeyDictionary()


def _state(part: type | FunctionType) -> str:
    """The SHA-256 of the file that defines a class or a function of the user, as it was when this process met it first;
    "" without such a file, and for installed packages."""
    if installed(part.__module__):
        return ""
    if part not in _states:
        file = getattr(sys.modules.get(part.__module__), "__file__", None)
        _states[part] = digests.of_file(Path(file)) if file and Path(file).is_file() else ""
    return _states[part]


class Lacks(Exception):
    """This process does not have some blobs; their names."""


class _Unpickler(pickle.Unpickler):
    """Opens the first blob of a parcel.

    Raises:
        RuntimeError: a class or a function is defined by another state of its file than where the parcel was made.
    """

    def __init__(self, blob: bytes):
        self._expected, body = pickle.loads(blob)
        super().__init__(io.BytesIO(body))

    def persistent_load(self, name: str) -> Any:
        return cache.data(name)

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name)
        there = self._expected.get((module, name), "")
        here = _state(found) if there and isinstance(found, (type, FunctionType)) else ""
        if there and here and here != there:
            raise RuntimeError(
                f"executor: a worker has another state of the module {module} than the process that called, so results "
                f"could differ; start new workers, with the same files."
            )
        return found


class Cache:
    """The blobs that this process has received; the least recently used ones leave first. A data set is opened once for
    all threads, and its bytes are dropped then. Of everything else each thread has one of its own, the last that it
    used, because threads cannot run one network."""

    def __init__(self) -> None:
        self._blobs: OrderedDict[str, bytes | Data] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._lock = threading.RLock()
        self._own = threading.local()

    def add(self, blobs: Mapping[str, bytes], used: Sequence[str]) -> None:
        """Keep some blobs; forget old ones, but none of those that are used now."""
        with self._lock:
            for name, data in blobs.items():
                if digests.of_bytes(data) != name:
                    raise RuntimeError("executor: what reached a worker is not what was sent; its network is damaged.")
                if name not in self._blobs:
                    self._blobs[name], self._sizes[name] = data, len(data)
            for name in used:
                if name in self._blobs:
                    self._blobs.move_to_end(name)
            for name in [name for name in self._blobs if name not in used]:
                if self.held() <= CACHED:
                    break
                self._forget(name)

    def opened(self, names: Sequence[str]) -> Any:
        """The object of a parcel, for this thread.

        Raises:
            Lacks: some of its blobs are not here.
        """
        with self._lock:
            if lacking := [name for name in names if name not in self._blobs]:
                raise Lacks(*lacking)
            blob = self._blobs[names[0]]
            assert isinstance(blob, bytes)
            if getattr(self._own, "blob", None) is not blob:  # equal bytes of another call may name other classes
                self._own.blob = self._own.value = None  # the one before goes first
                try:
                    self._own.value = _Unpickler(blob).load()
                except (ImportError, AttributeError) as error:
                    raise ImportError(
                        f"executor: a worker cannot open the work ({error}); define classes and functions in a module "
                        f"that workers import too, or install cloudpickle on both sides."
                    ) from error
                self._own.blob = blob
        return self._own.value

    def data(self, name: str) -> Data:
        """A data set, opened."""
        blob = self._blobs[name]
        if isinstance(blob, bytes):
            self._blobs[name] = blob = pickle.loads(blob)
        return blob

    @contextmanager
    def holding(self, parcel: Parcel) -> Iterator[None]:
        """Keep a parcel of this process while it is spread, and no longer: for workers that are threads of it."""
        with self._lock:
            fresh = [name for name in parcel.digests if name not in self._blobs]
        self.add(parcel.blobs, parcel.digests)
        try:
            yield
        finally:
            with self._lock:
                for name in fresh:
                    self._forget(name)
            self._own.blob = self._own.value = None

    def held(self) -> int:
        """Bytes of all blobs, as they came."""
        return sum(self._sizes.values())

    def _forget(self, name: str) -> None:
        self._blobs.pop(name, None)
        self._sizes.pop(name, None)


cache = Cache()
