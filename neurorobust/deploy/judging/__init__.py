"""Judging a deployment on virtual boards."""

from .equations_engine import EquationsEngine
from .judge import judge
from .judgement import Crossing, GapRow, Judgement

__all__ = ["Crossing", "EquationsEngine", "GapRow", "Judgement", "judge"]
