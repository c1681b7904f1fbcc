"""A network on a fleet of dies, against loops written out by hand."""

from __future__ import annotations

import dataclasses
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from conftest import events
from hypothesis import given
from hypothesis import strategies as st
from placed import placed
from scipy import stats

import chipmodels
import neurorobust as nr
from neurorobust.data import Data
from neurorobust.evaluation import FleetResult, clopper_pearson
from neurorobust.evaluation.dies import die_scores
from neurorobust.evaluation.predict import nominal_score
from neurorobust.evaluation.statistics import one_class
from neurorobust.nn.network import placement_of

CHIPS = {"dynapse2": chipmodels.load("dynapse2"), "mismatch": nr.mismatch(0.3)}


def network():
    """Seven neurons on two cores of the chip."""
    return placed([0, 0, 0, 1, 1, 1, 1])


@pytest.fixture
def data():
    """40 samples, 13 of class 0, so that accuracy is not balanced accuracy."""
    whole = events(3, 60)
    chosen = torch.cat([torch.nonzero(whole.y == 0)[:13, 0], torch.nonzero(whole.y == 1)[:27, 0]])
    return Data(whole.x[chosen], whole.y[chosen])


def scores(network, params, data):
    """Accuracy, balanced accuracy and recall, counted sample by sample."""
    right: dict[int, list[bool]] = {0: [], 1: []}
    for x, y in zip(data.x, data.y.tolist()):
        right[y].append(int(nr.run(network, params, x[None]).argmax()) == y)
    recall = [sum(hits) / len(hits) for hits in right.values()]
    return sum(map(sum, right.values())) / len(data), sum(recall) / 2, recall


def result(values, seed=1, chip="dynapse2"):
    """A fleet with these balanced accuracies."""
    values = np.asarray(values, dtype=float)
    return FleetResult(
        chip, seed, tuple(range(len(values))), 1.0, 1.0, values, values, np.stack([values, values], 1), []
    )


@pytest.mark.parametrize("chip", CHIPS.values(), ids=CHIPS)
def test_every_die_by_hand(chip, data):
    """program → this die's deviations → apply → run, sample by sample, gives the same numbers for every die."""
    net = network()
    found = nr.evaluate(net, data, chip, n_dies=4, seed=9)
    programmed = chip.program(nr.nominal(net), placement_of(net))
    assert found.nominal == pytest.approx(scores(net, nr.nominal(net), data)[1])
    assert found.programmed == pytest.approx(scores(net, programmed.params, data)[1])
    for k in range(4):
        die = chip.fabricate([k], 9)[0]
        params = nr.apply(programmed.params, die.deviations(programmed), programmed.placement)
        accuracy, balanced, recall = scores(net, params, data)
        assert (found.accuracy[k], found.balanced_accuracy[k]) == pytest.approx((accuracy, balanced))
        assert found.recall[k].tolist() == pytest.approx(recall)


@pytest.mark.parametrize("name", ["pcm", "reram", "dynapse2"])
def test_a_loop_over_dies_is_the_evaluation(name, data):
    """A user's own loop over dies, and the deviations of the whole fleet at once, have the scores of ``nr.evaluate``
    exactly: read noise is part of a die's deviations."""
    net, chip = network(), chipmodels.load(name)
    found = nr.evaluate(net, data, chip, n_dies=3, seed=9)
    programmed = chip.program(nr.nominal(net), placement_of(net))
    fleet = chip.fabricate(range(3), 9)
    together = fleet.deviations(programmed)
    for k, die in enumerate(fleet):
        deviations = die.deviations(programmed)
        assert all(torch.equal(value[k], deviations[key]) for key, value in together.items())
        predicted = nr.run(net, nr.apply(programmed.params, deviations, programmed.placement), data.x).argmax(1)
        assert found.accuracy[k] == float((predicted == data.y).double().mean())
        assert found.recall[k].tolist() == [float((predicted == data.y)[data.y == y].double().mean()) for y in (0, 1)]
    if chip.kinds["weight"].law.has_read_noise:
        frozen = die.deviate(die.draws(programmed), programmed)["hidden.input.weight"]
        assert not torch.equal(frozen, deviations["hidden.input.weight"])


