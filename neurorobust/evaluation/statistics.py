"""Scores and their confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import special
from torch import Tensor

from .._util.errors import check_count
from .._util.intervals import ANYTHING, FRACTION, R_SQUARED, Bounds, kept_within
from .._util.printed import bracketed
from .._util.randomness import generator

Statistic = Callable[..., np.ndarray]
RESAMPLES = 1000


def score(outputs: Tensor, y: Tensor) -> float:
    """The score of some outputs; larger is better.

    Integer labels: :func:`balanced_accuracy`. Floating targets of the outputs' shape: R² = 1 − Σ(output − y)² / Σ(y −
    mean y)², 1 for a perfect network, 0 for one that always gives the mean.

    Raises:
        ValueError: targets of another shape than the outputs, or NaN among the outputs of a regression.

    Example:
        >>> y = torch.tensor([1.0, 2.0, 3.0])  # targets of a regression: R²
        >>> [nr.evaluation.statistics.score(output, y) for output in (y, torch.full((3,), 2.0))]
        [1.0, 0.0]
    """
    if not y.is_floating_point():
        return balanced_accuracy(outputs, y)
    if outputs.shape != y.shape:
        raise ValueError(f"targets: got shape {tuple(y.shape)}; the network gives {tuple(outputs.shape)}.")
    if strange := _without_numbers(outputs):
        raise ValueError(
            f"network: gives NaN for {strange} of {len(outputs)} samples, nominally or on a die, so there is no R²; "
            f"look for a root, a logarithm or a division in it."
        )
    residual = (outputs.double() - y.double()).square().sum()
    return float(1 - residual / (y.double() - y.double().mean()).square().sum())


def check_outputs(outputs: Tensor, y: Tensor) -> None:
    """Raise ValueError unless the shape of a network's outputs fits the labels or targets."""
    if y.is_floating_point():
        if outputs.shape[1:] != y.shape[1:]:
            raise ValueError(
                f"targets: got floating y of shape {tuple(y.shape)}, a regression; the network gives "
                f"{tuple(outputs.shape)}. Class labels are integers: y.long()."
            )
        return
    if outputs.ndim == 3 and y.ndim == 1:
        raise ValueError(
            f"network: gives outputs of shape {tuple(outputs.shape)}, in every step, for labels of shape "
            f"{tuple(y.shape)}, one per sample. For a loss in every step give a label for every step, "
            f"y[:, None].expand(-1, {outputs.shape[1]}); else decode= makes logits (B, n_classes)."
        )
    if outputs.ndim != y.ndim + 1 or outputs.shape[1:-1] != y.shape[1:]:
        raise ValueError(
            f"network: gives outputs of shape {tuple(outputs.shape)} for labels of shape {tuple(y.shape)}; expected "
            f"logits with one axis more, the classes. A decode function turns outputs into logits."
        )
    if y.max() >= outputs.shape[-1]:
        raise ValueError(
            f"labels: got class {int(y.max())}; the network has logits for classes 0 to {outputs.shape[-1] - 1}."
        )


def decisions(logits: Tensor) -> Tensor:
    """The class of the largest logit, (…,); −1, which is no class, where one of the logits is NaN."""
    return logits.argmax(-1).masked_fill(logits.isnan().any(-1), -1)


def check_numbers(outputs: Tensor) -> None:
    """Raise ValueError if a network without deviations gives NaN: its scores would be of nothing."""
    if strange := _without_numbers(outputs):
        raise ValueError(
            f"network: gives NaN for {strange} of {len(outputs)} samples at its nominal parameters; look for a "
            f"logarithm, a root or a division in it, or numbers that grow without a bound."
        )


def _without_numbers(outputs: Tensor) -> int:
    """How many samples have NaN among their outputs."""
    return int(outputs.isnan().reshape(len(outputs), -1).any(1).sum())


def one_class(outputs: Tensor, y: Tensor) -> int | None:
    """The class that is predicted for every sample (or step), as a silent or saturated network does; None if there are
    several, or in a regression."""
    predicted = outputs.argmax(-1).unique()
    return int(predicted) if len(predicted) == 1 and not y.is_floating_point() else None


