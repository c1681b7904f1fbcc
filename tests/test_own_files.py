"""Tasks and networks of one's own from the command line: FILE.py:FUNCTION."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from demo_run import cli
from torch import nn

import neurorobust as nr
from neurorobust._util import discovery
from neurorobust.data.installed import find_task

MINE = '''
"""Heart beats of my own."""
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import neurorobust as nr
from beside import STEPS

print("said on the way")


def loader(seed, n):
    y = torch.arange(n) % 2
    rates = torch.tensor([[0.6, 0.1, 0.3], [0.1, 0.6, 0.3]])[y]
    draw = torch.rand(n, STEPS, 3, generator=torch.Generator().manual_seed(seed))
    return DataLoader(TensorDataset((draw < rates[:, None]).float(), y), 16, shuffle=True)


def task():
    parts = loader(0, 40), loader(1, 20), loader(2, 30)
    return nr.data.Task("mine", ("left", "right"), *parts, functional.cross_entropy)


def plain():
    return nn.Sequential(nn.Flatten(), nn.Linear(60, 2))


def wrapped():
    return nr.wrap(nn.Sequential(nn.Flatten(), nn.Linear(60, 4), nn.ReLU(), nn.Linear(4, 2)))


def spiking(wrap=True):
    import snntorch
    net = nn.Sequential(nn.Linear(3, 2), snntorch.Leaky(beta=0.9, init_hidden=True, output=True))
    return nr.from_snntorch(net, dt=1e-3) if wrap else net


def bare():
    return spiking(False)


def broken():
    numbers = {}
    return numbers["missing"]


def pair():
    return 1, 2


LIST = [1]
'''


PLAINLY = ["--chip", "ideal", "--method", "standard", "--epochs"]
LINE = MINE.splitlines().index('    return numbers["missing"]') + 1


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "beside.py").write_text("STEPS = 20\n")
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    return file


def test_a_module_goes_all_the_way(mine, tmp_path):
    """Trained, evaluated, attacked: weights from the folder, code and data from the file."""
    own = ["--task", f"{mine}:task", "--model", f"{mine}:wrapped"]
    ran = cli(
        "train", *own, "--chip", "ideal", "--method", "standard", "--epochs", 2, "--out", tmp_path / "m", "--json"
    )
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["epochs"] == 2 and "said on the way" in ran.err
    ran = cli("evaluate", tmp_path / "m", "--mismatch", 0.1, "--dies", 3, *own, "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    namespace: dict = {}
    exec(compile(MINE.replace("from beside import STEPS", "STEPS = 20"), "mine", "exec"), namespace)
    network, _ = nr.load(tmp_path / "m", namespace["wrapped"]())
    expected = nr.evaluate(network, namespace["task"]().test, nr.mismatch(0.1), n_dies=3)
    assert found["balanced_accuracy"] == expected.score.tolist()
    ran = cli("evaluate", tmp_path / "m", "--mismatch", 0.1, "--dies", 3, *own)
    assert "mean recall, left" in ran.out and "said on the way" not in ran.out
    ran = cli("attack", tmp_path / "m", "--steps", 1, "--samples", 12, *own, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["samples"] == 12


def test_the_seed_makes_the_network(mine, tmp_path):
    own = ["--task", f"{mine}:task", "--model", f"{mine}:plain"]
    weights = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        assert cli("train", *own, *PLAINLY, 1, "--seed", seed, "--out", tmp_path / name).code == 0
        network, _ = nr.load(tmp_path / name, nr.wrap(nn.Sequential(nn.Flatten(), nn.Linear(60, 2))))
        weights.append(nr.nominal(network))
    assert torch.equal(weights[0]["1.weight"], weights[1]["1.weight"])
    assert not torch.equal(weights[0]["1.weight"], weights[2]["1.weight"])


def test_a_folder_of_nr_save_needs_no_task(mine, tmp_path):
    """A snnTorch network that was never trained here: saved, evaluated, deployed with its score, judged."""
    namespace: dict = {}
    exec(compile(MINE.replace("from beside import STEPS", "STEPS = 20"), "mine", "exec"), namespace)
    network = namespace["spiking"]()
    nr.save(network, tmp_path / "m")
    ran = cli("evaluate", tmp_path / "m", "--mismatch", 0.1, "--dies", 2)
    assert ran.code == 2 and "names no task" in ran.err and "--task FILE.py:FUNCTION" in ran.err
    ran = cli("evaluate", tmp_path / "m", "--mismatch", 0.1, "--dies", 2, "--task", f"{mine}:task")
    assert ran.code == 2 and "add --model FILE.py:FUNCTION" in ran.err
    own = ["--task", f"{mine}:task", "--model", f"{mine}:spiking"]
    ran = cli("evaluate", tmp_path / "m", "--mismatch", 0.1, "--dies", 2, *own, "--json")
    assert ran.code == 0, ran.err
    expected = nr.evaluate(network, namespace["task"]().test, nr.mismatch(0.1), n_dies=2)
    assert json.loads(ran.out)["balanced_accuracy"] == expected.score.tolist()
    ran = cli("deploy", tmp_path / "m", "--chip", "pcm", "--out", tmp_path / "net.json", "--score", *own, "--json")
    assert ran.code == 0, ran.err
    ran = cli("deploy", tmp_path / "m", "--chip", "pcm", "--out", tmp_path / "same.json", "--model", own[3])
    assert ran.code == 0, ran.err
    ran = cli("deploy", "estimate", tmp_path / "net.json", "--task", own[1], "--samples", 4, "--json")
    assert ran.code == 0, ran.err
    ran = cli("board", "run", tmp_path / "net.json", "--task", own[1], "--samples", 4, "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["task"] == "mine"
    options = ["--serials", 2, "--samples", 4, "--gap", "--trained", tmp_path / "m", "--model", own[3], "--json"]
    ran = cli("board", "judge", tmp_path / "net.json", "--task", own[1], *options)
    assert ran.code == 0, ran.err


def test_other_data_of_the_same_task_are_refused(mine, tmp_path):
    own = ["--task", f"{mine}:task", "--model", f"{mine}:plain"]
    assert (
        cli("train", *own, "--chip", "ideal", "--method", "standard", "--epochs", 1, "--out", tmp_path / "m").code == 0
    )
    ran = cli("evaluate", tmp_path / "m", "--mismatch", 0.1)
    assert ran.code == 2 and "'mine', which is not installed" in ran.err and "--task FILE.py:FUNCTION" in ran.err
    other = tmp_path / "other.py"
    other.write_text(MINE.replace("loader(0, 40)", "loader(7, 40)"))
    ran = cli("evaluate", tmp_path / "m", "--mismatch", 0.1, "--task", f"{other}:task", *own[2:])
    assert ran.code == 2 and "trained on other data than the task mine has now" in ran.err


def said(*words: object) -> str:
    ran = cli(*words)
    assert (ran.code, ran.out) == (2, ""), ran
    line = ran.err.strip().splitlines()[-1]
    assert line.startswith("error: ") and "Traceback" not in ran.err
    return line


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("broken", [f"mine.py, line {LINE}: KeyError: 'missing'"]),
        ("pair", ["gives a tuple; expected a neurorobust.data.Task"]),
        ("LIST", ["LIST in", "is a list; expected a function"]),
        ("tusk", ["function of", "'tusk' does not exist", "Did you mean 'task'?"]),
        ("not a name", ["expected FILE.py:FUNCTION"]),
    ],
)
def test_a_function_that_gives_no_task_is_refused(name, words, mine, tmp_path):
    line = said("train", "--task", f"{mine}:{name}", "--out", tmp_path / "m")
    assert [word for word in words if word not in line] == []
    assert not (tmp_path / "m").exists()


def test_a_file_that_cannot_be_run_is_refused(tmp_path):
    """The file and the line, not our frames."""
    out = ["--out", tmp_path / "m"]
    assert "there is no file" in said("train", "--task", f"{tmp_path}/none.py:task", *out)
    assert "expected FILE.py:FUNCTION" in said("train", "--task", f"{tmp_path}/none.py", *out)
    for name, text, words in (
        ("syntax", "x = 1\ndef task(:\n    pass\n", "syntax.py, line 2: SyntaxError"),
        ("absent", "\n\nimport a_module_that_nobody_has\n", "absent.py, line 3: ModuleNotFoundError: No module named"),
        ("exits", "import sys\nsys.exit(3)\n", "exits.py ends by sys.exit(3)"),
    ):
        (tmp_path / f"{name}.py").write_text(text)
        assert words in said("train", "--task", f"{tmp_path / name}.py:task", *out)


def test_models_that_do_not_fit_are_refused(mine, tmp_path):
    out = ["--task", f"{mine}:task", "--out", tmp_path / "m"]
    assert "gives a tuple; expected a torch.nn.Module" in said("train", "--model", f"{mine}:pair", *out)
    assert "return nr.from_snntorch(module, dt=…)" in said("train", "--model", f"{mine}:bare", *out)
    assert "has no builder of networks" in said("train", *out)
    whole = nr.Network({"only": nr.nn.LeakyIntegrator(nr.nn.Linear(torch.ones(2, 3)), tau_mem=0.01)}, 1e-3)
    nr.save(whole, tmp_path / "whole")
    options = ["--mismatch", 0.1, "--task", f"{mine}:task", "--model", f"{mine}:plain"]
    assert "holds a whole network; leave --model out" in said("evaluate", tmp_path / "whole", *options)


def test_a_function_that_needs_an_argument_is_refused(tmp_path):
    """Optional arguments are no hindrance; an argument without a default is named."""
    file = tmp_path / "needs.py"
    file.write_text("def task(kind, *rest, seed=0): ...\n")
    words = said("train", "--task", f"{file}:task", "--out", tmp_path / "m")
    assert "needs the argument kind; expected a function that can be called without any" in words


def test_an_error_in_the_data_names_the_line(tmp_path):
    """While the samples are read, in this process and in a worker of a loader."""
    (tmp_path / "late.py").write_text(
        """
