"""Memory of the loops' results: reused once nobody uses it, never before."""

import gc
import signal
import threading
import time
import types

import numpy as np
import pytest
import torch
from engine import waiting

from neurorobust.kernels.runtime import memory
from neurorobust.kernels.runtime.memory import KEPT, LEAST, BufferPool, empty

SHAPE = (3, LEAST // 4)  # float32


@pytest.fixture
def pool(monkeypatch):
    """A pool of the test's own."""
    monkeypatch.setattr(memory, "_pool", BufferPool())
    return memory._pool


@pytest.mark.parametrize(("dtype", "kind"), [(torch.float32, np.float32), (torch.float64, np.float64)])
def test_a_tensor_as_asked_for(pool, dtype, kind):
    """Shape, type and layout are those of torch.empty, large or small, none of it or no dimension at all."""
    for shape in (SHAPE, (2, 3), (0, 5), ()):
        found = empty(shape, dtype)
        assert found.shape == shape and found.dtype == dtype and found.is_contiguous()
        assert found.numpy().dtype == kind and found.numpy().flags.writeable
        assert found.nbytes < LEAST or found.data_ptr() % 64 == 0


def test_the_next_of_its_size_gets_it(pool):
    """The memory of a tensor that is gone holds the next one of as many bytes, whatever its shape."""
    first = empty(SHAPE, torch.float32)
    place = first.data_ptr()
    del first
    assert empty(SHAPE[::-1], torch.float32).data_ptr() == place
    assert empty((SHAPE[0] + 1, SHAPE[1]), torch.float32).data_ptr() != place


VIEWS = [lambda x: x[1:], lambda x: x.detach(), lambda x: x.numpy(), lambda x: x.mT.numpy()[1]]


@pytest.mark.parametrize("view", VIEWS)
def test_not_while_anybody_sees_it(pool, view):
    """A view, in torch or numpy, keeps the memory; what is written to the next tensor does not show in it."""
    first = empty(SHAPE, torch.float32).fill_(1)
    seen = view(first)
    del first
    other = empty(SHAPE, torch.float32).fill_(2)
    assert (seen == 1).all() and not waiting(pool)
    del seen
    assert len(waiting(pool)) == 1
    del other
    assert len(waiting(pool)) == 2


def test_not_while_autograd_needs_it(pool):
    """A tensor that is saved for a backward pass is not given away."""
    weight = torch.ones(SHAPE, requires_grad=True)
    loss = (weight * empty(SHAPE, torch.float32).fill_(3)).sum()
    assert empty(SHAPE, torch.float32).fill_(5).sum() == 5 * weight.numel()
    loss.backward()
    assert (weight.grad == 3).all()


def test_small_tensors_are_left_to_the_allocator(pool):
    """Below LEAST bytes nothing is kept."""
    del (small := [empty((LEAST // 4 - 1,), torch.float32)])[0]
    assert not small and not waiting(pool)


def test_what_waits_is_bounded(pool, monkeypatch):
    """No more than KEPT bytes wait; those that have waited longest go first, and what would fill the pool alone does
    not wait at all."""
    monkeypatch.setattr(memory, "KEPT", 20 * LEAST)
    for most in (3, 2):  # of 8 LEAST bytes each: the oldest of three goes
        tensors = [empty((LEAST + 1024 * k,), torch.float64) for k in range(most)]
        sizes = [tensor.nbytes + memory.LINE for tensor in tensors]
        while tensors:
            del tensors[0]
        assert [one.nbytes for one in waiting(pool)] == sizes[-2:]
    empty((3 * LEAST,), torch.float64)
    assert [one.nbytes for one in waiting(pool)] == sizes[-2:]
    assert KEPT >= 2**26


@pytest.mark.parametrize(
    ("most", "used", "found"), [("max", "5", 900), ("700", "300", 400), ("300", "700", 0), ("", "", 900)]
)
def test_memory_of_the_machine_and_of_the_container(most, used, found, monkeypatch, tmp_path):
    """Free memory is the smaller of both; a container without a limit, or none, does not count."""
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: types.SimpleNamespace(available=900))
    monkeypatch.setattr(memory, "CONTROL", tmp_path)
    if most:
        (tmp_path / "memory.max").write_text(most + "\n")
        (tmp_path / "memory.current").write_text(used + "\n")
    assert memory.available() == found


def test_an_array_that_ends_in_the_middle_of_taking(pool, monkeypatch):
    """The garbage collector may end arrays at any step of take(): nothing is lost, nobody waits for a lock."""
    kept = [empty((LEAST + 1024 * k,), torch.float32) for k in range(20)]
    seen = len(kept)
    sum_ = sum

    def collecting(sizes):
        kept and kept.pop()
        return sum_(sizes)

    monkeypatch.setattr("builtins.sum", collecting)
    while kept:
        pool.take(1)
    monkeypatch.undo()
    assert len(waiting(pool)) == seen


def test_a_cycle_gives_it_back(pool):
    """Memory in a cycle comes back when the garbage collector finds it."""
    ring = [empty(SHAPE, torch.float32)]
    ring.append(ring)
    del ring
    gc.collect()
    assert len(waiting(pool)) == 1


def test_threads_never_share_it(pool):
    """Eight threads that take and drop tensors of the same size always see what they wrote."""
    wrong = []

    def use(number):
        for _ in range(200):
            mine = empty(SHAPE, torch.float32).numpy()
            mine[0] = number
            if not (mine[0] == number).all():
                wrong.append(number)

    users = [threading.Thread(target=use, args=(k,)) for k in range(8)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert not wrong


class Stopped(Exception):
    """What a signal raises, as Ctrl-C does."""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers of the system")
def test_a_signal_leaves_the_pool_open():
    """However Ctrl-C falls into it, the next one gets memory; a lock that stays closed would hold it for ever.

    With ``acquire`` and ``try`` in place of ``with``, one signal of ten left it closed.
    """

    def stop(number, frame):
        raise Stopped

    pool, block, before, stops = memory.BufferPool(), np.empty(2**18, np.uint8), signal.signal(signal.SIGALRM, stop), 0
    try:
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            try:
                signal.setitimer(signal.ITIMER_REAL, 3e-5)
                while True:
                    pool.give(block)
                    block = pool.take(2**18)
            except Stopped:
                stops += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert not pool.lock.locked()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert stops > 100
