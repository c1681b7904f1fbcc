"""A tiny task of regression, one target a step: follow what a known leaky integrator makes of noise."""

from __future__ import annotations

import numpy as np
import torch
from scipy.signal import lfilter
from torch.nn import functional

from neurorobust.data import Data, Task
from neurorobust.nn.connections import Linear
from neurorobust.nn.decoders import per_step
from neurorobust.nn.network import Network
from neurorobust.nn.neurons import LeakyIntegrator

DT, TAU, STEPS = 1e-3, 5e-3, 30
WEIGHT = np.array([[2.0, -1.0]])  # of the teacher


def followed(seed: int, n: int) -> Data:
    """Noise (n, T, 2) and the teacher's v[t] = α v[t−1] + (1 − α) W x[t], (n, T, 1), by scipy's filter, float64."""
    x = np.random.default_rng(seed).normal(size=(n, STEPS, 2))
    alpha = np.exp(-DT / TAU)
    y = lfilter([1 - alpha], [1, -alpha], x @ WEIGHT.T, axis=1)
    return Data(torch.from_numpy(x), torch.from_numpy(y))


def student(weight: list[list[float]]) -> Network:
    """One leaky integrator read at every step; only its weights are trained."""
    layer = LeakyIntegrator(
        Linear(torch.tensor(weight, dtype=torch.float64)), tau_mem=torch.tensor([TAU], dtype=torch.float64)
    )
    layer.tau_mem.requires_grad_(False)
    return Network({"readout": layer}, DT, decode=per_step)


def sequence_regression() -> Task:
    """40, 20 and 20 sequences; the loss is the mean squared error, whose minimum is 0 at the teacher's weights."""
    return Task(
        name="sequence_regression",
        classes=(),
        train=followed(0, 40),
        validation=followed(1, 20),
        test=followed(2, 20),
        loss=functional.mse_loss,
        build=lambda chip, n_hidden, generator: student([[0.5, 0.5]]),
        fingerprint="sequence_regression",
    )
