"""Tasks: data in three parts, a loss, and networks for them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from .._util.digests import bytes_of
from .._util.errors import check_count, check_finite
from .._util.randomness import generator
from ..chip import ChipModel


@dataclass(frozen=True, eq=False)
class Data:
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
    """

    x: Tensor
    y: Tensor
    recording: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("x", "y"):
            object.__setattr__(self, name, _constant(f"data {name}", getattr(self, name)))
        if self.x.ndim < 2 or self.y.shape[:1] != self.x.shape[:1]:
            raise ValueError(
                f"data: got x of shape {tuple(self.x.shape)} and y of shape {tuple(self.y.shape)}; "
                f"expected (n, T, n_in), or (n, …) for a wrapped module, and (n,)."
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
            object.__setattr__(self, "y", _labels(self.y))
        if self.x.is_floating_point() or self.x.is_complex():
            check_finite({"data x": self.x})

    @property
    def regression(self) -> bool:
        """True if y holds targets of a regression, not classes."""
        return self.y.is_floating_point()

    def __len__(self) -> int:
        return len(self.y)

    def first(self, n: int) -> Data:
        """The first n samples."""
        return Data(self.x[:n], self.y[:n], None if self.recording is None else self.recording[:n])

    def balanced(self, n: int) -> Data:
        """n samples, equally many of each class where possible, spread over the part, in its order.

        Use it for a part that is ordered by speaker or class: its first n samples may lack a class.
        """
        if self.regression:
            raise ValueError("data: has targets, not classes, so it cannot be balanced; use first(n).")
        classes = sorted(self.y.unique().tolist(), key=lambda label: int((self.y == label).sum()))
        picked, left = [], min(n, len(self))
        for done, label in enumerate(classes):
            where = (self.y == label).nonzero().squeeze(1)
            take = min(len(where), left // (len(classes) - done))
            picked.append(where[torch.arange(take) * len(where) // max(take, 1)])
            left -= take
        return self._only(torch.cat(picked).sort().values)

    def sample(self, n: int, seed: int = 0) -> Data:
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
        return self._only(order[:n][torch.randperm(n, generator=key)])

    def _only(self, chosen: Tensor) -> Data:
        """The samples with these numbers, in their order."""
        return Data(self.x[chosen], self.y[chosen], None if self.recording is None else self.recording[chosen])

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


def _constant(name: str, value: object) -> Tensor:
    """An ordinary tensor with these values: dense, without gradient, and one that autograd may keep."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name}: got a {type(value).__name__}; expected a tensor: torch.as_tensor(…).")
    for what, here, remedy in (
        ("nested", value.is_nested, "samples of one length: torch.nested.to_padded_tensor(…, 0.0)"),
        ("quantized", value.is_quantized, "its values: .dequantize()"),
        ("meta", value.is_meta, "a tensor with values"),
    ):
        if here:
            raise ValueError(f"{name}: got a {what} tensor; expected {remedy}.")
    with torch.inference_mode(False):
        value = value.detach()
        if value.layout != torch.strided:
            return value.to_dense()
        return value.clone() if value.is_inference() else value


def _labels(y: Tensor) -> Tensor:
    """Class labels as int64."""
    smallest = None if y.dtype == torch.bool or y.is_complex() else int(y.long().min())
    if smallest is None or smallest < 0:
        raise ValueError(
            f"data: got labels of type {y.dtype}{'' if smallest is None else f', the smallest {smallest}'}; expected "
            f"integers from 0{': y.long()' if y.dtype == torch.bool else ''}, or floating targets."
        )
    return y.long()


def check_data(data: object) -> None:
    """Raise TypeError unless it is :class:`Data`."""
    if not isinstance(data, Data):
        hint = "one part of it, task.test" if isinstance(data, Task) else "nr.data.Data(x, y)"
        raise TypeError(f"data: got a {type(data).__name__}; expected {hint}.")


@dataclass(frozen=True, eq=False)
class Task:
    """Data in three disjoint parts, a loss, and a builder of networks.

    Attributes:
        name: the name on the command line.
        classes: names of the classes, by label; empty for a regression.
        train, validation, test: the parts; tuning may use only the first two.
        loss: (logits, y) → scalar.
        build: (chip, n_hidden, generator) → a network; called through :meth:`network`. None for data alone.
        fingerprint: a hash of everything the encoder took from the data; by default :attr:`data_sha256` hashes the
            samples.
    """

    name: str
    classes: tuple[str, ...]
    train: Data
    validation: Data
    test: Data
    loss: Callable[[Tensor, Tensor], Tensor]
    build: Callable[..., nn.Module] | None = None
    fingerprint: str = ""

    def __post_init__(self) -> None:
        for part in (self.train, self.validation):
            check_data(part)

    @cached_property
    def data_sha256(self) -> str:
        """The fingerprint; without one, a hash of training and validation data, computed when it is first needed."""
        if self.fingerprint:
            return self.fingerprint
        digest = hashlib.sha256()
        for tensor in (self.train.x, self.train.y, self.validation.x, self.validation.y):
            digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
            digest.update(bytes_of(tensor))
        return digest.hexdigest()

    def network(
        self, chip: ChipModel | None = None, *, n_hidden: int = 128, seed: int = 0, **options: Any
    ) -> nn.Module:
        """A fresh network that fits the chip (its cores and its fan-in); without a chip, one core and no limits.

        Args:
            options: of the task's builder, such as ``hidden`` of :func:`neurorobust.data.recurrent.recurrent_network`.

        Raises:
            ValueError: the task has no builder. TypeError: its builder has no such option.
        """
        if self.build is None:
            raise ValueError(f"task {self.name!r}: has no builder of networks; make a network yourself.")
        return self.build(chip, n_hidden, generator(seed, "network"), **options)
