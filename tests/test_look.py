"""Foreign modules must be functions of their input and parameters: refused, taken, warned of."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
import snntorch
import torch
from conftest import draw, tiny
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import neurorobust as nr
from neurorobust.data import Data, Task
from neurorobust.nn.network import placement_of


class Net(nn.Module):
    """Two layers whose forward is a given function of the module and its input; ``members`` become attributes."""

    def __init__(self, function, **members):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.out, self.function = nn.Linear(3, 4), nn.Linear(4, 2), function
        for name, value in members.items():
            setattr(self, name, value)

    def forward(self, x):
        return self.function(self, x)


def plain(s, x):
    return s.out(torch.tanh(s.fc(x)))


def silent_state(s, x):
    new = s.fc(x).sum(1, keepdim=True)
    s.mem = new if s.mem is None or len(s.mem) != len(x) else 0.9 * s.mem + new
    return s.out((s.mem > 50).float().expand(-1, 4))


def late(s, x):
    s.calls += 1
    return plain(s, x) * (2 if s.calls > 1000 else 1)


def class_state(s, x):
    type(s).count = getattr(type(s), "count", 0) + 1
    return plain(s, x) * (1 + 0.01 * type(s).count)


def nested(s, x):
    s.d["a"].append(len(s.d["a"]))
    return plain(s, x) + sum(s.d["a"])


def forked(s, x):
    with torch.random.fork_rng(devices=[]):
        return plain(s, x + torch.randn_like(x))


STATEFUL = {
    "silent": (lambda: Net(silent_state, mem=None), "mem changed"),
    "late": (lambda: Net(late, calls=0), "calls changed"),
    "class": (lambda: Net(class_state), "gives other outputs"),
    "nested": (
        lambda: Net(lambda s, x: s.d["a"].append(len(s.d["a"])) or plain(s, x) + sum(s.d["a"]), d={"a": []}),
        "d",
    ),
    "silent draw": (lambda: Net(lambda s, x: s.out((0 * torch.rand(1) + s.fc(x) > 50).float())), r"torch\.rand"),
    "numpy": (lambda: Net(lambda s, x: plain(s, x) + 0 * float(np.random.rand())), "draws random numbers"),
    "python": (lambda: Net(lambda s, x: plain(s, x) + 0 * random.random()), "draws random numbers"),
    "forked": (lambda: Net(forked), r"draws random numbers in forward \(torch.randn_like"),
    "generator": (
        lambda: Net(lambda s, x: plain(s, x) + 0 * torch.rand(1, generator=s.g), g=torch.Generator()),
        "the random generator g of Net goes on",
    ),
    "batch": (lambda: Net(lambda s, x: plain(s, x.cumsum(0))), "when the other samples of its batch are others"),
    "list": (lambda: hidden(lambda s: [s.fc.weight]), "past its registered name"),
    "view": (lambda: hidden(lambda s: [s.fc.weight.detach().view(4, 3)]), "past its registered name"),
}


def hidden(make):
    net = Net(lambda s, x: s.out(torch.tanh(s.fc(x) + x @ s.kept[0].T)))
    net.kept = make(net)
    return net


def run(net, x=None):
    model = nr.wrap(net.eval())
    return nr.run(model, nr.nominal(model), draw(0, 12, 3).float() if x is None else x)


@pytest.mark.parametrize(("make", "message"), STATEFUL.values(), ids=STATEFUL)
def test_no_function_of_input_and_parameters_is_refused(make, message):
    """State and random numbers, also where the network is silent; the module is left as it was."""
    module = make()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state(), np.random.get_state()[2], random.getstate()
    with pytest.raises(ValueError, match=message):
        run(module)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert torch.equal(state[0], torch.get_rng_state())
    assert state[1:] == (np.random.get_state()[2], random.getstate())


def recorded(s, x):
    s.last = plain(s, x)
    s.log.append(s.last)
    s.calls += 1
    return s.last


def cached(s, x):
    if s.window is None:
        s.window = torch.hann_window(4)[:3]
    return plain(s, x * s.window)


def seeded(s, x):
    s.g.manual_seed(3)
    return plain(s, x + torch.rand(3, generator=s.g))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Net(recorded, log=[], calls=0),
        lambda: Net(cached, window=None),
        lambda: Net(seeded, g=torch.Generator()),
    ],
)
def test_records_caches_and_seeded_draws_are_taken(make):
    """State that is not read, made once, or seeded in every pass does not act: the outputs are the module's."""
    x = draw(0, 12, 3).float()
    assert torch.equal(run(make(), x), make()(x))


