"""Pitfalls with networks of other libraries, found by a reviewer and a newcomer."""

from __future__ import annotations

import pytest
import snntorch as snn
import torch
from conftest import draw, events
from test_snntorch import DT, Loop, loop, promoted, simulate
from test_wrap import DIGITAL, cnn, images
from torch import nn
from torch.nn import functional

import chipmodels
import neurorobust as nr
from neurorobust.data import Data, Task
from neurorobust.nn.network import placement_of
from neurorobust.regularizers.regularizer import check_loss
from neurorobust.train import descent
from neurorobust.train.loop import selection_score


def image_task():
    return Task("t", ("a", "b"), images(0, 24), images(1), images(2), functional.cross_entropy, None, "f")


def leaky(**options):
    return snn.Leaky(beta=0.8, threshold=0.3, init_hidden=True, **options)


def same_as(net, model, x):
    """The model gives what stepping the net from rest gives."""
    spikes, _ = simulate(net, x)
    return torch.equal(nr.run(model, nr.nominal(model), x), spikes.sum(0)) and spikes.sum() > 0


def test_a_layer_that_comes_twice():
    """A Linear used in two places of a row acts in both."""
    torch.manual_seed(0)
    shared = nn.Linear(3, 3)
    net = promoted(nn.Sequential(shared, leaky(), shared, leaky(output=True)).double())
    assert same_as(net, nr.from_snntorch(net, DT), 2 * draw(0, 4, 12, 3) + 1)


class Skip(nn.Sequential):
    """A row with a way of its own."""

    def forward(self, x):
        return x + super().forward(x)


def test_a_row_with_a_forward_of_its_own():
    """A subclass of Sequential runs its own forward, and its neurons deviate one by one and are recorded."""
    torch.manual_seed(0)
    net = promoted(nn.Sequential(Skip(nn.Linear(3, 3), leaky()), nn.Linear(3, 2), leaky(output=True)).double())
    x = 2 * draw(0, 4, 12, 3) + 1
    model = nr.from_snntorch(net, DT, sample=x)
    assert same_as(net, model, x)
    assert placement_of(model).index["0.1.tau_mem"].shape == (3,)
    assert nr.run(model, nr.nominal(model), x, record=True)[1]["0.1"].shape == (4, 12, 3)


class OneStep(nn.Module):
    """A module that computes one step per call."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(3, 2), leaky(output=True)

    def forward(self, x):
        return self.lif(self.fc(x))


class BatchFirst(Loop):
    """The usual loop, over the second axis."""

    def forward(self, x):
        return super().forward(x.transpose(0, 1))


class Static(nn.Module):
    """One picture, shown for 12 steps."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(3, 2), leaky()

    def forward(self, x):
        return torch.stack([self.lif(self.fc(x)) for _ in range(12)])


@pytest.mark.parametrize("shape", [(4, 12, 3), (4, 4, 3)])
def test_a_module_that_does_not_loop_over_time_is_noticed(shape):
    """One step a call, or batch first: said, also where B = T; what is said is right, and so is a user's prepare."""
    x = 2 * draw(0, *shape) + 1
    torch.manual_seed(0)
    step, batch_first, static = promoted(OneStep().double()), promoted(BatchFirst().double()), Static().double()
    with pytest.warns(UserWarning, match=r"one call of OneStep computes one step"):
        assert same_as(step, nr.from_snntorch(step, DT, sample=x), x)
    assert same_as(nn.Sequential(step), nr.from_snntorch(nn.Sequential(step), DT, sample=x), x)
    with pytest.warns(UserWarning, match=r"BatchFirst takes samples first, .* prepare=lambda x: x says so"):
        nr.from_snntorch(batch_first, DT, sample=x)
    with pytest.raises(ValueError, match=r"neuron 'lif1' ran .* runs with prepare=lambda x: x\.$|other samples"):
        nr.from_snntorch(batch_first, DT, sample=x, prepare=lambda x: x.transpose(0, 1) + 0)
    model = nr.from_snntorch(batch_first, DT, sample=x, prepare=lambda x: x)
    assert torch.equal(nr.run(model, nr.nominal(model), x), batch_first(x)[0].sum(0))
    model = nr.from_snntorch(static, DT, sample=x[:, 0], prepare=lambda x: x)
    promoted(static).lif.reset_mem()
    assert torch.equal(nr.run(model, nr.nominal(model), x[:, 0]), static(x[:, 0]).sum(0))


