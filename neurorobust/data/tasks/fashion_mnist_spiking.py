"""Images of clothes for a spiking convolutional network: Fashion-MNIST, shown for eight steps."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from ...chip import ChipModel
from ...core.params import SIGNED, kind_of
from ...nn.connections import Conv2d, Linear
from ...nn.network import Network
from ...nn.neurons import LeakyIntegrator, Lif
from ..samples import Data
from ..task import Task
from .fashion_mnist import CLASSES, noise_images, read_images, split

STEPS, DT = 8, 5e-3
N_TRAIN, N_VALIDATION, N_TEST = 8000, 1000, 1000


def build(chip: ChipModel | None, n_hidden: int, generator: torch.Generator) -> Network:
    """conv 16 5×5 stride 2 – LIF – conv 32 5×5 stride 2 – LIF – dense 512-10 – leaky integrator, all on core 0.

    Its sizes are fixed, so ``chip`` and ``n_hidden`` have no effect: programming reports the limits of a chip. Weights
    and biases are trained; time constants and thresholds are not.
    """

    def weights(*shape: int) -> Tensor:
        return 2 * torch.randn(*shape, generator=generator) / math.prod(shape[1:]) ** 0.5

    first = Conv2d(weights(16, 1, 5, 5), (1, 28, 28), torch.zeros(16), stride=2)
    second = Conv2d(weights(32, 16, 5, 5), first.out_shape, torch.zeros(32), stride=2)
    layers = {
        "conv1": Lif(first, tau_mem=0.02, v_threshold=0.5),
        "conv2": Lif(second, tau_mem=0.02, v_threshold=0.5),
        "readout": LeakyIntegrator(
            Linear(weights(10, second.n_out), torch.zeros(10)), core=torch.zeros(10, dtype=torch.long), tau_mem=0.02
        ),
    }
    network = Network(layers, DT)
    for name, value in network.named_parameters():
        value.requires_grad_(kind_of(name) in SIGNED)
    return network


def fashion_mnist_spiking(folder: Path | None = None, *, seed: int = 0) -> Task:
    """Fashion-MNIST as currents: which of ten kinds of clothes is shown for 8 steps of 5 ms?

    10000 images: the first 8000 of the training part and 1000 of the validation part of
    :func:`neurorobust.data.tasks.fashion_mnist`, and 1000 of the official test part. A channel is a pixel's brightness,
    a constant current.

    Args:
        folder: see :func:`neurorobust.data.tasks.fashion_mnist`.
        seed: not used, because nothing is drawn; every task function takes one.
    """
    images, y = read_images(folder)
    chosen = [part[:n] for part, n in zip(split(), (N_TRAIN, N_VALIDATION, N_TEST), strict=True)]
    return task_of(images, y, chosen)


def example() -> Task:
    """The task of 40 images of noise, for the contract tests."""
    return task_of(*noise_images(), torch.arange(40).split([20, 10, 10]))


def task_of(images: Tensor, y: Tensor, indices: Sequence[Tensor]) -> Task:
    """Images, shown for 8 steps, and their classes in three parts."""

    def shown(part: Tensor) -> Data:
        brightness = images[part].flatten(1).float() / 255
        return Data(brightness[:, None].expand(-1, STEPS, -1), y[part])

    train, validation, test = (shown(part) for part in indices)
    every = torch.cat(tuple(indices))
    return Task(
        name="fashion_mnist_spiking",
        classes=CLASSES,
        train=train,
        validation=validation,
        test=test,
        loss=functional.cross_entropy,
        build=build,
        fingerprint=hashlib.sha256(images[every].numpy().tobytes() + y[every].numpy().tobytes()).hexdigest(),
    )
