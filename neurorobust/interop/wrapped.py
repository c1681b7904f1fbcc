"""Any torch module as a network: its parameters get kinds, its output becomes logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from operator import attrgetter
from typing import Any

from torch import Tensor, nn

from .._util.errors import check_input
from ..core.params import kind_of
from ..core.placement import Placement
from .hooks import absent_by_hook
from .kinds import (
    adopt,
    arrays_of,
    check_alike,
    check_embeddings,
    check_plain,
    check_registered,
    chosen_numbers,
    give_own_memory,
    index_of,
    kinds_of,
    named,
    numbers_of,
    slots_of,
)
from .libraries import is_rate, with_number
from .look import Foreign

Decode = Callable[[Any], Tensor]


def is_snntorch(module: nn.Module) -> bool:
    """True if the class of a module is defined in snnTorch."""
    return any(cls.__module__.split(".")[0] == "snntorch" for cls in type(module).__mro__)


def _apart(network: nn.Module) -> AbstractContextManager[None]:
    """A context in which a reset of snnTorch neurons in forward reaches those of this network alone."""
    if not any(is_snntorch(part) for part in network.modules()):
        return nullcontext()
    from .snntorch_neurons import alone, neurons_of  # snnTorch is loaded, as the module uses it

    return alone(neurons_of(network).values())


def logits_of(output: Any, decode: Decode | None, samples: int) -> Tensor:
    """Logits (B, …) from the output of a module; any other output is refused."""
    logits = output if decode is None else decode(output)
    if not isinstance(logits, Tensor) or not logits.is_floating_point() or logits.ndim < 2 or len(logits) != samples:
        got = f"a tensor of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise ValueError(
            f"decode: the module gives {got} for {samples} samples; expected floating logits, samples first "
            f"({samples}, n_classes). Pass decode=…, a function from the output of the module to logits."
        )
    return logits


class Wrapped(Foreign):
    """A torch module as a network of this package; :func:`wrap` makes it.

    Its parameters are the module's own tensors, under names that end in their kind. Training it trains the module. A
    buffer or plain number that the user names is a parameter too, which is not trained.
    """

    incidental = ("watch", "masks")

    def __init__(
        self,
        module: nn.Module,
        kinds: Mapping[str, str],
        numbers: Mapping[str, Tensor],
        index: Mapping[str, Tensor],
        decode: Decode | None,
    ):
        super().__init__()
        self.slots, self.numbers, self.decode = {}, dict[str, str](), decode
        self.index = {named(name, kinds[name]): entries for name, entries in index.items()}
        absent = absent_by_hook(module, dict(module.named_parameters()))
        self.masks = {named(name, kinds[name]): mask for name, mask in absent.items() if kinds[name] == "weight"}
        buffers = dict(module.named_buffers())
        for name, parameter in module.named_parameters():
            adopt(self, named(name, kinds[name]), parameter)
            self._link(module, named(name, kinds[name]), parameter)
        for name, value in numbers.items():
            own = named(name, kinds[name])
            if name in buffers and not is_rate(name, kinds[name]):
                adopt(self, own, nn.Parameter(value.detach(), requires_grad=False))
                self._link(module, own, buffers[name])
                continue
            held = value.detach().clone()  # a default tensor of a library is shared by all its neurons
            adopt(self, own, nn.Parameter(held.reciprocal() if is_rate(name, kinds[name]) else held, False))
            self.numbers[own] = name
        if hasattr(self, "_module"):
            raise ValueError("module: a part may not be called '_module' here; rename it.")
        self.add_module("_module", module)
        self.training = module.training

    def _link(self, module: nn.Module, own: str, tensor: Tensor) -> None:
        self.slots[own] = tuple(f"_module.{place}" for place in slots_of(module, tensor))

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Samples (B, …) → logits, and no spikes: the inside of the module is unknown."""
        check_input(x, next(self.parameters()), integers=True)
        version = None if x.is_inference() else x._version
        with self.guarded(), _apart(self), self._numbers_set():
            logits = logits_of(self.get_submodule("_module")(x), self.decode, len(x))
        if version is not None and x._version != version:
            raise ValueError(
                "module: changes its input in place, so the next pass gets another input; set inplace=False in its "
                "first layer, or begin its forward with x = x.clone()."
            )
        return logits, {}

    @contextmanager
    def _numbers_set(self) -> Iterator[None]:
        """The module's plain numbers hold the tensors of this pass."""
        before = []
        try:
            for own, name in self.numbers.items():
                part, path = _place(self.get_submodule("_module"), name.split("."))
                attributes = vars(part)["_buffers"] if path[0] in dict(part.named_buffers()) else vars(part)
                before.append((attributes, path[0], attributes[path[0]]))
                value = attrgetter(own)(self)
                value = value.reciprocal() if is_rate(name, kind_of(own)) else value
                attributes[path[0]] = with_number(attributes[path[0]], path[1:], value)
            yield
        finally:
            for attributes, first, value in reversed(before):
                attributes[first] = value

    def placement(self) -> Placement:
        """Which neurons read the numbers that are set once, the matrices of the module, and the synapses that its hooks
        keep absent; it sits on no core."""
        arrays = [named(name, "weight") for name in arrays_of(self.get_submodule("_module"))]
        masks = {name: mask.to(self.get_parameter(name).device) for name, mask in self.masks.items()}
        return Placement(index=self.index, masks=masks, arrays=tuple(name for name in arrays if name in self.slots))


