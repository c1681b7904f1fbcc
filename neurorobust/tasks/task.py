"""What a task is: data in three parts, a loss, and networks that suit it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ..chip import ChipModel
from ..errors import check_finite
from ..network import Network
from ..randomness import generator


@dataclass(frozen=True, eq=False)
class Data:
    """Samples x, batch first, shape (n, T, n_in), class labels y, integers of shape (n,), and, for figures only, the
    recording each sample was encoded from, shape (n, T).

    Raises:
        ValueError: empty, of differing lengths, not finite, or labels that are no classes.
    """

    x: Tensor
    y: Tensor
    recording: Tensor | None = None

    def __post_init__(self) -> None:
        if self.x.ndim != 3 or self.y.shape != self.x.shape[:1]:
            raise ValueError(
                f"data: got x of shape {tuple(self.x.shape)} and y of shape {tuple(self.y.shape)}; "
                f"expected (n, T, n_in) and (n,)."
            )
        if not len(self.y):
            raise ValueError("data: got no samples; expected at least one.")
        if self.y.is_floating_point() or self.y.min() < 0:
            raise ValueError(f"data: got labels of type {self.y.dtype} from {self.y.min()}; expected integers from 0.")
        check_finite({"data x": self.x})

    def __len__(self) -> int:
        return len(self.y)

    def first(self, n: int) -> Data:
        """The first n samples."""
        return Data(self.x[:n], self.y[:n], None if self.recording is None else self.recording[:n])

    def check_classes(self, role: str) -> None:
        """Raise ValueError unless at least two classes are present."""
        present = self.y.unique().tolist()
        if len(present) < 2:
            raise ValueError(
                f"{role}: all {len(self)} samples are of class {present[0]}; expected two classes or more."
            )


@dataclass(frozen=True, eq=False)
class Task:
    """Data in three parts that never mix, a loss, and a builder of networks.

    Attributes:
        name: as the command line knows it.
        classes: names of the classes, by label.
        train, validation, test: the parts; tuning may look at the first two only.
        loss: (logits, y) → scalar.
        build: (chip, n_hidden, generator) → Network; called through :meth:`network`.
        fingerprint: a hash of everything the encoder took from the data.
    """

    name: str
    classes: tuple[str, ...]
    train: Data
    validation: Data
    test: Data
    loss: Callable[[Tensor, Tensor], Tensor]
    build: Callable[..., Network]
    fingerprint: str

    def network(self, chip: ChipModel | None = None, *, n_hidden: int = 128, seed: int = 0) -> Network:
        """A fresh network that fits the chip (its cores and its fan-in); without a chip, one core and no limits."""
        return self.build(chip, n_hidden, generator(seed, "network"))
