"""Measurements on a Dask cluster of processes on this machine, also while its workers are killed."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress

import pytest
import torch
from deep import DEEP, add
from mini_study import MINI
from spreading import FEW, MEASUREMENTS, Counted, KilledWorker, here, same
from torch import nn

import neurorobust as nr
from benchmarks import robustness
from benchmarks.robustness.results import TABLE
from neurorobust.evaluation import WorkersLost, spread

dask = pytest.importorskip("dask", reason="dask: install neurorobust[dask]")
distributed = pytest.importorskip("distributed", reason="distributed: install neurorobust[dask]")

KILLS = 20 if DEEP else 3


@contextmanager
def forked_workers():
    """Workers are forks of a process that has imported everything, so one that replaces a killed one begins at once."""
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        distributed.utils.get_mp_context()  # names modules of Dask, once
        multiprocessing.get_context("forkserver").set_forkserver_preload(["distributed", "spreading"])
        yield


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """Two worker processes with a thread each; no dashboard, so no port is asked for by number."""
    folder = tmp_path_factory.mktemp("dask")
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "memory_limit": 0}
    with (
        forked_workers(),
        distributed.LocalCluster(
            **options, dashboard_address=None, local_directory=str(folder), silence_logs=50
        ) as cluster,
        distributed.Client(cluster, timeout=60) as client,
    ):
        client.wait_for_workers(2, timeout=120)
        yield client


def test_a_cluster_gives_the_same_bits(client):
    executor = client.get_executor()
    for name, measurement in MEASUREMENTS.items():
        assert same(measurement(executor), here(name)), name


def test_a_cluster_gets_network_and_data_once_per_worker(client):
    """Also more than the 10 MB of which Dask warns."""
    generator = torch.Generator().manual_seed(1)
    data = nr.data.Data(torch.rand(40, 70_000, generator=generator), torch.arange(40) % 2)
    counted = Counted(client.get_executor())
    nr.evaluate(nr.wrap(nn.Linear(70_000, 2)), data, nr.mismatch(0.1), n_dies=30, executor=counted)
    assert data.x.nbytes > 10e6 and max(size for _, size in counted.sent) > data.x.nbytes
    assert counted.tasks >= 30 and all(
        [name for name, _ in counted.sent].count(name) <= FEW for name, _ in counted.sent
    )


def _slow(shared, piece):
    time.sleep(0.05)
    return {"square": torch.tensor(piece**2)}


@pytest.mark.deep
def test_killed_workers_lose_nothing(client):
    """Workers are killed at random moments while pieces run. Every piece counts once, and has the same bits."""
    coin, stop, killed, ticks = random.Random(4), threading.Event(), [], []

    def kill():
        while len(killed) < KILLS and not stop.wait(0.2 + coin.random()):
            try:
                client.wait_for_workers(2, timeout=60)  # the one before has come back
            except TimeoutError:
                continue
            with suppress(OSError, IndexError):
                alive = [each for each in client.run(os.getpid, on_error="ignore").values() if isinstance(each, int)]
                os.kill(coin.choice(alive), signal.SIGKILL)
                killed.append(1)

    killer = threading.Thread(target=kill)
    killer.start()
    rounds = 0
    try:
        while len(killed) < KILLS and killer.is_alive():
            found = list(spread.spread(client.get_executor(), _slow, range(60), (), ticks.append))
            assert [int(each["square"]) for each in found] == [k**2 for k in range(60)]
            rounds += 1
            assert sorted(ticks) == sorted([*range(60)] * rounds)
            assert same(MEASUREMENTS["trimmed"](client.get_executor()), here("trimmed"))
    finally:
        stop.set()
        killer.join()
    assert len(killed) == KILLS
    if DEEP:
        add("killed Dask workers", KILLS)
    client.wait_for_workers(2, timeout=120)


def test_a_closed_client_says_what_to_do(client):
    with distributed.Client(client.scheduler.address, timeout=60, set_as_default=False) as other:
        executor = other.get_executor()
    with pytest.raises(WorkersLost, match=r"executor: lost its workers .*; they are kept"):
        MEASUREMENTS["evaluate"](executor)


def test_the_grid_runs_on_a_cluster(client, tmp_path):
    """A method of the miniature, trained and measured by the workers: the table of one process."""
    there, alone = tmp_path / "there", tmp_path / "alone"
    names = tuple(robustness.find_measurements(["nominal"]))
    outcomes = robustness.run(
        robustness.plan(robustness.cells_of(MINI, ("standard",), None, there), names), client.get_executor(), at_once=2
    )
    assert {outcome.status for outcome in outcomes} == {"done"}
    assert robustness.complete(robustness.cells_of(MINI, ("standard",), None, alone), names, 1) == {}
    for folder in (there, alone):
        robustness.write_table(folder)
    assert (there / TABLE).read_bytes() == (alone / TABLE).read_bytes()


class Refusing(Executor):
    """As a cluster that gives a task up."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        future.set_exception(KilledWorker("died four times"))
        return future


def test_a_job_that_a_cluster_gives_up_is_failed(tmp_path):
    """It is no error of the run; its cell is made by the next run."""
    jobs = robustness.plan(robustness.cells_of(MINI, (), None, tmp_path), ("nominal",))
    outcomes = robustness.run(jobs, Refusing())
    assert len(outcomes) == len(jobs) and {outcome.status for outcome in outcomes} == {"failed"}
    assert all("its worker was killed (KilledWorker : died four times); run" in each.error for each in outcomes)
