"""Data sets and loaders as people have them, read batch by batch, pass after pass, with no word about networks.

A source is read in one of two ways. From a data set with an index and a length, any sample can be taken in any order.
An iterable has one order alone, its own. A pass of either begins with a seed, so what a data set draws from the global
random generators of torch, NumPy and Python (a random crop) is the same in every pass with that seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SequentialSampler, default_collate

from .._util.errors import plain
from ..interop.guard import RandomState

AT_ONCE = 100
"""Samples in a batch of a data set that comes without a loader."""

PADDING = "give a DataLoader with a collate_fn that pads them to one length, and the lengths too: keys=(0, 1, 2)"
OPTIONS = ("num_workers", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context", "prefetch_factor")

Key = str | int


class Batch(NamedTuple):
    """Samples, first axis first, their labels or targets, and their lengths in steps, if these are given."""

    x: Tensor
    y: Tensor
    lengths: Tensor | None = None


class BatchSource(Protocol):
    """Batches, again and again.

    Attributes:
        n: the number of samples; None if it shows only at the end of a pass.
        indexed: whether any sample can be taken in any order.
    """

    @property
    def n(self) -> int | None: ...

    @property
    def indexed(self) -> bool: ...

    def read(self, order: Iterable[Sequence[int]] | None = None, seed: int = 0) -> Iterator[Batch]:
        """One pass: the samples with these numbers, batch by batch; without numbers all of them, in their order."""
        ...

    def chunks(self, numbers: Sequence[int]) -> Iterator[Sequence[int]]:
        """Numbers of samples, divided into batches of the source's own size."""
        ...


@dataclass(frozen=True, eq=False)
class Layout:
    """Where samples, labels and lengths are in a batch.

    Attributes:
        name: of the data set, for messages.
        keys: of samples, labels and, if there is a third, lengths; None for pairs (samples, labels).
        time_first: whether samples are (T, n, …). dtype: of the samples; None as they come.
    """

    name: str
    keys: tuple[Key, ...] | None = None
    time_first: bool = False
    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        keys = self.keys
        if keys is not None and not (
            isinstance(keys, (tuple, list)) and len(keys) in (2, 3) and all(isinstance(key, Key) for key in keys)
        ):
            raise TypeError(
                f"keys: got {keys!r}; expected those of samples and labels, ('image', 'label') or (0, 1), and of the "
                f"lengths as a third one, if there are lengths."
            )

    @property
    def picked(self) -> Layout:
        """The layout of batches that hold only what the keys ask for, in their order."""
        return replace(self, keys=(0, 1, 2)[: len(self.keys or (0, 1))])

    def parts(self, batch: Any) -> Batch:
        """The tensors of a batch, checked, samples first."""
        values = [self._tensor(what, value) for what, value in zip(("samples", "labels", "lengths"), self.pick(batch))]
        if values[0].is_meta or values[1].is_meta:
            raise ValueError(f"{self.name}: gives meta tensors; expected tensors with values.")
        x, y = values[0], values[1].to(values[0].device)
        if self.time_first and x.ndim > 1:
            check_time_first(self.name, x, y)
            x = x.transpose(0, 1)
        check_same_length(self.name, x, y)
        if self.dtype is not None:
            x = x.to(self.dtype)
        return Batch(x, y, values[2] if len(values) > 2 else None)

    def pick(self, batch: Any) -> list[Any]:
        if isinstance(batch, Mapping):
            if self.keys is None:
                raise ValueError(
                    f"{self.name}: gives dictionaries with the keys {', '.join(map(repr, batch))}; say which are the "
                    f"samples and the labels: Data.of(…, keys=('image', 'label'))."
                )
            if missing := [key for key in self.keys if key not in batch]:
                raise ValueError(
                    f"keys: {missing[0]!r} is not in {self.name}, which has {', '.join(map(repr, batch))}."
                )
            return [batch[key] for key in self.keys]
        if not isinstance(batch, (tuple, list)):
            raise TypeError(f"{self.name}: gives a {type(batch).__name__}; expected pairs (samples, labels).")
        if self.keys is None and len(batch) != 2:
            raise ValueError(
                f"{self.name}: gives {len(batch)} things for each sample; expected samples and labels. Say which they "
                f"are: Data.of(…, keys=(0, 1)), with lengths keys=(0, 1, 2)."
            )
        keys = (0, 1) if self.keys is None else self.keys
        if bad := [key for key in keys if not isinstance(key, int) or not -len(batch) <= key < len(batch)]:
            raise ValueError(f"keys: {bad[0]!r} is not a position in {self.name}, which gives {len(batch)} things.")
        return [batch[key] for key in keys if isinstance(key, int)]

    def _tensor(self, what: str, value: Any) -> Tensor:
        if isinstance(value, Tensor):
            return value
        array = value if isinstance(value, np.ndarray) or not hasattr(value, "__array__") else np.asarray(value)
        if isinstance(array, (list, tuple)) and array and not isinstance(array[0], str):
            array = _array(array)
        if isinstance(array, np.ndarray) and array.dtype.kind in "biuf" and array.dtype.isnative:
            return torch.from_numpy(np.ascontiguousarray(array))
        raise TypeError(
            f"{self.name}: {what} are {_named(value)}; expected tensors or arrays of numbers.{_remedy(value)}"
        )


