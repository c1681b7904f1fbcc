"""Digests of results that must keep their bits while the code changes.

    python -m benchmarks.digests            # writes benchmarks/results/digests.json
    python -m benchmarks.digests --check    # computes them again, names what differs, exit code 1 if anything does
    python -m benchmarks.digests --check die training      # these areas only

Each digest is the first 16 hexadecimal digits of a SHA-256 over type, shape and raw bytes of tensors, arrays and
numbers. The digests hold for one type of processor and one version of torch, numpy and numba, because float32 sums
depend on them. The file names these; ``--check`` on another machine says so first. Everything runs on one thread.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch and numba are imported
os.environ["MKL_NUM_THREADS"] = "1"
os.environ["NUMBA_NUM_THREADS"] = "1"

import argparse
import hashlib
import json
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pandas as pd
import snntorch
import torch
from torch import Tensor, nn

import chipmodels
import neurorobust as nr
from benchmarks.digest_inputs import (
    DECODERS,
    DT,
    NOISES,
    PAIR,
    PLACED,
    RESETS,
    SURROGATES,
    all_codecs,
    all_laws,
    beats,
    classes,
    draw,
    measurements,
    neuron_of,
    placed,
    readout,
    small_network,
    snntorch_network,
    spikes,
    wrapped_network,
)
from neurorobust import evaluation, kernels
from neurorobust._util import files
from neurorobust.attacks import APGD, PGA, SPSA, Attack, L2Ball, RandomSearch, Suite, WhitenedBall, objectives, thorough
from neurorobust.chip import BadSynapses, ChipModel, DeadNeurons, Die, Programmed, StuckDevices, encodings
from neurorobust.chip.defects import Clustered, Scattered
from neurorobust.chip.variability import Reading
from neurorobust.core.apply import apply
from neurorobust.core.placement import Placement
from neurorobust.core.run import nominal, run
from neurorobust.data import Data
from neurorobust.dynamics import resets
from neurorobust.dynamics.surrogate import FastSigmoid, Triangle
from neurorobust.fitting import analyze
from neurorobust.io import zoo
from neurorobust.nn.connections import AvgPool2d, Chain, Conv1d, Conv2d, Delayed, Linear, SumPool2d
from neurorobust.nn.fleet_run import fleet_logits
from neurorobust.nn.network import placement_of
from neurorobust.nn.neurons import AdaptiveLif, CubaLif, Lif
from neurorobust.train.loop import fit
from neurorobust.train.methods import METHODS, SCHEDULE, method

FILE = Path(__file__).parent / "results" / "digests.json"


# ---- digests


def _feed(value: Any, into: Any) -> None:
    """Feed all parts of a value to a hash; names of classes do not count."""
    if value is None:
        into.update(b"none")
    elif isinstance(value, str):
        into.update(b"text" + value.encode())
    elif isinstance(value, Mapping):
        for key in sorted(value, key=str):
            into.update(b"key" + str(key).encode())
            _feed(value[key], into)
    elif isinstance(value, list | tuple):
        into.update(f"list {len(value)}".encode())
        for part in value:
            _feed(part, into)
    else:
        array = np.ascontiguousarray(value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value))
        if array.dtype.kind not in "biufc":
            raise TypeError(f"no digest of {value!r}")
        into.update(f"{array.dtype.str} {array.shape}".encode() + array.tobytes())


def digest(value: Any) -> str:
    """The first 16 hexadecimal digits of a SHA-256 of tensors, arrays, numbers, texts, mappings and lists of them."""
    found = hashlib.sha256()
    _feed(value, found)
    return found.hexdigest()[:16]


def refusable(make: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a call, or the text "refused" if it raises a ValueError."""
    try:
        return make(*arguments)
    except ValueError:
        return "refused"


def deviating(name: str) -> ChipModel:
    """A chip model with a host that deviates like the rest: the digests were recorded with it."""
    return chipmodels.load(name).with_host(exact=False)


