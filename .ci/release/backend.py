"""The build backend: setuptools, with archives whose bytes depend on the files alone.

    python -m pip wheel --no-deps .        # or python -m build

``pyproject.toml`` names this module. It hands everything to setuptools. Then it writes the archive again: members in
the order of their names, one date, one owner, plain modes. So two builds of the same files with the same tools give the
same bytes, whatever the folder, the time, the user and the umask are. The date is ``SOURCE_DATE_EPOCH`` (seconds since
1970, see reproducible-builds.org) or 1 January 2020.

What an earlier build left in the folder does not count: setuptools works in a temporary folder, and its old list of
sources is removed.
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

Settings = Mapping[str, Any] | None


def build_wheel(directory: str, settings: Settings = None, metadata: str | None = None) -> str:
    """A wheel in a directory; returns its name (PEP 517)."""
    with tempfile.TemporaryDirectory() as work:
        built = {**(settings or {}), "--global-option": ["build", "--build-base", work]}
        name = str(build_meta.build_wheel(directory, built, metadata))
    _write(Path(directory) / name, plain_wheel)
    return name


def build_sdist(directory: str, settings: Settings = None) -> str:
    """The sources in a directory; returns the name of the archive (PEP 517)."""
    for old in Path().glob("*.egg-info/SOURCES.txt"):
        old.unlink()
    name = str(build_meta.build_sdist(directory, settings))
    _write(Path(directory) / name, plain_sdist)
    return name


def _write(path: Path, plain: Any) -> None:
    path.write_bytes(plain(path.read_bytes(), epoch()))


def epoch() -> int:
    """The date of all files, in seconds since 1970.

    Raises:
        ValueError: ``SOURCE_DATE_EPOCH`` is no whole number from 1980 on, where the dates of a zip archive begin.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH", "1577836800")
    if not text.isdecimal() or not 315532800 <= int(text) < 4354819200:
        raise ValueError(
            f"SOURCE_DATE_EPOCH: got {text!r}; expected whole seconds since 1970, of a date from 1980 to 2107."
        )
    return int(text)


def plain_wheel(archive: bytes, date: int) -> bytes:
    """A wheel again, without dates, owners and modes of this machine; its metadata stand last, as PEP 427 asks."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in sorted(old.namelist(), key=lambda one: (".dist-info/" in one, one.endswith("/RECORD"), one)):
            info = zipfile.ZipInfo(name, time.gmtime(date)[:6])
            info.create_system, info.external_attr, info.compress_type = 3, 0o100644 << 16, zipfile.ZIP_DEFLATED
            new.writestr(info, old.read(name))
    return out.getvalue()


def plain_sdist(archive: bytes, date: int) -> bytes:
    """A tar.gz again, without dates, owners and modes of this machine."""
    packed, out = io.BytesIO(), io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as old,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda one: one.name):
            info = tarfile.TarInfo(member.name)
            info.type, info.size, info.mtime = member.type, member.size, date
            info.mode = 0o755 if member.isdir() else 0o644
            new.addfile(info, old.extractfile(member) if member.isfile() else None)
    with gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=date) as zipped:
        zipped.write(packed.getvalue())
    return out.getvalue()
