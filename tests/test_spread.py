"""Measurements on many workers: the bits of one process, whatever the split, whoever dies."""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import sys
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from unittest import mock

import pytest
import torch
from conftest import draw, events, tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from spreading import FEW, MEASUREMENTS, Counted, Unreliable, dense, evaluate, here, same
from torch import nn

import neurorobust as nr
from benchmarks import spread as cost
from neurorobust.core.noise import Membrane
from neurorobust.evaluation import Resumable, WorkersLost, fleet_work, parcels, rare, spread, spread_search, workers

every_measurement = pytest.mark.parametrize("name", MEASUREMENTS)


@pytest.fixture(scope="module")
def pool():
    with workers(2) as executor:
        yield executor


# ---- the same bits


@every_measurement
def test_threads_give_the_same_bits(name):
    with ThreadPoolExecutor(3) as executor:
        assert same(MEASUREMENTS[name](executor), here(name))


def test_processes_give_the_same_bits(pool):
    """All measurements in one test, so that the processes start once."""
    for name, measurement in MEASUREMENTS.items():
        assert same(measurement(pool), here(name)), name


def test_a_difference_would_be_seen():
    """The comparison itself: another seed, one bit of one number."""
    assert not same(here("evaluate"), evaluate(n_dies=6))
    one = torch.tensor([1.0, 2.0])
    assert not same(one, torch.nextafter(one, torch.tensor(3.0))) and same(one, one.clone())


@given(
    name=st.sampled_from(["evaluate", "trimmed", "noisy", "foreign", "regressed"]),
    dies=st.integers(1, 8),
    pieces=st.integers(1, 40),
    block=st.integers(1, 13),
    seed=st.integers(0, 1000),
)
def test_any_split_of_a_fleet_gives_the_same_bits(name, dies, pieces, block, seed):
    """By serial and by sample; noise, too, of which every pass over samples has its own. Tasks are lost at random."""
    block = 1000 if name == "noisy" else block  # passes with noise are of 250 samples, and a block is whole passes
    small = mock.patch.multiple(fleet_work, AT_ONCE=dies, PIECES=pieces, ATTACK_BATCH=block)
    with small, Unreliable(seed, lost=0.2) as executor:
        assert same(MEASUREMENTS[name](executor), here(name))


def test_blocks_of_samples_keep_the_noise_of_their_passes():
    """600 samples are three passes of 250, each with noise of its own."""
    data = events(0, 600, steps=5)
    chip = nr.mismatch(0.2).with_noise(Membrane(0.3))
    one = nr.evaluate(tiny(), data, chip, n_dies=2)
    with mock.patch.object(fleet_work, "ATTACK_BATCH", 250), ThreadPoolExecutor(2) as executor:
        assert [piece[2:] for piece in fleet_work.fleet_pieces(1, data)] == [(0, 250), (250, 500), (500, 600)]
        assert same(nr.evaluate(tiny(), data, chip, n_dies=2, executor=executor), one)


@settings(max_examples=6)
@given(draws=st.integers(1, 100), at_once=st.integers(1, 40), pieces=st.integers(1, 60), seed=st.integers(0, 1000))
def test_any_split_of_searches_and_rare_dies_gives_the_same_bits(draws, at_once, pieces, seed):
    small = mock.patch.multiple(rare, AT_ONCE=at_once, PIECES=pieces)
    with mock.patch.object(spread_search, "DRAWS", draws), small, Unreliable(seed, lost=0.1) as executor:
        for name in ("candidates", "rare"):
            assert same(MEASUREMENTS[name](executor), here(name)), name


@given(n=st.integers(1, 3000), dies=st.integers(1, 3000), block=st.integers(1, 1200))
def test_pieces_cover_every_die_and_sample_once(n, dies, block):
    """In their order, and without holes."""
    data = nr.data.Data(torch.zeros(n, 2), torch.arange(n) % 2)
    with mock.patch.object(fleet_work, "ATTACK_BATCH", block):
        pieces = fleet_work.fleet_pieces(dies, data)
    assert sum((last - first) * (stop - start) for first, last, start, stop in pieces) == n * dies
    assert pieces == sorted(set(pieces)) and pieces[0][0] == pieces[0][2] == 0
    assert pieces[-1][1] == dies and pieces[-1][3] == n
    assert all(last - first <= fleet_work.AT_ONCE for first, last, *_ in pieces)


