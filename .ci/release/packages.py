"""Build the source archive and the wheel from the files that git knows.

    python .ci/release/packages.py DIR     # writes neurorobust-….tar.gz and neurorobust-…-py3-none-any.whl

The wheel is built from the source archive, as an installer does it. ``make matrix`` installs both.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
LEFT_OUT = (".ci/run", ".gitignore", ".pre-commit-config.yaml")
"""What git has and the source archive has not: it is for those who work in a clone."""


def tracked(root: Path = ROOT) -> list[str]:
    """The files that git knows and that are there, without those left out.

    Raises:
        ValueError: the folder is no clone.
    """
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=False)
    names = [name for name in listed.stdout.split("\0") if name and (root / name).is_file()]
    if listed.returncode or "setup.cfg" not in names:
        raise ValueError(f"{root}: git lists no sources here; build in a clone of the repository.")
    return [name for name in names if not name.startswith(LEFT_OUT)]


def copy_sources(target: Path, root: Path = ROOT) -> None:
    """Copy the tracked files to a folder."""
    for name in tracked(root):
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, path)


def build(kind: str, sources: Path, out: Path) -> Path:
    """Build one archive of the sources in a folder, with the backend that they name and the setuptools of this Python.

    Args:
        kind: ``sdist`` or ``wheel``.
    """
    code = f"import sys, backend; print('name:', backend.build_{kind}(sys.argv[1]))"
    environment = {**os.environ, "PYTHONPATH": str(sources / ".ci/release")}
    command = [sys.executable, "-P", "-c", code, str(out.resolve())]
    ran = subprocess.run(command, cwd=sources, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"{kind}: the build failed: {ran.stderr.strip()[-2000:]}")
    return out / ran.stdout.rpartition("name: ")[2].strip()


def unpack(sdist: Path, target: Path) -> Path:
    """Unpack a source archive; returns the folder of its files."""
    with tarfile.open(sdist) as archive:
        archive.extractall(target, filter="data")
    return target / sdist.name.removesuffix(".tar.gz")


def build_both(out: Path, root: Path = ROOT) -> tuple[Path, Path]:
    """The source archive, and the wheel from it."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        copy_sources(Path(work) / "clone", root)
        sdist = build("sdist", Path(work) / "clone", out)
        wheel = build("wheel", unpack(sdist, Path(work)), out)
    return sdist, wheel


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        for path in build_both(Path(sys.argv[1])):
            print(path)
    except (ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
