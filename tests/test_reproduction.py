"""The grid: a miniature of it from end to end, stopped, killed, done by several, done again."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from made_up import entry, record
from mini_run import NAMES, Here, complete
from mini_study import MINI
from rich.console import Console
from typer.testing import CliRunner

from benchmarks import robustness
from benchmarks.robustness import Cell, Outcome
from benchmarks.robustness.__main__ import app
from benchmarks.robustness.archive import NAME, pack
from benchmarks.robustness.cell import RESULTS
from benchmarks.robustness.results import TABLE, numbers, read_table, records, score, strongest
from benchmarks.robustness.work import tuning_path
from neurorobust._util import digests, files
from neurorobust.attacks import Ball
from neurorobust.evaluation import STRONG, strong_worst_case
from neurorobust.interop import wrap

TESTS = Path(__file__).parent
ENVIRONMENT = os.environ | {"PYTHONPATH": str(TESTS.parent)}  # benchmarks is in no installed package


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    """The folder of the miniature, complete. Read only."""
    out = tmp_path_factory.mktemp("grid")
    assert {outcome.status for outcome in complete(out)} == {"done"}
    return out


def test_the_miniature_is_whole(done):
    """Every cell has every number, of every die; nothing is left to do, and doing it again changes nothing."""
    cells = robustness.cells_of(MINI, (), None, done)
    assert [cell.name for cell in cells] == ["mini/standard/0", "mini/adversarial/0"]
    before = {path: path.read_bytes() for path in sorted(done.rglob("*")) if path.is_file()}
    assert robustness.plan(cells, NAMES) == [] and complete(done) == []
    assert before == {path: path.read_bytes() for path in sorted(done.rglob("*")) if path.is_file()}
    assert not list(done.rglob("checkpoint.pt")) and not list(done.rglob("trial-*"))
    for cell in cells:
        record = cell.read()
        assert set(record["measurements"]) == set(NAMES)
        assert len(record["measurements"]["mismatch"]["levels"]["0.3"]["values"]["balanced_accuracy"]) == 5
        assert record["provenance"]["torch"] and record["training"]["seconds"] > 0
        assert record["settings"]["epochs"] == MINI.epochs


def test_the_table_is_tidy(done):
    """Seven columns; a fleet's rows are the statistics of its dies; strong is never above what was found elsewhere."""
    table = pd.read_csv(done / TABLE, dtype={"seed": str, "level": str})
    assert list(table.columns) == ["task", "method", "seed", "measurement", "level", "metric", "value"]
    assert not table.duplicated(["task", "method", "seed", "measurement", "level", "metric"]).any()
    cell = Cell(MINI, "adversarial", 0, done)
    dies = np.array(cell.read()["measurements"]["mismatch"]["levels"]["0.3"]["values"]["balanced_accuracy"])
    rows = table[(table.method == "adversarial") & (table.seed == "0") & (table.measurement == "mismatch")]
    got = dict(zip(rows.metric, rows.value, strict=True))
    assert got["balanced_accuracy mean"] == pytest.approx(dies.mean(), abs=1e-6)
    assert got["balanced_accuracy min"] == pytest.approx(dies.min(), abs=1e-6)
    assert got["yield"] == pytest.approx((dies >= 0.9).mean(), abs=1e-6)


def test_strong_is_the_minimum_of_suite_and_transfer():
    """The rows called strong: all figures of the suite's own die, or of one found for another network at the same ζ."""

    def die(score, accuracy, **others):
        return {"values": {"balanced_accuracy": score, "accuracy": accuracy, **others}}

    levels = {"0.1": die(0.8, 0.85, passes=863), "0.05": die(0.9, 0.91, passes=863)}
    moved = {"0.1 a/0": die(0.7, 0.6), "0.05 a/0": die(0.95, 0.96)}
    record = {"measurements": {"strong": {"levels": levels}, "transfer": {"levels": moved}}}
    assert strongest(record, "0.1") == {"balanced_accuracy": 0.7, "accuracy": 0.6, "passes": 863}
    assert strongest(record, "0.05") == levels["0.05"]["values"]
    assert score(record, "strong", "0.1") == 0.7 and score(record, "strong", "0.1", "accuracy") == 0.6
    del record["measurements"]["transfer"]
    assert score(record, "strong", "0.1") == 0.8


