"""Numbers of NumPy and torch as arguments, and tensors of every kind as data."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import neurorobust as nr
from neurorobust._util.errors import check_count, check_number, plain
from neurorobust._util.randomness import generator
from neurorobust.chip.encodings import Uniform
from neurorobust.chip.variability import LogNormal
from neurorobust.data import Data, Task
from neurorobust.dynamics import ToValue
from neurorobust.dynamics.surrogate import FastSigmoid
from neurorobust.nn import Linear
from neurorobust.nn.neurons import LeakyIntegrator

X = torch.randn(24, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()
INTEGERS = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]


# ---- arguments


@pytest.mark.parametrize("kind", [float, np.float16, np.float32, np.float64, np.longdouble], ids=repr)
def test_a_float_of_any_type_is_the_decimal_that_it_stands_for(kind):
    """0.1 in any number of bits, as a scalar or as an array without axes, is 0.1."""
    for value in (kind(0.1), np.array(kind(0.1))):
        found = check_number("level", value)
        assert type(found) is float and found == pytest.approx(0.1, abs=1e-17)
    assert plain(torch.tensor(0.1)) == plain(torch.tensor(0.1, dtype=torch.float64)) == 0.1
    assert check_number("level", nn.Parameter(torch.tensor(0.1))) == 0.1
    assert check_number("level", Fraction(1, 4)) == 0.25


@pytest.mark.parametrize("kind", INTEGERS, ids=repr)
def test_an_integer_of_any_type_is_an_int(kind):
    """A count, and a number."""
    for value in (kind(3), np.array(3, dtype=kind), torch.tensor(3)):
        assert type(check_count("n", value)) is int and check_count("n", value) == 3
        assert type(check_number("x", value)) is float and check_number("x", value) == 3


@pytest.mark.parametrize(
    "value",
    [True, np.True_, torch.tensor(True), "3", None, 1j, np.array([3]), torch.ones(1), [3], Decimal(3)],
    ids=repr,
)
def test_what_is_no_number_is_refused(value):
    """A bool, text, a complex number and an array with axes."""
    with pytest.raises(TypeError, match=r"x: got .*; expected a number ≥ 0\."):
        check_number("x", value)
    with pytest.raises(TypeError, match=r"x: got .*; expected an integer ≥ 1\."):
        check_count("x", value)


@pytest.mark.parametrize("value", [math.nan, np.float32("nan"), math.inf, -math.inf, torch.tensor(math.inf), 10**400])
def test_a_number_is_finite(value):
    """Also without a lower bound, and for an int beyond all floats."""
    for low in (0.0, -math.inf):
        with pytest.raises(ValueError, match=r"x: got .*; expected a finite number"):
            check_number("x", value, low=low)


@pytest.mark.parametrize("value", [3.0, np.float64(3), torch.tensor(3.0)])
def test_a_count_is_no_float(value):
    """A whole float is no count."""
    with pytest.raises(TypeError, match=r"n: got .*; expected an integer ≥ 1"):
        check_count("n", value)


def test_settings_of_numpy_are_the_same_settings():
    """Equal, printed alike, and JSON: a frozen dataclass holds Python's numbers."""
    for with_numpy, plainly in (
        (FastSigmoid(slope=np.float32(0.1), scaled=np.True_), FastSigmoid(slope=0.1, scaled=True)),
        (ToValue(np.False_), ToValue(False)),
        (LogNormal(np.float32(0.1)), LogNormal(0.1)),
        (Uniform(np.int64(4), np.float32(0.1)), Uniform(4, 0.1)),
        (nr.mismatch(np.float64(0.1)), nr.mismatch(0.1)),
    ):
        assert with_numpy == plainly and repr(with_numpy) == repr(plainly)
    assert json.dumps(asdict(FastSigmoid(np.int64(3)))) == json.dumps(asdict(FastSigmoid(3)))


def test_seeds_and_serials_of_numpy_are_the_same_dies():
    """The stream of np.int64(3) is that of 3, as a seed, as a purpose, and as a serial."""
    assert torch.equal(
        torch.rand(3, generator=generator(np.int64(3), "die", np.int32(5))),
        torch.rand(3, generator=generator(3, "die", 5)),
    )
    network, data, chip = nr.wrap(nn.Linear(6, 2)), Data(X, Y), nr.mismatch(0.3)
    found = nr.evaluate(network, data, nr.mismatch(np.float32(0.3)), n_dies=np.int64(4), seed=np.uint8(2))
    assert found.score.tolist() == nr.evaluate(network, data, chip, n_dies=4, seed=2).score.tolist()
    assert str(chip.fabricate(np.arange(3), np.int64(7))[2]) == str(chip.fabricate(range(3), 7)[2])
    with pytest.raises(TypeError, match=r"serial: got 0\.5"):
        chip.fabricate([0.5], 0)


