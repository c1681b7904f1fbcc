"""Files that are installed beside the package."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

TUTORIALS = "share/neurorobust/tutorials"
"""Where a wheel puts the tutorials, below the environment."""
REPOSITORY = Path(__file__).parents[2]
"""The clone that the package is run from, if it is run from one."""


def tutorial_files() -> list[Path]:
    """The tutorials that belong to this package, by name: those of the clone, or those that were installed.

    Raises:
        FileNotFoundError: there are none.
    """
    if (REPOSITORY / "setup.cfg").is_file():
        found = [path for path in (REPOSITORY / "tutorials").glob("*") if path.suffix in (".py", ".ipynb", ".md")]
    else:
        try:
            listed = metadata.files("neurorobust") or []
        except metadata.PackageNotFoundError:
            listed = []
        found = [Path(str(file.locate())) for file in listed if file.parent.as_posix().endswith(TUTORIALS)]
    if not found:
        raise FileNotFoundError(
            "tutorials: this installation has none; install neurorobust again, or take the folder tutorials/ of the "
            "repository."
        )
    return sorted(found)
