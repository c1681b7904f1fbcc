"""The operators as functions that torch can differentiate and batch over chips.

Each is a new-style ``autograd.Function`` with a ``vmap`` rule, whose backward pass is another such function: this works
with autograd, ``functional_call``, ``torch.func.grad``, ``vmap`` and ``torch.compile``. vmap makes the chip axis
longer.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._functorch.utils import unwrap_dead_wrappers
from torch.autograd import forward_ad

from . import operators


class Operation(torch.autograd.Function):
    """Base of the functions here. Outside of torch.func's transforms and of torch.compile a call takes less time than
    torch's own, which binds the arguments to a signature; where no gradient is asked for it is ``forward`` alone."""

    @classmethod
    def apply(cls, *inputs: Any) -> Any:
        if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
            return super().apply(*inputs)
        inputs = unwrap_dead_wrappers(inputs)  # of a transform that is over, whose gradient is asked for
        if not torch.is_grad_enabled() and forward_ad._current_level < 0:
            return cls.forward(*inputs)
        return super(torch.autograd.Function, cls).apply(*inputs)  # type: ignore[misc]


Function = type[Operation]


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


def _unfold(size: int, chips: int, output: Tensor) -> Tensor:
    """The batch axis of vmap taken out of the chip axis again, first; an empty output has none to take."""
    return output.reshape(size, chips if output.shape[0] else 0, *output.shape[1:])


def sum_shared(gradient: Tensor, chips: int) -> Tensor:
    """The gradient of a tensor of so many chips: the sum over all chips where they share it."""
    return gradient.sum(0, keepdim=True) if chips == 1 < gradient.shape[0] else gradient


def over_chips(n_tensors: int, full: Sequence[int] = ()) -> Callable[[Function], Function]:
    """Gives a Function its vmap rule. Its first ``n_tensors`` inputs are tensors with a chip axis, which is expanded to
    all chips for those whose numbers are in ``full``."""

    def decorate(function: Function) -> Function:
        def vmap(info: Any, in_dims: tuple, *inputs: Any) -> tuple:
            tensors, chips = _fold(info.batch_size, in_dims[:n_tensors], inputs[:n_tensors], full)
            outputs = function.apply(*tensors, *inputs[n_tensors:])
            if isinstance(outputs, Tensor):
                return _unfold(info.batch_size, chips, outputs), 0
            return tuple(_unfold(info.batch_size, chips, output) for output in outputs), (0,) * len(outputs)

        function.vmap = staticmethod(vmap)  # type: ignore[method-assign]
        # torch asks for the signature at every call; it is looked up faster than worked out.
        function.forward.__signature__ = inspect.signature(function.forward)  # type: ignore[attr-defined]
        return function

    return decorate


def backward_of(operator: Callable[..., Any], n_tensors: int, full: Sequence[int]) -> Function:
    """The Function of a backward operator, which has no derivative of its own; see :func:`over_chips`."""

    class Backward(Operation):
        @staticmethod
        def forward(*inputs: Any) -> Any:
            return operator(*inputs)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Any:
            raise RuntimeError(
                "the compiled loops have no second derivative; set NEUROROBUST_KERNEL=reference, which has one."
            )

    # torch.compile counts the parameters of forward to see whether it takes a context.
    Backward.forward.__signature__ = inspect.signature(operator)  # type: ignore[attr-defined]
    return over_chips(n_tensors, full)(Backward)


_lif_backward = backward_of(operators.lif_backward_op, 7, range(4))
_layer_backward = backward_of(operators.layer_backward_op, 9, range(4))
_integrate_backward = backward_of(operators.integrate_backward_op, 5, (0, 2))
_project_backward = backward_of(operators.project_backward_op, 3, (0,))


