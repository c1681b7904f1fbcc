"""Modules of torch and of other libraries of spiking neurons as networks: kinds by name, refusals in words."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from conftest import draw
from torch import nn
from torch.nn.utils import parametrizations

import neurorobust as nr
from neurorobust.core.placement import placement_of
from neurorobust.data import Data


def theirs(cls: type, module: str) -> type:
    """A class as if it were defined in another library, of which only the names count."""
    cls.__module__ = module
    return cls


class Record(NamedTuple):
    tau_mem_inv: torch.Tensor
    v_th: torch.Tensor
    alpha: float = 100.0


@dataclass(frozen=True)
class Constants:
    tau_mem_inv: torch.Tensor
    v_th: torch.Tensor


def loop(x, decay, threshold):
    v, out = torch.zeros_like(x[:, 0]), []
    for now in x.unbind(1):
        v = decay * v + now - (v > threshold) * threshold
        out.append(torch.sigmoid(10 * (v - threshold)))
    return torch.stack(out, 1).mean(1)


class Lif(nn.Module):
    """Like sinabs: Parameters; time constants in steps; all neurons share the default threshold."""

    default = torch.tensor(0.3)

    def __init__(self):
        super().__init__()
        self.tau_mem = nn.Parameter(torch.tensor(20.0))
        self.spike_threshold = nn.Parameter(torch.as_tensor(self.default), requires_grad=False)

    def forward(self, x):
        return loop(x, torch.exp(-1 / self.tau_mem), self.spike_threshold)


class Decay(nn.Module):
    def __init__(self):
        super().__init__()
        self.alpha_mem = nn.Parameter(torch.tensor(0.9))

    def forward(self, x):
        return loop(x, self.alpha_mem, 0.3)


class Cell(nn.Module):
    """Like norse: constants in a record that is a plain attribute."""

    shared = torch.tensor(50.0)

    def __init__(self, record=Record):
        super().__init__()
        self.p = record(self.shared, torch.tensor(0.3))
        if record is dict:
            self.p = {"tau_mem_inv": self.shared, "v_th": torch.tensor(0.3)}

    def forward(self, x):
        p = self.p if isinstance(self.p, dict) else self.p._asdict() if isinstance(self.p, tuple) else vars(self.p)
        return loop(x, torch.exp(-1e-3 * p["tau_mem_inv"]), p["v_th"])


class Node(nn.Module):
    """Like spikingjelly: plain floats, and a surrogate gradient with an alpha."""

    def __init__(self):
        super().__init__()
        self.tau, self.v_threshold = 20.0, 0.3
        self.surrogate_function = Surrogate()

    def forward(self, x):
        return loop(x, 1 - 1 / self.tau, self.v_threshold)


class Surrogate(nn.Module):
    def __init__(self):
        super().__init__()
        self.alpha = 4.0


theirs(Lif, "sinabs.layers.lif"), theirs(Decay, "sinabs.layers.lif"), theirs(Cell, "norse.torch.module.lif")
theirs(Node, "spikingjelly.activation_based.neuron.lif"), theirs(Surrogate, "spikingjelly.activation_based.surrogate")
X = (draw(0, 12, 9, 3) > 0).float()
DATA = Data(X, torch.arange(12) % 2)


def net(*neurons):
    torch.manual_seed(0)
    first, *rest = neurons
    return nn.Sequential(nn.Linear(3, 6), first, nn.Linear(6, 2), *rest)


def deviations(model):
    chip = nr.mismatch(0.2)
    return chip.fabricate([0], 0)[0].deviations(chip.program(nr.nominal(model), model.placement()))


def test_names_of_sinabs_are_kinds():
    """Threshold and time constant have their kinds, one per neuron if told so; the values are the module's."""
    module = net(Lif())
    model = nr.wrap(module, neurons={"1.*": 6})
    found = deviations(model)
    assert found["1.tau_mem"].shape == found["1.spike_threshold.v_threshold"].shape == (6,)
    assert torch.equal(nr.run(model, nr.nominal(model), X), module(X))
    with pytest.warns(UserWarning, match=r"neurons: 1.tau_mem, 1.spike_threshold of Sequential are set once"):
        nr.wrap(module)


