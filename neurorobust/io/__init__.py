"""Networks on disk and the trained networks of the package."""

from . import zoo
from .models import load, save

__all__ = ["load", "save", "zoo"]
