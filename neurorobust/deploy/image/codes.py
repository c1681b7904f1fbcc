"""(coarse, fine) codes of the bias generator of DYNAP-SE2, through rockpool. This is the one file that imports it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import NamedTuple

from .layout import BIASES


class BiasCode(NamedTuple):
    """A bias as the device takes it: its name there, coarse 0 to 5 and fine 0 to 255."""

    device: str
    coarse: int
    fine: int


def bias_codes(biases: Mapping[str, float]) -> dict[str, BiasCode]:
    """The code whose current is nearest, for each bias current in A.

    Raises:
        ImportError: rockpool is not installed.
    """
    code = _converter()
    found = {}
    for name, current in biases.items():
        coarse, fine = code(BIASES[name].device, current)
        found[name] = BiasCode(BIASES[name].device, int(coarse), int(fine))
    return found


def _converter() -> Callable[[str, float], tuple[int, int]]:
    try:
        with _without_samna():
            module = import_module("rockpool.devices.dynapse.parameters.biasgen")
    except ImportError as error:
        raise ImportError(
            f"bias_codes: needs rockpool, whose tables have these codes ({error}); pip install rockpool jax."
        ) from error
    converter: Callable[[str, float], tuple[int, int]] = module.analog_to_param
    return converter


@contextmanager
def _without_samna() -> Iterator[None]:
    """rockpool tries to import samna, and the package of that name installs others when it is imported."""
    if "samna" in sys.modules:
        yield
        return
    sys.modules["samna"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["samna"]
