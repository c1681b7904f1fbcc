"""One process per tool, and runs in turns, so that other load on the machine slows all tools alike."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import statistics
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection

import numpy as np

from . import machine, peers
from .tool import CannotError
from .workloads import WORKLOADS, Workload

TICKS = 0.02  # s: two ticks of the clock that CPU time is counted with
FOREIGN = 0.1  # cores that others may use during a clean run
REPEATS = 2  # times as many runs at most, until enough are clean
PAUSE = 1.2  # s before a run: the threads of the tool before it stop waiting for work, and ours forget its load
TOLERANCE = 1e-3  # of the largest logit


@dataclass(frozen=True)
class Sample:
    """One run: its wall time, s, and the cores that others used meanwhile."""

    seconds: float
    foreign: float = 0.0

    @property
    def clean(self) -> bool:
        return self.foreign <= FOREIGN


@dataclass(frozen=True)
class Timing:
    """A tool on a workload. ``runs`` are the clean ones, or all where too few were clean."""

    median_ms: float
    min_ms: float
    runs: int
    peak_mb: float


@dataclass(frozen=True)
class Measured:
    """All tools on one workload.

    Attributes:
        times: by tool. refused: why not, by tool.
        agreement: share of samples on which a peer's logits are ours, within 1e-3 of the largest.
        foreign: share of the runs during which others used the cores.
        hidden_rate: spikes per hidden neuron and step.
    """

    times: dict[str, Timing]
    refused: dict[str, str]
    agreement: dict[str, float]
    foreign: float
    hidden_rate: float

    def ratios(self) -> dict[str, float]:
        """For each peer, how many times faster ours is, by the medians."""
        if peers.OURS not in self.times:
            return {}
        ours = self.times[peers.OURS].median_ms
        return {name: timing.median_ms / ours for name, timing in self.times.items() if name != peers.OURS}

    def as_json(self) -> dict[str, dict[str, float]]:
        return {name: asdict(timing) for name, timing in self.times.items()}


def interleave(
    tools: Mapping[str, Callable[[], Sample]], runs: int, advance: Callable[..., None] = lambda *_: None
) -> dict[str, list[Sample]]:
    """One run of every tool in turn until each has ``runs`` clean samples, at most twice as often, after a warm-up."""
    for name, run in tools.items():
        advance(f"{name}: warming up")
        run()
    samples: dict[str, list[Sample]] = {name: [] for name in tools}
    for turn in range(REPEATS * runs):
        order = list(tools) if turn % 2 == 0 else list(tools)[::-1]
        waiting = [name for name in order if sum(sample.clean for sample in samples[name]) < runs]
        if not waiting:
            break
        for name in waiting:
            samples[name].append(tools[name]())
            if turn < runs:
                advance(name)
    return samples


def summary(samples: list[Sample], runs: int, peak_mb: float) -> Timing:
    """Median and minimum of the clean samples; of all, if fewer than ``runs`` are clean."""
    clean = [sample.seconds for sample in samples if sample.clean]
    taken = clean if len(clean) >= runs else [sample.seconds for sample in samples]
    return Timing(1e3 * statistics.median(taken), 1e3 * min(taken), len(taken), peak_mb)


def agreement(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Share of samples whose logits, (…, n_out), differ by at most 1e-3 of the largest."""
    if ours.shape != theirs.shape:
        return 0.0
    gap = np.abs(ours - theirs).max(-1)
    return float((gap <= TOLERANCE * np.abs(ours).max()).mean())


# ---- processes


def timed(step: Callable[[], object]) -> Sample:
    """One run, timed; what the cores did besides it is foreign."""
    busy, own, started = machine.busy_seconds(), time.process_time(), time.perf_counter()
    step()
    seconds = time.perf_counter() - started
    own = time.process_time() - own
    after = machine.busy_seconds()
    if busy is None or after is None:
        return Sample(seconds)
    return Sample(seconds, max(0.0, after - busy - own - TICKS) / seconds)