# ---- areas: each yields (key, value)

Found = Iterator[tuple[str, Any]]


def dies() -> Found:
    """Normals, deviations, readings, defects, drift, corners, bits, programming and tolerances of every chip model."""
    models = {name: deviating(name) for name in sorted(chipmodels.models())}
    for name, chip in {**models, "mismatch": nr.mismatch(0.3)}.items():
        if name != "mismatch":
            yield f"die/{name}/maps", refusable(chip.fabricate([3], 0)[0].maps)
        for shape, make in PLACED.items():
            one = chip.limits.cores == 1 or (chip.shares_kernels and shape == "convolution")
            network = make(1 if one else 2)
            programmed = refusable(chip.program, nominal(network), placement_of(network))
            if programmed == "refused":
                yield f"die/{name}/{shape}", "refused"
                continue
            for key, value in _die(chip, programmed):
                yield f"die/{name}/{shape}/{key}", value


def _die(chip: ChipModel, programmed: Programmed) -> Found:
    yield "programmed/params", programmed.params
    yield "programmed/codes", programmed.codes
    yield "programmed/report", [list(row.values()) for row in programmed.report]
    yield "tolerances", chip.tolerances(programmed, 2.0)
    for seed, serial in ((0, 0), (0, 3), (1, 3), (1, 2**40)):
        die = chip.fabricate([serial], seed)[0]
        where = f"seed {seed}/serial {serial}"
        if (seed, serial) == (0, 3):
            for parameter, value in die.deviate(die.draws(programmed), programmed).items():
                yield f"{where}/deviations/{parameter}", value
        else:
            yield f"{where}/deviations", die.deviate(die.draws(programmed), programmed)
        yield f"{where}/normals", die.draws(programmed)
    for occasion in (0, 1):
        yield f"read/occasion {occasion}", die.deviations(programmed, occasion)
    for time_ in ("2 days", "30 days"):
        yield f"drift/{time_}", refusable(_aged, chip, programmed, time_)
    for name, defect in {
        "dead neurons": DeadNeurons(0.2),
        "dead neurons, clustered": DeadNeurons(Clustered(0.3, 2.0)),
        "bad synapses": BadSynapses(Scattered(0.2)),
        "stuck devices": StuckDevices(0.2),
        "stuck devices, off, single": StuckDevices(0.2, at=0.0, pair=False),
    }.items():
        broken = chip.with_defects(defect).fabricate([3], 0)[0]
        yield f"defects/{name}", refusable(_broken, broken, programmed)
    kind = "tau_mem" if "tau_mem" in chip.kinds else "weight"
    yield "corner", chip.with_corner(**{kind: 0.1}).fabricate([3], 0)[0].deviations(programmed)
    yield "3 bits", refusable(_with_3_bits, chip, programmed)


def _aged(chip: ChipModel, programmed: Programmed, time_: str) -> Any:
    return chip.at(time_).fabricate([3], 0)[0].deviations(programmed)


def _broken(die: Die, programmed: Programmed) -> Any:
    return [die.broken(programmed), die.deviations(programmed)]


def _with_3_bits(chip: ChipModel, programmed: Programmed) -> Any:
    again = chip.with_bits(3).program(programmed.params, programmed.placement)
    return [again.params, again.codes]


def codecs() -> Found:
    """Codes, values, rounding and loss of every codec."""
    found = all_codecs()
    for name, codec in found.items():
        held = encodings.Saturating(codec)
        for dtype in (torch.float32, torch.float64):
            values = draw(7, 40, dtype=dtype)
            if name == "logarithmic":
                values = (values - 1).exp()
            elif name == "bit shift":
                values = (3 * values - 4).exp()
            codes = held.encode(values, "values")
            leaf = values.clone().requires_grad_()
            rounded = held.quantize(leaf)
            (rounded * draw(8, 40, dtype=dtype)).sum().backward()
            lost = held.error(values)
            numbers = [lost.count, lost.rms_relative, lost.largest, lost.became_zero, lost.out_of_range]
            yield f"codec/{name}/{str(dtype)[6:]}", [codes, held.decode(codes), rounded, leaf.grad, numbers]
    yield "codec/fitted masks/currents", list(encodings.fit_masks(draw(1, 60), 4).currents)
    yield "codec/conductance pair", list(PAIR.split(draw(7, 40)))


