"""Base of all neuron models: a population, the synapses into it, and per-neuron parameters."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from dataclasses import replace
from operator import attrgetter
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from ... import kernels
from ..._util.errors import check_finite, check_positive, shown
from ...core.equations import Equations
from ...core.noise import Noise
from ...core.params import KINDS, POSITIVE
from ...core.placement import HOST
from ...dynamics import DelayedSubtract, DelayedToValue, Dynamics, Reset, ToValue
from ...dynamics.surrogate import Surrogate
from ...kernels import LifCoefficients
from ..connections import Chain, Connection, Linear
from ..sparse_linear import FUSED

Value = float | Tensor

LIF = Equations(
    membrane="linear membrane",
    floor="no floor",
    reset="subtractive reset",
    refractory="no refractory time",
    synapse="no synaptic current",
    inhibition="subtracted inhibition",
    adaptation="no adaptation",
)
"""The equations of the LIF family, for ``Neuron.stated``."""

EXAMPLES = {
    "tau_mem": 0.008,
    "tau_syn": 0.004,
    "tau_adapt": 0.03,
    "adaptation": 0.4,
    "v_threshold": 0.3,
    "v_leak": 0.05,
    "v_reset": -0.1,
    "v_floor": -0.02,
    "r": 1.4,
    "t_ref": 0.002,
}
"""A usual value of every kind, for :meth:`Neuron.example`."""


class Neuron(nn.Module, ABC):
    """A population of n neurons with the synapses into it.

    A subclass calls :meth:`set` once for each parameter and implements :meth:`forward`. A parameter has one value,
    one value per core (C,) or one value per neuron (n,); in all cases it deviates independently on every neuron. An
    optional parameter that is omitted is a constant.

    Args:
        input: connection from the inputs of the layer.
        recurrent: connection from the population's own spikes of the step before (Linear, SparseLinear or OneToOne), or
            None.
        core: the core of each neuron, shape (n,), integers from 0; ``nr.HOST`` (−1) for every neuron marks a layer off
            the chip, which the host computes. None puts spiking neurons on core 0, and leaves a model without spikes, a
            read-out, on the host.

    Attributes:
        spiking: False for a model whose output is its membrane.

    Raises:
        ValueError: a recurrence that is not (n, n), or cores that are not (n,), all ≥ 0 or all ``nr.HOST``.
            TypeError: an input or a recurrence that is no connection.
    """

    spiking: ClassVar[bool] = True
    core: Tensor
    stated: ClassVar[Equations] = Equations()
    """The points of its equations that do not depend on its options. A subclass states its own, or has none."""

    def __init__(self, input: Connection, recurrent: Connection | None = None, core: Tensor | None = None):
        super().__init__()
        self.input = _connection("input", input)
        self.recurrent = None if recurrent is None else _connection("recurrent", recurrent)
        self.n = input.n_out
        if recurrent is not None:
            shape = tuple(recurrent.synapses().shape)
            if shape != (self.n, self.n):
                raise ValueError(f"recurrent: got weight of shape {shape}; expected ({self.n}, {self.n}).")
        default = 0 if self.spiking else HOST
        core = torch.full((self.n,), default) if core is None else _core_numbers(core)
        if core.shape != (self.n,):
            raise ValueError(f"core: got shape {tuple(core.shape)}; expected one entry per neuron, ({self.n},).")
        if core.min() < 0 and not (core == HOST).all():
            raise ValueError(
                f"core: got numbers from {int(core.min())} to {int(core.max())}; expected all ≥ 0, or all {HOST}."
            )
        self.register_buffer("core", core)
        self.n_cores = max(int(core.max()) + 1, 1)

    def set(self, name: str, value: Value | None) -> None:
        """Register a parameter: a number, one value per core, or one value per neuron. Positive kinds must be > 0,
        ``adaptation`` ≥ 0. None registers nothing.

        ``name`` is its kind. A neuron with two parameters of one kind has a submodule for each: ``"exc.tau_syn"``.
        """
        if value is None:
            return
        owner, _, kind = name.rpartition(".")
        synapses = next(self.input.parameters(), None)
        tensor = torch.as_tensor(value, dtype=None if synapses is None else synapses.dtype).clone()
        n_cores = self.n_cores
        if tensor.ndim and tensor.shape not in ((self.n,), (n_cores,)):
            raise ValueError(
                f"{name}: got shape {tuple(tensor.shape)}; expected a number, one value per core ({n_cores},) "
                f"or one per neuron ({self.n},)."
            )
        if tensor.shape == (n_cores,) == (self.n,) != (1,) and not torch.equal(self.core, torch.arange(self.n)):
            raise ValueError(
                f"{name}: with {self.n} neurons on {n_cores} cores, one value per core and one per neuron have one "
                f"shape; number the neurons in the order of their cores."
            )
        if kind == "adaptation":
            check_finite({name: tensor})
            if tensor.min() < 0:
                raise ValueError(f"{name}: smallest value is {tensor.min().item():g}; expected values ≥ 0.")
        elif kind in POSITIVE:
            check_positive(name, tensor)
        else:
            check_finite({name: tensor})
        self.get_submodule(owner).register_parameter(kind, nn.Parameter(tensor))

    def set_reset(self, reset: Reset | None, v_reset: Value | None) -> None:
        """Set the reset and register ``v_reset``. Without a reset, it is ``ToValue`` if v_reset is given, else
        ``DelayedSubtract``."""
        if reset is None:
            reset = DelayedSubtract() if v_reset is None else ToValue()
        if not isinstance(reset, Reset):
            raise TypeError(f"reset: got {reset!r}; expected a neurorobust.dynamics.Reset, such as ToValue().")
        if v_reset is not None and not isinstance(reset, (ToValue, DelayedToValue)):
            raise ValueError(f"v_reset: {reset!r} does not use it; pass reset=ToValue(), or leave v_reset out.")
        self.reset = reset
        self.set("v_reset", v_reset)

    def index(self, kind: str) -> Tensor | None:
        """The entry of a parameter's tensor for each neuron, shape (n,); None if the tensor has one per neuron."""
        shape = self.get_parameter(kind).shape
        if shape == (self.n,):
            return None
        return self.core if shape else torch.zeros_like(self.core)

    def per_neuron(self, kind: str) -> Tensor:
        """The present value of a parameter for every neuron, shape (n,)."""
        value = attrgetter(kind)(self)
        if value.shape == (self.n,):
            return value
        if value.ndim and len(value) != self.n_cores:
            raise ValueError(
                f"{kind}: got shape {tuple(value.shape)}; expected a number, ({self.n_cores},) or ({self.n},)."
            )
        return value[self.core] if value.ndim else value.expand(self.n)

    def connections(self) -> dict[str, Connection]:
        """The connections into the population, by attribute."""
        return {"input": self.input} | ({} if self.recurrent is None else {"recurrent": self.recurrent})

    def population_parameters(self) -> list[str]:
        """The names of all parameters but those of the connections."""
        parts = tuple(f"{part}." for part in self.connections())
        return [name for name, _ in self.named_parameters() if not name.startswith(parts)]

    def optional(self, kind: str) -> Tensor | None:
        """:meth:`per_neuron` of an optional parameter; None where it was omitted."""
        return self.per_neuron(kind) if hasattr(self, kind) else None

    def gain(self, alpha: Tensor) -> Tensor:
        """(1 − alpha) · r: the change of the membrane per unit of current in one step; r is 1 where it was omitted."""
        r = self.optional("r")
        return 1 - alpha if r is None else (1 - alpha) * r

    def refractory(self, dt: float) -> Tensor | None:
        """t_ref in whole steps, rounded to the nearest, shape (n,); no gradient."""
        t_ref = self.optional("t_ref")
        return None if t_ref is None else (t_ref.detach() / dt).round()

    def bias(self) -> Tensor | None:
        """The bias of the input and of the recurrent connection together; None where neither has one."""
        last = self.input.parts()[-1] if isinstance(self.input, Chain) else self.input
        own, further = getattr(last, "bias", None), getattr(self.recurrent, "bias", None)
        if own is not None and len(own) != self.n:  # of a convolution: one per channel
            own = own.repeat_interleave(self.n // len(own))
        return further if own is None else own if further is None else own + further

    def current(self, x: Tensor, dt: float) -> Tensor:
        """The input current of the population at every step, plus the bias of its recurrent connection."""
        current = self.input(x, dt)
        bias = getattr(self.recurrent, "bias", None)
        return current if bias is None else current + bias

    def recurrent_matrix(self) -> Tensor | None:
        """Weights from the population onto itself, shape (n, n), row = target; None without recurrence."""
        return None if self.recurrent is None else self.recurrent.matrix()

    def recurrent_synapses(self) -> kernels.Weight | None:
        """:meth:`recurrent_matrix` for the loops: by its synapses alone where these are few."""
        return None if self.recurrent is None else self.recurrent.synapses()

    def coefficients(self, dt: float) -> LifCoefficients | None:
        """The coefficients of one time step for models of the LIF family; None for others (fleets run die by die)."""
        return None

    def dynamics(self) -> Dynamics | None:
        """The surrogate and the reset; None for a model whose output is its membrane."""
        return None

    def equations(self) -> Equations:
        """Its equations in the words of :mod:`neurorobust.core.equations`, with its options. A class that does not
        have ``stated`` in its own body is unknown: its ``forward`` may be another."""
        own = vars(type(self)).get("stated", Equations())
        return own if own == Equations() else replace(own, **self.chosen())

    def chosen(self) -> dict[str, str]:
        """The words of the points that its options decide."""
        return {}

    @classmethod
    def example(cls, generator: torch.Generator, n: int = 5, *, per_neuron: bool = True) -> Self:
        """A layer with 3 inputs and every parameter that the constructor takes, for the contract tests.

        Override it where the constructor takes more than connections and kinds.

        Args:
            generator: draws the weights and the differences between neurons.
            n: number of neurons. per_neuron: one value per neuron for each parameter, instead of one for all.
        """
        takes = inspect.signature(cls).parameters

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator)

        arguments: dict[str, Any] = {kind: EXAMPLES[kind] for kind in takes if kind in KINDS}
        if per_neuron:
            arguments = {
                kind: value * (1 + 0.2 * torch.rand(n, generator=generator)) for kind, value in arguments.items()
            }
        if "recurrent" in takes:
            arguments["recurrent"] = Linear(0.3 * normal(n, n), 0.1 * normal(n))
        return cls(Linear(normal(n, 3), 0.2 * normal(n).abs()), **arguments)

    @abstractmethod
    def forward(self, x: Tensor, dt: float) -> Tensor:
        """Whole sequence (T, B, n_in) → (T, B, n), from rest; no state is kept."""

    def respond(self, current: Tensor, dt: float) -> Tensor:
        """The output of the population, (T, B, n), for an input current; needed for noise."""
        raise TypeError(f"{type(self).__name__}: does not support noise; implement respond(current, dt).")

    def noisy(self, name: str, x: Tensor, dt: float, noise: Noise) -> Tensor:
        """:meth:`forward` with the noise of the layer ``name``.

        The noise of the recurrence depends on the spikes of the layer. So the sequence is run again until its spikes
        equal those from which the noise was computed. Each pass settles at least one more step, so the result is
        exact. This part has no gradient.
        """
        current = noise.driven(name, self.current(x, dt)) + noise.read_error(f"{name}.input", self.input, x, dt)
        output = self.respond(current, dt)
        recurrence = f"{name}.recurrent"
        if self.recurrent is None or not (name in noise.kept or recurrence in noise.read):
            return output
        weight = cast(Tensor, self.recurrent.weight).detach()
        for _ in range(len(x) - 1):
            past, spikes = a_step_later(output.detach()), a_step_later(noise.transmitted(name, output.detach()))
            lost = self.recurrent.through(weight, spikes - past, dt)
            again = self.respond(current + lost + noise.read_error(recurrence, self.recurrent, spikes, dt), dt)
            if torch.equal(again, output):
                break
            output = again
        return output


