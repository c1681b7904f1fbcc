"""Random numbers: one generator for every (seed, purpose)."""

from __future__ import annotations

import hashlib

import torch

from .errors import check_count, plain


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A separate generator for each seed and purpose.

    torch's CPU generator uses only the low 32 bits of its seed, so seed and purpose are hashed together.

    Args:
        seed: an integer ≥ 0. purpose: names and numbers that distinguish the uses of one seed.
    """
    seed = check_count("seed", seed, 0)
    digest = hashlib.blake2b(repr((seed, *map(plain, purpose))).encode(), digest_size=4).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))
