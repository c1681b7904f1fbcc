"""NIR files: what is written, what is read back, and what is refused."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import snntorch
import torch
from exchanged import DT, events, network, spikes
from torch import Tensor

import neurorobust as nr
from neurorobust import nn
from neurorobust.dynamics import DelayedSubtract, DelayedToValue, NoReset, SnntorchSubtract, Subtract, ToValue
from neurorobust.export import hdf5, readers, reading, untrusted
from neurorobust.export.reading import Budget, network_of

h5py = pytest.importorskip("h5py")
KEY = torch.Generator().manual_seed(5)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=KEY)


def lif(connection: nn.Connection, recurrent: nn.Connection | None = None, **more: Any) -> nn.Lif:
    own = {"tau_mem": 0.008, "v_threshold": 0.15, "reset": ToValue()} | more
    return nn.Lif(connection, recurrent=recurrent, **own)


def in_a_row(*layers: nn.Neuron, **more: Any) -> nr.Network:
    return nr.Network({f"layer{i}": layer for i, layer in enumerate(layers)}, DT, **more)


def convolutional() -> nr.Network:
    conv = nn.Conv2d(normal(3, 2, 3, 3), (2, 6, 5), normal(3) * 0.1, stride=(2, 1), padding=(1, 0))
    pool = nn.Chain(nn.AvgPool2d(conv.out_shape, (1, 2), 1), nn.Conv2d(normal(4, 3, 2, 2), (3, 3, 2)))
    return in_a_row(
        lif(conv, v_threshold=0.1), lif(pool, v_threshold=0.02), lif(nn.Linear(normal(5, 8)), v_threshold=0.05)
    )


def skipping() -> nr.Network:
    layers = {
        "a": lif(nn.Linear(normal(6, 4), normal(6) * 0.1), nn.Linear(normal(6, 6), normal(6) * 0.1)),
        "input": lif(nn.Linear(normal(5, 4))),
        "both": lif(nn.Linear(normal(3, 15), normal(3)), nn.Linear(normal(3, 3))),
        "out": nn.LeakyIntegrator(nn.Linear(normal(2, 3)), tau_mem=0.02, v_leak=0.1),
    }
    inputs = {"input": "x", "both": ["a", "x", "input"]}
    return nr.Network(layers, DT, inputs)


def delayed() -> nr.Network:
    first = nn.Delayed(nn.Linear(normal(6, 4)), torch.arange(4) * DT)
    second = lif(nn.Delayed(nn.Linear(normal(3, 10)), torch.arange(10) * DT), v_reset=-0.1, v_leak=0.05)
    return nr.Network({"a": lif(first, nn.OneToOne(normal(6))), "b": second}, DT, {"b": ["a", "x"]})


def filtered() -> nr.Network:
    key = torch.Generator().manual_seed(1)
    cuba = nn.CubaLif.example(key)
    one = {
        name: getattr(cuba, name).detach() for name in ("tau_syn", "tau_mem", "v_threshold", "r", "v_leak", "v_reset")
    }
    mask = torch.rand(5, 4, generator=key) < 0.6
    layer = nn.CubaLif(nn.Linear(3 * normal(5, 4), mask=mask), recurrent=cuba.recurrent, reset=DelayedToValue(), **one)
    return in_a_row(layer, nn.CubaLeakyIntegrator(nn.Linear(normal(2, 5)), tau_syn=0.004, tau_mem=0.01, r=2.0))


def line() -> nr.Network:
    conv = nn.Conv1d(normal(3, 2, 3), (2, 7), stride=2, padding=1)
    return in_a_row(lif(conv), lif(nn.Chain(nn.Linear(normal(6, 12)), nn.OneToOne(normal(6)))))


def summed() -> nr.Network:
    return in_a_row(lif(nn.Chain(nn.SumPool2d((2, 4, 4), 2), nn.Conv2d(normal(2, 2, 2, 2), (2, 2, 2)))))


def joined() -> nr.Network:
    layers = {
        "a": lif(nn.Conv2d(normal(2, 1, 1, 1).abs() + 1, (1, 3, 3))),
        "b": lif(nn.Conv2d(normal(3, 3, 2, 2), (3, 3, 3), normal(3) * 0.1)),
    }
    return nr.Network(layers, DT, {"b": ["a", "x"]})


NETWORKS: list[Callable[[], nr.Network]] = [convolutional, skipping, delayed, filtered, line, summed, joined]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("build", NETWORKS)
def test_written_read_and_written_again(build: Callable[[], nr.Network], dtype: torch.dtype, tmp_path: Path) -> None:
    KEY.manual_seed(5)
    net = build().to(dtype)
    x = 2 * events(0, net.n_in).to(dtype)
    again = nr.from_nir(nr.to_nir(net, tmp_path / "a.nir", readout=True), dt=DT)
    nr.to_nir(again, tmp_path / "b.nir", readout=True)
    assert (tmp_path / "a.nir").read_bytes() == (tmp_path / "b.nir").read_bytes()
    assert next(again.parameters()).dtype == dtype
    assert again.names == net.names
    with torch.no_grad():
        before, after = net.double()(x.double())[1], again.double()(x.double())[1]
    for name, output in before.items():
        if net.layers()[name].spiking:
            assert output.sum() > 10, name
        torch.testing.assert_close(after[name], output, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("reset", [Subtract(), DelayedSubtract(), SnntorchSubtract(), NoReset()])
def test_a_reset_that_nir_lacks_is_in_the_metadata(reset: nn.Reset, tmp_path: Path) -> None:
    net = network(3, nn.Lif, reset)
    with pytest.warns(UserWarning, match="metadata, which only this package reads"):
        nr.to_nir(net, tmp_path / "a.nir")
    assert torch.equal(spikes(nr.from_nir(tmp_path / "a.nir", dt=DT), events(3)), spikes(net, events(3)))


FORMS = [
    ("norse", nn.Lif, ToValue()),
    ("norse", nn.CubaLif, ToValue()),
    ("snntorch", nn.Lif, ToValue()),
    ("snntorch", nn.CubaLif, ToValue()),
    ("spikingjelly", nn.Lif, ToValue()),
    ("spikingjelly", nn.CubaLif, ToValue()),
    ("sinabs", nn.Lif, Subtract()),
    ("rockpool", nn.CubaLif, Subtract()),
]


@pytest.mark.parametrize(("reader", "kind", "reset"), FORMS)
def test_a_file_for_a_reader_is_read_as_that_reader_reads_it(
    reader: str, kind: type, reset: Any, tmp_path: Path
) -> None:
    for seed in range(5):
        net = network(seed, kind, reset, recurrent=reader != "sinabs", uniform=reader == "spikingjelly")
        again = nr.from_nir(nr.to_nir(net, tmp_path / "a.nir", reader=reader), dt=DT)
        expected = spikes(net, events(seed))
        assert expected.sum() > 20
        assert torch.equal(spikes(again, events(seed)), expected)


def test_the_readout_stays_on_the_host_unless_asked_for(tmp_path: Path) -> None:
    net = skipping()
    assert nr.from_nir(nr.to_nir(net, tmp_path / "a.nir"), dt=DT).names == ["a", "input", "both"]
    net = nr.Network(net.layers(), DT, net.inputs | {"out": ["both"]})
    assert nr.from_nir(nr.to_nir(net, tmp_path / "b.nir", readout=True), dt=DT).names[-1] == "out"
    wide = {"a": lif(nn.Linear(normal(3, 2))), "b": lif(nn.Linear(normal(3, 3)))}
    wide["out"] = nn.LeakyIntegrator(nn.Linear(normal(2, 6)), tau_mem=0.01)
    with pytest.raises(ValueError, match="pass readout=True"):
        nr.to_nir(nr.Network(wide, DT, {"out": ["a", "b"]}), tmp_path / "c.nir")


def test_dt_and_numbers_of_the_file_are_those_of_the_network(tmp_path: Path) -> None:
    net = network(0)
    nr.to_nir(net, tmp_path / "a.nir")
    with h5py.File(tmp_path / "a.nir") as file:
        lif_ = file["node/nodes/hidden/nodes/lif"]
        assert lif_["type"][()] == b"LIF"
        assert np.array_equal(lif_["tau"][()], net.layers()["hidden"].tau_mem.detach().numpy())
        assert file["node/metadata/dt"][()] == DT
        assert [tuple(edge) for edge in file["node/nodes/hidden/edges"][()]] == [
            (b"input", b"lif"),
            (b"lif", b"w_rec"),
            (b"w_rec", b"lif"),
            (b"lif", b"output"),
        ]


def dpi() -> nr.Network:
    return in_a_row(nn.LinearizedDpi.example(KEY))


def adaptive() -> nr.Network:
    return in_a_row(nn.AdaptiveLif.example(KEY))


def refractory() -> nr.Network:
    return in_a_row(lif(nn.Linear(normal(3, 3)), t_ref=2e-3))


REFUSED: list[tuple[str | None, Callable[[], nr.Network], str]] = [
    (None, adaptive, "adaptive threshold"),
    (None, dpi, "no floor under the membrane"),
    (None, refractory, "no refractory time"),
    ("norse", lambda: network(0, nn.Lif, DelayedSubtract()), "the reset DelayedSubtract would be lost"),
    ("norse", lambda: network(0, nn.CubaLif, v_leak=0.1), "starts at v_reset; these neurons start at v_leak"),
    ("norse", delayed, "norse 1.1.0 reads no Delay"),
    ("norse", line, "norse 1.1.0 reads no Conv1d"),
    ("snntorch", lambda: network(0, nn.Lif, v_leak=0.1), "starts at v_reset"),
    ("snntorch", lambda: network(0, nn.Lif, Subtract()), "the reset Subtract would be lost"),
    ("spikingjelly", lambda: network(0), "has one tau_mem for all neurons"),
    ("sinabs", lambda: network(0, nn.Lif, Subtract()), "runs no recurrent connection"),
    ("sinabs", lambda: network(0, nn.CubaLif, Subtract()), "reads no CubaLIF"),
    ("sinabs", lambda: network(0), "the reset ToValue would be lost"),
    (
        "sinabs",
        lambda: in_a_row(lif(nn.Conv2d(normal(2, 1, 1, 1), (1, 3, 3)), reset=Subtract())),
        "fails on neurons of",
    ),
    ("rockpool", lambda: network(0, nn.Lif, Subtract()), "fails on LIF"),
    ("rockpool", lambda: network(0, nn.CubaLif, Subtract(), v_leak=0.1), "has no v_leak"),
]


@pytest.mark.parametrize(("reader", "build", "reason"), REFUSED)
def test_refusals_of_the_writer(reader: str | None, build: Any, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"layer '.*: .*{reason}"):
        nr.to_nir(build(), tmp_path / "a.nir", reader=reader)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("reader", [name for name in readers() if name != "nir"])
def test_a_readout_that_is_asked_for(reader: str, tmp_path: Path) -> None:
    net = nr.Network({"out": nn.LeakyIntegrator(nn.Linear(normal(2, 3)), tau_mem=0.02)}, DT)
    if reader == "sinabs":
        nr.to_nir(net, tmp_path / "a.nir", reader=reader, readout=True)
        return
    with pytest.raises(ValueError, match="leave the read-out on the host"):
        nr.to_nir(net, tmp_path / "a.nir", reader=reader, readout=True)


def test_arguments(tmp_path: Path) -> None:
    net = network(0)
    with pytest.raises(ValueError, match="reader: 'nengo' does not exist"):
        nr.to_nir(net, tmp_path / "a.nir", reader="nengo")
    with pytest.raises(TypeError, match="got a Linear; expected a neurorobust"):
        nr.to_nir(torch.nn.Linear(2, 2), tmp_path / "a.nir")
    with pytest.raises(FileNotFoundError, match="no file"):
        nr.from_nir(tmp_path / "a.nir", dt=DT)
    nr.to_nir(net, tmp_path / "a.nir", reader="norse")
    with pytest.raises(ValueError, match="got dt = 0"):
        nr.from_nir(tmp_path / "a.nir", dt=2e-3)
    with pytest.raises(ValueError, match="was written for reader='norse'; got reader='sinabs'"):
        nr.from_nir(tmp_path / "a.nir", dt=DT, reader="sinabs")
    with pytest.raises(ValueError, match="dt: got 0"):
        nr.from_nir(tmp_path / "a.nir", dt=0)


def node(**fields: Any) -> hdf5.Node:
    kind = fields.pop("type")
    return hdf5.Node(kind, {k: v if isinstance(v, str) else np.asarray(v) for k, v in fields.items()})


def plain(**changed: Any) -> hdf5.Graph:
    """A graph of three neurons; ``changed`` replaces nodes, None removes one, and ``edges`` adds edges."""
    one = np.ones(3)
    more = changed.pop("edges", ())
    nodes = {
        "input": node(type="Input", shape=[2]),
        "w": node(type="Linear", weight=np.ones((3, 2))),
        "lif": node(type="LIF", tau=0.01 * one, r=one, v_leak=0 * one, v_threshold=one),
        "output": node(type="Output", shape=[3]),
    } | changed
    edges = (("input", "w"), ("w", "lif"), ("lif", "output"), *more)
    return hdf5.Graph({name: each for name, each in nodes.items() if each is not None}, edges)


def cell(**changed: Any) -> hdf5.Node:
    one = np.ones(3)
    return node(**{"type": "LIF", "tau": 0.01 * one, "r": one, "v_leak": 0 * one, "v_threshold": one} | changed)


BAD = {
    "node 'lif': IF has no leak": plain(lif=node(type="IF", r=np.ones(3), v_threshold=np.ones(3))),
    "node 'w': Threshold has no membrane": plain(w=node(type="Threshold", threshold=np.ones(3))),
    "node 'w': Mystery is no node": plain(w=node(type="Mystery", x=1)),
    r"node 'w': type: got '.n '; expected the name": plain(w=node(type="\n ", x=1)),
    "node 'lif': tau: smallest value is -1": plain(lif=cell(tau=[0.01, -1, 0.01])),
    "node 'lif': v_leak: 1 values are NaN": plain(lif=cell(v_leak=[0, np.nan, 0])),
    "node 'lif': r: got shape": plain(lif=cell(r=np.ones(2))),
    "node 'lif': r is tau/dt, as snnTorch": plain(lif=cell(r=10 * np.ones(3))),
    r"node 'w': Linear: weight: got shape \(3, 4\)": plain(w=node(type="Linear", weight=np.ones((3, 4)))),
    "node 'w': Linear: weight: 1 of 6 values are NaN": plain(
        w=node(type="Linear", weight=[[1, np.inf]] * 1 + [[1, 1]] * 2)
    ),
    "node 'w': Linear: has no 'weight'": plain(w=node(type="Linear", x=1)),
    "edges: 'nowhere' is no node": plain(edges=[("nowhere", "lif")]),
    "edges: 'w' → 'lif' is there twice": plain(edges=[("w", "lif")]),
    "node 'w': a Linear with 2 inputs": plain(edges=[("lif", "w")]),
    "got 0 nodes of type Input": plain(input=node(type="Linear", weight=np.ones((2, 2)))),
    "got 2 nodes of type Output": plain(more=node(type="Output", shape=[3])),
    "node 'more': leads to no output": plain(more=cell(), edges=[("w", "more")]),
    "node 'input': hears nothing": plain(
        input=node(type="Linear", weight=np.ones((2, 2))), other=node(type="Input", shape=[2])
    ),
    "node 'a': a cycle without neurons": plain(
        a=node(type="Linear", weight=np.ones((3, 3))), edges=[("a", "a"), ("a", "lif")]
    ),
    "in a cycle of several populations": plain(more=cell(), edges=[("more", "lif"), ("lif", "more"), ("w", "more")]),
    "node 'input': asks for 1000000000000 values": plain(input=node(type="Input", shape=[10**6, 10**6])),
    "node 'input': shape: got": plain(input=node(type="Input", shape=[0])),
    "the output comes from": plain(edges=[("w", "output")]),
}


@pytest.mark.parametrize("reason", BAD)
def test_refusals_of_the_reader(reason: str, tmp_path: Path) -> None:
    path = hdf5.write(tmp_path / "a.nir", BAD[reason])
    with pytest.raises(ValueError, match=reason):
        nr.from_nir(path, dt=DT, reader="nir")


def test_a_plain_graph_is_read(tmp_path: Path) -> None:
    net = nr.from_nir(hdf5.write(tmp_path / "a.nir", plain()), dt=DT, reader="nir")
    assert net.names == ["lif"]
    in_ms = hdf5.write(tmp_path / "b.nir", plain(lif=cell(tau=10 * np.ones(3))))
    there = nr.from_nir(in_ms, dt=DT, reader="nir", unit=1e-3)
    assert torch.equal(there.layers()["lif"].tau_mem, net.layers()["lif"].tau_mem)


def test_links_compression_and_objects_with_two_names_are_refused(tmp_path: Path) -> None:
    def changed(change: Callable[[Any], None]) -> Path:
        path = hdf5.write(tmp_path / "a.nir", plain())
        with h5py.File(path, "a") as file:
            change(file["node/nodes"])
        return path

    def soft(nodes: Any) -> None:
        nodes["x"] = h5py.SoftLink("/node")

    def external(nodes: Any) -> None:
        nodes["x"] = h5py.ExternalLink("other.nir", "/node")

    def twice(nodes: Any) -> None:
        nodes["x"] = nodes["lif"]

    def loop(nodes: Any) -> None:
        nodes["x"] = nodes.parent

    def packed(nodes: Any) -> None:
        nodes["w"].create_dataset("x", data=np.zeros((1000, 10000)), compression="gzip")

    def hollow(nodes: Any) -> None:
        nodes["w"].create_dataset("x", shape=(10**6, 10**6), dtype="f4", chunks=(10, 10))

    def elsewhere(nodes: Any) -> None:
        nodes["w"].create_dataset("x", shape=(10,), dtype="u1", external=[("/etc/passwd", 0, 10)])

    def objects(nodes: Any) -> None:
        nodes["w"]["x"] = np.array([nodes["lif"].ref], dtype=h5py.ref_dtype)

    for change, reason in [
        (soft, "link to another place"),
        (external, "link to another place"),
        (twice, "has two names"),
        (loop, "has two names"),
        (packed, "Write it again without compression"),
        (hollow, "may hold 10 times its size"),
        (elsewhere, "in another file"),
        (objects, "expected numbers or texts"),
    ]:
        with pytest.raises(ValueError, match=reason):
            nr.from_nir(changed(change), dt=DT, reader="nir")


def test_without_h5py_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(ModuleNotFoundError, match="pip install h5py"):
        nr.to_nir(network(0), tmp_path / "a.nir")


def mutated(graph: hdf5.Graph, key: np.random.Generator) -> hdf5.Graph:
    """The graph with one part changed, as a careless or hostile writer could have written it."""
    nodes, edges = dict(graph.nodes), list(graph.edges)
    name = str(key.choice(list(nodes)))
    chosen, other = nodes[name], str(key.choice([*nodes, "nobody"]))
    action = key.integers(7)
    if action == 0:
        edges.append((name, other))
    elif action == 1 and edges:
        del edges[key.integers(len(edges))]
    elif action == 2:
        del nodes[name]
    elif action == 3 and edges:
        edges[key.integers(len(edges))] = (other, name)
    elif isinstance(chosen, hdf5.Graph):
        nodes[name] = mutated(chosen, key)
    elif action == 4:
        nodes[name] = hdf5.Node(str(key.choice([*KINDS, "Mystery"])), chosen.fields)
    elif chosen.fields:
        field = str(key.choice(list(chosen.fields)))
        nodes[name] = hdf5.Node(chosen.type, dict(chosen.fields) | {field: _mutated_value(chosen.fields[field], key)})
    return hdf5.Graph(nodes, tuple(edges), graph.metadata)


KINDS = (
    "LIF",
    "CubaLIF",
    "LI",
    "CubaLI",
    "IF",
    "Linear",
    "Affine",
    "Conv1d",
    "Conv2d",
    "SumPool2d",
    "Flatten",
    "Delay",
)


def _mutated_value(value: Any, key: np.random.Generator) -> Any:
    array = np.ones(3) if isinstance(value, str) or not np.size(value) else np.array(value)
    action = key.integers(6)
    if action == 0:
        return "text"
    if action == 1:
        return np.zeros((0, 3))
    if action == 2:
        return array.reshape(-1)[:-1]
    if action == 3:
        return array[None]
    new = key.choice([0, -1, 1, 2, 1e9, 2.0**62, np.nan, np.inf, 1e-300])
    flat = np.array(array.reshape(-1), np.float64)
    flat[key.integers(flat.size)] = new
    with np.errstate(invalid="ignore"):
        return flat.reshape(array.shape).astype(array.dtype if action == 4 else np.float64)


def test_narrow_values_count_as_the_wide_ones_they_become(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 MB of uint8 in a recurrence take 22 bytes each. They are refused before the first is converted."""

    def recurrent(n: int, dtype: type) -> Path:
        one = np.ones(n, np.float32)
        nodes = {
            "input": hdf5.Node("Input", {"shape": np.array([n])}),
            "lif": hdf5.Node("LIF", {"tau": 0.02 * one, "r": one, "v_leak": 0 * one, "v_threshold": one}),
            "w": hdf5.Node("Linear", {"weight": np.ones((n, n), dtype)}),
            "output": hdf5.Node("Output", {"shape": np.array([n])}),
        }
        edges = (("input", "lif"), ("lif", "w"), ("w", "lif"), ("lif", "output"))
        return hdf5.write(tmp_path / "a.nir", hdf5.Graph(nodes, edges))

    for dtype in (np.uint8, np.float16, np.float32):
        with pytest.warns(UserWarning, match="does not say which package"):
            assert nr.from_nir(recurrent(400, dtype), dt=DT).n_in == 400
    monkeypatch.setattr(reading, "transformed", lambda *_: pytest.fail("was converted"))
    said = r"'w': asks for 59996352 values of 8 bytes, and 5[0-9]{7} are left; .* 20[0-9]{6} bytes may take"
    with pytest.warns(UserWarning), pytest.raises(ValueError, match=said):
        nr.from_nir(recurrent(4472, np.uint8), dt=DT)