@pytest.mark.parametrize("chip", CHIPS.values(), ids=CHIPS)
def test_dies_do_not_depend_on_the_size_of_the_fleet(chip, data):
    """The first 3 of 7 dies are the 3 dies of a smaller fleet, bit for bit; another seed has other dies."""
    few, many = (nr.evaluate(network(), data, chip, n_dies=n, seed=4) for n in (3, 7))
    other = nr.evaluate(network(), data, chip, n_dies=7, seed=5)
    assert np.array_equal(few.balanced_accuracy, many.balanced_accuracy[:3])
    assert np.array_equal(few.recall, many.recall[:3])
    assert not np.array_equal(other.recall, many.recall)


def test_evaluation_leaves_the_network_alone(data):
    """Parameters, gradients and the global random state are as they were, bit for bit."""
    net = network()
    before, state = nr.nominal(net), torch.get_rng_state()
    nr.evaluate(net, data, CHIPS["dynapse2"], n_dies=2, seed=0)
    assert all(torch.equal(value, before[name]) for name, value in net.named_parameters())
    assert all(value.grad is None for value in net.parameters())
    assert torch.equal(torch.get_rng_state(), state)


def test_no_mismatch_is_the_nominal_network(data):
    """A fleet of mismatch 0: every die has the nominal accuracy."""
    found = nr.evaluate(network(), data, nr.mismatch(0.0), n_dies=3, seed=0)
    assert found.balanced_accuracy.tolist() == [found.nominal] * 3 == [found.programmed] * 3


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40), st.floats(0, 1), st.floats(0, 1))
def test_summaries_of_a_fleet(values, spec, q):
    """Mean, standard deviation (n − 1), minimum, quantile and yield, counted by hand."""
    fleet, ordered, n = result(values), sorted(values), len(values)
    mean = sum(values) / n
    assert fleet.mean == pytest.approx(mean)
    assert fleet.std == pytest.approx((sum((value - mean) ** 2 for value in values) / (n - 1)) ** 0.5, abs=1e-9)
    assert fleet.min == ordered[0]
    low = min(int(q * (n - 1)), n - 2)
    part = q * (n - 1) - low
    assert fleet.quantile(q) == pytest.approx(ordered[low] * (1 - part) + ordered[low + 1] * part, abs=1e-9)
    good = sum(value >= spec for value in values)
    assert fleet.yield_at(spec).fraction == good / n
    assert fleet.yield_at(spec).ci95 == clopper_pearson(good, n)


def test_a_die_at_the_specification_is_good():
    """Yield counts ≥, not >; 5th percentile, minimum and yield of 0.80, 0.81 … 1.00."""
    fleet = result(np.linspace(0.8, 1.0, 21))
    assert fleet.yield_at(float(fleet.balanced_accuracy[10])).fraction == pytest.approx(11 / 21)
    assert (fleet.min, fleet.quantile(0.05)) == pytest.approx((0.80, 0.81))


def test_a_yield_is_printed_in_three_digits():
    """The interval of 9 of 10, Clopper and Pearson."""
    assert (
        repr(nr.evaluation.Yield.of(np.array([0.95] * 9 + [0.5]), 0.9))
        == "Yield(0.900 [0.555, 0.997] of the dies reach 0.9)"
    )


def test_the_worst_serial_is_the_smallest_of_equals(data):
    """It names a die that has the lowest score."""
    fleet = nr.evaluate(network(), data, CHIPS["mismatch"], n_dies=3)
    fleet = dataclasses.replace(fleet, serials=(7, 3, 5), score=np.array([0.5, 0.5, 0.9]))
    assert fleet.worst_serial == 3


def test_yield_interval_from_a_table():
    """Clopper–Pearson at 95 %, from tables: 0/100 → [0, .0362], 95/100 → [.8872, .9836], 50/100 → [.3983, .6017]."""
    for good, bounds in ((0, (0.0, 0.0362)), (95, (0.8872, 0.9836)), (50, (0.3983, 0.6017))):
        fleet = result([1.0] * good + [0.0] * (100 - good))
        assert fleet.yield_at(0.9).ci95 == pytest.approx(bounds, abs=5e-5)