def test_a_decay_above_one_is_clamped_as_in_snntorch():
    """β = 1.2, left alone, acts as 1 in the fused loop too."""
    net = promoted(nn.Sequential(nn.Linear(3, 2), leaky(output=True)).double())
    net[1].beta = torch.tensor(1.2).double()
    assert same_as(net, nr.from_snntorch(net, DT, kinds={"1.beta": "digital"}), 2 * draw(0, 4, 12, 3) + 1)


def test_learned_time_constants_stay_positive():
    """50 epochs with a learned decay and dt = 1 ms: τ stays positive and moves by a fraction; a τ < 0 is refused."""
    net = promoted(nn.Sequential(nn.Linear(3, 4), leaky(learn_beta=True), nn.Linear(4, 2), leaky(output=True)).double())
    model = nr.from_snntorch(net, DT)
    task = Task("t", ("a", "b"), events(1, 24), events(2, 10), events(3, 10), functional.cross_entropy, None, "f")
    before = nr.nominal(model)["1.tau_mem"]
    nr.fit(model, task, functional.cross_entropy, epochs=50)
    after = nr.nominal(model)["1.tau_mem"]
    assert after > 0 and before != after and 0.2 < after / before < 5
    params = nr.nominal(model) | {"1.tau_mem": torch.tensor(-0.01).double()}
    with pytest.raises(ValueError, match=r"1.tau_mem: smallest value is -0.01; expected values > 0.*nr.train.leaves"):
        nr.regularizers.TaskLoss(functional.cross_entropy)(model, params, (task.train.x, task.train.y))


def test_chips_refuse_what_is_not_placed():
    """dynapse2 does not quietly leave an unplaced network unquantized; places and feeds are checked by name."""
    chip, data = chipmodels.load("dynapse2"), events(0, 20)
    model = nr.from_snntorch(loop(), DT, sample=data.x)
    with pytest.raises(ValueError, match=r"lif1.tau_mem: sits on no core, but dynapse2 needs one"):
        nr.evaluate(model, data, chip, n_dies=2)
    with pytest.raises(ValueError, match=r"feeds\['fc1'\]: layer of neurons: 'lif' does not exist"):
        model.place({"lif1": 0, "lif2": nr.HOST}, {"fc1": "lif", "fc2": "lif2"})
    with pytest.raises(ValueError, match=r"feeds: module: 'fc_1' does not exist.*Did you mean 'fc1'"):
        model.place({"lif1": 0, "lif2": nr.HOST}, {"fc_1": "lif1", "fc2": "lif2"})
    with pytest.raises(ValueError, match=r"cores\['lif1'\]: got 0.5; expected integers"):
        model.place({"lif1": 0.5, "lif2": nr.HOST})
    model.place({"lif1": [0, 0, 1, 1, 2, 2], "lif2": nr.HOST}, {"fc1": "lif1", "fc2": "lif2"})
    with pytest.raises(ValueError, match=r"fc1.bias: 2 different values of bias on core 0; .* \(bias=False\)"):
        nr.evaluate(model, data, chip, n_dies=2)


@pytest.mark.parametrize("feeds", [None, {"2": nr.HOST}], ids=["by itself", "named"])
@pytest.mark.parametrize("kinds", [None, {"2.*": "digital"}], ids=["analog", "digital"])
@pytest.mark.parametrize("name", ["dynapse2", "pcm"])
def test_a_last_linear_layer_is_a_read_out_on_the_host(name, kinds, feeds):
    """Modules after the last neuron of a row are on the host: not quantized, exact on every die; with mismatch they
    deviate unless they are digital."""
    row = nn.Sequential(nn.Linear(3, 8, bias=False), leaky(), nn.Linear(8, 2))
    model, data = nr.from_snntorch(row, DT, kinds=kinds), events(0, 20)
    data = Data(data.x.float(), data.y)
    model.place({"1": 0}, feeds)
    chip = chipmodels.load(name)
    assert nr.evaluate(model, data, chip, n_dies=2).score.shape == (2,)
    programmed = chip.program(nr.nominal(model), placement_of(model))
    deviations = chip.fabricate([0], 0)[0].deviations(programmed)
    assert "0.weight" in deviations and not any(key.startswith("2.") for key in (*programmed.codes, *deviations))
    everywhere = nr.mismatch(0.3)
    moved = everywhere.fabricate([0], 0)[0].deviations(everywhere.program(nr.nominal(model), placement_of(model)))
    assert any(key.startswith("2.") for key in moved) == (kinds is None)


