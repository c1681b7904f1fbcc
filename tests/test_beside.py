"""Beside other work: how many threads."""

from __future__ import annotations

import math
import os
import sys
import threading
import time

import pytest
import torch

import neurorobust as nr
from neurorobust.kernels.runtime import load, openmp, polite, threads
from neurorobust.kernels.runtime.load import Plan, Reading

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def reading(wall, own, busy, cores=2, quota=math.inf, used=0.0):
    return Reading(wall, own, frozenset(range(cores)), busy, quota, used)


# The decision: from two readings to a plan.


@pytest.mark.parametrize(
    ("own", "busy", "quota", "used", "expected"),
    [
        (2.0, 2.0, math.inf, 0.0, 2.0),  # alone, with both threads
        (1.0, 1.0, math.inf, 0.0, 2.0),  # alone, with one
        (1.0, 2.0, math.inf, 0.0, 1.0),  # one competitor, or another of our processes
        (0.5, 2.0, math.inf, 0.0, 0.5),  # three competitors on two cores
        (2.0, 1.9, math.inf, 0.0, 2.0),  # clocks do not agree to the last tick
        (1.0, 1.0, 1.0, 1.0, 1.0),  # a container with one core
        (0.5, 0.5, 1.0, 1.0, 0.5),  # and another process in it
        (1.0, 1.0, 1.5, 1.0, 1.5),
        (0.0, 9.0, math.inf, 0.0, 0.0),
    ],
)
def test_room(own, busy, quota, used, expected):
    """Cores that are left in a second in which this process used ``own`` and everybody ``busy``."""
    before, now = reading(10, 5, 100, quota=quota), reading(11, 5 + own, 100 + busy, quota=quota, used=used)
    assert load.room(before, now) == pytest.approx(expected)


def test_room_beside_polite_processes():
    """A niced process on the core that this one leaves free is no load; more than others used cannot be left."""
    assert load.room(reading(10, 0, 0), reading(11, 1, 2), polite=0.8) == pytest.approx(1.8)
    assert load.room(reading(10, 0, 0), reading(11, 1, 1.2), polite=0.8) == pytest.approx(2)
    assert load.room(reading(10, 0, 0, quota=1), reading(11, 0.5, 2, quota=1, used=0.5), 1.5) == pytest.approx(1)


def test_readings_that_cannot_be_compared():
    """None, no time between them, other cores since, or from before a fork."""
    now = reading(2, 1, 900)
    assert load.comparable(reading(1, 0.9, 0), now)
    for before in (None, now, reading(1, 0, 0, cores=4), reading(1, 5, 0)):
        assert not load.comparable(before, now)
    assert [load.room_beside(others, now) for others in (0, 1, 5)] == [2, 1, 0]
    assert load.room_beside(1, reading(1, 0, 0, cores=4, quota=0.5)) == 0.5


@pytest.mark.parametrize(
    ("room", "allowed", "expected"),
    [
        (2.0, 2, Plan(2, False)),
        (1.8, 2, Plan(2, False)),
        (1.6, 2, Plan(2, True)),  # half a competitor: both threads, which leave the core while they wait
        (1.0, 2, Plan(1, True)),
        (0.0, 2, Plan(1, True)),
        (1.0, 1, Plan(1, False)),
        (0.3, 1, Plan(1, False)),
        (16.0, 16, Plan(16, False)),
        (15.0, 16, Plan(16, True)),
        (7.0, 16, Plan(1, True)),
        (64.0, 16, Plan(16, False)),
    ],
)
def test_plan(room, allowed, expected):
    assert load.plan(room, allowed, Plan(allowed, False)) == expected


@pytest.mark.parametrize("allowed", [2, 3, 8, 64])
def test_plan_holds_at_the_borders(allowed):
    """A room that trembles by a twentieth of a core changes the plan twice at most, wherever it stands; a machine that
    is free again gets all threads, awake."""
    for step in range(20 * allowed + 1):
        found = plan = load.plan(step / 20, allowed, Plan(allowed, False))
        changes = 0
        for tremble in (0.05, -0.05) * 5:
            found, before = load.plan(step / 20 + tremble, allowed, found), found
            changes += found != before
        assert changes <= 2, (step, plan)
        assert load.plan(float(allowed), allowed, found) == Plan(allowed, False)


