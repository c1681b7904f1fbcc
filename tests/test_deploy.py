"""Deployments: networks mapped onto chips, the same dies as in evaluate, refusals with every limit, the report."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import DT, draw, events
from hypothesis import given
from hypothesis import strategies as st
from placed import placed

import chipmodels
import neurorobust as nr
from chipmodels import xylo
from neurorobust.core.placement import HOST
from neurorobust.nn import AvgPool2d, Chain, Conv2d, Delayed, Linear, Network, OneToOne
from neurorobust.nn.decoders import last_step
from neurorobust.nn.neurons import AdaptiveLif, CubaLif, LeakyIntegrator, Lif, LinearizedDpi

DYNAPSE2, PCM = chipmodels.load("dynapse2"), chipmodels.load("pcm")
CHIPS = {name: model for name, model in chipmodels.models().items() if model.architecture is not None}


def single(n: int, fan_in: int = 4, n_in: int = 80, **changed) -> Network:
    """n neurons on core 0, each with the first ``fan_in`` of the inputs, and a read-out."""
    mask = torch.zeros(n, n_in, dtype=torch.bool)
    mask[:, :fan_in] = True
    hidden = Lif(Linear(draw(1, n, n_in), mask=mask), **{"tau_mem": 0.02, "v_threshold": 0.1} | changed)
    return Network({"hidden": hidden, "readout": LeakyIntegrator(Linear(draw(2, 2, n)), tau_mem=0.01)}, DT)


def limits_of(network: torch.nn.Module, chip: nr.chip.ChipModel, **options) -> set[tuple[str, str]]:
    with pytest.raises(nr.deploy.DeploymentError) as caught:
        nr.deploy.onto(network, chip, **options)
    return {(violation.limit, violation.where) for violation in caught.value.violations}


# ---- places


@pytest.mark.parametrize("n", [1, 64, 255, 256, 257, 511, 512, 513, 1023, 1024])
def test_every_neuron_is_deployed(n):
    """No neuron is lost where a core ends, and none takes a core more than it needs."""
    deployment = nr.deploy.onto(single(n), DYNAPSE2)
    assert len(deployment.cores["hidden"]) == n and not deployment.check()
    _, counts = deployment.cores["hidden"].unique(return_counts=True)
    assert counts.tolist() == [256] * (n // 256) + [n % 256] * bool(n % 256)
    assert {used.what: used.used for used in deployment.report.usage}["neurons"] == n


def test_one_neuron_too_many_is_refused_with_the_number_of_chips():
    with pytest.raises(nr.deploy.DeploymentError, match="got 1025; a chip has 1024; it would take 2 chips"):
        nr.deploy.onto(single(1025), DYNAPSE2)


@pytest.mark.parametrize("fan_in", [1, 63, 64, 65])
def test_fan_in_is_exact(fan_in):
    if fan_in == 65:
        assert limits_of(single(3, fan_in), DYNAPSE2) == {("fan_in", "layer 'hidden'")}
    else:
        deployment = nr.deploy.onto(single(3, fan_in), DYNAPSE2)
        assert deployment.programmed.placement.fan_in("hidden").tolist() == [fan_in] * 3


def test_a_core_that_cannot_hold_its_values_is_not_kept():
    """Neuron 1 has no synapse, so a core of its own would have no codebook. With the others it has one."""
    mask = torch.tensor([[True] * 3, [False] * 3])
    hidden = Lif(Linear(draw(1, 2, 3), mask=mask), core=torch.tensor([0, 1]), tau_mem=0.02, v_threshold=0.1)
    deployment = nr.deploy.onto(Network({"hidden": hidden}, DT), DYNAPSE2)
    assert deployment.cores["hidden"].tolist() == [0, 0] and deployment.report.moved == {"hidden": 1}


def test_a_network_without_synapses_on_the_chip_is_refused():
    """A core without synapses has no codebook; the message says so."""
    with pytest.raises(nr.deploy.DeploymentError, match="a core without a synapse has no codebook"):
        nr.deploy.onto(single(3, 0), DYNAPSE2)


@pytest.mark.parametrize("used", ["first", "last"])
def test_synapses_of_weight_0_need_no_entry(used):
    """65 synapses, of which one is 0, fit 64 entries wherever the 0 is; the report says what was left out."""
    network = single(3, 65)
    with torch.no_grad():
        network.hidden.input.weight[:, 0 if used == "last" else 64] = 0
    deployment = nr.deploy.onto(network, DYNAPSE2)
    assert deployment.report.left_out == {"hidden": 3}
    assert "3 synapses of weight 0 into 'hidden'" in str(deployment.report)
    assert int(network.hidden.input.mask.sum()) == 3 * 65  # the network is unchanged


def test_cores_that_the_chip_has_are_kept():
    deployment = nr.deploy.onto(placed([3, 3, 1, 1, 0]), DYNAPSE2)
    assert deployment.cores["hidden"].tolist() == [3, 3, 1, 1, 0] and not deployment.report.moved
    assert "on the cores that the network asks for" in str(deployment.report)


def test_neurons_move_where_a_core_is_full_or_missing():
    """Core 7 does not exist, and five values of tau on two cores do not work: all neurons get new places."""
    taus = torch.tensor([0.01, 0.02, 0.01, 0.02, 0.01], dtype=torch.float64)
    network = placed([7] * 5, tau_mem=taus, v_threshold=0.1, tau_adapt=0.03, adaptation=0.5)
    deployment = nr.deploy.onto(network, DYNAPSE2)
    assert deployment.cores["hidden"].tolist() == [0, 1, 0, 1, 0]
    assert deployment.report.moved == {"hidden": 5} and "5 neurons of 'hidden' moved" in str(deployment.report)
    assert torch.equal(deployment.network.hidden.core, deployment.cores["hidden"])


def test_values_of_each_neuron_move_with_it():
    """One value per core becomes one per neuron, so it is still that of the neuron on its new core."""
    taus = torch.tensor([0.01, 0.02, 0.03, 0.04, 0.05, 0.06], dtype=torch.float64)
    network = placed([0, 5, 5, 0], tau_mem=taus, v_threshold=0.1, tau_adapt=0.03, adaptation=0.5)
    deployment = nr.deploy.onto(network, DYNAPSE2)
    assert deployment.cores["hidden"].tolist() == [0, 1, 1, 0]
    assert deployment.network.hidden.tau_mem.tolist() == pytest.approx([0.01, 0.06, 0.06, 0.01], rel=0.004)


def test_settings_are_merged_only_when_asked():
    """Five values of tau on four cores; the two nearest share one. Without a tolerance: refused, with what it takes."""
    taus = torch.tensor([0.01, 0.02, 0.04, 0.041, 0.08], dtype=torch.float64)
    network = placed([0] * 5, tau_mem=taus, v_threshold=0.1, tau_adapt=0.03, adaptation=0.5)
    with pytest.raises(nr.deploy.DeploymentError, match=r"5 different sets of tau_mem.*tolerance=0\.0125") as caught:
        nr.deploy.onto(network, DYNAPSE2, tolerance=0.0124)
    assert len(caught.value.violations) == 1
    deployment = nr.deploy.onto(network, DYNAPSE2, tolerance=0.0125)
    (merge,) = deployment.report.merged
    assert (merge.low, merge.high, merge.neurons) == (0.04, 0.041, 2) and "0.04 to 0.041 became" in str(
        deployment.report
    )
    assert len(deployment.network.hidden.tau_mem.unique()) == 4
    assert torch.equal(network.hidden.tau_mem.detach(), taus)


def test_a_readout_stays_on_the_host_whatever_core_it_asks_for():
    network = single(4)
    network.readout.core = torch.zeros(2, dtype=torch.long)
    deployment = nr.deploy.onto(network, DYNAPSE2)
    assert list(deployment.cores) == ["hidden"] and bool((deployment.network.readout.core == HOST).all())
    assert deployment.report.host == ("readout (2)",)
    for name in ("input.weight", "tau_mem"):
        assert torch.equal(deployment.network.readout.get_parameter(name), network.readout.get_parameter(name))


def test_the_same_network_gives_the_same_deployment():
    first, second = (nr.deploy.onto(placed([0, 1, 9, 2]), DYNAPSE2) for _ in range(2))
    assert first.entry() == second.entry() and not nr.deploy.diff(first, second)


# ---- the same dies as in evaluate


def logits(network: Network, params: dict, x: torch.Tensor) -> torch.Tensor:
    return nr.run(network, params, x)


@pytest.mark.parametrize("chip", [name for name in CHIPS if name not in ("braindrop", "xylo", "rolls")])
def test_logits_of_every_die_are_those_of_evaluate(chip, tmp_path):
    """Before and after the file, bit for bit."""
    model, network, x = CHIPS[chip], placed([0] * 6), events(0, 4).x
    deployment = nr.deploy.onto(network, model)
    again = nr.deploy.load(deployment.save(tmp_path / "net.json"), model)
    programmed = model.program(nr.nominal(network), network.placement())
    dies = model.fabricate(range(3), 5)
    for die, here, there in zip(dies, deployment.dies(range(3), 5), again.dies(range(3), 5)):
        params = nr.apply(programmed.params, die.deviations(programmed), programmed.placement)
        expected = logits(network, params, x)
        assert torch.equal(logits(deployment.network, here, x), expected)
        assert torch.equal(logits(again.network, there, x), expected)


def test_wrong_serials_are_refused_before_the_first_die():
    deployment = nr.deploy.onto(placed([0, 0]), DYNAPSE2)
    with pytest.raises(ValueError, match="serial: got -1"):
        deployment.dies([-1])
    with pytest.raises(ValueError, match="seed: got -1"):
        deployment.dies([0], seed=-1)


def test_a_deployment_is_the_same_in_every_process(tmp_path):
    """The order of sets and dictionaries of strings differs between processes."""
    code = (
        "import sys, chipmodels, neurorobust as nr; network, _ = nr.zoo.load('ecg_dpi/standard');"
        "nr.deploy.onto(network, chipmodels.load('dynapse1')).save(sys.argv[1])"
    )
    for name in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": name}
        subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], check=True, env=environment)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_samples_that_the_chip_cannot_be_given_are_named():
    """A score on numbers is of no chip that takes events: the warning of nr.evaluate, where onto measures, too."""
    network = single(2)
    x = torch.full((4, 6, network.n_in), 0.5, dtype=torch.float64)
    with pytest.warns(UserWarning, match=r"reads numbers such as 0\.5; .* No die of dynapse2 can be given them"):
        nr.deploy.onto(network, chipmodels.load("dynapse2"), nr.data.Data(x, torch.arange(4) % 2))


def test_a_deployment_scores_as_evaluate_says():
    data, network = events(0, 40), placed([0, 0, 1, 1])
    deployment = nr.deploy.onto(network, DYNAPSE2, data)
    result = nr.evaluate(network, data, DYNAPSE2, n_dies=1)
    assert deployment.report.scores == (result.nominal, result.programmed) and deployment.report.samples == 40
    assert f"{result.nominal:.3f} before, {result.programmed:.3f} after, on 40 samples" in str(deployment.report)


def test_a_convolution_is_unrolled_or_held_once():
    """On DYNAP-SE2 each neuron has its own synapses; on a crossbar there is one kernel."""
    conv = Lif(Conv2d(draw(0, 2, 1, 3, 3), (1, 5, 5), draw(1, 2)), tau_mem=0.02, v_threshold=0.1)
    network = Network({"conv": conv, "readout": LeakyIntegrator(Linear(draw(2, 2, 18)), tau_mem=0.01)}, DT)
    x = (draw(3, 4, 10, 25) > 0.5).double()
    crossbar = nr.deploy.onto(network, PCM)
    assert isinstance(crossbar.network.conv.input, Conv2d)
    assert {used.what: used.used for used in crossbar.report.usage} == {
        "tiles": 1,
        "cells": 18,
        "inputs of a neuron": 9,
    }
    plain = replace(DYNAPSE2, kinds=dict(DYNAPSE2.kinds) | {"bias": replace(DYNAPSE2.kinds["bias"], per_core=False)})
    flat = nr.deploy.onto(network, plain)
    assert isinstance(flat.network.conv.input, Linear) and int(flat.network.conv.input.mask.sum()) == 18 * 9
    programmed = plain.program(nr.nominal(network), network.placement())
    assert torch.allclose(logits(flat.network, nr.nominal(flat.network), x), logits(network, programmed.params, x))


def test_more_inputs_than_a_tile_has_rows_take_further_tiles(tmp_path):
    """300 inputs on pcm: two tiles with digital sums; the dies are those of nr.evaluate."""
    network = single(3, 300, 300)
    deployment = nr.deploy.onto(network, PCM)
    assert {used.what: used.used for used in deployment.report.usage}["tiles"] == 2
    again = nr.deploy.load(deployment.save(tmp_path / "net.json"), PCM)
    programmed = PCM.program(nr.nominal(network), network.placement())
    x = (draw(3, 4, 10, 300) > 0.5).double()
    for die, here, there in zip(PCM.fabricate([0], 1), deployment.dies([0]), again.dies([0])):
        assert torch.equal(logits(deployment.network, here, x), logits(again.network, there, x))
        expected = nr.apply(programmed.params, die.deviations(programmed), programmed.placement)
        assert torch.equal(here["hidden.input.weight"], expected["hidden.input.weight"])
        assert not torch.equal(here["hidden.input.weight"], network.hidden.input.weight)


def test_layers_with_several_inputs_have_a_route_for_each():
    """The second layer takes the input of the network and the first layer; routes go where somebody listens."""
    masks = [torch.tensor([[1, 0], [1, 0]]), torch.tensor([[0, 1, 0, 1]])]
    first, second = (
        Lif(Linear(torch.ones(mask.shape), mask=mask), core=torch.full((len(mask),), i), tau_mem=0.02, v_threshold=0.1)
        for i, mask in enumerate(masks)
    )
    network = Network({"a": first, "b": second}, DT, {"b": ("x", "a")})
    routes = nr.deploy.onto(network, DYNAPSE2).routes
    assert {(route.source, route.element): route.cores for route in routes} == {
        ("x", 0): (0,),
        ("x", 1): (1,),
        ("a", 1): (1,),
    }


def test_neurons_of_two_layers_on_one_core_have_entries_of_their_own():
    """On DYNAP-SE1 a weight takes several of a neuron's 64 entries: 40 inputs each for two neurons fit on one core."""
    first, second = (Lif(Linear(draw(n, 2, n).sign()), tau_mem=0.02, v_threshold=0.1) for n in (40, 42))
    network = Network({"a": first, "b": second}, DT, {"b": ("x", "a")})
    deployment = nr.deploy.onto(network, CHIPS["dynapse1"])
    assert {used.what: used.used for used in deployment.report.usage}["cores"] == 1
    assert int(deployment.programmed.codes["b.input.weight"].abs().sum(1).max()) == 42


