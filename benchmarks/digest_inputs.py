"""Inputs, networks, tasks and tables that :mod:`benchmarks.digests` takes digests of; all fixed by seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import snntorch
import torch
from torch import Tensor, nn

import chipmodels
import neurorobust as nr
from neurorobust.chip import ChipModel, KindModel, Programmed, SourcedValue, encodings, spreads, variability
from neurorobust.chip.spatial import PerChip, PerCore, Surface
from neurorobust.core.apply import apply
from neurorobust.core.noise import Jitter, Membrane, Read, Source, SpikeLoss
from neurorobust.core.placement import HOST, Placement
from neurorobust.data import Data, Task
from neurorobust.data.recurrent import adaptive_neurons
from neurorobust.dynamics import resets
from neurorobust.dynamics.surrogate import ArcTan, FastSigmoid, Surrogate, Triangle
from neurorobust.nn.connections import Connection, Conv2d, Linear
from neurorobust.nn.decoders import last_step, max_over_time, mean_over_time, per_step
from neurorobust.nn.neurons import AdaptiveLif, CubaLeakyIntegrator, CubaLif, LeakyIntegrator, Lif

DT = 1e-3
PAIR = encodings.ConductancePair(1e-6, 25e-6, 1e-5)

RESETS: dict[str, Callable[..., resets.Reset]] = {
    "none": resets.NoReset,
    "delayed subtract": resets.DelayedSubtract,
    "subtract": resets.Subtract,
    "snntorch subtract": resets.SnntorchSubtract,
    "to value": resets.ToValue,
    "delayed to value": resets.DelayedToValue,
}
SURROGATES: dict[str, Surrogate] = {
    "triangle": Triangle(),
    "fast sigmoid": FastSigmoid(),
    "arctan": ArcTan(),
    "triangle in volts": Triangle(scaled=False),
    "fast sigmoid scaled": FastSigmoid(5.0, scaled=True),
    "arctan scaled": ArcTan(5.0, scaled=True),
}
NOISES: dict[str, Source] = {
    "membrane": Membrane(0.2),
    "spike loss": SpikeLoss(0.1),
    "jitter": Jitter(5e-3),
    "read": Read(0.2),
}
DECODERS = {"mean": mean_over_time, "max": max_over_time, "last": last_step, "steps": per_step}


def draw(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def spikes(seed: int, *shape: int, rate: float = 0.4, dtype: torch.dtype = torch.float64) -> Tensor:
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) < rate).to(dtype)


def classes(seed: int, n: int, n_in: int, steps: int = 20) -> Data:
    """Two classes; the rate of the first channel distinguishes them."""
    y = torch.arange(n) % 2
    rates = torch.full((n, 1, n_in), 0.3, dtype=torch.float64)
    rates[:, 0, 0] = torch.where(y == 0, 0.6, 0.1)
    x = torch.rand(n, steps, n_in, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Data((x < rates).double(), y)


def readout(n: int, place: bool = True) -> LeakyIntegrator:
    core = torch.full((2,), HOST) if place else None
    return LeakyIntegrator(Linear(3 * draw(4, 2, n), 0.3 * draw(5, 2)), core=core, tau_mem=0.01)


def placed(neuron: str, input: Connection | None = None, cores: int = 2) -> nr.Network:
    """A small network on one or two cores of a chip: 8 neurons, 3 inputs and up to 4 recurrent synapses each."""
    input = Linear(draw(2, 8, 3)) if input is None else input
    n = input.n_out
    core = torch.arange(n) * cores // n
    order = draw(1, n, n).fill_diagonal_(-torch.inf).argsort(1, descending=True)
    mask = torch.zeros(n, n, dtype=torch.bool).scatter_(1, order[:, :4], True)
    recurrent = Linear(0.5 * draw(3, n, n), mask=mask) if isinstance(input, Linear) else None
    values: dict[str, Any] = {
        "tau_mem": torch.tensor([0.01, 0.02], dtype=torch.float64)[:cores],
        "v_threshold": torch.tensor([0.1, 0.08], dtype=torch.float64)[:cores],
    }
    hidden: Any
    if neuron == "adaptive":
        hidden = AdaptiveLif(input, recurrent=recurrent, core=core, **values, tau_adapt=0.03, adaptation=0.5)
    elif neuron == "cuba":
        hidden = CubaLif(input, recurrent=recurrent, core=core, **values, tau_syn=0.005)
    else:
        hidden = Lif(input, recurrent=recurrent, core=core, **values)
    return nr.Network({"hidden": hidden, "readout": readout(n)}, DT)


def convolution(cores: int = 2) -> nr.Network:
    return placed("lif", Conv2d(draw(6, 2, 1, 2, 2), (1, 4, 4)), cores)


PLACED: dict[str, Callable[[int], nr.Network]] = {
    "adaptive": lambda cores: placed("adaptive", cores=cores),
    "lif": lambda cores: placed("lif", cores=cores),
    "cuba": lambda cores: placed("cuba", cores=cores),
    "convolution": convolution,
}


def beats() -> Task:
    """Few heart beats, as many of both classes."""
    task = nr.tasks.ecg()
    return replace(
        task, train=task.train.balanced(100), validation=task.validation.balanced(40), test=task.test.balanced(100)
    )


def small_network(task: Task) -> nn.Module:
    return task.network(chipmodels.load("dynapse2"), n_hidden=16, seed=0, hidden=adaptive_neurons)


def neuron_of(cls: type, reset: Any, surrogate: Any, full: bool = False) -> nr.Network:
    n, n_in = 7, 5
    input = Linear(0.8 * draw(20, n, n_in), 0.02 * draw(21, n))
    recurrent = Linear(0.3 * draw(22, n, n))
    values: dict[str, Any] = {"tau_mem": 0.01, "v_threshold": 0.1}
    if cls is AdaptiveLif:
        values |= {"tau_adapt": 0.03, "adaptation": 0.5}
    else:
        values |= {"reset": reset}
    if cls is CubaLif:
        values |= {"tau_syn": 0.004}
    if full:
        values |= {"r": 1.3, "v_leak": 0.01, "t_ref": 2e-3, "v_reset": -0.02}
    hidden = cls(input, recurrent=recurrent, surrogate=surrogate, **values)
    last = CubaLeakyIntegrator if cls is CubaLif else LeakyIntegrator
    end: dict[str, Any] = {"tau_syn": 0.004} if cls is CubaLif else {}
    return nr.Network(
        {"hidden": hidden, "readout": last(Linear(draw(23, 3, n), 0.1 * draw(24, 3)), tau_mem=0.02, **end)}, DT
    )


def snntorch_network() -> nn.Module:
    torch.manual_seed(0)
    grad = snntorch.surrogate.fast_sigmoid(slope=10)
    net = nn.Sequential(
        nn.Linear(5, 12),
        snntorch.Leaky(beta=0.9, spike_grad=grad, init_hidden=True, learn_beta=True),
        nn.Linear(12, 8),
        snntorch.Synaptic(alpha=0.8, beta=0.85, spike_grad=grad, init_hidden=True),
        nn.Linear(8, 2),
        snntorch.Leaky(beta=0.9, spike_grad=grad, init_hidden=True, output=True, reset_mechanism="zero"),
    )
    return nr.from_snntorch(net, DT)


def wrapped_network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 2)]
    return nr.wrap(nn.Sequential(*layers))


def measurements() -> pd.DataFrame:
    """Measurements of fabricated dies of a made-up chip, without noise."""
    common = (Surface(0.3, "s", size=64), PerCore(0.15, "k"), PerChip(0.1, "c"))
    law = variability.SettingDecorrelation(variability.LogNormal(spreads.PowerSpread(0.15, 0.02, -0.3, 1.0)), 0.3, 0.02)
    kinds = {"tau_mem": KindModel(law, SourcedValue(0.15, "assumed", "made up"), shared=common)}
    chip = ChipModel("made up", "made up", kinds, grid=(8, 8))
    core, rows = torch.arange(2).repeat_interleave(64), []
    for die in chip.fabricate(range(3), 0):
        for setting in (0.01, 0.02, 0.04):
            params = {"die.tau_mem": torch.full((128,), setting, dtype=torch.float64)}
            deviations = die.deviations(Programmed(params, {}, Placement({"die": core}), []))
            values = apply(params, deviations)["die.tau_mem"].numpy()
            places = {"chip": die.serial, "core": core.numpy(), "neuron": np.tile(np.arange(64), 2)}
            rows.append(pd.DataFrame({**places, "parameter": "tau_mem", "setting": setting, "value": values}))
    return pd.concat(rows, ignore_index=True)


def all_codecs() -> dict[str, encodings.Codec]:
    """Every codec by name."""
    return {
        "uniform": encodings.Uniform(4, 0.1),
        "uniform unsigned": encodings.Uniform(4, 0.1, signed=False, offset=-0.3),
        "table": encodings.LevelTable((0.3, -0.2, 0.0, 0.9, 0.5)),
        "logarithmic": encodings.LogUniform(0.01, 3.0, 0.1),
        "coarse-fine": encodings.CoarseFine((0.1, 0.5, 2.0), 16),
        "multiplicity": encodings.Multiplicity(0.2, 0.3, 6),
        "signed pair": encodings.SignedPair(4, 0.1),
        "bit shift": encodings.BitShift(1e-3, 7),
        "masks": encodings.MaskCodebook((0.1, 0.25, 0.5)),
        "fitted masks": encodings.fit_masks(draw(1, 60), 4),
        "fitted masks, more starts": encodings.fit_masks(draw(1, 60), 3, starts=4),
    }


def all_laws() -> dict[str, tuple[str, variability.Law]]:
    """Every law by name, each with a kind it can be of."""
    by_name = {
        "power": spreads.PowerSpread(0.2, 0.01, -0.3, 1.0),
        "polynomial": spreads.PolynomialSpread((0.05, 0.2, -0.1), 2.0),
        "table": spreads.SpreadTable(((0.01, 0.3), (0.1, 0.2), (1.0, 0.1))),
    }
    return {
        "exact": ("weight", variability.Exact()),
        "normal": ("weight", variability.Normal(0.2)),
        "lognormal": ("tau_mem", variability.LogNormal(0.2)),
        "lognormal from cv": ("weight", variability.LogNormal.from_cv(0.3)),
        "gamma": ("tau_mem", variability.Gamma(0.3)),
        "empirical": ("tau_mem", variability.Empirical((0.8, 0.9, 1.05, 1.1, 1.4))),
        "offset": ("weight", variability.Offset(0.1)),
        "offset, absolute": ("v_leak", variability.Offset(0.01)),
        "clipped": ("weight", variability.Clipped(variability.Normal(0.8))),
        "truncated": ("tau_mem", variability.Truncated(variability.LogNormal(0.3), 1.5)),
        "outliers": ("tau_mem", variability.Outliers(variability.LogNormal(0.2), 0.1, 2.0, 5.0)),
        "setting": ("tau_mem", variability.SettingDecorrelation(variability.LogNormal(0.2), 0.3, 0.02)),
        **{f"lognormal, {name}": ("tau_mem", variability.LogNormal(spread)) for name, spread in by_name.items()},
        **{f"cv, {name}": ("weight", variability.LogNormal.from_cv(spread)) for name, spread in by_name.items()},
    }
