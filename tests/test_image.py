"""Images: what comes back from tags, masks and entries alone, what is refused, and the circuit of an image."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from imaged import dpi_network
from placed import placed

import chipmodels
import neurorobust as nr
from neurorobust.chip.encodings import MaskCodebook
from neurorobust.circuit import DendriteType, Events, Technology, circuit_of, deviating, simulate
from neurorobust.circuit.simulation import jumps
from neurorobust.deploy.image import Destination, Image, ImageLayer, Input
from neurorobust.deploy.image.layout import BIASES, SE1, SE2
from neurorobust.nn import Linear, OneToOne

SE2_CHIP, SE1_CHIP = chipmodels.load("dynapse2"), chipmodels.load("dynapse1")
BOTH = pytest.mark.parametrize("chip", [SE2_CHIP, SE1_CHIP], ids=lambda chip: chip.name)
CORES = ([0, 1, 0, 1, 1, 0, 3], [2, 2, 0])


def deployed(chip=SE2_CHIP, cores=CORES, **others: Any) -> nr.deploy.Deployment:
    return nr.deploy.onto(dpi_network(cores, **others), chip)


@pytest.fixture(scope="module")
def deployment() -> nr.deploy.Deployment:
    return deployed()


@pytest.fixture(scope="module")
def image(deployment) -> Image:
    return deployment.image()


# ---- what it holds


def weights_of(image: Image, unit: Callable[[int], float]) -> np.ndarray:
    """The weights of all neurons, (n, channels + n), in network units, from entries, tags and biases: written anew."""
    n, channels = len(image.neurons), image.channels
    found = np.zeros((n, channels + n))
    for i, neuron in enumerate(image.neurons):
        for entry in neuron.cam:
            senders = [c for c, tag, cores in image.inputs if tag == entry.tag and cores >> neuron.core & 1]
            for j, other in enumerate(image.neurons):
                senders += [
                    channels + j
                    for tag, cores, x, y in other.sram
                    if tag == entry.tag and cores >> neuron.core & 1 and x == y == 0
                ]
            (source,) = senders
            names = [f"Iw_{k}" for k in range(4) if entry.mask >> k & 1]
            if image.device == "DYNAP-SE1":
                names = [f"Iw_{entry.dendrite.name.lower()}"]
            size = sum(image.cores[neuron.core][name] for name in names) / unit(neuron.core)
            found[i, source] += size if entry.dendrite == DendriteType.AMPA else -size
    return found


def weights_wanted(deployment: nr.deploy.Deployment) -> np.ndarray:
    """The weights that the chip holds, from the parameters of the deployed network."""
    network = deployment.network
    names = [name for name in network.layers() if name in deployment.cores]
    sizes = {"x": network.n_in} | {name: network.layers()[name].n for name in names}
    starts = dict(zip(sizes, np.cumsum([0, *sizes.values()])))
    total = sum(sizes.values())
    wanted = np.zeros((total - network.n_in, total))
    for name in names:
        rows = slice(starts[name] - network.n_in, starts[name] - network.n_in + sizes[name])
        for part, source in (("input", network.inputs[name][0]), ("recurrent", name)):
            connection = getattr(network.layers()[name], part)
            held = (connection.weight * connection.mask).detach().double().numpy()
            wanted[rows, starts[source] : starts[source] + sizes[source]] += held
    return wanted


@st.composite
def placements(draw: Any) -> tuple[list[int], ...]:
    n_cores = draw(st.integers(2, 4))
    return tuple(
        draw(st.lists(st.integers(0, n_cores - 1), min_size=2, max_size=12).filter(lambda c: len(set(c)) > 1))
        for _ in range(draw(st.integers(1, 2)))
    )


@pytest.mark.parametrize("chip", [SE2_CHIP, SE1_CHIP], ids=lambda chip: chip.name)
@given(cores=placements(), seed=st.integers(0, 2**20), density=st.sampled_from([0.1, 0.5, 0.9]))
def test_weights_signs_and_cores_come_back_from_the_image_alone(chip, cores, seed, density):
    """Random networks on two to four cores, recurrent across cores, of one or two layers."""
    deployment = nr.deploy.onto(dpi_network(cores, seed=seed, density=density), chip)
    image = deployment.image()
    assert image.check() == image.check(deployment) == []
    gain = {core: held.gain for (kind, core), held in deployment.programmed.held.items() if kind == "weight"}
    if chip is SE1_CHIP:
        heaviest = max(
            float(value.abs().max())
            for name, value in deployment.programmed.params.items()
            if name.endswith("weight") and not name.startswith("readout")
        )
        gain = dict.fromkeys(gain, 8e-9 / heaviest)
    np.testing.assert_allclose(weights_of(image, gain.__getitem__), weights_wanted(deployment), rtol=1e-6)
    numbering = deployment.programmed.placement.numbering
    sites = [numbering[name] for name, _ in image.layers]
    assert [each.core for each in image.neurons] == torch.cat([each.core for each in sites]).tolist()
    assert [each.number for each in image.neurons] == torch.cat([each.number for each in sites]).tolist()


def test_integers_and_currents(image, deployment):
    """One value per core: codebook, leak. A monitored neuron has an entry for the host."""
    technology = Technology()
    assert (image.device, image.chip, image.version) == ("DYNAP-SE2", "dynapse2", 2)
    assert [tuple(each) for each in image.layers] == [("layer0", 7), ("layer1", 3)]
    assert sorted(image.cores) == [0, 1, 2, 3]
    for core, biases in image.cores.items():
        held = deployment.programmed.held["weight", core]
        assert isinstance(held.codec, MaskCodebook)
        np.testing.assert_allclose(
            [biases[f"Iw_{k}"] for k in range(4)], [each * held.gain for each in held.codec.currents], rtol=1e-8
        )
        tau = technology.tau(technology.c_mem, np.array(biases["Itau_mem"]))
        assert tau == pytest.approx(0.01, rel=0.01)
        assert "Idc" not in biases and biases["Iw_ahp"] > 0
    assert all(neuron.latches == (False, True, False) for neuron in image.neurons)
    monitored = {i for i, neuron in enumerate(image.neurons) for each in neuron.sram if each.x_hop == each.y_hop == -7}
    assert monitored == set(image.monitors.values()) == {7, 8, 9}
    assert all(tag == 256 * image.neurons[i].core + image.neurons[i].number for tag, i in image.monitors.items())


def test_a_source_that_no_synapse_hears_has_no_address():
    """Its weights became 0, or are 0."""
    network = dpi_network(([0, 1, 0],))
    with torch.no_grad():
        network.layers()["layer0"].input.weight[:, 2] = 0.0
    image = nr.deploy.onto(network, SE2_CHIP).image()
    assert [each.channel for each in image.inputs] == [0, 1, 3]
    assert image.channels == 4 and image.check() == []


def test_latches_follow_the_network():
    """No adaptation, and a direct current, by layer; a layer without does not use the bias of its core."""
    network = dpi_network(([0, 0], [0, 0]), tau_adapt=None, adaptation=None)
    layers = dict(network.layers())
    layers["layer0"].input.bias = torch.nn.Parameter(torch.full((2,), 0.02))
    image = nr.deploy.onto(nr.Network(layers, dt=1e-3), SE2_CHIP).image()
    assert [each.latches for each in image.neurons] == [(False, False, True)] * 2 + [(False, False, False)] * 2
    assert image.cores[0]["Idc"] > 0 and "Iw_ahp" not in image.cores[0]
    assert image.circuit().neurons.i_dc.tolist() == [image.cores[0]["Idc"]] * 2 + [0.0, 0.0]


def test_dynapse1_counts_entries_and_neurons_send_their_own_address():
    deployment = deployed(SE1_CHIP)
    image = deployment.image()
    assert {entry.mask for neuron in image.neurons for entry in neuron.cam} == {1}
    assert max(len(neuron.cam) for neuron in image.neurons) > 20
    own = {256 * neuron.core + neuron.number for neuron in image.neurons}
    assert {each.tag for neuron in image.neurons for each in neuron.sram} <= own
    assert not own & {each.tag for each in image.inputs}
    assert {name for name in image.cores[0] if name.startswith("Iw_")} == {"Iw_ampa", "Iw_gaba", "Iw_ahp"}


def test_an_image_is_the_same_every_time(image, deployment):
    assert deployment.image() == image
    assert deployed().image() == image
    assert deployed(seed=1).image() != image


@BOTH
def test_one_source_may_have_two_synapses_on_a_neuron(chip):
    """An input that is listed twice: two synapses with one tag, told apart by their slots."""
    layers = dict(dpi_network(([0, 1, 0],)).layers())
    once = layers["layer0"].input
    layers["layer0"].input = Linear(
        torch.cat([once.weight, 2 * once.weight], 1).detach(), mask=torch.cat([once.mask, once.mask], 1)
    )
    network = nr.Network(layers, dt=1e-3, inputs={"layer0": ("x", "x"), "readout": ("layer0",)})
    deployment = nr.deploy.onto(network, chip)
    image = deployment.image()
    assert image.check(deployment) == []
    assert len({each[:2] for each in image.synapses}) < len(image.synapses)


# ---- refusals


@pytest.mark.parametrize("name", ["brainscales2", "rolls", "pcm"])
def test_other_chips_have_no_image(name):
    deployment = nr.deploy.onto(placed([0, 0, 0]), chipmodels.load(name))
    with pytest.raises(ValueError, match=f"chip: {name} has no image format; there is one for DYNAP-SE2") as caught:
        deployment.image()
    assert "\n" not in str(caught.value)


def test_masks_of_other_widths_have_no_image():
    deployment = deployed(SE2_CHIP.with_bits(5))
    with pytest.raises(ValueError, match="no image format; there is one for DYNAP-SE2 with masks of 4 bits"):
        deployment.image()


def test_neurons_without_known_currents_are_refused():
    deployment = nr.deploy.onto(placed([0, 0, 1]), SE2_CHIP)
    with pytest.raises(ValueError, match=r"layer 'hidden': is AdaptiveLif, .* nr\.deploy\.adapt\(model, chip, data\)"):
        deployment.image()


def test_connections_that_the_circuit_has_not_are_refused():
    layers = dict(dpi_network(([0, 1, 0],)).layers())
    layers["layer0"].recurrent = OneToOne(torch.ones(3))
    with pytest.raises(ValueError, match=r"image: layer0\.recurrent: is OneToOne; expected Linear"):
        nr.deploy.onto(nr.Network(layers, dt=1e-3), SE2_CHIP).image()


def violations(deployment: nr.deploy.Deployment, **arguments: Any) -> dict[str, nr.chip.Violation]:
    with pytest.raises(nr.deploy.DeploymentError, match="does not fit the image of dynapse") as caught:
        deployment.image(**arguments)
    return {each.where: each for each in caught.value.violations}


@BOTH
def test_two_values_of_a_bias_on_one_core_are_refused(chip):
    """A refractory time in one layer only."""
    layers = dict(dpi_network(([0, 1], [1, 1])).layers())
    layers["layer1"] = dpi_network(([0, 1], [1, 1]), t_ref=None).layers()["layer1"]
    broken = violations(nr.deploy.onto(nr.Network(layers, dt=1e-3), chip))
    assert list(broken) == ["Iref on core 1"]
    assert str(broken["Iref on core 1"]) == (
        "bias of Iref on core 1: got 5.25e-10, 2.386e-06 A; a core has one value; it follows from t_ref: make them "
        "equal there, or put the neurons on other cores."
    )


def test_currents_beyond_the_bias_generator_are_refused_by_name(deployment):
    """Gains of weights and thresholds have to hold together: at a large ratio no synaptic gain does it."""
    broken = violations(deployment, ratio=1e5)
    assert list(broken) == [f"Igain_{kind} on core {core}" for core in range(4) for kind in ("ampa", "gaba")]
    told = str(broken["Igain_ampa on core 0"])
    assert "the bias generator reaches 2.5e-13 to 1.53e-06 A (coded: smallest and largest" in told
    assert "ratio=" in told
    assert "Igain_mem on core 0" in violations(deployment, ratio=1e7)


def test_dynapse1_cannot_tell_latches_apart_within_a_core():
    layers = dict(dpi_network(([0, 0], [0, 0])).layers())
    layers["layer0"].input.bias = torch.nn.Parameter(torch.full((2,), 0.02))
    deployment = nr.deploy.onto(nr.Network(layers, dt=1e-3), SE1_CHIP)
    assert list(violations(deployment)) == ["core 0"]


def test_dynapse1_runs_out_of_tags():
    """Neurons have the tags of their addresses; channels get what is left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(vars(SE1), "tags", 4)
        patch.setattr(type(SE1), "fits", lambda self, chip: self is SE1)
        broken = violations(deployed(SE1_CHIP, ([0, 0, 0],)))
    assert next(iter(broken.values())).limit == "tags"


