"""NIR files in the hands of the packages that read them: the same spikes, and why the rest is refused."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exchanged import DT, events, multiples, network, spikes
from players import PLAYERS, play
from torch import Tensor

import neurorobust as nr
from neurorobust.dynamics import DelayedSubtract, Subtract, ToValue
from neurorobust.export import hdf5, readers
from neurorobust.export import reader as export_reader
from neurorobust.nn import CubaLif, Lif, Linear, Network

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


def skipping(kind: type = Lif, reset: Any = None, scale: float = 1.0) -> nr.Network:
    """The network without recurrence, whose last layer hears the input too."""
    whole = network(0, kind, reset, recurrent=False, uniform=True, scale=scale, v_threshold=0.25)
    last = whole.layers()["out"]
    more = scale * torch.randn(5, 10, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    last.input = Linear(torch.cat([last.input.weight.detach(), more], 1), last.input.bias.detach())
    return Network(whole.layers(), DT, {"out": ["hidden", "x"]})


@pytest.mark.parametrize("reader", ["snntorch", "spikingjelly"])
def test_a_layer_with_several_inputs_has_the_same_spikes(reader: str, tmp_path: Path) -> None:
    net, x = skipping(), events(0)
    expected = spikes(net, x)
    assert expected.sum() > 40
    path = nr.to_nir(net, tmp_path / "net.nir", reader=reader)
    assert bool((play(reader, path, x.transpose(0, 1), DT) == expected).all())


def differs(reader: str, file: Path, net: nr.Network, x: Tensor) -> bool:
    """Whether the reader goes wrong with a file: other spikes, or an error of its own."""
    try:
        out = play(reader, file, x.transpose(0, 1), DT)
    except Exception:  # whatever it raises, it does not have our spikes
        return True
    return out.shape != spikes(net, x).shape or bool((out != spikes(net, x)).any())


def forced(net: nr.Network, reader: str, file: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]) -> Path:
    """The file that would be written without some refusals of the reader."""
    import importlib

    module = importlib.import_module(f"neurorobust.export.readers.{reader}")
    kind = type(readers()[reader])
    for name in names:
        if hasattr(kind, name):
            monkeypatch.setattr(kind, name, True)
        else:
            monkeypatch.setattr(module, name, PERMISSIVE[name])
    return nr.to_nir(net, file, reader=reader)


PERMISSIVE = {
    "at_rest": lambda reader, cell: cell,
    "one": lambda reader, name, value: value,
    "reset_to_zero": lambda reader, cell: export_reader._above(cell, np.zeros(cell.n)),
    "subtracting": lambda reader, cell: export_reader._above(cell, np.zeros(cell.n)),
}
GO_WRONG = [
    ("norse", lambda: network(0, Lif, Subtract()), ["reset_to_zero"]),
    ("norse", lambda: network(0, Lif, DelayedSubtract()), ["reset_to_zero"]),
    ("norse", lambda: network(0, CubaLif, v_leak=0.1), ["at_rest"]),
    ("snntorch", lambda: network(0, Lif, Subtract()), ["reset_to_zero"]),
    ("snntorch", lambda: network(0, Lif, v_leak=0.1), ["at_rest"]),
    ("spikingjelly", lambda: network(0, Lif, Subtract(), uniform=True), ["reset_to_zero"]),
    ("spikingjelly", lambda: network(0, Lif, v_leak=0.1, uniform=True), ["at_rest"]),
    ("spikingjelly", lambda: network(0), ["one"]),
    ("sinabs", lambda: network(0, Lif, ToValue(), recurrent=False, scale=0.27), ["subtracting"]),
    ("sinabs", lambda: network(0, Lif, Subtract(), scale=0.27), ["recurrence"]),
    ("rockpool", lambda: network(0, CubaLif, ToValue(), scale=0.27), ["subtracting"]),
    ("rockpool", lambda: network(0, CubaLif, Subtract(), scale=0.27, v_leak=0.1), ["subtracting"]),
    ("norse", skipping, ["sums"]),
    ("sinabs", lambda: skipping(Lif, Subtract(), 0.5), ["sums"]),
    ("rockpool", lambda: skipping(CubaLif, Subtract(), 0.5), ["sums"]),
]


@pytest.mark.parametrize(("reader", "build", "refusals"), GO_WRONG)
def test_a_refused_file_goes_wrong(
    reader: str, build: Any, refusals: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When this fails, the reader has learned it: the refusal can go."""
    play_available(reader)
    net, x = build(), events(0)
    assert spikes(net, x).sum() > 10
    with pytest.raises(ValueError, match=f"{reader} "):
        nr.to_nir(net, tmp_path / "a.nir", reader=reader)
    assert differs(reader, forced(net, reader, tmp_path / "a.nir", monkeypatch, refusals), net, x)


