"""The compiled operators: torch's transforms, any layout and rate, bad input, NaN."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import hypothesis
import pytest
import torch
from conftest import draw
from engine import DIES, OPERATORS, N, arguments, by, decay, events, every_operator, same, swapped
from hypothesis import given
from hypothesis import strategies as st
from torch.func import grad, jacrev, vjp, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from neurorobust import kernels
from neurorobust.dynamics import DelayedSubtract, Dynamics, ToValue
from neurorobust.dynamics.surrogate import Triangle
from neurorobust.kernels import LifCoefficients, blocks, floored_operators, operators, window_operators
from neurorobust.kernels.numba_loops import project
from neurorobust.kernels.numba_loops import rows as row_loops


def one_by_one(function, args, dims):
    """The definition of vmap: the function at every die, stacked."""
    each = [function(*(a if dim is None else a[k] for a, dim in zip(args, dims))) for k in range(DIES)]
    return tuple(map(torch.stack, zip(*each))) if isinstance(each[0], tuple) else torch.stack(each)


@every_operator
def test_vmap_equals_the_loop(name):
    """Outputs and gradients, with one argument batched, all but one, or all, against the reference's loop over dies."""
    count, inputs = len(OPERATORS[name][1]), tuple(OPERATORS[name][2])
    weights = draw(99, *OPERATORS[name][0](*arguments(name)[1]).shape)
    for batched in itertools.product([False, True], repeat=count):
        if sum(batched) in (1, count - 1, count):
            function, args, dims = arguments(name, batched)
            gradients_of = grad(lambda *a, f=function: (weights * f(*a)).sum(), inputs)
            for f in (function, gradients_of):
                found = by("compiled", vmap(f, dims), *args)
                expected = by("reference", one_by_one, f, args, dims)
                for a, b in zip(found, expected, strict=True):
                    same(a, b)


@every_operator
def test_gradients_of_an_operator(name):
    """grad(vmap), vmap(vjp) of a cotangent that all dies share, and jacrev equal those of the reference."""
    function, args, _ = arguments(name, [True] * len(OPERATORS[name][1]))
    _, single, _ = arguments(name)
    weights = draw(99, *function(*single).shape)
    inputs = tuple(OPERATORS[name][2])
    for f, a in (
        (grad(lambda *p: (weights * vmap(function)(*p)).sum(), inputs), args),
        (vmap(lambda *p: vjp(function, *p)[1](weights)[: 1 + inputs[-1]]), args),
        (jacrev(lambda *p: function(*p)[-1], inputs), single),
    ):
        for found, expected in zip(by("compiled", f, *a), by("reference", f, *a), strict=True):
            same(found, expected)


@every_operator
def test_vmap_nests_and_takes_any_axis(name):
    """vmap of vmap, over the same argument and over another, and batches along the last axis, in and out."""
    function, args, _ = arguments(name, [True] * len(OPERATORS[name][1]))
    outer = (0, *(None,) * (len(args) - 1))
    inner = (None, *(0,) * (len(args) - 1))
    twice = [torch.stack([a, a.flip(0)]) for a in args]
    last = tuple(a.movedim(0, -1) for a in args)
    for f, a in (
        (vmap(vmap(function, inner), outer), args),
        (vmap(vmap(function, outer), inner), args),
        (vmap(vmap(function)), twice),
        (vmap(function, -1, 1), last),
    ):
        for found, expected in zip(by("compiled", f, *a), by("reference", f, *a), strict=True):
            same(found, expected)


@pytest.mark.parametrize("kind", ["autograd", "torch.func"])
@every_operator
def test_second_derivatives_are_refused(name, kind):
    """The message says that there is none and what to do, whichever way it is asked for."""
    function, args, _ = arguments(name)

    def loss(first):
        return function(first, *args[1:]).square().sum()

    with kernels.using("compiled"), pytest.raises(RuntimeError, match="no second derivative; set NEUROROBUST_KERNEL"):
        if kind == "torch.func":
            grad(lambda first: grad(loss)(first).square().sum())(args[0])
        else:
            first = args[0].requires_grad_()
            (gradient,) = torch.autograd.grad(loss(first), first, create_graph=True)
            torch.autograd.grad(gradient.square().sum(), first)


