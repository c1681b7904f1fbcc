"""Figures and reports."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import plotting, report

__all__ = ["plotting", "report"]


def __getattr__(name: str) -> Any:
    """What needs matplotlib, which is slow to import, on first use."""
    if name in __all__:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
