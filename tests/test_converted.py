"""Networks with a floor in place of their own neurons."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neurorobust.dynamics import AdaptiveThreshold, ToValue
from neurorobust.nn import (
    AdaptiveLif,
    Chain,
    Conv2d,
    CubaLif,
    Delayed,
    LeakyIntegrator,
    Lif,
    Linear,
    LinearizedDpi,
    Network,
    NoFloor,
    SparseLinear,
    SumPool2d,
    with_floor,
)

DT = 1e-3


def drawn(*shape: int, generator: torch.Generator) -> torch.Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def spikes_of(network: Network, x: torch.Tensor) -> torch.Tensor:
    return network(x)[1]["hidden"]


def one_layer(hidden: object) -> Network:
    return Network({"hidden": hidden}, DT)


@given(st.integers(0, 2**20), st.booleans())
def test_without_inhibition_a_floor_changes_nothing(seed: int, filtered: bool) -> None:
    """The spikes of Lif and CubaLif with reset to rest, for membranes that never go below rest."""
    generator = torch.Generator().manual_seed(seed)
    weights = Linear(drawn(6, 3, generator=generator), 0.02 * drawn(6, generator=generator))
    recurrent = Linear(0.3 * drawn(6, 6, generator=generator))
    shared = {
        "tau_mem": 0.005 + 0.02 * drawn(6, generator=generator),
        "v_threshold": 0.1 + 0.1 * drawn(6, generator=generator),
        "v_reset": torch.zeros((), dtype=torch.float64),
        "reset": ToValue(),
    }
    if filtered:
        # The bias of CubaLif passes the synapse, that of LinearizedDpi does not.
        weights = Linear(weights.weight.detach())
        network = one_layer(
            CubaLif(weights, recurrent=recurrent, tau_syn=0.002 + drawn(6, generator=generator) / 100, **shared)
        )
        converted = with_floor(network)
    else:
        network = one_layer(Lif(weights, recurrent=recurrent, **shared))
        converted = with_floor(network, tau_syn=DT / 100)
    x = (drawn(2, 80, 3, generator=generator) < 0.2).double()
    expected = spikes_of(network, x)
    assert expected.sum() > 0
    assert torch.equal(spikes_of(converted, x), expected)


def test_an_event_carries_the_same_charge() -> None:
    """A membrane without threshold and with a long time constant integrates the same sum, only later."""
    network = one_layer(
        AdaptiveLif(
            Linear(torch.tensor([[0.7]], dtype=torch.float64)),
            tau_mem=torch.tensor(10.0, dtype=torch.float64),
            tau_adapt=0.1,
            adaptation=0.5,
            v_threshold=1e9,
        )
    )
    converted = with_floor(network, tau_syn=0.004)
    hidden = converted.layers()["hidden"]
    assert isinstance(hidden, LinearizedDpi)
    c = hidden.floored_coefficients(DT)
    event = hidden.input.weight[0, 0]
    total = event * c.gain_exc * c.syn_exc ** torch.arange(200, dtype=torch.float64)
    assert total.sum().item() == pytest.approx(0.7 * -math.expm1(-DT / 10), rel=1e-9)


def test_what_stays_and_what_changes() -> None:
    generator = torch.Generator().manual_seed(3)
    core = torch.tensor([0, 0, 1, 1])
    hidden = AdaptiveLif(
        Linear.random(3, 4, generator=generator),
        recurrent=Linear.random(4, 4, generator=generator),
        core=core,
        tau_mem=torch.tensor([0.02, 0.04]),
        tau_adapt=0.2,
        adaptation=0.5,
        v_threshold=0.1,
    )
    network = Network(
        {"hidden": hidden, "readout": LeakyIntegrator(Linear.random(4, 2, generator=generator), tau_mem=0.1)}, 5e-3
    )
    hidden.tau_mem.requires_grad_(False)
    before = {name: value.clone() for name, value in network.named_parameters()}
    converted = with_floor(network.eval())
    layer = converted.layers()["hidden"]
    assert isinstance(layer, LinearizedDpi)
    assert isinstance(layer.rule, AdaptiveThreshold)
    assert torch.equal(layer.core, core)
    assert torch.equal(layer.tau_mem, hidden.tau_mem)
    assert not layer.tau_mem.requires_grad
    assert layer.input.weight.requires_grad
    assert not converted.training
    # (1 − ρ) b rises by (1 − ρ) at a spike in AdaptiveLif, by 1 here.
    assert layer.adaptation.item() == pytest.approx(0.5 * (1 - torch.exp(torch.tensor(-5e-3 / 0.2))).item())
    assert layer.t_ref.item() == pytest.approx(5e-3)
    with torch.no_grad():
        converted.layers()["readout"].input.weight.add_(1)
        layer.tau_mem.add_(1)
    assert all(torch.equal(before[name], value) for name, value in network.named_parameters())


@pytest.mark.parametrize("trained", [True, False])
def test_both_synapses_are_trained_as_the_one_was(trained: bool) -> None:
    network = one_layer(CubaLif(Linear(torch.eye(2)), tau_syn=0.005, tau_mem=0.02, v_threshold=0.1))
    network.layers()["hidden"].tau_syn.requires_grad_(trained)
    found = {name: value.requires_grad for name, value in with_floor(network).named_parameters()}
    assert found["hidden.exc.tau_syn"] == found["hidden.inh.tau_syn"] == trained


def test_a_floor_acts_after_conversion() -> None:
    """Inhibition first, excitation later: without a floor the neuron stays silent, with one it fires."""
    weight = torch.tensor([[-5.0, 0.6]])
    network = one_layer(Lif(Linear(weight), tau_mem=0.02, v_threshold=0.02, v_reset=0.0))
    x = torch.zeros(1, 40, 2)
    x[0, :5, 0], x[0, 6:12, 1] = 1.0, 1.0
    converted = with_floor(network)
    assert spikes_of(network, x).sum() == 0
    assert spikes_of(converted, x).sum() > 0
    converted.layers()["hidden"].floor = NoFloor()
    assert spikes_of(converted, x).sum() == 0


def test_delayed_weights_are_scaled() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = Linear.random(3, 4, generator=generator)
    for connection in (Delayed(weights, 2 * DT), Chain(weights), Delayed(Chain(weights), DT)):
        converted = with_floor(one_layer(Lif(connection, tau_mem=0.01, v_threshold=0.1)), tau_syn=DT / 4)
        (found,) = (value for name, value in converted.named_parameters() if name.endswith("weight"))
        assert torch.allclose(found, 4 * weights.weight)
    two = Chain(weights, Linear.random(4, 4, generator=generator))
    layers = {
        "a": Lif(two, tau_mem=0.01, v_threshold=0.1),
        "b": Lif(SumPool2d((1, 2, 2), 2), tau_mem=0.01, v_threshold=0.1),
    }
    with pytest.raises(
        ValueError, match=r"(?s)layer 'a': Chain: has weights before its last part.*layer 'b': SumPool2d"
    ):
        with_floor(Network(layers, DT))


def test_sparse_weights_are_scaled_by_their_neurons() -> None:
    """Also where there are as many synapses as neurons, each with a time constant of its own."""
    mask = torch.tensor([[False, True, False], [True, False, False], [False, False, True]])
    dense = Linear(torch.ones(3, 3), mask=mask)
    matrices = []
    for connection in (dense, SparseLinear.of(dense)):
        neuron = CubaLif(connection, tau_syn=DT * torch.tensor([1.0, 2.0, 4.0]), tau_mem=0.01, v_threshold=0.1)
        matrices.append(with_floor(one_layer(neuron)).layers()["hidden"].input.matrix())
    assert torch.equal(*matrices) and matrices[0].sum(1).tolist() == [1.0, 0.5, 0.25]


def test_shared_weights() -> None:
    generator = torch.Generator().manual_seed(0)
    convolution = Conv2d(torch.randn(2, 1, 3, 3, generator=generator), (1, 4, 4))
    converted = with_floor(one_layer(Lif(convolution, tau_mem=0.01, v_threshold=0.1)), tau_syn=DT / 4)
    assert torch.allclose(converted.layers()["hidden"].input.weight, 4 * convolution.weight)
    several = CubaLif(convolution, tau_syn=torch.linspace(1e-3, 2e-3, convolution.n_out), tau_mem=0.01, v_threshold=0.1)
    with pytest.raises(ValueError, match="neurons that share the weights of a Conv2d have different values"):
        with_floor(one_layer(several))
    with pytest.raises(ValueError, match="SumPool2d: has no weights"):
        with_floor(one_layer(Lif(SumPool2d((1, 4, 4), 2), tau_mem=0.01, v_threshold=0.1)))


def test_refusals() -> None:
    generator = torch.Generator().manual_seed(0)
    network = one_layer(
        LinearizedDpi(
            Linear.random(3, 4, generator=generator), tau_mem=0.02, tau_syn_exc=0.01, tau_syn_inh=0.01, v_threshold=0.1
        )
    )
    assert isinstance(with_floor(network).layers()["hidden"], LinearizedDpi)
    with pytest.raises(TypeError, match="network: got a Linear"):
        with_floor(torch.nn.Linear(2, 2))  # type: ignore[arg-type]
    lif = one_layer(Lif(Linear.random(3, 4, generator=generator), tau_mem=0.02, v_threshold=0.1))
    for bad in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="tau_syn"):
            with_floor(lif, tau_syn=bad)


def test_one_adaptation_per_neuron_and_one_time_constant_per_core() -> None:
    """The step of the threshold is that of each neuron, with the time constant of its core."""
    hidden = AdaptiveLif(
        Linear(torch.ones(4, 3)), core=torch.tensor([0, 0, 1, 1]), tau_mem=0.02, tau_adapt=torch.tensor([0.1, 0.2]),
        adaptation=torch.tensor([1.0, 2.0, 3.0, 4.0]), v_threshold=0.1,
    )  # fmt: skip
    found = with_floor(one_layer(hidden)).layers()["hidden"].get_parameter("adaptation")
    steps = 1 - torch.exp(-1e-3 / torch.tensor([0.1, 0.1, 0.2, 0.2]))
    assert torch.allclose(found, torch.tensor([1.0, 2.0, 3.0, 4.0]) * steps, rtol=1e-5)