def check_same_length(name: str, x: Tensor, y: Tensor) -> None:
    """Raise ValueError unless there is a label for each sample."""
    if not x.ndim or not y.ndim:
        raise ValueError(
            f"{name}: gives samples of shape {tuple(x.shape)} and labels of shape {tuple(y.shape)}; expected batches, "
            f"(n, …) and (n,)."
        )
    if x.shape[0] != y.shape[0]:
        first = x.ndim > 1 and x.shape[1] == y.shape[0]
        raise ValueError(
            f"{name}: {x.shape[0]} samples, shape {tuple(x.shape)}, and {y.shape[0]} labels; expected as many of both."
            + (" The second axis fits: if time is first, say Data.of(…, time_first=True)." if first else "")
        )


def check_time_first(name: str, x: Tensor, y: Tensor) -> None:
    """Raise ValueError unless the second axis is that of the samples."""
    if not y.ndim or x.shape[1] != y.shape[0]:
        raise ValueError(
            f"time_first: {name} gives samples of shape {tuple(x.shape)} for labels of shape {tuple(y.shape)}; "
            f"expected (T, n, …) and (n, …)."
        )


def _array(values: Any) -> Any:
    try:
        return np.asarray(values)
    except ValueError:
        return values


def _named(value: Any) -> str:
    fields = getattr(getattr(value, "dtype", None), "names", None)
    if fields:
        return f"arrays of events with the fields {', '.join(fields)}"
    if isinstance(value, np.ndarray):
        return f"arrays of type {value.dtype}"
    inner = value[0] if isinstance(value, (list, tuple)) and value else value
    kind = f"{type(inner).__module__}.{type(inner).__name__}".removeprefix("builtins.")
    return f"of type {kind}"


def _remedy(value: Any) -> str:
    """What to do with a thing that many data sets give and no network takes."""
    inner = value[0] if isinstance(value, (list, tuple)) and value else value
    if type(inner).__module__.split(".")[0] == "PIL":
        return (
            " Give the data set transform=torchvision.transforms.ToTensor(), or its "
            "with_transform(…) if it is one of Hugging Face's."
        )
    if getattr(getattr(inner, "dtype", None), "names", None):
        return (
            " Give the data set transform=tonic.transforms.ToFrame(…), or read it with nr.data.from_tonic(…), which "
            "keeps the events."
        )
    if isinstance(inner, (str, bytes)):
        return " Number the classes: classes.index(name)."
    return ""


