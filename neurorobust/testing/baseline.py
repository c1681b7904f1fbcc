"""No regression: the scores of a network on the same dies as before, which a file keeps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
from torch import nn

from .._util import digests, files, strict
from .._util.errors import check_count, reason
from ..chip import ChipModel
from ..data.hashed import data_sha256
from ..data.samples import Samples, as_samples
from ..evaluation import FleetResult, evaluate
from ..evaluation.statistics import difference_interval
from .common import as_chip, named_dies, score_name
from .paired import FEWEST, SURE, PairedTest, spread_of_difference
from .session import current

FORMAT = "neurorobust-baseline/1"
LARGEST = 2**24
DIES, SEED = 100, 1
UPDATE = "`pytest --neurorobust-update`"
NUMBERS = {"type": "array", "items": {"type": "number"}}
CHIP = {"label": {"type": "string"}, "name": {"type": "string"}, "version": {"type": "integer", "minimum": 1}}
PROPERTIES: dict[str, Any] = {
    "format": {"type": "string", "const": FORMAT},
    "chip": {"type": "object", "properties": CHIP, "required": list(CHIP), "additionalProperties": False},
    "seed": {"type": "integer", "minimum": 0},
    "serials": {"type": "array", "items": {"type": "integer", "minimum": 0}},
    "nominal": {"type": "number"},
    "scores": NUMBERS,
    "data_sha256": {"type": "string"},
    "network_sha256": {"type": "string"},
}
SCHEMA = {"type": "object", "properties": PROPERTIES, "required": list(PROPERTIES), "additionalProperties": False}


class Paired(TypedDict, total=False):
    """Settings of :class:`PairedTest`."""

    margin: float
    alpha: float
    loss: float


@dataclass(frozen=True)
class Baseline:
    """Scores of one network on some dies, to compare later ones with.

    Attributes:
        chip: label of the chip model, with all modifications. name, version: of the model.
        seed, serials: which dies. nominal: score without deviations. scores: of each die.
        data_sha256: of the samples and labels; other data are refused.
        network_sha256: of the parameters and buffers, for information.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> model, data = nr.wrap(nn.Linear(2, 2)), nr.data.Data(torch.eye(2), torch.arange(2))
        >>> baseline = nr.testing.Baseline.measure(model, data, nr.mismatch(0.3), n_dies=8, seed=1)
        >>> path = Path(tempfile.mkdtemp()) / "baseline.json"
        >>> baseline.save(path), nr.testing.Baseline.load(path) == baseline
        (True, True)
    """

    chip: str
    name: str
    version: int
    seed: int
    serials: tuple[int, ...]
    nominal: float
    scores: tuple[float, ...]
    data_sha256: str
    network_sha256: str

    @classmethod
    def measure(
        cls, network: nn.Module, data: Any, chip: ChipModel | str, *, n_dies: int = DIES, seed: int = SEED
    ) -> Baseline:
        """The baseline of a network now, on dies 0 … n_dies − 1."""
        data, model, n_dies = as_samples(data), as_chip(chip), check_count("n_dies", n_dies, FEWEST)
        fleet = evaluate(network, data, model, n_dies=n_dies, seed=check_count("seed", seed, 0))
        return cls._of(fleet, model, _hashes(network, data))

    @classmethod
    def _of(cls, fleet: FleetResult, model: ChipModel, hashes: tuple[str, str]) -> Baseline:
        scores = tuple(fleet.score.tolist())
        return cls(fleet.chip, model.name, model.version, fleet.seed, fleet.serials, fleet.nominal, scores, *hashes)

    def save(self, path: Path) -> bool:
        """Write the file, whole or not at all; False if it holds the same already."""
        entry = {
            "format": FORMAT,
            "chip": {"label": self.chip, "name": self.name, "version": self.version},
            "seed": self.seed,
            "serials": list(self.serials),
            "nominal": self.nominal,
            "scores": list(self.scores),
            "data_sha256": self.data_sha256,
            "network_sha256": self.network_sha256,
        }
        text = json.dumps(digests.sealed(entry), indent=1) + "\n"
        if path.is_file() and path.read_bytes() == text.encode():
            return False
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_text(path, text)
        return True

    @classmethod
    def load(cls, path: Path) -> Baseline:
        """The baseline of a file.

        Raises:
            FileNotFoundError: there is none. ValueError, in one sentence: it is no baseline, damaged or edited, of
                another format, or does not fit its schema.
        """
        entry = read_entry(path)
        chip = entry["chip"]
        serials, scores = tuple(entry["serials"]), tuple(map(float, entry["scores"]))
        if len(set(serials)) != len(serials) or len(serials) != len(scores) or len(serials) < FEWEST:
            raise ValueError(
                f"{path}: has {len(serials)} serial numbers and {len(scores)} scores; expected one score for each of "
                f"{FEWEST} different dies or more; write it again with {UPDATE}."
            )
        return cls(
            chip["label"],
            chip["name"],
            chip["version"],
            entry["seed"],
            serials,
            float(entry["nominal"]),
            scores,
            entry["data_sha256"],
            entry["network_sha256"],
        )

    def __str__(self) -> str:
        return (
            f"{len(self.serials)} dies of {self.chip} version {self.version}, seed {self.seed}, mean score "
            f"{np.mean(self.scores):.3f}"
        )


def read_entry(path: Path) -> dict[str, Any]:
    """The content of a baseline file, checked against its digest and its schema."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: does not exist; write it with {UPDATE}, and commit it.")
    if not path.is_file() or path.stat().st_size > LARGEST:
        raise ValueError(f"{path}: is no baseline; expected a file that {UPDATE} wrote.")
    advice = f"take it from where it is whole, or write it again with {UPDATE}."
    try:
        entry = strict.parse(strict.text_of(path))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is no baseline: {reason(error)}; {advice}") from error
    name, _, _ = FORMAT.rpartition("/")
    found = str(entry.get("format")) if isinstance(entry, dict) else ""
    if found.rpartition("/")[0] != name:
        raise ValueError(f"{path}: is no baseline; expected a file that {UPDATE} wrote.")
    if found != FORMAT:
        raise ValueError(f"{path}: is of format {found}; this version reads {FORMAT}; update neurorobust, or {advice}")
    entry = digests.unsealed(entry, path, advice)
    if problem := next(strict.problems(entry, SCHEMA), None):
        raise ValueError(f"{path}: {problem}; {advice}")
    return entry