class SpikingNeuron(Neuron):
    """A model of the LIF family: ``coefficients``, a ``surrogate`` and a ``reset`` define it completely."""

    surrogate: Surrogate
    reset: Reset

    @abstractmethod
    def coefficients(self, dt: float) -> LifCoefficients: ...

    def dynamics(self) -> Dynamics:
        return Dynamics(self.surrogate, self.reset)

    def chosen(self) -> dict[str, str]:
        reset = self.dynamics().reset.word
        resting = reset == "reset to a value" and not hasattr(self, "v_reset") and not hasattr(self, "v_leak")
        return {
            "reset": "reset to rest" if resting else reset,
            "refractory": "refractory time that only blocks spikes" if hasattr(self, "t_ref") else "no refractory time",
        }

    def respond(self, current: Tensor, dt: float) -> Tensor:
        return kernels.lif(current, self.recurrent_synapses(), self.coefficients(dt), self.dynamics())

    def forward(self, x: Tensor, dt: float) -> Tensor:
        if not inherits(type(self), SpikingNeuron, "current", "respond"):
            return self.respond(self.current(x, dt), dt)
        convolved = self.input.convolved() if self.recurrent is None else None
        if convolved is not None:
            shapes, weight, bias = convolved
            return kernels.convolve_lif(x, shapes, (weight, bias), self.coefficients(dt), self.dynamics())
        if type(self.input) not in FUSED:
            return self.respond(self.current(x, dt), dt)
        recurrent, c, dynamics = self.recurrent_synapses(), self.coefficients(dt), self.dynamics()
        return kernels.lif_layer(x, (self.input.synapses(), self.bias()), recurrent, c, dynamics)