# ---- checks of an image by itself


def edited(image: Image, i: int, **changed: Any) -> Image:
    """The image with another neuron i."""
    neurons = list(image.neurons)
    neurons[i] = neurons[i]._replace(**changed)
    return replace(image, neurons=tuple(neurons))


def with_entry(image: Image, k: int = 0, **changed: Any) -> Image:
    """The image with another entry k of neuron 0."""
    cam = list(image.neurons[0].cam)
    cam[k] = cam[k]._replace(**changed)
    return edited(image, 0, cam=tuple(cam))


def found(image: Image) -> set[tuple[str, str]]:
    return {(each.limit, each.where) for each in image.check()}


def test_entries_out_of_range_are_found(image):
    assert ("tag", "neuron 0") in found(with_entry(image, tag=2048))
    assert ("mask", "neuron 0") in found(with_entry(image, mask=16))
    assert ("mask", "neuron 0") in found(with_entry(image, mask=0))
    assert ("dendrite", "neuron 0") in found(with_entry(image, dendrite=7))
    assert ("slot", "neuron 0") in found(with_entry(image, slot=image.neurons[0].cam[1].slot))
    assert ("slot", "neuron 0") in found(with_entry(image, slot=-1))
    many = tuple(image.neurons[0].cam[0]._replace(slot=slot) for slot in range(65))
    assert ("CAM", "neuron 0") in found(edited(image, 0, cam=many))
    assert ("CAM", "neuron 0") not in found(edited(image, 0, cam=many[:64]))


