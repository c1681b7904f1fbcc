"""The time loops compiled for the CPU, as operators that torch can differentiate, batch over chips and trace.

Each loop is an opaque custom operator called from a new-style ``autograd.Function`` with a ``vmap`` rule: this works
with autograd, ``functional_call``, ``torch.func.grad``, ``vmap`` and ``torch.compile``. Tensors have a leading chip
axis here, of length 1 where all chips share one; batching over chips makes it longer. Sequences are batch first here,
(chips, B, T, n), so that each thread reads and writes memory in one stretch; outside they are seen transposed.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..dynamics.resets import DelayedSubtract, DelayedToValue, Dynamics, Subtract, ToValue
from ..dynamics.surrogate import ArcTan, FastSigmoid, Surrogate, Triangle
from . import loops
from .interface import SKINNY, LifCoefficients
from .listed import Heard, hearing
from .memory import empty
from .operators import fake, operator
from .threads import spread

BLOCKS = 16
SMALLEST = 2**15  # numbers a block computes, below which starting it takes longer
PARTIAL_SUMS = 2**22  # the most numbers that blocks may add up apart from each other
Rules = Sequence[int]


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _blocks(rows: int, size: int, partial: int = 0, group: int = 1) -> np.ndarray:
    """Rows in blocks of whole groups, for ``size`` numbers to compute in all of which each block sums up ``partial`` by
    itself: how they are cut depends on nothing but the shapes."""
    groups = -(-rows // group)
    return _cut(rows, groups, group, max(1, min(BLOCKS, groups, size // SMALLEST, PARTIAL_SUMS // max(partial, 1))))


@lru_cache(1024)
def _cut(rows: int, groups: int, group: int, blocks: int) -> np.ndarray:
    """So many blocks of whole groups: from, to."""
    bounds = np.arange(blocks + 1, dtype=np.int64) * groups // blocks * group
    return np.minimum(np.stack([bounds[:-1], bounds[1:]], 1), rows)


def _spread(function: Callable[..., bool], chips: int, parts: np.ndarray, size: int, *rest: Any) -> None:
    """A loop over blocks, for every chip and part of the rows."""
    spread(lambda crew: function(crew, chips, parts, *rest), chips * len(parts), size)


def _sums(shape: Sequence[int], dtype: torch.dtype) -> np.ndarray:
    """Room for what blocks sum up by themselves, each of which clears its own: (chips, blocks, …)."""
    return empty(shape, dtype).numpy()


def _total(sums: np.ndarray) -> Tensor:
    """The sum over the second axis, that of the blocks, which each summed up by themselves."""
    chips, blocks, *shape = sums.shape
    if blocks == 1:
        return torch.from_numpy(sums.reshape(chips, *shape))
    out = empty((chips, *shape), torch.from_numpy(sums).dtype)
    flat, whole = sums.reshape(chips, blocks, -1), out.numpy().reshape(chips, -1)
    parts = _blocks(flat.shape[2], sums.size // max(chips, 1), group=loops.LINE)
    _spread(loops.total_blocks, chips, parts, sums.size, flat, whole)
    return out


def _chips(*tensors: Tensor) -> int:
    return max(tensor.shape[0] for tensor in tensors)


def _run_lif(
    current: np.ndarray, heard: tuple, layer: tuple[Tensor, Tensor, Tensor], shape: tuple[int, ...], rules: Rules
) -> tuple[Tensor, Tensor]:
    """Spikes and x of :mod:`.loops`, of a layer's recurrent weight, coefficients and refractory steps."""
    recurrent, coefficients, refractory = layer
    *numbers, keep = rules
    spikes, x = empty(shape, coefficients.dtype), empty(shape if keep else (0, *shape[1:]), coefficients.dtype)
    arrays = _array(recurrent.mT), _array(coefficients), _array(refractory), tuple(numbers)
    parts = _blocks(shape[1], math.prod(shape[1:]))
    _spread(
        loops.lif_forward_blocks, shape[0], parts, spikes.numel(), current, heard, *arrays, (spikes.numpy(), x.numpy())
    )
    return spikes, x


