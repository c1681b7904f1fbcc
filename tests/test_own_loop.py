"""A training loop of one's own: the leaves and the steps of ``fit``; estimates on data that is sorted by class."""

from __future__ import annotations

import pytest
import snntorch
import torch
from conftest import draw
from torch import nn
from torch.nn import functional

import neurorobust as nr
from neurorobust._util.randomness import generator
from neurorobust.data import Data, Task


def task(sort=False, n=30):
    y = torch.arange(n) % 2
    x = ((draw(0, n, 12, 4) + y[:, None, None]) > 0.5).float()
    order = y.argsort() if sort else torch.arange(n)
    data = Data(x[order], y[order])
    return Task("t", ("a", "b"), data, data, data, functional.cross_entropy)


def learned():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), snntorch.Leaky(beta=0.5, learn_beta=True, init_hidden=True), nn.Linear(6, 2))
    return nr.from_snntorch(nn.Sequential(*net, snntorch.Leaky(beta=0.9, init_hidden=True)), dt=1e-3)


def test_the_steps_are_those_of_fit():
    """An own loop with Descent, on the batches that fit draws, ends at the parameters of fit, bit for bit."""
    one, other, part = learned(), learned(), task()
    schedule = nr.Schedule(batch_size=8, learning_rate=0.05, clip=0.1, drops=(0.5,))
    loss = nr.regularizers.ForwardNoise(part.loss, 0.1)
    nr.fit(one, part, loss, epochs=2, schedule=schedule)
    best = nr.nominal(one)
    descent = nr.train.Descent(other, epochs=2, schedule=schedule)
    seen = []
    for epoch in range(2):
        descent.start(epoch)
        key = generator(0, "epoch", epoch)
        with torch.random.fork_rng():
            for batch in torch.randperm(30, generator=key).split(8):
                descent.step(loss(other, descent.params(), (part.train.x[batch], part.train.y[batch]), key))
        seen.append({name: value.clone() for name, value in nr.nominal(other).items()})
    assert any(all(torch.equal(best[name], value) for name, value in epoch.items()) for epoch in seen)
    assert descent.optimizer.param_groups[0]["lr"] == pytest.approx(0.01)


def test_the_leaves_are_those_of_fit():
    """The logarithm of what has to stay positive, the parameter itself of all else."""
    model = learned()
    leaves = nr.train.leaves(model)
    torch.testing.assert_close(leaves["1.tau_mem"].exp(), nr.nominal(model)["1.tau_mem"])
    assert leaves["0.weight"] is dict(model.named_parameters())["0.weight"]


def test_a_pruned_synapse_stays_absent_in_an_own_loop():
    """Descent gives absent synapses no gradient, where Adam on all parameters would fill them."""
    torch.manual_seed(0)
    weight = torch.randn(6, 4)
    weight[:, :2] = 0
    hidden = nr.neurons.Lif(nr.nn.Linear(weight, mask=weight != 0), tau_mem=0.02, v_threshold=0.1)
    readout = nr.neurons.LeakyIntegrator(nr.nn.Linear(torch.randn(2, 6)), tau_mem=0.02)
    network = nr.Network({"hidden": hidden, "readout": readout}, dt=1e-3)
    descent, part = nr.train.Descent(network, epochs=1), task()
    for _ in range(3):
        descent.step(functional.cross_entropy(nr.run(network, descent.params(), part.train.x), part.train.y))
    now = nr.nominal(network)["hidden.input.weight"]
    assert (now[:, :2] == 0).all() and not torch.equal(now, weight)


def test_a_step_refuses_what_fit_refuses():
    """A loss that is not one number, or of something else than the leaves."""
    descent = nr.train.Descent(learned(), epochs=1)
    with pytest.raises(ValueError, match="loss"):
        descent.step(torch.ones(3, requires_grad=True))
    with pytest.raises(ValueError, match="does not depend on the parameters"):
        descent.step(torch.tensor(1.0))


@pytest.mark.parametrize("batch_size", [1, 10])
def test_an_estimate_of_data_sorted_by_class(batch_size):
    """The first batch of each part has one class; the estimate takes a sample of all."""
    part = task(sort=True)
    assert len(part.validation.first(10).y.unique()) == 1
    schedule = nr.Schedule(batch_size=batch_size)
    assert nr.train.estimate(learned(), part, part.loss, epochs=1, schedule=schedule) > 0
