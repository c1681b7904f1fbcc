"""Installed chip models, found through the entry point ``neurorobust.chips``."""

from __future__ import annotations

from types import FunctionType, ModuleType

from .._util.discovery import by_name, installed, leave_out
from .._util.errors import shown, unknown
from . import ChipModel
from .chip_file import read

CHIPS = "neurorobust.chips"


def chip_models() -> dict[str, ChipModel]:
    """Every installed chip model, by name.

    A package that offers chips names itself under the entry point group ``neurorobust.chips``; each of its modules that
    holds a ``ChipModel`` named ``chip`` counts. A package that cannot be imported is left out with a warning, and so
    is a ``chip`` that is something else.

    Raises:
        ValueError: two of them have the same name.

    Example:
        >>> import chipmodels
        >>> list(chipmodels.models())[:4]
        ['braindrop', 'brainscales2', 'dynapse1', 'dynapse2']
    """

    def own(module: ModuleType) -> dict[str, ChipModel]:
        chip = vars(module).get("chip")
        if isinstance(chip, ChipModel):
            return {chip.name: chip}
        if chip is not None and not isinstance(chip, (ModuleType, type, FunctionType)):
            kind = type(chip).__name__
            leave_out(CHIPS, f"'chip' of module {module.__name__!r} is no chip model", f"a {kind}, no ChipModel")
        return {}

    return by_name(CHIPS, installed(CHIPS), own)


def chip_model(name: str) -> ChipModel:
    """The installed chip model of that name; or that of a Python file, for a name that ends in ``.py``.

    The file holds a ``ChipModel`` named ``chip``, as the files of ``chipmodels`` do. It is run: load only files that
    you trust.

    Raises:
        ValueError: the name is unknown, and the message lists the installed models; or the file holds no chip model.
        FileNotFoundError: there is no such file.

    Example:
        >>> import chipmodels
        >>> chip = chipmodels.load("dynapse2")
        >>> chip.title, chip.limits.fan_in
        ('DYNAP-SE2, 4 cores × 256 analog neurons', 64)
    """
    if not isinstance(name, str):
        raise TypeError(f"chip: got {shown(name)} ({type(name).__name__}); expected the name of a model, or a file.")
    return read(name) if name.endswith(".py") else installed_chip(name)


def installed_chip(name: str) -> ChipModel:
    """The installed chip model of that name. No file is run, so the name may come from a file of data.

    Raises:
        ValueError: the name is unknown; the message lists the installed models.
    """
    known = chip_models()
    if name not in known:
        raise unknown("chip", name, known)
    return known[name]
