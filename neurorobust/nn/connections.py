"""Connections: synapses with a connectivity mask, from a flat signal (T, B, n_in) to a flat current (T, B, n_out)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Self, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from .. import kernels
from .._util.errors import check_count, check_finite, check_floating, plain
from ..core.pattern import Pattern

Size = int | Sequence[int]
HOOKS = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"


class Connection(nn.Module, ABC):
    """Synapses of a population. A connection acts on whole sequences and keeps no state.

    A subclass sets ``n_in`` and ``n_out`` and implements :meth:`forward`. Its tensors have the names of
    constructor arguments; :meth:`settings` returns all other constructor arguments, so that it can be stored.
    """

    n_in: int
    n_out: int

    @abstractmethod
    def forward(self, x: Tensor, dt: float) -> Tensor:
        """Whole sequence (T, B, n_in) → (T, B, n_out); dt is the length of a step, s."""

    def masks(self) -> dict[str, Tensor]:
        """True where a synapse exists, by the name of the weight inside the connection, in the weight's shape."""
        return {}

    def patterns(self) -> dict[str, Pattern]:
        """Which synapses exist, of weights that hold these alone, by name as in :meth:`masks`."""
        return {}

    def convolutions(self) -> dict[str, Callable[[], Tensor]]:
        """For each parameter that many neurons share, a function that makes the index of its unrolled form; see
        :class:`neurorobust.core.placement.Placement`."""
        return {}

    def settings(self) -> dict[str, Any]:
        """The constructor's arguments that are neither tensors nor connections, as JSON values."""
        return {}

    def through(self, weight: Tensor, x: Tensor, dt: float) -> Tensor:
        """The output for an input with another weight and without the bias; for connections with a single weight."""
        raise TypeError(f"{type(self).__name__}: has no single weight to read; read noise needs a connection with one.")

    def by_sign(self, x: Tensor, dt: float) -> tuple[Tensor, Tensor]:
        """The currents through the positive weights and through the sizes of the negative ones, without bias: their
        difference is the output without bias."""
        raise ValueError(
            f"{type(self).__name__}: has no weights with a sign; expected a connection that excites or inhibits, such "
            f"as Linear."
        )

    def offset(self, dt: float) -> Tensor | None:
        """The output without input, (n_out,): the bias of each neuron; None without a bias."""
        return None

    def matrix(self) -> Tensor:
        """The weights as one matrix, shape (n_out, n_in), row = target; for connections that have one."""
        raise ValueError(
            f"recurrent: {type(self).__name__} has no matrix; expected a Linear or OneToOne connection there."
        )

    def synapses(self) -> kernels.Weight:
        """:meth:`matrix` for the loops: by its synapses alone where these are few."""
        return self.matrix()

    def convolved(self) -> tuple[kernels.Convolution, Tensor, Tensor | None] | None:
        """The shapes, kernels (C_out, C, kH, kW) and bias of a convolution, perhaps behind a pooling, for the loops;
        None of another connection."""
        return None


