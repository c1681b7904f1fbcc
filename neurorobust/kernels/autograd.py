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

from . import operators

Function = type[torch.autograd.Function]


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


def backward_of(operator: torch._ops.OpOverload, n_tensors: int, full: Sequence[int]) -> Function:
    """The Function of a backward operator, which has no derivative of its own; see :func:`over_chips`."""

    class Backward(torch.autograd.Function):
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

    return over_chips(n_tensors, full)(_named(Backward, operator))


def _names(operator: torch._ops.OpOverload) -> list[str]:
    return [argument.name for argument in operator._schema.arguments]


def _named(function: Function, operator: torch._ops.OpOverload, *more: str) -> Function:
    """A Function whose forward has the parameters of an operator: torch.compile counts them, to see whether it takes a
    context."""
    parameters = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in (*_names(operator), *more)
    ]
    function.forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return function


_integrate_backward = backward_of(operators.integrate_backward_op, 5, (0, 2))
_project_backward = backward_of(operators.project_backward_op, 3, (0,))


def of_current(operator: torch._ops.OpOverload, backward: torch._ops.OpOverload, differentiable: int) -> Function:
    """The Function of an operator of neurons: from a current and the tensors of a layer to spikes and traces, the first
    ``differentiable`` of which have a gradient. With its rules it takes the numbers that the backward pass needs."""
    step_back = backward_of(backward, 7, range(4))

    class OfCurrent(torch.autograd.Function):
        @staticmethod
        def forward(*inputs: Any) -> tuple[Tensor, ...]:
            return operator(*inputs[:-1])

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, ...]) -> None:
            current, *layer, ctx.rules, ctx.numbers = inputs
            ctx.chips = len(current), len(layer[0]), len(layer[1])
            _keep(ctx, output, layer, differentiable)

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor | None) -> tuple:
            saved = ctx.saved_tensors
            found = step_back.apply(
                *_reached(gradients[:differentiable], saved[0]), *saved, ctx.rules, ctx.numbers
            )  # fmt: skip
            return (*map(sum_shared, found, ctx.chips), None, None, None)

    return over_chips(4)(_named(OfCurrent, operator, "numbers"))


def of_input(operator: torch._ops.OpOverload, backward: torch._ops.OpOverload, differentiable: int) -> Function:
    """As :func:`of_current`, with synapses: input, weight and, where the operator takes one, a bias for the current."""
    step_back = backward_of(backward, 9, range(4))
    n_outputs, n_tensors = 4 - differentiable, len(_names(operator)) - 1

    class OfInput(torch.autograd.Function):
        @staticmethod
        def forward(*inputs: Any) -> tuple[Tensor, ...]:
            return operator(*inputs[:-1])

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, ...]) -> None:
            *tensors, ctx.rules, ctx.numbers = inputs
            _keep(ctx, output, tensors, differentiable)

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor | None) -> tuple:
            saved = ctx.saved_tensors
            outputs, synapses, layer = saved[:n_outputs], saved[n_outputs:-3], saved[-3:]
            needs = tuple(needed and len(tensor) > 0 for needed, tensor in zip(ctx.needs_input_grad, synapses))
            reached = _reached(gradients[:differentiable], saved[0])
            found = step_back.apply(*reached, *outputs, *synapses[:2], *layer, ctx.rules, ctx.numbers, needs)
            summed = [*map(sum_shared, found, map(len, (*synapses, *layer[:2])))]
            of_synapses = [gradient if needed else None for gradient, needed in zip(summed, needs)]
            return (*of_synapses, *summed[len(needs) :], None, None, None)

    return over_chips(n_tensors)(_named(OfInput, operator, "numbers"))


def _keep(ctx: Any, output: Sequence[Tensor], tensors: Sequence[Tensor], differentiable: int) -> None:
    ctx.save_for_backward(*output, *tensors)
    ctx.mark_non_differentiable(*output[differentiable:])
    ctx.set_materialize_grads(False)  # those of the traces would be large


def _reached(gradients: Sequence[Tensor | None], spikes: Tensor) -> tuple[Tensor, ...]:
    """The gradients that reach a layer: zeros for spikes that matter to nothing, none at all for the membrane."""
    of_spikes, *rest = gradients
    return (
        torch.zeros_like(spikes) if of_spikes is None else of_spikes,
        *(spikes.new_empty((0, *spikes.shape[1:])) if gradient is None else gradient for gradient in rest),
    )


Lif = of_current(operators.lif_op, operators.lif_backward_op, 2)
Layer = of_input(operators.layer_op, operators.layer_backward_op, 2)


@over_chips(3)
class Integrate(torch.autograd.Function):
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
class Project(torch.autograd.Function):
    """The product of :func:`.operators.project_op`."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return operators.project_op(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        g_x, g_weight = _project_backward.apply(gradient, x, weight, (needs_x, needs_weight))
        return (
            sum_shared(g_x, len(x)) if needs_x else None,
            sum_shared(g_weight, len(weight)) if needs_weight else None,
            sum_shared(gradient.sum((1, 2)), len(bias)) if needs_bias and bias.shape[0] else None,
        )