@dataclass(frozen=True)
class _Collate:
    """Items to a batch; the error of items that cannot be in one says what to do.

    Attributes:
        pick: from an item to samples, label and length, for torch's own ``collate``, which takes a list as so many
            samples; here it is an array. A user's function gets the items as they are.
    """

    name: str
    collate: Callable[[list], Any]
    pick: Callable[[Any], list[Any]] | None = None

    def __call__(self, items: list) -> Any:
        if self.pick is not None:
            items = [
                tuple(_array(part) if isinstance(part, list) else part for part in self.pick(item)) for item in items
            ]
            self._check(items[0])
        try:
            return self.collate(items)
        except (RuntimeError, TypeError, ValueError) as error:
            self._check(items[0])
            shapes = {tuple(np.shape(part)) for item in items for part in _first(item) if not isinstance(part, dict)}
            various = f" Samples have the shapes {', '.join(map(str, sorted(shapes)[:3]))}, …: {PADDING}."
            raise ValueError(
                f"{self.name}: its samples cannot be put into one batch ({_line(error)})."
                + (various if len(shapes) > 1 else "")
            ) from error

    def _check(self, item: Any) -> None:
        parts = item.values() if isinstance(item, Mapping) else item if isinstance(item, (tuple, list)) else [item]
        for part in parts:
            if remedy := "" if isinstance(part, (str, bytes)) else _remedy(part):
                raise TypeError(f"{self.name}: gives {_named(part)}; expected tensors or arrays of numbers.{remedy}")


def _first(item: Any) -> list[Any]:
    if isinstance(item, Mapping):
        return [value for value in item.values() if np.ndim(value)][:1]
    return [item[0]] if isinstance(item, (tuple, list)) and item else []


def _default(layout: Layout) -> _Collate:
    return _Collate(layout.name, default_collate, layout.pick)


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _seeded(batches: Iterator[Any], seed: int) -> Iterator[Any]:
    """The same items; what is drawn for them from global random generators begins with a seed, and leaves those outside
    as they are."""
    outside = RandomState()
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    inside = RandomState()
    outside.restore()
    while True:
        outside = RandomState()
        inside.restore()
        try:
            item = next(batches, _END)
        finally:
            inside = RandomState()
            outside.restore()
        if item is _END:
            return
        yield item


_END = object()


@dataclass(frozen=True, eq=False)
class Arrays:
    """Samples in memory."""

    batch: Batch

    indexed = True

    @property
    def n(self) -> int:
        return len(self.batch.y)

    def chunks(self, numbers: Sequence[int]) -> Iterator[Sequence[int]]:
        yield numbers

    def read(self, order: Iterable[Sequence[int]] | None = None, seed: int = 0) -> Iterator[Batch]:
        for numbers in [range(self.n)] if order is None else order:
            chosen = torch.as_tensor(numbers)
            yield Batch(*(None if part is None else part[chosen] for part in self.batch))  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Indexed:
    """Samples of a data set that has an index; ``numbers``: which of them, ascending."""

    dataset: Any
    numbers: Sequence[int]
    layout: Layout
    collate: _Collate
    size: int
    options: Mapping[str, Any]

    indexed = True

    @property
    def n(self) -> int:
        return len(self.numbers)

    def subset(self, chosen: Sequence[int]) -> Indexed:
        """Some of its samples, in this order."""
        return replace(self, numbers=[self.numbers[k] for k in chosen])

    def chunks(self, numbers: Sequence[int]) -> Iterator[Sequence[int]]:
        for k in range(0, len(numbers), self.size):
            yield numbers[k : k + self.size]

    def read(self, order: Iterable[Sequence[int]] | None = None, seed: int = 0) -> Iterator[Batch]:
        chosen = self.chunks(range(self.n)) if order is None else order
        batches = [[self.numbers[int(k)] for k in numbers] for numbers in chosen]
        loader = DataLoader(
            self.dataset,
            batch_sampler=batches,
            collate_fn=self.collate,
            generator=torch.Generator().manual_seed(seed),
            **self.options,
        )
        for batch in _seeded(iter(loader), seed):
            yield self.layout.parts(batch)


