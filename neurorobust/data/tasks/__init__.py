"""Tasks on real data, one file each."""

from .ecg import ecg
from .ecg_three import ecg_three
from .fashion_mnist import fashion_mnist
from .fashion_mnist_spiking import fashion_mnist_spiking
from .keywords import keywords

__all__ = ["ecg", "ecg_three", "fashion_mnist", "fashion_mnist_spiking", "keywords"]
