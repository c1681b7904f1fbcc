"""Tasks on real data, one file each."""

from .ecg import ecg
from .events import Recordings, Window, from_tonic, read_shd
from .fashion_mnist import fashion_mnist
from .keywords import keywords
from .task import Data, Task

__all__ = ["Data", "Recordings", "Task", "Window", "ecg", "fashion_mnist", "from_tonic", "keywords", "read_shd"]
