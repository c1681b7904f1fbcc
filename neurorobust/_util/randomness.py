"""Random numbers: one generator for every (seed, purpose)."""

from __future__ import annotations

import hashlib

import torch

from .errors import check_count


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A generator of its own for a seed and a purpose.

    torch's CPU generator looks at the low 32 bits of its seed only, so both are hashed together.

    Args:
        seed: an integer ≥ 0. purpose: names and numbers that tell one use of the seed from another.
    """
    check_count("seed", seed, 0)
    digest = hashlib.blake2b(repr((seed, *purpose)).encode(), digest_size=4).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))
