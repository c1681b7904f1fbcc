"""Any torch module as a network: its parameters get kinds, its output becomes logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from .._util.errors import check_input
from .kinds import adopt, check_alike, kinds_of, named, slots_of
from .look import Foreign

Decode = Callable[[Any], Tensor]


def is_snntorch(module: nn.Module) -> bool:
    """True if the class of a module is defined in snnTorch."""
    return any(cls.__module__.split(".")[0] == "snntorch" for cls in type(module).__mro__)


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

    Its parameters are the module's own tensors, under names that end in their kind. Training it trains the module.
    """

    def __init__(self, module: nn.Module, kinds: Mapping[str, str], decode: Decode | None):
        super().__init__()
        self.slots = {}
        for name, parameter in module.named_parameters():
            adopt(self, named(name, kinds[name]), parameter)
            self.slots[named(name, kinds[name])] = tuple(f"_module.{slot}" for slot in slots_of(module, parameter))
        self.decode = decode
        self.add_module("_module", module)
        self.training = module.training

    def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Samples (B, …) → logits, and no spikes: the inside of the module is unknown."""
        check_input(x, next(self.parameters()), integers=True)
        version = None if x.is_inference() else x._version
        with self.guarded():
            logits = logits_of(self.get_submodule("_module")(x), self.decode, len(x))
        if version is not None and x._version != version:
            raise ValueError(
                "module: changes its input in place, so the next pass gets another input; set inplace=False in its "
                "first layer, or begin its forward with x = x.clone()."
            )
        return logits, {}


def wrap(module: nn.Module, kinds: Mapping[str, str] | None = None, decode: Decode | None = None) -> Wrapped:
    """Make any torch module a network that can be attacked, trained robustly and put on dies.

    Nothing is copied: training changes the module's own tensors. Attacks and evaluations change neither its
    ``train``/``eval`` mode nor its buffers.

    Args:
        module: from inputs, batch first, to outputs.
        kinds: kinds by parameter name or pattern, before the known names: ``{"bn*.*": "digital"}`` marks batch
            norms as exact, ``{"gain": "weight"}`` gives the kind of a name that torch does not use. See
            :func:`kinds.kinds_of`.
        decode: from the module's output to logits (B, n_classes); None uses the output unchanged.

    Raises:
        TypeError: not a module. ValueError: a parameter of no known kind; mixed types or devices; no parameters.

    Example:
        >>> model = wrap(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
        >>> [name for name, _ in model.named_parameters()]
        ['0.weight', '0.bias', '2.weight', '2.bias']
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module: got {type(module).__name__}; expected a torch.nn.Module.")
    if isinstance(module, Wrapped):
        raise TypeError("module: is already wrapped.")
    for name, part in module.named_modules():
        if isinstance(part, nn.Embedding | nn.EmbeddingBag) and part.max_norm is not None:
            raise ValueError(f"module: {name} has max_norm, which changes its weights in every pass; use None.")
        if is_snntorch(part):
            raise TypeError(f"module: {name} is an snnTorch neuron; use nr.from_snntorch.")
    if decode is not None and not callable(decode):
        raise TypeError(f"decode: got {decode!r}; expected a function from the module's output to logits.")
    check_alike(module)
    return Wrapped(module, kinds_of(module, kinds), decode)
