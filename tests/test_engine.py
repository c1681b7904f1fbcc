"""The compiled engine as a whole: torch's transforms, any layout and rate, threads, processes, fleets, bad input."""

from __future__ import annotations

import ctypes
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import hypothesis
import numba
import numpy as np
import pytest
import torch
from conftest import DT, draw
from hypothesis import given
from hypothesis import strategies as st
from torch.func import functional_call, grad, jacrev, vjp, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from neurorobust import kernels
from neurorobust.core.placement import expand
from neurorobust.core.run import forward, nominal
from neurorobust.dynamics import DelayedSubtract, DelayedToValue, Dynamics, SnntorchSubtract, Subtract, ToValue
from neurorobust.dynamics.surrogate import Triangle
from neurorobust.kernels import LifCoefficients, blocks, operators
from neurorobust.kernels.numba_loops import intrinsics, jit, project
from neurorobust.kernels.numba_loops import rows as row_loops
from neurorobust.kernels.runtime import threads
from neurorobust.nn import fleet_run
from neurorobust.nn.connections import Conv1d, Linear
from neurorobust.nn.decoders import per_step
from neurorobust.nn.fleet_run import fleet_logits
from neurorobust.nn.network import Network, placement_of
from neurorobust.nn.neurons import AdaptiveLif, CubaLeakyIntegrator, CubaLif, LeakyIntegrator, Lif

STEPS, BATCH, N, DIES = 6, 3, 4, 3


def same(found, expected, tolerance=1e-10):
    """Assert equality to a fraction of the largest expected entry."""
    scale = expected.detach().abs().max().item() if expected.numel() else 0.0
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * scale + 1e-13)


def by(kernel, function, *args):
    """The results of a function by one kernel, as a tuple."""
    with kernels.using(kernel):
        result = function(*args)
    return result if isinstance(result, tuple) else (result,)


def spiking(current, recurrent, alpha, v_threshold, adaptation, refractory):
    """Spikes and membrane of an adaptive layer, side by side."""
    c = LifCoefficients(alpha, 1 - alpha, v_threshold, None, 0.1 * alpha, None, refractory, alpha, adaptation)
    return torch.cat(kernels.lif_trace(current, recurrent, c, Dynamics(Triangle(), DelayedSubtract())), -1)


def whole_layer(x, weight, bias, recurrent, alpha):
    """Spikes of a layer with its synapses."""
    c = LifCoefficients(alpha, 1 - alpha, alpha / 3, alpha / 2, v_reset=-0.1 * alpha)
    return kernels.lif_layer(x, (weight, bias), recurrent, c, Dynamics(Triangle(), ToValue()))


def swapped(x, weight, bias):
    """:func:`neurorobust.kernels.linear` of an input that lies in memory batch first."""
    return kernels.linear(x.transpose(0, 1), weight, bias)


def events(seed, rate, *shape):
    """Zeros and ones."""
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) < rate).double()


def decay(seed, *shape):
    return 0.8 + 0.1 * torch.sigmoid(draw(seed, *shape))


def synapses(rate, n_out):
    """Makers of an input, a weight and a bias."""
    return [
        lambda s, *d: events(s, rate, *d, STEPS, BATCH, 30),
        lambda s, *d: draw(s, *d, n_out, 30),
        lambda s, *d: draw(s, *d, n_out),
    ]


def recurrent_weight(s, *d):
    return 0.5 * draw(s, *d, N, N)


def per_neuron(s, *d):
    return decay(s, *d, N)


def currents(s, *d):
    return draw(s, *d, STEPS, BATCH, N) + 1


# Each operator, makers of its arguments (from a seed and leading dimensions), and which of these have a gradient.
OPERATORS = {
    "lif": (
        spiking,
        [
            currents,
            recurrent_weight,
            per_neuron,
            lambda s, *d: decay(s, *d, N) / 3,
            per_neuron,
            lambda s, *d: events(s, 0.5, *d, N),
        ],
        range(5),
    ),
    "layer": (whole_layer, [*synapses(0.1, N), recurrent_weight, per_neuron], range(5)),
    "layer of many events": (whole_layer, [*synapses(0.9, N), recurrent_weight, per_neuron], range(5)),
    "layer of the input": (whole_layer, [*synapses(0.1, N), recurrent_weight, per_neuron], range(1, 5)),
    "integrator": (kernels.leaky_integrator, [currents, per_neuron, per_neuron], range(3)),
    "sparse": (kernels.linear, synapses(0.05, 5), range(3)),
    "sparse wide": (kernels.linear, synapses(0.05, 40), range(3)),
    "dense": (kernels.linear, synapses(1.0, 40), range(3)),
    "batch first": (swapped, synapses(0.05, 40), range(3)),
}
every_operator = pytest.mark.parametrize("name", OPERATORS)