def test_numbers_of_a_metric():
    """Words give none, a number itself, dies their statistics, in closed form for 0.8 … 1."""
    assert numbers("refused", "does not fit", 0.9) == [] and numbers("accuracy", 1, 0.9) == [("accuracy", 1.0)]
    found = dict(numbers("score", [0.8, 0.9, 1.0], 0.9))
    assert found["score mean"] == pytest.approx(0.9) and found["score std"] == pytest.approx(0.1)
    assert found["score min"] == 0.8 and found["yield"] == pytest.approx(2 / 3)
    assert found["score q05"] == pytest.approx(0.81)


def test_a_killed_worker_changes_nothing(done, tmp_path):
    """kill -9 in the middle of a training; the next run goes on, and the table has the same bytes."""
    worker = subprocess.Popen([sys.executable, str(TESTS / "mini_run.py"), str(tmp_path)], env=ENVIRONMENT)
    log = tmp_path / "raw" / "mini" / "adversarial" / "0" / "log.csv"
    while not log.exists() and worker.poll() is None:
        time.sleep(0.002)
    worker.send_signal(signal.SIGKILL)
    assert worker.wait() == -signal.SIGKILL
    assert not (tmp_path / TABLE).exists()
    complete(tmp_path)
    assert (tmp_path / TABLE).read_bytes() == (done / TABLE).read_bytes()


def test_a_killed_process_of_the_pool_changes_nothing(done, tmp_path):
    """kill -9 of one of two processes while it trains: said, nothing half-written; done again, what was trained is kept
    (the seconds of its epochs stay as they were) and the table has the same bytes."""
    cells, killed = robustness.cells_of(MINI, (), None, tmp_path), []
    log = tmp_path / "raw" / "mini" / "adversarial" / "0" / "log.csv"

    def kill(workers):
        while not log.exists():
            time.sleep(0.002)
        victim = next(iter(workers._processes.values()))
        victim.kill()
        killed.append(victim)

    with robustness.grid.pool(2) as workers:
        watcher = threading.Thread(target=kill, args=(workers,))
        watcher.start()
        outcomes = robustness.run(robustness.plan(cells, NAMES), workers)
        watcher.join()
    assert killed and any("its worker was killed" in outcome.error for outcome in outcomes)
    before = log.read_text(encoding="utf-8")
    kept = before[: before.rindex("\n") + 1]
    assert kept.count("\n") >= 2
    assert robustness.complete(cells, NAMES, 2) == {}
    assert log.read_text(encoding="utf-8").startswith(kept)
    robustness.write_table(tmp_path)
    assert (tmp_path / TABLE).read_bytes() == (done / TABLE).read_bytes()


def test_two_runs_share_a_folder(done, tmp_path):
    """Started together on one folder they do each cell once, and the table has the same bytes."""
    command = [sys.executable, str(TESTS / "mini_run.py"), str(tmp_path)]
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) for _ in range(2)]
    for one in runs:
        _, said = one.communicate()
        assert one.returncode == 0, said
    assert (tmp_path / TABLE).read_bytes() == (done / TABLE).read_bytes()


def test_the_table_of_cells_says_how_far_each_is(done, tmp_path):
    """Nothing yet, an epoch, measurements that are left, done, failed."""
    fresh, finished = (Cell(MINI, method, 0, out) for method, out in (("standard", tmp_path), ("adversarial", done)))
    assert robustness.progress(fresh, NAMES) == "–" and robustness.progress(finished, NAMES) == "done"
    assert robustness.progress(finished, (*NAMES, "death", "bits")) == "trained, 2 measurements left"
    fresh.folder.mkdir(parents=True)
    (fresh.folder / "log.csv").write_text("epoch\n1\n2\n")
    assert robustness.progress(fresh, NAMES) == f"epoch 2/{MINI.epochs}"
    console = Console(width=90, file=io.StringIO())
    console.print(robustness.progress_table([fresh, finished], NAMES, {"mini/adversarial/0": "broken"}))
    lines = console.file.getvalue().splitlines()
    assert any("mini" in line and "standard" in line and "epoch 2/4" in line for line in lines)
    assert any("adversarial" in line and "failed" in line for line in lines)


def test_a_locked_cell_is_waited_for(done, monkeypatch):
    """A cell on which another process works is skipped and tried again; it is done when that process ends."""
    monkeypatch.setattr(robustness.grid, "AGAIN", 0.0)
    cell = Cell(MINI, "adversarial", 0, done)
    job = robustness.Job(cell, NAMES)
    held = ExitStack()
    held.enter_context(cell.lock())
    assert robustness.grid.visit(job).status == "busy"

    class Later(Here):
        def submit(self, work, /, *args, **kwargs):
            future = super().submit(work, *args, **kwargs)
            held.close()
            return future

    assert [outcome.status for outcome in robustness.run([job], Later())] == ["done"]