class Machine:
    """A simulated machine of two cores, and a process on it that looks every quarter of a second."""

    def __init__(self, quota=math.inf):
        self.wall = self.own = self.busy = 0.0
        self.quota, self.others = quota, 0.0
        self.reads = 0

    def read(self):
        self.reads += 1
        return reading(self.wall, self.own, self.busy, quota=self.quota, used=self.own)

    def watch(self, **given):
        return threads.Watch(self.read, lambda: round(self.others), **given)

    def passes(self, seconds, threads):
        """Time, with so many threads of ours that want to run, and others that would use so many cores."""
        mine = min(threads, max(2 - self.others, 2 * threads / max(threads + self.others, 1)), self.quota)
        self.wall, self.own = self.wall + seconds, self.own + seconds * mine
        self.busy += seconds * min(mine + self.others, 2)

    def runs(self, watch, seconds, others):
        """The plans of a time in which ``others`` would use so many cores."""
        plans, self.others = [], others
        for _ in range(round(seconds / 0.25)):
            watch.due = 0.0
            plans.append(watch.look(2))
            self.passes(0.25, plans[-1].threads)
        return plans


ALL, BOTH_ASLEEP, ONE = Plan(2, False), Plan(2, True), Plan(1, True)


def test_two_of_our_processes_keep_one_thread_each():
    """Alone: two threads. From half a second after another begins, one; half a second after it ended, two."""
    machine = Machine()
    watch = machine.watch()
    assert machine.runs(watch, 2, 0) == [ALL] * 8
    assert machine.runs(watch, 2, 2)[2:] == [ONE] * 6  # at first each of four threads gets half a core
    assert machine.runs(watch, 2, 1) == [ONE] * 8
    assert machine.runs(watch, 2, 0)[2:] == [ALL] * 6


@pytest.mark.parametrize(("quota", "expected"), [(0.5, ONE), (1.0, ONE), (1.5, BOTH_ASLEEP), (2.0, ALL)])
def test_a_container_with_a_quota(quota, expected):
    """From the first call on."""
    machine = Machine(quota)
    assert machine.runs(machine.watch(), 3, 0) == [expected] * 12


@pytest.mark.parametrize(("others", "expected"), [(0, ALL), (1, ONE), (3, ONE)])
def test_the_first_call_and_one_after_a_pause(others, expected):
    """What others did while the package was imported, or during the pause, does not decide: who runs now does."""
    machine = Machine()
    watch = machine.watch()
    for _ in range(2):
        machine.others = 3 - others
        machine.passes(5, 0)
        assert machine.runs(watch, 1, others) == [expected] * 4


def test_load_of_a_moment_ago_counts_and_a_pause_is_forgotten():
    """Up to one second a reading is of now."""
    machine = Machine()
    watch = machine.watch()
    machine.others = 1
    machine.passes(0.9, 0)
    assert machine.runs(watch, 0.25, 0) == [ONE]
    machine.others = 1
    machine.passes(1.1, 0)
    assert machine.runs(watch, 0.25, 0) == [ALL]


def test_a_look_after_a_pause_is_soon_measured():
    """Half a period after a guess, a period after a measurement."""
    machine = Machine()
    machine.wall = 1e6
    watch = machine.watch()
    machine.wall += 100
    watch.look(2)
    assert watch.due - watch.seen == pytest.approx(threads.PERIOD / 2)
    machine.passes(0.1, 2)
    watch.due = 0.0
    watch.look(2)
    assert watch.due - watch.seen == pytest.approx(threads.PERIOD)


def test_between_two_looks_nothing_is_read():
    """Another number of threads takes the room that is known; one thread needs none."""
    machine = Machine()
    watch = machine.watch()
    watch.look(2)
    reads = machine.reads
    assert [watch.look(n).threads for n in (2, 4, 1, 2)] == [2, 1, 1, 2]  # 2 cores for 4 threads
    assert machine.reads == reads


