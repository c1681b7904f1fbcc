"""Checks before and in the first step of training, and the synapses that training must not make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from .._util.warn import warn
from ..chip import ChipModel
from ..core.run import forward, nominal
from ..data.samples import Samples
from ..evaluation.inputs import foreign_inputs
from ..nn.network import placement_of


def check_trainable(network: nn.Module) -> None:
    """Raise ValueError if there is no parameter to train, or torch does not let them change."""
    if not any(value.requires_grad for value in network.parameters()):
        raise ValueError("network: no parameter has requires_grad; set it on the parameters to train.")
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        if value.is_inference():
            raise ValueError(
                f"network: {name} was made inside torch.inference_mode(), so it cannot be trained; make the network "
                f"outside of it."
            )


def check_inputs(network: nn.Module, data: Samples, loss: object) -> None:
    """Warn if a loss trains for a chip that takes events only, and the samples are other numbers."""
    for chip in {id(chip): chip for chip in chips_in(loss)}.values():
        foreign_inputs(network, chip, data)


def chips_in(part: object) -> Iterator[ChipModel]:
    """The chip models that a loss holds, in all its parts of this package."""
    if isinstance(part, ChipModel):
        yield part
    elif type(part).__module__.startswith("neurorobust.") and not isinstance(part, nn.Module | type):
        for inner in getattr(part, "__dict__", {}).values():
            yield from chips_in(inner)


def check_smallest_batch(network: nn.Module, data: Samples, batch_size: int) -> None:
    """Raise ValueError if the smallest batch of an epoch is too small for a part in ``train`` mode (a batch norm).

    Tried on the first samples where a part of another library is in ``train`` mode; neither buffers nor random
    generators change.
    """
    foreign = (module for module in network.modules() if not type(module).__module__.startswith("neurorobust."))
    if not any(module.training for module in foreign):
        return
    n, sizes = len(data), data.batch_sizes(batch_size)
    size, full, x = min(sizes), max(sizes), data.few(max(sizes))
    try:
        _try(network, x[:size])
    except Exception as error:
        if size < full:
            _try(network, x[:full])  # its own error, if it has one at any size
        if size == full:
            advice = "take more samples per batch"
        else:
            others = (other for other in range(batch_size + 1, n + 1) if not data.batch_sizes(other) & {1, size})
            advice = f"take another batch_size, such as {next(others, n)}"
        raise ValueError(
            f"schedule: {n} samples in batches of batch_size={batch_size} give a batch of {size}, which the "
            f"network cannot take in train mode ({error}); {advice}, or call network.eval()."
        ) from error


def _try(network: nn.Module, x: Tensor) -> None:
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        forward(network, nominal(network), x)


def check_connected(loss: Tensor, leaves: Mapping[str, Tensor] | None = None) -> None:
    """Raise ValueError if a loss does not depend on the trained parameters; after the backward pass, with them."""
    if loss.requires_grad if leaves is None else any(leaf.grad is not None for leaf in leaves.values()):
        return
    raise ValueError(
        "loss: does not depend on the parameters that are trained, so it has no gradient; compute it from the logits "
        "with torch's functions, without .item(), .detach(), .argmax() or torch.no_grad()."
    )


def synapses(network: nn.Module, leaves: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The masks of trained weights with absent synapses; in training these get no gradient, so they stay 0.

    One rule says which synapses exist: ``placement_of(network).masks``. A weight without a mask has them all.
    """
    masks = placement_of(network).masks
    found = {name: masks[name] for name in leaves if name in masks and not bool(masks[name].all())}
    for name, mask in found.items():
        if not mask.any() and hasattr(network, "slots"):
            warn(
                f"network: all weights of {name} are 0, which is no synapse in a placed network, so none of them is "
                f"trained; give them other values, or place the network after training."
            )
    return found
