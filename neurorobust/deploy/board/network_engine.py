"""The training equations, at the network's dt, on the dies of :func:`neurorobust.evaluate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..._util.randomness import generator
from ...chip.die import Die
from ...circuit import Events
from ...core.params import Params
from ...core.run import evaluating, forward
from ...data.events import Window
from ...evaluation.noisy import drawn, noise_places
from ...evaluation.predict import EVALUATION_BATCH
from ..deployment import Deployment
from .engine import Configured, Engine, Spikes
from .recording import binned, steps_in


@dataclass(frozen=True)
class NetworkEngine(Engine):
    """The network as it was trained, with the parameters of a die. Events are counted in steps of the network's dt.

    Its spikes are those that :func:`neurorobust.evaluate` computes on the same die, bit for bit. With a chip that has
    noise, each run has new noise.

    Example:
        >>> import chipmodels
        >>> board = nr.deploy.VirtualChip(chipmodels.load("dynapse2"), serial=0, engine=nr.deploy.NetworkEngine())
        >>> board.name
        'virtual dynapse2 0'
    """

    def configure(self, deployment: Deployment, die: Die) -> Configured:
        return _Network(deployment, die, die.params(deployment.programmed))


class _Network(Configured):
    at_once = 250

    def __init__(self, deployment: Deployment, die: Die, params: Params):
        self._deployment, self._die, self._params = deployment, die, params

    def check(self, duration: float, watch: Sequence[int]) -> None:
        if watch:
            raise ValueError("watch: the engine of the network has no membranes in A; use CircuitEngine().")
        steps_in(duration, self._deployment.native.dt)

    @torch.no_grad()
    def run(self, samples: Sequence[Events], duration: float, watch: Sequence[int], trial: int) -> list[Spikes]:
        network = self._deployment.native
        x = counts_of(samples, duration, network.dt, network.n_in).to(next(network.parameters()))
        found: list[Spikes] = []
        with evaluating(network):
            for number, block in enumerate(x.split(EVALUATION_BATCH)):
                found += [spikes_of(each, network.dt, duration) for each in self._block(block, (trial, number))]
        return found

    def _block(self, block: Tensor, occasion: tuple[int, int]) -> list[np.ndarray]:
        """The spikes of the layers on the chip, (T, n) of each sample."""
        network, die, noise = self._deployment.native, self._die, None
        if die.model.noise:
            key = generator(die.seed, "board", die.serial, *occasion)
            block, noise = drawn(die.model, noise_places(network, self._deployment.programmed), block, network.dt, key)
        signals: Mapping[str, Tensor] = forward(network, self._params, block, noise=noise)[1]
        sent = [
            signals[name] if noise is None else noise.transmitted(name, signals[name])
            for name in self._deployment.cores
        ]
        on_chip = torch.cat(sent, -1)
        return [on_chip[:, i].numpy() for i in range(on_chip.shape[1])]


def counts_of(samples: Sequence[Events], duration: float, dt: float, channels: int) -> Tensor:
    """The number of events of every sample, step and channel, (B, T, channels), float64."""
    window = Window(dt, steps_in(duration, dt), channels)
    return torch.from_numpy(np.stack([binned(each.times, each.channels, window) for each in samples]))


def spikes_of(counts: np.ndarray, dt: float, duration: float) -> Spikes:
    """Spikes (T, n) as events at the beginnings of their steps; those from the end of the run on do not exist."""
    steps, neurons = np.nonzero(counts)
    times = steps * dt
    inside = times < duration
    return Spikes(times[inside], neurons[inside])