def recall(predicted: Tensor, y: Tensor, n_classes: int) -> Tensor:
    """Fraction of each class's samples (or steps) that were recognised, (n_classes,); NaN for a class without any.

    Raises:
        ValueError: a label of a class that the network does not have, or labels of another shape.

    Example:
        >>> nr.evaluation.recall(torch.tensor([0, 0, 1, 0]), torch.tensor([0, 0, 1, 1]), 3)
        tensor([1.0000, 0.5000,    nan], dtype=torch.float64)
    """
    if predicted.shape != y.shape:
        raise ValueError(
            f"predicted: got shape {tuple(predicted.shape)}; expected that of the labels, {tuple(y.shape)}."
        )
    predicted, y = predicted.reshape(-1), y.reshape(-1)
    if y.max() >= n_classes:
        raise ValueError(f"labels: got class {int(y.max())}; the network has logits for classes 0 to {n_classes - 1}.")
    hits = torch.bincount(y[predicted == y], minlength=n_classes).double()
    return hits / torch.bincount(y, minlength=n_classes)


def mean_recall(recalls: Tensor) -> float:
    """Mean of the recalls of the classes that are present, (n_classes,).

    Rounded to 12 digits. So recalls of .82 and .98 reach a specification of 0.90, which their mean in binary misses by
    1e-16.
    """
    return round(float(recalls.nanmean()), 12)


def balanced_accuracy(logits: Tensor, y: Tensor) -> float:
    """Mean recall of the classes that are present; logits (B, n_classes), labels (B,), or both with time steps. A
    sample with a NaN among its logits counts as wrong.

    Rounded to 12 digits, so that a mean of .90 reaches a specification of 0.90.

    Raises:
        ValueError: predicted classes instead of logits, or labels of other samples.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
        >>> nr.evaluation.balanced_accuracy(logits, torch.tensor([0, 0, 1, 1]))  # recalls 1 and ½
        0.75
    """
    if logits.ndim != y.ndim + 1 or logits.shape[:-1] != y.shape:
        raise ValueError(
            f"logits: got shape {tuple(logits.shape)} for labels of shape {tuple(y.shape)}; expected "
            f"{(*y.shape, 'n_classes')}: the logits, not the predicted classes. recall takes predicted classes."
        )
    return mean_recall(recall(decisions(logits), y, logits.shape[-1]))


def check_confidence(confidence: float) -> float:
    """The confidence of an interval; ValueError unless it is between 0 and 1."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: got {confidence}; expected a fraction between 0 and 1, .95 for 95 %.")
    return confidence


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of a fraction (Clopper and Pearson 1934): holds the truth at least ``confidence`` of the time.

    Raises:
        ValueError: more successes than n, or a confidence outside 0 and 1.

    Example:
        >>> [round(end, 3) for end in nr.evaluation.clopper_pearson(100, 100)]  # all of 100 dies are good
        [0.964, 1.0]
    """
    successes, n = check_count("successes", successes, 0), check_count("n", n, 0)
    if successes > n:
        raise ValueError(f"successes: got {successes} of {n}; expected at most as many.")
    tail = (1 - check_confidence(confidence)) / 2
    low = special.betaincinv(successes, n - successes + 1, tail) if successes else 0.0
    high = special.betaincinv(successes + 1, n - successes, 1 - tail) if successes < n else 1.0
    return float(low), float(high)


def score_bounds(regression: bool) -> Bounds:
    """Lowest and highest score: of R² for a regression, else of a balanced accuracy."""
    return R_SQUARED if regression else FRACTION