def test_a_chip_with_a_clock_needs_the_step_of_the_network():
    """A decay of Xylo is a shift in each step of its own."""
    network = Network({"a": Lif(Linear(torch.ones(2, 3)), tau_mem=0.1, v_threshold=0.1)}, 5e-3)
    assert limits_of(network, xylo.chip) == {("dt", "the network")}
    assert nr.deploy.onto(network, xylo.at(5e-3)).report.neurons == 2


# ---- refusals


def test_every_limit_is_named_at_once():
    """Kinds, ranges, fan-in, fan-out, inputs and neurons, in one error."""
    network = placed([0] * 1001, n_in=20, fan_in=70, tau_mem=0.02, v_threshold=0.1, tau_adapt=0.03, adaptation=0.5)
    assert limits_of(network, CHIPS["xylo"]) == {
        ("kind", "hidden.tau_adapt"),
        ("kind", "hidden.adaptation"),
        ("fan_in", "layer 'hidden'"),
        ("fan_out", "layer 'hidden'"),
        ("inputs", "'x'"),
        ("neurons", "the network"),
    }
    assert ("range", "hidden.tau_mem") in limits_of(single(3, tau_mem=1.0), DYNAPSE2)


def own_decoder(output: torch.Tensor) -> torch.Tensor:
    return output.mean(0)


class OwnLif(Lif):
    """Not installed."""


class OwnNetwork(Network):
    """With a forward pass of its own."""


def test_what_no_deployment_can_say_is_refused():
    network = single(3)
    odd = Network(network.layers(), DT, network.inputs, own_decoder)
    assert limits_of(odd, DYNAPSE2) == {("decoder", "the network")}
    own = Network({"hidden": OwnLif(Linear(draw(0, 3, 3)), tau_mem=0.02, v_threshold=0.1)}, DT)
    assert limits_of(own, DYNAPSE2) == {("structure", "layer 'hidden'")}
    with pytest.raises(ValueError, match=r"torch\.float16.*call \.float\(\)"):
        nr.deploy.onto(single(3).half(), DYNAPSE2)
    hooked = single(3)
    hooked.hidden.register_forward_hook(lambda module, inputs, output: 2 * output)
    assert limits_of(hooked, DYNAPSE2) == {("forward", "'hidden'")}
    assert limits_of(OwnNetwork(single(3).layers(), DT), DYNAPSE2) == {("forward", "OwnNetwork")}
    late = Lif(Delayed(Linear(draw(0, 3, 3)), 2 * DT), tau_mem=0.02, v_threshold=0.1)
    assert limits_of(Network({"hidden": late}, DT), DYNAPSE2) == {("connection", "layer 'hidden'")}
    pooled = Lif(Chain(AvgPool2d((1, 4, 4), 2), Linear(draw(0, 3, 4))), tau_mem=0.02, v_threshold=0.1)
    for chip in (DYNAPSE2, chipmodels.load("pcm")):
        assert limits_of(Network({"hidden": pooled}, DT), chip) == {("connection", "layer 'hidden'")}
    on_host = Lif(Linear(draw(0, 3, 3)), core=torch.full((3,), HOST), tau_mem=0.02, v_threshold=0.1)
    behind = Lif(Linear(draw(1, 3, 3)), tau_mem=0.02, v_threshold=0.1)
    assert ("inputs", "layer 'b'") in limits_of(Network({"a": on_host, "b": behind}, DT), DYNAPSE2)
    readout = Network({"readout": LeakyIntegrator(Linear(draw(0, 2, 3)), tau_mem=0.01)}, DT)
    assert limits_of(readout, DYNAPSE2) == {("layers", "the network")}


def test_a_method_that_was_replaced_is_refused():
    """Not only ``forward``: the neurons would compute something else than their class says."""
    network = single(3)
    network.hidden.gain = lambda alpha: 2 * alpha
    assert limits_of(network, DYNAPSE2) == {("forward", "'hidden'")}


@pytest.mark.parametrize("core", [[0, HOST, 1], [0, 1], [0.5, 0.5, 0.5]])
def test_cores_that_no_chip_has_are_refused(core):
    """A layer is not moved off the host, whole or in part, without a word."""
    network = single(3)
    network.hidden.core = torch.tensor(core)
    assert ("core", "layer 'hidden'") in limits_of(network, DYNAPSE2)


def test_a_kernel_and_a_recurrent_weight_are_refused_by_name():
    conv = Lif(Conv2d(draw(0, 1, 1, 2, 2), (1, 3, 3)), recurrent=OneToOne(draw(1, 4)), tau_mem=0.02, v_threshold=0.1)
    assert limits_of(Network({"conv": conv}, DT), PCM) == {("kernel", "layer 'conv'")}


def test_a_convolution_that_is_too_large_is_refused_before_it_is_unrolled():
    """Unrolled, its weights would take 4 TB."""
    conv = Lif(Conv2d(draw(0, 8, 1, 9, 9), (1, 300, 300)), tau_mem=0.02, v_threshold=0.1)
    assert limits_of(Network({"conv": conv}, DT), DYNAPSE2) == {
        ("neurons", "the network"),
        ("fan_in", "layer 'conv'"),
    }


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nr.deploy.onto(torch.nn.Linear(2, 2), DYNAPSE2), TypeError, "network: got a Linear; expected a neur"),
        (lambda: nr.deploy.onto(single(2), "dynapse2"), TypeError, "chip: got 'dynapse2'; expected a ChipModel"),
        (lambda: nr.deploy.onto(single(2), nr.mismatch(0.1)), ValueError, "states no architecture"),
        (lambda: nr.deploy.onto(single(2), DYNAPSE2.with_host(exact=False)), ValueError, "a real one does not"),
        (lambda: nr.deploy.onto(single(2), DYNAPSE2, tolerance=-1), ValueError, "tolerance: got -1"),
        (lambda: nr.deploy.onto(single(2), DYNAPSE2, 3), TypeError, "data: got a int"),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=re.escape(message)):
        call()


