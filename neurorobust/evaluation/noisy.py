"""Dies with noise in every time step, one after the other; the noise of each die has its own random key."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from .._util.randomness import generator
from ..chip import Fleet, Programmed
from ..chip.design import ChipDesign
from ..core.noise import Noise, Place, together
from ..core.params import Params
from ..core.placement import HOST
from ..core.run import forward
from ..nn.fleet_run import samples_at_once
from ..nn.network import Network


@torch.no_grad()
def noisy_logits(
    network: nn.Module,
    dies: Iterable[Params],
    x: Tensor,
    fleet: Fleet,
    programmed: Programmed,
    stream: str = "noise",
    before: int = 0,
) -> Iterator[Tensor]:
    """Logits of a network on each die of a fleet, with the noise that its chip model declares.

    Args:
        dies: all parameters of each die, in the fleet's order. x: input, batch first.
        programmed: the programmed parameters; noise amplitudes are relative to them.
        stream: another one gives other noise. before: passes over earlier samples, each with noise of its own.
    """
    if not isinstance(network, Network):
        raise TypeError(
            f"network: {type(network).__name__} holds a foreign module, whose layers take no noise in every step; "
            f"expected a neurorobust.Network, or a chip without noise."
        )
    places, dt = noise_places(network, programmed), network.dt
    for serial, params in zip(fleet.serials, dies):
        outputs = []
        for number, block in enumerate(x.split(samples_at_once(x)), before):
            key = generator(fleet.seed, stream, serial, number)
            block, noise = drawn(fleet.model, places, block, dt, key)
            outputs.append(forward(network, params, block, noise=noise)[0])
        yield torch.cat(outputs)


def drawn(
    chip: ChipDesign, places: Sequence[Place], x: Tensor, dt: float, key: torch.Generator
) -> tuple[Tensor, Noise]:
    """The input (B, T, n_in) with the noise of a chip on its events, and the noise of one run with it."""
    for source in chip.noise:
        x = source.events(x, dt, key)
    return x, together([source.draw(places, (x.shape[1], len(x)), dt, key) for source in chip.noise])


def noise_places(network: Network, programmed: Programmed) -> list[Place]:
    """The properties of each on-chip layer that noise sources need."""
    values, places = programmed.expanded(), []
    for name, layer in network.layers().items():
        if bool((layer.core == HOST).all()):
            continue
        numbers = {kind: values.get(f"{name}.{kind}") for kind in ("v_threshold", "tau_mem", "tau_syn", "r")}
        masks = {f"{name}.{part}": list(connection.masks()) for part, connection in layer.connections().items()}
        weights = {part: values[f"{part}.weight"] for part, own in masks.items() if own == ["weight"]}
        unread = tuple(f"{part}.{weight}" for part, own in masks.items() if part not in weights for weight in own)
        places.append(Place(name, layer.n, **numbers, weights=weights, unread=unread))
    return places