def test_dropout_of_a_module_in_training_is_no_state():
    """A look at a module in train mode runs it in eval mode, and leaves every part in its mode."""
    net = nn.Sequential(nn.Linear(3, 16), nn.Dropout(0.5), nn.BatchNorm1d(16).eval(), nn.Linear(16, 2))
    data = Data(draw(0, 20, 3).float(), torch.arange(20) % 2)
    nr.evaluate(nr.wrap(net, {"2.*": "digital"}), data, nr.mismatch(0.1), n_dies=1)
    assert [part.training for part in net] == [True, True, False, True]


def overwritten(s, x):
    s.fc.weight.data = torch.ones(4, 3)
    return plain(s, x)


def replaced(s, x):
    s.fc.weight = nn.Parameter(torch.ones(4, 3))
    return plain(s, x)


def unused(s, x):
    return s.out(torch.tanh(s.fc.bias + x[:, :1]))


def detached(s, x):
    return s.out(torch.tanh(x @ s.fc.weight.T + s.fc.bias.detach()))


def test_a_number_without_a_gradient_is_named():
    """It acts, but autograd does not lead to it."""
    net, x = Net(detached), draw(0, 12, 3).float()
    model = nr.wrap(net.eval())
    with pytest.warns(UserWarning, match=r"fc\.bias of Net act on the outputs, but no gradient comes back"):
        nr.run(model, nr.nominal(model), x)


@pytest.mark.parametrize("function", [overwritten, replaced, unused])
def test_weights_that_do_not_act_are_named(function):
    """A weight that forward overwrites, replaces or does not use: one warning names it; it stays as it is."""
    net, x = Net(function), draw(0, 12, 3).float()
    weight, model = net.fc.weight.detach().clone(), nr.wrap(net.eval())
    with pytest.warns(UserWarning, match=r"do not depend on fc\.weight: forward"):
        nr.run(model, nr.nominal(model), x)
    nr.run(model, nr.nominal(model), x)
    assert torch.equal(weight, net.fc.weight)


def hebbian(s, x):
    out = plain(s, x)
    s.fc.weight.data.mul_(1.1)
    return out


def test_weights_that_forward_changes_are_named_and_kept():
    """A Hebbian change in forward is named; neither the module's own weight nor the given one changes."""
    net, x = Net(hebbian), draw(0, 12, 3).float()
    model = nr.wrap(net.eval())
    params = nr.nominal(model)
    before = {name: value.clone() for name, value in params.items()}
    with pytest.warns(UserWarning, match=r"forward of Net changes fc\.weight"):
        nr.run(model, params, x)
    assert all(torch.equal(before[n], v) and torch.equal(before[n], net.get_parameter(n)) for n, v in params.items())


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradients_through_checkpoints(reentrant):
    """The gradient at deviated parameters equals that of a copy that holds them, in float64."""
    call = lambda s, x: s.out(checkpoint(lambda z: torch.tanh(s.fc(z)), x, use_reentrant=reentrant))  # noqa: E731
    x, model = draw(0, 12, 3), nr.wrap(Net(call).double().eval())
    params = {name: (1.3 * value).requires_grad_() for name, value in nr.nominal(model).items()}
    found = torch.autograd.grad(nr.run(model, params, x).square().sum(), list(params.values()))
    copy = Net(plain).double()
    copy.load_state_dict({name: value.detach() for name, value in params.items()})
    expected = torch.autograd.grad(copy(x).square().sum(), list(copy.parameters()))
    for name, a, b in zip(params, found, expected):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12, msg=name)