def test_a_stream_is_read_by_each_worker(pool):
    """A DataLoader goes to the workers with its data set; each reads it in full for its dies."""
    data = events(0, 12)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(data.x, data.y), batch_size=5)
    stream = nr.data.Data.of(loader, in_memory=False)
    assert same(nr.evaluate(tiny(), stream, nr.mismatch(0.3), n_dies=7, executor=pool), here("evaluate"))


def test_the_network_is_left_as_it_was():
    """Threads work on copies: a foreign module stays in train mode, with its parameters and buffers."""
    network = dense()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with ThreadPoolExecutor(3) as executor:
        nr.evaluate(network, events(0, 12), nr.mismatch(0.3), n_dies=9, executor=executor)
    assert network.training and all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_loops_chosen_for_a_while_are_chosen_in_the_workers(pool):
    """kernels.using reaches them."""
    seen = list(spread.spread(pool, _kernel, [0], ()))
    with nr.kernels.using("reference"):
        seen += spread.spread(pool, _kernel, [0], ())
    assert [int(found["reference"]) for found in seen] == [0, 1]


def _kernel(shared, piece):
    return {"reference": torch.tensor(int(nr.kernels.chosen() == "reference"))}


# ---- sent once


def test_network_and_data_are_sent_once_per_worker(pool):
    """Two processes, two networks on the same data: the data go twice in all, each network twice. A process may take
    both tasks with the bytes, so that the other one asks again."""
    data = nr.data.Data(torch.rand(40, 500, 3, generator=torch.Generator().manual_seed(7)), torch.arange(40) % 2)
    sent, tasks = [], 0
    for seed in (0, 1):
        counted = Counted(pool)
        nr.evaluate(tiny(seed).float(), data, nr.mismatch(0.1), n_dies=40, executor=counted)
        sent, tasks = sent + counted.sent, tasks + counted.tasks
    large = [name for name, size in sent if size > data.x.nbytes]
    assert len(set(large)) == 1 and len(large) <= FEW  # a worker that was never asked gets nothing
    small = [name for name, size in sent if size <= data.x.nbytes]
    assert len(set(small)) == 2 and all(small.count(name) <= FEW for name in small)
    assert tasks < 2 * (40 + 20)


class Late(Executor):
    """Two processes by turns, each with its own bytes. The answers of the first two tasks come after twenty."""

    def __init__(self):
        self.caches, self.sent, self.late = (parcels.Cache(), parcels.Cache()), [], []

    def submit(self, fn, /, order, piece, attached, unique):
        who, future = unique % 2, Future()
        with (
            mock.patch.object(spread, "cache", self.caches[who]),
            mock.patch.object(parcels, "cache", self.caches[who]),
            mock.patch.object(os, "getpid", lambda: who),
        ):
            answer = fn(order, piece, attached, unique)
        self.sent += attached
        if unique < 2:
            self.late.append((future, answer))
        else:
            future.set_result(answer)
        while unique >= 20 and self.late:
            first, said = self.late.pop()
            first.set_result(said)
        return future


def test_an_old_answer_does_not_send_the_bytes_again():
    """A busy machine hears that a process lacked its bytes when it has got them: they go twice in all, once to each."""
    executor = Late()
    found = list(spread.spread(executor, _square, range(40), 1))
    assert [int(each["square"]) for each in found] == [k**2 for k in range(40)]
    assert len(executor.sent) == 2 and len(set(executor.sent)) == 1 and executor.late == []


def test_a_part_of_a_large_tensor_is_sent_alone():
    data = nr.data.Data(torch.zeros(1000, 100), torch.arange(1000) % 2)
    assert parcels.Parcel.of(data.first(10)).size < 50_000 < data.x.nbytes


