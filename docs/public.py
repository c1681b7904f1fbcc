"""Which names the reference describes: what a part's ``__init__`` exports, and a few modules that users import from."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import chipmodels
import neurorobust

# Modules below a part that users import from, with the names that are for users; what is not named is internal.
MODULES: Mapping[str, str] = {
    "chip.variability": "Law Exact Normal LogNormal Gamma Empirical Offset Clipped Truncated Outliers "
    "SettingDecorrelation Reading",
    "chip.spreads": "Spread PowerSpread PolynomialSpread SpreadTable FromCv",
    "chip.spatial": "PerChip PerCore PerNeuron Surface GaussianField Correlation",
    "chip.encodings": "Codec Uniform LevelTable LogUniform CoarseFine Multiplicity SignedPair BitShift "
    "ConductancePair MaskCodebook Saturating",
    "chip.drift": "Device PolynomialCurve LogarithmCurve PowerCurve PiecewiseCurve PowerDrift LogRelaxation "
    "SampledRelaxation ReadNoise ConstantReadNoise",
    "chip.defects": "Scattered Clustered",
    "core.noise": "membrane lose jitter Source Membrane SpikeLoss Jitter Read",
    "core.equations": "Equations",
    "data.tasks": "ecg ecg_three keywords fashion_mnist fashion_mnist_spiking",
    "data.recurrent": "recurrent_network adaptive_neurons dpi_neurons recurrent_mask",
    "deploy.judging.causes": "floor reset synapse continuous_time delay circuit",
    "dynamics.surrogate": "spike step",
    "evaluation.statistics": "score",
    "interop.decode": "spike_count spike_rate mean_membrane max_membrane last_membrane every_step logits Population",
    "io.zoo": "names describe load",
    "train.methods": "method Method Trial",
    "train.parallel": "Parallel",
    "viz.plotting": "method_style raster membranes distributions fleet_violins yield_curve attack_curve landscape "
    "sensitivity_bars synapse_map training save_figure",
}
# Names that a part exports for the other parts of the package, or for those who extend it (docs/extending.md).
INTERNAL: Mapping[str, str] = {
    "attacks": "Evaluation Exploration Request Search as_objective",
    "bounds": "Box Population StepBounds",
    "export": "Population Written",
    "kernels": "SKINNY AnyLayer CachedEvents Convolution FlooredCoefficients FlooredDynamics FlooredLayer Layer "
    "LifCoefficients LifLayer Pattern SparseWeight Weight Window WindowLayer compiles compiles_floored "
    "convolve convolve_lif dense fits_lanes fleet_outputs floored floored_layer full lane_outputs "
    "leaky_integrator lif lif_layer lif_trace linear pattern_of pool sparse",
}


def shown(part: str) -> list[str]:
    """The names that a part of the package exports to users."""
    module = importlib.import_module(f"neurorobust.{part}")
    return [name for name in getattr(module, "__all__", ()) if name not in INTERNAL.get(part, "").split()]


def below(part: str) -> dict[str, list[str]]:
    """By module below a part, in the order of :data:`MODULES`, its names that the part does not export itself."""
    package = importlib.import_module(f"neurorobust.{part}")
    exported = {id(getattr(package, name)) for name in shown(part)}
    found = {module: words.split() for module, words in MODULES.items() if module.split(".")[0] == part}
    homes = {module: importlib.import_module(f"neurorobust.{module}") for module in found}
    return {
        module: [word for word in words if id(getattr(homes[module], word)) not in exported]
        for module, words in found.items()
    }


def spelled(module: str) -> str:
    """A module as a user writes it: ``nr.plotting`` for ``viz.plotting``, else its full name."""
    found, last = importlib.import_module(f"neurorobust.{module}"), module.rpartition(".")[2]
    part = getattr(neurorobust, module.split(".")[0])
    if getattr(neurorobust, last, None) is found:
        return f"nr.{last}"
    return f"nr.{module.split('.')[0]}.{last}" if getattr(part, last, None) is found else found.__name__


def entries(parts: list[str]) -> Iterator[tuple[str, Any]]:
    """Every class and function of the reference once, by the full name under which it is described."""
    seen: set[int] = set()
    for part in parts:
        names = [f"neurorobust.{part}.{name}" for name in shown(part)]
        names += [f"neurorobust.{module}.{word}" for module, words in below(part).items() for word in words]
        for name in names:
            owner, _, word = name.rpartition(".")
            value = getattr(importlib.import_module(owner), word)
            if (inspect.isclass(value) or inspect.isfunction(value)) and id(value) not in seen:
                seen.add(id(value))
                yield name, value
    for name in chipmodels.__all__:
        value = getattr(chipmodels, name)
        if id(value) not in seen:
            seen.add(id(value))
            yield f"chipmodels.{name}", value