def test_one_die_has_no_spread():
    """n = 1: NaN, without a warning."""
    fleet = result([0.9])
    assert np.isnan([fleet.std, *fleet.ci95]).all()
    assert "mean 0.900, min 0.900" in repr(fleet) and "nan" not in f"{fleet} {nr.compare(fleet, fleet)}"


def test_networks_are_compared_die_by_die():
    """The paired difference, its t interval as scipy's paired test has it, and how often the first is ahead."""
    first, second = result([0.9, 0.8, 0.95, 0.7]), result([0.85, 0.8, 0.9, 0.72])
    found = nr.compare(first, second)
    low, high = stats.ttest_rel(first.balanced_accuracy, second.balanced_accuracy).confidence_interval(0.95)
    assert found.difference == pytest.approx(0.02)
    assert found.ci95 == pytest.approx((low, high))
    assert (found.better, found.n) == (2, 4)


@pytest.mark.parametrize(
    "other", [result([0.5] * 4, seed=2), result([0.5] * 3), result([0.5] * 4, chip="mismatch 0.3")]
)
def test_other_dies_are_not_compared(other):
    """Another seed, number of dies or chip is another fleet."""
    with pytest.raises(ValueError, match="expected the same dies"):
        nr.compare(result([0.6] * 4), other)


@pytest.mark.parametrize("bad", [{"n_dies": 0}, {"n_dies": -1}, {"seed": -1}])
def test_impossible_fleets_are_refused(bad, data):
    """Counts are positive integers, seeds are not negative."""
    with pytest.raises(ValueError, match=next(iter(bad))):
        nr.evaluate(network(), data, CHIPS["dynapse2"], **bad)


def test_a_network_that_always_says_the_same_is_named(data):
    """Weights of 0 and one bias: the result and its text say the class; of a network that tells them apart nothing."""
    linear = torch.nn.Linear(3, 2).double()
    with torch.no_grad():
        linear.weight.zero_(), linear.bias.copy_(torch.tensor([0.0, 1.0]))
    found = nr.evaluate(nr.wrap(linear, decode=lambda steps: steps.mean(1)), data, nr.mismatch(0.1), n_dies=2)
    assert found.one_class == 1 and found.nominal == 0.5
    assert "class 1 is predicted for every sample" in repr(found)
    other = nr.evaluate(network(), data, nr.mismatch(0.1), n_dies=2)
    assert other.one_class is None and "everything" not in repr(other)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=6), st.booleans())
def test_one_class(predicted, steps):
    """The class if all predictions are alike, per sample or per step; never of a regression."""
    outputs = torch.eye(3)[torch.tensor(predicted)]
    outputs = outputs[None] if steps else outputs
    y = outputs.argmax(-1)
    assert one_class(outputs, y) == (predicted[0] if len(set(predicted)) == 1 else None)
    assert one_class(outputs, outputs) is None


def test_one_class_of_data_is_refused():
    """Balanced accuracy over one class means nothing."""
    x = torch.zeros(4, 5, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match="class 1; expected two"):
        nr.evaluate(network(), Data(x, torch.ones(4, dtype=torch.long)), CHIPS["dynapse2"], n_dies=1)


def test_a_broken_parameter_is_named(data):
    """NaN in a parameter is found before any die is measured."""
    net = network()
    net.hidden.v_threshold.data[1] = torch.nan
    with pytest.raises(ValueError, match=r"hidden\.v_threshold"):
        nr.evaluate(net, data, nr.mismatch(0.1), n_dies=1)


# Results that would be of nothing


class Root(torch.nn.Module):
    """The root of a number that is just above 0: NaN on dies where it falls below."""

    def __init__(self, n_out: int = 2, bias: float = 0.1):
        super().__init__()
        self.linear = torch.nn.Linear(3, n_out)
        torch.nn.init.constant_(self.linear.bias, bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) + (self.linear.bias[0] - 0.09).sqrt()


def flat(n: int = 30, regression: bool = False) -> Data:
    x = torch.rand(n, 3, generator=torch.Generator().manual_seed(2))
    return Data(x, x[:, :1] if regression else torch.arange(n) % 2)


