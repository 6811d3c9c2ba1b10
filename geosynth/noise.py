"""Random numbers as pure functions of what they are for.

The noise of synthetic pair i is a function of (seed, i), the batch of training step s of (seed, s, rank): whoever draws
it, in whatever order, on whatever machine, gets the same numbers. They are drawn on the CPU, whose generator (Mersenne
Twister in torch) is the same everywhere.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Generator, Tensor


def mix_seed(purpose: str, *numbers: int) -> int:
    """A 63-bit seed from a purpose and any integers. Hashed, so that neighbouring seeds share nothing."""
    text = ":".join([purpose, *(str(int(number)) for number in numbers)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator_for(purpose: str, *numbers: int) -> Generator:
    """A CPU generator seeded by ``mix_seed``."""
    return Generator().manual_seed(mix_seed(purpose, *numbers))


def sample_noise(seed: int, index: int, shape: tuple[int, ...]) -> Tensor:
    """Starting noise of pair ``index``: standard normal float32 of ``shape``, a pure function of both numbers."""
    return torch.randn(shape, generator=generator_for("sample", seed, index))