def mean_interval(
    values: np.ndarray, confidence: float = 0.95, *, bounds: tuple[float, float] = ANYTHING
) -> tuple[float, float]:
    """Student's interval of a mean; one value alone has none, and gives (NaN, NaN).

    With ``bounds`` it is an interval that never leaves them, as a fraction needs: Student's interval of g(mean),
    carried back, with the standard error of g(mean) to first order::

        g(m) = log((m − low) / (high − m)),   se(g) = se(m) · g'(m);   one bound: g(m) = −log(high − m)

    For a fraction this is the logit interval (Brown, Cai and DasGupta, Statistical Science 16, 2001) with Student's
    quantile. Near 0.5, or with many values, it is Student's; near a bound it is longer on the side away from it. The
    test ``test_a_bounded_interval_holds_the_truth_more_often`` compares how often both hold the truth. Values that are
    all equal give a point.

    Example:
        >>> import numpy as np
        >>> [round(end, 3) for end in nr.evaluation.mean_interval(np.array([0.90, 0.94, 0.92]))]
        [0.87, 0.97]

    Args:
        values: (n,). bounds: lowest and highest possible value; (0, 1) for accuracies, (−∞, 1) for R².

    Raises:
        ValueError: a value is outside the bounds.
    """
    values = np.asarray(values, dtype=float)
    confidence = check_confidence(confidence)
    if values.ndim != 1:
        raise ValueError(f"values: got shape {values.shape}; expected (n,), such as the scores of the dies.")
    if len(values) < 2:
        return float("nan"), float("nan")
    if values.min() < bounds[0] or values.max() > bounds[1]:
        raise ValueError(
            f"values: got {values.min():g} to {values.max():g}; expected numbers from {bounds[0]:g} to {bounds[1]:g}."
        )
    half = special.stdtrit(len(values) - 1, 0.5 + confidence / 2) * values.std(ddof=1) / len(values) ** 0.5
    return kept_within(float(values.mean()), float(half), bounds)


def difference_interval(differences: np.ndarray, *, regression: bool) -> tuple[float, float]:
    """Student's 95 % interval of a mean difference of two scores, (NaN, NaN) for one value. Differences of accuracies
    are from −1 to 1, so the rest is cut off; those of R², of a regression, can be any number."""
    low, high = mean_interval(differences)
    return (low, high) if regression or np.isnan(low) else (max(-1.0, low), min(1.0, high))


@dataclass(frozen=True)
class ConfidenceInterval:
    """An estimate and its confidence interval; (NaN, NaN) where it has none.

    Example:
        >>> import numpy as np
        >>> interval = nr.evaluation.bootstrap_interval(np.array([0.90, 0.94, 0.92, 0.96]))
        >>> round(interval.estimate, 3), interval.low < interval.estimate < interval.high
        (0.93, True)
    """

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.3f}{bracketed((self.low, self.high))}"


def bootstrap_interval(
    values: np.ndarray,
    statistic: Statistic = np.mean,
    *,
    dies: bool = True,
    confidence: float = 0.95,
    seed: int = 0,
    bounds: tuple[float, float] = ANYTHING,
) -> ConfidenceInterval:
    """A statistic of a method over training seeds and dies, with an interval for new seeds and new dies.

    ::

        estimate = mean over seeds of statistic(over dies)
        se² = variance of the statistic over seeds / seeds + bootstrap variance over dies · dies/(dies − 1)
        estimate ± t · se,   t Student's at Satterthwaite's degrees of freedom, from seeds − 1 and dies − 1

    All seeds use the same dies, so whole columns are resampled. Three seeds are too few to resample (one time in nine
    all three are the same), so their variance is in closed form. Measured coverage: ``tests/interval_study.json``.

    Args:
        values: a score for every seed and die, shape (seeds, dies), or (dies,) for one network, whose interval holds
            for new dies of that network alone.
        statistic: ``(values, axis) → values`` over dies: ``np.mean``, ``partial(np.quantile, q=0.05)``.
        dies: False: the dies are fixed. Use it for a minimum, for which the bootstrap over dies is wrong.
        confidence: of the interval. seed: of the resampling.
        bounds: lowest and highest possible value, which the interval then never leaves: (0, 1) for accuracies; see
            :func:`mean_interval`.

    Example:
        >>> import numpy as np
        >>> scores = np.array([[0.90, 0.94, 0.92], [0.91, 0.95, 0.90], [0.89, 0.93, 0.93]])  # seeds, dies
        >>> interval = nr.evaluation.bootstrap_interval(scores)
        >>> round(interval.estimate, 3), round(interval.low, 3), round(interval.high, 3)
        (0.919, 0.869, 0.969)
    """
    found, half = _interval((np.asarray(values, dtype=float),), statistic, dies, confidence, seed)
    return _around(found, half, bounds)


