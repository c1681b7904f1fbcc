"""``adapt``: the equations of a chip in place of those that a network was trained with, and training with them."""

from __future__ import annotations

import copy
from typing import Unpack

import torch
from torch import Tensor, nn

from .._util.errors import check_count, check_number
from ..chip import ChipModel
from ..chip.design import a_chip, check_type
from ..chip.equations import LINEARISED
from ..core.equations import Equations
from ..core.params import kind_of
from ..data import Task
from ..dynamics import Adaptation, AdaptiveThreshold, Ahp, HardFloor, NoFloor
from ..nn.connections import Linear, OneToOne
from ..nn.converted import with_floor
from ..nn.network import Network
from ..nn.neurons import LinearizedDpi, Neuron
from ..regularizers import Regularizer
from ..regularizers.regularizer import Criterion
from .lowering import on_chip
from .moments import N_DIES, Moments
from .retrained import EPOCHS, Retrained, Training, check_arguments, trained_on
from .translating import translated


def adapt(
    network: nn.Module,
    chip: ChipModel,
    data: Task,
    *,
    loss: Criterion | Regularizer | None = None,
    epochs: int = EPOCHS,
    tau_syn: float | None = None,
    n_dies: int = N_DIES,
    **training: Unpack[Training],
) -> Retrained:
    """Give a network the equations of a chip, and train it on with them. The network that is given does not change.

    On a chip with DPI neurons, ``Lif``, ``CubaLif`` and ``AdaptiveLif`` become ``LinearizedDpi``:
    :func:`neurorobust.nn.with_floor`, with the adaptation that the chip has. Potentials are shifted so that rest is 0,
    and a spike resets to rest. What such a chip sets once per core is not trained per neuron: biases that differ on a
    core are removed, other settings keep their values. A network that a chip computes as it is (a crossbar) is trained
    on only, and so is one whose equations are the chip's, but for what a core sets once. Other pairs are refused.

    Args:
        network: a :class:`neurorobust.Network`, or the result of ``nr.from_snntorch``; see
            :func:`neurorobust.deploy.translated`.
        chip: whose equations.
        data: a task, whose training and validation parts are used.
        loss: as in :func:`neurorobust.fit`. By default the adversarial method (``nr.train.methods``) with its first
            settings, on the loss of the task; a step takes 7 and 10 times as long as with
            ``loss=data.loss`` for the zoo's ``ecg/adversarial`` and ``ecg_dpi/standard``, measured on one core.
        epochs: of training, 10 by default; 0 converts only.
        tau_syn: time constant of synapses that the network does not have, s; its dt by default.
        n_dies: dies of the chip (0 … n_dies − 1 of seed 1) on which the network is measured as given, converted and
            after training, on the validation part; 0 for none. A conversion can cost the robustness of a network
            though its score without errors stays: ``print`` the result. If the network is surely worse there after
            training than before, by more than a point, there is a warning.
        training: ``seed``, ``out`` and ``schedule`` of :func:`neurorobust.fit`. By default seed 0, no folder, and Adam
            at 0.01 in batches of 25, judged every 5 epochs.

    Raises:
        ValueError, TypeError: with every part of the network that cannot be converted; or an argument is wrong.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg/standard")
        >>> data = nr.data.Data((torch.rand(20, 140, 32) < 0.05).float(), torch.arange(20) % 2)
        >>> task = nr.data.Task("mine", ("a", "b"), data, data, data, nn.functional.cross_entropy)
        >>> found = nr.deploy.adapt(network, chipmodels.load("dynapse2"), task, epochs=0)  # converts only
        >>> type(network.hidden).__name__, type(found.network.hidden).__name__
        ('AdaptiveLif', 'LinearizedDpi')
    """
    check_type("chip", chip, ChipModel, a_chip(chip))
    task = check_arguments(data, loss, epochs, training)
    if tau_syn is not None:
        check_number("tau_syn", tau_syn, strict=True)
    taken = Moments(chip, task.validation, check_count("n_dies", n_dies, 0))
    old = translated(network)
    new, changes = converted(old, chip, tau_syn)
    taken.take("before", old)
    if changes:
        taken.take("converted", new)
    else:
        taken.repeat("converted", "before")
    return trained_on((new, chip), task, (loss, epochs), training, taken, changes)


