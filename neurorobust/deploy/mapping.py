"""``onto``: map a network onto a chip, check every limit, quantize."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from .._util import digests
from .._util.errors import check_number
from ..chip import ChipModel, Programmed, Violation
from ..chip.architectures import Architecture, Demand, Merge
from ..chip.architectures.demand import Cores
from ..chip.sourced import NO_LIMITS
from ..core.run import evaluating, nominal
from ..data.task import Data, check_data
from ..evaluation.predict import predict
from ..evaluation.statistics import score
from ..nn.network import Network
from .deployment import Deployment
from .errors import DeploymentError
from .lowering import Lowered, demand_of, lower, rebuilt, set_cores, with_settings
from .report import Report
from .structure import structure_of
from .translating import flat, translated


def onto(network: nn.Module, chip: ChipModel, data: Data | None = None, *, tolerance: float = 0.0) -> Deployment:
    """Map a network onto a chip, check every limit, and quantize it. The network does not change.

    The cores that the network asks for are kept if the chip can do so. Else all neurons get new places: layer after
    layer, core after core, neurons with equal settings together. A neuron keeps all its inputs on one core. Layers
    without spikes and layers on the host stay on the host. The same network gives the same deployment.

    Args:
        network: a :class:`neurorobust.Network`, or the result of ``nr.from_snntorch``, which is translated first: see
            :func:`neurorobust.deploy.translated`. Its equations stay as they are, whatever those of the chip are; the
            report says so, and :func:`neurorobust.deploy.adapt` changes them.
        chip: with an architecture; its dies are those of :func:`neurorobust.evaluate`.
        data: to measure the score before and after.
        tolerance: what a core sets once for all its neurons has to be equal for them. Where there are too few cores,
            the nearest settings are merged if none of them changes by a larger part than this, 0.05 for 5 %.

    Raises:
        DeploymentError: with every limit that the network breaks; ``error.violations`` has them one by one.
        TypeError, ValueError: an argument is wrong.
    """
    architecture = checked_architecture(chip)
    network = translated(network)
    tolerance = check_number("tolerance", tolerance)
    if data is not None:
        check_data(data)
        data = flat(data)
    lowered = lower(network, chip)
    demand = demand_of(lowered.layers, network.inputs, chip)
    cores, merges, moved = _place(lowered, demand, architecture, chip.name, tolerance)
    _merge(lowered, cores, merges)
    deployed = rebuilt(lowered.layers, network, cores)
    demand = demand_of(lowered.layers, network.inputs, chip)
    programmed = _program(deployed, chip)
    scores = None if data is None else _scores(network, deployed, programmed, data)
    with torch.no_grad():
        for name, value in deployed.named_parameters():
            value.copy_(programmed.params[name])
    report = Report(
        chip=f"{chip.name}, version {chip.version}",
        neurons=sum(asked.n for asked in demand.values()),
        usage=tuple(architecture.usage(demand, cores)),
        host=tuple(f"{name} ({network.layers()[name].n})" for name in network.names if name not in lowered.on_chip),
        moved=moved,
        merged=merges,
        left_out={name: count for name, count in lowered.left_out.items() if count},
        programming=tuple(programmed.report),
        equations=str(programmed.equations),
        gains=_gains(chip),
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
        raise TypeError(f"chip: got {chip!r}; expected a ChipModel: chipmodels.load({str(chip)!r}).")
    if chip.architecture is None:
        raise ValueError(
            f"chip: {chip.name} states no architecture, so nothing can be placed on it; choose another chip, or give "
            f"it one, such as neurorobust.chip.Cam."
        )
    if not chip.exact_host:
        raise ValueError(
            f"chip: the host of {chip.name} deviates, and a real one does not; use chip.with_host(exact=True)."
        )
    return chip.architecture


def _place(
    lowered: Lowered, demand: Demand, architecture: Architecture, chip: str, tolerance: float
) -> tuple[dict[str, Tensor], tuple[Merge, ...], dict[str, int]]:
    """The cores of all neurons, what was merged, and how many neurons of each layer moved."""
    broken = (*lowered.violations, *architecture.check_demand(demand))
    if not broken and not any(architecture.check_places(demand, lowered.wish)):
        return lowered.wish, (), {}
    placed = architecture.place(demand, tolerance)
    broken += placed.violations
    if placed.cores and not placed.violations:
        broken += tuple(architecture.check_places(_merged(demand, placed.cores, placed.merged), placed.cores))
    if broken:
        raise DeploymentError(chip, broken)
    moved = {name: int((places != lowered.wish[name]).sum()) for name, places in placed.cores.items()}
    return dict(placed.cores), placed.merged, {name: count for name, count in moved.items() if count}


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


def _program(network: Network, chip: ChipModel) -> Programmed:
    """Codes and gains: ``ChipModel.program`` with the new places, whose limits the architecture has checked."""
    try:
        return replace(chip, limits=NO_LIMITS, architecture=None).program(nominal(network), network.placement())
    except ValueError as error:
        hint = "change the values, or put the layers on other cores"
        raise DeploymentError(
            chip.name, (Violation("values", "the network", str(error).rstrip("."), "", hint),)
        ) from error


def _scores(network: Network, deployed: Network, programmed: Programmed, data: Data) -> tuple[float, float]:
    with evaluating(network):
        before = score(predict(network, nominal(network), data), data.y)
    with evaluating(deployed):
        return before, score(predict(deployed, programmed.params, data), data.y)


def _gains(chip: ChipModel) -> str:
    """Whether the gains of weights and of thresholds can hold together."""
    units = {kind: chip.kinds[kind].encoding.unit for kind in ("weight", "v_threshold") if kind in chip.kinds}
    if units.get("weight") != "A" and units.get("v_threshold") != "A":
        return ""
    return "weights and thresholds have gains of their own; whether the bias generator reaches both is not checked"
