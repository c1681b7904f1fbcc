"""Trim of a read-out: one offset for each class, fitted on a few samples of every die.

The read-out of a chip is computed on the host, so the host can correct it. The worst die is mostly an offset of one
class, which one number for each class removes.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from .._util.errors import check_count
from .._util.randomness import generator
from ..chip import ChipModel, Die, Fleet, Programmed
from ..core.params import Params
from ..core.placement import placement_of
from ..core.run import evaluating
from ..data.samples import Data, Samples, in_memory
from ..nn.fleet_run import fleet_logits
from .inputs import foreign_inputs
from .noisy import noisy_logits
from .predict import ATTACK_BATCH, checked_params
from .statistics import balanced_accuracy, check_numbers, check_outputs

NEWTON_STEPS, NEWTON_GAIN = 100, 1e-14
OTHER_FREQUENCIES = 0.25
"""Half the sum of the differences of class frequencies, above which an unlabelled trim warns."""


@dataclass(frozen=True, eq=False)
class Trim:
    """A calibration of every die: offsets are added to its logits, fitted on ``n`` samples of that die.

    Without labels (``Trim(task.validation.x, 50)``) the offset of a class is the shift of its mean logit, see
    :func:`matching_offsets`. It assumes that classes are as frequent in the samples as in use. With labels
    (``Trim(task.validation, 50)``) the offsets minimise a class-balanced cross-entropy, see :func:`fitted_offsets`. The
    cost is n samples (and n labels) for each die, each time it is programmed or has aged.

    Each die gets n samples of its own, drawn without replacement by ``seed`` and the die's seed and serial number. So
    the luck of one choice does not act on all dies. Samples for which the die gives NaN or infinity are left out.

    Attributes:
        samples: to draw from: a tensor x, batch first, or :class:`neurorobust.data.Data` with labels. They must not be
            samples of the test; take the training or validation part.
        n: samples for each die. seed: of the choice of samples.

    Raises:
        ValueError: ``n`` is below 1 or above the number of samples, a negative seed, or targets of a regression.

    Example:
        >>> data = nr.data.Data(torch.rand(40, 6), torch.arange(40) % 2)
        >>> model = nr.wrap(nn.Linear(6, 2))
        >>> dies = nr.evaluate(model, data, nr.mismatch(0.3), n_dies=3, trim=nr.Trim(torch.rand(30, 6), 10))
        >>> dies.trimmed.score.shape  # the same dies with corrected logits
        (3,)
    """

    samples: Tensor | Data
    n: int
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.samples, Tensor | Data):
            object.__setattr__(self, "samples", _labelled(self.samples))
        if isinstance(self.samples, Data) and self.samples.regression:
            raise ValueError("trim: samples: have targets of a regression; expected class labels, or x alone.")
        object.__setattr__(self, "n", check_count("trim: n", self.n))
        object.__setattr__(self, "seed", check_count("trim: seed", self.seed, 0))
        if self.n > len(self.data):
            raise ValueError(f"trim: n: got {self.n}; the samples to draw from are {len(self.data)}.")

    @property
    def labelled(self) -> bool:
        """Whether the labels of the samples are used."""
        return isinstance(self.samples, Data)

    @property
    def data(self) -> Data:
        """The samples; all labels are 0 where there are none."""
        if isinstance(self.samples, Data):
            return self.samples
        return Data(self.samples, torch.zeros(len(self.samples), dtype=torch.long))

    def __str__(self) -> str:
        return f"{self.n} {'labelled' if self.labelled else 'unlabelled'} samples per die"

    def chosen(self, die: Die) -> Tensor:
        """The numbers of the samples of one die, ascending, (n,)."""
        key = generator(self.seed, "trim", die.seed, die.serial)
        return torch.randperm(len(self.samples), generator=key)[: self.n].sort().values


def _labelled(samples: Any) -> Data:
    """A data set or a loader as Data."""
    try:
        return in_memory(samples)
    except TypeError as error:
        raise TypeError(
            f"trim: samples: got a {type(samples).__name__}; expected a tensor x, or Data with labels: "
            f"task.validation.x or task.validation."
        ) from error


def matching_offsets(logits: Tensor, nominal: Tensor) -> Tensor:
    """The shift of each mean logit: o = mean over samples of (nominal − logits), (…, K), float64.

    Both networks see the same samples, so an offset that a die adds to a class is recovered exactly. Where the shift
    depends on the class of the sample, o is its mean over the classes as they are in these samples: with other class
    frequencies in use it is wrong by the difference of the two means.

    Args:
        logits: of a die (n, K), or of several (dies, n, K). nominal: of the network itself, (n, K).

    Raises:
        ValueError: logits of another shape than the nominal ones.

    Example:
        >>> nominal = torch.tensor([[2.0, 1.0], [1.0, 2.0]])
        >>> die = nominal + torch.tensor([0.0, 1.5])  # this die adds 1.5 to the second class
        >>> nr.evaluation.matching_offsets(die, nominal).tolist()
        [0.0, -1.5]
    """
    if logits.shape[logits.ndim - nominal.ndim :] != nominal.shape:
        raise ValueError(
            f"logits: got shape {tuple(logits.shape)}; expected that of the nominal network, {tuple(nominal.shape)}."
        )
    axes = tuple(range(-nominal.ndim, -1))
    return (nominal.double() - logits.double()).mean(axes)


def fitted_offsets(logits: Tensor, y: Tensor, start: Tensor | None = None) -> Tensor:
    """Offsets from labelled samples of one die: a class-balanced cross-entropy, held near a first guess; (K,), float64.

    ::

        o = start + d,    d = argmin  mean over classes c of mean over y = c of CE(logits + start + d, y)
                                      + ‖d‖² / (2 n s²),      s the standard deviation of the logits over samples

    The penalty weighs as one sample, so with few samples, and where a class is separated from the others, o stays near
    ``start``. Only classes with samples take part; the others keep ``start``. The result never has a lower balanced
    accuracy on these samples than no offset: else ``start`` or no offset is returned, whichever is better.

    Args:
        logits: (n, K), or (n, T, K) with a label per step. y: labels, (n,) or (n, T).
        start: (K,), such as :func:`matching_offsets`; 0 by default.

    Raises:
        ValueError: labels of other samples, or outputs that are no logits.

    Example:
        >>> logits, y = torch.tensor([[3.0, 1.0], [2.0, 1.0], [2.5, 2.0], [2.2, 2.0]]), torch.tensor([0, 0, 1, 1])
        >>> offsets = nr.evaluation.fitted_offsets(logits, y)
        >>> (logits.argmax(1) == y).sum().item(), ((logits + offsets).argmax(1) == y).sum().item()
        (2, 3)
    """
    check_outputs(logits, y)
    flat, y = logits.detach().double().flatten(0, -2), y.reshape(-1).long()
    start = flat.new_zeros(flat.shape[-1]) if start is None else start.double()
    fitted, present = start.clone(), y.unique()
    if len(present) > 1:
        fitted[present] += _newton((flat + start)[:, present], torch.searchsorted(present, y), _scale(flat))
    candidates = (fitted, start, torch.zeros_like(start))
    return max(candidates, key=lambda offsets: balanced_accuracy(flat + offsets, y))  # the first of equals


def _scale(logits: Tensor) -> float:
    """The standard deviation of the logits over samples; 1 where they do not vary."""
    return float((logits - logits.mean(0)).square().mean().sqrt()) or 1.0


def _newton(logits: Tensor, y: Tensor, scale: float) -> Tensor:
    """The minimum d of the objective of :func:`fitted_offsets`, which is strictly convex: Newton's method with halved
    steps."""
    n, k = logits.shape
    weight = 1 / (len(y.unique()) * torch.bincount(y, minlength=k).double()[y])
    ridge, target = 1 / (n * scale**2), nn.functional.one_hot(y, k).double()

    def value(d: Tensor) -> float:
        loss = nn.functional.cross_entropy(logits + d, y, reduction="none")
        return float((weight * loss).sum() + ridge * d.square().sum() / 2)

    d = logits.new_zeros(k)
    for _ in range(NEWTON_STEPS):
        p = (logits + d).softmax(-1)
        gradient = weight @ (p - target) + ridge * d
        curvature = torch.diag(weight @ p + ridge) - p.T @ (weight[:, None] * p)
        step = torch.linalg.solve(curvature, -gradient)
        gain, length, here = float(-gradient @ step), 1.0, value(d)
        if gain < NEWTON_GAIN:
            break
        while length > 1e-9 and value(d + length * step) > here - 1e-4 * length * gain:
            length /= 2
        d = d + length * step
    return d


def calibrate_readout(
    network: nn.Module, die: Die | Fleet | Sequence[Die], samples: Tensor | Data, n: int, *, seed: int = 0
) -> Tensor:
    """The offsets that a trim adds to a network's logits on a die, from n samples: ``logits + offsets``.

    Test the die on other samples than these.

    Args:
        network: programmed onto the die's chip at its nominal parameters, which are not changed.
        die: one die, ``chip.fabricate([3], 1)[0]``, or several.
        samples, n, seed: as in :class:`Trim`: x alone, or Data to use the labels.

    Returns:
        (K,) for one die, (dies, K) for several; float64.

    Raises:
        TypeError: no die. ValueError: as for :class:`Trim`, or samples that do not fit the network.

    Example:
        >>> model = nr.wrap(nn.Linear(6, 2))
        >>> die = nr.mismatch(0.3).fabricate([17], seed=0)
        >>> nr.calibrate_readout(model, die, torch.rand(30, 6), 10).shape  # dies, classes
        torch.Size([1, 2])
    """
    trim = Trim(samples, n, seed)
    dies = [die] if isinstance(die, Die) else list(die) if isinstance(die, Iterable) else []
    if not dies or not all(isinstance(each, Die) for each in dies):
        raise TypeError(f"die: got {die!r}; expected a die such as chip.fabricate([0], seed)[0], or several.")
    params = checked_params(network, trim.data)
    for chip in {id(each.model): cast(ChipModel, each.model) for each in dies}.values():
        foreign_inputs(network, chip, trim.data)
    found = []
    with evaluating(network):
        for each in dies:
            chip = cast(ChipModel, each.model)
            programmed = chip.program(params, placement_of(network))
            calibration = Calibration(network, trim, params, programmed)
            moved = each.params(programmed)
            found.append(calibration.offsets(each, moved))
    return found[0] if isinstance(die, Die) else torch.stack(found)


class Calibration:
    """The trim of a network on the dies of one chip.

    Args:
        network: in ``eval`` mode. trim: what to do. params: nominal. programmed: as the chip holds the network.
    """

    def __init__(self, network: nn.Module, trim: Trim, params: Params, programmed: Programmed):
        self.network, self.trim, self.programmed, self.data = network, trim, programmed, trim.data
        (self.nominal,) = fleet_logits(network, [params], self.data.x)
        check_outputs(self.nominal, self.data.y)
        check_numbers(self.nominal)

    def offsets(self, die: Die, moved: Params) -> Tensor:
        """The offsets (K,) of one die, whose parameters are given; 0 if none of its samples has finite logits."""
        chosen = self.trim.chosen(die)
        x = self.data.x[chosen]
        if die.model.noise:
            fleet = Fleet(die.model, (die.serial,), die.seed)
            (logits,) = noisy_logits(self.network, [moved], x, fleet, self.programmed, "calibration noise")
        else:
            (logits,) = fleet_logits(self.network, [moved], x)
        known = logits.isfinite().flatten(1).all(1)
        if not bool(known.any()):
            return logits.new_zeros(logits.shape[-1], dtype=torch.float64)
        logits, chosen = logits[known], chosen[known.cpu()]
        matching = matching_offsets(logits, self.nominal[chosen])
        return fitted_offsets(logits, self.data.y[chosen], matching) if self.trim.labelled else matching

    def check_frequencies(self, tested: Tensor) -> None:
        """Warn if an unlabelled trim sees other class frequencies than the test, by the nominal network's predictions;
        ``tested``: its logits there."""
        here, there = (_frequencies(logits) for logits in (self.nominal, tested))
        worst = int((here - there).abs().argmax())
        if not self.trim.labelled and float((here - there).abs().sum() / 2) > OTHER_FREQUENCIES:
            warnings.warn(
                f"trim: the network gives class {worst} to {here[worst]:.0%} of the samples of the trim and to "
                f"{there[worst]:.0%} of the test; without labels a trim assumes equal class frequencies.",
                UserWarning,
                stacklevel=3,
            )


def _frequencies(logits: Tensor) -> Tensor:
    """The fraction of samples (or steps) that each class is predicted for, (K,)."""
    return torch.bincount(logits.argmax(-1).reshape(-1), minlength=logits.shape[-1]).double() / logits[..., 0].numel()


def check_apart(trim: Trim, data: Samples) -> None:
    """Raise unless a trim fits a test: classes, samples of one shape, none of them in both."""
    if not isinstance(trim, Trim):
        raise TypeError(f"trim: got {trim!r}; expected nr.Trim(task.validation.x, 50), or None.")
    if data.regression:
        raise ValueError("trim: the data are a regression; expected classes.")
    x = trim.data.x
    if x.shape[1:] != data.shape[1:] or x.dtype != data.dtype:
        raise ValueError(
            f"trim: samples: got shape {tuple(x.shape)}, {x.dtype}; expected samples as in the test, "
            f"{data.shape}, {data.dtype}."
        )
    tested = {digest for _, block in data.blocks(ATTACK_BATCH) for digest in _digests(block)}
    if both := sum(digest in tested for digest in _digests(x)):
        raise ValueError(
            f"trim: samples: {both} of {len(x)} are among the test samples, so the trimmed score would be too good; "
            f"take the training or validation part."
        )


def _digests(x: Tensor) -> set[bytes]:
    """The digests of all samples."""
    rows = x.detach().cpu().contiguous().reshape(len(x), -1)
    return {hashlib.blake2b(row.view(torch.uint8).numpy().tobytes(), digest_size=16).digest() for row in rows}
