"""Trim of the read-out: offsets from a few samples of each die, and the scores before and after."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import draw, events, tiny
from placed import placed
from scipy import optimize

import chipmodels
import neurorobust as nr
from neurorobust.core.apply import apply
from neurorobust.core.run import nominal
from neurorobust.data import Data
from neurorobust.evaluation import balanced_accuracy, fitted_offsets, matching_offsets
from neurorobust.nn.network import placement_of

DYNAPSE2 = chipmodels.load("dynapse2")


def labelled_logits(n: int, k: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy logits of k classes with an offset each, and labels of unequal frequency."""
    y = (torch.rand(n, generator=torch.Generator().manual_seed(seed)) ** 2 * k).long()
    return 2.0 * torch.eye(k).double()[y] + 1.5 * draw(seed + 1, n, k) + 2.0 * draw(seed + 2, k), y


@pytest.mark.parametrize("classes", [2, 5])
def test_matching_recovers_a_shift_exactly(classes):
    """One offset for each class, added to every sample, comes back whatever the samples; for several dies at once."""
    clean, shifts = draw(0, 30, classes), draw(1, 4, classes)
    found = matching_offsets(clean + shifts[:, None], clean)
    torch.testing.assert_close(found, -shifts, rtol=0, atol=1e-14)
    torch.testing.assert_close(matching_offsets(clean[:3] + shifts[0], clean[:3]), -shifts[0], rtol=0, atol=1e-14)
    with pytest.raises(ValueError, match="expected that of the nominal network"):
        matching_offsets(clean[:3], clean)


