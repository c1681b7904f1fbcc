"""``estimate``: events of a deployment, counted, and published figures of energy and time for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._util.errors import flatten_hint
from .._util.printed import Printed, fitted
from .._util.warn import warn
from ..chip import Cost, Tiles
from ..chip.architectures.demand import fan_out
from ..chip.design import check_type
from ..core.noise import INPUT
from ..core.run import evaluating, run
from ..data import Data
from .board import BoardRecording
from .board.recording import steps_in
from .deployment import Deployment, check_deployment

WIDTH = 110


@dataclass(frozen=True)
class Estimated(Printed):
    """One figure times its count.

    Attributes:
        cost: the figure. count: per sample; None where it is unknown. low, high: per sample, in the figure's unit;
            None where they are unknown.
    """

    cost: Cost
    count: float | None

    @property
    def low(self) -> float | None:
        return None if self.count is None or self.cost.low is None else self.count * self.cost.low

    @property
    def high(self) -> float | None:
        return None if self.count is None else self.count * self.cost.high


@dataclass(frozen=True, repr=False)
class Estimate(Printed):
    """Events of a deployment, and what they take; ``print`` it. No board was measured.

    Attributes:
        chip: its name. samples: how many were run. seconds: of a sample, in the network's time.
        counts: mean per sample, by the names of :data:`neurorobust.chip.costs.COUNTS`; None where a count is unknown.
        spikes: mean per sample, by layer on the chip.
        figures: every figure of the chip model, times its count.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
        >>> found = nr.deploy.estimate(deployment, torch.zeros(1, 140, 32))  # no event comes in
        >>> found.counts["input events"], found.seconds
        (0.0, 0.7000000000000001)
    """

    chip: str
    samples: int
    seconds: float
    counts: Mapping[str, float | None]
    spikes: Mapping[str, float]
    figures: tuple[Estimated, ...]

    def energy(self) -> tuple[float | None, float | None]:
        """Joules per sample: the sum of all figures for single events; (None, None) if there is none, or if a count is
        unknown. A power of the whole chip is another figure for the same energy, so it is no part of the sum."""
        single = [each for each in self.figures if each.cost.unit == "J" and each.cost.per != "seconds"]
        if not single or any(each.count is None for each in single):
            return None, None
        low = [each.low for each in single]
        lowest = None if None in low else sum(value for value in low if value is not None)
        return lowest, sum(each.high for each in single if each.high is not None)

    def entry(self) -> dict[str, Any]:
        """For JSON."""
        low, high = self.energy()
        return {
            "chip": self.chip,
            "samples": self.samples,
            "seconds": self.seconds,
            "counts": dict(self.counts),
            "spikes": dict(self.spikes),
            "figures": [
                {**vars(each.cost), "count": each.count, "figure_low": each.cost.low, "figure_high": each.cost.high}
                | {"low": each.low, "high": each.high}
                for each in self.figures
            ],
            "energy": {"low": low, "high": high},
            "measured_on_hardware": False,
        }

    def __str__(self) -> str:
        lines = [f"{self.chip}, per sample of {_si(self.seconds, 's')}, mean of {self.samples} (no board was measured)"]
        lines += [f"  {name:<28} {'unknown' if n is None else f'{n:,.6g}'}" for name, n in self.counts.items()]
        for each in self.figures:
            value = _range(each.low, each.high, each.cost.unit)
            lines.append(f"  {each.cost.what:<28} {value:<22} {each.cost.status}; {each.cost.source}")
        low, high = self.energy()
        lines.append(f"  {'energy, sum over events':<28} {_range(low, high, 'J')}")
        if not any(each.cost.unit == "s" for each in self.figures):
            lines.append(f"  {'latency':<28} unknown: no figure was found")
        return fitted("\n".join(line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…" for line in lines))

    def __repr__(self) -> str:
        return str(self)


def estimate(
    deployment: Deployment, x: Tensor | Data | Sequence[BoardRecording], spikes: Mapping[str, Tensor] | None = None
) -> Estimate:
    """Count the events of a deployment, and multiply them by the published figures of its chip.

    Counts are exact for the spikes that are counted. By default they are those of the network on an ideal die.
    Figures are those of the chip model (``chip.costs``), with their range, status and source. Nothing is known where
    there is no figure, and no number is invented.

    Args:
        deployment: a network on a chip.
        x: samples (B, T, n_in), or data with them; or what a board recorded, all of one duration. A warning says if the
            recordings lost events: those that the chip did not get are counted, those that it sent in vain are not.
            Events are whole numbers; where x is anything else, such as currents, all counts of input events are
            unknown.
        spikes: by layer on the chip, (B, T, n), of the same samples, such as those of a die
            (``nr.run(…, record=True)``). Not beside recordings, which have their own.

    Raises:
        TypeError: no deployment. ValueError: samples, spikes or recordings of another shape, or a layer that is not on
            the chip.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> deployment = nr.deploy.onto(network, chipmodels.load("dynapse2"))
        >>> found = nr.deploy.estimate(deployment, nr.tasks.ecg().test.x[:5])
        >>> found.counts["input events"], found.counts["spikes"]  # mean of a beat
        (206.2, 1886.8)
    """
    check_deployment(deployment)
    dt = deployment.native.dt
    if isinstance(x, Sequence):
        if spikes is not None:
            raise ValueError("spikes: got some beside recordings, which have their own; expected none.")
        totals, n, steps = _recorded(deployment, x)
        duration = x[0].duration
    else:
        totals, n, steps = _run(deployment, x.x if isinstance(x, Data) else x, spikes)
        duration = steps * dt
    counts = {
        name: None if total is None else total / n for name, total in _counts(deployment, totals, steps * n).items()
    }
    counts["seconds"] = duration / deployment.chip.time_base.speedup.value
    return Estimate(
        deployment.chip.name,
        n,
        duration,
        counts,
        {name: float(total.sum()) / n for name, total in totals.items() if name != INPUT and total is not None},
        tuple(Estimated(cost, counts.get(cost.per)) for cost in deployment.chip.costs),
    )


Totals = Mapping[str, Tensor | None]
"""The events of every element of the input and of the layers on the chip, over all samples; None where unknown."""


def _recorded(deployment: Deployment, recordings: Sequence[BoardRecording]) -> tuple[Totals, int, int]:
    """Totals, samples, steps."""
    sizes = [asked.n for asked in deployment.demand.values()]
    wrong = [each for each in recordings if not isinstance(each, BoardRecording) or each.n != sum(sizes)]
    if wrong or not recordings or len({each.duration for each in recordings}) != 1:
        raise ValueError(
            f"x: got {len(recordings)} recordings, {len(wrong)} of them of another network; expected some of one "
            f"duration and of {sum(sizes)} neurons."
        )
    if lost := sum(each.dropped_inputs + each.dropped_spikes for each in recordings):
        warn(f"x: the recordings lost {lost} events; counts are of the events that the host sent and received.")
    network = deployment.native
    most = max((int(each.events.channels.max()) for each in recordings if len(each.events.channels)), default=-1)
    if most >= network.n_in:
        raise ValueError(f"x: got recordings with an event of channel {most}; the network has {network.n_in}, from 0.")
    events = sum(np.bincount(each.events.channels, minlength=network.n_in) for each in recordings)
    spikes = torch.as_tensor(sum(each.counts() for each in recordings)).double()
    totals: dict[str, Tensor | None] = dict(zip(deployment.demand, spikes.split(sizes)))
    return (
        totals | {INPUT: torch.as_tensor(events).double()},
        len(recordings),
        steps_in(recordings[0].duration, network.dt),
    )


def _run(deployment: Deployment, samples: object, spikes: Mapping[str, Tensor] | None) -> tuple[Totals, int, int]:
    """Totals, samples, steps."""
    network = deployment.native
    if not isinstance(samples, Tensor) or samples.ndim != 3 or samples.shape[2] != network.n_in:
        got = f"shape {tuple(samples.shape)}" if isinstance(samples, Tensor) else f"a {type(samples).__name__}"
        more = flatten_hint(samples.shape, network.n_in, 2) if isinstance(samples, Tensor) else ""
        raise ValueError(f"x: got {got}; expected samples (B, T, {network.n_in}), data with them, or recordings.{more}")
    if not bool(samples.isfinite().all()):
        raise ValueError("x: got NaN or infinity; expected finite samples.")
    if spikes is None:
        with evaluating(network), torch.no_grad():
            spikes = run(network, deployment.programmed.params, samples, record=True)[1]
    spikes = _checked(deployment, samples, spikes)
    totals: dict[str, Tensor | None] = {name: value.double().sum((0, 1)) for name, value in spikes.items()}
    are_events = bool(((samples >= 0) & (samples == samples.round())).all())
    totals[INPUT] = samples.double().sum((0, 1)) if are_events else None
    return totals, len(samples), samples.shape[1]


def _checked(deployment: Deployment, samples: Tensor, spikes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The spikes of every layer on the chip."""
    check_type("spikes", spikes, Mapping, "tensors by layer, as nr.run(…, record=True) gives them")
    found = {}
    for name, asked in deployment.demand.items():
        if name not in spikes:
            raise ValueError(f"spikes: {name!r} missing; expected those of {', '.join(deployment.demand)}.")
        check_type(f"spikes[{name!r}]", spikes[name], Tensor, "a tensor of counts")
        shape = (*samples.shape[:2], asked.n)
        if spikes[name].shape != shape:
            raise ValueError(f"spikes[{name!r}]: got shape {tuple(spikes[name].shape)}; expected {shape}.")
        value = spikes[name]
        if not bool((value.isfinite() & (value >= 0) & (value == value.round())).all()):
            raise ValueError(f"spikes[{name!r}]: got values that are no counts; expected whole numbers ≥ 0.")
        found[name] = value
    return found


