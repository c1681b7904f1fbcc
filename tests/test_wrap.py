"""Any torch module as a network: names and kinds, modes and buffers, shapes and refusals."""

from __future__ import annotations

import copy
import ctypes
import io

import pytest
import torch
from conftest import draw
from torch import nn
from torch.nn import functional

import neurorobust as nr
from neurorobust.core.run import forward
from neurorobust.data import Data, Task


class Gru(nn.Module):
    """A recurrent module of torch's own, with its parameter names."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(3, 4, batch_first=True, bidirectional=True)
        self.out = nn.Linear(8, 2)

    def forward(self, x):
        return self.out(self.rnn(x)[0].mean(1))


class Scaled(nn.Module):
    """A linear layer with a gain of its own name."""

    def __init__(self):
        super().__init__()
        self.linear, self.gain = nn.Linear(3, 2), nn.Parameter(torch.ones(2))

    def forward(self, x):
        return self.gain * self.linear(x)


def cnn(norm=True):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3),
        *([nn.BatchNorm2d(3)] if norm else []),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(3 * 16, 2),
    ).double()


def images(seed, n=12):
    """Bright above or bright below."""
    y = torch.arange(n) % 2
    x = draw(seed, n, 1, 6, 6)
    x[y == 0, :, :3] += 1
    x[y == 1, :, 3:] += 1
    return Data(x, y)


DIGITAL = {"1.*": "digital"}


def test_names_end_in_their_kinds():
    """torch's names get their kind, what the user names gets that, and nothing else changes."""
    assert list(nr.nominal(nr.wrap(cnn(), DIGITAL))) == [
        "0.weight", "0.bias", "1.weight.digital", "1.bias.digital", "4.weight", "4.bias",
    ]  # fmt: skip
    names = list(nr.nominal(nr.wrap(Gru())))
    assert "rnn.weight_ih_l0.weight" in names and "rnn.bias_hh_l0_reverse.bias" in names and len(names) == 10
    assert "gain.weight" in nr.nominal(nr.wrap(Scaled(), {"gain": "weight"}))
    attention = nr.nominal(nr.wrap(nn.MultiheadAttention(4, 2), decode=lambda output: output[0]))
    assert {"in_proj_weight.weight", "in_proj_bias.bias", "out_proj.weight", "out_proj.bias"} == set(attention)


def test_outputs_are_the_modules():
    """Logits equal the module's outputs, bit for bit; a decode function is applied."""
    module, x = cnn().eval(), images(0).x
    assert torch.equal(nr.run(nr.wrap(module, DIGITAL), nr.nominal(nr.wrap(module, DIGITAL)), x), module(x))
    doubled = nr.wrap(module, DIGITAL, lambda output: 2 * output)
    assert torch.equal(nr.run(doubled, nr.nominal(doubled), x), 2 * module(x))


def test_deviations_reach_the_module():
    """W + abs(W)·δ put in by hand gives the same logits, for a convolution and a GRU."""
    for module, x in ((cnn(False), images(0).x), (Gru().double(), draw(0, 5, 7, 3))):
        model = nr.wrap(module)
        params = nr.nominal(model)
        deviations = {name: 0.1 * draw(i, *value.shape) for i, (name, value) in enumerate(params.items())}
        found = nr.run(model, nr.apply(params, deviations), x)
        with torch.no_grad():
            for value, delta in zip(module.parameters(), deviations.values()):
                value.add_(value.abs() * delta)
        torch.testing.assert_close(found, module(x))


def test_training_trains_the_users_module():
    """fit changes the module's own tensors, digital ones too, and its batch norm's mean; a second run repeats."""
    results = []
    for _ in range(2):
        module = nn.Sequential(*cnn()[:4], nn.Dropout(0.2), cnn()[4])
        before = {name: value.clone() for name, value in module.state_dict().items()}
        task = Task("t", ("a", "b"), images(0, 24), images(1), images(2), functional.cross_entropy, None, "f")
        loss = nr.regularizers.Adversarial(task.loss, nr.attacks.PGA(2), nr.Ball.uniform(0.1), 0.5)
        history = nr.fit(nr.wrap(module, DIGITAL), task, loss, epochs=3, schedule=nr.Schedule(batch_size=8))
        assert all(not torch.equal(before[name], value) for name, value in module.state_dict().items())
        assert module.training and history.best_score > 0.5
        results.append(module.state_dict())
    assert all(torch.equal(value, results[1][name]) for name, value in results[0].items())


