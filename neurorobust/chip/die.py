"""Dies and fleets of dies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._util import digests
from .._util.errors import reason, shown, unknown
from .._util.randomness import generator
from .._util.warn import warn
from ..core.apply import apply
from ..core.params import ABSOLUTE, Deviations, Params, kind_of
from ..core.pattern import Pattern
from ..core.placement import Placement
from . import die_random
from .coupling import multiplied, shifts
from .defects import DieKey
from .design import ChipDesign
from .measured import MeasuredNormals
from .programming import Programmed
from .variability import Reading

FORMAT = "neurorobust-die/2"
FIRST_FORMAT = "neurorobust-die/1"  # without a digest
ENTRIES: dict[str, Any] = {"chip": str, "version": int, "serial": int, "seed": int, "time": (int, float)}


@dataclass(frozen=True)
class Die:
    """One die: serial number k of a chip model under a seed. It is constant, except for drift of its devices with time.

    ``print(die)`` describes it, :meth:`save` and :meth:`load` store it, :meth:`compare` compares it with another,
    :func:`neurorobust.chip.draw` shows it.

    Attributes:
        time: seconds since it was programmed; :meth:`at` sets it.
        measured: the normals found by measurements, for the twin of a real die (:func:`neurorobust.fitting.twin.twin`).

    Example:
        >>> import chipmodels
        >>> chip = chipmodels.load("dynapse2")
        >>> die, again = chip.fabricate([17], seed=0)[0], chip.fabricate(range(20), seed=0)[17]
        >>> torch.equal(die.map("tau_mem"), again.map("tau_mem")), die.map("tau_mem").shape  # cores, rows, columns
        (True, torch.Size([4, 16, 16]))
    """

    model: ChipDesign
    serial: int
    seed: int
    time: float = 0.0
    measured: MeasuredNormals | None = None

    def at(self, time: str | float) -> Die:
        """The same die some time after programming: ``die.at("30 days")``; a number is in seconds.

        Raises:
            ValueError: no drift is known of this chip, though it varies.
        """
        return replace(self, time=self.model.at(time).time)

    @property
    def key(self) -> DieKey:
        """The die as its defects know it."""
        limits = self.model.limits
        return DieKey(
            self.model.name, self.seed, self.serial, limits.neurons_per_core, limits.fan_in, self.model.grid[1]
        )

    def deviations(self, programmed: Programmed, occasion: int = 0) -> Deviations:
        """The deviations of this die from the programmed values, for every parameter, in expanded shapes.

        With defects, and with read noise where the model's devices have it: these are the numbers that
        :func:`neurorobust.evaluate` runs. Read noise is mostly slow (1/f), so a whole run uses one reading, as in
        aihwkit; another ``occasion`` is another reading of the same die. Without defects and read noise:
        ``die.deviate(die.draws(programmed), programmed)``.
        """
        deviations = self.deviate(self.draws(programmed), programmed, self.readings(programmed, occasion))
        for defect in self.model.defects:
            for name, here, delta in defect.broken(self.key, programmed):
                deviations[name] = torch.where(here, delta.to(deviations[name]), deviations[name])
        return deviations

    def params(self, programmed: Programmed) -> Params:
        """The parameters of a programmed network on this die: its deviations, applied."""
        return apply(programmed.params, self.deviations(programmed), programmed.placement)

    def broken(self, programmed: Programmed) -> dict[str, Tensor]:
        """True at the permanently broken elements, in expanded shapes, by parameter with possible defects."""
        result: dict[str, Tensor] = {}
        for defect in self.model.defects:
            for name, here, _ in defect.broken(self.key, programmed):
                result[name] = result[name] | here if name in result else here
        return result

    def readings(self, programmed: Programmed, occasion: int = 0) -> dict[str, tuple[Tensor, Tensor]]:
        """The standard normals of one reading of the devices, two for each, of every parameter with read noise."""
        return {
            name: (_fresh(value, pattern, key), _fresh(value, pattern, key))
            for name, value in programmed.expanded().items()
            if self.model.kinds[kind_of(name)].law.has_read_noise
            for key in [generator(self.seed, "read", self.serial, occasion, name)]
            for pattern in [programmed.placement.patterns.get(name)]
        }

    def deviate(
        self,
        normals: Mapping[str, Tensor | tuple[Tensor, ...]],
        programmed: Programmed,
        readings: Mapping[str, tuple[Tensor, Tensor]] = MappingProxyType({}),
    ) -> Deviations:
        """Standard normals → deviations on this model, differentiable in the normals where the laws are.

        Args:
            normals: for every parameter, in its expanded shape, all the normals that its devices have (:meth:`draws`),
                or the first alone, u: then :attr:`~neurorobust.chip.variability.Law.of_first_normal` counts, and a
                device cannot age.
            readings: those of :meth:`readings`; a parameter without an entry has no read noise.

        Raises:
            ValueError: another number of normals; u alone, of a device that drifts, some time after programming.
        """
        expanded, result = programmed.expanded(), {}
        for name, given in normals.items():
            value, kind = expanded[name], kind_of(name)
            gain, law = programmed.gain(name, value), self.model.kinds[kind].law
            u = tuple(each.to(value.dtype) for each in (given if isinstance(given, tuple) else (given,)))
            if len(u) != 1 + law.n_extra_normals:
                if len(u) > 1:
                    raise ValueError(f"normals[{name!r}]: got {len(u)}; expected 1 or all {1 + law.n_extra_normals}.")
                if law.ages and self.time:
                    raise ValueError(
                        f"normals[{name!r}]: got 1; ageing needs all {1 + law.n_extra_normals}, from draws()."
                    )
                law = law.of_first_normal
            first, second = readings.get(name, (None, None))
            read = None if first is None or second is None else (first.to(value), second.to(value))
            delta = law.deviate(kind, u, value * gain, Reading(self.time, read))
            result[name] = delta / gain if kind in ABSOLUTE else delta
            if shift := self.model.corner.get(self.model.kinds[kind].shares_deviate_of or kind):
                result[name] = multiplied(name, value, delta, torch.full_like(delta, shift))
        still = {name: torch.zeros_like(value) for name, value in expanded.items()}
        along = shifts(self.model.kinds, programmed, lambda name, factor: factor * result.get(name, still[name]))
        return result | {
            name: multiplied(name, expanded[name], result[name], shift)
            for name, shift in along.items()
            if name in result
        }

    def draws(self, programmed: Programmed) -> dict[str, tuple[Tensor, ...]]:
        """All standard normals of every device, u first: they do not change when the die is reprogrammed."""
        expanded = programmed.expanded()
        result: dict[str, tuple[Tensor, ...]] = {name: (u,) for name, u in self.normals(programmed).items()}
        for which in range(1, 1 + max((model.law.n_extra_normals for model in self.model.kinds.values()), default=0)):
            rich = {
                name: value
                for name, value in expanded.items()
                if self.model.kinds[kind_of(name)].law.n_extra_normals >= which
            }
            for name, u in self.site_normals(rich, programmed.placement, which).items():
                result[name] += (u,)
        return result

    def normals(self, programmed: Programmed) -> Deviations:
        """The die's standard-normal deviates u behind each element, float64; 0 where there is no synapse."""
        return self.site_normals(programmed.expanded(), programmed.placement)

    def site_normals(self, expanded: Mapping[str, Tensor], placement: Placement, which: int = 0) -> Deviations:
        structure = self.model.structure
        u = die_random.normals(
            expanded, placement, seed=self.seed, serial=self.serial, structure=structure, which=which
        )
        return u if self.measured is None else self.measured.apply_to(u, placement, structure, which)

    def map(self, kind: str) -> Tensor:
        """u of one kind over the die, shape (cores, rows, columns), float64; a weight's is that of each neuron's first
        synapse.

        Raises:
            ValueError: the model does not describe the kind, or does not say how many cores and neurons it has.
        """
        limits, (_, width) = self.model.limits, self.model.grid
        if kind not in self.model.kinds:
            raise unknown(f"kind of chip {self.model.name}", kind, self.model.kinds)
        if limits.cores is None or limits.neurons_per_core is None:
            raise ValueError(f"{self.model.name}: has no limits, so the size of a map is unknown.")
        core = torch.arange(limits.cores).repeat_interleave(limits.neurons_per_core)
        weight = kind == "weight"
        name = "die.input.weight" if weight else f"die.{kind}"
        values = torch.ones(len(core), 1) if weight else torch.ones(len(core))
        masks = {name: torch.ones_like(values, dtype=torch.bool)} if weight else {}
        u = self.site_normals({name: values}, Placement({"die": core}, masks=masks))[name]
        return u.reshape(limits.cores, -1, width)

    def maps(self) -> dict[str, Tensor]:
        """:meth:`map` of every kind that varies."""
        return {kind: self.map(kind) for kind, model in self.model.kinds.items() if model.cv.value > 0}

    def __str__(self) -> str:
        model = self.model
        die = f"die {self.serial}" if self.measured is None else "twin of a measured die"
        lines = [f"{die} of {model.name} (version {model.version}, seed {self.seed}): {model.title}"]
        if model.limits.cores is None or model.limits.neurons_per_core is None:
            return lines[0]
        for kind, u in self.maps().items():
            fact = model.kinds[kind].cv
            means = ", ".join(f"{mean:+.2f}" for mean in u.mean((1, 2)).tolist()[:8])
            lines.append(
                f"  {kind:12s} CV {fact.value:g} ({fact.status}); u {float(u.min()):+.2f} to {float(u.max()):+.2f}, "
                f"mean of each core {means}{' …' if len(u) > 8 else ''}"
            )
        return "\n".join(lines)

    def compare(self, other: Die) -> dict[str, float]:
        """Correlation of two dies' u, site by site, for every kind in both maps: 1 is the same die, ±1/√n chance."""
        here, there = self.maps(), other.maps()
        return {
            kind: float(np.corrcoef(u.flatten(), there[kind].flatten())[0, 1])
            for kind, u in here.items()
            if kind in there and there[kind].shape == u.shape
        }

    def save(self, path: str | Path) -> Path:
        """Write the die as JSON: the model's name and version, its defects, noise and corner, serial and seed, time,
        measured normals, and a digest."""
        entry = {
            "format": FORMAT,
            "chip": self.model.name,
            "version": self.model.version,
            "serial": self.serial,
            "seed": self.seed,
            "time": self.time,
            **{name: part for name, part in _conditions(self.model).items() if part},
            **({} if self.measured is None else {"measured": self.measured.entry()}),
        }
        path = Path(path)
        digests.write_json(path, entry, indent=2)
        return path

    @classmethod
    def load(cls, path: str | Path, model: ChipDesign) -> Die:
        """The die that :meth:`save` wrote; :func:`chipmodels.load_die` finds the model by name.

        Raises:
            ValueError: the file is not a die, or of another model or version than the one given, or of one with other
                defects, noise or corner.
        """
        entry = read_die_file(path)
        if (entry["chip"], entry["version"]) != (model.name, model.version):
            raise ValueError(
                f"die {str(path)!r}: of {entry['chip']} version {entry['version']}; got {model.name} version "
                f"{model.version}, whose dies differ."
            )
        for name, there in _conditions(model).items():
            if (here := entry.get(name, [])) != there:
                found = ", ".join(map(str, here)) if isinstance(here, list) else shown(here)
                raise ValueError(
                    f"die {str(path)!r}: has {name} {found or 'none'}; the model given has "
                    f"{', '.join(there) or 'none'}. Load it with Die.load(path, model.with_{name}(…))."
                )
        try:
            measured = MeasuredNormals.of(entry["measured"]) if "measured" in entry else None
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise ValueError(f"die {str(path)!r}: measured: not the normals of a die ({reason(error)}).") from error
        return cls(model, entry["serial"], entry["seed"], float(entry["time"]), measured)


