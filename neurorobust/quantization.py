"""Quantization: from trained values to the codes a chip can hold, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .errors import check_count


@dataclass(frozen=True)
class MaskCodebook:
    """w = ± Σ_k bit_k(code) · currents[k]: a mask over a few free currents that a whole core shares.

    Codes are integers from −(2^n − 1) to 2^n − 1; the sign is that of the synapse type (+ AMPA, − GABA), 0 is no
    synapse at all.

    Attributes:
        currents: the n currents, ascending, in units of the weight.
    """

    currents: tuple[float, ...]

    def levels(self) -> np.ndarray:
        """The 2^n magnitudes, by code."""
        n = len(self.currents)
        bits = np.arange(2**n)[:, None] >> np.arange(n) & 1
        return bits @ np.asarray(self.currents)

    def encode(self, weights: Tensor) -> Tensor:
        """The code of the nearest level, for every weight."""
        levels = self.levels()
        order = np.argsort(levels, kind="stable")
        bounds = (levels[order][1:] + levels[order][:-1]) / 2
        codes = order[np.searchsorted(bounds, weights.detach().abs().double().numpy())]
        return torch.from_numpy(codes) * weights.sign().long()

    def decode(self, codes: Tensor) -> Tensor:
        """The weights that the codes mean, float64."""
        return torch.from_numpy(self.levels())[codes.abs()] * codes.sign()


def fit_masks(weights: Tensor, bits: int = 4, rounds: int = 50) -> MaskCodebook:
    """The currents whose subset sums lie nearest to the magnitudes of some weights, in mean square.

    Alternates between assigning every weight its nearest level and solving for the currents (least squares), from
    several binary-weighted starts; the best is kept. Deterministic.

    Args:
        weights: any shape, at least one non-zero. bits: number of currents. rounds: of the alternation, at most.
    """
    check_count("bits", bits)
    magnitudes = weights.detach().abs().double().numpy().ravel()
    if not magnitudes.any():
        raise ValueError("weights: all are 0; a core without a synapse has no codebook.")
    binary = 2.0 ** np.arange(bits)
    selects = (np.arange(2**bits)[:, None] >> np.arange(bits) & 1).astype(float)
    best, best_error = binary, np.inf
    for fraction in (0.3, 0.45, 0.6, 0.8, 1.0):
        currents = binary / binary.sum() * magnitudes.max() * fraction
        for _ in range(rounds):
            codes = torch.from_numpy(magnitudes)
            chosen = selects[MaskCodebook(tuple(currents)).encode(codes).numpy()]
            error = float(np.square(magnitudes - chosen @ currents).mean())
            if error < best_error * (1 - 1e-9):
                best, best_error = currents, error
            improved = np.abs(np.linalg.lstsq(chosen, magnitudes, rcond=None)[0])
            if np.allclose(improved, currents, rtol=1e-6, atol=0):
                break
            currents = np.sort(improved)
    return MaskCodebook(tuple(float(current) for current in np.sort(best)))
