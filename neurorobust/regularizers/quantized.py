"""Training through quantization with given codecs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Self

import torch
from torch import Tensor

from .._util.errors import check_positive, unknown
from ..chip.encodings import Codec, SignedPair
from ..core.params import ABOVE_ZERO, KINDS, Params, kind_of
from ..core.placement import HOST, Placement, expand
from .regularizer import Criterion, Regularizer, Step, as_regularizer

Rule = Callable[[Tensor], Codec]


class Quantized(Regularizer):
    """The inner loss at quantized parameters: θ ← decode(encode(θ)), with the gradient of the identity.

    Quantize first, then deviate: ``Quantized(Adversarial(loss, …), codecs)`` attacks the quantized values, as on a
    chip. Inside another regularizer it quantizes the inner loss only. Read-outs on the host, digital numbers and absent
    synapses are not quantized.

    Args:
        inner: loss(logits, y) or another regularizer.
        codecs: by kind, a :class:`~neurorobust.chip.encodings.Codec`, or a rule that makes one from all values of the
            kind on a core, in every batch anew (``{"weight": fit_masks}``). Without a placement a rule gets one
            parameter at a time. A kind the network lacks is ignored.

    Raises:
        ValueError: a kind does not exist; a value is out of a codec's range, which ``Saturating`` allows; a positive
            kind is held as 0 or less.

    Example:
        >>> layer = nn.Linear(2, 2, bias=False)
        >>> _ = nn.init.eye_(layer.weight)
        >>> model, batch = nr.wrap(layer), (torch.tensor([[1.0, 0.8]]), torch.tensor([0]))
        >>> loss = nr.regularizers.Quantized(nn.functional.cross_entropy, {"weight": nr.chip.encodings.Uniform(4, 0.7)})
        >>> params, generator = dict(model.named_parameters()), torch.Generator().manual_seed(0)
        >>> round(loss(model, params, batch, generator).item(), 3)  # at a weight of 0.7; plain: 0.598
        0.626
    """

    def __init__(self, inner: Criterion | Regularizer, codecs: Mapping[str, Codec | Rule]):
        for kind, codec in codecs.items():
            if kind not in KINDS:
                raise unknown("codecs: kind", kind, KINDS)
            if not isinstance(codec, Codec) and not callable(codec):
                raise TypeError(f"codecs[{kind!r}]: got {codec!r}; expected a Codec, or a function that makes one.")
        self.inner = as_regularizer(inner)
        self.codecs = dict(codecs)

    @classmethod
    def example(cls, inner: Criterion | Regularizer, strength: float = 1.0) -> Self:
        return cls(inner, {"weight": partial(SignedPair.holding, bits=4)} if strength else {})

    def total(self, step: Step) -> Tensor:
        return self.inner.total(step.at(self.quantized_params(step.params, step.placement)))

    def quantized_params(self, params: Params, placement: Placement) -> Params:
        """The quantized parameters, expanded, differentiable (straight-through)."""
        values = expand(params, placement)
        for kind, codec in self.codecs.items():
            for group in groups(kind, values, placement).values():
                chosen = codec
                if not isinstance(chosen, Codec):
                    chosen = chosen(torch.cat([values[name].detach()[here] for name, here in group.items()]))
                    if not isinstance(chosen, Codec):
                        raise TypeError(f"codecs[{kind!r}]: the rule gave {chosen!r}; expected a Codec.")
                for name, here in group.items():
                    held = chosen.quantize(values[name][here], name)
                    if kind in ABOVE_ZERO:
                        check_positive(f"{name}, as {type(chosen).__name__} holds it", held.detach())
                    values[name] = values[name].masked_scatter(here, held)
        return values


def groups(kind: str, values: Params, placement: Placement) -> dict[str | int, dict[str, Tensor]]:
    """The elements that share a codebook: those of one kind on one core, or of one parameter without a core.

    Returns:
        By core, or by name where there is none: {parameter: True for the elements that belong}.
    """
    found: dict[str | int, dict[str, Tensor]] = {}
    for name, value in values.items():
        if kind_of(name) != kind:
            continue
        sites = placement.sites(name, value)
        if sites is None:  # placed nowhere, or shared by many neurons
            if placement.layer(name) is None or placement.on_chip(name):
                present = placement.masks.get(name)
                found[name] = {name: torch.ones_like(value, dtype=torch.bool) if present is None else present}
            continue
        for number in sites.core[sites.core != HOST].unique().tolist():
            found.setdefault(number, {})[name] = placement.on_core(name, value, number)
    return {key: group for key, group in found.items() if any(here.any() for here in group.values())}
