"""BrainScaleS-2: ``import pynn_brainscales.brainscales2 as sim``."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ...deploy import Deployment
from ...nn import Network
from ..backend import Backend, Neurons, Population, resetting
from ..cell import Array

CHIP = "brainscales2"
REST = 80.0
"""Rest on the chip, LSB: calix' default, which the chip model counts its thresholds from."""
LARGEST = 63
MICROSECONDS = {"tau_m": (0.5, 60.0), "tau_syn": (0.3, 30.0)}
LSB = {"v_rest": (50, 160), "v_reset": (50, 160), "v_thresh": (50, 220)}
"""Targets that calix can calibrate, as CalibHXNeuronCuba documents them."""
SHARED = {"i_synin_gm_E": 500, "i_synin_gm_I": 500, "synapse_dac_bias": 600, "cm": 63}
"""pynn-brainscales' own defaults; all but cm are one number for the whole chip."""
SHORTEST = 0.04
"""The shortest refractory time that can be calibrated, µs."""


class Brainscales2(Backend):
    """``CubaLif`` as ``CalibHXNeuronCuba``: potentials in LSB, time constants in µs of the chip, the bias as a shift of
    rest, and the integer weights of a deployment in two projections, one for each sign.

    Source: pynn-brainscales at fd4f926 and calix at e573081, read, not run: neither can be had without the chip.
    """

    name: ClassVar[str] = "brainscales2"
    version: ClassVar[str] = "unverified"
    delays: ClassVar[bool] = False
    speedup: ClassVar[float] = 1000.0

    def check(self, source: Network | Deployment) -> None:
        if not isinstance(source, Deployment) or source.chip.name != CHIP:
            got = f"a deployment on {source.chip.name}" if isinstance(source, Deployment) else "a network"
            raise TypeError(
                f"network: got {got}; {self.name} takes integer weights. Expected "
                f"nr.deploy.onto(network, chipmodels.load({CHIP!r}))."
            )

    def neurons(self, population: Population) -> Neurons:
        cell, settled = resetting(self, population.cell), population.cell.r * population.drive
        if cell.tau_syn is None:
            raise self.refuse(
                "has a synaptic current of 0.3 µs at least; Lif has none, so its events would act later and longer. "
                "Train with CubaLif(…, tau_syn=…)."
            )
        gain, rows, micro = population.gains["v_threshold"], population.gains["input.weight"], 1e6 / self.speedup
        event = gain * cell.r * population.dt / (rows * cell.tau_mem * cell.tau_syn * micro)
        if not np.allclose(event, event[0], rtol=1e-4):
            raise self.refuse(
                f"has one strength of synapses: an event of weight 1 must raise every membrane alike, in proportion to "
                f"r / (tau_mem · tau_syn). Got {event.min():g} to {event.max():g} LSB/µs; train with one value of each."
            )
        rest = REST + gain * (population.cell.v_leak + settled)
        assert cell.v_threshold is not None and cell.v_reset is not None
        lsb = {
            "v_rest": np.rint(rest),
            "v_reset": np.rint(REST + gain * (population.cell.v_leak + cell.v_reset)),
            "v_thresh": np.rint(REST + gain * (population.cell.v_leak + cell.v_threshold)),
        }
        times = {"tau_m": micro * cell.tau_mem, "tau_syn": micro * cell.tau_syn}
        for values, ranges, unit in ((lsb, LSB, "LSB"), (times, MICROSECONDS, "µs of the chip")):
            for name, value in values.items():
                _within(self, name, value, ranges[name], unit)
        own: dict[str, Any] = {
            **lsb,
            "tau_m": times["tau_m"],
            **dict.fromkeys(("tau_syn_E", "tau_syn_I"), times["tau_syn"]),
        }
        own |= {"tau_refrac": np.full(cell.n, SHORTEST), **{name: np.array(value) for name, value in SHARED.items()}}
        return Neurons("CalibHXNeuronCuba", own, rows, event=float(event[0]))

    def weights(self, values: Array) -> Array:
        whole = np.rint(values)
        if (np.abs(values - whole) > 1e-2).any() or (np.abs(whole) > LARGEST).any():
            raise self.refuse(
                f"takes integers up to ±{LARGEST}; got {np.abs(values).max():g}. Was the deployment changed?"
            )
        return whole


def _within(backend: Backend, name: str, values: Array, range: tuple[float, float], unit: str) -> None:
    low, high = range
    if (values < low * (1 - 1e-6)).any() or (values > high * (1 + 1e-6)).any():
        raise backend.refuse(
            f"calibrates {name} from {low:g} to {high:g} {unit}; got {values.min():g} to {values.max():g}. Train "
            f"inside this range."
        )
