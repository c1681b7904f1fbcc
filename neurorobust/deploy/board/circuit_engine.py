"""The circuits of DYNAP-SE in continuous time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..._util.errors import check_number
from ...chip.die import Die
from ...circuit import Circuit, Events, circuit_of, deviating
from ...circuit.mismatch import spreads_of
from ...nn import LinearizedDpi
from ..deployment import Deployment
from .engine import Configured, Engine, Spikes
from .recording import steps_in

SHORT = 1e-6
"""Duration of the run in which the loop is compiled, s."""


@dataclass(frozen=True)
class CircuitEngine(Engine):
    """Circuits of DPI neurons and synapses, see :func:`neurorobust.circuit.simulate`; LinearizedDpi networks only.

    By default the die has the deviations of the chip model: those of the same serial in
    :func:`neurorobust.evaluate`, put into the bias currents that make the same parameters. So a gap between the two is
    one of equations alone.

    Attributes:
        tolerance: of the integration. ratio: I_thr/I_gain of the neurons; delay: of the spikes of neurons, s.
        current_cv: instead of the chip model's, a deviation of every bias current of the image by itself; see
            :func:`neurorobust.circuit.deviating`. Other dies than those of ``evaluate``.

    Raises:
        ValueError: ``tolerance`` or ``ratio`` is not above 0, or ``delay`` is negative.

    Example:
        >>> import chipmodels
        >>> engine = nr.deploy.CircuitEngine(delay=1e-6)
        >>> board = nr.deploy.VirtualChip(chipmodels.load("dynapse2"), serial=17, engine=engine)
        >>> board.name, engine.ratio
        ('virtual dynapse2 17', 100.0)
    """

    tolerance: float = 1e-5
    ratio: float = 100.0
    delay: float = 0.0
    current_cv: float | Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        check_number("tolerance", self.tolerance, strict=True)
        check_number("ratio", self.ratio, strict=True)
        check_number("delay", self.delay)
        if self.current_cv is not None:
            spreads_of(self.current_cv)

    def configure(self, deployment: Deployment, die: Die) -> Configured:
        for name in deployment.cores:
            kind = type(deployment.native.layers()[name])
            if kind is not LinearizedDpi:
                raise ValueError(
                    f"layer {name!r}: has neurons {kind.__name__}, whose bias currents are not known; expected "
                    f"LinearizedDpi: train with nr.deploy.adapt, or use NetworkEngine()."
                )
        if die.model.noise:
            raise ValueError(
                f"chip: {die.model.name} has noise in time, which the circuit has not; use NetworkEngine()."
            )
        return _Circuit(self._circuit(deployment, die), self.tolerance, deployment.native.dt)

    def _circuit(self, deployment: Deployment, die: Die) -> Circuit:
        if self.current_cv is not None:
            circuit = deployment.image(ratio=self.ratio).circuit(delay=self.delay)
            return deviating(circuit, seed=die.seed, serial=die.serial, cv=self.current_cv)
        programmed = deployment.programmed
        return circuit_of(
            deployment.native, programmed, params=die.params(programmed), ratio=self.ratio, delay=self.delay
        )


class _Circuit(Configured):
    def __init__(self, circuit: Circuit, tolerance: float, dt: float):
        self._circuit, self._tolerance, self._dt = circuit, tolerance, dt
        nothing = Events(np.zeros(0), np.zeros(0, dtype=np.int64))
        self.run([nothing], SHORT, (), 0)  # compiles, which is no part of the time of the first run

    def check(self, duration: float, watch: Sequence[int]) -> None:
        from ...circuit.simulation import MOST_SAMPLES, SAMPLE_STEP  # its compiler is slow to import

        steps_in(duration, self._dt)
        if len(watch) * duration / SAMPLE_STEP > MOST_SAMPLES:
            raise ValueError(
                f"watch: {len(watch)} membranes over {duration:g} s have more than {MOST_SAMPLES:g} samples; watch "
                f"fewer, or make several runs."
            )

    def run(self, samples: Sequence[Events], duration: float, watch: Sequence[int], trial: int) -> list[Spikes]:
        from ...circuit import simulate  # its compiler is slow to import

        found = []
        for events in samples:
            one = simulate(self._circuit, events, duration, tolerance=self._tolerance, watch=watch)
            membranes = {neuron: one.membranes[i] for i, neuron in enumerate(watch)}
            found.append(Spikes(one.times, one.neurons, one.sample_times, membranes))
        return found
