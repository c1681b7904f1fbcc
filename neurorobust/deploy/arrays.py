"""Networks whose code is foreign on crossbars: each matrix of a wrapped module or an snnTorch network in arrays."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from .._util import digests
from ..chip import ChipModel, Violation
from ..chip.architectures import Architecture, Demand, LayerDemand, Synapses, Tiles
from ..chip.convolutions import place_arrays, place_convolutions
from ..chip.sourced import NO_LIMITS
from ..core.params import DIGITAL, Params, check_values, kind_of
from ..core.placement import HOST, Placement, placement_of
from ..core.run import nominal
from ..data.samples import Data
from ..evaluation.predict import checked_params
from ..nn.network import Network
from .deployment import Deployment
from .errors import DeploymentError
from .report import Report, facts_of, scores_of


def holds_arrays(network: object, chip: ChipModel) -> bool:
    """True for a network whose code is foreign but whose matrices are known, and a chip that holds any matrix."""
    foreign = isinstance(network, nn.Module) and not isinstance(network, Network) and hasattr(network, "placement")
    return foreign and isinstance(chip.architecture, Tiles)


def onto_arrays(network: nn.Module, chip: ChipModel, architecture: Architecture, data: Data | None) -> Deployment:
    """Deploy a foreign network onto a crossbar. Every matrix that :func:`neurorobust.evaluate` puts into an array goes
    there, with the same dies; all else is computed digitally, as the network does it."""
    params = nominal(network) if data is None else checked_params(network, data)
    check_values(params)
    params = {name: value.clone() for name, value in params.items()}  # later training of the network changes no die
    analog = {name: value for name, value in params.items() if kind_of(name) not in DIGITAL}
    placement = place_arrays(chip, analog, placement_of(network))
    unlimited = replace(chip, limits=NO_LIMITS, architecture=None)
    found = list(_without_arrays(analog, chip, placement))
    if not found:
        try:
            placement = place_convolutions(unlimited, analog, placement)
            programmed = unlimited.program(params, placement)
        except ValueError as error:
            found.append(Violation("values", "the network", str(error).rstrip("."), "", "change the values"))
    cores = {name: core.cpu() for name, core in placement.cores.items() if not bool((core == HOST).all())}
    demand = _demand(placement)
    found += architecture.check_places(demand, cores)
    if found:
        raise DeploymentError(chip.name, tuple(found))
    deployed = _copied(network, chip)
    with torch.no_grad():
        for name, value in deployed.named_parameters():
            if name in programmed.params:
                value.copy_(programmed.params[name])
    report = Report(
        **facts_of(chip, programmed, demand, cores, _host(placement)),
        scores=None if data is None else scores_of(network, deployed, programmed, data),
        samples=0 if data is None else len(data),
    )
    parts = {name: type(part).__qualname__ for name, part in network.named_modules()}
    source = digests.of_tensors(dict(network.state_dict()), json.dumps(parts, sort_keys=True))
    return Deployment(chip, deployed, programmed, demand, cores, report, source)


def _copied(network: nn.Module, chip: ChipModel) -> nn.Module:
    """A copy in ``eval`` mode. Raises DeploymentError for a module that Python cannot copy."""
    computed = [
        value
        for part in network.modules()
        for value in vars(part).values()
        if isinstance(value, Tensor) and not value.is_leaf  # such as a pruned weight, which every pass computes again
    ]
    try:
        return copy.deepcopy(network, {id(value): value.detach().clone() for value in computed}).eval()
    except (TypeError, RuntimeError, ValueError) as error:
        hint = "hold what cannot be copied outside of the module"
        found = Violation("copy", "the network", str(error).rstrip("."), "a deployment has a copy of its own", hint)
        raise DeploymentError(chip.name, (found,)) from error


def _without_arrays(analog: Params, chip: ChipModel, placement: Placement) -> Iterator[Violation]:
    """Weights that deviate, and that are no matrix of a known layer; and a network without any matrix."""
    if not any(placement.layer(name) is not None for name in analog):
        hint = "use nn.Linear or nn.Conv1d, nn.Conv2d, and kinds that are not all 'digital'"
        yield Violation("array", "the network", "no matrix", "a crossbar holds matrices", hint)
    for name in analog:
        if kind_of(name) not in chip.kinds:
            allowed = f"{chip.name} has {', '.join(sorted(chip.kinds))}"
            yield Violation("kind", name, kind_of(name), allowed, "give it another kind")
        elif placement.layer(name) is None and not chip.kinds[kind_of(name)].digital:
            allowed = "a crossbar knows nn.Linear, nn.Conv1d and nn.Conv2d with groups=1"
            hint = "use these, or have it computed exactly: nr.wrap(…, kinds={…: 'digital'})"
            yield Violation("array", name, "a weight of another layer", allowed, hint)


def _demand(placement: Placement) -> Demand:
    """Columns and rows of every matrix; its rows are inputs of its own."""
    result = {}
    for layer, core in placement.cores.items():
        if bool((core == HOST).all()):
            continue
        parts = [Synapses(f"inputs of {name}", mask.cpu()) for name, mask in placement.synapses(layer, len(core))]
        result[layer] = LayerDemand(len(core), tuple(parts))
    return result


def _host(placement: Placement) -> dict[str, int]:
    return {name: len(core) for name, core in placement.cores.items() if bool((core == HOST).all())}
