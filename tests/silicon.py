"""The statistics of measured silicon, taken from fabricated dies as they were taken from the chips.

``silicon.json`` beside this file holds what was measured (derived statistics, with provenance; the arrays themselves
carry no licence) and, from ``python tests/silicon.py``, how much each statistic varies from die to die and how often a
wrong model is noticed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy import stats

import chipmodels
from neurorobust.chip import ChipModel, Die, Programmed
from neurorobust.chip.spatial import quadratic
from neurorobust.chip.variability import LogNormal
from neurorobust.core.placement import Placement

FILE = Path(__file__).with_name("silicon.json")
Z = 2.5758  # 99 % of a normal distribution
DYNAPSE2, BRAINDROP = chipmodels.load("dynapse2"), chipmodels.load("braindrop")
VOLT = next(fact.value for name, fact in DYNAPSE2.facts.items() if name.startswith("EPSP"))
Statistics = dict[str, float]

SLOW = (0.0075, 0.0107, 0.0148, 0.0208, 0.0292, 0.0420, 0.0596, 0.0788, 0.1060, 0.1394, 0.1614, 0.1858)  # V, rows 5–16
FAST = 0.0420  # V, the one setting of the second synapse
TAU = (0.0501, 0.0401, 0.0320, 0.0255, 0.0200, 0.0159, 0.0125, 0.0094, 0.0074, 0.0058)  # s, rows 6–15
RECORDING = 0.03  # log sd from row to row that is no neuron's: trials, DAC codes; 0.03 to 0.04 in the arrays
STEP = 0.0005  # s, of the recorded time constants


def core(n: int, synapses: int) -> Programmed:
    """n neurons on core 0 with some input synapses each and a time constant; weights of 1."""
    values = {"n.input.weight": torch.ones(n, synapses, dtype=torch.float64), "n.tau_mem": torch.ones(n).double()}
    masks = {"n.input.weight": torch.ones(n, synapses, dtype=torch.bool)}
    return Programmed(values, {}, Placement({"n": torch.zeros(n, dtype=torch.long)}, masks=masks), [])


def arrays(die: Die, how: str = "") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slow weights (12, 256) and fast weights (256,), V, and time constants (10, 256), s, of one core.

    The model's spreads are those of the arrays, recording included. ``how`` makes a wrong die: ``"fresh"`` draws anew
    at every setting, ``"apart"`` takes the fast weights from another die.
    """
    chip = core(256, 2)
    draws = die.draws(chip)

    def at(setting: int, name: str, volt: float) -> np.ndarray:
        other = how == "fresh" or (how == "apart" and setting == 50)
        own = replace(die, serial=die.serial + 1000 * (1 + setting)).draws(chip) if other else draws
        programmed = replace(chip, gains={name: torch.full((256,), volt, dtype=torch.float64)})
        return die.deviate({name: own[name]}, programmed)[name].numpy()

    def weights(setting: int, volt: float, synapse: int) -> np.ndarray:
        return volt * (1 + at(setting, "n.input.weight", volt / VOLT)[:, synapse])

    slow = np.stack([weights(i, volt, 0) for i, volt in enumerate(SLOW)])
    tau = np.stack([second * np.exp(at(i, "n.tau_mem", second)) for i, second in enumerate(TAU)])
    return slow, weights(50, FAST, 1), np.round(tau / STEP) * STEP


def smooth(values: np.ndarray) -> np.ndarray:
    """The quadratic surface through values of 256 neurons, their mean taken out."""
    terms = quadratic(256, 16)
    return terms @ (terms.T @ values) / 256


def share(values: np.ndarray) -> float:
    """Of the variance, what is a quadratic surface."""
    return float(smooth(values).var() / values.var())


def frozen(values: np.ndarray, rng: np.random.Generator) -> float:
    """Of the log variance over settings (settings, neurons), what one deviate a neuron carries; the recording carries
    none."""
    logs = np.log(values) + RECORDING * rng.standard_normal(values.shape)
    logs -= logs.mean(1, keepdims=True)
    power = np.linalg.svd(logs, compute_uv=False) ** 2
    return float(power[0] / power.sum())


def bulk(values: np.ndarray) -> np.ndarray:
    """Without what is further than 5 MAD from the median."""
    away = np.abs(values - np.median(values))
    return values[away <= 5 * np.median(away)]


def surfaces(rank: float, rest: float, slow: float, fast: float) -> float:
    """Fisher's z of the correlation of two weights' surfaces, at most 0.99, that follows from the rank correlations of
    the weights and of one without its surface, and from the surfaces' shares: normal variables have
    r = 2 sin(π rank/6)."""
    whole, own = (2 * np.sin(np.pi * each / 6) for each in (rank, rest))
    return float(np.arctanh(np.clip((whole - own * np.sqrt(1 - slow)) / np.sqrt(slow * fast), -0.99, 0.99)))


