"""The attacks that are installed: of this package, and of packages under the entry point ``neurorobust.attacks``."""

from __future__ import annotations

from .. import attacks
from .._util.discovery import classes
from .attack import Attack

ATTACKS = "neurorobust.attacks"


def attack_classes() -> dict[str, type[Attack]]:
    """Every installed attack, by class name.

    Raises:
        ValueError: two of them have the same name.
    """
    return classes(attacks, Attack, ATTACKS)
