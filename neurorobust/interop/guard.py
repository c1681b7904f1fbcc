"""A guard around a pass of a foreign module: no random numbers, and no second computation in the backward pass."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch.utils import checkpoint


class RandomState:
    """The states of all global random generators: torch's, of the CPU and of its devices, numpy's and Python's."""

    def __init__(self) -> None:
        self.torch = [torch.get_rng_state()]
        self.cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        self.numpy: Any = np.random.get_state()
        self.python = random.getstate()

    def parts(self) -> dict[str, bytes]:
        """The state of each generator, by a name."""
        devices = {f"torch {i}": state.numpy().tobytes() for i, state in enumerate([*self.torch, *self.cuda])}
        numpy = self.numpy[1].tobytes() + repr(self.numpy[2:]).encode()
        return devices | {"numpy": numpy, "python": repr(self.python).encode()}

    def changed_since(self, before: RandomState) -> dict[str, bytes]:
        """The generators that have another state than before, with their states now."""
        numpy = self.numpy[2:] == before.numpy[2:] and bool((self.numpy[1] == before.numpy[1]).all())
        devices = all(map(torch.equal, self.torch + self.cuda, before.torch + before.cuda))
        if numpy and devices and self.python == before.python:
            return {}
        old = before.parts()
        return {name: state for name, state in self.parts().items() if state != old.get(name)}

    def restore(self) -> None:
        """Put all generators back into this state."""
        torch.set_rng_state(self.torch[0])
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)
        np.random.set_state(self.numpy)
        random.setstate(self.python)


class _Plain:
    """In the place of torch's two kinds of checkpoints: the function runs once and its activations are kept."""

    lock, users = Lock(), 0
    names = ("CheckpointFunction", "_checkpoint_without_reentrant_generator")
    torchs = tuple(getattr(checkpoint, name) for name in names)

    @staticmethod
    def apply(function: Callable[..., Any], _preserve: bool, *args: Any) -> Any:
        return function(*args)

    @staticmethod
    def generator(*_args: Any, **_kwargs: Any) -> Iterator[None]:
        yield


@contextmanager
def plain_checkpoints() -> Iterator[None]:
    """Inside the ``with`` block ``torch.utils.checkpoint`` runs its function once, as if it were called directly.

    A checkpoint runs its function again in the backward pass. By then a module has its own parameters back, so the
    gradient would be that of other parameters. The values are those of the function; only memory is not saved.
    """
    with _Plain.lock:
        _Plain.users += 1
        for name, value in zip(_Plain.names, (_Plain, _Plain.generator)):
            setattr(checkpoint, name, value)
    try:
        yield
    finally:
        with _Plain.lock:
            _Plain.users -= 1
            if not _Plain.users:
                for name, value in zip(_Plain.names, _Plain.torchs):
                    setattr(checkpoint, name, value)


@contextmanager
def quiet() -> Iterator[None]:
    """Inside the ``with`` block nothing warns, of numpy neither."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield
