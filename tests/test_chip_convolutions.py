"""Convolutions on chips: a spiking chip has every unrolled synapse, a crossbar the kernel once; each against the dense
network that it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import DT, draw
from hypothesis import given
from hypothesis import strategies as st

import chipmodels
import neurorobust as nr
from neurorobust.core.apply import apply
from neurorobust.core.placement import HOST
from neurorobust.core.run import nominal, run
from neurorobust.data import Data
from neurorobust.nn.connections import AvgPool2d, Chain, Conv1d, Conv2d, Delayed, Linear
from neurorobust.nn.network import Network, placement_of
from neurorobust.nn.neurons import LeakyIntegrator, Lif

CROSSBARS = ["pcm", "hermes", "reram", "reram_cmo"]


def network(connection, core: int | torch.Tensor = 0, seed: int = 0) -> Network:
    n = connection.n_out
    cores = torch.full((n,), core) if isinstance(core, int) else core
    hidden = Lif(connection, recurrent=None, core=cores, tau_mem=0.01, v_threshold=0.05)
    readout = LeakyIntegrator(Linear(draw(seed, 2, n)), core=torch.full((2,), HOST), tau_mem=0.01)
    return Network({"hidden": hidden, "readout": readout}, DT)


def kernel(bias: bool = False) -> Conv2d:
    mask = torch.ones(3, 2, 3, 3, dtype=torch.bool)
    mask[1, 0, 2, 2] = False
    return Conv2d(draw(1, 3, 2, 3, 3), (2, 5, 4), draw(2, 3) if bias else None, mask, stride=(2, 1), padding=(1, 0))


def dense(conv) -> Linear:
    """The same as a matrix, by putting every unit vector through it."""
    with torch.no_grad():
        rest = conv(torch.zeros(1, 1, conv.n_in, dtype=torch.float64), DT)[0, 0]
        weight = (conv(torch.eye(conv.n_in, dtype=torch.float64)[None], DT)[0] - rest).T
        there = type(conv)(
            torch.ones_like(conv.weight), conv.shape, None, conv.mask, stride=conv.stride, padding=conv.padding
        )
        mask = there(torch.eye(conv.n_in, dtype=torch.float64)[None], DT)[0].T != 0
    return Linear(weight, None if conv.bias is None else rest, mask)


def data(n_in: int, n: int = 12) -> Data:
    x = (torch.rand(n, 20, n_in, generator=torch.Generator().manual_seed(3), dtype=torch.float64) < 0.4).double()
    return Data(x, torch.arange(n) % 2)


@given(
    st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2), st.integers(0, 999)
)
def test_an_unrolled_kernel_is_the_same_connection(dims, channels, size, stride, padding, seed):
    """Random shapes, strides, paddings and masks: the unrolled weight and bias give the same current, absent entries
    stay absent, and every index is an entry of the kernel."""
    shape = (channels, 5, 4)[: dims + 1]
    weight = draw(seed, 2, channels, *(size,) * dims)
    mask = draw(seed + 1, *weight.shape) > -0.5
    conv = (Conv1d, Conv2d)[dims - 1](weight, shape, draw(seed + 2, 2), mask, stride=stride, padding=padding)
    makers = conv.convolutions()
    x = draw(seed + 3, 3, 2, conv.n_in)
    expected = conv(x, DT)
    values = {"weight": makers["weight"](), "bias": makers["bias"]()}
    entries = {"weight": conv.weight.detach().reshape(-1), "bias": conv.bias.detach()}
    unrolled = {name: entries[name][index.clamp(min=0)] * (index >= 0) for name, index in values.items()}
    torch.testing.assert_close(torch.func.functional_call(conv, unrolled, (x, DT)), expected, rtol=1e-11, atol=1e-12)
    assert mask.reshape(-1)[values["weight"][values["weight"] >= 0]].all()
    assert torch.equal(values["weight"] >= 0, dense(conv).mask)


@pytest.mark.parametrize("name", ["dynapse2", "brainscales2", "rolls", "braindrop", "xylo"])
@pytest.mark.parametrize("delayed", [False, True])
def test_on_a_spiking_chip_every_synapse_deviates_by_itself(name, delayed):
    """Codes, gains, deviations and scores are those of the dense network of the same weights, bit for bit; positions
    that share a kernel differ on a die of a chip that varies."""
    chip, conv = chipmodels.load(name), kernel()
    conv_network = network(Delayed(conv, 0.0) if delayed else conv)
    programmed = chip.program(nominal(conv_network), placement_of(conv_network))
    same = network(dense(conv))
    reference = chip.program(nominal(same), placement_of(same))
    inside = "hidden.input.connection.weight" if delayed else "hidden.input.weight"
    assert torch.equal(programmed.codes[inside], reference.codes["hidden.input.weight"])
    assert programmed.report == reference.report
    for serial in (0, 7):
        delta = chip.fabricate([serial], 1)[0].deviations(programmed)
        expected = chip.fabricate([serial], 1)[0].deviations(reference)
        assert torch.equal(delta[inside], expected["hidden.input.weight"])
        assert torch.equal(delta["hidden.tau_mem"], expected["hidden.tau_mem"])
        x = data(conv.n_in).x
        die = apply(programmed.params, delta, programmed.placement)
        twin = apply(reference.params, expected, reference.placement)
        torch.testing.assert_close(run(conv_network, die, x), run(same, twin, x), rtol=1e-9, atol=1e-12)
    score = [nr.evaluate(each, data(conv.n_in), chip, n_dies=2).score for each in (conv_network, same)]
    assert np.array_equal(*score)
    if name in ("dynapse2", "brainscales2"):
        index = conv.convolutions()["weight"]()
        shared = delta[inside][index == int(index[index >= 0][0])]
        assert len(set(shared.abs().tolist())) == len(shared) > 1


def test_a_bias_of_a_channel_is_one_of_every_neuron():
    """On BrainScaleS-2 each neuron of a channel has a bias of its own."""
    chip, conv = chipmodels.load("brainscales2"), kernel(bias=True)
    net, same = network(conv), network(dense(conv))
    programmed = chip.program(nominal(net), placement_of(net))
    reference = chip.program(nominal(same), placement_of(same))
    die = chip.fabricate([0], 0)[0]
    assert torch.equal(die.deviations(programmed)["hidden.input.bias"], die.deviations(reference)["hidden.input.bias"])


@pytest.mark.parametrize("name", CROSSBARS)
def test_a_crossbar_holds_the_kernel_once(name):
    """A kernel of 3 × (2·3·3) deviates as the 3 × 18 matrix that it is on the array, on the same core, and leaves room
    for as many columns; a dense layer behind it has the columns after it."""
    chip, conv = chipmodels.load(name).at("1 day"), kernel()
    net = network(conv, core=2)
    programmed = chip.program(nominal(net), placement_of(net))
    matrix = Linear(conv.weight.detach().reshape(3, 18), None, conv.mask.reshape(3, 18))
    same = network(matrix, core=2)
    reference = chip.program(nominal(same), placement_of(same))
    die = chip.fabricate([4], 1)[0]
    delta = die.deviations(programmed)["hidden.input.weight"]
    assert delta.shape == conv.weight.shape
    assert torch.equal(delta.reshape(3, 18), die.deviations(reference)["hidden.input.weight"])
    result = nr.evaluate(net, data(conv.n_in), chip, n_dies=2)
    assert result.score.shape == (2,)


def test_defects_and_read_noise_reach_convolutions():
    """Bad entries of the kernel on pcm, bad synapses and dead neurons on dynapse2; noise in every step."""
    conv = kernel()
    net = network(conv)
    chip = chipmodels.load("dynapse2").with_defects(nr.chip.DeadNeurons(0.3), nr.chip.BadSynapses(0.3))
    programmed = chip.program(nominal(net), placement_of(net))
    broken = chip.fabricate([0], 0)[0].broken(programmed)
    assert broken["hidden.input.weight"].shape == (conv.n_out, conv.n_in)
    assert broken["hidden.v_threshold"].shape == (conv.n_out,)
    noisy = chip.with_noise(nr.noise.Read(0.2), nr.noise.Membrane(0.1))
    assert nr.evaluate(net, data(conv.n_in), noisy, n_dies=2).score.shape == (2,)
    pcm = chipmodels.load("pcm").with_defects(nr.chip.BadSynapses(0.3))
    programmed = pcm.program(nominal(net), placement_of(net))
    assert pcm.fabricate([0], 0)[0].broken(programmed)["hidden.input.weight"].shape == conv.weight.shape
    digital = chipmodels.load("pcm").with_defects(nr.chip.DeadNeurons(0.3))
    with pytest.raises(ValueError, match="computed digitally beside the array"):
        nr.evaluate(net, data(conv.n_in), digital, n_dies=1)


@pytest.mark.parametrize("name", ["dynapse2", "pcm"])
def test_an_attack_within_tolerances_moves_what_the_chip_has(name):
    """Every unrolled synapse between its corners on dynapse2, every kernel entry on pcm."""
    chip, conv = chipmodels.load(name), kernel()
    net = network(conv)
    programmed = chip.program(nominal(net), placement_of(net))
    ball = nr.Ball.from_chip(chip, programmed, sigmas=2)
    worst = nr.worst_case(net, data(conv.n_in), ball, nr.attacks.PGA(steps=2), seed=0)
    delta = worst.deviations["hidden.input.weight"]
    assert delta.shape == programmed.expanded()["hidden.input.weight"].shape
    low, high = ball.corners["hidden.input.weight"]
    assert ((delta >= low) & (delta <= high)).all()
    task_loss = nr.regularizers.Adversarial(torch.nn.functional.cross_entropy, nr.attacks.PGA(steps=1), ball, beta=0.1)
    assert task_loss.ball is ball


@pytest.mark.parametrize("how", ["corners", "programmed", "whitened"])
def test_training_for_a_chip_sees_every_unrolled_synapse(how):
    """Loss and gradient of the chip-aware regularizers on dynapse2 are those of the dense network, whose gradient sums
    to the kernel's."""
    chip, conv = chipmodels.load("dynapse2"), kernel()
    x, y = data(conv.n_in).x, data(conv.n_in).y
    found, loss, attack = [], torch.nn.functional.cross_entropy, nr.attacks.PGA(steps=1)
    make = {
        "corners": lambda: nr.regularizers.Adversarial(loss, attack, nr.regularizers.ChipCorners(chip), beta=0.5),
        "programmed": lambda: nr.regularizers.ProgrammedOn(loss, chip),
        "whitened": lambda: nr.regularizers.Whitened(loss, attack, chip, norm=1.0, beta=0.5),
    }[how]
    for net in (network(conv), network(dense(conv))):
        params = {name: value.requires_grad_() for name, value in nominal(net).items()}
        total = make()(net, params, (x, y), generator=torch.Generator().manual_seed(0))
        total.backward()
        found.append((total.detach(), params["hidden.input.weight"].grad))
    (one, shared), (two, every) = found
    torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12)
    index = conv.convolutions()["weight"]()
    summed = torch.zeros(conv.weight.numel(), dtype=torch.float64)
    summed.index_add_(0, index[index >= 0], every[index >= 0])
    torch.testing.assert_close(shared.reshape(-1), summed, rtol=1e-7, atol=1e-10)
    assert shared.any()


