"""Shorter ways to the same numbers: past torch's dispatch, by the bits of signs, without a product by a full mask."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import neurorobust as nr
from neurorobust._util.watched import watched
from neurorobust.kernels import operators
from neurorobust.kernels.weights import signed_gradient


class Seen(TorchDispatchMode):
    """Names of the operations that are dispatched."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.names.append(operation.name())
        return operation(*args, **(kwargs or {}))


CURRENT, ALPHA, GAIN = torch.rand(1, 2, 5, 3), torch.rand(1, 3), torch.rand(1, 3)


def test_who_watches_sees_an_operator():
    """A mode sees the operator itself, and the results are those of the function."""
    with Seen() as seen:
        inside = operators.integrate_op(CURRENT, ALPHA, GAIN)
    assert "neurorobust::integrate" in seen.names
    assert torch.equal(inside, operators.integrate_op(CURRENT, ALPHA, GAIN))
    assert torch.equal(inside, torch.ops.neurorobust.integrate(CURRENT, ALPHA, GAIN))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit.*:DeprecationWarning")
def test_a_traced_network_is_the_network():
    """torch.jit.trace sees the operators, so that other inputs give other spikes."""
    draw = torch.Generator().manual_seed(0)
    hidden = nr.nn.Lif(nr.nn.Linear(torch.randn(8, 5, generator=draw)), tau_mem=0.02, v_threshold=0.5)
    out = nr.nn.LeakyIntegrator(nr.nn.Linear(torch.randn(2, 8, generator=draw)), tau_mem=0.02)
    network = nr.Network({"hidden": hidden, "out": out}, 1e-3).requires_grad_(False)
    first, second = ((torch.rand(3, 20, 5, generator=draw) < 0.4).float() for _ in range(2))
    with torch.no_grad():
        traced = torch.jit.trace(lambda x: network(x)[0], first, check_trace=False)
        assert torch.equal(traced(second), network(second)[0])
        assert not torch.equal(traced(first), traced(second))


class Other(torch.Tensor):
    """A class of a user's own."""


def test_who_watches():
    """Modes, transforms, forward differentiation and tensors of other classes do; plain tensors and parameters do
    not."""
    assert not watched([CURRENT, nn.Parameter(ALPHA), (1, 2), 3, 0.5])
    assert watched([CURRENT, ALPHA.as_subclass(Other)])
    with Seen():
        assert watched([CURRENT])
    with torch.autograd.forward_ad.dual_level():
        assert watched([CURRENT])
    with torch.profiler.profile() as profiler:
        operators.integrate_op(CURRENT, ALPHA, GAIN)
    assert "neurorobust::integrate" in [event.key for event in profiler.key_averages()]
    found = []
    torch.func.vmap(lambda x: [x, found.append(watched([x]))][0])(CURRENT)
    torch.func.grad(lambda x: [x.sum(), found.append(watched([x]))][0])(CURRENT)
    assert found == [True, True] and not watched([CURRENT])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("chips", [1, 3])
def test_signs_choose_bits(dtype, chips):
    """Every bit of what torch.where chooses: also of zeros, infinities and NaN, of transposed and shared weights."""
    odd = torch.tensor([0.0, -0.0, torch.inf, -torch.inf, torch.nan, 1.0, -1.0], dtype=dtype)
    weight = odd.repeat(7, 1)[None].mT
    excitation, inhibition = odd.expand(chips, 7, 7).contiguous().chunk(1, 1)[0], torch.randn(chips, 7, 7).to(dtype)
    for arrives, leaves in ((excitation, inhibition), (inhibition, excitation.mT)):
        found, expected = signed_gradient(weight, arrives, leaves), torch.where(weight < 0, -leaves, arrives)
        whole = torch.int32 if dtype == torch.float32 else torch.int64
        assert torch.equal(found.contiguous().view(whole), expected.contiguous().view(whole))


def test_a_full_mask_multiplies_nothing():
    """The weight itself goes to the loops; a synapse that is taken out, also behind torch's back, is gone at once."""
    connection = nr.nn.Linear(torch.rand(4, 3))
    assert connection.synapses() is connection.weight
    connection.matrix().detach().zero_()  # what others get is their own
    assert connection.weight.all()
    connection.mask.numpy()[1, 2] = False
    assert connection.masked()[1, 2] == 0 and connection.synapses()[1, 2] == 0
    assert connection.masked().count_nonzero() == 11


def test_a_full_mask_inside_a_transform():
    """Over dies with weights of their own."""
    connection, weights = nr.nn.Linear(torch.rand(4, 3)), torch.rand(5, 4, 3)
    x = torch.rand(6, 2, 3)

    def run(weight):
        return torch.func.functional_call(connection, {"weight": weight}, (x, 1e-3))

    assert torch.allclose(torch.func.vmap(run)(weights), torch.stack([run(weight) for weight in weights]))
    gradient = torch.func.grad(lambda weight: run(weight).sum())(weights[0])
    assert torch.allclose(gradient, x.sum((0, 1)).expand(4, 3))