class Recorded(TorchDispatchMode):
    """Keeps a call of every custom operator for every choice of which of its tensors are empty."""

    def __init__(self):
        super().__init__()
        self.calls = {}

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        if op.namespace == "neurorobust":
            tensors = [isinstance(a, torch.Tensor) for a in args]
            kind = [min(len(a), 2) if is_tensor else bool(a) for a, is_tensor in zip(args, tensors)]
            self.calls[op, *kind] = op, [a.detach() if is_tensor else a for a, is_tensor in zip(args, tensors)]
        return op(*args, **(kwargs or {}))


def operator_calls():
    """Calls of every custom operator, of one die or of several."""
    recorded = Recorded()
    for name, batched in itertools.product(OPERATORS, [False, True]):
        function, args, dims = arguments(name, [batched] * len(OPERATORS[name][1]))
        for i in OPERATORS[name][2]:
            args[i].requires_grad_()
        with kernels.using("compiled"), recorded:
            (vmap(function, dims) if batched else function)(*args).square().sum().backward()
    return list(recorded.calls.values())


def test_operators_pass_opcheck():
    """torch.library.opcheck of every custom operator: schema, fake shapes and ahead-of-time tracing."""
    modules = operators, floored_operators, window_operators
    known = {op.overload for module in modules for op in vars(module).values() if hasattr(op, "overload")}
    calls = operator_calls()
    assert {op for op, _ in calls} == known and len(known) >= 6
    for op, args in calls:
        torch.library.opcheck(op, args)


# Linear: what it adds up depends on how much of the input is not 0.


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e17])
@pytest.mark.parametrize("spiking", [1, 2, 3, 4])
def test_weights_of_a_silent_neuron_do_not_matter(value, spiking):
    """Weights of a neuron that never spikes matter to nobody, however large they are and however many others spike."""
    weight = draw(3, 5, 5)
    weight[:, 4] = value
    current = torch.full((30, 3, 5), -50.0, dtype=torch.float64)
    current[..., :spiking] = 50 + 30 * draw(4, 30, 3, spiking)
    alpha = torch.full((5,), 0.9, dtype=torch.float64)
    numbers, dynamics = (
        LifCoefficients(alpha, 1 - alpha, torch.ones_like(alpha)),
        Dynamics(Triangle(), DelayedSubtract()),
    )
    with kernels.using("compiled"):
        found = kernels.lif(current, weight, numbers, dynamics)
        expected = kernels.lif(current, torch.where(torch.arange(5) == 4, 0.0, weight), numbers, dynamics)
    assert not found[..., 4].any() and found[..., :spiking].mean() > 0.3
    assert torch.equal(found, expected)


@given(
    seed=st.integers(0, 2**20),
    size=st.tuples(*(st.sampled_from([1, 2, 9, 33]),) * 2, *(st.sampled_from([1, 7, 40, 70]),) * 2),
    rate=st.sampled_from([0.0, 0.02, 0.2, 0.5, 1.0]),
    binary=st.booleans(),
    has_bias=st.booleans(),
    layout=st.sampled_from(["plain", "batch first", "every second"]),
)
@hypothesis.settings(max_examples=80)
def test_linear_equals_the_matrix_product(seed, size, rate, binary, has_bias, layout):
    """Output and gradients to 1e-10 of the largest entry, binary or weighted, from 0 to 100 % of it not 0."""
    steps, batch, n_in, n_out = size
    x = events(seed, rate, steps, batch, n_in)
    x = x if binary else x * draw(seed + 1, *x.shape)
    if layout == "batch first":
        x = x.transpose(0, 1).contiguous().transpose(0, 1)
    elif layout == "every second":
        x = torch.stack([x, x + 9], -1)[..., 0]
    leaves = [x, draw(seed + 2, n_out, n_in), draw(seed + 3, n_out)][: 2 + has_bias]
    for leaf in leaves:
        leaf.requires_grad_()
    weights = draw(seed + 4, steps, batch, n_out)

    def evaluated(*args):
        out = kernels.linear(*args, *(() if has_bias else (None,)))
        return (out.detach(), *torch.autograd.grad((weights * out).sum(), args))

    for found, expected in zip(by("compiled", evaluated, *leaves), by("reference", evaluated, *leaves), strict=True):
        same(found, expected)


