"""The explorer of the documentation: the networks of ``benchmarks.floor_study``, every die of every seed.

Scores: ``benchmarks/results/floor_study.json``. Kinds: ``kinds_of_dies.json`` there, for the networks of the zoo. Maps:
made anew, for a die follows from its serial.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import neurorobust as nr
from benchmarks.floor_study import DIES, ORDER, SEEDS, SHIPPED, STUDY, TRIM
from benchmarks.kinds_of_dies import STUDIED, models
from neurorobust._util import digests
from neurorobust.evaluation import KindScores
from neurorobust.viz.explorer import page
from neurorobust.viz.fleets import FleetRecord, die_maps

if TYPE_CHECKING:
    from sphinx.application import Sphinx

KINDS = STUDIED.with_name("kinds_of_dies.json")
SAMPLES, LARGEST = 1000, 1_500_000
CHOICES = {"as it stands": "{}", "unlabelled": f"{{}}, read-out trimmed on {TRIM} unlabelled samples"}
SOURCE = (
    "128 neurons with the floor of DYNAP-SE2 · scores: python -m benchmarks.floor_study · kinds: python -m "
    "benchmarks.kinds_of_dies · dies 0–99 of seed 1"
)


def write(app: Sphinx, error: Exception | None) -> None:
    """Write the page beside the others, when Sphinx has built them."""
    if error is None and app.builder.format == "html":
        text = explorer_page().encode()
        if len(text) > LARGEST:
            raise ValueError(
                f"explorer.html: {len(text)} bytes; expected at most {LARGEST}: take fewer fleets or maps."
            )
        (Path(app.outdir) / "explorer.html").write_bytes(text)


def explorer_page() -> str:
    """The page, as HTML."""
    return page(fleet_records(), source=f"neurorobust {nr.__version__} · {SOURCE}")


def fleet_records() -> list[FleetRecord]:
    """Every fleet of the study, with kinds and maps where the zoo has the network."""
    studied = json.loads(STUDIED.read_text(encoding="utf-8"))
    kinds = digests.read_json(KINDS, "copy it again from the repository.")
    return [
        _record(method, seed, place, how, studied, kinds)
        for how in CHOICES
        for place in models()
        for method in ORDER
        for seed in SEEDS
    ]


def _record(
    method: str, seed: int, place: str, how: str, studied: Mapping[str, Any], kinds: Mapping[str, Any]
) -> FleetRecord:
    dies, chip = studied[f"{method}-{seed}"]["dies"], models()[place]
    scores, at_hand = dies[place][how], method in SHIPPED and seed == SEEDS[0]
    found = kinds[place][method] if at_hand and how == "as it stands" else {}
    return FleetRecord(
        task="heart beats (ECG5000)",
        measure="balanced accuracy",
        samples=SAMPLES,
        method=method,
        seed=seed,
        dies=CHOICES[how].format(chip.name),
        die_seed=DIES,
        serials=tuple(range(len(scores))),
        nominal=dies["nominal"],
        scores=tuple(scores),
        kinds={int(serial): {kind: KindScores(*pair) for kind, pair in of.items()} for serial, of in found.items()},
        maps=_maps(method if at_hand else None, place),
    )


@cache
def _maps(method: str | None, place: str) -> dict[str, Any]:
    """Maps of all dies. How a neuron deviates does not depend on the network; a synapse, on what is programmed. So of
    networks that are not in the zoo the map has neurons only."""
    if method is None:
        found = _maps(SHIPPED[0], place)
        neurons = {name: each for name, each in found["parameters"].items() if each["kind"] not in ("weight", "bias")}
        return found | {"parameters": neurons}
    return die_maps(nr.zoo.load(f"{STUDY}/{method}")[0], models()[place], range(100), DIES)