def arguments(name, batched=None):
    """The operator, its arguments, those in ``batched`` one for each die, and vmap's in_dims."""
    function, makers, _ = OPERATORS[name]
    batched = [False] * len(makers) if batched is None else batched
    args = [make(i, DIES) if is_batched else make(i) for i, (make, is_batched) in enumerate(zip(makers, batched))]
    return function, args, tuple(0 if is_batched else None for is_batched in batched)


def one_by_one(function, args, dims):
    """What vmap is: the function at every die, stacked."""
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
    known = {op for op in vars(operators).values() if isinstance(op, torch._ops.OpOverload)}
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


def test_the_key_of_compiled_code(tmp_path):
    """The key covers every file that is compiled: a change of any of them, its name too, gives another key."""
    files = sorted(jit.SOURCES.glob("*.py"))
    assert {"intrinsics.py", "lif.py", "lif_backward.py", "rows.py"} <= {path.name for path in files}
    for path in files:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    keys = {jit.digest_of(tmp_path)}
    assert keys == {jit.SOURCE_DIGEST}
    for path in files:
        with (tmp_path / path.name).open("a") as changed:
            changed.write("# changed\n")
        keys.add(jit.digest_of(tmp_path))
    (tmp_path / "rows.py").rename(tmp_path / "other.py")
    assert len(keys | {jit.digest_of(tmp_path)}) == len(files) + 2


CACHE_USE = """
from neurorobust.kernels.numba_loops import jit
jit.SOURCE_DIGEST = {digest}
import numpy as np
from neurorobust.kernels.numba_loops import rows
assert rows.rate(np.eye(4), 4) == 0.25
print(*(sum(getattr(rows.rate.stats, kind).values()) for kind in ("cache_hits", "cache_misses")))
"""


def test_processes_share_compiled_code(tmp_path):
    """The first process compiles; the second finds its code; one with other sources compiles again."""
    found = []
    for digest in ("jit.SOURCE_DIGEST", "jit.SOURCE_DIGEST", "'of other sources'"):
        code, environment = CACHE_USE.format(digest=digest), {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, check=True, env=environment, timeout=120, capture_output=True, text=True)
        found.append(done.stdout.strip())
    assert found == ["0 1", "1 0", "0 1"]


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


def test_an_error_of_a_loop_names_the_layer():
    """A parameter of the wrong shape deep in a network: the message, or a note to it, says in which layer."""
    net = NETWORKS["integrator"]
    for bad in ({"c.tau_syn": decay(0, 9)}, {"b.input.weight": draw(0, 5, 8)}, {"o.tau_mem": decay(0, 3)}):
        layer = next(iter(bad))[0]
        with pytest.raises((RuntimeError, ValueError, TypeError)) as caught:
            functional_call(net, nominal(net) | bad, (events(0, 0.3, 2, 5, 3),))
        told = " ".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
        assert f"'{layer}'" in told or f"{layer}." in told


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


# Networks and fleets.


def cores(n):
    return torch.arange(n) * 2 // n


def build(readout, **last):
    """Three spiking layers of all models, with skip connections, biases, masks, v_leak, refractory times per neuron."""
    hidden = {
        "a": AdaptiveLif(
            Linear(draw(1, 6, 3), 0.1 * draw(2, 6)),
            Linear(0.3 * draw(3, 6, 6), 0.1 * draw(4, 6), mask=draw(5, 6, 6) > 0),
            cores(6),
            tau_mem=0.02,
            tau_adapt=0.1,
            adaptation=0.5,
            v_threshold=torch.tensor([0.1, 0.12]).double(),
        ),
        "b": Lif(
            Linear(draw(6, 5, 9)), tau_mem=0.01, v_threshold=0.1, v_leak=0.02, v_reset=-0.05, t_ref=decay(7, 5) / 400
        ),
        "c": CubaLif(
            Linear(draw(8, 4, 11)),
            Linear(draw(9, 4, 4)),
            tau_mem=0.02,
            tau_syn=0.005,
            v_threshold=0.1,
            t_ref=torch.tensor([1e-4, 1e-3, 2e-3, 3e-3]).double(),
            r=2.0,
            reset=Subtract(),
        ),
    }
    inputs = {"b": ["a", "x"], "c": ["a", "b"], "o": ["c", "x", "a"]}
    output = readout(Linear(draw(10, 2, 13), draw(11, 2)), **last)
    return Network({**hidden, "o": output}, DT, inputs, decode=per_step)


