"""The plugin for pytest: options, the marker ``neurorobust``, and the fixtures ``fleet``, ``die`` and ``worst_die``.

Pytest loads it in every run where neurorobust is installed. So it imports nothing slow; what it needs is imported when
a test uses it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from . import session

if TYPE_CHECKING:
    from ..chip import Die, Fleet

NAME = "neurorobust"
USE = '@pytest.mark.neurorobust(chip="dynapse2", dies=20, seed=1)'


@dataclass(frozen=True)
class Marked:
    """The dies that a marker names.

    Attributes:
        chip: a chip model, or the name of an installed one. dies: how many, or their serial numbers. seed: of the dies.
    """

    chip: Any
    dies: int | Sequence[int] = 20
    seed: int = 1

    @property
    def serials(self) -> Sequence[int]:
        """The serial numbers."""
        return range(self.dies) if isinstance(self.dies, int) else tuple(self.dies)

    def fleet(self) -> Fleet:
        """The dies."""
        from .common import as_chip

        return as_chip(self.chip).fabricate(self.serials, self.seed)


def marked(item: pytest.Item, fixture: str) -> Marked:
    """The marker of a test; an error of usage unless it is there and can be read."""
    mark = item.get_closest_marker(NAME)
    if mark is None:
        raise pytest.UsageError(f"{item.nodeid}: the fixture {fixture!r} needs a marker: {USE}.")
    try:
        found = Marked(*mark.args, **mark.kwargs)
        if not len(found.serials):
            raise ValueError("it names no dies")
    except (TypeError, ValueError) as error:
        raise pytest.UsageError(
            f"{item.nodeid}: the marker neurorobust cannot be read ({error}); expected {USE}."
        ) from error
    return found


# ---- options and the surroundings of a test


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup(NAME, "neurorobust: robustness on analog chips")
    group.addoption(
        "--neurorobust-update",
        action="store_true",
        help="Write the baselines of neurorobust.testing.assert_not_worse; compare nothing.",
    )
    group.addoption(
        "--neurorobust-figures",
        metavar="DIR",
        help="Folder of the figures of failing checks; default: in the cache of pytest.",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "neurorobust(chip, dies=20, seed=1): the dies of the fixtures fleet, die and worst_die. chip: a model or the "
        "name of an installed one; dies: how many, or their serial numbers.",
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    def say(line: str) -> None:
        item.user_properties.append((NAME, line))

    here = session.Session(
        folder=item.path.parent,
        update=item.config.getoption("--neurorobust-update"),
        figure=_figures(item.config) / re.sub(r"[^\w-]+", "-", item.nodeid),
        say=say,
    )
    with session.running(here):
        return (yield)


def _figures(config: pytest.Config) -> Path:
    """The folder of figures; nothing is made before a figure is drawn."""
    chosen = config.getoption("--neurorobust-figures")
    if chosen is not None:
        return config.invocation_params.dir / chosen
    cache = getattr(config, "cache", None)  # None with -p no:cacheprovider
    return Path(tempfile.gettempdir()) / NAME if cache is None else cache.mkdir(NAME)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for some in terminalreporter.stats.values() for report in some]
    lines = [
        text
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, text in report.user_properties
        if name == NAME
    ]
    if lines:
        terminalreporter.section(NAME)
        for line in lines:
            terminalreporter.write_line(line)


# ---- fixtures


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "die" in metafunc.fixturenames and metafunc.definition.get_closest_marker(NAME) is not None:
        serials = marked(metafunc.definition, "die").serials
        metafunc.parametrize("die", serials, indirect=True, ids=[f"die {serial}" for serial in serials])


@pytest.fixture
def fleet(request: pytest.FixtureRequest) -> Fleet:
    """The dies that the marker of the test names."""
    return marked(request.node, "fleet").fleet()


@pytest.fixture
def die(request: pytest.FixtureRequest) -> Die:
    """One die: the test runs once for each die that its marker names."""
    found = marked(request.node, "die").fleet()
    return found[found.serials.index(request.param)]


@pytest.fixture
def worst_die(request: pytest.FixtureRequest) -> Die:
    """The die with the lowest score, of those that the marker names, for the fixtures ``network`` and ``data``."""
    from ..evaluation.dies import die_scores
    from .common import as_chip

    found = marked(request.node, "worst_die")
    network, data = request.getfixturevalue("network"), request.getfixturevalue("data")
    scores = list(die_scores(network, data, as_chip(found.chip), found.serials, found.seed))
    return found.fleet()[scores.index(min(scores))]