def variability() -> Found:
    """Deviations of every law at fixed normals, and their gradients."""
    for name, (kind, law) in all_laws().items():
        for dtype in (torch.float32, torch.float64):
            value = draw(9, 50, dtype=dtype)
            value = value if kind in ("weight", "v_leak") else value.exp() * 0.02
            leaf = draw(10, 50, dtype=dtype).requires_grad_()
            delta = law.of_first_normal.deviate(kind, (leaf,), value)
            gradient = torch.autograd.grad(delta.sum(), leaf)[0] if delta.requires_grad else None
            normals = (leaf.detach(), draw(11, 50, dtype=dtype))[: 1 + law.n_extra_normals]
            more = law.deviate(kind, normals, value, Reading(3600.0))
            yield f"law/{name}/{str(dtype)[6:]}", [delta, gradient, more]


def _passes(network: nn.Module, x: Tensor) -> Any:
    """Logits, outputs of every layer, and gradients of all parameters and of the input."""
    x = x.clone().requires_grad_()
    params = {name: value.detach().clone().requires_grad_() for name, value in network.named_parameters()}
    logits, outputs = run(network, params, x, record=True)
    weight = draw(12, *logits.shape, dtype=logits.dtype)
    (logits * weight).sum().backward()
    return [logits, outputs, {name: value.grad for name, value in params.items()}, x.grad]


def _both_loops(key: str, network: nn.Module, x: Tensor) -> Found:
    for dtype in (torch.float32, torch.float64):
        for loops in ("auto", "reference"):
            with kernels.using(loops):
                yield f"{key}/{str(dtype)[6:]}/{loops}", _passes(network.to(dtype), x.to(dtype))


def neurons() -> Found:
    """Every class of neurons with every reset and surrogate, forward and backward, in both kinds of loops."""
    x = spikes(13, 4, 25, 5)
    for name, surrogate in SURROGATES.items():
        yield from _both_loops(f"neurons/adaptive/{name}", neuron_of(AdaptiveLif, None, surrogate), x)
    for cls, word in ((Lif, "lif"), (CubaLif, "cuba")):
        for reset, make in RESETS.items():
            for name, surrogate in SURROGATES.items():
                if name in ("triangle", "fast sigmoid", "arctan") or reset == "delayed subtract":
                    yield from _both_loops(f"neurons/{word}/{reset}/{name}", neuron_of(cls, make(), surrogate), x)
            detached = neuron_of(cls, make(detach=True), FastSigmoid())
            yield from _both_loops(f"neurons/{word}/{reset}/detached", detached, x)
        every = neuron_of(cls, resets.ToValue(), Triangle(), full=True)
        yield from _both_loops(f"neurons/{word}/every parameter", every, x)