def test_a_decay_is_refused_as_a_time_constant():
    """A decay has no kind, whatever the user says; exact it may be."""
    with pytest.raises(ValueError, match=r"1.alpha_mem of Decay has no known kind.*A decay has no kind"):
        nr.wrap(net(Decay()))
    with pytest.raises(ValueError, match=r"kinds\['1.alpha_mem'\]: got 'tau_mem'; 1.alpha_mem is a decay"):
        nr.wrap(net(Decay()), {"1.alpha_mem": "tau_mem"})
    assert "1.alpha_mem.digital" in nr.nominal(nr.wrap(net(Decay()), {"1.alpha_mem": "digital"}))


def test_neurons_that_share_their_default_deviate_apart(tmp_path):
    """Two neurons made with one default tensor: each has its own threshold, on dies and in files."""
    module = nn.Sequential(nn.Linear(3, 6), Two(), nn.Linear(6, 2))
    model = nr.wrap(module, neurons={"*.tau_mem": 1, "*.spike_threshold": 1})
    first, second = "1.a.spike_threshold.v_threshold", "1.b.spike_threshold.v_threshold"
    nr.evaluate(model, DATA, nr.mismatch(0.2), n_dies=2)
    with torch.no_grad():
        dict(model.named_parameters())[first].fill_(0.7)
    nr.save(model, tmp_path)
    again, _ = nr.load(tmp_path, into=nr.wrap(copy_of(module), neurons={"*.tau_mem": 1, "*.spike_threshold": 1}))
    assert nr.nominal(again)[first] == pytest.approx(0.7) and nr.nominal(again)[second] == pytest.approx(0.3)
    assert Lif.default == pytest.approx(0.3)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = Lif(), Lif()

    def forward(self, x):
        return self.a(x) + self.b(x)


def copy_of(module):
    new = nn.Sequential(nn.Linear(3, 6), Two(), nn.Linear(6, 2))
    new.load_state_dict(module.state_dict())
    return new


def test_larger_parameters_in_one_memory_are_refused():
    """Two parameters in one memory are neither one weight nor two."""
    a, b = nn.Linear(3, 3), nn.Linear(3, 3)
    b.weight.data = a.weight.data
    with pytest.raises(ValueError, match=r"0.weight and 1.weight are two parameters in the same memory"):
        nr.wrap(nn.Sequential(a, b))


@pytest.mark.parametrize("record", [Record, Constants, dict], ids=lambda record: record.__name__)
def test_constants_in_a_record_deviate_if_named(record):
    """1/τ is held as τ, in seconds; the module runs with 1/τ; the shared default does not change."""
    if record is dict:
        cell = Cell.__new__(Cell)
        nn.Module.__init__(cell)
        cell.p = {"tau_mem_inv": Cell.shared, "v_th": torch.tensor(0.3)}
    else:
        cell = Cell(record)
    module = net(cell)
    kinds = {"*.tau_mem_inv": "tau_mem", "*.v_th": "v_threshold"}
    model = nr.wrap(module, kinds, neurons={"*.v_th": 6, "*.tau_mem_inv": 6})
    params = nr.nominal(model)
    assert params["1.p.tau_mem_inv.tau_mem"] == pytest.approx(0.02)
    assert deviations(model)["1.p.tau_mem_inv.tau_mem"].shape == (6,)
    torch.testing.assert_close(nr.run(model, params, X), module(X))
    slow = nr.run(model, params | {"1.p.tau_mem_inv.tau_mem": torch.tensor(0.04)}, X)
    expected = module[2](loop(module[0](X), torch.exp(torch.tensor(-1e-3 / 0.04)), 0.3))
    torch.testing.assert_close(slow, expected)
    assert nr.evaluate(model, DATA, nr.mismatch(0.2), n_dies=2).score.shape == (2,)
    with torch.no_grad():
        dict(model.named_parameters())["1.p.tau_mem_inv.tau_mem"].fill_(1.0)
    assert Cell.shared == 50.0 and vars(cell)["p"] == cell.p