@dataclass(frozen=True)
class BaselineCheck:
    """A network on the dies of a baseline, against it.

    Attributes:
        file: of the baseline. before, after: the scores on the same dies. test: the paired test.
        regression: whether the score is R².

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> model, data = nr.wrap(nn.Linear(2, 2)), nr.data.Data(torch.eye(2), torch.arange(2))
        >>> path = Path(tempfile.mkdtemp()) / "baseline.json"
        >>> _ = nr.testing.Baseline.measure(model, data, nr.mismatch(0.3), n_dies=8, seed=1).save(path)
        >>> nr.testing.check_baseline(model, data, nr.mismatch(0.3), baseline=path).differences.tolist()
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    """

    file: Path
    before: Baseline
    after: Baseline
    test: PairedTest
    regression: bool = False

    @property
    def differences(self) -> np.ndarray:
        """Score after − score before, of each die."""
        return np.array(self.after.scores) - np.array(self.before.scores)

    @property
    def p_value(self) -> float:
        """Probability of a mean loss as large as this one, if the expected one is the margin."""
        return self.test.p_value(self.differences)

    @property
    def passed(self) -> bool:
        """False if the mean loss is surely above the margin."""
        return not self.test.fails(self.differences)

    @property
    def power(self) -> float:
        """Probability of finding a mean loss of ``test.loss``, from the spread of the baseline. Pairing makes it
        larger."""
        return self.test.power(len(self.before.scores), spread_of_difference(self.before.scores))

    def __str__(self) -> str:
        d, n, test = self.differences, len(self.before.scores), self.test
        said = "not worse than the baseline" if self.passed else "worse than the baseline"
        (low, high), spread = (
            difference_interval(d, regression=self.regression),
            spread_of_difference(self.before.scores),
        )
        same = self.before.network_sha256 == self.after.network_sha256
        lines = [
            f"baseline: {said} {str(self.file)!r}: mean {score_name(self.regression)} "
            f"{np.mean(self.before.scores):.3f} before, {np.mean(self.after.scores):.3f} now, difference "
            f"{d.mean():+.4f} [{low:+.4f}, {high:+.4f}] over {n} dies of {self.before.chip} version "
            f"{self.before.version}, seed {self.before.seed}.",
            f"  Nominal {self.before.nominal:.3f} before, {self.after.nominal:.3f} now; the network is "
            f"{'the same' if same else 'another one'}.",
            f"  {int((d < 0).sum())} dies became worse: {named_dies(self.before.serials, list(-d))}.",
            f"  Paired t test, mean loss above {test.margin:g}: p = {self.p_value:.2g}, fails below {test.alpha:g}. "
            f"False alarms: at most {test.alpha:g}. Power: a mean loss of {test.loss:g} is found with a probability of "
            f"{self.power:.2f}, one of {test.detectable(n, spread):.3f} with {SURE:g}, if the dies of a network spread "
            f"no more than those of the baseline.",
        ]
        return "\n".join(lines)