@pytest.mark.parametrize(("rate", "sparse"), [(0.0, True), (0.02, True), (0.6, False), (1.0, False)])
@pytest.mark.parametrize("n_out", [8, 64, 300])
def test_the_rate_chooses_the_path(rate, sparse, n_out, monkeypatch):
    """Few events are gathered and scattered, many go through the matrix product; for few outputs, where neither pays,
    every number is multiplied, whatever the rate."""
    used = []
    for path in ("gather", "scatter", "skinny", "skinny_scatter"):
        loop = getattr(project, f"{path}_blocks")
        monkeypatch.setattr(project, f"{path}_blocks", lambda *a, loop=loop, path=path: used.append(path) or loop(*a))
    weight = draw(1, n_out, 70).requires_grad_()
    by("compiled", kernels.linear, events(0, rate, 40, 5, 70), weight, None)[0].sum().backward()
    few = {"skinny", "skinny_scatter"} if n_out == 8 else set()
    assert set(used) == (few or ({"gather", "scatter"} if sparse else set()))


@given(
    seed=st.integers(0, 2**20),
    size=st.tuples(
        st.sampled_from([1, 2, 20, row_loops.CHUNK - 1, row_loops.CHUNK, row_loops.CHUNK + 1, 2 * row_loops.CHUNK + 1]),
        st.sampled_from([1, 2, 17, 33]),
        st.sampled_from([1, 7, 40]),
        st.sampled_from([1, 3, 9, 16, 17, 33]),
    ),
    rate=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    binary=st.booleans(),
    given_too=st.sets(st.sampled_from(["bias", "recurrent", "gradient of x", "synapse", "adaptation", "to value"])),
    batch_first=st.booleans(),
    detach=st.booleans(),
)
@hypothesis.settings(max_examples=100)
def test_a_layer_equals_its_parts(seed, size, rate, binary, given_too, batch_first, detach):
    """Spikes exactly, gradients to 1e-10 of the largest entry, of a layer in one loop against the reference: sizes
    about the width of a vector and the steps for which gradients are collected, in blocks of a group of rows."""
    steps, batch, n_in, n = size
    x = events(seed, rate, steps, batch, n_in)
    x = x if binary else x * draw(seed + 1, *x.shape)
    x = x.transpose(0, 1).contiguous().transpose(0, 1) if batch_first else x
    leaves = {"x": x, "weight": draw(seed + 2, n, n_in), "alpha": decay(seed + 3, n), "v_threshold": decay(seed + 4, n)}
    leaves |= {"bias": draw(seed + 5, n)} if "bias" in given_too else {}
    leaves |= {"recurrent": 0.5 * draw(seed + 6, n, n)} if "recurrent" in given_too else {}
    leaves |= {"syn": decay(seed + 8, n)} if "synapse" in given_too else {}
    to_value = "to value" in given_too
    leaves |= {"v_reset": -0.1 * decay(seed + 9, n)} if to_value else {}
    adaptive = "adaptation" in given_too and not to_value
    leaves |= {"rho": decay(seed + 10, n), "adaptation": decay(seed + 11, n)} if adaptive else {}
    wanted = [value for name, value in leaves.items() if name != "x" or "gradient of x" in given_too]
    for value in wanted:
        value.requires_grad_()
    weights = draw(seed + 7, steps, batch, n)

    def evaluated():
        others = {name: leaves[name] for name in ("syn", "v_reset", "rho", "adaptation") if name in leaves}
        c = LifCoefficients(leaves["alpha"], 1 - leaves["alpha"], leaves["v_threshold"] / 3, **others)
        parts = (leaves["weight"], leaves.get("bias")), leaves.get("recurrent")
        reset = ToValue(detach) if to_value else DelayedSubtract(detach)
        spikes = kernels.lif_layer(x, *parts, c, Dynamics(Triangle(), reset))
        return (spikes.detach(), *torch.autograd.grad((weights * spikes).sum(), wanted))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "SMALLEST", 1)
        found, expected = by("compiled", evaluated), by("reference", evaluated)
    assert torch.equal(found[0], expected[0])
    for a, b in zip(found[1:], expected[1:], strict=True):
        same(a, b)


@pytest.mark.parametrize("batch", [64, 128, 256, 512])
@pytest.mark.parametrize("first", [0.0, 1.0])
def test_the_rate_is_that_of_all_steps(batch, first):
    """Sequences that begin in silence or with everything at once are not taken for such all through."""
    x = torch.full((batch, 100, 3), 1 - first)
    x[:, 0] = first
    assert row_loops.rate(x.reshape(-1, 3).numpy(), 256) == pytest.approx(x.mean().item(), abs=0.02)


