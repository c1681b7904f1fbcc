"""Data and tasks: samples in three parts, readers of event recordings, and the tasks of the package.

Example:
    >>> data = nr.data.Data(torch.rand(6, 10, 3), torch.arange(6) % 2)  # samples first, then time, then channels
    >>> len(data), data.first(4).x.shape
    (6, torch.Size([4, 10, 3]))
"""

from .events import Recordings, Window, from_tonic, read_shd
from .samples import Data, Stream
from .task import Task

__all__ = ["Data", "Recordings", "Stream", "Task", "Window", "from_tonic", "read_shd"]
