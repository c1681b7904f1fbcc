"""Networks for other tools: NIR files that a reader turns into the same spikes, and files of others."""

from .exchange import from_nir, readers, to_nir
from .reader import Reader, Written

__all__ = ["Reader", "Written", "from_nir", "readers", "to_nir"]