def test_mutated_graphs_are_read_or_refused(tmp_path: Path) -> None:
    """A network or one refusal comes out, whatever a file says (deep: see the counts of the exchange page)."""
    key, counts = np.random.default_rng(0), {True: 0, False: 0}
    graphs = [hdf5.read(nr.to_nir(build(), tmp_path / "a.nir", readout=True)) for build in (*NETWORKS, network_0)]
    for i in range(1500):
        graph, sizes = graphs[i % len(graphs)]
        for _ in range(key.integers(1, 4)):
            graph = mutated(graph, key)
        counts[outcome(graph, sizes)] += 1
    assert counts[True] > 50
    assert counts[False] > 500


def network_0() -> nr.Network:
    return network(0)


def outcome(graph: hdf5.Graph, sizes: hdf5.Sizes) -> bool:
    """Whether a network comes out; anything but a network or a ValueError fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert isinstance(network_of(graph, readers()["nir"], DT, Budget(sizes)), nr.Network)
        except ValueError:
            return False
    return True


def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    """Bytes of whole files are changed, of which HDF5's library crashes or hangs on some."""
    key, refused = np.random.default_rng(1), 0
    content = nr.to_nir(skipping(), tmp_path / "a.nir", readout=True).read_bytes()
    for _ in range(25):
        changed = bytearray(content)
        for _ in range(key.integers(1, 30)):
            changed[key.integers(len(changed))] = key.integers(256)
        (tmp_path / "b.nir").write_bytes(changed)
        try:
            nr.from_nir(tmp_path / "b.nir", dt=DT, reader="nir")
        except ValueError as error:
            assert str(error).startswith("NIR file")
            refused += 1
    assert refused > 5