def test_a_read_out_of_a_loop_is_put_on_the_host_by_name():
    """What feeds a layer on the host is on the host; a layer is on the host or on the chip."""
    data = events(0, 20)
    model = nr.from_snntorch(loop(), DT, sample=data.x)
    model.place({"lif1": 0, "lif2": nr.HOST}, {"fc1": "lif1", "fc2": nr.HOST})
    assert (placement_of(model).core("fc2.weight") == nr.HOST).all()
    with pytest.raises(ValueError, match=r"or nr\.HOST for all of them"):
        model.place({"lif1": [0, 0, 0, 0, 0, -1], "lif2": nr.HOST}, {"fc1": "lif1", "fc2": "lif2"})


def recurrent_row(n):
    row = nn.Sequential(
        nn.Linear(3, n, bias=False),
        snn.RLeaky(beta=0.8, linear_features=n, init_hidden=True),
        nn.Linear(n, 2),
        leaky(output=True),
    )
    row[1].recurrent.bias = None
    return nr.from_snntorch(row, DT)


def test_a_recurrent_row_is_programmed_whole():
    """The recurrent weights of a row belong to their own neurons: quantized, and counted in the fan-in."""
    model = recurrent_row(8)
    model.place({"1": torch.arange(8) // 2, "3": nr.HOST})
    programmed = chipmodels.load("dynapse2").program(nr.nominal(model), placement_of(model))
    assert set(programmed.codes) == {"0.weight", "1.recurrent.weight", "1.tau_mem"}
    assert [row["synapses"] for row in programmed.report] == [22] * 4
    model = recurrent_row(64)
    model.place({"1": 0, "3": nr.HOST})
    with pytest.raises(ValueError, match=r"fan_in \(=67\) of neuron 0 of layer '1' exceeds dynapse2's 64"):
        chipmodels.load("dynapse2").program(nr.nominal(model), placement_of(model))


def test_two_synapses_never_share_a_deviate():
    """A placed one-to-one recurrence and the first input synapse of a neuron, and neurons on a grid, deviate apart."""
    net = nn.Sequential(nn.Linear(3, 4), snn.RLeaky(beta=0.8, V=torch.ones(4), all_to_all=False, init_hidden=True))
    model = nr.from_snntorch(net, DT)
    model.place({"1": 0})
    chip = nr.mismatch(0.1)
    dies = chip.fabricate([0], 0)[0].deviations(chip.program(nr.nominal(model), placement_of(model)))
    assert len(torch.cat([dies["0.weight"].flatten(), dies["1.V.weight"]]).unique()) == 16
    model = nr.from_snntorch(nn.Sequential(nn.Conv2d(1, 3, 3), leaky()), DT, sample=draw(0, 2, 3, 1, 4, 4).float())
    found = []
    for core in (0, 1):
        model.place({"1": core})
        programmed = chip.program(nr.nominal(model), placement_of(model))
        found.append(chip.fabricate([0], 0)[0].deviations(programmed)["1.tau_mem"])
    assert found[0].shape == (3, 2, 2) and len(torch.cat(found).unique()) == 24


def one_to_one(dt=DT):
    net = nn.Sequential(nn.Linear(3, 2), snn.RLeaky(0.8, V=0.5, all_to_all=False, init_hidden=True))
    return nr.from_snntorch(net, dt)


def test_saved_with_a_one_to_one_recurrence(tmp_path):
    """A weight that a neuron and its connection share is written once; another dt is refused."""
    nr.save(one_to_one(), tmp_path / "m")
    nr.load(tmp_path / "m", into=one_to_one())
    with pytest.raises(ValueError, match=r"into: has dt 0.005; .* was saved at 0.001"):
        nr.load(tmp_path / "m", into=one_to_one(5e-3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda net: setattr(net, "fc1", nn.Linear(3, 6, bias=False)), r"fc1.bias is None there"),
        (lambda net: setattr(net.lif1, "reset_mechanism", "zero"), r"lif1 is Leaky zero .* there and Leaky subtract"),
        (lambda net: setattr(net, "fc2", nn.Linear(6, 3)), r"fc2.weight is of shape \(3, 6\) there|\(2, 6\)"),
    ],
)
def test_numbers_go_back_only_where_they_fit(change, message):
    """Another network is compared before anything is written: bias, reset, shapes."""
    model, other = nr.from_snntorch(loop(), DT, sample=draw(0, 2, 5, 3)), loop(1)
    change(other)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        nr.to_snntorch(model, other)
    assert all(torch.equal(before[name], value) for name, value in other.state_dict().items())


def test_learned_lapicque():
    """A Lapicque neuron whose β is learned, so that its C has a history, can be brought here."""
    net = nn.Sequential(nn.Linear(3, 2), snn.Lapicque(beta=0.8, learn_beta=True, init_hidden=True))
    assert "1.tau_mem" in nr.nominal(nr.from_snntorch(net, DT))


class Killed(Exception):
    """In the place of a kill."""


def test_buffers_are_part_of_a_run(tmp_path):
    """Batch norm: killed in the second epoch and resumed equals unkilled, buffers too; the kept epoch keeps its own."""
    calls = []

    def counted(value):
        calls.append(1)
        if len(calls) == 5:
            raise Killed
        return check_loss(value)

    def run(out, calls_before):
        calls[:] = [0] * calls_before
        module, task = cnn(), image_task()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(descent, "check_loss", counted)
            nr.fit(nr.wrap(module, DIGITAL), task, task.loss, epochs=4, out=out, schedule=nr.Schedule(batch_size=8))
        return module.state_dict()

    whole = run(tmp_path / "a", 5)
    with pytest.raises(Killed):
        run(tmp_path / "b", 0)
    resumed = run(tmp_path / "b", 5)
    assert all(torch.equal(whole[name], value) for name, value in resumed.items())
    model, task = nr.wrap(cnn(), DIGITAL), image_task()
    history = nr.fit(model, task, task.loss, epochs=4, schedule=nr.Schedule(batch_size=8))
    row = history.rows[history.best_epoch]
    assert selection_score(model, task.validation, 0) == (row["clean"], row["attacked"])


def test_batch_norm_of_one_sample_does_not_stop_fit():
    """The check of one sample before training runs in eval mode."""
    module, task = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(36), nn.Linear(36, 2)).double(), image_task()
    history = nr.fit(nr.wrap(module, DIGITAL), task, task.loss, epochs=1, schedule=nr.Schedule(batch_size=8))
    assert len(history.rows) == 1


