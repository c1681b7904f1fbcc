"""The benchmark program: the same network in every tool, and its arithmetic, tables and exit codes."""

from __future__ import annotations

import json
import re
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

import neurorobust as nr
from benchmarks.speed import (
    beside,
    choice,
    floor,
    machine,
    measuring,
    ours,
    peers,
    profile,
    program,
    regression,
    scaling,
    simulators,
    synapses,
    tool,
)
from benchmarks.speed.measuring import Sample
from benchmarks.speed.peers import torch_loop
from benchmarks.speed.workloads import FLEET, SPREAD, WORKLOADS, ImageWorkload

SMALL = {"sizes": (12, 20, 3), "steps": 40, "batch": 10, "chips": 3}
SMALL_IMAGES = {"image": (2, 22, 22), "sizes": (968, 0, 3), "steps": 40, "batch": 10}
TINY = {
    name: replace(work, **(SMALL_IMAGES if isinstance(work, ImageWorkload) else SMALL))
    for name, work in WORKLOADS.items()
}


@pytest.mark.parametrize("name", ["W1", "W2", "W7"])
def test_ours_is_the_loop_written_by_hand(name):
    """Logits and every trained gradient equal a plain-torch loop's in float64, to 1e-10 of the largest entry."""
    work = TINY[name]
    mine, theirs = ours.network(work).double(), torch_loop.tool.loaded(work).double()
    logits, spikes = mine(work.x.double())
    expected = theirs(work.x.double())
    hidden = spikes[next(iter(spikes))]
    assert 0.01 < hidden.mean() < 0.3 and expected.abs().max() > 0
    assert (logits - expected).abs().max() <= 1e-10 * expected.abs().max()
    for output in (logits, expected):
        functional.cross_entropy(output, work.y).backward()
    reached = dict(theirs.named_parameters())
    for key, parameter in mine.named_parameters():
        gradient = reached[key.replace(".", "_")].grad
        assert (parameter.grad is None) == (gradient is None) == (name in ("W1", "W7") and not key.endswith("weight"))
        if gradient is not None:
            assert gradient.abs().max() > 0
            assert (parameter.grad - gradient).abs().max() <= 1e-10 * gradient.abs().max()