def test_values_that_are_not_numbers_are_refused():
    network = single(2)
    with torch.no_grad():
        network.hidden.input.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"hidden\.input\.weight: 1 of 160 values are NaN"):
        nr.deploy.onto(network, DYNAPSE2)


# ---- any network, any chip


@st.composite
def networks(draw_from: st.DrawFn) -> Network:
    """One to three layers of different neurons, with masks (some empty), recurrence, cores in any order, skip
    connections, kernels, delays of 0 and of some steps, either precision; a read-out or none."""
    generator = torch.Generator().manual_seed(draw_from(st.integers(0, 10**6)))
    dtype, dt = draw_from(st.sampled_from([torch.float32, torch.float64])), draw_from(st.sampled_from([DT, 5e-3]))

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype)

    sizes, layers, inputs = {"x": draw_from(st.sampled_from([1, 4, 9, 20]))}, {}, {}
    n_layers = draw_from(st.integers(1, 3))
    for i in range(n_layers):
        name, chosen = f"layer{i}", draw_from(st.permutations(list(sizes)))[: draw_from(st.sampled_from([1, 1, 2, 3]))]
        heard = {source for sources in inputs.values() for source in sources}
        rest = [layer for layer in layers if layer not in heard] if i == n_layers - 1 else []
        inputs[name] = tuple(dict.fromkeys([*chosen, *rest]))
        n_in = sum(sizes[source] for source in inputs[name])
        if n_in in (4, 9) and draw_from(st.booleans()):
            side = math.isqrt(n_in)
            connection = Conv2d(normal(2, 1, 2, 2), (1, side, side), draw_from(st.sampled_from([None, normal(2)])))
        else:
            n = draw_from(st.integers(1, 12))
            mask = torch.rand(n, n_in, generator=generator) < draw_from(st.sampled_from([0.0, 0.3, 1.0]))
            bias = torch.full((n,), 0.1, dtype=dtype) if draw_from(st.booleans()) else None
            connection = Linear(normal(n, n_in), bias, mask)
        n = connection.n_out
        if draw_from(st.sampled_from([False, False, True])):
            connection = Delayed(connection, draw_from(st.sampled_from([0.0, 2 * dt])))
        options = {"tau_mem": draw_from(st.sampled_from([0.01, torch.linspace(0.01, 0.05, n)])), "v_threshold": 0.1}
        if n > 1 and draw_from(st.booleans()):
            recurrent = [Linear(normal(n, n)), OneToOne(torch.ones(n, dtype=dtype))]
            options["recurrent"] = draw_from(st.sampled_from(recurrent))
        cores = [None, torch.arange(n) % 4, torch.full((n,), 20)]
        cores += (
            [torch.arange(n).flip(0) % 3] if n > 3 else []
        )  # as many neurons as cores need the order of their cores
        options["core"] = draw_from(st.sampled_from(cores))
        neuron = draw_from(st.sampled_from([Lif, AdaptiveLif, CubaLif, LinearizedDpi]))
        options |= {"tau_syn": 0.005} if neuron is CubaLif else {}
        options |= {"tau_syn_exc": 0.005, "tau_syn_inh": 0.01} if neuron is LinearizedDpi else {}
        if neuron is AdaptiveLif:
            options |= {"tau_adapt": 0.1, "adaptation": draw_from(st.sampled_from([0.0, 0.3]))}
        layers[name], sizes[name] = neuron(connection, **options), n
    if draw_from(st.booleans()):
        layers["readout"] = LeakyIntegrator(Linear(normal(2, sizes[name])), tau_mem=0.01)
        inputs["readout"] = (name,)
    return Network(layers, dt, inputs, last_step).to(dtype)


