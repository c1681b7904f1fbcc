"""Data and tasks: samples in three parts, readers of event recordings, and the tasks of the package."""

from .events import Recordings, Window, from_tonic, read_shd
from .samples import Data, Stream
from .task import Task

__all__ = ["Data", "Recordings", "Stream", "Task", "Window", "from_tonic", "read_shd"]
