"""Architectures: the budget of a chip, what a network needs of it, and where its neurons go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import NamedTuple

from torch import Tensor

from ..._util.errors import check_count, plain_fields, unknown
from ...core.params import kind_of
from ..sourced import SourcedValue
from .demand import Cores, Demand, receivers
from .packing import Merge, Packed, pack

_TEXT = ("source", "status", "others")


@dataclass(frozen=True)
class Violation:
    """One limit of a chip that a network breaks.

    Attributes:
        limit: its name. where: layer, parameter or core. got, allowed: what the network needs, and what there is.
        hint: what to do.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> try:
        ...     nr.deploy.onto(network, chipmodels.load("xylo"))
        ... except nr.deploy.DeploymentError as error:
        ...     print(error.violations[0].where, "-", error.violations[0].hint)
        hidden.t_ref - use a neuron without it
    """

    limit: str
    where: str
    got: str
    allowed: str
    hint: str

    def __str__(self) -> str:
        return f"{self.limit} of {self.where}: got {'; '.join(filter(None, (self.got, self.allowed, self.hint)))}."


class Used(NamedTuple):
    """How much of one resource is in use; ``of`` is None where the chip's number is unknown."""

    what: str
    used: int
    of: int | None


class Route(NamedTuple):
    """Where the events of one source element go.

    Attributes:
        source: a layer, or ``"x"``. element: which one of it. tag: its address on the chip, None without tags.
        cores: that receive it.
    """

    source: str
    element: int
    tag: int | None
    cores: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Placed:
    """Where the neurons of a network go.

    Attributes:
        cores: the core of each neuron, by layer; empty if they cannot be placed.
        merged: settings that changed so that neurons share a core.
        violations: why they cannot be placed.
    """

    cores: Cores
    merged: tuple[Merge, ...] = ()
    violations: tuple[Violation, ...] = ()


