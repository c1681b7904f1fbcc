"""Do the numbers of a chip model stay the same within one version of it?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..chip import ChipModel
from ..chip import snapshot as snapshots
from .common import as_chip
from .session import current

SHOWN = 12


@dataclass(frozen=True)
class ChipCheck:
    """A chip model against its snapshot.

    Attributes:
        file: of the snapshot. chip: name of the model. before, after: versions.
        drift: numbers that differ, (old, new) by name; None where one has no such number.

    Example:
        >>> from pathlib import Path
        >>> drift = {"kinds.weight.cv": (0.1, 0.2)}  # a number changed, and the version did not
        >>> nr.testing.ChipCheck(Path("mine.json"), "mine", before=1, after=1, drift=drift).passed
        False
    """

    file: Path
    chip: str
    before: int
    after: int
    drift: dict[str, tuple[float | str | None, float | str | None]]

    @property
    def passed(self) -> bool:
        """True if no number differs, and neither does the version."""
        return not self.drift and self.before == self.after

    def __str__(self) -> str:
        if self.passed:
            return f"chip: {self.chip} version {self.after} has the numbers of {str(self.file)!r}."
        if self.before == self.after:
            said = f"{len(self.drift)} numbers changed, but the version is still {self.after}; raise the version"
        else:
            said = f"version {self.before} became version {self.after}, and {len(self.drift)} numbers changed"
        rows = [f"  {name}: {old} → {new}" for name, (old, new) in list(self.drift.items())[:SHOWN]]
        if len(self.drift) > SHOWN:
            rows.append(f"  and {len(self.drift) - SHOWN} more")
        remedy = "Look at each, then run `pytest --neurorobust-update`."
        return "\n".join([f"chip: {self.chip}, {str(self.file)!r}: {said}. {remedy}", *rows])


def check_chip(chip: ChipModel | str, *, snapshot: str | Path) -> ChipCheck:
    """Compare a chip model with its snapshot; under ``pytest --neurorobust-update`` write the snapshot.

    Numbers that changed while the version did not are not written: raise the version first.

    Args:
        chip: a model, or the name of an installed one.
        snapshot: the file; in pytest a relative path starts at the folder of the test file.

    Raises:
        FileNotFoundError: there is no snapshot. ValueError: it is damaged, or of another chip.

    Example:
        >>> import chipmodels, tempfile
        >>> from pathlib import Path
        >>> from neurorobust.chip.snapshot import save
        >>> path = Path(tempfile.mkdtemp()) / "dynapse2.json"
        >>> _ = save(chipmodels.load("dynapse2"), path)
        >>> nr.testing.check_chip("dynapse2", snapshot=path).passed
        True
    """
    session, model = current(), as_chip(chip)
    path = session.folder / Path(snapshot)
    new = snapshots.snapshot(model)
    if session.update and not path.exists():
        snapshots.save(model, path)
        session.say(f"{path}: written, {model.name} version {model.version}")
    old = snapshots.load(path)
    if old["chip"] != model.name:
        raise ValueError(f"{path}: is of {old['chip']}; got {model.name}.")
    if session.update and old["version"] != model.version:
        snapshots.save(model, path)
        session.say(f"{path}: written, {model.name} version {old['version']} → {model.version}")
        old = new
    return ChipCheck(path, model.name, old["version"], model.version, snapshots.drift(old, new))