def test_a_network_that_gives_nan_without_errors_is_refused():
    """No class is the largest of NaN; each measurement says so, and none gives a score."""
    network = nr.wrap(Root(bias=0.01))
    for measure in (
        lambda: nr.evaluate(network, flat(), nr.mismatch(0.1), n_dies=2),
        lambda: nr.worst_case(network, flat(), nr.Ball.uniform(0.1), nr.attacks.PGA(steps=1)),
        lambda: nominal_score(network, flat()),
    ):
        with pytest.raises(ValueError, match="network: gives NaN for 30 of 30 samples at its nominal parameters"):
            measure()


def test_samples_whose_outputs_are_nan_on_a_die_count_as_wrong():
    """Those dies have no hit at all, and are counted in one warning; a regression has no score there."""
    with pytest.warns(
        UserWarning, match=r"of 12 dies give NaN for some samples, die \d+ first; these .* wrong"
    ) as told:
        fleet = nr.evaluate(nr.wrap(Root()), flat(), nr.mismatch(0.3), n_dies=12)
    lost = int(str(told[0].message).split()[1])
    assert 0 < lost < 12 and (fleet.score == 0).sum() == (fleet.accuracy == 0).sum() == lost
    with pytest.raises(ValueError, match=r"of 12 dies give NaN .*so there is no R²"):
        nr.evaluate(nr.wrap(Root(1)), flat(regression=True), nr.mismatch(0.3), n_dies=12)


def test_there_is_no_r_squared_of_nan_in_any_measurement():
    """A die inside the ball or of the fleet gives NaN; its score is neither that of a good die nor left out."""
    network, data, chip = nr.wrap(Root(1)), flat(regression=True), nr.mismatch(0.3)
    attack = nr.attacks.RandomSearch(12, objective="mse")
    for measure in (
        lambda: nr.worst_case(network, data, nr.Ball.uniform(0.5), attack),
        lambda: list(die_scores(network, data, chip, range(12), 1)),
        lambda: nr.evaluation.rare_failures(
            network, data, chip, spec=0.0, simulation=nr.evaluation.SubsetSimulation(50)
        ),
    ):
        with pytest.raises(
            ValueError, match="network: gives NaN for 30 of 30 samples, nominally or on a die, so there"
        ):
            measure()


@pytest.mark.parametrize(("n", "n_dies"), [(30, 1), (30, 12), (1030, 3)])
def test_workers_find_the_same_dies_that_give_nan(n, n_dies):
    """The last has fewer dies than pieces, so their samples are split."""
    heard, scores, errors = [], [], []
    chip, regression, one, two = nr.mismatch(0.4), flat(n, regression=True), nr.wrap(Root()), nr.wrap(Root(1))
    with ThreadPoolExecutor(2) as threads:
        for executor in (None, threads):
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                scores.append(nr.evaluate(one, flat(n), chip, n_dies=n_dies, executor=executor).score)
            heard.append([str(each.message) for each in told])
            with pytest.raises(ValueError, match="so there is no R²") if n_dies > 1 else nullcontext() as error:
                nr.evaluate(two, regression, chip, n_dies=n_dies, executor=executor)
            errors.append(error and str(error.value))
    assert (scores[0] == scores[1]).all() and heard[0] == heard[1] and errors[0] == errors[1]
    assert len(heard[0]) == (n_dies > 1)


def test_results_of_other_labels_or_other_numbers_of_a_chip_are_not_compared():
    """A label is a name: two chips may have it. Samples have other labels, or are in another order."""
    network = nr.wrap(torch.nn.Linear(3, 2))
    here = nr.evaluate(network, flat(), nr.mismatch(0.3), n_dies=3)
    near = nr.evaluate(network, flat(), nr.mismatch(0.3000001), n_dies=3)
    with pytest.raises(ValueError, match=r"'mismatch 0\.3' is the name of two chip models"):
        nr.compare(here, near)
    data = flat()
    with pytest.raises(ValueError, match="samples with different labels"):
        nr.compare(here, nr.evaluate(network, Data(data.x, 1 - data.y), nr.mismatch(0.3), n_dies=3))
    assert nr.compare(here, nr.evaluate(network, flat(), nr.mismatch(0.3), n_dies=3)).difference == 0
