"""Chip models, one file each: a module with a ``ChipModel`` named ``chip``.

A new chip is one new file here, or in another package that names itself under the entry point group
``neurorobust.chips``; :func:`load` finds both. :func:`save` writes a model as such a file; ``load("mine.py")`` reads
one from any place.
"""

from pathlib import Path

from neurorobust.chip import Die
from neurorobust.chip.chip_file import save
from neurorobust.chip.die import read_die_file
from neurorobust.chip.installed import chip_model as load
from neurorobust.chip.installed import chip_models as models
from neurorobust.chip.installed import installed_chip
from neurorobust.fitting import Recording, analyze, fit_chip
from neurorobust.fitting.twin import twin

__all__ = ["Recording", "analyze", "fit_chip", "load", "load_die", "models", "save", "twin"]


def load_die(path: str | Path) -> Die:
    """The die that ``Die.save`` wrote, of an installed chip model.

    Raises:
        FileNotFoundError: there is no such file. ValueError: it is damaged, or its chip model is not installed.

    Example:
        >>> import chipmodels, tempfile
        >>> die = chipmodels.load("dynapse2").fabricate([17], seed=0)[0]
        >>> path = die.save(tempfile.mkdtemp() + "/die17.json")
        >>> chipmodels.load_die(path).serial
        17
    """
    return Die.load(path, installed_chip(read_die_file(path)["chip"]))