def _run_lif_backward(
    gradients: tuple[Tensor, Tensor],
    traces: tuple[Tensor, Tensor],
    heard: tuple,
    layer: tuple[Tensor, Tensor, Tensor],
    rules: Sequence[int],
    width: float,
    weight: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of current, recurrent weight, coefficients, weight (n_in, n) and bias, each for every chip.

    Those of weight and bias need ``weight``, the number of inputs; with 0, those of the current are worked out instead.
    """
    recurrent, coefficients, refractory = layer
    spikes, x = traces
    chips, batch, _, n = spikes.shape
    has_recurrent = recurrent.shape[0] > 0
    partial = n * (n if has_recurrent else 1) + n * weight
    parts = _blocks(batch, spikes.numel() // chips, partial, loops.GROUP)
    dtype, blocks = spikes.numpy().dtype, len(parts)
    g_current = empty((0 if weight else chips, *spikes.shape[1:]), spikes.dtype)
    g_coefficients = _sums((chips, blocks, loops.COEFFICIENTS, n), spikes.dtype)
    g_recurrent = _sums((chips, blocks, n, n) if has_recurrent else (0, 0, n, n), spikes.dtype)
    g_weight = _sums((chips, blocks, weight, n) if weight else (1, 1, 0, n), spikes.dtype)
    g_bias = _sums((chips, blocks, n) if weight else (1, 1, n), spikes.dtype)
    _spread(
        loops.lif_backward_blocks,
        chips,
        parts,
        spikes.numel(),
        (_array(gradients[0]), _array(gradients[1])),
        (_array(spikes), _array(x)),
        heard,
        (_array(recurrent.mT), _array(recurrent)),
        _array(coefficients),
        _array(refractory),
        tuple(rules),
        dtype.type(width),
        (g_current.numpy(), g_coefficients, g_recurrent, g_weight, g_bias),
    )
    return (
        g_current,
        _total(g_recurrent).mT.contiguous() if has_recurrent else torch.zeros_like(recurrent),
        _total(g_coefficients),
        _total(g_weight),
        _total(g_bias),
    )


def _unheard(like: Tensor) -> tuple:
    """What a loop takes that hears nothing."""
    return Heard(like.new_empty((1, 1, 0, 0))).parts


@operator
def lif_op(
    current: Tensor, recurrent: Tensor, coefficients: Tensor, refractory: Tensor, rules: Rules
) -> tuple[Tensor, Tensor]:
    """Spikes and, if the last of the rules says so, x of :mod:`.loops`.

    Shapes: current (c, B, T, n); recurrent (c, n, n), row = target, or (0, n, n) for none; coefficients (c, 9, n).
    """
    shape = (_chips(current, recurrent, coefficients, refractory), *current.shape[1:])
    nothing = current.new_empty((1, 0, 0))
    unheard = _unheard(current), nothing.numpy(), nothing[0].numpy()
    return _run_lif(_array(current), unheard, (recurrent, coefficients, refractory), shape, rules)


@fake(lif_op)
def _(
    current: Tensor, recurrent: Tensor, coefficients: Tensor, refractory: Tensor, rules: Rules
) -> tuple[Tensor, Tensor]:
    shape = (_chips(current, recurrent, coefficients, refractory), *current.shape[1:])
    return current.new_empty(shape), current.new_empty(shape if rules[-1] else (0, *shape[1:]))


@operator
def lif_backward_op(
    g_spikes: Tensor,
    g_x: Tensor,
    spikes: Tensor,
    x: Tensor,
    recurrent: Tensor,
    coefficients: Tensor,
    refractory: Tensor,
    rules: Rules,
    width: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of :func:`lif_op` in current, recurrent and coefficients, each for every chip; g_x may be empty."""
    layer = recurrent, coefficients, refractory
    return _run_lif_backward((g_spikes, g_x), (spikes, x), _unheard(spikes), layer, rules[:-1], width, 0)[:3]


@fake(lif_backward_op)
def _(g_spikes: Tensor, g_x: Tensor, spikes: Tensor, x: Tensor, recurrent: Tensor, *_: Any) -> tuple[Tensor, ...]:
    chips, n = spikes.shape[0], spikes.shape[-1]
    return (
        spikes.new_empty(spikes.shape),
        spikes.new_empty((chips if recurrent.shape[0] else 0, n, n)),
        spikes.new_empty((chips, loops.COEFFICIENTS, n)),
    )


@operator
def layer_op(
    heard: Tensor,
    weight: Tensor,
    bias: Tensor,
    recurrent: Tensor,
    coefficients: Tensor,
    refractory: Tensor,
    rules: Rules,
) -> tuple[Tensor, Tensor]:
    """:func:`lif_op` of the current that :func:`project_op` makes, which is never kept where the input is sparse."""
    layer, known = (recurrent, coefficients, refractory), hearing(heard)
    if not _gathers(known, weight.shape[1]):
        return lif_op(_project(known, weight, bias, False), *layer, rules)
    shape = _projected(heard, weight, _chips(heard, weight, bias, *layer))
    offset = bias if bias.shape[0] else weight.new_zeros((1, weight.shape[1]))
    parts = known.parts, _array(weight.mT), _array(offset)
    return _run_lif(weight.new_empty((1, 1, 0, 0)).numpy(), parts, layer, shape, rules)


@fake(layer_op)
def _(
    heard: Tensor,
    weight: Tensor,
    bias: Tensor,
    recurrent: Tensor,
    coefficients: Tensor,
    refractory: Tensor,
    rules: Rules,
) -> tuple[Tensor, Tensor]:
    shape = _projected(heard, weight, _chips(heard, weight, bias, recurrent, coefficients, refractory))
    return heard.new_empty(shape), heard.new_empty(shape if rules[-1] else (0, *shape[1:]))


@operator
def layer_backward_op(
    g_spikes: Tensor,
    g_x: Tensor,
    spikes: Tensor,
    x: Tensor,
    heard: Tensor,
    weight: Tensor,
    recurrent: Tensor,
    coefficients: Tensor,
    refractory: Tensor,
    rules: Rules,
    width: float,
    needs: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of :func:`layer_op` in heard, weight, bias, recurrent and coefficients, each for every chip.

    ``needs`` says whether those in heard, weight and bias are needed; where not, they are empty.
    """
    layer, traces, gradients = (recurrent, coefficients, refractory), (spikes, x), (g_spikes, g_x)
    known = hearing(heard)
    gathers = needs[1] and _gathers(known, weight.shape[1])
    if gathers and not needs[0]:
        _, g_recurrent, g_coefficients, g_weight, g_bias = _run_lif_backward(
            gradients, traces, known.parts, layer, rules[:-1], width, heard.shape[3]
        )
        g_heard, g_weight = heard.new_empty((0, *heard.shape[1:])), g_weight.mT.contiguous()
        return g_heard, g_weight, g_bias if needs[2] else g_bias[:0].clone(), g_recurrent, g_coefficients
    g_current, g_recurrent, g_coefficients = lif_backward_op(*gradients, *traces, *layer, rules, width)
    g_heard, g_weight = _project_backward(g_current, known, weight, needs[:2], gathers)
    g_bias = g_current.sum((1, 2)) if needs[2] else g_current.new_empty((0, g_current.shape[-1]))
    return g_heard, g_weight, g_bias, g_recurrent, g_coefficients


@fake(layer_backward_op)
def _(*inputs: Any) -> tuple[Tensor, ...]:
    _, _, spikes, _, heard, _, recurrent, *_, needs = inputs
    chips, n = spikes.shape[0], spikes.shape[-1]
    return (
        spikes.new_empty((chips if needs[0] else 0, *heard.shape[1:])),
        spikes.new_empty((chips if needs[1] else 0, n, heard.shape[3])),
        spikes.new_empty((chips if needs[2] else 0, n)),
        spikes.new_empty((chips if recurrent.shape[0] else 0, n, n)),
        spikes.new_empty((chips, loops.COEFFICIENTS, n)),
    )


@operator
def integrate_op(current: Tensor, alpha: Tensor, gain: Tensor) -> Tensor:
    """v[t] = alpha v[t−1] + gain current[t]; current (c, B, T, n), alpha and gain (c, n)."""
    shape = (_chips(current, alpha, gain), *current.shape[1:])
    v = empty(shape, current.dtype)
    parts = _blocks(shape[1], math.prod(shape[1:]))
    arrays = _array(current), _array(alpha), _array(gain), v.numpy()
    _spread(loops.filter_forward_blocks, shape[0], parts, v.numel(), *arrays)
    return v


@fake(integrate_op)
def _(current: Tensor, alpha: Tensor, gain: Tensor) -> Tensor:
    return current.new_empty((_chips(current, alpha, gain), *current.shape[1:]))


@operator
def integrate_backward_op(
    gradient: Tensor, current: Tensor, v: Tensor, alpha: Tensor, gain: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of :func:`integrate_op` in current, alpha and gain, each for every chip."""
    chips, batch, _, n = v.shape
    parts = _blocks(batch, v.numel() // chips, n)
    g_current = empty(v.shape, v.dtype)
    sums = _sums((chips, len(parts), 2, n), v.dtype)
    _spread(
        loops.filter_backward_blocks,
        chips,
        parts,
        v.numel(),
        _array(gradient),
        _array(current),
        _array(v),
        _array(alpha),
        _array(gain),
        (g_current.numpy(), sums),
    )
    total = _total(sums)
    return g_current, total[:, 0].clone(), total[:, 1].clone()


@fake(integrate_backward_op)
def _(gradient: Tensor, current: Tensor, v: Tensor, alpha: Tensor, gain: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    small = (v.shape[0], v.shape[-1])
    return v.new_empty(v.shape), v.new_empty(small), v.new_empty(small)


def _gathers(heard: Heard, n_out: int) -> bool:
    """Whether the rows of a weight where x is not 0 are added up: not for few outputs, where neither that nor torch's
    product pays, and only where it will take less time than the matrix product.

    The prices were measured on one core of a server with AVX-512, in ns a number of x.
    """
    return n_out > SKINNY and 0.6 + heard.rate * (2 + 0.062 * n_out) < 0.038 * n_out


def _product(x: Tensor, weight: Tensor, out: Tensor) -> None:
    """out = x weightᵀ: (c, p, q, n_in) → (c, p, q, n_out)."""
    for chip in range(len(out)):
        own, w = x[chip if len(x) > 1 else 0], weight[chip if len(weight) > 1 else 0].T
        torch.mm(own.reshape(-1, own.shape[-1]), w, out=out[chip].view(-1, w.shape[1]))


def _projected(x: Tensor, weight: Tensor, chips: int) -> tuple[int, ...]:
    return (chips, *x.shape[1:3], weight.shape[1])


@operator
def project_op(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x weightᵀ + bias.

    Shapes: x (c, p, q, n_in); weight (c, n_out, n_in); bias (c, n_out) or (0, n_out) for none; (c, p, q, n_out).
    """
    known = hearing(x)
    return _project(known, weight, bias, _gathers(known, weight.shape[1]))


def _project(heard: Heard, weight: Tensor, bias: Tensor, gathers: bool) -> Tensor:
    """:func:`project_op` in the way that was chosen."""
    x, n_out = heard.x, weight.shape[1]
    out = empty(_projected(x, weight, _chips(x, weight, bias)), x.dtype)
    if n_out <= SKINNY or gathers:
        offset = bias if bias.shape[0] else x.new_zeros((1, n_out))
        loop, laid = (loops.gather_blocks, weight.mT) if gathers else (loops.skinny_blocks, weight)
        arrays = heard.parts if gathers else x.numpy(), _array(laid), _array(offset), out.numpy()
        parts = _blocks(out.shape[1] * out.shape[2], max(x.numel() // len(x), out.numel() // len(out)))
        _spread(loop, len(out), parts, x.numel() + out.numel(), *arrays)
        return out
    _product(x, weight, out)
    return out.add_(bias[:, None, None]) if bias.shape[0] else out


@fake(project_op)
def _(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x.new_empty(_projected(x, weight, _chips(x, weight, bias)))


@operator
def project_backward_op(gradient: Tensor, x: Tensor, weight: Tensor, needs: Sequence[bool]) -> tuple[Tensor, Tensor]:
    """Gradients of :func:`project_op` in x and weight, each for every chip; empty where it is not needed."""
    known = hearing(x)
    return _project_backward(gradient, known, weight, needs, needs[1] and _gathers(known, weight.shape[1]))


def _project_backward(
    gradient: Tensor, heard: Heard, weight: Tensor, needs: Sequence[bool], gathers: bool
) -> tuple[Tensor, Tensor]:
    """:func:`project_backward_op` in the way that was chosen."""
    gradient, x = gradient.contiguous(), heard.x
    chips, p, q, n_out = gradient.shape
    n_in = x.shape[3]
    g_x = empty((chips if needs[0] else 0, *x.shape[1:]), x.dtype)
    if needs[0] and n_out <= SKINNY:
        parts = _blocks(p * q, g_x.numel() // chips)
        _spread(loops.skinny_back_blocks, chips, parts, g_x.numel(), _array(gradient), _array(weight), g_x.numpy())
    elif needs[0]:
        _product(gradient, weight.mT, g_x)
    if not needs[1]:
        return g_x, x.new_empty((0, n_out, n_in))
    if n_out > SKINNY and not gathers:
        return g_x, gradient.reshape(chips, p * q, n_out).mT @ x.reshape(len(x), p * q, n_in)
    parts, skinny = _blocks(p * q, p * q * n_in, n_in * n_out), n_out <= SKINNY
    loop, own = (loops.skinny_scatter_blocks, x.numpy()) if skinny else (loops.scatter_blocks, heard.parts)
    sums = _sums((chips, len(parts), *((n_out, n_in) if skinny else (n_in, n_out))), g_x.dtype)
    _spread(loop, chips, parts, x.numel(), own, _array(gradient), sums)
    g_weight = _total(sums)
    return g_x, g_weight if skinny else g_weight.mT.contiguous()


@fake(project_backward_op)
def _(gradient: Tensor, x: Tensor, weight: Tensor, needs: Sequence[bool]) -> tuple[Tensor, Tensor]:
    chips, n_out, n_in = gradient.shape[0], gradient.shape[3], x.shape[3]
    return x.new_empty((chips if needs[0] else 0, *x.shape[1:])), x.new_empty((chips if needs[1] else 0, n_out, n_in))


def _fold(
    size: int, in_dims: Sequence[int | None], tensors: Sequence[Tensor], full: Sequence[int] = ()
) -> tuple[list[Tensor], int]:
    """A batch axis of vmap made part of the chip axis of every tensor, and how many chips there were before.

    What all chips share stays one, but for the tensors whose numbers are in ``full``.
    """
    parts = [
        (tensor if dim is None else tensor.movedim(dim, 0), dim is not None) for tensor, dim in zip(tensors, in_dims)
    ]
    chips = max(part.shape[batched] for part, batched in parts)
    folded = []
    for i, (part, batched) in enumerate(parts):
        part = part if batched else part.unsqueeze(0)
        shared = not batched and part.shape[1] == 1 and i not in full
        if part.shape[1] and not shared:
            part = part.expand(size, chips, *part.shape[2:])
        folded.append(part.flatten(0, 1))
    return folded, chips


def _unfold(size: int, chips: int, outputs: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
    """The batch axis of vmap taken out of the chip axis again, first; an empty output has none to take."""
    parts = tuple(output.reshape(size, chips if output.shape[0] else 0, *output.shape[1:]) for output in outputs)
    return parts, (0,) * len(parts)


def _shared(gradient: Tensor, chips: int) -> Tensor:
    """The gradient of a tensor of so many chips: the sum over them of one that all share."""
    return gradient.sum(0, keepdim=True) if chips == 1 < gradient.shape[0] else gradient


def _signed(function: type[torch.autograd.Function]) -> type[torch.autograd.Function]:
    """Lets torch look up the signature of ``forward``, which it asks for at every call, instead of working it out."""
    function.forward.__signature__ = inspect.signature(function.forward)  # type: ignore[attr-defined]
    return function


class _Backward(torch.autograd.Function):
    """What the backward passes share: there is no second derivative through compiled loops."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise RuntimeError(
            "the compiled loops have no second derivative; set NEUROROBUST_KERNEL=reference, which has one."
        )


@_signed
class _LifBackward(_Backward):
    @staticmethod
    def forward(g_spikes, g_x, spikes, x, recurrent, coefficients, refractory, rules, width):
        return lif_backward_op(g_spikes, g_x, spikes, x, recurrent, coefficients, refractory, rules, width)

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple:
        tensors, chips = _fold(info.batch_size, in_dims[:7], inputs[:7], range(4))
        return _unfold(info.batch_size, chips, _LifBackward.apply(*tensors, *inputs[7:]))


@_signed
class _Lif(torch.autograd.Function):
    @staticmethod
    def forward(
        current: Tensor, recurrent: Tensor, coefficients: Tensor, refractory: Tensor, rules: Rules, width: float
    ) -> tuple[Tensor, Tensor]:
        return lif_op(current, recurrent, coefficients, refractory, rules)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        current, *layer, ctx.rules, ctx.width = inputs
        ctx.chips = len(current)
        ctx.save_for_backward(*output, *layer)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, g_spikes: Tensor | None, g_x: Tensor | None) -> tuple:
        spikes, x, recurrent, coefficients, refractory = ctx.saved_tensors
        g_current, g_recurrent, g_coefficients = _LifBackward.apply(
            *_present(g_spikes, g_x, spikes), spikes, x, recurrent, coefficients, refractory, ctx.rules, ctx.width
        )
        g_current = _shared(g_current, ctx.chips)
        return (
            g_current,
            _shared(g_recurrent, len(recurrent)),
            _shared(g_coefficients, len(coefficients)),
            None,
            None,
            None,
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple:
        tensors, chips = _fold(info.batch_size, in_dims[:4], inputs[:4])
        return _unfold(info.batch_size, chips, _Lif.apply(*tensors, *inputs[4:]))


def _present(g_spikes: Tensor | None, g_x: Tensor | None, spikes: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients that reach a layer: zeros for spikes that matter to nothing, none at all for the membrane."""
    return (
        torch.zeros_like(spikes) if g_spikes is None else g_spikes,
        spikes.new_empty((0, *spikes.shape[1:])) if g_x is None else g_x,
    )


@_signed
class _LayerBackward(_Backward):
    @staticmethod
    def forward(g_spikes, g_x, spikes, x, heard, weight, recurrent, coefficients, refractory, rules, width, needs):
        return layer_backward_op(
            g_spikes, g_x, spikes, x, heard, weight, recurrent, coefficients, refractory, rules, width, needs
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple:
        tensors, chips = _fold(info.batch_size, in_dims[:9], inputs[:9], range(4))
        return _unfold(info.batch_size, chips, _LayerBackward.apply(*tensors, *inputs[9:]))


@_signed
class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(
        heard: Tensor,
        weight: Tensor,
        bias: Tensor,
        recurrent: Tensor,
        coefficients: Tensor,
        refractory: Tensor,
        rules: Rules,
        width: float,
    ) -> tuple[Tensor, Tensor]:
        return layer_op(heard, weight, bias, recurrent, coefficients, refractory, rules)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        heard, weight, bias, *layer, ctx.rules, ctx.width = inputs
        ctx.save_for_backward(*output, heard, weight, bias, *layer)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, g_spikes: Tensor | None, g_x: Tensor | None) -> tuple:
        spikes, x, heard, weight, bias, recurrent, coefficients, refractory = ctx.saved_tensors
        needs_heard, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        needs_bias = needs_bias and bias.shape[0] > 0
        found = _LayerBackward.apply(
            *_present(g_spikes, g_x, spikes),
            *(spikes, x, heard, weight, recurrent, coefficients, refractory),
            *(ctx.rules, ctx.width, (needs_heard, needs_weight, needs_bias)),
        )
        g_heard, g_weight, g_bias, g_recurrent, g_coefficients = found
        return (
            _shared(g_heard, len(heard)) if needs_heard else None,
            _shared(g_weight, len(weight)) if needs_weight else None,
            _shared(g_bias, len(bias)) if needs_bias else None,
            _shared(g_recurrent, len(recurrent)),
            _shared(g_coefficients, len(coefficients)),
            *(None,) * 3,
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple:
        tensors, chips = _fold(info.batch_size, in_dims[:6], inputs[:6])
        return _unfold(info.batch_size, chips, _Layer.apply(*tensors, *inputs[6:]))


@_signed
class _IntegrateBackward(_Backward):
    @staticmethod
    def forward(gradient, current, v, alpha, gain):
        return integrate_backward_op(gradient, current, v, alpha, gain)

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Tensor) -> tuple:
        tensors, chips = _fold(info.batch_size, in_dims, inputs, (0, 2))
        return _unfold(info.batch_size, chips, _IntegrateBackward.apply(*tensors))


@_signed
class _Integrate(torch.autograd.Function):
    @staticmethod
    def forward(current: Tensor, alpha: Tensor, gain: Tensor) -> Tensor:
        return integrate_op(current, alpha, gain)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        *inputs, v = ctx.saved_tensors
        current, alpha, gain = inputs
        gradients = _IntegrateBackward.apply(gradient, current, v, alpha, gain)
        return tuple(_shared(g, len(tensor)) for g, tensor in zip(gradients, inputs))

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Tensor) -> tuple:
        tensors, chips = _fold(info.batch_size, in_dims, inputs)
        (out,), dims = _unfold(info.batch_size, chips, (_Integrate.apply(*tensors),))
        return out, dims[0]


@_signed
class _ProjectBackward(_Backward):
    @staticmethod
    def forward(gradient, x, weight, needs):
        return project_backward_op(gradient, x, weight, needs)

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple:
        tensors, chips = _fold(info.batch_size, in_dims[:3], inputs[:3], (0,))
        return _unfold(info.batch_size, chips, _ProjectBackward.apply(*tensors, *inputs[3:]))


@_signed
class _Project(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return project_op(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        g_x, g_weight = _ProjectBackward.apply(gradient, x, weight, (needs_x, needs_weight))
        return (
            _shared(g_x, len(x)) if needs_x else None,
            _shared(g_weight, len(weight)) if needs_weight else None,
            _shared(gradient.sum((1, 2)), len(bias)) if needs_bias and bias.shape[0] else None,
        )

    @staticmethod
    def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple:
        tensors, chips = _fold(info.batch_size, in_dims, inputs)
        (out,), dims = _unfold(info.batch_size, chips, (_Project.apply(*tensors),))
        return out, dims[0]


def _inside(sequence: Tensor) -> Tensor:
    """(T, B, n) → (1, B, T, n): as the operators take it, of one chip."""
    return sequence.transpose(0, 1).unsqueeze(0)


def _outside(sequence: Tensor) -> Tensor:
    """The reverse of :func:`_inside`."""
    return sequence.squeeze(0).transpose(0, 1)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x weightᵀ + bias; see :func:`neurorobust.kernels.linear`."""
    return _outside(_Project.apply(_inside(x), *_synapses(weight, bias)))


def _synapses(weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """What the operators take of synapses: one chip's."""
    return weight.unsqueeze(0), weight.new_empty((0, len(weight))) if bias is None else bias.unsqueeze(0)


def leaky_integrator(current: Tensor, alpha: Tensor, gain: Tensor) -> Tensor:
    """Membrane of leaky integrators; see :func:`neurorobust.kernels.leaky_integrator`."""
    return _outside(_Integrate.apply(_inside(current), alpha.unsqueeze(0), gain.unsqueeze(0)))


def _width(surrogate: Surrogate) -> tuple[int, float]:
    """The number by which the compiled loop knows a surrogate, and its parameter."""
    if isinstance(surrogate, Triangle):
        return 0, surrogate.scale
    if isinstance(surrogate, FastSigmoid):
        return 1, surrogate.slope
    if isinstance(surrogate, ArcTan):
        return 2, math.pi / 2 * surrogate.alpha
    raise TypeError(f"surrogate: got {surrogate!r}; there is no compiled loop for it, use the reference.")


def coefficients_of(c: LifCoefficients, dynamics: Dynamics) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """What the compiled loop knows a layer by: coefficients (9, n), refractory steps (n,) and rules, whole numbers.

    One loop serves all resets: with x = v − v_leak it is x[t] = alpha x′ + gain s[t] − z[t−1] jump, where x′ is x[t−1]
    or, for a reset to a value, ``target`` after a spike; z[t] = 1 where u = (x − bound)/scale > 0.
    """
    reset, none = dynamics.reset, torch.zeros_like(c.alpha)
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
        c.v_threshold if dynamics.surrogate.scaled else torch.ones_like(c.alpha),
        jump,
        (none if c.v_reset is None else c.v_reset) - leak,
        none if c.rho is None else c.rho,
        none if c.adaptation is None else c.adaptation,
    )
    refractory = none if c.refractory is None else c.refractory
    flags = (to_value, reset.detach, c.syn is not None, c.rho is not None, dynamics.surrogate.scaled)
    rules = (_width(dynamics.surrogate)[0], *(int(flag) for flag in flags))
    return torch.stack(coefficients), refractory.detach().int(), rules


def _layer(
    n: int, recurrent: Tensor | None, c: LifCoefficients, dynamics: Dynamics, keep: bool
) -> tuple[Tensor, Tensor, Tensor, Rules, float]:
    """What the operators take of a layer besides what arrives: one chip's."""
    coefficients, refractory, rules = coefficients_of(c, dynamics)
    return (
        c.alpha.new_empty((0, n, n)) if recurrent is None else recurrent.unsqueeze(0),
        coefficients.unsqueeze(0),
        refractory.unsqueeze(0),
        (*rules, int(keep)),
        _width(dynamics.surrogate)[1],
    )


def lif(
    current: Tensor, recurrent: Tensor | None, c: LifCoefficients, dynamics: Dynamics, membrane: bool
) -> tuple[Tensor, Tensor | None]:
    """Spikes and membrane of leaky integrate-and-fire neurons; see :func:`neurorobust.kernels.lif`."""
    layer = _layer(current.shape[-1], recurrent, c, dynamics, membrane or torch.is_grad_enabled())
    spikes, x = (_outside(part) for part in _Lif.apply(_inside(current), *layer))
    if not membrane:
        return spikes, None
    v = x if c.v_leak is None else x + c.v_leak
    return spikes, dynamics.reset.membrane(v, spikes.detach() if dynamics.reset.detach else spikes, c)


def lif_layer(
    x: Tensor, synapses: tuple[Tensor, Tensor | None], recurrent: Tensor | None, c: LifCoefficients, dynamics: Dynamics
) -> Tensor:
    """Spikes of a layer with its synapses; see :func:`neurorobust.kernels.lif_layer`."""
    layer = _layer(len(synapses[0]), recurrent, c, dynamics, torch.is_grad_enabled())
    return _outside(_Layer.apply(_inside(x), *_synapses(*synapses), *layer)[0])