def _conditions(model: ChipDesign) -> dict[str, list[str]]:
    """What was put on a chip model and acts on its dies, by the method that puts it there."""
    return {
        "defects": [repr(defect) for defect in model.defects],
        "noise": [repr(source) for source in model.noise],
        "corner": [f"{kind} {shift!r}" for kind, shift in sorted(model.corner.items())],
    }


BLOCK = 2**20
"""Numbers that are drawn at once for a weight without a matrix; a multiple of 16."""


def _fresh(like: Tensor, pattern: Pattern | None, key: torch.Generator) -> Tensor:
    """Standard normals for a parameter, float32 whatever torch's default type is. The synapses of a pattern get those
    that they would have in the matrix: all of them are drawn, in blocks."""
    if pattern is None:
        return torch.randn(like.shape, generator=key, dtype=torch.float32)
    index, order = pattern.index.cpu().sort()
    total, start, found = pattern.shape[0] * pattern.shape[1], 0, []
    while start < total:
        end = start + BLOCK if total - start >= BLOCK + 16 else total  # torch draws the last 16 in another way
        first, last = torch.searchsorted(index, torch.tensor([start, end])).tolist()
        found.append(torch.randn(end - start, generator=key, dtype=torch.float32)[index[first:last] - start])
        start = end
    fresh = torch.cat(found)
    return torch.empty_like(fresh).index_copy(0, order, fresh)