def test_cores_are_whole_numbers():
    """Fractions are refused, not cut off; whole floats are cores."""
    layer = LeakyIntegrator(Linear(torch.ones(2, 3)), tau_mem=0.02, core=torch.tensor([0.0, 1.0]))
    assert layer.core.tolist() == [0, 1]
    for core in (torch.tensor([0.0, 1.5]), torch.tensor([0.0, math.nan]), torch.tensor([False, True])):
        with pytest.raises(ValueError, match=r"core: got values of type .*; expected integers"):
            LeakyIntegrator(Linear(torch.ones(2, 3)), tau_mem=0.02, core=core)
    with pytest.raises(TypeError, match="core: got a list; expected a tensor of integers"):
        LeakyIntegrator(Linear(torch.ones(2, 3)), tau_mem=0.02, core=[0, 1])


# ---- data


@pytest.mark.parametrize("kind", INTEGERS, ids=repr)
def test_labels_of_any_integer_type_give_the_same_numbers(kind):
    """As NumPy and HDF5 have them: int64 in the data; fleet, worst die and training as with int64."""
    rows = []
    for y in (Y, torch.from_numpy(Y.numpy().astype(kind))):
        torch.manual_seed(0)
        network, data = nr.wrap(nn.Linear(6, 2)), Data(X, y)
        assert data.y.dtype == torch.int64 and torch.equal(data.y, Y)
        task = Task("t", ("a", "b"), data, data, data, functional.cross_entropy)
        rows.append(
            (
                nr.evaluate(network, data, nr.mismatch(0.1), n_dies=2).score.tolist(),
                nr.worst_case(network, data, nr.Ball.uniform(0.1), nr.attacks.PGA(steps=2, objective="ce")).score,
                nr.fit(
                    network, task, functional.cross_entropy, epochs=1, schedule=nr.Schedule(batch_size=8)
                ).best_score,
                task.fingerprint,
            )
        )
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (X, -Y.to(torch.int8), "labels of type torch.int8, the smallest -1; expected integers from 0"),
        (X, Y.bool(), r"labels of type torch.bool; expected integers from 0: y\.long\(\)"),
        (X, Y.to(torch.complex64), "labels of type torch.complex64"),
        (torch.complex(X, X * math.nan), Y, "data x: 144 of 144 values are NaN"),
        (X, Y[:, None][:, :0], "got no samples"),
        (X.to("meta"), Y, "data x: got a meta tensor"),
        (torch.ones(()), torch.ones(()), r"got x of shape \(\)"),
    ],
)
def test_what_is_no_data_is_refused(x, y, said):
    """One sentence that names x or y."""
    with pytest.raises(ValueError, match=said):
        Data(x, y)


@pytest.mark.filterwarnings("ignore:.*nested tensors:UserWarning")
def test_nested_samples_are_refused():
    """Samples of different lengths, in either layout."""
    for layout in (torch.strided, torch.jagged):
        nested = torch.nested.nested_tensor([torch.ones(3, 2), torch.ones(5, 2)], layout=layout)
        with pytest.raises(
            ValueError, match=r"data x: got a nested tensor; expected .*torch\.nested\.to_padded_tensor"
        ):
            Data(nested, Y[:2])


@pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning")
def test_sparse_samples_and_labels_are_dense_ones():
    """COO and CSR: the values of the dense tensor."""
    for x in (X.to_sparse(), X.to_sparse_csr()):
        data = Data(x, Y.to_sparse())
        assert torch.equal(data.x, X) and torch.equal(data.y, Y)


def test_data_are_constants():
    """A tensor of inference mode, or one with a gradient, trains like any other; the caller's tensor stays as it is."""
    with torch.inference_mode():
        x = X + 0
        inside = Data(x, Y).x
    weight = torch.ones((), requires_grad=True)
    results = []
    for of in (X, x, inside, x.to_sparse(), weight * X):
        torch.manual_seed(0)
        data = Data(of, Y)
        assert not data.x.is_inference() and not data.x.requires_grad
        task = Task("t", ("a", "b"), data, data, data, functional.cross_entropy)
        network = nr.wrap(nn.Linear(6, 2))
        nr.fit(network, task, functional.cross_entropy, epochs=2)
        results.append(nn.utils.parameters_to_vector(network.parameters()).tolist())
    assert all(result == results[0] for result in results) and x.is_inference()


def test_a_recording_for_each_sample():
    """Signals for figures: as many as samples."""
    with pytest.raises(ValueError, match="data recording: got 3 signals; expected 24"):
        Data(X, Y, torch.ones(3, 10))


def test_a_task_is_made_of_data():
    """Tensors alone are refused by name."""
    with pytest.raises(TypeError, match=r"data: got a Tensor; expected nr\.data\.Data"):
        Task("t", ("a", "b"), X, Data(X, Y), Data(X, Y), functional.cross_entropy)