class Lif(nn.Module):
    """A time constant as a parameter, a buffer or a plain number."""

    def __init__(self, how):
        super().__init__()
        tau = torch.tensor(0.02)
        if how == "buffer":
            self.register_buffer("tau_mem", tau)
        else:
            self.tau_mem = nn.Parameter(tau) if how == "parameter" else 0.02

    def forward(self, x):
        decay, v = torch.exp(-1e-3 / torch.as_tensor(self.tau_mem)), torch.zeros_like(x[:, 0])
        for now in x.unbind(1):
            v = decay * v + now
        return v


@pytest.mark.parametrize("how", ["parameter", "buffer", "float"])
def test_a_number_that_is_set_once_deviates_per_neuron(how):
    """With kinds and neurons a die has six time constants, and its outputs are those of a module that holds them."""
    net, x = nn.Sequential(nn.Linear(3, 6), Lif(how), nn.Linear(6, 2)), draw(0, 8, 12, 3).float()
    message = "1.tau_mem of Sequential are set once" if how == "parameter" else "1.tau_mem of Sequential do not deviate"
    with pytest.warns(UserWarning, match=message):
        nr.wrap(net)
    model = nr.wrap(net, {} if how == "parameter" else {"1.tau_mem": "tau_mem"}, neurons={"1.tau_mem": 6})
    chip, params = nr.mismatch(0.2), nr.nominal(model)
    delta = chip.fabricate([0], 0)[0].deviations(chip.program(params, placement_of(model)))["1.tau_mem"]
    assert delta.shape == (6,) and len(delta.unique()) == 6
    found = nr.run(model, nr.apply(params, {"1.tau_mem": delta}, placement_of(model)), x)
    h = net[0](x)
    v = torch.zeros(8, 6)
    for now in h.unbind(1):
        v = torch.exp(-1e-3 / (0.02 * delta.exp())) * v + now
    torch.testing.assert_close(found, net[2](v))
    assert type(net[1].tau_mem) is {"parameter": nn.Parameter, "buffer": torch.Tensor, "float": float}[how]
    bad = nr.wrap(net, {} if how == "parameter" else {"1.tau_mem": "tau_mem"}, neurons={"1.tau_mem": 5})
    with pytest.raises(
        ValueError, match=r"neurons: Sequential does not run with one value per neuron, 1.tau_mem \(5,\)"
    ):
        nr.run(bad, nr.nominal(bad), x)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, as it imports its compiler
def test_modules_whose_weights_cannot_be_replaced_are_refused():
    """Compiled modules and parallel wrappers: one sentence with what to bring instead."""
    for module, message in (
        (torch.compile(nn.Linear(3, 2)), "is compiled"),
        (nn.DataParallel(nn.Linear(3, 2)), "bring the module inside, its .module"),
    ):
        with pytest.raises(TypeError, match=message):
            nr.wrap(module)
    with pytest.raises(ValueError, match=r"torch.complex64; expected real floating numbers"):
        nr.wrap(nn.Linear(3, 2, dtype=torch.complex64))
    with pytest.raises(ValueError, match=r"kept holds a (Linear|Parameter) in a plain list"):
        nr.wrap(Net(plain, kept=[nn.Linear(3, 2)]))