def test_a_tuning_of_somebody_else_is_not_waited_for(tmp_path):
    """A cell whose method somebody else tunes is busy at once, and left untouched; when they are gone it is tuned."""
    job = robustness.Job(Cell(MINI, "standard", 0, tmp_path), ("nominal",))
    place = tuning_path(MINI, "standard", tmp_path)
    place.parent.mkdir(parents=True)
    with files.locked(place.parent, ".tuning.standard.lock"):
        started = time.perf_counter()
        assert robustness.grid.visit(job).status == "busy" and time.perf_counter() - started < 5
        assert not place.exists() and not job.trained
    assert robustness.grid.visit(job).status == "done" and place.exists()


class Scripted(Executor):
    """Workers that are told what comes of a job: by its method, one outcome after the other."""

    def __init__(self, script: dict[str, list[str]]):
        self.script, self.order = {method: list(words) for method, words in script.items()}, []

    def submit(self, work, job, /, *args, **kwargs):
        self.order.append(job.cell.method)
        future = Future()
        future.set_result(Outcome(job, self.script[job.cell.method].pop(0)))
        return future


def test_busy_jobs_are_tried_again_as_soon_as_one_ends(monkeypatch):
    """With one worker: a busy, b done, a again before c; c busy to the end is waited for with a pause each time."""
    naps = []
    monkeypatch.setattr(robustness.grid.time, "sleep", naps.append)
    jobs = [robustness.Job(Cell(MINI, method, 0, Path("nowhere")), NAMES) for method in "abc"]
    workers = Scripted({"a": ["busy", "done"], "b": ["done"], "c": ["busy", "busy", "done"]})
    outcomes = robustness.run(jobs, workers, at_once=1)
    assert workers.order == ["a", "b", "a", "c", "c", "c"] and naps == [robustness.grid.AGAIN] * 2
    assert [outcome.job.cell.method for outcome in outcomes] == ["b", "a", "c"]


def test_a_free_worker_tries_busy_jobs_while_others_work(monkeypatch):
    """Two workers, one at a long job: the busy one is tried again in time, not only when the long job ends."""
    monkeypatch.setattr(robustness.grid, "AGAIN", 0.01)
    long, jobs = Future(), [robustness.Job(Cell(MINI, method, 0, Path("nowhere")), NAMES) for method in "ab"]

    class Long(Scripted):
        def submit(self, work, job, /, *args, **kwargs):
            if job.cell.method == "a":
                return long
            if len(self.script["b"]) == 1:
                long.set_result(Outcome(jobs[0], "done"))  # only now: b had its turns before a ended
            return super().submit(work, job, *args, **kwargs)

    outcomes = robustness.run(jobs, Long({"b": ["busy", "busy", "done"]}), at_once=2)
    assert {(outcome.job.cell.method, outcome.status) for outcome in outcomes} == {("a", "done"), ("b", "done")}


def test_a_dead_pool_is_reported():
    """A worker that was killed is named as such, with what to do."""

    class Dead(Executor):
        def submit(self, work, /, *args, **kwargs):
            future = Future()
            future.set_exception(BrokenProcessPool("gone"))
            return future

    class Gone(Executor):
        def submit(self, work, /, *args, **kwargs):
            raise BrokenProcessPool("gone")

    for executor in (Dead(), Gone()):
        (outcome,) = robustness.run([robustness.Job(Cell(MINI, "adversarial", 0, Path("nowhere")), NAMES)], executor)
        assert outcome.status == "failed" and "run the same command again" in outcome.error


def test_other_settings_are_refused(done):
    """Results made with other settings are neither used nor overwritten."""
    longer = replace(MINI, epochs=MINI.epochs + 1)
    (outcome,) = robustness.run([robustness.Job(Cell(longer, "adversarial", 0, done), ("nominal", "missing"))], Here())
    assert outcome.status == "failed"
    assert f"epochs {MINI.epochs} there, {MINI.epochs + 1} here" in outcome.error


def test_done_again_gives_the_same_numbers(done, tmp_path):
    """--check: the same machine gives the same numbers and the same bits; a number that was tampered with is found."""
    cells = robustness.cells_of(MINI, ("adversarial",), None, done)
    report = robustness.check(cells, NAMES, 1)
    assert report.same and report.cells[0].same_model and report.cells[0].compared > 20
    with pytest.raises(ValueError, match="no finished cell"):
        robustness.check(robustness.cells_of(MINI, (), None, tmp_path), NAMES, 1)