def test_a_polite_competitor_costs_no_thread():
    """Its time on the free core counts only as far as it would keep it; nobody asks for it on a free machine."""
    machine, asked = Machine(), []
    watch = machine.watch(polite=lambda: asked.append(1) or 0.9)
    assert machine.runs(watch, 2, 0) == [ALL] * 8 and asked == []
    assert [plan.threads for plan in machine.runs(watch, 2, 1)] == [2] * 8 and len(asked) == 7


def test_where_nothing_is_known_all_threads_run_awake():
    watch = threads.Watch(lambda: None, lambda: 1)
    assert watch.look(2) == Plan(2, False) and watch.look(8) == Plan(8, False)


def test_the_number_of_threads_is_the_users():
    """torch.set_num_threads holds at once, between two looks, too."""
    watch = threads.Watch(lambda: None, lambda: 1)
    assert [watch.look(n).threads for n in (4, 1, 2)] == [4, 1, 2]


# Operations of torch.


def seen_inside(monkeypatch, planned, inside):
    """The threads of torch in the calling thread and in a new one, in a context of so many planned threads, when
    torch may use two; and whether torch has two again, here and in a new thread."""
    before = torch.get_num_threads()
    found = []

    def look():
        found.append(torch.get_num_threads())
        other = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        other.start()
        other.join()

    torch.set_num_threads(2)
    monkeypatch.setattr(threads, "plan", lambda: Plan(planned, True))
    try:
        inside(look)
        look()
    finally:
        torch.set_num_threads(before)
    assert found[-2:] == [2, 2]
    return found[:-2]


@linux
@pytest.mark.parametrize(("planned", "own"), [(1, 1), (2, 2)])
def test_operations_of_torch_run_on_the_planned_threads(planned, own, monkeypatch):
    """Those of this thread alone; another one, also one that begins meanwhile, has as many as the user set."""
    if openmp._function("omp_set_num_threads") is None:
        pytest.skip("torch runs on no OpenMP that can be called")

    def twice(look):
        with threads.on_planned_threads():
            look()
            with threads.on_planned_threads():
                look()
            look()

    assert seen_inside(monkeypatch, planned, twice) == [own, 2] * 3


@linux
def test_the_threads_come_back_after_an_error_and_a_generator_left_early(monkeypatch):
    def failing(look):
        with pytest.raises(ValueError, match="inside"), threads.on_planned_threads():
            raise ValueError("inside")

    def left(look):
        def numbers():
            with threads.on_planned_threads():
                yield 1

        for _ in numbers():
            break

    assert seen_inside(monkeypatch, 1, failing) == seen_inside(monkeypatch, 1, left) == []


@linux
def test_an_optimizer_runs_on_the_planned_threads_and_gives_the_same(monkeypatch):
    """A step of training with the loops on one thread while torch may use two: the weights have the same bits."""

    class Looks(torch.optim.Adam):
        def step(self, *given):
            found.append(torch.get_num_threads())
            return super().step(*given)

    found, weights = [], []
    monkeypatch.setattr(torch.optim, "Adam", Looks)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for planned in (2, 1):
            monkeypatch.setattr(threads, "plan", lambda planned=planned: Plan(planned, True))
            layer = torch.nn.Linear(400, 200, bias=False)
            torch.nn.init.normal_(layer.weight, generator=torch.Generator().manual_seed(1))
            model = nr.wrap(layer)
            descent = nr.train.Descent(model, epochs=1)
            descent.start(0)
            x = torch.rand(4, 400, generator=torch.Generator().manual_seed(2))
            for _ in range(3):
                descent.step(torch.nn.functional.cross_entropy(nr.run(model, descent.params(), x), torch.arange(4)))
            weights.append(layer.weight.detach().clone())
    finally:
        torch.set_num_threads(before)
    assert found == ([2] * 3 + [1] * 3 if openmp._function("omp_set_num_threads") else [2] * 6)
    assert torch.equal(*weights)


# What the system says.


