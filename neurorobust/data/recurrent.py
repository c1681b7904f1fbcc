"""The recurrent network of the tasks on sequences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from .._util.errors import check_count
from ..chip import ChipModel, Limits
from ..core.params import SIGNED, kind_of
from ..core.placement import HOST
from ..dynamics import Adaptation, Ahp, Inhibition, PullsDown
from ..kernels.runtime.memory import available
from ..nn.connections import Linear
from ..nn.network import Network
from ..nn.neurons import AdaptiveLif, LeakyIntegrator, LinearizedDpi, Neuron

BYTES = 28
"""Of memory for each possible synapse while they are drawn: 18 measured without a chip, 27 on a chip."""
Hidden = Callable[[Linear, Linear, Tensor], Neuron]
"""(input, recurrent, core of each neuron) → the layer of hidden neurons."""


def recurrent_network(
    n_in: int,
    n_out: int,
    dt: float,
    chip: ChipModel | None,
    n_hidden: int,
    generator: torch.Generator,
    hidden: Hidden | None = None,
) -> Network:
    """A recurrent network spread evenly over the chip's cores, with a leaky read-out on the host.

    Every neuron takes all ``n_in`` channels and recurrent synapses, drawn at random, up to the fan-in of the chip.
    Weights, biases and all other kinds with a sign are trained; time constants and thresholds are not. Without a chip:
    one core, all-to-all.

    Args:
        hidden: makes the hidden neurons; by default those of :func:`neurons_for`.

    Raises:
        ValueError: ``n_hidden`` below 1, more input channels than a neuron of the chip can take, or more memory needed
            than is free; nothing is made.

    Example:
        >>> from neurorobust.data.recurrent import recurrent_network
        >>> network = recurrent_network(32, 2, 5e-3, None, 16, torch.Generator().manual_seed(0))
        >>> nr.run(network, nr.nominal(network), torch.zeros(3, 20, 32)).shape  # samples, classes
        torch.Size([3, 2])
    """
    n_hidden = check_count("n_hidden", n_hidden)
    check_room(n_in, n_hidden)
    limits = Limits() if chip is None else chip.limits
    n_cores = 1 if limits.cores is None else min(limits.cores, n_hidden)
    fan_in = n_in + n_hidden if limits.fan_in is None else limits.fan_in
    if fan_in < n_in:
        raise ValueError(
            f"chip: {chip.name if chip else None} takes {fan_in} inputs per neuron; {n_in} input channels do not fit."
        )
    core = torch.arange(n_hidden) * n_cores // n_hidden
    mask = recurrent_mask(n_hidden, min(fan_in - n_in, n_hidden - 1), generator)
    input = Linear(torch.randn(n_hidden, n_in, generator=generator))
    weight = torch.randn(n_hidden, n_hidden, generator=generator) / max(1, int(mask[0].sum())) ** 0.5
    layer = (hidden or neurons_for(chip))(input, Linear(weight, mask=mask), core)
    readout = LeakyIntegrator(
        Linear(10 * torch.randn(n_out, n_hidden, generator=generator) / n_hidden**0.5, torch.zeros(n_out)),
        core=torch.full((n_out,), HOST),
        tau_mem=0.12,
    )
    network = Network({"hidden": layer, "readout": readout}, dt)
    for name, value in network.named_parameters():
        value.requires_grad_(kind_of(name) in SIGNED)
    return network


def check_room(n_in: int, n_hidden: int) -> None:
    """Raise ValueError if a recurrent network needs more memory than is free, with what would fit.

    It takes about BYTES for every pair of hidden neurons while its synapses are drawn.
    """
    free, needed = available(), BYTES * n_hidden * (n_hidden + n_in)
    if needed > free:
        fits = int((n_in**2 / 4 + free / BYTES) ** 0.5 - n_in / 2)
        raise ValueError(
            f"n_hidden: {n_hidden} recurrent neurons need about {needed / 1e9:.3g} GB of memory, and "
            f"{free / 1e9:.3g} GB are free; expected at most {fits} neurons here."
        )


def neurons_for(chip: ChipModel | None) -> Hidden:
    """:func:`dpi_neurons` for a chip whose membranes are DPI currents, :func:`adaptive_neurons` for all others."""
    is_dpi = chip is not None and chip.neuron is not None and "DPI membrane" in chip.neuron.membrane.words
    return dpi_neurons if is_dpi else adaptive_neurons


def adaptive_neurons(input: Linear, recurrent: Linear, core: Tensor) -> AdaptiveLif:
    """Neurons with an adaptive threshold. One value per core of every kind: tau_mem from 20 to 160 ms over cores.

    Example:
        >>> from neurorobust.data.recurrent import adaptive_neurons
        >>> synapses, recurrent = nr.nn.Linear(torch.rand(4, 3)), nr.nn.Linear(torch.rand(4, 4))
        >>> cells = adaptive_neurons(synapses, recurrent, torch.tensor([0, 0, 1, 1]))
        >>> [round(tau, 3) for tau in cells.tau_mem.tolist()]  # s, one value per core
        [0.02, 0.16]
    """
    n_cores = int(core.max()) + 1
    return AdaptiveLif(
        input,
        recurrent=recurrent,
        core=core,
        tau_mem=torch.logspace(np.log10(0.02), np.log10(0.16), n_cores),
        tau_adapt=torch.full((n_cores,), 0.2),
        adaptation=torch.full((n_cores,), 0.5),
        v_threshold=torch.full((n_cores,), 0.1),
    )


def dpi_neurons(
    input: Linear,
    recurrent: Linear,
    core: Tensor,
    *,
    rule: Adaptation | None = Ahp(),
    inhibition: Inhibition = PullsDown(),
) -> LinearizedDpi:
    """Neurons with a floor at rest and a reset to rest, the linearisation of a DPI neuron.

    One value per core of every kind: tau_mem from 20 to 80 ms over the cores, synapses and t_ref of 5 ms.

    Args:
        rule: the adaptation; None for none. inhibition: what an inhibitory current can do to the membrane.

    Example:
        >>> from neurorobust.data.recurrent import dpi_neurons
        >>> synapses, recurrent = nr.nn.Linear(torch.rand(4, 3)), nr.nn.Linear(torch.rand(4, 4))
        >>> cells = dpi_neurons(synapses, recurrent, torch.tensor([0, 0, 1, 1]))
        >>> [round(tau, 3) for tau in cells.tau_mem.tolist()]  # s, one value per core
        [0.02, 0.08]
    """

    def each(value: float) -> Tensor:
        return torch.full((n_cores,), value)

    n_cores = int(core.max()) + 1
    return LinearizedDpi(
        input,
        recurrent=recurrent,
        core=core,
        tau_mem=torch.logspace(np.log10(0.02), np.log10(0.08), n_cores),
        tau_syn_exc=each(5e-3),
        tau_syn_inh=each(5e-3),
        v_threshold=each(0.1),
        t_ref=each(5e-3),
        tau_adapt=None if rule is None else each(0.2),
        adaptation=None if rule is None else each(0.0124),
        rule=rule or Ahp(),
        inhibition=inhibition,
    )


def recurrent_mask(n: int, fan_in: int, generator: torch.Generator) -> Tensor:
    """Each of n neurons takes ``fan_in`` others, drawn without replacement and never itself; True where connected.

    Example:
        >>> from neurorobust.data.recurrent import recurrent_mask
        >>> mask = recurrent_mask(100, 10, torch.Generator().manual_seed(0))
        >>> mask.sum(1).unique().tolist(), mask.diagonal().any().item()  # ten inputs each, none from itself
        ([10], False)
    """
    order = torch.rand(n, n, generator=generator).fill_diagonal_(-1.0).argsort(1, descending=True)
    return torch.zeros(n, n, dtype=torch.bool).scatter_(1, order[:, :fan_in], True)
