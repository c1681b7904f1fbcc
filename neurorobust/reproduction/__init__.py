"""The paper reproduced: a grid of methods, tasks and seeds that can be stopped, and what came of it."""

from .cell import Cell
from .check import Check, check
from .claims import Claim, Verdict, tested
from .evaluation import Evaluation, all_evaluations, named
from .grid import Outcome, pool, run
from .live import complete, forecast, state, table
from .pages import write_pages
from .plan import Job, cells_of, plan
from .results import tidy, write_table
from .study import Detail, Study, all_studies, find_study
from .times import estimates
from .verdicts import overall

__all__ = [
    "Cell",
    "Check",
    "Claim",
    "Detail",
    "Evaluation",
    "Job",
    "Outcome",
    "Study",
    "Verdict",
    "all_evaluations",
    "all_studies",
    "cells_of",
    "check",
    "complete",
    "estimates",
    "find_study",
    "forecast",
    "named",
    "overall",
    "plan",
    "pool",
    "run",
    "state",
    "table",
    "tested",
    "tidy",
    "write_pages",
    "write_table",
]
