"""The package against plain NumPy on random networks: runs, noise, and the dies of a fleet."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from referee import outcome, random_events, random_network, random_noise

import neurorobust as nr
from neurorobust.chip import KindModel, SourcedValue
from neurorobust.chip.variability import Offset
from neurorobust.core.params import ABSOLUTE, SIGNED, kind_of

CLEAR = 1e-9
"""Where no membrane comes nearer to its threshold, rounding changes no spike."""
SEEDS, FEW = range(40), range(100, 120)
LEVEL, OFFSET = 0.3, 0.03


def everything_deviates() -> nr.chip.ChipModel:
    """``nr.mismatch``, whose potentials deviate too."""
    chip, fact = nr.mismatch(LEVEL), SourcedValue(OFFSET, "assumed", "a test")
    return replace(chip, kinds=dict(chip.kinds) | {kind: KindModel(Offset(OFFSET), fact) for kind in ABSOLUTE})


def deviated(kind: str, value: np.ndarray, u: np.ndarray) -> np.ndarray:
    """A parameter on a die, by the table of the kinds."""
    if kind in SIGNED:
        return value + np.abs(value) * LEVEL * u
    return value + OFFSET * u if kind in ABSOLUTE else value * np.exp(LEVEL * u)


def balanced(logits: np.ndarray, y: np.ndarray) -> float:
    predicted = logits.argmax(-1)
    return float(np.mean([(predicted[y == label] == label).mean() for label in np.unique(y)]))


@pytest.mark.parametrize("noisy", [False, True])
def test_runs(noisy):
    """Logits and the outputs of all layers in float64, with and without noise in time."""
    compared = spikes = 0
    for seed in SEEDS:
        network = random_network(seed)
        x = random_events(seed, network)
        noise = random_noise(seed, network) if noisy else nr.core.Noise()
        expected = outcome(network, nr.nominal(network), x, noise)
        if expected.margin < CLEAR:
            continue
        logits, signals = nr.run(network, nr.nominal(network), x, record=True, noise=noise if noisy else None)
        np.testing.assert_allclose(logits.numpy(), expected.logits, rtol=0, atol=1e-9, err_msg=f"seed {seed}")
        for name, signal in signals.items():
            there = expected.signals[name].swapaxes(0, 1)
            np.testing.assert_allclose(signal.numpy(), there, rtol=0, atol=1e-9, err_msg=f"seed {seed}, layer {name}")
        compared, spikes = compared + 1, spikes + float(expected.signals["a"].sum())
    assert compared > 0.9 * len(SEEDS) and spikes > 1000


def test_dies():
    """Scores of ``evaluate`` on dies whose parameters are computed here from the normals of each die."""
    chip, compared = everything_deviates(), 0
    for seed in FEW:
        network = random_network(seed)
        x, params, placement = random_events(seed, network, n=6), nr.nominal(network), network.placement()
        y = torch.arange(6) % 3
        y = y[:, None].expand(-1, x.shape[1]).contiguous() if network.decode is nr.nn.per_step else y
        fleet = nr.evaluate(network, nr.data.Data(x, y), chip, n_dies=2, seed=seed)
        programmed = chip.program(params, placement)
        for die, score in zip(chip.fabricate(range(2), seed), fleet.score):
            own = {}
            for name, u in die.normals(programmed).items():
                value = params[name].numpy()
                value = value.reshape(-1)[placement.index[name].numpy()] if name in placement.index else value
                own[name] = torch.from_numpy(np.asarray(deviated(kind_of(name), value, u.numpy())))
            expected = outcome(network, own, x)
            best = np.sort(expected.logits, -1)
            gaps = best[..., -1] - best[..., -2]
            if expected.margin > CLEAR and gaps[gaps > 0].min(initial=1) > CLEAR:
                assert balanced(expected.logits, y.numpy()) == pytest.approx(score, abs=1e-9), f"seed {seed}"
                compared += 1
    assert compared > 1.6 * len(FEW)
