"""Random seeds: each generator is seeded by (purpose, seed, epoch), so a checkpoint needs no random state."""

from __future__ import annotations

from hashlib import blake2b

import torch


def derived_seed(purpose: str, seed: int, epoch: int) -> int:
    """A 63-bit random seed for one purpose ("order", "dropout", "augmentation") in one epoch of one copy."""
    digest = blake2b(f"{purpose}/{seed}/{epoch}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(purpose: str, seed: int, epoch: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A new, seeded generator for one purpose in one epoch of one copy."""
    return torch.Generator(device).manual_seed(derived_seed(purpose, seed, epoch))