def inherits(own: type, base: type, *methods: str) -> bool:
    """Whether a class has these methods from ``base``, and no class between changes one."""
    return issubclass(own, base) and all(getattr(own, method) is getattr(base, method) for method in methods)


def check_surrogate(surrogate: object) -> Surrogate:
    """The surrogate itself; TypeError for anything else."""
    if not isinstance(surrogate, Surrogate):
        raise TypeError(
            f"surrogate: got {shown(surrogate)}; expected a neurorobust.dynamics.Surrogate, such as nr.nn.Triangle()."
        )
    return surrogate


def _connection(name: str, given: object) -> Connection:
    """A connection itself; TypeError for anything else."""
    if isinstance(given, Connection):
        return given
    way = "nr.nn.Linear(layer.weight.detach())" if isinstance(given, nn.Linear) else "nr.nn.Linear(weight)"
    raise TypeError(f"{name}: got {shown(given)}; expected a connection of nr.nn, such as {way}.")


def _core_numbers(core: object) -> Tensor:
    """The core of each neuron as int64."""
    if not isinstance(core, Tensor):
        raise TypeError(f"core: got a {type(core).__name__}; expected a tensor of integers.")
    if core.dtype == torch.bool or core.is_complex() or (core.is_floating_point() and (core != core.round()).any()):
        raise ValueError(f"core: got values of type {core.dtype}, not all whole; expected integers.")
    return core.long()


def a_step_later(signal: Tensor) -> Tensor:
    """A signal (T, B, n) one step later, 0 in the first."""
    return torch.cat([torch.zeros_like(signal[:1]), signal[:-1]])


def decay(tau: Tensor, dt: float) -> Tensor:
    """exp(−dt/tau): the decay in one step of dt seconds with a time constant of tau seconds."""
    return torch.exp(-dt / tau)