@dataclass(frozen=True, eq=False)
class Sequential:
    """Samples of an iterable of batches, in its own order."""

    batches: Iterable[Any]
    layout: Layout
    n: int | None = None

    indexed = False

    def chunks(self, numbers: Sequence[int]) -> Iterator[Sequence[int]]:
        yield numbers

    def read(self, order: Iterable[Sequence[int]] | None = None, seed: int = 0) -> Iterator[Batch]:
        def started() -> Iterator[Any]:  # an iterable may draw where it begins, too
            yield from self.batches

        own = getattr(self.batches, "generator", None)  # of a loader, which draws a seed for its workers from it
        state = own.get_state() if isinstance(own, torch.Generator) else None
        try:
            for batch in _seeded(started(), seed):
                yield self.layout.parts(batch)
        finally:
            if state is not None and isinstance(own, torch.Generator):
                own.set_state(state)


def source_of(data: Any, layout: Layout) -> BatchSource:
    """The source in a data set, a loader, or another iterable of batches.

    Raises:
        TypeError: none of these. ValueError: it can be read only once; or a sampler takes samples several times.
    """
    if isinstance(data, DataLoader):
        return _of_loader(data, layout)
    if isinstance(data, IterableDataset) or _is_streaming(data):
        return Sequential(DataLoader(data, batch_size=AT_ONCE, collate_fn=_default(layout)), layout.picked)
    if isinstance(data, (str, bytes, Mapping, np.ndarray, Tensor)) or type(data).__name__ in ("DataFrame", "Series"):
        raise TypeError(f"data: got a {type(data).__name__}; expected {EXPECTED}.")
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        return Indexed(data, range(len(data)), layout.picked, _default(layout), AT_ONCE, {})
    if isinstance(data, Iterable):
        return Sequential(data, layout)
    raise TypeError(f"data: got a {type(data).__name__}; expected {EXPECTED}.")


EXPECTED = (
    "nr.data.Data(x, y), one part of a task (task.test), a pair of arrays (x, y), a torch.utils.data.Dataset or a "
    "DataLoader"
)


def _is_streaming(data: Any) -> bool:
    """Whether it is an iterable data set of Hugging Face's ``datasets``, which gives single samples."""
    return any(f"{cls.__module__}.{cls.__name__}".startswith("datasets.iterable") for cls in type(data).__mro__)


def once(name: str) -> str:
    """The refusal of an iterable that ends for good after one pass."""
    return (
        f"{name}: can be read only once, and a score needs several passes; give an object whose __iter__ starts again, "
        f"a data set with __getitem__ and __len__, or keep its samples: Data.of(…, in_memory=True)."
    )


def _of_loader(loader: DataLoader, layout: Layout) -> BatchSource:
    if isinstance(loader.dataset, IterableDataset) or loader.batch_sampler is None:
        return Sequential(loader, layout)
    dataset: Any = loader.dataset
    n, numbers = len(dataset), _numbers(loader)
    if len(set(numbers)) < len(numbers):
        raise ValueError(
            f"{layout.name}: its sampler takes samples several times ({len(numbers)} times, {len(set(numbers))} "
            f"different ones); every sample counts once here. Give the data set itself, or a Subset."
        )
    chosen = range(n) if len(numbers) == n else sorted(numbers)
    size = loader.batch_size or AT_ONCE
    options = {key: getattr(loader, key) for key in OPTIONS}
    if not options["num_workers"]:
        options = {key: value for key, value in options.items() if key in ("pin_memory", "worker_init_fn")}
    if loader.collate_fn is default_collate:
        return Indexed(dataset, chosen, layout.picked, _default(layout), size, options)
    return Indexed(dataset, chosen, layout, _Collate(layout.name, loader.collate_fn), size, options)


def _numbers(loader: DataLoader) -> Sequence[int]:
    """The numbers of the samples of a loader, as its sampler gives them in one pass."""
    sampler: Any = loader.sampler if loader.batch_size is not None else loader.batch_sampler
    all_of_them = isinstance(sampler, RandomSampler) and not sampler.replacement
    if isinstance(sampler, SequentialSampler) or (all_of_them and len(sampler) == len(sampler.data_source)):
        return range(len(sampler))
    given = list(_seeded(iter(sampler), 0))
    flat = [plain(k) for each in given for k in (each if np.ndim(each) else [each])]
    if bad := [k for k in flat if not isinstance(k, int)]:
        raise TypeError(f"loader: its sampler gives {bad[0]!r}; expected numbers of samples.")
    return flat