def test_the_price_of_a_step_leaves_the_network_alone(done, tmp_path):
    """A standard step costs itself, another its passes; no gradient is left, and --check leaves it out."""
    from benchmarks.robustness.work import train

    cell = Cell(MINI, "adversarial", 0, done)
    network, price = train(cell), robustness.all_measurements()["price"]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = price.measure(network, "step", cell)
    assert found["ms"] > 0 and found["ratio"] == pytest.approx(found["ms"] / found["standard ms"])
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(value.grad is None for value in network.parameters())
    copied = replace(cell, out=tmp_path)
    shutil.copytree(cell.folder, copied.folder)
    record = copied.read()
    with pytest.raises(ValueError, match="check: these measurements measure time"):
        robustness.check([cell], ("price",), 1)
    record["measurements"]["price"] = entry(copied, {"step": found})
    copied.write(record)
    assert robustness.check([copied], ("price", "nominal"), 1).cells[0].compared == sum(
        isinstance(value, float)
        for value in cell.read()["measurements"]["nominal"]["levels"]["test"]["values"].values()
    )


def test_weights_and_others_are_attacked_apart(done, monkeypatch):
    """The two halves of the kinds share nothing and are all there is; a network without time constants says so."""
    from benchmarks.robustness.measurements import kinds
    from benchmarks.robustness.work import train

    cell, halves = Cell(MINI, "adversarial", 0, done), []
    network = train(cell)

    def look(network, data, ball, seed):
        halves.append(dict(ball.radii))
        return strong_worst_case(network, data, ball, seed=seed)

    monkeypatch.setattr(kinds, "strong_worst_case", look)
    found = [kinds.measure(network, f"0.1 {which}", cell) for which in ("weights", "others")]
    assert set(halves[0]) == {"weight", "bias"} and halves[0] | halves[1] == dict(Ball.uniform(0.1).radii)
    assert not halves[0].keys() & halves[1].keys() and all(0 <= one["balanced_accuracy"] <= 1 for one in found)
    plain = wrap(torch.nn.Sequential(torch.nn.Linear(4, 2)))
    assert kinds.measure(plain, "0.1 others", cell) == {"refused": "nothing deviates: the network has no others."}


def test_a_tampered_number_is_found(done, tmp_path):
    """One die of one fleet, moved by a thousandth."""
    cell = replace(Cell(MINI, "adversarial", 0, done), out=tmp_path)
    record = Cell(MINI, "adversarial", 0, done).read()
    record["measurements"]["mismatch"]["levels"]["0.3"]["values"]["balanced_accuracy"][3] += 1e-3
    cell.folder.mkdir(parents=True)
    cell.write(record)
    report = robustness.check([cell], ("mismatch",), 1)
    assert not report.same and list(report.cells[0].different) == ["mismatch 0.3, balanced_accuracy, die 3"]
    assert "mismatch 0.3, balanced_accuracy, die 3" in report.cells[0].largest()


def test_another_model_or_a_missing_number_is_found(done, tmp_path):
    """The bits of the model count, and so does a missing number; cells without the named measurement are not drawn."""
    cell = replace(Cell(MINI, "adversarial", 0, done), out=tmp_path)
    cell.folder.mkdir(parents=True)
    cell.write(Cell(MINI, "adversarial", 0, done).read() | {"model_sha256": "0"})
    report = robustness.check([cell], ("nominal",), 1)
    assert not report.same and not report.cells[0].same_model and not report.cells[0].different
    record = Cell(MINI, "adversarial", 0, done).read()
    del record["measurements"]["nominal"]["levels"]["test"]["values"]["accuracy"]
    cell.write(record)
    report = robustness.check([cell], ("nominal",), 1)
    assert not report.same and list(report.cells[0].different) == ["nominal test, accuracy"]
    with pytest.raises(ValueError, match="no finished cell"):
        robustness.check([cell], ("drift",), 1)


