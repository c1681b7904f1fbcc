"""Pruning to the inputs that a neuron of a chip has."""

from __future__ import annotations

import pytest
import torch
from test_adapt import BRIEF
from torch import nn

import chipmodels
import neurorobust as nr
from neurorobust.data import Data, Task
from neurorobust.deploy import fit_to
from neurorobust.deploy.pruning import fan_in, saliency
from neurorobust.nn import Conv1d, LeakyIntegrator, Lif, Linear, Network
from neurorobust.nn.decoders import sum_over_time

DYNAPSE2, XYLO, PCM = (chipmodels.load(name) for name in ("dynapse2", "xylo", "pcm"))
N_IN, STEPS, DT = 70, 25, 1e-3


def informative(n: int, seed: int, channels: tuple[int, ...]) -> Data:
    """Only some channels tell the class; the others are the same noise for both."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(n) % 2
    rate = torch.full((n, 1, N_IN), 0.1)
    for i in channels:
        rate[y == 1, :, i] = 0.8
    return Data((torch.rand(n, STEPS, N_IN, generator=generator) < rate).float(), y)


LAST = tuple(range(64, 70))
TASK_OF_70 = Task(
    "70", ("a", "b"), *(informative(n, i, LAST) for i, n in enumerate((60, 20, 20))), nn.functional.cross_entropy
)


def network(n_in: int = N_IN, recurrent: int = 0, n: int = 8) -> Network:
    generator = torch.Generator().manual_seed(7)
    recurrence = Linear(torch.randn(n, n, generator=generator)) if recurrent else None
    hidden = Lif(Linear(torch.randn(n, n_in, generator=generator)), recurrent=recurrence, tau_mem=0.01, v_threshold=0.1)
    readout = LeakyIntegrator(Linear(torch.randn(2, n, generator=generator)), tau_mem=0.02)
    made = Network({"hidden": hidden, "readout": readout}, DT)
    for name, value in made.named_parameters():
        value.requires_grad_(name.endswith("weight"))
    return made


def test_saliency_is_the_gradient_times_the_weight():
    net, batch = network(), TASK_OF_70.train.first(25)
    task = Task("one batch", ("a", "b"), batch, batch, batch, TASK_OF_70.loss)
    found = saliency(net, task)
    loss = task.loss(net(batch.x)[0], batch.y)
    gradient = torch.autograd.grad(loss, net.hidden.input.weight)[0]
    assert list(found) == ["hidden.input.weight"] and gradient.any()
    assert torch.allclose(found["hidden.input.weight"], (gradient * net.hidden.input.weight.detach()).abs())


@pytest.mark.parametrize("recurrent", [0, 1])
def test_every_neuron_keeps_its_most_salient_inputs(recurrent):
    """All connections of a neuron together, exactly the budget; the rest is masked and 0; the original is unchanged."""
    old = network(recurrent=recurrent)
    before, found = nr.nominal(old), saliency(old, TASK_OF_70)
    result = fit_to(old, DYNAPSE2, TASK_OF_70, epochs=0)
    layer = result.network.layers()["hidden"]
    assert fan_in(layer).tolist() == [64] * 8
    values = torch.cat([found[f"hidden.{part}.weight"] for part in layer.connections()], 1)
    kept = torch.cat([connection.mask for connection in layer.connections().values()], 1)
    for row, mask in zip(values, kept):
        assert row[mask].min() >= row[~mask].max()
    for connection in layer.connections().values():
        assert not connection.weight[~connection.mask].any()
    assert all(torch.equal(value, before[name]) for name, value in nr.nominal(old).items())
    lost, total = 8 * (N_IN + 8 * recurrent - 64), 8 * (N_IN + 8 * recurrent)
    assert f"{lost} of {total} synapses pruned; 8 of 8 neurons had more than 64 inputs" in str(result)
    assert list(result.scores) == ["before", "pruned", "after"] and result.scores["pruned"] == result.scores["after"]


def test_training_on_does_not_bring_synapses_back_and_the_network_fits():
    with pytest.raises(nr.deploy.DeploymentError, match="fan_in of layer 'hidden': got 78 inputs of neuron 0"):
        nr.deploy.onto(network(recurrent=1), DYNAPSE2)
    result = fit_to(network(recurrent=1), DYNAPSE2, TASK_OF_70, loss=TASK_OF_70.loss, epochs=5, **BRIEF)
    pruned = fit_to(network(recurrent=1), DYNAPSE2, TASK_OF_70, epochs=0)
    for after, before in zip(result.network.layers().values(), pruned.network.layers().values()):
        assert torch.equal(after.input.mask, before.input.mask)
        assert not after.input.weight[~after.input.mask].any()
    assert not torch.equal(result.network.hidden.input.weight, pruned.network.hidden.input.weight)
    assert not result.violations and result.scores["after"] > 0.9
    assert nr.deploy.onto(result.network, DYNAPSE2).report.left_out == {}


def loss_of(net: Network) -> torch.Tensor:
    return TASK_OF_70.loss(net(TASK_OF_70.train.x)[0], TASK_OF_70.train.y)


def test_pruning_by_saliency_costs_less_than_the_other_way_round():
    """The loss after six synapses of each neuron are gone: the least salient ones, and the most salient ones."""
    net = network()
    nr.fit(net, TASK_OF_70, TASK_OF_70.loss, epochs=5, **BRIEF)
    pruned = fit_to(net, DYNAPSE2, TASK_OF_70, epochs=0).network
    lost = saliency(net, TASK_OF_70)["hidden.input.weight"].argsort(1, descending=True)[:, : N_IN - 64]
    with torch.no_grad():
        before = loss_of(net)
        net.hidden.input.weight.scatter_(1, lost, 0.0)
        best, worst = (loss_of(each) for each in (pruned, net))
    assert abs(best - before) < 0.1 * abs(worst - before)


def test_weights_of_0_are_pruned_first():
    net = network()
    with torch.no_grad():
        net.hidden.input.weight[:, 0:60:10] = 0  # six of 70, as many as have to go
    mask = fit_to(net, DYNAPSE2, TASK_OF_70, epochs=0).network.hidden.input.mask
    assert not mask[:, 0:60:10].any() and mask.sum(1).tolist() == [64] * 8


def test_nothing_is_pruned_where_all_fits():
    parts = (TASK_OF_70.train, TASK_OF_70.validation, TASK_OF_70.test)
    of_64 = Task("64", ("a", "b"), *(Data(part.x[..., :64], part.y) for part in parts), TASK_OF_70.loss)
    for net, chip, task in ((network(64), DYNAPSE2, of_64), (network(), PCM, TASK_OF_70)):
        result = fit_to(net, chip, task, epochs=0)
        assert not result.changes and result.scores["pruned"] == result.scores["before"]
        assert all(torch.equal(a, b) for a, b in zip(net.parameters(), result.network.parameters()))


def test_a_kernel_is_pruned_as_one():
    """A convolution of 2 channels with 7 × 10 entries: each keeps 64, at all positions."""
    generator = torch.Generator().manual_seed(0)
    conv = Conv1d(torch.randn(2, 7, 10, generator=generator), (7, 10))
    net = Network({"hidden": Lif(conv, tau_mem=0.01, v_threshold=0.1)}, DT, decode=sum_over_time)
    result = fit_to(net, DYNAPSE2, TASK_OF_70, epochs=0)
    assert result.network.hidden.input.mask.reshape(2, -1).sum(1).tolist() == [64, 64]


def test_other_limits_are_said_before_training():
    """fit_to prunes inputs; that Xylo has 16 input channels stays a violation."""
    with pytest.warns(UserWarning, match="xylo cannot hold it, before and after training: .*inputs of 'x': got 70"):
        result = fit_to(network(), XYLO, TASK_OF_70, epochs=0)
    assert {violation.limit for violation in result.violations} >= {"inputs"}


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="chip: ideal states no architecture"):
        fit_to(network(), chipmodels.load("ideal"), TASK_OF_70)
    with pytest.raises(TypeError, match="data: got a Data; expected a Task"):
        fit_to(network(), DYNAPSE2, TASK_OF_70.train)
    recurrent = Linear(torch.ones(2, 2))
    conv = Conv1d(torch.ones(1, 7, 9), (7, 10))
    both = Network({"hidden": Lif(conv, recurrent=recurrent, tau_mem=0.01, v_threshold=0.1)}, DT, decode=sum_over_time)
    with pytest.raises(ValueError, match="a convolution and a recurrence"):
        fit_to(both, DYNAPSE2, TASK_OF_70, epochs=0)