def read_die_file(path: str | Path) -> dict:
    """The entries of a file that :meth:`Die.save` wrote.

    Raises:
        ValueError: it is not a die, or damaged.
    """
    path, advice = Path(path), "copy it again from where it is whole, or save the die again."
    entry = digests.parsed(path, f"is not a die; expected a file that Die.save wrote; {advice}")
    if entry.get("format") == FIRST_FORMAT and digests.KEY not in entry:
        warn(f"die {str(path)!r}: an earlier version saved it without a digest, so damage is not seen; save it again.")
    elif entry.get("format") == FORMAT:
        entry = digests.unsealed(entry, path, advice)
    else:
        raise ValueError(f"die {str(path)!r}: is not a die; expected a file that Die.save wrote.")
    for name, kind in ENTRIES.items():
        if not isinstance(entry.get(name), kind):
            raise ValueError(f"die {str(path)!r}: {name}: got {shown(entry.get(name))}; {advice}")
    for name in ("serial", "seed"):
        if not 0 <= entry[name] < 2**64:
            raise ValueError(f"die {str(path)!r}: {name}: got {shown(entry[name])}; expected 0 to 2**64 - 1.")
    return entry


@dataclass(frozen=True)
class Fleet:
    """Dies of one model: a sequence of :class:`Die`.

    Example:
        >>> fleet = nr.mismatch(0.3).fabricate(range(4), seed=0)
        >>> len(fleet), fleet[2].serial
        (4, 2)
    """

    model: ChipDesign
    serials: tuple[int, ...]
    seed: int

    def __len__(self) -> int:
        return len(self.serials)

    def __getitem__(self, i: int) -> Die:
        return Die(self.model, self.serials[i], self.seed, self.model.time)

    def __iter__(self) -> Iterator[Die]:
        return (self[i] for i in range(len(self)))

    def deviations(self, programmed: Programmed) -> Deviations:
        """The deviations of all dies with a leading axis over dies, as :func:`neurorobust.evaluate` has them;
        :meth:`Die.deviations`, die by die, needs less memory."""
        dies = [die.deviations(programmed) for die in self]
        return {name: torch.stack([die[name] for die in dies]) for name in dies[0]}