def test_the_plan_says_how_long(tmp_path, monkeypatch):
    """A training of 8 s, a pass of 10 µs: four trials of a quarter for each method's first seed, and the passes."""
    module = sys.modules["benchmarks.robustness.times"]
    monkeypatch.setattr(module, "_training", lambda study, method, out: (8.0, "a step now"))
    monkeypatch.setattr(module, "_pass", lambda study: 1e-5)
    two = replace(MINI, seeds=(0, 1))
    jobs = robustness.plan(robustness.cells_of(two, (), None, tmp_path), ["mismatch"])
    assert [job.cell.name for job in jobs] == [
        "mini/standard/0",
        "mini/adversarial/0",
        "mini/standard/1",
        "mini/adversarial/1",
    ]
    fleet = MINI.budget.dies * MINI.budget.samples * 1e-5
    seconds = [one.seconds for one in robustness.estimates(jobs).values()]
    assert seconds == pytest.approx([16 + fleet, 16 + fleet, 8 + fleet, 8 + fleet])


def test_the_plan_takes_earlier_figures(tmp_path, monkeypatch):
    """No step is timed where there are figures: of another seed; of the chosen trial, 4 epochs for its 1; of the ratio
    to standard, 6 / 2, on the task that was tuned on."""
    module = sys.modules["benchmarks.robustness.times"]
    monkeypatch.setattr(module, "estimate", lambda *args, **kwargs: 10.0)
    for method, seconds in {"standard": 2.0, "adversarial": 6.0}.items():
        cell = Cell(MINI, method, 0, tmp_path)
        cell.folder.mkdir(parents=True)
        cell.write(record(cell, training={"validation": 0.9, "trial": 0, "seconds": seconds}))
    trials = [{"seconds": 9}, {"seconds": 5}]
    digests.write_json(tmp_path / "raw/mini/tuning.awp.json", {"settings": {}, "chosen": 1, "trials": trials})
    assert module._training(MINI, "adversarial", tmp_path) == (6.0, "cells")
    assert module._training(MINI, "awp", tmp_path) == (20.0, "tuning")
    other = replace(MINI, name="other", tuned_on=MINI)
    assert module._training(other, "adversarial", tmp_path) == (30.0, "cells of mini")
    assert module._training(other, "sam", tmp_path) == (10.0, "a step now")


def test_every_study_and_evaluation_is_whole():
    """Each study's methods exist, its seeds differ, and its first levels are words that its measurements take."""
    from neurorobust.train.methods import METHODS

    for name, study in robustness.all_studies().items():
        assert (
            study.name == name
            and set(study.methods) - {"best_rival"} <= set(METHODS)
            and len(set(study.seeds)) == len(study.seeds)
        )
        for measurement in robustness.all_measurements().values():
            assert all(
                isinstance(level, str) for level in measurement.levels(Cell(study, "adversarial", 0, Path("nowhere")))
            )
            assert measurement.passes(study.budget) > 0 and measurement.title
    with pytest.raises(ValueError, match="does not exist"):
        robustness.find_measurements(["missing"])
    json.dumps(study.settings())


def test_the_committed_pages_follow_from_the_committed_cells(tmp_path):
    """Table, pages and claims, made again from the archive and the cells beside it, are the ones that are committed."""
    for path in [RESULTS / NAME, *RESULTS.glob("raw/*/*/*/cell.json"), *RESULTS.glob("raw/*/tuning.*.json")]:
        copy = tmp_path / path.relative_to(RESULTS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    robustness.write_table(tmp_path)
    made, committed = robustness.write_pages(tmp_path), TESTS.parent / "docs" / "results"
    pages = {path.name for path in made if path.suffix == ".md"}
    assert pages == {path.name for path in committed.glob("*.md")}
    for name in pages:
        assert (tmp_path / name).read_text(encoding="utf-8") == (committed / name).read_text(encoding="utf-8")
    assert read_table(tmp_path).equals(read_table(RESULTS))
    figures = {path.name for path in made if path.suffix == ".png"}
    assert figures == {path.name for path in committed.glob("figures/*")}


def test_a_cell_in_the_archive_is_as_good_as_its_folder(done, tmp_path):
    """Records, table and finished jobs are the same without the folders; the digests of the files stay; the same bytes
    come out of packing again; a check finds the same numbers and leaves out levels on dies that are gone."""
    shutil.copytree(done, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "raw" / "mini"
    assert pack(tmp_path) == ["mini/adversarial/0", "mini/standard/0"]
    packed = (tmp_path / NAME).read_bytes()
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (folder / "standard/0").iterdir()}
    shutil.rmtree(folder / "standard")
    shutil.rmtree(folder / "adversarial")
    assert pack(tmp_path) == [] and (tmp_path / NAME).read_bytes() == packed
    for before, after in zip(records(done), records(tmp_path), strict=True):
        kept = after.pop("files")
        assert before == after and {"model.safetensors", "config.json", "log.csv"} <= kept.keys()
    assert Cell(MINI, "standard", 0, tmp_path).read()["files"].items() <= digests.items()
    assert robustness.plan(robustness.cells_of(MINI, (), None, tmp_path), NAMES) == []
    robustness.write_table(tmp_path)
    assert (tmp_path / TABLE).read_bytes() == (done / TABLE).read_bytes()
    report = robustness.check(robustness.cells_of(MINI, ("standard",), None, tmp_path), NAMES, 1)
    assert report.same and report.cells[0].same_model and report.cells[0].left_out == 1


def test_a_network_is_taken_from_the_zoo(done, tmp_path, monkeypatch):
    """A cell without its network uses the zoo's, if that is the very same file; else it has none."""
    from neurorobust.io import zoo

    cell = replace(Cell(MINI, "standard", 0, done), out=tmp_path / "out")
    cell.folder.mkdir(parents=True)
    cell.write(Cell(MINI, "standard", 0, done).read())
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "zoo")
    assert cell.model_folder() is None
    shutil.copytree(done / "raw/mini/standard/0", tmp_path / "zoo/mini/standard")
    assert cell.model_folder() == tmp_path / "zoo/mini/standard"
    cell.write(cell.read() | {"model_sha256": "0"})
    assert cell.model_folder() is None


