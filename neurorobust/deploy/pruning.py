"""``fit_to``: prune a network to the inputs that a neuron of a chip has, and train it on."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Unpack

import torch
from torch import Tensor, nn

from .._util.errors import check_count
from ..chip import ChipModel
from ..core.run import differentiating, evaluating
from ..data import Data, Task
from ..nn.connections import Conv1d, Conv2d, Linear, OneToOne
from ..nn.network import Network
from ..nn.neurons import Neuron
from ..regularizers import Regularizer
from ..regularizers.regularizer import Criterion
from .lowering import on_chip
from .mapping import checked_architecture
from .moments import N_DIES, Moments
from .retrained import EPOCHS, Retrained, Training, check_arguments, trained_on
from .translating import translated

SAMPLES, BATCH = 1000, 25
"""Samples of the training part that saliency is computed on, spread evenly over it, and the size of a batch."""

Weighted = Linear | OneToOne | Conv1d | Conv2d


def fit_to(
    network: nn.Module,
    chip: ChipModel,
    data: Task,
    *,
    loss: Criterion | Regularizer | None = None,
    epochs: int = EPOCHS,
    n_dies: int = N_DIES,
    **training: Unpack[Training],
) -> Retrained:
    """Prune a network to the inputs that a neuron of the chip has, and train it on. The given network does not change.

    A neuron with too many inputs keeps those of the largest saliency, all of its connections taken together. The
    saliency of a synapse is the mean over batches of ``abs(w · ∂loss/∂w)``: to first order, the change of the loss
    without the synapse (Molchanov et al., "Pruning convolutional neural networks for resource efficient inference",
    ICLR 2017; on a single batch before training it is SNIP, Lee et al., ICLR 2019). The loss is that of the task, on
    1000 training samples at most. A pruned synapse is masked: it has no entry on the chip, it does not deviate, and
    training does not bring it back. Of a convolution, whose weights all positions share, entries of the kernel are
    pruned.

    Args:
        network: a :class:`neurorobust.Network`, or the result of ``nr.from_snntorch``. chip: with an architecture.
        data: a task, whose training and validation parts are used.
        loss, epochs, n_dies, training: as in :func:`neurorobust.deploy.adapt`; 0 epochs only prunes. A chip cannot hold
            a network with too many inputs, so on dies it is measured after pruning and after training only.

    Raises:
        ValueError: a network that cannot be pruned, or an argument. TypeError: an argument.

    Example:
        >>> import chipmodels
        >>> data = nr.data.Data((torch.rand(20, 10, 80) < 0.1).float(), torch.arange(20) % 2)  # a neuron has 64 inputs
        >>> task = nr.data.Task("mine", ("a", "b"), data, data, data, nn.functional.cross_entropy)
        >>> hidden = nr.neurons.Lif(nr.nn.Linear(torch.rand(4, 80)), tau_mem=0.02, v_threshold=0.5)
        >>> network, chip = nr.Network({"hidden": hidden}, dt=1e-3), chipmodels.load("dynapse2")
        >>> nr.deploy.fit_to(network, chip, task, epochs=0).network.hidden.input.mask.sum(1).tolist()
        [64, 64, 64, 64]
    """
    architecture = checked_architecture(chip)
    task = check_arguments(data, loss, epochs, training)
    old = translated(network)
    new, changes = copy.deepcopy(old), []
    most = architecture.most_inputs()
    taken = Moments(chip, task.validation, check_count("n_dies", n_dies, 0))
    taken.take("before", old)
    if most is not None and any(bool((fan_in(layer) > most).any()) for layer in on_chip(new).values()):
        found = saliency(old, task)
        for name, layer in on_chip(new).items():
            changes += _prune(name, layer, most, found)
    if changes:
        taken.take("pruned", new)
    else:
        taken.repeat("pruned", "before")
    return trained_on((new, chip), task, (loss, epochs), training, taken, changes)


def weighted(layer: Neuron) -> Iterator[tuple[str, Weighted]]:
    """The connections with weights of a layer, by their name in it."""
    for part, connection in layer.connections().items():
        for inside, module in connection.named_modules(prefix=part):
            if isinstance(module, Weighted):
                yield inside, module


def fan_in(layer: Neuron) -> Tensor:
    """Synapses of each neuron, (n,); of a convolution, entries of the kernel."""
    total = torch.zeros(layer.n, dtype=torch.long)
    for _, connection in weighted(layer):
        rows = connection.mask.reshape(len(connection.mask), -1).sum(1).cpu()
        total += rows.repeat_interleave(layer.n // len(rows))
    return total


@differentiating()
def saliency(network: Network, task: Task) -> dict[str, Tensor]:
    """The mean over batches of ``abs(w · ∂loss/∂w)`` of every weight on the chip, by name; the network is unchanged."""
    twin = copy.deepcopy(network).requires_grad_(False)
    weights = {
        f"{name}.{part}.weight": connection.weight.requires_grad_()
        for name, layer in on_chip(twin).items()
        for part, connection in weighted(layer)
    }
    every = torch.arange(0, len(task.train), max(1, -(-len(task.train) // SAMPLES)))
    samples = Data(task.train.x[every], task.train.y[every])
    batches = torch.arange(len(samples)).split(BATCH)
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    with evaluating(twin):
        for batch in batches:
            loss = task.loss(twin(samples.x[batch])[0], samples.y[batch])
            gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
            for (name, weight), gradient in zip(weights.items(), gradients):
                if gradient is not None:
                    total[name] += (weight.detach() * gradient).abs()
    return {name: value / len(batches) for name, value in total.items()}


@torch.no_grad()
def _prune(name: str, layer: Neuron, most: int, found: dict[str, Tensor]) -> list[str]:
    """Mask all but the ``most`` synapses of each neuron, in place; what was done.

    Raises:
        ValueError: a convolution beside another connection, so that neurons that share a kernel have other inputs too.
    """
    before = fan_in(layer)
    over = int((before > most).sum())
    if not over:
        return []
    parts = dict(weighted(layer))
    if len({len(connection.mask) for connection in parts.values()}) > 1:
        raise ValueError(
            f"network: layer {name!r} has a convolution and a recurrence; fit_to cannot prune the two together."
        )
    masks = [connection.mask.reshape(len(connection.mask), -1) for connection in parts.values()]
    values = [found[f"{name}.{part}.weight"].reshape(mask.shape) for part, mask in zip(parts, masks)]
    present, value = torch.cat(masks, 1), torch.cat(values, 1)
    order = torch.where(present, value, -1.0).argsort(dim=1, descending=True, stable=True)
    keep = torch.zeros_like(present).scatter_(1, order[:, :most], True) & present
    for connection, kept in zip(parts.values(), keep.split([mask.shape[1] for mask in masks], 1)):
        connection.mask = kept.reshape(connection.mask.shape).clone()
        connection.weight.mul_(connection.mask)
    lost, there = int(present.sum() - keep.sum()), int(present.sum())
    rows, what = int((present.sum(1) > most).sum()), "neurons" if len(present) == layer.n else "channels"
    share = float(value[keep].sum() / value[present].sum()) if bool(value.any()) else 0.0
    return [
        f"layer {name}: {lost} of {there} synapses pruned; {rows} of {len(present)} {what} had more than {most} "
        f"inputs, up to {int(before.max())}; {share:.0%} of the saliency is kept"
    ]
