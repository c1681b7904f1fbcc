"""The same time loops compiled for the CPU by numba: one pass over time, parallel over batch rows.

A spike adds a row of the recurrent matrix (event-driven, forward and in the weight gradient), and the backward
recurrent product is computed only where the surrogate is non-zero. Rows are grouped in a fixed number of blocks whose
partial sums are added in a fixed order, so results do not depend on the number of threads.
"""

from __future__ import annotations

import numba
import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from ..surrogate import Triangle
from .interface import Coefficients

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
