"""One file a peer, found by walking this package; its name with ``-`` for ``_`` is the tool's, its ``tool`` what runs.

A file imports its library at the top: where that fails, the peer is not installed.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys

from ..tool import Tool

OURS = "neurorobust"
ON_REQUEST = {"torch-compile": "needs a C++ compiler and a minute"}  # only with --against
UNWANTED = "samna"  # a vendor's SDK that rockpool would import if it could; its package runs pip when it is imported


def names() -> list[str]:
    """Every peer there is a file for, installed or not."""
    return [info.name.replace("_", "-") for info in pkgutil.iter_modules(__path__)]


def load(name: str) -> Tool:
    """A tool by its name; raises ImportError where it is not installed."""
    if name == OURS:
        return importlib.import_module("benchmarks.speed.ours").tool
    sys.modules.setdefault(UNWANTED, None)  # type: ignore[arg-type]
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}").tool