def connections() -> Found:
    """Convolutions, pools, delays, chains, skips, decoders, and layers without recurrence."""
    image = {
        "conv1d": Conv1d(draw(30, 3, 2, 3), (2, 8), draw(31, 3), stride=2, padding=1),
        "conv2d": Conv2d(draw(32, 2, 1, 3, 3), (1, 4, 4), draw(33, 2), padding=1),
        "conv2d, masked": Conv2d(draw(32, 2, 1, 3, 3), (1, 4, 4), mask=draw(34, 2, 1, 3, 3) > -0.5, stride=(2, 1)),
        "pool and conv2d": Chain(AvgPool2d((1, 4, 4), 2), Conv2d(draw(35, 3, 1, 2, 2), (1, 2, 2))),
        "conv2d and sum": Chain(Conv2d(draw(32, 2, 1, 3, 3), (1, 4, 4), padding=1), SumPool2d((2, 4, 4), 2)),
        "delayed": Delayed(Linear(draw(36, 6, 16)), torch.linspace(0, 5e-3, 16)),
        "linear": Linear(draw(36, 6, 16)),
        "linear, masked": Linear(draw(36, 6, 16), mask=draw(37, 6, 16) > 0),
    }
    x = spikes(14, 4, 20, 16)
    for name, connection in image.items():
        hidden = Lif(connection, tau_mem=0.01, v_threshold=0.3)
        network = nr.Network({"hidden": hidden, "readout": readout(connection.n_out, False)}, DT)
        yield from _both_loops(f"connections/{name}", network, x)
    layers = {
        "a": AdaptiveLif(Linear(draw(38, 5, 16)), tau_mem=0.01, tau_adapt=0.05, adaptation=0.3, v_threshold=0.2),
        "b": Lif(Linear(draw(39, 6, 21)), recurrent=Linear(0.3 * draw(40, 6, 6)), tau_mem=0.02, v_threshold=0.2),
        "c": readout(11, False),
    }
    for name, decode in DECODERS.items():
        network = nr.Network(layers, DT, {"b": ("x", "a"), "c": ("a", "b")}, decode)
        yield from _both_loops(f"networks/skip/{name}", network, x)


def interop() -> Found:
    """An snnTorch network and a wrapped torch module: passes, dies, worst die."""
    for name, network, x in (
        ("snntorch", snntorch_network(), spikes(15, 12, 20, 5, dtype=torch.float32)),
        ("wrapped", wrapped_network(), draw(16, 12, 1, 8, 8, dtype=torch.float32)),
    ):
        data = Data(x, torch.arange(12) % 2)
        leaf = {key: value.detach().clone().requires_grad_() for key, value in network.named_parameters()}
        logits = run(network, leaf, x)
        (logits * draw(12, *logits.shape, dtype=logits.dtype)).sum().backward()
        yield f"interop/{name}/logits", logits
        yield f"interop/{name}/gradients", {key: value.grad for key, value in leaf.items()}
        yield f"interop/{name}/dies", nr.evaluate(network, data, nr.mismatch(0.2), n_dies=3, seed=1).score
        yield from _worst(f"interop/{name}/worst", nr.worst_case(network, data, nr.Ball.uniform(0.2), PGA(4), seed=1))


def trained() -> Found:
    """Networks that come with the package: logits, spikes and scores on dies."""
    data = nr.tasks.ecg().test.first(100)
    for word in ("standard", "adversarial"):
        network, _ = zoo.load(f"ecg/{word}")
        logits, outputs = run(network, nominal(network), data.x, record=True)
        yield f"zoo/ecg/{word}/logits", logits
        yield f"zoo/ecg/{word}/outputs", outputs
        with kernels.using("reference"):
            yield f"zoo/ecg/{word}/logits/reference", run(network, nominal(network), data.x)
        for name, chip in (("dynapse2", deviating("dynapse2")), ("mismatch", nr.mismatch(0.3))):
            result = nr.evaluate(network, data, chip, n_dies=3, seed=1)
            numbers = [result.score, result.accuracy, result.recall, result.nominal, result.programmed]
            yield f"zoo/ecg/{word}/{name}/scores", numbers
            programmed = chip.program(nominal(network), placement_of(network))
            moved = [
                apply(programmed.params, die.deviations(programmed), programmed.placement)
                for die in chip.fabricate(range(3), 1)
            ]
            yield f"zoo/ecg/{word}/{name}/logits", list(fleet_logits(network, moved, data.x))


