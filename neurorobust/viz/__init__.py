"""Figures and reports."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import explorer, fleets, plotting, report

__all__ = ["explorer", "fleets", "plotting", "report"]


def __getattr__(name: str) -> Any:
    """Import on first use the names that need matplotlib, which is slow to import."""
    if name in __all__:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
