"""numba's compiler as the loops use it: cached on disk, without the interpreter's lock, IEEE but for reordering."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.compiler import Compiler

SOURCES = Path(__file__).parent
VERSION = numba.__version__


def cache_folder() -> str:
    """The folder of compiled code where neither this package nor the user's home can be written to: a private one
    among the temporary folders; "" where numba's own choice will do."""
    own = SOURCES / "__pycache__"
    try:
        home = Path.home()
    except RuntimeError:
        home = own
    cache = home / ".cache"
    for folder in (own if own.exists() else own.parent, cache if cache.exists() else home):
        if folder.exists() and os.access(folder, os.W_OK):
            return ""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"neurorobust-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and (os.name == "nt" or (found.st_uid == user and not found.st_mode & 0o077)):
            return str(folder)
    except OSError:
        pass
    return tempfile.mkdtemp(prefix="neurorobust-")  # somebody else's folder could hold somebody else's code


if not numba.config.CACHE_DIR:
    numba.config.CACHE_DIR = cache_folder()


def folder() -> Path:
    """The folder of compiled code."""
    return Path(numba.config.CACHE_DIR) if numba.config.CACHE_DIR else SOURCES / "__pycache__"


def digest_of(folder: Path) -> str:
    """A digest of all Python files of a folder, names and content."""
    total = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        total.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


SOURCE_DIGEST = digest_of(SOURCES)


class _SourcesCache(FunctionCache):
    """numba's cache of a function. numba looks at the function's own file only; this one is valid as long as no file of
    this folder changes, because a function is compiled together with what it calls."""

    def __init__(self, function: Callable[..., Any]):
        super().__init__(function)
        self._cache_file = IndexDataCacheFile(self.cache_path, self._impl.filename_base, SOURCE_DIGEST)


class _NoAlias(Compiler):
    """numba's compiler, which tells LLVM that no array that a function writes overlaps another; numba has a flag for it
    but no option."""

    def define_pipelines(self) -> list:
        self.state.flags.noalias = True
        return super().define_pipelines()


# All of fastmath but nnan and ninf: a NaN has to come out where one went in.
_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz", "arcp"}}


def _decorator(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(**_OPTIONS, **options)(function)
        dispatcher._cache = _SourcesCache(function)
        return dispatcher

    return decorate


jit = _decorator()
njit_no_nrt = _decorator(_nrt=False)
"""For functions that allocate nothing: without reference counts, which cost more than a short loop."""
njit_inline = _decorator(_nrt=False, forceinline=True)
"""For a function that is called so often that the call would cost too much: it becomes part of its caller."""
njit_noalias = _decorator(_nrt=False, forceinline=True, pipeline_class=_NoAlias)
"""For one loop over arrays that do not overlap: part of its caller, and vectorized however many arrays there are, where
LLVM would give up on the checks for overlap. An array that is only read may be passed twice."""
