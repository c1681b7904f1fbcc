"""Attacks: searches for the worst deviations, one file each.

Example:
    >>> attack = nr.attacks.PGA(steps=3)
    >>> nr.attacks.quick().passes
    33
"""

from .apgd import APGD
from .attack import Attack, Evaluation, Exploration, Request, Search
from .ball import Ball
from .l2_ball import L2Ball
from .objectives import OBJECTIVES, as_objective, cross_entropy, jensen_shannon, kl, l2, margin, mse, reverse_kl
from .pga import PGA
from .random_search import RandomSearch
from .spsa import SPSA
from .suite import QUICK, Suite, quick, restarted, thorough
from .whitened_ball import WhitenedBall

__all__ = [
    "APGD",
    "OBJECTIVES",
    "PGA",
    "QUICK",
    "SPSA",
    "Attack",
    "Ball",
    "Evaluation",
    "Exploration",
    "L2Ball",
    "RandomSearch",
    "Request",
    "Search",
    "Suite",
    "WhitenedBall",
    "as_objective",
    "cross_entropy",
    "jensen_shannon",
    "kl",
    "l2",
    "margin",
    "mse",
    "quick",
    "restarted",
    "reverse_kl",
    "thorough",
]