def test_destinations_out_of_range_are_found(image):
    route = image.neurons[7].sram
    assert ("SRAM", "neuron 7") in found(edited(image, 7, sram=route * 3))
    assert ("cores", "neuron 7") in found(edited(image, 7, sram=(Destination(5, 16),)))
    assert ("cores", "neuron 7") in found(edited(image, 7, sram=(Destination(5, 0),)))
    assert ("hops", "neuron 7") in found(edited(image, 7, sram=(Destination(5, 1, 1, 0),)))
    assert ("tag", "neuron 7") in found(edited(image, 7, sram=(Destination(-1, 1),)))
    assert ("monitor", "neuron 7") in found(edited(image, 7, sram=(Destination(2047, 15, -7, -7),)))
    assert ("monitor", "neuron 7") in found(edited(image, 7, sram=image.neurons[8].sram))


def test_addresses_are_of_one_neuron_on_the_chip(image):
    assert ("place", "neuron 0") in found(edited(image, 0, core=4))
    assert ("place", "neuron 0") in found(edited(image, 0, number=256))
    assert ("place", "neuron 0") in found(edited(image, 0, core=image.neurons[1].core, number=image.neurons[1].number))


def test_routes_to_nowhere_and_from_nowhere_are_found(image):
    free = max(entry.tag for neuron in image.neurons for entry in neuron.cam) + 1
    assert [each.got for each in with_entry(image, tag=free).check()] == [f"synapses with tag {free}"]
    first = image.inputs[0]
    lost = replace(image, inputs=(first._replace(tag=free), *image.inputs[1:]))
    assert any(each.limit == "route" and "nobody listens" in each.allowed for each in lost.check())
    twice = replace(image, inputs=(first._replace(tag=image.inputs[1].tag), *image.inputs[1:]))
    assert any(each.limit == "tag" and "channel 0 and channel 1" in each.got for each in twice.check())
    assert ("channel", "channel 9") in found(replace(image, inputs=(*image.inputs, Input(9, free, 1))))
    assert ("channel", "channel 0") in found(replace(image, inputs=(*image.inputs, first)))