def test_a_worker_keeps_a_bounded_number_of_bytes(monkeypatch):
    """The least recently used go first; what is in use stays, however large."""
    monkeypatch.setattr(parcels, "CACHED", 250)
    cache = parcels.Cache()
    names = {}
    for letter in "abcd":
        blob = letter.encode() * 100
        names[letter] = parcels.digests.of_bytes(blob)
        cache.add({names[letter]: blob}, [names[letter]])
        cache.add({}, [names["a"]])  # used again
    assert cache.held() == 200
    with pytest.raises(parcels.Lacks):
        cache.opened([names["b"]])
    cache.add({names[letter]: letter.encode() * 100 for letter in "abcd"}, list(names.values()))
    assert cache.held() == 400
    cache.add({}, [names["c"]])
    assert cache.held() == 200
    with pytest.raises(RuntimeError, match="not what was sent"):
        cache.add({names["a"]: b"other"}, [])


def test_nothing_stays_in_the_process_that_called():
    before = parcels.cache.held()
    with ThreadPoolExecutor(2) as executor:
        evaluate(executor)
        assert parcels.cache.held() == before


# ---- what can go wrong


@given(seed=st.integers(0, 10_000))
def test_lost_tasks_are_repeated_and_counted_once(seed):
    """A third of all tasks is lost, half of them after they were computed; progress counts each piece once."""
    ticks = []
    with Unreliable(seed, lost=0.33) as executor:
        found = list(spread.spread(executor, _square, range(60), 3, ticks.append))
    assert [int(each["square"]) for each in found] == [3 * k**2 for k in range(60)]
    assert sorted(ticks) == list(range(60))


def _square(shared, piece):
    return {"square": torch.tensor(shared * piece**2)}


def test_a_piece_that_kills_every_worker_ends_the_work():
    with Unreliable(0, lost=1.0) as executor, pytest.raises(WorkersLost, match="KilledWorker: a worker died") as caught:
        list(spread.spread(executor, _square, [1, 2], 1))
    assert executor.n_lost <= 2 * (spread.RETRIES + 1) and (caught.value.finished, caught.value.pieces) == (0, 2)


def _slow_square(shared, piece):
    time.sleep(0.02)
    return _square(shared, piece)


def test_a_pool_that_breaks_gives_one_error_and_the_call_resumes(tmp_path):
    """A worker is killed in the middle: what is done is in the error, and is not computed again."""
    started = []

    def kill(piece):
        started.append(piece)
        if len(started) == 10:
            os.kill(next(iter(executor._processes)), signal.SIGKILL)

    with workers(2) as executor, pytest.raises(WorkersLost) as caught:
        list(spread.spread(executor, _slow_square, range(200), 1, kill))
    lost = caught.value
    assert isinstance(lost.__cause__, BrokenProcessPool | None)
    assert "\n" not in str(lost) and f"when {lost.finished} of 200 pieces were done" in str(lost)
    assert 10 <= lost.finished < 200
    with ThreadPoolExecutor(2) as threads:
        counted = Counted(threads)
        found = list(spread.spread(lost.resume(counted), _slow_square, range(200), 1))
    assert [int(each["square"]) for each in found] == [k**2 for k in range(200)]
    assert counted.tasks == 200 - lost.finished


class Failing(Counted):
    """Breaks after some tasks, as a process pool does."""

    def __init__(self, inner, after):
        super().__init__(inner)
        self.after = after

    def submit(self, fn, /, *args, **kwargs):
        if self.tasks >= self.after:
            raise BrokenProcessPool("a process in the process pool was terminated abruptly")
        return super().submit(fn, *args, **kwargs)


@every_measurement
def test_every_measurement_resumes(name):
    """The error of a broken pool continues the same call, also of one with several rounds of pieces."""
    with ThreadPoolExecutor(2) as threads:
        with pytest.raises(WorkersLost) as caught:
            MEASUREMENTS[name](Failing(threads, 1))
        counted, whole = Counted(threads), Counted(threads)
        assert same(MEASUREMENTS[name](caught.value.resume(counted)), here(name))
        MEASUREMENTS[name](whole)
    assert counted.tasks == whole.tasks - caught.value.finished