def system(folder, text, files):
    """A folder like /, with /proc/self/cgroup and files of cgroups."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(text)
    for name, content in files.items():
        path = folder / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


STAT = "usage_usec 2500000\nuser_usec 1\n"
V1 = "4:memory:/a\n3:cpu,cpuacct:/a/b\n1:name=systemd:/\n"


@pytest.mark.parametrize(
    ("text", "files", "cores", "used"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n", "cpu.stat": STAT}, 1.5, 2.5),
        ("0::/\n", {"cpu.max": "max 100000\n", "cpu.stat": STAT}, math.inf, 0.0),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "50000 100000", "a/cpu.stat": STAT}, 0.5, 2.5),
        ("0::/host/only\n", {"cpu.max": "200000 100000\n", "cpu.stat": STAT}, 2.0, 2.5),
        ("", {}, math.inf, 0.0),
        ("garbage\n0::/\n", {"cpu.max": "x"}, math.inf, 0.0),
        ("0::/\n", {"cpu.max": "1 0"}, math.inf, 0.0),
        (V1, {"cpu,cpuacct/a/b/cpu.cfs_quota_us": "-1", "cpu,cpuacct/a/b/cpu.cfs_period_us": "100000"}, math.inf, 0.0),
        (
            V1,
            {
                "cpu,cpuacct/a/cpu.cfs_quota_us": "25000",
                "cpu,cpuacct/a/cpu.cfs_period_us": "100000",
                "cpuacct/a/cpuacct.usage": "7000000000\n",
            },
            0.25,
            7.0,
        ),
    ],
)
def test_the_limit_of_a_container(text, files, cores, used, tmp_path, monkeypatch):
    """The smallest of the cgroups above a process; what a file does not say limits nothing."""
    monkeypatch.setattr(load, "SYSTEM", system(tmp_path, text, files))
    quota = load._quota.__wrapped__()
    assert quota.cores == cores and load._used(quota) == used


@linux
def test_a_group_with_a_name_in_no_code(tmp_path, monkeypatch):
    """The kernel allows any bytes in the name of a control group."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_bytes(b"0::/\xff\n")
    monkeypatch.setattr(load, "SYSTEM", tmp_path)
    load._quota.cache_clear()
    try:
        assert load.limit() >= 1
    finally:
        load._quota.cache_clear()


def test_a_reading_of_this_machine():
    """A busy half second of this process is in its own time and in that of its cores."""
    before = load.read()
    end = time.process_time() + 0.5
    while time.process_time() < end:
        pass
    now = load.read()
    assert now.own - before.own == pytest.approx(0.5, abs=0.1)
    assert now.busy - before.busy > 0.35 and now.wall - before.wall > 0.45
    assert 0 <= load.room(before, now) <= load.limit() <= len(now.cores)


def test_who_runs_now(tmp_path, monkeypatch):
    """The least of three glances, less this process's own; nothing where others may run on cores that are not ours."""
    cores = len(os.sched_getaffinity(0))
    task = tmp_path / "proc/self/task"
    for number, state in enumerate("RSR"):
        (task / str(number)).mkdir(parents=True)
        (task / str(number) / "stat").write_text(f"{number} (a ) b) {state} 1 2 3")
    monkeypatch.setattr(load, "SYSTEM", tmp_path)

    def others(running, of=cores):
        lines = "".join(f"cpu{name} 1 2 3 4 5 6 7 8\n" for name in ("", *range(of)))
        (tmp_path / "proc/stat").write_text(f"{lines}ctxt 1\nprocs_running {running}\n")
        return load.others_running()

    assert [others(running) for running in (0, 1, 2, 3, 7)] == [0, 0, 0, 1, 5]
    assert others(7, of=cores + 1) == 0
    monkeypatch.setattr(time, "sleep", lambda seconds: others(2))  # a daemon that ran for a moment
    assert others(7) == 0
    for broken in ("", "cpu 1\n" * (cores + 1), "cpu 1\n" * (cores + 1) + "procs_running x\n"):
        (tmp_path / "proc/stat").write_text(broken)
        assert load.others_running() == 0
    (tmp_path / "proc/stat").unlink()
    assert load.others_running() == 0