def test_biases_are_checked(image):
    def with_biases(**changed: float | None) -> Image:
        biases = {name: value for name, value in (image.cores[0] | changed).items() if value is not None}
        return replace(image, cores={**image.cores, 0: biases})

    assert found(with_biases(Itau_mem=None)) == {("bias", "Itau_mem on core 0")}
    assert found(with_biases(Iw_3=None)) == {("bias", "Iw_3 on core 0")}
    assert found(with_biases(Igain_ahp=None)) == {("bias", "Igain_ahp on core 0")}
    assert found(with_biases(Iw_2=6e-7)) == {("bias", "Iw_2 on core 0")}
    assert found(with_biases(Ispkthr=1e-13)) == {("bias", "Ispkthr on core 0")}
    assert found(with_biases(Iw_ampa=1e-9)) == {("bias", "Iw_ampa on core 0")}
    with pytest.raises(ValueError, match="image: bias of Itau_mem on core 0: got none"):
        with_biases(Itau_mem=None).circuit()


def test_dynapse1_sends_no_other_address():
    image = deployed(SE1_CHIP).image()
    other = image.neurons[0].sram[0]._replace(tag=900)
    assert ("tag", "neuron 0") in found(edited(image, 0, sram=(other,)))


def test_an_image_knows_its_device_and_the_number_of_its_neurons(image):
    with pytest.raises(ValueError, match="device: 'DYNAP-SE3' does not exist; choose one of DYNAP-SE1, DYNAP-SE2"):
        replace(image, device="DYNAP-SE3")
    with pytest.raises(ValueError, match="layers: they have 10 neurons; the image has 9"):
        replace(image, neurons=image.neurons[1:])


