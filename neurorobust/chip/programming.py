"""A network as a chip holds it, and the programming of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..core.params import DIGITAL, Params, kind_of
from ..core.placement import HOST, Placement, expand
from .encodings.encoding import UNQUANTIZED, EncodedCore, Encoding, SharedGain
from .equations import Agreement

LABELS = {"weight": "", "v_threshold": "threshold_"}  # how the report's columns begin; other kinds by their name


@dataclass(frozen=True, eq=False)
class Programmed:
    """A network as one chip holds it.

    Attributes:
        params: the decoded values, in network units; parameters on the host are unchanged.
        codes: signed integer codes of every quantized parameter.
        placement: where everything sits.
        report: one row per core: gain, currents, quantization error, synapses that became 0.
        gains: chip units per network unit, one for every neuron, or row of an expanded parameter without neurons; 1
            where it is missing.
        exact_host: whether layers on the host are exact, as on a real chip; else they deviate like the rest.
        held: gain, codec and scale of each kind on each core, by (kind, core); values that are held unchanged have
            none.
        equations: whether the equations of the network are those of the chip; print it.

    Example:
        >>> import chipmodels
        >>> network, _ = nr.zoo.load("ecg_dpi/standard")
        >>> held = chipmodels.load("dynapse2").program(nr.nominal(network), network.placement())
        >>> held.codes["hidden.input.weight"].unique().numel(), len(held.report)
        (31, 4)
    """

    params: Params
    codes: dict[str, Tensor]
    placement: Placement
    report: list[dict]
    gains: dict[str, Tensor] = field(default_factory=dict)
    exact_host: bool = False
    equations: Agreement | None = None
    held: dict[tuple[str, int], EncodedCore] = field(default_factory=dict)

    @cached_property
    def _expanded(self) -> Params:
        return expand({name: value for name, value in self.params.items() if self.deviates(name)}, self.placement)

    def deviates(self, name: str) -> bool:
        """Whether a parameter deviates on a die: not a digital number, and not a layer on an exact host."""
        return kind_of(name) not in DIGITAL and not (self.exact_host and self.placement.on_host(name))

    def expanded(self) -> Params:
        """The programmed values that deviate, one per neuron or synapse, network units. Dies, tolerances, defects and
        noise are of these alone. Computed once: the tensors are shared, so do not change them in place."""
        return dict(self._expanded)

    def gain(self, name: str, like: Tensor) -> Tensor:
        """Chip units per network unit, in a shape that multiplies the expanded parameter ``like``."""
        gain = self.gains.get(name)
        if gain is None:
            return torch.ones((), dtype=like.dtype, device=like.device)
        if len(gain) == 1:  # of the host
            return gain.to(like).reshape([1] * like.ndim)
        return self.placement.by_neuron(name, gain.to(like), like)


def encode(
    encodings: Mapping[str, tuple[Encoding, float]],
    params: Mapping[str, Tensor],
    expanded: Params,
    placement: Placement,
    exact_host: bool = False,
) -> Programmed:
    """Encode every kind on every core.

    Args:
        encodings: by kind, each with the chip's seconds per network second (1 for other kinds).
        params: as trained. expanded: the analog ones, expanded. placement: their sites.
        exact_host: whether layers on the host are exact.
    """
    done = Programmed(dict(params), {}, placement, [], exact_host=exact_host)
    rows: dict[int, dict] = {}
    for kind, (encoding, speed) in encodings.items():
        if encoding == UNQUANTIZED and speed == 1:
            continue
        cores = {
            name: core for name in expanded if kind_of(name) == kind and (core := placement.core(name)) is not None
        }
        if isinstance(encoding, SharedGain):
            done.gains.update({name: _gain_beside(name, encoding.kind, done) for name in cores})
            continue
        for number in sorted({number for core in cores.values() for number in core.tolist()}):
            values = {name: expanded[name].detach() for name, core in cores.items() if bool((core == number).any())}
            if number == HOST:
                gain = encoding.host_gain(torch.cat([value.flatten() for value in values.values()]), speed)
                done.gains.update(dict.fromkeys(values, torch.tensor([gain], dtype=torch.float64)))
            else:
                rows.setdefault(number, {"core": number}).update(_on_core(encoding, speed, number, values, done))
    done.report.extend(row for _, row in sorted(rows.items()) if len(row) > 1)
    return done


def _on_core(encoding: Encoding, speed: float, number: int, values: Params, done: Programmed) -> dict:
    """Program one kind on one core; the kind's part of the core's row of the report."""
    kind = kind_of(next(iter(values)))
    here = {name: done.placement.on_core(name, value, number) for name, value in values.items()}
    by_row = {name: _by_row(name, there, done.placement) for name, there in here.items()}
    trained = torch.cat([value[by_row[name]] for name, value in values.items()])
    neuron = torch.cat([_numbers(name, value, done.placement)[by_row[name]] for name, value in values.items()])
    held = done.held[kind, number] = encoding.encode_core(f"{kind} on core {number}", trained, neuron, speed)
    for name in values:
        on_core = done.placement.cores[str(done.placement.layer(name))] == number
        done.gains.setdefault(name, torch.ones(len(on_core), dtype=torch.float64))[on_core] = held.gain
    label, row = LABELS.get(kind, f"{kind}_"), row_of(kind, encoding, held, len(trained))
    if held.codec is None:
        return row
    programmed = []
    for name, value in values.items():
        codes = held.encode(value[here[name]], name)
        if name not in done.codes:
            done.codes[name] = torch.zeros(value.shape, dtype=torch.long)
            done.params[name] = value * done.placement.masks[name] if kind == "weight" else value.clone()
        done.codes[name][here[name]] = codes
        done.params[name][here[name]] = held.decode(codes).to(value.dtype)
        programmed.append(done.params[name][by_row[name]].double())
    lost = torch.cat(programmed) - trained.double()
    miss, size = (float(value.square().mean().sqrt()) if len(value) else 0.0 for value in (lost, trained.double()))
    row |= {
        f"{label}rms_error": miss / size if size else 0.0 if not miss else float("inf"),
        f"{label}largest_error": float(lost.abs().max()) if len(lost) else 0.0,
    }
    if kind == "weight":
        row["became_zero"] = int(((torch.cat(programmed) == 0) & (trained != 0)).sum())
    return row


def row_of(kind: str, encoding: Encoding, held: EncodedCore, synapses: int) -> dict[str, Any]:
    """The part of a row of the report that follows from one kind as a core holds it; the errors are missing."""
    gain = {} if encoding.unit == "SI" else {f"{LABELS.get(kind, f'{kind}_')}gain_{encoding.unit}_per_unit": held.gain}
    if held.codec is None or kind != "weight":
        return gain
    return {"synapses": synapses, **encoding.choices(held), **gain}


def errors_of(kind: str, held: EncodedCore) -> tuple[str, ...]:
    """The names of the errors of one kind in a row of the report."""
    label = LABELS.get(kind, f"{kind}_")
    names = (f"{label}rms_error", f"{label}largest_error", *(("became_zero",) if kind == "weight" else ()))
    return () if held.codec is None else names


def _by_row(name: str, here: Tensor, placement: Placement) -> Tensor:
    """What picks the elements that are here, row by row of their matrix, so that sums of them have the same bits."""
    pattern = placement.patterns.get(name)
    if pattern is None:
        return here
    found = here.nonzero()[:, 0]
    return found[pattern.index.to(here.device)[found].argsort()]


def _numbers(name: str, value: Tensor, placement: Placement) -> Tensor:
    """The number on its core of the neuron that each element belongs to: those of two layers differ."""
    sites = placement.sites(name, value)
    assert sites is not None
    if value.numel() == len(sites.number):
        return sites.number.reshape(value.shape)
    return sites.number.reshape(-1, *[1] * (value.ndim - 1)).expand(value.shape)


def _gain_beside(name: str, kind: str, done: Programmed) -> Tensor:
    """The gain of the parameter of another kind in the same layer."""
    other = f"{name.rpartition('.')[0]}.{kind}".lstrip(".")
    if other not in done.gains:
        raise ValueError(f"{name}: uses the scale of {other}, which the network does not have; add one.")
    return done.gains[other]
