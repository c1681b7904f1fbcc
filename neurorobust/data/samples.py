"""Samples with their labels or targets: all in memory (:class:`Data`), or read again in every pass (:class:`Stream`).

Labels and outputs of all samples are always in memory, so every score is computed from all of them at once, and is the
same for both. Only x is divided: into blocks whose size depends on the shape of a sample alone.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from .._util.errors import check_count, check_finite
from .._util.printed import Printed
from .._util.randomness import generator
from ..nn.fleet_run import samples_at_once
from .labels import checked_labels, class_numbers, constant
from .scanning import repeats, scan, whole_numbers
from .sources import Arrays, Batch, BatchSource, Indexed, Key, Layout, once, source_of

MIXED = 1000
"""An iterable, which has one order, is shuffled for training inside blocks of so many samples."""


class Block(NamedTuple):
    """Some samples x, and which they are: ``data.y[where]`` are their labels."""

    where: slice | Tensor
    x: Tensor


class Samples(ABC):
    """What :class:`Data` and :class:`Stream` have in common: labels in memory, and x block by block.

    Attributes:
        y: class labels, integers of shape (n,), or (n, T) for one per step; or floating targets (n, …) to regress.
    """

    y: Tensor

    @property
    def regression(self) -> bool:
        """True if y holds targets of a regression, not classes."""
        return self.y.is_floating_point()

    def __len__(self) -> int:
        return len(self.y)

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape (n, …) of all samples."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """The type of the samples."""

    @property
    @abstractmethod
    def whole(self) -> Tensor | None:
        """All samples as one tensor, if they are in memory and have one length; else None."""

    @abstractmethod
    def plan(self, most: int) -> list[slice | Tensor]:
        """The samples of each block: at most ``most``, all of one length."""

    @abstractmethod
    def blocks(self, most: int, *, backwards: bool = False) -> Iterator[Block]:
        """All samples, block by block as in :meth:`plan`, in one pass.

        Args:
            backwards: the last block first, where the samples can be taken in any order.

        Raises:
            ValueError: they are not those of the passes before.
        """

    @abstractmethod
    def batches(self, order: Tensor, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches (x, y) of training, in the order of the numbers; ``seed``: of what a data set draws for them."""

    def batch_sizes(self, size: int) -> set[int]:
        """The sizes of the batches of training."""
        return _sizes(len(self), size)

    @abstractmethod
    def few(self, n: int) -> Tensor:
        """x of the first n samples, or fewer where these are large or have other lengths."""

    @abstractmethod
    def only(self, chosen: Tensor) -> Self:
        """The samples with these numbers, in their order."""

    @abstractmethod
    def to(self, device: str | torch.device) -> Self:
        """The same samples and labels on a device, where the network has to be too: ``data.to("cuda")``."""

    def joined(self, outputs: Sequence[Tensor]) -> Tensor:
        """Outputs of the blocks, in their order, as those of all samples."""
        return torch.cat(list(outputs))

    def placed(self, whole: Tensor | None, where: slice | Tensor, outputs: Tensor) -> Tensor:
        """Outputs of one block written into those of all samples, which begin as None.

        One tensor for all blocks: small tensors that stay, made between large ones that go, would leave the system's
        allocator with holes that no later block fits into.
        """
        if whole is None:
            whole = outputs.new_empty((len(self), *outputs.shape[1:]))
        _check_alike(whole, outputs)
        whole[where] = outputs
        return whole

    def tensors(self) -> dict[str, tuple[tuple[int, ...], torch.dtype, Iterable[Tensor]]]:
        """Shape, type and pieces of x and y, for digests."""
        y = self.y
        return {"x": (self.shape, self.dtype, self._pieces()), "y": (tuple(y.shape), y.dtype, (y,))}

    @abstractmethod
    def _pieces(self) -> Iterable[Tensor]: ...

    def first(self, n: int) -> Self:
        """The first n samples."""
        return self.only(torch.arange(min(check_count("n", n), len(self))))

    def balanced(self, n: int) -> Self:
        """n samples, equally many of each class where possible, spread over the part, in its order.

        Use it for a part that is ordered by speaker or class: its first n samples may lack a class. Labels of every
        step have no classes to keep: their samples are spread over the part.
        """
        if self.regression:
            raise ValueError("data: has targets, not classes, so it cannot be balanced; use first(n).")
        labels = self.y if self.y.ndim == 1 else self.y.new_zeros(len(self))
        classes = sorted(labels.unique().tolist(), key=lambda label: int((labels == label).sum()))
        picked, left = [], min(check_count("n", n), len(self))
        for done, label in enumerate(classes):
            where = (labels == label).nonzero().squeeze(1)
            take = min(len(where), left // (len(classes) - done))
            picked.append(where[torch.arange(take) * len(where) // max(take, 1)])
            left -= take
        return self.only(torch.cat(picked).sort().values)

    def sample(self, n: int, seed: int = 0) -> Self:
        """n samples, drawn without replacement and shuffled; each class gets its share of them.

        Each class gets one sample first, as far as n goes; the rest goes to the classes in proportion to their samples
        (Sainte-Laguë). With the same seed, a larger n contains the samples of a smaller n. Targets, and labels of every
        step, have no classes to keep: their samples are drawn evenly.

        Args:
            n: from 1 to the number of samples. seed: of the choice and of the order.

        Raises:
            TypeError: not an integer. ValueError: n < 1, or more than there are.
        """
        n, seed = check_count("n", n), check_count("seed", seed, 0)
        if n > len(self):
            raise ValueError(f"n: got {n}; there are {len(self)} samples, and each is drawn once.")
        key = generator(seed, "sample of the data")
        order = torch.randperm(len(self), generator=key)
        if not self.regression and self.y.ndim == 1:
            place, labels = torch.empty(len(self), dtype=torch.float64), self.y[order].cpu()
            for label in labels.unique():  # its samples one after the other, at even distances, the first at once
                own = (labels == label).nonzero().squeeze(1)
                place[own] = (torch.arange(len(own), dtype=torch.float64) + 0.5) / len(own)
                place[own[0]] = 0
            order = order[place.argsort(stable=True)]
        return self.only(order[:n][torch.randperm(n, generator=key)])

    def check_classes(self, role: str) -> None:
        """Raise ValueError unless at least two classes are present, or different targets."""
        if self.regression:
            if (self.y == self.y.reshape(-1)[0]).all():
                raise ValueError(f"{role}: all targets are {self.y.reshape(-1)[0]:g}; expected different targets.")
            return
        present = self.y.unique().tolist()
        if len(present) < 2:
            raise ValueError(
                f"{role}: all {len(self)} samples are of class {present[0]}; expected two classes or more."
            )


@dataclass(frozen=True, eq=False, repr=False)
class Data(Printed, Samples):
    """Samples with their labels or targets.

    Both are constants: they are kept without their gradient, a sparse tensor as a dense one. The type of y decides what
    it holds. Integers are class labels and are kept as int64; floats, whole ones too, are targets of a regression.

    Attributes:
        x: batch first: (n, T, n_in) for a spiking network, or any input of a wrapped module.
        y: class labels, integers of shape (n,), or (n, T) for one per step; or floating targets (n, …) to regress.
        recording: for figures only, the signal each sample was encoded from, shape (n, T).

    Raises:
        TypeError: not a tensor. ValueError: a tensor without ordinary values (nested, quantized, meta), no samples,
            different lengths, values that are not finite, or labels that are not classes.

    Example:
        >>> x, y = torch.rand(6, 10, 3), torch.tensor([0, 1, 1, 0, 1, 0])  # 6 samples, 10 steps, 3 channels
        >>> data = nr.data.Data(x, y)
        >>> len(data), data.shape, data.balanced(2).y.tolist()
        (6, (6, 10, 3), [0, 1])
    """

    x: Tensor
    y: Tensor
    recording: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("x", "y"):
            object.__setattr__(self, name, constant(f"data {name}", getattr(self, name)))
        if self.x.ndim < 2 or self.y.shape[:1] != self.x.shape[:1]:
            late = self.x.ndim > 1 and self.y.ndim > 0 and self.x.shape[1] == self.y.shape[0]
            raise ValueError(
                f"data: got x of shape {tuple(self.x.shape)} and y of shape {tuple(self.y.shape)}; "
                f"expected (n, T, n_in), or (n, …) for a wrapped module, and (n,)."
                + (" If time is first in x: Data.of((x, y), time_first=True)." if late else "")
            )
        if not self.y.numel():
            raise ValueError("data: got no samples; expected at least one.")
        if self.recording is not None and len(self.recording) != len(self.y):
            raise ValueError(
                f"data recording: got {len(self.recording)} signals; expected {len(self.y)}, one per sample."
            )
        if self.y.is_floating_point():
            check_finite({"data y": self.y})
        else:
            object.__setattr__(self, "y", class_numbers(self.y))
        if self.x.is_floating_point() or self.x.is_complex():
            check_finite({"data x": self.x})

    @classmethod
    def of(
        cls,
        data: Any,
        *,
        keys: tuple[Key, ...] | None = None,
        lengths: Any = None,
        time_first: bool = False,
        dtype: torch.dtype | None = None,
        in_memory: bool | None = None,
    ) -> Data | Stream:
        """The samples of a data set, a loader or a pair of arrays.

        Every sample counts once, in the order of the data set: neither ``shuffle`` nor ``drop_last`` of a loader acts.
        Its ``collate_fn``, workers, pinned memory and batch size do; without a loader 100 samples are read at once, in
        this process.

        Args:
            data: a pair (x, y) of tensors or arrays; a data set with an index and a length, such as those of
                ``torch.utils.data``, torchvision, tonic and ``datasets``; a ``DataLoader``; an ``IterableDataset``; or
                any iterable of batches that starts again when it is iterated again.
            keys: of samples and labels in dictionaries or longer tuples: ``("image", "label")``, ``(0, 2)``; a third
                one is that of the lengths.
            lengths: the steps of each sample, integers of shape (n,), where samples are padded to one length. What
                comes after is cut off: a network runs the samples of each length together, so it never sees padding.
                Few different lengths run faster: round them up.
            time_first: whether samples come as (T, n, …), from a loader or as one array. Labels are (n, …).
            dtype: of the samples; by default as they come.
            in_memory: keep all samples in memory, or read them again in every pass; by default they are kept if they
                take at most a quarter of the free memory. Results are the same.

        Raises:
            TypeError: samples or labels that are no numbers: pictures, raw events, names of classes. ValueError: wrong
                shapes, keys or lengths; one-hot labels; samples of different lengths without ``lengths``; what can be
                read only once and does not fit into memory.
        """
        if isinstance(data, (Data, Stream)):
            return _kept(data, in_memory)
        name = "data" if isinstance(data, (tuple, list)) else f"data ({type(data).__name__})"
        layout = Layout(name, keys, time_first, dtype)
        source: BatchSource
        if isinstance(data, (tuple, list)) and len(data) in (2, 3) and all(map(_is_array, data)):
            source = Arrays(layout.parts(tuple(data)))
        else:
            source = source_of(data, layout)
        scanned = scan(source, name, in_memory, isinstance(data, Iterator))
        given = scanned.lengths if lengths is None else whole_numbers("lengths", lengths, len(scanned.y))
        y = checked_labels(name, scanned.y)
        if given is None and scanned.x is not None:
            return Data(scanned.x, y)
        if scanned.x is not None:
            source = Arrays(Batch(scanned.x, y))
        return Stream(source, y, scanned.shape, scanned.dtype, given)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.x.shape)

    @property
    def dtype(self) -> torch.dtype:
        return self.x.dtype

    @property
    def whole(self) -> Tensor:
        return self.x

    def plan(self, most: int) -> list[slice | Tensor]:
        return _slices(len(self), samples_at_once(self.x, most))

    def blocks(self, most: int, *, backwards: bool = False) -> Iterator[Block]:
        plan = self.plan(most)
        for where in plan[::-1] if backwards else plan:
            yield Block(where, self.x[where])

    def batches(self, order: Tensor, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in order.split(size):
            yield self.x[batch], self.y[batch]

    def few(self, n: int) -> Tensor:
        return self.x[: samples_at_once(self.x, n)]

    def only(self, chosen: Tensor) -> Self:
        return type(self)(self.x[chosen], self.y[chosen], None if self.recording is None else self.recording[chosen])

    def to(self, device: str | torch.device) -> Self:
        return type(self)(self.x.to(device), self.y.to(device), self.recording)

    def first(self, n: int) -> Self:
        """The first n samples."""
        n = check_count("n", n)
        return type(self)(self.x[:n], self.y[:n], None if self.recording is None else self.recording[:n])

    def _pieces(self) -> Iterable[Tensor]:
        return (self.x,)


class Stream(Samples):
    """Samples that are read again in every pass, or that have lengths; :meth:`Data.of` makes it.

    Its labels are in memory and are compared in every pass: samples in another order are refused. A data set that gives
    other samples in a second pass (a random transform) can be trained on, where each epoch begins with a seed, but not
    measured. Samples are read on the CPU, and each block goes to the device of the labels: ``data.to(device)``.

    Attributes:
        y: as in :class:`Data`. lengths: the steps of each sample, (n,); None if all have one length.
        repeats: whether the first samples were the same in two passes.

    Raises:
        ValueError: lengths that are no whole numbers from 1 to the number of steps, one per sample.

    Example:
        >>> x, y = torch.rand(2, 8, 3), torch.tensor([0, 1])  # the first sample ends after 5 steps; the rest is padding
        >>> stream = nr.data.Data.of((x, y), lengths=[5, 8])
        >>> type(stream).__name__, stream.lengths.tolist()
        ('Stream', [5, 8])
    """

    def __init__(
        self,
        source: BatchSource,
        y: Tensor,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        lengths: Tensor | None = None,
    ):
        self.source, self.y, self.lengths, self._shape, self._dtype = source, y, lengths, shape, dtype
        if lengths is not None:
            _check_lengths(lengths, shape, y, source)
        self.repeats = repeats(source)

    def __repr__(self) -> str:
        what = f"{len(self)} samples of shape {self.shape[1:]}, {self.dtype}"
        if self.lengths is not None:
            what += f", of {int(self.lengths.min())} to {int(self.lengths.max())} steps"
        if isinstance(self.source, Arrays):
            return f"Stream({what}, in memory)"
        return f"Stream({what}, {math.prod(self.shape) * self.dtype.itemsize / 1e9:.3g} GB, read again in every pass)"

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def dtype(self) -> torch.dtype:
        return self._dtype

    @property
    def whole(self) -> None:
        return None

    @property
    def x(self) -> Tensor:
        """A stream has no such tensor; it raises ValueError."""
        raise ValueError(
            f"data: {self!r} is no tensor x, which this function needs; take some samples that fit into memory: "
            f"Data.of(data.sample(1000), in_memory=True)."
            if self.lengths is None
            else f"data: {self!r} has samples of different lengths; this function needs one length for all."
        )

    def blocks(self, most: int, *, backwards: bool = False) -> Iterator[Block]:
        if not self.repeats:
            raise ValueError(
                f"data: {self!r} gives other samples in a second pass (a random transform, or a shuffle of its own), "
                f"so scores of dies cannot be compared; measure on a data set without it, or draw once: "
                f"Data.of(…, in_memory=True)."
            )
        plan = self.plan(most)
        for where, x, y in self._read(plan[::-1] if backwards and self.source.indexed else plan, 0):
            if not torch.equal(self.y[where], y):
                raise ValueError(
                    f"data: {self!r} gives other labels than in the pass before; give samples in one fixed order."
                )
            yield Block(where, x)

    def batches(self, order: Tensor, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        if self.source.indexed:
            for _, x, y in self._read(self._equal_lengths(order, size), seed, together=True):
                yield x, y
            return
        rank = order.argsort()
        for where, x, y in self._read(self.plan(max(1, MIXED // size) * size), seed):
            for batch in rank[where].argsort().split(size):
                yield x[batch], y[batch]

    def few(self, n: int) -> Tensor:
        return next(self._read([self.plan(n)[0]], 0))[1]

    def batch_sizes(self, size: int) -> set[int]:
        if self.lengths is None:
            return _sizes(len(self), size)
        return set().union(*(_sizes(count, size) for count in self.lengths.unique(return_counts=True)[1].tolist()))

    def only(self, chosen: Tensor) -> Self:
        lengths = None if self.lengths is None else self.lengths[chosen]
        source = self.source
        if isinstance(source, Indexed):
            taken: BatchSource = source.subset(chosen.tolist())
        else:
            taken = Arrays(self._collected(chosen))
        return type(self)(taken, self.y[chosen], (len(chosen), *self.shape[1:]), self.dtype, lengths)

    def to(self, device: str | torch.device) -> Self:
        return type(self)(self.source, self.y.to(device), self.shape, self.dtype, self.lengths)

    def joined(self, outputs: Sequence[Tensor]) -> Tensor:
        if self.lengths is None:
            return torch.cat(list(outputs))
        for part in outputs:
            _check_alike(outputs[0], part)
        return torch.cat(list(outputs))[self.lengths.argsort(stable=True).argsort()]

    def tensors(self) -> dict[str, tuple[tuple[int, ...], torch.dtype, Iterable[Tensor]]]:
        if self.lengths is None:
            return super().tensors()
        return super().tensors() | {"lengths": (tuple(self.lengths.shape), self.lengths.dtype, (self.lengths,))}

    def _pieces(self) -> Iterable[Tensor]:
        return (x for _, x, _ in self._read(self.plan(MIXED), 0))

    def plan(self, most: int) -> list[slice | Tensor]:
        size = samples_at_once(torch.empty((1, *self.shape[1:]), dtype=self.dtype, device="meta"), most)
        if self.lengths is None:
            return _slices(len(self), size)
        groups = ((self.lengths == length).nonzero().squeeze(1) for length in self.lengths.unique())
        return [some for group in groups for some in group.split(size)]

    def _equal_lengths(self, order: Tensor, size: int) -> list[slice | Tensor]:
        """Numbers in batches; a batch is full, and begins its way, when enough samples of one length came."""
        if self.lengths is None:
            return list(order.split(size))
        full: list[slice | Tensor] = []
        waiting: dict[int, list[int]] = {}
        for number, length in zip(order.tolist(), self.lengths[order].tolist()):
            waiting.setdefault(length, []).append(number)
            if len(waiting[length]) == size:
                full.append(torch.tensor(waiting.pop(length)))
        return full + [torch.tensor(numbers) for numbers in waiting.values()]

    def _read(
        self, plan: Sequence[slice | Tensor], seed: int, *, together: bool = False
    ) -> Iterator[tuple[slice | Tensor, Tensor, Tensor]]:
        """One pass: for each entry of a plan, which samples they are, x and y."""
        numbers = [_numbers(where) for where in plan]
        chunks = numbers if together else [some for each in numbers for some in self.source.chunks(each)]
        batches = self.source.read(chunks if self.source.indexed else None, seed)
        rest: Batch | None = None
        for where, each in zip(plan, numbers):
            shape = self.shape[1:]
            if self.lengths is not None:
                shape = (int(self.lengths[each[0]]), *shape[1:])
            x, labels, filled = torch.empty(len(each), *shape, dtype=self.dtype), [], 0
            while filled < len(each):
                if rest is None:
                    rest = self._next(batches)
                take = min(len(rest.y), len(each) - filled)
                part = rest.x[:take] if self.lengths is None else rest.x[:take, : shape[0]]
                _check_shape(self, part, shape)
                x[filled : filled + take] = part
                labels.append(rest.y[:take])
                filled += take
                rest = Batch(rest.x[take:], rest.y[take:]) if take < len(rest.y) else None
                del part
            yield where, x.to(self.y.device), torch.cat(labels).to(self.y)
            del x

    def _next(self, batches: Iterator[Batch]) -> Batch:
        for batch in batches:
            if len(batch.y):
                return batch
        raise ValueError(f"{once('data')} {self!r} ended early in a second pass.")

    def _collected(self, chosen: Tensor) -> Batch:
        """Some samples in memory."""
        if isinstance(self.source, Arrays):
            (batch,) = self.source.read([chosen.tolist()])
            return batch
        place = torch.full((len(self),), -1)
        place[chosen] = torch.arange(len(chosen))
        x = torch.empty(len(chosen), *self.shape[1:], dtype=self.dtype)
        for where, samples, _ in self._read(self.plan(MIXED), 0):
            wanted = place[where] >= 0
            x[place[where][wanted]] = samples[wanted]
        return Batch(x, self.y[chosen])


def as_samples(data: Any) -> Data | Stream:
    """Data as they are; anything else as :meth:`Data.of` takes it."""
    return data if isinstance(data, (Data, Stream)) else Data.of(data)


def in_memory(data: Any) -> Data:
    """Data in one tensor; ValueError for a stream that does not fit into memory, or that has lengths."""
    found = as_samples(data)
    return found if isinstance(found, Data) else Data(found.x, found.y)


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor) or (hasattr(value, "__array__") and len(getattr(value, "shape", ())) > 0)


def _slices(n: int, size: int) -> list[slice | Tensor]:
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def _check_alike(first: Tensor, other: Tensor) -> None:
    if first.shape[1:] != other.shape[1:]:
        raise ValueError(
            "lengths: the network gives outputs of different shapes for samples of different lengths; expected one "
            "output for each sample, decoded over its steps."
        )


def _sizes(n: int, size: int) -> set[int]:
    """The sizes of n samples in parts of a size."""
    return {min(size, n), n % size or min(size, n)}


def _numbers(where: slice | Tensor) -> Sequence[int]:
    return range(where.start, where.stop) if isinstance(where, slice) else where.tolist()


def _check_shape(data: object, x: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(x.shape[1:]) != shape:
        raise ValueError(f"data: {data!r}: a sample has shape {tuple(x.shape[1:])}; expected {shape}.")


def _kept(data: Data | Stream, keep: bool | None) -> Data | Stream:
    """A stream as data in memory, if that is asked for; anything else as it is."""
    if not keep or isinstance(data, Data):
        return data
    x = data.source.batch.x if isinstance(data.source, Arrays) else scan(data.source, "data", True, False).x
    assert x is not None
    if data.lengths is None:
        return Data(x, data.y)
    return Stream(Arrays(Batch(x, data.y)), data.y, data.shape, data.dtype, data.lengths)


def _check_lengths(lengths: Tensor, shape: tuple[int, ...], y: Tensor, source: BatchSource) -> None:
    """Raise ValueError unless every sample can be cut to its length."""
    steps = shape[1] if len(shape) > 2 else 0
    if int(lengths.min()) < 1 or int(lengths.max()) > steps:
        raise ValueError(
            f"lengths: got {int(lengths.min())} to {int(lengths.max())}; samples have shape {shape[1:]}, so expected 1 "
            f"to {steps} steps."
        )
    if not y.is_floating_point() and y.ndim > 1:
        raise ValueError("lengths: the data have labels for every step; expected one label for each sample.")
    if not source.indexed:
        raise ValueError(
            "lengths: samples of one length are run together, and those of an iterable cannot be taken in any order; "
            "give a data set with __getitem__ and __len__, or keep its samples: Data.of(…, in_memory=True)."
        )
