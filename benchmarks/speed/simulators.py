"""W5's hidden layer forward, ours against simulators of neurons: Brian 2 and NEST.

LIF neurons with exponential currents, with the weights and the input of W5, without a read-out. All solve the same
equations exactly over a step::

    tau_syn ds/dt = −s          tau_mem dv/dt = r s − v          s += w for each spike, v = 0 after one at v > 1

All samples of the batch go through ours in one pass, and through a simulator one after the other, or side by side, as
so many copies of the network. A recurrent spike acts on the next step in ours and in Brian, on the one after it in
NEST. We compute in float32, they in float64. The simulators are in ``.venv-oracles`` (``make oracles``), each in a
process of its own, on one thread. Building, compiling and setting the input are not in the time of a run.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

import neurorobust as nr
from neurorobust._util import files
from neurorobust.nn import CubaLif, Linear, ToValue

from . import machine
from .peers import OURS
from .workloads import DT, TAU_MEM, TAU_SYN, WORKLOADS, Workload

R = DT / TAU_SYN
"""An event carries the charge that it has without a synapse, as W5 has it."""
PYTHON = machine.ROOT / ".venv-oracles" / "bin" / "python"
RESULTS = machine.ROOT / "benchmarks" / "results" / "simulators.json"
SIMULATORS = {
    "Brian 2, numpy": ("forward_brian", "numpy"),
    "Brian 2, cython": ("forward_brian", "cython"),
    "NEST": ("forward_nest",),
}
WAYS = {"one after the other": False, "side by side": True}
NAMES = {"input": "hidden.input.weight", "recurrent": "hidden.recurrent.weight"}
Run = Callable[[], dict[str, float]]
Results = dict[str, "Forward"]


@dataclass(frozen=True)
class Forward:
    """A simulator: medians of wall and processor time of a run, ms; spikes of all neurons; the time to build it, s."""

    median_ms: float
    processor_ms: float
    spikes: int
    built_s: float


def network(work: Workload) -> nr.Network:
    """The hidden layer, with the factor by which an exact step of the continuous equations differs from ours."""
    alpha, sigma = (float(np.exp(-DT / tau)) for tau in (TAU_MEM, TAU_SYN))
    exact = TAU_SYN / (TAU_MEM - TAU_SYN) * (alpha - sigma)
    return nr.Network(
        {
            "hidden": CubaLif(
                Linear(work.params[NAMES["input"]], mask=work.masks[NAMES["input"]]),
                recurrent=Linear(work.params[NAMES["recurrent"]], mask=work.masks[NAMES["recurrent"]]),
                tau_mem=TAU_MEM,
                tau_syn=TAU_SYN,
                v_threshold=1.0,
                r=R * exact / ((1 - alpha) * (1 - sigma)),
                reset=ToValue(),
            )
        },
        DT,
    )


def description(work: Workload, at_once: int) -> dict[str, Any]:
    """The network and its input as the scripts of benchmarks/oracles take them: s, and synapse by synapse; ``at_once``
    samples side by side."""
    samples, steps, channels = (part.tolist() for part in work.x.nonzero(as_tuple=True))
    weights = {}
    for name, ours in NAMES.items():
        target, source = work.masks[ours].nonzero(as_tuple=True)
        of_synapses = work.params[ours][target, source]
        weights[name] = {"source": source.tolist(), "target": target.tolist(), "weight": of_synapses.tolist()}
    return {
        "dt": DT, "tau_mem": TAU_MEM, "tau_syn": TAU_SYN, "r": R, "n": work.sizes[1], "n_in": work.sizes[0],
        "steps": work.steps, "samples": work.batch, "at_once": at_once, **weights,
        "events": {"sample": samples, "step": steps, "channel": channels},
    }  # fmt: skip


def ours(work: Workload) -> Run:
    """Our pass over all samples."""
    net = network(work)

    @torch.no_grad()
    def run() -> dict[str, float]:
        began, busy = time.perf_counter(), time.process_time()
        spikes = net(work.x)[1]["hidden"]
        found = {"seconds": time.perf_counter() - began, "processor": time.process_time() - busy}
        return {**found, "spikes": float(spikes.sum(dtype=torch.float64))}

    return run


class Simulator:
    """A script of benchmarks/oracles in a process of its own.

    Raises:
        FileNotFoundError: the environment of the simulators is not there.
        RuntimeError: the script ended.
    """

    def __init__(self, script: str, *words: str):
        if not PYTHON.exists():
            raise FileNotFoundError(f"{PYTHON}: there is none; `make oracles` builds it, with Brian 2 and NEST.")
        self.path = machine.ROOT / "benchmarks" / "oracles" / f"{script}.py"
        self.process = subprocess.Popen(
            [str(PYTHON), str(self.path), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
        )

    def ask(self, line: str) -> dict[str, float]:
        """Its answer to a line."""
        given, answers = self.process.stdin, self.process.stdout
        assert given is not None
        assert answers is not None
        print(line, file=given, flush=True)
        answer = answers.readline()
        if not answer:
            raise RuntimeError(f"{self.path}: ended with {self.process.wait()}.")
        found: dict[str, float] = json.loads(answer)
        return found

    def close(self) -> None:
        """End it."""
        self.process.communicate()


def forward(runs: int, advance: Callable[..., None] = lambda *_: None, work: Workload = WORKLOADS["W5"]) -> Results:
    """Ours and all simulators in turns, after one run of each."""
    began = time.perf_counter()
    tools: dict[str, Run] = {OURS: ours(work)}
    built = {OURS: time.perf_counter() - began}
    with ExitStack() as running:
        for name, words in SIMULATORS.items():
            for way, side_by_side in WAYS.items():
                advance(f"{name}, {way}: building")
                simulator = running.enter_context(closing(Simulator(*words)))
                given = description(work, work.batch if side_by_side else 1)
                built[f"{name}, {way}"] = simulator.ask(json.dumps(given))["built"]
                tools[f"{name}, {way}"] = partial(simulator.ask, "")
        return in_turns(tools, built, runs, advance)


def in_turns(tools: Mapping[str, Run], built: Mapping[str, float], runs: int, advance: Callable[..., None]) -> Results:
    """Medians of so many runs of each tool."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in tools}
    for turn in range(runs + 1):
        for name, run in tools.items():
            sample = run()
            if turn:
                found[name].append(sample)
            advance(name)
    return {
        name: Forward(
            1e3 * statistics.median(sample["seconds"] for sample in samples),
            1e3 * statistics.median(sample["processor"] for sample in samples),
            int(samples[-1]["spikes"]),
            built[name],
        )
        for name, samples in found.items()
    }


def save(found: Mapping[str, Forward]) -> None:
    """Keep a run, with the machine that it was on."""
    about = {"machine": machine.describe(1), "forward": {name: asdict(one) for name, one in found.items()}}
    files.write_text(RESULTS, json.dumps(about, indent=2) + "\n")
