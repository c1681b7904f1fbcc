"""A network as one chip gets it: places, codes, settings, routes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .._util.errors import check_path
from .._util.printed import Printed, fitted
from ..chip import ChipModel, Programmed, Violation
from ..chip.architectures import Demand, Route
from ..chip.design import check_type
from ..chip.encodings import Multiplicity
from ..chip.equations import time_differences
from ..circuit import Technology
from ..core.params import Params
from ..nn.network import Network, placement_of
from .image import Image
from .image.currents import OperatingPoint
from .image.making import image_of
from .lowering import structure_violations, value_violations
from .report import Report
from .writing import entry_of, write


@dataclass(frozen=True, eq=False)
class Deployment(Printed):
    """A network on one chip; made by :func:`neurorobust.deploy.onto` or read by :func:`neurorobust.deploy.load`.

    No board is attached to it. It is what a driver of a board would be given.

    Attributes:
        chip: the chip model.
        network: with the values that the chip holds and the cores that its neurons are on; one value per neuron of each
            parameter, and synapses as Linear or OneToOne. Its parameters are those of ``programmed``. A wrapped module
            or an snnTorch network, on a crossbar, keeps its own form.
        programmed: codes, gains and values.
        demand: what the network asks of the chip. cores: of each neuron, by layer on the chip, shape (n,).
        report: what it uses and what changed; print it.
        source: SHA-256 of the network that was deployed: its tensors and its structure.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
        >>> print(str(deployment.report).splitlines()[0])
        128 neurons for dynapse2, version 2 (no board is attached: a configuration, not a measurement)
    """

    chip: ChipModel
    network: nn.Module
    programmed: Programmed
    demand: Demand
    cores: Mapping[str, Tensor]
    report: Report
    source: str

    @property
    def native(self) -> Network:
        """The network, if its layers are those of this package.

        Raises:
            TypeError: it is a wrapped module or an snnTorch network, which no board and no image takes.
        """
        if not isinstance(self.network, Network):
            raise TypeError(
                f"deployment: holds a {type(self.network).__name__}, whose code is foreign; expected one of a "
                f"neurorobust.Network."
            )
        return self.network

    @cached_property
    def routes(self) -> list[Route]:
        """Where the events of every input and every neuron go."""
        assert self.chip.architecture is not None
        return self.chip.architecture.routes(self.demand, self.cores)

    def check(self) -> list[Violation]:
        """Every limit that it breaks: none, unless the chip model was changed."""
        architecture, on_chip = self.chip.architecture, tuple(self.cores)
        assert architecture is not None
        broken: list[Violation] = []
        if isinstance(self.network, Network):
            broken += structure_violations(self.network, self.chip, on_chip)
            broken += value_violations(self.network.layers(), on_chip, self.chip, self.network.dt)
        broken += [*architecture.check_demand(self.demand), *architecture.check_places(self.demand, self.cores)]
        return broken + list(self._too_many_entries())

    def _too_many_entries(self) -> Iterator[Violation]:
        """Neurons whose weights take more entries than there are, where a weight is a number of synapses."""
        assert self.chip.architecture is not None
        limit = self.chip.architecture.limits().get("fan_in")
        codecs = [held.codec for (kind, _), held in self.programmed.held.items() if kind == "weight"]
        if limit is None or not any(isinstance(codec, Multiplicity) for codec in codecs):
            return
        for layer, asked in self.demand.items():
            parts = [
                self.programmed.codes[name].abs().reshape(asked.n, -1).sum(1)
                for name in self.programmed.codes
                if name.startswith(f"{layer}.") and name.endswith("weight")
            ]
            taken = sum(parts, torch.zeros(asked.n, dtype=torch.long))
            if int(taken.max()) > limit:
                worst = int(taken.argmax())
                got = f"{int(taken[worst])} entries of neuron {worst}"
                yield Violation("fan_in", f"layer {layer!r}", got, f"a neuron has {limit}", "prune its inputs")

    def at_neurons(self, numbers: Mapping[str, Tensor]) -> Deployment:
        """The same codes on other physical neurons of the same cores.

        Args:
            numbers: of every neuron on its core, (n,) integers, for all layers on the chip.

        Raises:
            TypeError: no tensors by layer. ValueError: a layer is missing or not known, a number is not on the chip, or
                two neurons have one place.
        """
        placement = self.programmed.placement
        assert self.chip.architecture is not None
        check_type("numbers", numbers, Mapping, "tensors by layer, {'hidden': torch.tensor([7, 3, …])}")
        if numbers.keys() != self.cores.keys():
            raise ValueError(f"numbers: got layers {list(numbers)}; expected {list(self.cores)}.")
        taken: dict[tuple[int, int], str] = {}
        for layer, own in numbers.items():
            core = placement.numbering[layer].core
            check_type(f"numbers of {layer!r}", own, Tensor, "a tensor of integers, one for each neuron")
            if own.shape != core.shape or own.dtype != torch.long or len(core) != len(self.cores[layer]):
                raise ValueError(
                    f"numbers of {layer!r}: got {own.dtype} of shape {tuple(own.shape)}; expected torch.int64 of shape "
                    f"{tuple(core.shape)}, and no convolution that a crossbar holds once."
                )
            for i, place in enumerate(zip(core.tolist(), own.tolist())):
                if not 0 <= place[1] < self.chip.architecture.neurons:
                    raise ValueError(
                        f"numbers of {layer!r}: neuron {i} has {place[1]}; a core of {self.chip.name} has "
                        f"{self.chip.architecture.neurons}, from 0."
                    )
                owner = f"neuron {i} of layer {layer!r}"
                if taken.setdefault(place, owner) != owner:
                    raise ValueError(f"numbers: core {place[0]}, neuron {place[1]} is {taken[place]} and {owner}.")
        chosen = replace(placement, numbers={layer: own.clone() for layer, own in numbers.items()})
        return replace(self, programmed=replace(self.programmed, placement=chosen))

    def dies(self, serials: Sequence[int], seed: int = 1) -> Iterator[Params]:
        """The parameters of the deployed network on dies of the chip, for ``nr.run(deployment.network, params, x)``.

        Dies of a seed and serial are the same as in :func:`neurorobust.evaluate`. Serials and seed are checked at once;
        each die is computed when it is asked for.
        """
        fleet = self.chip.fabricate(serials, seed)
        return (die.params(self.programmed) for die in fleet)

    def image(
        self,
        *,
        ratio: float = 100.0,
        technology: Technology | None = None,
        pulse: float | None = None,
        weight: float = 1.0,
    ) -> Image:
        """The image for a board, checked: memories of every neuron, and one value of every bias current for each core.

        Args:
            ratio, technology: choose the currents; see :func:`neurorobust.circuit.circuit_of`.
            pulse: length of the synapses' pulses, s; 10 µs by default, as in rockpool. weight: factor of the base
                currents of weights, which are 1 to 8 nA with 1, the default. Larger ones make the filters of a chip
                more linear, see :meth:`Image.linearity`; the gains of the filters follow, so the weights stay.

        Raises:
            ValueError: the chip has no image format (only dynapse1 and dynapse2 have one), or a layer is not a
                LinearizedDpi, so its bias currents are unknown. DeploymentError: the neurons of a core ask for
                different currents, or the bias generator does not reach one; ``error.violations`` has all of them.
        """
        return image_of(self, OperatingPoint(ratio, technology, pulse, weight))

    def save(self, path: str | Path) -> Path:
        """Write the deployment file: one JSON, whole or not at all. See :func:`neurorobust.deploy.load`."""
        return write(check_path("path", path), self.entry())

    def entry(self) -> dict[str, Any]:
        """The content of the deployment file, without its digest. Raises ValueError for a network whose code is
        foreign: no file can hold it."""
        if not isinstance(self.network, Network):
            raise ValueError(
                f"network: a {type(self.network).__name__} is code, which a deployment file cannot hold; save it with "
                f"nr.save and deploy it again: the same network gives the same deployment."
            )
        return entry_of(self.chip, self.network, self.programmed, self.cores, self.routes) | {
            "report": self.report.entry(),
            "source": self.source,
        }

    def differences(self) -> list[str]:
        """What the network has that the chip lacks, and the reverse, one sentence each: the equations of every layer,
        and steps of time on a chip without a clock."""
        found = list(self.programmed.equations.differences) if self.programmed.equations is not None else []
        dt, placement = getattr(self.network, "dt", None), placement_of(self.network)
        return found + time_differences(self.chip.neuron, dt, self.programmed.params, placement)

    def __str__(self) -> str:
        return fitted("\n".join([repr(self), *self.differences()]))

    def __repr__(self) -> str:
        n = sum(asked.n for asked in self.demand.values())
        return f"Deployment({n} neurons on {self.chip.name}, {', '.join(self.cores)})"


def check_deployment(deployment: object, name: str = "deployment") -> Deployment:
    """The deployment, or TypeError for anything else."""
    if not isinstance(deployment, Deployment):
        raise TypeError(
            f"{name}: got a {type(deployment).__name__}; expected a Deployment, as nr.deploy.onto returns it."
        )
    return deployment
