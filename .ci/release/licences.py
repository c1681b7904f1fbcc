"""The licences of all packages that neurorobust brings with it, from their own metadata.

    python .ci/release/licences.py       # writes .ci/release/licences.json; a test fails until a new package is listed

A package is listed with the parts of neurorobust that need it, directly or through another package: ``core`` or the
name of an extra. Packages that are not installed here keep their entry.
"""

from __future__ import annotations

import configparser
import json
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from neurorobust._util import files

ROOT = Path(__file__).parent.parent.parent
LIST = Path(__file__).with_name("licences.json")
EXTRAS = ("speech", "events", "nir", "distributed", "tutorials")
"""The extras that a user's program may need; the others are for those who work on neurorobust."""
UNKNOWN = "not stated in its metadata"
LONGEST = 40
"""A longer field is the text of a licence, not its name."""

Entry = dict[str, list[str] | str]


def requirements() -> dict[str, list[Requirement]]:
    """What ``setup.cfg`` asks for: of the package itself (``core``) and of each extra of :data:`EXTRAS`."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = config["options.extras_require"]
    texts = {"core": config["options"]["install_requires"], **{extra: extras[extra] for extra in EXTRAS}}
    return {part: [Requirement(line) for line in text.split() if line] for part, text in texts.items()}


def closure(wanted: Iterable[Requirement]) -> set[str]:
    """Names of the packages that are installed for some requirements, with what these need in turn."""
    found: set[str] = set()
    todo = [(canonicalize_name(one.name), extra) for one in wanted for extra in ("", *sorted(one.extras))]
    seen = set(todo)
    while todo:
        name, extra = todo.pop()
        try:
            further = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        found.add(name)
        for one in map(Requirement, further):
            if one.marker is None or one.marker.evaluate({"extra": extra}):
                new = {(canonicalize_name(one.name), word) for word in ("", *one.extras)} - seen
                seen |= new
                todo += sorted(new)
    return found


def licence_of(facts: metadata.PackageMetadata) -> str:
    """The licence by name: the expression of PEP 639, else the short field, else what the classifiers say."""
    expression, field = (
        str(facts[name]).strip() if name in facts else "" for name in ("License-Expression", "License")
    )
    if expression:
        return expression
    if field and len(field) <= LONGEST and "\n" not in field and field != "UNKNOWN":
        return field
    named = [line.rpartition(" :: ")[2] for line in facts.get_all("Classifier") or [] if line.startswith("License ::")]
    return ", ".join(named) or UNKNOWN


def installed() -> dict[str, Entry]:
    """The entries of all packages that are installed here."""
    parts: dict[str, list[str]] = {}
    for part, wanted in requirements().items():
        for name in closure(wanted):
            parts.setdefault(name, []).append(part)
    return {name: {"licence": licence_of(metadata.metadata(name)), "for": parts[name]} for name in sorted(parts)}


def read() -> dict[str, Entry]:
    """The list as it is kept."""
    return dict(json.loads(LIST.read_text(encoding="utf-8"))) if LIST.exists() else {}


def main() -> None:
    entries, here = read(), installed()
    for name, entry in here.items():
        before = entries.get(name, {"for": []})
        entries[name] = {**entry, "for": sorted({*before["for"], *entry["for"]})}
    files.write_text(LIST, json.dumps(dict(sorted(entries.items())), indent=1) + "\n")
    print(f"{LIST.name}: {len(entries)} packages, {len(here)} of them from this environment")


if __name__ == "__main__":
    main()
