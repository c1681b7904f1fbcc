"""A network hardened here and evaluated in norse and in snnTorch: the same balanced accuracy on the test beats.

    make oracles
    .venv-readers/bin/python -m benchmarks.exchange --out runs/exchange

A recurrent network of 128 ``Lif`` neurons that reset to zero is trained on ECG5000 against an attack. ``nr.to_nir``
writes its hidden layer for each reader. The reader computes the spikes of all 1000 test beats from that file, in the 32
bits that it uses; the read-out stays on the host, as on a chip. Once for the exact network and once for each of
``DIES`` dies with mismatch 0.1. Writes ``benchmarks/results/exchange.json``. A training goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import neurorobust as nr
from neurorobust._util import files
from neurorobust.data.recurrent import recurrent_network
from neurorobust.dynamics import ToValue
from neurorobust.evaluation import balanced_accuracy
from neurorobust.nn import placement_of

RESULT = Path(__file__).parent / "results" / "exchange.json"
SEED, EPOCHS, BETA, ZETA = 0, 20, 0.25, 0.1
DIES, DIE_SEED, MISMATCH = 5, 77, 0.1


def network(task: nr.data.Task) -> nr.Network:
    """32 event channels – 128 recurrent Lif, reset to zero – a leaky read-out on the host."""
    key = torch.Generator().manual_seed(SEED)

    def hidden(inputs: nr.nn.Linear, recurrent: nr.nn.Linear, core: Tensor) -> nr.nn.Lif:
        taus = torch.logspace(-1.7, -0.8, len(core))  # 20 to 160 ms
        return nr.nn.Lif(inputs, recurrent=recurrent, tau_mem=taus, v_threshold=0.1, reset=ToValue())

    return recurrent_network(task.train.x.shape[-1], len(task.classes), 5e-3, None, 128, key, hidden)


def spikes_in_norse(path: Path, x: Tensor, dt: float) -> Tensor:
    """Spikes (T, B, n) of a file in norse for events (T, B, n_in)."""
    import nir
    from norse.torch.utils.import_nir import from_nir

    return stepwise(from_nir(nir.read(path), dt=dt), x)


def spikes_in_snntorch(path: Path, x: Tensor, dt: float) -> Tensor:
    """Spikes (T, B, n) of a file in snnTorch for events (T, B, n_in); the file holds what snnTorch makes of dt."""
    import nir
    from snntorch.import_nir import import_from_nir

    return stepwise(import_from_nir(nir.read(path)), x)


def stepwise(module: Any, x: Tensor) -> Tensor:
    """Spikes (T, B, n) of a module that takes one step and its state."""
    out, state = [], None
    for step in x.float():
        z, state = module(step, state)
        out.append(z)
    return torch.stack(out)


READERS: dict[str, Callable[[Path, Tensor, float], Tensor]] = {
    "norse": spikes_in_norse,
    "snntorch": spikes_in_snntorch,
}


def params_on(net: nr.Network, die: nr.chip.Die | None) -> dict[str, Tensor]:
    """The parameters of a die; without one, those of the network."""
    if die is None:
        return dict(nr.nominal(net))
    chip = die.model
    assert isinstance(chip, nr.chip.ChipModel)
    return dict(die.params(chip.program(nr.nominal(net), placement_of(net))))


def compare(net: nr.Network, data: nr.data.Data, reader: str, folder: Path, die: nr.chip.Die | None) -> dict[str, Any]:
    """One reader and one die: balanced accuracies, and how many spikes and decisions differ."""
    params = params_on(net, die)
    with torch.no_grad():
        logits, spikes = nr.run(net, params, data.x, record=True)
    hidden = nr.Network({"hidden": net.layers()["hidden"]}, net.dt)
    path = nr.to_nir(hidden, folder / f"{reader}.nir", reader=reader, die=die)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # theirs
        theirs = READERS[reader](path, data.x.transpose(0, 1), net.dt)
    readout = nr.Network({"readout": net.layers()["readout"]}, net.dt)
    own = {name: value for name, value in params.items() if name.startswith("readout.")}
    with torch.no_grad():
        decided = nr.run(readout, own, theirs.transpose(0, 1))
    ours = spikes["hidden"].transpose(0, 1)
    return {
        "die": None if die is None else die.serial,
        "here": balanced_accuracy(logits, data.y),
        "there": balanced_accuracy(decided, data.y),
        "spikes": int(ours.sum()),
        "differing_bins": int((ours != theirs).sum()),
        "differing_decisions": int((logits.argmax(-1) != decided.argmax(-1)).sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the trained network")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    task = nr.tasks.ecg()
    net = network(task)
    loss = nr.regularizers.Adversarial(task.loss, nr.attacks.PGA(steps=3), nr.Ball.uniform(ZETA), beta=BETA)
    nr.fit(net, task, loss, epochs=EPOCHS, seed=SEED, out=out)
    net.eval()
    dies = [None, *nr.mismatch(MISMATCH).fabricate(range(DIES), seed=DIE_SEED)]
    found = {reader: [compare(net, task.test, reader, out, die) for die in dies] for reader in READERS}
    result = {
        "command": "python -m benchmarks.exchange --out DIR",
        "beats": len(task.test.y),
        "settings": {
            "seed": SEED,
            "epochs": EPOCHS,
            "beta": BETA,
            "zeta": ZETA,
            "mismatch": MISMATCH,
            "die_seed": DIE_SEED,
        },
        "versions": {name: version(name) for name in ("norse", "snntorch", "nir", "nirtorch", "torch")},
        "readers": found,
    }
    files.write_text(RESULT, json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