def test_attacked_passes_leave_buffers_and_modes():
    """One training step counts one batch in the batch norm, however many passes the attack makes; judging counts none,
    and every part is in the mode it was in."""
    module, data = cnn(), images(0)
    model = nr.wrap(module, DIGITAL)
    loss = nr.regularizers.Adversarial(functional.cross_entropy, nr.attacks.PGA(5), nr.Ball.uniform(0.1), 0.5)
    loss(model, dict(model.named_parameters()), (data.x, data.y)).backward()
    assert module[1].num_batches_tracked == 1
    module[1].eval()
    mean = module[1].running_mean.clone()
    nr.worst_case(model, data, nr.Ball.uniform(0.1), nr.attacks.PGA(2))
    nr.evaluate(model, data, nr.mismatch(0.1), n_dies=3)
    assert module[1].num_batches_tracked == 1 and torch.equal(mean, module[1].running_mean)
    assert module.training and not module[1].training


@pytest.mark.parametrize(
    "nested",
    [
        lambda loss, attack: attack(nr.regularizers.ForwardNoise(loss, 0.1)),
        lambda loss, attack: nr.regularizers.ForwardNoise(attack(loss), 0.1),
        lambda loss, attack: attack(nr.regularizers.Dropout(nr.regularizers.ForwardNoise(loss, 0.1), 0.2, "4.weight")),
        lambda loss, attack: attack(attack(nr.regularizers.ForwardNoise(loss, 0.1))),
    ],
)
def test_a_batch_is_counted_once(nested):
    """However regularizers nest, a training step counts one batch in the batch norm; under Adversarial it is the clean
    pass that counts: its mean has moved a tenth of the way to the batch's own."""
    module, data = cnn(), images(0)
    model = nr.wrap(module, DIGITAL)
    with torch.no_grad():
        mean = module[0](data.x).mean((0, 2, 3))

    def attack(inner):
        return nr.regularizers.Adversarial(inner, nr.attacks.PGA(2), nr.Ball.uniform(0.1), 0.5)

    loss = nested(functional.cross_entropy, attack)
    loss(model, dict(model.named_parameters()), (data.x, data.y)).backward()
    assert module[1].num_batches_tracked == 1
    if isinstance(loss, nr.regularizers.Adversarial):
        torch.testing.assert_close(module[1].running_mean, 0.1 * mean)


def test_evaluation_runs_in_eval_mode():
    """A fleet is judged with dropout off: the nominal score is that of the module in eval mode."""
    module, data = nn.Sequential(cnn(False), nn.Dropout(0.9)), images(0, 40)
    model = nr.wrap(module)
    result = nr.evaluate(model, data, nr.mismatch(0.0), n_dies=2)
    predicted = module.eval()(data.x).argmax(1)
    expected = sum((predicted[data.y == c] == c).double().mean().item() for c in (0, 1)) / 2
    assert result.nominal == pytest.approx(expected) and result.score.tolist() == pytest.approx([expected] * 2)


def test_no_two_layers_share_a_deviate():
    """Two layers of the same shape get different deviates on the same die: 200 values, none equal."""
    model = nr.wrap(nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 10)))
    chip = nr.mismatch(0.1)
    deviations = chip.fabricate([0], 0)[0].deviations(chip.program(nr.nominal(model), nr.chip.Placement()))
    together = torch.cat([deviations["0.weight"].flatten(), deviations["1.weight"].flatten()])
    assert len(together.unique()) == 200


def test_digital_numbers_are_neither_attacked_nor_deviating():
    """A digital parameter has no deviation, no radius, and a die leaves it alone."""
    model, data = nr.wrap(cnn(), DIGITAL), images(0)
    found = nr.worst_case(model, data, nr.Ball.uniform(0.2), nr.attacks.PGA(2))
    assert not any(name.endswith("digital") for name in found.deviations)
    programmed = nr.mismatch(0.2).program(nr.nominal(model), nr.chip.Placement())
    assert not any(name.endswith("digital") for name in nr.mismatch(0.2).fabricate([0], 0)[0].deviations(programmed))
    with pytest.raises(ValueError, match=r"a digital parameter does not deviate"):
        nr.apply(nr.nominal(model), {"1.weight.digital": torch.zeros(3)})