def test_one_part_in_train_mode_trains():
    """Dropout in train mode inside a module in eval mode draws, as it may in training; each part keeps its mode."""
    module, task = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(36, 2)).double().eval(), image_task()
    module[1].train()
    history = nr.fit(nr.wrap(module), task, task.loss, epochs=1, schedule=nr.Schedule(batch_size=8))
    assert len(history.rows) == 1 and [part.training for part in module] == [False, True, False]


class NoTeacher(nn.Module):
    """Cannot run in train mode, at any size of a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(36, 2).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            raise RuntimeError("no teacher is loaded")
        return self.fc(x.flatten(1))


def test_an_error_at_every_size_is_no_matter_of_the_batch():
    """The module's own error is shown; the last batch of 24 samples by 10 would be smaller."""
    task = image_task()
    with pytest.raises(RuntimeError, match=r"^no teacher is loaded"):
        nr.fit(nr.wrap(NoTeacher()), task, task.loss, epochs=1, schedule=nr.Schedule(batch_size=10))


def test_another_run_in_the_same_folder_is_refused(tmp_path):
    """Other layers or other first weights are another run: the folder's is neither resumed nor overwritten."""
    task = image_task()
    nr.fit(nr.wrap(cnn(False)), task, task.loss, epochs=1, out=tmp_path)
    layers, weights = cnn(False), cnn(False)
    layers[1] = nn.Tanh()
    with torch.no_grad():
        weights[0].bias.add_(1)
    for module in (layers, weights):
        with pytest.raises(ValueError, match=r"belongs to another run .*network: (_module\.1|0\.bias)"):
            nr.fit(nr.wrap(module), task, task.loss, epochs=1, out=tmp_path)


def test_modules_that_cannot_be_judged_are_refused():
    """An embedding that renorms itself and a lazy layer, by name."""
    with pytest.raises(ValueError, match=r"0 has max_norm, which changes its weights"):
        nr.wrap(nn.Sequential(nn.Embedding(5, 3, max_norm=1.0), nn.Flatten(), nn.Linear(3, 2)))
    with pytest.raises(ValueError, match=r"weight has no shape yet; run the module once"):
        nr.wrap(nn.LazyLinear(2))


