"""The compiled loops on threads, in processes, on disk, and without numba."""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from conftest import draw
from engine import OPERATORS, N, build, dies_of, events, spiking, whole_layer
from hypothesis import given
from hypothesis import strategies as st

from neurorobust import kernels
from neurorobust.kernels import blocks
from neurorobust.kernels.numba_loops import intrinsics, jit
from neurorobust.kernels.runtime import openmp, threads
from neurorobust.kernels.runtime.load import Plan
from neurorobust.nn.fleet_run import fleet_logits
from neurorobust.nn.neurons import LeakyIntegrator

# Threads and processes.


def busy(seed=0):
    """Outputs and gradients of all loops, of a batch that fills more than one block, and of a fleet; no matrix
    product of torch's, which hangs in a forked process."""
    args = [make(seed + i) for i, make in enumerate(OPERATORS["lif"][1])]
    weight = draw(seed + 7, N, 30).requires_grad_()
    current = kernels.linear(events(seed, 0.02, 20, 37, 30), weight, None)
    spikes = spiking(current + 1, *args[1:])
    layer = whole_layer(events(seed + 1, 0.02, 20, 37, 30), weight, None, *args[1:3])
    out = kernels.leaky_integrator(spikes[..., :N] + layer, args[2].requires_grad_(), args[3])
    net = build(LeakyIntegrator, tau_mem=0.02)
    fleet = fleet_logits(net, dies_of(net, 3), events(1, 0.1, 37, 10, 3))
    return [out.detach(), *torch.autograd.grad(out.square().sum(), [weight, args[2]]), *fleet]


def all_threads():
    return Plan(torch.get_num_threads(), False)


@pytest.fixture(params=["openmp", "own"])
def all_sizes_run_in_parallel(request, monkeypatch):
    """Work of any size goes to more than one thread, torch's or our own; torch's number of threads is put back."""
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "SMALL", 0)
    monkeypatch.setattr(threads, "plan", all_threads)  # however busy the machine is
    if request.param == "own":
        monkeypatch.setattr(openmp, "addresses", lambda: (0, 0))
    elif not any(openmp.addresses()):
        assert sys.platform != "linux" or not torch.backends.openmp.is_available()
        pytest.skip("torch runs on no OpenMP that can be called")
    yield
    torch.set_num_threads(before)


def test_bits_do_not_depend_on_threads(all_sizes_run_in_parallel):
    """Outputs and all gradients of every operator and of a fleet have the same bits with 1, 2 and 3 threads."""
    results = []
    for n in (1, 2, 3):
        torch.set_num_threads(n)
        results.append(busy())
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


LIBRARY = ctypes.windll.kernel32 if os.name == "nt" else ctypes.CDLL(None)
THREAD = LIBRARY.GetCurrentThreadId if os.name == "nt" else LIBRARY.pthread_self
REST = LIBRARY.Sleep if os.name == "nt" else LIBRARY.usleep
REST.restype, REST.argtypes = ctypes.c_int, (ctypes.c_uint,)
THREAD.restype, THREAD.argtypes = ctypes.c_size_t, ()


@numba.njit(nogil=True)
def mark(chip, block, low, high, done, who, meeting):
    """Notes who did what; the blocks of a meeting wait until all of it are at work, which takes as many threads."""
    for k in range(len(meeting)):
        if meeting[k] == 5 * chip + block:
            who[chip, block] = THREAD()
            for _ in range(20000):
                if np.all(who.reshape(-1)[meeting] != 0):
                    break
                REST(1000)  # µs, and ms on Windows
    who[chip, block] = THREAD()
    done[chip, block, low:high] += 1


@numba.njit(nogil=True)
def fail(chip, low, high, done, bad):
    """Cannot do one of its parts."""
    done[low] += 1
    if low == bad:
        raise ValueError


_marked, _failed = intrinsics.parallel_for(mark, True), intrinsics.parallel_for(fail, False)
PARTS = np.stack([np.arange(5) * 3, np.arange(5) * 3 + 3], 1)


@numba.njit(nogil=True)
def mark_blocks(team, chips, blocks, *rest):
    return _marked(team, chips, blocks, rest)


@numba.njit(nogil=True)
def fail_blocks(team, chips, blocks, *rest):
    return _failed(team, chips, blocks, rest)


