"""The inventories of other projects' documentation, restricted to the names that our signatures and docstrings use.

``python docs/inventory.py`` writes them to ``docs/inventories``, so no build of ours needs a network. Python's places
were read from the inventory in Debian's ``python3.11-doc`` (3.11.2); those of the others from their pages, stored
copies of which were looked at in 2026. ``--compare objects.inv`` compares the names of one project with a full
inventory of it.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from neurorobust._util import files

FOLDER = Path(__file__).parent / "inventories"


class Project(NamedTuple):
    """Where a project's documentation is, and by name the kind of an object and its page there; ``$`` is the name."""

    url: str
    version: str
    names: Mapping[str, tuple[str, str]]


def _classes(page: str, *names: str) -> dict[str, tuple[str, str]]:
    return {name: ("class", page.format(name)) for name in names}


PROJECTS: Mapping[str, Project] = {
    "python": Project(
        "https://docs.python.org/3",
        "3.11",
        {
            **_classes("library/collections.abc.html#$", *map("collections.abc.{}".format, ("Callable", "Iterable"))),
            **_classes("library/collections.abc.html#$", *map("collections.abc.{}".format, ("Iterator", "Mapping"))),
            **_classes("library/collections.abc.html#$", "collections.abc.Sequence"),
            **_classes("library/pathlib.html#$", "pathlib.Path"),
            **{f"typing.{name}": ("data", "library/typing.html#$") for name in ("Any", "Self", "Unpack")},
        },
    ),
    "torch": Project(
        "https://docs.pytorch.org/docs/stable",
        "2",
        {
            **_classes("tensors.html#$", "torch.Tensor"),
            **_classes("generated/{}.html#$", "torch.Generator", "torch.nn.Module"),
            **_classes("tensor_attributes.html#$", "torch.dtype", "torch.device"),
            **_classes("data.html#$", *map("torch.utils.data.{}".format, ("DataLoader", "Dataset", "IterableDataset"))),
        },
    ),
    "numpy": Project(
        "https://numpy.org/doc/stable", "2", _classes("reference/generated/{}.html#$", "numpy.ndarray", "numpy.dtype")
    ),
    "pandas": Project("https://pandas.pydata.org/docs", "2", _classes("reference/api/{}.html#$", "pandas.DataFrame")),
    "matplotlib": Project(
        "https://matplotlib.org/stable",
        "3",
        _classes("api/_as_gen/{}.html#$", "matplotlib.axes.Axes", "matplotlib.figure.Figure"),
    ),
}


def lines(project: Project) -> list[str]:
    """The entries of an inventory, as Sphinx writes them: name, domain and kind, priority, place, ``-``."""
    return [f"{name} py:{kind} 1 {page} -" for name, (kind, page) in sorted(project.names.items())]


def written(name: str) -> bytes:
    """The inventory of a project in version 2 of Sphinx's format."""
    head = f"# Sphinx inventory version 2\n# Project: {name}\n# Version: {PROJECTS[name].version}\n"
    text = "".join(f"{line}\n" for line in lines(PROJECTS[name]))
    return f"{head}# The remainder of this file is compressed using zlib.\n".encode() + zlib.compress(text.encode(), 9)


def read(content: bytes) -> list[str]:
    """The entries of an inventory in version 2."""
    return zlib.decompress(content.split(b"\n", 4)[4]).decode().splitlines()


def main() -> None:
    """Write all inventories, or compare one with a full inventory of its project."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compare", type=Path, help="a full inventory, objects.inv")
    full = parser.parse_args().compare
    if full is None:
        for name in PROJECTS:
            with files.replacing(FOLDER / f"{name}.inv") as temporary:
                temporary.write_bytes(written(name))
        return
    there = {tuple(line.split()) for line in read(full.read_bytes())}
    names = {entry[0] for entry in there}
    here = [tuple(line.split()) for project in PROJECTS.values() for line in lines(project) if line.split()[0] in names]
    wrong = [" ".join(entry) for entry in here if entry not in there]
    print(f"{len(here)} names of ours are in {full}; {len(wrong)} of them are elsewhere.", *wrong, sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
