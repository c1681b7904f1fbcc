"""Searches that a suite adds for a network with floors: every search with a gradient runs again through a leaky floor.

Below a hard floor the gradient is 0, so an attack that follows it can miss the worst dies. What is added is frozen
under a version of its own, so results of a suite on networks without floors stay what they are.
"""

from __future__ import annotations

from torch import nn

from ..attacks import Suite
from ..attacks.suite import count_passes
from ..dynamics import HardFloor, LeakyFloor
from ..nn.floor import has_floors

FLOORS = "floor-1"
"""Version of what is added."""

TRUE, LEAK = HardFloor(), LeakyFloor(0.3)
"""The floors through which a suite attacks, whatever floor the network was trained through; spikes do not change."""


def leaky_suite(network: nn.Module, suite: Suite) -> Suite:
    """The members that run again through ``LEAK``: those with a gradient; none for a network without floors."""
    if not has_floors(network):
        return Suite(())
    return Suite(tuple((attack, n) for attack, n in suite.members if count_passes(Suite(((attack, 1),)))[0]))


def version_on(network: nn.Module, version: str | None) -> str | None:
    """The version of a suite as it runs on a network: ``"quick-1"``, with floors ``"quick-1+floor-1"``."""
    return f"{version}+{FLOORS}" if version and has_floors(network) else version


def base(version: str | None) -> str | None:
    """The version without what floors add to it."""
    return version.removesuffix(f"+{FLOORS}") if version else version
