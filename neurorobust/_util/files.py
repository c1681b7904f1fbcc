"""Files that are complete or absent, and folders that one run uses at a time."""

from __future__ import annotations

import errno
import os
import platform
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from .warn import warn

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
try:
    import msvcrt
except ImportError:  # everything else
    msvcrt = None  # type: ignore[assignment]

TEMPORARY = ".neurorobust"
"""The end of the names of temporary files."""
LOCKED_BYTE = 2**31 - 2
"""Where Windows locks a file: behind its content, which others may read and write."""


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
    new one. The temporary file is locked: what a killed process left is removed by the next one that writes there. A
    link stays, and what it points to is replaced. The new file has the permissions of the old one.

    Raises:
        OSError: it cannot be written, or ``path`` is no file but a device, such as /dev/null, or a pipe.
    """
    target = Path(os.path.realpath(path))
    with _naming(path), ExitStack() as held:
        mode = _mode(target)
        sweep(target.parent)
        temporary = _temporary(target, held)
        try:
            yield temporary
            if mode is not None:
                temporary.chmod(mode)
            with temporary.open("rb+") as file:  # Windows brings only a file to the disk that may be written
                os.fsync(file.fileno())
            _while_held(lambda: temporary.replace(target), held)
            _sync_folder(target.parent)
        finally:
            _while_held(lambda: temporary.unlink(missing_ok=True), held)


def _mode(path: Path) -> int | None:
    """The permissions of a file; None if there is none. Raises OSError for a device or a pipe, which a file would
    replace."""
    try:
        found = path.stat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found) and not stat.S_ISDIR(found):
        raise OSError(errno.EINVAL, "Not a file but a device or a pipe", str(path))
    return stat.S_IMODE(found) | stat.S_IWUSR


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let errors of the system name the file, not the temporary one; a full disk names none."""
    try:
        yield
    except OSError as error:
        about = str(error.filename or "")
        if error.errno is None or not (about == "" or about.endswith(TEMPORARY)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def written_by(other: type[Exception], path: Path) -> Iterator[None]:
    """Turn the error of a library that writes a file, ``other``, into an OSError that names the file."""
    try:
        yield
    except other as error:
        raise OSError(f"{path}: cannot be written ({' '.join(str(error).split())}).") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sweep(folder: Path) -> None:
    """Remove the temporary files of killed processes. A living process holds the lock of its own."""
    with suppress(OSError):  # what cannot be looked at is for the next one
        for path in folder.glob(f".*{TEMPORARY}"):
            with suppress(OSError), ExitStack() as held:
                _lock(held.enter_context(path.open("rb+")).fileno())
                _while_held(path.unlink, held)


@contextmanager
def locked(folder: Path, name: str = ".lock") -> Iterator[None]:
    """Use a folder alone, among all processes and threads. The lock file of a killed process locks nothing.

    Raises:
        InUse: at once, if another run uses it.
    """
    path = folder / name
    with ExitStack() as held:
        with _naming(path):
            handle = _locked_file(path, folder, held)
        try:
            _sign(handle)
            yield
        finally:
            with suppress(OSError):  # of Windows, if another run has opened it: that one removes it
                _while_held(lambda: path.unlink(missing_ok=True), held)


def _locked_file(path: Path, folder: Path, held: ExitStack) -> int:
    """The open and locked file, which ``held`` closes."""
    while True:
        with ExitStack() as opened:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            opened.callback(_close, handle)
            try:
                _lock(handle)
            except BlockingIOError as error:
                owner = os.read(handle, 200).decode(errors="replace").strip()
                raise InUse(
                    f"out: folder {str(folder)!r} is in use by another run ({owner or 'just started'}); wait until it "
                    f"ends, or choose another folder."
                ) from error
            except OSError as error:
                warn(f"out: folder {str(folder)!r} cannot be locked ({error}); make sure that no other run uses it.")
            if os.fstat(handle).st_nlink:  # else its last user has just removed it
                held.push(opened.pop_all())
                return handle


def _sign(handle: int) -> None:
    """Write into a lock file who holds it. The words are for others only, so a full disk may go without them."""
    with suppress(OSError):
        os.truncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {platform.node()}\n".encode())


def _close(handle: int) -> None:
    with suppress(OSError):  # nothing of value was written
        os.close(handle)


def _temporary(path: Path, held: ExitStack) -> Path:
    """A new temporary file for a path, which is locked until ``held`` closes it."""
    while True:
        name = str(path.parent / f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
        try:
            handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)  # less what the user's mask takes away
        except FileExistsError:
            continue
        try:
            with ExitStack() as opened:
                opened.callback(os.close, handle)
                try:
                    _lock(handle)
                except BlockingIOError:
                    continue  # another process removes it, before it was locked
                except OSError:  # no locks here, so nobody removes it
                    pass
                if os.fstat(handle).st_nlink:
                    held.push(opened.pop_all())
                    return Path(name)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise


def _while_held(change: Callable[[], object], held: ExitStack) -> None:
    """Rename or remove a file while it is open and locked; where an open file keeps its name (Windows), once closed."""
    try:
        change()
    except PermissionError:
        held.close()
        change()


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
    if fcntl is not None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    elif msvcrt is not None:
        _lock_byte(handle)
    else:
        raise OSError("this system has no locks")


def _lock_byte(handle: int) -> None:
    position = os.lseek(handle, 0, os.SEEK_CUR)
    try:
        os.lseek(handle, LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except PermissionError as error:
        raise BlockingIOError(error.errno, error.strerror) from error
    finally:
        os.lseek(handle, position, os.SEEK_SET)