class Processes:
    """A folder like /proc."""

    def __init__(self, folder):
        self.folder = folder
        self.autogroups(1)

    def autogroups(self, on):
        (self.folder / "sys/kernel").mkdir(parents=True, exist_ok=True)
        (self.folder / "sys/kernel/sched_autogroup_enabled").write_text(f"{on}\n")

    def put(self, pid, seconds, nice=0, policy=0, session=7, core=0, group="/"):
        ticks = round(seconds * os.sysconf("SC_CLK_TCK"))
        fields = [0] * 50
        fields[3], fields[11], fields[12], fields[16], fields[36], fields[38] = session, ticks, 0, nice, core, policy
        (self.folder / str(pid)).mkdir(exist_ok=True)
        (self.folder / str(pid) / "stat").write_text(f"{pid} (a ) b) R {' '.join(map(str, fields[1:]))}\n")
        (self.folder / str(pid) / "cgroup").write_text(f"0::{group}\n")


@linux
@pytest.mark.parametrize(
    ("kind", "left"),
    [
        ({}, 0.0),
        ({"nice": -5}, 0.0),
        ({"nice": 1}, 0.111),
        ({"nice": 10}, 0.806),
        ({"nice": 19}, 0.972),
        ({"policy": polite.IDLE_CLASS}, 1.0),
        ({"nice": 19, "session": 8}, 0.0),  # its autogroup gets as much as ours
        ({"nice": 19, "group": "/other"}, 0.0),
        ({"nice": 19, "core": 5000}, 0.0),  # where this process cannot run
    ],
)
def test_what_a_process_leaves(kind, left, tmp_path, monkeypatch):
    """Of a core that it uses all the time, less what an equal competitor counts for its share of a core."""
    core = min(os.sched_getaffinity(0))
    kind, clock, proc = {"core": core} | kind, [100.0], Processes(tmp_path)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    followed = polite.Polite(tmp_path)
    proc.put(os.getpid(), 1)
    proc.put(11, 5, **kind)
    assert followed.cores() == 0  # no earlier look
    clock[0] += 0.5
    proc.put(11, 5.5, **kind)
    assert followed.cores() == pytest.approx(left, abs=1e-3)
    proc.autogroups(0)
    clock[0] += 10  # and a new search, which finds it if sessions no longer count
    proc.put(11, 9, **kind)
    assert followed.cores() == 0  # a look of long ago
    clock[0] += 0.5
    proc.put(11, 9.5, **kind)
    assert followed.cores() == pytest.approx(0.972 if kind.get("session") else left, abs=1e-3)


@linux
def test_a_process_that_ends_or_is_niced_as_we_are(tmp_path, monkeypatch):
    """Nothing is left then, and no error; nor is there one without /proc."""
    clock, proc = [100.0], Processes(tmp_path)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    followed = polite.Polite(tmp_path)
    proc.put(os.getpid(), 1, nice=10)
    proc.put(11, 5, nice=10)
    proc.put(12, 5, nice=19)
    followed.cores()
    assert set(followed.parts) == {12}
    (tmp_path / "12/stat").unlink()
    clock[0] += 0.5
    assert followed.cores() == 0
    assert polite.Polite(tmp_path / "nowhere").cores() == 0


@linux
def test_this_system_is_read_as_it_is():
    """The fields of a real process: this one."""
    found = polite.process_of((polite.Path("/proc/self/stat")).read_bytes())
    assert found.session == os.getsid(0) and found.nice == os.nice(0)
    assert found.core < (os.cpu_count() or 1) and found.policy == os.sched_getscheduler(0)
    spent = found.ticks / os.sysconf("SC_CLK_TCK")
    assert spent == pytest.approx(time.process_time(), abs=0.1)


def test_a_program_of_ours_keeps_to_the_limit(monkeypatch):
    """Half a core: one thread; a number in OMP_NUM_THREADS stays."""
    monkeypatch.setattr(load, "limit", lambda: 0.5)
    monkeypatch.setattr(os, "environ", {"OMP_NUM_THREADS": "2"})
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        threads.keep_within_limits()
        assert torch.get_num_threads() == 2
        monkeypatch.setattr(os, "environ", {})
        threads.keep_within_limits()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
