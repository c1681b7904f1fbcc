"""The same time loops compiled for the CPU by numba: one pass over time, parallel over batch rows.

A spike adds a row of the recurrent matrix (event-driven, forward and in the weight gradient), and the backward
recurrent product is computed only where the surrogate is non-zero. Rows are grouped in a fixed number of blocks whose
partial sums are added in a fixed order, so results do not depend on the number of threads.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from ..surrogate import ArcTan, FastSigmoid, Surrogate, Triangle
from .interface import Coefficients, LifCoefficients
from .reset import DelayedSubtract, DelayedToValue, Dynamics, Subtract, ToValue

BLOCKS = 16
_FAST = {"contract", "reassoc", "nsz", "arcp"}


@njit(parallel=True, cache=True, fastmath=_FAST)
def _spikes(current, recurrent_t, coefficients, refractory, spikes, v_trace, b_trace):
    steps, batch, n = current.shape
    alpha, gain, rho, adaptation, threshold = coefficients
    keep = v_trace.shape[0] > 0
    zero = current.dtype.type(0)
    one = current.dtype.type(1)
    for row in prange(batch):
        v = np.zeros(n, current.dtype)
        b = np.zeros(n, current.dtype)
        z = np.zeros(n, current.dtype)
        drive = np.empty(n, current.dtype)
        silent = np.zeros(n, np.int32)
        active = np.empty(n, np.int32)
        n_active = 0
        for t in range(steps):
            for i in range(n):
                drive[i] = current[t, row, i]
            for k in range(n_active):
                source = active[k]
                for i in range(n):
                    drive[i] += recurrent_t[source, i]
            for i in range(n):
                b[i] = rho[i] * b[i] + (one - rho[i]) * z[i]
                bound = threshold[i] + adaptation[i] * b[i]
                v[i] = alpha[i] * v[i] + gain[i] * drive[i] - z[i] * bound
                fires = v[i] > bound and silent[i] <= 0
                z[i] = one if fires else zero
                silent[i] = refractory if fires else silent[i] - 1
                spikes[t, row, i] = z[i]
            if keep:
                for i in range(n):
                    v_trace[t, row, i] = v[i]
                    b_trace[t, row, i] = b[i]
            n_active = 0
            if recurrent_t.shape[0] > 0:
                for i in range(n):
                    if z[i] > zero:
                        active[n_active] = i
                        n_active += 1


@njit(parallel=True, cache=True, fastmath=_FAST)
def _spikes_backward(gradient, spikes, traces, recurrent_t, coefficients, refractory, half_scale, grads):
    steps, batch, n = gradient.shape
    v_trace, b_trace = traces
    g_current, g_coefficients, g_recurrent_t = grads
    alpha, gain, rho, adaptation, threshold = coefficients
    blocks = g_recurrent_t.shape[0]
    has_recurrent = recurrent_t.shape[0] > 0
    zero = gradient.dtype.type(0)
    one = gradient.dtype.type(1)
    for block in prange(blocks):
        lam_v = np.empty(n, gradient.dtype)
        lam_b = np.empty(n, gradient.dtype)
        g_drive = np.empty(n, gradient.dtype)
        g_spike = np.empty(n, gradient.dtype)
        g_bound = np.empty(n, gradient.dtype)
        through = np.empty(n, gradient.dtype)
        bound = np.empty(n, gradient.dtype)
        slope = np.empty(n, gradient.dtype)
        at_rest = np.zeros(n, gradient.dtype)
        sums = np.zeros((5, n), gradient.dtype)
        for row in range(block * batch // blocks, (block + 1) * batch // blocks):
            lam_v[:] = zero
            lam_b[:] = zero
            g_drive[:] = zero
            g_spike[:] = zero
            for t in range(steps - 1, -1, -1):
                z_before = spikes[t - 1, row] if t > 0 else at_rest
                v_before = v_trace[t - 1, row] if t > 0 else at_rest
                b_before = b_trace[t - 1, row] if t > 0 else at_rest
                v, b = v_trace[t, row], b_trace[t, row]
                # Short loops over few arrays each: LLVM vectorizes these, and would not one long one.
                for i in range(n):
                    bound[i] = threshold[i] + adaptation[i] * b[i]
                for i in range(n):
                    inside = one - abs(v[i] / bound[i] - one)
                    slope[i] = half_scale * (inside + abs(inside)) / bound[i]
                for back in range(1, min(refractory, t) + 1):
                    z_back = spikes[t - back, row]
                    for i in range(n):
                        slope[i] *= one - z_back[i]
                for i in range(n):
                    g_spike[i] += gradient[t, row, i]
                if has_recurrent:
                    for i in range(n):
                        if slope[i] > zero:
                            g_recurrent = zero
                            for k in range(n):
                                g_recurrent += recurrent_t[i, k] * g_drive[k]
                            g_spike[i] += g_recurrent
                for i in range(n):
                    through[i] = g_spike[i] * slope[i]
                    lam_v[i] = alpha[i] * lam_v[i] + through[i]
                for i in range(n):
                    g_bound[i] = -through[i] * v[i] / bound[i] - z_before[i] * lam_v[i]
                for i in range(n):
                    lam_b[i] = rho[i] * lam_b[i] + adaptation[i] * g_bound[i]
                for i in range(n):
                    sums[0, i] += lam_v[i] * v_before[i]
                for i in range(n):
                    sums[1, i] += lam_v[i] * (v[i] + z_before[i] * bound[i])
                for i in range(n):
                    sums[2, i] += lam_b[i] * (b_before[i] - z_before[i])
                for i in range(n):
                    sums[3, i] += g_bound[i] * b[i]
                    sums[4, i] += g_bound[i]
                for i in range(n):
                    g_spike[i] = (one - rho[i]) * lam_b[i] - bound[i] * lam_v[i]
                for i in range(n):
                    g_drive[i] = gain[i] * lam_v[i]
                    g_current[t, row, i] = g_drive[i]
                if has_recurrent:
                    for j in range(n):
                        if z_before[j] > zero:
                            for i in range(n):
                                g_recurrent_t[block, j, i] += g_drive[i]
        for i in range(n):
            # gain · drive[t] = v[t] − alpha v[t−1] + z[t−1] ϑ[t], so the drive need not be kept.
            sums[1, i] = (sums[1, i] - alpha[i] * sums[0, i]) / gain[i]
        for k in range(5):
            for i in range(n):
                g_coefficients[block, k, i] = sums[k, i]


@njit(parallel=True, cache=True, fastmath=_FAST)
def _lif(current, recurrent_t, coefficients, refractory, to_value, traces):
    for row in prange(current.shape[1]):
        _lif_row(row, current, recurrent_t, coefficients, refractory, to_value, traces)


# The work of one row is a function of its own, so that numba's passes for parallel loops do not run over it.
@njit(cache=True, fastmath=_FAST)
def _lif_row(row, current, recurrent_t, coefficients, refractory, to_value, traces):
    steps, _, n = current.shape
    spikes, x_trace, s_trace = traces
    alpha, gain, syn, bound, _, jump, target = coefficients
    keep = s_trace.shape[0] > 0
    zero = current.dtype.type(0)
    one = current.dtype.type(1)
    x = np.zeros(n, current.dtype)
    s = np.zeros(n, current.dtype)
    z = np.zeros(n, current.dtype)
    drive = np.empty(n, current.dtype)
    silent = np.zeros(n, np.int64)
    active = np.empty(n, np.int32)
    n_active = 0
    for t in range(steps):
        for i in range(n):
            drive[i] = current[t, row, i]
        for k in range(n_active):
            source = active[k]
            for i in range(n):
                drive[i] += recurrent_t[source, i]
        if to_value:
            for i in range(n):
                x[i] = target[i] if z[i] > zero else x[i]
        for i in range(n):
            s[i] = syn[i] * s[i] + drive[i]
            x[i] = alpha[i] * x[i] + gain[i] * s[i] - z[i] * jump[i]
        for i in range(n):
            fires = x[i] > bound[i] and silent[i] <= 0
            z[i] = one if fires else zero
            silent[i] = refractory[i] if fires else silent[i] - 1
            spikes[t, row, i] = z[i]
            x_trace[t, row, i] = x[i]
        if keep:
            for i in range(n):
                s_trace[t, row, i] = s[i]
        n_active = 0
        if recurrent_t.shape[0] > 0:
            for i in range(n):
                if z[i] > zero:
                    active[n_active] = i
                    n_active += 1


@njit(parallel=True, cache=True, fastmath=_FAST)
def _lif_backward(gradients, traces, recurrent_t, coefficients, refractory, rules, width, grads):
    for block in prange(grads[2].shape[0]):
        _lif_backward_block(block, gradients, traces, recurrent_t, coefficients, refractory, rules, width, grads)


@njit(cache=True, fastmath=_FAST)
def _lif_backward_block(block, gradients, traces, recurrent_t, coefficients, refractory, rules, width, grads):
    g_spikes, g_x = gradients
    spikes, x_trace, s_trace = traces
    g_current, g_coefficients, g_recurrent_t = grads
    alpha, gain, syn, bound, scale, jump, target = coefficients
    surrogate, to_value, detach = rules
    steps, batch, n = g_spikes.shape
    blocks = g_recurrent_t.shape[0]
    has_recurrent = recurrent_t.shape[0] > 0
    longest = refractory.max()
    zero = g_spikes.dtype.type(0)
    one = g_spikes.dtype.type(1)
    half = g_spikes.dtype.type(0.5)
    inverse_pi = g_spikes.dtype.type(1 / math.pi)
    lam = np.empty(n, g_spikes.dtype)  # dL/dx, dL/ds, and dL/dz through the reset of the step after
    g_drive = np.empty(n, g_spikes.dtype)
    g_reset = np.empty(n, g_spikes.dtype)
    g_z = np.empty(n, g_spikes.dtype)
    u = np.empty(n, g_spikes.dtype)
    slope = np.empty(n, g_spikes.dtype)
    at_rest = np.zeros(n, g_spikes.dtype)
    sums = np.zeros((7, n), g_spikes.dtype)
    for row in range(block * batch // blocks, (block + 1) * batch // blocks):
        lam[:] = zero
        g_drive[:] = zero
        g_reset[:] = zero
        for t in range(steps - 1, -1, -1):
            z, x, s = spikes[t, row], x_trace[t, row], s_trace[t, row]
            z_before = spikes[t - 1, row] if t > 0 else at_rest
            x_before = x_trace[t - 1, row] if t > 0 else at_rest
            s_before = s_trace[t - 1, row] if t > 0 else at_rest
            for i in range(n):
                u[i] = (x[i] - bound[i]) / scale[i]
            # slope is dz/dx, so it holds the 1/scale of du/dx.
            if surrogate == 0:
                for i in range(n):
                    inside = one - abs(u[i])
                    slope[i] = width * half * (inside + abs(inside)) / scale[i]
            elif surrogate == 1:
                for i in range(n):
                    outside = one + width * abs(u[i])
                    slope[i] = one / (outside * outside * scale[i])
            else:
                for i in range(n):
                    slope[i] = inverse_pi * width / ((one + width * width * u[i] * u[i]) * scale[i])
            for back in range(1, min(longest, t) + 1):
                for i in range(n):
                    if back <= refractory[i]:
                        slope[i] *= one - spikes[t - back, row, i]
            for i in range(n):
                g_z[i] = g_spikes[t, row, i] + g_reset[i]
            if has_recurrent:
                for i in range(n):
                    if slope[i] > zero:
                        g_recurrent = zero
                        for k in range(n):
                            g_recurrent += recurrent_t[i, k] * g_drive[k]
                        g_z[i] += g_recurrent
            if to_value:
                for i in range(n):
                    lam[i] *= one - z[i]
            for i in range(n):
                through = g_z[i] * slope[i]
                lam[i] = alpha[i] * lam[i] + through + g_x[t, row, i]
                sums[3, i] -= through
                sums[4, i] -= through * u[i]
            for i in range(n):
                g_drive[i] = gain[i] * lam[i] + syn[i] * g_drive[i]
                g_current[t, row, i] = g_drive[i]
            for i in range(n):
                sums[1, i] += lam[i] * s[i]
                sums[2, i] += g_drive[i] * s_before[i]
                sums[5, i] -= lam[i] * z_before[i]
            if to_value:
                for i in range(n):
                    missing = target[i] - x_before[i]
                    sums[0, i] += lam[i] * (x_before[i] + z_before[i] * missing)
                    sums[6, i] += lam[i] * z_before[i] * alpha[i]
                    g_reset[i] = zero if detach else lam[i] * alpha[i] * missing
            else:
                for i in range(n):
                    sums[0, i] += lam[i] * x_before[i]
                    g_reset[i] = zero if detach else -lam[i] * jump[i]
            if has_recurrent:
                for j in range(n):
                    if z_before[j] > zero:
                        for i in range(n):
                            g_recurrent_t[block, j, i] += g_drive[i]
    for k in range(7):
        for i in range(n):
            g_coefficients[block, k, i] = sums[k, i]


@njit(parallel=True, cache=True, fastmath=_FAST)
def _filter(current, alpha, gain, trace):
    steps, batch, n = current.shape
    for row in prange(batch):
        for i in range(n):
            v = current.dtype.type(0)
            for t in range(steps):
                v = alpha[i] * v + gain[i] * current[t, row, i]
                trace[t, row, i] = v


@njit(parallel=True, cache=True, fastmath=_FAST)
def _filter_backward(gradient, current, trace, alpha, gain, g_current, g_rows):
    steps, batch, n = gradient.shape
    for row in prange(batch):
        for i in range(n):
            lam = gradient.dtype.type(0)
            for t in range(steps - 1, -1, -1):
                lam = alpha[i] * lam + gradient[t, row, i]
                g_current[t, row, i] = gain[i] * lam
                if t > 0:
                    g_rows[0, row, i] += lam * trace[t - 1, row, i]
                g_rows[1, row, i] += lam * current[t, row, i]


def _follow_torch_threads() -> None:
    threads = torch.get_num_threads()
    numba.set_num_threads(max(1, min(threads, numba.config.NUMBA_NUM_THREADS)))
    if torch.get_num_threads() != threads:  # starting numba's OpenMP pool resets torch's
        torch.set_num_threads(threads)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


class _AdaptiveLif(torch.autograd.Function):
    @staticmethod
    def forward(current, recurrent, alpha, gain, rho, adaptation, v_threshold, scale, refractory, keep):
        _follow_torch_threads()
        coefficients = tuple(_array(c) for c in (alpha, gain, rho, adaptation, v_threshold))
        recurrent_t = _array(recurrent.T) if recurrent is not None else np.empty((0, 0), _array(alpha).dtype)
        spikes = torch.empty(current.shape, dtype=current.dtype)
        traces = [torch.empty(current.shape if keep else (0, 0, 0), dtype=current.dtype) for _ in range(2)]
        _spikes(
            _array(current), recurrent_t, coefficients, refractory, spikes.numpy(), traces[0].numpy(), traces[1].numpy()
        )
        return spikes, *traces

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, recurrent, *coefficients, ctx.scale, ctx.refractory, _ = inputs
        ctx.has_recurrent = recurrent is not None
        ctx.save_for_backward(*output, *coefficients, *([recurrent] if recurrent is not None else []))
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient, *_):
        if gradient is None:
            return (None,) * 10
        _follow_torch_threads()
        spikes, v_trace, b_trace, *rest = ctx.saved_tensors
        coefficients = tuple(_array(c) for c in rest[:5])
        n, dtype = gradient.shape[-1], coefficients[0].dtype
        recurrent_t = _array(rest[5].T) if ctx.has_recurrent else np.empty((0, 0), dtype)
        blocks = min(BLOCKS, gradient.shape[1])
        g_current = torch.empty_like(spikes)
        g_coefficients = np.zeros((blocks, 5, n), dtype)
        g_recurrent_t = np.zeros((blocks, *recurrent_t.shape), dtype)
        _spikes_backward(
            _array(gradient),
            spikes.numpy(),
            (v_trace.numpy(), b_trace.numpy()),
            recurrent_t,
            coefficients,
            ctx.refractory,
            spikes.numpy().dtype.type(ctx.scale / 2),
            (g_current.numpy(), g_coefficients, g_recurrent_t),
        )
        g_recurrent = torch.from_numpy(g_recurrent_t.sum(0)).T if ctx.has_recurrent else None
        return g_current, g_recurrent, *torch.from_numpy(g_coefficients.sum(0)), None, None, None


class _Lif(torch.autograd.Function):
    """Spikes and x = v − v_leak; coefficients are alpha, gain, syn, bound, scale, jump and target, see :func:`lif`."""

    @staticmethod
    def forward(current, recurrent, refractory, rules, width, keep, *coefficients):
        _follow_torch_threads()
        arrays = tuple(_array(c) for c in coefficients)
        recurrent_t = _array(recurrent.T) if recurrent is not None else np.empty((0, 0), arrays[0].dtype)
        spikes, x_trace = (
            torch.empty(current.shape, dtype=current.dtype),
            torch.empty(current.shape, dtype=current.dtype),
        )
        s_trace = torch.empty(current.shape if keep else (0, 0, 0), dtype=current.dtype)
        traces = (spikes.numpy(), x_trace.numpy(), s_trace.numpy())
        _lif(_array(current), recurrent_t, arrays, refractory, rules[1], traces)
        return spikes, x_trace, s_trace

    @staticmethod
    def setup_context(ctx, inputs, output):
        _, recurrent, ctx.refractory, ctx.rules, ctx.width, _, *coefficients = inputs
        ctx.has_recurrent = recurrent is not None
        ctx.save_for_backward(*output, *coefficients, *([recurrent] if recurrent is not None else []))
        ctx.mark_non_differentiable(output[2])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g_spikes, g_x, _):
        _follow_torch_threads()
        spikes, x_trace, s_trace, *rest = ctx.saved_tensors
        coefficients = tuple(_array(c) for c in rest[:7])
        n, dtype = spikes.shape[-1], coefficients[0].dtype
        recurrent_t = _array(rest[7].T) if ctx.has_recurrent else np.empty((0, 0), dtype)
        blocks = min(BLOCKS, spikes.shape[1])
        g_current = torch.empty(spikes.shape, dtype=spikes.dtype)
        g_coefficients = np.zeros((blocks, 7, n), dtype)
        g_recurrent_t = np.zeros((blocks, *recurrent_t.shape), dtype)
        _lif_backward(
            (_array(g_spikes), _array(g_x)),
            (spikes.numpy(), x_trace.numpy(), s_trace.numpy()),
            recurrent_t,
            coefficients,
            ctx.refractory,
            ctx.rules,
            dtype.type(ctx.width),
            (g_current.numpy(), g_coefficients, g_recurrent_t),
        )
        g_recurrent = torch.from_numpy(g_recurrent_t.sum(0)).T if ctx.has_recurrent else None
        return g_current, g_recurrent, None, None, None, None, *torch.from_numpy(g_coefficients.sum(0))


class _LeakyIntegrator(torch.autograd.Function):
    @staticmethod
    def forward(current, alpha, gain):
        _follow_torch_threads()
        trace = torch.empty(current.shape, dtype=current.dtype)
        _filter(_array(current), _array(alpha), _array(gain), trace.numpy())
        return trace

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs, output)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        _follow_torch_threads()
        current, alpha, gain, trace = ctx.saved_tensors
        g_current = torch.empty_like(trace)
        g_rows = np.zeros((2, *gradient.shape[1:]), trace.numpy().dtype)
        _filter_backward(
            _array(gradient), _array(current), trace.numpy(), _array(alpha), _array(gain), g_current.numpy(), g_rows
        )
        return g_current, *torch.from_numpy(g_rows.sum(1))


def adaptive_lif(
    current: Tensor, recurrent: Tensor | None, c: Coefficients, surrogate: Triangle, refractory: int
) -> Tensor:
    """Spikes of adaptive leaky integrate-and-fire neurons; see :func:`neurorobust.kernels.adaptive_lif`."""
    inputs = (current, *c) if recurrent is None else (current, recurrent, *c)
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    return _AdaptiveLif.apply(current, recurrent, *c, surrogate.scale, refractory, keep)[0]


def leaky_integrator(current: Tensor, alpha: Tensor, gain: Tensor) -> Tensor:
    """Membrane of leaky integrators; see :func:`neurorobust.kernels.leaky_integrator`."""
    return _LeakyIntegrator.apply(current, alpha, gain)


def _width(surrogate: Surrogate) -> tuple[int, float]:
    """The number by which the compiled loop knows a surrogate, and its parameter."""
    if isinstance(surrogate, Triangle):
        return 0, surrogate.scale
    if isinstance(surrogate, FastSigmoid):
        return 1, surrogate.slope
    if isinstance(surrogate, ArcTan):
        return 2, math.pi / 2 * surrogate.alpha
    raise TypeError(f"surrogate: got {surrogate!r}; there is no compiled loop for it, use the reference.")


def lif(current: Tensor, recurrent: Tensor | None, c: LifCoefficients, dynamics: Dynamics) -> tuple[Tensor, Tensor]:
    """Spikes and membrane of leaky integrate-and-fire neurons; see :func:`neurorobust.kernels.lif`.

    One loop serves all resets: with x = v − v_leak it is x[t] = alpha x′ + gain s[t] − z[t−1] jump, where x′ is x[t−1]
    or, for a reset to a value, ``target`` after a spike; z[t] = 1 where u = (x − bound)/scale > 0.
    """
    reset, surrogate, none = dynamics.reset, dynamics.surrogate, torch.zeros_like(c.alpha)
    to_value = isinstance(reset, (ToValue, DelayedToValue))
    jump = none
    if isinstance(reset, DelayedSubtract):
        jump = c.v_threshold
    elif isinstance(reset, Subtract):
        jump = c.alpha * c.v_threshold
    leak = none if c.v_leak is None else c.v_leak
    coefficients = (
        c.alpha,
        c.gain,
        none if c.syn is None else c.syn,
        c.v_threshold - leak,
        c.v_threshold if surrogate.scaled else torch.ones_like(c.alpha),
        jump,
        (none if c.v_reset is None else c.v_reset) - leak,
    )
    refractory = none if c.refractory is None else c.refractory
    kind, width = _width(surrogate)
    inputs = (current, *coefficients) if recurrent is None else (current, recurrent, *coefficients)
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
    rules = (kind, to_value, reset.detach)
    spikes, x, _ = _Lif.apply(current, recurrent, _array(refractory.long()), rules, width, keep, *coefficients)
    return spikes, reset.membrane(x if c.v_leak is None else x + leak, spikes.detach() if reset.detach else spikes, c)
