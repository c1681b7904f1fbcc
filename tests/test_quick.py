"""The quick suite: what it is, where it is the default, and what a result says that found nearly nothing."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from conftest import draw, events, tiny
from torch import nn
from torch.nn import functional

import neurorobust as nr
from benchmarks import quick_attack
from neurorobust._util import digests
from neurorobust.attacks import PGA, QUICK, Ball, RandomSearch, quick, restarted, thorough
from neurorobust.core.run import evaluating, forward, nominal
from neurorobust.data import Data
from neurorobust.evaluation import STRONG, random_search, strong_worst_case, transfer
from neurorobust.evaluation.statistics import score
from neurorobust.evaluation.worst_case import CAUTION, WorstCase, find_worst_case, suite_of
from neurorobust.train.descent import Schedule
from neurorobust.train.loop import SELECTION, selection_score


def robust_and_data():
    """A linear read-out with a margin that no deviation of 10 % reaches, and its data."""
    model = nr.wrap(nn.Linear(2, 2).double())
    with torch.no_grad():
        for value, number in zip(model.parameters(), (torch.eye(2), torch.zeros(2))):
            value.copy_(number)
    y = torch.arange(20) % 2
    return model, Data(functional.one_hot(y, 2).double(), y)


def test_version_one_is_what_it_is():
    """quick-1, member by member: a change needs another version."""
    assert QUICK == "quick-1" == quick().version == quick(regression=True).version
    assert [(repr(member), n) for member, n in quick().members] == [
        (f"PGA(steps=10, init_std=0.001, objective='{name}', stride=1.0, project=True)", 1)
        for name in ("kl", "ce", "margin")
    ]
    assert quick(regression=True).members == ((PGA(10, objective="mse"), 1),)


def test_only_the_suite_itself_has_the_version():
    """Other restarts, attacks and suites are of no version."""
    assert suite_of(quick()).version == QUICK
    assert restarted(quick(), 2).version is suite_of(PGA()).version is suite_of(thorough()).version is None


@pytest.mark.parametrize("seed", [0, 2])
def test_it_is_the_default_and_the_worst_of_its_members_counts(seed):
    """`worst_case` without an attack: the minimum of the three ten-step attacks alone, and the result says quick-1."""
    network, data, ball = tiny(seed), events(seed, 40), Ball.uniform(0.6)
    found = nr.worst_case(network, data, ball, seed=seed)
    alone = [nr.worst_case(network, data, ball, attack, seed=seed) for attack, _ in quick().members]
    assert found.score == min(one.score for one in alone) < found.nominal - 0.1
    assert (found.suite, found.passes) == ("quick-1", 33) and "quick-1, 33 passes" in repr(found)
    assert {one.suite for one in alone} == {None}


def test_a_regression_has_a_default_too():
    """Targets in floating point: ten steps on the squared error."""
    x = draw(1, 30, 3)
    network = nr.wrap(nn.Linear(3, 1).double())
    found = nr.worst_case(network, Data(x, network(x)[0].detach()), Ball.uniform(0.3))
    assert (found.suite, found.passes, found.nominal) == ("quick-1", 11, 1.0) and "R² " in repr(found)


@pytest.mark.parametrize(
    "search",
    [
        lambda *where: nr.worst_case(*where, PGA(3)),
        lambda *where: nr.worst_case(*where),
        lambda *where: random_search(*where, passes=20),
        lambda *where: transfer(*where, [{}]),
        lambda *where: strong_worst_case(*where),
    ],
    ids=["worst_case", "default", "random_search", "transfer", "strong_worst_case"],
)
def test_a_result_carries_its_nominal_score(search, monkeypatch):
    """On the same samples, at the nominal parameters."""
    monkeypatch.setattr("neurorobust.evaluation.strong.STEPS", 1)
    network, data = tiny(0), events(0, 40)
    found = search(network, data, Ball.uniform(0.4))
    outputs = forward(network, nominal(network), data.x)[0].detach()
    assert found.nominal == score(outputs, data.y) and found.score <= found.nominal
    assert f"{found.score:.3f} on the worst die, {found.nominal:.3f} nominal" in repr(found)


def result(found, suite):
    return WorstCase(found, 0.9, found, found, (), {}, "PGA()", 11, suite)


@pytest.mark.parametrize("suite", [None, QUICK, STRONG])
@pytest.mark.parametrize(("found", "little"), [(0.9, True), (0.881, True), (0.879, False), (0.5, False)])
def test_nearly_nothing_proves_nothing(found, little, suite):
    """Below two points, unless the strong suite ran: the result says so and names it."""
    worst = result(found, suite)
    assert worst.inconclusive == (little and suite != STRONG) == bool(worst.caution) == (CAUTION in repr(worst))
    assert "proves nothing" in CAUTION and "nr.evaluation.strong_worst_case" in CAUTION


def test_the_default_warns_where_it_finds_nothing():
    """A warning for who did not choose an attack; none for who did, and none where something was found."""
    model, data = robust_and_data()
    with pytest.warns(UserWarning, match=r"proves nothing: run nr\.evaluation\.strong_worst_case") as caught:
        found = nr.worst_case(model, data, Ball.uniform(0.1))
    assert found.inconclusive and found.score == found.nominal == 1.0
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert nr.worst_case(model, data, Ball.uniform(0.1), PGA(2)).inconclusive
        assert random_search(model, data, Ball.uniform(0.1), passes=3).inconclusive
        assert not nr.worst_case(tiny(0), events(0, 40), Ball.uniform(0.4)).inconclusive


def test_fit_selects_by_it(task, tmp_path):
    """The scores of the log are those of the quick suite; a run under another rule is not continued."""
    network = tiny(3)
    options = {"epochs": 1, "schedule": Schedule(batch_size=8), "out": tmp_path}
    history = nr.fit(network, task, functional.cross_entropy, **options)
    worst = find_worst_case(network, task.validation, Ball.uniform(0.05), quick(), seed=0)
    assert (history.rows[0]["clean"], history.rows[0]["attacked"]) == (worst.nominal, worst.score)
    assert selection_score(network, task.validation, 0) == (worst.nominal, worst.score)
    assert QUICK in SELECTION
    path = tmp_path / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    assert state["settings"].pop("selection") == SELECTION
    torch.save(state, path)
    digests.append(path)
    with pytest.raises(ValueError, match=f"belongs to another run .*selection None there, '.*{QUICK}"):
        nr.fit(tiny(3), task, functional.cross_entropy, **options)


def test_sensitivity_uses_it():
    """Each group is attacked by the quick suite of the group alone; a group without a gradient by random search."""
    network, data = tiny(0), events(0, 20)
    table = nr.sensitivity(network, data, n_dies=1, seed=2).table()
    row = table[(table["level"] == "kind") & (table["kind"] == "weight")].iloc[0]
    assert row["attack"] == QUICK
    ball = Ball({name: 0.1 for name in nominal(network) if name.endswith("weight")})
    assert row["attacked"] == find_worst_case(network, data, ball, quick(), seed=2).score


def without_gradients():
    """Contexts in which no gradient is computed."""
    return pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode], ids=["no_grad", "inference_mode"])


@without_gradients()
@pytest.mark.parametrize("attack", [PGA(3), RandomSearch(3), thorough(2, 1)], ids=lambda one: type(one).__name__)
def test_an_attack_searches_where_gradients_are_off(context, attack):
    """`Attack.search` and `worst_case` find the same die inside, with data that were made inside."""
    network, data, ball = tiny(0), events(0, 20), Ball.uniform(0.3)
    found = nr.worst_case(network, data, ball, attack, seed=1)
    with context():
        again = nr.worst_case(network, Data(data.x * 1, data.y * 1), ball, attack, seed=1)
        assert torch.is_grad_enabled() is False
    assert again.score == found.score and again.attack == found.attack
    assert all(torch.equal(delta, again.deviations[name]) for name, delta in found.deviations.items())


@without_gradients()
def test_a_regularizer_can_be_evaluated_where_gradients_are_off(context):
    """The loss of a batch, attack included, is the number that it is with gradients."""
    network, data = tiny(0), events(0, 12)
    loss = nr.regularizers.Adversarial(functional.cross_entropy, PGA(3), Ball.uniform(0.2), 0.5)
    params = dict(network.named_parameters())
    key = torch.Generator()
    value = loss(network, params, (data.x, data.y), key.manual_seed(4)).item()
    with context(), evaluating(network):
        assert loss(network, params, (data.x, data.y), key.manual_seed(4)).item() == pytest.approx(value, rel=1e-12)


def test_the_tables_of_the_page_are_those_of_the_results():
    """benchmarks/results/quick_attack.md holds the tables that the committed measurements give."""
    folder = Path(quick_attack.__file__).parent / "results"
    page = (folder / "quick_attack.md").read_text(encoding="utf-8")
    tables = quick_attack.summary(quick_attack.Results(folder / "quick_attack.json"))
    assert len(tables) == 3 and all(table in page for table in tables)
    assert tables[1] in page and "| KL, CE, margin, ten steps | 33 |" in tables[1]


def test_what_a_rule_keeps():
    """The best mean of clean and the worst attack of the rule; of equal epochs the last, as `fit` does."""
    rows = [
        {"clean": 0.9, "kl": 0.9, "ce": 0.1, "margin": 0.5},
        {"clean": 0.8, "kl": 0.7, "ce": 0.6, "margin": 0.5},
        {"clean": 0.8, "kl": 0.6, "ce": 0.7, "margin": 0.5},
    ]
    kept = {rule: quick_attack.kept_epoch(rows, members) for rule, members in quick_attack.RULES.items()}
    assert (kept["KL"], kept["CE"], kept["KL, CE"], kept["KL, CE, margin"]) == (0, 2, 2, 2)
