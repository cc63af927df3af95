"""Every random number is a function of (purpose, seed, epoch), so that no generator needs saving."""

from __future__ import annotations

from hashlib import blake2b

import torch


def derived_seed(purpose: str, seed: int, epoch: int) -> int:
    """A 63-bit seed for one purpose ("order", "dropout", "augmentation") in one epoch of one copy."""
    digest = blake2b(f"{purpose}/{seed}/{epoch}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(purpose: str, seed: int, epoch: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator of its own, at its start, for one purpose in one epoch of one copy."""
    return torch.Generator(device).manual_seed(derived_seed(purpose, seed, epoch))