def test_shared_parts_are_saved_once(tmp_path):
    """A module used twice is written once and comes back."""
    shared, again = nn.Linear(3, 3), nn.Linear(3, 3)
    nr.save(nr.wrap(nn.Sequential(shared, nn.Tanh(), shared)), tmp_path / "m")
    nr.load(tmp_path / "m", into=nr.wrap(nn.Sequential(again, nn.Tanh(), again)))
    assert torch.equal(again.weight, shared.weight)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, d: Data([1.0], d.y), r"data x: got a list; expected a tensor"),
        (lambda m, d: nr.evaluate(m, d, "dynapse2"), r"chip: got 'dynapse2'; .*chipmodels.load\('dynapse2'\)"),
        (lambda m, d: nr.worst_case(m, d, 0.1, nr.attacks.PGA()), r"ball: got 0.1; expected nr.Ball.uniform"),
        (lambda m, d: nr.worst_case(m, d, nr.Ball.uniform(0.1), "pga"), r"attack: got 'pga'; expected one such as"),
        (lambda m, d: nr.Ball(0.1), r"Ball: got 0.1; .*Ball.uniform\(0.1\)"),
        (lambda m, d: nr.fit(m, d, functional.cross_entropy, epochs=1), r"task: got a Data; expected a Task"),
        (lambda m, d: nr.regularizers.ForwardNoise(nn.CrossEntropyLoss, 0.1), r"loss: got .*; expected a function of"),
        (lambda m, d: nr.wrap(nn.Linear(2, 2), decode="mem"), r"decode: got 'mem'; expected a function"),
        (lambda m, d: nr.evaluate(m, d, None), r"chip: got None; .*chipmodels.load\('dynapse2'\), or nr.mismatch"),
        (lambda m, d: chipmodels.load(None), r"chip: got None \(NoneType\); expected the name of a model"),
        (lambda m, d: nr.Ball.uniform("0.1"), r"radius: got '0.1' \(str\); expected a number"),
        (lambda m, d: nr.nn.Linear(4, 2), r"weight: got 4 \(int\); .*Linear.random\(n_in, n_out, generator=…\)"),
        (lambda m, d: nr.nn.Linear(torch.ones(2, 4), True), r"bias: got True \(bool\); expected a tensor \(n_out,\)"),
        (lambda m, d: nr.nn.Linear(torch.ones(2, 4).int()), r"weight: got a tensor of torch.int32; .*weight.float\(\)"),
        (lambda m, d: nr.run(m, None, d.x), r"params: got None; expected tensors by name: nr.nominal\(network\)"),
        (lambda m, d: nr.evaluate(cnn(False), d, nr.mismatch(0.1)), r"network: got a \w+, .*nr.wrap\(network\)"),
        (lambda m, d: nr.save(m, "unused", "ecg"), r"info: got 'ecg' \(str\); expected a dictionary"),
        (lambda m, d: nr.save(m, "unused", {"x": d.x}), r"info\['x'\]: Object of type Tensor is not JSON serializable"),
        (lambda m, d: nr.load(None), r"folder: got None \(NoneType\); expected the path"),
    ],
)
def test_the_commonest_mistakes_are_named(call, message):
    """A list for a tensor, a name for an object, a number for a ball: a TypeError that says what to give."""
    with pytest.raises(TypeError, match=message):
        call(nr.wrap(cnn(False)), images(0))


def test_a_number_that_json_cannot_hold_is_refused_before_it_is_saved(tmp_path):
    """A folder with NaN in its info could not be read again."""
    with pytest.raises(ValueError, match=r"info\['score'\]: .*; expected what JSON can hold"):
        nr.save(nr.wrap(cnn(False)), tmp_path / "m", {"score": float("nan")})
    assert not (tmp_path / "m").exists()


def test_a_network_of_another_library_that_was_not_brought_here_is_refused():
    """It could give (spikes, membrane) of the right shapes, keep its state from die to die, and give wrong numbers."""

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.dense(x), self.dense(x)

    data = Data(torch.rand(6, 3), torch.arange(6) % 2)
    with pytest.raises(TypeError, match=r"got a Pair, a torch module as it is; .*nr.from_snntorch\(network, dt\)"):
        nr.evaluate(Pair(), data, nr.mismatch(0.1), n_dies=2)


def test_percent_for_fractions_is_refused():
    """mismatch(30), yield_at(90) and float labels say what was meant."""
    with pytest.raises(ValueError, match=r"mismatch level: got 30; expected a fraction, 0.3 for 30 %"):
        nr.mismatch(30)
    model, data = nr.wrap(cnn(False)), images(0)
    with pytest.raises(ValueError, match=r"spec: got 90; expected a score from 0 to 1"):
        nr.evaluate(model, data, nr.mismatch(0.1), n_dies=2).yield_at(90)
    with pytest.raises(ValueError, match=r"Class labels are integers: y.long\(\)"):
        nr.evaluate(model, Data(data.x, data.y.double()), nr.mismatch(0.1), n_dies=2)