def _present(g_spikes: Tensor | None, g_v: Tensor | None, spikes: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients that reach a layer: zeros for spikes that matter to nothing, none at all for the membrane."""
    return (
        torch.zeros_like(spikes) if g_spikes is None else g_spikes,
        spikes.new_empty((0, *spikes.shape[1:])) if g_v is None else g_v,
    )


@over_chips(4)
class Lif(Operation):
    """Spikes and membrane of :func:`.operators.lif_op`."""

    @staticmethod
    def forward(
        current: Tensor,
        recurrent: Tensor,
        coefficients: Tensor,
        refractory: Tensor,
        lists: Tensor,
        rules: Sequence[int],
        width: float,
    ) -> tuple[Tensor, Tensor]:
        return operators.lif_op(current, recurrent, coefficients, refractory, lists, rules)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        current, *layer, ctx.lists, ctx.rules, ctx.width = inputs
        ctx.chips = len(current)
        ctx.save_for_backward(*output, *layer)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, g_spikes: Tensor | None, g_v: Tensor | None) -> tuple:
        spikes, v, *layer = ctx.saved_tensors
        gradients = _present(g_spikes, g_v, spikes)
        found = _lif_backward.apply(*gradients, spikes, v, *layer, ctx.lists, ctx.rules, ctx.width)
        chips = ctx.chips, len(layer[0]), len(layer[1])
        return (*map(sum_shared, found, chips), *(None,) * 4)


@over_chips(6)
class Layer(Operation):
    """Spikes and membrane of :func:`.operators.layer_op`."""

    @staticmethod
    def forward(
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        recurrent: Tensor,
        coefficients: Tensor,
        refractory: Tensor,
        weight_lists: Tensor,
        lists: Tensor,
        rules: Sequence[int],
        width: float,
    ) -> tuple[Tensor, Tensor]:
        return operators.layer_op(x, weight, bias, recurrent, coefficients, refractory, weight_lists, lists, rules)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        *tensors, weight_lists, lists, ctx.rules, ctx.width = inputs
        ctx.lists = weight_lists, lists
        ctx.save_for_backward(*output, *tensors)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, g_spikes: Tensor | None, g_v: Tensor | None) -> tuple:
        spikes, v, x, weight, bias, *layer = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        needs = needs_x, needs_weight, needs_bias and bias.shape[0] > 0
        gradients = _present(g_spikes, g_v, spikes)
        found = _layer_backward.apply(
            *gradients, spikes, v, x, weight, *layer, *ctx.lists, ctx.rules, ctx.width, needs
        )  # fmt: skip
        of_synapses = [
            sum_shared(gradient, len(tensor)) if needed else None
            for gradient, tensor, needed in zip(found, (x, weight, bias), needs)
        ]
        return (*of_synapses, sum_shared(found[3], len(layer[0])), sum_shared(found[4], len(layer[1])), *(None,) * 5)


@over_chips(3)
class Integrate(Operation):
    """The membrane of :func:`.operators.integrate_op`."""

    @staticmethod
    def forward(current: Tensor, alpha: Tensor, gain: Tensor) -> Tensor:
        return operators.integrate_op(current, alpha, gain)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        current, alpha, gain, v = ctx.saved_tensors
        found = _integrate_backward.apply(gradient, current, v, alpha, gain)
        return tuple(sum_shared(g, len(tensor)) for g, tensor in zip(found, (current, alpha, gain)))


@over_chips(3)
class Project(Operation):
    """The product of :func:`.operators.project_op`."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor, lists: Tensor) -> Tensor:
        return operators.project_op(x, weight, bias, lists)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        *tensors, ctx.lists = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        needs_x, needs_weight, needs_bias, _ = ctx.needs_input_grad
        g_x, g_weight = _project_backward.apply(gradient, x, weight, ctx.lists, (needs_x, needs_weight))
        return (
            sum_shared(g_x, len(x)) if needs_x else None,
            sum_shared(g_weight, len(weight)) if needs_weight else None,
            sum_shared(gradient.sum((1, 2)), len(bias)) if needs_bias and bias.shape[0] else None,
            None,
        )
