"""NIR files in the hands of the packages that read them: the same spikes, and why the rest is refused."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import pytest
from exchanged import DT, events, multiples, network, spikes
from players import PLAYERS, play
from torch import Tensor

import neurorobust as nr
from neurorobust.dynamics import Subtract, ToValue
from neurorobust.export import readers
from neurorobust.nn import CubaLif, Lif

N = 20
CASES = [
    ("norse", Lif),
    ("norse", CubaLif),
    ("snntorch", Lif),
    ("snntorch", CubaLif),
    ("spikingjelly", Lif),
    ("spikingjelly", CubaLif),
    ("sinabs", Lif),
    ("rockpool", CubaLif),
]
SUBTRACTS = ("sinabs", "rockpool")


def made(reader: str, kind: type, seed: int) -> nr.Network:
    if reader not in SUBTRACTS:
        return network(seed, kind, ToValue(), uniform=reader == "spikingjelly")
    return network(seed, kind, Subtract(), recurrent=reader != "sinabs", scale=0.27, v_threshold=0.25)


def cases(reader: str, kind: type) -> Iterator[tuple[nr.Network, Tensor]]:
    """Networks that spike; of readers that fire several spikes in a step, none whose membrane reaches 2ϑ."""
    for seed in count():
        net, x = made(reader, kind, seed), events(seed)
        if spikes(net, x).sum() > 20 and (reader not in SUBTRACTS or multiples(net, x) < 2):
            yield net, x


def test_every_reader_has_a_player() -> None:
    assert set(readers()) == {*PLAYERS, "nir"}


@pytest.mark.parametrize(("reader", "kind"), CASES)
def test_twenty_networks_have_the_same_spikes(reader: str, kind: type, tmp_path: Path) -> None:
    heard = differing = 0
    for net, x in islice(cases(reader, kind), N):
        expected = spikes(net, x)
        path = nr.to_nir(net, tmp_path / "net.nir", reader=reader)
        heard += int(expected.sum())
        differing += int((play(reader, path, x.transpose(0, 1), DT) != expected).sum())
    assert heard > 40 * N
    assert differing == 0
