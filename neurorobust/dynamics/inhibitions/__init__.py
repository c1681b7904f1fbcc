"""Inhibitions: what an inhibitory current can do to a membrane, one file each."""

from .base import Inhibition
from .cancels_excitation import CancelsExcitation
from .pulls_down import PullsDown

__all__ = ["CancelsExcitation", "Inhibition", "PullsDown"]
