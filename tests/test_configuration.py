"""The version and the lower bounds of dependencies are the same wherever they are written."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

import neurorobust

ROOT = Path(__file__).parent.parent
EXTRAS = ("speech", "events", "distributed")


def requirements() -> list[str]:
    """The packages that a user installs: the package's dependencies and those of its own extras."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lists = [config["options"]["install_requires"], *(config["options.extras_require"][extra] for extra in EXTRAS)]
    return [line for text in lists for line in text.split() if line]


def pinned(file: str) -> dict[str, tuple[int, ...]]:
    """Versions by name from a file of constraints."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if "==" in line)
    return {name: tuple(map(int, version.split("."))) for name, version in pairs}


@pytest.mark.parametrize("requirement", requirements())
def test_lower_bounds_are_the_versions_that_are_tested(requirement):
    """A bound is written `name>=version`; the oldest tested version is that one, and the usual one is not older."""
    name, _, bound = requirement.partition(">=")
    version = tuple(map(int, bound.split(",")[0].split(".")))
    oldest, usual = pinned("constraints-oldest.txt")[name], pinned("constraints.txt")[name]
    assert oldest[: len(version)] == version and not any(oldest[len(version) :])
    assert usual >= oldest


def test_citation_has_the_version():
    """CITATION.cff and CHANGELOG.md name the version of the package."""
    assert f"\nversion: {neurorobust.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\n## {neurorobust.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
