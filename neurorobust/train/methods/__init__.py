"""The training methods, one file each, each with the settings to be tuned on the validation part.

A method is a module with a :class:`Method` named ``method``; its name is that of the module. All methods use one
schedule. ``docs/methods.md`` describes them, with sources and costs.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import ModuleType

from ..._util.discovery import by_name, modules
from ..._util.errors import unknown
from .base import EPOCHS, SCHEDULE, Method, Trial

__all__ = ["EPOCHS", "METHODS", "SCHEDULE", "Method", "Trial", "method"]


def _walked() -> dict[str, Method]:
    def own(module: ModuleType) -> dict[str, Method]:
        found = vars(module).get("method")
        return {module.__name__.rpartition(".")[2]: found} if isinstance(found, Method) else {}

    found = by_name("methods", modules(sys.modules[__name__]), own)
    return dict(sorted(found.items(), key=lambda item: (item[1].order, item[0])))


METHODS: Mapping[str, Method] = _walked()


def method(name: str) -> Method:
    """A method by name.

    Raises:
        ValueError: an unknown name; the message lists the methods.

    Example:
        >>> from neurorobust.train.methods import method
        >>> loss = method("adversarial").regularize(nn.functional.cross_entropy, None)
        >>> type(loss).__name__
        'Adversarial'
    """
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    return METHODS[name]
