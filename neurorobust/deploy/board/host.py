"""The host's part: from recorded spikes to logits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from ...core.noise import INPUT
from ...core.run import evaluating, nominal
from ...data.events import Window
from ...nn.fleet_run import SAMPLES, fleet_logits
from ...nn.network import Network
from ..deployment import Deployment, check_deployment
from .recording import BoardRecording, binned, listed, steps_in


@torch.no_grad()
def logits(deployment: Deployment, recordings: Sequence[BoardRecording]) -> Tensor:
    """The output of a deployed network from what a board recorded, (B, n_out).

    Spikes, and the input where a layer on the host takes it, are counted in steps of the network's dt; then the layers
    on the host and the decoder run, exactly. Where the board is a :class:`VirtualChip` with a :class:`NetworkEngine`,
    without noise and drops, these are the logits of :func:`neurorobust.evaluate` on the same die.

    Raises:
        ValueError: no recordings, of several durations, or of another number of neurons.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
        >>> with nr.deploy.VirtualChip(deployment.chip, serial=17).open() as session:
        ...     session.program(deployment)
        ...     recordings = nr.deploy.measure(session, torch.zeros(2, 140, 32))
        >>> nr.deploy.logits(deployment, recordings).shape  # samples, classes
        torch.Size([2, 2])
    """
    check_deployment(deployment)
    recordings = listed(recordings)
    n = sum(len(cores) for cores in deployment.cores.values())
    durations = sorted({each.duration for each in recordings})
    if len(durations) != 1:
        raise ValueError(f"recordings: got {len(recordings)} of durations {durations}; expected some of one duration.")
    wrong = next((each for each in recordings if each.n != n), None)
    if wrong is not None:
        raise ValueError(f"recordings: one has {wrong.n} neurons; the deployment has {n}.")
    readout = _fused_readout(deployment)
    with evaluating(deployment.native):
        if readout is not None:
            spikes = signals(deployment, recordings)[next(iter(deployment.cores))]
            return next(fleet_logits(readout, [nominal(readout)], spikes.transpose(0, 1)))
        parts = [recordings[k : k + SAMPLES] for k in range(0, len(recordings), SAMPLES)]
        return torch.cat([_by_layers(deployment, signals(deployment, part)) for part in parts])


def _fused_readout(deployment: Deployment) -> Network | None:
    """The host's part as a network of its own, where the whole network runs in the compiled loop of fleets: one layer
    that reads the one layer on the chip. Its sums have the order, and so the bits, of that loop."""
    network = deployment.native
    if len(deployment.cores) != 1 or len(network.names) != 2 or network.plan() is None:
        return None
    (on_chip,), name = deployment.cores, network.names[-1]
    if network.inputs[name] != (on_chip,):
        return None
    return Network({name: network.layers()[name]}, network.dt, decode=network.decode)


def signals(deployment: Deployment, recordings: Sequence[BoardRecording]) -> dict[str, Tensor]:
    """The input and the spikes of every layer on the chip, by name: counts (T, B, n)."""
    network = deployment.native
    like, steps = next(network.parameters()), steps_in(recordings[0].duration, network.dt)

    def counted(pairs: Iterable[tuple[np.ndarray, np.ndarray]], channels: int) -> Tensor:
        window = Window(network.dt, steps, channels)
        return torch.from_numpy(np.stack([binned(*pair, window) for pair in pairs], 1)).to(like)

    sizes = [len(cores) for cores in deployment.cores.values()]
    spikes = counted(((each.times, each.neurons) for each in recordings), sum(sizes))
    x = counted(((each.events.times, each.events.channels) for each in recordings), network.n_in)
    return {INPUT: x} | dict(zip(deployment.cores, spikes.split(sizes, -1)))


def _by_layers(deployment: Deployment, known: dict[str, Tensor]) -> Tensor:
    """The decoded output, layer by layer."""
    network = deployment.native
    for name, layer in network.layers().items():
        if name not in deployment.cores:
            sources = [known[source] for source in network.inputs[name]]
            known[name] = layer(sources[0] if len(sources) == 1 else torch.cat(sources, -1), network.dt)
    return network.decode(known[network.names[-1]])