def serve(pipe: Connection, name: str, work: Workload, threads: int) -> None:
    """A tool in a process of its own: says what it cannot do, then runs on request."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # after an interrupt, the parent process ends this one
    warnings.simplefilter("ignore")  # deprecation warnings of peers do not matter here
    try:
        import torch

        torch.set_num_threads(threads)
        tool = peers.load(name)
        run = tool.prepare(work)
        with torch.no_grad():
            pipe.send((None, tool.reset, run.logits().numpy()))
        run.step()  # compiles
    except Exception as error:
        pipe.send((refusal(error), "", None))
        return
    pipe.send("ready")
    with contextlib.suppress(EOFError):  # the other side is gone
        for _ in iter(pipe.recv, "stop"):
            time.sleep(PAUSE)
            run.step()  # the first after a pause finds cold caches, as no step of a loop does
            pipe.send(timed(run.step))
        pipe.send(machine.peak_mb())


def refusal(error: Exception) -> str:
    """The reason why a tool does not run, in one line."""
    if isinstance(error, ImportError):
        return f"not installed ({error.name or error}); pip install -e '.[peers]' -c constraints.txt"
    if isinstance(error, CannotError):
        return f"cannot: {error}"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    text = (str(error).splitlines() or [""])[0][:160]
    return f"failed: {type(error).__name__}: {text} ({frame.name})"


class Worker:
    """A tool in a process of its own.

    Attributes:
        refused: why it does not run, or None. reset, logits: what its neurons do at a spike, and its network's output.
    """

    def __init__(self, name: str, work: Workload, threads: int):
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, name, replace(work), threads), daemon=True)
        self.process.start()
        other.close()
        try:
            self.refused, self.reset, self.logits = self.pipe.recv()
            if self.refused is None and (ready := self.pipe.recv()) != "ready":
                self.refused = ready[0]
        except EOFError:
            self.refused = f"failed: its process ended with code {self.close()}"

    def run(self) -> Sample:
        self.pipe.send("run")
        return self.pipe.recv()

    def stop(self) -> float:
        """End the process in good order; the most memory it held, MB."""
        self.pipe.send("stop")
        peak = self.pipe.recv()
        self.close()
        return peak

    def close(self) -> int | None:
        """End the process whatever it does; its exit code."""
        self.pipe.close()
        self.process.join(5)
        self.process.kill()
        self.process.join()
        return self.process.exitcode


def measure(
    work: Workload, tools: list[str], runs: int, threads: int, advance: Callable[..., None] = lambda *_: None
) -> Measured:
    """All tools on one workload, interleaved; a peer's output is compared with ours before anything is timed."""
    from neurorobust import nn

    from . import ours

    workers: dict[str, Worker] = {}
    refused: dict[str, str] = {}
    agreed: dict[str, float] = {}
    reference: dict[str, np.ndarray] = {}
    try:
        for name in tools:
            advance(f"{name}: starting")
            worker = Worker(name, work, threads)
            if worker.refused is not None:
                refused[name] = worker.refused
                worker.close()
                continue
            workers[name] = worker
            if worker.reset not in reference:
                reference[worker.reset] = ours.logits(work, getattr(nn, worker.reset)()).numpy()
            agreed[name] = agreement(reference[worker.reset], worker.logits)
        samples = interleave({name: worker.run for name, worker in workers.items()}, runs, advance)
        peaks = {name: worker.stop() for name, worker in workers.items()}
    finally:
        for worker in workers.values():
            worker.close()
    everything = [sample for part in samples.values() for sample in part]
    return Measured(
        {name: summary(part, runs, peaks[name]) for name, part in samples.items()},
        refused,
        {name: share for name, share in agreed.items() if name != peers.OURS},
        sum(not sample.clean for sample in everything) / max(1, len(everything)),
        ours.hidden_rate(work),
    )


def import_mb() -> float:
    """Peak memory of a process that does nothing but import torch, MB."""
    context = multiprocessing.get_context("spawn")
    pipe, other = context.Pipe()
    process = context.Process(target=_import_torch, args=(other,), daemon=True)
    process.start()
    peak = pipe.recv()
    process.join()
    return peak


def _import_torch(pipe: Connection) -> None:
    import torch  # noqa: F401

    pipe.send(machine.peak_mb())


def selected(names: list[str]) -> dict[str, Workload]:
    """Workloads by name, all where none is given."""
    return {name: WORKLOADS[name] for name in names or WORKLOADS}
