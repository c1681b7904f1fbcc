"""Dies: one that never changes, and a fleet of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .. import sites
from .._util import files
from .._util.errors import unknown
from .._util.randomness import generator
from ..core.params import ABSOLUTE, Deviations, kind_of
from ..core.placement import Placement
from .coupling import moved, shifts
from .known import Known
from .programming import Programmed

if TYPE_CHECKING:
    from .model import ChipModel

FORMAT = "neurorobust-die/1"


@dataclass(frozen=True)
class Chip:
    """One die: serial number k of a chip model under a seed. It never changes, but with time where its devices drift.

    ``print(die)`` describes it, :meth:`save` and :meth:`load` keep it, :meth:`compare` holds it against another,
    :func:`neurorobust.chip.draw` shows it.

    Attributes:
        time: seconds since it was programmed; :meth:`at` sets it.
        known: what was measured of it, for the twin of a real die (:func:`neurorobust.chip.twin.twin`).
    """

    model: ChipModel
    serial: int
    seed: int
    time: float = 0.0
    known: Known | None = None

    def at(self, time: str | float) -> Chip:
        """The same die some time after programming: ``die.at("30 days")``; a number is in seconds.

        Raises:
            ValueError: no drift is known of this chip, though it varies.
        """
        return replace(self, time=self.model.at(time).time)

    def deviations(self, programmed: Programmed) -> Deviations:
        """How this die departs from what was programmed, defects included, for every parameter, expanded shapes."""
        return self._with_defects(self.deviate(self.draws(programmed), programmed), programmed)

    def read(self, programmed: Programmed, occasion: int = 0) -> Deviations:
        """:meth:`deviations` as they are read on one occasion: with read noise, where the model's devices have it.

        Read noise is mostly slow (1/f), so one reading stands for a whole run, as in aihwkit; another occasion is
        another reading of the same die.
        """
        fresh = {
            name: (torch.randn(value.shape, generator=key), torch.randn(value.shape, generator=key))
            for name, value in programmed.expanded().items()
            if self.model.kinds[kind_of(name)].law.reads
            for key in [generator(self.seed, "read", self.serial, occasion, name)]
        }
        return self._with_defects(self._deviate(self.draws(programmed), programmed, fresh), programmed)

    def broken(self, programmed: Programmed) -> dict[str, Tensor]:
        """What is broken for good: True there, in expanded shapes, for every parameter that a defect can be at."""
        result: dict[str, Tensor] = {}
        for defect in self.model.defects:
            for name, here, _ in defect.broken(self, programmed):
                result[name] = result[name] | here if name in result else here
        return result

    def _with_defects(self, deviations: Deviations, programmed: Programmed) -> Deviations:
        for defect in self.model.defects:
            for name, here, delta in defect.broken(self, programmed):
                deviations[name] = torch.where(here, delta.to(deviations[name]), deviations[name])
        return deviations

    def deviate(self, normals: Mapping[str, Tensor | tuple[Tensor, ...]], programmed: Programmed) -> Deviations:
        """What any standard normals mean on this model: u → δ, differentiable in u where the laws are.

        Args:
            normals: u of every parameter, expanded shape; or (u, …) with all the normals its devices have. With u
                alone a device has only what u does to it, so it cannot age.

        Raises:
            ValueError: u alone, of a device that drifts, some time after programming.
        """
        return self._deviate(normals, programmed, {})

    def _deviate(
        self,
        normals: Mapping[str, Tensor | tuple[Tensor, ...]],
        programmed: Programmed,
        fresh: Mapping[str, tuple[Tensor, Tensor]],
    ) -> Deviations:
        expanded, result = programmed.expanded(), {}
        for name, given in normals.items():
            value, kind = expanded[name], kind_of(name)
            gain, law = programmed.gain(name, value), self.model.kinds[kind].law
            u = tuple(each.to(value.dtype) for each in (given if isinstance(given, tuple) else (given,)))
            if name in fresh:
                first, second = (each.to(value) for each in fresh[name])
                delta = law.read(kind, u, value * gain, self.time, (first, second))
            elif len(u) > law.more:
                delta = law.aged(kind, u, value * gain, self.time)
            elif law.ages and self.time:
                raise ValueError(f"normals[{name!r}]: got {len(u)}; ageing needs all {1 + law.more}, from draws().")
            else:
                delta = law.deviate(kind, u[0], value * gain)
            result[name] = delta / gain if kind in ABSOLUTE else delta
            if shift := self.model.corner.get(self.model.kinds[kind].follows or kind):
                result[name] = moved(name, value, delta, torch.full_like(delta, shift))
        still = {name: torch.zeros_like(value) for name, value in expanded.items()}
        along = shifts(self.model.kinds, programmed, lambda name, factor: factor * result.get(name, still[name]))
        return result | {
            name: moved(name, expanded[name], result[name], shift) for name, shift in along.items() if name in result
        }

    def draws(self, programmed: Programmed) -> dict[str, tuple[Tensor, ...]]:
        """All standard normals of every device, u first: what stays when the die is programmed otherwise."""
        expanded = programmed.expanded()
        result: dict[str, tuple[Tensor, ...]] = {name: (u,) for name, u in self.normals(programmed).items()}
        for which in range(1, 1 + max((model.law.more for model in self.model.kinds.values()), default=0)):
            rich = {
                name: value for name, value in expanded.items() if self.model.kinds[kind_of(name)].law.more >= which
            }
            for name, u in self._normals(rich, programmed.placement, which).items():
                result[name] += (u,)
        return result

    def normals(self, programmed: Programmed) -> Deviations:
        """The die's standard-normal deviates u behind each element, float64; 0 where there is no synapse."""
        return self._normals(programmed.expanded(), programmed.placement)

    def _normals(self, expanded: Mapping[str, Tensor], placement: Placement, which: int = 0) -> Deviations:
        structure = self.model.structure
        u = sites.normals(expanded, placement, seed=self.seed, serial=self.serial, structure=structure, which=which)
        return u if self.known is None else self.known.moved(u, placement, structure, which)

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
            raise ValueError(f"{self.model.name}: has no limits, so there is no telling how many sites a map has.")
        core = torch.arange(limits.cores).repeat_interleave(limits.neurons_per_core)
        weight = kind == "weight"
        name = "die.input.weight" if weight else f"die.{kind}"
        values = torch.ones(len(core), 1) if weight else torch.ones(len(core))
        masks = {name: torch.ones_like(values, dtype=torch.bool)} if weight else {}
        u = self._normals({name: values}, Placement({"die": core}, masks=masks))[name]
        return u.reshape(limits.cores, -1, width)

    def maps(self) -> dict[str, Tensor]:
        """:meth:`map` of every kind that varies."""
        return {kind: self.map(kind) for kind, model in self.model.kinds.items() if model.cv.value > 0}

    def __str__(self) -> str:
        model = self.model
        die = f"die {self.serial}" if self.known is None else "twin of a measured die"
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

    def compare(self, other: Chip) -> dict[str, float]:
        """Correlation of two dies' u, site by site, for every kind both maps have: 1 is the same die, ±1/√n chance."""
        here, there = self.maps(), other.maps()
        return {
            kind: float(np.corrcoef(u.flatten(), there[kind].flatten())[0, 1])
            for kind, u in here.items()
            if kind in there and there[kind].shape == u.shape
        }

    def save(self, path: str | Path) -> Path:
        """Write what the die is, as JSON: the model's name and version, serial and seed, and what was measured."""
        entry = {
            "format": FORMAT,
            "chip": self.model.name,
            "version": self.model.version,
            "serial": self.serial,
            "seed": self.seed,
            "time": self.time,
            **({} if not self.model.defects else {"defects": [repr(defect) for defect in self.model.defects]}),
            **({} if self.known is None else {"known": self.known.entry()}),
        }
        path = Path(path)
        files.write_text(path, json.dumps(entry, indent=2) + "\n")
        return path

    @classmethod
    def load(cls, path: str | Path, model: ChipModel) -> Chip:
        """The die that :meth:`save` wrote; :func:`chipmodels.load_die` finds the model by name.

        Raises:
            ValueError: the file is no die, or of another model or version than the one given.
        """
        entry = read(path)
        if (entry["chip"], entry["version"]) != (model.name, model.version):
            raise ValueError(
                f"die {str(path)!r}: of {entry['chip']} version {entry['version']}; got {model.name} version "
                f"{model.version}, whose dies are others."
            )
        if entry.get("defects", []) != (there := [repr(defect) for defect in model.defects]):
            raise ValueError(
                f"die {str(path)!r}: has defects {', '.join(entry.get('defects', [])) or 'none'}; the model given has "
                f"{', '.join(there) or 'none'}. Load it with Chip.load(path, model.with_defects(…))."
            )
        known = Known.of(entry["known"]) if "known" in entry else None
        return replace(model.fabricate([entry["serial"]], entry["seed"])[0], time=float(entry["time"]), known=known)


def read(path: str | Path) -> dict:
    """What a file says about a die.

    Raises:
        ValueError: it is no die.
    """
    try:
        entry = json.loads(Path(path).read_text(encoding="utf-8"))
        if entry["format"] == FORMAT and {"chip", "version", "serial", "seed", "time"} <= set(entry):
            return entry
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError):
        pass
    raise ValueError(f"die {str(path)!r}: is no die; expected a file that Chip.save wrote.")


@dataclass(frozen=True)
class Fleet:
    """Dies of one model: a sequence of :class:`Chip`."""

    model: ChipModel
    serials: tuple[int, ...]
    seed: int

    def __len__(self) -> int:
        return len(self.serials)

    def __getitem__(self, i: int) -> Chip:
        return Chip(self.model, self.serials[i], self.seed, self.model.time)

    def __iter__(self) -> Iterator[Chip]:
        return (self[i] for i in range(len(self)))

    def deviations(self, programmed: Programmed) -> Deviations:
        """The dies' deviations with a leading chip axis; :meth:`Chip.deviations`, die by die, needs less memory."""
        dies = [chip.deviations(programmed) for chip in self]
        return {name: torch.stack([die[name] for die in dies]) for name in dies[0]}
