"""Cost of each difference between a circuit and our equations for a trained network: a simulation of its own.

    python -m benchmarks.physics_cost        # minutes; writes benchmarks/results/physics_cost.json for docs/audit.py

:func:`spikes_of` computes a layer of :class:`neurorobust.nn.LinearizedDpi` step by step in plain torch, with one or
several of its equations replaced by those of the circuit. Without a replacement its spikes equal those of the package;
every run checks that first. The network, its weights and its read-out stay as they were trained.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import neurorobust as nr
from neurorobust._util import files
from neurorobust.data import Data, Task
from neurorobust.evaluation import balanced_accuracy
from neurorobust.evaluation.trim import fitted_offsets
from neurorobust.kernels import FlooredCoefficients
from neurorobust.nn import LinearizedDpi, Network, with_floor

SCORE, REST = "balanced_accuracy", 0.02
"""I_0 / I_gain of the DPI membrane: 0.5 pA of leakage at the I_gain of tau_mem 20 ms, 21 pA."""


@dataclass(frozen=True)
class Physics:
    """Equations of a layer; the defaults are those of :class:`~neurorobust.nn.LinearizedDpi`.

    Attributes:
        floor: whether the membrane has one. subtract: whether a spike subtracts the threshold instead of setting the
            membrane to rest. held: whether the membrane is held for t_ref. adaptation: whether it is on.
        clipped: whether inhibition can cancel the excitation only, as with :class:`~neurorobust.nn.CancelsExcitation`.
        substeps: steps in one dt; recurrent spikes arrive one of these steps later.
        ratio: I_thr / I_gain of a DPI membrane, τ (1 + I_gain/I) dI/dt = −I + …; None for the linear one.
    """

    floor: bool = True
    subtract: bool = False
    held: bool = True
    adaptation: bool = True
    clipped: bool = False
    substeps: int = 1
    ratio: float | None = None


OURS = Physics()
FINE = replace(OURS, substeps=20)
CHANGES: dict[str, tuple[str, Physics]] = {
    "inhibition": ("inhibition cancels excitation only", replace(OURS, clipped=True)),
    "time_base": ("steps of dt/20, and so a recurrent delay of dt/20", FINE),
    "membrane": (
        "DPI membrane with I_thr = 100 I_gain, inhibition that cancels excitation only, steps of dt/20",
        replace(FINE, ratio=100.0, clipped=True),
    ),
    "adaptation": ("adaptation off", replace(OURS, adaptation=False)),
}
"""By point of the audit: one change at a time; the membrane together with all that has no switch on the chip."""

CHIP, NETWORKS = "dynapse2", ("standard", "forward_noise", "adversarial")
WHAT = "a floor, a reset to rest and synapses of 5 ms put in"
OUT = Path(__file__).parent / "results" / "physics_cost.json"


def spikes_of(layer: LinearizedDpi, x: Tensor, dt: float, physics: Physics) -> Tensor:
    """The spikes of a layer in every step of dt, (T, B, n): how many there were.

    Args:
        x: input events, (T, B, n_in). dt: of the network, s; events arrive at the beginning of a step.
    """
    c = layer.floored_coefficients(dt / physics.substeps)
    excitation, inhibition = layer.input.by_sign(x, dt)
    matrix = layer.recurrent_matrix()
    silent = torch.zeros_like(excitation[0])
    state = _State(*[silent] * 6)
    if physics.ratio is not None:
        state = replace(state, v=silent + REST * c.v_threshold / physics.ratio)
    counts = []
    for arriving in zip(excitation, inhibition):
        count = silent
        for substep in range(physics.substeps):
            events = arriving if substep == 0 else (silent, silent)
            state = _step(state, c, events, matrix, physics)
            count = count + state.z
        counts.append(count)
    return torch.stack(counts)


@dataclass(frozen=True)
class _State:
    exc: Tensor
    inh: Tensor
    b: Tensor
    v: Tensor
    z: Tensor
    left: Tensor  # steps of the refractory time that are left


def _step(
    s: _State, c: FlooredCoefficients, events: tuple[Tensor, Tensor], matrix: Tensor | None, physics: Physics
) -> _State:
    positive = negative = torch.zeros_like(s.v)
    if matrix is not None:
        positive, negative = s.z @ matrix.clamp(min=0).T, s.z @ (-matrix).clamp(min=0).T
    exc = c.syn_exc * s.exc + events[0] + positive
    inh = c.syn_inh * s.inh + events[1] + negative
    b = s.b if c.rho is None else c.rho * s.b + s.z
    drive = c.gain_exc * exc - c.gain_inh * inh + c.lift
    if physics.clipped:
        drive = drive.clamp(min=0)
    if physics.adaptation and c.ahp is not None:
        drive = drive - c.ahp * b
    if physics.ratio is None:
        lowest, v = c.v_floor, c.alpha * s.v + drive
    else:
        gain = c.v_threshold / physics.ratio
        lowest = REST * gain
        rate = 1 - c.alpha ** (1 / (1 + gain / s.v))  # the membrane is slower by 1 + I_gain/I
        v = s.v + rate * (drive / (1 - c.alpha) - s.v)
    if physics.floor:
        v = torch.maximum(v, lowest.expand_as(v))
    rest = torch.zeros_like(v) if physics.ratio is None else lowest.expand_as(v)
    if physics.held and c.refractory is not None:
        v = torch.where(s.left > 0, rest, v)
    z = (v > c.v_threshold).to(v)
    v = torch.where(z > 0, v - c.v_threshold if physics.subtract else rest, v)
    left = s.left if c.refractory is None else torch.where(z > 0, c.refractory.expand_as(v), s.left - 1)
    return _State(exc, inh, b, v, z, left)


@torch.no_grad()
def measure(network: Network, data: Data, physics: Physics) -> dict[str, float]:
    """Balanced accuracy with these equations, and spikes per sample.

    Raises:
        TypeError: the network is not one of :func:`neurorobust.data.recurrent.dpi_neurons`.
        AssertionError: without a change, the spikes are not those of the package.
    """
    hidden = network.layers()["hidden"]
    if not isinstance(hidden, LinearizedDpi) or {"v_leak", "v_reset"} & set(hidden.population_parameters()):
        raise TypeError("network: expected a hidden layer of LinearizedDpi with rest and reset at 0.")
    spikes = torch.cat([spikes_of(hidden, x.transpose(0, 1), network.dt, physics) for x in data.x.split(250)], 1)
    if physics == OURS and not torch.equal(spikes, network(data.x)[1]["hidden"]):
        raise AssertionError("the simulation differs from the package; its numbers would mean nothing.")
    logits = network.decode(network.layers()["readout"](spikes, network.dt))
    return {"balanced_accuracy": balanced_accuracy(logits, data.y), "spikes": float(spikes.sum((0, 2)).mean())}


def entry(name: str, what: str, model: float, silicon: float, samples: int) -> dict[str, Any]:
    """A row for ``docs/audit.py``."""
    return {
        "network": name,
        "measure": f"balanced accuracy, {what}",
        "model": round(model, 4),
        "silicon": round(silicon, 4),
        "repaired": None,
        "repair": None,
        "samples": f"{samples} test beats, seed 0",
        "command": "python -m benchmarks.physics_cost",
    }


def with_chip_equations(name: str, data: Data) -> dict[str, dict[str, Any]]:
    """By point: a network that was trained with the floor, with one more equation of the circuit."""
    network, _ = nr.zoo.load(name)
    assert isinstance(network, Network)
    ours = measure(network, data, OURS)[SCORE]
    return {
        point: entry(name, what, ours, measure(network, data, change)[SCORE], len(data))
        for point, (what, change) in CHANGES.items()
    }


def with_floor_put_in(name: str, task: Task) -> dict[str, Any]:
    """A network that was trained without a floor, with one, and with one offset per class fitted on validation data."""
    network, _ = nr.zoo.load(name)
    assert isinstance(network, Network)
    floored, test, validation = with_floor(network, tau_syn=5e-3), task.test, task.validation
    with torch.no_grad():
        before, after = (balanced_accuracy(each(test.x)[0], test.y) for each in (network, floored))
        offsets = fitted_offsets(floored(validation.x)[0], validation.y)
        repaired = balanced_accuracy(floored(test.x)[0] + offsets, test.y)
    words = f"one offset per class, {len(validation)} labelled beats"
    return entry(name, WHAT, before, after, len(test)) | {"repaired": round(repaired, 4), "repair": words}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT, help="file of the results, for docs/audit.py")
    out: Path = parser.parse_args().out
    task = nr.tasks.ecg()
    found: dict[str, list[dict[str, Any]]] = {"floor": [with_floor_put_in(f"ecg/{name}", task) for name in NETWORKS]}
    for name in NETWORKS:
        for point, row in with_chip_equations(f"ecg_dpi/{name}", task.test).items():
            found.setdefault(point, []).append(row)
    files.write_text(out, json.dumps({CHIP: found}, indent=1) + "\n")
    for point, rows in found.items():
        for row in rows:
            print(f"{point}: {row['network']}: {row['measure']}: {row['model']:.3f} → {row['silicon']:.3f}")


if __name__ == "__main__":
    main()