def check_baseline(
    network: nn.Module,
    data: Any,
    chip: ChipModel | str,
    *,
    baseline: str | Path,
    n_dies: int | None = None,
    seed: int | None = None,
    **settings: Unpack[Paired],
) -> BaselineCheck:
    """Measure a network on the dies of a baseline and test whether it is worse; see :class:`PairedTest`.

    Under ``pytest --neurorobust-update`` the baseline is written and not compared.

    Args:
        network, data: as for :func:`neurorobust.evaluate`. chip: a model, or the name of an installed one.
        baseline: the file; in pytest a relative path starts at the folder of the test file.
        n_dies, seed: of the dies of a new baseline (100 and 1); None for those of the file.
        settings: ``margin`` (.01), ``alpha`` (.05) and ``loss`` (.05) of :class:`PairedTest`.

    Raises:
        FileNotFoundError: there is no baseline. ValueError: it is damaged, or of another chip model, version of it,
            dies or data.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> model, data = nr.wrap(nn.Linear(2, 2)), nr.data.Data(torch.eye(2), torch.arange(2))
        >>> path = Path(tempfile.mkdtemp()) / "baseline.json"
        >>> _ = nr.testing.Baseline.measure(model, data, nr.mismatch(0.3), n_dies=8, seed=1).save(path)
        >>> nr.testing.check_baseline(model, data, nr.mismatch(0.3), baseline=path).passed
        True
    """
    data = as_samples(data)
    session, model, test = current(), as_chip(chip), PairedTest(**settings)
    n_dies = None if n_dies is None else check_count("n_dies", n_dies, FEWEST)
    seed = None if seed is None else check_count("seed", seed, 0)
    path = session.folder / Path(baseline)
    if not session.update:
        before = Baseline.load(path)
        _check_fits(path, before, model, (n_dies, seed))
        if before.data_sha256 != data_sha256(data):
            raise ValueError(
                f"{path}: was measured on other data (their hashes differ), so the scores cannot be compared; use the "
                f"same data, or write it again with {UPDATE}."
            )
        after = Baseline.measure(network, data, model, n_dies=len(before.serials), seed=before.seed)
        return BaselineCheck(path, before, after, test, data.regression)
    known = _dies_of(path)
    after = Baseline.measure(network, data, model, n_dies=n_dies or known[0], seed=known[1] if seed is None else seed)
    written = after.save(path)
    check = BaselineCheck(path, after, after, test, data.regression)
    found = test.detectable(len(after.scores), spread_of_difference(after.scores))
    session.say(
        f"{path}: {'written' if written else 'unchanged'}, {after}; finds a mean loss of {test.loss:g} with a "
        f"probability of {check.power:.2f}, one of {found:.3f} with {SURE:g}, if the dies of a network spread no more"
    )
    return check


def _check_fits(path: Path, before: Baseline, chip: ChipModel, dies: tuple[int | None, int | None]) -> None:
    """Raise ValueError unless a baseline is of this chip model, in this version, and of these dies."""
    if (before.chip, before.name, before.version) != (chip.label, chip.name, chip.version):
        raise ValueError(
            f"{path}: is of {before.chip} version {before.version}; got {chip.label} version {chip.version}, whose "
            f"dies differ, so the scores cannot be compared; write it again with {UPDATE}."
        )
    if before.serials != tuple(range(len(before.serials))):
        raise ValueError(f"{path}: its serial numbers are not 0, 1, 2, …; write it again with {UPDATE}.")
    for name, asked, kept in (("n_dies", dies[0], len(before.serials)), ("seed", dies[1], before.seed)):
        if asked is not None and asked != kept:
            raise ValueError(f"{path}: has {name} {kept}; got {name}={asked}; write it again with {UPDATE}.")


def _dies_of(path: Path) -> tuple[int, int]:
    """Number of dies and seed of a baseline that is written again; a file that cannot be read counts as none."""
    try:
        before = Baseline.load(path)
    except (OSError, ValueError):
        return DIES, SEED
    return len(before.serials), before.seed


def _hashes(network: nn.Module, data: Samples) -> tuple[str, str]:
    """SHA-256 of the data, and of the parameters and buffers of a network."""
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    return data_sha256(data), digests.of_tensors(tensors)