def test_tied_weights_stay_tied():
    """A weight used twice, by one module or by two, is one parameter; a deviation moves both uses and stays away."""
    for second in (None, nn.Linear(3, 3, bias=False)):
        linear = nn.Linear(3, 3, bias=False)
        if second is not None:
            second.weight = linear.weight
        module = nn.Sequential(linear, nn.ReLU(), linear if second is None else second)
        model, x, before = nr.wrap(module), draw(0, 4, 3).float(), linear.weight.detach().clone()
        assert list(nr.nominal(model)) == ["0.weight"]
        found = nr.run(model, {"0.weight": 2 * linear.weight}, x)
        torch.testing.assert_close(found, 4 * module(x))
        assert torch.equal(before, linear.weight) and isinstance(module[2].weight, nn.Parameter)


def test_vmap_equals_the_loop():
    """torch.func.vmap over stacked dies gives each die's logits."""
    model, x = nr.wrap(cnn(False)), images(0).x
    params = nr.nominal(model)
    dies = [nr.apply(params, {name: 0.1 * draw(i, *value.shape) for name, value in params.items()}) for i in range(3)]
    stacked = {name: torch.stack([die[name] for die in dies]) for name in params}
    together = torch.func.vmap(lambda p: forward(model, p, x)[0])(stacked)
    torch.testing.assert_close(together, torch.stack([nr.run(model, die, x) for die in dies]))


def test_copies_and_data_parallel():
    """A deep copy is independent and keeps its ties; nn.DataParallel and a state_dict round trip give the same."""
    module, x = cnn(), images(0).x
    model = nr.wrap(module.eval(), DIGITAL)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        next(twin.parameters()).zero_()
    assert next(module.parameters()).abs().sum() > 0
    torch.testing.assert_close(nn.DataParallel(model)(x)[0], module(x))
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    twin.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(nr.run(twin, nr.nominal(twin), x), module(x))


def test_three_lines_in_a_loop_of_ones_own():
    """loss = regularizer(model, params, batch); loss.backward(); step: the loss falls."""
    model, data = nr.wrap(cnn(False)), images(0, 40)
    regularizer = nr.regularizers.Adversarial(functional.cross_entropy, nr.attacks.PGA(2), nr.Ball(weight=0.1), 0.25)
    optimizer, losses = torch.optim.Adam(model.parameters(), 0.01), []
    for _ in range(20):
        optimizer.zero_grad()
        loss = regularizer(model, dict(model.named_parameters()), (data.x, data.y))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("steps", [None, 5])
def test_regression(steps):
    """Targets to regress, per sample and per step: R² against its definition, training and attack with mse."""
    shape = (30, 3) if steps is None else (30, steps, 3)
    x = draw(0, *shape)
    y = x @ draw(1, 3, 2)
    data = Data(x, y)
    model = nr.wrap(nn.Linear(3, 2).double())
    task = Task("r", (), data, data, data, functional.mse_loss, None, "f")
    loss = nr.regularizers.Adversarial(task.loss, nr.attacks.PGA(2, objective="mse"), nr.Ball(weight=0.1), 0.1)
    history = nr.fit(model, task, loss, epochs=60, schedule=nr.Schedule(learning_rate=0.05))
    fleet = nr.evaluate(model, data, nr.mismatch(0.1), n_dies=5)
    with torch.no_grad():
        residual = nr.run(model, nr.nominal(model), x) - y
    assert fleet.nominal == pytest.approx(1 - residual.square().sum().item() / (y - y.mean()).square().sum().item())
    assert fleet.nominal > 0.9 and history.best_score > 0.8 and fleet.min < fleet.nominal
    with pytest.raises(ValueError, match=r"a regression has none; use score"):
        _ = fleet.balanced_accuracy
    worst = nr.worst_case(model, data, nr.Ball(weight=0.1), nr.attacks.PGA(3, objective="mse"))
    assert worst.score < fleet.nominal