def noises() -> Found:
    """Scores and tensors under each source of noise."""
    data = nr.tasks.ecg().test.first(60)
    network, _ = zoo.load("ecg/adversarial")
    params = nominal(network)
    for name, source in NOISES.items():
        chip = nr.mismatch(0.1).with_noise(source)
        result = nr.evaluate(network, data, chip, n_dies=2, seed=1)
        yield f"noise/{name}/scores", [result.score, result.recall]
        programmed = chip.program(params, placement_of(network))
        logits = evaluation.noisy.noisy_logits(
            network, [programmed.params] * 2, data.x, chip.fabricate([0, 1], 1), programmed
        )
        yield f"noise/{name}/logits", list(logits)
    events = spikes(17, 3, 20, 4, dtype=torch.float32)
    for name in ("spike loss", "jitter"):
        key = torch.Generator().manual_seed(0)
        yield f"noise/{name}/events", NOISES[name].events(events, DT, key)


def training() -> Found:
    """One epoch of every method, and a training that was interrupted and resumed."""
    task, chip = beats(), deviating("dynapse2")
    for word in METHODS:
        network = small_network(task)
        loss = method(word).regularize(task.loss, chip)
        yield from _history(f"training/{word}", network, fit(network, task, loss, epochs=1, schedule=SCHEDULE))
    wrapped, _ = wrapped_network(), torch.manual_seed(0)
    part = Data(draw(18, 40, 1, 8, 8, dtype=torch.float32), torch.arange(40) % 2)
    images = replace(task, train=part, validation=part, test=part, loss=nn.functional.cross_entropy)
    for word in ("standard", "dropout", "adversarial", "adversarial_quantized", "adversarial_whitened"):
        network = wrapped_network() if word != "standard" else wrapped
        loss = method(word).regularize(images.loss, nr.mismatch(0.1))
        history = fit(network, images, loss, epochs=1, schedule=SCHEDULE)
        yield from _history(f"training/wrapped/{word}", network, history)
    for word in ("adversarial", "adversarial_warm"):
        with tempfile.TemporaryDirectory() as folder:
            for seconds in (1e-9, float("inf")):  # the first stops after one epoch, the second goes on
                network = small_network(task)
                loss = method(word).regularize(task.loss, chip)
                schedule = replace(SCHEDULE, max_seconds=seconds)
                history = fit(network, task, loss, epochs=2, seed=1, out=folder, schedule=schedule)
            yield from _history(f"training/resumed/{word}", network, history)


def _history(key: str, network: nn.Module, history: Any) -> Found:
    yield f"{key}/params", nominal(network)
    rows = [[value for name, value in row.items() if name != "seconds"] for row in history.rows]
    yield f"{key}/history", [rows, history.best_epoch, history.best_score]


def _worst(key: str, found: Any) -> Found:
    yield f"{key}/deviations", found.deviations
    yield f"{key}/score", [found.score, found.accuracy, list(found.recall), found.passes]


