"""Events of an input that comes again are listed once, and the bits stay; an attack step asks for no memory."""

from concurrent.futures import ThreadPoolExecutor

import hypothesis
import pytest
import torch
from conftest import DT, draw
from engine import waiting
from hypothesis import given
from hypothesis import strategies as st
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

import neurorobust as nr
from neurorobust import kernels
from neurorobust.attacks import attack as attacking
from neurorobust.core.run import nominal
from neurorobust.dynamics import DelayedSubtract, Dynamics
from neurorobust.dynamics.surrogate import Triangle
from neurorobust.evaluation.predict import predict_batched
from neurorobust.kernels import CachedEvents, LifCoefficients, blocks, events
from neurorobust.kernels.numba_loops import rows as row_loops
from neurorobust.kernels.runtime import memory, threads
from neurorobust.nn.connections import Linear
from neurorobust.nn.fleet_run import fleet_logits
from neurorobust.nn.neurons import LeakyIntegrator, Lif
from neurorobust.regularizers import Adversarial, TaskLoss

PASSES = 3


def sparse(seed, *shape, rate=0.1, values="ones", dtype=torch.float64):
    """An input a tenth of which is not 0: ones, ones with some other values among them, or other values alone."""
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(shape, generator=generator) < rate).to(dtype)
    other = torch.randn(shape, generator=generator, dtype=dtype)
    if values == "some":
        other = torch.where(torch.rand(shape, generator=generator) < 0.1, other, torch.ones_like(other))
    return x if values == "ones" else x * other


def layer(x, weight, bias, recurrent, alpha):
    """Spikes of adaptive neurons, over time first."""
    c = LifCoefficients(alpha, 1 - alpha, alpha / 3, rho=alpha, adaptation=0.1 * alpha)
    synapses = weight, bias
    return kernels.lif_layer(x.transpose(0, 1), synapses, recurrent, c, Dynamics(Triangle(), DelayedSubtract()))


def product(x, weight, bias, recurrent, alpha):
    """Synapses alone."""
    return kernels.linear(x.transpose(0, 1), weight, bias)


def network(n_in=12, n=40, dtype=torch.float64):
    """A recurrent hidden layer and a read-out."""
    weights = draw(1, n, n_in), 0.3 * draw(2, n, n), draw(3, 3, n)
    inputs, recurrent = (Linear(weight.to(dtype)) for weight in weights[:2])
    hidden = Lif(inputs, recurrent=recurrent, tau_mem=0.02, v_threshold=0.5)
    return nr.Network({"hidden": hidden, "readout": LeakyIntegrator(Linear(weights[2].to(dtype)), tau_mem=0.02)}, DT)


@pytest.fixture
def lists(monkeypatch):
    """How many inputs have been listed: each takes two turns."""
    rows = []
    loop = row_loops.list_events
    monkeypatch.setattr(row_loops, "list_events", lambda x, *rest: rows.append(len(x)) or loop(x, *rest))
    return lambda: len(rows) // 2


def evaluated(function, x, leaves):
    """Its output and every gradient."""
    out = function(x, *leaves)
    wanted = [leaf for leaf in (x, *leaves) if leaf.requires_grad]
    given_too = {"allow_unused": True, "materialize_grads": True}
    return out.detach(), *torch.autograd.grad((out * draw(9, *out.shape).to(out.dtype)).sum(), wanted, **given_too)