def _record(method: str, seed: int, strong_: float, dies: list[float]) -> dict:
    measured = {
        "mismatch": {"0.3": {"balanced_accuracy": dies}},
        "strong": {zeta: {"balanced_accuracy": strong_} for zeta in ("0.05", "0.1")},
        "nominal": {"test": {"balanced_accuracy": 0.97}},
    }
    cell = Cell(replace(MINI, name="x"), method, seed, Path())
    return record(cell, measurements={name: entry(cell, levels) for name, levels in measured.items()})


def test_claims_hold_and_fail_as_they_should(tmp_path):
    """Paired differences of known size: 20 ± 1 points hold above 10, 10 ± 1 do not, −2 points are no "not lower"."""
    seeds = range(3)
    for seed in seeds:
        dies = (0.9 + 0.01 * np.sin(np.arange(20) + seed)).tolist()
        cells = {
            "adversarial": _record("adversarial", seed, 0.9 + 0.002 * seed, dies),
            "awp": _record("awp", seed, 0.7, (np.array(dies) + 0.02).tolist()),
            "dropout": _record("dropout", seed, 0.8, dies),
        }
        for method, whole in cells.items():
            folder = tmp_path / "raw" / "x" / method / str(seed)
            folder.mkdir(parents=True)
            digests.write_json(folder / "cell.json", whole)
    found = {(verdict.claim.text, verdict.second): verdict for verdict in robustness.judge_claims(tmp_path)}
    beyond = f"{STRONG}, ζ = 0.1: at least 10 points above every rival"
    assert found[beyond, "awp"].holds and found[beyond, "awp"].interval.estimate == pytest.approx(20.2)
    assert found[beyond, "dropout"].verdict == "FAILS (the threshold lies inside the interval)"
    mean = "mismatch 0.3, mean: not lower than any rival"
    assert found[mean, "awp"].verdict == "FAILS" and found[mean, "awp"].interval.estimate == pytest.approx(-2)
    assert found[mean, "dropout"].holds and found[mean, "dropout"].interval.low == pytest.approx(0)
    assert found[mean, "awp"].row()["over"] == "3 seeds × 20 dies"


def test_the_command_says_its_plan(tmp_path, monkeypatch):
    """--plan --json: the jobs in their order with their times; what is wrong is refused."""
    monkeypatch.setattr(robustness, "all_studies", lambda: {"mini": MINI})
    words = ["--plan", "--out", str(tmp_path), "--measurements", "nominal,mismatch"]
    result = CliRunner().invoke(app, [*words, "--json"])
    jobs = json.loads(result.stdout)["jobs"]
    assert [job["cell"] for job in jobs] == ["mini/standard/0", "mini/adversarial/0"]
    assert all(job["left"] == {"nominal": ["test"], "mismatch": ["0.3"]} and job["seconds"] > 0 for job in jobs)
    assert jobs[0]["from"] == ["a pass now", "a step now"]
    table = CliRunner().invoke(app, words).output  # however narrow it is
    assert all(word in table for word in ("train", "nominal", "mismatch"))
    assert "whole numbers" in str(CliRunner().invoke(app, [*words, "--seeds", "a"]).exception)
    assert "does not exist" in str(CliRunner().invoke(app, ["ecg", "betta", "--plan"]).exception)