def test_a_file_on_which_the_library_hangs_or_crashes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = nr.to_nir(network(0), tmp_path / "a.nir")
    hangs, crashes = "while True: pass", "import os; os.abort()"
    for code, seconds, reason in [(hangs, 0.1, "crashes|come to an end"), (crashes, 120, "crashes on it")]:
        (tmp_path / "program.py").write_text(code)
        monkeypatch.setattr(untrusted, "__file__", str(tmp_path / "program.py"))
        monkeypatch.setattr(untrusted, "SECONDS", seconds)
        with pytest.raises(ValueError, match=reason):
            nr.from_nir(path, dt=DT, reader="nir")


def test_a_die_and_a_deployment(tmp_path: Path) -> None:
    net = network(0, nn.Lif, uniform=True).float()
    chip = nr.mismatch(0.2)
    die = chip.fabricate(range(1), seed=3)[0]
    programmed = chip.program(nr.nominal(net), nn.placement_of(net))
    x = events(0).float()
    expected = nr.run(net, die.params(programmed), x, record=True)[1]["out"]
    read = nr.from_nir(nr.to_nir(net, tmp_path / "a.nir", die=die), dt=DT)
    found = nr.run(read, nr.nominal(read), x, record=True)[1]["out"]
    assert expected.sum() > 20
    assert torch.equal(found, expected)
    assert not torch.equal(nr.run(net, nr.nominal(net), x, record=True)[1]["out"], expected)
    with pytest.raises(TypeError, match="die: got a int"):
        nr.to_nir(net, tmp_path / "a.nir", die=3)