import torch
from torch.utils.data import DataLoader, Dataset
from torch.nn import functional
import neurorobust as nr

class Late(Dataset):
    def __len__(self):
        return 8
    def __getitem__(self, k):
        return torch.ones(20, 3) * (1 / (7 - k)), k % 2

def late(workers):
    part = DataLoader(Late(), 4, num_workers=workers)
    return nr.data.Task("late", (), part, part, part, functional.cross_entropy)

def here():
    return late(0)

def there():
    return late(1)
"""
    )
    for name in ("here", "there"):
        line = said("train", "--task", f"{tmp_path}/late.py:{name}", "--out", tmp_path / "m")
        assert "late.py, line 11: ZeroDivisionError" in line, line


def test_the_help_says_that_the_file_is_run():
    for words in (["train"], ["evaluate"], ["attack"], ["deploy", "onto"], ["board", "run"]):
        text = " ".join(cli(*words, "--help").out.replace("│", " ").split())
        assert "The file is run, so name only files you trust" in text


def test_an_entry_point_may_name_a_function(monkeypatch, tmp_path):
    (tmp_path / "their_tasks.py").write_text("def make():\n    return 5\n")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("theirs", "their_tasks:make", "neurorobust.tasks")
    monkeypatch.setattr(discovery, "entry_points", lambda group: [point] if group == "neurorobust.tasks" else [])
    assert find_task("theirs") == 5
