"""Networks for other tools: NIR files that a reader turns into the same spikes, files of others, and PyNN.

Example:
    >>> {"norse", "sinabs", "snntorch"} <= set(nr.export.readers())  # tools whose reading is tested
    True
"""

from .backend import Backend, Neurons, Population
from .exchange import from_nir, readers, to_nir
from .pynn import backends, to_pynn
from .reader import Reader, Written

__all__ = [
    "Backend",
    "Neurons",
    "Population",
    "Reader",
    "Written",
    "backends",
    "from_nir",
    "readers",
    "to_nir",
    "to_pynn",
]
