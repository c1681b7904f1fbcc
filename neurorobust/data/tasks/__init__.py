"""Tasks on real data, one file each.

Example:
    >>> task = nr.tasks.ecg()  # real heart beats, in three parts that never mix
    >>> task.classes, task.test.x.shape
    (('normal', 'abnormal'), torch.Size([1000, 140, 32]))
"""

from .ecg import ecg
from .ecg_three import ecg_three
from .fashion_mnist import fashion_mnist
from .fashion_mnist_spiking import fashion_mnist_spiking
from .keywords import keywords

__all__ = ["ecg", "ecg_three", "fashion_mnist", "fashion_mnist_spiking", "keywords"]
