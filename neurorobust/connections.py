"""Connections: synapses with a connectivity mask."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .errors import check_finite


class Linear(nn.Module):
    """current = x (mask · weight)ᵀ + bias.

    Args:
        weight: shape (n_out, n_in).
        bias: shape (n_out,), or None for neurons without one.
        mask: True where a synapse exists, shape of the weight; None connects all. Absent synapses have weight 0,
            do not deviate and are never trained.
    """

    mask: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None = None, mask: Tensor | None = None):
        super().__init__()
        if weight.ndim != 2:
            raise ValueError(f"weight: got shape {tuple(weight.shape)}; expected (n_out, n_in).")
        mask = torch.ones_like(weight, dtype=torch.bool) if mask is None else mask.bool()
        if mask.shape != weight.shape:
            raise ValueError(f"mask: got shape {tuple(mask.shape)}; expected the weight's, {tuple(weight.shape)}.")
        if bias is not None and bias.shape != weight.shape[:1]:
            raise ValueError(f"bias: got shape {tuple(bias.shape)}; expected ({weight.shape[0]},).")
        check_finite({"weight": weight} | ({} if bias is None else {"bias": bias}))
        self.register_buffer("mask", mask)
        self.weight = nn.Parameter(weight * mask)
        self.bias = None if bias is None else nn.Parameter(bias.clone())

    def matrix(self) -> Tensor:
        """The weights with absent synapses at zero, shape (n_out, n_in)."""
        if self.weight.shape != self.mask.shape:
            raise ValueError(f"weight: got shape {tuple(self.weight.shape)}; expected {tuple(self.mask.shape)}.")
        return self.weight * self.mask

    def forward(self, x: Tensor) -> Tensor:
        if self.bias is not None and self.bias.shape != self.mask.shape[:1]:
            raise ValueError(f"bias: got shape {tuple(self.bias.shape)}; expected ({len(self.mask)},).")
        return functional.linear(x, self.matrix(), self.bias)