def test_matching_at_other_class_frequencies_is_wrong_as_stated():
    """A shift that depends on the class of the sample: the offset is its mean over the classes as they are in the
    samples, so other frequencies give an offset that differs by the difference of the means."""
    shift = torch.tensor([[1.0, -2.0], [5.0, 0.5]]).double()  # by class of the sample, and logit
    for frequent in (0.5, 0.9, 0.1):
        y = (torch.arange(100) >= 100 * frequent).long()
        clean = draw(3, 100, 2)
        expected = -(frequent * shift[0] + (1 - frequent) * shift[1])
        torch.testing.assert_close(matching_offsets(clean + shift[y], clean), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("n", [10, 60])
def test_the_labelled_fit_is_the_minimum_that_scipy_finds(classes, n):
    """The stated objective, written with numpy and minimised by BFGS; classes without samples keep the first guess."""
    z, y = labelled_logits(n, classes)
    start, present = 0.3 * draw(4, classes), y.unique().tolist()
    s = float((z - z.mean(0)).square().mean().sqrt())
    logits, labels = (z + start)[:, present].numpy(), np.searchsorted(present, y.numpy())

    def objective(d):
        moved = logits + d
        each = np.log(np.exp(moved).sum(1)) - moved[np.arange(n), labels]
        return np.mean([each[labels == k].mean() for k in range(len(present))]) + d @ d / (2 * n * s**2)

    best = optimize.minimize(objective, np.zeros(len(present)), method="BFGS", options={"gtol": 1e-9})
    expected = start.clone()
    expected[present] += torch.from_numpy(best.x)
    found = fitted_offsets(z, y, start)
    kept = max((expected, start, torch.zeros_like(start)), key=lambda o: balanced_accuracy(z + o, y))
    torch.testing.assert_close(found, kept, rtol=0, atol=1e-5)


def test_the_labelled_fit_never_hurts_its_own_samples():
    """Over 300 draws of logits, of few and many samples, also with a bad first guess and absent classes."""
    better = 0
    for seed in range(300):
        z, y = labelled_logits(5 + seed % 40, 2 + seed % 4, seed)
        before = balanced_accuracy(z, y)
        after = balanced_accuracy(z + fitted_offsets(z, y, 3 * draw(seed + 9, z.shape[-1])), y)
        assert after >= before
        better += after > before
    assert better > 150


def test_the_labelled_fit_stays_finite_where_classes_are_separated_or_absent():
    """Separated classes, one class alone, logits that do not vary, labels for every step."""
    y = torch.arange(10) % 2
    apart = 100 * torch.eye(2).double()[y]
    assert float(fitted_offsets(apart, y).abs().max()) < 1e-6
    start = torch.tensor([0.5, -0.25]).double()
    assert torch.equal(fitted_offsets(apart[::2], y[::2], start), start)
    assert torch.isfinite(fitted_offsets(torch.ones(10, 2).double(), y)).all()
    z, labels = labelled_logits(40, 3)
    assert torch.equal(fitted_offsets(z.reshape(8, 5, 3), labels.reshape(8, 5)), fitted_offsets(z, labels))


@pytest.mark.parametrize("labels", [False, True], ids=["unlabelled", "labelled"])
@pytest.mark.parametrize("chip", [DYNAPSE2, nr.mismatch(0.3), nr.mismatch(0.2).with_noise(nr.noise.Membrane(0.05))])
def test_both_scores_of_every_die(chip, labels):
    """As it stands: the scores without a trim, bit for bit. Trimmed: the die's logits plus its offsets, whose samples
    were drawn for that die alone; nothing of the network changes."""
    network, data, calibration = placed([0, 0, 0, 1, 1, 1, 1]), events(5, 40), events(6, 30)
    trim = nr.Trim(calibration if labels else calibration.x, 12, seed=4)
    plain = nr.evaluate(network, data, chip, n_dies=3, seed=2)
    result = nr.evaluate(network, data, chip, n_dies=3, seed=2, trim=trim)
    assert np.array_equal(plain.score, result.score) and plain.trimmed is None
    trimmed = result.trimmed
    assert trimmed.serials == result.serials and trimmed.offsets.shape == (3, 2)
    assert trimmed.trim == f"12 {'labelled' if labels else 'unlabelled'} samples per die"
    assert f"trimmed on {trimmed.trim}: mean {trimmed.mean:.3f}" in repr(result)
    gain = nr.compare(trimmed, result)
    assert gain.difference == pytest.approx((trimmed.score - result.score).mean())
    assert len({tuple(trim.chosen(die).tolist()) for die in chip.fabricate(range(3), 2)}) == 3
    if chip.noise:
        return
    programmed = chip.program(nominal(network), placement_of(network))
    dies = chip.fabricate(range(3), 2)
    offsets = nr.calibrate_readout(network, dies, trim.samples, 12, seed=4)
    assert np.array_equal(offsets.numpy(), trimmed.offsets)
    assert torch.equal(nr.calibrate_readout(network, dies[1], trim.samples, 12, seed=4), offsets[1])
    for die, offset, score in zip(dies, offsets, trimmed.score):
        moved = apply(programmed.params, die.deviations(programmed), programmed.placement)
        chosen = trim.chosen(die)
        logits = nr.run(network, moved, calibration.x[chosen])
        expected = matching_offsets(logits, nr.run(network, nominal(network), calibration.x[chosen]))
        if labels:
            expected = fitted_offsets(logits, calibration.y[chosen], expected)
        torch.testing.assert_close(offset, expected, rtol=0, atol=1e-9)
        assert score == balanced_accuracy(nr.run(network, moved, data.x) + offset, data.y)


def test_a_trim_removes_the_offset_of_a_die():
    """A corner that multiplies one bias by e leaves the dies at chance; trimmed, they score as the network does."""
    linear = torch.nn.Linear(2, 2)
    linear.weight.data, linear.bias.data = torch.eye(2), torch.tensor([5.0, 0.0])
    x, center = draw(0, 60, 2).float(), torch.tensor([5.0, 0.0])
    data, calibration = (Data(part - center, part.argmax(1)) for part in (x[:40], x[40:]))
    chip = nr.mismatch(0.0).with_corner(bias=1.0)
    for samples in (calibration.x, calibration):
        result = nr.evaluate(nr.wrap(linear), data, chip, n_dies=1, trim=nr.Trim(samples, 20))
        assert (result.nominal, result.score[0]) == (1.0, 0.5)
        assert result.trimmed.score[0] > 0.9
        if samples is calibration.x:
            shift = torch.tensor([5 * (1 - np.e), 0.0])
            torch.testing.assert_close(
                torch.from_numpy(result.trimmed.offsets[0]), shift.double(), rtol=1e-5, atol=1e-5
            )
            assert result.trimmed.score[0] == 1.0


@pytest.mark.parametrize("kind", ["wrapped", "snntorch"])
def test_networks_of_other_libraries_are_trimmed(kind):
    """The offset acts on the logits after decode; many classes too."""
    torch.manual_seed(0)
    if kind == "wrapped":
        network = nr.wrap(torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4)))
        data, calibration = (Data(draw(s, n, 6).float(), torch.arange(n) % 4) for s, n in ((1, 40), (2, 20)))
    else:
        snn = pytest.importorskip("snntorch")
        net = torch.nn.Sequential(
            torch.nn.Linear(3, 8),
            snn.Leaky(beta=0.8, init_hidden=True),
            torch.nn.Linear(8, 2),
            snn.Leaky(beta=0.8, init_hidden=True, output=True),
        )
        network = nr.from_snntorch(net, dt=1e-3)
        data, calibration = (Data(each.x.float(), each.y) for each in (events(1, 20), events(2, 20)))
    for samples in (calibration.x, calibration):
        result = nr.evaluate(network, data, nr.mismatch(0.3), n_dies=2, trim=nr.Trim(samples, 10))
        assert result.trimmed.offsets.shape == (2, int(data.y.max()) + 1)
        assert np.isfinite(result.trimmed.offsets).all()
        die = nr.mismatch(0.3).fabricate([1], 1)[0]
        alone = nr.calibrate_readout(network, die, samples, 10)
        assert np.array_equal(alone.numpy(), result.trimmed.offsets[1])