def _counts(deployment: Deployment, totals: Totals, steps: int) -> dict[str, float | None]:
    """Every count over all samples; ``totals``: events of each source element, ``steps``: of all samples together."""
    events = totals[INPUT]
    counts: dict[str, float | None] = {
        "input events": None if events is None else float(events.sum()),
        "spikes": float(sum(total.sum() for name, total in totals.items() if name != INPUT and total is not None)),
    }
    architecture, demand, cores = deployment.chip.architecture, deployment.demand, deployment.cores
    if isinstance(architecture, Tiles):
        places = {name: 1 if asked.kernel is None else asked.n // asked.kernel[0] for name, asked in demand.items()}
        group = {int(core): places[name] for name, own in cores.items() for core in own.unique()}
        used = architecture.tiles(demand, cores)
        counts["multiplications"] = float(steps * sum(columns * rows * group[at] for at, columns, rows in used))
        counts["products"] = float(steps * sum(places.values()))
        return counts
    arriving = {source: totals[source] for source in fan_out(demand)}
    received = [(total, driven) for (source, driven), total in zip(fan_out(demand).items(), arriving.values())]
    missing = any(total is None for total, _ in received)
    counts["synaptic operations"] = (
        None if missing else float(sum((total * driven).sum() for total, driven in received if total is not None))
    )
    broadcasts, routes = 0.0, 0.0
    for route in deployment.routes:
        total = totals[route.source]
        own = set() if route.source == INPUT else {int(cores[route.source][route.element])}
        count = 0.0 if total is None else float(total[route.element])
        broadcasts += count * len(route.cores)
        routes += 0.0 if route.source == INPUT else count * len(set(route.cores) - own)
    counts["broadcasts"] = None if missing else broadcasts
    counts["routes"] = routes
    return counts


PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"), (1e-15, "f"))


def _si(value: float, unit: str) -> str:
    factor, prefix = next((each for each in PREFIXES if value >= each[0]), PREFIXES[-1])
    return f"{value / factor:.3g} {prefix}{unit}"


def _range(low: float | None, high: float | None, unit: str) -> str:
    if high is None:
        return "unknown"
    if low is None:
        return f"at most {_si(high, unit)}"
    return _si(high, unit) if low == high else f"{_si(low, unit)} to {_si(high, unit)}"
