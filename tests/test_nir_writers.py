"""NIR files that other packages write of their own networks: the same spikes here, or a refusal that names the node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from exchanged import DT, events
from players import need, need_nirtorch, quiet
from torch import Tensor, nn

import neurorobust as nr

STEPS = 100


def drive(seed: int, n: int = 6) -> Tensor:
    """Events (T, B, n) in float32."""
    return events(seed, n, steps=STEPS).transpose(0, 1).float()


def last(path: Path, x: Tensor, reader: str, dt: float, unit: float = 1.0) -> Tensor:
    net = nr.from_nir(path, dt=dt, reader=reader, unit=unit)
    with torch.no_grad():
        return net(x.transpose(0, 1).double())[1][net.names[-1]]


def linear(n_in: int, n: int, scale: float, *, bias: bool = True) -> nn.Linear:
    made = nn.Linear(n_in, n, bias=bias)
    with torch.no_grad():
        made.weight.copy_(scale * (torch.randn(n, n_in) + 0.5))
    return made


@pytest.mark.parametrize("seed", range(5))
def test_snntorch(seed: int, tmp_path: Path) -> None:
    need("nir", "nirtorch")
    need_nirtorch("2.6", "snntorch")
    import nir
    import snntorch as snn
    from snntorch.export_nir import export_to_nir

    torch.manual_seed(seed)
    options = {"reset_mechanism": "zero", "reset_delay": False, "init_hidden": True}

    def cell(n: int, beta: float, alpha: float | None = None) -> Any:
        own = options | {"beta": torch.full((n,), beta), "threshold": torch.full((n,), 1.0)}
        return snn.Leaky(**own) if alpha is None else snn.Synaptic(alpha=torch.full((n,), alpha), **own)

    first = cell(8, 0.8, 0.6 if seed % 2 else None)
    net = nn.Sequential(linear(6, 8, 0.3), first, linear(8, 4, 0.5), cell(4, 0.9))
    x = drive(seed)
    with quiet(), torch.no_grad():
        expected = torch.stack([net(step) for step in x])
        nir.write(tmp_path / "a.nir", export_to_nir(net, x[0, 0]))
    assert expected.sum() > 20
    assert torch.equal(last(tmp_path / "a.nir", x, "snntorch", DT).float(), expected)


@pytest.mark.parametrize("seed", range(5))
def test_norse(seed: int, tmp_path: Path) -> None:
    need("nir", "norse")
    import nir

    with quiet():
        import norse.torch as norse

    torch.manual_seed(seed)
    cell = norse.LIFBoxCell(
        norse.LIFBoxParameters(tau_mem_inv=torch.full((8,), 150.0), v_leak=torch.zeros(8), v_th=torch.full((8,), 0.3))
    )
    end = norse.LIFBoxCell(
        norse.LIFBoxParameters(tau_mem_inv=torch.full((4,), 90.0), v_leak=torch.zeros(4), v_th=torch.full((4,), 0.2))
    )
    net = norse.SequentialState(linear(6, 8, 1.0), cell, linear(8, 4, 1.0), end)
    x, state, out = drive(seed), None, []
    with quiet(), torch.no_grad():
        for step in x:
            y, state = net(step, state)
            out.append(y)
        nir.write(tmp_path / "a.nir", norse.to_nir(net, x[0, 0]))
    assert torch.stack(out).sum() > 20
    # norse 1.1.0 writes dt times its time constants (norse issue 411).
    with pytest.raises(ValueError, match=r"node '1': the membrane or the synapse keeps -149"):
        nr.from_nir(tmp_path / "a.nir", dt=DT, reader="norse")
    assert torch.equal(last(tmp_path / "a.nir", x, "norse", DT, unit=1 / DT).float(), torch.stack(out))


@pytest.mark.parametrize("seed", range(5))
def test_sinabs(seed: int, tmp_path: Path) -> None:
    need("nir", "sinabs")
    import nir
    import sinabs.layers as sl
    from sinabs.nir import to_nir

    torch.manual_seed(seed)
    x = drive(seed)
    batch = x.shape[1]

    def neurons(n: int, tau: float) -> Any:
        return sl.LIFSqueeze(
            tau_mem=torch.full((n,), tau), spike_threshold=torch.full((n,), 2.0), batch_size=batch, norm_input=False
        )

    net = nn.Sequential(linear(6, 8, 0.25), neurons(8, 8.0), linear(8, 4, 0.3), neurons(4, 12.0))
    flat = x.transpose(0, 1).flatten(0, 1)
    with quiet(), torch.no_grad():
        expected = net(flat).reshape(batch, STEPS, -1).transpose(0, 1)
        graph = to_nir(net, flat)
        nir.write(tmp_path / "a.nir", _numbers(graph))
    assert expected.sum() > 5
    assert expected.max() == 1, "several spikes in one step are no case of this test"
    assert torch.equal(last(tmp_path / "a.nir", x, "sinabs", DT).float(), expected)


def _numbers(graph: Any) -> Any:
    """sinabs leaves tensors of torch in the graph."""
    for node in graph.nodes.values():
        for name, value in vars(node).items():
            if isinstance(value, Tensor):
                setattr(node, name, value.detach().numpy())
    return graph


@pytest.mark.parametrize("seed", range(5))
def test_spikingjelly(seed: int, tmp_path: Path) -> None:
    need("nir", "spikingjelly")
    need_nirtorch("2.6", "spikingjelly")
    import nir
    from spikingjelly.activation_based import functional, layer, neuron
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    torch.manual_seed(seed)
    first = layer.Linear(6, 8)
    first.weight.data = 1.5 * (torch.randn(8, 6) + 0.5)
    second = layer.Linear(8, 4)
    second.weight.data = 1.5 * (torch.randn(4, 8) + 0.5)
    net = nn.Sequential(
        first,
        neuron.LIFNode(tau=5.0, v_threshold=0.5, v_reset=0.0, decay_input=bool(seed % 2)),
        second,
        neuron.LIFNode(tau=8.0, v_threshold=0.5, v_reset=0.0),
    )
    x = drive(seed)
    with quiet(), torch.no_grad():
        expected = torch.stack([net(step) for step in x])
        functional.reset_net(net)
        nir.write(tmp_path / "a.nir", export_to_nir(net, x[0], dt=DT))
    assert expected.sum() > 20
    assert torch.equal(last(tmp_path / "a.nir", x, "spikingjelly", DT).float(), expected)


@pytest.mark.parametrize("seed", range(5))
def test_rockpool(seed: int, tmp_path: Path) -> None:
    """Rockpool writes r = τ exp(−dt/τ)/dt, from which neither it nor anybody else finds its dt again: refused."""
    need("nir", "rockpool")
    import nir
    from rockpool.nn.combinators import Sequential
    from rockpool.nn.modules.torch import LIFTorch, LinearTorch
    from rockpool.nn.modules.torch.nir import to_nir

    torch.manual_seed(seed)
    net = Sequential(LinearTorch((6, 8)), LIFTorch(8, tau_mem=0.01, tau_syn=0.005, dt=DT))
    with quiet(), torch.no_grad():
        nir.write(tmp_path / "a.nir", to_nir(net))
    with pytest.raises(ValueError, match=r"node '.*': rockpool 3.1.0 runs this node at dt"):
        nr.from_nir(tmp_path / "a.nir", dt=DT, reader="rockpool")