# ---- against a deployment


def test_an_image_of_another_deployment_is_seen(image):
    assert [each.limit for each in image.check(deployed(seed=1))][:2] == ["deployment", "connectivity"]
    assert [each.limit for each in image.check(deployed(cores=([0, 1], [1])))] == ["deployment", "place"]
    assert image.check(deployed(SE1_CHIP))[0].limit == "chip"


def test_an_image_is_compared_with_a_deployment_only(image, deployment):
    with pytest.raises(TypeError, match=r"deployment: got a Network; expected a Deployment, as nr"):
        image.check(deployment.network)


def test_one_wrong_mask_sign_source_or_slot_is_seen(image, deployment):
    cam = image.neurons[0].cam
    used = {entry.slot for entry in cam}
    other = next(entry.tag for entry in cam if entry.tag != cam[0].tag)
    sign = DendriteType.GABA if cam[0].dendrite == DendriteType.AMPA else DendriteType.AMPA
    for changed in (
        {"mask": cam[0].mask % 15 + 1},
        {"dendrite": sign},
        {"tag": other},
        {"slot": max(used) + 1},
    ):
        (broken,) = with_entry(image, **changed).check(deployment)
        assert (broken.limit, broken.where) == ("connectivity", "neuron 0")
    (broken,) = edited(image, 0, cam=cam[1:]).check(deployment)
    assert broken.got == "0 synapses that the deployment has not"
    assert re.fullmatch(r"it has 1 others, such as (AMPA|GABA) \d+ from channel \d, slot 0", broken.allowed)


def test_a_wrong_bias_or_latch_is_seen(image, deployment):
    """Within reach of the bias generator, so the image alone looks right."""
    for name in image.cores[1]:
        biases = image.cores[1] | {name: image.cores[1][name] * 1.01}
        wrong = replace(image, cores={**image.cores, 1: biases})
        assert wrong.check() == []
        assert [(each.limit, each.where) for each in wrong.check(deployment)] == [("bias", f"{name} on core 1")]
    wrong = replace(image, cores={**image.cores, 1: image.cores[1] | {"Idc": 1e-12}})
    (broken,) = wrong.check(deployment)
    assert str(broken).startswith("bias of Idc on core 1: got 1e-12 A; the deployment does not use it")
    (broken,) = edited(image, 2, latches=image.neurons[2].latches._replace(exponential=True)).check(deployment)
    assert (broken.limit, broken.where) == ("latches", "neuron 2")


def test_an_image_of_other_constants_is_compared_with_them(deployment):
    larger = Technology(c_mem=7.7e-12)
    image = deployment.image(technology=larger, ratio=30.0)
    assert image.check(deployment, technology=larger) == []
    assert {each.where.split()[0] for each in image.check(deployment)} >= {"Itau_mem", "Igain_ampa", "Iw_ahp"}


