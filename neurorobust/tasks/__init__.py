"""Tasks on real data, one file each."""

from .ecg import ecg
from .task import Data, Task

__all__ = ["Data", "Task", "ecg"]