def test_labels_of_every_step():
    """Per-step classes: logits (B, T, C) and labels (B, T) are judged step by step."""
    x = draw(0, 30, 6, 3)
    data = Data(x, (x[..., 0] > 0).long())
    model = nr.wrap(nn.Linear(3, 2).double())
    criterion = lambda logits, y: functional.cross_entropy(logits.flatten(0, 1), y.flatten())  # noqa: E731
    task = Task("s", ("a", "b"), data, data, data, criterion, None, "f")
    loss = nr.regularizers.Adversarial(criterion, nr.attacks.PGA(2), nr.Ball(weight=0.1), 0.1)
    nr.fit(model, task, loss, epochs=40, schedule=nr.Schedule(learning_rate=0.05))
    fleet = nr.evaluate(model, data, nr.mismatch(0.1), n_dies=3)
    predicted = nr.run(model, nr.nominal(model), x).argmax(-1)
    expected = sum((predicted[data.y == c] == c).double().mean().item() for c in (0, 1)) / 2
    assert fleet.nominal == pytest.approx(expected) and expected > 0.9


def mutating(x):
    return x.mul_(2)


class InPlace(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x):
        return self.linear(x.mul_(2))


class Pruned(nn.Linear):
    def __init__(self):
        super().__init__(3, 2)
        self.weight_orig = nn.Parameter(self.weight.detach())
        del self.weight


class Remembers(nn.Module):
    """A linear layer with a state that outlives the call; as a buffer, or as a plain attribute."""

    def __init__(self, buffer=False):
        super().__init__()
        self.linear, self.calls = nn.Linear(3, 2).double(), 0
        if buffer:
            self.register_buffer("state", torch.zeros(2).double())
        else:
            self.state = torch.zeros(2).double()

    def forward(self, x):
        self.calls += 1
        output = self.linear(x)
        if "state" in self._buffers:
            self.state.mul_(0.9).add_(1)
        else:
            self.state = 0.9 * self.state + 1
        return output + self.state


class Noisy(nn.Module):
    """Draws from torch's own generator in eval mode, too."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2).double()

    def forward(self, x):
        return self.linear(x + torch.randn_like(x))


def vectors() -> Data:
    return Data(draw(0, 20, 3), torch.arange(20) % 2)


USES = {
    "evaluate": lambda model: nr.evaluate(model, vectors(), nr.mismatch(0.1), n_dies=2),
    "worst_case": lambda model: nr.worst_case(model, vectors(), nr.Ball(weight=0.1), nr.attacks.PGA(1)),
    "sensitivity": lambda model: nr.sensitivity(model, vectors(), attack=nr.attacks.PGA(1), n_dies=1),
    "fit": lambda model: nr.fit(
        model,
        Task("t", ("a", "b"), vectors(), vectors(), vectors(), functional.cross_entropy),
        functional.cross_entropy,
        epochs=1,
    ),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_module_that_does_not_repeat_itself_is_refused(use):
    """State between calls and random numbers in eval mode are found at the first check, before anything is measured;
    state in a buffer is restored after every pass and does no harm; torch's generator is left alone."""
    for module, message in (
        (Remembers(), r"Remembers gives other outputs for the same samples .*\(.*state.* changed\)"),
        (Noisy(), r"Noisy draws random numbers in forward \(torch.randn_like\)"),
    ):
        state = torch.get_rng_state()
        with pytest.raises(ValueError, match=f"module: {message}"):
            use(nr.wrap(module))
        assert torch.equal(state, torch.get_rng_state())
    module = Remembers(buffer=True)
    use(nr.wrap(module))


def counted(function, calls):
    """A function that counts its calls in a C number, which the look at a module does not put back."""

    def call(*args):
        calls.value += 1
        return function(*args)

    return call


def test_a_module_is_checked_once(monkeypatch):
    """The first evaluation looks at the module; the second does not; after a step of training, a shorter look."""
    module = Remembers(buffer=True)
    model, calls, counts = nr.wrap(module), ctypes.c_long(0), []
    monkeypatch.setattr(Remembers, "forward", counted(Remembers.forward, calls))
    for step in range(4):
        if step == 2:
            with torch.no_grad():
                module.linear.weight.add_(0.1)
        calls.value = 0
        USES["evaluate"](model)
        counts.append(calls.value)
    assert counts[1] == counts[3] == 4 and counts[0] > counts[2] > 4, counts


def test_a_training_modules_dropout_is_no_state():
    """Dropout and batch norm in train mode differ from call to call; in eval mode they do not."""
    module = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2)).double()
    USES["fit"](nr.wrap(module))
    assert module.training