def test_what_does_not_vary_is_said_once():
    """One warning names all constants of all neurons, and none of a surrogate gradient."""
    module = net(Node(), Cell())
    with pytest.warns(UserWarning) as caught:
        nr.wrap(module)
    (text,) = [str(one.message) for one in caught]
    assert text.startswith("kinds: 3.p.tau_mem_inv") or text.startswith("kinds: 1.tau")
    assert all(name in text for name in ("1.tau", "1.v_threshold", "3.p.tau_mem_inv", "3.p.v_th"))
    assert "alpha" not in text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nr.wrap(module, dict.fromkeys(("*.tau", "*.v_threshold", "*.tau_mem_inv", "*.v_th"), "digital"))


class LlamaRMSNorm(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))

    def forward(self, x):
        return x * x.pow(2).mean(-1, keepdim=True).add(1e-6).rsqrt() * self.weight


NORMS = {
    "BatchNorm1d": nn.BatchNorm1d(4),
    "SyncBatchNorm": nn.SyncBatchNorm(4),
    "LayerNorm": nn.LayerNorm(4),
    "RMSNorm": nn.RMSNorm(4),
    "GroupNorm": nn.GroupNorm(2, 4),
    "LlamaRMSNorm": LlamaRMSNorm(4),
}


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
def test_one_word_names_all_norms(norm):
    """Every norm, also one of the user's own, is refused without the word and exact with it."""
    module = nn.Sequential(nn.Linear(3, 4), norm, nn.Linear(4, 2))
    with pytest.raises(ValueError, match="'normalisation': 'digital'"):
        nr.wrap(module)
    model = nr.wrap(module, {"normalisation": "digital"})
    digital = [name for name in nr.nominal(model) if name.endswith("digital")]
    assert digital and all(name.startswith("1.") for name in digital)
    assert not any(name.endswith("digital") for name in deviations(model))


def test_the_word_for_norms_is_refused_where_it_means_nothing():
    """No norm, another kind, or a text for the mapping."""
    with pytest.raises(ValueError, match="has no norm with parameters"):
        nr.wrap(nn.Linear(3, 2), {"normalisation": "digital"})
    with pytest.raises(ValueError, match="'exact' does not exist"):
        nr.wrap(nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2)), {"normalisation": "exact"})
    with pytest.raises(TypeError, match=r"expected kinds by name, such as \{'normalisation': 'digital'\}"):
        nr.wrap(nn.Linear(3, 2), "normalisation digital")


class Last(nn.Module):
    """The mean over time of a layer, decoded."""

    def __init__(self, layer, n):
        super().__init__()
        self.layer, self.out = layer, nn.Linear(n, 2)

    def forward(self, x):
        output = self.layer(x)
        return self.out((output[0] if isinstance(output, tuple) else output).mean(1))


class Attention(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True, **options)

    def forward(self, x):
        return self.attention(x, x, x)[0]


SEQUENCES = {
    **{
        f"{cls.__name__} {options}": Last(cls(4, 5, batch_first=True, **options), width)
        for cls in (nn.LSTM, nn.GRU, nn.RNN)
        for options, width in (({}, 5), ({"num_layers": 2}, 5), ({"bidirectional": True}, 10), ({"bias": False}, 5))
    },
    "proj_size": Last(nn.LSTM(4, 5, proj_size=3, batch_first=True), 3),
    "proj_size, two ways": Last(nn.LSTM(4, 5, proj_size=3, bidirectional=True, batch_first=True), 6),
    "attention": Last(Attention(), 4),
    "attention, bias_kv": Last(Attention(add_bias_kv=True), 4),
    "transformer": Last(nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True), 4),
    "PReLU": Last(nn.Sequential(nn.Linear(4, 4), nn.PReLU()), 4),
    "weight norm": Last(parametrizations.weight_norm(nn.Linear(4, 4)), 4),
}


