"""Chip models, one file each: a module with a ``ChipModel`` named ``chip``.

A new chip is one new file here, or in a package of your own that names itself under the entry point group
``neurorobust.chips``; :func:`load` finds both.
"""

from pathlib import Path

from neurorobust.chip import Chip
from neurorobust.chip.die import read
from neurorobust.chip.fitting import Recording, estimate, fit
from neurorobust.chip.installed import chip_model as load
from neurorobust.chip.installed import chip_models as models
from neurorobust.chip.twin import twin

__all__ = ["Recording", "estimate", "fit", "load", "load_die", "models", "twin"]


def load_die(path: str | Path) -> Chip:
    """The die that ``Chip.save`` wrote, of an installed chip model."""
    return Chip.load(path, load(read(path)["chip"]))
