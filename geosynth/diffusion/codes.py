"""Class indices as analog bits, and back to the nearest valid code.

SatSynth (CVPR 2024, section 3.2) and Analog Bits (Chen et al. 2023, section 2) write the class index k of a pixel as
its binary digits, shifted and scaled to -1 and +1, and let the diffusion model treat them as continuous channels.
A network may learn bits of another size than 1: the smaller they are, the sooner noise hides them, so that more of the
noise levels are about the layout of a mask (Chen et al. 2023, On the importance of noise scheduling, section 2.2).

Rounding each bit on its own can give a class that does not exist (K is rarely a power of two). Here decoding picks
the nearest of the K codes in use, so an invalid class is impossible, also from pure noise.
"""

from __future__ import annotations

import torch
from torch import Tensor

from geosynth.legend import UNKNOWN


def bit_count(classes: int) -> int:
    """Channels needed for ``classes`` classes: ceil(log2 K), at least 1. Raises ValueError outside 1..255."""
    if not 1 <= classes <= 255:
        raise ValueError(f"a mask can hold 1 to 255 classes, not {classes}")
    return max(1, (classes - 1).bit_length())


def code_book(classes: int) -> Tensor:
    """The codes in use: float32 (K, bits) of -1 and +1, least significant bit first."""
    bits = torch.arange(bit_count(classes))
    return ((torch.arange(classes)[:, None] >> bits) & 1).float() * 2 - 1


def encode(mask: Tensor, classes: int, size: float = 1.0) -> Tensor:
    """Class indices to analog bits.

    Args:
        mask: integer (..., H, W), values 0..K-1 or 255 (unknown).
        classes: K.
        size: absolute value of a bit.

    Returns:
        float32 (..., bits, H, W) in {-size, +size}; all bits 0 where unknown (the loss must be off there).
    """
    index = mask.long()
    known = index != UNKNOWN
    # Bit by bit where the mask is: a table would have to travel to a GPU at every step.
    digits = torch.arange(bit_count(classes), device=mask.device)
    codes = ((index[..., None] >> digits) & 1).float() * 2 - 1
    return (codes * (known[..., None] * size)).movedim(-1, -3)


def decode(bits: Tensor, classes: int, size: float = 1.0) -> tuple[Tensor, Tensor]:
    """Analog bits to the nearest valid class, with a confidence.

    Args:
        bits: float (..., bits, H, W), any values.
        classes: K.
        size: absolute value of a bit.

    Returns:
        mask: uint8 (..., H, W), values 0..K-1 only.
        confidence: float32 (..., H, W) in 0..1: the margin between the nearest and the second nearest code, relative
        to the margin of a noise-free pixel whose code differs from its neighbour in one bit. 1 = exactly a code.
    """
    values = bits.float().movedim(-3, -1) / size
    book = code_book(classes).to(values.device)
    if classes == 1:
        shape = values.shape[:-1]
        return torch.zeros(shape, dtype=torch.uint8, device=values.device), torch.ones(shape, device=values.device)
    # |v - c|^2 = |v|^2 + bits - 2 v.c : the nearest code has the largest product.
    product = values @ book.T
    best = product.topk(2, dim=-1)
    # Two codes one bit apart differ by 2 in the product when the pixel sits exactly on one of them.
    confidence = ((best.values[..., 0] - best.values[..., 1]) / 2).clamp(0, 1)
    return best.indices[..., 0].to(torch.uint8), confidence
