"""The files of `_util/files.py` under the rules of Windows, which are played here: we have no such machine."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from neurorobust._util import files

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs the list of open files of Linux")


def is_open(path) -> bool:
    return any(os.path.realpath(entry) == os.path.realpath(path) for entry in Path("/proc/self/fd").iterdir())


@pytest.fixture
def windows(monkeypatch):
    """An open file can be neither renamed nor removed, a folder cannot be opened, a file that is open for reading is
    not brought to the disk, and locks are msvcrt's: of one byte, which no other handle may read or write."""

    def unless_open(function):
        def call(path, *rest, **options):
            if is_open(path) or any(is_open(other) for other in rest):
                raise PermissionError(13, "The process cannot access the file because it is being used")
            return function(path, *rest, **options)

        return call

    def opened(path, flags, *rest, open=os.open, **options):
        if flags == os.O_RDONLY and Path(path).is_dir():
            raise PermissionError(13, "Permission denied")
        return open(path, flags, *rest, **options)

    def synced(handle, fsync=os.fsync):
        if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(9, "Bad file descriptor")
        fsync(handle)

    def locking(handle, _mode, size):
        if size != 1 or os.lseek(handle, 0, os.SEEK_CUR) < os.fstat(handle).st_size + 10**6:
            raise AssertionError("the locked byte is in the content")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PermissionError(13, "Permission denied") from error

    monkeypatch.setattr(files, "fcntl", None)
    monkeypatch.setattr(files, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2), raising=False)
    for name in ("replace", "unlink"):
        monkeypatch.setattr(os, name, unless_open(getattr(os, name)))
    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "fsync", synced)


def test_a_file_is_replaced(windows, tmp_path):
    """Written, written again; a failure keeps the old content; no temporary file is left."""
    for text in ("first", "second"):
        files.write_text(tmp_path / "a.txt", text)
        assert (tmp_path / "a.txt").read_text() == text
    with pytest.raises(KeyError), files.replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise KeyError
    assert (tmp_path / "a.txt").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_has_one_run(windows, tmp_path):
    """The second is refused with the process of the first; afterwards the folder is free and empty."""
    for _ in range(2):
        refused = pytest.raises(files.InUse, match=f"process {os.getpid()} on ")
        with files.locked(tmp_path), refused, files.locked(tmp_path):
            pass
        assert list(tmp_path.iterdir()) == []


def test_only_dead_temporary_files_are_removed(windows, tmp_path):
    """A file that nobody has open is removed; that of a living run stays, and is written in the end."""
    (tmp_path / f".x{files.TEMPORARY}").touch()
    with files.replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
        (tmp_path / f".y{files.TEMPORARY}").touch()
        files.sweep(tmp_path)
        assert list(tmp_path.iterdir()) == [temporary]
    assert (tmp_path / "a.txt").read_text() == "whole"
