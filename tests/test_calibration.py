"""Calibration of a board by measurements: trim and refit of the read-out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from imaged import dpi_network

import chipmodels
import neurorobust as nr
from neurorobust.chip.variability import LogNormal
from neurorobust.core.noise import Membrane
from neurorobust.data import Data
from neurorobust.deploy import BoardRecording, Deployment, Replay, VirtualChip
from neurorobust.deploy.calibration import features, nominal_logits, ridge
from neurorobust.evaluation.statistics import balanced_accuracy

CHIP = chipmodels.load("dynapse2")
STEPS, SEED = 40, 4


def deployed(decode=nr.nn.mean_over_time, **others) -> Deployment:
    """Twelve neurons on four cores, whose read-out has weights of its own for each."""
    network = dpi_network((list(range(4)) * 3,), v_threshold=0.01, tau_adapt=None, adaptation=None, seed=1)
    layers = network.layers()
    weight = torch.randn(3, 12, generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(weight, dtype=torch.bool)
    mask[0, 2] = False
    options = {"tau_mem": torch.tensor([0.02, 0.02, 0.05])} | others
    layers["readout"] = nr.nn.LeakyIntegrator(nr.nn.Linear(weight, torch.tensor([0.1, 0.0, -0.1]), mask), **options)
    return nr.deploy.onto(nr.Network(layers, dt=1e-3, decode=decode), CHIP)


WIDE = replace(CHIP, kinds={kind: replace(model, law=LogNormal(0.5)) for kind, model in CHIP.kinds.items()})


def two_classes() -> Deployment:
    """A feed-forward network for dies whose deviations are all 0.5, with a random read-out."""
    network = dpi_network((list(range(4)) * 6,), v_threshold=0.01, tau_adapt=None, adaptation=None, seed=1, density=0.5)
    layers = network.layers()
    layers["layer0"].recurrent = None
    weight = torch.randn(2, 24, generator=torch.Generator().manual_seed(0))
    layers["readout"] = nr.nn.LeakyIntegrator(nr.nn.Linear(weight, torch.tensor([2.1, 0.0])), tau_mem=0.02)
    return nr.deploy.onto(nr.Network(layers, dt=1e-3), WIDE)


def inputs(n: int, seed: int = 0) -> torch.Tensor:
    """Samples whose channels have rates of their own."""
    generator = torch.Generator().manual_seed(seed)
    rates = torch.rand(n, 1, 4, generator=generator)
    return (torch.rand(n, STEPS, 4, generator=generator) < rates).float()


def recordings(
    deployment: Deployment, x: torch.Tensor, serial: int = 0, chip: nr.chip.ChipModel = CHIP
) -> list[BoardRecording]:
    with VirtualChip(chip, serial, seed=SEED).open() as session:
        session.program(deployment)
        return nr.deploy.measure(session, x)


def predicted(deployment: Deployment, x: torch.Tensor) -> torch.Tensor:
    return deployment.network.eval()(x)[0].argmax(1)


# ---- trim


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("decode", [nr.nn.mean_over_time, nr.nn.max_over_time])
def test_the_trim_of_a_board_is_that_of_its_die(decode, labelled):
    """Measured through a session, the offsets are those that nr.calibrate_readout computes from the die itself."""
    deployment = deployed(decode)
    x = inputs(30)
    y = deployment.network.eval()(x)[0].argmax(-1)
    y[::5] = (y[::5] + 1) % 3
    largest = 0.0
    for serial in (0, 7, 8):
        (die,) = CHIP.fabricate([serial], SEED)
        part = Data(x, y) if labelled else x
        expected = nr.calibrate_readout(deployment.network, die, part, 20, seed=5)
        chosen = nr.Trim(part, 20, 5).chosen(die)
        host = nr.deploy.trim(deployment, recordings(deployment, x[chosen], serial), y[chosen] if labelled else None)
        largest = max(largest, float(expected.abs().max()))
        torch.testing.assert_close(host.offsets, expected, rtol=1e-5, atol=1e-7)
        assert host.measurements == 20 and host.labels == (20 if labelled else 0)
    assert largest > 1e-2


def test_offsets_are_added():
    deployment = deployed()
    measured = recordings(deployment, inputs(6))
    host = nr.deploy.trim(deployment, measured[:4])
    assert host.offsets.abs().min() > 1e-4
    torch.testing.assert_close(host.logits(measured), nr.deploy.logits(deployment, measured).double() + host.offsets)
    assert repr(host).endswith("; 4 measurements, no labels)")


# ---- refit


def test_features_times_weights_are_the_logits():
    """Of every class with its own time constant; a synapse that is absent has no feature."""
    for decode in (nr.nn.mean_over_time, nr.nn.last_step):
        deployment = deployed(decode, r=torch.tensor([1.0, 2.0, 3.0]))
        measured = recordings(deployment, inputs(6))
        readout = deployment.network.layers()["readout"]
        found = features(deployment, measured)
        linear = torch.einsum("kbn,kn->bk", found, readout.input.weight.detach().double())
        logits = nr.deploy.logits(deployment, measured).double()
        steps = 1 - torch.exp(-1e-3 / readout.tau_mem.detach().double()) ** torch.arange(1, STEPS + 1)[:, None]
        bias = (
            readout.r.detach()
            * readout.input.bias.detach()
            * (steps.mean(0) if "mean" in decode.__name__ else steps[-1])
        )
        assert linear.std(0).min() > 1e-3
        torch.testing.assert_close(linear + bias, logits, rtol=1e-5, atol=1e-6)
        assert not found[0, :, 2].any() and found[1, :, 2].any()


def test_ridge_leaves_one_sample_out():
    """λ and weights are those of fits that were really made without each sample, at the best λ of the same list."""
    generator = torch.Generator().manual_seed(3)
    known = torch.randn(2, 14, 4, generator=generator, dtype=torch.float64)
    truth = torch.randn(2, 4, generator=generator, dtype=torch.float64)
    missing = (known @ truth[..., None])[..., 0].T + 0.7 * torch.randn(14, 2, generator=generator, dtype=torch.float64)

    def fit(rows: torch.Tensor, penalty: float) -> tuple[torch.Tensor, torch.Tensor]:
        parts = []
        for k in range(2):
            x = torch.cat([known[k, rows], torch.ones(len(rows), 1, dtype=torch.float64)], 1)
            held = torch.diag(torch.tensor([penalty] * 4 + [0.0], dtype=torch.float64))
            parts.append(torch.linalg.solve(x.T @ x + held, x.T @ missing[rows, k]))
        solved = torch.stack(parts)
        return solved[:, :4], solved[:, 4]

    def error(penalty: float) -> float:
        total = 0.0
        for i in range(14):
            change, offsets = fit(torch.tensor([j for j in range(14) if j != i]), penalty)
            total += float((missing[i] - (known[:, i] * change).sum(1) - offsets).square().sum())
        return total

    centred = known - known.mean(1, keepdim=True)
    penalties = (nr.deploy.calibration.PENALTIES * torch.linalg.svdvals(centred).max() ** 2).tolist()
    best = min(penalties, key=error)
    assert penalties[0] > best > penalties[-1]
    for found, expected in zip(ridge(known, missing), fit(torch.arange(14), best), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


def test_without_use_the_weights_stay():
    """Where the features say nothing, a refit is the trim."""
    silent = torch.zeros(2, 5, 3, dtype=torch.float64)
    missing = torch.arange(10, dtype=torch.float64).reshape(5, 2)
    change, offsets = ridge(silent, missing)
    assert not change.any() and offsets.tolist() == [4.0, 5.0]


def test_equal_errors_change_no_weight():
    """One of two samples says nothing of the weights: leaving the other out, all λ have the same error. Rounding must
    not choose."""
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        known = torch.randn(3, 2, 4, generator=generator, dtype=torch.float64)
        missing = torch.randn(2, 3, generator=generator, dtype=torch.float64)
        change, offsets = ridge(known, missing)
        assert not change.any() and torch.allclose(offsets, missing.mean(0), rtol=1e-12)
    deployment = deployed()
    measured = recordings(deployment, inputs(2))
    host = nr.deploy.refit(deployment, measured)
    assert torch.equal(host.offsets, nr.deploy.trim(deployment, measured).offsets)
    assert repr(host).endswith(", 0 weights refitted; 2 measurements, no labels)")


@pytest.mark.parametrize("kind", [torch.int8, torch.int16, torch.int32, torch.uint8, torch.uint16, torch.uint32])
def test_labels_of_every_integer_type_give_the_same_offsets(kind):
    deployment = deployed()
    measured, y = recordings(deployment, inputs(6)), torch.tensor([0, 1, 2, 0, 1, 1])
    for calibrate in (nr.deploy.trim, nr.deploy.refit):
        expected, found = (calibrate(deployment, measured, each).offsets for each in (y, y.to(kind)))
        assert torch.equal(expected, found)
    logits = nr.deploy.logits(deployment, measured)
    if kind not in (torch.uint16, torch.uint32):
        expected, found = (nr.evaluation.fitted_offsets(logits, each) for each in (y, y.to(kind)))
        assert torch.equal(expected, found)


@pytest.mark.parametrize("labelled", [False, True])
def test_a_refit_reaches_more_than_the_trained_readout(labelled):
    """On held-out samples, on dies that deviate much. Classes are those of the network itself, so that it has 1.00."""
    deployment = two_classes()
    x, held_out = inputs(120), inputs(200, seed=1)
    y, truth = predicted(deployment, x), predicted(deployment, held_out)
    scores = []
    for serial in range(3):
        measured, tested = (recordings(deployment, each, serial, WIDE) for each in (x, held_out))
        trimmed = nr.deploy.trim(deployment, measured, y if labelled else None)
        host = nr.deploy.refit(deployment, measured, y if labelled else None)
        found = [nr.deploy.logits(deployment, tested), trimmed.logits(tested), host.logits(tested)]
        scores.append([balanced_accuracy(logits, truth) for logits in found])
        assert host.measurements == 120 and host.labels == (120 if labelled else 0)
        if not labelled:
            errors = [float((logits - nominal_logits(deployment, tested)).square().mean()) for logits in found]
            assert errors[2] < 0.6 * errors[1] < 0.6 * errors[0]
    raw, trimmed, refitted = torch.tensor(scores).mean(0).tolist()
    assert raw + 0.05 < trimmed and trimmed + 0.05 < refitted


def test_a_replay_is_calibrated_like_the_board(tmp_path):
    deployment = deployed()
    x = inputs(12)
    noisy = CHIP.with_noise(Membrane(0.2))
    measured = recordings(deployment, x, chip=noisy)
    path = nr.deploy.save_recordings(tmp_path / "measured.json", deployment, measured)
    with Replay(path).open() as session:
        session.program(deployment)
        again = nr.deploy.measure(session, x)
    for calibrate in (nr.deploy.trim, nr.deploy.refit):
        first, second = calibrate(deployment, measured), calibrate(deployment, again)
        assert torch.equal(first.logits(measured), second.logits(measured))


# ---- refusals


def test_other_hosts_are_not_refitted():
    """Each in one sentence; a trim takes them all."""
    pair = dpi_network(((0, 1),), v_threshold=0.01).layers()
    pair["mixed"] = nr.nn.LeakyIntegrator(nr.nn.Linear(torch.ones(3, 2)), tau_mem=0.02)
    filtered = pair | {"readout": nr.nn.CubaLeakyIntegrator(nr.nn.Linear(torch.ones(2, 2)), tau_mem=0.02, tau_syn=0.01)}
    del filtered["mixed"]
    two = {"layer0": pair["layer0"], "mixed": pair["mixed"]}
    two["readout"] = nr.nn.LeakyIntegrator(nr.nn.Linear(torch.ones(2, 3)), tau_mem=0.02)

    def onto(layers: dict[str, nr.nn.Neuron]) -> Deployment:
        return nr.deploy.onto(nr.Network(layers, dt=1e-3), CHIP)

    cases = [
        (onto(filtered), r"computes 'readout' \(CubaLeakyIntegrator\); refit expects one LeakyIntegrator with"),
        (onto(two), r"computes 'mixed' \(LeakyIntegrator\), 'readout' \(LeakyIntegrator\); refit expects"),
        (onto({"layer0": pair["layer0"]}), r"computes no layer; refit expects one"),
        (deployed(nr.nn.max_over_time), r"its decoder is max_over_time; refit expects mean_over_time or last_step"),
    ]
    for deployment, words in cases:
        measured = recordings(deployment, inputs(3))
        with pytest.raises(ValueError, match=words):
            nr.deploy.refit(deployment, measured)
        assert nr.deploy.trim(deployment, measured).measurements == 3


@pytest.mark.parametrize("calibrate", [nr.deploy.trim, nr.deploy.refit])
def test_bad_arguments(calibrate):
    deployment = deployed()
    measured = recordings(deployment, inputs(3))
    for labels, error, words in (
        (torch.tensor([0, 1]), ValueError, r"labels: got shape \(2,\) for 3 recordings; expected one each"),
        (torch.tensor([0, 1, 3]), ValueError, r"labels: got class 3; the network has logits for classes 0 to 2"),
        (torch.tensor([0, -1, 2]), ValueError, r"labels: got class -1; expected classes ≥ 0"),
        (torch.tensor([0.0, 1.0, 2.0]), TypeError, r"labels: got torch.float32; expected a tensor of class labels"),
        ([0, 1, 2], TypeError, r"labels: got a list; expected a tensor of class labels"),
        (torch.tensor([[0], [1], [2]]), ValueError, r"gives outputs of shape \(3, 3\) for labels of shape \(3, 1\)"),
    ):
        with pytest.raises(error, match=words):
            calibrate(deployment, measured, labels)
    with pytest.raises(ValueError, match=r"recordings: got 0 of durations \[\]"):
        calibrate(deployment, [])
    with pytest.raises(ValueError, match=r"recordings: one has 11 neurons; the deployment has 12"):
        calibrate(deployment, [replace(measured[0], n=11, times=np.zeros(0), neurons=np.zeros(0, dtype=int))])


def test_bad_measurements_are_refused():
    deployment = deployed()
    with pytest.raises(ValueError, match=r"recordings: got 1; expected at least two"):
        nr.deploy.refit(deployment, recordings(deployment, inputs(1)))
    with VirtualChip(CHIP, 0).open() as session:
        with pytest.raises(nr.deploy.BoardError, match="nothing is programmed"):
            nr.deploy.measure(session, inputs(2))
        session.program(deployment)
        for x, error, words in (
            (inputs(2).tolist(), TypeError, r"x: got a list; expected a tensor \(n, T, channels\)"),
            (inputs(2)[0], ValueError, r"x: got shape \(40, 4\); expected \(n, T, channels\), at least one sample"),
            (inputs(2)[:0], ValueError, r"x: got shape \(0, 40, 4\)"),
            (inputs(2) * 0.5, ValueError, r"x: values that are not counts"),
        ):
            with pytest.raises(error, match=words):
                nr.deploy.measure(session, x)
        assert session.state is nr.deploy.State.PROGRAMMED