@given(
    seed=st.integers(0, 2**20),
    size=st.tuples(
        st.sampled_from([1, 2, 5, 17]),
        st.sampled_from([1, row_loops.CHUNK, row_loops.CHUNK + 3]),
        st.sampled_from([3, 40, 70]),
        st.sampled_from([32, 33]),
    ),
    values=st.sampled_from(["ones", "some", "others"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    rate=st.sampled_from([0.0, 0.1, 0.12, 0.9]),
    function=st.sampled_from([layer, product]),
    gradient_of_x=st.booleans(),
    strided=st.booleans(),
    n_threads=st.sampled_from([1, 2]),
)
@hypothesis.settings(max_examples=100)
def test_the_bits_stay(seed, size, values, dtype, rate, function, gradient_of_x, strided, n_threads):
    """Output and every gradient, of any input, in any layout, on one thread and on two."""
    batch, steps, n_in, n = size
    x = sparse(seed, batch, steps, n_in, rate=rate, values=values, dtype=dtype)
    x = x.transpose(0, 1).contiguous().transpose(0, 1) if strided else x
    x.requires_grad_(gradient_of_x)
    leaves = draw(seed, n, n_in), draw(seed + 1, n), 0.5 * draw(seed + 2, n, n), 0.8 + 0.1 * draw(seed + 3, n).sigmoid()
    leaves = [leaf.to(dtype).requires_grad_() for leaf in leaves]
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(blocks, "SMALLEST", 1)
            patch.setattr(threads, "SMALL", 0)
            expected = evaluated(function, x, leaves)
            with CachedEvents(x):
                for _ in range(PASSES):
                    assert all(map(torch.equal, evaluated(function, x, leaves), expected))
    finally:
        torch.set_num_threads(before)


def test_once_for_many_passes(lists):
    """The first pass finds the events; from the second on, forward or backward, there is one list. What is not sparse
    needs none."""
    x, net = sparse(0, 5, 20, 12), network()
    with CachedEvents(x):
        with torch.no_grad():
            net(x)
        assert lists() == 0
        for _ in range(PASSES):
            net(x)[0].sum().backward()
        assert lists() == 1
    with CachedEvents(x := sparse(0, 5, 20, 12, rate=0.9)):
        for _ in range(PASSES):
            net(x)[0].sum().backward()
    assert lists() == 1


def test_dies_that_share_the_input(lists):
    """Under vmap, output and gradients of each die have the bits they have without a list, and there is but one."""
    x, net = sparse(0, 5, 20, 12), network()
    stacked = {name: torch.stack([value, 1.1 * value]).detach() for name, value in net.named_parameters()}

    def loss(params):
        return functional_call(net, params, (x,))[0].square().sum()

    expected = vmap(grad(loss))(stacked)
    with CachedEvents(x):
        for _ in range(PASSES):
            found = vmap(grad(loss))(stacked)
            assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert lists() == 1 and any(value.any() for value in expected.values())
    many = torch.stack([x, 2 * x])  # an input of its own for each: no list
    expected = vmap(lambda x: net(x)[0])(many)

    def opened_inside(x):
        with CachedEvents(x):
            return net(x)[0]

    with CachedEvents(many):
        for function in (lambda x: net(x)[0], opened_inside):
            assert torch.equal(vmap(function)(many), expected)
    assert lists() == 1


def test_a_change_in_place_is_noticed(lists):
    """As many times as the input changes, it is listed."""
    x, net = sparse(0, 5, 20, 12), network()
    with CachedEvents(x):
        for k in range(PASSES):
            for _ in range(PASSES):
                with torch.no_grad():
                    assert torch.equal(net(x)[0], net(x.clone())[0])
            assert lists() == k + 1
            x[k].zero_()
            x[k + 1 :].mul_(1.5)


def test_what_is_not_the_input_is_not_listed(lists):
    """A copy, the same in another thread, an input made in inference mode; after it is closed, nothing at all."""
    x, net = sparse(0, 5, 20, 12), network()
    with torch.inference_mode():
        unversioned = x.clone()
    with torch.no_grad():
        expected = net(x)[0]

        def passes(x):
            for _ in range(PASSES):
                assert torch.equal(net(x)[0], expected)

        for around in (x, unversioned):
            with CachedEvents(around), ThreadPoolExecutor(1) as other:
                passes(x.clone())
                passes(unversioned)
                other.submit(torch.no_grad()(passes), around).result()
        passes(x)
    assert lists() == 0 and events._open.get() is None


def test_blocks_and_nesting(lists):
    """Each block of samples has its own list, which its second run in the backward pass reads, too; inside, another
    input may have its turn, and one may be opened again."""
    x, net, other = sparse(0, 9, 20, 12), network(), CachedEvents(sparse(1, 3, 20, 12))
    params = {name: value.detach().requires_grad_() for name, value in nominal(net).items()}

    def gradients():
        return torch.autograd.grad(predict_batched(net, params, x, 4).sum(), [params["hidden.input.weight"]])[0]

    expected = gradients()
    with CachedEvents(x):
        for _ in range(PASSES):
            assert torch.equal(gradients(), expected)
            with other:
                net(other.x)
        assert lists() == 3 + 1
        gradients()
    assert lists() == 3 + 1


def test_a_fleet_lists_its_input_once(lists, monkeypatch):
    """For all dies, however few at once; between two dies nothing is open."""
    monkeypatch.setattr("neurorobust.nn.fleet_run.DIES_AT_ONCE", 2)
    x, net = sparse(0, 5, 20, 12, values="some"), network()
    dies = [{name: (1 + 0.1 * k) * value for name, value in nominal(net).items()} for k in range(5)]
    with torch.no_grad():
        for die, logits in zip(dies, fleet_logits(net, dies, x), strict=True):
            assert events._open.get() is None
            torch.testing.assert_close(logits, functional_call(net, die, (x,))[0])
        assert lists() == 1
        with CachedEvents(x):  # what is open around fleets, they share
            for _ in range(PASSES):
                list(fleet_logits(net, dies, x))
        assert lists() == 2


ADVERSARIAL = Adversarial(cross_entropy, nr.attacks.PGA(steps=3), nr.Ball.uniform(0.1), 0.5)


@pytest.mark.parametrize(("loss", "times"), [(TaskLoss(cross_entropy), 0), (ADVERSARIAL, 1)], ids=["plain", "attacked"])
def test_a_regularizer_lists_its_batch_once(loss, times, lists):
    """The batch of an adversarial step once; that of a plain one, which has a single pass, never."""
    net, batch = network(), (sparse(0, 6, 20, 12), torch.arange(6) % 3)
    loss(net, dict(net.named_parameters()), batch).backward()
    assert lists() == times


def test_worst_case_lists_its_samples_once(lists):
    """Whatever attacks, side by side or through the fleet's loop."""
    net, data = network(), nr.data.Data(sparse(0, 12, 20, 12), torch.arange(12) % 3)
    suite = nr.attacks.Suite(((nr.attacks.PGA(3), 3), (nr.attacks.RandomSearch(20), 1)))
    nr.worst_case(net, data, nr.Ball.uniform(0.1), suite)
    assert lists() == 1


def test_an_attack_step_asks_the_system_for_nothing(monkeypatch):
    """After the first of 20 gradients, every large array of a pass is one that an earlier pass has used."""
    asked, taken = [], []

    class Counting(memory.BufferPool):
        def take(self, size):
            taken.append(size)
            asked.extend([size] * (size not in [one.nbytes for one in waiting(self)]))
            return super().take(size)

    monkeypatch.setattr(memory, "_pool", Counting())
    counts = []
    gradients = attacking.gradient_of_sum
    monkeypatch.setattr(
        attacking, "gradient_of_sum", lambda *given: [gradients(*given), counts.append((len(asked), len(taken)))][0]
    )
    net, batch = network(dtype=torch.float32), (sparse(0, 25, 40, 12, dtype=torch.float32), torch.arange(25) % 3)
    assert memory.LEAST <= 4 * 25 * 40 * 40  # bytes of the hidden layer's spikes
    loss = Adversarial(cross_entropy, nr.attacks.PGA(steps=20), nr.Ball.uniform(0.1), 0.5)
    loss(net, dict(net.named_parameters()), batch)
    (first, before), (last, after) = counts[0], counts[-1]
    assert len(counts) == 20 and 0 < first == last and after >= before + 19 * 3