def test_mismatch_alone_moves_a_kernel_as_one():
    """Without limits or codes nothing says how a kernel is held: it deviates as one, as it is attacked."""
    net = network(kernel())
    chip = nr.mismatch(0.1)
    programmed = chip.program(nominal(net), placement_of(net))
    assert chip.fabricate([0], 0)[0].deviations(programmed)["hidden.input.weight"].shape == (3, 2, 3, 3)


def test_convolutions_that_do_not_fit_are_refused():
    """Too many neurons before anything is unrolled, fan-in of an unrolled neuron, pooling, a kernel on two cores or
    beside another weight, a foreign module."""
    dynapse2, pcm = chipmodels.load("dynapse2"), chipmodels.load("pcm")

    def program(chip, net):
        return chip.program(nominal(net), placement_of(net))

    big = Conv2d(draw(1, 64, 1, 3, 3), (1, 200, 200))
    cores = torch.zeros(big.n_out, dtype=torch.long)
    alone = Network({"hidden": Lif(big, recurrent=None, core=cores, tau_mem=0.01, v_threshold=0.1)}, DT)
    with pytest.raises(ValueError, match=r"neurons \(=2509056\) on core 0 exceed dynapse2's 256"):
        program(dynapse2, alone)
    wide = network(Conv2d(draw(1, 2, 3, 5, 5), (3, 8, 8)))
    with pytest.raises(ValueError, match=r"fan_in \(=75\) of neuron 0 of layer 'hidden' exceeds dynapse2's 64"):
        program(dynapse2, wide)
    pooled = network(Chain(AvgPool2d((1, 8, 8), 2), Conv2d(draw(1, 2, 1, 3, 3), (1, 4, 4))))
    with pytest.raises(ValueError, match=r"cannot be unrolled behind pooling\. Use a stride"):
        program(dynapse2, pooled)
    assert program(pcm, pooled).params["hidden.input.1.weight"].shape == (2, 1, 3, 3)
    conv = kernel()
    split = network(conv, torch.arange(conv.n_out) % 2)
    with pytest.raises(ValueError, match="one kernel of pcm is on one core"):
        program(pcm, split)
    both = Lif(kernel(), recurrent=Linear(draw(2, conv.n_out, conv.n_out)), tau_mem=0.01, v_threshold=0.1)
    with pytest.raises(ValueError, match="has a kernel and a further weight"):
        program(pcm, Network({"hidden": both}, DT))
    thick = network(Conv2d(draw(1, 1, 32, 3, 3), (32, 4, 4)))
    assert program(pcm, thick).params["hidden.input.weight"].shape == (1, 32, 3, 3)  # 288 rows are two tiles
    small = replace(pcm, architecture=replace(pcm.architecture, cores=1), limits=replace(pcm.limits, cores=1))
    with pytest.raises(ValueError, match=r"tiles: the network takes 2 tiles of 256 rows; pcm has 1"):
        program(small, thick)