@pytest.mark.parametrize("name", WORKLOADS)
@pytest.mark.parametrize("peer", [name for name in peers.names() if name not in peers.ON_REQUEST])
def test_a_peer_computes_what_ours_does(peer, name):
    """The logits of an installed peer are ours with its reset, on at least 9 of 10 samples, and its step runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peers' own
        try:
            there = peers.load(peer)
        except ImportError as error:
            pytest.skip(f"{peer}: {error}")
        work = replace(TINY[name])  # nothing of it drawn yet
        if peer == "rockpool-jax" and name == "W3":
            pytest.skip("its adversarial loss takes a minute to compile")
        try:
            run = there.prepare(work)
        except tool.CannotError as error:
            assert "\n" not in str(error)
            return
        with torch.no_grad():
            theirs = run.logits().numpy()
        run.step()
    mine = ours.logits(work, getattr(nr.nn, there.reset)()).numpy()
    assert np.abs(mine).max() > 0
    assert measuring.agreement(mine, theirs) >= 0.9


def test_the_loss_of_the_peers_is_adversarial():
    """The loss written by hand for torch peers exceeds cross-entropy by β · KL > 0, and reaches every parameter."""
    work = TINY["W3"]
    params = {name: value.clone().requires_grad_() for name, value in work.params.items()}

    def logits(params):
        module = torch_loop.tool.network(work)
        return torch.func.functional_call(module, torch_loop.tool.tensors(params), (work.x,))

    total = tool.adversarial_loss(logits, params, work.y)
    assert total > functional.cross_entropy(logits(params), work.y) + 1e-4
    total.backward()
    assert all(value.grad.abs().max() > 0 for value in params.values())


def test_a_fleet_is_every_die_alone():
    """``fleet_logits`` equals ``nr.run`` on each die, takes any iterable and builds no graph."""
    work = TINY["W4"]
    network = ours.network(work)
    logits = ours.fleet_logits(network, iter(work.dies), work.x)
    assert not logits.requires_grad
    torch.testing.assert_close(logits, torch.stack([nr.run(network, die, work.x) for die in work.dies]).detach())


def test_dies_deviate_by_a_fifth():
    """Die 2 is the same in a fleet of any size; deviates of a weight have the stated spread (false alarm < 1e-9)."""
    large, small = replace(FLEET, chips=4), replace(FLEET, chips=3)
    name = "hidden.recurrent.weight"
    assert torch.equal(large.dies[2][name], small.dies[2][name])
    deviates = large.dies[2][name] / large.params[name] - 1
    assert abs(deviates.std().item() - SPREAD) < 7 * SPREAD / (2 * deviates.numel()) ** 0.5
    assert all((die["hidden.tau_mem"] > 0).all() for die in large.dies)


@pytest.mark.parametrize("name", ["W1", "W2", "W7"])
def test_hidden_neurons_spike_in_a_twentieth_of_the_steps(name):
    """The weights of the workloads are scaled as stated."""
    assert ours.hidden_rate(WORKLOADS[name]) == pytest.approx(0.05, abs=0.005)


def test_agreement_counts_samples():
    """A sample counts where no logit differs by more than 1e-3 of the largest; another shape agrees nowhere."""
    mine = np.array([[1.0, 0.0], [0.5, 0.0], [0.0, -10.0], [0.0, 0.0]])
    theirs = mine + np.array([[0.009, 0], [0, 0.011], [0, 0.009], [0.02, 0]])
    assert measuring.agreement(mine, theirs) == 0.5
    assert measuring.agreement(mine, theirs[:, :1]) == 0


# ---- measuring


def counted(samples, log, name):
    """A tool that logs its runs and gives one sample after the other."""

    def run():
        log.append(name)
        return samples.pop(0) if len(samples) > 1 else samples[0]

    return run


def test_tools_run_in_turn():
    """After a warm-up, one run of each in alternating order."""
    log = []
    tools = {name: counted([Sample(1.0)], log, name) for name in "ab"}
    samples = measuring.interleave(tools, 3)
    assert "".join(log) == "ab" + "ab" + "ba" + "ab"
    assert {name: len(part) for name, part in samples.items()} == {"a": 3, "b": 3}


def test_disturbed_runs_are_repeated():
    """A tool runs again until enough of its runs are clean, at most twice as often."""
    log = []
    disturbed = [Sample(0.0), Sample(9.0, 0.5), Sample(2.0), Sample(1.0)]
    tools = {"a": counted(disturbed, log, "a"), "b": counted([Sample(3.0, 0.5)], log, "b")}
    samples = measuring.interleave(tools, 2)
    assert [sample.seconds for sample in samples["a"]] == [9, 2, 1]
    assert len(samples["b"]) == 4
    assert measuring.summary(samples["a"], 2, 5.0) == measuring.Timing(1500.0, 1000.0, 2, 5.0)
    assert measuring.summary(samples["b"], 2, 5.0).runs == 4


def test_foreign_load_is_what_we_did_not_use(monkeypatch):
    """Half a second that others used during a run counts as such, two ticks do not."""
    clock = iter([10.0, 20.0])
    monkeypatch.setattr(machine, "busy_seconds", lambda: next(clock))
    assert measuring.timed(lambda: None).foreign > 1000
    monkeypatch.setattr(machine, "busy_seconds", lambda: 10.0)
    assert measuring.timed(lambda: None).clean
    monkeypatch.setattr(machine, "busy_seconds", lambda: None)
    assert measuring.timed(lambda: None).clean


def test_a_refusal_is_one_line():
    """Not installed, cannot, failed: each says which in one line."""

    def refused(error):
        try:
            raise error
        except Exception as caught:
            return measuring.refusal(caught)

    assert refused(ModuleNotFoundError("no", name="norse")).startswith("not installed (norse)")
    assert refused(tool.CannotError("no thresholds")) == "cannot: no thresholds"
    assert refused(RuntimeError("first\nsecond")) == "failed: RuntimeError: first (refused)"


def test_a_worker_runs_in_its_own_process():
    """A tool in a process of its own gives our logits, times above 0 and a peak memory beyond importing torch."""
    work = TINY["W2"]
    worker = measuring.Worker(peers.OURS, work, 1)
    assert worker.refused is None
    np.testing.assert_allclose(worker.logits, ours.logits(work, nr.nn.DelayedSubtract()).numpy(), rtol=1e-4)
    assert worker.run().seconds > 0
    assert 100 < worker.stop() < 5000
    assert worker.process.exitcode == 0


# ---- the program


class FakeWorker:
    """Ours takes 10 ms, a peer 25 ms and gives our logits; norse is not installed."""

    def __init__(self, name, work, threads):
        self.refused = "not installed (norse)" if name == "norse" else None
        self.seconds = 0.010 if name == peers.OURS else 0.025
        self.reset, self.logits = "Subtract", ours.logits(work, nr.nn.Subtract()).numpy()

    def run(self):
        return Sample(self.seconds)

    def stop(self):
        return 123.0

    def close(self):
        pass


@pytest.fixture
def faked(monkeypatch, tmp_path):
    """The program on a tiny workload with tools that take a known time; where it saves."""
    monkeypatch.setattr(measuring, "Worker", FakeWorker)
    monkeypatch.setattr(measuring, "import_mb", lambda: 50.0)
    monkeypatch.setattr(machine, "bind", lambda threads: None)
    monkeypatch.setattr(regression, "RESULTS", tmp_path / "speed.json")
    for name, work in TINY.items():
        monkeypatch.setitem(WORKLOADS, name, work)
    return tmp_path / "speed.json"


ARGUMENTS = ["--workload", "W2", "--threads", "1", "--against", "snntorch"]


def test_json_has_the_stated_shape(faked, capsys):
    """times, ratios and machine as documented; ours is faster by the quotient of the medians."""
    assert program.main([*ARGUMENTS, "--against", "norse", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    timing = {"median_ms": 10.0, "min_ms": 10.0, "runs": 7, "peak_mb": 123.0}
    assert report["times"]["W2"][peers.OURS] == pytest.approx(timing)
    assert set(report["times"]["W2"]) == {peers.OURS, "snntorch"}
    assert report["ratios"] == {"W2": {"snntorch": pytest.approx(2.5)}}
    assert {"cpu", "cores", "threads", "versions", "commit"} <= set(report["machine"])
    assert report["checks"]["W2"]["same_output"] == {"snntorch": 1.0}
    assert report["checks"]["W2"]["refused"] == {"norse": "not installed (norse)"}
    assert not faked.exists()


def test_the_table_names_tools_and_what_is_missing(faked, capsys):
    """The table holds medians and ratios; a peer that is missing says so on stderr."""
    assert program.main([*ARGUMENTS, "--against", "norse"]) == 0
    shown = capsys.readouterr()
    assert "25.0" in shown.out and "2.50 ×" in shown.out and "100%" in shown.out and "123" in shown.out
    assert "W2 norse: not installed" in shown.err


@pytest.mark.parametrize("before, code", [(2.5, 0), (3.3, 0), (3.4, 1)])
def test_check_exits_with_1_where_a_ratio_fell_by_a_quarter(faked, capsys, before, code):
    """2.5 × now against what was saved: fails from 3.33 × on."""
    regression.save({"ratios": {"W2": {"snntorch": before}, "W1": {"norse": 99.0}}}, faked)
    assert program.main([*ARGUMENTS, "--check"]) == code
    assert ("snntorch by 2.50 ×, saved 3.40 ×" in capsys.readouterr().err) == bool(code)


def test_check_needs_something_to_compare_with(faked, capsys):
    """Exit code 2 without a saved run, or with one of other workloads; a saved run passes its own check."""
    assert program.main([*ARGUMENTS, "--check"]) == 2
    assert "--save" in capsys.readouterr().err
    assert program.main([*ARGUMENTS, "--save"]) == 0
    assert program.main([*ARGUMENTS, "--check"]) == 0
    faked.unlink()
    regression.save({"ratios": {"W1": {"snntorch": 1.0}}}, faked)
    assert program.main([*ARGUMENTS, "--check"]) == 2


def test_saving_keeps_the_other_workloads(faked):
    """A run replaces its own workloads; each has the machine, the date and the commit of its own run, also where the
    file was written when it had one machine for all."""
    old = {"W1": {"snntorch": 9.0, "norse": 3.0}, "W2": {"snntorch": 1.0, "norse": 7.0}}
    faked.write_text(json.dumps({"ratios": old, "times": {"W1": {"ours": 1}}, "machine": {"commit": "before"}}))
    assert program.main([*ARGUMENTS, "--save"]) == 0
    saved = json.loads(faked.read_text())
    assert saved["ratios"] == {"W1": old["W1"], "W2": {"snntorch": pytest.approx(2.5)}}
    assert saved["times"]["W1"] == {"ours": 1} and peers.OURS in saved["times"]["W2"]
    assert saved["machines"]["W1"] == {"commit": "before"}
    assert {"cpu", "versions", "commit", "date"} <= set(saved["machines"]["W2"])
    assert program.main(["--workload", "W1", *ARGUMENTS[2:], "--save"]) == 0
    again = json.loads(faked.read_text())
    assert again["ratios"]["W2"] == saved["ratios"]["W2"] and again["machines"]["W1"]["commit"] != "before"


def test_unknown_peers_are_refused(capsys):
    """A name that is no peer ends the program and names the nearest."""
    with pytest.raises(SystemExit, match="2"):
        program.main(["--against", "snntorhc"])
    assert "Did you mean 'snntorch'?" in capsys.readouterr().err


def documented():
    """The commands of docs/benchmarks.md, as words after ``python -m benchmarks``: the rows of its first table."""
    text = (machine.ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    table = text[text.index("| `python -m benchmarks` …") : text.index("## Workloads")]
    return [[], *(words.split() for words in re.findall(r"^\| `(--[^`]*)`", table, re.MULTILINE))]


@pytest.fixture
def all_small(faked, monkeypatch):
    """Every view on numbers that take no time; torch's number of threads is put back."""
    for name, value in {"RATES": (0.0, 0.5), "SIZES": ((6, 20),), "NEURONS": (8,), "STEPS": 4, "BATCH": 3}.items():
        monkeypatch.setattr(choice, name, value)
    monkeypatch.setattr(scaling, "CHIPS", 6)
    monkeypatch.setattr(scaling, "FACTORS", (1, 2))
    monkeypatch.setattr(synapses, "SIZES", (8, 16))
    monkeypatch.setattr(simulators, "SIMULATORS", {})
    copy, add, send = floor._copy, floor._add_rows, floor._add_lists
    monkeypatch.setattr(floor, "_copy", lambda: copy(2**12))
    monkeypatch.setattr(floor, "_add_rows", lambda n: add(n, 2, 8))
    monkeypatch.setattr(floor, "_add_lists", lambda n, fan_out: send(n, fan_out, 2, 8))
    monkeypatch.setattr(beside, "measure", lambda *_: [SLOWER_BESIDE[0]])
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_every_documented_command_runs(all_small, capsys):
    """The commands of the page, in its order, and every view as JSON; the page names every option but ``--runs``."""
    commands = documented()
    options = {name for action in program.arguments()._actions for name in action.option_strings if name != "-h"}
    used = {word for words in commands for word in words if word.startswith("--")}
    assert options - used == {"--help", "--runs", "--threads"}
    for words in commands:
        assert program.main([*words, "--runs", "1"]) == 0, words
        assert capsys.readouterr().out or "--json" in words
    views = ["--scaling"], ["--choice"], ["--floor"], ["--floor", "W5"], ["--beside"], ["--synapses"], ["--simulators"]
    for view in (["--profile", "W2"], *views):
        assert program.main([*view, "--runs", "1", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)


# ---- views

SLOWER_BESIDE = [
    beside.Beside("alone", {"one thread": [0.02, 0.05, 0.03], "ours": [0.01, 0.02, 0.02], "always awake": [0.01] * 3}),
    beside.Beside("two", {"one thread": [0.02, 0.03], "ours": [0.04, 0.03], "always awake": [0.06, 0.06]}),
    beside.Beside("plain", {"ours": [0.03], "always awake": [0.02]}, "always awake"),
]


def test_beside_compares_within_a_round():
    """The median of ratios, not the ratio of medians: other load changes from round to round."""
    alone, two, plain = SLOWER_BESIDE
    assert alone.ratios["ours"] == pytest.approx(0.5) and alone.ms["ours"] == pytest.approx(20)
    assert two.ratios["ours"] == pytest.approx(1.5) and plain.ratios["ours"] == pytest.approx(1.5)


def test_beside_names_what_is_slower(monkeypatch, capsys):
    """More than a tenth slower than the base in one situation: exit code 1, and its name."""
    monkeypatch.setattr(beside, "measure", lambda *_: SLOWER_BESIDE)
    assert program.main(["--beside", "--runs", "1"]) == 1
    said = capsys.readouterr()
    assert "two: ours" in said.err and "plain: ours" in said.err and "alone: ours" not in said.err


def test_a_worker_does_steps_for_a_while():
    """A process of its own answers with the seconds of a step, more than once, and ends when it is told to."""
    worker = beside.Worker("always awake", "plain")
    try:
        worker.start(0.05)
        worker.start(0.05)
        assert 0 < worker.result() < 10 and 0 < worker.result() < 10
    finally:
        worker.stop()
    assert worker.process.returncode is not None


def test_profile_shares_add_up():
    """Shares of the operators are sorted, and at most 1 together."""
    rows = profile.operators(TINY["W2"], steps=1)
    shares = [share for _, _, share, _ in rows]
    assert shares == sorted(shares, reverse=True) and 0.5 < sum(shares) <= 1 + 1e-9
    assert min(ms for _, ms, _, _ in rows) >= 0


def test_exponent_of_a_power_law():
    """3 n^1.2 has the exponent 1.2."""
    assert scaling.exponent([1, 2, 4], [3 * n**1.2 for n in (1, 2, 4)]) == pytest.approx(1.2)


def test_scaling_grows_what_it_says(monkeypatch):
    """The times of 1 × to 16 × are those of the workload's T, batch and chips."""
    for name in ("W2", "W4"):
        monkeypatch.setitem(WORKLOADS, name, replace(TINY[name], steps=4, batch=8, chips=4))
    monkeypatch.setattr(scaling, "_step", lambda work: (work.steps, work.batch))
    monkeypatch.setattr(scaling, "_fleet", lambda work, chips: chips)
    monkeypatch.setattr(scaling, "_median", lambda step, runs: step)
    over_time, batch, chips = (line.times_ms for line in scaling.growth())
    assert over_time == tuple((4 * k, 8) for k in scaling.FACTORS)
    assert batch == tuple((4, 8 * k) for k in scaling.FACTORS)
    assert chips == tuple(4 * k for k in scaling.FACTORS)
    assert scaling.large_fleet() == 250


def test_more_neurons_have_as_many_inputs_each():
    """W6: every neuron has 32 inputs and 32 neurons, whatever their number; absent weights are 0; exponents are those
    of the power laws that are measured."""
    for neurons in (64, 128):
        work = synapses.workload(neurons)
        assert work.sizes == (256, neurons, 10)
        for name, mask in work.masks.items():
            assert (mask.sum(1) == 32).all()
            assert torch.equal(work.params[name] != 0, mask)
    sizes = (synapses.Size(n, 64 * n, 3 * n**1.1, 2 * n**0.9, {}) for n in (1, 2, 4))
    growth = synapses.Growth(tuple(sizes))
    assert (growth.of_time, growth.of_memory) == (pytest.approx(1.1), pytest.approx(0.9))


def test_the_whole_chip_has_the_chip_s_neuron():
    """W5: ours is LinearizedDpi, busy; what peers are compared with is LIF; a fleet takes the constants of all dies."""
    work = TINY["W5"]
    assert type(ours.network(work).layers()["hidden"]) is nr.neurons.LinearizedDpi
    assert type(ours.network(work, nr.nn.Subtract()).layers()["hidden"]) is nr.neurons.Lif
    assert 0.01 < ours.hidden_rate(work) < 0.3
    fleet = ours.tool.prepare(TINY["W9"]).logits()
    assert fleet.shape == (3, 10, 3) and fleet.std(0).max() > 0


def test_the_bound_counts_spikes():
    """Additions are spikes times fan-out, forward and again for the weight gradients; the bound adds both times."""
    work = TINY["W2"]
    state, rows, listed, backward = floor.counts_of(work)
    with torch.no_grad():
        spikes = ours.network(work)(work.x)[1]["hidden"]
    assert state == 6 * 4 * spikes.numel()
    assert rows == 2 * (work.x.sum().item() * 20 + spikes.sum().item() * 23)
    assert 0 < backward <= spikes.numel() * 20 and listed == 0
    found = floor.Floor(floor.Counts(2e9, 4e9, 3e9, 1e9), 1e9, 2e9, 1e9, ours_ms=14000.0)
    assert (found.bound_ms, found.with_backward_ms, found.times_bound) == (7000.0, 7500.0, 2.0)


def test_the_bound_of_a_chip_counts_targets():
    """W5: additions are spikes times the targets of their source; the product backward is at most all synapses times
    all steps."""
    work = TINY["W5"]
    state, rows, listed, backward = floor.counts_of(work)
    with torch.no_grad():
        spikes = ours.network(work)(work.x)[1]["hidden"]
    of_input, of_recurrent = (work.masks[f"hidden.{part}.weight"].float() for part in ("input", "recurrent"))
    assert state == 8 * 4 * spikes.numel()
    assert rows == 2 * spikes.sum().item() * work.sizes[2]
    assert listed == 2 * ((work.x @ of_input.T).sum() + (spikes @ of_recurrent.T).sum()).item()
    assert 0 < backward <= work.batch * work.steps * of_recurrent.sum().item()


def test_rows_are_added():
    """The function that measures the rate of additions does add rows."""
    weight = np.arange(12, dtype=np.float32).reshape(4, 3)
    index, total = np.array([[0, 1, 2, 3], [3, 3, 0, 0]]), np.zeros((2, 3), np.float32)
    floor._add(weight, index, total)
    np.testing.assert_array_equal(total, weight[index].sum(1))


def test_lists_are_added():
    """The function that measures the rate of additions by lists adds each value at its place."""
    values, places = np.array([[1, 2], [4, 8]], np.float32), np.array([[0, 2], [1, 2]], np.uint32)
    total = np.zeros((2, 3), np.float32)
    floor._send(values, places, np.array([[0, 0], [0, 1]]), total)
    np.testing.assert_array_equal(total, [[2, 0, 4], [1, 4, 10]])


def test_workers_do_not_import_ours():
    """A peer's process does not pay for importing neurorobust: nothing it needs from here does."""
    import subprocess

    code = (
        "import sys, benchmarks.speed.measuring, benchmarks.speed.peers.torch_loop; print('neurorobust' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=machine.ROOT, check=True)
    assert result.stdout.strip() == "False"
