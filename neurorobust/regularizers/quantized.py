"""Training through rounding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Self

import torch
from torch import Tensor

from .._util.errors import check_positive, unknown
from ..core.params import ABOVE_ZERO, KINDS, Params, kind_of
from ..core.placement import HOST, Placement, expand
from ..quantization import Codec, SignedPair
from .regularizer import Criterion, Regularizer, Step, as_regularizer

Rule = Callable[[Tensor], Codec]


class Quantized(Regularizer):
    """The inner loss at the values a chip can hold: θ ← decode(encode(θ)), with the gradient of the identity.

    Quantize first, then deviate: ``Quantized(Adversarial(loss, …), codecs)`` attacks what the chip holds, as it is
    attacked there; inside of another regularizer it quantizes the inner loss alone. Read-outs on the host, digital
    numbers and absent synapses stay as they are.

    Args:
        inner: loss(logits, y) or another regularizer.
        codecs: by kind, a :class:`~neurorobust.quantization.Codec`, or a rule that makes one from all values of the
            kind on a core, in every batch anew (``{"weight": fit_masks}``). Without a placement a rule gets one
            parameter at a time. A kind the network lacks is ignored.

    Raises:
        ValueError: a kind does not exist; a value is out of a codec's range, which ``Saturating`` allows; a positive
            kind is held as 0 or less.
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
        return self.inner.total(step.at(self.held(step.params, step.placement)))

    def held(self, params: Params, placement: Placement) -> Params:
        """The parameters as the codecs hold them, expanded, differentiable (straight-through)."""
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
    """What shares a codebook: the elements, by parameter, of a kind on each core, or of a parameter that has none.

    Returns:
        By core, or by name where there is none: {parameter: True for the elements that belong}.
    """
    found: dict[str | int, dict[str, Tensor]] = {}
    for name, value in values.items():
        if kind_of(name) != kind:
            continue
        core = placement.core(name)
        exists = placement.masks.get(name)
        present = torch.ones_like(value, dtype=torch.bool) if exists is None else exists
        if core is None or not value.ndim or len(value) != len(core):  # placed nowhere, or shared by many neurons
            if core is None or not (core == HOST).all():
                found[name] = {name: present}
            continue
        for number in core[core != HOST].unique().tolist():
            here = (core == number).reshape(-1, *[1] * (value.ndim - 1)) & present
            found.setdefault(number, {})[name] = here
    return {key: group for key, group in found.items() if any(here.any() for here in group.values())}
