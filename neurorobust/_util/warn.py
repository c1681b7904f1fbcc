"""Warnings that point to the caller's line."""

from __future__ import annotations

import contextlib
import inspect
import os
import warnings
from pathlib import Path

import torch

_FOLDERS = (Path(__file__).parents[1], Path(torch.__file__).parent)
INSIDE = (*(os.path.join(folder, "") for folder in _FOLDERS), contextlib.__file__, "<frozen importlib")


def warn(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the innermost line outside this package and torch: the user's call, however deep it leads."""
    stack = inspect.stack(0)
    caller = next((call for call in stack if not call.filename.startswith(INSIDE)), stack[-1])
    names = caller.frame.f_globals
    registry = names.setdefault("__warningregistry__", {})
    warnings.warn_explicit(text, category, caller.filename, caller.lineno, names.get("__name__"), registry)
