"""The paper reproduced: a grid of methods, tasks and seeds that can be stopped, and what came of it."""

from .cell import Cell
from .check import Check, check
from .evaluation import Evaluation, all_evaluations, named
from .grid import Outcome, pool, run
from .live import complete, forecast, state, table
from .plan import Job, cells_of, plan, seconds_of
from .results import tidy, write_table
from .study import Detail, Study, all_studies, find_study

__all__ = [
    "Cell",
    "Check",
    "Detail",
    "Evaluation",
    "Job",
    "Outcome",
    "Study",
    "all_evaluations",
    "all_studies",
    "cells_of",
    "check",
    "complete",
    "find_study",
    "forecast",
    "named",
    "plan",
    "pool",
    "run",
    "seconds_of",
    "state",
    "table",
    "tidy",
    "write_table",
]