def worst_dies() -> Found:
    """Every attack, objective, ball and suite."""
    network = placed("adaptive")
    data, ball = classes(1, 16, 3), nr.Ball.uniform(0.2)
    attacks: dict[str, Attack | Suite] = {
        "pga": PGA(5),
        "pga, far, not projected": PGA(3, 0.5, "ce", stride=2.0, project=False),
        "apgd": APGD(8, 1e-3, "margin"),
        "spsa": SPSA(4, 2),
        "random search": RandomSearch(5),
        "suite": Suite(((PGA(3), 2), (RandomSearch(3), 1), (APGD(4, 0.5), 1))),
        "strong": thorough(4, 2),
    }
    for name, attack in attacks.items():
        found = nr.worst_case(network, data, ball, nr.attacks.restarted(attack, 2), seed=3)
        yield from _worst(f"worst/attack/{name}", found)
    with kernels.using("reference"):
        yield from _worst("worst/attack/pga/reference", nr.worst_case(network, data, ball, PGA(5), seed=3))
    for name in sorted(set(objectives.OBJECTIVES) - {"mse", "l2"}):
        found = nr.worst_case(network, data, ball, PGA(3, objective=name), seed=3)
        yield from _worst(f"worst/objective/{name}", found)
    chip = deviating("dynapse2")
    programmed = chip.program(nominal(network), placement_of(network))
    balls = {
        "weights only": nr.Ball(weight=0.2, bias=0.2),
        "by name": nr.Ball({"hidden.*": 0.1, "hidden.tau_mem": 0.3}),
        "l2": L2Ball.uniform(0.5),
        "whitened": WhitenedBall(3.0),
        "tolerances": nr.Ball.from_chip(chip, programmed, sigmas=2.0),
    }
    for name, own in balls.items():
        for word, attack in (("pga", PGA(4)), ("random search", RandomSearch(3)), ("apgd", APGD(4))):
            yield from _worst(f"worst/ball/{name}/{word}", nr.worst_case(network, data, own, attack, seed=3))
    first = nr.worst_case(network, data, ball, PGA(5), seed=3)
    other = placed("adaptive")
    with torch.no_grad():
        other.get_parameter("hidden.input.weight").mul_(1.1)
    yield from _worst("worst/transfer", nr.transfer(other, data, ball, [first.deviations]))
    yield from _worst("worst/frozen", evaluation.strong_worst_case(network, data, ball, seed=3))
    yield from _worst("worst/random", evaluation.random_search(network, data, ball, passes=6, seed=3))
    task = beats()
    small = small_network(task)
    few = task.test.first(40)
    yield from _worst("worst/ecg/pga", nr.worst_case(small, few, ball, PGA(5), seed=3))
    robust, _ = zoo.load("ecg/adversarial")
    yield from _worst("worst/ecg/zoo", nr.worst_case(robust, few, ball, thorough(3, 2), seed=3))


def bounds() -> Found:
    """Certified samples."""
    data = classes(1, 12, 3)
    for name, network in (("adaptive", placed("adaptive")), ("lif", placed("lif")), ("wrapped", wrapped_network())):
        own = data if name != "wrapped" else Data(draw(16, 12, 1, 8, 8, dtype=torch.float32), torch.arange(12) % 2)
        for word, method_ in (("intervals", evaluation.Intervals()), ("branches", evaluation.Branches(8))):
            for radius in (1e-5, 1e-3):
                found = evaluation.certify(network, own, nr.Ball.uniform(radius), method_)
                numbers = [found.verified, found.margin, found.lower, found.upper, found.undecided, found.leaves]
                yield f"bounds/{name}/{word}/{radius:g}", numbers


def studies() -> Found:
    """Sensitivity, rare failures, landscape, sharpness."""
    data, network = classes(1, 16, 3), placed("adaptive")
    found = evaluation.sensitivity(network, data, n_dies=3, seed=1, attack=PGA(3))
    yield "sensitivity/gradients", found.gradients
    yield "sensitivity/numbers", [found.nominal, found.loss]
    yield "sensitivity/parts", {"/".join(part.names): [part.random, part.attacked] for part in found.groups}
    curves = evaluation.landscape(network, data, points=5, directions=2, seed=1)
    numbers = [curves.a, curves.loss, curves.score, curves.adversarial_loss, curves.adversarial_score]
    yield "landscape", [*numbers, curves.nominal_loss, curves.nominal_score]
    sharp = evaluation.sharpness(network, data, count=2, dies=4, seed=1)
    yield "sharpness", [sharp.curvature, sharp.asymmetry, sharp.passes]
    images = Data(draw(16, 12, 1, 8, 8, dtype=torch.float32), torch.arange(12) % 2)
    spectrum = evaluation.hessian_eigenvalues(
        wrapped_network().double(), Data(images.x.double(), images.y), count=2, seed=1
    )
    yield "hessian", spectrum.values
    for name, chip in (("mismatch", nr.mismatch(0.3)), ("dynapse2", deviating("dynapse2"))):
        few = evaluation.SubsetSimulation(50, 4)
        rare = evaluation.rare_failures(network, data, chip, spec=0.6, simulation=few, seed=1)
        runs = [[one.probability, one.passes] for one in rare.runs]
        yield f"rare failures/{name}", [rare.probability, rare.effective, rare.passes, rare.brute_force, runs]