@pytest.mark.parametrize("module", SEQUENCES.values(), ids=SEQUENCES)
def test_layers_of_torch_are_taken(module):
    """Outputs are the module's, every parameter has a kind, and dies and attacks run."""
    x = draw(1, 8, 5, 4).float()
    names = [name for name, _ in module.named_parameters()]
    kinds = {"normalisation": "digital"} if any("norm1" in name for name in names) else {}
    kinds |= {"*original*": "weight"} if any("original" in name for name in names) else {}
    neurons = {"layer.1.weight": 1} if "layer.1.weight" in names else {}
    model, data = nr.wrap(module, kinds, neurons=neurons), Data(x, torch.arange(8) % 2)
    module.eval()
    torch.testing.assert_close(nr.run(model, nr.nominal(model), x), module(x))
    assert nr.evaluate(model, data, nr.mismatch(0.1), n_dies=2).score.shape == (2,)
    assert nr.worst_case(model, data, nr.Ball.uniform(0.1), nr.attacks.PGA(steps=1)).score <= 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_modules_that_cannot_be_measured_are_refused_in_words():
    """Lazy, sparse, half, complex, compiled: what came, and what to do."""
    refused = {
        "has no shape yet; run the module once": nn.LazyLinear(2),
        "has sparse gradients.*sparse=False": nn.Sequential(
            nn.Embedding(4, 3, sparse=True), nn.Flatten(), nn.Linear(6, 2)
        ),
        "is torch.float16.*call .float()": nn.Linear(3, 2).half(),
        "is torch.bfloat16.*call .float()": nn.Linear(3, 2).bfloat16(),
        "is torch.complex64.*real and its imaginary part": nn.Linear(3, 2, dtype=torch.complex64),
    }
    for text, module in refused.items():
        with pytest.raises(ValueError, match=text):
            nr.wrap(module)
    with pytest.raises(TypeError, match=r"is a torch.jit module"):
        nr.wrap(torch.jit.script(nn.Linear(3, 2)))


def test_an_empty_parameter_deviates_not_at_all():
    """A layer without outputs is in the way of nothing."""

    class Empty(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 2), nn.Parameter(torch.zeros(0, 3))

        def forward(self, x):
            return self.a(x.mean(1)) + (x.mean(1) @ self.b.T).sum()

    assert nr.evaluate(nr.wrap(Empty(), {"b": "weight"}), DATA, nr.mismatch(0.1), n_dies=2).score.shape == (2,)


# --- synapses that a hook keeps absent


class Recurrent(nn.Module):
    """Like norse's LIFRecurrent: no self-connections; a hook sets their gradient to 0."""

    def __init__(self, hook=lambda gradient: gradient.clone().fill_diagonal_(0.0), diagonal=0.0):
        super().__init__()
        self.fc, self.out = nn.Linear(3, 5), nn.Linear(5, 2)
        self.recurrent_weights = nn.Parameter(draw(0, 5, 5).float())
        with torch.no_grad():
            self.recurrent_weights.fill_diagonal_(diagonal)
        self.recurrent_weights.register_hook(hook)

    def forward(self, x):
        h = x.new_zeros(len(x), 5)
        for step in x.unbind(1):
            h = torch.tanh(self.fc(step) + h @ self.recurrent_weights.T)
        return self.out(h)


KINDS = {"recurrent_weights": "weight"}


def data_of(n=24):
    return Data(draw(1, n, 6, 3).float(), torch.arange(n) % 2)