LACKS = {
    "norse": ["Conv1d", "AvgPool2d", "LI", "Delay"],
    "snntorch": ["Conv1d", "SumPool2d", "LI", "Delay"],
    "spikingjelly": ["LI", "Delay"],
    "sinabs": ["Linear", "CubaLIF", "Delay"],
    "rockpool": ["LIF", "LI", "Conv2d", "Delay"],
}


def graph_with(kind: str) -> tuple[hdf5.Graph, nr.Network | None]:
    one = np.ones(4)
    cell = {"r": one, "v_leak": 0 * one, "v_threshold": 0.2 * one}
    lif = hdf5.Node("LIF", {"tau": 10 * DT * one, **cell})
    weight = np.eye(4)
    nodes: dict[str, hdf5.Node] = {
        "LIF": lif,
        "CubaLIF": hdf5.Node("CubaLIF", {"tau_mem": 9 * DT * one, "tau_syn": 5 * DT * one, "w_in": one, **cell}),
        "LI": hdf5.Node("LI", {"tau": 10 * DT * one, "r": one, "v_leak": 0 * one}),
        "Linear": hdf5.Node("Linear", {"weight": weight}),
        "Delay": hdf5.Node("Delay", {"delay": 3 * DT * one}),
    }
    parts = [nodes[kind]] if kind in nodes else []
    ends = [hdf5.Node("Affine", {"weight": 3 * weight, "bias": 0 * one}), *parts]
    chain = {"input": hdf5.Node("Input", {"shape": np.array([4])})}
    chain |= {f"n{i}": node for i, node in enumerate(ends)} | {"output": hdf5.Node("Output", {"shape": np.array([4])})}
    return hdf5.Graph(chain, tuple(pairwise(chain))), None


def play_available(reader: str) -> None:
    """Skip where the reader is missing: it plays a file that it can."""
    import tempfile

    kind, reset = (CubaLif, Subtract()) if reader == "rockpool" else (Lif, None)
    net = network(0, kind, reset or (Subtract() if reader == "sinabs" else ToValue()), recurrent=False, uniform=True)
    with tempfile.TemporaryDirectory() as folder:
        play(reader, nr.to_nir(net, Path(folder) / "a.nir", reader=reader), events(0).transpose(0, 1)[:2], DT)


@pytest.mark.parametrize(
    ("reader", "kind"),
    [
        (reader, kind)
        for reader, kinds in LACKS.items()
        for kind in kinds
        if kind in ("LI", "Linear", "CubaLIF", "LIF", "Delay")
    ],
)
def test_a_node_that_a_reader_lacks_goes_wrong(reader: str, kind: str, tmp_path: Path) -> None:
    """LI is dropped or fails, other nodes fail: none gives the signal that NIR says."""
    play_available(reader)
    graph, _ = graph_with(kind)
    file = hdf5.write(tmp_path / "a.nir", graph)
    x = events(0, 4).transpose(0, 1)
    try:
        out = play(reader, file, x, DT)
    except Exception:
        return
    if kind == "Delay":
        expected = torch.cat([torch.zeros_like(x[:3]), 3 * x[:-3]])
    else:
        net = Network({"n": nr.nn.LeakyIntegrator(nr.nn.Linear(3 * torch.eye(4).double()), tau_mem=10 * DT)}, DT)
        expected = spikes(net, x.transpose(0, 1))
    assert out.shape != expected.shape or not torch.allclose(out, expected, atol=1e-3)


@pytest.mark.parametrize("reader", ["norse", "snntorch", "spikingjelly"])
def test_a_convolution_has_the_same_spikes(reader: str, tmp_path: Path) -> None:
    key = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=key, dtype=torch.float64)

    conv = nr.nn.Conv2d(normal(3, 2, 3, 3), (2, 6, 5), 0.1 * normal(3), stride=(2, 1), padding=(1, 0))
    own = {"tau_mem": 8e-3, "v_threshold": 0.5, "reset": ToValue()}
    net = Network({"a": Lif(conv, **own), "b": Lif(nr.nn.Linear(normal(5, 27)), **own)}, DT)
    x = 2 * events(0, 60)
    expected = spikes(net, x)
    path = nr.to_nir(net, tmp_path / "a.nir", reader=reader)
    out = play(reader, path, x.transpose(0, 1).unflatten(-1, (2, 6, 5)), DT)
    assert expected.sum() > 50
    assert torch.equal(out, expected)
    assert torch.equal(spikes(nr.from_nir(path, dt=DT), x), expected)