@pytest.mark.filterwarnings("ignore:Complex modules are a new feature")  # of torch, as a module becomes complex
@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        (torch.float16, "float16, in which small deviations .* call .float"),
        (torch.bfloat16, "bfloat16, in which small deviations .* call .float"),
        (torch.complex64, "complex64; expected real floating numbers"),
    ],
)
def test_networks_of_other_numbers_are_refused(dtype, words):
    """By every way in, and when a network was converted later: one sentence with the parameter."""
    x = torch.randn(8, 5, 3).to(dtype)
    data = Data(x, torch.arange(8) % 2)
    task = Task("t", ("a", "b"), data, data, data, functional.cross_entropy)
    row = nn.Sequential(nn.Linear(3, 2), snntorch.Leaky(beta=0.9, init_hidden=True))
    with pytest.raises(ValueError, match=f"module: 0.weight is torch.{words}"):
        nr.wrap(nn.Sequential(nn.Linear(3, 2, dtype=dtype)))
    with pytest.raises(ValueError, match=f"module: 0.weight is torch.{words}"):
        nr.from_snntorch(nn.Sequential(nn.Linear(3, 2, dtype=dtype), row[1]), 1e-3)
    networks = tiny(), nr.from_snntorch(row, 1e-3), nr.wrap(nn.Sequential(nn.Flatten(), nn.Linear(15, 2)))
    for network in networks:
        network.to(dtype)
        for act in (
            lambda network: nr.fit(network, task, functional.cross_entropy, epochs=1),
            lambda network: nr.evaluate(network, data, nr.mismatch(0.1), n_dies=2),
            lambda network: nr.worst_case(network, data, nr.Ball.uniform(0.1)),
        ):
            with pytest.raises(ValueError, match=rf"network: \S+ is torch.{words}"):
                act(network)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit
def test_scripted_modules_are_refused():
    """Alone, inside others, and given without wrap."""
    script = torch.jit.script(nn.Linear(3, 2))
    data = Data(torch.ones(8, 3), torch.arange(8) % 2)
    for call in (
        lambda: nr.wrap(nn.Sequential(script)),
        lambda: nr.from_snntorch(nn.Sequential(script, snntorch.Leaky(beta=0.9, init_hidden=True)), 1e-3),
        lambda: nr.evaluate(script, data, nr.mismatch(0.1), n_dies=2),
    ):
        with pytest.raises(TypeError, match=r"is a torch\.jit module, .*bring the Python module"):
            call()


class Leak(nn.Module):
    """A neuron of a user, with a number of any name, plain or as a buffer."""

    def __init__(self, name, buffer):
        super().__init__()
        self.register_buffer(name, torch.tensor(0.9)) if buffer else setattr(self, name, 0.9)


@pytest.mark.parametrize("buffer", [False, True], ids=["float", "buffer"])
@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("v_th", "'v_threshold'} lets it deviate"),
        ("threshold1", "'v_threshold'} lets it deviate"),
        ("tau", "'tau_mem'} lets it deviate"),
        ("tau_s", "'tau_syn'} lets it deviate"),
        ("decay", "hold its time constant in seconds"),
        ("beta", "hold its time constant in seconds"),
        ("alpha_1", "hold its time constant in seconds"),
        ("leak", "hold its time constant in seconds"),
    ],
)
def test_numbers_of_neurons_are_warned_of_by_name(name, way, buffer):
    """One warning for all of them, with the way out; what the user names as digital is silent."""
    module = nn.Sequential(nn.Linear(3, 2), Leak(name, buffer), Leak(name, buffer))
    with pytest.warns(UserWarning, match=rf"kinds: 1\.{name}, 2\.{name} of .*{re.escape(way)}") as caught:
        nr.wrap(module)
    assert len(caught) == 1
    nr.wrap(module, {f"*.{name}": "digital"})


class OwnElu(nn.ELU):
    """A layer of torch with a forward of the user's."""


def test_numbers_of_known_layers_are_not_warned_of():
    """Those of torch, their subclasses, and norms."""
    layers = [nn.ELU(), nn.CELU(0.5), nn.Threshold(0.1, 0.0), nn.Softplus(2.0), OwnElu(), nn.BatchNorm1d(2)]
    model = nr.wrap(nn.Sequential(nn.Linear(3, 2), *layers), {"6.*": "digital"})
    model.eval()
    nr.run(model, nr.nominal(model), torch.randn(4, 3))