def test_synapses_that_a_hook_keeps_absent_stay_absent():
    """They are taken as absent synapses: no die, no attack and no training makes them."""
    net, data = Recurrent(), data_of()
    model = nr.wrap(net, kinds=KINDS)
    mask = placement_of(model).masks["recurrent_weights.weight"]
    assert torch.equal(mask, ~torch.eye(5, dtype=torch.bool))
    assert nr.evaluate(model, data, nr.mismatch(0.3), n_dies=2).score.shape == (2,)
    before = net.recurrent_weights.detach().clone()
    task = nr.data.Task("t", ("a", "b"), data, data, data, nn.functional.cross_entropy)
    loss = nr.regularizers.Adversarial(task.loss, nr.attacks.PGA(steps=2), nr.Ball.uniform(0.1), beta=0.4)
    nr.fit(model, task, loss, epochs=2)
    assert not net.recurrent_weights.diagonal().any()
    assert bool(((net.recurrent_weights != before) | ~mask).all())


def double_gradient(gradient):
    return 2 * gradient


@pytest.mark.parametrize(
    "net", [lambda: Recurrent(double_gradient), lambda: Recurrent(diagonal=0.5)], ids=["doubles", "keeps a value"]
)
def test_other_hooks_are_refused(net):
    """A hook that changes gradients, or keeps other values than 0, is no absent synapse."""
    model = nr.wrap(net(), kinds=KINDS)
    assert not placement_of(model).masks
    with pytest.raises(ValueError, match="a hook on the parameter changes its gradient, and not only to keep"):
        nr.evaluate(model, data_of(), nr.mismatch(0.1), n_dies=2)


def test_looking_at_hooks_leaves_nothing_behind():
    """A hook that counts and changes no gradient is taken, and what it counted is put back."""
    seen = []
    net = Recurrent()
    net.seen = seen
    net.fc.weight.register_hook(lambda gradient: seen.append(float(gradient.sum())))
    model = nr.wrap(net, kinds=KINDS)
    assert not seen and set(placement_of(model).masks) == {"recurrent_weights.weight", "fc.weight"}
    assert bool(placement_of(model).masks["fc.weight"].all())


@pytest.mark.parametrize("cell", [False, True], ids=["LIFRecurrent", "LIFRecurrentCell"])
def test_norse_recurrent_layers_are_taken(cell):
    """norse itself, where it is installed: no self-connection is trained."""
    norse = pytest.importorskip("norse.torch")

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.lif, self.fc = (norse.LIFRecurrentCell if cell else norse.LIFRecurrent)(3, 8), nn.Linear(8, 2)

        def forward(self, x):
            if not cell:
                return self.fc(self.lif(20 * x.transpose(0, 1))[0].mean(0))
            state, out = None, []
            for step in x.unbind(1):
                spikes, state = self.lif(20 * step, state)
                out.append(spikes)
            return self.fc(torch.stack(out).mean(0))

    net, data = Net(), data_of()
    model = nr.wrap(net, kinds={"lif.p.*": "digital"})
    before = net.lif.recurrent_weights.detach().clone()
    task = nr.data.Task("t", ("a", "b"), data, data, data, nn.functional.cross_entropy)
    nr.fit(model, task, task.loss, epochs=3)
    assert not net.lif.recurrent_weights.diagonal().any()
    assert bool((net.lif.recurrent_weights != before).any())
    assert nr.evaluate(model, data, nr.mismatch(0.3), n_dies=2).score.shape == (2,)


def test_exact_numbers_may_be_named_by_any_pattern():
    """One pattern keeps all constants of a record exact, without a warning for each."""
    net = nn.Sequential(nn.Linear(3, 5), theirs(type("Cell", (nn.Module,), {}), "norse.cells")())
    net[1].p = Record(torch.tensor(100.0), torch.tensor(0.5))
    net[1].forward = None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = nr.wrap(net, kinds={"1.p.*": "digital"})
    assert not any(name.startswith("1.") for name, _ in model.named_parameters())
