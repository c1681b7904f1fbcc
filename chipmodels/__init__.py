"""Chip models, one file each: a module with a ``ChipModel`` named ``chip``.

A new chip is one new file here, or in a package of your own that names itself under the entry point group
``neurorobust.chips``; :func:`load` finds both.
"""

from neurorobust.discovery import chip_model as load
from neurorobust.discovery import chip_models as models

__all__ = ["load", "models"]