class Weighted(Connection):
    """Base of connections with one weight, and with a bias or None, as parameters."""

    weight: nn.Parameter
    bias: nn.Parameter | None

    def through(self, weight: Tensor, x: Tensor, dt: float) -> Tensor:
        values = {"weight": weight} | ({} if self.bias is None else {"bias": torch.zeros_like(self.bias)})
        return torch.func.functional_call(self, values, (x, dt))

    def by_sign(self, x: Tensor, dt: float) -> tuple[Tensor, Tensor]:
        positive = self.weight.clamp(min=0)
        return self.through(positive, x, dt), self.through(positive - self.weight, x, dt)

    def offset(self, dt: float) -> Tensor | None:
        if self.bias is None:
            return None
        bias: Tensor = self.bias
        return bias if len(bias) == self.n_out else bias.repeat_interleave(self.n_out // len(bias))


class _Synapses(Weighted):
    """Base of connections with a mask, a buffer; all shapes are checked."""

    mask: Tensor

    def _register(self, weight: Tensor, bias: Tensor | None, mask: Tensor | None) -> None:
        mask = torch.ones_like(weight, dtype=torch.bool) if mask is None else mask.bool()
        if mask.shape != weight.shape:
            raise ValueError(f"mask: got shape {tuple(mask.shape)}; expected the weight's, {tuple(weight.shape)}.")
        if bias is not None and check_floating("bias", bias, "(n_out,), or None").shape != weight.shape[:1]:
            raise ValueError(f"bias: got shape {tuple(bias.shape)}; expected ({weight.shape[0]},).")
        check_finite({"weight": weight} | ({} if bias is None else {"bias": bias}))
        self.register_buffer("mask", mask.clone())
        self.weight = nn.Parameter(weight * mask)
        self.bias = None if bias is None else nn.Parameter(bias.clone())

    def masks(self) -> dict[str, Tensor]:
        return {"weight": self.mask}

    def masked(self) -> Tensor:
        """The weight with absent synapses at zero, in its own shape."""
        weight, mask = self._checked()
        return weight * mask

    def _checked(self) -> tuple[Tensor, Tensor]:
        """Weight and mask; ValueError for a weight or a bias that was replaced by one of another shape."""
        weight, bias, mask = self.weight, self.bias, self.mask
        if weight.shape != mask.shape:
            raise ValueError(f"weight: got shape {tuple(weight.shape)}; expected {tuple(mask.shape)}.")
        if bias is not None and bias.shape != mask.shape[:1]:
            raise ValueError(f"bias: got shape {tuple(bias.shape)}; expected ({len(mask)},).")
        return weight, mask


class Linear(_Synapses):
    """current = x (mask · weight)ᵀ + bias.

    Args:
        weight: shape (n_out, n_in).
        bias: shape (n_out,), or None for no bias.
        mask: True where a synapse exists, shape of the weight; None connects all. Absent synapses have weight 0,
            do not deviate and are never trained.

    Raises:
        ValueError: a weight that is not (n_out, n_in), or a bias or mask of another shape.

    Example:
        >>> synapses = nr.nn.Linear(torch.tensor([[2.0, 5.0]]), mask=torch.tensor([[True, False]]))
        >>> synapses(torch.tensor([[[1.0, 1.0]]]), 1e-3).tolist()  # the second synapse does not exist
        [[[2.0]]]
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None, mask: Tensor | None = None):
        super().__init__()
        check_floating("weight", weight, "(n_out, n_in); Linear.random(n_in, n_out, generator=…) draws one")
        if weight.ndim != 2:
            raise ValueError(f"weight: got shape {tuple(weight.shape)}; expected (n_out, n_in).")
        self._register(weight, bias, mask)
        self.n_out, self.n_in = weight.shape

    @classmethod
    def random(
        cls,
        n_in: int,
        n_out: int,
        *,
        generator: torch.Generator,
        mask: Tensor | None = None,
        fan_in: int | None = None,
        bias: bool = False,
    ) -> Self:
        """Random weights, uniform between −1/√k and 1/√k, where k is the number of synapses of each neuron.

        Without ``mask`` and ``fan_in``, k = n_in: the distribution of ``torch.nn.Linear``. The bias has the same
        distribution.

        Args:
            generator: the only source of random numbers.
            mask: True where a synapse exists, shape (n_out, n_in); None connects all.
            fan_in: instead of a mask: each neuron gets so many different inputs, chosen at random.
            bias: whether each neuron has a bias.

        Raises:
            ValueError: a size below 1, a mask of another shape, both ``mask`` and ``fan_in``, or more than n_in inputs.

        Example:
            >>> connection = nr.nn.Linear.random(1024, 1024, fan_in=64, generator=torch.Generator().manual_seed(0))
            >>> connection.mask.sum(1).unique()
            tensor([64])
        """
        shape = (check_count("n_out", n_out), check_count("n_in", n_in))
        if fan_in is not None:
            if mask is not None:
                raise ValueError(f"fan_in: got {fan_in} beside a mask; expected one of the two.")
            mask = _random_mask(shape, fan_in, generator)
        present = torch.ones(shape, dtype=torch.bool) if mask is None else mask.bool()
        if present.shape != shape:
            raise ValueError(f"mask: got shape {tuple(present.shape)}; expected (n_out, n_in) = {shape}.")
        bound = present.sum(1).clamp(min=1).rsqrt()
        weight = (2 * torch.rand(shape, generator=generator) - 1) * bound[:, None]
        offset = (2 * torch.rand(n_out, generator=generator) - 1) * bound if bias else None
        return cls(weight, offset, mask)

    def matrix(self) -> Tensor:
        return self.masked()

    def synapses(self) -> kernels.Weight:
        weight, mask = self._checked()
        few = kernels.sparse(weight, mask)
        if few is not None:
            return few
        return weight if kernels.full(mask) and not weight.is_inference() else weight * mask

    def forward(self, x: Tensor, dt: float) -> Tensor:
        return kernels.linear(x, self.synapses(), self.bias)


class OneToOne(_Synapses):
    """current = x · mask · weight + bias, elementwise: neuron i feeds only neuron i.

    Args:
        weight: shape (n,). bias, mask: shape (n,) or None; see :class:`Linear`.

    Raises:
        ValueError: a weight that is not (n,), or a bias or mask of another shape.

    Example:
        >>> nr.nn.OneToOne(torch.tensor([2.0, 3.0]))(torch.tensor([[[1.0, 10.0]]]), 1e-3).tolist()
        [[[2.0, 30.0]]]
    """

    def __init__(self, weight: Tensor, bias: Tensor | None = None, mask: Tensor | None = None):
        super().__init__()
        if check_floating("weight", weight, "(n,)").ndim != 1:
            raise ValueError(f"weight: got shape {tuple(weight.shape)}; expected (n,), one per neuron.")
        self._register(weight, bias, mask)
        self.n_out = self.n_in = len(weight)

    def matrix(self) -> Tensor:
        return torch.diag(self.masked())

    def forward(self, x: Tensor, dt: float) -> Tensor:
        current = x * self.masked()
        return current if self.bias is None else current + self.bias


class _Conv(_Synapses):
    """Base of convolutions with ``dims`` dimensions of space."""

    dims: int

    def __init__(
        self,
        weight: Tensor,
        shape: Sequence[int],
        bias: Tensor | None = None,
        mask: Tensor | None = None,
        stride: Size = 1,
        padding: Size = 0,
    ):
        super().__init__()
        self.shape = _shape(shape, self.dims)
        self.stride, self.padding = _numbers("stride", stride, self.dims), _numbers("padding", padding, self.dims, 0)
        if check_floating("weight", weight, "(n_out, …)").ndim != self.dims + 2 or weight.shape[1] != self.shape[0]:
            raise ValueError(
                f"weight: got shape {tuple(weight.shape)}; expected (n_out, {self.shape[0]}{', k' * self.dims}) for "
                f"inputs of shape {self.shape}."
            )
        self._register(weight, bias, mask)
        self.out_shape = (len(weight), *_places(self.shape, weight.shape[2:], self.stride, self.padding))
        self.n_in, self.n_out = math.prod(self.shape), math.prod(self.out_shape)

    def settings(self) -> dict[str, Any]:
        return {"shape": self.shape, "stride": self.stride, "padding": self.padding}

    def convolutions(self) -> dict[str, Callable[[], Tensor]]:
        found: dict[str, Callable[[], Tensor]] = {"weight": self._unrolled}
        if self.bias is not None:
            places = self.n_out // self.out_shape[0]
            found["bias"] = lambda: torch.arange(self.out_shape[0], device=self.mask.device).repeat_interleave(places)
        return found

    def _unrolled(self) -> Tensor:
        """The entry of the kernel that every synapse reads, (n_out, n_in); −1 where there is none."""
        size, places = self.mask[0].numel(), self.n_out // self.out_shape[0]
        flat = (1,) * (2 - self.dims)
        inputs = (torch.arange(self.n_in, dtype=torch.float64) + 1).reshape(1, self.shape[0], *flat, *self.shape[1:])
        kernel, stride, padding = (
            (*flat, *self.mask.shape[2:]),
            (*flat, *self.stride),
            (*(0,) * len(flat), *self.padding),
        )
        source = functional.unfold(inputs, kernel, padding=padding, stride=stride)[0].long() - 1  # (size, places)
        source = source.T.repeat(self.out_shape[0], 1).to(self.mask.device)  # (n_out, size)
        entry = torch.arange(self.mask.numel(), device=self.mask.device).reshape(-1, 1, size)
        entry = torch.where(self.mask.reshape(-1, 1, size), entry, -1).expand(-1, places, -1).reshape(self.n_out, size)
        index = torch.full((self.n_out, self.n_in + 1), -1, device=self.mask.device)
        return index.scatter_(1, torch.where(source < 0, self.n_in, source), entry)[:, : self.n_in]

    def unrolled(self) -> bool:
        """Whether every neuron has its own synapses, as on a chip; the weight is (n_out, n_in)."""
        return self.weight.shape == (self.n_out, self.n_in)

    def synapses(self) -> kernels.Weight:
        return self._each() if self.unrolled() else super().synapses()

    def forward(self, x: Tensor, dt: float) -> Tensor:
        if self.unrolled():
            return kernels.linear(x, self._each(), self.offset(dt))
        return kernels.convolve(x, *self._shared())

    def convolved(self) -> tuple[kernels.Convolution, Tensor, Tensor | None] | None:
        return self._shared() if called_plainly(self, _Conv.forward) and not self.unrolled() else None

    def _each(self) -> kernels.Weight:
        """The unrolled weight for the loops: by its synapses alone where these are few."""
        if torch.compiler.is_compiling():
            return self.weight
        mask, wired = getattr(self, "_wired", (None, self.mask))
        if mask is None or mask.device != self.mask.device or not torch.equal(mask, self.mask):
            mask, wired = self._wired = self.mask.clone(), self._unrolled() >= 0
        few = kernels.sparse(self.weight, wired)
        return self.weight if few is None else few

    def _shared(self) -> tuple[kernels.Convolution, Tensor, Tensor | None]:
        weight, window = self.masked(), kernels.Window.of(self.shape, self.mask.shape[2:], self.stride, self.padding)
        return kernels.Convolution(window, len(weight)), weight.unsqueeze(2) if self.dims == 1 else weight, self.bias


class Conv1d(_Conv):
    """Cross-correlation along the last axis, as in ``torch.nn.Conv1d``; each flat input is read as (C, L).

    The kernel is one parameter: it deviates in the same way at all positions. A chip without shared kernels holds the
    unrolled weight, (n_out, n_in), instead; there each synapse deviates independently.

    Args:
        weight: shape (C_out, C, k).
        shape: (C, L) of the input; n_in = C · L. The output is flattened from (C_out, L_out).
        bias: shape (C_out,), or None. mask: shape of the weight, or None; see :class:`Linear`.
        stride, padding: in input elements; padding adds zeros.

    Example:
        >>> kernel = torch.tensor([[[-1.0, 1.0]]])  # one output channel, one input channel, two positions
        >>> nr.nn.Conv1d(kernel, shape=(1, 4))(torch.tensor([[[0.0, 1.0, 3.0, 6.0]]]), 1e-3).tolist()
        [[[1.0, 2.0, 3.0]]]
    """

    dims = 1


class Conv2d(_Conv):
    """Cross-correlation in two dimensions, as in ``torch.nn.Conv2d``; each flat input is read as (C, H, W).

    The kernel is one parameter: it deviates in the same way at all positions; see :class:`Conv1d`.

    Args:
        weight: shape (C_out, C, kH, kW).
        shape: (C, H, W) of the input; n_in = C · H · W. The output is flattened from (C_out, H_out, W_out).
        bias: shape (C_out,), or None. mask: shape of the weight, or None; see :class:`Linear`.
        stride, padding: in input elements, one number or one each for H and W; padding adds zeros.

    Example:
        >>> kernel = torch.tensor([[[[-1.0, 1.0]]]])  # one output channel, one input channel, 1 × 2
        >>> conv = nr.nn.Conv2d(kernel, shape=(1, 2, 3))
        >>> conv(torch.tensor([[[0.0, 1.0, 3.0, 0.0, 0.0, 5.0]]]), 1e-3).tolist()  # 2 × 2, flattened
        [[[1.0, 2.0, 0.0, 5.0]]]
    """

    dims = 2


class _Pool2d(Connection):
    """Base of poolings: the sum over a window, divided by ``divisor``; None is the size of the window."""

    divisor: int | None

    def __init__(self, shape: Sequence[int], kernel: Size, stride: Size | None = None):
        super().__init__()
        self.shape, self.kernel = _shape(shape, 2), _numbers("kernel", kernel, 2)
        self.stride = self.kernel if stride is None else _numbers("stride", stride, 2)
        self.out_shape = (self.shape[0], *_places(self.shape, self.kernel, self.stride, (0, 0)))
        self.n_in, self.n_out = math.prod(self.shape), math.prod(self.out_shape)

    def settings(self) -> dict[str, Any]:
        return {"shape": self.shape, "kernel": self.kernel, "stride": self.stride}

    def forward(self, x: Tensor, dt: float) -> Tensor:
        return kernels.pool(x, *self.window())

    def window(self) -> tuple[kernels.Window, int]:
        """Its window, and by what the sums over it are divided, for the loops."""
        divisor = math.prod(self.kernel) if self.divisor is None else self.divisor
        return kernels.Window.of(self.shape, self.kernel, self.stride), divisor


class AvgPool2d(_Pool2d):
    """Mean over windows, without parameters; each flat input is read as (C, H, W).

    Args:
        shape: (C, H, W) of the input. kernel: size of the window. stride: the size of the window by default.

    Example:
        >>> pool = nr.nn.AvgPool2d(shape=(1, 2, 2), kernel=2)
        >>> pool(torch.tensor([[[1.0, 2.0, 3.0, 6.0]]]), 1e-3).tolist()
        [[[3.0]]]
    """

    divisor = None


class SumPool2d(_Pool2d):
    """Sum over windows; arguments as in :class:`AvgPool2d`.

    Example:
        >>> pool = nr.nn.SumPool2d(shape=(1, 2, 2), kernel=2)
        >>> pool(torch.tensor([[[1.0, 2.0, 3.0, 6.0]]]), 1e-3).tolist()
        [[[12.0]]]
    """

    divisor = 1


class Delayed(Connection):
    """A connection with delayed inputs: x[t − round(delay/dt)], 0 before the first step.

    Args:
        connection: the connection for the delayed signal.
        delay: one number or one per input channel, (n_in,), s, ≥ 0; a constant, not a parameter.

    Raises:
        ValueError: a delay that is negative or not finite.

    Example:
        >>> synapse = nr.nn.Delayed(nr.nn.Linear(torch.ones(1, 1)), 2e-3)
        >>> synapse.delayed(torch.tensor([[[1.0]], [[0.0]], [[0.0]], [[0.0]]]), 1e-3).flatten().tolist()
        [0.0, 0.0, 1.0, 0.0]
    """

    delay: Tensor

    def __init__(self, connection: Connection, delay: float | Tensor):
        super().__init__()
        delay = torch.as_tensor(delay, dtype=torch.float64).expand(connection.n_in).clone()
        check_finite({"delay": delay})
        if delay.numel() and delay.min() < 0:
            raise ValueError(f"delay: smallest value is {delay.min().item():g} s; expected values ≥ 0.")
        self.connection = connection
        self.register_buffer("delay", delay)
        self.n_in, self.n_out = connection.n_in, connection.n_out

    def by_sign(self, x: Tensor, dt: float) -> tuple[Tensor, Tensor]:
        return self.connection.by_sign(self.delayed(x, dt), dt)

    def offset(self, dt: float) -> Tensor | None:
        return self.connection.offset(dt)

    def masks(self) -> dict[str, Tensor]:
        return {f"connection.{name}": mask for name, mask in self.connection.masks().items()}

    def patterns(self) -> dict[str, Pattern]:
        return {f"connection.{name}": pattern for name, pattern in self.connection.patterns().items()}

    def convolutions(self) -> dict[str, Callable[[], Tensor]]:
        return {f"connection.{name}": make for name, make in self.connection.convolutions().items()}

    def delayed(self, x: Tensor, dt: float) -> Tensor:
        """The input as it arrives."""
        source = torch.arange(len(x), device=x.device)[:, None] - (self.delay / dt).round().long()
        return x.gather(0, source.clamp(min=0)[:, None].expand(x.shape)) * (source >= 0)[:, None]

    def forward(self, x: Tensor, dt: float) -> Tensor:
        return self.connection(self.delayed(x, dt), dt)


class Chain(Connection):
    """Connections in series without neurons between them, such as pooling before a convolution.

    Args:
        parts: in the order of the signal.

    Raises:
        ValueError: no part, or a part with another number of inputs than the outputs before it.

    Example:
        >>> path = nr.nn.Chain(nr.nn.SumPool2d((1, 2, 2), 2), nr.nn.Linear(torch.tensor([[10.0]])))
        >>> path(torch.tensor([[[1.0, 2.0, 3.0, 6.0]]]), 1e-3).tolist()  # 10 times the sum
        [[[120.0]]]
    """

    def __init__(self, *parts: Connection):
        super().__init__()
        if not parts:
            raise ValueError("parts: got none; expected at least one connection.")
        for above, below in zip(parts[1:], parts):
            if above.n_in != below.n_out:
                raise ValueError(f"parts: {above.n_in} inputs follow {below.n_out} outputs; expected the same number.")
        for i, part in enumerate(parts):
            self.add_module(str(i), part)
        self.n_in, self.n_out = parts[0].n_in, parts[-1].n_out

    def parts(self) -> list[Connection]:
        """The connections in order."""
        return [cast(Connection, part) for part in self.children()]

    def by_sign(self, x: Tensor, dt: float) -> tuple[Tensor, Tensor]:
        *before, last = self.parts()
        for part in before:
            if next(part.parameters(), None) is not None:
                raise ValueError(
                    f"Chain: {type(part).__name__} with weights before the last part leaves the sign of a synapse "
                    f"open; expected weights in the last part only."
                )
            x = part(x, dt)
        return last.by_sign(x, dt)

    def offset(self, dt: float) -> Tensor | None:
        return self.parts()[-1].offset(dt)

    def masks(self) -> dict[str, Tensor]:
        return {f"{i}.{name}": mask for i, part in enumerate(self.parts()) for name, mask in part.masks().items()}

    def patterns(self) -> dict[str, Pattern]:
        return {f"{i}.{name}": own for i, part in enumerate(self.parts()) for name, own in part.patterns().items()}

    def convolved(self) -> tuple[kernels.Convolution, Tensor, Tensor | None] | None:
        first, *others = self.parts()
        if len(others) != 1 or not isinstance(first, _Pool2d) or not called_plainly(self, Chain.forward):
            return None
        known = others[0].convolved() if called_plainly(first, _Pool2d.forward) else None
        if known is None:
            return None
        (convolution, weight, bias), (pool, divisor) = known, first.window()
        return convolution._replace(pool=pool, divisor=divisor), weight, bias

    def forward(self, x: Tensor, dt: float) -> Tensor:
        for part in self.parts():
            x = part(x, dt)
        return x


def convolution_of(connection: Connection) -> tuple[kernels.Convolution, Tensor] | None:
    """The shapes and kernels of :meth:`Connection.convolved`, or of a Linear behind a pooling: one window as large as
    what is pooled."""
    known = connection.convolved()
    if known is not None:
        return known[:2]
    if not isinstance(connection, Chain) or len(connection.parts()) != 2:
        return None
    pool, linear = connection.parts()
    if not isinstance(pool, _Pool2d) or type(linear) is not Linear:
        return None
    calls = (connection, Chain.forward), (pool, _Pool2d.forward), (linear, Linear.forward)
    if not all(called_plainly(module, own) for module, own in calls):
        return None
    (window, divisor), weight = pool.window(), linear.masked()
    behind = kernels.Window.of(pool.out_shape, pool.out_shape[1:], (1, 1))
    return kernels.Convolution(behind, len(weight), window, divisor), weight.reshape(-1, *pool.out_shape)


def called_plainly(module: nn.Module, forward: Callable[..., Tensor]) -> bool:
    """Whether a call of a module is this method of its class alone: no hooks, and no other method in its place."""
    own = type(module).forward is forward and "forward" not in vars(module)
    return own and not any(getattr(module, hooks) for hooks in HOOKS)


def _random_mask(shape: tuple[int, int], fan_in: int, generator: torch.Generator) -> Tensor:
    """True for ``fan_in`` different inputs of each neuron, all choices alike."""
    if check_count("fan_in", fan_in) > shape[1]:
        raise ValueError(f"fan_in: got {fan_in}; expected at most n_in = {shape[1]}.")
    chosen = [torch.randperm(shape[1], generator=generator)[:fan_in] for _ in range(shape[0])]
    return torch.zeros(shape, dtype=torch.bool).scatter_(1, torch.stack(chosen), True)


def _numbers(name: str, value: Size, n: int, low: int = 1) -> tuple[int, ...]:
    value = plain(value)
    values = (value,) * n if isinstance(value, int) else tuple(value)
    if len(values) != n:
        raise ValueError(f"{name}: got {value!r}; expected {n} integers.")
    return tuple(check_count(name, number, low) for number in values)


def _shape(shape: Sequence[int], dims: int) -> tuple[int, ...]:
    if isinstance(plain(shape), int):
        raise TypeError(f"shape: got {shape!r}; expected {dims + 1} integers, channels first.")
    return _numbers("shape", shape, dims + 1)


def _places(shape: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]) -> list[int]:
    """The number of positions of the kernel along each dimension of space."""
    places = [(size + 2 * p - k) // s + 1 for size, k, s, p in zip(shape[1:], kernel, stride, padding)]
    if min(places) < 1:
        raise ValueError(f"kernel: {tuple(kernel)} does not fit into {tuple(shape[1:])} padded by {tuple(padding)}.")
    return places
