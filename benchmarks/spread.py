"""What it costs to spread a fleet over workers, and what 64 workers would take: measured here, predicted on paper.

    python -m benchmarks.spread                 # 2 workers, 200 dies of dynapse2, 1000 beats; 3 rounds
    python -m benchmarks.spread --dies 64 --rounds 1 --dask

Each round measures one process with one thread, then the workers with one thread each, so that a busy machine disturbs
both; the fastest round of each counts. Efficiency = time of one process / (workers × time on the workers). The same in
processor time does not depend on what else runs: it is the share of the work that is not overhead. Both results are
compared bit by bit. ``load`` is the load average of the machine before and after: above the number of its cores less
the workers, wall times say little.

The model, for W workers, M networks with n dies each, c dies in a piece::

    time = start + M·(W·a/B + pickling) + max(M·n·(s + o/c)/W, M·n·o₀/c)

s: seconds per die in one process. a: bytes of network and data that a worker gets, B: bytes/s of the network of the
cluster (assumed, 1 Gbit/s; the data of M networks are sent once). o: seconds that a task costs its worker, o₀: what it
costs the process that calls, which serves one after the other. Results go to ``results/spread.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import torch

import chipmodels
import neurorobust as nr
from neurorobust._util import files
from neurorobust.evaluation import fleet_work, workers
from neurorobust.evaluation.parcels import Parcel
from neurorobust.evaluation.spread import spread

RESULTS = Path(__file__).parent / "results" / "spread.json"
NETWORK, CHIP, SEED = "ecg_dpi/adversarial", "dynapse2", 1
TRIVIAL = 500
BANDWIDTH = 125e6
"""Bytes per second, 1 Gbit/s: assumed, not measured."""


def processor_seconds() -> float:
    """Of this process and its children."""
    times = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in times)


def timed(work: Any) -> tuple[float, float, Any]:
    """Seconds by the clock and of the processors, and the result."""
    clock, processors = time.perf_counter(), processor_seconds()
    found = work()
    return time.perf_counter() - clock, processor_seconds() - processors, found


def nothing(shared: object, piece: int) -> dict[str, torch.Tensor]:
    """A piece without work."""
    return {"score": torch.zeros(16)}


@contextmanager
def dask_workers(n: int) -> Iterator[Executor]:
    """A Dask cluster of processes with one thread each."""
    from distributed import Client, LocalCluster

    options: dict[str, Any] = {"n_workers": n, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        client.wait_for_workers(n)
        yield client.get_executor()


def per_task(executor: Executor) -> tuple[float, float]:
    """Seconds of this process for a task without work, and of the clock."""
    own = psutil.Process()
    list(spread(executor, nothing, range(20), ()))
    before, clock = sum(own.cpu_times()[:2]), time.perf_counter()
    list(spread(executor, nothing, range(TRIVIAL), ()))
    return (sum(own.cpu_times()[:2]) - before) / TRIVIAL, (time.perf_counter() - clock) / TRIVIAL


def measured(n_dies: int, n_workers: int, rounds: int, dask: bool) -> dict[str, Any]:
    """Every number of the model, and the efficiency."""
    network, _ = nr.zoo.load(NETWORK)
    chip, data = chipmodels.load(CHIP), nr.tasks.ecg().test
    work = fleet_work.FleetWork(network, data, chip, SEED, None)
    packing, _, parcel = timed(lambda: Parcel.of(work))
    pieces = fleet_work.fleet_pieces(n_dies, data)
    message = len(pickle.dumps((fleet_work.measure_piece, parcel.digests, pieces[0])))
    load = [os.getloadavg()[0]]

    def one() -> nr.evaluation.FleetResult:
        return nr.evaluate(network, data, chip, n_dies=n_dies, seed=SEED)

    nr.evaluate(network, data, chip, n_dies=2, seed=SEED)  # compiles, or reads what was compiled
    clock = time.perf_counter()
    with dask_workers(n_workers) if dask else workers(n_workers) as executor:
        list(spread(executor, nothing, range(n_workers), ()))
        start = time.perf_counter() - clock
        first, _, same = timed(lambda: nr.evaluate(network, data, chip, n_dies=n_dies, seed=SEED, executor=executor))
        alone, together = [], []
        for _ in range(rounds):
            alone.append(timed(one))
            together.append(
                timed(lambda: nr.evaluate(network, data, chip, n_dies=n_dies, seed=SEED, executor=executor))
            )
        own, wall = per_task(executor)
        memory = max(child.memory_info().rss for child in psutil.Process().children(recursive=True))
    load.append(os.getloadavg()[0])
    scores = {tuple(found.score.tolist()) for *_, found in (*alone, *together, (0, 0, same))}
    if len(scores) > 1:
        raise SystemExit("error: the workers gave other scores than one process")
    seconds, busy = (min(each[0] for each in some) for some in (alone, together))
    processors, processors_there = (min(each[1] for each in some) for some in (alone, together))
    return {
        "workers": n_workers,
        "executor": "Dask, processes" if dask else "process pool",
        "dies": n_dies,
        "samples": len(data),
        "pieces": len(pieces),
        "rounds": rounds,
        "same bits": True,
        "seconds": {"one process": seconds, "workers": busy, "first call": first, "start": start, "pickling": packing},
        "processor seconds": {"one process": processors, "workers": processors_there},
        "efficiency": seconds / (n_workers * busy),
        "efficiency in processor time": processors / processors_there,
        "seconds per die": processors / n_dies,
        "overhead per task": {"caller": own, "clock": wall},
        "bytes": {
            "network and chip": len(parcel.blobs[parcel.digests[0]]),
            "data": sum(len(parcel.blobs[name]) for name in parcel.digests[1:]),
            "task": message,
            "result": 64 + 8 * (2 + 2) * fleet_work.AT_ONCE,
        },
        "largest worker, MB": memory / 1e6,
        "load": [round(each, 1) for each in load],
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "torch": torch.__version__,
    }


def predicted(row: dict[str, Any], n_workers: int, n_dies: int, networks: int) -> dict[str, float]:
    """The model: see the top of this file."""
    size, task, sent = (
        min(fleet_work.AT_ONCE, max(1, n_dies // fleet_work.PIECES)),
        row["overhead per task"],
        row["bytes"],
    )
    dies = networks * n_dies
    overhead = row["processor seconds"]["workers"] - row["processor seconds"]["one process"]
    there = max(0.0, overhead / row["pieces"] - task["caller"])  # what a task costs a worker
    sending = n_workers * (sent["data"] + networks * sent["network and chip"]) / BANDWIDTH
    compute = dies * (row["seconds per die"] + there / size) / n_workers
    calling = dies * task["caller"] / size
    before = row["seconds"]["start"] + networks * row["seconds"]["pickling"] + sending
    # ends of calls: the last piece of each network runs while other workers wait
    ends = networks * size * row["seconds per die"] / 2
    total = before + max(compute, calling) + ends
    return {
        "workers": n_workers,
        "dies": dies,
        "seconds": total,
        "one process": dies * row["seconds per die"],
        "efficiency": dies * row["seconds per die"] / (n_workers * total),
        "sending": sending,
        "caller": calling,
        "ends": ends,
        "gigabytes sent": n_workers * (sent["data"] + networks * sent["network and chip"]) / 1e9,
        "megabytes kept": dies / size * (sent["result"] + 500) / 1e6,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dies", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dask", action="store_true", help="a Dask cluster of processes instead of a process pool")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    row = measured(given.dies, given.workers, given.rounds, given.dask)
    row["predicted"] = [predicted(row, n, 10_000, 10) for n in (1, 2, 8, 64)]
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    kept["dask" if given.dask else "pool"] = rounded(row)
    files.write_text(RESULTS, json.dumps(kept, indent=1, sort_keys=True) + "\n")
    print(json.dumps(rounded(row), indent=1))
    return 0


def rounded(value: Any) -> Any:
    """Numbers with four digits."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main())