def test_a_folder_keeps_what_is_done(tmp_path):
    """The same call computes nothing again; another network, or another seed, does; a damaged file is made again."""
    folder = tmp_path / "parts"
    with ThreadPoolExecutor(2) as threads:
        with pytest.raises(WorkersLost, match=r"they are kept in .*parts: repeat the call with another executor"):
            evaluate(Resumable(Failing(threads, 4), folder))
        first = Counted(threads)
        assert same(evaluate(Resumable(first, folder)), here("evaluate")) and first.tasks == 3
        again = Counted(threads)
        assert same(evaluate(Resumable(again, folder)), here("evaluate")) and again.tasks == 0
        damaged = sorted(folder.iterdir())[2]
        bits = bytearray(damaged.read_bytes())
        bits[len(bits) // 2] ^= 1
        damaged.write_bytes(bits)
        assert same(evaluate(Resumable(again, folder)), here("evaluate")) and again.tasks == 1
        other = Counted(threads)
        one = nr.evaluate(tiny(1), events(0, 12), nr.mismatch(0.3), n_dies=7)
        two = nr.evaluate(tiny(1), events(0, 12), nr.mismatch(0.3), n_dies=7, executor=Resumable(other, folder))
        assert same(one, two) and other.tasks == 7
        more = Counted(threads)
        evaluate(Resumable(more, folder), n_dies=9)
        assert more.tasks == 2  # seven of the nine dies are known
        newer = Counted(threads)
        with mock.patch.object(spread, "_code", lambda: "another state of the clone"):
            evaluate(Resumable(newer, folder))
        assert newer.tasks == 7


def test_a_folder_refuses_what_it_could_confuse(tmp_path):
    """A part of the network that cannot be told apart from others, here a generator."""
    network = tiny()
    network.note = (each for each in ())
    with ThreadPoolExecutor(1) as threads, pytest.raises((TypeError, ValueError), match="executor: "):
        nr.evaluate(network, events(0, 12), nr.mismatch(0.3), executor=Resumable(threads, tmp_path))


class _FromFile(torch.utils.data.Dataset):
    """Samples that are read from a file each time."""

    def __init__(self, path, y):
        self.path, self.y = path, y

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return torch.load(self.path)[i], self.y[i]


def test_a_folder_sees_that_a_file_of_the_data_changed(tmp_path):
    """The data set names a file; the pieces kept are those of its content, not of its name."""
    tasks, found = [], []
    for seed in (0, 1, 1):
        data = events(seed, 12)
        torch.save(data.x, tmp_path / "x.pt")
        stream = nr.data.Data.of(_FromFile(str(tmp_path / "x.pt"), data.y), in_memory=False)
        with ThreadPoolExecutor(1) as threads:
            counted = Counted(threads)
            executor = Resumable(counted, tmp_path / "parts")
            found.append(nr.evaluate(tiny(), stream, nr.mismatch(0.3), n_dies=7, executor=executor))
        assert same(found[-1], nr.evaluate(tiny(), data, nr.mismatch(0.3), n_dies=7))
        tasks.append(counted.tasks)
    assert tasks == [7, 7, 0]


class _Plus(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def forward(self, x):
        return x.sum(1) @ self.weight


def test_threads_do_not_keep_a_class_that_was_defined_again(monkeypatch):
    """As in a notebook: the same name and the same parameters, so equal pickles, but another forward."""
    weight, data, found = nn.Parameter(draw(0, 3, 2)), events(0, 12), []

    class Minus(_Plus):
        def forward(self, x):
            return -super().forward(x)

    Minus.__qualname__ = Minus.__name__ = "_Plus"
    with ThreadPoolExecutor(1) as threads:
        for cls in (_Plus, Minus):
            monkeypatch.setattr(sys.modules[__name__], "_Plus", cls)
            network = nr.wrap(cls(weight))
            found.append(nr.evaluate(network, data, nr.mismatch(0.3), n_dies=2, executor=threads))
            assert same(found[-1], nr.evaluate(network, data, nr.mismatch(0.3), n_dies=2))
    assert not same(*found)


def test_a_worker_with_another_state_of_a_module_is_refused(tmp_path, monkeypatch):
    """A module is edited between the call and the worker's import of it, here in one process."""
    file, body = tmp_path / "edited.py", "from test_spread import _Plus\nclass Net(_Plus):\n    sign = 1\n"
    file.write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("edited")
    sent = parcels.Parcel.of(nr.wrap(module.Net(nn.Parameter(draw(0, 3, 2)))))
    with parcels.cache.holding(sent):
        assert parcels.cache.opened(sent.digests) is not None
    file.write_text(body.replace("= 1", "= -1, 1"))
    importlib.reload(module)
    with (
        parcels.cache.holding(sent),
        pytest.raises(RuntimeError, match="another state of the module edited than the process that called"),
    ):
        parcels.cache.opened(sent.digests)


@every_measurement
def test_what_is_no_executor_is_refused(name):
    for executor, words in (("dask", "a str"), (ThreadPoolExecutor, "the class ThreadPoolExecutor")):
        with pytest.raises(TypeError, match=rf"executor: got {words}; expected an executor of concurrent.futures"):
            MEASUREMENTS[name](executor)
    for executor in (None, 2):
        with pytest.raises(TypeError, match=r"executor: .* concurrent.futures"):
            Resumable(executor)


def test_what_cannot_be_pickled_is_refused_before_the_work(pool):
    network = tiny()
    network.lock = __import__("threading").Lock()
    with pytest.raises(TypeError, match=r"executor: the work cannot be sent to workers .*lock"):
        nr.evaluate(network, events(0, 12), nr.mismatch(0.3), executor=pool)


@pytest.mark.parametrize(("pickler", "told"), [(pickle.Pickler, True), (None, False)])
def test_where_pickle_is_too_little_cloudpickle_is_named(monkeypatch, pickler, told):
    """As for snnTorch's surrogates, which are functions inside functions."""
    other = type("Other", (pickle.Pickler,), {})  # in the place of cloudpickle's
    monkeypatch.setattr(parcels, "_pickler", lambda: pickler or other)
    with pytest.raises(TypeError, match="executor: the work cannot be sent") as caught:
        parcels.pickled(lambda: None)
    assert ("install cloudpickle" in str(caught.value)) is told


def _wrong(shared, piece):
    raise _Odd(1, 2) if piece else ValueError("n: got -1; expected 0.")


class _Odd(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def test_an_error_in_a_worker_is_the_error_of_the_call(pool):
    with pytest.raises(ValueError, match=r"n: got -1; expected 0\.") as caught:
        list(spread.spread(pool, _wrong, [0], ()))
    assert "in a worker: process" in caught.value.__notes__[0]
    with pytest.raises(RuntimeError, match="_Odd: 1 and 2"):  # which pickle cannot make again
        list(spread.spread(pool, _wrong, [1], ()))


def test_workers_of_another_version_are_refused(pool):
    with (
        mock.patch.object(torch, "__version__", "1.0"),
        pytest.raises(RuntimeError, match=r"has torch .* has torch 1.0"),
    ):
        list(spread.spread(pool, _square, [1], 1))


def test_an_executor_that_was_shut_down_says_so():
    with ThreadPoolExecutor(1) as threads:
        pass
    with pytest.raises(WorkersLost, match="after shutdown"):
        evaluate(threads)


def test_without_pieces_nothing_happens():
    with ThreadPoolExecutor(1) as threads:
        assert list(spread.spread(threads, _square, [], 1)) == list(spread.spread(None, _square, [], 1)) == []


def test_as_many_workers_as_asked_for():
    with pytest.raises(ValueError, match="workers: got 0"):
        workers(0)


# ---- what it costs


def test_the_model_of_the_benchmark():
    """By hand: 4 workers, 2 networks with 320 dies, 10 in a piece; 2 s for a die, 1 s to start, 0.5 s to pickle."""
    row = {
        "overhead per task": {"caller": 0.001},
        "bytes": {"data": 125e6, "network and chip": 25e6, "result": 100},
        "processor seconds": {"one process": 100.0, "workers": 101.001 + 0.031},
        "pieces": 32,
        "seconds per die": 2.0,
        "seconds": {"start": 1.0, "pickling": 0.5},
    }
    found = cost.predicted(row, 4, 320, 2)
    sending = 4 * (125e6 + 2 * 25e6) / 125e6
    compute = 640 * (2 + (1.032 / 32 - 0.001) / 10) / 4
    assert found["seconds"] == pytest.approx(1 + 2 * 0.5 + sending + compute + 2 * 10 * 2 / 2)
    assert found["efficiency"] == pytest.approx(1280 / 4 / found["seconds"])
    assert cost.predicted(row, 10**6, 320, 2)["caller"] == pytest.approx(640 * 0.001 / 10)
