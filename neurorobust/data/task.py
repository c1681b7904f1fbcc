"""Tasks: data in three parts, a loss, and networks for them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from .._util.printed import Printed
from .._util.randomness import generator
from ..chip import ChipModel
from .hashed import feed
from .samples import as_samples


@dataclass(frozen=True, eq=False, repr=False)
class Task(Printed):
    """Data in three disjoint parts, a loss, and a builder of networks.

    Attributes:
        name: the name on the command line.
        classes: names of the classes, by label; empty for a regression.
        train, validation, test: the parts, :class:`Data` or what :meth:`Data.of` takes; tuning may use only the first
            two.
        loss: (logits, y) → scalar.
        build: (chip, n_hidden, generator) → a network; called through :meth:`network`. None for data alone.
        fingerprint: a hash of everything the encoder took from the data; by default :attr:`data_sha256` hashes the
            samples.

    Raises:
        TypeError: ``classes`` is one text, or a part is no data.

    Example:
        >>> x, y = torch.rand(30, 10, 3), torch.arange(30) % 2
        >>> parts = [nr.data.Data(x[part], y[part]) for part in (slice(20), slice(20, 25), slice(25, 30))]
        >>> task = nr.data.Task("mine", ("rest", "move"), *parts, loss=nn.functional.cross_entropy)
        >>> len(task.train), len(task.validation), len(task.test)
        (20, 5, 5)
    """

    name: str
    classes: tuple[str, ...]
    train: Any
    validation: Any
    test: Any
    loss: Callable[[Tensor, Tensor], Tensor]
    build: Callable[..., nn.Module] | None = None
    fingerprint: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.classes, str):  # each letter would be a class
            raise TypeError(f"classes: got {self.classes!r}; expected a name for each class, such as ('rest', 'move').")
        for name in ("train", "validation", "test"):
            part = getattr(self, name)
            if name != "test" or part is not None:
                object.__setattr__(self, name, as_samples(part))

    @cached_property
    def data_sha256(self) -> str:
        """The fingerprint; without one, a hash of training and validation data, computed when it is first needed."""
        if self.fingerprint:
            return self.fingerprint
        digest = hashlib.sha256()
        for part in (self.train, self.validation):
            feed(digest.update, part, named=False)
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
            raise ValueError(
                f"task {self.name!r}: has no builder of networks; make a network yourself "
                f"(on the command line: --model FILE.py:FUNCTION)."
            )
        return self.build(chip, n_hidden, generator(seed, "network"), **options)
