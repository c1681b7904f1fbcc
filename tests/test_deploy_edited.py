"""Deployment files that somebody edited, with a digest that fits: refused by one sentence, or a deployment that is
saved as that file again."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import DT, draw
from hypothesis import given
from hypothesis import strategies as st
from placed import placed

import chipmodels
import neurorobust as nr
from chipmodels import xylo
from neurorobust._util import strict
from neurorobust.chip import KindModel, SourcedValue
from neurorobust.chip.encodings import Saturating, Uniform
from neurorobust.chip.encodings.encoding import Scaled
from neurorobust.deploy import writing
from neurorobust.nn import Conv2d, Delayed, Linear, Network
from neurorobust.nn.neurons import CubaLif, LeakyIntegrator, Lif

CHIPS = {name: chipmodels.load(name) for name in ("dynapse2", "dynapse1", "brainscales2", "pcm", "braindrop")}
CHIPS["xylo"] = xylo.at(DT)
DYNAPSE2, PCM = CHIPS["dynapse2"], CHIPS["pcm"]


def network_for(chip: str) -> Network:
    """A recurrent layer and a read-out that fit the chip."""
    if chip not in ("braindrop", "xylo"):
        return placed([0, 0, 0] if chip == "brainscales2" else [0, 0, 1, 1, 2])
    hidden = CubaLif(
        Linear(draw(1, 4, 3)), recurrent=Linear(draw(3, 4, 4)), tau_mem=0.02, tau_syn=0.02, v_threshold=0.1
    )
    return Network({"hidden": hidden, "readout": LeakyIntegrator(Linear(draw(2, 2, 4)), tau_mem=0.01)}, DT)


def convolution() -> Network:
    conv = Lif(Conv2d(draw(0, 2, 1, 3, 3), (1, 5, 5), draw(1, 2)), tau_mem=0.02, v_threshold=0.1)
    return Network({"hidden": conv, "readout": LeakyIntegrator(Linear(draw(2, 2, 18)), tau_mem=0.01)}, DT)


def written(entry: dict, path) -> None:
    rest = {key: value for key, value in entry.items() if key != "sha256"}
    digest = writing.digests.of_bytes(writing.canonical(rest).encode())
    path.write_text(writing.canonical(rest | {"sha256": digest}))


def refused(entry: dict, path, message: str, chip=DYNAPSE2) -> None:
    written(entry, path)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        nr.deploy.load(path, chip)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def entries(tmp_path_factory) -> Callable[[str], dict]:
    """The content of a file for each chip."""
    found: dict[str, dict] = {}

    def entry(chip: str) -> dict:
        if chip not in found:
            path = tmp_path_factory.mktemp(chip) / "net.json"
            network = convolution() if chip == "kernel" else network_for(chip)
            nr.deploy.onto(network, PCM if chip == "kernel" else CHIPS[chip]).save(path)
            found[chip] = json.loads(path.read_text())
        return copy.deepcopy(found[chip])

    return entry


def host_of(e: dict) -> dict:
    return e["host"]["readout.input.weight"]


def twice(e: dict) -> None:
    e["network"]["layers"].append(e["network"]["layers"][0])


def unquantized(e: dict) -> None:
    weight = e["parameters"]["hidden.input.weight"]
    weight["values"] = [0.1 * code for code in weight.pop("codes")]


def one_for_all(e: dict) -> None:
    e["parameters"]["hidden.tau_adapt"] = {"shape": [], "values": [0.03]}


LIES: dict[str, tuple[Callable[[dict], Any], str]] = {
    "chip: other numbers": (lambda e: e["chip"]["numbers"].update(cores=9), "chip.numbers.cores: got 9; the rest of"),
    "chip: number missing": (lambda e: e["chip"]["numbers"].pop("tags"), "chip.numbers.tags: got nothing; the rest"),
    "chip: architecture": (lambda e: e["chip"].update(architecture="Rows"), "chip.architecture: got Rows"),
    "layer twice": (twice, "layer 'hidden': is there twice"),
    "layer: unknown key": (
        lambda e: e["network"]["layers"][0].update(zz=None),
        "network.layers (1 of 2 differ, first at 0)",
    ),
    "option: true for 1": (
        lambda e: e["network"]["layers"][0]["surrogate"].update(scaled=1),
        "scaled: got 1; expected True for",
    ),
    "weight without codes": (unquantized, "has values; expected codes, as core 0 quantizes weight"),
    "one value for all": (one_for_all, "tau_adapt has shape (); expected one value per neuron, (5,)"),
    "rows of a setting": (
        lambda e: e["parameters"]["hidden.tau_adapt"].update(rows=[0] * 5, columns=[0] * 5),
        "is no weight; expected neither rows nor columns",
    ),
    "placement too short": (
        lambda e: [e["placement"]["hidden"][key].pop() for key in ("core", "neuron")],
        "it has 5 neurons, and 4 of them have a place",
    ),
    "placement without numbers": (
        lambda e: e["placement"]["hidden"].update(neuron=None),
        "placement.hidden.neuron: got None; the rest of the file means",
    ),
    "core by another name": (
        lambda e: e["settings"].update({"00": e["settings"]["0"]}),
        "settings: '00' is no number of a core",
    ),
    "core: no number": (
        lambda e: e["settings"].update({"x": e["settings"]["0"]}),
        "settings: 'x' is no number of a core",
    ),
    "core without neurons": (lambda e: e["settings"].update({"3": e["settings"]["0"]}), "settings of core 3: has "),
    "setting that nothing uses": (
        lambda e: e["settings"]["0"].update(r={"gain": 1, "scale": 1, "codec": None}),
        "settings of core 0: has r, which nothing there uses",
    ),
    "gain of a time": (lambda e: e["settings"]["0"]["tau_mem"].update(gain=2.0), "got the gain 2.0; expected 1.0"),
    "scale of a mask": (lambda e: e["settings"]["0"]["weight"].update(scale=3.0), "got the scale 3.0; expected 1.0"),
    "scale of a threshold": (lambda e: e["settings"]["0"]["v_threshold"].update(scale=1.0), "got the scale 1.0"),
    "codec: unknown field": (
        lambda e: e["settings"]["0"]["weight"]["codec"].update(zz=1),
        "has currents, zz; expected",
    ),
    "codec: no current": (
        lambda e: e["settings"]["0"]["weight"]["codec"]["currents"].__setitem__(0, None),
        "weight on core 0: current: got None",
    ),
    "codec: not ascending": (
        lambda e: e["settings"]["0"]["weight"]["codec"]["currents"].reverse(),
        "expected them in ascending order",
    ),
    "another type": (
        lambda e: e["network"].update(dtype="float32"),
        "type of the network: got torch.float32, torch.float64",
    ),
    "host: layer on the chip": (
        lambda e: e["host"].update({"hidden.r": {"dtype": "float64", "shape": [], "values": [1.0]}}),
        "host: has hidden.r, and that layer is on the chip",
    ),
    "host: a fraction as an integer": (
        lambda e: host_of(e).update(dtype="int64", values=[1.5] * 10),
        "layer 'readout': its structure and its parameters do not fit",
    ),
    "tag: another": (lambda e: e["routes"][0].update(tag=2000), "routes"),
    "report: neurons": (lambda e: e["report"].update(neurons=6), "report.neurons: got 6; the rest of the file means 5"),
    "report: usage": (lambda e: e["report"]["usage"][0].update(used=1), "report.usage (1 of 4 differ, first at 0)"),
    "report: host": (lambda e: e["report"]["host"].clear(), "report.host: got []"),
    "report: core": (lambda e: e["report"]["programming"][0].update(core=7), "expected one row for each of the cores"),
    "report: row": (lambda e: e["report"]["programming"][0].pop("rms_error"), "expected became_zero, core, currents_A"),
    "report: error": (lambda e: e["report"]["programming"][0].update(rms_error=[0.0]), "rms_error: got [0.0]"),
    "report: synapses": (lambda e: e["report"]["programming"][0].update(synapses=1), "report.programming (1 of 3"),
    "report: scores": (lambda e: e["report"].update(scores=[0.5]), "report: has 0 samples and the scores [0.5]"),
    "an integer of 70 bits": (lambda e: e["network"].update(dt=2**70), "which is beyond 64 bits"),
    "kernel for a matrix": (
        lambda e: e["network"]["layers"][0].update(
            input={"type": "Conv2d", "shape": [1, 1, 3], "stride": 1, "padding": 0}
        ),
        "layer 'hidden': its structure and its parameters do not fit",
    ),
}


@pytest.mark.parametrize("what", LIES)
def test_a_file_that_contradicts_itself_is_refused(what, entries, tmp_path):
    change, message = LIES[what]
    entry = entries("dynapse2")
    change(entry)
    refused(entry, tmp_path / "net.json", message)


def test_codecs_that_a_chip_does_not_have_are_refused_before_they_are_made(entries, tmp_path):
    """A table of 2^40 levels, or 10^12 synapses, would not fit in memory."""
    entry = entries("dynapse1")
    entry["settings"]["0"]["weight"]["codec"] = {"type": "MaskCodebook", "currents": [0.1] * 40}
    refused(entry, tmp_path / "net.json", "expected a Multiplicity up to 64", CHIPS["dynapse1"])
    entry = entries("dynapse1")
    entry["settings"]["0"]["weight"]["codec"]["largest"] = 10**12
    refused(entry, tmp_path / "net.json", "expected a Multiplicity up to 64", CHIPS["dynapse1"])


def test_a_conductance_above_the_largest_is_refused(entries, tmp_path):
    entry = entries("pcm")
    entry["parameters"]["hidden.input.weight"]["values"][0] = 40.0
    refused(entry, tmp_path / "net.json", "hidden.input.weight: the largest magnitude is", PCM)


def test_a_value_out_of_the_range_of_the_chip_is_refused(entries, tmp_path):
    entry = entries("brainscales2")
    entry["parameters"]["hidden.tau_mem"]["values"] = [1.0] * 3
    message = "hidden.tau_mem: values from 0.001 to 0.001 in the chip's seconds"
    refused(entry, tmp_path / "net.json", message, CHIPS["brainscales2"])


@pytest.mark.parametrize("shape", [[1, 10**6, 10**6], [1, 5, 10**9]])
def test_a_layer_too_large_for_a_file_is_refused_before_it_is_made(shape, entries, tmp_path):
    """Its neurons alone would take terabytes."""
    entry = entries("kernel")
    entry["network"]["layers"][0]["input"]["shape"] = shape
    refused(entry, tmp_path / "net.json", "places, absent synapses included; a file can hold 33554432", PCM)


def test_parameters_too_large_together_are_refused_before_they_are_made(entries, tmp_path):
    entry = entries("dynapse2")
    for name in ("hidden.input.weight", "hidden.recurrent.weight"):
        entry["parameters"][name]["shape"] = [5, 2**23]
    refused(entry, tmp_path / "net.json", "parameters: have 83886100 places", DYNAPSE2)


def test_a_folder_and_a_device_are_no_files(tmp_path):
    with pytest.raises(ValueError, match=r"is no file; expected one that Deployment\.save wrote"):
        nr.deploy.load(tmp_path, DYNAPSE2)
    with pytest.raises(ValueError, match="is no file"):
        nr.deploy.load("/dev/zero", DYNAPSE2)


@pytest.mark.parametrize("depth", [400, 900, 980, 990, 1000, 100_000])
def test_deep_files_are_refused(depth, tmp_path):
    path = tmp_path / "net.json"
    path.write_text(f'{{"format": "neurorobust-deployment/1", "a": {"[" * depth}{"]" * depth}}}')
    with pytest.raises(ValueError, match=r"is no deployment file|is damaged or was edited"):
        nr.deploy.load(path, DYNAPSE2)


def test_a_chip_with_a_deviating_host_is_refused(entries, tmp_path):
    written(entries("dynapse2"), tmp_path / "net.json")
    with pytest.raises(ValueError, match=r"the host of dynapse2 deviates"):
        nr.deploy.load(tmp_path / "net.json", DYNAPSE2.with_host(exact=False))


def test_a_codec_inside_a_codec_comes_back(tmp_path):
    """Saturating holds another codec."""
    weight = KindModel(
        DYNAPSE2.kinds["weight"].law,
        DYNAPSE2.kinds["weight"].cv,
        encoding=Scaled(SourcedValue(7.0, "assumed", "test"), "LSB", Saturating(Uniform(4, 1.0))),
    )
    chip = replace(CHIPS["brainscales2"], kinds=dict(CHIPS["brainscales2"].kinds) | {"weight": weight})
    deployment = nr.deploy.onto(placed([0, 0, 0]), chip)
    again = nr.deploy.load(deployment.save(tmp_path / "net.json"), chip)
    assert not nr.deploy.diff(deployment, again)


def test_delays_of_a_converted_network_keep_their_type(tmp_path):
    """``network.float()`` makes them float32; another type could round another way."""
    hidden = Lif(Linear(draw(0, 3, 3)), tau_mem=0.02, v_threshold=0.1)
    readout = LeakyIntegrator(Delayed(Linear(draw(1, 2, 3)), 2 * DT), tau_mem=0.01)
    deployment = nr.deploy.onto(Network({"hidden": hidden, "readout": readout}, DT).float(), DYNAPSE2)
    again = nr.deploy.load(deployment.save(tmp_path / "net.json"), DYNAPSE2)
    assert again.network.readout.input.delay.dtype == torch.float32 and not nr.deploy.diff(deployment, again)


# ---- any edit


def places_in(value: Any, path: tuple = ()) -> Iterator[tuple]:
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places_in(value[key], (*path, key))


VALUES = [
    None,
    True,
    False,
    -1,
    0,
    1,
    3,
    0.5,
    1e308,
    1e-308,
    10**12,
    2**62,
    10**30,
    "x",
    "",
    "0",
    [],
    {},
    [1],
    {"a": 1},
]


@pytest.mark.parametrize("chip", [*CHIPS, "kernel"])
@given(data=st.data())
def test_any_edit_is_refused_or_is_a_deployment(chip, data, entries, tmp_path_factory):
    """One value replaced, removed, doubled or added. What is loaded passes its checks, runs on dies, and is saved with
    the same content."""
    entry, path = entries(chip), tmp_path_factory.mktemp("edited") / "net.json"
    model = PCM if chip == "kernel" else CHIPS[chip]
    *above, last = data.draw(st.sampled_from(list(places_in(entry))))
    holder = entry
    for key in above:
        holder = holder[key]
    how = data.draw(st.sampled_from(["replace", "remove", "double", "add"]))
    if how == "remove":
        del holder[last]
    elif how == "add" and isinstance(holder[last], (dict, list)):
        holder[last] = (
            holder[last] | {"zz": 1} if isinstance(holder[last], dict) else [*holder[last], *holder[last][-1:]]
        )
    elif how == "double" and type(holder[last]) in (int, float):
        holder[last] = 2 * holder[last] + 1
    else:
        holder[last] = data.draw(st.sampled_from(VALUES))
    written(entry, path)
    try:
        found = nr.deploy.load(path, model)
    except ValueError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
        return
    assert not found.check() and str(found.report)
    for params in found.dies([0]):
        nr.run(found.network, params, torch.ones(2, 5, found.network.n_in, dtype=torch.float64))
    again = json.loads(found.save(path.parent / "again.json").read_text())
    assert again | {"neurorobust": "", "sha256": ""} == entry | {"neurorobust": "", "sha256": ""}


def test_integers_are_read_up_to_64_bits():
    assert strict.parse(f"[{2**63 - 1}, {-(2**63)}]") == [2**63 - 1, -(2**63)]
    for text in (str(2**63), "9" * 4000):
        with pytest.raises(ValueError, match="beyond 64 bits"):
            strict.parse(text)