def test_a_deployment_without_known_currents_has_no_such_image(image):
    other = nr.deploy.onto(placed([0, 1, 0]), SE2_CHIP)
    places = tuple(neuron._replace(core=c, number=k) for neuron, c, k in zip(image.neurons, (0, 1, 0), (0, 0, 1)))
    one = replace(image, neurons=places, layers=(ImageLayer("hidden", 3),), channels=3)
    assert "is AdaptiveLif, whose bias currents are unknown" in one.check(other)[-1].got


# ---- its circuit


def compare(one: Any, other: Any, names: tuple[str, ...], **tolerance: float) -> None:
    for name in names:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), err_msg=name, **tolerance)


NEURONS = (
    "i_tau_mem", "i_gain_mem", "i_thr", "i_ref", "i_dc", "feedback", "i_tau_ahp", "i_gain_ahp", "i_w_ahp",
    "i_pulse_ahp", "core", "number",
)  # fmt: skip


@BOTH
@pytest.mark.parametrize("others", [{}, {"tau_adapt": None, "adaptation": None, "t_ref": None, "r": 1.4}])
def test_the_circuit_of_an_image_is_that_of_the_network(chip, others):
    """Every current, synapse and site, up to rounding; and so every current of a die."""
    deployment = deployed(chip, **others)
    ours = deployment.image(ratio=30.0).circuit(delay=1e-3)
    other = circuit_of(deployment.network, deployment.programmed, ratio=30.0, delay=1e-3)
    for one, two in ((ours, other), tuple(deviating(each, seed=3, serial=5) for each in (ours, other))):
        compare(one.neurons, two.neurons, NEURONS, rtol=1e-6)
        assert one.n_channels == two.n_channels == 4 and one.dendrites.keys() == two.dendrites.keys()
        for kind, dendrite in one.dendrites.items():
            compare(dendrite, two.dendrites[kind], ("i_tau", "i_gain", "i_pulse"), rtol=1e-6)
        orders = [np.lexsort((each.synapses.slot, each.synapses.target)) for each in (one, two)]
        for name in ("source", "target", "dendrite", "weight", "delay", "slot"):
            a, b = (getattr(each.synapses, name)[order] for each, order in zip((one, two), orders))
            np.testing.assert_allclose(a, b, rtol=1e-6, err_msg=name)
        assert len(one.synapses.source) > 20


def test_the_circuit_of_an_image_fires(image, deployment):
    x = (torch.rand(300, 4, generator=torch.Generator().manual_seed(0)) < 0.2).int()
    counts = simulate(image.circuit(), Events.of_steps(x, 1e-3), 0.3).counts()
    circuit = circuit_of(deployment.network, deployment.programmed)
    assert counts.sum() > 20
    np.testing.assert_array_equal(counts, simulate(circuit, Events.of_steps(x, 1e-3), 0.3).counts())


def test_events_over_gain_is_the_jump_of_the_circuit(image):
    """Of the largest weight of each core and sign, over the gain current of its filter."""
    circuit = image.circuit()
    over = jumps(circuit) / circuit.dendrites[DendriteType.AMPA].i_gain[circuit.synapses.target]
    for core, filters in image.events_over_gain().items():
        here = (circuit.neurons.core[circuit.synapses.target] == core) & (
            circuit.synapses.dendrite == DendriteType.AMPA
        )
        share = circuit.synapses.weight[here] / sum(image.cores[core][f"Iw_{k}"] for k in range(4))
        np.testing.assert_allclose(over[here], filters["AMPA"] * share, rtol=1e-6)
        assert 0.05 < filters["AMPA"] < filters["GABA"] < 0.3
    one = deployed(SE1_CHIP).image()
    assert one.events_over_gain()[0]["AMPA"] == pytest.approx(
        image.events_over_gain()[0]["AMPA"] * one.cores[0]["Iw_ampa"] / sum(image.cores[0][f"Iw_{k}"] for k in range(4))
    )


# ---- the facts of the layouts


def test_every_bias_of_a_device_has_a_range():
    assert set(SE2.ranges) == {name for name in BIASES if BIASES[name].device}
    assert set(SE1.ranges) == {name for name in BIASES if name not in ("Iw_0", "Iw_1", "Iw_2", "Iw_3")}
    assert all(reach.low < reach.high and reach.source for each in (SE1, SE2) for reach in each.ranges.values())
