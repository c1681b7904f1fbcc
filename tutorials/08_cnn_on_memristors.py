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
# # 8 · A CNN on memristors: one year later, 10 % dead, 4 bits
#
# My network survives each of these alone. Does it survive all of them together?
#
# Minutes: 3 on two cores. Data: Fashion-MNIST, pictures of clothes (`apt-get install dataset-fashion-mnist` on Debian
# and Ubuntu). Needs: nothing else.

# %%
# There is no package on PyPI yet. In a clone of the repository:
# %pip install .

# %% [markdown]
# On another system, download the four files `*-ubyte.gz` of Fashion-MNIST and name their folder:
# `nr.tasks.fashion_mnist_spiking(folder)`.
#
# `SMALL` is for our own tests of this page. Leave it as it is.

# %%
import os

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython.display import Markdown

import chipmodels
import neurorobust as nr

SMALL = os.environ.get("NEUROROBUST_TUTORIAL") == "small"
N_PICTURES = 40 if SMALL else 300
N_DIES = 5 if SMALL else 100

# %% [markdown]
# ## Three networks, the same pictures
#
# A spiking network with two convolutions sees a picture for eight steps and names one of ten kinds of clothes. The zoo
# has it three times. `standard` was trained as usual, `forward_noise` with random errors on every weight, and
# `adversarial` with an attack in its loss.

# %%
names = ("standard", "forward_noise", "adversarial")
networks = {name: nr.zoo.load(f"fashion_mnist_spiking/{name}")[0] for name in names}


def made_up():
    """Noise with arbitrary labels, only for our tests where Fashion-MNIST is not installed."""
    noise = torch.rand(N_PICTURES, 1, 28 * 28, generator=torch.Generator().manual_seed(0))
    return nr.data.Data(noise.expand(-1, 8, -1), torch.arange(N_PICTURES) % 10)


try:
    pictures, origin = nr.tasks.fashion_mnist_spiking().test.balanced(N_PICTURES), "test pictures"
except FileNotFoundError:
    if not SMALL:
        raise
    pictures, origin = made_up(), "pictures of NOISE, because the data are not installed, so the numbers mean nothing"
print(f"{len(pictures)} {origin}")

# %% [markdown]
# ## The chip, and what happens to it
#
# `pcm` is a model of crossbars of phase-change memory. A crossbar stores each weight as the difference of two devices.
# Every device is programmed with an error. Neurons are computed digitally beside the array, so only weights deviate. A
# convolution is stored once and read at every position: one bad device acts on the whole picture.
#
# Each condition is one method of the chip model. The dies stay the same.
#
# - `at("1 year")`: conductances drift, each device in its own way. One digital factor per array restores their mean.
# - `BadSynapses(0.1)`: 10 % of the weights transmit nothing.
# - `with_bits(4)`: each weight is rounded to a code of 4 bits before it is programmed.

# %%
chip = chipmodels.load("pcm")
dead = nr.chip.BadSynapses(0.1)
conditions = {
    "new": chip,
    "1 year": chip.at("1 year"),
    "10 % dead": chip.with_defects(dead),
    "4 bits": chip.with_bits(4),
    "all three": chip.at("1 year").with_defects(dead).with_bits(4),
}

# %% [markdown]
# Are these really the same dies? We look at the dead weights of die 0. Those of the die with all three conditions must
# be dead in the die with this condition alone, too. (A weight that is rounded to 0 cannot die, so there can be fewer.)

# %%
placement = nr.nn.placement_of(networks["standard"])


def dead_weights(model):
    programmed = model.program(nr.nominal(networks["standard"]), placement)
    return model.fabricate([0], seed=8)[0].broken(programmed)


alone, together = dead_weights(conditions["10 % dead"]), dead_weights(conditions["all three"])
assert alone.keys() == together.keys()
assert all(bool((together[name] <= alone[name]).all()) for name in alone)
for name, broken in alone.items():
    print(f"{name}: {int(broken.sum())} of {broken.numel()} dead, {int(together[name].sum())} with 4 bits")

# %% [markdown]
# ## Measure
#
# One line. It takes a few minutes.

# %%
fleets = {
    name: {label: nr.evaluate(network, pictures, model, n_dies=N_DIES, seed=8) for label, model in conditions.items()}
    for name, network in networks.items()
}
mean = pd.DataFrame({name: {label: fleet.mean for label, fleet in each.items()} for name, each in fleets.items()})
worst = pd.DataFrame({name: {label: fleet.min for label, fleet in each.items()} for name, each in fleets.items()})
pd.concat({"mean": mean, f"worst of {N_DIES}": worst}, axis=1).round(3)

# %% tags=["hide-input"]
single = ("1 year", "10 % dead", "4 bits")
nominal = {name: each["new"].nominal for name, each in fleets.items()}
for each in fleets.values():
    assert len({(fleet.seed, fleet.serials) for fleet in each.values()}) == 1  # the same dies, so they can be paired


def more(name):
    """Points lost with all three, minus the sum of the points lost with each alone; one number per die."""
    lost = {label: 100 * (fleets[name]["new"].score - fleets[name][label].score) for label in conditions}
    return lost["all three"] - sum(lost[label] for label in single)


