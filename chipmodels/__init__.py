"""Chip models, one file each: a module with a ``ChipModel`` named ``chip``.

A new chip is one new file here, or in another package that names itself under the entry point group
``neurorobust.chips``; :func:`load` finds both. :func:`save` writes a model as such a file; ``load("mine.py")`` reads
one from any place.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurorobust.chip import Die
from neurorobust.chip.chip_file import save
from neurorobust.chip.die import read_die_file
from neurorobust.chip.installed import chip_model as load
from neurorobust.chip.installed import chip_models as models
from neurorobust.chip.installed import installed_chip

if TYPE_CHECKING:
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
    name = read_die_file(path)["chip"]
    try:
        model = installed_chip(name)
    except ValueError as error:
        raise ValueError(f"die {str(path)!r}: {error}") from error
    return Die.load(path, model)


def __getattr__(name: str) -> Any:
    """Import what fits measurements when it is first used: its statistics are slow to import."""
    if name not in ("Recording", "analyze", "fit_chip", "twin"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from neurorobust import fitting
    from neurorobust.fitting.twin import twin

    globals().update(Recording=fitting.Recording, analyze=fitting.analyze, fit_chip=fitting.fit_chip, twin=twin)
    return globals()[name]


def __dir__() -> list[str]:
    """All public names, also those that are imported on first use."""
    return sorted({*globals(), *__all__})