def test_projected_lstm():
    """torch's names of a projection are known."""
    model = nr.wrap(nn.LSTM(3, 5, proj_size=2, batch_first=True), decode=lambda output: output[0].mean(1))
    assert "weight_hr_l0.weight" in nr.nominal(model)


def test_searches_work_without_gradients_around_them():
    """Under no_grad and inference_mode worst_case finds what it finds outside."""
    data = Data(draw(0, 20, 3), torch.arange(20) % 2)
    model = nr.wrap(Net(plain).double())
    search = lambda: nr.worst_case(model, data, nr.Ball(weight=0.3), nr.attacks.PGA(3)).score  # noqa: E731
    expected = search()
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            assert search() == expected


class PutsBack(nn.Module):
    """Draws where its hidden layer speaks, and puts the generator back; at its own parameters nothing speaks."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.o = nn.Linear(6, 16), nn.Linear(16, 2)
        with torch.no_grad():
            self.a.bias.fill_(-6.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = torch.relu(self.a(x))
        with torch.random.fork_rng():
            noise = torch.randn_like(z)
        return self.o(z * (1 + 5 * noise))


def test_draws_that_are_put_back_are_seen_where_nothing_speaks():
    """The generators begin in another state in each pass of the look, so a hidden draw changes the outputs."""
    model = nr.wrap(PutsBack())
    with pytest.raises(ValueError, match="random numbers"):
        nr.run(model, nr.nominal(model), torch.randn(24, 6))


@pytest.mark.parametrize("argument", ["prepare", "decode"])
@pytest.mark.parametrize("rand", [lambda: torch.rand(1), lambda: np.random.rand(1)], ids=["torch", "numpy"])
def test_a_later_draw_in_prepare_or_decode_is_refused(argument, rand):
    """Inputs of another length, after the look: a random draw there is one of the pass, and is put back."""

    def drawing(value):
        return value + 0 * float(rand()[0]) if len(value) == 7 else value

    functions = {"prepare": lambda x: drawing(x.transpose(0, 1)), "decode": lambda z: drawing(z).sum(0)}
    net = nn.Sequential(nn.Linear(3, 2), snntorch.Leaky(beta=0.9, init_hidden=True))
    model = nr.from_snntorch(net.eval(), 1e-3, sample=torch.ones(2, 5, 3), **{argument: functions[argument]})
    nr.run(model, nr.nominal(model), torch.ones(2, 6, 3))
    before = torch.get_rng_state(), np.random.get_state()[2]
    with pytest.raises(ValueError, match=r"draws random numbers .*decode or prepare"):
        nr.run(model, nr.nominal(model), torch.ones(2, 7, 3))
    assert torch.equal(torch.get_rng_state(), before[0]) and np.random.get_state()[2] == before[1]


class TakesBatchForTime(nn.Module):
    """A leaky sum over the batch in front of a threshold that only a few samples reach."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.a(x)
        late = torch.cat([torch.zeros_like(inner[:1]), inner[:-1]])
        return inner + 1e-5 * late


def test_a_small_mixture_of_samples_is_refused():
    """One sample has a gradient in another: the outputs move by less than rounding tells."""
    model = nr.wrap(TakesBatchForTime())
    with pytest.raises(ValueError, match="other samples of its batch"):
        nr.run(model, nr.nominal(model), torch.randn(24, 6))


class Graph(nn.Module):
    """A sparse matrix in a buffer, and another in a plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)
        self.register_buffer("mixing", torch.eye(4).to_sparse())
        self.plain = torch.eye(4).to_sparse()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.sparse.mm(self.plain, torch.sparse.mm(self.mixing, x.T)).T)


def test_sparse_tensors_are_taken():
    """They have no storage; the outputs are the module's own."""
    module, x = Graph(), torch.randn(12, 4)
    model = nr.wrap(module)
    assert torch.equal(nr.run(model, nr.nominal(model), x), module(x))