def told(name):
    lost = (100 * (mean[name]["new"] - mean[name])).round(1) + 0.0  # no -0.0
    extra, (low, high) = more(name).mean(), nr.evaluation.mean_interval(more(name))
    verdict = "more than" if low > 0 else "less than" if high < 0 else "not clearly more or less than"
    return (
        f"- `{name}` loses {lost['all three']:.1f} points with all three. Alone they cost "
        f"{', '.join(f'{lost[label]:.1f} ({label})' for label in single)}. Together they cost **{verdict}** the sum: "
        f"{extra:+.1f} points [{low:+.1f}, {high:+.1f}]."
    )


Markdown(
    f"Mean over {N_DIES} dies of seed 8 on {N_PICTURES} {origin}; in brackets the 95 % interval of the mean over "
    f"dies, paired. Without any error the networks have "
    f"{', '.join(f'{score:.3f} (`{name}`)' for name, score in nominal.items())}.\n\n" + "\n".join(map(told, names))
)

# %% [markdown]
# ## The same die in each condition
#
# One thin line is one die. The thick line is the mean.

# %% tags=["figure"]
plt.rcParams.update(nr.plotting.STYLE | {"font.size": 12, "figure.dpi": 90})
figure, axes = plt.subplots(3, 1, figsize=(6.4, 7.6), sharex=True, sharey=True, layout="constrained")
for ax, name in zip(axes, names, strict=True):
    color, line = nr.plotting.method_style(name)
    scores = np.array([fleets[name][label].score for label in conditions])
    ax.plot(scores, color=color, lw=0.6, alpha=0.25)
    ax.plot(scores.mean(1), line, color=color, lw=2.5, marker="o")
    for x, lowest in enumerate(scores.min(1)):
        ax.annotate(f"{lowest:.2f}", (x, lowest), (0, -5), textcoords="offset points", ha="center", va="top")
    ax.set(title=f"{name}, no error {nominal[name]:.3f}", ylabel="balanced accuracy")
    ax.set_xticks(range(len(conditions)), list(conditions))
    ax.margins(x=0.08, y=0.2)
figure.suptitle(f"{N_DIES} dies of pcm, {N_PICTURES} pictures; numbers: worst die", fontsize=12)
plt.show()

# %% tags=["hide-input"]
lowest = worst.loc["all three"]
same = sum(int(each["new"].score.argmin() == each["all three"].score.argmin()) for each in fleets.values())
Markdown(
    f"*Each panel shows one network. From left to right: a new die, the same die after one year, with 10 % dead "
    f"weights, with 4 bits, and with all three. Balanced accuracy on {N_PICTURES} {origin}, {N_DIES} dies of seed 8, "
    f"one training seed.* The worst die with all three has "
    f"{', '.join(f'{lowest[name]:.3f} (`{name}`)' for name in names)}. The best of these is `{lowest.idxmax()}`. The "
    f"die that is worst when new is also the worst one with all three in {same} of {len(fleets)} networks."
)

# %% [markdown]
# ## What does "dead" mean?
#
# A dead weight that is 0 is the kind case. A memory device can also be stuck at its highest conductance. Then the
# weight has the largest value of the array, with the wrong size or even the wrong sign.

# %%
stuck = chip.with_defects(nr.chip.StuckDevices(0.1))  # each of the two devices of a weight, at its highest conductance
rows = {
    name: [fleets[name]["10 % dead"].mean, nr.evaluate(network, pictures, stuck, n_dies=N_DIES, seed=8).mean]
    for name, network in networks.items()
}
at_zero, stuck_on = (np.array(column) for column in zip(*rows.values(), strict=True))
pd.DataFrame(rows, ["10 % of the weights at 0", "10 % of the devices stuck on"]).round(3)

# %% tags=["hide-input"]
Markdown(
    f"The same fraction, another defect: the mean over {N_DIES} dies falls from {at_zero.max():.2f} to "
    f"{stuck_on.max():.2f} for the best of the three networks (chance is 0.10). So ask the lab which of the two "
    "it is. If devices are stuck on, find them and do not use them: no training here prepares for that."
)

# %% [markdown]
# ## What this does not show
#
# - No silicon. The errors of `pcm` are those of a public library that was fitted to real devices
#   (`neurorobust chips show pcm`). The 10 % dead weights are a number that we chose; so are the 4 bits.
# - Drift after one year is extrapolated from shorter measurements. Temperature is not in the model.
# - Converters, their noise and the voltage drop along wires are not in the model. Read noise is one reading per run.
# - The network is small, and its accuracy without errors is far from the state of the art. One training seed for each
#   method: do not rank methods by this page.
# - For other memories, `at("1 year")` can be refused: nobody published their drift (`chipmodels.load("reram")`).
#
# ## Now with your own network
#
# Any CNN of torch layers can be wrapped. Its `Linear` and `Conv2d` weights go on the crossbars; the rest is digital.
#
# ```python
# network = nr.wrap(cnn)  # your trained torch module, for example nn.Sequential(nn.Conv2d(1, 8, 5), nn.ReLU(), …)
# pictures = nr.data.Data.of(test_loader)  # a DataLoader, a Dataset, or (x, y)
# print(nr.evaluate(network, pictures, conditions["all three"], n_dies=100, seed=8))
# ```