def test_processors_without_the_instruction(tmp_path):
    """Positions of what is not 0 by a plain loop, where vectors cannot be compressed, NaN and −0 included; rows added
    up in fewer registers."""
    code = """
import numpy as np
from neurorobust.kernels.numba_loops import intrinsics
intrinsics.COMPRESSES, intrinsics.WIDE, intrinsics.add_block_wide = False, 4, intrinsics.add_block_4
from neurorobust.kernels.numba_loops import rows as loops
draw = np.random.default_rng(0)
for n in (0, 1, 15, 16, 17, 40):
    values = np.where(draw.random(n) < 0.4, draw.normal(size=n), -0.0)
    values[::7] = np.nan
    places = np.empty(n, np.int32)
    assert (places[: loops.positions(values, places)] == np.flatnonzero(values)).all()
for n in (16, 48, 80, 352, 37):
    rows, out, active = draw.normal(size=(9, n)), draw.normal(size=n), np.array([7, 0, 3, 8, 2], np.int32)
    expected = out + rows[active[:4]].sum(0)
    loops.add_rows(out, rows, active, 4)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=120)


MISFITS = {
    "lif": {1: [draw(0, 3, 3), draw(0, N, N).float()], 2: [decay(0, 3)], 3: [decay(0, 5)], 4: [decay(0, 3)]},
    "layer": {1: [draw(0, N, 28), draw(0, 3, 30)], 2: [draw(0, 3)], 3: [draw(0, 3, 3)], 4: [decay(0, 5)]},
    "integrator": {1: [decay(0, 5)], 2: [decay(0, 3)]},
    "sparse": {1: [draw(0, 5, 28), draw(0, 5, 30).float()], 2: [draw(0, 4)]},
    "dense": {1: [draw(0, 40, 28), draw(0, 40, 30).float()], 2: [draw(0, 39)]},
    "batch first": {1: [draw(0, 40, 28)], 2: [draw(0, 39)]},
}


@pytest.mark.parametrize("kernel", ["auto", "reference"])
@pytest.mark.parametrize(
    ("name", "which", "value"),
    [(name, which, value) for name, bad in MISFITS.items() for which, values in bad.items() for value in values],
    ids=lambda value: str(list(value.shape)) + str(value.dtype)[-2:] if isinstance(value, torch.Tensor) else None,
)
def test_arguments_that_do_not_fit_are_refused(name, which, value, kernel):
    """Shapes or types that disagree raise: a compiled loop would read beyond the end of an array."""
    function, args, _ = arguments(name)
    args[which] = value
    with kernels.using(kernel), pytest.raises((RuntimeError, ValueError, TypeError)):
        function(*args)


@every_operator
def test_an_empty_batch(name):
    """No samples: outputs and gradients of the reference, which are empty or 0."""
    function, args, _ = arguments(name)
    args[0] = args[0][:0] if function is swapped else args[0][:, :0]
    gradients_of = grad(lambda *a: function(*a).sum(), tuple(OPERATORS[name][2]))
    for f in (function, gradients_of):
        for found, expected in zip(by("compiled", f, *args), by("reference", f, *args), strict=True):
            assert torch.equal(found, expected)


@given(seed=st.integers(0, 2**20))
@every_operator
def test_not_a_number_gives_what_the_reference_gives(name, seed):
    """NaN in a tenth of the input: the outputs are those of the reference, NaN for NaN, and not those without it."""
    function, args, _ = arguments(name)
    (clean,) = by("reference", function, *args)
    args[0] = torch.where(events(seed, 0.1, *args[0].shape) > 0, torch.nan, args[0])
    (found,), (expected,) = by("compiled", function, *args), by("reference", function, *args)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12, equal_nan=True)
    assert not torch.equal(expected, clean)


@every_operator
def test_not_a_number_comes_out_of_the_gradient(name):
    """After a NaN in the input, what has a NaN in its gradient by the reference has one: none is lost in silence."""
    function, args, _ = arguments(name)
    args[0] = args[0].clone()
    args[0][2, 1, 0] = torch.nan
    gradients_of = grad(lambda *a: function(*a).square().sum(), tuple(OPERATORS[name][2]))
    found, expected = by("compiled", gradients_of, *args), by("reference", gradients_of, *args)
    lost = [i for i, (a, b) in enumerate(zip(found, expected)) if b.isnan().any() and not a.isnan().any()]
    assert lost == [] and any(g.isnan().any() for g in expected)