@dataclass(frozen=True)
class Architecture(ABC):
    """The budget of one chip. A kind of architecture is one file: its numbers and :meth:`check_demand`, and what else
    differs.

    Attributes:
        cores: number of cores. neurons: per core.
        source, status: of all its numbers but those in ``others``, which has its own (status, source) by name.

    Raises:
        ValueError: a number that is no whole number ≥ 1, or a name in ``others`` that is no number of it.
    """

    cores: int
    neurons: int
    source: str = field(default="", kw_only=True)
    status: str = field(default="assumed", kw_only=True)
    others: Mapping[str, tuple[str, str]] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        plain_fields(self)
        for name in self.numbers():
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        for name in self.others:
            if name not in self.numbers():
                raise unknown("others", name, self.numbers())
        self.facts()

    def numbers(self) -> tuple[str, ...]:
        """The names of its numbers; a number that nobody published is None."""
        return tuple(field.name for field in fields(self) if field.name not in _TEXT)

    def facts(self) -> dict[str, SourcedValue]:
        """Every known number with its provenance."""
        return {
            name: SourcedValue(getattr(self, name), *self.others.get(name, (self.status, self.source)))
            for name in self.numbers()
            if getattr(self, name) is not None
        }

    @abstractmethod
    def limits(self) -> dict[str, int]:
        """The numbers that :class:`~neurorobust.chip.Limits` must have where it states these limits."""

    def most_inputs(self) -> int | None:
        """The most synapses of a neuron, wherever it is; None where any number fits."""
        return self.limits().get("fan_in")

    @abstractmethod
    def check_demand(self, demand: Demand) -> Iterator[Violation]:
        """Limits that hold wherever the neurons are."""

    def check_places(self, demand: Demand, cores: Cores) -> Iterator[Violation]:
        """Limits of a placement: neurons per core, cores, and what a core shares."""
        counts: dict[int, int] = {}
        for places in cores.values():
            for core, count in zip(*(part.tolist() for part in places.unique(return_counts=True))):
                counts[core] = counts.get(core, 0) + count
        for core, count in sorted(counts.items()):
            if not 0 <= core < self.cores:
                yield Violation("cores", f"core {core}", f"core {core}", f"there are {self.cores}", "use another")
            if count > self.neurons:
                yield Violation("neurons", f"core {core}", str(count), f"a core has {self.neurons}", "use another core")
        shared: dict[tuple[int, str], set[float]] = {}
        for layer, places in cores.items():
            for name, values in demand[layer].settings.items():
                for core in places.unique().tolist():
                    shared.setdefault((core, name), set()).update(values[places == core].tolist())
        for (core, name), found in sorted(shared.items()):
            if len(found) > 1:
                yield Violation(
                    "settings", f"{name} on core {core}", f"{len(found)} values", "a core has one", "use another core"
                )

    def place(self, demand: Demand, tolerance: float) -> Placed:
        """Place all neurons: those that share settings fill one core after the other. Same demand, same places.

        Args:
            tolerance: the largest relative change of a setting, so that neurons can share a core.
        """
        if too_many := tuple(self.too_many(sum(asked.n for asked in demand.values()))):
            return Placed({}, (), too_many)
        packed = pack({name: (asked.n, asked.settings) for name, asked in demand.items()}, self.cores, self.neurons)
        if packed.cores is None:
            hint = "; ".join([*_hints(packed), self._chips(-(-packed.needed // self.cores))])
            got = f"{packed.needed} cores for {packed.sets} different sets of {', '.join(packed.names)}"
            if packed.change is None or packed.change > tolerance:
                lacking = Violation("settings", "the network", got, f"a chip has {self.cores}, with one set each", hint)
                return Placed({}, (), (lacking,))
        return Placed(packed.cores if packed.cores is not None else packed.merged_cores, packed.merges)

    def too_many(self, n: int) -> Iterator[Violation]:
        """The limit that n neurons break on any chip whose neurons have synapses of their own."""
        if n > (most := self.cores * self.neurons):
            hint = f"{self._chips(-(-n // most))}: use fewer neurons"
            yield Violation("neurons", "the network", str(n), f"a chip has {most}", hint)

    def usage(self, demand: Demand, cores: Cores) -> list[Used]:
        """The resources of the chip that a placement uses."""
        occupied = {core for places in cores.values() for core in places.tolist()}
        fan_in = max((int(asked.fan_in().max()) for asked in demand.values() if asked.n), default=0)
        return [
            Used("cores", len(occupied), self.cores),
            Used("neurons", sum(asked.n for asked in demand.values()), self.cores * self.neurons),
            Used("inputs of a neuron", fan_in, self.limits().get("fan_in")),
        ]

    def routes(self, demand: Demand, cores: Cores) -> list[Route]:
        """Where the events of every source go; elements that no core receives have no route."""
        return [
            Route(source, element, None, tuple(where[:, element].nonzero().flatten().tolist()))
            for source, where in receivers(demand, cores, self.cores).items()
            for element in where.any(0).nonzero().flatten().tolist()
        ]

    @staticmethod
    def _chips(chips: int) -> str:
        return f"it would take {chips} chips, and a deployment is on one"


def _hints(packed: Packed) -> Iterator[str]:
    """What helps where neurons have too many different settings."""
    if packed.change is not None:
        yield f"tolerance={packed.change:.3g} would merge them ({packed.told()})"
    if any(kind_of(name) == "bias" for name in packed.names):
        yield (
            "train without biases (bias=False in nn.Linear, recurrent.bias = None in a recurrent layer), or let "
            "nr.deploy.adapt remove them and train on"
        )
    if others := [name for name in packed.names if kind_of(name) != "bias"]:
        yield f"give the neurons of a layer one value of {', '.join(others)}"


def over_fan_in(demand: Demand, entries: int, what: str) -> Iterator[Violation]:
    """Layers with neurons that have more synapses than entries."""
    for name, asked in demand.items():
        fan_in: Tensor = asked.fan_in()
        over = int((fan_in > entries).sum())
        if over:
            worst = int(fan_in.argmax())
            yield Violation(
                "fan_in",
                f"layer {name!r}",
                f"{int(fan_in[worst])} inputs of neuron {worst}",
                f"a neuron has {entries} {what}",
                f"prune {int(fan_in[worst]) - entries} of its inputs ({over} of {asked.n} neurons are over)",
            )
