"""Tasks and networks of the user's own: FILE.py:FUNCTION on the command line.

Such a file is run, as ``python FILE.py`` would run it. Only files that the user names on the command line are run,
never one that a model folder or a deployment names.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from .._util.errors import unknown
from ..data import Task
from ..interop import wrap
from ..interop.look import Foreign
from ..interop.wrapped import is_snntorch

PREFIX = "neurorobust_own_file_"


def is_own(text: str) -> bool:
    """Whether a text names a file, and not something installed."""
    return ".py:" in text or text.endswith(".py")


def own_task(text: str) -> Task:
    """The task that a function of a file gives."""
    task = _call("task", text)
    if not isinstance(task, Task):
        raise ValueError(f"task: {text} gives a {_kind(task)}; expected a neurorobust.data.Task.")
    return task


def own_network(text: str, seed: int = 0) -> nn.Module:
    """The network that a function of a file gives; ``seed``: of torch's random numbers while it makes the network.

    A module that is none of :func:`neurorobust.wrap`, :func:`neurorobust.from_snntorch` or
    :class:`neurorobust.Network` is wrapped.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _call("model", text)
    if not isinstance(network, nn.Module):
        raise ValueError(f"model: {text} gives a {_kind(network)}; expected a torch.nn.Module.")
    if isinstance(network, Foreign) or hasattr(network, "placement"):
        return network
    if any(is_snntorch(part) for part in network.modules()):
        raise ValueError(
            f"model: {text} gives a module with snnTorch neurons, whose time step is not known; return "
            f"nr.from_snntorch(module, dt=…), or nr.wrap(module)."
        )
    return wrap(network)


def own_modules() -> tuple[Path, ...]:
    """The files of the user that were run."""
    return tuple(Path(str(module.__file__)) for name, module in sys.modules.items() if name.startswith(PREFIX))


def run_again(paths: Sequence[Path]) -> None:
    """Run files of the user in a worker process, which then knows their classes."""
    for path in paths:
        _module("workers", path)


def place_of(error: BaseException) -> str | None:
    """``FILE.py, line N`` where an error passed a file of the user last; None if it passed none."""
    names = {str(module.__file__) for name, module in sys.modules.items() if name.startswith(PREFIX)}
    if isinstance(error, SyntaxError) and error.filename in names:
        return f"{error.filename}, line {error.lineno}"
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    frames += [(name, int(line)) for name, line in re.findall(r'File "(.+?)", line (\d+)', str(error))]  # of a worker
    return next((f"{name}, line {line}" for name, line in reversed(frames) if name in names), None)


def said(error: BaseException) -> str:
    """What an error says, in one line; of an error in a worker of a loader the last one."""
    lines = str(error).strip().splitlines() or [""]
    if "Original Traceback" in str(error):
        return lines[-1]
    return " ".join(f"{type(error).__name__}: {' '.join(lines)}".split()).rstrip(":")


def _call(option: str, text: str) -> Any:
    path, _, name = text.rpartition(":")
    if not path.endswith(".py") or not name.isidentifier():
        raise ValueError(f"{option}: got {text!r}; expected FILE.py:FUNCTION, path/to/mine.py:{option}.")
    function = _function(option, Path(path), name)
    with redirect_stdout(sys.stderr):
        return function()


def _needed(function: Callable[..., Any]) -> str:
    """The arguments without which a function cannot be called."""
    try:
        given = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # of something written in C
        return ""
    optional = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    return ", ".join(each.name for each in given if each.default is each.empty and each.kind not in optional)


def _function(option: str, path: Path, name: str) -> Callable[[], Any]:
    found = vars(_module(option, path))
    own = {key for key, value in found.items() if callable(value) and not key.startswith("_")}
    if name not in found:
        raise unknown(f"{option}: function of {path}", name, own)
    if not callable(found[name]):
        raise ValueError(
            f"{option}: {name} in {path} is a {_kind(found[name])}; expected a function without arguments."
        )
    if needed := _needed(found[name]):
        raise ValueError(
            f"{option}: {name} in {path} needs the argument {needed}; expected a function that can be called without "
            f"any: give it a default."
        )
    return found[name]


def _module(option: str, path: Path) -> ModuleType:
    """The module of a file, which is run once; files beside it can be imported from it."""
    if not path.is_file():
        raise FileNotFoundError(f"{option}: there is no file {str(path)!r}.")
    whole = str(path.resolve())
    name = f"{PREFIX}{path.stem}_{hashlib.sha256(whole.encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, whole)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if (folder := str(path.resolve().parent)) not in sys.path:
        sys.path.append(folder)
    try:
        with redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except SystemExit as error:
        raise ValueError(f"{option}: {path} ends by sys.exit({error.code!r}) when it is run.") from error
    return module


def _kind(value: object) -> str:
    return type(value).__name__
