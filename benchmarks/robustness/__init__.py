"""The paper reproduced: methods × tasks × seeds, trained, measured and compared; a run can be stopped and continued."""

from .cell import Cell
from .check import Check, check
from .claim_tables import summarize
from .claims import Claim, Verdict, judge_claims
from .grid import Outcome, pool, run
from .measurement import Measurement, all_measurements, find_measurements
from .pages import write_pages
from .plan import Job, cells_of, plan
from .progress_view import complete, forecast, progress, progress_table
from .results import tidy, write_table
from .study import Budget, Study, all_studies, find_study
from .times import estimates

__all__ = [
    "Budget",
    "Cell",
    "Check",
    "Claim",
    "Job",
    "Measurement",
    "Outcome",
    "Study",
    "Verdict",
    "all_measurements",
    "all_studies",
    "cells_of",
    "check",
    "complete",
    "estimates",
    "find_measurements",
    "find_study",
    "forecast",
    "judge_claims",
    "plan",
    "pool",
    "progress",
    "progress_table",
    "run",
    "summarize",
    "tidy",
    "write_pages",
    "write_table",
]
