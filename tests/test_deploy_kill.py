"""kill −9 while a deployment or recordings are saved: the old file or the new one, whole."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from imaged import dpi_network
from kill_run import OPERATIONS, killed_before

import chipmodels
import neurorobust as nr
from neurorobust.deploy import Deployment, Events, Replay, VirtualChip

CHIP = chipmodels.load("dynapse2")
MOMENTS = 50


def deployed(threshold: float) -> Deployment:
    return nr.deploy.onto(dpi_network(((0, 1),), v_threshold=threshold), CHIP)


def recordings_of(deployment: Deployment) -> Callable[[Path], Path]:
    with VirtualChip(CHIP, 0).open() as session:
        session.program(deployment)
        recording = session.run(Events([0.0], [0]), 0.01)
    return lambda path: nr.deploy.save_recordings(path, deployment, [recording])


SAVES: dict[str, Callable[[Deployment], Callable[[Path], Path]]] = {
    "deployment": lambda deployment: deployment.save,
    "image": lambda deployment: deployment.image().save,
    "recordings": recordings_of,
}
"""How each kind of file is saved; everything is computed before, so that a child process only writes."""
READS: dict[str, Callable[[Path], object]] = {
    "deployment": lambda path: nr.deploy.load(path, CHIP),
    "image": nr.deploy.load_image,
    "recordings": Replay,
}


@pytest.mark.parametrize("what", SAVES)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_kill_leaves_the_old_file_or_the_new_one(what, tmp_path):
    """Killed before every one of the operations on files in turn; both kinds of end are seen, and only these."""
    path = tmp_path / "file.json"
    save_old, save_new = SAVES[what](deployed(0.05)), SAVES[what](deployed(0.06))
    after, before = save_new(path).read_bytes(), save_old(path).read_bytes()
    assert before != after
    ends, moment, survived = [], 0, False
    while not survived:
        assert moment < MOMENTS, f"more than {MOMENTS} of {', '.join(OPERATIONS)}"
        survived = not killed(lambda at=moment: (killed_before(at), save_new(path)))
        found = path.read_bytes()
        assert found in (before, after)
        READS[what](path)
        ends.append(found == after)
        path.write_bytes(before)
        moment += 1
    assert ends[-1] and not ends[0] and moment > 3
    save_new(path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file.json"]


def killed(work: Callable[[], object]) -> bool:
    """Do something in a child process; whether it was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def test_programming_dies_with_its_process():
    """A virtual board keeps nothing: after its process was killed, a new one says that it holds nothing."""
    board, deployment = VirtualChip(CHIP, 0), deployed(0.05)

    def work() -> None:
        session = board.open()
        session.program(deployment)
        os.kill(os.getpid(), signal.SIGKILL)

    assert killed(work)
    with board.open() as session, pytest.raises(nr.deploy.BoardError, match="nothing is programmed"):
        session.read_back()