def paired_interval(
    first: np.ndarray,
    second: np.ndarray,
    statistic: Statistic = np.mean,
    *,
    dies: bool = True,
    confidence: float = 0.95,
    seed: int = 0,
    more: Sequence[tuple[float, float]] = (),
) -> ConfidenceInterval:
    """First − second of two methods on the same seeds and dies: :func:`bootstrap_interval` of the difference of their
    statistics, with the same resampled dies for both. ``more``: variances of the difference from other sources, each
    with its degrees of freedom, such as :func:`sampling_variance`.

    Raises:
        ValueError: two arrays of different shapes.

    Example:
        >>> import numpy as np
        >>> first, second = np.array([0.90, 0.94, 0.92, 0.95]), np.array([0.88, 0.91, 0.91, 0.93])  # the same four dies
        >>> interval = nr.evaluation.paired_interval(first, second)
        >>> round(interval.estimate, 3), bool(interval.low > 0)
        (0.02, True)
    """
    pair = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if pair[0].shape != pair[1].shape:
        raise ValueError(f"second: got shape {pair[1].shape}; expected that of the first, {pair[0].shape}: same dies.")
    return _around(*_interval(pair, statistic, dies, confidence, seed, more), ANYTHING)


def sampling_variance(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> tuple[float, float]:
    """The variance that the choice of test samples adds to a difference of balanced accuracies, and its degrees of
    freedom.

    ::

        Var = Σ over classes of var(dₖ) / (nₖ · classes²),   dₖ mean over seeds of first right − second right

    Args:
        first, second: which samples of each class are right, (seeds, nₖ) each, the same samples and seeds for both.

    Example:
        >>> import numpy as np
        >>> first = [np.array([[1, 1, 1, 0]]), np.array([[1, 1]])]  # right or wrong: (seeds, samples) of each class
        >>> second = [np.array([[1, 0, 1, 0]]), np.array([[1, 1]])]
        >>> variance, freedom = nr.evaluation.sampling_variance(first, second)
        >>> round(variance, 4), freedom
        (0.0156, 4.0)
    """
    differences = [(a.astype(float) - b.astype(float)).mean(0) for a, b in zip(first, second, strict=True)]
    known = [d for d in differences if len(d) > 1]
    variance = sum(d.var(ddof=1) / len(d) for d in known) / len(differences) ** 2
    return float(variance), float(sum(len(d) - 1 for d in known))


def _interval(
    tables: tuple[np.ndarray, ...],
    statistic: Statistic,
    dies: bool,
    confidence: float,
    seed: int,
    more: Sequence[tuple[float, float]] = (),
) -> tuple[float, float]:
    """The estimate and half the length of its interval, NaN where nothing varies that could be counted."""
    tables = tuple(np.atleast_2d(table) for table in tables)
    seeds, n = tables[0].shape if tables[0].ndim == 2 else (0, 0)
    if not n or not seeds or not all(np.isfinite(table).all() for table in tables):
        raise ValueError(f"values: got shape {tables[0].shape}; expected finite scores, shape (seeds, dies).")
    confidence = check_confidence(confidence)

    def figure(columns: np.ndarray | slice) -> np.ndarray:
        found = [statistic(table[:, columns], axis=-1) for table in tables]
        return found[0] if len(found) == 1 else found[0] - found[1]

    each = figure(slice(None))
    estimate, parts = float(each.mean()), [part for part in more if part[0] > 0]
    if seeds > 1:
        parts.append((each.var(ddof=1) / seeds, seeds - 1))
    if dies and n > 1:
        drawn = torch.randint(n, (RESAMPLES, n), generator=generator(seed, "bootstrap", n)).numpy()
        again = np.array([figure(columns).mean() for columns in drawn])
        parts.append((again.var(ddof=1) * n / (n - 1), n - 1))
    variance = sum(part for part, _ in parts)
    if not parts:
        return estimate, float("nan")
    if variance == 0:
        return estimate, 0.0
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    return estimate, float(special.stdtrit(freedom, 0.5 + confidence / 2) * variance**0.5)


def _around(estimate: float, half: float, bounds: Bounds) -> ConfidenceInterval:
    """The interval of an estimate; (NaN, NaN) where its length is unknown.

    Raises:
        ValueError: the estimate is outside the bounds.
    """
    if not bounds[0] <= estimate <= bounds[1]:
        raise ValueError(f"values: got an estimate of {estimate:g}; expected one from {bounds[0]:g} to {bounds[1]:g}.")
    return ConfidenceInterval(estimate, *kept_within(estimate, half, bounds))