NETWORKS = {
    "integrator": build(LeakyIntegrator, tau_mem=0.02, v_leak=0.3, r=2.0),
    "filtered integrator": build(CubaLeakyIntegrator, tau_mem=0.02, tau_syn=0.01, v_leak=-0.3),
    "spikes": build(Lif, tau_mem=0.02, v_threshold=0.1, reset=DelayedToValue()),
}


def dies_of(net, n, seed=0):
    """All parameters of n dies: every value moved by 20 %."""
    base = expand(nominal(net), placement_of(net))
    for k in range(n):
        yield {name: value * (1 + 0.2 * draw(seed + k, *value.shape).clamp(-3, 3)) for name, value in base.items()}


@pytest.mark.parametrize("weighted", [False, True], ids=["events", "weighted input"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_fleet_equals_its_dies(name, weighted):
    """The fleet against the layers, compiled and reference, at every step, to 1e-12 for 18 dies of 19 samples."""
    net = NETWORKS[name]
    x = events(1, 0.3, 19, 40, 3)
    x = x * draw(2, *x.shape) if weighted else x
    assert net.plan() is not None
    found = torch.stack(list(fleet_logits(net, dies_of(net, 18), x)))
    for kernel in ("compiled", "reference"):
        (expected,) = by(kernel, lambda: torch.stack([forward(net, die, x)[0] for die in dies_of(net, 18)]))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * expected.abs().max().item())
    outputs = net(x)[1]
    assert all(0.01 < outputs[layer].mean() < 0.9 for layer in "abc")


@pytest.mark.parametrize("n", [16, 33, 80, 340])
def test_a_fleet_of_any_width(n):
    """Layers of 1, 3, 4 + 1 and 16 + 4 + 2 vectors, which are added up in blocks of 16, 4 and 1, equal the reference to
    1e-12; a NaN in the input reaches the output of its own sample and no other."""
    hidden = Lif(Linear(draw(1, n, 3), 0.1 * draw(2, n)), Linear(0.1 * draw(3, n, n)), tau_mem=0.02, v_threshold=0.1)
    readout = LeakyIntegrator(Linear(draw(4, n, n + 3)), tau_mem=0.02)
    net = Network({"h": hidden, "o": readout}, DT, {"o": ["h", "x"]}, decode=per_step)
    x = events(1, 0.3, 5, 20, 3)
    assert 0.01 < net(x)[1]["h"].mean() < 0.9
    for found, die in zip(fleet_logits(net, dies_of(net, 2), x), dies_of(net, 2), strict=True):
        same(found, by("reference", lambda die=die: forward(net, die, x)[0].detach())[0], 1e-12)
    x[2, 4, 1] = torch.nan
    (broken,) = fleet_logits(net, dies_of(net, 1), x)
    assert broken.isnan().flatten(1).any(1).tolist() == [False, False, True, False, False]


def test_a_fleet_of_a_batch_first_or_strided_input():
    """The input's layout in memory makes no difference, bit for bit."""
    net, x = NETWORKS["integrator"], events(1, 0.3, 9, 40, 3)
    expected = list(fleet_logits(net, dies_of(net, 3), x))
    for laid_out in (x.transpose(0, 1).contiguous().transpose(0, 1), torch.stack([x, x], -1)[..., 0]):
        assert all(map(torch.equal, fleet_logits(net, dies_of(net, 3), laid_out), expected))


@pytest.mark.parametrize("at_once", [1, 3, 16])
def test_the_size_of_a_chunk_does_not_show(at_once, monkeypatch):
    """A die's logits have the same bits whatever dies go through the loop with it."""
    net, x = NETWORKS["integrator"], events(1, 0.3, 19, 40, 3)
    expected = list(fleet_logits(net, dies_of(net, 7), x))
    monkeypatch.setattr(fleet_run, "DIES_AT_ONCE", at_once)
    assert all(map(torch.equal, fleet_logits(net, dies_of(net, 7), x), expected))


def test_chunks_fit_into_memory(monkeypatch):
    """As many dies at a time as the free memory has room for, never none, never more than DIES_AT_ONCE; the same
    bits."""
    net, x, seen = NETWORKS["integrator"], events(1, 0.3, 12, 6, 3), []
    expected = list(fleet_logits(net, dies_of(net, 40), x))
    one = x.element_size() * (12 * 6 * net.layers()[net.names[-1]].n + sum(p.numel() for p in net.parameters()))
    outputs = kernels.fleet_outputs
    monkeypatch.setattr(kernels, "fleet_outputs", lambda dies, x: seen.append(len(dies)) or outputs(dies, x))
    for room, most in [(0, 1), (1, 1), (5.5, 5), (16, 16), (1000, 16)]:
        monkeypatch.setattr(fleet_run.memory, "available", lambda room=room: int(room * one * fleet_run.SHARE))
        assert all(map(torch.equal, fleet_logits(net, dies_of(net, 40), x), expected))
        assert sum(seen) == 40 and max(seen) == most
        seen.clear()


def test_a_fleet_streams():
    """Dies are taken as their results are asked for: the first result takes a chunk of them, not all hundred."""
    net, x, taken = NETWORKS["integrator"], events(1, 0.3, 2, 5, 3), []
    dies = (taken.append(k) or die for k, die in enumerate(dies_of(net, 100)))
    next(fleet_logits(net, dies, x))
    assert 1 <= len(taken) <= 32
    assert list(fleet_logits(net, [], x)) == []


class Doubled(LeakyIntegrator):
    """A neuron with a forward pass of its own."""

    def forward(self, x, dt):
        return 2 * super().forward(x, dt)


def conv():
    return Conv1d(draw(1, 2, 1, 3), (1, 3), padding=1)


REFUSED = {
    "a neuron of its own": {"o": Doubled(Linear(draw(0, 2, 3)), tau_mem=0.02)},
    "a convolution": {"o": LeakyIntegrator(conv(), tau_mem=0.02)},
    "an integrator in the middle": {
        "m": LeakyIntegrator(Linear(draw(0, 4, 3)), tau_mem=0.02),
        "o": LeakyIntegrator(Linear(draw(1, 2, 4)), tau_mem=0.02),
    },
    "snnTorch's subtraction": {
        "o": Lif(Linear(draw(0, 2, 3)), tau_mem=0.02, v_threshold=0.01, reset=SnntorchSubtract())
    },
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_fleet_cannot_take_runs_die_by_die(name):
    """Such a network has no plan and gives the bits of the forward pass; so does one forced to the reference."""
    net, x = Network(REFUSED[name], DT), events(1, 0.3, 4, 30, 3)
    assert net.plan() is None
    expected = [forward(net, die, x)[0] for die in dies_of(net, 3)]
    assert all(map(torch.equal, fleet_logits(net, dies_of(net, 3), x), expected))
    assert all(output.abs().sum() > 0 for output in expected)
    with kernels.using("reference"):
        assert NETWORKS["integrator"].plan() is None


def test_a_fleet_of_a_read_out_alone_or_of_single_neurons():
    """A network whose only layer is its read-out, and one with a single step, single sample, single neuron."""
    alone = Network({"o": LeakyIntegrator(Linear(draw(0, 1, 1)), tau_mem=0.02)}, DT, decode=per_step)
    pair = Network(
        {
            "h": Lif(Linear(draw(1, 1, 1)), tau_mem=0.02, v_threshold=0.01, reset=ToValue()),
            "o": LeakyIntegrator(Linear(draw(2, 1, 1)), tau_mem=0.02),
        },
        DT,
        decode=per_step,
    )
    for net, (batch, steps) in itertools.product((alone, pair), ((1, 1), (1, 7), (5, 1))):
        x = draw(3, batch, steps, 1)
        assert net.plan() is not None
        for found, die in zip(fleet_logits(net, dies_of(net, 3), x), dies_of(net, 3)):
            same(found, forward(net, die, x)[0].detach(), 1e-12)


def test_bad_input_of_a_fleet_is_refused():
    """A wrong number of channels, and a wrong type, by name, before any loop runs."""
    net = NETWORKS["integrator"]
    for x in (events(0, 0.3, 2, 5, 4), events(0, 0.3, 2, 5, 3).float(), events(0, 0.3, 2, 5, 3)[:, :0]):
        with pytest.raises((ValueError, TypeError), match="x: got"):
            next(fleet_logits(net, dies_of(net, 2), x))


def gradients(net, x, function):
    """Logits, and the gradient of Σ logits² in every parameter."""
    logits = function(x)[0]
    return logits.detach(), *torch.autograd.grad(logits.square().sum(), net.parameters())


def test_torch_compile_equals_eager():
    """torch.compile(fullgraph=True) of a recurrent network: logits and all gradients, to the order of a mean's sums."""
    hidden = NETWORKS["integrator"].get_submodule("a")
    readout = LeakyIntegrator(Linear(draw(0, 2, 6), draw(1, 2)), tau_mem=0.02, v_leak=0.1)
    net, x = Network({"hidden": hidden, "readout": readout}, DT), events(1, 0.3, 7, 10, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, of its tracing
        found = gradients(net, x, torch.compile(net, fullgraph=True, backend="aot_eager"))
    torch._dynamo.reset()
    for ours, eager in zip(found, gradients(net, x, net), strict=True):
        assert torch.allclose(ours, eager, rtol=1e-12, atol=1e-15)
    assert found[0].abs().sum() > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_functional_call_and_vmap_of_a_network(name):
    """vmap and vmap(grad) of functional_call(strict=True) over dies: output and gradients of the reference's loop."""
    net, x = NETWORKS[name], events(1, 0.3, 5, 20, 3)
    dies = list(dies_of(net, DIES))
    keep = [k for k in dies[0] if not k.endswith("t_ref")]  # without a gradient
    stacked = {k: torch.stack([die[k] for die in dies]) for k in keep}
    fixed = dict(net.named_buffers()) | {k: v for k, v in dies[0].items() if k not in keep}
    weights = draw(3, 5, 20, 2)

    def logits(params):
        return functional_call(net, params | fixed, (x,), strict=True)[0]

    gradients_of = grad(lambda params: (weights * logits(params)).sum())
    (found,) = by("compiled", vmap(logits), stacked)
    (found_gradients_of,) = by("compiled", vmap(gradients_of), stacked)
    for k in range(DIES):
        die = {name: value[k] for name, value in stacked.items()}
        same(found[k], by("reference", logits, die)[0])
        for name, expected in by("reference", gradients_of, die)[0].items():
            same(found_gradients_of[name][k], expected)


# Threads and processes.


def busy(seed=0):
    """Outputs and gradients of all loops, of a batch that fills more than one block, and of a fleet; no matrix
    product of torch's, which hangs in a forked process."""
    args = [make(seed + i) for i, make in enumerate(OPERATORS["lif"][1])]
    weight = draw(seed + 7, N, 30).requires_grad_()
    current = kernels.linear(events(seed, 0.02, 20, 37, 30), weight, None)
    spikes = spiking(current + 1, *args[1:])
    layer = whole_layer(events(seed + 1, 0.02, 20, 37, 30), weight, None, *args[1:3])
    out = kernels.leaky_integrator(spikes[..., :N] + layer, args[2].requires_grad_(), args[3])
    net = build(LeakyIntegrator, tau_mem=0.02)
    fleet = fleet_logits(net, dies_of(net, 3), events(1, 0.1, 37, 10, 3))
    return [out.detach(), *torch.autograd.grad(out.square().sum(), [weight, args[2]]), *fleet]


@pytest.fixture(params=["openmp", "own"])
def all_sizes_run_in_parallel(request, monkeypatch):
    """Work of any size goes to more than one thread, torch's or our own; torch's number of threads is put back."""
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "SMALL", 0)
    if request.param == "own":
        monkeypatch.setattr(threads, "openmp", lambda: (0, 0))
    elif not any(threads.openmp()):
        assert sys.platform != "linux" or not torch.backends.openmp.is_available()
        pytest.skip("torch runs on no OpenMP that can be called")
    yield
    torch.set_num_threads(before)


def test_bits_do_not_depend_on_threads(all_sizes_run_in_parallel):
    """Outputs and all gradients of every operator and of a fleet have the same bits with 1, 2 and 3 threads."""
    results = []
    for n in (1, 2, 3):
        torch.set_num_threads(n)
        results.append(busy())
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


LIBRARY = ctypes.windll.kernel32 if os.name == "nt" else ctypes.CDLL(None)
THREAD = LIBRARY.GetCurrentThreadId if os.name == "nt" else LIBRARY.pthread_self
REST = LIBRARY.Sleep if os.name == "nt" else LIBRARY.usleep
REST.restype, REST.argtypes = ctypes.c_int, (ctypes.c_uint,)
THREAD.restype, THREAD.argtypes = ctypes.c_size_t, ()


@numba.njit(nogil=True)
def mark(chip, block, low, high, done, who, meeting):
    """Notes who did what; the blocks of a meeting wait until all of it are at work, which takes as many threads."""
    for k in range(len(meeting)):
        if meeting[k] == 5 * chip + block:
            who[chip, block] = THREAD()
            for _ in range(20000):
                if np.all(who.reshape(-1)[meeting] != 0):
                    break
                REST(1000)  # µs, and ms on Windows
    who[chip, block] = THREAD()
    done[chip, block, low:high] += 1


@numba.njit(nogil=True)
def fail(chip, low, high, done, bad):
    """Cannot do one of its parts."""
    done[low] += 1
    if low == bad:
        raise ValueError


_marked, _failed = intrinsics.parallel_for(mark, True), intrinsics.parallel_for(fail, False)
PARTS = np.stack([np.arange(5) * 3, np.arange(5) * 3 + 3], 1)


@numba.njit(nogil=True)
def mark_blocks(team, chips, blocks, *rest):
    return _marked(team, chips, blocks, rest)


@numba.njit(nogil=True)
def fail_blocks(team, chips, blocks, *rest):
    return _failed(team, chips, blocks, rest)


@pytest.mark.parametrize("n", [1, 2])
def test_as_many_threads_as_torch_has(n, all_sizes_run_in_parallel):
    """n threads meet, so n work at once; no more than n ever do, the caller among them; every block is done once."""
    torch.set_num_threads(n)
    done, who = np.zeros((10, 5, 15), np.int64), np.zeros((10, 5), np.uint64)
    meeting = np.arange(n) * 50 // n  # where the stretches of the threads begin
    threads.run_parallel(lambda team: mark_blocks(team, 10, PARTS, done, who, meeting), 50, 10**9)
    assert (done.sum(0) == 10 * np.eye(5).repeat(3, 1)).all() and done.max() == 1
    assert len(set(who.reshape(-1))) == n and THREAD() in who
    assert torch.get_num_threads() == n


def test_small_work_stays_on_the_caller():
    """What is smaller than the price of a thread runs on none but the caller's."""
    before, done, who = torch.get_num_threads(), np.zeros((10, 5, 15), np.int64), np.zeros((10, 5), np.uint64)
    try:
        torch.set_num_threads(2)
        nobody = np.zeros(0, np.int64)
        threads.run_parallel(lambda team: mark_blocks(team, 10, PARTS, done, who, nobody), 50, threads.SMALL - 1)
    finally:
        torch.set_num_threads(before)
    assert (who == THREAD()).all() and done.sum() == 150


@pytest.mark.parametrize("n", [1, 2])
def test_a_block_that_fails_comes_out(n, all_sizes_run_in_parallel):
    """A block that cannot be done is an error of the caller's; the others are done, and the next call works."""
    torch.set_num_threads(n)
    for bad in (0, 6, 12):
        done = np.zeros(15, np.int64)
        with pytest.raises(MemoryError, match="a loop over"):
            threads.run_parallel(lambda team: fail_blocks(team, 1, PARTS, done, bad), 5, 10**9)  # noqa: B023
        assert done.sum() == 5
    threads.run_parallel(lambda team: fail_blocks(team, 1, PARTS, done, -1), 5, 10**9)
    assert done.sum() == 10


def test_calls_from_several_threads_do_not_mix(all_sizes_run_in_parallel):
    """Four threads of the user's own that call the engine at once each get the bits they get alone."""
    torch.set_num_threads(2)
    expected, found = {seed: busy(seed) for seed in range(4)}, {}
    users = [threading.Thread(target=lambda s=s: found.update({s: busy(s)}), daemon=True) for s in range(4)]
    for user in users:
        user.start()
    for user in users:
        user.join(60)
    assert found.keys() == expected.keys()
    assert all(all(map(torch.equal, found[seed], expected[seed])) for seed in found)


def child(results, seed, own):
    """Run in a worker: the engine on two threads, of our own or whatever there are."""
    torch.set_num_threads(2)
    threads.SMALL = 0
    if own:
        threads.openmp = lambda: (0, 0)
    results.put([value.detach().tolist() for value in busy(seed)])


@pytest.mark.filterwarnings("ignore:os.fork")  # JAX's, where a benchmark's peer has been imported
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_do_not_deadlock(method, all_sizes_run_in_parallel):
    """A worker started after the parent has used its threads does the same work, and ends, within half a minute."""
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this system")
    torch.set_num_threads(2)
    expected = [value.tolist() for value in busy()]
    context = multiprocessing.get_context(method)
    results = context.Queue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python ≥ 3.12: a fork beside threads may deadlock
        worker = context.Process(target=child, args=(results, 0, not any(threads.openmp())), daemon=True)
        worker.start()
    try:
        assert results.get(timeout=30) == expected
        worker.join(10)
        assert worker.exitcode == 0
    finally:
        worker.kill()


# Where compiled code is kept.


def writable(monkeypatch, tmp_path, *folders):
    """A home and a folder of temporary files of the test's own, and nothing writable but ``folders``."""
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    (home / ".cache").mkdir(parents=True)
    temporary.mkdir()
    monkeypatch.setattr(jit.tempfile, "gettempdir", lambda: str(temporary))
    monkeypatch.setattr(jit.tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("HOME", str(home))
    allowed = {str(home if folder == "home" else folder) for folder in folders}
    monkeypatch.setattr(jit.os, "access", lambda path, mode: str(path) in allowed)
    return temporary


OWN = Path(jit.__file__).parent


@pytest.mark.parametrize("folders", [(OWN / "__pycache__", OWN), ("home/.cache",)], ids=["package", "home"])
def test_cache_where_numba_puts_it(folders, monkeypatch, tmp_path):
    """Nothing is chosen where the package's own folder, or the user's cache, can be written to."""
    writable(monkeypatch, tmp_path, *(tmp_path / f if isinstance(f, str) else f for f in folders))
    assert jit.cache_folder() == ""


@pytest.mark.parametrize("extra", [(), ("home",)], ids=["read-only home", "read-only cache in a home"])
def test_cache_of_a_read_only_home(extra, monkeypatch, tmp_path):
    """A private folder among the temporary ones, the same at every call; also where only ~/.cache is read-only, which
    is where numba would write."""
    temporary = writable(monkeypatch, tmp_path, *extra)
    folder = Path(jit.cache_folder())
    assert folder.parent == temporary
    assert folder.stat().st_mode & 0o777 == 0o700
    assert jit.cache_folder() == str(folder)


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions are POSIX's")
@pytest.mark.parametrize("planted", ["open folder", "link", "file"])
def test_a_planted_cache_is_not_used(planted, monkeypatch, tmp_path):
    """Another's folder, link or file of that name could hold another's code: a fresh private folder is made."""
    temporary = writable(monkeypatch, tmp_path)
    usual = Path(jit.cache_folder())
    usual.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    if planted == "open folder":
        usual.mkdir()
        usual.chmod(0o777)
    elif planted == "link":
        usual.symlink_to(tmp_path / "elsewhere")
    else:
        usual.touch()
    folder = Path(jit.cache_folder())
    assert folder != usual and folder.parent == temporary
    assert folder.stat().st_mode & 0o777 == 0o700


def test_cache_of_a_user_without_a_home(monkeypatch, tmp_path):
    """A user id that no one knows, as in a container, has no home: the temporary folder is used."""
    temporary = writable(monkeypatch, tmp_path)

    def no_home(*_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(jit.Path, "home", no_home)
    assert Path(jit.cache_folder()).parent == temporary


# In a fresh process, where no test has been before.

FRESH = """
import json, resource, sys
import torch
torch.set_num_threads(1)
import neurorobust as nr
found = {"imported": [name for name in ("numba", "neurorobust.kernels.numba_loops.rows") if name in sys.modules]}
from neurorobust import kernels
from neurorobust.nn.connections import Linear
from neurorobust.nn.neurons import Lif, LeakyIntegrator
from neurorobust.nn.fleet_run import fleet_logits

generator = torch.Generator().manual_seed(0)
def draw(*shape):
    return torch.randn(shape, generator=generator, dtype=torch.float64)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
def now():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20
net = nr.Network({
    "hidden": Lif(Linear(draw(64, 16)), Linear(0.1 * draw(64, 64)), tau_mem=0.02, v_threshold=0.1),
    "readout": LeakyIntegrator(Linear(draw(2, 64)), tau_mem=0.02),
}, 1e-3)

def step():
    net.zero_grad()
    net((draw(8, 50, 16) > 1).double())[0].square().sum().backward()
for _ in range(20):
    step()
found["threads"] = torch.get_num_threads()
before = now()
for _ in range(200):
    step()
found["leak"] = now() - before

wide = nr.Network({
    "hidden": Lif(Linear(draw(64, 512)), tau_mem=0.02, v_threshold=0.1),
    "readout": LeakyIntegrator(Linear(draw(2, 64)), tau_mem=0.02),
}, 1e-3)
x = (draw(20, 100, 512) > 2).double()
def dies(n):
    for _ in range(n):
        yield {name: value * (1 + 0.1 * draw(*value.shape).clamp(-3, 3)) for name, value in nr.nominal(wide).items()}
for n, name in ((16, "few"), (160, "many")):
    for _ in fleet_logits(wide, dies(n), x):
        pass
    found[name] = peak()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def fresh():
    """What a process of its own found, in MiB."""
    environment = {key: value for key, value in os.environ.items() if key != "NEUROROBUST_KERNEL"}
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


BROKEN = """
import json, sys, warnings
sys.modules["numba"] = None  # an import of it fails
import torch
import neurorobust as nr
from neurorobust import kernels
from neurorobust.nn.connections import Linear
from neurorobust.nn.neurons import Lif
net = nr.Network({"out": Lif(Linear(torch.randn(3, 4)), tau_mem=0.02, v_threshold=0.01)}, 1e-3)
x, found = (torch.rand(2, 9, 4) < 0.3).float(), {}
def run():
    logits = net(x)[0]
    logits.sum().backward()
    list(nr.nn.fleet_run.fleet_logits(net, [nr.nominal(net)], x))
    return logits
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    logits = run()
    run()
    found["about"] = kernels.describe()
found["warnings"] = [str(warning.message) for warning in seen]
with kernels.using("reference"):
    found["same"] = torch.equal(logits, run())
try:
    with kernels.using("compiled"):
        run()
except ImportError as error:
    found["error"], found["cause"] = str(error), type(error.__cause__).__name__
print(json.dumps(found))
"""


def test_without_numba_the_reference_runs():
    """One warning with the cause, the reference's results, and ``describe`` says so; asked for by name, it raises."""
    environment = {key: value for key, value in os.environ.items() if key != "NEUROROBUST_KERNEL"}
    command = [sys.executable, "-c", BROKEN]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (warning,) = found["warnings"]
    assert "ModuleNotFoundError" in warning and "numba" in warning and "many times slower" in warning
    assert found["about"]["in use"] == "reference" and "ModuleNotFoundError" in found["about"]["why"]
    assert found["same"] and found["cause"] == "ModuleNotFoundError" and "NEUROROBUST_KERNEL=compiled" in found["error"]


linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")


@linux
def test_nothing_is_compiled_at_import(fresh):
    """``import neurorobust`` loads neither numba nor the loops."""
    assert fresh["imported"] == []


@linux
def test_the_engine_leaves_torchs_threads_alone(fresh):
    """torch.set_num_threads(1) still holds after compiled loops ran."""
    assert fresh["threads"] == 1


@linux
def test_no_leak_over_a_thousand_calls(fresh):
    """200 training steps, 1200 calls of operators that allocate 80 MB for spikes and membranes, leave less than 8."""
    assert fresh["leak"] < 8


@linux
def test_a_large_fleet_needs_no_more_memory_than_a_small_one(fresh):
    """The peak of 160 dies is within 16 MiB of that of 16; all their weights are 42 MB, their spikes 160."""
    assert fresh["many"] - fresh["few"] < 16
