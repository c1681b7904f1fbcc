"""The tensors that an optimizer changes in place of a network's parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from ..core.params import ABOVE_ZERO, Params, kind_of


class Leaves(Mapping[str, Tensor]):
    """By name, the tensors that :func:`neurorobust.fit` trains, for a training loop of your own.

    For a positive kind (a time constant, a threshold) it is the logarithm of the parameter, so the parameter stays
    positive, and a step is relative: Adam with ``lr=1e-3`` changes a time constant by about 0.1 %. For any other kind
    it is the parameter itself. A parameter without ``requires_grad`` has no leaf.

    Example:
        >>> import neurorobust, snntorch
        >>> net = nn.Sequential(nn.Linear(4, 8), snntorch.Leaky(beta=0.9, learn_beta=True, init_hidden=True))
        >>> Leaves(neurorobust.from_snntorch(net, dt=1e-3))["1.tau_mem"].exp()
        tensor(0.0095, grad_fn=<ExpBackward0>)
    """

    def __init__(self, network: nn.Module):
        self._own = dict(network.named_parameters())
        self._leaves = {name: _leaf(name, value) for name, value in self._own.items() if value.requires_grad}
        self._logarithms = {name: value for name, value in self._leaves.items() if value is not self._own[name]}

    def __getitem__(self, name: str) -> Tensor:
        return self._leaves[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._leaves)

    def __len__(self) -> int:
        return len(self._leaves)

    def params(self) -> Params:
        """Every parameter of the network at the present leaves, as a function of them."""
        return self._own | {name: value.exp() for name, value in self._logarithms.items()}

    @torch.no_grad()
    def write(self) -> None:
        """Write the present values into the parameters of the network; call it after each step of the optimizer."""
        for name, value in self._logarithms.items():
            self._own[name].copy_(value.exp())


def _leaf(name: str, parameter: Tensor) -> Tensor:
    """The tensor to train: the logarithm of a positive parameter, else the parameter itself."""
    if kind_of(name) in ABOVE_ZERO:
        return parameter.detach().log().requires_grad_()
    return parameter