@pytest.mark.parametrize("chip", CHIPS)
@given(network=networks(), tolerance=st.sampled_from([0.0, 10.0]))
def test_any_network_is_deployed_or_refused_by_name(chip, network, tolerance, tmp_path_factory):
    """A deployment that passes every check, comes back from its file and computes what the programmed network does; or
    an error that names limits. The network is never changed."""
    model, before = CHIPS[chip], nr.nominal(network)
    try:
        deployment = nr.deploy.onto(network, model, tolerance=tolerance)
    except nr.deploy.DeploymentError as error:
        assert error.violations
        assert all(each.limit and each.where and each.got and each.hint for each in error.violations)
        return
    finally:
        assert all(torch.equal(value, before[name]) for name, value in nr.nominal(network).items())
    assert not deployment.check()
    assert max(map(len, str(deployment.report).splitlines())) <= 120 and str(deployment.report).count("\n") < 40
    path = deployment.save(tmp_path_factory.mktemp("deploy") / "net.json")
    again = nr.deploy.load(path, model)
    assert not nr.deploy.diff(deployment, again)
    assert path.read_bytes() == again.save(path.parent / "again.json").read_bytes()
    x = (torch.rand(2, 10, network.n_in, generator=torch.Generator().manual_seed(1)) < 0.5).to(
        next(network.parameters()).dtype
    )
    for here, there in zip(deployment.dies([3]), again.dies([3])):
        assert torch.equal(logits(deployment.network, here, x), logits(again.network, there, x))
    for used in deployment.report.usage:
        assert used.of is None or used.used <= used.of
    if not deployment.report.merged:
        expected = nr.nominal(network)
        for name, value in nr.nominal(deployment.network).items():
            if not name.endswith(("weight", "bias")) and name not in deployment.programmed.codes:
                assert np.allclose(value, expected[name].expand_as(value))