def fitting() -> Found:
    """A chip model fitted to measurements, and a twin."""
    table = measurements()
    yield "fitting/table", table["value"].to_numpy()
    found = analyze(table, grid=(8, 8)).kinds["tau_mem"].estimates
    yield "fitting/estimates", [[each.value, each.low, each.high] for each in found.values()]
    chip = chipmodels.fit_chip(table, grid=(8, 8))
    values = {"die.tau_mem": torch.full((128,), 0.02, dtype=torch.float64)}
    programmed = Programmed(values, {}, Placement({"die": torch.arange(2).repeat_interleave(64)}), [])
    yield "fitting/die", chip.fabricate([3], 0)[0].deviations(programmed)
    twin = chipmodels.twin(table, chip, chip=1, seed=0)
    yield "fitting/twin", twin.deviations(programmed)


AREAS: dict[str, Callable[[], Found]] = {
    "die": dies,
    "codec": codecs,
    "law": variability,
    "neurons": neurons,
    "connections": connections,
    "interop": interop,
    "zoo": trained,
    "noise": noises,
    "training": training,
    "worst": worst_dies,
    "bounds": bounds,
    "studies": studies,
    "fitting": fitting,
}


# ---- the file


def machine() -> dict[str, str]:
    """Processor, system and versions: the bits depend on them, too."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    versions = {"torch": torch, "numpy": np, "numba": numba, "snntorch": snntorch, "pandas": pd}
    return {
        "cpu": cpu,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: module.__version__ for name, module in versions.items()},
    }


def _lines(path: str) -> Sequence[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else ()


def compute(areas: Sequence[str]) -> dict[str, str]:
    """Digests by key."""
    found: dict[str, str] = {}
    for area in areas:
        started = time.perf_counter()
        for key, value in AREAS[area]():
            if key in found:
                raise KeyError(f"two digests are called {key!r}")
            found[key] = digest(value)
        print(f"{area}: {time.perf_counter() - started:.1f} s", file=sys.stderr)
    return found


def check(areas: Sequence[str]) -> int:
    """Compare with the file; prints what differs, returns the exit code."""
    recorded, here = json.loads(FILE.read_text()), machine()
    for name, value in recorded["machine"].items():
        if here[name] != value:
            print(f"another machine: {name} {here[name]}, recorded on {value}; digests may differ for that alone")
    found, expected = compute(areas), recorded["digests"]
    of_areas = {key for key, area in recorded["areas"].items() if area in areas}
    wanted = {key for key in expected if key.split("/")[0] in of_areas}
    missing, new = sorted(wanted - set(found)), sorted(set(found) - set(expected))
    different = [key for key in sorted(wanted & set(found)) if found[key] != expected[key]]
    for title, keys in (("differs", different), ("is missing", missing), ("is new", new)):
        for key in keys:
            print(f"{title}: {key}")
    print(f"{len(wanted)} digests: {len(different)} differ, {len(missing)} are missing, {len(new)} are new")
    return int(bool(different or missing or new))


def record() -> int:
    """Write the file."""
    found: dict[str, str] = {}
    areas: dict[str, str] = {}
    for area in AREAS:
        some = compute([area])
        found |= some
        areas |= {key.split("/")[0]: area for key in some}
    content = {"areas": areas, "digests": found, "machine": machine()}
    files.write_text(FILE, json.dumps(content, indent=1, sort_keys=True) + "\n")
    print(f"{len(found)} digests in {FILE}")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"with --check, some of {', '.join(AREAS)}")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for area in arguments.areas:
        if area not in AREAS:
            parser.error(f"no area {area!r}; there are {', '.join(AREAS)}")
    return check(arguments.areas or list(AREAS)) if arguments.check else record()


if __name__ == "__main__":
    sys.exit(main())
