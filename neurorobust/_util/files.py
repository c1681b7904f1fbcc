"""Files that are complete or absent, and folders that one run uses at a time."""

from __future__ import annotations

import os
import platform
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TEMPORARY = ".neurorobust"
"""The end of the names of temporary files."""


class InUse(OSError):
    """Another run uses a folder."""


def make_folder(path: str | Path) -> Path:
    """Return the folder; make it if it is missing, and remove what killed processes left there. Raises OSError, in one
    line, if it is not writable."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise OSError(f"out: cannot write to folder {str(path)!r} ({error.strerror}); choose another one.") from error
    sweep(path)
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``. It replaces ``path`` if the block succeeds and is deleted if it fails.

    The content is on the disk before the name changes. So after a crash of the machine too there is the old file or the
    new one. The temporary file is locked: what a killed process left is removed by the next one that writes there.
    """
    sweep(path.parent)
    temporary, handle = _temporary(path)
    try:
        yield temporary
        temporary.chmod(0o644)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sweep(folder: Path) -> None:
    """Remove the temporary files of killed processes. A living process holds the lock of its own."""
    for path in folder.glob(f".*{TEMPORARY}"):
        with suppress(OSError), path.open("rb+") as file:
            _lock(file.fileno())
            path.unlink()


@contextmanager
def locked(folder: Path, name: str = ".lock") -> Iterator[None]:
    """Use a folder alone, among all processes and threads. The lock file of a killed process locks nothing.

    Raises:
        InUse: at once, if another run uses it.
    """
    path = folder / name
    handle = _locked_file(path, folder)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _locked_file(path: Path, folder: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(handle)
        except BlockingIOError as error:
            owner = os.read(handle, 200).decode(errors="replace").strip()
            os.close(handle)
            raise InUse(
                f"out: folder {str(folder)!r} is in use by another run ({owner or 'just started'}); wait until it "
                f"ends, or choose another folder."
            ) from error
        except OSError as error:
            warnings.warn(
                f"out: folder {str(folder)!r} cannot be locked ({error}); make sure that no other run uses it.",
                UserWarning,
                stacklevel=4,
            )
        if os.fstat(handle).st_nlink:
            os.truncate(handle, 0)
            os.write(handle, f"process {os.getpid()} on {platform.node()}\n".encode())
            return handle
        os.close(handle)  # its last user has just removed it


def _temporary(path: Path) -> tuple[Path, int]:
    """A new temporary file for a path, and its open handle, which locks it."""
    while True:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=TEMPORARY)
        try:
            _lock(handle)
        except BlockingIOError:
            os.close(handle)  # another process removes it, before it was locked
            continue
        except OSError:  # no locks here, so nobody removes it
            pass
        if os.fstat(handle).st_nlink:
            return Path(name), handle
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Make sure that the names of a folder are on the disk; some file systems cannot, and need not."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _lock(handle: int) -> None:
    """Lock an open file until it is closed or the process ends.

    Raises:
        BlockingIOError: it is locked. OSError: there are no locks on this system or file system.
    """
    if fcntl is None:
        raise OSError("this system has no flock")
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
