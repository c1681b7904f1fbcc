"""``onto``: map a network onto a chip, check every limit, quantize."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from .._util import digests
from .._util.errors import check_number, shown
from ..chip import ChipModel, Programmed, Violation
from ..chip.architectures import Architecture, Demand, Merge, Placed
from ..chip.architectures.demand import Cores
from ..chip.design import a_chip
from ..chip.sourced import NO_LIMITS
from ..core.run import nominal
from ..data.samples import Data, in_memory
from ..evaluation.inputs import foreign_inputs
from ..nn.network import Network
from .arrays import holds_arrays, onto_arrays
from .deployment import Deployment
from .errors import DeploymentError
from .lowering import Lowered, check_chip, demand_of, lower, rebuilt, set_cores, with_settings
from .report import Report, facts_of, scores_of
from .structure import structure_of
from .translating import flat, translated


def onto(network: nn.Module, chip: ChipModel, data: Data | None = None, *, tolerance: float = 0.0) -> Deployment:
    """Map a network onto a chip, check every limit, and quantize it. The network does not change.

    The cores that the network asks for are kept if the chip can do so. Else all neurons get new places: layer after
    layer, core after core, neurons with equal settings together. A neuron keeps all its inputs on one core. Layers
    without spikes and layers on the host stay on the host. The same network gives the same deployment.

    Args:
        network: a :class:`neurorobust.Network`. The result of ``nr.from_snntorch`` is translated first: see
            :func:`neurorobust.deploy.translated`. On a crossbar it keeps its own form, and so does a wrapped module
            (:func:`neurorobust.wrap`): each matrix gets arrays of its own. The equations stay as they are, whatever
            those of the chip are; the report says so, and :func:`neurorobust.deploy.adapt` changes them.
        chip: with an architecture; its dies are those of :func:`neurorobust.evaluate`.
        data: to measure the score before and after; a warning says if the chip cannot be given its samples.
        tolerance: what a core sets once for all its neurons has to be equal for them. Where there are too few cores,
            the nearest settings are merged if none of them changes by a larger part than this, 0.05 for 5 %.

    Raises:
        DeploymentError: with every limit that the network breaks; ``error.violations`` has them one by one.
        TypeError, ValueError: an argument is wrong.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/adversarial")
        >>> deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
        >>> deployment.report.neurons, [used.of for used in deployment.report.usage if used.what == "cores"]
        (128, [4])
    """
    architecture = checked_architecture(chip)
    tolerance = check_number("tolerance", tolerance)
    if data is not None:
        data = in_memory(data)
    if holds_arrays(network, chip):
        return onto_arrays(network, chip, architecture, data)
    network = translated(network)
    if data is not None:
        data = flat(data)
    lowered = lower(network, chip)
    demand = demand_of(lowered.layers, network.inputs, chip)
    cores, merges, moved = _place(lowered, demand, architecture, chip.name, tolerance)
    try:
        deployed, programmed = _programmed(lowered, network, chip, cores, merges)
    except DeploymentError as error:
        if moved:
            raise
        try:  # the cores that it asks for have room, but they cannot hold its values
            cores, merges, moved = _place(lowered, demand, architecture, chip.name, tolerance, keep=False)
            deployed, programmed = _programmed(lowered, network, chip, cores, merges)
        except DeploymentError:
            raise error from None
    demand = demand_of(lowered.layers, network.inputs, chip)
    scores = None
    if data is not None:
        foreign_inputs(deployed, chip, data)
        scores = scores_of(network, deployed, programmed, data)
    with torch.no_grad():
        for name, value in deployed.named_parameters():
            value.copy_(programmed.params[name])
    host = {name: layer.n for name, layer in deployed.layers().items() if name not in cores}
    report = Report(
        **facts_of(chip, programmed, demand, cores, host),
        moved=moved,
        merged=merges,
        left_out={name: count for name, count in lowered.left_out.items() if count},
        scores=scores,
        samples=0 if data is None else len(data),
    )
    trained = digests.of_tensors(dict(network.state_dict()), structure_of(network))
    return Deployment(chip, deployed, programmed, demand, cores, report, trained)


def checked_architecture(chip: object) -> Architecture:
    """The architecture of a chip.

    Raises:
        TypeError: no chip model. ValueError: nothing can be placed on it, or its host deviates.
    """
    if not isinstance(chip, ChipModel):
        raise TypeError(f"chip: got {shown(chip)}; expected {a_chip(chip)}.")
    return check_chip(chip)


def _place(
    lowered: Lowered, demand: Demand, architecture: Architecture, chip: str, tolerance: float, *, keep: bool = True
) -> tuple[dict[str, Tensor], tuple[Merge, ...], dict[str, int]]:
    """The cores of all neurons, what was merged, and how many neurons of each layer moved.

    Args:
        keep: whether the cores that the network asks for are kept if they have room.
    """
    broken = (*lowered.violations, *architecture.check_demand(demand))
    if keep and not broken and not any(architecture.check_places(demand, lowered.wish)):
        return lowered.wish, (), {}
    too_many = any(violation.limit == "neurons" for violation in broken)
    placed = Placed({}) if too_many else architecture.place(demand, tolerance)
    broken += placed.violations
    if placed.cores and not placed.violations:
        broken += tuple(architecture.check_places(_merged(demand, placed.cores, placed.merged), placed.cores))
    if broken:
        raise DeploymentError(chip, broken)
    return dict(placed.cores), placed.merged, _moved(placed.cores, lowered)


def _moved(cores: Cores, lowered: Lowered) -> dict[str, int]:
    """How many neurons of each layer are on another core than the network asked for."""
    moved = {name: int((places != lowered.wish[name]).sum()) for name, places in cores.items()}
    return {name: count for name, count in moved.items() if count}


def _merged(demand: Demand, cores: Cores, merges: tuple[Merge, ...]) -> Demand:
    """The demand with merged settings."""
    result = {}
    for layer, asked in demand.items():
        settings = {name: values.clone() for name, values in asked.settings.items()}
        for merge in merges:
            if merge.name in settings:
                settings[merge.name][cores[layer] == merge.core] = merge.value
        result[layer] = replace(asked, settings=settings)
    return result


def _merge(lowered: Lowered, cores: dict[str, Tensor], merges: tuple[Merge, ...]) -> None:
    """Write merged settings into the layers, in place."""
    for layer, places in cores.items():
        for merge in merges:
            if merge.name in lowered.layers[layer].population_parameters():
                values = lowered.layers[layer].get_parameter(merge.name).detach().clone()
                values[places == merge.core] = merge.value
                with_settings(lowered.layers[layer], merge.name, values)
        set_cores(lowered.layers[layer], places)


def _programmed(
    lowered: Lowered, network: Network, chip: ChipModel, cores: dict[str, Tensor], merges: tuple[Merge, ...]
) -> tuple[Network, Programmed]:
    """The network on these cores, with codes and gains: ``ChipModel.program``, whose limits were checked before."""
    _merge(lowered, cores, merges)
    deployed = rebuilt(lowered.layers, network, cores)
    unlimited = replace(chip, limits=NO_LIMITS, architecture=None)
    try:
        return deployed, unlimited.program(nominal(deployed), deployed.placement())
    except ValueError as error:
        hint = "change the values, or put the layers on other cores"
        raise DeploymentError(
            chip.name, (Violation("values", "the network", str(error).rstrip("."), "", hint),)
        ) from error
