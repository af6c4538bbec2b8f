"""Random numbers that depend on a seed and on what they are for, never on what was drawn before."""

from __future__ import annotations

import hashlib

import torch


def derived_seed(seed: int, *purpose: str | int) -> int:
    """A seed of its own for each (seed, purpose): 63 bits, e.g. `derived_seed(7, "onsets")`."""
    digest = hashlib.sha256(repr((int(seed), *purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator_for(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU generator of its own for each (seed, purpose), e.g. `generator_for(seed, "latents", step)`.

    A run that stops at step k and goes on draws the same numbers as one that never stopped, because no state
    is carried from one step to the next.
    """
    return torch.Generator().manual_seed(derived_seed(seed, *purpose))
