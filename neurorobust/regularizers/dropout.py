"""Training with randomly dropped neurons."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from .._util.errors import check_number, unknown
from ..core.params import Params
from .regularizer import Criterion, Regularizer, Step, as_regularizer


class Dropout(Regularizer):
    """The inner loss with neurons dropped, one mask per batch. It is applied to the weights that read the neurons,
    which is equivalent.

    ::

        s[j] ← s[j] · m[j]/(1 − p),        m[j] = 1 with probability 1 − p, else 0
        that is  weight[:, j, …] ← weight[:, j, …] · m[j]/(1 − p)

    so it nests, and works for spikes, for the inputs of any dense or convolutional layer (whole channels) and for any
    torch module, without hooks. The paper's is ``Dropout(loss, 0.3, "hidden.recurrent.weight")`` (arXiv 2106.05009).

    Args:
        inner: loss(outputs, y) or another regularizer.
        p: probability that a neuron is dropped, 0 ≤ p < 1.
        weights: full names of weights, shape (n_out, n_in, …), not grouped. Weights that read the same neurons share a
            mask as a tuple: ``("hidden.recurrent.weight", "readout.input.weight")`` drops hidden neurons everywhere.
            None named: the paper's, every ``*.recurrent.weight``, or, where a network has none, every dense weight but
            the first parameter, which reads the input.

    Raises:
        ValueError: a weight does not exist, or weights that share a mask read different numbers of neurons; none named
            and none of the kind there.

    Example:
        >>> layer = nn.Linear(1000, 1, bias=False)
        >>> _ = nn.init.ones_(layer.weight)
        >>> model, batch = nr.wrap(layer), (torch.ones(1, 1000), torch.ones(1, 1))
        >>> loss = nr.regularizers.Dropout(lambda output, y: output.sum(), 0.3, "weight")
        >>> params, generator = dict(model.named_parameters()), torch.Generator().manual_seed(0)
        >>> round(loss(model, params, batch, generator).item())  # 1000 on average
        991
    """

    def __init__(self, inner: Criterion | Regularizer, p: float, *weights: str | tuple[str, ...]):
        p = check_number("p", p)
        if p >= 1:
            raise ValueError(f"p: got {p}; expected a probability ≥ 0 and < 1.")
        self.inner = as_regularizer(inner)
        self.p = float(p)
        self.weights = tuple((group,) if isinstance(group, str) else tuple(group) for group in weights)
        names = [name for group in self.weights for name in group]
        for name in names:
            if not name.endswith("weight") or names.count(name) > 1:
                raise ValueError(f"weights: got {name!r}; expected names of weights, each once.")

    @classmethod
    def example(cls, inner: Criterion | Regularizer, strength: float = 1.0) -> Self:
        return cls(inner, 0.5 * strength)

    def total(self, step: Step) -> Tensor:
        dropped: Params = dict(step.params)
        for group in self.weights or _of_neurons(step):
            mask = None
            for name in group:
                if name not in step.params:
                    raise unknown("weights", name, (key for key in step.params if key.endswith("weight")))
                weight = step.params[name]
                pattern = step.placement.patterns.get(name)
                n = pattern.shape[1] if pattern else weight.shape[1] if weight.ndim > 1 else weight.numel()
                if mask is None:
                    mask = torch.rand(n, generator=step.generator, dtype=torch.float32) >= self.p
                if len(mask) != n:
                    raise ValueError(
                        f"weights: {name} reads {n} neurons, {group[0]} reads {len(mask)}; only weights that read the "
                        f"same neurons share a mask."
                    )
                factor = (mask.to(weight) / (1 - self.p)).reshape((n,) + (1,) * (weight.ndim - 2))
                dropped[name] = weight * (factor[pattern.sources] if pattern else factor)
        return self.inner.total(step.at(dropped))


def _of_neurons(step: Step) -> tuple[tuple[str, ...], ...]:
    """The weights that read neurons, each by itself: recurrent ones, or else dense ones after the first parameter."""
    params, patterns = step.params, step.placement.patterns
    recurrent = [name for name in params if name.endswith(".recurrent.weight")]
    dense = [
        name for name in list(params)[1:] if name.endswith("weight") and (params[name].ndim == 2 or name in patterns)
    ]
    if not recurrent and not dense:
        raise ValueError("weights: got none, and no weight here reads neurons for sure; name those that do.")
    return tuple((name,) for name in recurrent or dense)
