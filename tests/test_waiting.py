"""How threads wait beside other work, and that nothing waits for ever after a fork."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import pytest

from neurorobust.kernels.runtime import openmp

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

# Threads that wait asleep.

SLEEP = """
import json, os, sys, time
import torch
torch.set_num_threads(2)
from neurorobust.kernels.runtime import openmp
a = torch.rand(400_000)
a + 1
def spent():  # CPU seconds of a thread that waits for 0.1 s after each of 10 operations
    before = time.process_time()
    for _ in range(10):
        a + 1
        time.sleep(0.02)
    return time.process_time() - before
found, stay = {}, [True]
found["awake"] = spent()
def stays():
    time.sleep(0.01)
    return stay[0]
openmp.wait_asleep(2, stays)
time.sleep(0.1)
assert openmp.asleep()
found["asleep"] = spent()
stay[0] = False
time.sleep(0.2)
assert not openmp.asleep()
found["awake again"] = spent()
found["threads"] = len(os.listdir("/proc/self/task"))
print(json.dumps(found))
"""


def fresh(code, *arguments, **variables):
    """What a process of its own printed, in which OpenMP waits as it does by default."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_"))}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=kept | variables, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@linux
@pytest.mark.skipif(openmp.CORES < 2, reason="needs two cores")
def test_threads_wait_asleep_while_asked_to():
    """The CPU time of waiting threads is several times smaller, and as before afterwards; no thread is left over."""
    if not any(openmp.addresses()):
        pytest.skip("torch runs on no OpenMP that can be called")
    best = {"awake": 0.0, "asleep": math.inf, "awake again": 0.0}
    for _ in range(3):  # on a busy machine a thread that spins may get no core
        found = json.loads(fresh(SLEEP))
        for name, value in best.items():
            best[name] = (min if name == "asleep" else max)(value, found[name])
    assert 2 * best["asleep"] < min(best["awake"], best["awake again"]), best


# A fork.

FORKS = """
import multiprocessing, os, signal, sys, time
import torch
from torch.utils.data import DataLoader, TensorDataset
torch.set_num_threads(2)
import neurorobust as nr
from neurorobust.kernels.runtime import openmp, threads
threads.SMALL = 0
{patch}
def work():
    a = torch.rand(300, 300, generator=torch.Generator().manual_seed(0))
    weight = torch.rand(40, 300, generator=torch.Generator().manual_seed(1)).requires_grad_()
    out = nr.kernels.linear((a[:, None] < 0.1).float(), weight, None) if hasattr(nr, "kernels") else a
    total = (a @ a).sum() + (a.repeat(10, 1) + 1).mean() + out.sum()
    return round(float(total), 3)
expected = work()
def child(results):
    results.put((work(), torch.get_num_threads()))
how = sys.argv[1]
signal.alarm(60)
if how == "os.fork":
    for _ in range(5):
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            os._exit(0 if work() == expected else 3)
        assert os.waitpid(pid, 0)[1] == 0
        assert work() == expected
    print(torch.get_num_threads())
elif how == "multiprocessing":
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    workers = [context.Process(target=child, args=(results,), daemon=True) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        found, n = results.get(timeout=30)
        assert found == expected, (found, expected)
    print(n)
else:
    class Busy(TensorDataset):
        def __getitem__(self, k):
            assert abs(work() - expected) < 1
            return super().__getitem__(k)
    data = Busy(torch.arange(8.0))
    loader = DataLoader(data, batch_size=2, num_workers=2, multiprocessing_context="fork", timeout=30)
    assert sorted(float(v) for batch, in loader for v in batch) == list(range(8))
    assert work() == expected
    print(torch.get_num_threads())
"""


NO_END = "openmp._function = lambda name: None  # an OpenMP that cannot end its threads"


@linux
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(
    ("how", "ended"), [("os.fork", True), ("multiprocessing", True), ("DataLoader", True), ("multiprocessing", False)]
)
def test_a_fork_after_two_threads_ends(how, ended):
    """Operations of torch and loops of ours on two threads, then a fork: the child gives the same, in time. Where
    OpenMP cannot end its threads before, the child has one."""
    found = fresh(FORKS.format(patch="" if ended else NO_END), how)
    if how == "multiprocessing":
        assert found == ("2\n" if ended else "1\n")
    else:
        assert found == "2\n"
