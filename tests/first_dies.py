"""Fingerprints of the first die of every chip model, kept in ``data/fingerprints.json``.

``python tests/first_dies.py`` adds those of chip models and versions that have none yet; it changes none. Another
fingerprint of a version that has one means other dies: raise the version, and say so in the changelog.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from conftest import DT, draw

from neurorobust.chip import ChipModel, Programmed
from neurorobust.core.placement import HOST
from neurorobust.core.run import nominal
from neurorobust.nn.connections import Linear
from neurorobust.nn.network import Network, placement_of
from neurorobust.nn.neurons import CubaLif, LeakyIntegrator, Lif

STORED = Path(__file__).parent / "data" / "fingerprints.json"


def small(chip: ChipModel) -> Network:
    """Six neurons on core 0 of a chip, set to what it can hold, and two read-outs on the host."""
    optional: dict[str, Any] = {"tau_syn": 0.01, "v_leak": 0.0, "v_reset": 0.0, "r": 1.0, "t_ref": 3 * DT}
    neuron: Any = CubaLif if "tau_syn" in chip.kinds else Lif
    hidden = neuron(
        Linear(draw(2, 6, 3), draw(3, 1).expand(6) if "bias" in chip.kinds else None),
        recurrent=Linear(0.5 * draw(4, 6, 6)),
        tau_mem=0.02,
        v_threshold=0.1,
        **{kind: value for kind, value in optional.items() if kind in chip.kinds},
    )
    readout = LeakyIntegrator(Linear(3 * draw(5, 2, 6)), core=torch.full((2,), HOST), tau_mem=0.01)
    return Network({"hidden": hidden, "readout": readout}, DT)


def programmed_small(chip: ChipModel) -> tuple[Network, Programmed]:
    """The small network of a chip, and as the chip holds it."""
    network = small(chip)
    return network, chip.program(nominal(network), placement_of(network))


def fingerprint(chip: ChipModel) -> str:
    """First eight hexadecimal digits of a hash of the δ of die 0 of seed 0 without read noise, rounded to 1e-6; those
    of a host that deviates are part of it."""
    _, programmed = programmed_small(chip.with_host(exact=False))
    die = chip.fabricate([0], 0)[0]
    deviations = die.deviate(die.draws(programmed), programmed)
    text = json.dumps({name: [round(1e6 * x) for x in value.flatten().tolist()] for name, value in deviations.items()})
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def stored() -> dict[str, str]:
    """The fingerprints that are kept, by name and version."""
    return json.loads(STORED.read_text(encoding="utf-8"))


def main() -> None:
    """Add the fingerprints that are missing."""
    import chipmodels

    kept = stored()
    for name, chip in chipmodels.models().items():
        kept.setdefault(f"{name} {chip.version}", fingerprint(chip))
    STORED.write_text(json.dumps(dict(sorted(kept.items())), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
