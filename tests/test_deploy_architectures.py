"""Architectures: budgets, packing of neurons onto cores, clusters of settings, tags, tiles."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import draw
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

import chipmodels
from neurorobust.chip import Cam, Digital, Limits, Pool, Rows, SourcedValue, Tiles
from neurorobust.chip.architectures import LayerDemand, Synapses
from neurorobust.chip.architectures.clustering import one_parameter, several_parameters
from neurorobust.chip.architectures.packing import pack

SOURCE = {"source": "made up for a test"}
CAM = Cam(4, 256, 64, 4, 2048, **SOURCE)
MODELS = {name: model for name, model in chipmodels.models().items() if model.architecture is not None}


def asked(n: int, fan_in: int = 0, n_in: int = 100, **settings: torch.Tensor) -> LayerDemand:
    """n neurons that listen to the first ``fan_in`` inputs."""
    present = torch.zeros(n, n_in, dtype=torch.bool)
    present[:, :fan_in] = True
    return LayerDemand(n, (Synapses("x", present),), settings)


def per_neuron(*groups: tuple[float, int]) -> torch.Tensor:
    """A value for so many neurons, group after group."""
    return torch.cat([torch.full((n,), value, dtype=torch.float64) for value, n in groups])


# ---- budgets


@pytest.mark.parametrize("name", MODELS)
def test_every_number_of_an_architecture_has_a_source(name):
    """And it is the number of the limits, wherever these state it."""
    chip = MODELS[name]
    assert all(fact.source and fact.status for fact in chip.architecture.facts().values())
    stated = chip.architecture.limits()
    for limit in chip.limits.facts():
        assert stated[limit] == getattr(chip.limits, limit)


def test_limits_and_architecture_state_one_number():
    chip = chipmodels.load("dynapse2")
    with pytest.raises(ValueError, match="limits say fan_in 32, the architecture says 64"):
        replace(chip, limits=Limits(fan_in=32, source="other"))


def test_an_architecture_needs_sources_and_counts():
    with pytest.raises(ValueError, match="needs one; name the paper"):
        Cam(4, 256, 64, 4, 2048)
    with pytest.raises(ValueError, match="entries: got 0"):
        Cam(4, 256, 0, 4, 2048, **SOURCE)
    with pytest.raises(ValueError, match="others: 'columns' does not exist"):
        Cam(4, 256, 64, 4, 2048, **SOURCE, others={"columns": ("coded", "x")})
    assert CAM.facts()["entries"] == SourcedValue(64, "assumed", "made up for a test")


# ---- sizes


@pytest.mark.parametrize("n", [1, 64, 255, 256, 257, 511, 512, 513, 1023, 1024])
def test_every_neuron_has_a_place_of_its_own(n):
    """All of them, 256 a core at most, on as few cores as can be, in order."""
    demand = {"a": asked(n // 2, 3), "b": asked(n - n // 2, 3)}
    placed = CAM.place(demand, 0.0)
    assert not placed.violations and not placed.merged
    cores = torch.cat([placed.cores["a"], placed.cores["b"]])
    assert torch.equal(cores, torch.arange(n) // 256)
    assert not list(CAM.check_places(demand, placed.cores))


def test_one_neuron_too_many_takes_two_chips():
    placed = CAM.place({"a": asked(1025)}, 0.0)
    assert not placed.cores
    assert str(placed.violations[0]) == (
        "neurons of the network: got 1025; a chip has 1024; it would take 2 chips, and a deployment is on one: use "
        "fewer neurons."
    )


@pytest.mark.parametrize("fan_in", [0, 1, 63, 64, 65])
def test_fan_in_is_counted_exactly(fan_in):
    found = list(CAM.check_demand({"a": asked(3, fan_in)}))
    assert bool(found) == (fan_in == 65)
    if found:
        assert found[0].limit == "fan_in" and found[0].hint == "prune 1 of its inputs (3 of 3 neurons are over)"


def test_all_limits_are_told_at_once():
    """Of the demand and of the places."""
    chip = Cam(2, 2, 1, 4, 2, **SOURCE)
    demand = {"a": asked(5, 3, 5, tau=per_neuron((1.0, 2), (2.0, 3)))}
    places = {"a": torch.tensor([0, 0, 0, 1, 1])}
    found = [*chip.check_demand(demand), *chip.check_places(demand, places)]
    assert [violation.limit for violation in found] == ["fan_in", "neurons", "settings", "tags"]


def test_signed_rows_take_two():
    assert list(Rows(1, 512, 256, 2, **SOURCE).check_demand({"a": asked(1, 129, 200)}))
    assert not list(Rows(1, 512, 256, 2, **SOURCE).check_demand({"a": asked(1, 128, 200)}))
    assert not list(Rows(1, 512, 256, 1, **SOURCE).check_demand({"a": asked(1, 129, 200)}))


def test_digital_neurons_have_few_targets_and_inputs():
    chip = Digital(1, 1000, 63, 64, 16, **SOURCE)
    demand = {"a": asked(65, 2, 17), "b": LayerDemand(65, (Synapses("a", torch.ones(65, 65, dtype=torch.bool)),))}
    assert {(each.limit, each.where) for each in chip.check_demand(demand)} == {
        ("fan_in", "layer 'b'"),
        ("fan_out", "layer 'a'"),
        ("inputs", "'x'"),
    }
    assert {used.what: used.used for used in chip.usage(demand, {"a": torch.zeros(65), "b": torch.zeros(65)})}[
        "inputs"
    ] == 17


def test_a_pool_has_one_tag_for_each_source():
    assert not list(Pool(1, 4096, 1024, 8, **SOURCE).check_demand({"a": asked(3, 1, 5)}))
    assert [each.limit for each in Pool(1, 4096, 1024, 7, **SOURCE).check_demand({"a": asked(3, 1, 5)})] == ["tags"]


# ---- tags


@given(st.integers(0, 10**6))
def test_tags_are_unique_where_they_are_heard_and_as_few_as_can_be(seed):
    """Against the least number by an integer program (small cases, four cores)."""
    generator = torch.Generator().manual_seed(seed)
    n, n_in = 8, 5
    cores = {"a": torch.randint(4, (n,), generator=generator)}
    present = torch.rand(n, n_in, generator=generator) < 0.4
    recurrent = torch.rand(n, n, generator=generator) < 0.2
    demand = {"a": LayerDemand(n, (Synapses("x", present), Synapses("a", recurrent)))}
    routes = Cam(4, 8, 64, 4, 64, **SOURCE).routes(demand, cores)
    for core in range(4):
        here = [route.tag for route in routes if core in route.cores]
        assert len(set(here)) == len(here)
    receivers = {("x", j): set(cores["a"][present[:, j]].tolist()) for j in range(n_in)}
    receivers |= {("a", j): set(cores["a"][recurrent[:, j]].tolist()) for j in range(n)}
    assert {(r.source, r.element): set(r.cores) for r in routes} == {k: v for k, v in receivers.items() if v}
    if routes:
        assert 1 + max(route.tag for route in routes) == fewest_colours([set(route.cores) for route in routes])


def fewest_colours(cores: list[set[int]]) -> int:
    """The least number of tags so that sources with a common core differ: a mixed integer program."""
    n = len(cores)
    lower = max(sum(core in where for where in cores) for core in range(4))
    for k in range(lower, n + 1):
        rows = [np.kron(np.eye(n)[i], np.ones(k)) for i in range(n)]
        pairs = [(i, j) for i in range(n) for j in range(i) if cores[i] & cores[j]]
        clash = [
            np.kron(np.eye(n)[i], np.eye(k)[tag]) + np.kron(np.eye(n)[j], np.eye(k)[tag])
            for i, j in pairs
            for tag in range(k)
        ]
        constraints = [optimize.LinearConstraint(np.array(rows), 1, 1)]
        constraints += [optimize.LinearConstraint(np.array(clash), -np.inf, 1)] if clash else []
        found = optimize.milp(np.zeros(n * k), constraints=constraints, integrality=np.ones(n * k), bounds=(0, 1))
        if found.success:
            return k
    raise AssertionError


# ---- packing


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 6), st.integers(1, 5))
def test_the_greedy_packing_finds_a_placement_if_there_is_one(sizes, n_cores, capacity):
    """Groups of neurons with different settings: the integer program is feasible if and only if it fits."""
    values = per_neuron(*[(1.0 + i, n) for i, n in enumerate(sizes)])
    packed = pack({"a": (len(values), {"tau_mem": values})}, n_cores, capacity)
    groups = [({"tau_mem": 1.0 + i}, n) for i, n in enumerate(sizes)]
    assert (packed.needed <= n_cores) == feasible(groups, n_cores, capacity)
    if packed.cores is not None and packed.needed <= n_cores:
        check_packed(values, packed.cores["a"], n_cores, capacity)


@pytest.mark.parametrize("seed", range(120))
def test_layers_that_lack_a_parameter_are_packed_as_an_integer_program_can(seed):
    """A layer without a parameter fits beside any value of it, so the order in which groups are placed matters."""
    pick = random.Random(seed)
    n_cores, capacity = pick.randint(1, 4), pick.randint(2, 6)
    kinds = [("tau_mem",), ("tau_mem", "tau_adapt"), ("tau_mem", "tau_syn"), ("tau_syn",)]
    layers, groups = {}, []
    for i in range(pick.randint(1, 4)):
        names = pick.choice(kinds)
        own = [({name: pick.choice([1.0, 2.0]) for name in names}, pick.randint(1, capacity + 2)) for _ in range(2)]
        settings = {name: per_neuron(*((values[name], n) for values, n in own)) for name in names}
        layers[f"layer{i}"], groups = (sum(n for _, n in own), settings), groups + own
    packed = pack(layers, n_cores, capacity)
    assert (packed.needed <= n_cores) == feasible(groups, n_cores, capacity)
    if packed.cores is not None:
        together = torch.cat([packed.cores[name] for name in layers])
        assert int(together.bincount().max()) <= capacity and int(together.max()) < n_cores
        for name in ("tau_mem", "tau_adapt", "tau_syn"):
            values = torch.cat([s.get(name, torch.full((n,), torch.nan)) for n, s in layers.values()])
            for core in together.unique():
                assert len(values[(together == core) & ~values.isnan()].unique()) <= 1


def test_layers_that_lack_a_parameter_are_merged_beside_those_that_have_it():
    """An adaptation of 0 and one of 0.3 never merge, so the plain layer gets neither; nothing breaks."""
    layers = {
        "plain": (2, {"tau_mem": per_neuron((0.01, 1), (0.02, 1))}),
        "adaptive": (2, {"tau_mem": per_neuron((0.01, 2)), "adaptation": per_neuron((0.0, 1), (0.3, 1))}),
    }
    packed = pack(layers, 2, 4)
    assert packed.cores is None and packed.needed == 3
    assert pack(layers, 3, 4).cores is not None


def feasible(groups: list[tuple[dict[str, float], int]], n_cores: int, capacity: int) -> bool:
    """Whether groups of (settings, neurons) fit on cores: x[g, c] neurons of a group on a core, y[g, c] whether it is
    there."""
    g = len(groups)
    size = g * n_cores

    def x(i: int, c: int) -> np.ndarray:
        return np.eye(2 * size)[i * n_cores + c]

    def y(i: int, c: int) -> np.ndarray:
        return np.eye(2 * size)[size + i * n_cores + c]

    every, sizes = list(itertools.product(range(g), range(n_cores))), [n for _, n in groups]
    constraints = [
        optimize.LinearConstraint(np.array([sum(x(i, c) for c in range(n_cores)) for i in range(g)]), sizes, sizes),
        optimize.LinearConstraint(np.array([x(i, c) - capacity * y(i, c) for i, c in every]), -np.inf, 0),
        optimize.LinearConstraint(np.array([sum(x(i, c) for i in range(g)) for c in range(n_cores)]), 0, capacity),
    ]
    apart = [
        (i, j)
        for i, j in itertools.combinations(range(g), 2)
        if any(groups[i][0].get(name, value) != value for name, value in groups[j][0].items())
    ]
    clash = [y(i, c) + y(j, c) for i, j in apart for c in range(n_cores)]
    constraints += [optimize.LinearConstraint(np.array(clash), -np.inf, 1)] if clash else []
    upper = np.concatenate([np.full(size, capacity), np.ones(size)])
    bounds = optimize.Bounds(np.zeros(2 * size), upper)
    return optimize.milp(
        np.zeros(2 * size), constraints=constraints, integrality=np.ones(2 * size), bounds=bounds
    ).success


def check_packed(values: torch.Tensor, cores: torch.Tensor, n_cores: int, capacity: int) -> None:
    assert int(cores.min()) >= 0 and int(cores.max()) < n_cores
    for core in cores.unique():
        assert int((cores == core).sum()) <= capacity
        assert len(values[cores == core].unique()) == 1


def test_a_layer_without_a_parameter_fits_beside_any_value_of_it():
    """So an adaptive layer and a plain one share the one core of a chip."""
    packed = pack(
        {
            "plain": (3, {"tau_mem": per_neuron((0.02, 3))}),
            "adaptive": (2, {"tau_mem": per_neuron((0.02, 2)), "tau_adapt": per_neuron((0.1, 2))}),
        },
        1,
        5,
    )
    assert packed.needed == 1 and packed.cores["plain"].tolist() == [0, 0, 0]
    other = pack({"plain": (3, {"tau_mem": per_neuron((0.03, 3))}), "b": (2, {"tau_mem": per_neuron((0.02, 2))})}, 1, 5)
    assert other.needed == 2


# ---- clusters


def brute_force(values: list[float], k: int, capacity: int) -> float:
    """The least sum of squares of any assignment to k clusters."""
    best = math.inf
    for labels in itertools.product(range(k), repeat=len(values)):
        clusters = [[v for v, label in zip(values, labels) if label == i] for i in range(k)]
        if all(len(cluster) <= capacity for cluster in clusters):
            best = min(best, sum(sum((v - sum(c) / len(c)) ** 2 for v in c) for c in clusters if c))
    return best


@given(st.lists(st.floats(-3, 3, width=16), min_size=1, max_size=6), st.integers(1, 3), st.integers(1, 6))
def test_clusters_of_one_parameter_are_the_best(values, k, capacity):
    table = one_parameter(np.array(values), k, capacity)
    for clusters, (cost, labels) in enumerate(table, start=1):
        assert cost == pytest.approx(brute_force(values, clusters, capacity), abs=1e-9)
        if math.isfinite(cost):
            assert max(np.bincount(labels)) <= capacity and labels.max() < clusters
            spread = sum(np.array(values)[labels == i].var() * (labels == i).sum() for i in np.unique(labels))
            assert spread == pytest.approx(cost, abs=1e-9)


def test_clusters_of_several_parameters_fit_the_cores():
    points = np.concatenate([centre + 0.01 * draw(i, 5, 2).numpy() for i, centre in enumerate((0.0, 1.0, 2.0))])
    table = several_parameters(points, 4, 5)
    assert [math.isfinite(cost) for cost, _ in table] == [False, False, True, True]
    assert [len(set(table[2][1][5 * i : 5 * i + 5])) for i in range(3)] == [1, 1, 1]


def test_settings_are_merged_only_within_the_tolerance():
    """Five values on four cores: the nearest two share one, at their mean logarithm; else the tolerance is named."""
    values = per_neuron((0.01, 100), (0.02, 100), (0.04, 100), (0.0404, 100), (0.08, 100))
    demand = {"a": asked(500, tau_mem=values)}
    (violation,) = CAM.place(demand, 0.0).violations
    assert violation.limit == "settings" and "tolerance=0.00499" in violation.hint and "2 chips" in violation.hint
    assert CAM.place(demand, 0.00498).violations
    placed = CAM.place(demand, 0.00499)
    (merge,) = placed.merged
    assert (merge.name, merge.low, merge.high, merge.neurons) == ("tau_mem", 0.04, 0.0404, 200)
    assert merge.value == pytest.approx(math.sqrt(0.04 * 0.0404))
    assert torch.equal(placed.cores["a"][200:400].unique(), torch.tensor([merge.core]))


def test_settings_with_signs_are_never_merged():
    demand = {"a": asked(5, bias=per_neuron(*[(float(i), 1) for i in range(5)]))}
    (violation,) = CAM.place(demand, 10.0).violations
    assert "tolerance" not in violation.hint and "5 different sets of bias" in violation.got


def test_two_settings_are_merged_together():
    values = {"tau_mem": per_neuron((0.01, 2), (0.0101, 1), (0.05, 2)), "v_threshold": per_neuron((1.0, 2), (1.02, 3))}
    chip = Cam(2, 4, 64, 4, 100, **SOURCE)
    placed = chip.place({"a": asked(5, **values)}, 0.05)
    assert placed.cores["a"].tolist()[:3] == [placed.cores["a"][0]] * 3
    assert {merge.name for merge in placed.merged} == {"tau_mem", "v_threshold"}


# ---- tiles


def test_rows_beyond_a_tile_take_further_tiles():
    """300 inputs are two tiles of rows; 257 neurons two groups of columns."""
    chip = Tiles(4, 256, 256, **SOURCE)
    demand = {"a": asked(257, 300, 300)}
    placed = chip.place(demand, 0.0)
    assert placed.cores["a"].unique().tolist() == [0, 1]
    assert chip.tiles(demand, placed.cores) == [(0, 256, 256), (0, 256, 44), (1, 1, 256), (1, 1, 44)]
    (violation,) = Tiles(3, 256, 256, **SOURCE).place(demand, 0.0).violations
    assert (violation.limit, violation.got) == ("tiles", "4") and "2 chips" in violation.hint


def test_only_rows_in_use_take_cells():
    assert Tiles(4, 8, 8, **SOURCE).tiles({"a": asked(2, 3, 100)}, {"a": torch.tensor([0, 0])}) == [(0, 2, 3)]


def test_a_kernel_is_held_once():
    demand = {"conv": LayerDemand(1000, (Synapses("x", torch.ones(1, 50).bool().expand(1000, -1)),), {}, (10, 27))}
    placed = Tiles(1, 256, 256, **SOURCE).place(demand, 0.0)
    assert Tiles(1, 256, 256, **SOURCE).tiles(demand, placed.cores) == [(0, 10, 27)]
