"""Judging a deployment on virtual boards."""

from .equations_engine import EquationsEngine
from .judge import VirtualBoards, judge
from .judgement import Crossing, GapRow, Judgement

__all__ = ["Crossing", "EquationsEngine", "GapRow", "Judgement", "VirtualBoards", "judge"]
