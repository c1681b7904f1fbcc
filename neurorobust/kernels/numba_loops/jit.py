"""numba's compiler as the loops use it: cached on disk, without the interpreter's lock, IEEE but for reordering."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import register_pass
from numba.core.lowering import Lower
from numba.core.serialize import dumps
from numba.core.typed_passes import NativeLowering

from ..._util import console, files
from ..._util.signals import signals_wait

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


class _CheckedFiles:
    """The files of a function's compiled code, one for each signature and machine: SHA-256 of the rest, versions of
    numba and of the sources, code. numba checks no digest, and two processes that compile at once can exchange the
    files of two signatures."""

    def __init__(self, folder: str, name: str):
        self.folder, self.name = Path(folder), name
        self.stamp = f"{VERSION} {SOURCE_DIGEST}\n".encode()

    def path(self, key: tuple) -> Path:
        text = re.sub(" at 0x[0-9a-f]+", "", repr(key[:2]))  # signature and machine, without addresses
        return self.folder / f"{self.name}.{hashlib.sha256(text.encode()).hexdigest()[:16]}.nbc"

    def save(self, key: tuple, code: Any) -> None:
        data = self.stamp + dumps((key, code))
        with files.replacing(self.path(key)) as temporary:
            temporary.write_bytes(hashlib.sha256(data).digest() + data)

    def load(self, key: tuple) -> Any:
        """The code; None if there is none, or of other sources. A damaged file is said and removed."""
        path = self.path(key)
        try:
            found = path.read_bytes()
        except OSError:
            return None
        digest, data = found[:32], found[32:]
        if hashlib.sha256(data).digest() != digest:
            _say(f"compiled code {str(path)!r} is damaged; it is removed and compiled again.")
            with suppress(OSError):
                path.unlink()
            return None
        if not data.startswith(self.stamp):
            return None
        known, code = pickle.loads(data[len(self.stamp) :])
        return code if known == key else None

    def flush(self) -> None:
        """Forget all code."""
        for path in self.folder.glob(f"{self.name}.*.nbc"):
            path.unlink(missing_ok=True)


class _SourcesCache(FunctionCache):
    """numba's cache of a function. numba looks at the function's own file only; this one is valid as long as no file of
    this folder changes, because a function is compiled together with what it calls."""

    def __init__(self, function: Callable[..., Any]):
        super().__init__(function)
        self._cache_file = _CheckedFiles(self.cache_path, self._impl.filename_base)

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError as error:
            _say(
                f"compiled code cannot be kept in {self.cache_path!r} ({error.strerror or error}), so every process "
                f"compiles it; make room there, or name another folder in NUMBA_CACHE_DIR."
            )
        except RuntimeError as error:
            # A signal raised its exception while LLVM handed the code to numba, and both were lost. The code itself
            # is complete; the next process compiles and keeps it.
            if "no compiled object" not in str(error):
                raise


@cache
def _say(line: str) -> None:
    """A line on stderr, once."""
    console.err.print(line, soft_wrap=True, markup=False, highlight=False)


class _WideLower(Lower):
    """numba's translation to LLVM, for vectors of 512 bits where the processor has them. LLVM takes half of that by
    itself, lest a processor slows down; other parts of the same loops use whole ones anyway."""

    def setup_function(self, fndesc: Any) -> None:
        super().setup_function(fndesc)
        set.add(self.function.attributes, '"prefer-vector-width"="512"')  # llvmlite's own add() knows no such pair


@register_pass(mutates_CFG=True, analysis_only=False)
class _WideLowering(NativeLowering):
    _name = "neurorobust_wide_lowering"

    @property
    def lowering_class(self) -> type[Lower]:
        return _WideLower


class _NoAlias(Compiler):
    """numba's compiler, which tells LLVM that no array that a function writes overlaps another, and that wide vectors
    are welcome; numba has no option for either."""

    def define_pipelines(self) -> list:
        self.state.flags.noalias = True
        pipelines = super().define_pipelines()
        for pipeline in pipelines:
            pipeline.passes = [(_WideLowering if one is NativeLowering else one, why) for one, why in pipeline.passes]
            pipeline.finalize()
        return pipelines


# All of fastmath but nnan and ninf: a NaN has to come out where one went in.
_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz", "arcp"}}


def _compile(compile: Callable[[Any], Any], name: str, signature: Any) -> Any:
    """numba's ``compile``, into which no signal's exception falls: LLVM would free a module twice, and so crash."""
    with signals_wait(f"the loop {name!r}, which is being compiled"):
        return compile(signature)


def _decorator(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(**_OPTIONS, **options)(function)
        dispatcher._cache = _SourcesCache(function)
        dispatcher.compile = partial(_compile, dispatcher.compile, function.__name__)
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
