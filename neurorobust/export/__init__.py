"""Networks for other tools: NIR files that a reader turns into the same spikes, and files of others.

Example:
    >>> {"norse", "sinabs", "snntorch"} <= set(nr.export.readers())  # tools whose reading is tested
    True
"""

from .exchange import from_nir, readers, to_nir
from .reader import Reader, Written

__all__ = ["Reader", "Written", "from_nir", "readers", "to_nir"]
