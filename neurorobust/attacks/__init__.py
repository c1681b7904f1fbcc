"""Attacks: searches for the worst deviations, one file each."""

from .apgd import APGD
from .attack import Asking, Attack, Point, Question, Search
from .ball import Ball
from .l2_ball import L2Ball
from .objectives import OBJECTIVES, cross_entropy, jensen_shannon, kl, l2, margin, mse, objective, reverse_kl
from .pga import PGA
from .random_search import RandomSearch
from .spsa import SPSA
from .suite import Suite, strong
from .whitened_ball import WhitenedBall

__all__ = [
    "APGD",
    "OBJECTIVES",
    "PGA",
    "SPSA",
    "Asking",
    "Attack",
    "Ball",
    "L2Ball",
    "Point",
    "Question",
    "RandomSearch",
    "Search",
    "Suite",
    "WhitenedBall",
    "cross_entropy",
    "jensen_shannon",
    "kl",
    "l2",
    "margin",
    "mse",
    "objective",
    "reverse_kl",
    "strong",
]