def test_a_die_of_a_convolution_has_its_own_synapses(tmp_path: Path) -> None:
    net = in_a_row(lif(nn.Conv2d(normal(2, 1, 2, 2).abs(), (1, 4, 4), normal(2).abs()), v_threshold=0.2))
    die, x = nr.mismatch(0.2).fabricate(range(1), seed=3)[0], events(0, 16).float()
    expected = nr.run(net, die.params(die.model.program(nr.nominal(net), nn.placement_of(net))), x, record=True)[1][
        "layer0"
    ]
    read = nr.from_nir(nr.to_nir(net, tmp_path / "a.nir", die=die, reader="norse"), dt=DT)
    found = nr.run(read, nr.nominal(read), x.double(), record=True)[1]["layer0"]
    assert expected.sum() > 20
    assert torch.equal(found.float(), expected)


def test_the_command_line(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from neurorobust.cli import app

    nr.save(network(0), tmp_path / "net")
    run = CliRunner()
    file = str(tmp_path / "a.nir")
    done = run.invoke(app, ["export", "nir", str(tmp_path / "net"), "--reader", "norse", "--out", file, "--json"])
    assert json.loads(done.stdout) == {"file": file, "reader": "norse", "version": "1.1.0", "dt": DT}
    done = run.invoke(app, ["import", "nir", file, "--dt", "1e-3", "--out", str(tmp_path / "back"), "--json"])
    assert json.loads(done.stdout)["hidden"] == "20 Lif"
    assert torch.equal(spikes(nr.load(tmp_path / "back")[0], events(0)), spikes(network(0), events(0)))


def test_a_file_that_does_not_say_who_wrote_it_is_read_with_a_warning(tmp_path):
    """Its spikes there depend on the package; ours say who wrote them, and ``reader=`` is an answer, too."""
    path = hdf5.write(tmp_path / "a.nir", plain())
    with pytest.warns(UserWarning, match=r"a.nir'.* does not say which package wrote it.*give reader="):
        nr.from_nir(path, dt=DT)
    nr.from_nir(path, dt=DT, reader="nir")


def test_paths_and_networks_that_are_none_are_refused_with_the_way_out(tmp_path):
    """A folder for a file, a graph in place of its file, a network of snnTorch."""
    net = in_a_row(lif(nn.Linear(normal(3, 2))))
    with pytest.raises(IsADirectoryError, match=r"path: .* is a folder; expected a file in it, such as net\.nir"):
        nr.to_nir(net, tmp_path)
    with pytest.raises(TypeError, match=r"path: got None \(NoneType\); expected the path of a file"):
        nr.from_nir(None, dt=DT)
    model = nr.from_snntorch(
        torch.nn.Sequential(torch.nn.Linear(3, 2), snntorch.Leaky(beta=0.9, init_hidden=True, output=True)),
        DT,
        decode=nr.interop.decode.spike_count,
    )
    with pytest.raises(TypeError, match=r"got a SnnTorchNetwork; .* nr.deploy.translated\(model\) makes one"):
        nr.to_nir(model, tmp_path / "net.nir")