def test_other_class_frequencies_are_named():
    """Samples of one class only: without labels a warning with both frequencies, with labels none."""
    linear = torch.nn.Linear(2, 2)
    linear.weight.data, linear.bias.data = torch.eye(2), torch.zeros(2)
    x = draw(0, 80, 2).float()
    data, calibration = Data(x[:40], x[:40].argmax(1)), Data(x[40:], x[40:].argmax(1))
    first = calibration.x[calibration.y == 0]
    with pytest.warns(UserWarning, match="gives class 0 to 100% of the samples of the trim and to .*% of the test"):
        nr.evaluate(nr.wrap(linear), data, nr.mismatch(0.1), n_dies=1, trim=nr.Trim(first, 5))
    labelled = Data(first, torch.zeros(len(first), dtype=torch.long))
    nr.evaluate(nr.wrap(linear), data, nr.mismatch(0.1), n_dies=1, trim=nr.Trim(labelled, 5))


def test_what_a_trim_refuses():
    """Test samples, other shapes, too many samples, targets, no dies: each in one sentence."""
    network, data, other = tiny(), events(0, 12), events(1, 12)

    def trimmed(samples, n=5):
        return nr.evaluate(network, data, nr.mismatch(0.1), n_dies=1, trim=nr.Trim(samples, n))

    with pytest.raises(ValueError, match="trim: samples: 2 of 14 are among the test samples"):
        trimmed(torch.cat([other.x, data.x[[3, 7]]]))
    with pytest.raises(ValueError, match=r"trim: samples: got shape \(12, 20, 2\).*as in the test"):
        trimmed(other.x[..., :2])
    with pytest.raises(ValueError, match="trim: n: got 13; the samples to draw from are 12"):
        trimmed(other.x, 13)
    with pytest.raises(ValueError, match="trim: n"):
        trimmed(other.x, 0)
    with pytest.raises(ValueError, match="targets of a regression"):
        nr.Trim(Data(other.x, other.x.mean((1, 2))), 5)
    with pytest.raises(TypeError, match="samples: got a list; expected a tensor x, or Data"):
        nr.Trim([1.0], 1)
    with pytest.raises(TypeError, match=r"trim: got 50; expected nr\.Trim"):
        nr.evaluate(network, data, nr.mismatch(0.1), trim=50)
    with pytest.raises(ValueError, match="the data are a regression"):
        targets = Data(data.x, data.x.mean((1, 2)))
        nr.evaluate(network, targets, nr.mismatch(0.1), trim=nr.Trim(other.x, 5))
    with pytest.raises(TypeError, match=r"die: got .*expected a die"):
        nr.calibrate_readout(network, nr.mismatch(0.1), other.x, 5)


class _Root(torch.nn.Module):
    """Logits x w with a root that gives NaN where one is above 1.5."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.eye(2))

    def forward(self, x):
        logits = x @ self.weight
        return torch.where(logits > 1.5, (1.5 - logits).sqrt(), logits)


@pytest.mark.parametrize("labelled", [False, True])
def test_a_sample_that_gives_nan_on_a_die_is_left_out_there(labelled):
    """One of 20 samples of the trim is NaN on die 1: its offsets are those of the other 19."""
    draws = torch.Generator().manual_seed(0)
    x, more = torch.rand(40, 2, generator=draws), torch.rand(20, 2, generator=draws)
    more[0] = 1.2
    y, chip = (more[:, 1] > more[:, 0]).long(), nr.mismatch(0.2)
    network = nr.wrap(_Root())
    given = Data(more, y) if labelled else more
    found = nr.calibrate_readout(network, chip.fabricate([1], 1), given, 20)
    rest = given.only(torch.arange(1, 20)) if isinstance(given, Data) else given[1:]
    without = nr.calibrate_readout(network, chip.fabricate([1], 1), rest, 19)
    assert bool(found.isfinite().all()) and torch.equal(found, without)
    dies = nr.evaluate(network, Data(x, (x[:, 1] > x[:, 0]).long()), chip, n_dies=3, trim=nr.Trim(given, 20))
    assert dies.trimmed is not None and dies.trimmed.min > 0.7
    far = Data(more + 9, y) if labelled else more + 9
    with pytest.raises(ValueError, match="network: gives NaN for 20 of 20 samples at its nominal parameters"):
        nr.calibrate_readout(network, chip.fabricate([1], 1), far, 20)


def test_a_die_without_a_number_is_not_trimmed():
    network, chip = nr.wrap(_Root()), nr.mismatch(2.0)
    programmed = chip.program(nominal(network), placement_of(network))
    dies = chip.fabricate(range(50), 1)
    die = next(die for die in dies if next(iter(die.params(programmed).values())).diagonal().max() > 3)
    x = torch.rand(9, 2, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.6
    assert nr.calibrate_readout(network, die, x, 9).tolist() == [0, 0]