def converted(network: Network, chip: ChipModel, tau_syn: float | None) -> tuple[Network, list[str]]:
    """A new network with the chip's equations, and what was changed, one sentence each.

    Raises:
        ValueError, TypeError: it cannot be converted.
    """
    before = network.placement()
    if chip.neuron is None or chip.neuron.as_network:
        return copy.deepcopy(network), []
    layers = {name: before.equations[name] for name in on_chip(network)}
    apart = [each for each in chip.neuron.differing(layers) if each[1:] not in LINEARISED]
    unknown = [f"layer {name}: states no equations." for name, own in layers.items() if own == Equations()]
    if not apart and not unknown:
        same = copy.deepcopy(network)
        return same, _shared(same, chip)
    if "DPI membrane" not in chip.neuron.membrane.words:
        told = "\n".join(f"  {line}" for line in unknown + chip.neuron.differences(layers))
        raise ValueError(
            f"network: no conversion is known to the equations of {chip.name}; build its layers with other neurons, or "
            f"deploy it as it is with nr.deploy.onto, whose report says so:\n{told}"
        )
    changes = []
    rule = AdaptiveThreshold() if AdaptiveThreshold.word in chip.neuron.adaptation.words else Ahp()
    shifted = copy.deepcopy(network)
    for name, layer in on_chip(shifted).items():
        changes += _at_rest(name, layer, chip)
    new = _off_chip_as_before(with_floor(shifted, tau_syn=tau_syn, rule=rule), shifted)
    for layer in on_chip(new).values():
        if isinstance(layer, LinearizedDpi):
            _as_chip(layer, rule)
    after = {name: new.placement().equations[name] for name in layers}
    changes += [
        f"layer {name}: {word} → {after[name].words()[point]}"
        for name in layers
        for point, word in before.equations[name].words().items()
        if after[name].words()[point] != word
    ]
    if left := [each for each in chip.neuron.differing(after) if each[1:] not in LINEARISED]:
        raise ValueError(f"network: no conversion to {chip.name} is known for {'; '.join(map(str, left))}.")
    return new, changes + _shared(new, chip)


def _off_chip_as_before(new: Network, old: Network) -> Network:
    """The converted network with the layers of the old one on the host."""
    kept = on_chip(old)
    layers = {name: layer if name in kept else old.layers()[name] for name, layer in new.layers().items()}
    return Network(layers, new.dt, new.inputs, new.decode).train(new.training)


@torch.no_grad()
def _at_rest(name: str, layer: Neuron, chip: ChipModel) -> list[str]:
    """Shift the potentials of a layer so that rest is 0, and let a spike reset it to rest, in place, where the chip has
    no other rest and reset; what was done.

    Raises:
        ValueError: rest is above the threshold.
    """
    done = []
    for kind in ("v_leak", "v_reset", "v_floor"):
        if not hasattr(layer, kind) or kind in chip.kinds:
            continue
        if kind == "v_leak":
            threshold = layer.per_neuron("v_threshold") - layer.per_neuron("v_leak")
            if not bool((threshold > 0).all()):
                raise ValueError(f"network: layer {name!r} rests above its threshold; expected v_leak < v_threshold.")
            shape = max(layer.get_parameter("v_threshold").shape, layer.get_parameter("v_leak").shape)
            _replace(layer, "v_threshold", threshold if shape else threshold[0])
        delattr(layer, kind)
        what = {"v_leak": "rest is 0, the threshold is lower by v_leak", "v_reset": "reset to rest"}
        done.append(f"layer {name}: {what.get(kind, 'the floor is at rest')}; {chip.name} has no {kind}")
    return done


@torch.no_grad()
def _as_chip(layer: LinearizedDpi, rule: Adaptation) -> None:
    """Give a layer that has the chip's neurons its floor and its adaptation, in place."""
    if isinstance(layer.floor, NoFloor):
        layer.floor = HardFloor()
    if hasattr(layer, "tau_adapt") and layer.rule != rule:
        if isinstance(rule, Ahp) and hasattr(layer, "r"):
            subtracted = layer.per_neuron("adaptation") / layer.per_neuron("r")
            _replace(layer, "adaptation", subtracted)
        layer.rule = rule


def _replace(layer: Neuron, kind: str, value: Tensor) -> None:
    """Put other values in the place of a parameter; it is trained if the old one is."""
    layer.register_parameter(kind, nn.Parameter(value.clone(), layer.get_parameter(kind).requires_grad))


def _shared(network: Network, chip: ChipModel) -> list[str]:
    """Take out of training what the chip sets once per core, in place; what was done, one sentence each."""
    shared = {kind for kind, model in chip.kinds.items() if model.per_core}
    done = []
    for name, layer in on_chip(network).items():
        for part, connection in layer.connections().items():
            bias = getattr(connection, "bias", None)
            if "bias" not in shared or bias is None:
                continue
            if isinstance(connection, (Linear, OneToOne)) and _differ(bias, layer.core):
                connection.bias = None
                done.append(f"layer {name}: {len(bias)} biases of {part} removed; a core has one for all")
            else:
                bias.requires_grad_(False)
        for full in layer.population_parameters():
            value = layer.get_parameter(full)
            if kind_of(full) in shared and value.requires_grad and value.shape == (layer.n,) != (layer.n_cores,):
                value.requires_grad_(False)
                done.append(f"layer {name}: {full} is not trained any more; a core has one for all")
    return done


def _differ(values: Tensor, core: Tensor) -> bool:
    return any(len(values[core == each].unique()) > 1 for each in core.unique())
