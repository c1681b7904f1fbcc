"""Attacks: searches for the worst deviations, one file each."""

from .attack import Attack
from .ball import Ball
from .objectives import OBJECTIVES, cross_entropy, kl, margin, objective
from .pga import PGA
from .random_search import RandomSearch
from .suite import Suite, strong

__all__ = [
    "OBJECTIVES",
    "PGA",
    "Attack",
    "Ball",
    "RandomSearch",
    "Suite",
    "cross_entropy",
    "kl",
    "margin",
    "objective",
    "strong",
]