@pytest.mark.parametrize("n", [1, 2])
def test_as_many_threads_as_torch_has(n, all_sizes_run_in_parallel):
    """n threads meet, so n work at once; no more than n ever do, the caller among them; every block is done once."""
    torch.set_num_threads(n)
    done, who = np.zeros((10, 5, 15), np.int64), np.zeros((10, 5), np.uint64)
    meeting = np.arange(n) * 50 // n  # where the stretches of the threads begin
    threads.run_parallel(lambda team: mark_blocks(team, 10, PARTS, done, who, meeting), 50, 10**9)
    assert (done.sum(0) == 10 * np.eye(5).repeat(3, 1)).all() and done.max() == 1
    assert len(set(who.reshape(-1))) == n and THREAD() in who
    assert torch.get_num_threads() == n


@given(st.integers(1, 10_000), st.integers(1, 64))
def test_groups_of_rows_are_few_and_alike(rows, most):
    group = blocks.evenly(rows, most)
    assert 1 <= group <= most and -(-rows // group) == -(-rows // most)  # as few as with the most
    cut = np.diff(blocks.blocks_of(rows, 2**30, group=group)).ravel()
    assert cut.sum() == rows and (cut[:-1] % group == 0).all()


def test_a_batch_between_two_threads():
    cut = blocks.blocks_of(25, 2**30, group=blocks.evenly(25, 16))
    assert cut.tolist() == [[0, 13], [13, 25]]  # not 16 and 9: the second thread would wait


def test_small_work_stays_on_the_caller():
    """Work that costs less than a thread runs on the caller's thread only."""
    before, done, who = torch.get_num_threads(), np.zeros((10, 5, 15), np.int64), np.zeros((10, 5), np.uint64)
    try:
        torch.set_num_threads(2)
        nobody = np.zeros(0, np.int64)
        threads.run_parallel(lambda team: mark_blocks(team, 10, PARTS, done, who, nobody), 50, threads.SMALL - 1)
    finally:
        torch.set_num_threads(before)
    assert (who == THREAD()).all() and done.sum() == 150


@pytest.mark.parametrize("n", [1, 2])
def test_a_block_that_fails_comes_out(n, all_sizes_run_in_parallel):
    """A block that cannot be done is an error of the caller's; the others are done, and the next call works."""
    torch.set_num_threads(n)
    for bad in (0, 6, 12):
        done = np.zeros(15, np.int64)
        with pytest.raises(MemoryError, match="a loop over"):
            threads.run_parallel(lambda team: fail_blocks(team, 1, PARTS, done, bad), 5, 10**9)  # noqa: B023
        assert done.sum() == 5
    threads.run_parallel(lambda team: fail_blocks(team, 1, PARTS, done, -1), 5, 10**9)
    assert done.sum() == 10


def test_calls_from_several_threads_do_not_mix(all_sizes_run_in_parallel):
    """Four threads of the user's own that call the engine at once each get the bits they get alone."""
    torch.set_num_threads(2)
    expected, found = {seed: busy(seed) for seed in range(4)}, {}
    users = [threading.Thread(target=lambda s=s: found.update({s: busy(s)}), daemon=True) for s in range(4)]
    for user in users:
        user.start()
    for user in users:
        user.join(60)
    assert found.keys() == expected.keys()
    assert all(all(map(torch.equal, found[seed], expected[seed])) for seed in found)


def child(results, seed, own):
    """Run in a worker: the engine on two threads, of our own or whatever there are."""
    torch.set_num_threads(2)
    threads.SMALL, threads.plan = 0, all_threads
    if own:
        openmp.addresses = lambda: (0, 0)
    results.put([value.detach().tolist() for value in busy(seed)])


@pytest.mark.filterwarnings("ignore:os.fork")  # JAX's, where a benchmark's peer has been imported
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_do_not_deadlock(method, all_sizes_run_in_parallel):
    """A worker started after the parent has used its threads does the same work, and ends, within half a minute."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this system")
    torch.set_num_threads(2)
    expected = [value.tolist() for value in busy()]
    context = multiprocessing.get_context(method)
    results = context.Queue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python ≥ 3.12: a fork beside threads may deadlock
        worker = context.Process(target=child, args=(results, 0, not any(openmp.addresses())), daemon=True)
        worker.start()
    try:
        assert results.get(timeout=30) == expected
        worker.join(10)
        assert worker.exitcode == 0
    finally:
        worker.kill()


# Where compiled code is kept.


def test_the_key_of_compiled_code(tmp_path):
    """The key covers every file that is compiled: a change of any of them, its name too, gives another key."""
    files = sorted(jit.SOURCES.glob("*.py"))
    assert {"intrinsics.py", "lif.py", "lif_backward.py", "rows.py"} <= {path.name for path in files}
    for path in files:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    keys = {jit.digest_of(tmp_path)}
    assert keys == {jit.SOURCE_DIGEST}
    for path in files:
        with (tmp_path / path.name).open("a") as changed:
            changed.write("# changed\n")
        keys.add(jit.digest_of(tmp_path))
    (tmp_path / "rows.py").rename(tmp_path / "other.py")
    assert len(keys | {jit.digest_of(tmp_path)}) == len(files) + 2


CACHE_USE = """
from neurorobust.kernels.numba_loops import jit
jit.SOURCE_DIGEST = {digest}
import numpy as np
from neurorobust.kernels.numba_loops import rows
assert rows.rate(np.eye(4), 4) == 0.25
print(*(sum(getattr(rows.rate.stats, kind).values()) for kind in ("cache_hits", "cache_misses")))
"""


def test_processes_share_compiled_code(tmp_path):
    """The first process compiles; the second finds its code; one with other sources compiles again."""
    found = []
    for digest in ("jit.SOURCE_DIGEST", "jit.SOURCE_DIGEST", "'of other sources'"):
        code, environment = CACHE_USE.format(digest=digest), {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, check=True, env=environment, timeout=120, capture_output=True, text=True)
        found.append(done.stdout.strip())
    assert found == ["0 1", "1 0", "0 1"]


INTERRUPTED = """
from numba.core.codegen import CPUCodeLibrary

def interrupted(cls, module, code):  # what Ctrl-C does there; ctypes drops the exception
    raise KeyboardInterrupt

CPUCodeLibrary._object_compiled_hook = classmethod(interrupted)
"""


def test_a_signal_while_llvm_hands_code_over_costs_the_file_only(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    use = CACHE_USE.format(digest="jit.SOURCE_DIGEST")
    for code, counts in ((INTERRUPTED + use, "0 1"), (use, "0 1"), (use, "1 0")):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, check=True, env=environment, timeout=120, capture_output=True, text=True)
        assert done.stdout.strip() == counts
        assert ("KeyboardInterrupt" in done.stderr) == (code != use)


def writable(monkeypatch, tmp_path, *folders):
    """A home and a folder of temporary files of the test's own, and nothing writable but ``folders``."""
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    (home / ".cache").mkdir(parents=True)
    temporary.mkdir()
    monkeypatch.setattr(jit.tempfile, "gettempdir", lambda: str(temporary))
    monkeypatch.setattr(jit.tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("HOME", str(home))
    allowed = {str(home if folder == "home" else folder) for folder in folders}
    monkeypatch.setattr(jit.os, "access", lambda path, mode: str(path) in allowed)
    return temporary


OWN = Path(jit.__file__).parent


@pytest.mark.parametrize("folders", [(OWN / "__pycache__", OWN), ("home/.cache",)], ids=["package", "home"])
def test_cache_where_numba_puts_it(folders, monkeypatch, tmp_path):
    """Nothing is chosen where the package's own folder, or the user's cache, can be written to."""
    writable(monkeypatch, tmp_path, *(tmp_path / f if isinstance(f, str) else f for f in folders))
    assert jit.cache_folder() == ""


@pytest.mark.parametrize("extra", [(), ("home",)], ids=["read-only home", "read-only cache in a home"])
def test_cache_of_a_read_only_home(extra, monkeypatch, tmp_path):
    """A private folder among the temporary ones, the same at every call; also where only ~/.cache is read-only, which
    is where numba would write."""
    temporary = writable(monkeypatch, tmp_path, *extra)
    folder = Path(jit.cache_folder())
    assert folder.parent == temporary
    assert folder.stat().st_mode & 0o777 == 0o700
    assert jit.cache_folder() == str(folder)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions are POSIX's")
@pytest.mark.parametrize("planted", ["open folder", "link", "file"])
def test_a_planted_cache_is_not_used(planted, monkeypatch, tmp_path):
    """Another's folder, link or file of that name could hold another's code: a fresh private folder is made."""
    temporary = writable(monkeypatch, tmp_path)
    usual = Path(jit.cache_folder())
    usual.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    if planted == "open folder":
        usual.mkdir()
        usual.chmod(0o777)
    elif planted == "link":
        usual.symlink_to(tmp_path / "elsewhere")
    else:
        usual.touch()
    folder = Path(jit.cache_folder())
    assert folder != usual and folder.parent == temporary
    assert folder.stat().st_mode & 0o777 == 0o700


def test_cache_of_a_user_without_a_home(monkeypatch, tmp_path):
    """A user id that no one knows, as in a container, has no home: the temporary folder is used."""
    temporary = writable(monkeypatch, tmp_path)

    def no_home(*_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(jit.Path, "home", no_home)
    assert Path(jit.cache_folder()).parent == temporary


# In a fresh process, where no test has been before.

FRESH = """
import json, resource, sys
import torch
torch.set_num_threads(1)
import neurorobust as nr
found = {"imported": [name for name in ("numba", "neurorobust.kernels.numba_loops.rows") if name in sys.modules]}
from neurorobust import kernels
from neurorobust.nn.connections import Linear
from neurorobust.nn.neurons import Lif, LeakyIntegrator
from neurorobust.nn.fleet_run import fleet_logits

generator = torch.Generator().manual_seed(0)
def draw(*shape):
    return torch.randn(shape, generator=generator, dtype=torch.float64)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
def now():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20
net = nr.Network({
    "hidden": Lif(Linear(draw(64, 16)), recurrent=Linear(0.1 * draw(64, 64)), tau_mem=0.02, v_threshold=0.1),
    "readout": LeakyIntegrator(Linear(draw(2, 64)), tau_mem=0.02),
}, 1e-3)

def step():
    net.zero_grad()
    net((draw(8, 50, 16) > 1).double())[0].square().sum().backward()
for _ in range(20):
    step()
found["threads"] = torch.get_num_threads()
before = now()
for _ in range(200):
    step()
found["leak"] = now() - before

wide = nr.Network({
    "hidden": Lif(Linear(draw(64, 512)), tau_mem=0.02, v_threshold=0.1),
    "readout": LeakyIntegrator(Linear(draw(2, 64)), tau_mem=0.02),
}, 1e-3)
x = (draw(20, 100, 512) > 2).double()
def dies(n):
    for _ in range(n):
        yield {name: value * (1 + 0.1 * draw(*value.shape).clamp(-3, 3)) for name, value in nr.nominal(wide).items()}
for n, name in ((16, "few"), (160, "many")):
    for _ in fleet_logits(wide, dies(n), x):
        pass
    found[name] = peak()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def fresh():
    """The number that a process of its own printed, in MiB."""
    environment = {key: value for key, value in os.environ.items() if key != "NEUROROBUST_KERNEL"}
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


BROKEN = """
import json, sys, warnings
sys.modules["numba"] = None  # an import of it fails
import torch
import neurorobust as nr
from neurorobust import kernels
from neurorobust.nn.connections import Linear
from neurorobust.nn.fleet_run import fleet_logits
from neurorobust.nn.neurons import Lif
net = nr.Network({"out": Lif(Linear(torch.randn(3, 4)), tau_mem=0.02, v_threshold=0.01)}, 1e-3)
x, found = (torch.rand(2, 9, 4) < 0.3).float(), {}
def run():
    logits = net(x)[0]
    logits.sum().backward()
    list(fleet_logits(net, [nr.nominal(net)], x))
    return logits
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    logits = run()
    run()
    found["about"] = kernels.describe()
found["warnings"] = [str(warning.message) for warning in seen]
with kernels.using("reference"):
    found["same"] = torch.equal(logits, run())
try:
    with kernels.using("compiled"):
        run()
except ImportError as error:
    found["error"], found["cause"] = str(error), type(error.__cause__).__name__
print(json.dumps(found))
"""


def test_without_numba_the_reference_runs():
    """One warning with the cause, the reference's results, and ``describe`` says so; asked for by name, it raises."""
    environment = {key: value for key, value in os.environ.items() if key != "NEUROROBUST_KERNEL"}
    command = [sys.executable, "-c", BROKEN]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (warning,) = found["warnings"]
    assert "ModuleNotFoundError" in warning and "numba" in warning and "many times slower" in warning
    assert found["about"]["in use"] == "reference" and "ModuleNotFoundError" in found["about"]["why"]
    assert found["same"] and found["cause"] == "ModuleNotFoundError" and "NEUROROBUST_KERNEL=compiled" in found["error"]


linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")


@linux
def test_nothing_is_compiled_at_import(fresh):
    """``import neurorobust`` loads neither numba nor the loops."""
    assert fresh["imported"] == []


@linux
def test_the_engine_leaves_torchs_threads_alone(fresh):
    """torch.set_num_threads(1) still holds after compiled loops ran."""
    assert fresh["threads"] == 1


@linux
def test_no_leak_over_a_thousand_calls(fresh):
    """200 training steps, 1200 calls of operators that allocate 80 MB for spikes and membranes, leave less than 8."""
    assert fresh["leak"] < 8


@linux
def test_a_large_fleet_needs_no_more_memory_than_a_small_one(fresh):
    """The peak of 160 dies is within 16 MiB of that of 16; all their weights are 42 MB, their spikes 160."""
    assert fresh["many"] - fresh["few"] < 16