def _place(module: nn.Module, path: list[str]) -> tuple[nn.Module, list[str]]:
    """The part of a module that holds a number, and the rest of its path: the attribute, and fields in it."""
    while path[0] in dict(module.named_children()):
        module, path = module.get_submodule(path[0]), path[1:]
    return module, path


def wrap(
    module: nn.Module,
    kinds: Mapping[str, str] | None = None,
    decode: Decode | None = None,
    *,
    neurons: Mapping[str, int | Sequence[int]] | None = None,
) -> Wrapped:
    """Make any torch module a network that can be attacked, trained robustly and put on dies.

    Nothing is copied: training changes the module's own tensors. Attacks and evaluations change neither its
    ``train``/``eval`` mode nor its buffers.

    Args:
        module: from inputs, batch first, to outputs.
        kinds: kinds by parameter name or pattern, before the known names: ``{"normalisation": "digital"}`` marks all
            norms as exact, ``{"bn*.*": "digital"}`` some of them, ``{"gain": "weight"}`` gives the kind of a name that
            torch does not use. A buffer or a plain number of the module deviates if it is named, also one in a record:
            ``{"1.tau_mem": "tau_mem"}``, ``{"1.p.v_th": "v_threshold"}``. Of a ``tau_mem_inv`` the network holds the
            time constant. See :func:`kinds.kinds_of`.
        decode: from the module's output to logits (B, n_classes); None uses the output unchanged.
        neurons: how many neurons read a number that is set once, by name or pattern: with ``{"1.tau_mem": 6}`` the
            module gets six values, one per neuron, which deviate independently. A tuple is the shape of the neurons,
            ``(8, 1, 1)`` for one per channel. The module has to take a tensor of that shape.

    Raises:
        TypeError: not a module, or one that hides its parameters: compiled, scripted, quantized or parallel.
        ValueError: a parameter of no known kind; mixed types or devices; no parameters.

    Warns:
        UserWarning: numbers with the name of a kind that do not deviate, or that deviate once for all neurons.

    Example:
        >>> model = wrap(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
        >>> [name for name, _ in model.named_parameters()]
        ['0.weight', '0.bias', '2.weight', '2.bias']
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module: got {type(module).__name__}; expected a torch.nn.Module.")
    if isinstance(module, Foreign):
        raise TypeError("module: is already wrapped.")
    check_plain(module)
    check_embeddings(module)
    if any(is_snntorch(part) for part in module.modules()):
        from .snntorch_neurons import check_wrapped  # snnTorch is loaded, as the module uses it

        check_wrapped(module, kinds or {})
    if decode is not None and not callable(decode):
        raise TypeError(f"decode: got {decode!r}; expected a function from the module's output to logits.")
    check_alike(module)
    check_registered(module)
    give_own_memory(module)
    own, numbers = kinds_of(module, kinds), chosen_numbers(module, kinds)
    values = {name: value for name, value in numbers_of(module).items() if name in numbers}
    index = index_of(module, own | numbers, dict(module.named_parameters()) | values, neurons or {})
    return Wrapped(module, own | numbers, values, index, decode)