def test_bad_modules_are_refused():
    """Norms, unknown names, foreign overrides, no parameters, mixed types: each by name, saying what to do."""
    with pytest.raises(ValueError, match=r"1.weight belongs to a BatchNorm2d; .*'normalisation': 'digital'\}"):
        nr.wrap(cnn())
    with pytest.raises(ValueError, match=r"gain of Scaled has no known kind; pass kinds=\{'gain'"):
        nr.wrap(Scaled())
    with pytest.raises(ValueError, match=r"weight_orig .*prune.remove"):
        nr.wrap(Pruned())
    with pytest.raises(ValueError, match=r"kinds: parameter: 'gian' does not exist; .*Did you mean 'gain'"):
        nr.wrap(Scaled(), {"gian": "weight"})
    with pytest.raises(ValueError, match=r"'wieght' does not exist.*Did you mean 'weight'"):
        nr.wrap(Scaled(), {"gain": "wieght"})
    with pytest.raises(ValueError, match=r"has no parameters"):
        nr.wrap(nn.ReLU())
    with pytest.raises(ValueError, match=r"0.weight is torch.float32 on cpu; 1.weight is torch.float64 on cpu"):
        nr.wrap(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double()))
    with pytest.raises(ValueError, match=r"0.weight is torch.float32 on cpu; 1.weight is torch.float32 on meta"):
        nr.wrap(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, device="meta")))
    with pytest.raises(ValueError, match=r"module: is on the device meta, so it has no values; use cpu or cuda\.$"):
        nr.wrap(nn.Linear(2, 2, device="meta"))
    with pytest.raises(TypeError, match=r"module: got function; expected a torch.nn.Module"):
        nr.wrap(mutating)
    with pytest.raises(TypeError, match=r"is already wrapped"):
        nr.wrap(nr.wrap(nn.Linear(3, 2)))


@pytest.mark.parametrize(
    ("module", "x", "message"),
    [
        (nn.LSTM(3, 2), torch.ones(4, 3), "decode: the module gives a tuple for 4 samples; .* Pass decode="),
        (InPlace(), torch.ones(4, 3), "changes its input in place"),
        (nn.Linear(3, 2), torch.ones(4, 3).double(), "x: got torch.float64 on cpu; the parameters are torch.float32"),
        (nn.Sequential(nn.Linear(3, 2), nn.Flatten(0)), torch.ones(4, 3), r"gives a tensor of shape \(8,\) for 4"),
    ],
)
def test_bad_outputs_and_inputs_are_refused(module, x, message):
    """Outputs that are no logits, inputs changed in place or of another type: one clear error."""
    model = nr.wrap(module)
    with pytest.raises(ValueError, match=message):
        nr.run(model, nr.nominal(model), x)


def test_labels_and_outputs_must_fit():
    """fit and evaluate name a network whose outputs do not fit the labels."""
    data = Data(draw(0, 8, 3), torch.arange(8) % 4)
    with pytest.raises(ValueError, match=r"labels: got class 3; the network has logits for classes 0 to 1"):
        nr.evaluate(nr.wrap(nn.Linear(3, 2).double()), data, nr.mismatch(0.1), n_dies=2)
    with pytest.raises(
        ValueError, match=r"network: gives outputs of shape \(8, 1, 2\), in every step, for labels of shape \(8,\)"
    ):
        nr.evaluate(
            nr.wrap(nn.Linear(3, 2).double(), decode=lambda output: output[:, None]), data, nr.mismatch(0.1), n_dies=2
        )


def test_saved_and_loaded(tmp_path):
    """Tensors go to a folder and come back into a network made in the same way; another network is refused by name."""
    module, x = cnn().eval(), images(0).x
    model = nr.wrap(module, DIGITAL)
    nr.save(model, tmp_path / "m", {"task": "t"})
    fresh = cnn().eval()
    with torch.no_grad():
        for value in fresh.parameters():
            value.zero_()
    loaded, info = nr.load(tmp_path / "m", into=nr.wrap(fresh, DIGITAL))
    assert torch.equal(nr.run(loaded, nr.nominal(loaded), x), module(x)) and info == {"task": "t"}
    with pytest.raises(ValueError, match=r"into: .* holds the tensors of a foreign network, not its code"):
        nr.load(tmp_path / "m")
    with pytest.raises(ValueError, match=r"into: 3 is absent there, .* here, where 'there' is "):
        nr.load(tmp_path / "m", into=nr.wrap(cnn(False)))