def dynapse2(die: Die, rng: np.random.Generator, how: str = "") -> Statistics:
    """Every statistic of one core."""
    slow, fast, tau = arrays(die, how)
    means, spreads = slow.mean(1), slow.std(1, ddof=1)
    detrended = np.log(slow[5]) - smooth(np.log(slow[5]))
    cvs = {
        f"weight: CV at {1e3 * volt:g} mV": spreads[i] / means[i] for i, volt in enumerate(SLOW) if i in (0, 3, 5, 8)
    }
    rank, rest = (float(stats.spearmanr(weight, fast)[0]) for weight in (slow[5], detrended))
    slow_share, fast_share = share(np.log(slow[5])), share(np.log(fast))
    return {
        **cvs,
        "weight: exponent of the spread": float(np.polyfit(np.log(means[:9]), np.log(spreads[:9]), 1)[0]),
        "weight: share of the surface": slow_share,
        "weight: share of the surface, fast": fast_share,
        "weight: frozen share": frozen(slow, rng),
        "weights: rank correlation of two synapses": rank,
        "weights: the same without the surface": rest,
        "weights: correlation of their surfaces, z": surfaces(rank, rest, slow_share, fast_share),
        "tau_mem: CV of the bulk": float(np.mean([bulk(row).std(ddof=1) / bulk(row).mean() for row in tau])),
        "tau_mem: CV": float(np.mean(tau[4:].std(1, ddof=1) / tau[4:].mean(1))),
        "tau_mem: share of the surface": share(np.log(tau[0])),
        "tau_mem: frozen share": frozen(tau, rng),
        "tau_mem and weight: rank correlation": float(stats.spearmanr(slow[5], tau[0])[0]),
    }


def braindrop(die: Die, rng: np.random.Generator, how: str = "") -> Statistics:
    """Which of 64 × 64 neurons fire without input: correlation with neighbours and with neurons four apart."""
    u = die.map("bias")[0].numpy()
    fires = np.where(u > np.quantile(u, 0.44), 1.0, -1.0)  # 59.5 % and 52 % do
    fires -= fires.mean()

    def apart(n: int) -> float:
        pairs = [(fires[n:], fires[:-n]), (fires[:, n:], fires[:, :-n])]
        return float(np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]))

    return {"bias: correlation of neighbours": apart(1), "bias: correlation four apart": apart(4)}


TAKE: Mapping[str, Callable[..., Statistics]] = {"dynapse2": dynapse2, "braindrop": braindrop}


def changed(model: ChipModel, kind: str, **how: object) -> ChipModel:
    """A model with one kind described otherwise."""
    return replace(model, kinds={**model.kinds, kind: replace(model.kinds[kind], **how)})  # type: ignore[arg-type]


# name: (the model, how its arrays are drawn, the statistics that have to notice)
WRONG: Mapping[str, tuple[ChipModel, str, tuple[str, ...]]] = {
    "constant CV": (
        changed(DYNAPSE2, "weight", law=LogNormal.from_cv(0.1)),
        "",
        ("weight: CV at 7.5 mV", "weight: exponent of the spread"),
    ),
    "no spatial part": (
        changed(DYNAPSE2, "weight", shared=()),
        "",
        ("weight: share of the surface",),
    ),
    "independent kinds": (DYNAPSE2, "apart", ("weights: correlation of their surfaces, z",)),
    "a fresh draw for each setting": (DYNAPSE2, "fresh", ("weight: frozen share", "tau_mem: frozen share")),
    "no outliers": (changed(DYNAPSE2, "tau_mem", law=LogNormal.from_cv(0.08)), "", ("tau_mem: CV",)),
    "no field": (
        changed(BRAINDROP, "bias", shared=()),
        "",
        ("bias: correlation of neighbours", "bias: correlation four apart"),
    ),
}


# What falls short of a power of 0.9 on one die.
RANK = ("weights: rank correlation of two synapses",)
WEAK: Mapping[str, tuple[ChipModel, str, tuple[str, ...]]] = {
    "no spatial part": (WRONG["no spatial part"][0], "", RANK),
    "independent kinds": (DYNAPSE2, "apart", RANK),
}


def fleet(model: ChipModel, n: int, seed: int, how: str = "") -> dict[str, np.ndarray]:
    """Every statistic of each of n dies."""
    rng = np.random.default_rng(seed)
    rows = [TAKE[model.name](die, rng, how) for die in model.fabricate(range(n), seed)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def accepts(values: np.ndarray, entry: dict) -> bool:
    """Whether a measurement of ``entry["dies"]`` dies lies where such dies of the model lie, 99 times in 100."""
    half = Z * values.std(ddof=1) / np.sqrt(entry["dies"])
    return bool(abs(entry["value"] - values.mean()) <= half)


def study(dies: int = 200) -> None:
    """Fill in how statistics vary from die to die, and how often a wrong model is noticed; minutes of one core."""
    table = json.loads(FILE.read_text(encoding="utf-8"))
    right = {name: fleet(chipmodels.load(name), dies, 77) for name in TAKE}
    for values in right.values():
        for statistic, each in values.items():
            entry = table["statistics"][statistic]
            entry["mean of fabricated dies"] = round(float(each.mean()), 4)
            entry["sd of one die"] = round(float(each.std(ddof=1)), 4)
    table["power"] = {}
    for wrong, (model, how, noticing) in [*WRONG.items(), *WEAK.items()]:
        values = fleet(model, dies, 78, how)
        for statistic in noticing:
            low, high = np.quantile(values[statistic], [0.005, 0.995])
            truth = right[model.name][statistic]
            table["power"][f"{wrong} / {statistic}"] = round(float(((truth < low) | (truth > high)).mean()), 3)
    FILE.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    study()
