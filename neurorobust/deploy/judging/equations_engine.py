"""The training equations with some of the chip's put in, on a die."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..._util.errors import check_count, check_flag, check_number
from ...chip.die import Die
from ...circuit import Events
from ...core.noise import INPUT
from ...core.params import Params
from ..board.engine import Configured, Engine, Spikes
from ..board.network_engine import counts_of, spikes_of
from ..board.recording import steps_in
from ..deployment import Deployment
from .stepping import STEPPED, Equations, Signal, joined, run_layer

AT_ONCE = 50
"""Samples in one pass: all substeps of all neurons are kept for them."""


@dataclass(frozen=True)
class EquationsEngine(Engine):
    """The training equations, with those that are switched on replaced by the chip's. Without any, and without t_ref
    in small steps, the spikes are those of :class:`~neurorobust.deploy.NetworkEngine`.

    Networks of LinearizedDpi, AdaptiveLif, Lif and CubaLif. A LinearizedDpi has its floor, its reset and its synapses
    already. Nothing that is put in deviates: the parameters of the die are those of the network.

    Attributes:
        floor: a membrane below 0 is set to 0. reset: a spike sets the membrane to rest at once, and t_ref, where there
            is one, holds it there.
        tau_syn: s; where neurons have no synaptic current, an event becomes one that decays with it. It carries the
            same charge as before.
        substeps: steps in one dt. Events of the input keep their times, the beginnings of the steps of dt.
        waits: True: spikes reach other neurons with the steps of dt, as in training. A layer hears itself at the
            beginning of the next step; a later layer hears all spikes of a step at its beginning. False: one substep
            after the spike, and in the same substep.

    Raises:
        TypeError: a switch that is neither True nor False. ValueError: ``substeps`` below 1, or ``tau_syn`` not above
            0.

    Example:
        >>> import chipmodels
        >>> engine = nr.deploy.EquationsEngine(floor=True, reset=True, substeps=20)
        >>> board = nr.deploy.VirtualChip(chipmodels.load("dynapse2"), serial=17, engine=engine)
        >>> board.name
        'virtual dynapse2 17'
    """

    floor: bool = False
    reset: bool = False
    tau_syn: float | None = None
    substeps: int = 1
    waits: bool = True

    def __post_init__(self) -> None:
        for name in ("floor", "reset", "waits"):
            check_flag(name, getattr(self, name))
        check_count("substeps", self.substeps)
        if self.tau_syn is not None:
            check_number("tau_syn", self.tau_syn, strict=True)

    def configure(self, deployment: Deployment, die: Die) -> Configured:
        network = deployment.native
        for name in deployment.cores:
            kind = type(network.layers()[name])
            if kind not in STEPPED:
                known = ", ".join(each.__name__ for each in STEPPED)
                raise ValueError(f"layer {name!r}: has neurons {kind.__name__}; equations can be replaced in {known}.")
            far = [source for source in network.inputs[name] if source not in (INPUT, *deployment.cores)]
            if far:
                raise ValueError(f"layer {name!r}: its input {far[0]!r} is on the host; expected one on the chip.")
        if die.model.noise:
            raise ValueError(
                f"chip: {die.model.name} has noise in time, which replaced equations have not; use NetworkEngine()."
            )
        return _Stepped(deployment, Equations(**asdict(self)), die.params(deployment.programmed))


class _Stepped(Configured):
    at_once = AT_ONCE

    def __init__(self, deployment: Deployment, equations: Equations, params: Params):
        self._network = _OnChip(deployment, equations)
        self._params = {f"network.{name}": value for name, value in params.items()}

    def check(self, duration: float, watch: Sequence[int]) -> None:
        if watch:
            raise ValueError("watch: these equations have no membranes in A; use CircuitEngine().")
        steps_in(duration, self._network.network.dt)

    @torch.no_grad()
    def run(self, samples: Sequence[Events], duration: float, watch: Sequence[int], trial: int) -> list[Spikes]:
        network, substeps = self._network.network, self._network.equations.substeps
        found: list[Spikes] = []
        for start in range(0, len(samples), AT_ONCE):
            some = samples[start : start + AT_ONCE]
            x = counts_of(some, duration, network.dt, network.n_in).to(next(network.parameters()))
            spikes = functional_call(self._network, self._params, (x,), strict=False)
            found += [spikes_of(spikes[:, i].numpy(), network.dt / substeps, duration) for i in range(len(some))]
        return found


class _OnChip(nn.Module):
    """The layers on the chip as the forward pass of a module, so that they can be computed at other parameters."""

    def __init__(self, deployment: Deployment, equations: Equations):
        super().__init__()
        self.network, self.equations, self._names = deployment.native, equations, tuple(deployment.cores)

    def forward(self, x: Tensor) -> Tensor:
        """Input (B, T, n_in) → spikes of all neurons, (T · substeps, B, n)."""
        e, dt = self.equations, self.network.dt
        signals = {INPUT: Signal(x.transpose(0, 1), e.substeps)}
        found = []
        for name, layer in self.network.layers().items():
            if name not in self._names:
                continue
            inputs = joined([signals[source] for source in self.network.inputs[name]])
            spikes = run_layer(layer, inputs, dt, e)
            found.append(spikes)
            steps = len(spikes) // e.substeps
            counts = spikes.reshape(steps, e.substeps, *spikes.shape[1:]).sum(1) if e.waits else spikes
            signals[name] = Signal(counts, e.substeps if e.waits else 1)
        return torch.cat(found, -1)
